"""HTTP connections that no client can hold for ever or fill: the same for both panels' servers.

A server passes `GuardedProtocol` to uvicorn as ``http``. It is uvicorn's own protocol with limits
on what uvicorn leaves open: bytes and seconds of a request's head, seconds of its body, and
connections of one client and of all.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 2**10  # also of what is neither head nor body: trailers and chunk extensions
HEAD_S = 10.0
BODY_S = 30.0  # the apps' own limits are shorter, and answer


def caps() -> tuple[int, int]:
    """Return the connections of one client and of all that leave a process some descriptors.

    Of the usual 1,024 descriptors they are 384 and 768; without more it would accept nobody.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 384, 768
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = 1024 if soft == resource.RLIM_INFINITY else min(soft, 1024)
    return free * 3 // 8, free * 3 // 4


PER_CLIENT, IN_ALL = caps()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits; what exceeds them is answered in a line and closed."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._in_head, self._head_bytes, self._stray_bytes = True, 0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._since, self._is_last = 0.0, False

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection; where there are too many, the longest that waits gives way."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if waiting := [one for one in self._crowd() if one.is_waiting]:
            min(waiting, key=lambda one: one._since).transport.abort()
        self._allow(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._allow(None)
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being answered: the client has to send first."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _crowd(self) -> list["GuardedProtocol"]:
        """Return the connections of which one must go: this client's, or all; mostly none."""
        if len(self.connections) <= PER_CLIENT:
            return []
        there = [one for one in self.connections if not one.transport.is_closing()]
        if len(there) > IN_ALL:
            return there
        same = [one for one in there if one._address == self._address]
        return same if len(same) > PER_CLIENT else []

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    # what arrives

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, at most the limit of a head at a time."""
        if self._in_head and self._timer is None:
            self._allow(HEAD_S, self._head_is_late)
        while data and not self.transport.is_closing():
            room = HEAD_BYTES - (self._head_bytes if self._in_head else self._stray_bytes)
            piece, data = data[:room], data[room:]
            if self._in_head:
                self._head_bytes += len(piece)
            else:
                self._stray_bytes += len(piece)
            super().data_received(piece)
            if self._is_over():
                kib = HEAD_BYTES // 1024
                self._refuse(b"431 Request Header Fields Too Large", f"head: is over {kib} KiB")

    def _is_over(self) -> bool:
        taken = self._head_bytes if self._in_head else self._stray_bytes
        return taken >= HEAD_BYTES and not self.transport.is_closing()

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._in_head, self._head_bytes, self._stray_bytes = False, 0, 0
        self._allow(BODY_S, self.transport.abort)
        super().on_headers_complete()
        self._is_last, self.cycle.keep_alive = not self.cycle.keep_alive, True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._stray_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the request; the next one's head may follow."""
        self._in_head, self._head_bytes, self._stray_bytes = True, 0, 0
        self._allow(None)
        super().on_message_complete()
        # uvicorn then says so in the answer: a client that is not told uses the connection again
        self.cycle.keep_alive = not self._is_last
        self._end()

    def on_response_complete(self) -> None:
        """Take the next request.

        A connection is closed only after the last byte of its request: else the client's system
        would throw the answer away with what could not be sent.
        """
        super().on_response_complete()
        self._end()

    def _end(self) -> None:
        if self._is_last and self._in_head and self.cycle.response_complete:
            self.transport.close()

    # limits

    def _allow(self, seconds: float | None, then=None) -> None:
        """Call `then` after some seconds, in place of what was to be called; None for nothing."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, then)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(b"408 Request Timeout", f"head: did not arrive within {HEAD_S:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, reason: str) -> None:
        """Answer in JSON, unless an answer is under way, and close."""
        if self.cycle is None or self.cycle.response_complete:
            body = b'{"error": "%s"}' % reason.encode()
            head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            self.transport.write(head % (status, len(body)) + b"connection: close\r\n\r\n" + body)
        self.transport.close()
