"""Stage 2, build: tune model families on the same rows, and measure the one that is chosen."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.base import groups, process_environment
from diptych.base import notebook_progress as bars
from diptych.core.data import embeddings
from diptych.core.data.schema import is_number, sliced_by
from diptych.core.data.tasks import Task
from diptych.core.evaluation import calibration, conformal, fairness, graders, stats, thresholds
from diptych.core.evaluation import leaderboard as board
from diptych.core.evaluation.graders import RIGHT, Scoring
from diptych.core.evaluation.metrics import NUMBERS, Figure
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.thresholds import Threshold
from diptych.core.store import records
from diptych.execution import cells
from diptych.mlops.fitting import (
    Fitting,
    Folded,
    HeldOut,
    check_family,
    fitting_of,
    grades,
    numbers_of,
    part,
    scored_as,
)
from diptych.mlops.models import families as added_families
from diptych.mlops.models import model as models
from diptych.mlops.models import networks, pipelines
from diptych.mlops.models.embeddings import FAMILY
from diptych.mlops.models.model import Model
from diptych.mlops.models.pipelines import Candidate
from diptych.mlops.models.search import Range, Search, Space
from diptych.mlops.own_models import own_model, task_rows

# one trial means the defaults
SPACE = {
    "baseline": {},
    "logistic": {"strength": Range(3.0, 0.3, 30.0)},
    "xgboost_linear": {"reg_lambda": Range(1e-4, 1e-6, 1e-2), "rounds": Range(40, 15, 80)},
    "xgboost": {
        "max_depth": Range(8, 4, 10),
        "learning_rate": Range(0.25, 0.08, 0.4),
        "rounds": Range(250, 200, 500),
        "min_child_weight": Range(1, 1, 4),
        "colsample_bytree": Range(0.1, 0.08, 0.4),
    },
    "embeddings": {"strength": Range(10.0, 0.3, 100.0)},
    "lead": {},
    "ranker": {"strength": Range(1.0, 0.2, 20.0)},
    "ridge": {"strength": Range(1.0, 0.01, 100.0)},
    "cnn": {
        "width": [16, 32],
        "dropout": Range(0.3, 0.0, 0.5, log=False),
        "learning_rate": Range(0.002, 0.0005, 0.008),
    },
}

# of tables whose columns are typed: few, dense columns, often a few thousand rows
TABLES = {
    "logistic": {"strength": Range(0.1, 0.01, 10.0)},
    "xgboost": {
        "max_depth": Range(3, 2, 8),
        "learning_rate": Range(0.06, 0.01, 0.3),
        "rounds": Range(250, 100, 600),
        "min_child_weight": Range(3, 1, 30),
        "colsample_bytree": Range(0.6, 0.3, 1.0, log=False),
        "subsample": Range(0.8, 0.5, 1.0, log=False),
    },
}

# tuned where errors of a rare class count, which plain accuracy and honest probabilities do not ask
WEIGHTS = {"class_weight": ["none", "balanced"]}
WEIGHTED = ("logistic", "xgboost")

# of a label that is a number, on typed columns: it takes more columns at once than classes do
NUMBER_TABLES = {
    "ridge": SPACE["ridge"],
    "xgboost": TABLES["xgboost"]
    | {
        "max_depth": Range(6, 2, 8),
        "rounds": Range(300, 100, 600),
        "colsample_bytree": Range(0.8, 0.5, 1.0, log=False),
    },
}

SPELLED = ("logistic", "ridge", "xgboost")  # pipelines in the notebook
SLOW = ("xgboost_linear", FAMILY)  # compared only when asked for; but see `_embeds`
EMBEDDED = 5_000  # train rows that are embedded unasked: about 10 s on two cores


@dataclass
class Scores:
    """How a model did on labelled rows, row by row.

    Attributes
    ----------
    score : Figure
        The metric that decides.
    accuracy : Estimate or None
        Share of right answers. This and the next three are None of a regression: no number is
        simply right.
    correct : ndarray of bool, shape (n,), or None
    confidence : ndarray of float, shape (n,), or None
        Probability of the predicted class.
    probabilities : ndarray of float, shape (n, classes), or None
        In the order of the model's classes.
    predicted : ndarray of str, shape (n,)
        Of a regression of float.
    output : list of str, length n
        What is answered: the label, or the text that stands for it.
    grade : ndarray of float, shape (n,), or None
        From 0 to 1, as the task's grader gives it; an answer is right from 0.5 on.
    rows : ScoredRows
        The same as metrics take it.
    scoring : Scoring
        How answers were graded, and the metric.
    """

    score: Figure
    accuracy: stats.Estimate | None
    correct: np.ndarray | None = field(repr=False)
    confidence: np.ndarray | None = field(repr=False)
    probabilities: np.ndarray | None = field(repr=False)
    predicted: np.ndarray = field(repr=False)
    output: list[str] = field(repr=False)
    grade: np.ndarray | None = field(repr=False)
    rows: ScoredRows = field(repr=False)
    scoring: Scoring

    @property
    def calibration_error(self) -> Figure | None:
        """Calibration error of the predicted class, debiased, see `calibration.error`."""
        return None if self.correct is None else calibration.error(self.confidence, self.correct)


def families(
    choice: str, task: Task, candidates: Mapping[str, Candidate] | None = None
) -> list[str]:
    """Return the families to compare: all quick ones that suit, or the simplest and `choice`.

    Where a notebook spells out pipelines, its `candidates` take the place of the families that
    they could be (`SPELLED`); those that are no family come last.

    Raises
    ------
    ModelError
        If `choice` does not suit the task's kind of data, or a family cannot be graded as the
        task is.
    """
    suitable = task.families or models.families_of(task.kind, task.regression)
    if choice not in ("auto", *suitable):
        known = ", ".join(("auto", *suitable))
        data = f"{task.kind} data" + " whose label is a number" * task.regression
        raise models.ModelError(f"family: {choice!r} does not suit {data}; take {known}")
    if choice == "auto":
        names = [name for name in suitable if name not in SLOW]
    else:
        names = list(dict.fromkeys((suitable[0], choice)))
    if candidates is not None:
        others = [name for name in candidates if name not in suitable and name not in SPELLED]
        left_out = set(SPELLED) - set(candidates) if choice == "auto" else set()
        names = [name for name in names if name not in left_out] + others
    for name in names:
        check_family(name, task.grader)
    return names


def candidates(
    models_of: Mapping[str, object], spaces: Mapping[str, Mapping], task: Task
) -> dict[str, Candidate]:
    """Return the pipelines of a notebook as `tune_all` takes them, see `pipelines.candidates`.

    Classifiers take part where the label is a class, regressors where it is a number.

    Parameters
    ----------
    models_of : mapping of str to estimator
        Unfitted, by name.
    spaces : mapping of str to mapping
        What is searched of each, by name.
    """
    read = pipelines.candidates(models_of, spaces, task.kind, task.regression)
    network = models_of.get("cnn")
    if "cnn" in read and networks.is_default(network, len(task.features), len(task.labels)):
        read["cnn"] = replace(read["cnn"], settings=None)  # the family's own are searched, too
    return read


def space(family: str, typed: bool = False, regression: bool = False) -> Space:
    """Return what is searched: `SPACE`, of which a table with `typed` columns has `TABLES`.

    Of such a table whose label is a number, `NUMBER_TABLES`; of a plugin's family its settings.
    """
    if family in added_families.FAMILIES:
        return added_families.FAMILIES[family].settings
    tables = (NUMBER_TABLES if regression else TABLES) if typed else {}
    return (SPACE | tables)[family]


def tune_all(
    data: pd.DataFrame,
    task: Task,
    choice: str,
    trials: int,
    seed: int,
    dask: str = "",
    progress: bool = False,
    candidates: Mapping[str, Candidate] | None = None,
) -> tuple[dict[str, Model], pd.DataFrame]:
    """Tune every family of `families`; one that cannot be fitted does not end the others.

    An interrupt ends the search: what was fitted so far is returned. A second one, one before
    anything was fitted, or one of a run that the runner started, stops as usual.

    `candidates` are pipelines that a notebook spells out, see `pipelines.candidates`.

    Returns
    -------
    tuned : dict of str to Model
        By family, those that could be fitted.
    trials : DataFrame
        As `tune` returns it, of all families. If one failed or was not reached, its line has no
        score, and there is a column ``reason``.

    Raises
    ------
    ModelError
        If the family named by `choice`, or every family, cannot be fitted; or as `families` does.
    """
    tuned, tried, failed, encoded, stopped = {}, [], [], {}, False
    names = families(choice, task, candidates)
    if _embeds(choice, task, data):
        names.append(FAMILY)
    spelled = candidates or {}
    planned = {name: _search(name, task, trials, seed, spelled.get(name)).trials for name in names}
    with bars.bar(sum(planned.values()), "trial", progress) as bar:
        for name in names:
            nothing = {"family": name, "trial": f"0 of {planned[name]}", "setting": "none"}
            if stopped:
                tried.append(pd.DataFrame([nothing | {"reason": INTERRUPTED}]))
                continue
            try:
                tuned[name], scores, stopped = _tune(
                    data, task, name, trials, seed, dask, encoded, bar, spelled.get(name)
                )
            except KeyboardInterrupt:
                if not tuned or not _may_go_on():
                    raise
                scores, stopped = pd.DataFrame([nothing | {"reason": INTERRUPTED}]), True
                cells.note_partial(f"{name} was interrupted before it was fitted")
            except Exception as error:  # whatever a family's library raises
                if name == choice:
                    raise
                failed.append(error)
                scores = pd.DataFrame([nothing | {"setting": "all", "reason": _reason(error)}])
            tried.append(scores)
    if not tuned:
        raise failed[0]
    return tuned, _together(tried)


def _embeds(choice: str, task: Task, data: pd.DataFrame) -> bool:
    """Whether embeddings take part unasked: their model is here, and the rows are few.

    A line says why not. If they are asked for and cannot be had, ModelError says so.
    """
    suitable = task.families or models.families_of(task.kind, task.regression)
    if choice not in ("auto", FAMILY) or FAMILY not in suitable:
        return False
    reason = embeddings.unavailable()
    if choice == FAMILY and reason:
        raise models.ModelError(f"family: {FAMILY!r} cannot be fitted: {reason}")
    rows = int((data["split"] == "train").sum())
    if not reason and rows > EMBEDDED:
        reason = f"of more than {EMBEDDED:,} train rows only if asked for: family={FAMILY}"
    if choice == "auto" and reason:
        print(f"{FAMILY}: not compared; {reason}")
    return choice == "auto" and not reason


INTERRUPTED = "interrupted before it was tried"


def _together(tried: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tried, ignore_index=True)
    table["validation"] = table["validation"].astype(float)
    return table.fillna({"reason": ""}) if "reason" in table else table


def finished(tried: pd.DataFrame) -> dict[str, str]:
    """Return how many of the planned trials ended, such as "7 of 20", by family."""
    return dict(tried.groupby("family", sort=False)["trial"].last())


def _may_go_on() -> bool:
    """Whether an interrupt ends a search only: in a cell or a script, not in a runner's run."""
    return process_environment.run_folder() is None


