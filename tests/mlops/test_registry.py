"""The registry over a real MLflow store: versions, champion, audit, one step back."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from disk import Disk
from mlops.samples import fitted, inputs
from processes import until

from diptych.base import workspace
from diptych.core.data import tasks
from diptych.execution import runs
from diptych.mlops.models import model as models
from diptych.mlops.registry import ROLLBACK, ModelRegistry, RegistryError, champion_of

pytestmark = pytest.mark.usefixtures("registry_home")
PASSED = {"promoted": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fitted("table", "logistic").save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def registry(request):
    """A registry of its own for each test."""
    return ModelRegistry(request.node.originalname.replace("_", "-"))


def register(registry, folder, count: int = 1) -> list:
    return [
        registry.register(folder, {"family": "x"}, {"accuracy": 0.9}, "r") for _ in range(count)
    ]


def test_a_version_holds_the_model_and_what_it_was_made_with(registry, folder):
    made = registry.register(folder, {"C": 3.0}, {"accuracy": 0.91}, "run-7")
    assert str(made) == f"{registry.name}/1"
    assert models.digest(made.folder) == models.digest(folder)
    assert made.folder.is_relative_to(workspace.home())
    rows, _ = inputs("table")
    assert (
        models.load(made.folder).predict(rows) == fitted("table", "logistic").predict(rows)
    ).all()
    stored = registry.client.get_model_version(registry.name, "1")
    run = registry.client.get_run(stored.run_id)
    assert run.data.params == {"C": "3.0"}
    assert run.data.metrics == {"accuracy": 0.91}
    assert run.data.tags["diptych.run"] == "run-7"
    assert run.info.status == "FINISHED"


def test_registering_moves_the_challenger_and_never_the_champion(registry, folder):
    assert registry.champion() is registry.challenger() is None
    first, second = register(registry, folder, 2)
    assert (first.number, second.number) == (1, 2)
    assert registry.champion() is None
    assert registry.challenger() == second
    registry.promote(first, "it passed", PASSED)
    assert registry.champion() == first
    assert registry.challenger() == second


READER = """
import sys
from diptych.mlops.registry import ModelRegistry

version = ModelRegistry(sys.argv[1]).champion()
print(version, version.folder)
"""


def test_another_process_sees_the_champion(registry, folder):
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    command = [sys.executable, "-c", READER, registry.name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == f"{made} {made.folder}", done.stderr


def test_a_promotion_is_audited(registry, folder):
    first, second = register(registry, folder, 2)
    registry.promote(first, "the first", PASSED)
    registry.promote(second, "better by 2 points", {"promoted": True, "floor": 0.85})
    history = registry.history()
    assert history["from_version"].isna().tolist() == [True, False]
    assert history["from_version"].iloc[1] == "1"
    assert history["to_version"].tolist() == ["1", "2"]
    assert history["why"].tolist() == ["the first", "better by 2 points"]
    assert history["gate"].tolist() == [PASSED, {"promoted": True, "floor": 0.85}]
    assert (history["who"].str.len() > 0).all()
    assert history["time"].is_monotonic_increasing


def test_a_promotion_needs_a_reason(registry, folder):
    (made,) = register(registry, folder)
    with pytest.raises(ValueError, match="why: is empty"):
        registry.promote(made, " ", PASSED)
    assert registry.champion() is None
    assert registry.history().empty


def test_one_step_back(registry, folder):
    versions = register(registry, folder, 3)
    for version in versions:
        registry.promote(version, "it passed", PASSED)
    assert registry.rollback("it fails on Mondays") == versions[1]
    assert registry.champion() == versions[1]
    last = registry.history().iloc[-1]
    assert (last["from_version"], last["to_version"]) == ("3", "2")
    assert last["why"] == "rollback: it fails on Mondays"
    assert last["gate"] == ROLLBACK


def test_a_second_step_back_goes_further_and_never_forward(registry, folder):
    first, second, third = register(registry, folder, 3)
    for version in (first, second, third):
        registry.promote(version, "it passed", PASSED)
    assert [registry.rollback("again"), registry.rollback("again")] == [second, first]
    with pytest.raises(RegistryError, match="/1 replaced no other version"):
        registry.rollback("again")
    assert registry.champion() == first
    assert len(registry.history()) == 5


def test_a_rehearsal_leaves_the_way_back_as_it_was(registry, folder):
    first, second = register(registry, folder, 2)
    registry.promote(first, "it passed", PASSED)
    registry.promote(second, "it passed", PASSED)
    registry.rollback("rehearsal")
    registry.promote(second, "end of the rehearsal", PASSED)
    assert registry.rollback("in earnest") == first


def test_promoting_the_champion_again_does_not_hide_what_it_replaced(registry, folder):
    first, second = register(registry, folder, 2)
    for version in (first, second, second):
        registry.promote(version, "it passed", PASSED)
    assert registry.rollback("it fails") == first


def test_nothing_to_roll_back_is_said(registry, folder):
    with pytest.raises(RegistryError, match=r"has no champion yet; .*Release one first: 3_release"):
        registry.rollback("why not")
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    with pytest.raises(RegistryError, match="replaced no other version"):
        registry.rollback("why not")


def test_an_unknown_version_is_named(registry, folder):
    (made,) = register(registry, folder)
    with pytest.raises(RegistryError, match=f"{registry.name} has no version 9; there are"):
        registry.version(9)
    assert registry.version(1) == made


def test_another_models_version_is_not_promoted(registry, folder):
    (made,) = register(registry, folder)
    other = ModelRegistry("another")
    with pytest.raises(RegistryError, match=f"{made} is no version of another"):
        other.promote(made, "mixed up", PASSED)


TURNS = 4
RIVAL = """
import sys, time
from pathlib import Path
from diptych.mlops.registry import ModelRegistry

