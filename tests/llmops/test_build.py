"""The evaluation of prompts, over the wire, with faults; and the tables made of it."""

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from llmops import fakes
from sklearn.metrics import log_loss

from diptych.core.evaluation import stats
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.leaderboard import estimates
from diptych.core.evaluation.metrics import METRICS
from diptych.core.store.calls import Calls
from diptych.core.store.records import Record, RecordError
from diptych.llmops import build
from diptych.llmops.client.ask import Answer
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.formats import chat_completions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.evaluation.outcome import UnmeasuredError
from diptych.llmops.evaluation.scorers import exact
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = {"type": "string", "enum": ["negative", "positive"]}
PLAIN = Prompt("plain", "films", ("text",), "", "{text}", output=LABELS)
SHOUT = Prompt("shout", "films", ("text",), "Shout.", "{text}!", output=LABELS)
POOL = [({"text": "good"}, "positive"), ({"text": "bad"}, "negative")]


def films(n):
    """Return rows of which the fakes get every seventh wrong."""
    said = ["bad" if i % 3 else "good" for i in range(n)]
    truth = [("negative" if i % 3 else "positive") if i % 7 else "mixed" for i in range(n)]
    texts = [f"a {word} film {i}" for i, word in enumerate(said)]
    return pd.DataFrame({"id": [f"f{i:04d}" for i in range(n)], "text": texts, "label": truth})


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(fakes.make("openai")) as fake:
        yield fake


def variant(fake, prompt=PLAIN, **more):
    return Variant(prompt, Target(fake.url, "m", key_env="TEST_KEY"), **more)


def asked(fake, variants, rows, calls, grader="label", pool=(), repeats=1, **options):
    options = CallOptions(calls=calls, **options)
    return evaluate.evaluate(variants, rows, grader, options, pool=pool, repeats=repeats)


def steady(results):
    """Return what must not depend on when and in how many pieces it was asked."""
    times = ["latency_ms", "first_token_ms", "cached"]
    return results.drop(columns=times)


def test_every_variant_is_asked_about_every_row(fake, calls):
    rows, pool = films(40), POOL
    variants = [variant(fake), variant(fake, SHOUT, shots=2)]
    found = asked(fake, variants, rows, calls, pool=pool, run="r", concurrency=8, stream=True)
    assert list(found) == list(evaluate.COLUMNS)
    assert len(found) == 80
    assert found["id"].tolist() == rows["id"].tolist() * 2
    assert found["expected"].tolist() == rows["label"].tolist() * 2
    assert (found["correct"] == (found["predicted"] == found["expected"])).all()
    assert (found["correct"] == (found["expected"] != "mixed")).all()
    assert found["confidence"].tolist() == pytest.approx([math.exp(-0.5)] * 80)
    assert (found["first_token_ms"] <= found["latency_ms"]).all()
    assert (found["error"] == "").all()
    shown = [len(body["messages"]) for body in fake.seen]
    assert Counter(shown) == {1: 40, 6: 40}
    ledger = calls.table(run="r")
    assert set(ledger["prompt_version"]) == {PLAIN.version, SHOUT.version}
    assert len(ledger) == 80


def test_what_was_asked_is_not_asked_again_but_a_repeat_is(fake, calls):
    first = asked(fake, [variant(fake)], films(10), calls)
    again = asked(fake, [variant(fake)], films(12), calls, repeats=2)
    assert len(fake.seen) == 24
    kept = again[(again["repeat"] == 0) & again["cached"]]
    pd.testing.assert_frame_equal(
        kept.drop(columns="cached"), first.drop(columns="cached"), check_exact=True
    )
    assert again["cached"].sum() == 10


def test_chunks_change_nothing(fake, calls, monkeypatch):
    whole = asked(fake, [variant(fake)], films(25), calls)
    monkeypatch.setattr(evaluate, "CHUNK", 4)
    again = asked(fake, [variant(fake)], films(25), calls, repeats=1)
    pd.testing.assert_frame_equal(steady(whole), steady(again))


