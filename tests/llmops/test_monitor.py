"""Monitoring of a prompt: calls made to a real endpoint, read back from the ledger by window."""

import numpy as np
import pandas as pd
import pytest
from llmops import fakes

from diptych.base import workspace
from diptych.core.evaluation import metrics
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.stats import wilson
from diptych.core.monitoring import cusum, windows
from diptych.core.monitoring.text_drift import vocabulary
from diptych.core.store.calls import Calls
from diptych.core.store.prices import Price
from diptych.llmops import monitor, serve
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.fallback import Link
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation.outcome import refuses
from diptych.llmops.prompts.prompt import parse
from diptych.llmops.prompts.variant import Variant

PROMPT = parse(
    "---\ntask: t\ninputs: [text]\noutput: {enum: [negative, positive]}\n---\n## user\n{text}\n"
)


class Moody(fakes.Fake):
    """Answers by the text: a verdict, a refusal, or what is neither."""

    def words(self, body):
        text = body["messages"][-1]["content"]
        if "strange" in text:
            return ["I can\u2019t ", "say"]
        if "odd" in text:
            return ["perhaps"]
        return ["negative" if "bad" in text else "positive"]

    def refusal(self, request, body):
        if "lost" in body["messages"][-1]["content"]:
            return self.error(400, "no", "invalid_request_error")
        return super().refusal(request, body)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEST_KEY", fakes.KEY)


def stream() -> pd.DataFrame:
    kinds = {
        "2025-01": ["good"] * 18 + ["bad"] * 2,
        "2025-02": ["good"] * 8 + ["odd"] * 5 + ["strange"] * 4 + ["lost"] * 3,
    }
    lines = [
        (f"{window}-{i}", f"a {kind} film {i}", window, "negative" if kind == "bad" else "positive")
        for window, texts in kinds.items()
        for i, kind in enumerate(texts)
    ]
    return pd.DataFrame(lines, columns=["id", "text", "window", "label"])


@pytest.fixture
def log():
    """What a serving run left, with the labels of the first window."""
    rows = stream()
    with fakes.serving(Moody("openai")) as fake, Calls(workspace.ledger_path()) as calls:
        target = Target(fake.url, "m", key_env="TEST_KEY")
        options = CallOptions(run="r1", calls=calls, concurrency=8)
        tied = serve.serve(Variant(PROMPT, target), rows, [Link(target, 20.0)], "label", options)
        windows.add_labels("r1", rows, rows.set_index("id")["window"], 1, "label")
        yield serve.log("r1", tied, calls=calls)


def test_failures_and_refusals_are_counted_apart(log):
    shares, figures = monitor.health(log)
    found = shares.set_index(["window", "kind"])
    counts = {"failed": (0, 3), "unreadable": (0, 5), "refused": (0, 4)}
    for kind, (first, second) in counts.items():
        for window, count in (("2025-01", first), ("2025-02", second)):
            own = wilson(count, 20)
            assert tuple(found.loc[(window, kind), ["value", "low", "high", "n"]]) == (
                own.value, own.low, own.high, 20,
            )  # fmt: skip
    answered = log[(log["window"] == "2025-02") & (log["status"] == "ok")]
    second = figures.set_index("window").loc["2025-02"]
    assert second["p95 ms"] == pytest.approx(answered["latency_ms"].quantile(0.95))
    assert second["tokens out"] == pytest.approx(answered["completion_tokens"].mean())
    assert second["rows"] == 20


def test_the_outcomes_of_each_window_are_counted(log):
    table = monitor.outcomes(log).set_index("window")
    assert list(table) == ["rows", "answered", "unreadable", "refused", "failed"]
    assert table.loc["2025-01"].tolist() == [20, 20, 0, 0, 0]
    assert table.loc["2025-02"].tolist() == [20, 8, 5, 4, 3]
    assert table.loc["all"].tolist() == [40, 28, 5, 4, 3]
    cut = log.assign(outcome=log["outcome"].replace("unreadable", "cut"))
    assert "cut" in set(monitor.health(cut)[0]["kind"])
    with pytest.raises(ValueError, match="it has no column outcome"):
        monitor.outcomes(log.drop(columns="outcome"))


