"""Each estimator does what the library or the arithmetic behind it does, from a seed."""

import json

import numpy as np
import pytest
import xgboost
from mlops.samples import QUICK, inputs, sample
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from diptych.core.data import tasks
from diptych.mlops import build
from diptych.mlops.models import model as models
from diptych.mlops.models.estimators import (
    ESTIMATORS,
    Boosted,
    BoostedLinear,
    Convolutional,
    Logistic,
    balanced,
)


def digits(split: str, rows: int | None = None):
    """Return standardised pixels and codes of one split."""
    pixels, labels = inputs("image", split)
    matrix = models.TableFeatures().fit_transform(pixels[:rows])
    return matrix, models.encode(labels[:rows], list("0123456789"))


@pytest.fixture(scope="module")
def problem():
    """Separable points of three classes, float32 of shape (300, 16)."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 3, 300)
    return (random.normal(size=(300, 16)) + 2 * codes[:, None]).astype(np.float32), codes


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_seeds_give_equal_models(name, problem):
    matrix, codes = problem
    found = []
    for _ in range(2):
        estimator = ESTIMATORS[name](**QUICK.get(name, {}), seed=3)
        estimator.fit(matrix, codes, 3)
        found.append(estimator.predict_proba(matrix))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("classes", [2, 3])
def test_each_learns_two_classes_and_more(name, classes, problem):
    matrix, codes = (part[problem[1] < classes] for part in problem)
    estimator = ESTIMATORS[name]()
    estimator.fit(matrix, codes, classes)
    shares = estimator.predict_proba(matrix)
    assert shares.shape == (len(codes), classes)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    right = accuracy_score(codes, shares.argmax(axis=1))
    assert right > 0.9 if name != "baseline" else right == np.bincount(codes).max() / len(codes)


def test_the_baseline_gives_the_shares_of_the_classes():
    estimator = ESTIMATORS["baseline"]()
    estimator.fit(np.zeros((4, 1)), np.array([0, 2, 2, 2]), 4)
    found = estimator.predict_proba(np.zeros((2, 1)))
    np.testing.assert_array_equal(found, [[1 / 4, 0, 3 / 4, 0]] * 2)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_scikit_learns(classes, problem):
    matrix, codes = (part[problem[1] < classes] for part in problem)
    own, peer = Logistic(strength=0.5), LogisticRegression(C=0.5, max_iter=2_000)
    own.fit(csr_matrix(matrix), codes, classes)
    peer.fit(csr_matrix(matrix), codes)
    np.testing.assert_allclose(own.predict_proba(matrix), peer.predict_proba(matrix), atol=1e-5)


def test_parameters_reach_xgboost(problem):
    matrix, codes = problem
    estimator = Boosted(rounds=7, max_depth=1)
    estimator.fit(matrix, codes, 3)
    trees = estimator.model.get_dump()
    assert len(trees) == 7 * 3
    assert all(tree.count("leaf=") <= 2 for tree in trees)


def test_boosted_predicts_what_its_booster_does(problem):
    matrix, codes = problem
    for estimator in (Boosted(rounds=9), BoostedLinear(rounds=3)):
        estimator.fit(csr_matrix(matrix), codes, 3)
        expected = estimator.model.predict(xgboost.DMatrix(csr_matrix(matrix)))
        found = estimator.predict_proba(csr_matrix(matrix))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_network_reads_digits():
    task, data = tasks.get("digits"), sample("digits")
    train, test = (build.part(data, name) for name in ("train", "test"))
    model = models.fit(
        build.task_rows(train, task),
        train["label"],
        family="cnn",
        kind="image",
        features=task.features,
        parameters={},
    )
    assert build.evaluate(model, test, "label").accuracy.value >= 0.98


def test_the_network_sees_neighbours():
    """A bar at one place is told from one at another it was never shown at, unlike by pixel."""
    random = np.random.default_rng(0)
    images = random.normal(scale=0.1, size=(400, 8, 8)).astype(np.float32)
    codes = np.arange(400) % 2
    places = random.integers(0, 3, 400)
    for image, code, place in zip(images, codes, places, strict=True):
        image[(place, slice(None)) if code else (slice(None), place)] += 1
    shown = places < 2
    rows = images.reshape(400, 64)
    network = Convolutional(epochs=20)
    network.fit(rows[shown], codes[shown], 2)
    right = network.predict_proba(rows[~shown]).argmax(axis=1) == codes[~shown]
    assert right.mean() > 0.9


def test_the_network_leaves_torch_as_it_was():
    import torch

    matrix, codes = digits("train", 200)
    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    network = Convolutional(epochs=1)
    network.fit(matrix, codes, 10)
    network.predict_proba(matrix)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_the_network_does_not_depend_on_what_torch_drew_before():
    import torch

    matrix, codes = digits("train", 200)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = Convolutional(epochs=2)
        network.fit(matrix, codes, 10)
        found.append(network.predict_proba(matrix))
    np.testing.assert_array_equal(*found)


def test_the_network_stops_early_and_keeps_its_best():
    """Labels without any pattern: more epochs only learn them by heart."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(200, 16)).astype(np.float32)
    codes = random.integers(0, 2, 200)
    found = []
    for epochs in (60, 120):
        network = Convolutional(epochs=epochs, dropout=0.0)
        network.fit(matrix, codes, 2)
        found.append(network.predict_proba(matrix))
    np.testing.assert_array_equal(*found)
    # learnt by heart, it would be sure and right
    assert found[0].max(axis=1).mean() < 0.9


