import json

import pandas as pd
import pytest

from diptych.core.data import precheck
from diptych.core.data.sources import DataError

DATA = {"text_column": "text", "label_column": "label", "time_column": "", "group_column": ""} | {
    "read_options": "", "seed": 0, "data_version": -1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame({"age": range(40), "plan": ["a", "b"] * 20, "label": ["no", "yes"] * 20})
    frame.to_csv(tmp_path / "my.csv", index=False)
    return tmp_path / "my.csv"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_column": "labl"}, "label_column: there is no column 'labl'.*mean 'label'"),
        ({"time_column": "when"}, "time_column: there is no column 'when'"),
        ({"text_column": "plann"}, "text_column: there is no column 'plann'.*mean 'plan'"),
        ({"label_column": "plan", "group_column": "plan"}, "both name the column 'plan'"),
        ({"label_column": "age", "metric": "accuracy"}, "'age' holds 40 different values"),
        ({"metric": "rmse"}, "'label' holds no numbers"),
        ({"metric": "rsme"}, "'rsme' is no metric. Did you mean 'rmse'"),
        ({"read_options": "kinds=agee:category"}, "kinds: there is no column 'agee'.*'age'"),
        ({"read_options": "header=maybe"}, "header=maybe cannot be"),
        ({"read_options": "kinds=label:time"}, "'label' is the label"),
        ({"read_options": "kinds=plan:number"}, "column 'plan': it cannot be read as number"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence(table, changed, message):
    with pytest.raises(DataError, match=message):
        precheck.check("mlops/1_data", DATA | {"task": str(table)} | changed)


def test_a_good_file_and_tasks_that_ship_pass(table):
    for task in (str(table), "reviews", "https://example.org/my.csv", "sqlite:///none.db"):
        precheck.check("mlops/1_data", DATA | {"task": task})
    precheck.check("start_here", {"task": "nothing"})  # a notebook of another kind


def test_a_file_that_is_not_there_is_named_with_one_that_is_near(table):
    with pytest.raises(DataError, match=r"there is no file .*my.cvs. Did you mean 'my.csv'"):
        precheck.check("mlops/1_data", DATA | {"task": str(table.with_name("my.cvs"))})
    with pytest.raises(DataError, match="'review' is no task"):
        precheck.check("mlops/2_build", DATA | {"task": "review"})


def test_later_stages_need_no_file_where_its_rows_are_stored(table):
    from diptych.core.data import tasks, versions

    task = tasks.get(str(table))
    versions.ingest(task, why="test")
    table.unlink()
    precheck.check("mlops/2_build", DATA | {"task": str(table)})
    with pytest.raises(DataError, match="there is no file"):
        precheck.check("mlops/1_data", DATA | {"task": str(table)})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_a_large_file_the_names_are_checked(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(precheck, "WHOLE", 0)
    path = tmp_path / f"large.{suffix}"
    frame = pd.DataFrame({"age": range(60_000), "label": ["no", "yes"] * 30_000})
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    precheck.check("mlops/1_data", DATA | {"task": str(path)})
    with pytest.raises(DataError, match="there is no column 'labl'"):
        precheck.check("mlops/1_data", DATA | {"task": str(path), "label_column": "labl"})


def test_a_record_without_the_label_is_found(tmp_path):
    path = tmp_path / "my.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"a b {i}", "stars": i % 5}) for i in range(50)))
    with pytest.raises(DataError, match="no column 'label'"):
        precheck.check("mlops/1_data", DATA | {"task": str(path)})
