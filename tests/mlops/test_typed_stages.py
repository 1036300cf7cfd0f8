"""A table as people have it through every stage: tuned, released, served, monitored, improved."""

import csv
import io
import json
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import readers, tasks
from diptych.core.store.predictions import Predictions
from diptych.mlops import build, monitor, release
from diptych.mlops.models import model as models
from diptych.mlops.models.model import ModelError
from diptych.mlops.registry import Version
from diptych.mlops.serving import app
from diptych.mlops.serving.process import Endpoint

PLANS = ("Basic", "Plus", "Family")
WORDS = "good poor slow dear fast kind broken content cheap loud".split()


def customers(rows: int = 600) -> str:
    """Return a file: names with spaces and %, gaps, a decimal comma, a date and sentences."""
    rng = np.random.default_rng(3)
    lines = ["Customer no;Age (years);Discount %;member;plan;since;note;left?"]
    for i in range(rows):
        age, member, plan = rng.integers(18, 90), rng.random() < 0.5, PLANS[rng.integers(3)]
        note = " ".join(rng.choice(WORDS, rng.integers(4, 9)))
        since = pd.Timestamp("2023-01-01") + pd.Timedelta(days=int(rng.integers(0, 700)))
        score = 0.04 * (age - 54) + (1 if member else -1) + 1.5 * ("broken" in note)
        score += {"Basic": 1, "Plus": 0, "Family": -1}[plan] - 0.5
        label = "yes" if rng.random() < 1 / (1 + np.exp(-2 * score)) else "no"
        cells = [
            f"C{i:05d}", f"{age}", f"{rng.gamma(2, 4):.2f}".replace(".", ","), f"{member}", plan,
            f"{since:%d.%m.%Y}", note, label,
        ]  # fmt: skip
        lines.append(";".join("" if 0 < at < 5 and rng.random() < 0.1 else x
                              for at, x in enumerate(cells)))  # fmt: skip
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    place = tmp_path_factory.mktemp("rows") / "customers.csv"
    place.write_text(customers())
    return place


@pytest.fixture(scope="module")
def table(path):
    task = tasks.get(str(path), text_column="", label_column="left?")
    return task, task.load()


@pytest.fixture(scope="module")
def tuned(table):
    task, data = table
    return build.tune_all(data, task, "auto", 1, 0)


def test_every_family_learns_from_all_kinds_of_columns(table, tuned):
    task, data = table
    kinds = {column.original: column.kind for column in task.columns}
    assert kinds == {
        "Age (years)": "number", "Discount %": "number", "member": "boolean", "plan": "category",
        "since": "time", "note": "text",
    }  # fmt: skip
    test = build.part(data, "test")
    scores = {name: build.evaluate(model, test, "label") for name, model in tuned[0].items()}
    for name in ("xgboost", "logistic"):
        accuracy = scores[name].accuracy.value
        assert accuracy > scores["baseline"].accuracy.value + 0.05
    assert "reason" not in tuned[1]
    assert build.slices(test, scores["xgboost"])["n"].sum() == len(test)
    curve = build.learning_curve(data, task, tuned[0]["logistic"], [0.3, 1.0], 0)
    assert curve["value"].notna().all()


def test_a_family_that_fails_is_a_line_and_the_others_go_on(table, monkeypatch):
    task, data = table
    monkeypatch.setitem(build.TABLES, "xgboost", {"max_depth": [-3, -5]})
    models_there, tried = build.tune_all(data, task, "auto", 2, 0)
    assert set(models_there) == {"baseline", "logistic"}
    line = tried[tried["family"] == "xgboost"].iloc[0]
    assert "max_depth" in line["reason"]
    assert np.isnan(line["validation"])
    with pytest.raises(Exception, match="max_depth"):
        build.tune_all(data, task, "xgboost", 2, 0)


def test_a_setting_that_fails_is_a_line_and_the_others_go_on(table, monkeypatch):
    task, data = table
    monkeypatch.setitem(build.TABLES, "xgboost", {"max_depth": [-3, 2], "rounds": [5]})
    model, tried = build.tune(data, task, "xgboost", 2, 0)
    assert model.parameters["max_depth"] == 2
    assert model.parameters["rounds"] <= 5  # boosting may stop early
    assert tried["validation"].notna().tolist() == [False, True]
    assert "max_depth" in tried["reason"][0]


def test_if_every_family_fails_the_reason_is_raised(table):
    task, data = table
    with pytest.raises(ModelError, match="validation set is empty"):
        build.tune_all(data[data["split"] != "valid"], task, "auto", 1, 0)


