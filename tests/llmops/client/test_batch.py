"""Batches: over the wire by OpenAI's Batch API, and here by the local model, with one interface."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from llmops import fakes
from llmops import provider_fakes as providers
from llmops.fake_batch import FakeBatch
from llmops.fake_message_batches import MessageBatches

from diptych.base import workspace
from diptych.core.store.calls import Calls
from diptych.core.store.prices import Price
from diptych.llmops.client import adaptation, batch_job
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.batch import BatchError, ask_batch, cancel, costs
from diptych.llmops.client.budget import Budget, BudgetError, most_tokens
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.openai_batches import OpenAIBatches
from diptych.llmops.client.request import prepare
from diptych.llmops.client.target import Target

PROMPTS = [f"a {'bad' if i % 3 else 'good'} film {i}" for i in range(8)]
PLAIN = {"temperature": 0, "max_tokens": 20}


@pytest.fixture
def fake(monkeypatch, home):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(FakeBatch("openai")) as fake:
        yield fake


@pytest.fixture
def ask(fake, calls):
    """Ask in a batch, or in real time with `how`."""

    def ask(prompts=PROMPTS, how=ask_batch, wait_s=None, **more):
        fields = {"endpoint": fake.url, "model": "m", "key_env": "TEST_KEY", "calls": calls,
                  "parameters": PLAIN}  # fmt: skip
        waits = {"poll_s": 0.01, "wait_s": wait_s} if how is ask_batch else {}
        return how(prompts, *fakes.ways(**fields | more), **waits)

    return ask


def paths(fake, method):
    return [path for how, path in fake.asked_for if how == method]


def notes():
    return list((workspace.home() / "batches").glob("*/*.json*"))


def test_a_batch_answers_as_real_time_does(fake, ask, calls):
    answers = ask(run="r", prompt_version="p7")
    again = ask(how=ask_many, repeat=1)
    assert [a.text for a in answers] == [a.text for a in again]
    assert [(a.prompt_tokens, a.completion_tokens) for a in answers] == [
        (a.prompt_tokens, a.completion_tokens) for a in again
    ]
    rows = calls.table(run="r")
    assert len(rows) == len(PROMPTS)
    assert set(rows["output"]) == {a.text for a in answers}
    assert rows["prompt_version"].eq("p7").all()
    assert rows["status"].eq("ok").all()
    (content,) = [fake.files[b["input_file_id"]] for b in fake.batches.values()]
    lines = [json.loads(line) for line in content.splitlines()]
    assert {line["body"]["messages"][0]["content"] for line in lines} == set(PROMPTS)
    assert all(line["body"].items() >= (PLAIN | {"model": "m"}).items() for line in lines)
    assert notes() == []


def test_what_was_answered_is_not_asked_again_by_either(fake, ask):
    ask(PROMPTS[:3], how=ask_many)
    answers = ask()
    assert [a.cached for a in answers] == [True] * 3 + [False] * 5
    assert all(a.cached for a in ask(how=ask_many))
    assert all(a.cached for a in ask())
    assert len(fake.batches) == 1
    ask(PROMPTS[:1], repeat=1)
    assert len(fake.batches) == 2


def test_equal_questions_are_one_line(fake, ask):
    answers = ask(["same"] * 3 + ["other"])
    assert len({a.text for a in answers[:3]}) == 1
    (batch,) = fake.batches.values()
    assert len(fake.lines(batch)) == 2


def test_a_line_that_failed_is_a_failed_row_and_asked_again(fake, ask, calls):
    fake.wrong = frozenset(PROMPTS[:2])
    answers = ask()
    assert [a.error for a in answers] == ["HTTP 400: too long for it"] * 2 + [""] * 6
    assert calls.spent()["failed"] == 2
    fake.wrong = frozenset()
    again = ask()
    assert [a.cached for a in again] == [False] * 2 + [True] * 6
    assert [a.error for a in again] == [""] * 8


def test_what_an_expired_batch_holds_is_kept_and_the_rest_asked_again(fake, ask):
    fake.end, fake.done = "expired", 5
    answers = ask()
    missing = [a.error for a in answers if a.error]
    assert missing == ["The batch was expired first."] * 3
    fake.end = "completed"
    assert all(not a.error for a in ask())
    _, second = fake.batches.values()
    assert len(fake.lines(second)) == 3


def test_a_batch_cancelled_while_it_is_waited_for(fake, ask):
    fake.course, fake.done = ("in_progress",) * 10_000, 2
    script = f"""