def test_accuracy_is_true_where_labels_came_and_estimated_before(log):
    found = monitor.quality(log, "label").table().set_index(["window", "kind"])
    assert ("2025-02", "true") not in found.index
    assert tuple(found.loc[("2025-01", "true"), ["value", "n"]]) == (1.0, 20)
    # the fake tells log p = -0.5 of each word, and half the answers of one window have no label
    assert found.loc[("2025-01", "estimated"), "value"] == pytest.approx(np.exp(-0.5))
    assert found.loc[("2025-02", "estimated"), "value"] < 0.5


def test_the_estimate_allows_for_what_confidence_was_off_on_the_test_set(log):
    rows = log.query("window == '2025-01'")
    before = pd.DataFrame({
        "confidence": [0.5] * 20, "predicted": ["a"] * 20, "correct": [True] * 14 + [False] * 6,
        "error": "",
    })  # fmt: skip
    table = monitor.quality(rows, "label", before=before).table().set_index("kind")
    assert table.loc["estimated", "value"] == pytest.approx(np.exp(-0.5) + 0.2)
    silent = before.assign(confidence=np.nan)
    table = monitor.quality(rows, "label", before=silent).table().set_index("kind")
    assert table.loc["estimated", "value"] == pytest.approx(np.exp(-0.5))


def test_an_answer_without_a_label_is_wrong_and_a_failed_call_is_no_answer(log):
    late = log.assign(label="positive")
    right = monitor.graded(late, "label")
    answered = log[log["status"] == "ok"]
    assert right.index.tolist() == answered["id"].tolist()
    assert (right.sum(), len(right)) == (18 + 8, 40 - 3)
    assert len(monitor.graded(log, "label")) == 20
    table = monitor.quality(late, "label").table().set_index(["window", "kind"])
    assert table.loc[("2025-02", "true"), ["value", "n"]].tolist() == [8 / 17, 17]


def frame(window, prediction, label, text="x", **more) -> pd.DataFrame:
    """Return a log of so many lines as there are windows."""
    given = {"prediction": prediction, "label": label, "probability": 0.9, "output": text,
             "status": "ok", "prompt_tokens": 10.0, "completion_tokens": 2.0, "usd": 0.001,
             "latency_ms": 5.0} | more  # fmt: skip
    return pd.DataFrame({"id": [f"i{i}" for i in range(len(window))], "window": window, **given})


def test_a_planted_fall_is_told_with_its_window():
    names = np.repeat([f"2025-{month:02d}" for month in range(1, 11)], 60)
    rng = np.random.default_rng(1)
    right = rng.random(600) < np.where(np.arange(600) < 300, 0.92, 0.6)
    log = frame(names, np.where(right, "a", "b"), "a")
    test = cusum.detector(276, 300, 0.1, 600)
    path, alarm = monitor.change(log, "label", test)
    assert path["window"][alarm.row] in ("2025-06", "2025-07")
    assert path["sum"][alarm.row] > 1 >= path["sum"][: alarm.row].max()
    assert monitor.change(log.head(300), "label", test)[1] is None


def test_the_metric_of_the_task_raises_the_alarm_and_accuracy_need_not():
    """From the sixth window on the rare class is never answered; 95 of 100 rows stay right."""
    names = np.repeat([f"2025-{month:02d}" for month in range(1, 11)], 200)
    rare = np.arange(2000) % 20 == 0
    log = frame(names, np.where(rare & (np.arange(2000) < 1000), "b", "a"),
                np.where(rare, "b", "a"))  # fmt: skip
    for metric, first in (("recall:b", "2025-06"), ("accuracy", None)):
        quality = monitor.quality(log, Scoring(metric=metrics.parse(metric)))
        live = quality.live.scored["true"].take(quality.live.windows <= "2025-05")
        fell = monitor.alarmed(quality.falls(live, 0.1))
        assert (fell or [None])[0] == first


