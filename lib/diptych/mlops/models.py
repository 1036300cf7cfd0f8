"""Classical models that are saved without pickle: features, an estimator and a temperature.

A saved model is a folder: ``model.json`` (what it is), ``features.json`` (vocabulary or
column statistics) and the estimator's own weights (XGBoost UBJSON or plain arrays). Loading
rebuilds the parts from these files, so a model from somebody else cannot run code.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diptych.mlops.estimators import ESTIMATORS
from diptych.mlops.features import TableFeatures, TextFeatures
from diptych.run.workspace import write_atomic

FAMILIES = {
    "text": ("baseline", "xgboost", "xgboost_linear", "logistic"),
    "table": ("baseline", "xgboost", "logistic"),
    "image": ("baseline", "xgboost", "logistic"),
}


class ModelError(ValueError):
    """A model cannot be fitted or loaded; the message says what to do."""


@dataclass
class Model:
    """A fitted classifier over one task's rows.

    Attributes
    ----------
    family : str
        One of `FAMILIES` for the kind.
    kind : str
        ``"text"``, ``"table"`` or ``"image"`` (an image is a table of pixels).
    features : list of str
        Input columns in order; ``["text"]`` for text.
    classes : list of str
        Labels, in the order of the probability columns.
    parameters : dict
        Hyperparameters it was fitted with.
    temperature : float
        Divides the log-probabilities (Guo et al. 2017, arXiv 1706.04599, section 4.2).
    """

    family: str
    kind: str
    features: list[str]
    classes: list[str]
    parameters: dict
    encoder: TextFeatures | TableFeatures = field(repr=False)
    estimator: object = field(repr=False)
    temperature: float = 1.0
    version: str = "0"

    def predict_proba(self, rows) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        rows : list of str, or array of float32, shape (n, len(features))
            Texts, or feature rows in the order of `features`.

        Returns
        -------
        ndarray of float64, shape (n, len(classes))
        """
        probabilities = self.estimator.predict_proba(self.encoder.transform(rows))
        return rescale(probabilities, self.temperature)

    def predict(self, rows) -> np.ndarray:
        """Return the most probable label of each row, shape (n,)."""
        return np.asarray(self.classes, dtype=object)[self.predict_proba(rows).argmax(axis=1)]

    def calibrate(self, rows, labels) -> None:
        """Set the temperature that minimises the log loss of held-out `rows`."""
        from scipy.optimize import minimize_scalar

        codes = encode(labels, self.classes)
        raw = self.estimator.predict_proba(self.encoder.transform(rows))

        def loss(log_temperature: float) -> float:
            scaled = rescale(raw, np.exp(log_temperature))
            return -np.log(np.clip(scaled[np.arange(len(codes)), codes], 1e-12, None)).mean()

        best = minimize_scalar(loss, bounds=(-2, 2), method="bounded").x
        self.temperature = round(float(np.exp(best)), 4)

    def save(self, folder: Path) -> Path:
        """Write the model to `folder` (made if missing) and return it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        self.estimator.save(folder)
        card = {
            "format": 1,
            "family": self.family,
            "kind": self.kind,
            "features": self.features,
            "classes": self.classes,
            "parameters": self.parameters,
            "temperature": self.temperature,
            "version": self.version,
        }
        write_atomic(folder / "model.json", json.dumps(card, indent=1))
        return folder


def fit(
    rows, labels, *, family: str, kind: str, features: list[str], parameters: dict, seed: int = 0
) -> Model:
    """Fit one model.

    Parameters
    ----------
    rows : list of str, or array of float32, shape (n, len(features))
    labels : sequence of str, shape (n,)
    family : str
        One of ``FAMILIES[kind]``.
    parameters : dict
        Hyperparameters of the family; those not given take its defaults.

    Raises
    ------
    ModelError
        If the family does not suit the kind, or there are fewer than two classes.
    """
    if family not in FAMILIES[kind]:
        raise ModelError(
            f"family: {family!r} does not suit {kind} data; take one of {', '.join(FAMILIES[kind])}"
        )
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ModelError(f"label: the training rows hold one class only, {classes}; at least two")
    encoder = new_encoder(family, kind)
    estimator = ESTIMATORS[family](**parameters, seed=seed)
    estimator.fit(encoder.fit_transform(rows), encode(labels, classes), len(classes))
    return Model(family, kind, list(features), classes, parameters, encoder, estimator)


def new_encoder(family: str, kind: str) -> TextFeatures | TableFeatures:
    """Return the unfitted features that suit a family: linear ones also read characters."""
    if kind == "text":
        return TextFeatures(chars=family in ("logistic", "xgboost_linear"))
    return TableFeatures()


def load(folder: Path) -> Model:
    """Load a model that `Model.save` wrote.

    Raises
    ------
    ModelError
        If the folder holds no such model.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / "model.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"model: {folder} holds no readable model.json ({error})") from error
    encoder = (TextFeatures if card["kind"] == "text" else TableFeatures).load(folder)
    estimator = ESTIMATORS[card["family"]].load(folder)
    names = ("family", "kind", "features", "classes", "parameters")
    return Model(
        **{name: card[name] for name in names},
        encoder=encoder,
        estimator=estimator,
        temperature=card["temperature"],
        version=card["version"],
    )


def rows_of(frame, kind: str, features: list[str]):
    """Take what a model reads from canonical rows: texts, or a float32 array."""
    if kind == "text":
        return frame["text"].tolist()
    return frame[features].to_numpy(np.float32)


def requests(rows, kind: str, features: list[str]) -> list[dict]:
    """Return one request body a row, with its id, in the form the endpoint reads."""
    inputs = rows_of(rows, kind, features)
    inputs = inputs if kind == "text" else inputs.tolist()
    return [{"inputs": [x], "ids": [i]} for x, i in zip(inputs, rows["id"], strict=True)]


def digest(folder: Path) -> str:
    """Return the sha256 of a saved model's files, by name and content."""
    total = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def size_mb(folder: Path) -> float:
    """Return the size of a saved model in megabytes."""
    return sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6


def encode(labels, classes: list[str]) -> np.ndarray:
    """Turn labels into class indices, shape (n,).

    Raises
    ------
    ModelError
        If a label is not among the classes.
    """
    index = {name: i for i, name in enumerate(classes)}
    try:
        return np.fromiter((index[label] for label in labels), dtype=np.int64)
    except KeyError as error:
        raise ModelError(f"label: {error.args[0]!r} is none of the classes {classes}") from error


def rescale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide log-probabilities by `temperature` and normalise again."""
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.clip(probabilities, 1e-12, None)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
