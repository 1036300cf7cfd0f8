"""How requests find a recording: an ordinary `openai` client, whose answers come from its files."""

import json

import httpx2
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from diptych.llmops.client.recordings import NotRecordedError, Recording

GONE = 410  # no other try helps, and no other question is concerned
BASE_URL = "http://recorded/v1"  # nobody is there, and nobody is asked
PATH = "/v1/chat/completions"


class RecordedTransport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers a request from a recording.

    Parameters
    ----------
    recording : Recording
    repeat : int
        Which of the repeated answers.
    prompt_version : str
        Of the prompt that asks, to explain an answer that is missing.
    """

    def __init__(self, recording: Recording, repeat: int = 0, prompt_version: str = ""):
        self.recording, self.repeat = recording, repeat
        self.prompt_version = prompt_version

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the recorded answer, or an error that says what is missing."""
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As `handle_request`."""
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx2.Request, content: bytes) -> httpx2.Response:
        if request.url.path != PATH:
            fault = f"a recording answers {PATH} only, not {request.url.path}"
            return _error(404, fault, request)
        try:
            body = json.loads(content)
            answer = self.recording.answer(body, self.repeat, self.prompt_version)
        except NotRecordedError as error:
            return _error(GONE, str(error), request)
        return httpx2.Response(200, json=answer, request=request)


def _error(status: int, message: str, request: httpx2.Request) -> httpx2.Response:
    error = {"message": message, "type": "not_recorded", "code": "not_recorded"}
    return httpx2.Response(status, json={"error": error}, request=request)


def client(recording: Recording) -> DefaultHttpxClient:
    """Return the HTTP client of a recording, for `openai.OpenAI`."""
    return DefaultHttpxClient(transport=RecordedTransport(recording), trust_env=False)


def async_client(
    recording: Recording, repeat: int = 0, prompt_version: str = ""
) -> DefaultAsyncHttpxClient:
    """Return the HTTP client of a recording, for `openai.AsyncOpenAI`."""
    transport = RecordedTransport(recording, repeat, prompt_version)
    return DefaultAsyncHttpxClient(transport=transport, trust_env=False)