def _reason(error: Exception) -> str:
    """Return why a part failed: our own messages as they are, others with their type."""
    known = isinstance(error, models.ModelError)
    return groups.remedy(error) or (str(error) if known else f"{type(error).__name__}: {error}")


def tune(
    data: pd.DataFrame,
    task: Task,
    family: str,
    trials: int,
    seed: int,
    dask: str = "",
    encoded: dict | None = None,
    progress: bool = False,
) -> tuple[Model, pd.DataFrame]:
    """Fit `trials` settings on the train rows and select the best on the validation set.

    Where that has too few rows to choose by, train and validation rows are cross-validated, which
    is printed, and the best is fitted to both: see `diptych.mlops.folds`. Of boosting, the rounds
    after which the metric is best on the held-out rows are kept (early stopping).

    The defaults are tried first; the others are proposed by `diptych.mlops.models.search.Search`.
    A setting that was fitted to the same rows before is loaded: `diptych.mlops.models.fits`.
    The task's grader grades the answers. The validation set also sets the selected model's
    temperature. Its rows of a class that no train row has are left out, because no setting can
    predict it. The family ``xgboost`` is
    fitted on the Dask cluster at the address `dask`, if one is given. `encoded` keeps the encoded
    rows of one table and seed for other families that read the same.

    Of more than twice `fitting.SAMPLE` train rows, several settings are compared on so many of
    them, which is printed; the best is then fitted on all rows.

    Returns
    -------
    model : Model
    trials : DataFrame
        ``family``, ``trial`` (such as "7 of 20"; the last tells where an interrupt ended it),
        ``setting`` and ``validation`` (mean grade), in the order tried. A setting
        that cannot be fitted has no score; the ``reason`` is then a column.

    Raises
    ------
    ModelError
        If the train rows hold fewer than two classes, the validation set is empty, the family
        cannot be graded as the task is, or no setting can be fitted.
    """
    total = _search(family, task, trials, seed).trials
    with bars.bar(total, "trial", progress) as bar:
        model, table, _ = _tune(data, task, family, trials, seed, dask, encoded, bar)
    return model, table


