"""A model of your own beside the families: anything fitted that has ``predict``.

A text model reads a list of texts, a table or image model a DataFrame with the task's columns.
It is saved by skops, which holds no pickle, and loaded only if all it consists of is trusted:
what skops trusts itself, and `TRUSTED`. Other code cannot be saved; such a model is compared and
not released.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.core.data.column import BOOLEAN, NUMBER, TIME, Column
from diptych.mlops.models import families
from diptych.mlops.models.columns import ColumnFeatures
from diptych.mlops.models.estimators import ModelError
from diptych.mlops.models.features import Encoder, TableFeatures, TextFeatures

FILE = "model.skops"
# fitted parts of libraries that skops does not list itself: arrays and trees, no code
TRUSTED = (
    "numpy.dtype",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFRegressor",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
)


class OwnFeatures:
    """Rows as a model of your own reads them: texts, or a DataFrame of the task's columns.

    Beside it stands what the families know of the training rows, which monitoring describes live
    rows by.

    Parameters
    ----------
    base : Encoder
        Fitted to the training rows.
    features : sequence of str
        Columns of the DataFrame; not read for texts.
    sample : list
        One row as an endpoint has read it, to try the model out.
    """

    def __init__(self, base: Encoder, features: Sequence[str], sample: list):
        self.base, self.features, self.sample = base, list(features), sample

    @property
    def columns(self) -> list[Column]:
        """The typed columns, [] where rows are texts or numbers alone."""
        return getattr(self.base, "columns", [])

    @property
    def words(self):
        """What monitoring knows words by: those of `TextFeatures` or `ColumnFeatures`."""
        return self.base.words

    def transform(self, rows):
        """Return what the model reads."""
        if isinstance(self.base, TextFeatures):
            return list(rows)
        import pandas as pd

        if isinstance(rows, pd.DataFrame):
            return rows[self.features]
        if not self.columns:
            return pd.DataFrame(np.asarray(rows, dtype=np.float32), columns=self.features)
        by_column = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        pairs = zip(self.columns, by_column, strict=True)
        return pd.DataFrame({column.name: _series(values, column.kind) for column, values in pairs})

    def save(self, folder: Path) -> None:
        """Write what the families know of the training rows."""
        self.base.save(folder)

    @classmethod
    def load(cls, folder: Path, kind: type[Encoder], features, sample: list) -> "OwnFeatures":
        """Rebuild what `save` wrote."""
        return cls(kind.load(folder), features, sample)


def _series(values: Sequence, kind: str):
    """Return plain values of a request as a typed column, as training has them."""
    import pandas as pd

    if kind == TIME:
        moments = [pd.NaT if value is None else value for value in values]
        return pd.Series(pd.to_datetime(moments, unit="us", utc=True)).dt.as_unit("us")
    dtype = {NUMBER: "float64", BOOLEAN: "boolean"}.get(kind, "str")
    return pd.Series(list(values), dtype=dtype)


class OwnEstimator:
    """A fitted model of your own, its answers checked and in the order of the task's classes.

    Parameters
    ----------
    name : str
        How messages call it.
    model : object
        With ``predict``, or ``predict_proba`` and ``classes_``. Without ``predict_proba`` it
        counts as sure of every answer.
    classes : list of str
        The task's; none where it predicts a number.
    codes : bool
        Whether it answers with the place of a class among them, see `needs_codes`.
    """

    def __init__(self, name: str, model, classes: list[str], codes: bool = False):
        self.name, self.model, self.classes, self.codes = name, model, list(classes), codes
        sure = hasattr(model, "predict_proba") and hasattr(model, "classes_")
        self.has_probabilities = bool(classes) and sure
        if not self.has_probabilities and not hasattr(model, "predict"):
            raise ModelError(
                f"{name}: a {type(model).__name__} has no predict; give a fitted model that has, "
                "such as a scikit-learn Pipeline"
            )

    def predict_proba(self, rows) -> np.ndarray:
        """Return class probabilities, shape (n, classes); numbers, shape (n, 1).

        Raises
        ------
        ModelError
            If the model fails, or its answers are not one known label, share or number for each
            row.
        """
        if not self.classes:
            return self._numbers(self._call("predict", rows), len(rows))
        if not self.has_probabilities:
            return self._one_hot(self._call("predict", rows), len(rows))
        shares = np.asarray(self._call("predict_proba", rows), dtype=float)
        known = self._labels(self.model.classes_)
        self._check_labels(known)
        if shares.shape != (len(rows), len(known)):
            raise ModelError(
                f"{self.name}: predict_proba gave an array of shape {shares.shape}, and "
                f"{(len(rows), len(known))} is expected: {len(rows)} rows, {len(known)} classes"
            )
        self._check_missing(np.isnan(shares).any(axis=1))
        if not np.allclose(shares.sum(axis=1), 1, atol=1e-3):
            raise ModelError(f"{self.name}: predict_proba gave shares that do not add up to 1")
        ordered = np.zeros((len(rows), len(self.classes)))
        ordered[:, [self.classes.index(label) for label in known]] = shares
        return ordered

    def _labels(self, answers) -> list[str]:
        """Return a model's labels as the task writes them."""
        if not self.codes:
            return [str(label) for label in answers]
        return [self.classes[int(code)] for code in answers]

    def _call(self, method: str, rows):
        rows = self._read(rows)
        try:
            return getattr(self.model, method)(rows)
        except Exception as error:  # whatever it raises
            what = "a list of texts" if isinstance(rows, list) else "a DataFrame of the columns"
            reason = (str(error).splitlines() or [""])[0].rstrip(".")
            raise ModelError(
                f"{self.name}: {method} failed on {what}: {type(error).__name__}: {reason}"
            ) from error

    def _read(self, rows):
        """Return of a DataFrame the columns that the model was fitted on, if it knows them."""
        fitted = getattr(self.model, "feature_names_in_", None)
        if fitted is None or not hasattr(rows, "columns"):
            return rows
        if unknown := [str(name) for name in fitted if name not in rows.columns]:
            raise ModelError(
                f"{self.name}: it was fitted on {', '.join(unknown[:5])}, which no row to "
                f"predict has; fit it on some or all of {', '.join(rows.columns)}"
            )
        return rows[list(fitted)]

    def _numbers(self, answers, rows: int) -> np.ndarray:
        try:
            numbers = np.asarray(answers, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: predict gave {np.asarray(answers).ravel()[:1].tolist()}, and the "
                "label is a number; give a regression"
            ) from error
        if numbers.size != rows or numbers.ndim > 2:
            raise ModelError(
                f"{self.name}: predict gave an array of shape {numbers.shape} for {rows} rows; "
                "give one number a row"
            )
        numbers = numbers.reshape(rows, 1)
        self._check_missing(~np.isfinite(numbers[:, 0]))
        return numbers

    def _one_hot(self, answers, rows: int) -> np.ndarray:
        labels = np.asarray(answers, dtype=object)
        if labels.ndim != 1 or len(labels) != rows:
            shape = len(labels) if labels.ndim == 1 else f"an array of shape {labels.shape}"
            raise ModelError(
                f"{self.name}: predict gave {shape} for {rows} rows; give one label a row"
            )
        self._check_missing(np.array([x is None or x != x for x in labels]))
        texts = self._labels(labels)
        self._check_labels(texts)
        places = [self.classes.index(text) for text in texts]
        return np.eye(len(self.classes))[places]

    def _check_labels(self, labels: list[str]) -> None:
        if unknown := sorted(set(labels) - set(self.classes)):
            raise ModelError(
                f"{self.name}: it predicts {', '.join(map(repr, unknown[:3]))}, and the labels of "
                f"the training set are {', '.join(map(repr, self.classes))}; fit it to these"
            )

    def _check_missing(self, missing: np.ndarray) -> None:
        if missing.any():
            raise ModelError(
                f"{self.name}: it gave no answer (NaN) for {missing.sum()} of {len(missing)} rows"
            )

    def refit(self, rows, labels) -> "OwnEstimator":
        """Fit a copy with the same setting to other rows.

        Raises
        ------
        ModelError
            If it is no scikit-learn estimator, which can be copied without what it learnt.
        """
        from sklearn.base import clone

        try:
            model = clone(self.model)
        except TypeError as error:
            raise ModelError(
                f"{self.name}: a {type(self.model).__name__} cannot be fitted again; give it "
                "scikit-learn's get_params and fit"
            ) from error
        classes = sorted(set(labels)) if self.classes else []
        target = np.asarray(labels, dtype=object if classes else float)
        if self.codes:
            target = np.searchsorted(classes, target.astype(str))
        fit(model, self._read(rows), target)
        return OwnEstimator(self.name, model, classes, self.codes)

    def save(self, folder: Path) -> None:
        """Write it without pickle.

        Raises
        ------
        ModelError
            If it holds code that is not trusted.
        """
        if refusal := self.refusal():
            raise ModelError(f"{self.name}: {refusal}")
        (folder / FILE).write_bytes(self._dumped())

    def refusal(self) -> str:
        """Return why it cannot be saved without pickle, "" if it can."""
        from skops import io

        where = "put the code into a plugin that names it as trusted, or do without it"
        cell = "it is defined in a cell; move it into a module, such as plugins.py, and let a"
        cell += " plugin that offers the model name it as trusted (see docs/plugins.md)"
        try:
            unknown = set(io.get_untrusted_types(data=self._dumped())) - _trusted()
        except Exception as error:  # whatever a part of it makes of being written
            reason = f"{type(error).__name__}: {error}"
            return f"it cannot be saved without pickle ({reason}); {where}"
        if not unknown:
            return ""
        names = ", ".join(sorted(unknown))
        if any(name.startswith("__main__.") for name in unknown):
            where = cell
        return f"it cannot be saved without pickle, because it holds {names}; {where}"

    def _dumped(self) -> bytes:
        from skops import io

        return io.dumps(self.model)

    @classmethod
    def load(
        cls, folder: Path, name: str, classes: list[str], codes: bool = False
    ) -> "OwnEstimator":
        """Rebuild what `save` wrote; a type that is not trusted is refused."""
        from skops import io

        path = folder / FILE
        held = set(io.get_untrusted_types(file=path))
        if unknown := held - _trusted():
            raise ModelError(f"{FILE} holds {', '.join(sorted(unknown))}, which is not trusted")
        return cls(name, io.load(path, trusted=sorted(held)), classes, codes)


