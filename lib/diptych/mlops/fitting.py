"""Fit settings of a family and say how good they are on rows they were not fitted to."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from diptych.core.data.schema import is_number
from diptych.core.data.tasks import Task
from diptych.core.evaluation import graders, thresholds
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import LABELS, NUMBERS, Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.mlops.folds import Folds
from diptych.mlops.models import families as added_families
from diptych.mlops.models import fits
from diptych.mlops.models import model as models
from diptych.mlops.models.model import Model
from diptych.mlops.own_models import fit_own, task_rows

SAMPLE = 50_000  # train rows on which settings are compared; the best is fitted on all
STAGED = 20_000  # held-out rows up to which the rounds of boosting are chosen on them


@dataclass
class HeldOut:
    """What a setting answers to labelled rows that it was not fitted to.

    Attributes
    ----------
    rows : DataFrame
    inputs : sequence, length n
        What the model read of them; of folds None, for answers that are texts are not graded there.
    raw : ndarray, shape (n, classes)
        Probabilities before calibration; of a regression the number, shape (n, 1).
    has_basis : ndarray of bool, shape (n,)
        See `Model.predict_with_basis`.
    fold : ndarray of int, shape (n,), or None
        Which model of a cross-validation answered; None of one model.
    """

    rows: pd.DataFrame = field(repr=False)
    inputs: object = field(repr=False)
    raw: np.ndarray = field(repr=False)
    has_basis: np.ndarray = field(repr=False)
    fold: np.ndarray | None = field(default=None, repr=False)

    def scored(self, model: Model, task: Task) -> ScoredRows:
        """Return the rows as the metric takes them, calibrated as the model is."""
        shares = model.finished(self.raw, self.has_basis)
        return scored_rows(model, self.inputs, shares, self.rows, task.scoring)

    @property
    def varies(self) -> bool:
        """Whether a model tells rows apart; the constants of several folds may differ."""
        folds = np.zeros(len(self.raw)) if self.fold is None else self.fold
        return any(np.ptp(self.raw[folds == one], axis=0).any() for one in np.unique(folds))

    def score(self, model: Model, task: Task) -> float:
        """Return what settings are selected by: the task's metric.

        One that a threshold will serve is taken at its best one, of at most `STAGED` rows. A
        ranking is compared within each fold and averaged, for models of different folds need not
        agree on the scale of their probabilities.
        """
        scored, metric = self.scored(model, task), task.metric
        served = self.varies and thresholded(scored, metric) and metric.needs == LABELS
        if served and len(scored) <= STAGED:
            scored = thresholds.applied(scored, thresholds.choose(scored, metric).value)
        if self.fold is None or not metric.ranks:
            return metric.figure(scored)
        figures = [metric.figure(scored.take(self.fold == fold)) for fold in np.unique(self.fold)]
        known = [x for x in figures if math.isfinite(x)]
        return float(np.mean(known)) if known else math.nan

    def settle(self, model: Model, task: Task, seed: int) -> None:
        """Calibrate the model, and set its threshold.

        The threshold is that from which probability on the positive class is answered; where
        accuracy decides, and metrics that ask for honest probabilities, it is a half. A model of
        your own without probabilities has neither.
        """
        own = model.is_own and not (model.regression or model.estimator.has_probabilities)
        if own:
            model.held_out = self.scored(model, task)
            return
        plain = self.scored(model, task)
        model.calibrate_on(self.raw, self.rows["label"])
        scored = self.scored(model, task)
        if model.calibrator is not None and task.metric.needs == LABELS:
            figures = [task.metric.figure(rows) for rows in (plain, scored)]
            if task.metric.sign * (figures[1] - figures[0]) < 0 and task.metric.best_at_half:
                model.calibrator = None  # a temperature changes no answer, and this would cost some
                scored = self.scored(model, task)
        if self.varies and thresholded(scored, task.metric):
            model.positive = scored.positive
            model.threshold = thresholds.choose(scored, task.metric, seed).value
            scored = self.scored(model, task)
        model.held_out = scored


def thresholded(scored: ScoredRows, metric: Metric) -> bool:
    """Whether a threshold that is chosen decides, not the more probable class."""
    return bool(scored.positive) and not metric.best_at_half


@dataclass
class Variant:
    """A fitted setting: its estimator, and what that answers to the held-out rows."""

    setting: dict
    estimator: object
    raw: np.ndarray


def check_family(family: str, grader: str) -> None:
    """Refuse a family whose answers the task's grader cannot grade.

    Raises
    ------
    ModelError
        If the family summarizes and labels are graded.
    GraderError
        If there is no such grader.
    """
    if graders.get(grader).needs_reference or family not in models.SUMMARY:
        return
    others = [name for name, other in graders.GRADERS.items() if other.needs_reference]
    raise models.ModelError(
        f"family: {family!r} answers with a sentence, which is graded by {' or '.join(others)}, "
        f"and the task is graded by {grader}; take another family, or give the task that grader"
    )


def answers_of(model: Model, rows: pd.DataFrame) -> HeldOut:
    """Return what a model answers to labelled rows that it was not fitted to."""
    inputs = model.rows_of(rows)
    matrix = model.encoder.transform(inputs)
    raw = model.estimator.predict_proba(matrix)
    return HeldOut(rows, inputs, raw, models.basis_of(model.encoder, matrix, len(rows)))


def answers_in_folds(folds: Folds, refit: Callable[[pd.DataFrame], Model]) -> HeldOut:
    """Return what models answer to the fold that each was not fitted to.

    Parameters
    ----------
    refit : callable
        Returns a model fitted to the rows it is given.
    """
    answers = [
        answers_of(refit(part(rows, "train")), part(rows, "valid")) for rows in folds.parts()
    ]
    raw, basis = (
        folds.joined([getattr(x, name) for x in answers]) for name in ("raw", "has_basis")
    )
    return HeldOut(folds.rows, None, raw, basis, folds.fold)


def scored_rows(
    model: Model, inputs, probabilities, rows: pd.DataFrame, scoring: Scoring
) -> ScoredRows:
    """Return labelled rows and a model's answers as metrics take them."""
    predicted = model.labels_of(probabilities)
    if model.regression:
        return numbers_of(model, rows, predicted, scoring)
    grader, grade = graders.get(scoring.grader), None
    if grader.needs_reference:
        grade = grades(model, inputs, predicted, grader.expected(rows), scoring.grader)
    return scored_as(scoring, rows, predicted, probabilities, model.classes, grade)


