"""A better prompt found among many, within a number of questions and a budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.evaluation import stats
from diptych.llmops.client.budget import BudgetError
from diptych.llmops.client.options import CallOptions
from diptych.llmops.evaluation import evaluate
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

ETA = 2  # of the arms, one in so many is kept in each round


@dataclass(frozen=True)
class Search:
    """What `successive_halving` found.

    Attributes
    ----------
    winner : str
    rounds : DataFrame
        ``round``, ``name``, ``rows`` (judged on so far), ``value``, ``low``, ``high`` (Wilson) and
        ``kept``, best first in each round. The winner's figure flatters it: it was chosen by it.
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
) -> Search:
    """Find the best of many arms with a fixed number of questions.

    All arms are asked a few, the better part of them more, until one is left: Jamieson and
    Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (AISTATS
    2016), with the arms of a round asked about the same rows.

    Parameters
    ----------
    arms : sequence of str
        The preferred first: it wins a tie.
    pull : callable
        From arms and a range of rows, start and stop, to what each scored on them, 0 or 1.
    budget : int
        Questions in all.
    rows : int
        Rows that there are; an arm is asked no row twice.

    Raises
    ------
    ValueError
        If the budget does not ask every arm about a row.
    BudgetError
        If the money ends in the first round.
    """
    planned = schedule(len(arms), budget, rows, eta)
    left, scores = list(arms), {arm: [] for arm in arms}
    tables, pulls, seen = [], 0, 0
    for number, (count, more) in enumerate(planned, 1):
        left = left[:count]
        try:
            found = pull(left, seen, seen + more) if more else {}
        except BudgetError as error:
            if not tables:
                raise
            return Search(left[0], pd.concat(tables, ignore_index=True), pulls, str(error))
        for arm, values in found.items():
            scores[arm] += list(values)
        pulls, seen = pulls + more * len(left), seen + more
        left.sort(key=lambda arm: -np.mean(scores[arm]))
        keep = planned[number][0] if number < len(planned) else 1
        tables.append(_round(number, left, scores, left[:keep]))
    return Search(left[0], pd.concat(tables, ignore_index=True), pulls)


def schedule(arms: int, budget: int, rows: int, eta: int = ETA) -> list[tuple[int, int]]:
    """Return by round how many arms are left, and how many more rows each is asked about.

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
    found = []
    for _ in range(rounds):
        more = min(budget // (arms * rounds), rows)
        found.append((arms, more))
        arms, rows = math.ceil(arms / eta), rows - more
    return found


def _round(number: int, arms: list[str], scores: Mapping, kept: list[str]) -> pd.DataFrame:
    lines = []
    for arm in arms:
        found = stats.wilson(int(sum(scores[arm])), len(scores[arm]))
        lines.append((number, arm, found.n, found.value, found.low, found.high, arm in kept))
    names = ["round", "name", "rows", "value", "low", "high", "kept"]
    return pd.DataFrame(lines, columns=names)


def optimise(
    champion: Variant,
    prompts: Sequence[Prompt],
    rows: pd.DataFrame,
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
        Labelled rows; neither the prompts' gain nor the gate is judged on them.
    budget : int
        Questions in all.
    options : CallOptions
        Where its budget of dollars or tokens ends, so does the search.

    Returns
    -------
    Prompt, Search
        The winner, with ``parent`` and ``note`` set if it is not the champion's.
    """
    asked = {prompt.name: prompt for prompt in (champion.prompt, *prompts)}
    ordered = rows.sample(frac=1, random_state=seed)
    total = sum(n * more for n, more in schedule(len(asked), budget, len(ordered)))

    def pull(names: list[str], start: int, stop: int) -> dict[str, np.ndarray]:
        chosen = {name: replace(champion, prompt=asked[name]) for name in names}
        found = evaluate.evaluate(
            list(chosen.values()), ordered.iloc[start:stop], replace(options, progress=bar)
        )
        right = found.groupby("variant")["correct"]
        return {name: right.get_group(way.name).to_numpy() for name, way in chosen.items()}

    with bars.bar(total, "call", options.progress) as bar:
        search = successive_halving(list(asked), pull, budget, len(ordered))
    winner = asked[search.winner]
    if winner.version == champion.prompt.version:
        return champion.prompt, search
    note = f"Best of {len(asked)} prompts by successive halving over {search.pulls:,} questions."
    return replace(winner, parent=champion.prompt.name, note=note), search