def _tune(data, task, family, trials, seed, dask, encoded, bar, candidate=None):
    """Return what `tune` does, and whether it was interrupted."""
    new = candidate.new if candidate is not None and not candidate.family else None
    fitting = fitting_of(data, task, family, seed, dask, encoded, new)
    search = _search(family, task, trials, seed, candidate)
    results, stopped = _Results(family), False
    compared = fitting.sampled() if search.trials > 1 else fitting
    try:
        while (setting := search.ask()) is not None:
            score = results.add(setting, compared)
            search.tell(setting, task.metric.sign * score)
            bars.best(bar, score, family)
            bar.update()
        if compared is not fitting:
            results.refit(fitting, len(compared.codes))
    except KeyboardInterrupt:
        if results.model is None or not _may_go_on():
            raise
        stopped = True
        count = f"{len(results.lines)} of {search.trials}"
        print(f"Interrupted: {count} settings of {family} were tried; the best of them is used.")
        cells.note_partial(f"{count} settings of {family} were tried")
    if results.model is None:
        raise results.failed[0]
    results.held_out.settle(results.model, task, seed)
    return results.model, results.table(search.trials), stopped


@dataclass
class _Results:
    """The settings of one family that were tried, and the best model so far."""

    family: str
    lines: list[dict] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)
    model: Model | None = None
    held_out: HeldOut | None = None
    best: float = -math.inf

    def add(self, setting: dict, fitting: Fitting | Folded) -> float:
        """Fit a setting and return its score, NaN if it cannot be fitted."""
        line = {"family": self.family, "setting": _compact(setting)}
        try:
            model, held_out, score = fitting.fit(setting)
        except Exception as error:  # whatever a family's library raises
            self.failed.append(error)
            self.lines.append(line | {"validation": math.nan, "reason": _reason(error)})
            return math.nan
        tried = {name: model.parameters[name] for name in setting}  # boosting may stop early
        self.lines.append(line | {"setting": _compact(tried), "validation": score})
        if (rank := fitting.task.metric.sign * score) > self.best:
            self.best, self.model, self.held_out = rank, model, held_out
        return score

    def refit(self, fitting: Fitting, compared: int) -> None:
        """Fit the best setting on all rows, and say on how many they were compared."""
        if self.model is None:
            return
        self.model, self.held_out, score = fitting.fit(self.model.parameters)
        print(
            f"{self.family}: settings were compared on {compared:,} of {len(fitting.codes):,} "
            f"train rows; the best, fitted on all, reaches {score:.3f} on the validation set."
        )

    def table(self, planned: int) -> pd.DataFrame:
        """Return the settings in the order tried, each counted among those planned."""
        table = pd.DataFrame(self.lines)
        numbers = range(1, len(table) + 1)
        table.insert(1, "trial", [f"{number} of {planned}" for number in numbers])
        return table


