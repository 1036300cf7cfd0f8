"""Classical models that are saved without pickle: features, an estimator and a temperature.

A saved model is a folder: ``model.json`` (what it is), ``features.json`` (vocabulary or
column statistics) and the estimator's own weights (XGBoost UBJSON or plain arrays). Loading
rebuilds the parts from these files, so a model from somebody else cannot run code. The checksums
in ``model.json``, which is written last, tell a damaged or half-written folder.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diptych.base import hashing
from diptych.base.workspace import write_atomic
from diptych.core.data.column import BOOLEAN, CATEGORY, NUMBER, TEXT, TIME, Column, TypedColumns
from diptych.core.data.embeddings import EmbeddingsError
from diptych.core.data.times import iso
from diptych.core.evaluation import calibrators
from diptych.core.evaluation.calibrators import Calibrator
from diptych.mlops.models import estimators, extractive, families, trial
from diptych.mlops.models.columns import ColumnFeatures
from diptych.mlops.models.embeddings import FAMILY, EmbeddingFeatures
from diptych.mlops.models.estimators import Estimator, ModelError
from diptych.mlops.models.features import Encoder, TableFeatures, TextFeatures
from diptych.mlops.models.own import OwnEstimator, OwnFeatures

if TYPE_CHECKING:  # with pandas: not in a server
    from diptych.core.evaluation.scored import ScoredRows

FAMILIES = {
    "text": ("baseline", "xgboost", "xgboost_linear", "logistic", "embeddings"),
    "table": ("baseline", "xgboost", "logistic"),
    "image": ("baseline", "xgboost", "logistic", "cnn"),
}
NUMBERS = tuple(estimators.REGRESSORS)  # of any kind, where the label is a number
LINEAR = ("logistic", "xgboost_linear", "ridge")  # of texts these read characters, too
SUMMARY = ("lead", "ranker")  # of texts too: their classes are places of sentences
ESTIMATORS: dict[str, type[Estimator]] = {
    **estimators.ESTIMATORS,
    FAMILY: estimators.Logistic,
    "lead": extractive.Lead,
    "ranker": extractive.Ranker,
}
FORMAT = 1
LEVEL = 0.9  # of the intervals of a regression
# what typed columns are in canonical rows
DTYPES = {
    NUMBER: "float", BOOLEAN: "bool", CATEGORY: "str", TEXT: "str", TIME: "datetime64",
}  # fmt: skip
# not covered by the checksums: the card itself, and what is added after the model is saved
ADDED = ("model.json", "reference.json")


@dataclass
class Model:
    """A fitted classifier or regression over one task's rows.

    A regression has no `classes`: what stands for probabilities below is then the number itself,
    shape (n, 1), and what stands for the label is that number as a float.

    Attributes
    ----------
    family : str
        One of `FAMILIES` for the kind, or of `NUMBERS`.
    kind : str
        ``"text"``, ``"table"`` or ``"image"`` (an image is a table of pixels).
    features : list of str
        Input columns in order; ``["text"]`` for text.
    classes : list of str
        Labels, in the order of the probability columns; none of a regression.
    parameters : dict
        Hyperparameters it was fitted with.
    temperature : float
        Divides the log-probabilities (Guo et al. 2017, arXiv 1706.04599, section 4.2).
    calibrator : Calibrator or None
        Of two classes, in place of the temperature where it is shown to be better.
    replies : dict of str to str
        The canned answer of each class, where answers are texts.
    text_column : str
        What the file that texts came from calls their column.
    prior : list of float
        Share of each class in the train rows: the answer to a text of which no word is known. Of a
        model saved before there was one, empty.
    positive : str
        The class that is answered from `threshold` on.
    threshold : float or None
        Least probability of that class; None answers the most probable class.
    folds : int
        Of the cross-validation by which it was selected, after which it was fitted to the train
        and validation rows; 0 where the validation set was held out.
    held_out : ScoredRows or None
        What it, or the models of the folds, answered to the rows by which it was selected; not
        saved.
    interval : dict or None
        Of a regression: ``level`` and ``half``, the half width of the interval around each number
        in which the true one lies with that probability, see `diptych.core.evaluation.conformal`.
    """

    family: str
    kind: str
    features: list[str]
    classes: list[str]
    parameters: dict
    encoder: Encoder = field(repr=False)
    estimator: Estimator = field(repr=False)
    temperature: float = 1.0
    replies: dict[str, str] = field(default_factory=dict, repr=False)
    text_column: str = "text"
    prior: list[float] = field(default_factory=list, repr=False)
    positive: str = ""
    threshold: float | None = None
    calibrator: Calibrator | None = None
    interval: dict | None = None
    folds: int = 0
    held_out: "ScoredRows | None" = field(default=None, repr=False)

    @property
    def regression(self) -> bool:
        """Whether it answers with a number."""
        return not self.classes

    @property
    def half_width(self) -> float | None:
        """Half the width of the prediction interval of a regression, None where there is none."""
        return None if self.interval is None else self.interval["half"]

    @property
    def columns(self) -> TypedColumns | None:
        """How to read what requests hold; None where it is numbers alone, in order."""
        if self.typed:
            return TypedColumns(self.encoder.columns)
        if self.kind == "text" and self.text_column != "text":
            return TypedColumns([Column("text", self.text_column, TEXT)])
        return None

    @property
    def typed(self) -> bool:
        """Whether it reads typed columns."""
        return bool(getattr(self.encoder, "columns", None))

    @property
    def is_own(self) -> bool:
        """Whether it is a model of your own, see `diptych.mlops.models.own`."""
        return isinstance(self.estimator, OwnEstimator)

    def rows_of(self, frame):
        """Take what the model reads from canonical rows, see `rows_of`.

        Raises
        ------
        ModelError
            If a column is not there, or is of another kind than the model learnt.
        """
        if missing := [name for name in self.features if name not in frame]:
            raise ModelError(f"{missing[0]}: the rows have no such column, and the model reads it")
        for column in self.encoder.columns if self.typed else ():
            dtype = str(frame[column.name].dtype)
            if not dtype.startswith(DTYPES[column.kind]):
                raise ModelError(
                    f"{column.name}: the rows hold {dtype}, and the model learnt a {column.kind}"
                )
        return rows_of(frame, self.kind, self.features, self.typed)

    def inputs(self, rows: list):
        """Return the rows of requests as `predict_proba` takes them."""
        if self.kind == "text" or self.typed:
            return rows
        return np.array(rows, dtype=np.float32)

    def blank(self) -> list:
        """Return one row that says nothing, to try the model out; of your own one it has seen."""
        if self.is_own:
            return self.inputs(self.encoder.sample)
        if self.typed:
            return [[None] * len(self.features)]
        return [""] if self.kind == "text" else np.zeros((1, len(self.features)), np.float32)

    def predict_proba(self, rows) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        rows : DataFrame, list of str, array of float32 or list of lists
            A frame with the columns that the model reads; texts; or feature rows in the order of
            `features`, shape (n, len(features)), see `ColumnFeatures.transform`.

        Returns
        -------
        ndarray of float64, shape (n, len(classes))

        Raises
        ------
        ModelError
            As `rows_of` does.
        """
        return self.predict_with_basis(rows)[0]

    def predict_with_basis(self, rows) -> tuple[np.ndarray, np.ndarray]:
        """Return class probabilities as `predict_proba` does, and which rows they rest on.

        Returns
        -------
        probabilities : ndarray of float64, shape (n, len(classes))
        has_basis : ndarray of bool, shape (n,)
            False for a text of which the model knows no word; its probabilities are `prior`.
        """
        if hasattr(rows, "columns"):
            rows = self.rows_of(rows)
        return self.predict_encoded(self.encoder.transform(rows))

    def predict_encoded(self, matrix) -> tuple[np.ndarray, np.ndarray]:
        """Return what `predict_with_basis` does, of rows that are encoded already."""
        raw = self.estimator.predict_proba(matrix)
        has_basis = basis_of(self.encoder, matrix, len(raw))
        return self.finished(raw, has_basis), has_basis

    def finished(self, raw: np.ndarray, has_basis: np.ndarray) -> np.ndarray:
        """Return what the estimator gave, calibrated, and `prior` where rows have no basis."""
        probabilities = self._calibrated(raw)
        if self.prior:
            probabilities = np.where(has_basis[:, None], probabilities, self.prior)
        return probabilities

    def _calibrated(self, raw: np.ndarray) -> np.ndarray:
        if self.calibrator is None:
            return rescale(raw, self.temperature)
        second = self.calibrator(raw[:, 1])
        return np.column_stack([1 - second, second])

    @property
    def calibration(self) -> str:
        """How its confidence was calibrated, in words."""
        if self.calibrator is None:
            return f"temperature {self.temperature:.2f}"
        return {"platt": "Platt scaling", "isotonic": "isotonic regression"}[self.calibrator.method]

    def predict(self, rows) -> np.ndarray:
        """Return the label of each row, shape (n,)."""
        return self.labels_of(self.predict_proba(rows))

    def labels_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the label that probabilities stand for: by the threshold, or the most probable.

        Parameters
        ----------
        probabilities : ndarray, shape (n, len(classes))

        Returns
        -------
        ndarray of str, shape (n,)
            Of a regression float64.
        """
        if self.regression:
            return np.asarray(probabilities, dtype=np.float64)[:, 0]
        classes = np.asarray(self.classes, dtype=object)
        if self.threshold is None or len(classes) != 2:
            return classes[probabilities.argmax(axis=1)]
        at = self.classes.index(self.positive)
        return classes[np.where(probabilities[:, at] >= self.threshold, at, 1 - at)]

    def decided(self, probabilities: Sequence[Sequence[float]]) -> dict:
        """Return what an endpoint adds to its answer where a threshold decides.

        ``scores`` (the probability of the class ``positive``, one a row) and the ``threshold``
        from which on that class is answered.
        """
        at = self.classes.index(self.positive)
        scores = [row[at] for row in probabilities]
        return {"positive": self.positive, "threshold": self.threshold, "scores": scores}

    @property
    def speaks(self) -> bool:
        """Whether its answer is a text other than the label."""
        return bool(self.replies) or self.family in SUMMARY

    def answers(self, rows, predicted) -> list[str]:
        """Return the answer to each row for its predicted label, by default the label itself.

        A class with a canned answer gives that one; where classes are places of sentences, the
        answer is the sentence.
        """
        if self.family in SUMMARY:
            return extractive.sentences_at(rows, predicted)
        if self.regression:
            return [f"{number:.10g}" for number in predicted]
        return [self.replies.get(label, label) for label in predicted]

    def calibrate(self, rows, labels) -> None:
        """Set the temperature that minimises the log loss of held-out `rows`.

        Of two classes Platt scaling or isotonic regression takes its place where it is shown to
        have a lower log loss, see `calibrators.choose`. Rows of a class that the model does not
        know are left out; if no other row is there, the temperature stays as it was.

        Of a regression set the interval that holds `LEVEL` of them (split conformal).
        """
        self.calibrate_on(self.estimator.predict_proba(self.encoder.transform(rows)), labels)

    def calibrate_on(self, raw: np.ndarray, labels) -> None:
        """Do the same by what the estimator, or those of a cross-validation, gave for rows.

        Parameters
        ----------
        raw : ndarray, shape (n, classes)
            Before calibration; of a regression the number, shape (n, 1).
        labels : sequence, length n
        """
        from scipy.optimize import minimize_scalar

        if self.regression:
            self.interval = _interval(raw[:, 0] - np.asarray(labels, dtype=float))
            return
        known = np.isin(np.asarray(labels, dtype=object), self.classes)
        if not known.any():
            return
        codes = encode(np.asarray(labels, dtype=object)[known], self.classes)
        raw = raw[known]

        def loss(log_temperature: float) -> float:
            scaled = rescale(raw, np.exp(log_temperature))
            return -np.log(np.clip(scaled[np.arange(len(codes)), codes], 1e-12, None)).mean()

        best = minimize_scalar(loss, bounds=(-2, 2), method="bounded").x
        self.temperature, self.calibrator = round(float(np.exp(best)), 4), None
        if len(self.classes) == 2:
            self.calibrator = calibrators.choose(raw[:, 1], codes == 1)

    def save(self, folder: Path) -> Path:
        """Write the model to `folder` (made if missing) and return it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        self.estimator.save(folder)
        card = {
            "format": FORMAT,
            "family": self.family,
            "kind": self.kind,
            "features": self.features,
            "classes": self.classes,
            "parameters": self.parameters,
            "temperature": self.temperature,
            "replies": self.replies,
            "files": _checksums(folder),
        }
        if self.typed:
            card["typed"] = True
        if self.is_own:
            card["own"] = {"sample": self.encoder.sample}
            if self.estimator.codes:
                card["own"]["codes"] = True
        if self.text_column != "text":
            card["text_column"] = self.text_column
        if self.prior:
            card["prior"] = self.prior
        if self.calibrator is not None:
            card["calibration"] = self.calibrator.to_dict()
        if self.interval is not None:
            card["interval"] = self.interval
        if self.folds:
            card["folds"] = self.folds
        if self.threshold is not None:
            card |= {"positive": self.positive, "threshold": self.threshold}
        trial.note(card)
        card["card"] = hashing.of_json(card)  # of all that stands above
        write_atomic(folder / "model.json", json.dumps(card, indent=1))
        return folder

    def _probe(self) -> None:
        """Predict one row, so that parts that do not belong together are found now."""
        shares = self.predict_proba(self.blank())
        if self.regression and shares.shape == (1, 1) and np.isfinite(shares).all():
            return
        if shares.shape != (1, len(self.classes)) or not np.isclose(shares.sum(), 1):
            raise ValueError(f"its parts do not fit: one row gives {shares.tolist()}")


