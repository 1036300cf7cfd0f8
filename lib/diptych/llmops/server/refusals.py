"""Refusals of the language model's server, in the form that each API's clients read."""

import json

MESSAGES = "/v1/messages"  # the one API of Anthropic's form; all others have OpenAI's
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error",
         413: "request_too_large", 503: "overloaded_error"}  # fmt: skip


class RefusedError(Exception):
    """A request that is not answered.

    Attributes
    ----------
    status : int
        Of its answer.
    field, code : str
        OpenAI's ``param`` and ``code``.
    """

    def __init__(self, status: int, reason: str, field: str = "", code: str = ""):
        super().__init__(reason)
        self.status, self.field, self.code = status, field, code


def content(path: str, error: RefusedError) -> dict:
    """Return the JSON of an answer to a request of a path.

    Written by https://platform.openai.com/docs/guides/error-codes and
    https://platform.claude.com/docs/en/api/errors (2026-11-29).
    """
    if path.startswith(MESSAGES):
        kind = KINDS.get(error.status, "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": str(error)}}
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    facts = {"message": str(error), "type": kind}
    return {"error": facts | {"param": error.field or None, "code": error.code or None}}


async def refuse(send, path: str, error: RefusedError) -> None:
    """Send a refusal over ASGI."""
    await send_json(send, content(path, error), error.status)


async def send_json(send, content: dict, status: int = 200) -> None:
    """Send JSON over ASGI."""
    body = json.dumps(content).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
