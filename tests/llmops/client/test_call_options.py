"""Options of calls: refused where they are wrong, and a notebook's are those of its run."""

import ast
import json
from pathlib import Path

import pytest

from diptych.core.store.records import Recorder
from diptych.llmops.client.call_options import CallOptions

NOTEBOOKS = sorted(Path(__file__).parents[3].glob("notebooks/llmops/*.ipynb"))


def test_a_wrong_concurrency_and_a_missing_run_are_refused():
    with pytest.raises(ValueError, match="concurrency: 0; at least 1"):
        CallOptions(concurrency=0)
    with pytest.raises(ValueError, match="run: is not given"):
        CallOptions().required_run()


def test_the_options_of_a_run_bear_its_id_and_its_replayed_latency_is_recorded(tmp_path):
    run = Recorder(tmp_path, "any/notebook", {})
    options = CallOptions.of(run, concurrency=3)
    assert (options.run, options.concurrency) == (run.id, 3)
    options.replayed.add({"a": 1.25, "b": 0.5})
    options.replayed.add({"a": 1.25})
    run.record("x", 1.0)
    assert json.loads((tmp_path / "result.json").read_text())["replayed_seconds"] == 1.75
    assert Recorder(tmp_path, "another", {}).replayed.seconds == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_makes_its_options_of_its_run(path):
    """Options that only name the run would lose its replayed latency without a word."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    calls = [
        node
        for cell in cells
        for node in ast.walk(ast.parse("".join(cell["source"])))
        if isinstance(node, ast.Call)
    ]
    assert not [call for call in calls if ast.unparse(call.func) == "CallOptions"]