def _interval(errors: np.ndarray) -> dict | None:
    """Return the half width of prediction intervals; None where the rows are too few for one."""
    from diptych.core.evaluation import conformal  # the model server needs none of it

    half = conformal.half_width(errors, LEVEL)
    return {"level": LEVEL, "half": half} if math.isfinite(half) else None


def fit(
    rows,
    labels,
    *,
    family: str,
    kind: str,
    features: list[str],
    parameters: dict,
    seed: int = 0,
    columns: Sequence[Column] = (),
) -> Model:
    """Fit one model.

    Parameters
    ----------
    rows : list of str, array of float32, or DataFrame of typed columns
        Shape (n, len(features)).
    labels : sequence of str, shape (n,)
        Or of float: a regression.
    family : str
        One of ``FAMILIES[kind]``, or of `NUMBERS`.
    parameters : dict
        Hyperparameters of the family; those not given take its defaults.
    columns : sequence of Column, optional
        Of a table whose columns are typed.

    Raises
    ------
    ModelError
        If the family does not suit the kind, there are fewer than two classes, or the texts
        have too little in common to learn from.
    """
    if family not in _suitable(kind, are_numbers(labels)):
        known = ", ".join(families_of(kind, are_numbers(labels)))
        raise ModelError(f"family: {family!r} does not suit {kind} data; take one of {known}")
    classes = classes_of(labels)
    encoder = new_encoder(family, kind, columns)
    matrix = fit_encoder(encoder, rows)
    estimator = estimator_of(family, not classes)(**parameters, seed=seed)
    codes = encode(labels, classes)
    estimator.fit(matrix, codes, len(classes))
    prior = prior_of(encoder, codes, len(classes))
    return Model(family, kind, list(features), classes, parameters, encoder, estimator, prior=prior)