name, folder, mark, turns = sys.argv[1:]
registry = ModelRegistry(name)
Path(f"{mark}.ready").touch()
while not Path(mark).with_name("go").exists():
    time.sleep(0.01)
for _ in range(int(turns)):
    made = registry.register(Path(folder), {}, {}, "rival")
    registry.promote(made, "it passed", {"promoted": True})
"""


def test_two_processes_promoting_at_once_leave_one_unbroken_history(tmp_path, folder, monkeypatch):
    """Both also make the store: their workspace is new."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    marks = [tmp_path / name for name in ("one", "two")]
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, "contested", str(folder), str(mark), str(TURNS)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for mark in marks
    ]

    def are_ready():
        assert all(rival.poll() is None for rival in rivals), rivals[0].communicate()
        return all(Path(f"{mark}.ready").exists() for mark in marks)

    until(are_ready)
    (tmp_path / "go").touch()
    for rival in rivals:
        _, errors = rival.communicate(timeout=120)
        assert rival.returncode == 0, errors
    registry = ModelRegistry("contested")
    history = registry.history()
    assert sorted(history["to_version"].astype(int)) == list(range(1, 2 * TURNS + 1))
    assert history["from_version"].isna().tolist() == [True] + [False] * (2 * TURNS - 1)
    assert history["from_version"].tolist()[1:] == history["to_version"].tolist()[:-1]
    assert registry.champion().number == int(history["to_version"].iloc[-1])


def test_a_broken_store_is_not_taken_for_a_missing_champion(
    tmp_path, folder, monkeypatch, mlflow_tables
):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    mlflow_tables(tmp_path / "home")
    registry = ModelRegistry("lost")
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    workspace.mlflow_path().write_bytes(b"not a database" * 1_000)
    with pytest.raises(Exception, match=r"(?i)database|malformed|disk"):
        registry.champion()


KILLED = """
import os, signal, sys
from diptych.mlops.registry import ModelRegistry

class Killed(ModelRegistry):
    def _point(self, alias, number):
        if sys.argv[1] == "before the alias" and alias == "champion":
            os.kill(os.getpid(), signal.SIGKILL)
        super()._point(alias, number)

    def _audit(self, promotion):
        if sys.argv[1] == "after the row":
            super()._audit(promotion)
        os.kill(os.getpid(), signal.SIGKILL)

    def _create(self, *arguments, **options):
        if sys.argv[1] == "while it registers":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._create(*arguments, **options)

registry = Killed(sys.argv[2])
if sys.argv[1] == "while it registers":
    registry.register(sys.argv[3], {}, {}, "run")
registry.promote(registry.version(sys.argv[3]), "killed", {"promoted": True})
"""


