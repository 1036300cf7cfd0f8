import json
import re
from datetime import UTC, datetime

import pytest

from diptych.base.workspace import runs
from diptych.execution.runs import find_runs, load_run, new_id

NOW = datetime(2026, 11, 24, 0, 13, 37, tzinfo=UTC)


def keep(run_id, **files):
    """Make a run folder."""
    folder = runs() / run_id
    folder.mkdir()
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("task", "slug"),
    [
        ("reviews", "-reviews"),
        ("/data/My own (2).csv", "-My-own-2"),
        ("https://example.org/a/b.parquet?x=1", "-b"),
        ("", ""),
        (3, ""),
        ("../..", ""),
    ],
)
def test_an_id_is_a_plain_folder_name(task, slug):
    run_id = new_id("mlops/2_build", {"task": task}, NOW)
    assert re.fullmatch(rf"20261124-001337-mlops-2_build{slug}-[0-9a-f]{{4}}", run_id)


def test_runs_are_listed_newest_first_and_unreadable_ones_left_out():
    keep("20260101-000000-a-1", manifest={"name": "a", "status": "ok", "started": "1"})
    keep("20260301-000000-b-1", result={"notebook": "b", "complete": False})
    keep("20260201-000000-a-9", manifest={"name": "a", "status": "failed", "started": "2"})
    keep("20260201-000000-a-1", manifest={"name": "a", "status": "ok", "started": "3"})
    keep(".20260401-000000-a-1.partial", manifest={"name": "a"})
    keep("20260401-000000-a-2", manifest="{")
    keep("20260401-000000-a-3", manifest=[1])
    keep("20260401-000000-a-4")
    (runs() / "a file").write_text("")
    found = [(run.id[4:6], run.notebook, run.status) for run in find_runs()]
    assert found == [
        ("03", "b", "incomplete"),
        ("02", "a", "ok"),
        ("02", "a", "failed"),
        ("01", "a", "ok"),
    ]
    assert {run.notebook for run in find_runs("a")} == {"a"}


def test_a_run_that_is_not_there_is_named():
    with pytest.raises(LookupError, match="nobody: no run in"):
        load_run("nobody")
    keep("broken", manifest="{")
    with pytest.raises(LookupError, match=r"broken: the run in .* cannot be read"):
        load_run("broken")
