import numpy as np
import pandas as pd
import pytest

from diptych.core.data import schema, splits, validation
from diptych.core.data.column import Column
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task

ROWS = 600


def text_rows():
    """Canonical rows of distinct words over two years."""
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}" for a in "bdfgklmnprst" for b in ("ana", "elo", "isi", "oru")])
    frame = pd.DataFrame({"id": [f"r-{i:03d}" for i in range(ROWS)]})
    frame["time"] = pd.date_range("2024-01-01", periods=ROWS, freq="D", tz="UTC").as_unit("us")
    frame["text"] = [" ".join(rng.choice(words, 12)) for _ in range(ROWS)]
    frame["label"] = np.where(np.arange(ROWS) % 2, "good", "bad")
    frame["slice"] = ""
    frame["split"] = splits.assign(frame, ["text"], 0)
    by_hand = frame.head(20).assign(split="handwritten")
    by_hand["id"] = [f"h-{i}" for i in range(20)]
    by_hand["text"] = [" ".join(rng.choice(words, 12)) for _ in range(20)]
    by_hand["time"] = schema.no_times(by_hand.index)
    return pd.concat([frame, by_hand], ignore_index=True)


def table_rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"r-{i:03d}" for i in range(ROWS)]})
    frame["time"] = schema.no_times(frame.index)
    frame["a"] = rng.random(ROWS, dtype=np.float32)
    frame["b"] = rng.random(ROWS, dtype=np.float32)
    frame["label"] = np.where(np.arange(ROWS) % 2, "good", "bad")
    frame["slice"] = ""
    frame["split"] = splits.assign(frame, ["a", "b"], 0)
    return frame


LABELS = ("bad", "good")
TEXT = Task("t", "text", ["text"], "", None, labels=LABELS, apart=("handwritten",))
TABLE = Task("t", "table", ["a", "b"], "", None, labels=LABELS, bounds=(0, 1))


def statuses(frame, task):
    table = validation.validate(frame, task).table
    return table.set_index("check")["status"].to_dict()


def place(frame, split, nth=0):
    return frame.index[frame["split"] == split][nth]


@pytest.mark.parametrize(("rows", "task"), [(text_rows, TEXT), (table_rows, TABLE)])
def test_good_rows_pass_every_check(rows, task):
    report = validation.validate(rows(), task)
    assert report.ok
    assert set(report.table["status"]) == {"ok"}, str(report)
    assert list(report.table) == ["check", "status", "found", "detail"]
    report.raise_if_failed()


def copied(frame, source, target, change=lambda text: text):
    frame.loc[place(frame, target), "text"] = change(frame.loc[place(frame, source), "text"])
    return frame


def without_train_class(frame):
    return frame[(frame["split"] != "valid") | (frame["label"] == "bad")]


def imbalanced(frame):
    rare = (frame["split"] == "train") & (frame["label"] == "good")
    return frame.drop(frame.index[rare][10:])


def set_at(column, value, split="train", nth=0):
    def plant(frame):
        frame.loc[place(frame, split, nth), column] = value
        return frame

    return plant


# what is planted, and the only checks that may notice it: {check: status}
TEXT_FAULTS = {
    "missing column": (lambda f: f.drop(columns="slice"), {"columns": "fail"}),
    "unknown column": (lambda f: f.assign(colour=1), {"columns": "fail"}),
    "time as text": (lambda f: f.assign(time=f["time"].astype("str")), {"types": "fail"}),
    "label as number": (lambda f: f.assign(label=1), {"types": "fail"}),
    "no label": (set_at("label", None), {"missing values": "fail"}),
    "no text": (set_at("text", None), {"missing values": "fail"}),
    "repeated id": (lambda f: f.assign(id=f["id"].replace("r-001", "r-000")), {"ids": "fail"}),
    "blank text": (set_at("text", "  "), {"text length": "fail"}),
    "endless text": (set_at("text", "word" * 6000), {"text length": "warn"}),
    "unknown class": (set_at("label", "ugly"), {"classes": "fail", "splits": "warn",
                                                "class balance": "warn"}),
    "one class": (lambda f: f.assign(label="bad"), {"classes": "fail"}),
    "rare class": (imbalanced, {"class balance": "warn"}),
    "class not in valid": (without_train_class, {"splits": "warn"}),
    "empty test": (lambda f: f[f["split"] != "test"], {"splits": "fail"}),
    "no live": (lambda f: f[f["split"] != "live"], {"splits": "fail"}),
    "class not in live": (lambda f: f[(f["split"] != "live") | (f["label"] == "bad")],
                          {"splits": "warn"}),
    "unknown split": (set_at("split", "trian"), {"splits": "fail"}),
    "copy in train": (lambda f: set_at("text", f.loc[place(f, "train"), "text"], nth=1)(f),
                      {"duplicates": "warn"}),
    "train row in test": (lambda f: copied(f, "train", "test"),
                          {"leakage": "fail", "near copies": "warn"}),
    "train row capitalised in valid": (lambda f: copied(f, "train", "valid", str.title),
                                   {"leakage": "fail", "near copies": "warn"}),
    "train row by hand": (lambda f: copied(f, "train", "handwritten"),
                          {"leakage": "fail", "near copies": "warn"}),
    "train row later": (lambda f: copied(f, "train", "live"),
                        {"leakage": "warn", "near copies": "warn"}),
    "train row with a mark in test": (lambda f: copied(f, "train", "test", lambda x: x + "!"),
                                      {"near copies": "warn"}),
    "early live row": (set_at("time", pd.Timestamp("2024-01-01", tz="UTC"), "live"),
                       {"time order": "fail"}),
    "late train row": (set_at("time", pd.Timestamp("2026-01-01", tz="UTC")),
                       {"time order": "fail"}),
    "no time": (set_at("time", pd.NaT, "live"), {"time order": "fail"}),
}  # fmt: skip

