"""A bar in a notebook ends as a line; on a terminal it is tqdm's own."""

import nbformat
import pytest
from nbclient import NotebookClient

from diptych.base import notebook_progress

CODE = """
from diptych.base import notebook_progress as progress
with progress.bar(1500, "call") as bar:
    bar.set_description("<b>")
    for _ in range(1500):
        bar.update()
with progress.bar(3, "call", False) as bar:
    bar.update(3)
"""


@pytest.mark.parametrize("of_a_runner", [False, True])
def test_in_a_notebook_one_line_is_left_and_in_a_run_nothing(tmp_path, monkeypatch, of_a_runner):
    if of_a_runner:
        monkeypatch.setenv("DIPTYCH_RUN", str(tmp_path))
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    NotebookClient(nb, resources={"metadata": {"path": str(tmp_path)}}).execute()
    if of_a_runner:
        assert nb.cells[0].outputs == []
        return
    (output,) = nb.cells[0].outputs
    assert output.output_type == "display_data"
    assert output.data == {"text/plain": "1,500 calls"}


def test_a_bar_is_escaped_html_while_it_runs(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data)

    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data) or Handle())
    with notebook_progress._InNotebook(total=4, unit="call", mininterval=0) as bar:
        bar.set_description("<script>")
        notebook_progress.best(bar, 0.8, "<b>")
        notebook_progress.best(bar, float("nan"), "failed")
        notebook_progress.best(bar, 0.7, "worse")
        bar.update(2)
    assert all("<script>" not in data.get("text/html", "") for data in shown)
    assert 'value="2"' in shown[-2]["text/html"]
    assert "best 0.800 &lt;b&gt;" in shown[-2]["text/html"]
    assert shown[-1] == {"text/plain": "2 of 4 calls"}


@pytest.mark.parametrize("show", [True, False])
def test_elsewhere_it_writes_to_stderr_or_nothing(show, capsys):
    with notebook_progress.bar(2, "call", show) as bar:
        bar.update(2)
    said = capsys.readouterr()
    assert said.out == ""
    assert ("2/2" in said.err) == show


def test_a_bar_that_was_given_is_moved_and_not_ended():
    with notebook_progress.bar(10, "call") as outer:
        with notebook_progress.within(outer, 4, "call") as inner:
            inner.update(4)
        assert inner is outer
        outer.update(6)
        assert outer.n == 10
    with notebook_progress.within(False, 4, "call") as own:
        own.update(4)
        assert own.disable
