import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.base.workspace import repo_root
from diptych.core.data import tasks, validation, versions
from diptych.core.data.sources import DataError

UCI = repo_root().parent / "shared" / "data" / "uci_sentiment_labelled_sentences.csv"


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def reviews():
    return tasks.get("reviews").load()


@pytest.mark.parametrize("name", tasks.BUILT_IN)
def test_a_built_in_task_has_its_pins_and_its_datasheet(name):
    pins = yaml.safe_load((repo_root() / "params" / "tasks" / f"{name}.yaml").read_text())
    assert pins == {"task": name, "data_version": -1, "seed": 0}
    assert f"`{name}`" in tasks.get(name).datasheet


def test_every_pinned_task_exists():
    found = {path.stem for path in (repo_root() / "params" / "tasks").glob("*.yaml")}
    assert found == set(tasks.BUILT_IN)


@pytest.mark.parametrize(("name", "rows", "features"), [("tumours", 569, 30), ("digits", 1797, 64)])
def test_tables_are_canonical(name, rows, features):
    task = tasks.get(name)
    frame = task.load()
    assert frame.shape == (rows, features + 5)
    assert list(frame) == ["id", "time", *task.features, "label", "slice", "split"]
    assert all(name.isidentifier() for name in task.features)
    assert (frame[task.features].dtypes == np.float32).all()
    assert set(frame["label"]) == set(task.labels)
    assert frame["id"].is_unique
    assert frame["id"].is_monotonic_increasing
    assert frame["time"].isna().all()
    assert set(frame["split"]) == {"train", "valid", "test", "live"}