def test_without_labels_nothing_rings():
    log = frame(["w"] * 5, ["a"] * 5, None)
    path, alarm = monitor.change(log, "label", cusum.detector(9, 10, 0.1, 5))
    assert path.empty
    assert alarm is None
    quality = monitor.quality(log, "label")
    assert quality.table()["kind"].tolist() == ["estimated"]
    assert quality.falls(quality.live.scored["true"], 0.0).empty


def texts(n: int, words: list[str], seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(n)]


def test_new_words_ring_and_the_same_words_do_not():
    usual, strange = ["good", "film", "bad", "plot", "seen"], ["zorb", "quix", "good", "film"]
    known = vocabulary(usual)
    results = pd.DataFrame({"confidence": np.linspace(0.7, 0.99, 300), "predicted": "positive"})
    profile = monitor.reference(texts(300, usual, 0), known, results, 0)
    said = [*texts(150, usual, 1), *texts(150, strange, 2)]
    log = frame(["1"] * 150 + ["2"] * 150, "positive", None)
    log["probability"] = np.tile(np.linspace(0.7, 0.99, 150), 2)
    seen = monitor.watch(profile, log, pd.Series(said, log["id"]), known)
    assert seen.alarmed == ["2"]
    assert seen.first_alarm == "2"
    assert seen.scores.loc["unknown words", "2"] > 1 > seen.scores.loc["unknown words", "1"]
    # an endpoint that stops telling probabilities is a drift, not an error
    mute = monitor.watch(profile, log.assign(probability=np.nan), pd.Series(said, log["id"]), known)
    assert mute.scores.loc["model confidence", "1"] > 1
    with pytest.raises(ValueError, match="none for row 'i0'"):
        monitor.watch(profile, log, pd.Series(said[1:], log["id"][1:]), known)


def test_the_bill_is_held_against_the_budget():
    log = frame(["1"] * 3 + ["2"] * 1 + ["3"] * 2, "a", None)
    found = monitor.spending(log, 0.012, ["openai/gpt-4o"]).set_index(["model", "window"])
    own = found.loc["as served"]
    np.testing.assert_allclose(own["usd"], [0.003, 0.001, 0.002])
    np.testing.assert_allclose(own["so far"], [0.003, 0.004, 0.006])
    np.testing.assert_allclose(own["share"], [0.25, 1 / 3, 0.5])
    np.testing.assert_allclose(own["at this rate"], [0.009, 0.006, 0.006])
    each = Price("openai", "gpt-4o").usd(10, 2)
    np.testing.assert_allclose(found.loc["openai/gpt-4o", "usd"], np.array([3, 1, 2]) * each)
    unknown = monitor.spending(log, 1.0, ["nobody/nothing"]).set_index("model")
    assert unknown.loc["nobody/nothing", "usd"].isna().all()
    with pytest.raises(ValueError, match="budget_usd: -1"):
        monitor.spending(log, -1)


@pytest.mark.parametrize(
    ("said", "declined"),
    [
        ("I cannot answer that.", True),
        ("Sorry!", True),
        ("As an AI language model, I have no taste.", True),
        ("I can\u2019t.", True),
        ("positive", False),
        ("A cannon, I think", False),
        (None, False),
    ],
)
def test_refusals_are_known_by_their_words(said, declined):
    assert refuses(said) is declined


def test_what_is_no_log_is_refused():
    with pytest.raises(ValueError, match="no column latency_ms"):
        monitor.health(frame(["1"], "a", "a").drop(columns="latency_ms"))
    with pytest.raises(ValueError, match="run llmops/4_serve"):
        monitor.quality(frame(["1"], "a", "a").head(0), "label")