import os
from diptych.llmops.client.batch import ask_batch
from diptych.llmops.client.target import Target
answers = ask_batch({PROMPTS!r}, Target({fake.url!r}, "m", key_env="TEST_KEY"), poll_s=0.01)
print(sorted(a.error for a in answers)[-1], sum(not a.error for a in answers))
"""
    waiting = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not any(b["step"] > 2 for b in fake.batches.values()):
        assert time.monotonic() < until, "it never waited"
        time.sleep(0.01)
    assert cancel(Target(fake.url, key_env="TEST_KEY")) == 1
    said, _ = waiting.communicate(timeout=60)
    assert said.strip() == "The batch was cancelled first. 2"
    with pytest.raises(ValueError, match="ends with the process that asks"):
        cancel(Target())


def test_a_batch_that_is_refused_says_which_line(fake, ask, calls):
    with pytest.raises(BatchError, match=r"was refused, line 1: The model 'nobody' has no"):
        ask(model="nobody")
    assert calls.table().empty
    assert notes() == []


def test_each_model_has_a_file_of_its_own(fake, ask):
    bodies = [{"messages": [{"role": "user", "content": p}], "model": m}
              for p in PROMPTS[:2] for m in ("m", "n")]  # fmt: skip
    assert all(not a.error for a in ask(bodies))
    models = [{line["body"]["model"] for line in fake.lines(b)} for b in fake.batches.values()]
    assert sorted(map(sorted, models)) == [["m"], ["n"]]


def test_more_lines_or_bytes_than_a_file_may_hold_make_more_batches():
    todo = {f"h{i}": {"model": "m", "messages": [{"content": "x"}]} for i in range(5)}
    assert [len(part) for part in batch_job.parts(todo, most_lines=2)] == [2, 2, 1]
    size = len("".join(next(batch_job.parts(todo)))) // 5
    assert [len(part) for part in batch_job.parts(todo, most_bytes=3 * size)] == [3, 2]


def test_a_wait_that_is_over_leaves_the_batch_and_it_is_taken_up(fake, ask):
    fake.course = ("in_progress",) * 10_000
    with pytest.raises(BatchError, match=r"is in_progress, 0 of 8 done after 0.05 s; ask the same"):
        ask(wait_s=0.05)
    fake.course = ()
    assert all(not a.error for a in ask(PROMPTS[:4]))
    assert len(fake.batches) == 1
    assert all(a.cached for a in ask())  # the others came with the same batch


RUN = """
import sys
from diptych.llmops.client.batch import ask_batch
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
ask_batch([f"a good film {i}" for i in range(6)], Target(sys.argv[1], "m", key_env="TEST_KEY"),
          CallOptions(calls=sys.argv[2]), poll_s=0.02)
