"""/v1/embeddings of a running server, by OpenAI's own client, and what it refuses."""

import minilm
import numpy as np
import openai
import pytest

from diptych.core.data import embeddings as encoders
from diptych.llmops.server import embeddings
from diptych.llmops.server.refusals import RefusedError

TEXTS = ["The soup was lovely.", "naïve 日本 🙂"]


@minilm.needed
@pytest.mark.parametrize("kind", ["float", "base64"])
def test_a_client_gets_the_vectors_that_a_model_is_fitted_on(shared, kind):
    client = openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none")
    reply = client.embeddings.create(model=encoders.MODEL, input=TEXTS, encoding_format=kind)
    vectors = [one.embedding for one in reply.data]
    if kind == "base64":
        import base64

        vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in vectors]
    assert np.allclose(vectors, encoders.encoder().encode(TEXTS), atol=1e-7)
    assert [one.index for one in reply.data] == [0, 1]
    assert reply.usage.prompt_tokens > 10


def test_without_the_encoder_the_server_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path))
    with pytest.raises(RefusedError, match="`diptych model get minilm-l6-v2`"):
        embeddings.answer({"input": "hello"})


@pytest.mark.parametrize(
    ("request_body", "status", "message"),
    [
        ({}, 400, "input: send a text"),
        ({"input": []}, 400, "input: send a text"),
        ({"input": [1, 2]}, 400, "tokens are not taken"),
        ({"input": ["a", ""]}, 400, "empty text"),
        ({"input": "\ud83d"}, 400, "half a character"),
        ({"input": ["a"] * 2049}, 413, "2,049 texts"),
        ({"input": "a", "model": "gpt-4"}, 404, "model: 'gpt-4' makes no embeddings; take minilm"),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format: 'hex'"),
        ({"input": "a", "dimensions": 64}, 400, "dimensions: the vectors have 384"),
    ],
)
def test_a_wrong_request_is_refused_with_the_field(request_body, status, message):
    with pytest.raises(RefusedError, match=message) as raised:
        embeddings.answer(request_body)
    assert raised.value.status == status
