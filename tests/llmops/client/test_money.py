"""A budget holds against a server that bills whatever it does; what was paid is on the disk.

The server bills each request that it reads: its prompt, and all of the answer that was allowed.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from llmops import fakes

from diptych.core.store.calls import Calls
from diptych.llmops.client import attempts
from diptych.llmops.client.ask import ask, ask_many
from diptych.llmops.client.budget import Budget, BudgetError, most_tokens, used
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.rate_limits import Bucket, RateLimits, pause_s, reset_s
from diptych.llmops.client.target import Target

pytestmark = pytest.mark.longer
LONG = os.environ.get("DIPTYCH_LONG") == "1"
RUNS = 500 if LONG else 15
KILLS = 25 if LONG else 1
LIMIT = 20
PLAIN = {"temperature": 0, "max_tokens": LIMIT}
FAULTS = ("hang up", "broken", "cut", "html", "empty", "no usage", "wrong usage", "rate",
          "overloaded", "gone")  # fmt: skip
WRONG = (-5, "12", None, math.nan, math.inf, True, 0, [], {"a": 1}, 1.5)
FREE = ("rate", "overloaded", "gone")  # refused, so not billed


@dataclass
class Billing(fakes.Fake):
    """Bills, and then answers, breaks off or says something wrong, as dice fall."""

    needs_key: bool = False
    rng: random.Random = field(default_factory=random.Random)
    share: float = 0.0  # of the calls that meet a fault
    faults: tuple = FAULTS
    billed: int = 0
    calls: int = 0

    async def answer(self, request, body):
        trouble = self.rng.choice(self.faults) if self.rng.random() < self.share else None
        if trouble == "gone":
            return self.error(404, "it is gone", "not_found_error")
        if trouble not in FREE:
            self.calls += 1
            self.billed += sum(self.bill(body))
        self.troubles = [trouble]
        return await super().answer(request, body | {"trouble": trouble})

    def bill(self, body):
        return len(json.dumps(body["messages"])) // 3, body["max_tokens"]

    def usage(self, body, words):
        wrong = body["trouble"] == "wrong usage"
        read, written = (self.rng.choice(WRONG) for _ in range(2)) if wrong else self.bill(body)
        return {"prompt_tokens": read, "completion_tokens": written}


@dataclass
class Limited(fakes.Fake):
    """Takes 5 requests at once and 50 a second, and says so in OpenAI's headers."""

    needs_key: bool = False
    left: float = 5.0
    at: float = 0.0
    refused: int = 0

    async def answer(self, request, body):
        now = time.monotonic()
        self.left, self.at = min(5.0, self.left + 50 * (now - self.at)), now
        if self.left < 1:
            self.refused += 1
            answer = self.error(429, "slow down", "rate_limit_error", headers={"retry-after": "0"})
        else:
            self.left -= 1
            answer = await super().answer(request, body)
        answer.headers["x-ratelimit-limit-requests"] = "5"
        answer.headers["x-ratelimit-remaining-requests"] = str(int(self.left))
        answer.headers["x-ratelimit-reset-requests"] = f"{round(20 * (5 - self.left))}ms"
        return answer


@pytest.fixture
def server():
    with fakes.serving(Billing("openai")) as server:
        yield server


@pytest.fixture
def quick(monkeypatch):
    """Short pauses between tries."""
    monkeypatch.setattr(attempts, "FIRST_S", 0.005)


def at(server):
    return Target(server.url, "m", PLAIN)


def prompts(n, name=""):
    return [f"a good film {name} {i}" for i in range(n)]


@pytest.mark.parametrize("number", range(RUNS))
def test_no_run_overspends_whatever_the_server_does(server, calls, quick, number):
    rng = server.rng = random.Random(number)
    server.share = rng.choice([0.0, 0.3, 0.7, 1.0])
    budget = Budget(max_tokens=rng.randint(100, 3000))
    options = CallOptions(
        calls=calls, budget=budget, concurrency=rng.randint(1, 16), stream=rng.random() < 0.5,
        max_retries=rng.randint(0, 4), deadline_s=rng.choice([None, 5.0]),
    )  # fmt: skip
    answers = []
    with suppress(BudgetError):
        answers = ask_many(prompts(20), at(server), options)
    assert all(answer.text is not None or answer.error for answer in answers)
    assert server.billed <= budget.tokens <= budget.max_tokens
    assert (budget.held_tokens, budget.under_way) == (0, 0)


def test_a_server_that_bills_and_drops_the_connection(server, calls, quick):
    server.share, server.faults = 1.0, ("hang up",)
    budget = Budget(max_tokens=2000)
    with pytest.raises(BudgetError, match=r"2,000.*of it for attempts without an answer"):
        ask_many(prompts(60), at(server), CallOptions(calls=calls, budget=budget))
    assert server.billed <= budget.tokens <= 2000
    failed = calls.table()
    assert failed["status"].eq("failed").all()
    assert failed["error"].str.contains("connection").all()
    free = ask_many(prompts(12, "b"), at(server), CallOptions(calls=calls))
    assert [answer.retries for answer in free] == [attempts.PAID_RETRIES] * 12