def prior_of(encoder: Encoder, codes: np.ndarray, classes: int) -> list[float]:
    """Return the classes' shares for a model of texts, which may know no word of one; else [].

    Of a regression, which has no classes, the mean of its numbers.
    """
    if not isinstance(encoder, TextFeatures):
        return []
    if not classes:
        return [float(codes.mean())]
    return (np.bincount(codes, minlength=classes) / len(codes)).tolist()


def basis_of(encoder: Encoder, matrix, rows: int) -> np.ndarray:
    """Return which encoded rows hold a word that is known, bool of shape (rows,)."""
    if isinstance(encoder, TextFeatures):
        return encoder.has_basis(matrix)
    return np.ones(rows, dtype=bool)


def families_of(kind: str, regression: bool) -> tuple[str, ...]:
    """Return the families that suit a kind of data, the simplest first, those of plugins last."""
    return (NUMBERS if regression else FAMILIES[kind]) + families.suiting(kind, regression)


def estimator_of(family: str, regression: bool) -> type[Estimator]:
    """Return the estimator of a family, which has another for labels that are numbers."""
    return (estimators.REGRESSORS if regression else ESTIMATORS)[family]


def _suitable(kind: str, regression: bool) -> tuple[str, ...]:
    if kind not in FAMILIES or regression:
        return NUMBERS if kind in FAMILIES else ()
    return FAMILIES[kind] + (SUMMARY if kind == "text" else ())


