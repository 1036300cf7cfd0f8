"""Tasks and models: any estimator, fitted to a task and measured as the families are."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diptych.core.data import tasks
from diptych.core.data.tasks import Task
from diptych.core.evaluation.metrics import Figure
from diptych.core.plots import plots
from diptych.mlops import build
from diptych.mlops.fitting import answers_of, part
from diptych.mlops.models import model as models
from diptych.mlops.models.estimators import ModelError
from diptych.mlops.models.model import Model
from diptych.mlops.own_models import fit_own


def task(
    name: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    time_column: str = "",
    group_column: str = "",
    read_options: str = "",
    metric: str = "",
    seed: int = 0,
) -> Task:
    """Return a task by its name, or one over your own rows by their path.

    Parameters
    ----------
    name : str or Path
        Such as ``"reviews"``; a CSV, Excel, Parquet, JSON-lines or Delta table; a URL.
    text_column : str
        Of your own rows; "" reads all columns as a table.
    label_column : str
        The column to predict: a class or a number.
    time_column, group_column : str
        The time of each row; the column whose rows stay in one split. "" for none.
    read_options : str
        Where a guess about the file is wrong, such as ``"separator=; decimal=,"``.
    metric : str
        What decides, such as ``"f1"``; by default accuracy, or RMSE of numbers.
    seed : int
        Of the split.

    Returns
    -------
    Task
        Its ``load()`` returns the rows with their split.

    Raises
    ------
    DataError
        If there is no such task, or the rows cannot be read: parameter, value and remedy.

    Examples
    --------
    >>> task = dt.task("tumours")
    >>> task.kind, task.labels
    ('table', ('malignant', 'benign'))
    """
    return tasks.get(
        str(name), text_column=text_column, label_column=label_column, time_column=time_column,
        group_column=group_column, read_options=read_options, metric=metric, seed=seed,
    )  # fmt: skip


@dataclass(repr=False)
class FittedModel:
    """A model fitted to a task, with how good it is on rows that it has not seen.

    Attributes
    ----------
    name : str
    task : Task
    model : Model
        As stages have it: it predicts, and is saved without pickle.
    scores : Scores
        On the test set, row by row.
    validation : float
        The task's metric on the validation set, or where that is small on rows held out in folds.
    """

    name: str
    task: Task
    model: Model = field(repr=False)
    scores: build.Scores = field(repr=False)
    validation: float

    @property
    def score(self) -> Figure:
        """The task's metric on the test set, with its 95 % interval."""
        return self.scores.score

    @property
    def correct(self) -> np.ndarray:
        """Whether each row of the test set is right, as `diptych.compare` takes it.

        Raises
        ------
        ModelError
            Of a regression, which has no right or wrong.
        """
        if self.scores.grade is None:
            raise ModelError(f"{self.name}: it predicts a number, which is not right or wrong")
        return np.asarray(self.scores.grade, dtype=float)

    def predict(self, rows: Any) -> np.ndarray:
        """Return the label, or number, of each row: a DataFrame, or a list of texts."""
        return self.model.predict(rows)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Return class probabilities, shape (n, classes), in the order of ``model.classes``."""
        return self.model.predict_proba(rows)

    def save(self, folder: str | Path) -> Path:
        """Write it without pickle; ``diptych serve model FOLDER`` serves it.

        Raises
        ------
        ModelError
            If it holds code that is not trusted; the message names it.
        """
        return self.model.save(Path(folder))

    def __repr__(self) -> str:
        return f"<{self.name} on {self.task.name}: {self._figure()}>"

    def _repr_html_(self) -> str:
        line = f"<p>{escape(self.name)} on {escape(self.task.name)}: {escape(self._figure())}</p>"
        figure = self.score
        row = {"name": self.name, "value": figure.value, "low": figure.low, "high": figure.high}
        return line + plots.interval_html(pd.DataFrame([row]), xlabel=self.task.metric.title)

    def _figure(self) -> str:
        figure = self.score
        note = f"; {figure.note}" if figure.note else ""
        return (
            f"{self.task.metric.title} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f}) "
            f"on {figure.n} rows of the test set{note}"
        )


def fit(estimator: Any, task: Task | str, *, name: str = "", seed: int = 0) -> FittedModel:
    """Fit any estimator to a task's training rows and measure it on its test set.

    The validation set calibrates its probabilities, as it does those of the families.

    Parameters
    ----------
    estimator : object or str
        Anything with scikit-learn's interface, also a whole Pipeline; it is copied. It reads a list
        of texts, or a DataFrame of the task's columns. Or the name of a family, such as
        ``"xgboost"``, with its defaults.
    task : Task or str
    name : str
        What to call it; by default its class.
    seed : int
        Of a family.

    Returns
    -------
    FittedModel

    Raises
    ------
    ModelError
        If it cannot be fitted, or its answers are no labels of the task.
    DataError
        If the rows cannot be read.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> model = dt.fit(pipeline, dt.task("tumours"))
    >>> model.score.value > 0.9
    True
    """
    subject = tasks.get(task) if isinstance(task, str) else task
    data = subject.load()
    if isinstance(estimator, str):
        model, _ = build.tune(data, subject, estimator, 1, seed)
    else:
        name = name or type(estimator).__name__
        model = fit_own(name, estimator, part(data, "train"), subject)
        valid = models.with_known_labels(part(data, "valid"), model.classes)
        answers_of(model, valid).settle(model, subject, seed)
    validation = subject.metric.figure(build.held_out(model, data, subject))
    scores = build.evaluate(model, part(data, "test"), subject.scoring)
    return FittedModel(name or model.family, subject, model, scores, validation)
