"""The models of one task side by side: the families, models of your own, metrics of your own."""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd

from diptych.core.data import perturb
from diptych.core.data.tasks import Task
from diptych.core.evaluation import baseline, own_metrics, stats
from diptych.core.evaluation import leaderboard as board
from diptych.core.plots import html
from diptych.mlops import build
from diptych.mlops.build import Scores
from diptych.mlops.fitting import answers_in_folds, answers_of
from diptych.mlops.folds import Folds
from diptych.mlops.models.estimators import REGRESSORS
from diptych.mlops.models.model import ESTIMATORS, Model, ModelError, with_known_labels

CHECKED = 20  # rows of each perturbation on which a model is tried
CONSTANT = "baseline"  # the family
OWN = "own"  # in place of a number of trials


class Leaderboard:
    """Models that are compared on the same rows; in a notebook it shows itself as their table.

    Parameters
    ----------
    tuned, tried
        As `diptych.mlops.build.tune_all` returns them; what is added is added to `tuned`, too.
    data : DataFrame
        Canonical rows.
    task : Task
    margin : float
        Differences within it are a tie.
    seed : int
        Of the bootstraps.

    Attributes
    ----------
    tried : DataFrame
        The settings that were tried, and the validation scores of models that were added.
    """

    def __init__(
        self,
        tuned: dict[str, Model],
        tried: pd.DataFrame,
        data: pd.DataFrame,
        task: Task,
        margin: float = 0.01,
        seed: int = 0,
    ):
        self.models, self.tried, self.task = tuned, tried, task
        self.margin, self.seed = margin, seed
        self._data = data
        self._rows = {name: build.part(data, name) for name in ("train", "valid", "test")}
        self._scores: dict[str, tuple[Model, Scores]] = {}
        self._refusals = {
            name: model.estimator.refusal() for name, model in tuned.items() if model.is_own
        }
        self._metrics: dict[str, Callable] = {}
        self._own: dict[tuple[str, str], tuple[Callable, Model, stats.Estimate]] = {}

    def add(self, name: str, model) -> None:
        """Let a fitted model of your own take part, under a name; one added before is replaced.

        Parameters
        ----------
        name : str
        model : object
            With ``predict``, and ``predict_proba`` if it has probabilities, such as a fitted
            scikit-learn ``Pipeline``. It reads a list of texts, or a DataFrame of the task's
            columns, and answers with the task's labels, or with a number where they are numbers.

        Raises
        ------
        ModelError
            If the name is taken by a family, or the model's answers to the validation set do not
            fit: labels that the task does not have, another number of answers than rows, NaN.
        """
        if name in {*ESTIMATORS, *REGRESSORS}:
            raise ModelError(f"{name}: a family has this name; give your model another")
        mine = build.own_model(name, model, self._rows["train"], self.task)
        valid = with_known_labels(self._rows["valid"], mine.classes)
        answers, alone = answers_of(mine, valid), ""
        self._check_perturbed(mine, valid)
        if self._folds is not None:
            try:
                answers = answers_in_folds(self._folds, self._refit(mine))
            except ModelError as error:
                alone = f"the others are compared in folds, and {error}"
        score = answers.score(mine, self.task)
        answers.settle(mine, self.task, self.seed)
        self.models[name] = mine
        self._refusals[name] = mine.estimator.refusal() or alone
        line = {"family": name, "trial": OWN, "setting": type(model).__name__, "validation": score}
        others = self.tried[self.tried["family"] != name]
        self.tried = pd.concat([others, pd.DataFrame([line])], ignore_index=True)
        if "reason" in self.tried:
            self.tried = self.tried.fillna({"reason": ""})
        where = (
            "the validation set" if answers.fold is None else f"rows of {self._folds.count} folds"
        )
        print(f"{name}: {score:.3f} on {where}. {self._about(name)}")

    def _refit(self, model: Model) -> Callable:
        return lambda rows: build.refit(model, rows, self.task, self.seed)

    @functools.cached_property
    def _folds(self) -> Folds | None:
        """The folds in which the families are compared, None where the validation set does."""
        folded = any(model.folds for model in self.models.values())
        return Folds.of(self._data, self.task, self.seed) if folded else None

    @property
    def compared_on(self) -> str:
        """The rows on which models are selected, as a caption."""
        return f"{self._folds.count}-fold cross-validation" if self._folds else "Validation set"

    def _check_perturbed(self, model: Model, valid: pd.DataFrame) -> None:
        """Refuse a model that fails on noise and gaps now, not when the perturbed rows come."""
        data = pd.concat([self._rows["train"], valid.assign(split="test")])
        rows = perturb.rows(data, self.task, CHECKED, self.seed)
        try:
            model.predict(model.rows_of(rows))
        except ModelError as error:
            raise ModelError(
                f"{error}. These rows have noise and gaps, as live rows may: let your model read "
                "them, such as by a SimpleImputer before it"
            ) from error

    def _about(self, name: str) -> str:
        model = self.models[name]
        sure = model.regression or model.estimator.has_probabilities
        sure = "" if sure else NO_PROBABILITIES
        if refusal := self._refusals[name]:
            return f"It is compared and cannot be selected: {refusal}.{sure}"
        return f"It can be selected and released.{sure}"

    def add_metric(self, name: str, function: Callable) -> None:
        """Let a metric of your own be reported beside the accuracy; it decides nothing.

        Parameters
        ----------
        name : str
        function : callable
            Takes the labels and the predictions, and as a third argument, if it has one, the
            probabilities, shape (n, classes), classes sorted; returns a number.
        """
        self._metrics[name] = function

    @property
    def best(self) -> str:
        """The name of the best model on the validation set that can be released.

        The constant answer is selected only where it is alone.
        """
        best = self._selected["family"]
        first = self._ranked.iloc[0]["family"]
        if self._refusals.get(first):
            print(f"{first} is the best on the validation set and cannot be released; {best} is.")
        return best

    @property
    def validation(self) -> float:
        """The validation score of the best."""
        return float(self._selected["validation"])

    @property
    def _selected(self) -> pd.Series:
        ranked = self._ranked
        fits = ranked[~ranked["family"].map(lambda name: bool(self._refusals.get(name)))]
        able = fits[fits["family"] != CONSTANT]
        return (able if len(able) else fits).iloc[0]

    @property
    def _ranked(self) -> pd.DataFrame:
        """The settings that were scored, the best first."""
        tried = self.tried[self.tried["validation"].notna()]
        rank = self.task.metric.sign * tried["validation"]
        return tried.loc[rank.sort_values(ascending=False, kind="stable").index]

    @property
    def scores(self) -> dict[str, Scores]:
        """How each model did on the test set, each measured once."""
        for name, model in self.models.items():
            if self._scores.get(name, (None,))[0] is not model:
                scores = build.evaluate(model, self._rows["test"], self.task.scoring)
                self._scores[name] = model, scores
        return {name: self._scores[name][1] for name in self.models}

    def table(self) -> pd.DataFrame:
        """Rank the models on the test set, see `diptych.mlops.build.leaderboard`.

        Metrics of your own are its last columns, each with its interval.
        """
        table = build.leaderboard(self.scores, self.margin)
        for metric in self._metrics:
            estimates = [self._measured(metric, name) for name in table["name"]]
            table[metric] = [own_metrics.shown(x) for x in estimates]
        return table

    def evidence(self) -> str:
        """Say whether the selected model is shown to be better than the constant answer.

        Paired on the rows by which it was selected.
        """
        best, metric = self.best, self.task.metric
        scored = build.held_out(self.models[best], self._data, self.task)
        constant = baseline.rows(self._rows["train"]["label"], scored.truth, self.task.scoring)
        if constant is None:
            return f"{best} is selected."
        gap = metric.improvement(scored, constant)
        gain = f"{gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}) in {metric.title}"
        if gap.reliable and gap.low > 0:
            return f"{best} is selected; it beats the constant answer by {gain}."
        why = f": {gap.note}" if gap.note else ""
        return (
            f"Nothing is shown to beat the constant answer{why}. {best} gains {gain} over "
            f"{len(scored)} rows ({self.compared_on}); the gate will not promote it on rows so few."
        )

    def metrics(self, prefix: str = "own metric, ") -> dict[str, stats.Estimate]:
        """Return metrics of your own on the test set, by metric and model."""
        return {
            f"{prefix}{metric} of {name}": self._measured(metric, name)
            for metric in self._metrics
            for name in self.models
        }

    def recorded(self, honest: pd.DataFrame, lost: pd.DataFrame) -> dict:
        """Return what stage 2 records: every model's figures, and how far to trust the best.

        Parameters
        ----------
        honest : DataFrame
            Scores on hand-written rows, as `build.by_model` returns them.
        lost : DataFrame
            As `perturb.accuracy_drop` returns it.
        """
        model, score = self.models[self.best], self.scores[self.best]
        change = "error rise under " if self.task.regression else "accuracy drop under "
        change = "quality drop under " if perturb.by_another(self.task.metric) else change
        again = build.evaluate(model, self._rows["test"], self.task.scoring).predicted
        return {
            **board.estimates(build.accuracies(self.scores), "accuracy of "),
            **board.estimates(self.table(), "score of "),
            **board.estimates(honest, "hand-written, "),
            **board.estimates(lost, change),
            **board.estimates(build.coverage(self.models, self.scores), "interval coverage of "),
            "validation": self.validation,
            "calibration_error": score.calibration_error,
            **self.metrics(),
            "answer_instability": stats.wilson(int((again != score.predicted).sum()), len(again)),
        }

    def _measured(self, metric: str, name: str) -> stats.Estimate:
        """Return a metric of one's own of a model, computed once."""
        function, model = self._metrics[metric], self.models[name]
        measured = self._own.get((metric, name))
        if measured is None or measured[0] is not function or measured[1] is not model:
            measured = function, model, self._bootstrapped(metric, function, name)
            self._own[metric, name] = measured
        return measured[2]

    def _bootstrapped(self, metric: str, function: Callable, name: str) -> stats.Estimate:
        model = self.models[name]
        test, predicted = self._rows["test"], self.scores[name].predicted
        dtype = float if model.regression else object
        arrays = [test["label"].to_numpy(dtype), np.asarray(predicted, dtype=dtype)]
        if not model.regression and own_metrics.takes_probabilities(function):
            arrays.append(model.predict_proba(model.rows_of(test)))
        return own_metrics.measure(metric, function, arrays, self.seed)

    def _repr_html_(self) -> str:
        return html.table_html(self.table(), caption="Test rows")


NO_PROBABILITIES = " It has no predict_proba, so it counts as sure of every answer."