@pytest.mark.parametrize(
    ("when", "promoted"),
    [
        pytest.param("before the alias", False, marks=pytest.mark.long),
        ("before the row", True),
        pytest.param("after the row", True, marks=pytest.mark.long),
    ],
)
def test_the_audit_of_a_killed_promotion_is_true(registry, folder, when, promoted):
    first, second = register(registry, folder, 2)
    registry.promote(first, "it passed", PASSED)
    before = registry.history()["why"].tolist()
    command = [sys.executable, "-c", KILLED, when, registry.name, str(second.number)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    again = ModelRegistry(registry.name)
    assert again.champion() == (second if promoted else first)
    assert again.history()["why"].tolist() == before + ["killed"] * promoted
    again.promote(second, "once more", PASSED)
    assert again.rollback("it fails") == first


@pytest.mark.long
def test_a_killed_registration_leaves_no_run_that_seems_to_run(registry, folder):
    (made,) = register(registry, folder, 1)
    command = [sys.executable, "-c", KILLED, "while it registers", registry.name, str(folder)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    again = ModelRegistry(registry.name)
    experiment = again.client.get_experiment_by_name(registry.name)
    runs = again.client.search_runs([experiment.experiment_id])
    assert all(run.info.status in ("FINISHED", "FAILED") for run in runs)
    assert again.challenger() == made


def test_history_is_empty_before_the_first_promotion(registry):
    history = registry.history()
    assert isinstance(history, pd.DataFrame)
    assert history.empty


def released(folder, champion: bool = True, **parameters):
    """Register a model as `mlops/3_release` does, with that run's record."""
    name = tasks.name_of(parameters["task"], parameters)
    registry = ModelRegistry(name)
    (version,) = register(registry, folder)
    if champion:
        registry.promote(version, why="better", gate=PASSED)
    run = workspace.runs() / f"20260101-000000-mlops-3_release-{name}"
    run.mkdir(parents=True)
    content = {
        "format": runs.FORMAT, "notebook": "mlops/3_release", "task": parameters,
        "facts": {"name": name}, "complete": True,
    }  # fmt: skip
    (run / "result.json").write_text(json.dumps(content))
    return version


def test_the_champion_of_own_rows_is_found_by_their_path(folder, tmp_path, monkeypatch):
    place = tmp_path / "claims.csv"
    place.write_text("a,b,paid\n")
    version = released(folder, task=str(place), text_column="", label_column="paid")
    assert champion_of(str(place), {}) == version
    assert champion_of(version.name, {}) == version
    monkeypatch.chdir(tmp_path)
    assert champion_of("claims.csv", {"label_column": "paid"}) == version
    with pytest.raises(RegistryError, match=rf"3_release .* in service: .*{version.name}"):
        champion_of("claims.csv", {"label_column": "b"})
    with pytest.raises(RegistryError, match=r"there is no file .*other\.csv"):
        champion_of("other.csv", {})
    other = released(folder, task="claims.csv", text_column="", label_column="b", seed=3)
    assert other.name.endswith("-seed3")
    with pytest.raises(RegistryError, match=r"has 2 models, so name the columns .*'paid'"):
        champion_of(str(place), {})
    assert champion_of(str(place), {"seed": 3}) == other


def test_a_model_that_was_never_promoted_is_told_from_one_that_is_not_there(folder, tmp_path):
    place = tmp_path / "refused.csv"
    place.write_text("a,b\n")
    version = released(folder, champion=False, task=str(place), label_column="b")
    for task in (str(place), version.name):
        with pytest.raises(RegistryError, match=rf"{version.name}' was never .*gate.* floor"):
            champion_of(task, {})


def test_a_promotion_survives_a_power_cut(registry, folder, monkeypatch):
    """The champion's files are on the disk before the intent is, and so before its alias."""
    (version,) = register(registry, folder)
    disk = Disk(monkeypatch)
    registry.promote(version, "better", PASSED)
    intent = disk.named(registry._intent)
    assert disk.keeps(registry._intent)
    for path in (*version.folder.rglob("*"), version.folder, version.folder.parents[1]):
        assert disk.synced(path, before=intent), path
