"""Stage 6, improve: another prompt or a tuned model, and the gate chooses on a later slice of time.

The search for a prompt is in `diptych.llmops.evaluation.search`, tuning in
`diptych.llmops.finetuning`, and which windows are learnt and which decide in
`diptych.core.monitoring.windows`, as in MLOps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.data.tasks import Task
from diptych.core.evaluation import fairness, metrics
from diptych.core.evaluation.gate import BETTER, Candidate, Decision, Limits
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import sequential
from diptych.core.monitoring.windows import (
    LOSS,
    LiveRows,
    WindowSplit,
    as_line,
    first_alarm,
    in_windows,
    outcome,
    split_windows,
)
from diptych.core.store.records import Record, Recorder
from diptych.llmops import data, release
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.evaluation import evaluate, scorers
from diptych.llmops.evaluation.outcome import refuse_failed, unmeasured
from diptych.llmops.evaluation.search import Search, optimise
from diptych.llmops.finetuning import Tuned
from diptych.llmops.prompts import bundle, candidates
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.registry import PromptRegistry, Version, decided_on

__all__ = [
    "LOSS", "LOST", "TUNED", "Lessons", "LiveRows", "WindowSplit", "alarm", "bare", "best",
    "by_window", "evaluate_each", "gains", "in_windows", "lasted", "lessons", "limits", "lost",
    "measure", "new_ground", "optimise", "others", "outcome", "plan", "promote", "proposals",
    "register", "rivals", "save", "some", "split_windows", "tuned", "ways_of",
]  # fmt: skip

SHOWN = 40  # at most so many labelled rows are examples to choose from
HELD = 0.15  # share of the labelled rows that select the challenger and are not learnt from
SHOTS = (0, 0, 2, 4)  # numbers of examples in the prompts that are tried, in turn
LOST = "loss on old rows"
TUNED = "tuned model"


@dataclass(frozen=True)
class Lessons:
    """The newly labelled rows, by their use; none is used twice.

    Attributes
    ----------
    shown : list of (dict, str)
        Examples that prompts may show.
    learn : DataFrame
        For trying prompts and tuning models.
    choose : DataFrame
        For selecting the best challenger.
    """

    shown: list[tuple[dict, str]]
    learn: pd.DataFrame
    choose: pd.DataFrame

    @property
    def labels(self) -> int:
        """How many rows had to be labelled."""
        return len(self.shown) + len(self.learn) + len(self.choose)

    def table(self) -> pd.DataFrame:
        """Return how many rows each use has."""
        counts = {
            "examples in prompts": len(self.shown),
            "trying prompts and tuning models": len(self.learn),
            "selecting the best challenger": len(self.choose),
        }
        return pd.DataFrame({"for": counts.keys(), "rows": counts.values()})

    def with_old(self, rows: pd.DataFrame, replay: int, seed: int) -> pd.DataFrame:
        """Return the rows to tune on: the new ones, and old ones so that less is forgotten."""
        old = data.sample(rows, "train", replay, seed) if replay else rows.head(0)
        return pd.concat([self.learn, old], ignore_index=True)


def alarm(monitored: Record) -> str | None:
    """Return the window of the first alarm of ``llmops/5_monitor``: on quality, or on inputs.

    That of the share of right rows counts where the task's metric is that share.
    """
    names = ["quality_alarm", "drift_alarm"]
    metric = metrics.parse(monitored.fact("metric"))
    names += ["accuracy_alarm"] if metric.right_or_wrong or metric.needs == metrics.GRADES else []
    return first_alarm(*(monitored.fact(name) for name in names))


def plan(run: Recorder, windows: pd.Series, learn: int, decide: int) -> WindowSplit:
    """Return which windows are learnt and which decide, after the alarm of the monitor's run."""
    return split_windows(sorted(windows.unique()), alarm(run.parent()), learn, decide)


def others(task: Task, rows: pd.DataFrame, champion: Variant) -> list[Prompt]:
    """Return the prompts of a task's files but for the champion's."""
    files = data.choose(task, [], data.labels_of(rows), rows)
    return [prompt for prompt in files if prompt.name != champion.prompt.name]