def test_an_answer_does_not_depend_on_the_rows_beside_it():
    matrix, codes = digits("train", 300)
    network = Convolutional(epochs=2)
    network.fit(matrix, codes, 10)
    alone = np.concatenate([network.predict_proba(matrix[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(network.predict_proba(matrix)[:20], alone, atol=1e-6)


@pytest.mark.parametrize("pixels", [15, 9, 65])
def test_the_network_refuses_what_is_no_image(pixels):
    with pytest.raises(ValueError, match=f"{pixels} columns make none; take xgboost"):
        Convolutional().fit(np.zeros((4, pixels), np.float32), np.array([0, 1, 0, 1]), 2)


@pytest.mark.parametrize("side", [4, 5, 28])
def test_the_network_takes_any_square(side):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(20, side**2)).astype(np.float32)
    network = Convolutional(epochs=1)
    network.fit(matrix, np.arange(20) % 3, 3)
    assert network.predict_proba(matrix).shape == (20, 3)


def test_a_loaded_booster_predicts_in_one_thread(problem, tmp_path):
    estimator = Boosted(rounds=2)
    estimator.fit(*problem, 3)
    estimator.save(tmp_path)
    settings = json.loads(Boosted.load(tmp_path).model.save_config())
    assert settings["learner"]["generic_param"]["nthread"] == "1"


def test_balanced_weights_are_scikit_learns_and_move_both_families(problem):
    from sklearn.utils.class_weight import compute_sample_weight

    matrix, codes = problem
    codes = (codes == 0).astype(int) * (np.arange(300) % 5 == 0)  # rare
    weights = compute_sample_weight("balanced", codes)
    assert balanced(codes).tolist() == pytest.approx(weights.tolist())
    theirs = LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced").fit(matrix, codes)
    ours = Logistic(1.0, class_weight="balanced")
    ours.fit(matrix, codes, 2)
    assert ours.predict_proba(matrix) == pytest.approx(theirs.predict_proba(matrix), abs=1e-3)
    weighted, plain = (Boosted(10, class_weight=one) for one in ("balanced", "none"))
    for model in (weighted, plain):
        model.fit(matrix, codes, 2)
    data = xgboost.DMatrix(matrix, codes, weight=weights)
    settings = {"objective": "binary:logistic", "verbosity": 0, "seed": 0, "nthread": 1}
    reference = xgboost.train(settings, data, 10).inplace_predict(matrix)
    assert weighted.predict_proba(matrix)[:, 1] == pytest.approx(reference, abs=0.02)
    assert weighted.predict_proba(matrix)[:, 1].mean() > plain.predict_proba(matrix)[:, 1].mean()
