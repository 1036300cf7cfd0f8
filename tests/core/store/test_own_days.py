"""Random days with our own notebooks, from the data to the release, on a small table."""

import json
import os
import random

import numpy as np
import pandas as pd
import pytest
from notebook_session import NotebookSession

from diptych.base import workspace
from diptych.core.data import perturb
from diptych.mlops.models import model as models

pytestmark = pytest.mark.longer
DAYS = 4 if os.environ.get("DIPTYCH_LONG") else 0
STAGES = ("1_data", "2_build", "3_release")
VALUES = {"family": ("logistic", "baseline"), "trials": (1, 2), "margin": (0.0, 0.05)}


def table(path, rows):
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame({"size": rng.normal(size=rows), "plan": rng.choice(["u", "v"], rows)})
    frame["label"] = np.where(frame["size"] + rng.normal(scale=0.3, size=rows) > 0, "big", "small")
    frame.to_csv(path, index=False)


class OwnDay:
    """A day with the notebooks of MLOps, each in its kernel."""

    def __init__(self, folder, seed):
        self.folder, self.choice, self.rows = folder, random.Random(seed), 200
        self.place = folder / "my.csv"
        table(self.place, self.rows)
        self.kernels, self.cells = {}, {}
        for stage in STAGES:
            path = workspace.repo_root() / "notebooks" / "mlops" / f"{stage}.ipynb"
            environment = {"DIPTYCH_HOME": str(folder / "home"), "JPY_SESSION_NAME": str(path)}
            self.kernels[stage] = NotebookSession(environment)
            cells = json.loads(path.read_text())["cells"]
            self.cells[stage] = [
                ["".join(cell["source"]), cell["id"]]
                for cell in cells
                if cell["cell_type"] == "code"
            ]
            self.set(stage, task=str(self.place), text_column="", label_column="label")
        self.set("2_build", family="logistic", trials=1, perturbed_rows=20)

    def set(self, stage, **values):
        """Edit the parameters cell."""
        first = self.cells[stage][0]
        for name, value in values.items():
            lines = first[0].splitlines()
            [place] = [n for n, line in enumerate(lines) if line.startswith(f"{name}:")]
            declared, _, rest = lines[place].partition(" = ")
            lines[place] = f"{declared} = {value!r}  # {rest.partition('  # ')[2]}"
            first[0] = "\n".join(lines)

    def run(self, stage, begin=0):
        """Run the cells from one on, as Jupyter does, up to the first error; return the error."""
        for source, name in self.cells[stage][begin:]:
            outcome = self.kernels[stage].run(source, name)
            if outcome.error:
                return outcome.error
        return ""

    def step(self):
        action = self.choice.choice(["value", "value", "value", "table", "release"])
        if action == "value":
            name = self.choice.choice(list(VALUES))
            self.set("2_build", **{name: self.choice.choice(VALUES[name])})
            source, cell = self.cells["2_build"][0]
            self.kernels["2_build"].run(source, cell)
            self.run("2_build", self.choice.randint(1, len(self.cells["2_build"]) - 1))
        elif action == "table":
            self.rows += 20
            table(self.place, self.rows)
            self.run("1_data")
            self.run("2_build", self.choice.choice([0, 3]))
        else:
            self.run("3_release")

    def results(self):
        paths = sorted(
            self.folder.glob("home/runs/[0-9]*/result.json"), key=lambda path: path.parent.name
        )
        return {path.parent: json.loads(path.read_text()) for path in paths}

    def check(self):
        results = {folder.name: (folder, result) for folder, result in self.results().items()}
        for folder, result in results.values():
            if result["upstream"]:
                assert results[result["upstream"]][1]["complete"], folder
            if result["notebook"] != "mlops/2_build" or "tried" not in result["facts"]:
                continue
            parameters, facts = result["facts"]["parameters"], result["facts"]
            if parameters["family"] == "auto":  # made because it was missing
                continue
            assert set(facts["tried"]) == {parameters["family"], "baseline"}, folder
            tried, _, planned = facts["tried"][parameters["family"]].partition(" of ")
            assert tried == planned, folder
            assert int(planned) <= parameters["trials"], folder
            assert models.load(folder / facts["model"]).family == facts["family"], folder
            data = results[result["upstream"]][1]["values"]
            predictions = pd.read_parquet(folder / "test_predictions.parquet")
            unchanged = ~predictions["id"].str.contains(perturb.MARK, regex=False)
            assert predictions["id"][unchanged].nunique() == data["test_rows"]["value"], folder

    def close(self):
        for kernel in self.kernels.values():
            kernel.close()


@pytest.mark.parametrize("seed", range(DAYS))
def test_no_record_of_our_own_notebooks_differs_from_what_ran(tmp_path, seed):
    day = OwnDay(tmp_path, seed)
    try:
        assert not day.run("1_data")
        assert not day.run("2_build")
        for _ in range(6):
            day.step()
            day.check()
        assert not day.run("2_build")
        assert not day.run("3_release")
        day.check()
        assert list(day.results().values())[-2]["complete"]
    finally:
        day.close()
