"""A chain of real endpoints, of which some are killed, slow, wrong or out of allowance."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from llmops import fakes

from diptych.llmops.client.budget import Budget, BudgetError, most_tokens
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.fallback import AllowanceError, Chain, Link, summary
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target

PLAIN = {"temperature": 0, "max_tokens": 20}
PROMPTS = [f"a good film {i}" for i in range(6)]


@pytest.fixture
def pair(monkeypatch):
    """Two endpoints, where the kind makes no difference."""
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    first, second = fakes.make("openai"), fakes.make("vllm")
    with fakes.serving(first), fakes.serving(second):
        yield first, second


def link(fake, deadline_s=20.0, model="m"):
    return Link(Target(fake.url, model, PLAIN, key_env="TEST_KEY"), deadline_s)


def chained(links, calls, max_tokens=None, patience=3, rest_s=30.0, **fields):
    return Chain(
        links, CallOptions(calls=calls, **fields),
        max_tokens=max_tokens, patience=patience, rest_s=rest_s,
    )  # fmt: skip


SERVER = """
import sys, time
from llmops import fakes
with fakes.serving(fakes.make("ollama")) as fake:
    print(fake.url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def process():
    """An endpoint in a process of its own, and its URL."""
    command = [sys.executable, "-c", SERVER]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="tests")
    yield made, made.stdout.readline().strip()
    made.kill()
    made.communicate()


def test_the_first_answers_while_it_can(pair, calls):
    chain = chained([link(fake) for fake in pair], calls, run="r", prompt_version="p")
    reply = chain.ask("a bad film", caller="ann")
    assert (reply.answer.text[:8], reply.step, reply.errors) == ("negative", 0, ())
    (row,) = calls.table(run="r").to_dict("records")
    assert (row["caller"], row["step"], row["prompt_version"]) == ("ann", 0, "p")
    assert pair[1].seen == []


def test_a_primary_killed_in_the_middle_is_replaced_by_the_next(process, pair, calls):
    server, url = process
    chain = chained([Link(Target(url, "m", PLAIN), 20.0), link(pair[1])], calls)
    assert chain.ask("first").step == 0
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    replies = chain.ask_many(PROMPTS)
    assert [reply.step for reply in replies] == [1] * len(PROMPTS)
    assert all(reply.answer.text.startswith("positive") for reply in replies)
    assert {error[0] for reply in replies for error in reply.errors} == {url}
    rows = calls.table()
    assert rows.groupby(["step", "status"]).size().to_dict() == {
        (0, "failed"): len(PROMPTS), (0, "ok"): 1, (1, "ok"): len(PROMPTS),
    }  # fmt: skip


def test_a_primary_beyond_its_latency_budget_is_not_waited_for(pair, calls):
    slow, quick = pair
    slow.delay = 0.8
    reply = chained([link(slow, 0.2), link(quick)], calls).ask("a good film")
    assert reply.step == 1
    assert reply.errors == ((slow.url, "no answer in time: the deadline of 0.2 s is over"),)
    failed = calls.table().query("step == 0").iloc[0]
    assert failed["latency_ms"] >= 200
    assert failed["error"] == reply.errors[0][1]


def test_a_stream_that_trickles_is_beyond_the_budget_too(pair, calls):
    """Each piece comes in time, and the whole does not."""
    slow, quick = pair
    slow.pause = 0.15  # three words: 0.45 s
    chain = chained([link(slow, 0.3), link(quick)], calls, stream=True)
    assert chain.ask("a good film").step == 1
    assert chained([link(slow, 20.0)], calls, stream=True).ask("a good film").step == 0


@pytest.mark.parametrize(
    ("trouble", "told"),
    [("overloaded", "HTTP 503"), ("rate", "HTTP 429"), ("html", "is not JSON"),
     ("hang up", "connection")],
)  # fmt: skip
def test_whatever_fails_the_next_answers(pair, calls, trouble, told):
    pair[0].troubles = [trouble]
    reply = chained([link(fake) for fake in pair], calls).ask("a good film")
    assert reply.step == 1
    assert told in reply.errors[0][1]


def test_where_none_answers_every_reason_is_told(pair, calls):
    for fake in pair:
        fake.troubles = ["overloaded"]
    links = [link(fake) for fake in pair]
    reply = chained(links, calls).ask("a good film")
    assert reply.step is None
    assert reply.answer.text is None
    assert [name for name, _ in reply.errors] == [fake.url for fake in pair]
    table = summary([reply], links)
    assert table["answered"].tolist() == [0, 0]
    assert table["failed"].tolist() == [1, 1]
    assert table["most often"].tolist() == ["HTTP 503: Overloaded"] * 2


def test_a_link_that_fails_again_and_again_rests(pair, calls):
    first, _ = pair
    first.troubles = ["overloaded"] * 3
    chain = chained([link(fake) for fake in pair], calls, patience=3, rest_s=600)
    assert [chain.ask(prompt).step for prompt in PROMPTS[:5]] == [1] * 5
    assert len(first.seen) == 3  # the other two found it resting
    assert chain.ask("at rest").errors == ((first.url, "left out after failures"),)


def test_after_its_rest_a_link_is_tried_again(pair, calls):
    first, _ = pair
    first.troubles = ["overloaded"] * 2
    chain = chained([link(fake) for fake in pair], calls, patience=1, rest_s=0.01)
    steps = []
    for prompt in PROMPTS[:3]:
        steps.append(chain.ask(prompt).step)
        time.sleep(0.02)
    assert steps == [1, 1, 0]


