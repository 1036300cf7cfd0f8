"""An endpoint under load, and a batch beside real time: on the wire and on the local server."""

import math

import pandas as pd
import pytest
from llmops import fakes
from llmops.fake_batch import FakeBatch

from diptych.llmops.client import load_test

PROMPTS = [f"a {'bad' if i % 3 else 'good'} film {i}" for i in range(12)]
PLAIN = {"temperature": 0, "max_tokens": 20}


@pytest.fixture
def fake(monkeypatch, home):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(FakeBatch("openai")) as fake:
        yield fake


@pytest.fixture
def options(fake, calls):
    return {
        "endpoint": fake.url, "model": "m", "key_env": "TEST_KEY", "parameters": PLAIN,
        "calls": calls,
    }  # fmt: skip


def test_each_level_asks_all_with_so_many_under_way(fake, options, calls):
    fake.delay = 0.06
    levels = []
    for level in (1, 4):
        fake.most = 0
        levels.append(load_test.drive(PROMPTS, [level], run=f"r{level}", **options))
        assert fake.most == level
    found = pd.concat(levels)
    assert found.groupby("concurrency").size().to_dict() == {1: 12, 4: 12}
    assert (found["first_token_ms"] <= found["latency_ms"]).all()
    assert found["completion_tokens"].eq(3).all()
    assert found["error"].eq("").all()
    assert len(calls.table(run="r4")) == len(PROMPTS)
    assert load_test.summary(found)["ok"].tolist() == [12, 12]


def test_nothing_that_is_timed_comes_from_the_ledger(fake, options):
    load_test.drive(PROMPTS, [2, 2], run="r", **options)
    assert len(fake.seen) == 2 * len(PROMPTS)
    load_test.drive(PROMPTS, [2], run="another", **options)
    assert len(fake.seen) == 3 * len(PROMPTS)


def test_a_number_of_its_own_fits_the_ledger():
    made = {load_test.fresh(f"run {i}") for i in range(500)}
    assert len(made) == 500
    assert all(0 <= number < 2**31 for number in made)


def test_what_failed_is_counted_and_not_timed(fake, options):
    fake.troubles = ["html"] * 3
    found = load_test.drive(PROMPTS, [1], run="r", **options)
    assert found["error"].tolist().count("") == 9
    line = load_test.summary(found).iloc[0]
    assert (line["ok"], line["failed"]) == (9, 3)
    assert line["requests_per_s"] == pytest.approx(9 / found["wall_s"].iloc[0])


def test_rates_and_percentiles():
    calls = pd.DataFrame({
        "concurrency": [1, 1, 1, 8],
        "first_token_ms": [10.0, 20.0, math.nan, math.nan],
        "latency_ms": [110.0, 220.0, 5.0, 7.0],
        "completion_tokens": [11.0, 21.0, math.nan, math.nan],
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


def test_the_local_server_under_load(shared, gguf, calls):
    prompts = [f"Write about film {i}." for i in range(6)]
    options = {"server": {"model": gguf}, "parameters": {"max_tokens": 5, "ignore_eos": True}}
    found = load_test.drive(prompts, [1, 6], run="r", calls=calls, **options)
    assert found["error"].eq("").all()
    assert found["completion_tokens"].eq(5).all()
    table = load_test.summary(found)
    assert table["tokens_per_s"].gt(0).all()
    assert table["tokens_per_s_each"].gt(0).all()
    assert (table["first_token_p50_ms"] <= table["p50_ms"]).all()


def test_a_batch_stands_beside_real_time(fake, options):
    found = load_test.beside_batch(PROMPTS, run="r", poll_s=0.01, **options).set_index("name")
    assert found["ok"].tolist() == [12, 12]
    assert found["cached"].tolist() == [0, 0]
    for column in ("tokens in", "tokens out"):
        assert found[column].nunique() == 1
    assert len(fake.batches) == 1
    assert len(fake.seen) == 12


def test_a_remote_batch_is_paid_once_and_real_time_is_timed_anew(fake, options):
    options |= {"poll_s": 0.01, "wait_s": 60}
    load_test.beside_batch(PROMPTS, run="r", **options)
    again = load_test.beside_batch(PROMPTS, run="another", **options).set_index("name")
    assert again["cached"].to_dict() == {"real time": 0, "batch": 12}
    assert len(fake.batches) == 1


def test_failures_of_a_batch_are_counted(fake, options):
    fake.wrong = frozenset(PROMPTS[:2])
    found = load_test.beside_batch(PROMPTS, run="r", poll_s=0.01, **options).set_index("name")
    assert found.loc["batch", ["ok", "failed"]].tolist() == [10, 2]


def test_an_endpoint_without_batches_is_told_and_ends_nothing(options, home, monkeypatch):
    with fakes.serving(fakes.make("anthropic")) as other:
        found = load_test.beside_batch(PROMPTS, run="r", **options | {"endpoint": other.url})
    assert found["ok"].tolist() == [12, 0]
    assert found["note"][0] == ""
    assert "has it the Batch API?" in found["note"][1]


def test_a_batch_that_takes_longer_is_told_and_taken_up_again(fake, options):
    course, fake.course = fake.course, ("in_progress",) * 10_000
    options |= {"poll_s": 0.01}
    found = load_test.beside_batch(PROMPTS, run="r", wait_s=0.05, **options)
    assert "ask the same again later" in found["note"][1]
    fake.course = course
    again = load_test.beside_batch(PROMPTS, run="another", wait_s=60, **options)
    assert again["ok"].tolist() == [12, 12]
    assert len(fake.batches) == 1


def test_a_batch_of_the_local_model(shared, gguf, calls):
    found = load_test.beside_batch(
        PROMPTS[:3], run="r", calls=calls, server={"model": gguf}, parameters=PLAIN
    )
    assert found["name"].tolist() == ["real time", "batch"]
    assert found["ok"].tolist() == [3, 3]
    assert found["usd"].tolist() == [0, 0]
    assert found["tokens in"].nunique() == 1
