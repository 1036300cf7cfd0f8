"""A label that is a number: prompts that ask for it, answers in many forms, the same metrics."""

import numpy as np
import pandas as pd
import pytest
from llmops.answer_server import answering

from diptych.core.data import tasks
from diptych.core.evaluation.metrics import METRICS, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.store.records import Record
from diptych.llmops import build, data, monitor, release
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.evaluation import evaluate, outcome
from diptych.llmops.leaderboard import Leaderboard
from diptych.llmops.prompts import bundle, candidates
from diptych.llmops.prompts.prompt import PromptError
from diptych.llmops.prompts.variant import grid

# what an answer to a row of truth t says, what it counts as, and what became of it; the mean is 25
FORMS = [
    ("{t}", 0, "answered"),
    ("I would say {t} rentals, for it is 8 o'clock.", 0, "answered"),
    ('{{"number": {t}}}', 0, "answered"),
    ("**{t} rentals**", 0, "answered"),
    ("between {low} and {high}", 0, "range"),
    ("I cannot predict that.", None, "refused"),
    ("Many.", None, "unreadable"),
]
MEAN = 25.0


def rows(n=70, split="test"):
    """Return rows whose numbers are 11, 12, ... and whose train rows have the mean 25."""
    truth = np.arange(11.0, 11.0 + n) if split == "test" else np.linspace(0.0, 50.0, n)
    texts = [f"size {x:g}, row {i}" for i, x in enumerate(truth)]
    ids = [f"{split}-{i:03d}" for i in range(n)]
    return pd.DataFrame({"id": ids, "text": texts, "label": truth, "slice": "", "split": split})


def says(body):
    """Answer a row in one of the forms, by its number."""
    text = body["messages"][-1]["content"]
    truth, number = (float(part.split()[0]) for part in text.split("size ")[1].split(", row ")[:2])
    form = FORMS[int(number) % len(FORMS)][0]
    return form.format(t=f"{truth:g}", low=f"{truth - 2:g}", high=f"{truth + 2:g}")


@pytest.fixture
def table():
    return pd.concat([rows(101, "train"), rows()], ignore_index=True)


@pytest.fixture
def task(tmp_path):
    place = tmp_path / "bikes.csv"
    columns = {"text": "a text", "rentals": np.linspace(0, 100, 60) ** 1.1}
    pd.DataFrame(columns).to_csv(place, index=False)
    return tasks.get(str(place), label_column="rentals", metric="rmse")


def test_prompts_ask_for_the_number_by_its_name_and_say_how_it_lies(task, table):
    chosen = {prompt.name: prompt for prompt in data.choose(task, [], [], table)}
    assert set(chosen) == {"plain", "careful", "json"}
    assert all(prompt.answers_number and prompt.stand_in == MEAN for prompt in chosen.values())
    question = chosen["careful"].messages({"text": "size 3"})
    assert "called rentals" in question[0]["content"]
    assert "between 2.5 and 47.5, and its mean was 25" in question[0]["content"]
    assert chosen["json"].answer(12.0) == '{"number": 12}'
    assert chosen["plain"].answer("0.1") == "0.1"
    sent = grid([chosen["json"]])[0].fields()["response_format"]["json_schema"]["schema"]
    assert set(sent) == {"type", "properties", "required", "additionalProperties"}


def test_a_prompt_for_classes_is_refused_for_a_number(task, table, tmp_path):
    place = tmp_path / "words.md"
    place.write_text("---\ntask: any\ninputs: [text]\noutput: {type: string}\n---\n## user\n{text}")
    with pytest.raises(PromptError, match=r"asks for a class, and the label of .* is a number"):
        data.choose(task, [str(place)], [], table)
    place.write_text(f"---\ntask: {task.base}\ninputs: [text]\n---\n## user\n{{text}}\n")
    with pytest.raises(PromptError, match=r"output: is no number.*write output: \{type: number\}"):
        data.choose(task, [str(place)], [], table)


def test_examples_are_spread_over_the_numbers_and_the_first_stay(table):
    values = [float(x) for _, x in data.pool(table, 7, 0, [])]
    assert [float(x) for _, x in data.pool(table, 3, 0, [])] == values[:3]
    assert sorted(round(x / 6.25) for x in values) == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(PromptError, match="200 are more than the 101 rows"):
        data.pool(table, 200, 0, [])


def test_a_sample_does_not_prefer_numbers_that_are_frequent():
    few = rows(900).assign(label=np.repeat([1.0, 2.0, 3.0], 300))
    many = rows(900, "other").assign(split="test", label=np.arange(900.0))
    both = pd.concat([few, many], ignore_index=True)
    drawn = data.sample(both, "test", 600, 0)
    assert 250 < drawn["id"].str.startswith("other").sum() < 350


