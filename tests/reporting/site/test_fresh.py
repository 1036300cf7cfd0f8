"""A site is written again when its runs, its words or its pages have changed, and only then."""

import json

import pytest

from diptych.base import workspace
from diptych.execution.runs import Run
from diptych.reporting.site import site as pages

CELL = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Which?"}


@pytest.fixture
def show(tmp_path, monkeypatch):
    """Return a function that writes a site of one run, and says whether it was written anew."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    folder = workspace.runs() / "20261124-001337-mlops-1_data-ab12"
    folder.mkdir()
    notebook = {"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebook.ipynb").write_text(json.dumps(notebook))

    def show(question="Which?"):
        before = page.stat().st_ino if page.exists() else None
        run = Run(folder.name, folder, {"name": "mlops/1_data", "status": "ok"})
        shown = pages.ScenarioRuns("reviews", "Reviews", question, [run])
        assert pages.build([shown], tmp_path / "site") == page
        return page.stat().st_ino != before

    page = tmp_path / "site" / "index.html"
    show.page, show.notebook = page, folder / "notebook.ipynb"
    return show


def test_an_unchanged_site_stays(show):
    assert show()
    assert not show()


def test_other_words_and_other_runs_write_it_again(show):
    show()
    assert show("What now?")
    show.notebook.write_text(show.notebook.read_text().replace("Which?", "Who?"))
    assert show("What now?")
    assert not show("What now?")


def test_a_page_that_was_changed_or_lost_is_written_again(show):
    show()
    show.page.write_text(show.page.read_text() + " ")
    assert show()
    (show.page.parent / "reviews" / "1_data.html").unlink()
    assert show()