def needs_codes(estimator) -> bool:
    """Whether an estimator takes no labels, but their places 0, 1, ...: XGBoost's classifiers."""
    from sklearn.base import is_classifier

    last = last_step(estimator)
    return type(last).__module__.startswith("xgboost.") and is_classifier(last)


def last_step(estimator):
    """Return the last step of a pipeline, or the estimator itself."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def fit(estimator, rows, target: np.ndarray, held_out: tuple | None = None) -> None:
    """Fit an estimator; one that stops early does so on held-out rows, and keeps their number.

    Afterwards it no longer asks for held-out rows, so that a copy can be fitted to other rows.

    Parameters
    ----------
    held_out : tuple of rows and target, optional
        Without them it does not stop early.
    """
    last = last_step(estimator)
    if getattr(last, "early_stopping_rounds", None) is None:
        estimator.fit(rows, target)
        return
    if held_out is None:
        last.set_params(early_stopping_rounds=None)
        estimator.fit(rows, target)
        return
    others, aim = held_out
    if last is not estimator:
        before = estimator[:-1]
        rows, others = before.fit_transform(rows, target), before.transform(others)
    last.fit(rows, target, eval_set=[(others, aim)], verbose=False)
    last.set_params(n_estimators=last.best_iteration + 1, early_stopping_rounds=None)


def _trusted() -> set[str]:
    """Return the types that a saved model may hold: `TRUSTED`, and those that plugins name."""
    return {*TRUSTED, *families.trusted()}


def features(kind: str, names: list[str], columns: Sequence[Column], rows, sample) -> OwnFeatures:
    """Return the features of a model of your own, from the training rows.

    Parameters
    ----------
    kind : str
        The task's.
    rows : list of str, array or DataFrame
        As the families read them.
    sample : list
        One row as an endpoint has read it.
    """
    if columns:
        base = ColumnFeatures(columns)
    else:
        base = TextFeatures(chars=False) if kind == "text" else TableFeatures()
    base.fit_transform(rows)
    return OwnFeatures(base, names, sample)
