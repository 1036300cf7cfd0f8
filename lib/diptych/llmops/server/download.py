"""Download a file over HTTP so that a cut connection or a kill costs only what was in flight.

What has come lies beside the target as ``.part``; the next attempt asks for the rest (RFC 9110,
range requests). A server without ranges sends all anew.
"""

import base64
import contextlib
import http.client
import netrc
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

CHUNK = 1 << 18
TIMEOUT_S = 30.0  # without a byte
TRIES = 5  # in a row that bring nothing
PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that another try may not have


class DownloadError(RuntimeError):
    """A file could not be downloaded; the message says why."""


@dataclass(frozen=True)
class Connection:
    """How servers are reached.

    Attributes
    ----------
    certificates : str
        Path of the certificates to trust; "" takes the system's.
    trusted : frozenset of str
        Hosts whose certificates are not checked.
    """

    certificates: str = ""
    trusted: frozenset[str] = field(default_factory=frozenset)

    def open(self, url: str, headers: dict[str, str] | None = None):
        """Return the response of a GET; credentials in the address go to its host only."""
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
        request = urllib.request.Request(
            urlunsplit(parts._replace(netloc=host)), headers={"Accept-Encoding": "identity"}
        )
        for name, value in (headers or {}).items():
            # not sent on where a redirect leads to another host
            add = request.add_unredirected_header if name == "Authorization" else request.add_header
            add(name, value)
        if pair := _credentials(parts):
            encoded = base64.b64encode(pair.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {encoded}")
        return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context(parts))

    def _context(self, parts) -> ssl.SSLContext | None:
        if parts.scheme != "https":
            return None
        context = ssl.create_default_context(cafile=self.certificates or None)
        if parts.hostname in self.trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def _credentials(parts) -> str:
    """Return ``user:password`` of an address, else of the user's netrc; "" without."""
    if parts.username is not None:
        return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        if entry := netrc.netrc(os.environ.get("NETRC")).authenticators(parts.hostname or ""):
            return f"{entry[0]}:{entry[2]}"
    return ""


def fetch(
    url: str,
    target: Path,
    connection: Connection,
    *,
    headers: dict[str, str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Download `url` to `target`, from where an earlier attempt ended.

    Parameters
    ----------
    progress : callable
        Called with the bytes that are there.

    Raises
    ------
    DownloadError
        If the server refuses, cannot be reached, or sends nothing in `TRIES` attempts.
    """
    part = target.with_name(f"{target.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _rest(url, part, connection, headers or {}, progress)
            os.replace(part, target)
            return target
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise DownloadError(f"{_plain(url)}: {error.code} {error.reason}") from error
            reason = error
        except (OSError, http.client.HTTPException) as error:
            reason = error
            if isinstance(getattr(error, "reason", None), socket.gaierror):
                failures = TRIES  # there is no such host from here
        failures = failures + 1 if _size(part) <= before else 1
        if failures > TRIES:
            raise DownloadError(f"{_plain(url)}: {reason}") from reason
        time.sleep(min(2 ** (failures - 1) / 4, 8))


def _rest(url: str, part: Path, connection: Connection, headers: dict, progress) -> None:
    """Append what is missing of a file; an incomplete answer raises ConnectionError."""
    there = _size(part)
    ranged = {**headers, "Range": f"bytes={there}-"} if there else headers
    try:
        response = connection.open(url, ranged)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{there}"):
            return  # it was whole already
        part.unlink()  # longer than the file: of another one
        raise ConnectionError("the part that was there is of another file") from error
    with response:
        expected = int(response.headers.get("Content-Length") or 0)
        if response.status != 206 or not _continues(response.headers, there):
            there = 0
        with part.open("ab" if there else "wb") as file:
            received = 0
            while chunk := response.read(CHUNK):
                file.write(chunk)
                received += len(chunk)
                progress(there + received)
    if received < expected:
        raise ConnectionError(f"the connection was cut after {there + received:,} bytes")


def _continues(headers, there: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {there}-")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _plain(url: str) -> str:
    """Return an address without credentials and query."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
