"""The same tests against four kinds of endpoint, on real sockets, and against the local server."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from llmops import fakes

from diptych.core.store.calls import Calls, LedgerError
from diptych.core.store.prices import Price
from diptych.core.store.records import ReplayedLatency
from diptych.llmops.client.ask import Answer, ask, ask_many, ask_many_async
from diptych.llmops.client.budget import Budget, BudgetError, most_tokens
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.capabilities import probe
from diptych.llmops.client.formats import Format, chat_completions
from diptych.llmops.client.providers import FORMATS, EndpointError, Provider
from diptych.llmops.client.request import estimate, prepare
from diptych.llmops.client.target import Target
from diptych.llmops.server import process

PLAIN = {"temperature": 0, "max_tokens": 20}


@pytest.fixture(params=fakes.NAMES)
def fake(request, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(fakes.make(request.param)) as fake:
        yield fake


@pytest.fixture
def one(monkeypatch):
    """One endpoint, where the kind makes no difference."""
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(fakes.make("openai")) as fake:
        yield fake


@pytest.fixture
def options(calls):
    return {"model": "m", "key_env": "TEST_KEY", "parameters": PLAIN, "calls": calls}


def at(fake, options, **more):
    return fakes.ways(**{"endpoint": fake.url, **options, **more})


PROMPTS = [f"a {'bad' if i % 3 else 'good'} film {i}" for i in range(30)]


def expected(prompt):
    return f"{'negative' if 'bad' in prompt else 'positive'} <b>{prompt[-12:]}"


def test_answers_come_in_order_and_each_call_is_a_row(fake, options, calls):
    answers = ask_many(PROMPTS, *at(fake, options, run="r", prompt_version="p7", concurrency=5))
    assert [answer.text for answer in answers] == [expected(prompt) for prompt in PROMPTS]
    assert fake.most <= 5
    rows = calls.table(run="r")
    assert len(rows) == len(PROMPTS)
    assert rows["output"].tolist() != [""]
    assert set(rows["output"]) == {expected(prompt) for prompt in PROMPTS}
    assert rows["prompt_tokens"].sum() == sum(map(len, PROMPTS))
    assert rows["completion_tokens"].eq(3).all()
    assert rows["prompt_version"].eq("p7").all()
    assert rows["status"].eq("ok").all()
    assert rows["latency_ms"].gt(0).all()
    assert rows["input"][0]["messages"][0]["content"] in PROMPTS


def test_what_was_answered_is_not_asked_again(fake, options):
    first = ask_many(PROMPTS[:10], *at(fake, options))
    again = ask_many(PROMPTS[:12], *at(fake, options))
    assert [answer.cached for answer in again] == [True] * 10 + [False] * 2
    assert [a.text for a in again[:10]] == [a.text for a in first]
    assert again[0].response == first[0].response
    assert len(fake.seen) == 12


def test_the_latency_that_other_runs_waited_for_is_replayed(one, options):
    options |= {"concurrency": 5}
    mine, others = ReplayedLatency(), ReplayedLatency()
    first = ask_many(PROMPTS, *at(one, options, run="first", replayed=mine))
    ask_many(PROMPTS, *at(one, options, run="first", replayed=mine))
    assert mine.seconds == 0, "it waited itself"
    for _ in range(2):
        ask_many(PROMPTS, *at(one, options, run="second", replayed=others))
    waited = sum(answer.latency_ms for answer in first) / 1000 / 5
    assert others.seconds == pytest.approx(waited, abs=0.006)
    assert mine.seconds == 0, "a run has its own"


def test_a_replayed_answer_is_the_answer(fake, options):
    request = {"messages": [{"role": "user", "content": "a good film"}], "logprobs": True}
    first, again = (ask(request, *at(fake, options)) for _ in range(2))
    assert again == replace(first, cached=True)
    assert first.log_probabilities == ((-0.5,) * 3 if "logprobs" in fake.honours else ())


def test_a_parameter_that_is_none_is_left_out_and_a_requests_own_field_counts():
    target = Target("http://127.0.0.1:9/v1", "m", {"logprobs": None, "max_tokens": 5, "seed": 1})
    (body,) = prepare([{"messages": [{}], "max_tokens": 9}], target).bodies
    assert body == {"model": "m", "messages": [{}], "max_tokens": 9, "seed": 1}


def test_a_wrong_setting_of_the_server_is_named():
    with pytest.raises(ValueError, match="server: slot is not known; it takes model, adapters, sl"):
        Target(server={"slot": 2})


@pytest.mark.parametrize("name", FORMATS)
def test_a_wire_format_offers_what_the_protocol_asks(name):
    assert isinstance(Provider("mine", "http://127.0.0.1:9/v1", format=name).wire, Format)


def test_equal_requests_are_asked_once_and_a_repeat_again(fake, options):
    ask_many(["same"] * 5, *at(fake, options))
    assert len(fake.seen) == 1
    assert not ask("same", *at(fake, options, repeat=1)).cached
    assert ask("same", *at(fake, options, repeat=1)).cached
    assert len(fake.seen) == 2


def test_a_stream_is_put_together_with_its_usage(fake, options, calls):
    (answer,) = ask_many(["a good film"], *at(fake, options, stream=True))
    whole = ask("a good film", *at(fake, options, repeat=1))
    assert answer.text == whole.text == expected("a good film")
    assert (answer.prompt_tokens, answer.completion_tokens) == (11, 3)
    assert 0 < answer.first_token_ms <= answer.latency_ms
    assert whole.first_token_ms is None
    assert calls.table()["first_token_ms"].notna().tolist() == [True, False]


def test_a_rate_limit_is_waited_out_as_long_as_it_says(fake, options):
    fake.troubles = ["rate"]
    answer = ask("a good film", *at(fake, options))
    assert answer.text == expected("a good film")
    assert answer.retries == 1
    assert fake.times[1] - fake.times[0] >= 0.4


@pytest.mark.parametrize(("stream", "times"), [(False, 2), (True, 1)])
def test_an_overloaded_endpoint_is_asked_again(fake, options, stream, times):
    fake.troubles = ["overloaded"] * times
    answer = ask("a good film", *at(fake, options, stream=stream))
    assert answer.text == expected("a good film")
    assert answer.retries == times


def test_retries_end_in_a_failed_row_which_is_asked_again_next_time(fake, options, calls):
    fake.troubles = ["overloaded"] * 2
    answers = ask_many(["one"], *at(fake, options, max_retries=1))
    assert answers[0].text is None
    assert answers[0].error == f"HTTP {fake.overloaded}: Overloaded"
    assert calls.table()[["status", "error"]].to_dict("records") == [
        {"status": "failed", "error": f"HTTP {fake.overloaded}: Overloaded"}
    ]
    assert ask("one", *at(fake, options)).text == expected("one")
    assert calls.spent()["failed"] == 1
    assert calls.spent()["calls"] == 2


@pytest.mark.parametrize("trouble", ["hang up", "cut"])
def test_a_broken_connection_is_tried_once_more(fake, options, trouble):
    fake.troubles = [trouble]
    answer = ask("a good film", *at(fake, options, stream=trouble == "cut"))
    assert answer.text == expected("a good film")
    assert answer.retries == 1
    assert len(fake.seen) == 2


def test_a_prompt_that_is_too_long(fake, options):
    answer = ask("good " * 1000, *at(fake, options))
    if fake.truncates:
        assert answer.prompt_tokens == fakes.LONGEST
    else:
        assert answer.error.startswith("HTTP 400: This model's maximum context length is 2000")
        assert len(fake.seen) == 1  # nothing is gained by asking again


def test_a_wrong_key_and_a_wrong_model_are_said(fake, options, monkeypatch):
    answer = ask("x", *at(fake, options, model="nobody"))
    assert answer.error == "HTTP 404: model 'nobody' not found"
    monkeypatch.setenv("TEST_KEY", "wrong")
    answer = ask("x", *at(fake, options))
    assert answer.error == ("HTTP 401: invalid key" if fake.needs_key else "")


def told_once(error, *words):
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_what_every_call_would_meet_ends_them_at_once_where_that_is_wanted(
    fake, options, calls, monkeypatch
):
    options |= {"give_up": True, "concurrency": 2}
    with pytest.raises(EndpointError) as error:
        ask_many(PROMPTS, *at(fake, options, model="nobody"))
    told_once(error, fake.url, "HTTP 404: model 'nobody' not found", "give a model that it has")
    assert len(fake.seen) <= 4
    failed = calls.table()
    assert failed["status"].eq("failed").all()  # on record all the same
    assert 1 <= len(failed) <= 2
    monkeypatch.setenv("TEST_KEY", "wrong")
    if fake.needs_key:
        with pytest.raises(EndpointError) as error:
            ask_many(PROMPTS, *at(fake, options, stream=True))
        told_once(error, "HTTP 401: invalid key; give a key that it takes")
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(EndpointError) as error:
        ask_many(PROMPTS, *at(fake, options))
    told_once(error, "TEST_KEY is not set; export it with your key")
    assert calls.spent()["usd"] == 0


def test_nobody_there_is_told_after_one_call_and_its_retries(options, calls, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "any")
    options |= {"endpoint": "http://127.0.0.1:9/v1", "max_retries": 1, "concurrency": 1}
    with pytest.raises(EndpointError) as error:
        ask_many(PROMPTS, *fakes.ways(**options, give_up=True))
    told_once(error, "no connection", "start it, or give another endpoint")
    assert len(calls.table()) == 1


def test_what_is_under_way_at_the_end_is_awaited_and_on_record(one, options, calls):
    """The first call fails for good while others, which are paid, are still under way."""
    slow = [[{"role": "user", "content": text}] for text in PROMPTS[:4]]
    bad = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}
    one.delay = 0.3
    with pytest.raises(EndpointError, match="give a model that it has"):
        ask_many([*slow, bad, *PROMPTS[4:]], *at(one, options, give_up=True, concurrency=6))
    rows = calls.table()
    assert rows["status"].eq("ok").sum() == len(one.answered) > 0
    assert len(rows) == len(one.seen) < len(PROMPTS)


@pytest.mark.parametrize(
    ("status", "code", "remedy", "calls_made"),
    [
        (400, "unsupported_value", "change what the request asks for", 5),
        (401, "invalid_api_key", "give a key that it takes", 1),
        (402, "payment_required", "pay at the provider", 5),
        (403, "forbidden", "give a key that it takes", 1),
        (404, "model_not_found", "give a model that it has", 1),
        (429, "insufficient_quota", "raise the quota at the provider", 5),
        (500, "server_error", "the endpoint is out of order", 5),
    ],
)
def test_errors_that_will_not_pass_end_a_run_with_one_sentence(
    one, options, calls, status, code, remedy, calls_made
):
    one.refusal = lambda *_: one.error(status, "no", code, code)
    way = at(one, options, give_up=True, concurrency=1, max_retries=0)
    with pytest.raises(EndpointError, match=remedy) as error:
        ask_many(PROMPTS, *way)
    assert "\n" not in str(error.value)
    assert len(one.seen) == len(calls.table()) == calls_made
    endless = at(one, options, give_up=True, concurrency=1, max_retries=0, patience=0, repeat=1)
    if calls_made > 1:
        assert {answer.outcome for answer in ask_many(PROMPTS, *endless)} == {"failed"}


def test_errors_are_counted_through_several_calls_where_they_share_a_list(one, options):
    one.troubles = ["broken"] * 30
    way = {"give_up": True, "concurrency": 1, "max_retries": 0, "alike": []}
    assert all(x.error for x in ask_many(PROMPTS[:3], *at(one, options, **way)))
    with pytest.raises(EndpointError, match="5 calls in a row failed alike"):
        ask_many(PROMPTS[3:6], *at(one, options, **way))
    assert len(one.seen) == 5


def test_an_answer_in_between_begins_the_count_anew(one, options):
    one.troubles = ["broken"] * 4 + [None] + ["broken"] * 4
    way = at(one, options, give_up=True, concurrency=1, max_retries=0)
    answers = ask_many(PROMPTS, *way)
    assert [bool(answer.error) for answer in answers].count(True) == 8


def test_a_prompt_too_long_or_a_busy_hour_ends_nothing(fake, options):
    fake.troubles = ["overloaded", "html"]
    found = ask_many(
        [*PROMPTS[:4], "good " * 1000],
        *at(fake, options, give_up=True, max_retries=0, concurrency=1),
    )
    errors = [answer.error for answer in found]
    assert list(map(bool, errors)) == [True, True, False, False, not fake.truncates]
    assert fake.truncates or "maximum context length is 2000" in errors[-1]


def test_an_exhausted_budget_is_one_sentence(fake, options):
    with pytest.raises(BudgetError) as error:
        ask_many(PROMPTS, *at(fake, options, budget=Budget(max_tokens=90), stream=True))
    told_once(error, "budget: max_tokens is 90", "is spent", "raise max_tokens or ask for less")


def test_the_local_model_tells_what_is_wrong_too(shared, gguf, calls):
    way = fakes.ways(server={"model": gguf}, parameters=PLAIN, calls=calls)
    long = ask("good " * 5000, *way)
    assert long.error.startswith("HTTP 400: ")
    assert "context" in long.error
    assert "\n" not in long.error
    assert ask("good", *way).error == ""


@pytest.mark.parametrize(
    ("trouble", "told"), [("html", "is not JSON"), ("empty", "answer has no choices")]
)
def test_an_answer_that_is_none_is_a_failure(fake, options, trouble, told):
    fake.troubles = [trouble]
    assert told in ask("x", *at(fake, options)).error
    fake.troubles = [trouble]
    streamed = ask("x", *at(fake, options, stream=True))
    assert streamed.text is None
    assert streamed.error == chat_completions.NOT_STREAMED or told in streamed.error


def test_an_endpoint_that_tells_no_usage(fake, options):
    fake.troubles = ["no usage"]
    budget = Budget(max_tokens=1000)
    answer = ask("a good film", *at(fake, options, budget=budget))
    assert answer.text == expected("a good film")
    assert answer.completion_tokens is None
    body = {"messages": [{"role": "user", "content": "a good film"}], **PLAIN}
    assert budget.tokens == sum(most_tokens(body))


CAN = {
    "openai": {"logprobs", "json_schema", "seed"},
    "anthropic": set(),
    "ollama": {"json_schema", "seed"},
    "vllm": {"logprobs", "json_schema", "seed"},
}


def test_capabilities_are_what_it_does_not_what_it_takes(fake, options):
    way = at(fake, options, parameters={})
    found = probe(*way)
    can = {name for name, able in found.facts().items() if able}
    assert can == CAN[fake.name] | {"usage", "stream_usage"}
    asked = len(fake.seen)
    assert probe(*way) == found
    assert len(fake.seen) == asked


def test_an_endpoint_that_is_not_there(options, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "any")
    target = Target("http://127.0.0.1:9/v1", "m")
    answer = ask("x", target, CallOptions(calls=options["calls"], max_retries=0))
    assert answer.error.startswith("no connection: ")
    with pytest.raises(EndpointError, match="does not answer: no connection"):
        probe(target, CallOptions(calls=options["calls"], max_retries=0))


def test_an_endpoint_that_is_too_slow(one, options):
    one.delay = 0.4
    answer = ask("x", *at(one, options, timeout_s=0.1, max_retries=0))
    assert answer.error == "no answer in time"


def test_a_report_is_replayed_without_a_key(one, options, monkeypatch):
    ask_many(PROMPTS[:3], *at(one, options))
    monkeypatch.delenv("TEST_KEY")
    assert all(answer.cached for answer in ask_many(PROMPTS[:3], *at(one, options)))
    with pytest.raises(EndpointError, match="TEST_KEY is not set; export it"):
        ask_many(PROMPTS[:4], *at(one, options))
    assert len(one.seen) == 3


def test_the_budget_stops_before_the_call_that_would_exceed_it(one, options, calls):
    most = sum(most_tokens({"messages": [{"role": "user", "content": PROMPTS[0]}], **PLAIN}))
    budget = Budget(max_tokens=most + 60)
    with pytest.raises(BudgetError, match=r"max_tokens is .* next call may need") as error:
        ask_many(PROMPTS, *at(one, options, budget=budget, concurrency=8))
    assert "\n" not in str(error.value)
    answered = calls.table()
    assert 0 < len(answered) < len(PROMPTS)
    assert answered["status"].eq("ok").all(), "what was under way was awaited"
    spent = answered[["prompt_tokens", "completion_tokens"]].sum().sum()
    assert spent == budget.tokens <= budget.max_tokens
    more = ask_many(PROMPTS, *at(one, options, budget=Budget(max_tokens=10_000)))
    assert sum(answer.cached for answer in more) == len(answered)
    assert len(one.seen) == len(PROMPTS)


def test_a_budget_in_dollars(one, options, monkeypatch, tmp_path):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    line = f"priced:\n  base_url: {one.url}\n  key_env: TEST_KEY\n  prices: openai\n"
    (tmp_path / "params" / "endpoints.yaml").write_text(line)
    monkeypatch.chdir(tmp_path)
    options |= {"endpoint": "priced", "model": "gpt-4o"}
    (answer,) = ask_many(PROMPTS[:1], *fakes.ways(**options))
    assert math.isclose(answer.usd, Price("openai", "gpt-4o").usd(len(PROMPTS[0]), 3))
    with pytest.raises(BudgetError, match=r"max_usd is 1e-06, 0\.000000 is spent"):
        ask_many(PROMPTS, *fakes.ways(**options, budget=Budget(max_usd=1e-6)))
    assert len(one.seen) == 1
    target, how = fakes.ways(**options)
    bill = estimate(PROMPTS, replace(target, key_env=""), how)
    assert "29 calls (1 more are cached)" in str(bill)


@pytest.mark.parametrize(
    ("budget", "request_", "told"),
    [
        (Budget(max_tokens=9), {"max_tokens": None}, "max_tokens: a budget needs it"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_before_any_call(
    one, options, budget, request_, told
):
    body = {"messages": [{"role": "user", "content": "x"}], **request_}
    with pytest.raises(ValueError, match=told):
        ask_many(["fine", body], *at(one, options, budget=budget))
    assert one.seen == []


def test_an_unknown_price_stops_only_where_a_limit_was_set_on_purpose(one, options, capsys):
    away = at(one, options, endpoint="https://models.example/v1", budget=Budget(max_usd=1))
    with pytest.raises(ValueError, match="max_usd: no price is known for 'm'"):
        ask_many(["fine"], *away)
    assert ask("fine", *at(one, options, budget=Budget(max_usd=0.0))).usd == 0, "it runs here"
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **PLAIN}
    with pytest.raises(ValueError, match="no price is known for 'm'"):
        Budget.of(1.0).cost({"model": "m", "messages": [], **PLAIN}, Price("", "m"))
    budget = Budget.of(None)
    assert budget.max_usd == 1.0
    for _ in range(2):
        assert budget.cost(body, Price("", "m"))[0] == 0
    assert capsys.readouterr().out.count("Warning: no price is known for 'm'") == 1


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"messages": []}, "request 1: messages: there are none"),
        ({"messages": [{}], "stream": True}, "request 1: stream: is an option"),
    ],
)
def test_a_wrong_request_is_refused_before_any_call(one, options, request_, told):
    with pytest.raises(ValueError, match=told):
        ask_many(["fine", request_], *at(one, options))
    with pytest.raises(ValueError, match="concurrency: 0"):
        ask_many(["fine"], *at(one, options, concurrency=0))
    assert one.seen == []


def test_it_works_inside_a_running_loop_and_can_be_awaited(one, options):
    async def cell():
        return ask("a good film", *at(one, options)).text, [
            answer.text for answer in await ask_many_async(PROMPTS[:2], *at(one, options))
        ]

    assert asyncio.run(cell()) == (expected("a good film"), [expected(p) for p in PROMPTS[:2]])


def test_a_ledger_that_cannot_be_written_stops_the_calls(one, options, calls):
    one.delay = 0.02
    threading.Timer(0.1, calls.close).start()
    with pytest.raises(LedgerError, match="closed"):
        ask_many([f"p {i}" for i in range(2000)], *at(one, options, concurrency=2))
    assert len(one.seen) < 2000


RUN = """
import sys
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
ask_many([f"a good film {i}" for i in range(200)], Target(sys.argv[1], "m", key_env="TEST_KEY"),
         CallOptions(calls=sys.argv[2], concurrency=16))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_off_goes_on_where_it_stopped(one, tmp_path, number):
    one.delay, ledger = 0.05, tmp_path / "ledger.db"
    command = [sys.executable, "-c", RUN, one.url, str(ledger)]
    cut = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(one.seen) < 20:
        assert time.monotonic() < until, "it never asked"
        time.sleep(0.01)
    cut.send_signal(number)
    assert cut.wait(30) != 0
    asked, one.delay = len(one.seen), 0.0
    with Calls(ledger) as calls:
        rows = calls.table()
    answered = rows["status"].eq("ok").sum()
    assert asked - 16 <= answered <= asked  # at most what was under way is lost
    if number == signal.SIGINT:  # and that is on record, too: it may have been paid
        assert len(rows) == asked > answered
        assert rows.loc[rows["status"] == "failed", "error"].str.contains("interrupted").all()
    subprocess.run(command, check=True)
    assert len(one.seen) == asked + 200 - answered