def post(url, body: bytes, kind: str) -> dict:
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": kind})
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))
    except urllib.error.HTTPError as error:
        return json.load(error)


def test_the_file_itself_is_answered_as_the_model_answers_in_training(table, tuned, path, tmp_path):
    task, _ = table
    raw = readers.read_table(str(path)).frame
    text = path.read_text()
    records = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    commas = io.StringIO()
    writer = csv.writer(commas)
    writer.writerows(csv.reader(io.StringIO(text), delimiter=";"))
    for name in ("xgboost", "logistic"):
        model = tuned[0][name]
        folder = model.save(tmp_path / name)
        frame = models.load(folder).columns.read(raw)
        expected = model.predict_proba(frame)
        bodies = models.requests(frame.assign(id="a"), "table", model.features, task.columns)
        ours = json.dumps({"inputs": [body["inputs"][0] for body in bodies]}).encode()
        with Endpoint(folder, ledger=tmp_path / "ledger.db", endpoint=name) as server:
            answers = [
                post(server.url, text.encode(), "text/csv"),
                post(server.url, commas.getvalue().encode(), "text/csv"),
                post(server.url, json.dumps({"instances": records}).encode(), "application/json"),
            ]
            plain = post(server.url, ours, "application/json")
            wrong = {**records[0], "Age (years)": "old"}
            refused = post(server.url, json.dumps({"inputs": [wrong]}).encode(), "application/json")
        for answer in answers:
            assert np.array_equal(answer["probabilities"], expected)
            assert answer["ignored_columns"] == ["Customer no", "left?"]
        assert plain["probabilities"] == answers[0]["probabilities"]
        assert "ignored_columns" not in plain
        assert "Age (years): 'old' is no number" in refused["error"]


@pytest.fixture(scope="module")
def log(table, tuned, tmp_path_factory):
    """What an endpoint would have recorded of the live rows, as the ledger gives it back."""
    task, data = table
    model, live = tuned[0]["xgboost"], build.part(data, "live")
    rows = models.plain_rows(live, task.columns)
    probabilities = model.predict_proba(model.inputs(rows))
    lines = [
        {
            "endpoint": "e", "model": "m", "row_id": row_id, "input": row, "prediction": "no",
            "probability": max(shares), "probabilities": shares, "latency_ms": 1.0,
        }
        for row_id, row, shares in zip(live["id"], rows, probabilities.tolist(), strict=True)
    ]  # fmt: skip
    with Predictions(tmp_path_factory.mktemp("log") / "ledger.db") as ledger:
        ledger.log(lines)
        return live, ledger.table("e")


def test_monitoring_describes_columns_by_kind(table, tuned, log):
    model, (live, recorded) = tuned[0]["xgboost"], log
    frame = monitor.describe(model, model.rows_of(live))
    assert {"Age_years", "member", "plan", "note: words", "note: unknown words"} <= set(frame)
    assert "since" not in frame
    rows = recorded.set_index("row_id").loc[live["id"], "input"].tolist()
    logged = monitor.describe(model, model.inputs(rows))
    pd.testing.assert_frame_equal(frame, logged)
    assert frame["plan"].isna().sum() == live["plan"].isna().sum() > 0


def test_drift_of_a_category_a_boolean_and_a_text_is_seen(table, tuned, log, tmp_path):
    _, data = table
    model, (live, recorded) = tuned[0]["xgboost"], log
    folder = model.save(tmp_path / "model")
    release.add_reference(model, folder, data[data["split"].isin(["test", "valid"])], 0)
    profile = monitor.reference(folder)
    windows = pd.Series("one", index=live["id"])
    still = monitor.watch(model, profile, recorded, windows, "label")
    assert still.alarmed == []
    assert still.failed.empty
    for at, value, feature in ((3, "Flex", "plan"), (2, True, "member"), (5, "zzz", "note: words")):
        moved = recorded.copy()
        moved["input"] = [[*row[:at], value, *row[at + 1 :]] for row in recorded["input"]]
        seen = monitor.watch(model, profile, moved, windows, "label")
        assert seen.alarmed == ["one"], feature
        assert seen.scores.loc[feature, "one"] > 1


def test_the_latency_of_a_release_is_that_of_rows_as_an_endpoint_reads_them(table, tuned, tmp_path):
    _, data = table
    model = tuned[0]["logistic"]
    measured = release.measure(
        "candidate", model, model.save(tmp_path / "model"), build.part(data, "test"), "label"
    )
    assert 0 < measured.latency_p95_ms < 1_000
    assert measured.score.n == (data["split"] == "test").sum()


