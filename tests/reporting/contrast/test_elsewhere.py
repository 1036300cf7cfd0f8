"""Ways that no run of the report measured: recorded models, and what is stored."""

import numpy as np
import pandas as pd
import pytest
from reporting.both import runs

from diptych.core.data import tasks, versions
from diptych.core.evaluation import stats
from diptych.llmops.client import recordings
from diptych.reporting.contrast import elsewhere, evidence, stored


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The labels of the shipped task's rows, as runs of it grade them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("home")))
        versions.ingest(tasks.get("reviews"), why="a test")
        rows = versions.read("reviews")
        yield pd.Series(rows["label"].to_numpy(object), index=rows["id"].astype(str))


@pytest.fixture(scope="module")
def known(truth):
    """The ways of each recording that ships, and what of it no longer fits."""
    names = [name for name, one in recordings.folders().items()
             if one.parent == recordings.shipped()]  # fmt: skip
    return {name: elsewhere.recorded_ways(name, "sentiment", truth, "c-1") for name in names}


def test_every_recording_that_ships_fits_prompts_and_rows_of_today(known):
    """The default report replays with no miss."""
    assert {name: stale for name, (_, stale) in known.items() if stale} == {}


def test_recorded_models_are_ways_with_their_size_licence_and_day(known, truth):
    (way, *_), _ = known["qwen2.5-coder-1.5b"]
    assert way.name == "Qwen2.5-Coder 1.5B Instruct, zero-shot"
    assert way.model == "1.5 B parameters, Qwen, Alibaba Cloud, Apache-2.0"
    assert way.where.startswith("recorded 2026-")
    assert (way.side, way.run, way.labels) == ("llmops", "c-1", 0)
    assert len(way.rows) >= elsewhere.FEWEST
    assert (way.rows["truth"] == truth[way.rows.index]).all()
    assert way.cpu_ms.value > 100
    assert set(way.validation.index).isdisjoint(way.rows.index)
    assert way.by_hand.index.str.startswith("hw-").all()


def test_a_recorded_way_has_the_cost_that_was_measured_of_it(known):
    lines = recordings.read_lines(recordings.shipped() / "smollm2-135m" / recordings.COMPUTE)
    spent = {one["shots"]: one["cpu_ms"] for one in lines if one["scenario"] == "sentiment"}
    ways, _ = known["smollm2-135m"]
    assert {way.labels for way in ways} == spent.keys()
    for way in ways:
        assert way.cpu_ms.value == pytest.approx(np.mean(spent[way.labels]))
        assert way.cpu_ms.low < way.cpu_ms.value < way.cpu_ms.high
        assert way.cpu_ms.n == 20


def test_examples_and_fine_tuning_count_as_labels(known):
    names = {"qwen2.5-coder-0.5b": {0, 4, 8}, "smollm2-135m-lora-160": {160}}
    for name, labels in names.items():
        ways, _ = known[name]
        assert labels <= {way.labels for way in ways}
    assert ways[0].name == "SmolLM2 135M Instruct, LoRA on 160 labels"


def test_a_row_whose_label_is_another_now_has_no_answer(known, truth):
    (way, *_), _ = known["qwen2.5-coder-1.5b"]
    changed = truth.copy()
    changed[way.rows.index[:10]] = "neither"
    (fewer, *_), _ = elsewhere.recorded_ways("qwen2.5-coder-1.5b", "sentiment", changed, "c-1")
    assert len(fewer.rows) == len(way.rows) - 10


def test_a_recording_whose_rows_no_run_graded_is_said(truth):
    other = pd.Series("neither", truth.index)
    ways, left_out = elsewhere.recorded_ways("qwen2.5-coder-1.5b", "sentiment", other, "c-1")
    assert ways == []
    assert "qwen2.5-coder-1.5b: prompt label_only: no run graded its rows" in left_out[0]


def test_texts_are_compared_with_the_reference_that_llmops_has(tmp_path):
    """MLOps predicts an intent, of which its table of predictions holds the name."""
    found = runs(tmp_path)
    for run in found:
        if run.notebook == "mlops/2_build":
            (file,) = run.folder.glob("*predictions.parquet")
            pd.read_parquet(file).assign(label="intent").to_parquet(file)
    left, right = evidence.sides(found)
    truth = elsewhere._truth(left, right)
    assert set(truth[right.lines.index]) == {"good", "bad"}


def test_the_stored_answers_are_those_of_the_stored_curve(truth):
    content = stored.of("sentiment", "reviews")
    lines = elsewhere._lines(content["answers"]["embeddings"], content["classes"],
                             elsewhere._splits("reviews"))  # fmt: skip
    test = lines[elsewhere._splits("reviews")["split"].reindex(lines.index) == "test"]
    last = max((one for one in content["curves"] if one["family"] == "embeddings"),
               key=lambda one: one["labels"])  # fmt: skip
    assert len(test) == last["n"]
    assert test["score"].mean() == pytest.approx(last["value"], abs=0.0006)  # rounded
    wilson = stats.wilson(int(test["score"].sum()), len(test))
    assert [last["low"], last["high"]] == pytest.approx([wilson.low, wilson.high], abs=0.003)
    assert stored.of("sentiment", "my own") == {}
    assert stored.of("no scenario") == {}


def test_the_curve_has_every_number_of_labels(truth):
    for scenario in stored.TASKS:
        content = stored.of(scenario)
        labels = {one["labels"] for one in content["curves"]}
        assert labels >= {10, 30, 100, 300}
        for one in content["curves"]:
            assert one["low"] <= one["value"] <= one["high"]
            assert one["seeds"] in (1, stored.SEEDS)


def test_a_task_of_another_name_has_nothing_elsewhere(tmp_path):
    panels = evidence.sides(runs(tmp_path))
    assert elsewhere.of("sentiment", *panels, "c-1").ways == ()


def test_labels_are_drawn_with_rows_of_each_class():
    train = pd.DataFrame({"label": ["rare"] * 3 + ["common"] * 97})
    drawn = stored._drawn(train, 10, seed=1)
    assert len(drawn) == 10
    assert drawn["label"].value_counts()["rare"] >= 2
    assert np.all(stored._drawn(train, 10, seed=1).index == drawn.index)
    assert len(stored._drawn(train, 1_000, seed=1)) == 100