def evaluated(task, table, calls, names=("plain",)):
    with answering(says) as (target, _):
        prompts = data.choose(task, list(names), [], table)
        variants = grid(prompts, models=[target])
        test = table[table["split"] == "test"]
        return variants, evaluate.evaluate(variants, test, "label", CallOptions(calls=calls))


def test_answers_in_many_forms_are_graded_by_the_metrics_of_mlops(task, table, calls):
    (variant,), results = evaluated(task, table, calls)
    by_form = results.assign(form=np.arange(len(results)) % len(FORMS)).groupby("form")
    for form, lines in by_form:
        assert set(lines["outcome"]) == {FORMS[form][2]}
        assert lines["predicted"].isna().all() == (FORMS[form][1] is None)
    scored = evaluate.scored_rows(results, task.scoring)[variant.name]
    silent = results["predicted"].isna().to_numpy()
    errors = np.where(silent, MEAN - results["expected"], 0.0)
    assert METRICS["rmse"].figure(scored) == pytest.approx(np.sqrt((errors**2).mean()))
    assert METRICS["mae"].figure(scored) == pytest.approx(np.abs(errors).mean())
    sentence = "20 of 70 answers could not be read. Each counts as 25, the mean of the training set"
    assert evaluate.stand_ins(results).startswith(sentence)
    assert "10 of 70 answers: range: their middle counts" in outcome.advice(results)
    costs = evaluate.costs(results).iloc[0]
    assert costs["unreadable"] == 20
    assert costs["outcomes"] == "40 answered, 10 range, 10 unreadable, 10 refused"


def test_without_a_stand_in_an_unread_answer_leaves_no_figure(task, table, calls):
    (variant,), results = evaluated(task, table, calls)
    scored = evaluate.scored_rows(results.assign(stand_in=np.nan), task.scoring)[variant.name]
    with pytest.raises(MetricError, match="20 of 70 rows have no predicted number"):
        METRICS["rmse"].figure(scored)


def test_silence_on_hard_rows_does_not_help(task, table, calls):
    _, results = evaluated(task, table, calls)
    wrong = results.assign(predicted=results["predicted"].fillna(MEAN))
    both = pd.concat([results, wrong.assign(variant="says the mean")], ignore_index=True)
    a, b = (METRICS["rmse"].figure(x) for x in evaluate.scored_rows(both, task.scoring).values())
    assert a == b


def test_variants_are_compared_and_the_best_is_chosen_by_the_least_error(task, table, calls):
    variants, results = evaluated(task, table, calls, ("plain", "json"))
    worse = results["variant"] == variants[1].name
    results.loc[worse, "predicted"] = 0.0
    best, trials = build.pick(results, variants, task.scoring)
    assert best[0] == variants[0]
    assert trials["validation"].idxmin() == 0
    board = Leaderboard([v.prompt for v in variants], task, [], data=table)
    assert board.table(results)["name"].tolist() == [variants[0].name, variants[1].name]
    assert "json · http" not in board.evidence(results, variants[0].name)
    assert "it beats the constant answer by" in board.evidence(results, variants[0].name)
    assert "Nothing is shown to beat" in board.evidence(results, variants[1].name)
    assert build.accuracies(results, 0.02, 0).empty
    assert evaluate.all_equal(results) != evaluate.all_equal(results)  # NaN: two are too few
    divided = evaluate.disagreements(results, table[table["split"] == "test"])
    assert divided["label"].iloc[0] == 78.0  # of 79 and 80 one answer is unreadable
    slices = evaluate.by_slice(results, table.assign(slice="all"))
    assert slices.loc[0, variants[1].name] == pytest.approx(rows()["label"].mean())


def test_repeats_are_compared_by_their_numbers(task, table, calls):
    _, results = evaluated(task, table, calls)
    again = results.assign(repeat=1, output="Another text: " + results["output"])
    steady = evaluate.repeated(pd.concat([results, again]))
    assert steady.loc[0, "changed"] == pytest.approx(20 / 70)  # those that could not be read
    again.loc[again["predicted"].notna(), "predicted"] += 1.0
    steady = evaluate.repeated(pd.concat([results, again]))
    assert steady.loc[0, "changed"] == 1
    assert steady.loc[0, "highest"] - steady.loc[0, "lowest"] == pytest.approx(50 / 70)


