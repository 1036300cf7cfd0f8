"""An endpoint under load, and a batch beside real time: on the wire and on the local server."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from llmops import fakes
from llmops import provider_fakes as providers
from llmops.fake_batch import FakeBatch
from llmops.fakes import as_clone

from diptych.llmops.client import load_test
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target

PROMPTS = [f"a {'bad' if i % 3 else 'good'} film {i}" for i in range(12)]
PLAIN = {"temperature": 0, "max_tokens": 20}


@pytest.fixture
def fake(monkeypatch, home):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(FakeBatch("openai")) as fake:
        yield fake


@pytest.fixture
def target(fake):
    return Target(fake.url, "m", PLAIN, key_env="TEST_KEY")


@pytest.fixture
def options(calls):
    return CallOptions(run="r", calls=calls)


def test_each_level_asks_all_with_so_many_under_way(fake, target, options, calls):
    fake.delay = 0.06
    levels = []
    for level in (1, 4):
        fake.most = 0
        levels.append(
            load_test.drive(PROMPTS, [level], target, replace(options, run=f"r{level}"), 2)
        )
        assert fake.most == level
    found = pd.concat(levels)
    assert found.groupby(["concurrency", "round"]).size().to_dict() == {
        (1, 0): 12, (1, 1): 12, (4, 0): 12, (4, 1): 12
    }  # fmt: skip
    assert (found["first_token_ms"] <= found["latency_ms"]).all()
    assert found["completion_tokens"].eq(3).all()
    assert found["error"].eq("").all()
    assert len(calls.table(run="r4")) == 2 * len(PROMPTS)
    assert load_test.summary(found)["ok"].tolist() == [24, 24]


@pytest.mark.parametrize("count", [3, 24])  # fewer than the server has slots, and more
def test_a_row_that_is_asked_again_is_read_again(gguf, home, calls, count):
    """Else load, latency and compute were those of a memory: a third to an eighth of the time."""
    prompts = [f"{i} {'good bad fine poor '[i % 5 :] * 5} film" for i in range(count)]
    target = Target(server={"model": gguf}, parameters={"temperature": 0, "max_tokens": 2})
    load_test.drive(prompts, [1], target, CallOptions(run="r", calls=calls), rounds=3)
    usage = [response["usage"] for response in calls.table()["response"]]
    read = [one["prompt_tokens"] - one["prompt_tokens_details"]["cached_tokens"] for one in usage]
    first, _, last = (sum(read[n : n + count]) for n in range(0, 3 * count, count))
    assert last >= 0.9 * first


def test_each_round_takes_the_next_requests(fake, target, options):
    load_test.drive(PROMPTS, [1, 2], target, options, rounds=2, count=3)
    asked = [body["messages"][-1]["content"] for body in fake.seen]
    assert sorted(asked) == sorted(PROMPTS)
    load_test.drive(PROMPTS[:4], [1], target, replace(options, run="few"), rounds=2, count=3)
    assert sorted(body["messages"][-1]["content"] for body in fake.seen[12:]) == sorted(
        [*PROMPTS[:4], *PROMPTS[:2]]
    )
    high = load_test.drive(PROMPTS, [4], target, replace(options, run="high"), rounds=2, count=1)
    assert high.groupby("round").size().tolist() == [4, 4]  # else it never were 4 at once


@pytest.mark.parametrize(
    ("make", "wire", "tokens"),
    [
        (providers.OpenAI, "", 1),
        (providers.OpenAI, "  format: responses\n", 1),
        (lambda thinks: providers.Gemini(thinks=thinks, total_only=True), "", 1),
        (providers.Anthropic, "  format: anthropic_messages\n", None),
        (providers.Ollama, "", None),
    ],
)
def test_thoughts_are_no_tokens_of_the_answer(make, wire, tokens, options, tmp_path, monkeypatch):
    """They come before the first token, so they would make it look fast."""
    monkeypatch.setenv("TEST_KEY", providers.KEY)
    with providers.serving(make(thinks=200)) as fake:
        entry = f"mine:\n  base_url: {fake.url}\n  key_env: TEST_KEY\n{wire}"
        as_clone(tmp_path, entry, monkeypatch)
        limit = {"max_completion_tokens": 400}
        calls = load_test.drive(PROMPTS[:3], [1], Target("mine", "m", limit), options, 2)
    assert calls["completion_tokens"].eq(201).all()
    assert calls["answer_tokens"].tolist() == pytest.approx([tokens or math.nan] * 6, nan_ok=True)
    assert math.isnan(load_test.summary(calls)["tokens_per_s_each"].iloc[0])


def test_nothing_that_is_timed_comes_from_the_ledger(fake, target, options):
    load_test.drive(PROMPTS, [2], target, options, rounds=2)
    assert len(fake.seen) == 2 * len(PROMPTS)
    load_test.drive(PROMPTS, [2], target, replace(options, run="another"), rounds=2)
    assert len(fake.seen) == 4 * len(PROMPTS)


def test_without_a_run_nothing_is_timed(fake, target, options):
    for ask in (load_test.beside_batch, lambda *a: load_test.drive(a[0], [1], *a[1:])):
        with pytest.raises(ValueError, match="run: is not given"):
            ask(PROMPTS, target, replace(options, run=""))
    assert fake.seen == []


def test_a_number_of_its_own_fits_the_ledger():
    made = {load_test.unused_repeat(f"run {i}") for i in range(500)}
    assert len(made) == 500
    assert all(0 <= number < 2**31 for number in made)


def test_what_failed_is_counted_and_not_timed(fake, target, options):
    fake.troubles = ["html"] * 3
    found = load_test.drive(PROMPTS, [1], target, options, rounds=2)
    assert found["error"].tolist().count("") == 21
    line = load_test.summary(found).iloc[0]
    assert (line["ok"], line["failed"]) == (21, 3)
    walls = found.groupby("round")["wall_s"].first().sum()
    assert line["requests_per_s"] == pytest.approx(21 / walls)


def test_rates_and_percentiles():
    calls = pd.DataFrame({
        "concurrency": [1, 1, 1, 8],
        "round": 0,
        "first_token_ms": [10.0, 20.0, math.nan, math.nan],
        "latency_ms": [110.0, 220.0, 5.0, 7.0],
        "completion_tokens": [11.0, 21.0, math.nan, math.nan],
        "answer_tokens": [11.0, 21.0, math.nan, math.nan],
        "error": ["", "", "HTTP 500: no", "no answer in time"],
        "wall_s": [4.0, 4.0, 4.0, 1.0],
    })  # fmt: skip
    one, eight = load_test.summary(calls).to_dict("records")
    assert (one["ok"], one["failed"]) == (2, 1)
    assert (one["first_token_p50_ms"], one["p50_ms"]) == (15, 165)
    assert one["requests_per_s"] == 0.5
    assert one["tokens_per_s"] == 8
    assert one["tokens_per_s_each"] == pytest.approx(100)  # 10 in 100 ms, and 20 in 200
    assert (eight["ok"], eight["failed"], eight["requests_per_s"]) == (0, 1, 0)
    assert math.isnan(eight["p95_ms"])
    assert one["between_tokens_p50_ms"] == pytest.approx(10)
    assert load_test.alone(calls)["p50_ms"] == 165
    assert one["queueing_p50_ms"] == 0
    busy = calls.assign(error="", latency_ms=[110.0, 220.0, 165.0, 500.0])
    assert load_test.summary(busy)["queueing_p50_ms"].tolist() == [0, 500 - 165]
    assert math.isnan(load_test.alone(calls[calls["concurrency"] == 8])["p50_ms"])


def test_the_local_server_under_load(shared, gguf, calls):
    prompts = [f"Write about film {i}." for i in range(6)]
    target = Target(server={"model": gguf}, parameters={"max_tokens": 5, "ignore_eos": True})
    found = load_test.drive(prompts, [1, 6], target, CallOptions(run="r", calls=calls), rounds=2)
    assert found["error"].eq("").all()
    assert found["completion_tokens"].eq(5).all()
    table = load_test.summary(found)
    assert table["tokens_per_s"].gt(0).all()
    assert table["tokens_per_s_each"].gt(0).all()
    assert (table["first_token_p50_ms"] <= table["p50_ms"]).all()


def test_a_batch_stands_beside_real_time(fake, target, options):
    found = load_test.beside_batch(PROMPTS, target, options, poll_s=0.01).set_index("name")
    assert found["ok"].tolist() == [12, 12]
    assert found["cached"].tolist() == [0, 0]
    for column in ("tokens in", "tokens out"):
        assert found[column].nunique() == 1
    assert len(fake.batches) == 1
    assert len(fake.seen) == 12


def test_a_remote_batch_is_paid_once_and_real_time_is_timed_anew(fake, target, options):
    waits = {"poll_s": 0.01, "wait_s": 60}
    load_test.beside_batch(PROMPTS, target, options, **waits)
    other = replace(options, run="another")
    again = load_test.beside_batch(PROMPTS, target, other, **waits).set_index("name")
    assert again["cached"].to_dict() == {"real time": 0, "batch": 12}
    assert len(fake.batches) == 1


def test_failures_of_a_batch_are_counted(fake, target, options):
    fake.wrong = frozenset(PROMPTS[:2])
    found = load_test.beside_batch(PROMPTS, target, options, poll_s=0.01).set_index("name")
    assert found.loc["batch", ["ok", "failed"]].tolist() == [10, 2]


def test_an_endpoint_without_batches_is_told_and_ends_nothing(target, options, home, monkeypatch):
    with fakes.serving(fakes.make("anthropic")) as other:
        found = load_test.beside_batch(PROMPTS, replace(target, endpoint=other.url), options)
    assert found["ok"].tolist() == [12, 0]
    assert found["note"][0] == ""
    assert "has it the Batch API?" in found["note"][1]


def test_a_batch_that_takes_longer_is_told_and_taken_up_again(fake, target, options):
    course, fake.course = fake.course, ("in_progress",) * 10_000
    found = load_test.beside_batch(PROMPTS, target, options, poll_s=0.01, wait_s=0.05)
    assert "ask the same again later" in found["note"][1]
    fake.course = course
    other = replace(options, run="another")
    again = load_test.beside_batch(PROMPTS, target, other, poll_s=0.01, wait_s=60)
    assert again["ok"].tolist() == [12, 12]
    assert len(fake.batches) == 1


def test_a_batch_of_the_local_model(shared, gguf, calls):
    target = Target(server={"model": gguf}, parameters=PLAIN)
    found = load_test.beside_batch(PROMPTS[:3], target, CallOptions(run="r", calls=calls))
    assert found["name"].tolist() == ["real time", "batch"]
    assert found["ok"].tolist() == [3, 3]
    assert found["usd"].tolist() == [0, 0]
    assert found["tokens in"].nunique() == 1
