"""Search for a better prompt among many, within a number of questions and a budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.base import process_environment
from diptych.core.evaluation import fairness, stats
from diptych.core.evaluation.graders import LABEL, Scoring
from diptych.execution import cells
from diptych.llmops.client.budget import BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.evaluation import evaluate, outcome
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

ETA = 2  # one arm in so many goes on to the next round
RIGHT = "share right"


@dataclass(frozen=True)
class Search:
    """The outcome of `successive_halving`.

    Attributes
    ----------
    winner : str
    rounds : DataFrame
        ``round``, ``name``, ``rows`` (asked so far), ``value``, ``low``, ``high``, ``by`` (what
        the round was decided by: the metric, or the share right while the metric is not defined)
        and ``selected``, best first in each round. The winner's figure is too high, since it was
        selected by it.
    pulls : int
        Questions asked.
    stopped : str
        Why it ended early, "" if it did not.
    """

    winner: str
    rounds: pd.DataFrame
    pulls: int
    stopped: str = ""


def successive_halving(
    arms: Sequence[str],
    pull: Callable[[list[str], int, int], Mapping[str, Sequence]],
    budget: int,
    rows: int,
    eta: int = ETA,
    show: Callable[[float, str], None] | None = None,
    scoring: Scoring | None = None,
) -> Search:
    """Find the best of many arms with a fixed number of questions.

    Every arm is asked a few questions, the better half more, until one is left: Jamieson and
    Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (AISTATS
    2016), with the arms of a round asked about the same rows. An interrupt in a notebook's cell or
    a script ends it with the rounds that are done.

    Parameters
    ----------
    arms : sequence of str
        The preferred first: it wins a tie.
    pull : callable
        Takes arms and a range of rows, start and stop; returns each arm's scores on them, 0 or 1,
        or with a `scoring` their lines of `evaluate.evaluate`.
    budget : int
        Questions in all.
    rows : int
        How many rows there are; an arm is asked about no row twice.
    show : callable, optional
        Called after each round with the best score and its arm.
    scoring : Scoring, optional
        Whose metric compares the arms; without one the share of right answers does.

    Raises
    ------
    ValueError
        If the budget is too small to ask every arm about one row in each round.
    BudgetError
        If the money runs out in the first round.
    """
    planned = schedule(len(arms), budget, rows, eta)
    left, answers = list(arms), {arm: [] for arm in arms}
    tables, pulls, seen = [], 0, 0
    for number, (count, more) in enumerate(planned, 1):
        left = left[:count]
        try:
            scored = pull(left, seen, seen + more) if more else {}
        except (BudgetError, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            if not tables or (interrupted and process_environment.run_folder()):
                raise
            ended = f"Interrupted after {number - 1} of {len(planned)} rounds, the best of which is"
            why = f"{ended} {left[0]}." if interrupted else str(error)
            if interrupted:
                cells.note_partial(why)
            return Search(left[0], pd.concat(tables, ignore_index=True), pulls, why)
        for arm, rows_of in scored.items():
            answers[arm].append(rows_of)
        pulls, seen = pulls + more * len(left), seen + more
        figures, by, sign = _figures({arm: answers[arm] for arm in left}, scoring)
        left.sort(key=lambda arm: -sign * figures[arm].value)
        keep = planned[number][0] if number < len(planned) else 1
        tables.append(_round(number, left, figures, by, left[:keep]))
        if show:
            show(figures[left[0]].value, left[0])
    return Search(left[0], pd.concat(tables, ignore_index=True), pulls)


def schedule(arms: int, budget: int, rows: int, eta: int = ETA) -> list[tuple[int, int]]:
    """Return for each round how many arms are left, and about how many more rows each is asked.

    Raises
    ------
    ValueError
        See `successive_halving`.
    """
    rounds = max(1, math.ceil(math.log(arms, eta) - 1e-9))
    if budget < arms * rounds:
        raise ValueError(
            f"calls: {budget} are too few for {arms} prompts in {rounds} rounds; give at least "
            f"{arms * rounds}, or fewer prompts"
        )
    planned = []
    for _ in range(rounds):
        more = min(budget // (arms * rounds), rows)
        planned.append((arms, more))
        arms, rows = math.ceil(arms / eta), rows - more
    return planned


def _figures(answers: Mapping[str, list], scoring: Scoring | None) -> tuple[dict, str, int]:
    """Return the figure of each arm, what it is, and 1 where more of it is better, else -1.

    It is the metric where all arms have it, else the share of right answers: on a few rows a
    metric may be defined for those arms alone that answered falsely.
    """
    if scoring is None:
        right = {arm: np.concatenate(parts) for arm, parts in answers.items()}
    else:
        lines = {arm: pd.concat(parts).assign(variant=arm) for arm, parts in answers.items()}
        metric = scoring.metric
        scored = evaluate.scored_rows(pd.concat(lines.values(), ignore_index=True), scoring)
        figures = {arm: fairness.figure(metric, scored[arm]) for arm in answers}
        if all(math.isfinite(one.value) for one in figures.values()):
            return figures, metric.title, metric.sign
        right = {arm: frame["correct"].to_numpy(bool) for arm, frame in lines.items()}
    shares = {arm: stats.wilson(int(sum(one)), len(one)) for arm, one in right.items()}
    return shares, RIGHT, 1


def _round(number: int, arms: list[str], figures: Mapping, by: str, selected: list[str]):
    """Return the lines of one round."""
    lines = []
    for arm in arms:
        one = figures[arm]
        lines.append((number, arm, one.n, one.value, one.low, one.high, by, arm in selected))
    names = ["round", "name", "rows", "value", "low", "high", "by", "selected"]
    return pd.DataFrame(lines, columns=names)


def optimise(
    champion: Variant,
    prompts: Sequence[Prompt],
    rows: pd.DataFrame,
    scoring: str | Scoring,
    budget: int,
    seed: int = 0,
    options: CallOptions = CallOptions(),
) -> tuple[Prompt, Search]:
    """Search among prompts for the one that answers best, with the champion's model.

    Parameters
    ----------
    champion : Variant
        How the prompts are asked; its own prompt takes part.
    prompts : sequence of Prompt
        Their names must differ; examples they show are not among `rows`.
    rows : DataFrame
        Labelled rows; neither the prompts' gain nor the gate is measured on them.
    scoring : Scoring, or str
        The task's, whose metric selects where labels are graded; else the share of right answers.
    budget : int
        Questions in all.
    options : CallOptions
        Where its budget of dollars or tokens ends, so does the search.

    Returns
    -------
    Prompt, Search
        The winner, with ``parent`` and ``note`` set if it is not the champion's.
    """
    scoring = Scoring.of(scoring)
    by_metric = scoring if scoring.grader == LABEL else None
    arms = {prompt.name: prompt for prompt in (champion.prompt, *prompts)}
    ordered = rows.sample(frac=1, random_state=seed)
    total = sum(n * more for n, more in schedule(len(arms), budget, len(ordered)))

    def pull(names: list[str], start: int, stop: int) -> dict[str, np.ndarray]:
        ways = {name: replace(champion, prompt=arms[name]) for name in names}
        results = evaluate.evaluate(
            list(ways.values()), ordered.iloc[start:stop], scoring.grader,
            replace(options, progress=bar),
        )  # fmt: skip
        outcome.refuse_failed(results)
        lines = results.groupby("variant")
        answers = {name: lines.get_group(way.name) for name, way in ways.items()}
        if by_metric:
            return answers
        return {name: lines["correct"].to_numpy() for name, lines in answers.items()}

    with bars.bar(total, "call", options.progress) as bar:
        search = successive_halving(
            list(arms), pull, budget, len(ordered),
            show=lambda score, name: bars.note(bar, f"best {score:.3f} {name}"), scoring=by_metric,
        )  # fmt: skip
    winner = arms[search.winner]
    if winner.version == champion.prompt.version:
        return champion.prompt, search
    note = f"Best of {len(arms)} prompts by successive halving over {search.pulls:,} questions."
    return replace(winner, parent=champion.prompt.name, note=note), search
