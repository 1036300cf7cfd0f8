"""Files as people have them become the rows they mean, or a sentence says why not."""

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import tasks, validation, versions


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("home")))


def ingested(path, **chosen):
    """Take a file through what 1_data does: its rows, its task and its validation."""
    task = tasks.get(str(path), **chosen)
    version = versions.ingest(task, why="test")
    frame = versions.read(task.name, versions.pin(task.name, version, -1))
    report = validation.validate(frame, task)
    report.raise_if_failed()
    return frame, task, report


SENTENCES = [
    f"the novel number {i} was {'nice' if i % 2 else 'dull'}, all in all" for i in range(120)
]
POLAR = ["neg", "pos"] * 60


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def lines(separator=",", header=("text", "label"), labels=POLAR, texts=SENTENCES, tail=""):
    rows = [header, *zip(texts, labels, strict=True)]
    quoted = [separator.join(f'"{x}"' if separator in x else x for x in row) + tail for row in rows]
    return "\n".join(quoted) + "\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (lines("|"), "utf-8"),
        (lines("\t"), "utf-8"),
        ("sep=;\n" + lines(";"), "utf-8"),
        (lines().replace("novel", "café"), "cp1252"),
        (lines().replace("\n", "\n\n"), "utf-8"),
        (lines(tail=",,,"), "utf-8"),
        ("\ufeff" + lines(), "utf-8"),
        (lines(), "utf-16"),
    ],
    ids=["pipe", "tab", "sep line", "cp1252", "blank lines", "trailing columns", "BOM", "UTF-16"],
)
def test_texts_in_any_dress(tmp_path, text, encoding):
    frame = ingested(written(tmp_path / "a.csv", text, encoding))[0]
    wanted = {x.replace("novel", "café") if "café" in text else x for x in SENTENCES}
    assert set(frame["text"]) == wanted
    assert frame["label"].value_counts().to_dict() == {"neg": 60, "pos": 60}


def test_a_file_without_a_header(tmp_path):
    path = written(tmp_path / "a.csv", lines(header=("a", "b")).partition("\n")[2])
    frame, task, _ = ingested(path, text_column="column_1", label_column="column_2")
    assert len(frame) == 120
    assert "column names" in set(task.guesses["guessed"])


def messages(report):
    return " ".join(f"{x.found} {x.detail}" for x in report.table.itertuples())


def test_words_for_missing_are_no_class(tmp_path):
    labels = ["NaN" if i % 5 == 0 else x for i, x in enumerate(POLAR)]
    frame, _, report = ingested(written(tmp_path / "a.csv", lines(labels=labels)))
    assert set(frame["label"]) == {"neg", "pos"}
    assert "24 of 120 rows were left out: they have no label" in messages(report)
    again, _, _ = ingested(tmp_path / "a.csv", read_options="missing=''")
    assert set(again["label"]) == {"NaN", "neg", "pos"}


def test_one_class_in_several_spellings(tmp_path):
    labels = [("POS", "Pos", "POS ")[i % 3] if i % 2 else "neg" for i in range(120)]
    frame, _, report = ingested(written(tmp_path / "a.csv", lines(labels=labels)))
    assert set(frame["label"]) == {"POS", "neg"}
    assert "'Pos' (20) became 'POS'" in messages(report)
    labels = [("1", "1.0")[i % 4 // 2] if i % 2 else "0" for i in range(120)]
    frame, _, report = ingested(written(tmp_path / "b.csv", lines(labels=labels)))
    assert set(frame["label"]) == {"0", "1"}
    assert "with and without .0 are one value" in messages(report)


def test_one_empty_text_of_many(tmp_path):
    frame, _, report = ingested(written(tmp_path / "a.csv", lines(texts=["", *SENTENCES[1:]])))
    assert len(frame) == 119
    assert "1 of 120 rows were left out: they have no text" in messages(report)


def test_equal_texts_with_opposite_labels_are_reported(tmp_path):
    texts = [SENTENCES[0], SENTENCES[0], *SENTENCES[2:]]
    _, _, report = ingested(written(tmp_path / "a.csv", lines(texts=texts)))
    message = report.table.set_index("check").loc["conflicts"]
    assert (message["status"], message["found"]) == ("warn", "2 rows")


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (lambda x: f"{x:.2f}".replace(".", ","), 1234.5),
        (lambda x: f"{x:,.2f}".replace(",", "_").replace(".", ",").replace("_", "."), 1234.5),
        (lambda x: f"{x:,.2f}", 1234.5),
        (lambda x: f"${x:,.2f}", 1234.5),
        (lambda x: f"{x:.1f}%", 1234.5),
    ],
    ids=["decimal comma", "decimal comma and thousands", "thousands", "currency", "percent"],
)
def test_numbers_as_they_are_written(tmp_path, write, value):
    rng = np.random.default_rng(0)
    numbers = [value, *np.round(rng.uniform(0.5, 9_000, 199), 1)]
    text = "x;n;label\n" + "".join(
        f"{write(x)};{i * 7 % 13};{'ab'[i % 2]}\n" for i, x in enumerate(numbers)
    )
    frame, task, _ = ingested(written(tmp_path / "a.csv", text), text_column="")
    np.testing.assert_allclose(sorted(frame["x"]), sorted(numbers))
    assert {column.name: column.kind for column in task.columns} == {"x": "number", "n": "number"}