def classes_of(labels) -> list[str]:
    """Return the classes in the order of the probability columns; [] where labels are numbers.

    Raises
    ------
    ModelError
        If there are fewer than two, or fewer than two different numbers.
    """
    if are_numbers(labels):
        if len(np.unique(labels)) < 2:
            raise ModelError("label: the training rows hold fewer than two different numbers")
        return []
    classes = sorted(set(labels))
    if len(classes) < 2:
        content = f"the class {classes[0]!r} only" if classes else "no rows"
        raise ModelError(f"label: the training rows hold {content}; at least two are needed")
    return classes


def are_numbers(labels) -> bool:
    """Return whether labels are numbers, floats; classes are strings."""
    if hasattr(labels, "dtype"):
        return getattr(labels.dtype, "kind", "O") == "f"
    return len(labels) > 0 and isinstance(labels[0], float)


def with_known_labels(rows, classes: list[str]):
    """Return the rows of a frame whose label is one of the classes; all, where it is a number."""
    return rows[rows["label"].isin(classes)] if classes else rows


def new_encoder(family: str, kind: str, columns: Sequence[Column] = ()) -> Encoder:
    """Return the unfitted features that suit a family: linear ones also read characters."""
    if columns:
        return ColumnFeatures(columns, linear=family != "xgboost")
    if family in SUMMARY:
        return extractive.SentenceFeatures()
    if family == FAMILY:
        return EmbeddingFeatures()
    if kind == "text":
        return TextFeatures(chars=family in LINEAR)
    return TableFeatures()


