"""One run's record, as it is read back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from diptych.base import workspace
from diptych.core import contract
from diptych.core.contract import RecordError
from diptych.execution import run_card, runs


@dataclass(repr=False)
class Record:
    """What one run recorded.

    Attributes
    ----------
    folder : Path
        The run's folder; its name is the run's id.
    notebook : str
        Such as ``"mlops/2_build"``.
    task : dict
        The parameters that every stage of one task shares (`SHARED`), and ``source``, a digest of
        the file that ``task`` names: on a changed file nothing earlier is built on.
    values : dict of str to dict
        ``value``, ``low``, ``high`` (a 95 % interval or None) and ``unit`` by name.
    facts : dict
        Plain JSON handed to the next stage, such as a model's name.
    upstream : str or None
        Id of the run this one builds on.
    complete : bool
        Whether it ended, and its cells ran in order.
    draft : list of str
        Why it is a draft, if its cells ran again or in another order. No stage builds on one.
    """

    folder: Path
    notebook: str
    task: dict
    values: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    upstream: str | None = None
    complete: bool = False
    draft: list = field(default_factory=list)

    @property
    def id(self) -> str:
        """The run's id, also while the runner still stages its folder."""
        return self.folder.name.removeprefix(".").removesuffix(".partial")

    def __repr__(self) -> str:
        return run_card.text(self.id, self.notebook, self._status(), self.values)

    def _repr_html_(self) -> str:
        return run_card.html(self.folder, self.notebook, self._status(), self.values)

    def _status(self) -> str:
        return "draft" if self.draft else "complete" if self.complete else "not complete"

    @property
    def contract(self) -> contract.Contract | None:
        """What the notebook declares; None where it records freely."""
        return contract.of(self.notebook)

    def value(self, name: str) -> Any:
        """Return one recorded value.

        Raises
        ------
        RecordError
            If the notebook declares no such value, or the run recorded none.
        """
        if self.contract:
            self.contract.value(name)
        if name not in self.values:
            raise self._lacks(name, "value", self.values)
        return self.values[name]["value"]

    def fact(self, name: str) -> Any:
        """Return one fact; raises as `value` does."""
        if self.contract:
            self.contract.fact(name)
        if name not in self.facts:
            raise self._lacks(name, "fact", self.facts)
        return self.facts[name]

    def parameter(self, name: str) -> Any:
        """Return the value of one of the notebook's parameters; raises as `value` does."""
        if self.contract:
            self.contract.parameter(name)
        parameters = self.fact("parameters")
        if name not in parameters:
            raise self._lacks(name, "parameter", parameters)
        return parameters[name]

    def table(self, name: str) -> pd.DataFrame:
        """Read a table the run saved; raises as `value` does."""
        if self.contract:
            self.contract.table(name)
        path = self._path(name)
        if not path.exists():
            raise self._lacks(name, "table", self.tables)
        return pd.read_parquet(path)

    @property
    def tables(self) -> list[str]:
        """Names of the tables the run saved."""
        return sorted(path.stem for path in self.folder.glob("*.parquet"))

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def _lacks(self, name: str, what: str, known: Iterable[str]) -> RecordError:
        return RecordError(
            f"{name}: run {self.id} recorded no such {what}; it has {', '.join(known) or 'none'}. "
            f"Run {self.notebook} again if it was made by another version"
        )

    def ancestor(self, notebook: str) -> "Record":
        """Return the run of `notebook` that this one was built on, any number of steps back."""
        record = self
        while record.notebook != notebook:
            if not record.upstream:
                raise RecordError(
                    f"{notebook}: run {self.id} does not build on it; give as upstream a run that "
                    "does, or leave upstream empty"
                )
            record = load(record.upstream)
        return record


def latest(notebook: str, task: dict) -> Record | None:
    """Return the complete run of `notebook` with these task parameters asked for last."""
    run = runs.latest(notebook, task)
    return load(run.id) if run else None


def load(run_id: str) -> Record:
    """Read one run's record.

    Raises
    ------
    RecordError
        If there is no such run, or its record cannot be read.
    """
    folder = workspace.runs() / run_id
    try:
        content = json.loads((folder / "result.json").read_text())
        recorded = {key: content[key] for key in RECORDED}
        record = Record(folder, draft=content.get("draft", []), **recorded)
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"upstream: no run {run_id!r} can be read in {folder.parent}") from error
    if record.complete and not record.draft and runs.is_changed(folder):
        raise RecordError(
            f"upstream: files of run {run_id} were changed after it was made; nothing builds on "
            f"it. Run {record.notebook} again"
        )
    return record


RECORDED = ("notebook", "task", "values", "facts", "upstream", "complete")


def summary(record: Record) -> pd.DataFrame:
    """Return the recorded values, rounded for reading: name, value, low, high."""
    rows = [{"measured": name, **entry} for name, entry in record.values.items()]
    frame = pd.DataFrame(rows, columns=["measured", "value", "low", "high", "unit"])
    return frame.map(lambda x: round(x, 3) if isinstance(x, float) else x)


def headline(record: Record) -> tuple[str, float | None]:
    """Return the name and the value of the figure that a run is known by; None if it has none."""
    selected = record.facts.get("family") or record.facts.get("name")
    names = (f"score of {selected}", "score", "challenger", "validation", *record.values)
    for name in names:
        value = record.values.get(name, {}).get("value")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return name, value
    return "", None