def test_a_champion_of_other_columns_is_not_measured_and_says_why(table, tuned, tmp_path):
    _, data = table
    test = build.part(data, "test")
    folder = tuned[0]["logistic"].save(tmp_path / "model")
    champion = Version("customers", 1, folder)
    measured, note = release.measure_champion(champion, test, "label")
    assert (measured.name, note) == ("champion", "")
    assert release.measure_champion(None, test, "label") == (None, "")
    for rows, why in (
        (test.drop(columns="plan"), "plan: the rows have no such column"),
        (test.assign(plan=1.0), "plan: the rows hold float64, and the model learnt a category"),
    ):
        measured, note = release.measure_champion(champion, rows, "label")
        assert measured is None
        assert note.startswith("The champion customers/1 cannot be measured on these rows")
        assert why in note


def test_a_refitted_model_keeps_its_columns(table, tuned):
    task, data = table
    again = build.refit(tuned[0]["logistic"], build.part(data, "train"), task, 0)
    assert again.columns == tuned[0]["logistic"].columns


def test_booleans_and_words_for_missing_are_served_as_they_are_trained(tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "bools.csv"
    members, ages = rng.random(240) < 0.5, rng.normal(size=240).round(3)
    labels = np.where(ages + members > 0.5, "a", "b")
    rows = [
        f"{member},{age if i % 9 else 'NA'},{label}"
        for i, (member, age, label) in enumerate(zip(members, ages, labels, strict=True))
    ]
    place.write_text("member,age,label\n" + "\n".join(rows) + "\n")
    task = tasks.get(str(place), text_column="")
    model = build.tune(task.load(), task, "logistic", 1, 0)[0]
    reader = app._reader(models.load(model.save(tmp_path / "model")))
    expected = [[True, 0.3], [False, None], [True, 1.0], [None, None]]
    csv_rows = b"member,age\nTrue,0.3\nFalse,NA\nyes, 1 \n?,\n"
    assert reader.parse(csv_rows, "text/csv")[0] == expected
    values = [[True, 0.3], ["false", "NA"], ["TRUE", 1], [None, "?"]]
    assert reader.parse(json.dumps({"inputs": values}).encode())[0] == expected


def test_odd_names_are_served_as_the_file_spells_them(tmp_path):
    names = [
        "a b",
        "__x__",
        "class",
        "import",
        "price ($)",
        "y" * 200,
        "😀",
        "Zeit (s)",
        "a_b",
        "a.b",
    ]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(160, len(names))).round(3), columns=names)
    frame["label"] = np.where(frame["a b"] + frame["price ($)"] > 0, "a", "b")
    place = tmp_path / "odd.csv"
    frame.to_csv(place, index=False)
    task = tasks.get(str(place), text_column="")
    model = build.tune(task.load(), task, "logistic", 1, 0)[0]
    reader = app._reader(model)
    rows, _ = reader.parse(place.read_bytes(), "text/csv")
    assert rows == frame[[column.original for column in task.columns]].to_numpy().tolist()
    assert reader.ignored == {"label"}
    assert (
        model.predict(model.inputs(rows)).tolist()
        == model.predict(model.columns.read(frame)).tolist()
    )


def test_a_header_of_texts_is_never_a_row(tmp_path):
    words = {"pos": ["lovely", "superb", "nice"], "neg": ["awful", "poor", "nasty"]}
    rows = [f"the lamp number {i} was {words[x][i % 3]} and so on,{x}"
            for i in range(150) for x in words]  # fmt: skip
    place = tmp_path / "message_col.csv"
    place.write_text("message,label\n" + "\n".join(rows) + "\n")
    task = tasks.get(str(place), text_column="message")
    model = build.tune(task.load(), task, "logistic", 1, 0)[0]
    folder = build.save(model, tmp_path / "model") and tmp_path / "model"
    body = b"message\nthe lamp was lovely\nthe lamp was awful\n"
    with Endpoint(folder, ledger=tmp_path / "ledger.db") as server:
        answer = post(server.url, body, "text/csv")
        records = [{"message": "the lamp was lovely", "stars": 5}]
        sent = json.dumps({"dataframe_records": records}).encode()
        by_name = post(server.url, sent, "application/json")
        other = post(server.url, body.replace(b"message", b"review"), "text/csv")
        empty = post(server.url, json.dumps({"inputs": ["", "fine"]}).encode(), "application/json")
    assert answer["predictions"] == ["pos", "neg"]
    assert by_name["predictions"] == ["pos"]
    assert by_name["ignored_columns"] == ["stars"]
    assert "the first line, 'review', may be a header and is not 'message'" in other["error"]
    assert empty["error"] == "message: row 0 is empty; send a text"