def test_the_local_model_is_asked_and_costs_nothing(shared, gguf, calls):
    target, options = Target(server={"model": gguf}, parameters=PLAIN), CallOptions(calls=calls)
    answers = ask_many(PROMPTS[:8], target, replace(options, concurrency=8))
    assert [answer.error for answer in answers] == [""] * 8
    assert {answer.usd for answer in answers} == {0.0}
    with_budget = Budget(max_usd=0.0, max_tokens=100_000)
    assert ask("more", target, replace(options, budget=with_budget)).usd == 0.0
    found = probe(Target(server={"model": gguf}), options)
    assert found.usage
    assert found.stream_usage
    assert found.logprobs
    assert found.json_schema


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("by_url", [True, False])
def test_a_stream_leaves_no_broken_connection_to_the_next(shared, gguf, calls, concurrency, by_url):
    url = f"{shared.url}/v1"
    target = (
        Target(url, "diptych", PLAIN) if by_url else Target("local", "", PLAIN, {"model": gguf})
    )
    options = CallOptions(calls=calls, concurrency=concurrency, stream=True)
    answers = ask_many(PROMPTS, target, options)
    assert [answer.error for answer in answers] == [""] * len(PROMPTS)
    assert [answer.retries for answer in answers] == [0] * len(PROMPTS)


