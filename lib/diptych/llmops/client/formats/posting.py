"""What formats other than Chat Completions share: a request sent, its answer as JSON or in events.

The client's retries, headers and time limits are kept, whatever the path.
"""

import json
import time
from collections.abc import AsyncIterator, Mapping

import httpx2
import openai

from diptych.llmops.client.formats import Reply
from diptych.llmops.client.formats.chat_completions import NOT_STREAMED, connection, retries


async def whole(
    client: openai.AsyncOpenAI, path: str, body: Mapping, headers: Mapping = {}
) -> tuple[dict, int]:
    """Return a whole answer and how often the client had tried before.

    Raises
    ------
    openai.OpenAIError, ValueError
        If there is none.
    """
    options = {"headers": headers}
    answer = await client.post(path, cast_to=httpx2.Response, body=body, options=options)
    response = json.loads(answer.content)
    if not isinstance(response, dict) or response.get("error"):
        raise ValueError(f"the endpoint's answer is an error: {str(response)[:200]}")
    return response, retries(answer.request)


class Events:
    """The events of a streamed answer, one after the other; an async iterator made by `send`.

    Attributes
    ----------
    retries : int
    first_token_ms : float or None
        Set by `note_token` when the first token came.
    """

    def __init__(self, client: openai.AsyncOpenAI, path: str, body: Mapping, headers: Mapping = {}):
        self.headers = headers
        self.client, self.path, self.body = client, path, {**body, "stream": True}
        self.began, self.retries, self.first_token_ms = time.perf_counter(), 0, None

    def note_token(self) -> None:
        """Note that a token came."""
        if self.first_token_ms is None:
            self.first_token_ms = (time.perf_counter() - self.began) * 1000

    async def __aiter__(self) -> AsyncIterator[dict]:
        pieces = await self.client.post(
            self.path,
            cast_to=object,
            body=self.body,
            options={"headers": {**connection(self.client), **self.headers}},
            stream=True,
            stream_cls=openai.AsyncStream[dict],
        )
        async with pieces:
            self.retries = retries(pieces.response.request)
            async for piece in pieces:
                if not isinstance(piece, dict):
                    raise ValueError(f"the endpoint sent no event: {str(piece)[:200]}")
                if piece.get("type") == "error" or piece.get("error"):
                    raise ValueError(f"the endpoint broke off: {piece.get('error') or piece}")
                yield piece

    def reply(self, response: Mapping | None) -> Reply:
        """Return the reply of what the events made; ValueError if they made none."""
        if response is None:  # a proxy's page, for example
            raise ValueError(NOT_STREAMED)
        return Reply(dict(response), self.retries, self.first_token_ms)
