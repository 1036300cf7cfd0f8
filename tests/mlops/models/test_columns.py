import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core.data.column import Column
from diptych.core.data.generators import tables
from diptych.core.data.times import TimeFormat
from diptych.core.data.typing import infer
from diptych.mlops.models import columns
from diptych.mlops.models.columns import MOST_LEVELS, ColumnFeatures

WAYS = pytest.mark.parametrize("linear", [False, True])


def frame(rows=400, seed=0):
    table = tables.claims(rows, seed).drop(columns=["fraud", "policy_id"])
    towns = np.random.default_rng(seed).choice([f"town {x} west" for x in range(90)], rows)
    return table.assign(town=pd.Series(towns).where(table["witnesses"] != 2))


def fitted(linear, raw=None):
    raw = frame() if raw is None else raw
    typed = infer(raw)
    features = ColumnFeatures(typed.columns, linear)
    return typed, features, features.fit_transform(typed.read(raw))


def one(kind, values, linear, **settings):
    features = ColumnFeatures([Column("x", "x", kind, **settings)], linear)
    return features, features.fit_transform([[value] for value in values])


@WAYS
def test_a_row_in_service_is_encoded_as_in_training(linear, tmp_path):
    raw = frame()
    typed, features, matrix = fitted(linear, raw)
    features.save(tmp_path)
    loaded = ColumnFeatures.load(tmp_path)
    cells = raw.astype(object).where(raw.notna(), None).to_dict("records")
    rows = [typed.read_row(row) for row in cells]
    assert loaded.transform(rows).tobytes() == matrix.tobytes()
    for i in (0, 7, 399):  # one row at a time too
        assert loaded.transform(rows[i : i + 1]).tobytes() == matrix[i : i + 1].tobytes()
    assert loaded.names == features.names
    assert len(features.names) == len(features.sources) == matrix.shape[1]
    assert matrix.dtype == np.float32


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.text(max_size=5),
            st.none() | st.booleans(),
            st.none() | st.integers(-(10**15), 10**17),
            st.none() | st.text(max_size=30),
        ),
        min_size=1,
        max_size=80,
    ),
    st.booleans(),
)
def test_any_rows_are_encoded_and_loaded_again(rows, linear):
    kinds = ("number", "category", "boolean", "time", "text")
    typed = [
        Column(kind, kind, kind, time=TimeFormat("iso") if kind == "time" else None)
        for kind in kinds
    ]
    features = ColumnFeatures(typed, linear)
    matrix = features.fit_transform(rows)
    assert not np.isinf(matrix).any()
    assert not (linear and np.isnan(matrix).any())
    learnt = json.loads(json.dumps([encoder.to_dict() for encoder in features.encoders]))
    again = ColumnFeatures(typed, linear)
    again.encoders = [
        type(encoder)(linear).from_dict(content)
        for encoder, content in zip(features.encoders, learnt, strict=True)
    ]
    assert again.transform(rows).tobytes() == matrix.tobytes()


def test_numbers_for_linear_models_are_standardised_with_an_indicator_of_gaps():
    features, matrix = one("number", [1.0, 3.0, None, 5.0], True)
    assert features.names == ["x", "x is missing"]
    assert matrix[:, 0].mean() == pytest.approx(0)
    assert matrix[2].tolist() == [0, 1]
    assert matrix[[0, 1, 3], 0].std() == pytest.approx(1)


def test_numbers_for_trees_are_as_they_are():
    _, matrix = one("number", [1.5, None, -3.0, 1e300], False)
    assert matrix[0, 0] == 1.5
    assert np.isnan(matrix[1, 0])
    assert matrix[3, 0] == np.finfo(np.float32).max


@WAYS
def test_unseen_rare_and_missing_categories_have_places_of_their_own(linear):
    features, matrix = one("category", ["a", "a", "b", "b", "c", None], linear)
    assert features.names == ["x=a", "x=b", "x is rare or unseen", "x is missing"]
    assert matrix[4].tolist() == features.transform([["new"]])[0].tolist() == [0, 0, 1, 0]
    assert features.transform([[None]])[0].tolist() == [0, 0, 0, 1]
    assert (matrix.sum(axis=1) == 1).all()
    without, _ = one("category", ["a", "a", "b"], linear)
    assert without.transform([[None]])[0].tolist() == [0, 1]  # never seen missing: as unseen


@WAYS
def test_many_categories_are_read_by_their_letters(linear):
    values = [f"street {i % 60} north" for i in range(180)]
    features, matrix = one("category", values, linear)
    assert sum(name.startswith("x=") for name in features.names) == MOST_LEVELS
    assert any(name.startswith("x letters") for name in features.names)
    assert matrix.shape[1] < 80
    near, far = features.transform([["street 7 nort"], ["zzz"]])
    letters = [i for i, name in enumerate(features.names) if "letters" in name]
    assert np.abs(near[letters]).sum() > 10 * np.abs(far[letters]).sum()


