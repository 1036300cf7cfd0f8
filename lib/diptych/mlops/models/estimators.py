"""The estimators behind the model families, each saved as plain arrays or XGBoost UBJSON."""

import copy
import json
import math
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from diptych.base.errors import Plain
from diptych.mlops.models.columns import coded

# a TF-IDF column is zero nearly everywhere: more bins cost time and change nothing
SPARSE_BINS = 8
STAGES = 10  # of boosting, after each of which it may stop
# below it, threads spend longer waiting for each other than working
FEW_ROWS = 50_000


class ModelError(Plain, ValueError):
    """A model cannot be fitted or loaded; the message says what to do."""


@runtime_checkable
class Estimator(Protocol):
    """What is behind a model family; it is made with its hyperparameters and a ``seed``.

    A matrix is what the family's `diptych.mlops.models.features.Encoder` returns. That of a
    regression (`REGRESSORS`) has no classes.
    """

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Fit to rows of a matrix and their class indices, shape (n,), below `classes`.

        Of a regression to numbers, float64, and `classes` is 0.
        """

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes); of a regression numbers, (n, 1)."""

    def save(self, folder: Path) -> None:
        """Write what was fitted, as files that hold no code."""

    @classmethod
    def load(cls, folder: Path) -> "Estimator":
        """Rebuild what `save` wrote."""


class Prior:
    """The baseline: every row gets the class shares of the training rows."""

    def __init__(self, seed: int = 0):
        self.shares = None

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Count the classes."""
        self.shares = np.bincount(codes, minlength=classes) / len(codes)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return the shares for each row, shape (n, classes)."""
        return np.tile(self.shares, (matrix.shape[0], 1))

    def save(self, folder: Path) -> None:
        """Write the shares."""
        np.savez(folder / "weights.npz", shares=self.shares)

    @classmethod
    def load(cls, folder: Path) -> "Prior":
        """Rebuild what `save` wrote."""
        estimator = cls()
        estimator.shares = _arrays(folder)["shares"]
        return estimator


class Logistic:
    """Logistic regression with an L2 penalty (scikit-learn), `strength` being its C.

    `class_weight` is ``"none"``, or ``"balanced"``: all classes then weigh alike.
    """

    def __init__(self, strength: float = 1.0, class_weight: str = "none", seed: int = 0):
        self.strength, self.class_weight, self.seed = strength, class_weight, seed

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Fit by L-BFGS."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            C=self.strength, max_iter=2000, random_state=self.seed,
            class_weight="balanced" if self.class_weight == "balanced" else None,
        )  # fmt: skip
        model.fit(matrix, codes)
        self.weights = model.coef_.T.astype(np.float32)
        self.bias = model.intercept_.astype(np.float32)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes)."""
        scores = np.asarray(matrix @ self.weights + self.bias, dtype=np.float64)
        if scores.shape[1] == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write weights and bias."""
        np.savez_compressed(folder / "weights.npz", weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, folder: Path) -> "Logistic":
        """Rebuild what `save` wrote."""
        estimator = cls()
        stored = _arrays(folder)
        estimator.weights, estimator.bias = stored["weights"], stored["bias"]
        return estimator