def test_a_scorer_of_ones_own(fake, calls):
    found = asked(fake, [variant(fake)], films(6), calls, grader=exact)
    assert set(found["grader"]) == {"exact"}
    assert not found["correct"].any()  # the fakes say more than the label
    assert found["predicted"].str.contains("<b>").all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"variants": []}, "there are none"),
        ({"rows": films(0)}, "there are none"),
        ({"repeats": 0}, "repeats: 0; at least 1"),
        ({"rows": pd.concat([films(2), films(1)])}, "id f0000 is there twice"),
        ({"variants": [Variant(PLAIN)] * 2}, "2 are called 'plain'"),
        ({"variants": [Variant(PLAIN, shots=3)], "pool": POOL}, "needs 3, and the pool holds 2"),
        ({"rows": films(2).drop(columns="text")}, "plain: a row lacks text; it has id, label"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(calls, options, told):
    given = {"variants": [Variant(PLAIN)], "rows": films(2), "grader": "label"} | options
    with pytest.raises(ValueError, match=told):
        evaluate.evaluate(**given, options=CallOptions(calls=calls))
    assert calls.table().empty


def test_the_budget_holds_and_what_was_answered_is_kept(fake, calls):
    rows = films(30)
    with pytest.raises(BudgetError):
        asked(fake, [variant(fake)], rows, calls, budget=Budget(max_tokens=400), concurrency=4)
    paid = len(calls.table())
    assert 0 < paid < 30
    found = asked(fake, [variant(fake)], rows, calls)
    assert found["cached"].sum() == paid
    assert len(fake.seen) == 30


TROUBLES = ["rate", "broken", "overloaded", "hang up", "stall", "html"]


def troubled(n, share, seed):
    """Return what each of n calls meets: every tenth or so a trouble."""
    dice = random.Random(seed)
    return [dice.choice(TROUBLES) if dice.random() < share else None for _ in range(n)]


@pytest.mark.parametrize("stream", [False, True])
def test_with_one_call_in_ten_failing_every_row_is_answered_or_counted(fake, calls, stream):
    rows = films(250)
    fake.troubles = troubled(400, 0.1, 0)
    options = {"concurrency": 32, "timeout_s": 2, "stream": stream}
    found = asked(fake, [variant(fake)], rows, calls, **options)
    assert found["id"].tolist() == rows["id"].tolist()
    failed = found[found["error"] != ""]
    page = chat_completions.NOT_STREAMED if stream else "the endpoint's answer is not JSON"
    assert page in set(failed["error"])  # no use to retry that
    answered = found.drop(failed.index)
    assert (answered["correct"] == (answered["expected"] != "mixed")).all()
    assert not failed["correct"].any()
    assert failed["predicted"].isna().all()
    ledger = calls.table()
    assert len(ledger) == len(rows)
    assert (ledger["status"] == "failed").sum() == len(failed) < 25
    unheard = set(rows["text"]) - set(fake.answered)
    assert unheard <= set(rows.set_index("id").loc[failed["id"], "text"])
    twice = {text for text, count in Counter(fake.answered).items() if count > 1}
    assert twice <= fake.stalled  # an answer that came too late to be heard
    fake.troubles = []
    before = len(fake.seen)
    again = asked(fake, [variant(fake)], rows, calls)
    assert (again["error"] == "").all()
    assert len(fake.seen) - before == len(failed)


@pytest.mark.parametrize(
    ("model", "key", "told"),
    [("nobody", fakes.KEY, "model 'nobody' not found; give a model"),
     ("m", "wrong", "invalid key; give a key that it takes"),
     ("m", "", "TEST_KEY is not set; export it")],
)  # fmt: skip
def test_what_no_row_could_survive_ends_the_evaluation_in_one_sentence(
    fake, calls, monkeypatch, model, key, told
):
    monkeypatch.setenv("TEST_KEY", key)
    variants = [Variant(PLAIN, Target(fake.url, model, key_env="TEST_KEY"))]
    with pytest.raises(EndpointError, match=told) as error:
        asked(fake, variants, films(40), calls, concurrency=2)
    assert "\n" not in str(error.value)
    assert len(fake.seen) <= 4


KILLED = """
import sys
from diptych.llmops.evaluation import evaluate
from llmops.test_build import CallOptions, PLAIN, SHOUT, Target, Variant, films
url, ledger, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
target = Target(url, "m", key_env="TEST_KEY")
asked = [Variant(prompt, target) for prompt in (PLAIN, SHOUT)]
evaluate.evaluate(asked, films(n), "label", CallOptions(calls=ledger, concurrency=16))
"""


def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_table(fake, tmp_path):
    rows, n = films(80), 160
    variants = [variant(fake), variant(fake, SHOUT)]
    with Calls(tmp_path / "whole.db") as calls:
        whole = asked(fake, variants, rows, calls)
    fake.seen.clear()
    fake.delay = 0.02
    ledger = tmp_path / "cut.db"
    after = random.Random(time.time_ns()).randint(1, n - 32)
    code = [sys.executable, "-c", KILLED, fake.url, str(ledger), str(len(rows))]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(code, env=env)
    while len(fake.seen) < after and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with Calls(ledger) as calls:
        kept, before = len(calls.table()), len(fake.seen)
        assert kept < n
        found = asked(fake, variants, rows, calls)
        assert len(fake.seen) - before == n - kept  # no answer in the ledger is asked for again
        assert found["cached"].sum() == kept
        pd.testing.assert_frame_equal(steady(found), steady(whole))
        assert len(calls.table()) == n


def results(*variants, rows=60):
    """Return made-up results: each variant right on a share of the rows."""
    frames = []
    for name, right, more in variants:
        ids = [f"r{i:03d}" for i in range(rows)]
        correct = [i < right * rows for i in range(rows)]
        frame = pd.DataFrame({"variant": name, "id": ids, "repeat": 0, "correct": correct})
        frame["score"] = frame["correct"].astype(float)
        frame["expected"] = "yes"
        frame["predicted"] = frame["output"] = ["yes" if x else "no" for x in correct]
        frame["error"] = ""
        frames.append(frame.reindex(columns=list(evaluate.COLUMNS)).assign(error="", **more))
    return pd.concat(frames, ignore_index=True)


def test_the_leaderboard_compares_and_prices():
    found = evaluate.leaderboard(
        results(
            ("a", 0.5, {"usd": 0.001, "latency_ms": 10.0}),
            ("b", 0.9, {"usd": 0.002, "latency_ms": 30.0, "first_token_ms": 5.0}),
        ),
        margin=0.02,
        seed=0,
    ).set_index("name")
    assert found.index.tolist() == ["b", "a"]
    assert found["verdict"].tolist() == ["best", "worse"]
    own = stats.wilson(54, 60)
    line = found.loc["b"]
    assert (line["value"], line["low"], line["high"], line["n"]) == (
        own.value,
        own.low,
        own.high,
        60,
    )
    assert found["usd per 1,000"].tolist() == pytest.approx([2, 1])
    assert found["usd per correct"].tolist() == pytest.approx([0.002 / 0.9, 0.002])
    assert found["p50 ms"].tolist() == [30, 10]
    assert found["TTFT ms"].tolist()[0] == 5
    assert math.isnan(found["TTFT ms"].iloc[1])
    assert evaluate.leaderboard(results(("a", 0, {})), 0, 0)["usd per correct"].isna().all()
    assert evaluate.leaderboard(pd.DataFrame(columns=list(evaluate.COLUMNS)), 0, 0).empty


def test_a_cost_that_is_not_known_of_every_answer_is_not_summed():
    calls = results(("a", 0.5, {"usd": 0.001}))
    calls.loc[:9, ["error", "usd", "correct", "score"]] = ["HTTP 500", math.nan, False, 0.0]
    [line] = evaluate.costs(calls).to_dict("records")
    assert line["failed"] == 10
    assert line["usd per 1,000"] == pytest.approx(1)  # of those that were answered
    assert line["usd per correct"] == pytest.approx(0.001 * 50 / 20)
    calls.loc[30, "usd"] = math.nan
    [line] = evaluate.costs(calls).to_dict("records")
    assert math.isnan(line["usd per 1,000"])
    assert math.isnan(line["usd per correct"])


def test_failures_are_counted_apart_from_answers_that_name_no_label():
    found = results(("a", 1.0, {"latency_ms": 1.0}))
    found.loc[0, ["error", "predicted", "latency_ms"]] = ["HTTP 500", None, 9999.0]
    found.loc[1:2, "predicted"] = None
    line = evaluate.costs(found).iloc[0]
    assert (line["failed"], line["unreadable"], line["p95 ms"]) == (1, 2, 1.0)


def test_variants_on_other_rows_are_not_compared():
    both = results(("a", 0.5, {}), ("b", 0.5, {}))
    with pytest.raises(ValueError, match="b has other rows than the variants before it"):
        evaluate.leaderboard(both.drop(both.index[-1]), 0, 0)


def test_repeats_tell_how_much_answers_vary(fake, calls):
    found = asked(fake, [variant(fake), variant(fake, temperature=0.9)], films(5), calls, repeats=3)
    table = evaluate.repeated(found).set_index("name")
    calm, warm = table.index
    assert table.loc[calm, ["repeats", "deviation", "changed"]].tolist() == [3, 0, 0]
    assert table.loc[warm, "changed"] == 1


def test_the_choice_is_made_on_the_rows_tried_and_of_equals_the_shorter_is_kept():
    made = [Variant(PLAIN, shots=k) for k in (0, 2, 4)] + [Variant(SHOUT, shots=k) for k in (0, 2)]
    shares = [0.5, 0.8, 0.8, 0.9, 0.4]
    tried = results(
        *((v.name, s, {"prompt_tokens": v.shots + 1.0}) for v, s in zip(made, shares, strict=True))
    )
    kept, table = build.pick(tried, made)
    assert [v.name for v in kept] == ["shout", "plain · k=2"]
    assert table["selected"].tolist() == [False, True, False, True, False]
    assert table["validation"].tolist() == pytest.approx(shares)


def test_disagreements_are_rows_with_two_labels_the_most_divided_first():
    both = results(("a", 0.5, {}), ("b", 0.9, {}), ("c", 0.95, {}), ("d", 0.5, {}), rows=20)
    both.loc[(both["variant"] == "c") & (both["id"] == "r000"), "predicted"] = None
    rows = pd.DataFrame(
        {"id": [f"r{i:03d}" for i in range(20)], "text": "<script>", "label": "yes"}
    )
    found = evaluate.disagreements(both, rows)
    # r010 to r017 by two against two, r018 by one against three
    assert found["id"].tolist() == [f"r{i:03d}" for i in range(10, 19)]
    assert list(found) == ["id", "text", "label", "a", "b", "c", "d"]


def left(folder, ids, families):
    said = pd.DataFrame({"id": ids, "predicted": "yes", "confidence": 0.9, "correct": True})
    said = said.assign(output=said["predicted"], score=1.0, grader="label")
    both = pd.concat([said.assign(family=name) for name in families])
    both.to_parquet(folder / "test_predictions.parquet")
    return Record(folder, "mlops/2_build", {})


def test_the_left_panel_stands_beside_on_the_same_rows(tmp_path):
    rows = pd.DataFrame({"id": ["r001", "r000"], "text": "x", "label": ["yes", "yes"]})
    record = left(tmp_path, ["r000", "r001", "r002"], ("xgboost", "logistic"))
    found = build.from_mlops(record, rows, "label")
    assert list(found) == list(evaluate.COLUMNS)
    assert found["variant"].unique().tolist() == ["logistic (MLOps)", "xgboost (MLOps)"]
    assert found["id"].tolist() == ["r000", "r001"] * 2
    assert len(build.from_mlops(record, rows, "label", ["xgboost"])) == 2
    board = evaluate.leaderboard(
        pd.concat([results(("a", 0.5, {"usd": 0.1}), rows=2), found]), margin=0, seed=0
    )
    assert set(board["name"]) == {"a", "xgboost (MLOps)", "logistic (MLOps)"}
    strange = pd.DataFrame({"id": ["r000", "r999"], "label": "yes"})
    with pytest.raises(
        RecordError, match=r"predicted \d of these \d rows; run mlops/2_build with at least as many"
    ):
        build.from_mlops(record, strange, "label")
    assert build.beside([], rows.head(0), "label", record).empty


def test_a_variant_with_failed_calls_has_no_figure_and_is_not_selected(fake, calls):
    shout = variant(fake, SHOUT)
    good = asked(fake, [variant(fake)], films(10), calls)
    fake.troubles = ["html"] * 2
    bad = asked(fake, [shout], films(10), calls, concurrency=1)
    both = pd.concat([bad, good], ignore_index=True)
    reason = "not measured (2 of 10 failed: the endpoint's answer is not JSON)"
    assert both["score"].isna().sum() == 2
    board = evaluate.leaderboard(both, 0.02, 0).set_index("name")
    assert board.index.tolist() == [variant(fake).name, shout.name]
    assert board.loc[shout.name, "verdict"] == reason
    assert board.loc[shout.name, ["value", "low", "high"]].isna().all()
    assert board.loc[shout.name, "outcomes"] == "8 answered, 2 failed"
    assert list(estimates(board.reset_index())) == [variant(fake).name]
    selected, trials = build.pick(both, [shout, variant(fake)])
    assert [one.name for one in selected] == [variant(fake).name]
    assert math.isnan(trials.set_index("name").loc[shout.name, "validation"])
    assert evaluate.by_slice(both, films(10).assign(slice="all"))[shout.name].isna().any()
    with pytest.raises(UnmeasuredError, match=re.escape(reason)):
        build.pick(bad, [shout])
    with pytest.raises(UnmeasuredError, match="run it again: answers are in the ledger"):
        evaluate.leaderboard(bad, 0.02, 0)
    again = asked(fake, [shout], films(10), calls)
    assert again["cached"].sum() == 8
    assert evaluate.leaderboard(again, 0.02, 0)["value"].notna().all()


def test_slices_and_faithfulness_are_those_of_the_rows():
    rows = pd.DataFrame(
        {"id": ["r0", "r1", "r2"], "text": "It leaks. Good box.", "slice": ["a", "b", "b"],
         "label": "1"}
    )  # fmt: skip
    said = pd.DataFrame({"variant": ["x"] * 3 + ["y"] * 3, "id": ["r0", "r1", "r2"] * 2,
                         "output": ["It leaks."] * 3 + ["It leaks.", "It broke.", None],
                         "score": [1, 0, 1, 0.5, 0, 0]})  # fmt: skip
    found = evaluate.by_slice(said, rows).set_index("slice")
    assert found.loc["a"].to_dict() == {"n": 1, "x": 1, "y": 0.5}
    assert found.loc["b"].to_dict() == {"n": 2, "x": 0.5, "y": 0}
    kept = build.faithful(said, rows, "rouge_l")
    assert {name: share.value for name, share in kept.items()} == {
        "faithful, x": 1.0, "faithful, y": pytest.approx(1 / 3),
        "copied, x": 1.0, "copied, y": pytest.approx(1 / 3),
    }  # fmt: skip
    assert build.faithful(said, rows, "label") == {}


def sure(n, right=0.8, confidence=0.9):
    """Return answers to two classes with their confidence, the positive ones first."""
    frame = results(("x", right, {}), rows=n)
    frame["expected"] = ["yes" if i % 2 else "no" for i in range(n)]
    flip = {"yes": "no", "no": "yes"}
    frame["predicted"] = [
        x if c else flip[x] for x, c in zip(frame["expected"], frame["correct"], strict=True)
    ]
    return frame.assign(confidence=confidence)


def test_an_unreadable_answer_is_a_forecast_that_favours_no_class():
    scoring = Scoring(metric=METRICS["brier"])
    whole = sure(50)
    unread = whole.index[:5]
    frame = whole.copy()
    frame.loc[unread, ["predicted", "confidence"]] = None, math.nan
    rows = evaluate.scored_rows(frame, scoring)["x"]
    assert rows.probabilities[:5].tolist() == [[0.5, 0.5]] * 5
    # 5 unread ones at 0.25, 35 right ones at 0.1, 10 wrong ones at 0.9
    expected = (5 * 0.25 + 35 * 0.1**2 + 10 * 0.9**2) / 50
    assert METRICS["brier"].figure(rows) == pytest.approx(expected)
    assert METRICS["accuracy"].figure(rows) == pytest.approx(35 / 50)
    assert evaluate.stand_ins(frame) == (
        "5 of 50 answers could not be read. Each counts as wrong; in metrics of probabilities, as "
        "a forecast that favours no class."
    )
    assert evaluate.stand_ins(whole) == ""


def test_log_loss_and_brier_of_three_labels_are_those_of_their_shares(tmp_path):
    """Of two labels the confidence tells both; of three the whole vector is needed."""
    labels, draws = ("bad", "fair", "good"), np.random.default_rng(0)
    shares = draws.dirichlet([2, 1, 1], 60)
    truth = np.array(labels)[draws.integers(0, 3, 60)]
    predicted = np.array(labels, object)[shares.argmax(axis=1)]
    frame = results(("x", 1.0, {}), rows=60).assign(
        expected=truth, predicted=predicted, confidence=shares.max(axis=1), score=1.0,
        probabilities=list(shares),
    )  # fmt: skip
    frame.to_parquet(tmp_path / "results.parquet")
    frame = pd.read_parquet(tmp_path / "results.parquet")
    for name in ("log_loss", "brier"):
        rows = evaluate.scored_rows(frame, Scoring(metric=METRICS[name]))["x"]
        figure = METRICS[name].figure(rows)
        if name == "log_loss":
            assert figure == pytest.approx(log_loss(truth, shares, labels=labels))
        else:
            hit = truth[:, None] == np.array(labels)
            assert figure == pytest.approx(((shares - hit) ** 2).sum(axis=1).mean())
    unread = frame.copy()
    unread.loc[0, ["predicted", "confidence", "probabilities"]] = None, math.nan, None
    rows = evaluate.scored_rows(unread, Scoring(metric=METRICS["brier"]))["x"]
    assert rows.probabilities[0].tolist() == pytest.approx([1 / 3] * 3)
    frame["probabilities"] = None
    assert evaluate.scored_rows(frame, Scoring(metric=METRICS["brier"]))["x"].probabilities is None


def test_an_answer_keeps_the_shares_of_all_its_labels():
    labels = ("good", "bad", "fair")
    prompt = Prompt("p", "t", ("text",), "", "{text}", output=LABELS | {"enum": list(labels)})
    tops = [{"token": name, "logprob": math.log(p)} for name, p in
            (("Good", 0.4), ("bad", 0.2), ("fair", 0.1), ("The", 0.1))]  # fmt: skip
    token = {"token": "Good", "logprob": math.log(0.4), "top_logprobs": tops}
    answer = Answer("Good", token_probabilities=[token])
    sure, shares = evaluate._confident(Variant(prompt), answer, "good")
    assert sure == pytest.approx(4 / 7)
    assert shares == pytest.approx([2 / 7, 1 / 7, 4 / 7])  # bad, fair, good
    assert evaluate._confident(Variant(prompt), answer, None)[1] is None
    assert evaluate._confident(Variant(prompt), Answer("Good"), "good")[1] is None


def test_probabilities_that_most_answers_lack_are_none():
    frame = sure(50)
    frame.loc[frame.index[:6], "confidence"] = math.nan
    assert evaluate.scored_rows(frame, Scoring(metric=METRICS["brier"]))["x"].probabilities is None
    frame.loc[frame.index[:2], "confidence"] = 0.9
    rows = evaluate.scored_rows(frame, Scoring(metric=METRICS["brier"]))["x"]
    assert rows.probabilities[2:6].tolist() == [[0.5, 0.5]] * 4
