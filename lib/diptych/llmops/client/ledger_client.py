"""An ordinary `openai` client whose calls are those of `ask`: on record, cached, within the budget.

What a cell asks by hand costs nothing a second time, is replayed without a key, and is the same
call that an evaluation makes.
"""

import functools
import json
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2

from diptych.core.store.prices import Price
from diptych.llmops.client import endpoint
from diptych.llmops.client.ask import Answer, ask
from diptych.llmops.client.budget import BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import FORMATS
from diptych.llmops.client.target import Target
from diptych.llmops.server.process import EndpointError

BASE_URL, PATH = "http://ledger/v1", "/v1/chat/completions"
PAYMENT_REQUIRED, BAD_GATEWAY = 402, 502


def connection(target: Target | str = "local", options: CallOptions = CallOptions()) -> dict:
    """Return what an official client takes so that its calls go through ledger and budget.

    An equal request is answered from the ledger. A streamed one (``stream=True``) is always made
    anew and not recorded: its times are those of now; the budget holds what it can cost at most.
    From an endpoint whose wire format a plugin adds it comes in one piece, and is on record.

    Parameters
    ----------
    target : Target or str
        See `Target.parse`.
    options : CallOptions
        As for `ask`: the run, the budget, the ledger.

    Returns
    -------
    dict
        For `openai.OpenAI`: ``base_url``, ``api_key``, ``http_client`` and ``max_retries``.

    Raises
    ------
    EndpointError
        If the endpoint is unknown.
    """
    import openai

    target = Target.parse(target) if isinstance(target, str) else target
    http = openai.DefaultHttpxClient(transport=_Transport(target, options), trust_env=False)
    return {"base_url": BASE_URL, "api_key": "none", "http_client": http, "max_retries": 0}


class _Transport(httpx2.BaseTransport):
    """Answers a request by `ask`, or streams it from the endpoint."""

    def __init__(self, target: Target, options: CallOptions):
        self.target, self.options = target, options
        self.once = replace(options, give_up=True, patience=1, alike=[])  # the reader waits for it

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer; an error says what happened, as the endpoint would."""
        if request.url.path != PATH:
            return _error(404, f"only {PATH} is on record, not {request.url.path}", request)
        body = json.loads(request.read())
        streamed = body.pop("stream", False)
        try:
            now = streamed and not self.target.is_recorded
            if now and self.target.provider.format in FORMATS:
                return self._streamed(body, request)
            anew = {"stream": True, "repeat": time.time_ns() % 2**31} if now else {}
            answer = ask(body, self.target, replace(self.once, **anew))
        except BudgetError as error:
            return _error(PAYMENT_REQUIRED, str(error), request)
        except EndpointError as error:  # with its remedy
            return _error(BAD_GATEWAY, str(error), request)
        if answer.error or not answer.response:
            return _error(BAD_GATEWAY, answer.error or "no answer is on record", request)
        if streamed:
            return httpx2.Response(200, text=_as_stream(answer), request=request)
        return httpx2.Response(200, json=_complete(answer), request=request)

    @functools.cached_property
    def _there(self):
        return endpoint.client(self.target)

    def _streamed(self, body: dict, request: httpx2.Request) -> httpx2.Response:
        """Pass a stream on as it comes; the budget counts what it can cost at most."""
        if self.options.budget is not None and self.options.budget.limited:
            price = Price(self.target.provider.prices, body["model"])
            most = self.options.budget.cost(body, price)
            self.options.budget.take(most)
            self.options.budget.settle(most, *most)
        chunks = self._there.chat.completions.create(
            model=body.pop("model"), messages=body.pop("messages"), stream=True, extra_body=body
        )
        return httpx2.Response(200, stream=_Lines(chunks), request=request)


class _Lines(httpx2.SyncByteStream):
    """The chunks of a stream, as the lines that they came in."""

    def __init__(self, chunks):
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            yield f"data: {chunk.to_json(indent=None)}\n\n".encode()
        yield b"data: [DONE]\n\n"

    def close(self) -> None:
        self.chunks.close()


def _complete(answer: Answer) -> dict:
    """Return an answer as a chat completion; one that was filtered has a choice without a text."""
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": "content_filter"}
    return {"id": "", "object": "chat.completion", "choices": [choice], **answer.response}


def _as_stream(answer: Answer) -> str:
    """Return a recorded answer as a stream of one piece."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": answer.text}}
    whole = {**answer.response, "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n"


def _error(status: int, message: str, request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": message}}, request=request)
