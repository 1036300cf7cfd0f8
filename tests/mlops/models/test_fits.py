"""An equal fit is loaded; another, or a damaged entry, is fitted."""

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from diptych.base import workspace
from diptych.mlops.models import fits
from diptych.mlops.models.estimators import Logistic

ROWS = np.random.default_rng(0).normal(size=(80, 3))
CODES = (ROWS[:, 0] > 0).astype(np.int64)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    monkeypatch.setattr(fits, "WORTH_S", 0.0)
    return workspace.home() / "cache" / "fits"


def fit(matrix=ROWS, codes=CODES, kind=Logistic, **changed):
    setting = {"strength": 1.0} | changed
    return fits.fit(
        kind(**setting), matrix, codes, 2, rows=fits.digest(matrix, codes), family="logistic",
        setting=setting, seed=0,
    )  # fmt: skip


def test_an_equal_fit_is_loaded():
    fitted, known = fit()
    loaded, again = fit()
    assert (known, again) == (False, True)
    np.testing.assert_array_equal(fitted.predict_proba(ROWS), loaded.predict_proba(ROWS))


@pytest.mark.parametrize(
    "other",
    [
        {"strength": 2.0},
        {"matrix": ROWS + 1e-12},
        {"matrix": ROWS.astype(np.float32)},
        {"codes": 1 - CODES},
        {"matrix": csr_matrix(ROWS)},
    ],
    ids=str,
)
def test_anything_else_is_fitted(other):
    fit()
    assert not fit(**other)[1]


def test_other_versions_fit_again(monkeypatch):
    fit()
    monkeypatch.setattr(fits, "_versions", lambda: ["other"])
    assert not fit()[1]


@pytest.mark.parametrize("damage", ["flip", "remove", "card", "extra"])
def test_a_damaged_entry_is_fitted_again(home, damage):
    fit()
    (entry,) = home.iterdir()
    weights = entry / "weights.npz"
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "remove":
        weights.unlink()
    elif damage == "card":
        (entry / fits.CARD).write_text("{")
    else:
        (entry / "more").write_text("")
    assert not fit()[1]
    assert fit()[1]


def test_the_oldest_entries_make_room(home, monkeypatch):
    fit()
    (first,) = home.iterdir()
    size = sum(path.stat().st_size for path in first.iterdir())
    monkeypatch.setattr(fits, "LIMIT_MB", 2.5 * size / 1e6)
    for strength in (2.0, 3.0, 4.0):
        fit(strength=strength)
    assert len(list(home.iterdir())) == 2
    assert fit(strength=4.0)[1]


def test_an_estimator_of_other_code_is_never_stored(home):
    class Mine(Logistic):
        pass

    fit(kind=Mine)
    assert not fit(kind=Mine)[1]
    assert not home.exists()


def test_a_full_disk_does_not_stop_a_fit(home, monkeypatch):
    home.parent.mkdir(parents=True)
    home.write_text("a file where the folder should be")
    assert not fit()[1]


def test_sparse_rows_have_one_digest_and_objects_none():
    assert fits.digest(csr_matrix(ROWS), CODES) == fits.digest(csc_matrix(ROWS), CODES) != ""
    assert fits.digest(ROWS.astype(object), CODES) == ""
    assert fits.digest(["a"], CODES) == ""