"""


def test_a_run_killed_while_it_waits_does_not_pay_twice(fake, tmp_path):
    fake.course = ("in_progress",) * 10_000
    command = [sys.executable, "-c", RUN, fake.url, str(tmp_path / "l.db")]
    cut = subprocess.Popen(command)
    until = time.monotonic() + 60
    while not any(b["step"] > 2 for b in fake.batches.values()):
        assert time.monotonic() < until, "it never waited"
        time.sleep(0.01)
    os.kill(cut.pid, signal.SIGKILL)
    cut.wait()
    fake.course = ()
    subprocess.run(command, check=True)
    assert len(fake.batches) == 1
    with Calls(tmp_path / "l.db") as calls:
        assert calls.spent()["calls"] == 6
        assert calls.spent()["failed"] == 0


def test_a_batch_whose_making_was_cut_off_is_found_again(fake, ask):
    """The endpoint made it, and the answer with its id never came."""
    fake.forget = True
    with pytest.raises(BatchError, match="connection"):
        ask()
    assert all(not a.error for a in ask())
    assert len(fake.batches) == 1


def test_a_note_of_a_batch_that_was_never_made_is_dropped(fake, ask):
    prepared = prepare(PROMPTS, Target(fake.url, "m", PLAIN, key_env="TEST_KEY"))
    (lines,) = batch_job.parts(prepared.by_hash())
    batch_job.BatchJob.begin(OpenAIBatches(prepared).folder, 0, lines)
    assert all(not a.error for a in ask())
    assert len(fake.batches) == 1
    assert notes() == []


def test_an_endpoint_without_batches_and_a_wrong_key_are_said(ask, monkeypatch):
    told = r"HTTP 404.*Batch API\? If not, take ask_many"
    with fakes.serving(fakes.make("vllm")) as plain, pytest.raises(BatchError, match=told):
        ask(endpoint=plain.url)
    monkeypatch.setenv("TEST_KEY", "wrong")
    with pytest.raises(BatchError, match="HTTP 401: invalid key"):
        ask()
    assert notes() == []


def test_a_batch_beyond_the_budget_is_not_made(fake, ask, monkeypatch, tmp_path):
    with pytest.raises(BudgetError, match=r"max_tokens is 100, 0 is spent"):
        ask(budget=Budget(max_tokens=100))
    assert fake.asked_for == []
    budget = Budget(max_tokens=10_000)
    answers = ask(budget=budget)
    assert budget.tokens == sum(a.prompt_tokens + a.completion_tokens for a in answers)
    assert budget.held_tokens == 0


def test_a_batch_is_billed_at_its_own_price(fake, ask, calls, monkeypatch, tmp_path):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    line = f"priced:\n  base_url: {fake.url}\n  key_env: TEST_KEY\n  prices: openai\n"
    (tmp_path / "params" / "endpoints.yaml").write_text(line)
    monkeypatch.chdir(tmp_path)
    (later,) = ask(PROMPTS[:1], endpoint="priced", model="gpt-4o")
    (now,) = ask(PROMPTS[:1], how=ask_many, endpoint="priced", model="gpt-4o", repeat=1)
    assert math.isclose(later.usd, now.usd / 2)
    assert math.isclose(calls.spent()["usd"], later.usd + now.usd)


def test_what_a_batch_would_save():
    table = costs(1_000_000, 200_000, ["openai/gpt-4o", "free/x", "a/b"])
    real, batch = table[["real time", "batch"]].T.to_numpy()
    assert real[0] == Price("openai", "gpt-4o").usd(1_000_000, 200_000)
    assert math.isclose(batch[0], real[0] / 2)
    assert math.isclose(table["saved"][0], 0.5)
    assert (real[1], batch[1]) == (0, 0)
    assert table.loc[2, ["real time", "batch", "saved"]].isna().all()
    assert table["source"][0].startswith("genai-prices ")


def test_the_local_model_works_through_the_same_file(shared, gguf, calls):
    target = Target(server={"model": gguf}, parameters=PLAIN)
    later = ask_batch(PROMPTS, target, CallOptions(calls=calls, run="b"))
    now = ask_many(PROMPTS, target, CallOptions(calls=calls, repeat=1))
    assert [a.text for a in later] == [a.text for a in now]
    assert [type(a) for a in later] == [type(a) for a in now]
    assert [a.completion_tokens for a in later] == [a.completion_tokens for a in now]
    assert {a.usd for a in later} == {0.0}
    assert len(calls.table(run="b")) == len(PROMPTS)
    assert all(a.cached for a in ask_batch(PROMPTS, target, CallOptions(calls=calls)))
    assert notes() == []


@pytest.fixture
def claude(monkeypatch, home, tmp_path):
    """Anthropic with its batches, as the endpoint ``mine``."""
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(MessageBatches(samples=True)) as fake:
        line = f"mine:\n  like: anthropic\n  base_url: {fake.url}\n  key_env: TEST_KEY\n"
        fakes.as_clone(tmp_path, line, monkeypatch)
        yield fake


@pytest.fixture
def ask_claude(claude, ask):
    parameters = PLAIN | {"logprobs": True}  # which it has not
    return partial(
        ask, endpoint="mine", model="claude-sonnet-4-5", key_env="", parameters=parameters
    )


def test_claudes_batches_answer_as_real_time_does(claude, ask_claude, calls):
    answers = ask_claude(run="r")
    again = ask_claude(how=ask_many, repeat=1)
    assert [a.text for a in answers] == [a.text for a in again]
    assert [(a.prompt_tokens, a.completion_tokens) for a in answers] == [(10, 1)] * len(PROMPTS)
    assert all(math.isclose(a.usd, b.usd / 2) for a, b in zip(answers, again, strict=True))
    assert answers[0].changes == again[0].changes == {"logprobs": None}
    assert len(claude.batches) == 1
    assert calls.table(run="r")["input"].iloc[0]["logprobs"] is True, "as it was asked"
    assert all(a.cached for a in ask_claude())
    assert notes() == []


def test_what_claude_refuses_or_has_no_time_for_is_a_failed_row(claude, ask_claude):
    claude.samples, claude.expired = False, 3
    answers = ask_claude()
    reasons = {a.error for a in answers}
    assert reasons == {
        "`temperature` is deprecated for this model.",
        "the batch has no answer to this: it is expired",
    }
    assert [a.error.endswith("expired") for a in answers].count(True) == 3


def test_claudes_batch_whose_making_was_cut_off_is_found_again(claude, ask_claude):
    claude.forget = True
    with pytest.raises(BatchError, match="connection"):
        ask_claude()
    assert all(not a.error for a in ask_claude())
    assert len(claude.batches) == 1


def test_claudes_batch_is_cancelled_and_a_wrong_key_is_said(claude, ask_claude, monkeypatch):
    claude.looks = 10_000
    with pytest.raises(BatchError, match=r"is in_progress, 0 of 8 done"):
        ask_claude(wait_s=0.05)
    assert cancel(Target("mine")) == 1
    assert {a.error for a in ask_claude()} == {"the batch has no answer to this: it is canceled"}
    monkeypatch.setenv("TEST_KEY", "wrong")
    with pytest.raises(BatchError, match="HTTP 401: invalid x-api-key"):
        ask_claude(repeat=9)


def test_responses_have_batches_too(fake, ask, tmp_path, monkeypatch):
    line = f"mine:\n  format: responses\n  base_url: {fake.url}\n  key_env: TEST_KEY\n"
    fakes.as_clone(tmp_path, line, monkeypatch)
    fake.words = lambda body: ["positive"]
    fake.responses = providers.OpenAI(reasons=False).response
    answers = ask(endpoint="mine", key_env="")
    assert {a.error for a in answers} == {""}
    assert {a.text for a in answers} == {"positive", "negative"}
    (batch,) = fake.batches.values()
    assert batch["endpoint"] == "/v1/responses"
    assert all(line["body"]["max_output_tokens"] == 20 for line in fake.lines(batch))


def test_what_a_refusal_taught_goes_into_the_file(fake, ask):
    """In real time before it, as 4_serve does."""
    learned = adaptation.learned(fake.url, "m")
    learned.rules |= {"max_tokens": "max_completion_tokens", "temperature": None}
    try:
        answers = ask()
    finally:
        adaptation.forget()
    (batch,) = fake.batches.values()
    assert all("max_completion_tokens" in line["body"] for line in fake.lines(batch))
    assert answers[0].changes == {"max_tokens": "max_completion_tokens", "temperature": None}


def test_a_batch_that_is_not_collected_counts_as_what_it_can_cost(fake, ask):
    fake.course = ("in_progress",) * 10_000
    budget = Budget(max_tokens=10_000)
    with pytest.raises(BatchError, match="ask the same again later"):
        ask(wait_s=0.05, budget=budget)
    (batch,) = fake.batches.values()
    most = sum(sum(most_tokens(line["body"])) for line in fake.lines(batch))
    assert budget.tokens == budget.unanswered_tokens == most
    assert (budget.held_tokens, budget.under_way) == (0, 0)
    refused = Budget(max_tokens=10_000)
    with pytest.raises(BatchError, match="was refused"):
        ask(model="nobody", budget=refused)
    assert (refused.tokens, refused.under_way) == (0, 0)


def test_an_answer_of_a_batch_that_tells_no_usage_counts_as_what_it_can_cost(fake, ask):
    fake.usage = lambda body, words: {"prompt_tokens": -3}
    budget = Budget(max_tokens=10_000)
    ask(budget=budget)
    (batch,) = fake.batches.values()
    assert budget.tokens == sum(sum(most_tokens(line["body"])) for line in fake.lines(batch))


def test_a_damaged_line_is_a_failed_row(fake, ask):
    whole = fake.finish

    def damaged(batch, *arguments):
        whole(batch, *arguments)
        text = fake.files[batch["output_file_id"]].decode().splitlines()
        text[0], text[1] = text[0][:40], text[1].replace('"choices": [', '"choices": null, "x": [')
        fake.files[batch["output_file_id"]] = "\n".join([*text, "null", "[]"]).encode()

    fake.finish = damaged
    errors = sorted(a.error for a in ask() if a.error)
    assert len(errors) == 2
    assert "holds no answer to this" in errors[0]
    assert "no choices" in errors[1]
