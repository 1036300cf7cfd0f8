"""The shipped recordings: whole, small, of this repository's prompts, and without a host's name."""

import itertools
import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from diptych.core.data import tasks, versions
from diptych.llmops import data as stage
from diptych.llmops import record_plan, recorded
from diptych.llmops.client import recordings
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.prompts.prompt import read_prompt

MOST_BYTES = 20_000_000  # of all that is shipped
NAMES = sorted(path.parent.name for path in recordings.shipped().glob(f"*/{recordings.FACTS}"))
PARAMETERS = Path(__file__).parents[3] / "params" / "llmops" / "2_build" / "recorded.yaml"
MODELS = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m")


def test_all_together_are_small():
    files = [path for path in recordings.shipped().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recording_is_whole(name, home):
    recording = recordings.load(name)
    facts = recording.facts
    assert facts["model"] == name
    assert len(facts["digest"]) == 64
    assert platform.node() not in json.dumps(facts)
    versions = {line["version"] for lines in facts["parts"].values() for line in lines}
    for (question, repeat), row in recording.answers.items():
        assert (len(question), row["v"] in versions, repeat >= 0) == (recordings.DIGITS, True, True)
        assert row["a"] is not None
        assert row["ms"] > 0
        assert facts["machines"][row["on"]]["cpu"]
    days = {machine["date"] for machine in facts["machines"]}
    assert all(day in recording.when() for day in (min(days), max(days)))


@pytest.mark.parametrize("name", NAMES)
def test_its_prompts_are_those_of_this_repository(name, home):
    texts = record_plan.text_version()
    for scenario, lines in recordings.load(name).facts["parts"].items():
        now = {record_plan.CARDS: texts, record_plan.JUDGED: texts}
        if scope := record_plan.SCOPES.get(scenario):
            labels = tasks.get(scope.task).labels or ["a"]
            for prompt in scope.prompts:
                text = read_prompt(scope.task, prompt, sorted(labels))
                now[text.name] = text.version
        for line in lines:
            assert line["version"] == now[line["prompt"]], (
                f"{line['prompt']} has changed: run `diptych model record {name} {scenario}`"
            )


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """What each recording shows in each scenario."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("home")))
        for variable in ("OPENAI_API_KEY", "HF_TOKEN"):
            patch.delenv(variable, raising=False)
        patch.setenv("DIPTYCH_MODELS", str(tmp_path_factory.mktemp("models")))  # no model is here
        return {
            (name, scenario): recorded.replayed(name, scenario)
            for name in NAMES
            for scenario in recordings.load(name).facts["parts"]
            if scenario in record_plan.SCOPES
        }


def test_what_reports_show_replays_without_a_miss(replayed):
    for (name, scenario), results in replayed.items():
        assert not results.attrs["left out"]
        assert (results["error"] == "").all(), (name, scenario)
        assert results["cached"].sum() == 0  # nothing but the recording answered
        assert set(evaluate.COLUMNS) < set(results)
    for name in MODELS:
        test = replayed[name, "sentiment"].query("split == 'test' and shots == 0")
        assert test["id"].nunique() == len(test)
        assert len(test) in (150, *record_plan.FURTHER)


def test_models_answered_the_same_rows(replayed):
    for scenario in ("sentiment", "chatbot", "summaries"):
        rows = [
            set(replayed[name, scenario].query("split == 'test' and shots == 0")["id"])
            for name in MODELS
            if (name, scenario) in replayed
        ]
        rows = sorted(filter(None, rows), key=len)
        assert rows
        assert all(rows[0] <= ids for ids in rows)


def test_a_recording_of_another_prompt_or_of_other_rows_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    (name,) = MODELS[2:]
    folder = tmp_path / "recordings" / name
    folder.mkdir(parents=True)
    shipped = recordings.shipped() / name
    facts = json.loads((shipped / recordings.FACTS).read_text())
    for line in facts["parts"]["summaries"]:
        line["data"] = "another"
    (folder / recordings.FACTS).write_text(json.dumps(facts))  # and none of its answers
    results = recorded.replayed(name, "summaries")
    assert results.empty
    assert len(results.attrs["left out"]) == len(facts["parts"]["summaries"])
    for sentence in results.attrs["left out"]:
        assert "of other rows: record again" in sentence
        assert f"`diptych model record {name} summaries`" in sentence


def test_the_shipped_parameters_of_2_build_replay_without_a_miss(tmp_path, monkeypatch):
    """Every question of ``diptych run llmops/2_build -f llmops/2_build/recorded``."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    given = yaml.safe_load(PARAMETERS.read_text("utf-8"))
    task, data = record_plan.rows_of("sentiment")
    stored = versions.read(task.name)
    labels = stage.labels_of(data)
    extent = stage.Extent(40, 150, given["perturbed_rows"], given["hand_written_rows"],
                          given["repeat_rows"], record_plan.REPEATS)  # fmt: skip
    prompts = stage.choose(task, given["prompts"], labels)
    (target,) = map(Target.parse, given["models"])
    recording = recordings.load(target.model)
    steps = stage.Questions.of(stored, task, extent, 0).steps(prompts, given["shots"], [0.0])
    steps = [step for step in steps if step.name != "judge"]  # of the answers: not recorded so
    asked = {step.name: 0 for step in steps}
    for step in steps:
        again = step.name == "repeated"
        repeats = range(record_plan.REPEATS if again else 1)
        variants = [
            replace(variant, target=target, temperature=t)
            for variant in step.variants
            for t in ((0.0, record_plan.WARM) if again else (0.0,))
        ]
        for variant, repeat in itertools.product(variants, repeats):
            for body in variant.requests(step.rows.to_dict("records")):
                assert recording.answer(body, repeat)["choices"]
                asked[step.name] += 1
    assert [asked[name] for name in ("validation", "test", "repeated")] == [40, 150, 60]
    assert asked["hand-written"] == 150
    assert asked["perturbed"] > 100


def test_repeats_are_replayed_one_by_one(home):
    """Each repeat has its own answer: a label that changed is seen."""
    name = "smollm2-135m"
    recording, labels = recordings.load(name), {}
    for part in record_plan.parts("sentiment", Target("recorded", name)):
        if part.split.startswith(record_plan.REPEATED):
            for question, repeat in part.requests():
                text = recording.answers[question, repeat]["a"].strip().casefold()
                labels.setdefault((part.variant.temperature, question), set()).add(text)
    changed = sum(len(texts) > 1 for (t, _), texts in labels.items() if t)
    rows = sum(t > 0 for t, _ in labels)
    table = recorded.stability(name, "sentiment").set_index("name")
    warm = table.filter(like="t=0.7", axis=0).iloc[0]
    assert warm["rows"] == rows
    assert 0 < warm["changed"] * rows <= changed