def test_many_rows_of_a_category_are_codes_for_trees(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MANY_ROWS", 3_000)
    values = [f"town {i % 60}" for i in range(2_999)] + [None, "once"]
    features, matrix = one("category", values, False)
    assert features.names == ["x"]  # 60 levels of 49 rows each: no letters are needed
    assert matrix.types == features.types == ["c"]
    by_value = dict(zip(values, matrix[:, 0].tolist(), strict=True))
    assert sorted(set(by_value.values())) == list(range(62))
    assert by_value["once"] == 60  # rare, as what was never seen
    assert features.transform([["unseen"], ["town 7"], [None]])[:, 0].tolist() == [
        60, by_value["town 7"], 61,
    ]  # fmt: skip
    features.save(tmp_path)
    loaded = ColumnFeatures.load(tmp_path)
    again = loaded.transform([[value] for value in values])
    assert again.tobytes() == matrix.tobytes()
    assert again.types == ["c"]


def test_rare_levels_of_many_rows_are_read_by_their_letters_too(monkeypatch):
    monkeypatch.setattr(columns, "MANY_ROWS", 300)
    values = [f"street {i // 3} north" for i in range(270)] + ["avenue"] * 30
    features, matrix = one("category", values, False)
    assert features.names[:2] == ["x", "x letters 1"]
    assert set(features.types[1:]) == {"q"}
    assert len(features.names) == matrix.shape[1]


def test_times_become_parts_and_cycles_and_what_never_changes_is_left_out():
    hours = [3_600_000_000 * h for h in range(0, 24 * 400, 7)]
    options = {"time": TimeFormat("iso")}
    trees, matrix = one("time", hours, False, **options)
    assert trees.names == ["x in days", "x month", "x day", "x weekday", "x hour"]
    assert matrix[1].tolist() == pytest.approx([7 / 24, 1, 1, 3, 7])  # a Thursday
    linear, matrix = one("time", [*hours, None], True, **options)
    assert linear.names[2:] == [
        f"x {cycle} {way}" for cycle in ("year", "week", "day") for way in ("sine", "cosine")
    ]
    assert matrix[-1, 1:].tolist() == [1, *[0] * 6]
    midnight = linear.transform([[0], [24 * 3_600_000_000 - 60_000_000]])[:, -2:]
    assert midnight[0] == pytest.approx(midnight[1], abs=0.01)  # 23:59 is near 0:00
    days, _ = one("time", [h * 24 for h in hours[:5]], False, **options)
    assert "x hour" not in days.names


@WAYS
def test_a_column_of_gaps_alone_and_no_rows_are_encoded(linear):
    for kind in ("number", "category", "boolean", "text"):
        features, matrix = one(kind, [None, None], linear)
        assert features.transform([]).shape == (0, matrix.shape[1])
        assert not (linear and np.isnan(matrix).any())


@WAYS
def test_texts_tell_the_classes_apart(linear):
    rng = np.random.default_rng(0)
    good, bad = ("lovely", "superb", "kind"), ("nasty", "awful", "broken")
    labels = rng.integers(0, 2, 300)
    texts = [" ".join(rng.choice(good if y else bad, 3)) + " lamp" for y in labels]
    _, matrix = one("text", texts, linear)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(matrix[:200], labels[:200])
    assert model.score(matrix[200:], labels[200:]) == 1


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        fitted(True)[1].save(tmp_path / folder)
    a, b = ((tmp_path / x / "features.json").read_bytes() for x in "ab")
    assert a == b
    assert len(a) < 2_000_000


def test_an_endpoint_needs_numpy_only(tmp_path):
    typed, features, matrix = fitted(False)
    features.save(tmp_path)
    (tmp_path / "typed.json").write_text(json.dumps(typed.to_dict()))
    (tmp_path / "row.json").write_text(frame().iloc[3].to_json(date_format="iso"))
    code = (
        "import json, sys, pathlib; folder = pathlib.Path(sys.argv[1]); "
        "from diptych.core.data.column import TypedColumns; "
        "from diptych.mlops.models.columns import ColumnFeatures; "
        "typed = TypedColumns.from_dict(json.loads((folder / 'typed.json').read_text())); "
        "row = typed.read_row(json.loads((folder / 'row.json').read_text())); "
        "matrix = ColumnFeatures.load(folder).transform([row]); "
        "print(matrix.tobytes().hex(), *({'pandas', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == [matrix[3:4].tobytes().hex()]


@pytest.mark.parametrize(
    ("make", "label", "area"), [(tables.churn, "churned", 0.76), (tables.claims, "fraud", 0.70)]
)
def test_models_learn_from_categories_gaps_and_dates(make, label, area):
    import xgboost
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    raw = make(6_000)
    target = (raw[label] == "yes").to_numpy()
    typed = infer(raw, exclude=[label])
    rows, held_out = typed.read(raw), np.arange(len(raw)) % 4 == 3
    shares = []
    for linear in (False, True):
        features = ColumnFeatures(typed.columns, linear)
        matrix = features.fit_transform(rows[~held_out])
        data = features.transform(rows[held_out])
        if linear:
            model = LogisticRegression(max_iter=2000).fit(matrix, target[~held_out])
            shares.append(model.predict_proba(data)[:, 1])
        else:
            settings = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 1}
            model = xgboost.train(settings, xgboost.DMatrix(matrix, target[~held_out]), 100)
            shares.append(model.predict(xgboost.DMatrix(data)))
    assert max(roc_auc_score(target[held_out], x) for x in shares) > area