def _search(
    family: str, task: Task, trials: int, seed: int, candidate: Candidate | None = None
) -> Search:
    if candidate is not None and not candidate.family:
        return Search(candidate.settings, trials, seed)
    weighted = family in WEIGHTED and not task.regression
    weights = WEIGHTS if weighted and not task.metric.best_at_half else {}
    if candidate is None or candidate.settings is None:
        tried = space(family, bool(task.columns), task.regression)
    else:
        tried = candidate.settings
    return Search({**tried, **{k: v for k, v in weights.items() if k not in tried}}, trials, seed)


def evaluate(model: Model, rows: pd.DataFrame, scoring: str | Scoring) -> Scores:
    """Score a model on labelled rows.

    A label the model has never seen counts as an error, as it would in service.

    Parameters
    ----------
    scoring : Scoring, or str
        The task's (`Task.scoring`). Its grader grades the predicted label, or the text that stands
        for it, against the row's label or reference; a grader's name alone has the metric accuracy.

    Raises
    ------
    ModelError
        If the model's family cannot be graded so.
    GraderError
        If there is no such grader, or the rows lack what it compares with.
    MetricError
        If the metric does not suit the rows.
    """
    scoring = Scoring.of(scoring)
    check_family(model.family, scoring.grader)
    inputs = model.rows_of(rows)
    probabilities = model.predict_proba(inputs)
    predicted = model.labels_of(probabilities)
    if model.regression or is_number(rows["label"]):
        scored = numbers_of(model, rows, predicted, scoring)
        score = _figure(scoring, scored)
        output = model.answers(inputs, predicted)
        nothing = (None,) * 4  # accuracy, right or wrong, confidence, probabilities
        return Scores(score, *nothing, predicted, output, None, scored, scoring)
    expected = graders.get(scoring.grader).expected(rows)
    grade = grades(model, inputs, predicted, expected, scoring.grader)
    correct = grade >= RIGHT
    accuracy = stats.wilson(int(correct.sum()), len(correct))
    at = models.encode(predicted, model.classes)
    confidence = probabilities[np.arange(len(at)), at]
    output = model.answers(inputs, predicted)
    scored = scored_as(scoring, rows, predicted, probabilities, model.classes, grade)
    score = _figure(scoring, scored)
    return Scores(
        score, accuracy, correct, confidence, probabilities, predicted, output, grade, scored,
        scoring,
    )  # fmt: skip