def fit_encoder(encoder: Encoder, rows):
    """Fit features on the train rows and return their matrix.

    Raises
    ------
    ModelError
        If the texts share no word.
    """
    try:
        return encoder.fit_transform(rows)
    except ValueError as error:
        if isinstance(encoder, TableFeatures | ColumnFeatures | EmbeddingFeatures):
            raise
        raise ModelError(
            f"text: the {len(rows)} training texts share too few words; more rows are needed"
        ) from error


def rows_at(matrix, places: np.ndarray):
    """Return some rows of an encoder's matrix, with what it knows of its columns."""
    rows = matrix[places]
    if hasattr(matrix, "types"):
        rows.types = matrix.types
    return rows


def load(folder: Path) -> Model:
    """Load a model that `Model.save` wrote.

    Raises
    ------
    ModelError
        If the folder holds no such model, or a damaged one.
    """
    folder = Path(folder)
    try:
        card = _card(folder)
        trial.check(folder, card)
        return _built(folder, card)
    except EmbeddingsError as error:  # the model is whole, what reads its texts is not here
        raise ModelError(f"model: {folder} reads texts through an encoder. {error}") from error
    except Exception as error:  # what lies in a folder from elsewhere can be wrong in any way
        reason = str(error) if type(error) in (ModelError, ValueError) else repr(error)
        raise ModelError(
            f"model: {folder} holds no model that can be loaded: {reason}; "
            "give the folder that mlops/2_build saved, or build it again"
        ) from error


def load_untried(folder: Path) -> Model:
    """Load a model as `load` does, in this process whatever its files do to it."""
    return _built(folder, _card(folder))