TABLE_FAULTS = {
    "missing feature": (lambda f: f.drop(columns="b"), {"columns": "fail"}),
    "double precision": (lambda f: f.astype({"b": "float64"}), {"types": "fail"}),
    "missing number": (set_at("b", np.nan), {"missing values": "warn"}),
    "infinite": (set_at("b", np.inf), {"values": "fail"}),
    "out of bounds": (set_at("b", -0.5), {"values": "fail"}),
    "constant": (lambda f: f.assign(b=np.float32(0.5)), {"values": "warn"}),
    "train row in test": (
        lambda f: f.assign(**{
            name: f[name].where(f.index != place(f, "test"), f.loc[place(f, "train"), name])
            for name in "ab"}),
        {"leakage": "fail"}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "task", "plant", "noticed"),
    [
        *(pytest.param(text_rows, TEXT, *x, id=name) for name, x in TEXT_FAULTS.items()),
        *(pytest.param(table_rows, TABLE, *x, id=name) for name, x in TABLE_FAULTS.items()),
    ],
)
def test_a_planted_fault_is_noticed_and_nothing_else(rows, task, plant, noticed):
    frame = plant(rows())
    found = {check: status for check, status in statuses(frame, task).items() if status != "ok"}
    assert found == noticed
    assert validation.validate(frame, task).ok == ("fail" not in noticed.values())


def test_a_failed_report_raises_with_what_it_found():
    frame = copied(text_rows(), "train", "test")
    report = validation.validate(frame, TEXT)
    with pytest.raises(DataError, match=r"^data: 1 of 12 checks failed. leakage: test 1, rows"):
        report.raise_if_failed()
    assert "fail  leakage" in str(report)
    assert len(str(report).splitlines()) == len(report.table)


def test_the_first_column_at_fault_is_named():
    frame = set_at("b", np.inf)(table_rows())
    table = validation.validate(frame, TABLE).table.set_index("check")
    assert table.loc["values", "detail"] == "1 are infinite, first in b"


def test_undeclared_classes_are_those_found():
    task = Task("t", "table", ["a", "b"], "", None)
    assert statuses(table_rows(), task)["classes"] == "ok"


def test_no_rows_at_all_are_reported_and_not_raised():
    assert not validation.validate(table_rows().head(0), TABLE).ok
    assert not validation.validate(text_rows().head(0), TEXT).ok


def own_table(**more):
    """Rows of a user's own typed table, and their task."""
    rng = np.random.default_rng(0)
    frame = table_rows().drop(columns=["a", "b"])
    frame["size"] = rng.normal(size=ROWS)
    frame["plan"] = pd.Series(rng.choice(["monthly", "yearly"], ROWS), dtype="str")
    frame["paid"] = pd.array(rng.random(ROWS) < 0.5, "boolean")
    frame["since"] = pd.date_range("2024-01-01", periods=ROWS, tz="UTC").as_unit("us")
    frame = frame.assign(**more)
    columns = [Column("size", "Size", "number"), Column("plan", "Plan", "category"),
               Column("paid", "Paid?", "boolean"), Column("since", "since", "time")]  # fmt: skip
    task = Task("t", "table", [x.name for x in columns], "", None, from_user=True)
    task.columns = tuple(columns)
    return frame, task