def test_tumours_are_those_published():
    """The counts of the data's own documentation: 212 malignant, 357 benign."""
    frame = tasks.get("tumours").load()
    assert frame["label"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    radius = frame.groupby("slice")["mean_radius"]
    assert radius.max()["small"] < radius.min()["medium"]
    assert radius.max()["medium"] < radius.min()["large"]
    assert radius.size().between(188, 192).all()


def test_digits_are_images():
    task = tasks.get("digits")
    assert task.kind == "image"
    assert task.features[0] == "p00"
    assert task.load()[task.features].to_numpy().max() == 16


def test_reviews_are_met_live_from_month_13(reviews):
    task = tasks.get("reviews")
    assert list(reviews) == ["id", "time", "text", "label", "slice", "split"]
    assert set(reviews["label"]) == set(task.labels)
    stream = reviews[reviews["split"] != "handwritten"]
    first = stream["time"].min()
    month = (stream["time"].dt.year - first.year) * 12 + stream["time"].dt.month - first.month + 1
    assert ((month >= 13) == (stream["split"] == "live")).all()
    shares = stream.loc[month < 13, "split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.70, abs=0.02)
    by_hand = reviews[reviews["split"] == "handwritten"]
    assert len(by_hand) >= 400
    assert by_hand["time"].isna().all()


def test_another_seed_is_another_split_of_the_same_rows(reviews):
    other = tasks.get("reviews", seed=5)
    assert (tasks.get("reviews").name, other.name) == ("reviews", "reviews-seed5")
    rows = other.load()
    pd.testing.assert_frame_equal(rows.drop(columns="split"), reviews.drop(columns="split"))
    assert (rows["split"] != reviews["split"]).any()


@pytest.mark.parametrize(
    ("task", "message"),
    [("reviws", "'reviws' is no task. Did you mean 'reviews'"), ("zebra", "Take one of reviews, ")],
)
def test_an_unknown_task_is_refused(task, message):
    with pytest.raises(DataError, match=message):
        tasks.get(task)


# --- your own data

ANY = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t")
TEXTS = st.text(ANY, max_size=9).filter(lambda x: x.strip())
NAMES = st.text(st.characters(categories=["L", "Nd"], include_characters=" _-"), min_size=1)
NAMES = NAMES.map(str.strip).filter(lambda x: x and x not in ("id", "slice"))
CLASSES = st.sampled_from(["yes", "no", "vielleicht", "日本", "0", "1"])


@st.composite
def labelled(draw, inputs):
    """Rows of (input, class) with two classes at least, one of them twice."""
    rows = draw(st.lists(st.tuples(inputs, CLASSES), min_size=1, max_size=12))
    return [*rows, (draw(inputs), "yes"), (draw(inputs), "no"), (draw(inputs), "no")]


def loaded_from_every_format(frame, **chosen):
    """Load a frame's rows from CSV, Parquet and Delta; return the last after comparing them."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("my rows.csv", "rows.parquet", "rows")]
        frame.to_csv(places[0], index=False)
        frame.to_parquet(places[1], index=False)
        write_deltalake(str(places[2]), frame)
        found = [tasks.get(str(place), **chosen) for place in places]
        frames = [task.load() for task in found]
    assert len({task.name for task in found}) == 3
    assert {tuple(task.features) for task in found} == {tuple(found[0].features)}
    for other in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], other)
    return found[0], frames[0]


@settings(max_examples=25, deadline=None)
@given(labelled(TEXTS), st.lists(NAMES, min_size=2, max_size=2, unique_by=str.casefold))
def test_your_texts_are_the_same_rows_in_every_format(rows, names):
    frame = pd.DataFrame(rows, columns=names)
    task, loaded = loaded_from_every_format(frame, text_column=names[0], label_column=names[1])
    assert (task.kind, task.from_user) == ("text", True)
    assert sorted(zip(loaded["text"], loaded["label"], strict=True)) == sorted(rows)
    assert loaded["id"].is_unique


NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.none())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, st.floats(-9, 9), st.booleans()), min_size=1, max_size=12), NAMES
)
def test_your_numbers_are_the_same_rows_in_every_format(rows, name):
    names = [f"{name} a", f"{name} b", f"{name} c"]
    rows = [*rows, (1.5, 2.5, True), (0.25, -2.5, False), (0.25, 3.5, False)]
    frame = pd.DataFrame(rows, columns=names)
    frame[names[0]] = frame[names[0]].astype(float)
    frame["label"] = ["yes", "no"] * (len(rows) // 2) + ["yes"] * (len(rows) % 2)
    task, loaded = loaded_from_every_format(frame, text_column="")
    assert (task.kind, len(task.features)) == ("table", 3)
    assert [column.original for column in task.columns] == names
    assert [column.kind for column in task.columns] == ["number", "number", "boolean"]
    wanted = frame[names].astype(float).to_numpy() + 0.0
    got = loaded[task.features].astype(float).to_numpy() + 0.0
    order = [np.lexsort(np.nan_to_num(x, nan=1e300).T) for x in (wanted, got)]
    np.testing.assert_array_equal(wanted[order[0]], got[order[1]])


def csv(folder, name="my rows.csv", rows=60):
    days = pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"text": [f"film number {i}" for i in range(rows)], "when": days})
    frame["label"] = np.arange(rows) % 2
    path = folder / name
    frame.to_csv(path, index=False)
    return path


def test_the_name_tells_place_and_columns_apart(tmp_path):
    path = csv(tmp_path)
    name = tasks.get(str(path)).name
    assert name.startswith("my-rows-")
    assert name == tasks.get(str(path.parent / "." / path.name)).name
    others = {
        tasks.get(str(path), time_column="when").name,
        tasks.get(str(csv(tmp_path, "my rows 2.csv"))).name,
        tasks.get(str(path), seed=1).name,
    }
    assert len(others | {name}) == 4


def test_your_times_split_by_time(tmp_path):
    task = tasks.get(str(csv(tmp_path)), time_column="when")
    frame = task.load()
    assert (frame["split"] == "live").sum() == 15
    assert frame.loc[frame["split"] == "live", "time"].min() == pd.Timestamp("2024-02-15", tz="UTC")
    assert "the column `when`" in task.datasheet


def test_ingested_rows_outlive_their_source(tmp_path):
    path = csv(tmp_path)
    task = tasks.get(str(path))
    versions.ingest(task, why="test")
    path.unlink()
    pinned = tasks.get(str(path))
    assert (pinned.name, pinned.kind, pinned.features) == (task.name, task.kind, task.features)
    assert len(versions.read(pinned.name, 0)) == 60
    with pytest.raises(DataError, match="there is no file"):
        pinned.load()


def test_a_source_with_other_columns_is_the_next_version(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,label\n1,2,x\n3,4,y\n5,6,x\n")
    versions.ingest(tasks.get(str(path)), why="test")
    path.write_text("a,c,label\n1,u,x\n3,v,y\n5,u,x\n")
    task = tasks.get(str(path))
    assert task.features == ["a", "b"]  # as ingested
    assert versions.ingest(task, why="test").number == 1
    assert [(x.name, x.kind) for x in task.columns] == [("a", "number"), ("c", "category")]
    old, new = (tasks.get(str(path), data_version=version) for version in (0, 1))
    assert (old.features, new.features) == (["a", "b"], ["a", "c"])
    assert (old.columns != new.columns, new.columns == task.columns) == (True, True)
    for version, one in enumerate((old, new)):
        assert list(versions.read(task.name, version)) == one.schema.names


def test_what_was_left_out_is_known_after_loading_and_reported(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{i % 90},{'red' if i % 3 else 'blue'},,{i % 2}" for i in range(200)]
    path.write_text("\n".join(["size,colour,nothing,label", *rows]))
    versions.ingest(tasks.get(str(path)), why="test")
    again = tasks.get(str(path))  # from the stored table
    assert again.features == ["size", "colour"]
    assert again.notes == []
    report = validation.validate(again.load(), again)
    message = report.table.set_index("check").loc["left out"]
    assert message["status"] == "warn"
    assert "'nothing'" in message["found"]
    assert list(again.guesses["guessed"]) == ["separator", "header", "column 'nothing'"]


def labelled_table(folder, labels, **columns):
    path = folder / "rows.csv"
    pd.DataFrame({**columns, "label": labels}).to_csv(path, index=False)
    return str(path)


def test_every_class_is_in_each_split_where_it_can_be(tmp_path):
    labels = [f"c{i}" for i in range(50) for _ in range(20)] + ["rare"] * 3
    path = labelled_table(tmp_path, labels, size=np.arange(1003) * 1.5, n=np.arange(1003) % 7)
    frame = tasks.get(path).load()
    for split in ("train", "valid", "test"):
        assert frame.loc[frame["split"] == split, "label"].nunique() == 51


def test_a_group_stays_in_one_split(tmp_path):
    who = [f"person {i % 40}" for i in range(400)]
    path = labelled_table(tmp_path, ["a", "b"] * 200, size=np.arange(400) * 1.5, who=who)
    task = tasks.get(path, group_column="who")
    frame = task.load()
    assert task.features == ["size"]
    groups = (frame["size"] / 1.5).round().astype(int) % 40
    assert frame.groupby(groups)["split"].nunique().eq(1).all()
    assert task.name != tasks.get(path).name


def test_splits_of_the_file_stand(tmp_path):
    named = ["train", "test", "train", "val"] * 50
    path = labelled_table(tmp_path, ["a", "a", "b", "b"] * 50, n=np.arange(200) * 1.5, split=named)
    task = tasks.get(path)
    frame = task.load()
    assert frame["split"].value_counts().to_dict() == {"train": 100, "test": 50, "valid": 50}
    assert any("no row is 'live'" in note for note in task.notes)


def test_options_of_reading_reach_the_reader(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n|label\n" + "".join(f"{i},5|{'ab'[i % 2]}\n" for i in range(30)))
    task = tasks.get(str(path), read_options="separator=| decimal=,")
    assert sorted(task.load()["n"])[:2] == [0.5, 1.5]
    path.write_text("n,m,label\n" + "".join(f"{i}.5,{i}.25,{'ab'[i % 2]}\n" for i in range(30)))
    assert tasks.get(str(path), read_options="leave_out=m").features == ["n"]
    with pytest.raises(DataError, match="leave_out=k: there is no such column"):
        tasks.get(str(path), read_options="leave_out=k")
    with pytest.raises(DataError, match="read_options: there is no option decmal"):
        tasks.get(str(path), read_options="decmal=,")


def test_own_sentences_end_to_end(tmp_path):
    if not UCI.exists():
        pytest.skip("the UCI sentences are not beside the repository (shared/data)")
    copy = tmp_path / "sentences.csv"
    shutil.copy(UCI, copy)
    task = tasks.get(str(copy))
    assert versions.ingest(task, why="test").rows == 3000
    frame = versions.read(task.name, 0)
    raw = pd.read_csv(UCI, dtype=str, keep_default_na=False).sort_values("id", ignore_index=True)
    columns = ["id", "text", "label"]
    pd.testing.assert_frame_equal(frame[columns], raw[columns])
    assert validation.validate(frame, task).ok


def test_rows_that_a_notebook_changed_are_the_tasks():
    task = tasks.get("tumours")
    frame = task.load()
    again = task.take(frame).load()
    pd.testing.assert_frame_equal(frame, again)
    fewer = frame[frame["split"] != "live"].assign(split="train")
    assert set(task.take(fewer).load()["split"]) == {"train"}
    assert len(task.load()) == len(fewer)