def test_many_questions_are_asked_in_order_and_once(pair, calls):
    first, second = pair
    first.troubles = [None, "overloaded", None, "overloaded"]
    links = [link(fake) for fake in pair]
    replies = chained(links, calls, concurrency=2).ask_many(PROMPTS)
    assert [reply.answer.text[-12:] for reply in replies] == [p[-12:] for p in PROMPTS]
    assert sum(reply.step for reply in replies) == len(second.seen) == 2
    assert len(first.seen) == len(PROMPTS)
    assert summary(replies, links)["answered"].tolist() == [4, 2]
    again = chained(links, calls).ask_many(PROMPTS)
    assert sum(reply.answer.cached for reply in again) == 4  # of the first; the second's are not


def test_a_local_server_that_cannot_start_is_a_failure_on_record(pair, calls, tmp_path, home):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF of something else")
    local = Link(Target(parameters=PLAIN, server={"model": broken}))
    reply = chained([local, link(pair[1])], calls).ask("a good film", caller="ann")
    assert reply.step == 1
    assert "broken.gguf is not a GGUF model" in reply.errors[0][1]
    row = calls.table(endpoint="local").iloc[0]
    assert (row["status"], row["step"], row["caller"]) == ("failed", 0, "ann")


def test_the_local_model_stands_in(shared, gguf, pair, calls):
    pair[0].troubles = ["overloaded"]
    local = Link(Target(parameters=PLAIN, server={"model": gguf}))
    reply = chained([link(pair[0]), local], calls).ask("a good film")
    assert (reply.step, reply.answer.usd) == (1, 0.0)


def test_a_wrong_chain_is_refused_before_any_call(pair, monkeypatch):
    with pytest.raises(ValueError, match="links: there are none"):
        Chain([])
    with pytest.raises(EndpointError, match="'nowhere' is not known"):
        Chain([link(pair[0]), Link(Target("nowhere"))])
    with pytest.raises(EndpointError, match="is not there; give a GGUF file"):
        Chain([Link(Target(server={"model": "none.gguf"})), link(pair[0])])
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(EndpointError, match="TEST_KEY is not set"):
        Chain([link(pair[0])])
    assert pair[0].seen == []


def at_most(prompt):
    return sum(most_tokens({"messages": [{"role": "user", "content": prompt}], **PLAIN}))


def test_a_caller_is_refused_when_the_days_tokens_are_used_up(pair, calls):
    allowed = at_most(PROMPTS[0]) + 20  # each uses 16 of them
    chain = chained([link(pair[0])], calls, max_tokens=allowed)
    chain.ask(PROMPTS[0], caller="ann")
    chain.ask(PROMPTS[1], caller="ann")
    told = rf"caller: ann may use {allowed} tokens a day and has used 32, .* after 00:00 UTC"
    with pytest.raises(AllowanceError, match=told) as error:
        chain.ask(PROMPTS[2], caller="ann")
    assert isinstance(error.value, BudgetError)
    assert chain.ask(PROMPTS[2], caller="ben").step == 0
    assert chain.ask(PROMPTS[0], caller="ann").answer.cached  # what costs nothing is answered
    assert len(pair[0].seen) == 3


def test_the_allowance_is_the_ledgers_and_a_new_day_brings_a_new_one(pair, calls):
    used = {"endpoint": "x", "model": "m", "request": "h", "input": {}, "caller": "ann",
            "prompt_tokens": 1_000}  # fmt: skip
    calls.log([used | {"time": datetime.now(UTC) - timedelta(days=1)}])
    most = at_most(PROMPTS[0])
    assert chained([link(pair[0])], calls, max_tokens=most).ask(PROMPTS[0], caller="ann").step == 0
    with pytest.raises(AllowanceError, match="has used 16"):  # another process would see it too
        chained([link(pair[0])], calls, max_tokens=most).ask(PROMPTS[1], caller="ann")


def test_a_budget_is_of_all_callers_together(pair, calls):
    one = at_most(PROMPTS[0])
    budget = Budget(max_tokens=one + 20)
    chain = chained([link(pair[0])], calls, max_tokens=10 * one, budget=budget)
    chain.ask(PROMPTS[0], caller="ann")
    chain.ask(PROMPTS[1], caller="ben")
    with pytest.raises(BudgetError, match=r"budget: max_tokens is .* 32 is spent") as error:
        chain.ask(PROMPTS[2], caller="eve")
    assert not isinstance(error.value, AllowanceError)
    assert (budget.tokens, budget.held_tokens) == (32, 0)
    assert chain._purse("ann", calls).tokens == 16


def test_a_refused_caller_holds_nothing_of_what_all_may_spend(pair, calls):
    budget = Budget(max_tokens=100_000)
    chain = chained([link(pair[0])], calls, max_tokens=at_most(PROMPTS[0]), budget=budget)
    chain.ask(PROMPTS[0], caller="ann")
    with pytest.raises(AllowanceError):
        chain.ask(PROMPTS[1], caller="ann")
    assert (budget.tokens, budget.held_tokens) == (16, 0)
    assert chained([link(pair[0])], calls, budget=budget).ask(PROMPTS[2]).step == 0
    assert budget.tokens == 32


def test_an_unknown_price_is_refused_where_dollars_are_limited(calls):
    away = Link(Target("https://models.example/v1", "m", PLAIN))
    chain = chained([away], calls, max_tokens=1_000, budget=Budget(max_usd=1.0))
    with pytest.raises(ValueError, match="max_usd: no price is known for 'm'"):
        chain.ask("x", caller="ann")
