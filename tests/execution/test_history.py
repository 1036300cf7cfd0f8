import json
from datetime import UTC, datetime

import pytest

from diptych.base.errors import ParameterError
from diptych.execution.history import best, runs_table
from diptych.execution.runs import load_run


def keep(root, run_id, notebook="n", task="rows", value=None, complete=True, **parameters):
    """Write a run as a notebook records it."""
    folder = root / run_id
    folder.mkdir()
    values = {} if value is None else {"accuracy": {"value": value, "low": 0.1, "high": 0.9}}
    content = {
        "format": 2,
        "notebook": notebook,
        "task": {"task": task},
        "complete": complete,
        "values": values | {"seconds": {"value": 2, "low": None, "high": None}},
        "facts": {"parameters": {"task": task, "upstream": run_id, **parameters}},
    }
    (folder / "result.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def root(tmp_path):
    keep(tmp_path, "20260101-000000-a", value=0.5, trials=2, family="auto", names=["a"])
    keep(tmp_path, "20260102-000000-b", value=0.7, trials=2, family="auto", names=["b"])
    keep(tmp_path, "20260103-000000-c", value=0.9, complete=False, trials=5, family="auto")
    keep(tmp_path, "20260104-000000-d", value=0.6, trials=9, family="auto", names=["b"])
    keep(tmp_path, "20260105-000000-e", task="other", value=0.1, trials=2, family="auto")
    keep(tmp_path, "20260106-000000-f", notebook="m", trials=2, family="all")
    return tmp_path


def test_runs_stand_newest_first_with_what_varied_and_the_value_before(root):
    table = runs_table("n", "rows", root=root)
    assert [run[16:] for run in table["run"]] == ["d", "c", "b", "a"]
    assert list(table.columns)[5:7] == ["trials", "names"]
    assert not {"family", "upstream"} & set(table)
    assert list(table["names"][:1]) == ["['b']"]
    assert list(table["status"]) == ["ok", "incomplete", "ok", "ok"]
    assert list(table["figure"]) == ["accuracy"] * 4
    assert list(table["value"]) == [0.6, 0.9, 0.7, 0.5]
    # an incomplete run is compared, and nothing is compared with it
    assert table["before"].fillna(-1).tolist() == [0.7, 0.7, 0.5, -1]
    assert table["change"].fillna(0).round(3).tolist() == [-0.1, 0.2, 0.2, 0]
    assert table["started"][0] == datetime(2026, 1, 4, tzinfo=UTC)


def test_each_notebook_shows_a_figure_that_its_runs_have(root):
    table = runs_table(root=root).set_index("notebook")
    assert table.loc["m", "figure"] == "seconds"
    assert set(table.loc["n", "figure"]) == {"accuracy"}
    assert runs_table("n", figure="seconds", root=root)["value"].eq(2).all()


def test_the_newest_few_keep_their_comparison(root):
    table = runs_table("n", "rows", newest=1, root=root)
    assert table["change"].round(3).tolist() == [-0.1]


def test_what_there_is_not_is_named_with_the_nearest(root, tmp_path_factory):
    with pytest.raises(ParameterError, match=r"notebook: .* 'o'.*There are runs of m, n"):
        runs_table("o", root=root)
    with pytest.raises(ParameterError, match=r"task: .*Did you mean rows"):
        runs_table("n", "row", root=root)
    with pytest.raises(ParameterError, match=r"figure: .*Did you mean accuracy"):
        runs_table("n", figure="acuracy", root=root)
    assert runs_table("o", root=tmp_path_factory.mktemp("empty")).empty


def test_the_best_is_complete(root):
    assert best("accuracy", "n", "rows", root=root).id.endswith("b")
    assert best("accuracy", "n", "rows", lowest=True, root=root).id.endswith("a")
    with pytest.raises(ParameterError, match="accuracy"):
        best("accuracy", "m", root=root)


def test_the_best_of_figures_that_do_not_compare_is_refused(root):
    with pytest.raises(ParameterError, match=r"runs of 'other', 'rows'.*task='other'"):
        best("accuracy", root=root)
    with pytest.raises(ParameterError, match=r"runs of 'm', 'n'.*notebook='m'"):
        best("seconds", root=root)
    keep(root, "20260107-000000-g", value=0.1, metric="log_loss")
    with pytest.raises(ParameterError, match="metric='log_loss'"):
        best("accuracy", "n", "rows", root=root)
    assert best("accuracy", "n", "rows", metric="", root=root).id.endswith("b")
    assert best("accuracy", "n", "rows", metric="log_loss", root=root).id.endswith("g")
    with pytest.raises(ParameterError, match="no complete run of metric='f1'"):
        best("accuracy", "n", "rows", metric="f1", root=root)


def test_a_parameter_that_only_a_copy_has_is_shown(root):
    keep(root, "20260107-000000-g", value=0.8, trials=2, family="auto", alpha=0.5)
    table = runs_table("n", root=root)
    assert table["alpha"].tolist()[0] == 0.5
    assert table["alpha"][1:].isna().all()


def test_a_run_is_one_line_and_its_page_a_link(root):
    folder = keep(root, "20260107-000000-<g>", value=0.8)
    run = load_run(folder.name, root)
    assert repr(run) == "<Run 20260107-000000-<g>: n, ok, 2 values>"
    html = run._repr_html_()
    for part in ("20260107-000000-&lt;g&gt;", "0.100 to 0.900", 'href="'):
        assert part in html
    assert "<g>" not in html


def test_damaged_results_are_shown_as_far_as_they_go(root):
    (root / "x").mkdir()
    (root / "x" / "result.json").write_text('{"notebook": "n", "values": 3, "task": null}')
    (root / "y").mkdir()
    (root / "y" / "result.json").write_text('{"notebook": "n", "values": {"accuracy": 0.4}}')
    table = runs_table("n", root=root).set_index("run")
    assert table.loc["y", "value"] == 0.4
    assert table["started"].isna().sum() == 2