def _figure(scoring: Scoring, scored: ScoredRows) -> Figure:
    if len(scored) > 1:
        return scoring.metric.estimate(scored)
    n = len(scored)
    return Figure(math.nan, math.nan, math.nan, n, f"{n} rows hold no figure")


def leaderboard(scores: dict[str, Scores], margin: float) -> pd.DataFrame:
    """Compare every model with the best one on the same rows, by the metric that decides.

    Parameters
    ----------
    scores : dict of str to Scores
        By name, on identical rows.
    margin : float
        Differences within it are a tie (region of practical equivalence).

    Returns
    -------
    DataFrame
        Best first: the metric with its interval, the paired difference to the best with its
        interval, p after Holm, the verdict in words, and the rows needed to see a difference of
        the margin; see `diptych.core.evaluation.leaderboard.rank`.
    """
    metric = next(iter(scores.values())).scoring.metric
    table = board.shown(board.rank({n: s.rows for n, s in scores.items()}, metric, margin))
    if metric.needs != NUMBERS:
        errors = [scores[name].calibration_error.value for name in table["name"]]
        table.insert(table.columns.get_loc("high") + 1, "calibration error", errors)
    return table


def described(rows: pd.DataFrame) -> str:
    """Return in words what the labels of some rows are."""
    if is_number(rows["label"]):
        return f"a number from {rows['label'].min():g} to {rows['label'].max():g}"
    return f"classes {sorted(set(rows['label']))}"


def misses(model: Model, scores: Scores) -> int:
    """Count the wrong answers; of numbers, those whose true one is outside the interval."""
    if scores.correct is not None:
        return int((~scores.correct).sum())
    half = math.inf if model.half_width is None else model.half_width
    return int((np.abs(scores.rows.errors) > half).sum())