class Boosted:
    """XGBoost: trees by default, a linear booster as the subclass below.

    `dask` is the address of a cluster to fit on (trees only); "" fits here. `class_weight` is
    ``"none"``, or ``"balanced"``: all classes then weigh alike.
    """

    booster = "gbtree"

    def __init__(
        self, rounds: int = 250, seed: int = 0, dask: str = "", class_weight: str = "none",
        **parameters,
    ):  # fmt: skip
        self.rounds, self.dask, self.class_weight = rounds, dask, class_weight
        self.parameters = {"booster": self.booster, "seed": seed, "verbosity": 0, **parameters}

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Boost for `rounds` rounds."""
        import xgboost

        goal = self.goal(classes)
        settings = {"max_bin": SPARSE_BINS} if hasattr(matrix, "tocsr") else {}
        if self.dask:
            from diptych.mlops.models import dask as cluster

            if self.class_weight == "balanced":
                goal |= _scale(codes, classes)
            settings = {**settings, **self.parameters, **goal}
            self.model = cluster.train(self.dask, settings, matrix, codes, self.rounds)
            return
        if matrix.shape[0] < FEW_ROWS:
            settings["nthread"] = 1
        data = self._data(matrix, codes, settings.get("nthread"))
        self.model = xgboost.train({**settings, **self.parameters, **goal}, data, self.rounds)

    def stages(self) -> list[int]:
        """Return the numbers of rounds after which boosting may stop, the last one included."""
        rounds = self.model.num_boosted_rounds()
        return sorted({max(rounds * step // STAGES, 1) for step in range(1, STAGES + 1)})

    def after(self, rounds: int) -> "Boosted":
        """Return the fitted trees of the first rounds."""
        if rounds >= self.model.num_boosted_rounds():
            return self
        earlier = copy.copy(self)
        earlier.rounds, earlier.model = rounds, self.model[:rounds]
        return earlier

    def goal(self, classes: int) -> dict:
        """Return what is minimised."""
        if classes == 2:
            return {"objective": "binary:logistic"}
        return {"objective": "multi:softprob", "num_class": classes}

    def _data(self, matrix, codes: np.ndarray, threads: int | None):
        """Return what XGBoost reads; dense rows go to their bins at once, which gives equal trees.

        Without a copy of the rows between, fitting takes less time and memory.
        """
        import xgboost

        binned = self.booster == "gbtree" and not hasattr(matrix, "tocsr")
        make = xgboost.QuantileDMatrix if binned else xgboost.DMatrix
        weight = balanced(codes) if self.class_weight == "balanced" else None
        return make(matrix, codes, weight=weight, nthread=threads, **coded(matrix))

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes)."""
        scores = np.asarray(self._scores(matrix), dtype=np.float64)
        return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores

    def _scores(self, matrix):
        return self.model.inplace_predict(matrix)

    def save(self, folder: Path) -> None:
        """Write UBJSON."""
        self.model.save_model(folder / "model.ubj")

    @classmethod
    def load(cls, folder: Path) -> "Boosted":
        """Rebuild what `save` wrote."""
        import xgboost

        estimator = cls()
        # in service rows come one by one: on a busy machine, threads that wait for each other
        # made an answer a hundred times slower
        estimator.model = xgboost.Booster({"nthread": 1}, model_file=folder / "model.ubj")
        return estimator


def balanced(codes: np.ndarray) -> np.ndarray:
    """Return weights of rows with which all classes weigh alike, of mean 1, shape (n,)."""
    counts = np.bincount(codes)
    weights = len(codes) / ((counts > 0).sum() * np.maximum(counts, 1))
    return weights[codes]


def _scale(codes: np.ndarray, classes: int) -> dict:
    """Return XGBoost's setting by which two classes weigh alike: a cluster takes no weights."""
    if classes != 2:
        raise ModelError(
            "class_weight: 'balanced' of more than two classes is not fitted on a cluster; leave "
            "dask empty"
        )
    return {"scale_pos_weight": float((codes == 0).sum() / max((codes == 1).sum(), 1))}


class BoostedLinear(Boosted):
    """XGBoost's linear booster: an elastic-net linear model fitted by coordinate descent."""

    booster = "gblinear"
    stages = None  # its coefficients are not kept by round

    def __init__(self, rounds: int = 30, seed: int = 0, **parameters):
        super().__init__(rounds, seed, updater="coord_descent", **parameters)

    def _scores(self, matrix):
        import xgboost

        return self.model.predict(xgboost.DMatrix(matrix))