def test_a_perturbed_row_that_is_answered_worse_raises_the_error(task, table, calls):
    _, results = evaluated(task, table, calls)
    noisy = results.assign(id=results["id"] + "~noise", predicted=counted_plus(results, 3.0))
    lost = build.accuracy_drop(pd.concat([results, noisy], ignore_index=True), 0)
    low, high = lost.loc[0, ["low", "high"]]
    assert low < lost.loc[0, "value"] < high
    assert lost.loc[0, "name"].startswith("noise, ")


def counted_plus(results, more):
    return evaluate.counted(results) + more


def test_mlops_stands_beside_with_its_own_numbers(task, table, tmp_path):
    test = table[table["split"] == "test"]
    lines = {"family": "ridge", "id": test["id"], "label": test["label"], "grader": "label",
             "predicted": test["label"] + 1.0, "score": None, "correct": None}  # fmt: skip

    class Run(Record):
        id, notebook = "r", "mlops/2_build"

        def __init__(self):
            pass

        def table(self, name):
            return pd.DataFrame(lines)

    results = build.from_mlops(Run(), test, "label")
    scored = evaluate.scored_rows(results, task.scoring)
    assert METRICS["rmse"].figure(scored["ridge (MLOps)"]) == pytest.approx(1.0)


def test_the_gate_compares_with_the_mean_of_the_training_set(task, table):
    test = table[table["split"] == "test"]
    constant = release.baseline(table, test, task)
    assert constant.score.value == pytest.approx(np.sqrt(((test["label"] - MEAN) ** 2).mean()))


def test_the_stand_in_is_released_with_the_prompt(task, table, tmp_path):
    (prompt,) = data.choose(task, ["json"], [], table)
    saved = bundle.load(bundle.save(grid([prompt])[0], tmp_path / "prompt"))
    assert saved.prompt.stand_in == MEAN
    assert saved.prompt.number_names == ("number", "rentals")


def log(predicted, truth, window="a"):
    n = len(truth)
    return pd.DataFrame({
        "id": [f"{window}{i}" for i in range(n)], "window": window, "probability": np.nan,
        "prediction": pd.Series(predicted, dtype="object"), "label": [str(x) for x in truth],
        "output": [None if x is None else f"About {x}." for x in predicted], "status": "ok",
        "outcome": ["unreadable" if x is None else "answered" for x in predicted],
        "prompt_tokens": 9, "completion_tokens": 3, "usd": 0.0, "latency_ms": 5.0,
    })  # fmt: skip


def test_monitoring_measures_the_numbers_in_service(task, table, calls):
    _, before = evaluated(task, table, calls)
    near = monitor.Tolerance.of(before)
    assert 0.85 < monitor.right(before, near).mean() < 0.95
    truth = np.arange(11.0, 31.0)
    served = log([*(str(x + 1) for x in truth[:-1]), None], truth)
    assert monitor.graded(served, "label", near).all()
    quality = monitor.quality(served, task.scoring, near)
    line = quality.table().iloc[0]
    assert line["value"] == pytest.approx(np.sqrt((19 * 1.0 + (MEAN - 30.0) ** 2) / 20))
    fell = log([str(x + 200) for x in truth], truth, "b")
    assert not monitor.graded(fell, "label", near).any()
    described = monitor.describe(["a"] * 2, set(), before.head(2).rename(
        columns={"predicted": "prediction", "confidence": "probability"}))  # fmt: skip
    assert described["model answer"].dtype == float
    profile = monitor.reference(["a"] * len(before), {"a"}, before, 0)
    texts = pd.Series("a", index=[*served["id"], *fell["id"]])
    seen = monitor.watch(profile, pd.concat([served, fell]), texts, {"a"})
    assert seen.scores.loc["model answer", "b"] > 1


def test_prompts_for_numbers_are_reworded_and_shown_examples(task, table):
    (prompt,) = data.choose(task, ["plain"], [], table)
    reworded = candidates.ours(prompt, 8, 0)
    assert len({one.version for one in reworded}) == 8
    assert all("rentals" in one.user + one.system for one in reworded)
    (shown,) = candidates.with_examples([prompt], data.pool(table, 5, 0, []), [3], 0)
    assert len(shown.examples) == 3
    assert all(float(answer) >= 0 for _, answer in shown.examples)


def test_two_rows_have_an_interval_that_does_not_pass_0():
    two = METRICS["rmse"].estimate(ScoredRows.of_numbers([1.0, 2.0], [1.5, 4.0]))
    assert two.low == 0
    assert two.value == pytest.approx(np.sqrt((0.25 + 4) / 2))
