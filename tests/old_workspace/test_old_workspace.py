"""A workspace of the commit before opens; what cannot be used is refused in one sentence."""

import json
import re
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.core.data import versions
from diptych.core.data.sources import DataError
from diptych.core.store import records
from diptych.core.store.calls import Calls
from diptych.core.store.migrations import MIGRATIONS
from diptych.core.store.predictions import Predictions
from diptych.execution import history, runs
from diptych.execution.cache import entries
from diptych.llmops.prompts import bundle
from diptych.llmops.registry import PromptRegistry
from diptych.mlops.models import model as models
from diptych.mlops.registry import ModelRegistry
from diptych.reporting.contrast import contrast

ARCHIVE = Path(__file__).with_name("workspace.tar.xz")
PATHS = {  # of MLflow's store
    "runs": ["artifact_uri"],
    "experiments": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
    "model_version_tags": ["value"],
}
TASK = {"task": "tumours", "text_column": "text", "label_column": "label", "time_column": "",
        "data_version": 0, "seed": 0}  # fmt: skip
NOTEBOOKS = ["mlops/1_data", "mlops/2_build", "mlops/3_release", "mlops/4_serve",
             "llmops/1_data", "llmops/2_build", "llmops/3_release"]  # fmt: skip
REFUSAL = (
    "{} was made by an earlier Diptych, which recorded other names; "
    "run {} again with the same parameters"
)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """The old workspace, where its owner would have it."""
    home = tmp_path_factory.mktemp("old workspace")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home, filter="data")
    with closing(sqlite3.connect(home / "mlflow.db")) as store, store:
        for table, columns in PATHS.items():
            for column in columns:
                store.execute(
                    f"UPDATE {table} SET {column} = replace({column}, '/WORKSPACE', ?)",
                    [home.as_uri().removeprefix("file://")],
                )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(home))
        yield home


def run_of(notebook):
    return runs.named(notebook)


def test_every_run_is_found():
    assert [run.notebook for run in reversed(runs.find_runs())] == NOTEBOOKS
    assert {run.status for run in runs.find_runs()} == {"ok"}