def some(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Return `n` rows at random, all if there are fewer."""
    return rows.sample(min(n, len(rows)), random_state=seed)


def lessons(
    rows: pd.DataFrame, windows: pd.Series, planned: WindowSplit, labels: int, seed: int
) -> Lessons:
    """Divide the rows that were labelled in the windows to learn from.

    Parameters
    ----------
    rows : DataFrame
        Canonical rows, with what prompts read.
    windows : Series
        The window of every live row, by id.
    labels : int
        Rows at most.
    """
    new = some(in_windows(rows, windows, planned.learn), labels, seed)
    shown, held = min(SHOWN, len(new) // 10), round(HELD * len(new))
    examples = data.examples(new.head(shown))
    return Lessons(examples, new.iloc[shown : len(new) - held], new.tail(held))


def bare(variant: Variant) -> Variant:
    """Return a variant without its examples: a tuned model learns what they show."""
    prompt = variant.prompt
    if prompt.examples:
        name, note = f"{prompt.name}-bare", f"{prompt.name} without its examples."
        prompt = replace(prompt, examples=(), name=name, parent=prompt.name, note=note, path=None)
    return replace(variant, prompt=prompt, shots=0)


def proposals(
    champion: Variant, by_hand: Sequence[Prompt], shown: Sequence, n: int, seed: int
) -> list[Prompt]:
    """Return the prompts to try: the hand-written ones, and `n` reworded or with examples.

    Parameters
    ----------
    by_hand : sequence of Prompt
        The task's other prompt files.
    shown : sequence of (dict, str)
        Examples to choose from.
    """
    plain = bare(champion).prompt
    reworded = [plain, *candidates.ours(plain, n, seed)]
    variations = candidates.with_examples(reworded, shown, SHOTS, seed)
    new = [one for one in variations if one.version != champion.prompt.version]
    return [one for one in by_hand if one.name != champion.prompt.name] + new[:n]


def lasted(search: Search, prompts: Sequence[Prompt]) -> Prompt:
    """Return the prompt that stayed in a search longest, the best of these if there are several."""
    named = {prompt.name: prompt for prompt in prompts}
    rounds = search.rounds[search.rounds["name"].isin(named)]
    order = rounds.sort_values(["round", "value"], ascending=False, kind="stable")
    return named[order["name"].iloc[0]]


def ways_of(
    champion: Variant, by_hand: Sequence[Prompt], search: Search, best: Prompt, tuned: Tuned | None
) -> dict[str, Variant]:
    """Return all that is compared, by name: the champion first, the tuned model last.

    Parameters
    ----------
    by_hand : sequence of Prompt
        The hand-written ones, of which the one that stayed in the search longest takes part.
    best : Prompt
        The search's.
    """
    prompts = {"hand-written prompt": lasted(search, by_hand)} if by_hand else {}
    prompts["optimised prompt"] = best
    ways = {name: replace(champion, prompt=prompt) for name, prompt in prompts.items()}
    return {"champion": champion, **ways, **({TUNED: tuned.variant} if tuned else {})}


def evaluate_each(
    ways: Mapping[str, Variant],
    rows: pd.DataFrame,
    grader: str | scorers.Scorer,
    options: CallOptions = CallOptions(),
) -> pd.DataFrame:
    """Ask each way about the same rows; takes and returns what `evaluate.evaluate` does.

    ``variant`` is the key in `ways`: two tuned models of one prompt have the same name.
    """
    with bars.within(options.progress, len(ways) * len(rows), "call") as bar:
        options = replace(options, progress=bar)
        results = [
            evaluate.evaluate([way], rows, grader, options).assign(variant=name)
            for name, way in ways.items()
        ]
    return pd.concat(results, ignore_index=True)


def best(results: pd.DataFrame, scoring: str | Scoring) -> str:
    """Return the challenger that is best by the task's metric in what `evaluate_each` returned.

    Of equals it is the first; one whose metric is not defined comes last, and one with failed
    calls is not taken.

    Raises
    ------
    MetricError
        If the metric is defined for none.
    UnmeasuredError
        If calls of every challenger failed.
    """
    scoring, results = Scoring.of(scoring), results[results["variant"] != "champion"]
    figures = {
        name: fairness.figure(scoring.metric, rows)
        for name, rows in evaluate.scored_rows(results, scoring).items()
    }
    signed = pd.Series({name: scoring.metric.sign * one.value for name, one in figures.items()})
    if signed.isna().all():
        raise MetricError(next(iter(figures.values())).note)
    return signed.idxmax()


def new_ground(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the results of rows whose slice has no train row.

    Parameters
    ----------
    results : DataFrame
        As `evaluate_each` returns it.
    rows : DataFrame
        Canonical rows, all of them.
    """
    known = rows.loc[rows["split"] == "train", "slice"].unique()
    return results[results["id"].isin(rows.loc[~rows["slice"].isin(known), "id"])]


def gains(grounds: Mapping[str, pd.DataFrame], scoring: str | Scoring) -> pd.DataFrame:
    """Compare the challengers with the champion on the same rows, ground by ground.

    Parameters
    ----------
    grounds : mapping of str to DataFrame
        As `evaluate_each` returns them; one without rows is left out.

    Returns
    -------
    DataFrame
        ``name`` (such as "tuned model, old ground"), ``value``, ``low``, ``high`` (of the task's
        metric, paired; positive is better), ``n`` and ``reason`` (why there is no figure, or its
        interval is not to be relied on, else "").
    """
    scoring, lines = Scoring.of(scoring), []
    for ground, results in grounds.items():
        scored = evaluate.scored_rows(results, scoring)
        champion = scored.pop("champion", None)
        for name, rows in scored.items():
            if champion is None:  # calls of it failed
                break
            lines.append({"name": f"{name}, {ground}"} | _gain(scoring, rows, champion))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n", "reason"])


def _gain(scoring: Scoring, new: ScoredRows, old: ScoredRows) -> dict:
    try:
        return as_line(scoring.metric.improvement(new, old))
    except MetricError as error:
        return {"n": len(new), "reason": str(error)}


def lost(results: pd.DataFrame, name: str, scoring: str | Scoring) -> float:
    """Return what a challenger loses on the old rows against the champion, by the task's metric.

    NaN where calls of either failed.
    """
    gap = gains({"": results[results["variant"].isin(["champion", name])]}, scoring)
    return math.nan if gap.empty else -float(gap["value"].iloc[0])


def tuned(results: pd.DataFrame, labels: int, scoring: str | Scoring) -> dict:
    """Return the tuned model's figure on old test rows, and its number of labels.

    {} without one, or if calls of it failed.

    Parameters
    ----------
    results : DataFrame
        As `evaluate_each` returns it.
    """
    lines, scoring = results[results["variant"] == TUNED], Scoring.of(scoring)
    if lines.empty or unmeasured(lines):
        return {}
    measured = fairness.figure(scoring.metric, evaluate.scored_rows(lines, scoring)[TUNED])
    if not math.isfinite(measured.value):
        return {}
    ends = {"value": measured.value, "low": measured.low, "high": measured.high}
    return {"labels": labels, "metric": scoring.metric.spec} | ends


def limits(
    floor: float | None,
    max_calibration_error: float,
    max_lost: float,
    margin: float = 0.05,
    question: str = BETTER,
    look: int = 1,
) -> Limits:
    """Return the gate's limits for a challenger; a calibration error of 0 sets none.

    Latency and size were checked at the release. Each further look at the same labels widens the
    intervals, see `diptych.core.monitoring.sequential`.
    """
    return Limits(
        floor=floor,
        max_calibration_error=max_calibration_error or None,
        max_latency_ms=None,
        max_size_mb=None,
        margin=margin,
        question=question,
        level=sequential.decision_level(look),
        extra={LOST: max_lost},
    )


def measure(
    results: pd.DataFrame,
    name: str,
    rows: pd.DataFrame,
    scoring: str | Scoring,
    digest: str = "",
    **extra: float,
) -> Candidate:
    """Measure for the gate one variant of what `evaluate_each` returned for `rows`.

    Parameters
    ----------
    scoring : Scoring, or str
        The task's, or a grader's name.
    digest : str
        Of the variant, see `bundle.digest`: the champion itself is refused as its challenger.
    **extra
        Further figures that the gate limits, such as `LOST`.
    """
    lines = results[results["variant"] == name]
    if reason := unmeasured(lines).get(name):
        return release.unmeasured(name, reason, len(lines), scoring)
    error = release.calibration_error(lines)
    figures = {"calibration_error": error, "extra": extra, "digest": digest}
    return release.candidate(name, lines, rows, scoring, **figures)


def rivals(
    ways: Mapping[str, Variant],
    name: str,
    later: pd.DataFrame,
    before: pd.DataFrame,
    rows: pd.DataFrame,
    scoring: str | Scoring,
) -> tuple[Candidate, Candidate]:
    """Measure a challenger and the champion for the gate.

    Parameters
    ----------
    name : str
        The challenger's, a key of `ways`.
    later, before : DataFrame
        What `evaluate_each` returned for the `rows` that decide, and for old ones.
    """
    digests = {way: bundle.digest(ways[way]) for way in (name, "champion")}
    loss = {LOST: lost(before, name, scoring)}
    return (
        measure(later, name, rows, scoring, digests[name], **loss),
        measure(later, "champion", rows, scoring, digests["champion"]),
    )


def save(variant: Variant, folder: Path) -> Path:
    """Save a challenger: its prompt, its settings and the files that its server takes."""
    return bundle.save(variant, folder)


def register(
    registry: PromptRegistry,
    variant: Variant,
    folder: Path,
    decided: Sequence[str],
    measured: Candidate,
    run: str,
) -> Version:
    """Register a saved challenger with its settings and its score; return its version.

    Parameters
    ----------
    decided : sequence of str
        The windows whose labels decided.
    """
    settings = bundle.settings(variant) | decided_on(decided, folder)
    return registry.register(folder, settings, {"score": measured.score.value}, run)


def promote(registry: PromptRegistry, version: Version, decision: Decision) -> Version | None:
    """Promote a version that passed, and rehearse the way back where there was a champion.

    Returns
    -------
    Version or None
        What was in service before.
    """
    in_service = registry.champion()
    if decision.promoted:
        registry.promote(version, why=decision.reason, gate=decision.statuses)
    if decision.promoted and in_service:
        registry.rollback("rehearsal")
        registry.promote(version, why="end of the rehearsal", gate=decision.statuses)
    return in_service


def by_window(
    ways: Mapping[str, Variant],
    rows: pd.DataFrame,
    windows: pd.Series,
    names: Sequence[str],
    scoring: str | Scoring,
    options: CallOptions = CallOptions(),
) -> LiveRows:
    """Ask ways about the live rows of some windows; the result has their metric by window."""
    scoring = Scoring.of(scoring)
    results = evaluate_each(ways, in_windows(rows, windows, names), scoring.grader, options)
    refuse_failed(results)
    ids = pd.Series(sorted(results["id"].unique()))
    scored = evaluate.scored_rows(results, scoring)
    return LiveRows(scored, ids.map(windows).to_numpy(object), scoring.metric)
