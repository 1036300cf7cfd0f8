"""Both panels grade a task's answers with its one grader, and the same text gets the same score."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from diptych.base import workspace
from diptych.core.data import tasks
from diptych.core.evaluation import graders
from diptych.core.monitoring import windows as windows_module
from diptych.core.store.predictions import Predictions
from diptych.core.store.records import Record, RecordError
from diptych.llmops import build as llm_build
from diptych.llmops import data as llm_data
from diptych.llmops import monitor
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate, scorers
from diptych.llmops.finetuning.jobs import conversations
from diptych.llmops.prompts.prompt import Prompt, PromptError, parse
from diptych.llmops.prompts.variant import Variant
from diptych.mlops import build
from diptych.mlops.models import model as models

# a classifier says each label as this text, or as it is where labels are graded
REPLIES = {
    "refund": "We send your money back.",
    "delay": "It is on its way.",
    "A": "Yes",
    "a": "No",
}
ROWS = pd.DataFrame(
    {
        "id": [f"r{i}" for i in range(4)],
        "text": list(REPLIES),
        "label": ["refund", "refund", "A", "a"],
        "reference": ["your money back", "on its own way", "yes", "never"],
    }
)
PROMPT = Prompt("p", "t", ("text",), "", "{text}", output={"enum": list(REPLIES)})


class Echo:
    """Features and estimator of a model that predicts the label which each text names."""

    def transform(self, rows):
        return rows

    def predict_proba(self, rows):
        return np.array([[0.7 if text == name else 0.1 for name in REPLIES] for text in rows])


def echo(family="logistic", replies=REPLIES):
    return models.Model(
        family, "text", ["text"], list(REPLIES), {}, Echo(), Echo(), replies=replies
    )


@pytest.mark.parametrize("grader", graders.GRADERS)
def test_the_same_text_on_the_same_row_gets_the_same_score_in_both_panels(grader):
    model = echo(replies={} if grader == "label" else REPLIES)
    scores = build.evaluate(model, ROWS, grader)
    rows = ROWS.to_dict("records")
    grades = scorers.scorer_of(grader)(PROMPT, rows, scores.output)
    assert [grade.score for grade in grades] == scores.grade.tolist()
    assert 0 < scores.grade.sum() < len(rows)  # some right and some wrong, or it shows nothing


def test_a_family_is_graded_as_the_task_says_whatever_the_family_is():
    lead = replace(tasks.get("summaries"), grader="contains")
    rows = pd.DataFrame(
        {"id": ["a", "b"], "text": ["It leaks. Bad.", "Good box. Fine."], "label": ["1", "1"],
         "reference": ["It leaks badly.", "good box"]}
    )  # fmt: skip
    model = echo("lead", {})
    model.classes = ["1", "2", "3", "4"]
    contains = build.evaluate(model, rows, lead.grader)
    assert contains.grade.tolist() == [0, 1]  # ROUGE would give the first 0.8
    assert build.evaluate(model, rows, "rouge_l").grade.tolist() == pytest.approx([0.8, 1])
    canned = build.evaluate(echo(), ROWS, "rouge_l")
    assert canned.grade[0] == pytest.approx(0.75)  # three of five words and of three; not 1


def test_rows_with_a_reference_are_graded_by_label_where_the_task_says_so():
    scores = build.evaluate(echo(), ROWS, "label")
    assert scores.grade.tolist() == [1, 0, 1, 1]
    grades = scorers.scorer_of("label")(PROMPT, ROWS.to_dict("records"), list(REPLIES))
    assert [grade.score for grade in grades] == [1, 0, 1, 1]


def test_a_summarizing_family_on_a_label_task_is_refused_with_both_names():
    task = replace(tasks.get("summaries"), grader="label")
    told = r"family: 'lead' answers with a sentence, .* contains or rouge_l, .* graded by label"
    with pytest.raises(models.ModelError, match=told):
        build.families("auto", task)
    with pytest.raises(models.ModelError, match=told):
        build.evaluate(echo("lead", {}), ROWS, "label")
    with pytest.raises(models.ModelError, match=told):
        build.tune(task.load().head(50), task, "lead", 1, 0)


def test_a_task_of_an_unknown_grader_or_without_its_reference_is_refused():
    with pytest.raises(graders.GraderError, match="'rouge' is no grader"):
        replace(tasks.get("reviews"), grader="rouge")
    with pytest.raises(tasks.DataError, match=r"reviews is graded by contains, .* 'reference'"):
        replace(tasks.get("reviews"), grader="contains").load()


def test_tuning_selects_by_the_tasks_grader():
    task = tasks.get("summaries")
    rows = task.load().groupby("split").head(150)
    model, trials = build.tune(rows, task, "ranker", 2, 0)
    valid = build.part(rows, "valid")
    grade = build.evaluate(model, valid, task.grader).grade.mean()
    assert trials["validation"].max() == pytest.approx(grade)
    right = (model.predict(valid["text"].tolist()) == valid["label"].to_numpy()).mean()
    assert grade != pytest.approx(right)


FILE = """---
task: summaries
inputs: [text]
graded: {grader}
---
## user
Sum up: {{text}}
"""


def test_a_prompt_file_for_another_grader_is_refused_before_anything_is_asked(tmp_path):
    path = tmp_path / "short.md"
    path.write_text(FILE.format(grader="contains"))
    told = r"short\.md: graded: is contains, and the task summaries is graded by rouge_l; take"
    with pytest.raises(PromptError, match=told):
        llm_data.choose(tasks.get("summaries"), [str(path)], ["1"])
    # a prompt that comes another way, such as a released one, is refused too; nobody is there
    variant = Variant(parse(path.read_text(), path), Target("http://127.0.0.1:9/v1", "m"))
    rows = ROWS.assign(label="1")
    with pytest.raises(PromptError, match=told):
        evaluate.evaluate([variant], rows, "rouge_l", CallOptions(calls=tmp_path / "calls.db"))
    assert not (tmp_path / "calls.db").exists()
    path.write_text(FILE.format(grader="rouge_l"))
    (prompt,) = llm_data.choose(tasks.get("summaries"), [str(path)], ["1"])
    assert prompt.name == "short"


def test_predictions_graded_otherwise_do_not_stand_beside_answers(tmp_path):
    table = build.predictions({"logistic": echo()}, ROWS, "contains")
    table.to_parquet(tmp_path / "test_predictions.parquet")
    record = Record(tmp_path, "mlops/2_build", {})
    found = llm_build.from_mlops(record, ROWS, "contains")
    assert set(found["grader"]) == {"contains"}
    assert found["expected"].tolist() == ROWS["reference"].tolist()
    with pytest.raises(RecordError, match=r"graded by contains, .* by rouge_l; run mlops/2_build"):
        llm_build.from_mlops(record, ROWS, "rouge_l")
    with pytest.raises(RecordError, match=r"graded by contains, .* by exact; run mlops/2_build"):
        llm_build.from_mlops(record, ROWS, scorers.exact)


def test_live_answers_are_graded_by_the_tasks_grader_too(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    windows = pd.Series("w1", ROWS["id"])
    scores = build.evaluate(echo(), ROWS, "contains")
    with Predictions(workspace.ledger_path()) as book:
        book.log(
            {"endpoint": "run", "model": "m", "row_id": row.id, "input": row.text,
             "prediction": predicted, "probability": 0.9, "probabilities": [0.25] * 4,
             "latency_ms": 1.0}
            for row, predicted in zip(ROWS.itertuples(), scores.predicted, strict=True)
        )  # fmt: skip
    windows_module.add_labels("run", ROWS, windows, 0, "contains")
    with Predictions(workspace.ledger_path()) as book:
        log = book.table(endpoint="run").set_index("row_id").loc[ROWS["id"]].reset_index()
    assert log["label"].tolist() == ROWS["reference"].tolist()
    inputs = log["input"].tolist()
    grades = build.grades(echo(), inputs, log["prediction"], log["label"], "contains")
    assert grades.tolist() == scores.grade.tolist() != [1, 0, 1, 1]
    texts = log.assign(prediction=scores.output, id=log["row_id"], output="", window="w1")
    texts = texts.assign(prompt_tokens=1, completion_tokens=1, usd=0.0, error="")
    assert monitor.graded(texts, "contains").tolist() == scores.correct.tolist()


def test_models_are_tuned_on_the_answer_that_is_graded():
    row = {"text": "x", "label": "1", "reference": "It leaks.\nIt broke."}
    (summary,) = conversations(PROMPT, [row])
    assert summary["messages"][-1]["content"] == "It leaks."
    (labelled,) = conversations(PROMPT, [{"text": "x", "label": "A"}])
    assert labelled["messages"][-1]["content"] == "A"
    assert llm_data.examples(pd.DataFrame([row])) == [({"text": "x"}, "It leaks.")]