def test_the_command_knows_the_runs(home):
    run = run_of("mlops/2_build")
    for arguments, expected in (
        (["why", run.id], f"{run.id}\n  no earlier run of mlops/2_build to compare with\n"),
        (["doctor"], "runs: 7, 0 failed; tables: 1"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "diptych", *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in done.stdout


def test_what_a_run_recorded_is_read():
    record = records.load(run_of("mlops/3_release").id)
    assert record.complete
    assert record.task == TASK
    assert record.values["accuracy"]["value"] == pytest.approx(0.967, abs=0.001)
    assert record.ancestor("mlops/1_data").values["rows"]["value"] == 569
    assert len(pd.read_parquet(run_of("mlops/2_build").folder / "learning_curve.parquet")) > 0


def test_no_stage_builds_on_an_old_run_unseen():
    for notebook in NOTEBOOKS:
        assert records.latest(notebook, TASK) is None


@pytest.mark.parametrize("notebook", ["mlops/2_build", "llmops/2_build"])
def test_an_old_run_to_build_on_is_refused(notebook):
    run = run_of(notebook)
    with pytest.raises(records.RecordError) as error:
        records.find(notebook, TASK, run.id)
    assert str(error.value) == f"upstream: {REFUSAL.format(run.id, notebook)}"


def test_an_old_run_to_compare_is_refused():
    run = run_of("mlops/4_serve")
    with pytest.raises(ParameterError) as error:
        contrast.gather(["sentiment"], [f"sentiment:{run.id}"])
    assert str(error.value) == f"runs: {REFUSAL.format(run.id, 'mlops/4_serve')}"


def test_no_old_run_is_linked():
    """The key of a run holds the modules it uses, and these were all moved."""
    from diptych.execution.runner import prepare

    lookup = entries.find(prepare("mlops/1_data", (), ["task=tumours"]), workspace.runs())
    assert lookup.run is None
    assert lookup.why == ""


def test_predictions_are_read_and_more_are_added():
    with Predictions(workspace.ledger_path()) as ledger:
        endpoint = run_of("mlops/4_serve").id
        before = ledger.table(endpoint=endpoint)
        assert len(before) == 40
        assert set(before["prediction"]) == {"benign", "malignant"}
        assert before["probability"].between(0.5, 1).all()
        ledger.log([{"endpoint": endpoint, "model": "tumours/1", "input": "[0]",
                     "prediction": "benign", "probability": 0.9, "latency_ms": 1.0,
                     "status": "ok"}])  # fmt: skip
        assert len(ledger.table(endpoint=endpoint)) == 41
        (promotion,) = ledger.promotions("tumours").to_dict("records")
        assert promotion["to_version"] == "1"


def test_calls_are_read_and_replayed():
    with Calls(workspace.ledger_path()) as calls:
        table = calls.table(run=run_of("llmops/2_build").id)
        assert len(table) == 32
        assert set(table["status"]) == {"ok"}
        answered = calls.answered(table["request"].tolist())
    outputs = dict(zip(table["request"], table["output"], strict=True))
    assert {request: row["output"] for request, row in answered.items()} == outputs


def test_the_ledger_has_every_migration():
    with Predictions(workspace.ledger_path()), Calls(workspace.ledger_path()):
        pass
    with closing(sqlite3.connect(workspace.ledger_path())) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_the_table_is_read():
    rows = versions.read("tumours", 0)
    assert len(rows) == 569
    assert set(rows["label"]) == {"benign", "malignant"}
    assert versions.history("tumours")["rows"].tolist() == [569]


def test_the_champion_predicts_what_it_did():
    version = ModelRegistry("tumours").champion()
    assert version.number == 1
    model = models.load(version.folder)
    assert models.digest(version.folder) == models.digest(
        run_of("mlops/3_release").folder / "model"
    )
    recorded = records.load(run_of("mlops/2_build").id).facts["sha256"]
    assert recorded == models.digest(run_of("mlops/2_build").folder / "model")
    rows = versions.read("tumours", 0)
    table = rows.set_index("id")
    with Predictions(workspace.ledger_path()) as ledger:
        before = ledger.table(endpoint=run_of("mlops/4_serve").id).dropna(subset=["row_id"])
    inputs = models.rows_of(table.loc[before["row_id"]], "table", model.features)
    probabilities = model.predict_proba(inputs).max(axis=1)
    np.testing.assert_allclose(probabilities, before["probability"], rtol=1e-6)


def test_the_prompt_is_read():
    version = PromptRegistry("tumours").challenger()
    assert version.number == 1
    assert bundle.load(version.folder).prompt.name == "plain"


# what a newer version of the code, of MLflow or of Delta wrote; last, for it changes the workspace
def test_a_newer_run_is_refused(home):
    run = run_of("mlops/2_build")
    path = run.folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": runs.FORMAT + 1}))
    with pytest.raises(records.RecordError, match="was made by a newer Diptych; update this one"):
        records.find("mlops/2_build", TASK, run.id)
    assert run.id in list(history.runs_table()["run"])


def test_a_run_without_facts_of_a_newer_diptych_is_not_built_on():
    content = {"format": runs.FORMAT + 1, "notebook": "mine", "complete": True}
    assert not runs.Run("a", Path("a"), result=content).is_current
    assert runs.Run("a", Path("a"), result=content | {"format": runs.FORMAT}).is_current
    assert runs.Run("a", Path("a"), result={"notebook": "mine", "complete": True}).is_current


def test_a_newer_model_is_refused():
    folder = run_of("mlops/2_build").folder / "model"
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": models.FORMAT + 1}))
    with pytest.raises(models.ModelError, match="a newer Diptych saved it"):
        models.load(folder)


def test_a_table_of_a_newer_delta_is_refused(home):
    (log,) = (home / "tables" / "tumours" / "_delta_log").glob("*0.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            line["protocol"] |= {"minReaderVersion": 9, "minWriterVersion": 99}
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for use in (versions.read, versions.history):
        with pytest.raises(DataError, match=r"a newer deltalake wrote it; update deltalake"):
            use("tumours")


def test_a_store_of_another_mlflow_is_refused(home):
    with closing(sqlite3.connect(home / "mlflow.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    opened = "from diptych.mlops.registry import ModelRegistry; ModelRegistry('tumours')"
    done = subprocess.run([sys.executable, "-c", opened], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]  # a process has looked at it once
    assert re.search(r"RegistryError: registry: .* mlflow db upgrade sqlite:///.*mlflow.db$", last)
