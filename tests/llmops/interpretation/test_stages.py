"""Sentences about the other stages hold for other data: no rows, nothing measured, one window."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from diptych.core.evaluation import metrics
from diptych.core.evaluation.gate import Decision
from diptych.core.evaluation.stats import wilson
from diptych.core.monitoring.windows import WindowSplit
from diptych.llmops.finetuning import Tuned
from diptych.llmops.interpretation import data, improve, monitor, pretrain, release, serve
from diptych.llmops.prompts.prompt import read_prompt

ACCURACY = metrics.METRICS["accuracy"]
ENDS = ["name", "value", "low", "high", "n"]


def decision(*statuses, outcome="pass"):
    rules = [f"slice {i}" if status == "inconclusive" else f"rule {i}" for i, status in
             enumerate(statuses)]  # fmt: skip
    checks = pd.DataFrame({"rule": rules, "status": statuses, "rows_needed": np.nan})
    return Decision(checks, outcome, "It is as it is.")


def test_the_gate_counts_slices_that_pass_for_want_of_rows():
    text = " ".join(improve.of_gate(decision("pass", "inconclusive", "inconclusive"), 2))
    assert "2 rules are inconclusive, 2 of them slices: they passed for want of rows" in text
    assert "look 2" in text
    text = " ".join(release.of_gate(decision("inconclusive", "no limit", outcome="fail")))
    assert "1 rule inconclusive, of them 1 slices" in text
    assert "read the first rule not passed" in text


def test_gains_say_what_is_shown_ground_by_ground():
    gains = pd.DataFrame(
        [("tuned, later windows", 0.1, 0.02, 0.2, 50), ("tuned, old ground", -0.01, -0.1, 0.1, 50)],
        columns=ENDS,
    )
    text = " ".join(improve.of_gains(gains, "tuned"))
    assert "On later windows tuned differs by 0.100 (0.020 to 0.200): a gain." in text
    assert "old ground tuned differs by -0.010 (-0.100 to 0.100): inconclusive." in text
    assert improve.of_gains(gains.head(0), "tuned")
    assert improve.of_gains(gains.assign(value=np.nan), "tuned")


def test_training_says_whether_its_loss_fell():
    fell = Tuned(None, [1.0] * 5 + [0.1] * 5, 40, 1, 3.0, {})
    rose = Tuned(None, [0.1] * 5 + [1.0] * 5, 40, 1, 3.0, {})
    assert "from 1.000 to 0.100" in " ".join(improve.of_tuning(fell, "lora"))
    assert "It did not fall" in " ".join(improve.of_tuning(rose, "lora"))
    assert "Nothing was tuned" in improve.of_tuning(None, "none")[0]


def test_training_says_by_what_settings_and_that_it_went_astray():
    settings = {"rank": 16, "alpha": 32, "epochs": 1.5, "batch": 8, "rate": 2e-3}
    astray = Tuned(None, [1.2, 0.3, *[6.0] * 5, *[0.3] * 10], 160, 0, 3.0, settings)
    text = " ".join(improve.of_tuning(astray, "lora"))
    assert "rank 16, alpha 32, 1.5 passes over the rows, 8 a step, a highest rate of 0.002" in text
    assert "it rose to 6.000, so the rate is too high" in text
    knew = Tuned(None, [0.1, *[0.4] * 5, *[0.03] * 10], 160, 0, 3.0, settings)
    assert "too high" not in " ".join(improve.of_tuning(knew, "lora"))  # a hard batch, no more


def test_a_tuned_model_that_is_worse_than_untuned_is_said_to_be():
    rows = [("champion", 0.9, 0.86, 0.94), ("hand-written prompt", 0.92, 0.88, 0.95)]
    for tuned, said in [(0.68, "made the model worse: 0.680 (0.640 to 0.720)"),
                        (0.88, "did not show a gain"), (0.93, "")]:  # fmt: skip
        ends = (improve.TUNED, tuned, tuned - 0.04, tuned + 0.04)
        table = pd.DataFrame([*rows, ends], columns=ENDS[:4])
        text = " ".join(improve.of_choice(table, "hand-written prompt", ACCURACY))
        assert (said if said else "The challenger") in text
        assert ("Tuning" in text) == bool(said)


def test_windows_after_the_decision_say_whether_the_lead_holds():
    plan = WindowSplit("b", ["b"], ["c"], ["d"])
    table = pd.DataFrame({"window": ["d", "d"], "model": ["champion", "challenger"],
                          "value": [0.8, 0.9]})  # fmt: skip
    assert "The lead holds" in " ".join(improve.of_windows(table, plan, ACCURACY))
    assert "outcome is open" in improve.of_windows(table.head(0), plan, ACCURACY)[0]


def test_a_load_curve_says_where_requests_only_wait():
    load = pd.DataFrame({"concurrency": [1, 4, 32], "requests_per_s": [100.0, 200, 205],
                         "p95_ms": [5.0, 20, 90]})  # fmt: skip
    assert "4 at once reach nine tenths" in " ".join(serve.of_load(load))
    assert serve.of_load(load.assign(requests_per_s=np.nan))


def test_a_stream_says_when_its_pieces_came():
    pieces = pd.DataFrame({"ms": [10.0, 12, 14], "piece": list("abc")})
    assert "Each further piece took 2.0 ms" in " ".join(serve.of_stream(pieces))
    assert "nothing to stream" in " ".join(serve.of_stream(pieces.head(1)))
    assert serve.of_stream(pieces.head(0))


def test_words_that_a_source_lacks_are_told_from_other_forms_of_its_words():
    doubtful = pd.DataFrame({"word": ["opened", "dragon"], "alike": [0.8, 0.1],
                             "most like": ["opens", "desk"]})  # fmt: skip
    text = " ".join(monitor.of_words(doubtful, 9))
    assert "opened (like opens)" in text
    assert "Like nothing there: dragon." in text
    assert "proves nothing" in monitor.of_words(doubtful.head(0), 9)[0]


def test_one_test_among_many_is_inconclusive():
    assert "inconclusive" in " ".join(monitor.of_column(0.3, 0.01, 40))
    assert "a shift, even" in " ".join(monitor.of_column(0.6, 1e-9, 40))
    assert "no evidence" in " ".join(monitor.of_column(0.1, 0.7, 40))
    assert monitor.of_column(np.nan, np.nan, 0)


def test_tokens_say_whether_a_forecast_is_on_the_safe_side():
    assert "safe side" in " ".join(data.of_tokens("word " * 10, 10, 10))
    assert "reads more tokens" in " ".join(data.of_tokens("word " * 10, 30, 30))
    assert "another list" in " ".join(data.of_tokens("word " * 10, 10, 12))


def test_a_bill_says_what_does_not_fit():
    bill = pd.DataFrame({"model": ["local", "dear"], "calls": [10, 10], "cached": [0, 0],
                         "usd, about": [0.0, 2.0], "usd": [0.0, 5.0]})  # fmt: skip
    assert "Over the limit of 1 USD: dear" in " ".join(data.of_bill(bill, 1.0))
    assert "fit into the limit" in " ".join(data.of_bill(bill, None))
    assert "price above 0" in " ".join(data.of_bill(bill.head(1), 1.0))


def test_families_say_what_blocks_a_release():
    families = pd.DataFrame([("typos", 0.5, 0.3, 0.7, 20), ("names", 0.8, 0.6, 0.9, 20)],
                            columns=ENDS)  # fmt: skip
    text = " ".join(release.of_families(families, 0.3))
    assert "typos blocks the release" in text
    assert "interval of names" in text
    assert release.of_families(families.head(0), 0.3)


def test_a_gate_of_pretraining_is_held_against_a_coin():
    text = " ".join(pretrain.of_gates({"a": wilson(90, 100), "b": wilson(5, 10)}))
    assert "a: 0.900" in text
    assert "b: 0.500" in text
    assert text.count("not shown to be better") == 1


def test_lessons_say_from_which_windows_they_are():
    lessons = SimpleNamespace(labels=80)
    text = " ".join(improve.of_lessons(lessons, WindowSplit(None, ["a"], ["b"], []), "none"))
    assert "80 rows of a" in text
    assert "nothing is tuned" in text


def test_a_loss_says_when_it_left_the_level_of_a_coin():
    steps = np.arange(0, 300, 10)
    falls = np.where(steps < 100, 0.7, 0.05)
    loss = pd.DataFrame({"step": steps, "words": falls, "dense": 0.69})
    text = " ".join(pretrain.of_loss(loss))
    assert "words is below half of a coin's from step 1" in text
    assert "dense never falls" in text


def test_labels_that_prompts_cannot_explain_are_told_with_the_remedy(tmp_path):
    rows = pd.DataFrame({"split": ["train", "test"]})
    generic = [read_prompt("mine", name, ["0", "1"]) for name in ("plain", "careful")]
    text = " ".join(data.of_rows(rows, ["0", "1"], generic))
    assert "0 and 1 are no names: plain and careful cannot say what they stand for" in text
    assert "read_options=labels=0:NAME,1:NAME" in text
    named = [read_prompt("mine", "plain", ["bad", "good"])]
    assert "no names" not in " ".join(data.of_rows(rows, ["bad", "good"], named))
    file = tmp_path / "own.md"
    file.write_text(
        "---\ntask: mine\ninputs: [text]\noutput:\n  type: string\n  enum: ['0', '1']\n---\n"
        "## user\n{text}\nIs it good (1) or bad (0)?\n"
    )
    explained = [read_prompt("mine", str(file), ["0", "1"])]
    assert "no names" not in " ".join(data.of_rows(rows, ["0", "1"], explained))