def test_a_dash_among_numbers_is_missing(tmp_path):
    text = "x,label\n" + "".join(
        f"{'-' if i % 20 == 0 else i * 1.5},{'ab'[i % 2]}\n" for i in range(200)
    )
    frame, _, report = ingested(written(tmp_path / "a.csv", text), text_column="")
    assert frame["x"].isna().sum() == 10
    assert "read as missing: '-' (10)" in messages(report)


def test_categories_alone_and_beside_numbers(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"plan": rng.choice(["monthly", "yearly"], 300), "wind": rng.choice(list("uvw"), 300)}
    )
    frame["left"] = rng.choice(["yes", "no"], 300)
    frame.to_csv(tmp_path / "a.csv", index=False)
    rows, task, report = ingested(tmp_path / "a.csv", text_column="", label_column="left")
    assert [x.kind for x in task.columns] == ["category", "category"]
    assert set(rows["split"]) == {"train", "valid", "test", "live"}
    assert "equal rows are taken for different cases" in messages(report)
    frame.assign(months=rng.integers(1, 60, 300)).to_csv(tmp_path / "b.csv", index=False)
    rows, task, _ = ingested(tmp_path / "b.csv", text_column="", label_column="left")
    assert task.features == ["plan", "wind", "months"]
    assert rows["months"].between(1, 59).all()


def test_a_rare_class_warns_with_the_remedy_and_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    quality = np.repeat(["5", "6", "7", "4", "8", "3"], [681, 638, 199, 53, 18, 2])
    frame = pd.DataFrame(rng.normal(size=(len(quality), 3)), columns=list("abc"))
    frame.assign(quality=quality).to_csv(tmp_path / "a.csv", index=False)
    rows, _, report = ingested(tmp_path / "a.csv", text_column="", label_column="quality")
    held = rows.groupby("split")["label"].agg(set)
    assert all({"4", "5", "6", "7", "8"} <= held[x] for x in ("train", "valid", "test"))
    assert "too rare for every split: '3' (2 different rows; none in valid); merge" in messages(
        report
    )


def test_sixty_classes(tmp_path):
    labels = [f"intent_{i}" for i in range(60) for _ in range(20)]
    texts = [f"please do thing {i} for me {i * 7}" for i in range(1200)]
    text = lines(labels=labels, texts=texts)
    frame, _, _ = ingested(written(tmp_path / "a.csv", text))
    assert frame[frame["split"] == "train"]["label"].nunique() == 60


STARTS = pd.date_range("2023-01-01", periods=120, freq="D", tz="UTC")


@pytest.mark.parametrize(
    "write",
    [
        lambda t: f"{t.timestamp():.0f}",
        lambda t: f"{t:%m/%d/%y}",
        lambda t: f"{t:%m/%d/%Y 12:00 AM}",
        lambda t: f"{t:%a %b %d 00:00:00 +0000 %Y}",
        lambda t: f"{t - pd.Timedelta(hours=8):%Y-%m-%d %H:%M:%S} PST",
        lambda t: f"{t:%d.%m.%Y}",
    ],
    ids=["epoch", "two-digit year", "AM", "Twitter", "PST", "day first"],
)
def test_times_as_they_are_written(tmp_path, write):
    frame = pd.DataFrame({"text": SENTENCES, "when": map(write, STARTS), "label": POLAR})
    frame.to_csv(tmp_path / "a.csv", index=False)
    rows, _, _ = ingested(tmp_path / "a.csv", time_column="when")
    assert sorted(rows["time"]) == list(STARTS)
    assert (rows["split"] == "live").sum() == 30


def test_quarters(tmp_path):
    when = [f"{2010 + i // 4 % 12}Q{i % 4 + 1}" for i in range(120)]
    frame = pd.DataFrame({"text": SENTENCES, "when": when, "label": POLAR})
    frame.to_csv(tmp_path / "a.csv", index=False)
    rows, _, _ = ingested(tmp_path / "a.csv", time_column="when")
    assert set(rows["time"].dt.month) == {1, 4, 7, 10}


def test_a_date_far_off_is_named_and_moves_no_split(tmp_path):
    when = [f"{t:%Y-%m-%d}" for t in STARTS]
    when[5] = "2099-12-31"
    frame = pd.DataFrame({"text": SENTENCES, "when": when, "label": POLAR})
    frame.to_csv(tmp_path / "a.csv", index=False)
    rows, _, report = ingested(tmp_path / "a.csv", time_column="when")
    assert (rows["split"] == "live").sum() == 30
    assert "2099" in messages(report)
