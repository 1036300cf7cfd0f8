"""What a server asks of a request before anything else: the same for both panels' servers.

A page of any site can send requests to a server on loopback, and can make its own name point
there (DNS rebinding). So a server without a token answers only to the names it is bound to, none
answers a page of another origin, and JSON must say that it is JSON, which no page can without
asking first.
"""

import hmac
import json
from collections.abc import Iterable, Mapping

from diptych.base.serving import is_loopback

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]


def host_names(host: str, token: str) -> frozenset[str] | None:
    """Return the names in ``Host`` that a server answers to; None for any.

    Parameters
    ----------
    host : str
        What it is bound to.
    token : str
        Where one is needed, a page under a foreign name cannot do anything: it has none.
    """
    if token or not is_loopback(host):
        return None
    return LOOPBACK_NAMES | {f"[{host}]" if ":" in host else host}


def holds_token(headers: Mapping[str, str], token: str, *names: str) -> bool:
    """Say whether the first of some headers that is sent holds ``Bearer`` and the token.

    The time that this takes does not tell how much of the token is right.
    """
    sent = next((headers[name] for name in names if headers.get(name)), "")
    scheme, _, credentials = sent.partition(" ")
    credentials = credentials.strip().encode("latin-1", "replace")  # as it came over the wire
    return hmac.compare_digest(credentials, token.encode()) and scheme.lower() == "bearer"


class Guard:
    """An ASGI app that refuses foreign hosts and origins, and passes the rest on.

    Parameters
    ----------
    app : callable
        The ASGI app behind it.
    names : iterable of str, optional
        See `host_names`; None for any.
    """

    def __init__(self, app, names: Iterable[str] | None):
        self._app, self._names = app, names and frozenset(names)

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_guarded(message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        if reason := self._refusal(scope):
            return await refuse(send_guarded, 403, reason)
        return await self._app(scope, receive, send_guarded)

    def _refusal(self, scope) -> str:
        """Return why a request is not answered; "" if it is."""
        headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) > 1 or not (hosts or self._names is None):
            return "Host: send it once"
        if self._names is not None and _name(hosts[0]) not in self._names:
            there = ", ".join(sorted(self._names))
            return f"Host: {_short(hosts[0])} is not served; ask for {there}, or serve with a token"
        origins = [value.lower() for name, value in headers if name == b"origin"]
        allowed = {f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts}
        if any(origin not in allowed for origin in origins):
            return f"Origin: a page of {_short(origins[0])} may not use this server"
        return ""


def _name(host: str) -> str:
    """Return the name of ``name:port``."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _short(text: str) -> str:
    return text[:80]


async def refuse(send, status: int, reason: str) -> None:
    """Send an error as JSON."""
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
