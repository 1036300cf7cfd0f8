"""A changed file is used, in both panels, or the pin that forbids it stops with the version."""

import numpy as np
import pandas as pd
import pytest

from diptych.base.errors import NotebookFailed
from diptych.core.contract import RecordError
from diptych.core.data import tasks, versions
from diptych.core.store import records
from diptych.execution.runner import run_notebook

CHOSEN = {"text_column": "", "label_column": "label"}


def write(path, rows):
    """Write a table that nobody needs a language model for."""
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame({"size": rng.normal(size=rows), "plan": rng.choice(["u", "v"], rows)})
    frame.assign(label=np.where(frame["size"] > 0, "big", "small")).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    return tmp_path


def checked(place, **more):
    """Run 1_data and return its record."""
    run = run_notebook("mlops/1_data", overrides={"task": place, **CHOSEN, **more}, progress=False)
    return records.load(run.id)


def test_a_changed_file_is_checked_and_built_on(home):
    place = write(home / "my.csv", 200)
    first = checked(place)
    assert (first.value("rows"), first.fact("data_version")) == (200, 0)
    write(home / "my.csv", 300)
    # what was made of the old rows is not found, so a later stage makes 1_data again
    assert records.latest("mlops/1_data", first.task | records.source(place)) is None
    with pytest.raises(RecordError, match=rf"my\.csv has changed since run {first.id}"):
        records.find("mlops/1_data", first.task | records.source(place), first.id)
    second = checked(place)
    assert (second.value("rows"), second.fact("data_version")) == (300, 1)
    assert records.latest("mlops/1_data", second.task).id == second.id
    # the rows are those shown, at the version recorded
    task = tasks.get(place, **CHOSEN)
    assert len(versions.read(task.name, second.fact("data_version"))) == 300
    # the old file again: its run counts again
    write(home / "my.csv", 200)
    assert checked(place).id == first.id
    (home / "my.csv").unlink()  # rows that were ingested outlive their file
    known = {name: value for name, value in first.task.items() if name != "source"}
    assert records.latest("mlops/1_data", known).id == first.id


def test_a_file_that_failed_a_check_passes_when_corrected(home):
    place = home / "my.csv"
    place.write_text("size,label\n" + "".join(f"{i}.5,x\n" for i in range(50)))
    with pytest.raises(NotebookFailed, match="one class only"):
        checked(str(place))
    write(place, 200)
    assert checked(str(place)).value("rows") == 200


def test_a_pin_that_differs_from_the_source_stops_and_names_the_version(home):
    place = write(home / "my.csv", 200)
    assert checked(place, data_version=0).fact("data_version") == 0
    write(home / "my.csv", 300)
    with pytest.raises(NotebookFailed, match="Set data_version to 1, or to -1"):
        checked(place, data_version=0)
    assert checked(place, data_version=1).fact("data_version") == 1


@pytest.mark.parametrize("pinned", [pytest.param(-1, marks=pytest.mark.long), 0])
def test_an_older_version_is_built_on_by_its_number(home, capsys, pinned):
    place = write(home / "my.csv", 200)
    first = checked(place, data_version=pinned)
    write(home / "my.csv", 300)
    checked(place)
    task = first.task | {"data_version": 0} | records.source(place)
    capsys.readouterr()
    assert records.find("mlops/1_data", task).id == first.id
    assert "my.csv has changed since version 0; the rows stored then are used" in (
        capsys.readouterr().out
    )
    newest = first.task | {"data_version": -1} | records.source(place)
    assert records.find("mlops/1_data", newest).fact("data_version") == 1