def intervals(model: Model, scores: Scores) -> str:
    """Say how far the true numbers lie from the predicted ones; "" of classes."""
    if model.interval is None:
        return ""
    share = conformal.coverage(scores.rows.errors, model.half_width)
    return (
        f"±{model.half_width:.4g} holds {model.interval['level']:.0%} of the true numbers on the "
        f"validation set; here it holds {share.value:.1%} ({share.low:.1%} to {share.high:.1%}) of "
        f"{share.n:,} rows."
    )


def coverage(tuned: dict[str, Model], scores: dict[str, Scores]) -> pd.DataFrame:
    """Return the share of true numbers in each model's prediction interval; none of classes.

    The interval comes from the validation set (`Model.calibrate`), the share from these rows.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high`` (Wilson), ``n``.
    """
    lines = [
        {"name": name} | asdict(conformal.coverage(scores[name].rows.errors, model.half_width))
        for name, model in tuned.items()
        if model.interval is not None
    ]
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def accuracies(scores: dict[str, Scores]) -> pd.DataFrame:
    """Return the share of right answers of each model, with its interval; none of a regression."""
    lines = [{"name": name} | asdict(one.accuracy) for name, one in scores.items() if one.accuracy]
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def reported(scores: Scores) -> pd.DataFrame:
    """Return further metrics of the same rows, see `leaderboard.reported`."""
    return board.reported(scores.rows)


def threshold(model: Model, data: pd.DataFrame, task: Task, seed: int = 0) -> Threshold | None:
    """Return the metric against the threshold on the validation set, and the model's threshold.

    None where the most probable class is answered, see `tune`.
    """
    if model.threshold is None:
        return None
    scored = held_out(model, data, task)
    chosen = thresholds.choose(scored, task.metric, seed)
    return replace(chosen, value=model.threshold)


def held_out(model: Model, data: pd.DataFrame, task: Task) -> ScoredRows:
    """Return labelled rows that the model was selected by and not fitted to.

    Those of a cross-validation, as the models of the folds answered them; else the validation set.
    """
    if model.held_out is not None:
        return model.held_out
    valid = models.with_known_labels(part(data, "valid"), model.classes)
    return evaluate(model, valid, task.scoring).rows


