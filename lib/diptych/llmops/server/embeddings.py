"""Embeddings of texts beside a language model: ``/v1/embeddings`` of the OpenAI API.

llama.cpp makes them of a model's own states, which are poor at telling meanings apart; here they
come from the encoder of `diptych.core.data.embeddings`, whatever model is served.
"""

import asyncio
import base64
import json

from diptych.core.data import embeddings
from diptych.llmops.server.refusals import RefusedError, send_json

PATHS = ("/embeddings", "/v1/embeddings")
MOST = 2048  # texts of a request, as the OpenAI API takes them
FORMATS = ("float", "base64")


async def respond(body: bytes, send) -> None:
    """Answer a request of an ASGI server, whose body is a JSON object; see `answer`."""
    # in a thread, so that answers of the language model go on
    await send_json(send, await asyncio.to_thread(answer, json.loads(body)))


def answer(request: dict) -> dict:
    """Return what the OpenAI API answers.

    Parameters
    ----------
    request : dict
        ``input`` (a text or a list of texts), ``model`` (the encoder's name, or none) and
        ``encoding_format`` (one of `FORMATS`; base64 holds little-endian float32).

    Raises
    ------
    RefusedError
        If a field is wrong, or there is no encoder on this machine.
    """
    texts, kind = _texts(request.get("input")), request.get("encoding_format", FORMATS[0])
    if kind not in FORMATS:
        raise RefusedError(400, f"encoding_format: {kind!r} is none of {', '.join(FORMATS)}")
    if request.get("model") not in (None, "", embeddings.MODEL):
        name = str(request["model"])[:60]
        raise RefusedError(404, f"model: {name!r} makes no embeddings; take {embeddings.MODEL}")
    if request.get("dimensions") not in (None, embeddings.WIDTH):
        raise RefusedError(400, f"dimensions: the vectors have {embeddings.WIDTH}; leave it out")
    try:
        encoder = embeddings.encoder()
    except embeddings.EmbeddingsError as error:
        raise RefusedError(404, str(error)) from error
    vectors, tokens = encoder.encode(texts), sum(len(encoder.tokens(text)) for text in texts)
    data = [
        {"object": "embedding", "index": i, "embedding": _written(vector, kind)}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": embeddings.MODEL, "usage": usage}


def _texts(content) -> list[str]:
    texts = [content] if isinstance(content, str) else content
    if not isinstance(texts, list) or not texts or not all(isinstance(x, str) for x in texts):
        raise RefusedError(400, "input: send a text or a list of texts; tokens are not taken")
    if len(texts) > MOST:
        raise RefusedError(413, f"input: {len(texts):,} texts; send up to {MOST:,} at once")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise RefusedError(400, "input: holds half a character (a lone surrogate)") from error
    if not all(texts):
        raise RefusedError(400, "input: holds an empty text; leave it out")
    return texts


def _written(vector, kind: str) -> list[float] | str:
    if kind == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]