def numbers_of(model: Model, rows: pd.DataFrame, predicted, scoring: Scoring) -> ScoredRows:
    """Return numbers and a regression's predictions of them; refuse classes on either side."""
    if not model.regression or not is_number(rows["label"]):
        answer, label = ("a number", "classes") if model.regression else ("classes", "numbers")
        raise models.ModelError(
            f"label: the model {model.family} answers with {answer}, and the labels of these rows "
            f"are {label}; build a model on these rows"
        )
    if scoring.metric.needs != NUMBERS:
        raise MetricError(
            f"metric: {scoring.metric.spec!r} does not suit numbers; take rmse, mae or r2"
        )
    return ScoredRows.of_numbers(rows["label"].to_numpy(float), predicted)


def scored_as(scoring: Scoring, rows, predicted, probabilities, classes, grade) -> ScoredRows:
    """Return rows as the metric takes them: graded as texts, or with labels and probabilities."""
    if graders.get(scoring.grader).needs_reference:
        return ScoredRows.of_grades(grade, rows["id"].to_numpy())
    truth = rows["label"].to_numpy(object)
    return scoring.metric.scored(truth, predicted, probabilities, classes)


def grades(model: Model, inputs, predicted, expected, grader: str) -> np.ndarray:
    """Return the grade of each predicted label, or of the text that stands for it, shape (n,).

    Parameters
    ----------
    inputs, predicted : sequence, length n
        What the model read, and the labels that it predicted.
    expected : sequence of str, length n
        The rows' labels or references, whichever the grader compares with.
    grader : str
        The task's grader.
    """
    known = graders.get(grader)
    answers = model.answers(inputs, predicted) if known.needs_reference else predicted
    pairs = zip(answers, expected, strict=True)
    return np.array([known.score(*pair) for pair in pairs], dtype=float)