def test_an_answers_usage_that_cannot_be_is_none():
    assert used(3, 4) == (3, 4)
    assert used(3.0, 0) == (3, 0)
    for wrong in WRONG:
        assert used(wrong, 4) is None
    budget = Budget(max_tokens=1000)
    for amount in (math.nan, -1, math.inf):
        budget.take((0.5, 100))
        budget.settle((0.5, 100), amount, amount)
    assert (budget.usd, budget.tokens, budget.held_usd) == (1.5, 300, 0.0)


def test_tools_schemas_and_images_are_held_back_too():
    message = {"role": "user", "content": "x"}
    plain = most_tokens({"messages": [message], **PLAIN})[0]
    tools = [{"type": "function", "function": {"name": "f" * 500}}]
    assert most_tokens({"messages": [message], "tools": tools, **PLAIN})[0] > plain + 500
    picture = {"type": "image_url", "image_url": {"url": "https://models.example/a.png"}}
    seen = {"messages": [{"role": "user", "content": [picture]}], **PLAIN}
    assert most_tokens(seen)[0] > 4784
    inside = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 10**6}"}}
    seen = {"messages": [{"role": "user", "content": [inside]}], **PLAIN}
    assert 4784 < most_tokens(seen)[0] < 10_000, "it is read as a picture, not as a text"
    text = {"type": "text", "text": "data:image/png;base64," + "A" * 10**6}
    seen = {"messages": [{"role": "user", "content": [text]}], **PLAIN}
    assert most_tokens(seen)[0] > 10**6


RUN = """
import sys
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
url, ledger, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
ask_many([f"a good film {i}" for i in range(400)],
         Target(url, "m", {"temperature": 0, "max_tokens": 20}),
         CallOptions(calls=ledger, concurrency=16, budget=Budget(max_tokens=most)))
"""


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill_loses_only_what_was_in_flight(server, tmp_path, number):
    rng, ledger, most = random.Random(number), tmp_path / "ledger.db", 5000
    server.delay, server.share, server.rng = 0.01, 0.1 * (number % 2), rng
    command = [sys.executable, "-c", RUN, server.url, str(ledger), str(most)]
    cut = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until, enough = time.monotonic() + 120, rng.randint(30, 60)
    while server.calls < enough and cut.poll() is None:
        assert time.monotonic() < until, "it never asked"
        time.sleep(0.002)
    cut.send_signal(signal.SIGKILL)
    cut.wait(30)
    time.sleep(0.05)  # what was in flight is still billed
    assert server.billed <= most
    with Calls(ledger) as calls:
        rows = calls.table()
    if not server.share:
        assert server.calls - 16 <= len(rows) <= server.calls


def test_a_rate_limit_is_shared_by_all_workers(calls):
    with fakes.serving(Limited("openai")) as limited:
        way = fakes.ways(endpoint=limited.url, model="m", parameters=PLAIN, calls=calls,
                         concurrency=10)  # fmt: skip
        answers = ask_many(prompts(40), *way)
    assert [answer.error for answer in answers] == [""] * 40
    assert limited.refused <= 10, "only those who asked before the first answer said so"


def test_what_an_endpoint_asks_to_wait():
    assert pause_s({"retry-after": "2.5"}) == 2.5
    assert pause_s({"retry-after": "9", "retry-after-ms": "50"}) == 0.05
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert 28 <= pause_s({"retry-after": later}) <= 30
    assert pause_s({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    for none in ({}, {"retry-after": "soon"}, {"retry-after": "-1"}, {"retry-after": "nan"}):
        assert pause_s(none) is None
    assert (reset_s("1m30s"), reset_s("20ms"), reset_s("6h0m0s"), reset_s("3")) == (
        90.0, 0.02, 21600.0, 3.0,
    )  # fmt: skip
    assert reset_s("2000-01-01T00:00:00Z") == 0
    assert reset_s("x") is None


def test_a_bucket_fills_up_again():
    bucket = Bucket(limit=10, left=0, rate=2, at=100.0)
    assert bucket.wait_s(4, 100.0) == 2.0
    assert bucket.wait_s(4, 102.0) == 0.0
    assert bucket.wait_s(50, 100.0) == 5.0, "more than it ever holds: when it is full"
    bucket.take(4, 104.0)
    assert bucket.left == 4.0
    limits = RateLimits()
    limits.read({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0",
                 "x-ratelimit-reset-requests": "60s", "anthropic-ratelimit-tokens-limit": "100",
                 "anthropic-ratelimit-tokens-remaining": "-3"})  # fmt: skip
    assert list(limits.buckets) == ["requests"], "a count below 0 is none"
    assert limits.buckets["requests"].rate == 1.0


def test_a_pause_that_is_too_long_is_a_failure_with_its_reason(server, calls):
    server.share, server.faults = 1.0, ("rate",)
    answer = ask("x", *fakes.ways(
        endpoint=server.url, model="slow", parameters=PLAIN, calls=calls, deadline_s=0.2,
    ))  # fmt: skip
    assert answer.error == "HTTP 429: slow down"
    assert (answer.retries, answer.latency_ms < 5000) == (0, True)