def test_the_local_server_killed_in_mid_stream_costs_one_retry(gguf, home, calls):
    server = process.start(gguf)
    long = {"max_tokens": 400, "ignore_eos": True}
    way = fakes.ways(server={"model": gguf}, parameters=long, calls=calls, stream=True)
    made = {}
    thread = threading.Thread(target=lambda: made.update(answer=ask("a good film", *way)))
    thread.start()
    time.sleep(0.3)
    os.kill(server.pid, signal.SIGKILL)
    thread.join()
    assert made["answer"].error == ""
    assert made["answer"].completion_tokens > 0
    assert len(calls.table()) == 1


NOTEBOOK = """
import sys
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.server import process
model = sys.argv[1]
target = Target(server={"model": model}, parameters={"max_tokens": 4})
answers = ask_many([f"{sys.argv[2]} {i}" for i in range(5)], target, CallOptions(concurrency=4))
assert not any(answer.error for answer in answers), answers
print(process.find(model).pid)
"""


def test_eight_notebooks_at_once_share_one_server_and_one_ledger(gguf, home):
    command = [sys.executable, "-c", NOTEBOOK, str(gguf)]
    notebooks = [
        subprocess.Popen([*command, f"n{i}"], stdout=subprocess.PIPE, text=True) for i in range(8)
    ]
    pids = [notebook.communicate(timeout=240)[0] for notebook in notebooks]
    assert [notebook.returncode for notebook in notebooks] == [0] * 8
    assert len(set(pids)) == 1
    with Calls(home / "ledger.db") as calls:
        assert calls.spent()["calls"] == 40


def test_an_answer_shows_itself_in_a_line():
    answer = Answer("<b>", prompt_tokens=12, completion_tokens=1, latency_ms=340.2, cached=True)
    assert repr(answer) == "<Answer '<b>' · 12 tokens in, 1 out · 340 ms · from the ledger>"
    html = answer._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert repr(Answer(None, "no server")) == "<Answer failed: no server>"