class Mean:
    """The baseline of a regression: every row gets the mean of the training rows."""

    def __init__(self, seed: int = 0):
        self.mean = math.nan

    def fit(self, matrix, numbers: np.ndarray, classes: int = 0) -> None:
        """Take the mean."""
        self.mean = float(np.mean(numbers))

    def predict_proba(self, matrix) -> np.ndarray:
        """Return the mean for each row, shape (n, 1)."""
        return np.full((matrix.shape[0], 1), self.mean)

    def save(self, folder: Path) -> None:
        """Write the mean."""
        np.savez(folder / "weights.npz", mean=self.mean)

    @classmethod
    def load(cls, folder: Path) -> "Mean":
        """Rebuild what `save` wrote."""
        estimator = cls()
        estimator.mean = float(_arrays(folder)["mean"])
        return estimator


class Ridge:
    """Linear regression with an L2 penalty (scikit-learn), `strength` being its alpha."""

    def __init__(self, strength: float = 1.0, seed: int = 0):
        self.strength, self.seed = strength, seed

    def fit(self, matrix, numbers: np.ndarray, classes: int = 0) -> None:
        """Fit by least squares."""
        from sklearn.linear_model import Ridge as Regression

        model = Regression(alpha=self.strength, random_state=self.seed).fit(matrix, numbers)
        self.weights = np.asarray(model.coef_, dtype=np.float64)
        self.bias = float(model.intercept_)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return the number of each row, shape (n, 1)."""
        return np.asarray(matrix @ self.weights + self.bias, dtype=np.float64).reshape(-1, 1)

    def save(self, folder: Path) -> None:
        """Write weights and bias."""
        np.savez_compressed(folder / "weights.npz", weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, folder: Path) -> "Ridge":
        """Rebuild what `save` wrote."""
        estimator = cls()
        stored = _arrays(folder)
        estimator.weights, estimator.bias = stored["weights"], float(stored["bias"])
        return estimator


class BoostedNumbers(Boosted):
    """XGBoost's regression trees.

    Parameters
    ----------
    objective : str
        What is boosted, such as ``"reg:squarederror"``; see `diptych.mlops.fitting.objective_of`.
    """

    def predict_proba(self, matrix) -> np.ndarray:
        """Return the number of each row, shape (n, 1)."""
        return np.asarray(self._scores(matrix), dtype=np.float64).reshape(-1, 1)

    def goal(self, classes: int) -> dict:
        """Return the objective, squared error unless the hyperparameters name another."""
        return {"objective": self.parameters.get("objective", SQUARED)}


SQUARED = "reg:squarederror"


class Convolutional:
    """A small convolutional network over square grey images, given as rows of pixels.

    Three 3x3 convolutions with batch normalisation and two poolings, fitted by Adam on the CPU.
    The epoch with the least log loss on held-out rows is kept (early stopping: Prechelt 1998,
    "Early stopping, but when?"). Equal seeds give equal weights on one machine.

    Parameters
    ----------
    width : int
        Channels of the first two convolutions; the third has twice as many.
    dropout : float
        Share of the last features left out while fitting, 0 to 1.
    learning_rate : float
    epochs : int
        At most; fitting ends after `PATIENCE` epochs without a gain.
    layers : str
        Another network in place of the one above, see `diptych.mlops.models.networks`.
    """

    BATCH, PATIENCE, HELD_OUT = 64, 10, 0.1

    def __init__(
        self,
        width: int = 16,
        dropout: float = 0.3,
        learning_rate: float = 0.002,
        epochs: int = 60,
        layers: str = "",
        seed: int = 0,
    ):
        self.width, self.dropout, self.learning_rate = width, dropout, learning_rate
        self.epochs, self.layers, self.seed = epochs, layers, seed

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Fit by Adam on mini-batches.

        Raises
        ------
        ValueError
            If the columns make no square of at least 4 by 4 pixels.
        """
        import torch

        self.side, self.classes = _side(matrix.shape[1]), classes
        with _one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            order = torch.randperm(len(codes))
            few = max(1, int(len(codes) * self.HELD_OUT))
            images, labels = self._images(matrix), torch.from_numpy(codes)
            self.network = self._checked()
            self._train(images, labels, order[few:], order[:few])

    def _checked(self):
        """Return the network, of which one image must give a number for each class."""
        import torch

        network = self._build()
        if not self.layers:
            return network
        try:
            shape = tuple(network.eval()(torch.zeros(1, 1, self.side, self.side)).shape)
        except RuntimeError as error:
            raise ModelError(
                f"cnn: the network cannot read an image of {self.side} by {self.side} pixels: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if shape != (1, self.classes):
            raise ModelError(
                f"cnn: the network gives an output of shape {shape} for one image; let its last "
                f"layer give {self.classes} numbers, one a class"
            )
        return network

    def _train(self, images, labels, learn, held_out) -> None:
        """Train on the rows `learn` and keep the weights that do best on `held_out`."""
        import torch
        from torch.nn.functional import cross_entropy

        network = self.network
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        least, best, since = math.inf, None, 0
        for _ in range(self.epochs):
            network.train()
            for batch in learn[torch.randperm(len(learn))].split(self.BATCH):
                optimizer.zero_grad()
                cross_entropy(network(images[batch]), labels[batch]).backward()
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                loss = cross_entropy(network(images[held_out]), labels[held_out]).item()
            since += 1
            if loss < least or best is None:
                least, since = loss, 0
                best = {name: value.clone() for name, value in network.state_dict().items()}
            if since >= self.PATIENCE:
                break
        network.load_state_dict(best)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes)."""
        import torch

        with _one_thread(), torch.inference_mode():
            parts = [self.network(part) for part in self._images(matrix).split(4096)]
            return torch.cat(parts).double().softmax(dim=1).numpy()

    def save(self, folder: Path) -> None:
        """Write the weights as plain arrays."""
        weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        shape = np.array([self.side, self.width, self.classes])
        weights |= {"layers": np.array(self.layers)} if self.layers else {}
        np.savez_compressed(folder / "weights.npz", shape=shape, **weights)

    @classmethod
    def load(cls, folder: Path) -> "Convolutional":
        """Rebuild what `save` wrote."""
        import torch

        weights = _arrays(folder)
        estimator = cls(layers=str(weights.pop("layers", "")))
        estimator.side, estimator.width, estimator.classes = weights.pop("shape").tolist()
        estimator.network = estimator._build().eval()
        estimator.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        return estimator

    def shaped(self, pixels: int, classes: int):
        """Return the network, not fitted, for images of so many pixels."""
        self.side, self.classes = _side(pixels), classes
        return self._build()

    def _build(self):
        from torch import nn

        if self.layers:
            parts = [getattr(nn, kind)(**values) for kind, values in json.loads(self.layers)]
            return nn.Sequential(*parts)

        def convolution(before: int, after: int) -> list:
            return [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]

        return nn.Sequential(
            *convolution(1, self.width),
            *convolution(self.width, self.width),
            nn.MaxPool2d(2),
            *convolution(self.width, 2 * self.width),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(2 * self.width * (self.side // 4) ** 2, self.classes),
        )

    def _images(self, matrix):
        import torch

        rows = np.ascontiguousarray(matrix, dtype=np.float32)
        return torch.from_numpy(rows).reshape(-1, 1, self.side, self.side)


def _side(pixels: int) -> int:
    """Return the side of a square image."""
    side = math.isqrt(pixels)
    if side * side != pixels or side < 4:
        raise ValueError(
            f"family: cnn reads square images of at least 4 by 4 pixels, and {pixels} columns "
            "make none; take xgboost or logistic"
        )
    return side


@contextmanager
def _one_thread():
    """Let torch use one thread: small images gain nothing from more, and results stay the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read the arrays of ``weights.npz``; an array of pickled objects is refused."""
    with np.load(folder / "weights.npz", allow_pickle=False) as stored:
        return dict(stored)


ESTIMATORS: dict[str, type[Estimator]] = {
    "baseline": Prior,
    "logistic": Logistic,
    "xgboost": Boosted,
    "xgboost_linear": BoostedLinear,
    "cnn": Convolutional,
}
# of a label that is a number
REGRESSORS: dict[str, type[Estimator]] = {
    "baseline": Mean,
    "ridge": Ridge,
    "xgboost": BoostedNumbers,
}