def fitted_rows(model: Model, data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that a model was fitted to: after folds those of the validation set, too."""
    return data[data["split"].isin(["train", "valid"] if model.folds else ["train"])]


def predictions(
    tuned: dict[str, Model], rows: pd.DataFrame, scoring: str | Scoring
) -> pd.DataFrame:
    """Return what every model predicts for some rows; LLMOps shows it beside its own answers.

    Returns
    -------
    DataFrame
        ``family``, ``id``, ``label``, ``predicted``, ``output``, ``confidence``, ``probabilities``
        (a list in the order of the model's classes), ``correct``, ``score`` (the grade),
        ``grader``. Of a regression, label and prediction are floats; confidence, probabilities,
        correct and score are missing.
    """
    frames, scoring = [], Scoring.of(scoring)
    for name, model in tuned.items():
        scores = evaluate(model, rows, scoring)
        shares = scores.probabilities
        columns = {"family": name, "id": rows["id"].to_numpy(),
                   "label": rows["label"].to_numpy(), "predicted": scores.predicted,
                   "output": scores.output, "confidence": scores.confidence,
                   "probabilities": None if shares is None else shares.tolist(),
                   "correct": scores.correct, "score": scores.grade}  # fmt: skip
        frames.append(pd.DataFrame(columns).assign(grader=scoring.grader))
    return pd.concat(frames, ignore_index=True)


def learning_curve(
    data: pd.DataFrame, task: Task, model: Model, shares: list[float], seed: int
) -> pd.DataFrame:
    """Refit the chosen setting on growing shares of the train rows and score the test rows.

    Returns
    -------
    DataFrame
        ``rows``, ``value``, ``low``, ``high``. A share that cannot be learnt from, for
        example because it holds one class, has no value; the ``reason`` is then a column.
    """
    train, test = fitted_rows(model, data), part(data, "test")
    curve = []
    for share in shares:
        sample = train.sample(frac=share, random_state=seed)
        try:
            smaller = refit(model, sample, task, seed) if share < 1 else model
            score = evaluate(smaller, test, task.scoring).score
            figure = {"value": score.value, "low": score.low, "high": score.high}
        except Exception as error:  # whatever a family's library raises
            figure = {"reason": _reason(error)}
        curve.append({"rows": len(sample)} | figure)
    names = ["rows", "value", "low", "high"]
    frame = pd.DataFrame(curve, columns=[*names, "reason"])
    return frame.fillna({"reason": ""}) if frame["reason"].notna().any() else frame[names]


def refit(model: Model, train: pd.DataFrame, task: Task, seed: int) -> Model:
    """Fit the same family and setting on other rows; of a model of your own a copy.

    Raises
    ------
    ModelError
        As `diptych.mlops.models.model.fit` does, or if a model of your own cannot be copied.
    """
    if model.is_own:
        rows = model.encoder.transform(task_rows(train, task))
        estimator = model.estimator.refit(rows, train["label"])
        return own_model(model.family, estimator.model, train, task, estimator.codes)
    refitted = models.fit(
        task_rows(train, task),
        train["label"],
        family=model.family,
        kind=task.kind,
        features=task.features,
        parameters=model.parameters,
        seed=seed,
        columns=task.columns,
    )
    refitted.replies, refitted.text_column = model.replies, model.text_column
    refitted.positive, refitted.threshold = model.positive, model.threshold
    # the threshold is one of calibrated probabilities
    refitted.temperature, refitted.calibrator = model.temperature, model.calibrator
    refitted.interval, refitted.folds = model.interval, model.folds
    return refitted


def load(run_id: str) -> Model:
    """Return the model that a run of ``mlops/2_build`` selected.

    Raises
    ------
    RecordError
        If there is no such run, or it saved no model.
    ModelError
        If the model cannot be loaded.
    """
    run = records.load(run_id)
    return models.load(run.folder / run.fact("model"))


def slices(rows: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Score by slice: the data's own slices (by class where it has none), texts by length too.

    Of a class alone most metrics are not defined, so classes have their accuracy.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``, the weakest first.
    """
    column = sliced_by(rows)
    title = column if column == "slice" else "class"
    names = sorted(rows[column].dropna().unique())
    groups = {f"{title} {name}" if name else "all rows": rows[column] == name for name in names}
    groups[f"{title} missing"] = rows[column].isna()
    if "text" in rows:
        words = rows["text"].str.split().str.len()
        groups["up to 10 words"] = words <= 10
        groups["11 to 30 words"] = words.between(11, 30)
        groups["over 30 words"] = words > 30
    lines = []
    for name, chosen in groups.items():
        chosen = chosen.fillna(False).astype(bool)
        n = int(chosen.sum())
        if n:
            mask = chosen.to_numpy()
            if title == "class" and name.startswith("class "):
                name += "" if scores.scoring.metric.right_or_wrong else ", accuracy"
                figure = stats.wilson(int(scores.correct[mask].sum()), n)
            else:
                figure = fairness.figure(scores.scoring.metric, scores.rows.take(mask))
            ends = {"value": figure.value, "low": figure.low, "high": figure.high, "n": n}
            lines.append({"name": name} | ends)
    best_last = scores.scoring.metric.sign > 0
    return pd.DataFrame(lines).sort_values("value", ascending=best_last, ignore_index=True)


def by_model(tuned: dict[str, Model], rows: pd.DataFrame, scoring: str | Scoring) -> pd.DataFrame:
    """Return the score of every model on some rows; no rows, no lines."""
    models_here = tuned.items() if len(rows) else ()
    scores = {name: evaluate(model, rows, scoring).score for name, model in models_here}
    lines = [{"name": name} | asdict(score) for name, score in scores.items()]
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def save(model: Model, folder: Path) -> dict:
    """Save the model and return what the next stage needs to know of it."""
    model.save(folder)
    return {
        "model": folder.name,
        "family": model.family,
        "setting": model.parameters,
        "sha256": models.digest(folder),
    }


def _compact(setting: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items()) or "none"
