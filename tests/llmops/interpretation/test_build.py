"""Sentences about the outputs of 2_build hold for other data: no rows, NaN, numbers as labels."""

import math

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import perturb
from diptych.core.evaluation import leaderboard, metrics
from diptych.core.evaluation.scored import ScoredRows
from diptych.llmops.interpretation import build as meaning

ACCURACY = metrics.METRICS["accuracy"]


def ranked(**right):
    truth = np.array(["yes"] * 40, object)
    rows = {
        name: ScoredRows(truth=truth, predicted=np.where(np.arange(40) < n, "yes", "no"))
        for name, n in right.items()
    }
    return leaderboard.rank(rows, ACCURACY, 0.02)


def test_a_leaderboard_names_who_leads_who_is_worse_and_what_would_tell():
    lines = " ".join(meaning.of_leaderboard(ranked(good=38, near=37, bad=5), ACCURACY, 1e-9))
    assert lines.startswith("good has the best accuracy: 0.950")
    assert "1 are shown to be worse (bad); 1 are not" in lines
    assert "rows instead of 40" in lines
    assert "They differ (p = 1e-09" in lines
    unclear = " ".join(meaning.of_leaderboard(ranked(good=38, near=37, bad=5), ACCURACY, 0.2))
    assert "That any differ is open (p = 0.2" in unclear
    assert "equally good" not in lines + unclear  # with a small p it once said the opposite
    alone = " ".join(meaning.of_leaderboard(ranked(good=38), ACCURACY, math.nan))
    assert "nothing to compare" in alone
    assert meaning.of_leaderboard(ranked(good=38).head(0), ACCURACY, math.nan)


def test_only_rows_that_differ_tell_two_models_apart():
    both = pd.DataFrame([[2, 1], [9, 30]], index=[False, True], columns=[False, True])
    text = " ".join(meaning.of_pair(both, 0.02, "a", "b"))
    assert "Only 10 of 42 rows" in text
    assert "a alone is right on 9, b alone on 1" in text
    assert "no evidence" not in text
    assert "no evidence" in " ".join(meaning.of_pair(both, 0.3, "a", "b"))
    assert "nothing to compare" in " ".join(meaning.of_pair(both, 1.0, "a", "a"))


@pytest.mark.parametrize(
    ("same", "n", "expected"),
    [(1 / 8, 8, "that is no judge"), (0.97, 200, "use it"), (np.nan, 0, "do not use it yet")],
)
def test_a_judge_that_does_not_agree_with_itself_is_none(same, n, expected):
    low = same - 0.1
    trusted = pd.DataFrame(
        [{"name": "same in both orders", "value": same, "low": low, "high": same, "n": n}]
    )
    assert expected in " ".join(meaning.of_judge(trusted))
    assert meaning.of_judge(trusted.head(0))


ANSWERED = pd.DataFrame({"variant": ["plain"], "outcome": ["answered"], "error": [""]})


def test_the_fall_on_hand_written_text_is_told():
    test = pd.DataFrame({"name": ["logistic (MLOps)", "plain"], "value": [0.95, 0.9]})
    hand = test.assign(value=[0.57, 0.9])
    text = " ".join(meaning.of_hand_written(hand, test, ACCURACY, ANSWERED))
    assert "logistic (MLOps) goes from 0.95 to 0.57" in text
    assert "flatter" in text
    none = meaning.of_hand_written(hand.head(0), test, ACCURACY, ANSWERED.head(0))
    assert "no hand-written rows" in " ".join(none)


def test_what_an_answer_takes_is_said_once_of_a_single_model():
    costs = pd.DataFrame(
        {"name": ["plain", "json"], "p50 ms": [20.0, 30.0], "tokens in": [9, 12],
         "tokens out": [2, 8], "unreadable": 0, "usd per correct": 0.0}
    )  # fmt: skip
    alone, both = (" ".join(meaning.of_costs(rows)) for rows in (costs.head(1), costs))
    assert alone.startswith("plain takes 20 ms for 9 tokens in and 2 out at p50.")
    assert alone.count("plain") == 1
    assert "plain answers fastest, in 20 ms" in both
    assert "json takes 30 ms" in both


def test_who_has_no_figure_is_said_with_the_reason():
    answers = pd.DataFrame({"variant": ["whole", "plain", "plain", "plain"],
                            "outcome": ["answered", "failed", "answered", "failed"],
                            "error": ["", "no route to host.", "", "cut off"]})  # fmt: skip
    steady = pd.DataFrame({"name": ["plain"], "changed": [np.nan]})
    ranked = pd.DataFrame({"name": ["plain"], "value": [np.nan]})
    for text in (
        " ".join(meaning.of_repeats(steady, answers)),
        " ".join(meaning.of_perturbed(pd.DataFrame(), answers)),
        " ".join(meaning.of_hand_written(ranked, ranked, ACCURACY, answers)),
    ):
        assert text.startswith("2 of 3 calls of plain failed, so figures over them are left out. ")
        assert "The first one: no route to host. " in f"{text} "


def test_one_answer_without_log_probabilities_or_usage():
    tokens = pd.DataFrame()
    text = " ".join(meaning.of_call("yes", tokens, None, pd.Series({"label": 3.5})))
    assert "no log-probabilities" in text
    assert "a right answer is '3.5'" in text
    tokens = pd.DataFrame({"token": ["y", "es"], "probability": [0.6, 0.9]})
    row = pd.Series({"label": "2", "reference": "It was too loud.\nThe room was loud."})
    text = " ".join(meaning.of_call("yes", tokens, 7, row))
    assert "least certain token is 'y'" in text
    assert "a right answer is 'It was too loud.'" in text


def test_perturbed_rows_say_who_falls_to_what():
    lost = pd.DataFrame(
        [
            ("negation, logistic (MLOps)", 0.91, 0.8, 0.95, 50),
            ("negation, plain", 0.02, 0, 0.1, 50),
        ],
        columns=["name", "value", "low", "high", "n"],
    )
    ids = [f"r{i}{mark}" for i in range(50) for mark in ("", f"{perturb.MARK}negation")]
    results = pd.DataFrame(
        {"id": ids, "variant": "logistic (MLOps)", "correct": [True, False] * 50}
    ).assign(outcome="answered", error="")
    text = " ".join(meaning.of_perturbed(lost, results))
    assert "logistic (MLOps) loses most: 0.910" in text
    assert "right on 0.00" in text
    assert "plain loses 0.020" in text
    assert meaning.of_perturbed(lost.head(0), results)
    assert "mean error" in " ".join(meaning.of_perturbed(lost, results, numbers=True))


def test_errors_of_numbers_and_of_labels():
    slices = pd.DataFrame({"slice": ["all"], "n": [3], "plain": [0.5]})
    numbers = pd.DataFrame(
        {"variant": "plain", "expected": [1.0, 2, 3], "predicted": [1.0, 2, np.nan],
         "stand_in": 2.0, "correct": False}
    )  # fmt: skip
    scored = ScoredRows.of_numbers(numbers["expected"].to_numpy(), np.array([1.0, 2, 2]))
    text = " ".join(meaning.of_errors(numbers, numbers.head(0), slices, scored))
    assert "off by 0.333 on average, the worst by 1; 1 gave no number" in text
