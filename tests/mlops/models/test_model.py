"""Every family is saved, read back the same without pickle, and refused when damaged."""

import dataclasses
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlops.samples import CASES, TASKS, fitted, inputs, reseal, sample
from sklearn.metrics import log_loss

from diptych.core.data import tasks
from diptych.core.evaluation import calibrators
from diptych.mlops import build
from diptych.mlops.models import model as models
from diptych.mlops.models.estimators import Estimator
from diptych.mlops.models.features import Encoder
from diptych.mlops.models.model import ModelError

KINDS = list(models.FAMILIES)
# ends with an error when anything is unpickled after the libraries are imported
LOADER = """
import json, sys
import numpy as np
from diptych.mlops.models import model as models

def watch(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"unpickled {arguments}")

folders = json.loads(sys.argv[1])
import scipy.sparse, sklearn.feature_extraction.text, torch, xgboost
sys.addaudithook(watch)
for kind, folder in folders:
    model = models.load(folder)
    with open(f"{folder}.rows.json") as file:
        rows = json.load(file)
    rows = rows if kind == "text" else np.array(rows, np.float32)
    np.save(f"{folder}.found.npy", model.predict_proba(rows))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict:
    """Every family of every kind, saved once."""
    place = tmp_path_factory.mktemp("models")
    return {case: fitted(*case).save(place / "-".join(case)) for case in CASES}


@pytest.fixture
def copy(saved, tmp_path):
    """Return a function that copies one saved model to a folder a test may damage."""

    def made(kind: str, family: str) -> Path:
        return Path(shutil.copytree(saved[kind, family], tmp_path / f"{kind}-{family}"))

    return made


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_model_read_back_is_the_same(saved, case):
    model, found = fitted(*case), models.load(saved[case])
    rows, _ = inputs(case[0])
    np.testing.assert_array_equal(found.predict_proba(rows), model.predict_proba(rows))
    for name in ("family", "kind", "features", "classes", "parameters", "temperature"):
        assert getattr(found, name) == getattr(model, name)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_frame_is_read_by_its_columns(case):
    model, frame = fitted(*case), sample(TASKS[case[0]])[:20]
    expected = model.predict_proba(model.rows_of(frame))
    mixed = frame[list(reversed(frame.columns))]
    np.testing.assert_array_equal(model.predict_proba(mixed), expected)
    with pytest.raises(ModelError, match="no such column"):
        model.predict(frame.drop(columns=model.features[0]))


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_what_is_read_back_is_saved_to_the_same_bytes(saved, case, tmp_path):
    assert models.digest(models.load(saved[case]).save(tmp_path)) == models.digest(saved[case])


def test_another_process_reads_them_without_pickle_and_predicts_the_same(saved):
    for (kind, _), folder in saved.items():
        rows, _ = inputs(kind)
        rows = rows if kind == "text" else rows.tolist()
        Path(f"{folder}.rows.json").write_text(json.dumps(rows))
    folders = json.dumps([(kind, str(folder)) for (kind, _), folder in saved.items()])
    done = subprocess.run([sys.executable, "-c", LOADER, folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (kind, family), folder in saved.items():
        expected = fitted(kind, family).predict_proba(inputs(kind)[0])
        np.testing.assert_array_equal(np.load(f"{folder}.found.npy"), expected)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_only_json_arrays_and_ubjson_are_written(saved, case):
    assert {path.suffix for path in saved[case].iterdir()} <= {".json", ".npz", ".ubj"}
    for path in saved[case].glob("*.npz"):
        with np.load(path, allow_pickle=False) as stored:
            assert all(stored[name].dtype != object for name in stored)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_damaged_part_is_named(copy, case, damage):
    folder = copy(*case)
    parts = {path: path.read_bytes() for path in folder.iterdir() if path.name != "model.json"}
    assert len(parts) == 2
    for path, content in parts.items():
        damage(path)
        with pytest.raises(ModelError, match=f"model: .*{path.name} is (damaged|missing)"):
            models.load(folder)
        path.write_bytes(content)
    models.load(folder)


CARD = {"format": 1, "family": "logistic", "kind": "table", "files": {}, "features": ["a"]}


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (None, "no model.json"),
        ("", "JSONDecodeError"),
        ("[]", "format 1"),
        ("{}", "format 1"),
        (json.dumps(CARD | {"format": 2}), "newer Diptych saved it (format 2)"),
        (json.dumps(CARD | {"format": 0}), "format 1"),
        (json.dumps(CARD | {"family": "forest"}), "'forest' over 'table' data is not known"),
        (json.dumps(CARD | {"family": "cnn"}), "'cnn' over 'table' data is not known"),
        (json.dumps(CARD | {"kind": "sound"}), "'logistic' over 'sound' data is not known"),
        (json.dumps(CARD | {"files": {"weights.npz": "0"}}), "weights.npz is missing"),
        (json.dumps(CARD), "'classes'"),
    ],
)
def test_a_foreign_folder_is_refused_in_one_sentence(tmp_path, card, words):
    if card is not None:
        (tmp_path / "model.json").write_text(card)
    with pytest.raises(ModelError, match="holds no model that can be loaded") as caught:
        models.load(tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "mlops/2_build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"there is no model\.json"):
        models.load(tmp_path / "absent")


def test_parts_of_two_models_are_refused(copy):
    folder = copy("text", "logistic")
    shutil.copy(copy("table", "logistic") / "weights.npz", folder)
    reseal(folder, files=models._checksums(folder))
    with pytest.raises(ModelError):
        models.load(folder)


def test_classes_that_the_weights_do_not_have_are_refused(copy):
    folder = copy("table", "xgboost")
    reseal(folder, classes=["a", "b", "c"])
    with pytest.raises(ModelError, match="do not fit"):
        models.load(folder)


@pytest.mark.parametrize("changes", [{"classes": ["b", "a"]}, {"threshold": 0.01}, {"extra": 1}])
def test_a_card_that_was_changed_is_refused(copy, changes):
    folder = copy("table", "xgboost")
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))
    with pytest.raises(ModelError, match=r"model\.json was changed after the model was saved"):
        models.load(folder)
    (folder / "model.json").write_text(json.dumps({k: v for k, v in card.items() if k != "card"}))
    assert models.load(folder).classes  # of an earlier version


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_in_the_weights_is_never_run(copy, tmp_path):
    folder, trace = copy("table", "baseline"), tmp_path / "trace"
    np.savez(folder / "weights.npz", shares=np.array([Trap(trace)], dtype=object))
    np.load(folder / "weights.npz", allow_pickle=True)["shares"]
    assert trace.exists()  # the trap works
    trace.unlink()
    reseal(folder, files=models._checksums(folder))
    with pytest.raises(ModelError, match="allow_pickle"):
        models.load(folder)
    assert not trace.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_changes_with_any_byte(copy, kind):
    folder = copy(kind, "xgboost")
    known = models.digest(folder)
    seen = {known}
    for path in folder.iterdir():
        content = path.read_bytes()
        for place in (0, len(content) // 3, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            seen.add(models.digest(folder))
        path.write_bytes(content)
        path.rename(folder / f"{path.name}.old")
        seen.add(models.digest(folder))
        (folder / f"{path.name}.old").rename(path)
        assert models.digest(folder) == known
    assert len(seen) == 1 + 4 * len(list(folder.iterdir()))


def test_the_size_is_that_of_the_files(copy):
    folder = copy("table", "logistic")
    before = models.size_mb(folder)
    (folder / "more").write_bytes(b"x" * 500_000)
    assert models.size_mb(folder) == pytest.approx(before + 0.5)


@pytest.mark.parametrize(("kind", "strength"), [("text", 3_000.0), ("table", 3_000.0)])
def test_calibration_lowers_the_log_loss_of_rows_it_did_not_see(kind, strength):
    task = tasks.get(TASKS[kind])
    train, valid = (build.part(sample(task.name), name) for name in ("train", "valid"))
    model = models.fit(
        build.task_rows(train, task),
        train["label"],
        family="logistic",
        kind=kind,
        features=task.features,
        parameters={"strength": strength},
    )
    rows, labels = inputs(kind)
    before = model.predict_proba(rows)
    model.calibrate(build.task_rows(valid, task), valid["label"])
    after = model.predict_proba(rows)
    assert model.temperature > 1  # so weak a penalty makes a model too sure
    assert log_loss(labels, after) < log_loss(labels, before)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))


def test_calibration_leaves_out_classes_the_model_does_not_know():
    rows, labels = inputs("table", "valid")
    model = dataclasses.replace(fitted("table", "logistic"))
    model.calibrate(rows, labels)
    expected = model.temperature
    strange = np.concatenate([rows, rows[:5]])
    model.calibrate(strange, [*labels, *["unheard of"] * 5])
    assert model.temperature == expected
    model.calibrate(rows[:2], ["unheard of"] * 2)
    assert model.temperature == expected


SHARES = arrays.arrays(float, (5, 3), elements=st.floats(0.001, 1))


@given(SHARES, st.floats(0.5, 2))
def test_rescaling_keeps_the_order_and_the_sum(shares, temperature):
    shares = shares / shares.sum(axis=1, keepdims=True)
    scaled = models.rescale(shares, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_allclose(models.rescale(scaled, 1 / temperature), shares, atol=1e-9)
    sure, was = scaled.max(axis=1), shares.max(axis=1)
    assert (sure <= was + 1e-12).all() if temperature > 1 else (sure >= was - 1e-12).all()


def test_certain_answers_can_be_rescaled():
    found = models.rescale(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(found).all()
    assert found[0, 0] > 0.999


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_probabilities_are_shares_of_known_classes(case):
    rows, labels = inputs(case[0])
    model = fitted(*case)
    shares = model.predict_proba(rows)
    assert shares.shape == (len(labels), len(model.classes))
    assert shares.dtype == np.float64
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert set(model.predict(rows)) <= set(labels)


def test_a_family_must_suit_the_kind():
    with pytest.raises(ModelError, match="'cnn' does not suit text data; take one of baseline"):
        models.fit(["a"], ["b"], family="cnn", kind="text", features=["text"], parameters={})


@pytest.mark.parametrize(("labels", "words"), [(["a", "a"], "the class 'a' only"), ([], "no rows")])
def test_one_class_is_too_few(labels, words):
    rows = np.ones((len(labels), 1), np.float32)
    with pytest.raises(ModelError, match=words):
        models.fit(rows, labels, family="logistic", kind="table", features=["x"], parameters={})


def test_texts_without_a_common_word_are_too_few():
    with pytest.raises(ModelError, match="2 training texts share too few words"):
        models.fit(
            ["good", "bad"],
            ["a", "b"],
            family="xgboost",
            kind="text",
            features=["text"],
            parameters={},
        )


def test_an_unknown_label_is_named():
    assert models.encode(["b", "a"], ["a", "b"]).tolist() == [1, 0]
    with pytest.raises(ModelError, match="label: 'c' is none of the classes"):
        models.encode(["a", "c"], ["a", "b"])


@pytest.mark.parametrize("kind", KINDS)
def test_requests_hold_one_row_each_as_json(kind):
    task = tasks.get(TASKS[kind])
    rows = build.part(sample(task.name), "live").head(3)
    bodies = models.requests(rows, kind, task.features)
    assert json.loads(json.dumps(bodies)) == bodies
    assert [body["ids"] for body in bodies] == [[i] for i in rows["id"]]
    model = fitted(kind, "logistic")
    sent = [body["inputs"][0] for body in bodies]
    sent = sent if kind == "text" else np.asarray(sent, np.float32)
    expected = model.predict_proba(build.task_rows(rows, task))
    np.testing.assert_array_equal(model.predict_proba(sent), expected)


def test_every_family_keeps_to_the_protocols():
    for kind, families in models.FAMILIES.items():
        for family in (*families, *(models.SUMMARY if kind == "text" else ())):
            assert isinstance(models.ESTIMATORS[family](seed=0), Estimator), family
            encoder = models.new_encoder(family, kind)
            assert isinstance(encoder, Encoder), family
            assert kind != "text" or isinstance(inspect.getattr_static(encoder, "words"), property)


@pytest.mark.parametrize("family", ["xgboost", "xgboost_linear", "logistic"])
def test_a_text_without_a_known_word_gets_the_shares_of_training(family, tmp_path):
    texts = ["good fine film", "great lovely book", "good great", "bad dull film"] * 6
    labels = ["yes", "yes", "yes", "no"] * 6
    model = models.fit(texts, labels, family=family, kind="text", features=["text"], parameters={})
    model = models.load(model.save(tmp_path / "model"))
    probabilities, has_basis = model.predict_with_basis(["", "Превосходно", "good", "dull !", "!"])
    assert has_basis.tolist() == [False, False, True, True, False]
    assert probabilities[~has_basis].tolist() == [[0.25, 0.75]] * 3
    np.testing.assert_array_equal(model.predict_proba(["Превосходно", "good"])[0], [0.25, 0.75])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrator_and_a_threshold_are_saved_and_decide_alike(method, tmp_path):
    rows, labels = inputs("table")
    model = dataclasses.replace(fitted("table", "logistic"))
    raw = model.estimator.predict_proba(model.encoder.transform(rows))[:, 1]
    yes = (labels == model.classes[1]).to_numpy()
    model.calibrator = calibrators.fit(method, raw, yes)
    model.positive, model.threshold = model.classes[1], 0.2
    again = models.load(model.save(tmp_path / "model"))
    shares = again.predict_proba(rows)
    assert shares.tolist() == model.predict_proba(rows).tolist()
    assert shares[:, 1].tolist() == pytest.approx(model.calibrator(raw).tolist())
    assert (again.predict(rows) == model.classes[1]).tolist() == (shares[:, 1] >= 0.2).tolist()
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    reseal(tmp_path / "model", calibration=card["calibration"] | {"method": "magic"})
    with pytest.raises(ModelError, match="calibration: 'magic'"):
        models.load(tmp_path / "model")


def test_a_shift_of_held_out_rows_is_calibrated_away_and_a_temperature_is_the_default():
    rows, labels = inputs("table", "valid")
    model = dataclasses.replace(fitted("table", "logistic"))
    model.calibrate(rows, labels)
    assert model.calibrator is None  # few rows, and well calibrated
    raw = model.estimator.predict_proba(model.encoder.transform(rows))
    drawn = np.random.default_rng(0).random((40, len(raw))) < 0.25 * raw[:, 1]
    many = [row for _ in range(40) for row in rows]
    shifted = np.where(drawn.ravel(), model.classes[1], model.classes[0])
    codes = (shifted == model.classes[1]).astype(int)
    model.calibrate(np.array(many), shifted)
    assert model.calibrator is not None
    after = log_loss(codes, model.predict_proba(np.array(many)))
    assert after < log_loss(codes, models.rescale(np.tile(raw, (40, 1)), model.temperature))