def _card(folder: Path) -> dict:
    """Return what a saved model is, once its files are what they were when it was saved."""
    if not (folder / "model.json").is_file():
        raise ModelError("there is no model.json")
    card = json.loads((folder / "model.json").read_text("utf-8"))
    written = card.get("format") if isinstance(card, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise ModelError(f"a newer Diptych saved it (format {written}); update this one")
    if written != FORMAT:
        raise ModelError(f"model.json is not of format {FORMAT}")
    if "card" in card and card.pop("card") != hashing.of_json(card):
        raise ModelError("model.json was changed after the model was saved")
    regression = card.get("classes") == []
    if "own" not in card and card["family"] not in _suitable(card["kind"], regression):
        raise ModelError(f"family: {card['family']!r} over {card['kind']!r} data is not known here")
    present = _checksums(folder)
    for name, checksum in card["files"].items():
        if present.get(name) != checksum:
            raise ModelError(f"{name} is {'damaged' if name in present else 'missing'}")
    return card


def _built(folder: Path, card: dict) -> Model:
    names = ("family", "kind", "features", "classes", "parameters", "temperature")
    facts = {name: card[name] for name in names}
    encoder, estimator = _parts(card, folder)
    model = Model(
        **facts,
        replies=card.get("replies", {}),
        text_column=card.get("text_column", "text"),
        prior=card.get("prior", []),
        positive=card.get("positive", ""),
        threshold=card.get("threshold"),
        calibrator=Calibrator(**card["calibration"]) if "calibration" in card else None,
        interval=card.get("interval"),
        folds=card.get("folds", 0),
        encoder=encoder,
        estimator=estimator,
    )
    model._probe()
    return model


def _parts(card: dict, folder: Path) -> tuple[Encoder, Estimator]:
    """Load a model's encoder and estimator."""
    if "own" in card:
        base, names, sample = _encoder_class(card), card["features"], card["own"]["sample"]
        encoder = OwnFeatures.load(folder, base, names, sample)
        codes = card["own"].get("codes", False)
        return encoder, OwnEstimator.load(folder, card["family"], card["classes"], codes)
    estimator = estimator_of(card["family"], card.get("classes") == [])
    return _encoder_class(card).load(folder), estimator.load(folder)


def _encoder_class(card: dict) -> type[Encoder]:
    return ColumnFeatures if card.get("typed") else type(new_encoder(card["family"], card["kind"]))


def _checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that the features and the estimator wrote."""
    return {
        path.name: hashing.of_file_now(path)
        for path in sorted(folder.iterdir())
        if path.name not in ADDED and path.is_file()
    }


def rows_of(frame, kind: str, features: list[str], typed: bool = False):
    """Take what a model reads from canonical rows: texts, typed columns, or a float32 array."""
    if typed:
        return frame[features]
    if kind == "text":
        return frame["text"].tolist()
    # a table's memory lies by column; sums over it would be rounded in another order
    return np.ascontiguousarray(frame[features].to_numpy(np.float32))


def requests(rows, kind: str, features: list[str], columns: Sequence[Column] = ()) -> list[dict]:
    """Return one request body a row, with its id; JSON's null stands for a missing value."""
    if columns:
        records = json_records(rows, columns)
        return [{"inputs": [x], "ids": [i]} for x, i in zip(records, rows["id"], strict=True)]
    inputs = rows_of(rows, kind, features)
    if kind != "text":
        inputs = [[None if math.isnan(x) else x for x in row] for row in inputs.tolist()]
    return [{"inputs": [x], "ids": [i]} for x, i in zip(inputs, rows["id"], strict=True)]


def json_records(frame, columns: Sequence[Column]) -> list[dict]:
    """Return typed rows as JSON records by the file's names; times are ISO 8601."""
    names = [column.original for column in columns]
    times = [column.kind == TIME for column in columns]
    records = []
    for row in plain_rows(frame, columns):
        read = zip(names, row, times, strict=True)
        records.append({n: iso(x) if time and x is not None else x for n, x, time in read})
    return records


def plain_rows(frame, columns: Sequence[Column]) -> list[list]:
    """Return typed rows as `diptych.core.data.column.Column.read_value` reads them in service."""
    values = []
    for column in columns:
        cells = frame[column.name]
        missing = cells.isna()
        if column.kind == TIME:
            cells = cells.dt.as_unit("us").astype("int64")
        values.append(cells.astype(object).where(~missing, None).tolist())
    return [list(row) for row in zip(*values, strict=True)]


def digest(folder: Path) -> str:
    """Return the sha256 of a saved model's files, by name and content."""
    paths = sorted(Path(folder).iterdir())
    return hashing.of_listing((path.name, hashing.of_file_now(path)) for path in paths)


def size_mb(folder: Path) -> float:
    """Return the size of a saved model in megabytes."""
    return sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6


def encode(labels, classes: list[str]) -> np.ndarray:
    """Turn labels into class indices, shape (n,); numbers, which have no classes, into float64.

    Raises
    ------
    ModelError
        If a label is not among the classes.
    """
    if not classes:
        return np.asarray(labels, dtype=np.float64)
    index = {name: i for i, name in enumerate(classes)}
    if hasattr(labels, "factorize"):  # a column of a frame: each different label is looked up once
        places, different = labels.factorize()
        different = [*different.tolist(), None]  # the last is where there is no label
    else:
        places, different = slice(None), labels
    codes = np.array([index.get(label, -1) for label in different], dtype=np.int64)[places]
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        label = labels.iloc[row] if hasattr(labels, "iloc") else labels[row]
        raise ModelError(f"label: {label!r} is none of the classes {classes}")
    return codes


def rescale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide log-probabilities by `temperature` and normalise again."""
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.clip(probabilities, 1e-12, None)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