@dataclass
class Fitting:
    """The encoded rows of one family, and how a setting is fitted and scored on them."""

    family: str
    task: Task
    seed: int
    where: dict
    valid: pd.DataFrame
    classes: list[str]
    codes: np.ndarray
    encoder: object
    matrix: object
    inputs: object
    held_out: object
    digest: str

    @classmethod
    def of(cls, data, task: Task, family: str, seed: int, dask: str, encoded) -> "Fitting":
        """Encode the rows; raises as `tune` does."""
        check_family(family, task.grader)
        train = part(data, "train")
        classes = models.classes_of(train["label"])
        valid = validation_rows(data, classes)
        codes = models.encode(train["label"], classes)
        inputs = task_rows(valid, task)
        where = {"dask": dask} if dask and family == "xgboost" else {}
        encoder, matrix, held_out = _encoded(family, task, train, inputs, encoded)
        unstored = where or family == "baseline"  # counting takes less time than a digest
        digest = "" if unstored else fits.digest(matrix, codes)
        return cls(family, task, seed, where, valid, classes, codes, encoder, matrix, inputs,
                   held_out, digest)  # fmt: skip

    def sampled(self) -> "Fitting":
        """Return a sample of the train rows if there are many; the encoder is that of all."""
        rows = len(self.codes)
        rows_alone = isinstance(self.matrix, np.ndarray) or hasattr(self.matrix, "tocsr")
        if rows <= 2 * SAMPLE or self.where or not rows_alone:
            return self
        chosen = np.random.default_rng(self.seed).choice(rows, SAMPLE, replace=False)
        chosen.sort()
        matrix, codes = models.rows_at(self.matrix, chosen), self.codes[chosen]
        classes = len(self.classes)
        if classes and len(np.unique(codes)) < classes:  # one is too rare for a sample
            return self
        return replace(self, matrix=matrix, codes=codes, digest=fits.digest(matrix, codes))

    def fit(self, setting: dict) -> tuple[Model, HeldOut, float]:
        """Return the model of a setting, its answers to the validation set, and the score."""
        variants = list(self.variants(setting))
        answers = [HeldOut(self.valid, self.inputs, one.raw, self.has_basis) for one in variants]
        return best(variants, answers, self)

    def variants(self, setting: dict, staged: bool = True) -> Iterator[Variant]:
        """Yield a fitted setting; where `staged`, of boosting after fewer rounds, too."""
        task = self.task
        estimator = models.estimator_of(self.family, task.regression)
        if task.regression and self.family == "xgboost":
            setting = setting | objective_of(task.metric)
        estimator, _ = fits.fit(
            estimator(**setting, **self.where, seed=self.seed),
            self.matrix, self.codes, len(self.classes), rows=self.digest, family=self.family,
            setting=setting, seed=self.seed,
        )  # fmt: skip
        stages = getattr(estimator, "stages", None)
        if not staged or stages is None or len(self.valid) > STAGED:
            yield Variant(setting, estimator, estimator.predict_proba(self.held_out))
            return
        for rounds in stages():
            earlier = estimator.after(rounds)
            shares = earlier.predict_proba(self.held_out)
            yield Variant(setting | {"rounds": rounds}, earlier, shares)

    def model(self, variant: Variant) -> Model:
        """Return the model that a variant makes, not yet calibrated."""
        task = self.task
        model = Model(
            self.family, task.kind, task.features, self.classes, variant.setting, self.encoder,
            variant.estimator,
        )  # fmt: skip
        model.replies, model.text_column = task.replies, task.text_column
        model.prior = models.prior_of(self.encoder, self.codes, len(self.classes))
        return model

    @property
    def has_basis(self) -> np.ndarray:
        """Which held-out rows hold something that the encoder knows, shape (n,)."""
        return models.basis_of(self.encoder, self.held_out, len(self.valid))


def best(
    variants: list[Variant], answers: list[HeldOut], fitting: Fitting
) -> tuple[Model, HeldOut, float]:
    """Return the model of the variant whose answers score highest, its answers and their score."""
    built = [fitting.model(variant) for variant in variants]
    scores = [one.score(model, fitting.task) for model, one in zip(built, answers, strict=True)]
    ranks = fitting.task.metric.sign * np.array(scores)
    at = 0 if np.isnan(ranks).all() else int(np.nanargmax(ranks))
    return built[at], answers[at], scores[at]


class Folded:
    """How a setting is fitted and scored in folds; the model is fitted to all rows of them.

    Parameters
    ----------
    whole : Fitting
        Of all rows.
    parts : list of Fitting
        Of each fold, whose validation set is the fold.
    folds : Folds
    """

    def __init__(self, whole: Fitting, parts: list[Fitting], folds: Folds):
        self.whole, self.parts, self.folds = whole, parts, folds

    @classmethod
    def of(cls, folds: Folds, task: Task, family: str, seed: int, encoded: dict) -> "Folded":
        """Encode the rows, of each fold by what the others tell; raises as `build.tune` does."""
        parts = [
            Fitting.of(rows, task, family, seed, "", encoded.setdefault(number, {}))
            for number, rows in enumerate(folds.parts())
        ]
        # the last fold is among the rows of the model, and only stands for a validation set here
        everything = pd.concat([folds.rows.assign(split="train"), parts[-1].valid])
        whole = Fitting.of(everything, task, family, seed, "", encoded.setdefault("whole", {}))
        return cls(whole, parts, folds)

    @property
    def task(self) -> Task:
        """The task."""
        return self.whole.task

    def fit(self, setting: dict) -> tuple[Model, HeldOut, float]:
        """Return the model of a setting, what the models of the folds answer, and the score."""
        columns = [list(part.variants(setting)) for part in self.parts]
        rows, basis = self.folds.rows, self.folds.joined([part.has_basis for part in self.parts])
        variants = [column[0] for column in zip(*columns, strict=True)]
        answers = [
            HeldOut(rows, None, self.folds.joined([x.raw for x in column]), basis, self.folds.fold)
            for column in zip(*columns, strict=True)
        ]
        model, held_out, score = best(variants, answers, self.parts[0])
        (fitted, *_) = self.whole.variants(model.parameters, staged=False)
        model = self.whole.model(fitted)
        model.folds = self.folds.count
        return model, held_out, score

    def sampled(self) -> "Folded":
        """Return the same: these rows are few."""
        return self