def checks(frame, task):
    return validation.validate(frame, task).table.set_index("check")


def test_a_good_typed_table_passes_every_check():
    report = checks(*own_table())
    assert set(report["status"]) == {"ok"}, report
    assert report.loc["types", "found"] == "1 number, 1 category, 1 boolean, 1 time"


def test_gaps_of_a_typed_table_are_counted_and_are_no_fault():
    frame, task = own_table()
    frame.loc[:9, ["size", "plan", "paid", "since"]] = None
    report = checks(frame, task)
    assert report.loc["missing values", "status"] == "ok"
    assert report.loc["missing values", "found"] == "size 10, plan 10, paid 10, since 10"
    frame.loc[:400, "plan"] = None
    assert checks(frame, task).loc["missing values", "status"] == "warn"


def test_a_column_of_another_kind_is_refused():
    frame, task = own_table()
    report = checks(frame.astype({"size": "float32"}), task)
    assert report.loc["types", "found"] == "size is float32, not double"


def test_equal_rows_with_other_labels_are_counted_and_named():
    frame, task = own_table()
    names = ["size", "plan", "paid", "since", "split"]
    one, other = frame.index[frame["label"] == "good"][0], frame.index[frame["label"] == "bad"][0]
    for name in names:
        frame.loc[other, name] = frame.loc[one, name]
    message = checks(frame, task).loc["conflicts"]
    assert (message["status"], message["found"]) == ("warn", "2 rows")
    assert f"{frame['id'][other]} (bad)" in message["detail"]
    assert f"{frame['id'][one]} (good)" in message["detail"]


def test_a_column_that_repeats_the_label_is_named_with_the_remedy():
    frame, task = own_table()
    frame["plan"] = frame["label"].map({"good": "kept", "bad": "left"})
    message = checks(frame, task).loc["label in a column"]
    assert (message["status"], message["found"]) == ("warn", "plan 100.0%")
    assert "leave_out=Plan" in message["detail"]
    # filled in for one class only
    frame, task = own_table()
    frame["size"] = frame["size"].where(frame["label"] == "good")
    assert checks(frame, task).loc["label in a column", "found"] == "size 100.0%"


def test_values_that_no_train_row_has_are_named():
    frame, task = own_table()
    frame.loc[place(frame, "test"), "plan"] = "weekly"
    message = checks(frame, task).loc["categories"]
    assert message["status"] == "warn"
    assert "plan 1" in message["detail"]


def test_splits_that_the_file_names_warn_and_go_on():
    frame, task = own_table()
    frame.loc[frame["split"] == "live", "split"] = "test"
    train, test = place(frame, "train"), place(frame, "test")
    frame.loc[test, ["size", "plan", "paid", "since"]] = frame.loc[
        train, ["size", "plan", "paid", "since"]
    ]
    report = checks(frame, task)
    assert report.loc["splits", "status"] == "warn"
    assert "name some live" in report.loc["splits", "detail"]
    assert report.loc["leakage", "status"] == "warn"
    frame = frame[frame["split"] != "valid"]
    assert checks(frame, task).loc["splits", "status"] == "fail"


def test_the_columns_of_a_wide_table_are_named_once():
    """Work is counted in how often the task's schema is made, which takes a step a column."""
    counted = []

    class Wide(Task):
        @property
        def schema(self):
            counted.append(len(self.features))
            return super().schema

    names = [f"x{i}" for i in range(300)]
    task = Wide("wide", "table", names, "", lambda _: None)
    frame = pd.DataFrame({name: [0.0] for name in task.schema.names})
    assert validation._columns(frame, task)[1] == validation.OK
    assert len(counted) < 5


def test_a_check_of_ones_own_is_one_line_and_fails_the_run():
    rows = pd.DataFrame({"age": [1, -2, None]})
    report = validation.Validation(
        pd.DataFrame([("a", "ok", "b", "")], columns=["check", "status", "found", "detail"])
    )
    held = report.and_checks({"three rows": len(rows) == 3, "ages": rows["age"].isna() | True})
    assert held.ok
    failed = held.and_checks({"no one is unborn": rows["age"] >= 0})
    assert failed.table.iloc[-1]["found"] == "1 of 3 hold"
    with pytest.raises(DataError, match="no one is unborn: 1 of 3 hold"):
        failed.raise_if_failed()
    with pytest.raises(DataError, match="give True or False, or a column of them"):
        report.and_checks({"ages": rows["age"]})
