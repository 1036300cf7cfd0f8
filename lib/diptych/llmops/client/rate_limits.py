"""How fast an endpoint may be asked: what its answers say, kept by all workers of a process.

An endpoint counts requests and tokens in buckets that fill up again as time goes by, and tells in
headers how much is left: OpenAI's guide on rate limits (``x-ratelimit-remaining-requests``,
``x-ratelimit-reset-requests: 1m30s``) and Anthropic's (``anthropic-ratelimit-requests-reset`` as a
time of day), both as read in 2026; ``retry-after`` is RFC 9110, 10.2.3.
"""

import asyncio
import math
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

KINDS = ("requests", "tokens")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def pause_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``retry-after`` asks to wait, None where it asks for none.

    It may be a number of seconds or a date; ``retry-after-ms`` is OpenAI's finer one.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return seconds * unit
    text = headers.get("retry-after")
    if not text:
        return None
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - _now()).total_seconds())


def reset_s(text: str | None) -> float | None:
    """Return the seconds until a bucket is full: of ``1m30s``, ``20ms``, ``3`` or a time."""
    number = _number(text)
    if number is not None or not text:
        return number
    parts = PART.findall(text.strip())
    if parts and "".join(map("".join, parts)) == text.strip():
        return sum(float(value) * UNITS[unit] for value, unit in parts)
    with suppress(ValueError, TypeError, OverflowError):
        until = datetime.fromisoformat(text)
        return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - _now()).total_seconds())
    return None


def _number(text: str | None) -> float | None:
    """Return a number that is 0 or more and finite, else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Bucket:
    """What may still be asked: `left` at the time `at`, and more of it as time goes by.

    Attributes
    ----------
    limit, left : float
    rate : float
        What comes back in a second.
    at : float
        By `time.monotonic`.
    """

    limit: float
    left: float
    rate: float
    at: float

    def wait_s(self, need: float, now: float) -> float:
        """Return the seconds until it holds `need`, or is full where it never holds so much."""
        have = min(self.limit, self.left + self.rate * (now - self.at))
        missing = min(need, self.limit) - have
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 else 0.0

    def take(self, need: float, now: float) -> None:
        """Take `need` out of it."""
        have = min(self.limit, self.left + self.rate * (now - self.at))
        self.left, self.at = have - need, now


@dataclass
class RateLimits:
    """The limits of one endpoint and model, shared by all who ask it in this process.

    Nothing waits until an endpoint has told a limit, or has asked to be left alone for a while.
    """

    buckets: dict[str, Bucket] = field(default_factory=dict)
    until: float = 0.0  # nobody asks before, by `time.monotonic`
    asking: int = 0  # requests under way
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    async def turn(self, tokens: float) -> None:
        """Wait until a request of so many tokens may be sent, and take it out of the buckets.

        `done` must be called after it, whatever came of the request.
        """
        needs = {"requests": 1.0, "tokens": tokens}
        while wait := self._wait_or_take(needs):
            await asyncio.sleep(wait)

    def _wait_or_take(self, needs: Mapping[str, float]) -> float:
        """Take what is needed and return 0, or return the seconds to wait."""
        with self.lock:
            now = time.monotonic()
            waits = [self.until - now]
            waits += [bucket.wait_s(needs[kind], now) for kind, bucket in self.buckets.items()]
            if (wait := max(waits)) > 0:
                return min(wait, 1.0)  # an answer may tell better until then
            self.asking += 1
            for kind, bucket in self.buckets.items():
                bucket.take(needs[kind], now)
            return 0.0

    def done(self) -> None:
        """Count a request as answered, or as lost."""
        with self.lock:
            self.asking -= 1

    def rest(self, seconds: float) -> None:
        """Let nobody ask for so many seconds."""
        with self.lock:
            self.until = max(self.until, time.monotonic() + seconds)

    def read(self, headers: Mapping[str, str]) -> None:
        """Take over what the headers of an answer tell."""
        with self.lock:
            for kind in KINDS:
                if limit := _header(headers, "limit", kind):
                    left, reset = (_header(headers, x, kind) for x in ("remaining", "reset"))
                    self._read(kind, limit, left, reset)

    def _read(self, kind: str, limit: str | None, left: str | None, reset: str | None) -> None:
        most, remaining, until_full = _number(limit), _number(left), reset_s(reset)
        if not most or remaining is None or until_full is None:
            return
        used, now = max(0.0, most - remaining), time.monotonic()
        old = self.buckets.get(kind)
        rate = used / until_full if used and until_full else old.rate if old else 0.0
        # it may not have counted requests that are still on their way
        pending = max(0.0, self.asking - 1) if kind == "requests" else 0.0
        self.buckets[kind] = Bucket(most, remaining - pending, rate, now)


def _header(headers: Mapping[str, str], what: str, kind: str) -> str | None:
    """Return a header: OpenAI writes ``limit-requests``, Anthropic ``requests-limit``."""
    name = headers.get(f"x-ratelimit-{what}-{kind}")
    return name or headers.get(f"anthropic-ratelimit-{kind}-{what}")


_ALL: dict[tuple[str, str], RateLimits] = {}
_LOCK = threading.Lock()


def of(base_url: str, model: str) -> RateLimits:
    """Return the limits that all who ask this model share."""
    with _LOCK:
        return _ALL.setdefault((base_url, model), RateLimits())