class AddedFitting:
    """As `Fitting` and `Folded`, of a plugin's family: its estimators read rows by themselves.

    Or of a pipeline that a notebook spells out.

    Parameters
    ----------
    new : callable
        Returns an unfitted estimator with a setting and a seed.
    """

    def __init__(
        self, data: pd.DataFrame, task: Task, family: str, seed: int, folds: Folds | None,
        new: Callable,
    ):  # fmt: skip
        self.task, self.family, self.seed, self.folds, self.new = task, family, seed, folds, new
        self.train = part(data, "train") if folds is None else folds.rows
        self.valid = validation_rows(data, models.classes_of(self.train["label"]))

    def fit(self, setting: dict) -> tuple[Model, HeldOut, float]:
        """Return the model of a setting, its answers to held-out rows, and the score."""

        def fitted(rows: pd.DataFrame, valid: pd.DataFrame | None = None) -> Model:
            return fit_own(self.family, self.new(setting, self.seed), rows, self.task, valid)

        model = fitted(self.train, self.valid if self.folds is None else None)
        model.parameters = setting
        if self.folds is None:
            answers = answers_of(model, self.valid)
        else:
            answers, model.folds = answers_in_folds(self.folds, fitted), self.folds.count
        return model, answers, answers.score(model, self.task)

    def sampled(self) -> "AddedFitting":
        """Return itself: its estimators say themselves how many rows are too many."""
        return self


def fitting_of(
    data: pd.DataFrame, task: Task, family: str, seed: int, dask: str, encoded: dict | None,
    new: Callable | None = None,
) -> Fitting | Folded | AddedFitting:  # fmt: skip
    """Return how settings of a family are fitted and scored: in folds where rows are few.

    `new` is that of `AddedFitting`, of a pipeline that no family fits.
    """
    check_family(family, task.grader)
    encoded = {} if encoded is None else encoded
    if "folds" not in encoded:
        encoded["folds"] = None if dask else Folds.of(data, task, seed)
        if encoded["folds"] is not None:
            print(encoded["folds"].reason)
    if new is None and family in added_families.FAMILIES:
        new = added_families.FAMILIES[family].new
    if new is not None:
        return AddedFitting(data, task, family, seed, encoded["folds"], new)
    if encoded["folds"] is None:
        return Fitting.of(data, task, family, seed, dask, encoded)
    return Folded.of(encoded["folds"], task, family, seed, encoded)


def objective_of(metric: Metric) -> dict:
    """Return the hyperparameters by which XGBoost minimises a metric of numbers.

    The mean absolute error is least at the median, the pinball loss at its quantile.
    """
    if metric.quantile is None:
        return {}
    if metric.quantile == 0.5:
        return {"objective": "reg:absoluteerror"}
    return {"objective": "reg:quantileerror", "quantile_alpha": metric.quantile}


def _encoded(family: str, task: Task, train: pd.DataFrame, inputs, known: dict | None) -> tuple:
    """Return a family's fitted encoder and its matrices; `known` are those of other families."""
    encoder = models.new_encoder(family, task.kind, task.columns)
    key = (type(encoder), getattr(encoder, "linear", None), getattr(encoder, "chars", None))
    known = {} if known is None else known
    if key not in known:
        matrix = models.fit_encoder(encoder, task_rows(train, task))
        known[key] = encoder, matrix, encoder.transform(inputs)
    return known[key]


def validation_rows(data: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return the rows of the validation set whose class a model can know.

    Raises
    ------
    ModelError
        If there are none.
    """
    rows = models.with_known_labels(part(data, "valid"), classes)
    if rows.empty:
        raise models.ModelError(
            "split: the validation set is empty, so nothing can be tuned; more rows are needed"
        )
    return rows


def part(data: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of one split."""
    return data[data["split"] == split]
