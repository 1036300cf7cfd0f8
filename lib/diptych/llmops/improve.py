"""Stage 6, improve: another prompt or a tuned model, and the gate chooses on a later slice of time.

The search for a prompt is in `diptych.llmops.evaluation.search`, tuning in
`diptych.llmops.finetuning`, and which windows are learnt and which decide in
`diptych.core.monitoring.windows`, as in the other panel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.data.schema import FRAME
from diptych.core.evaluation import stats
from diptych.core.evaluation.gate import Candidate, Limits
from diptych.core.monitoring import windows as timeline
from diptych.core.monitoring.windows import LOSS, WindowSplit, in_windows, outcome, split_windows
from diptych.core.store.records import Record
from diptych.llmops import data, release
from diptych.llmops.client.options import CallOptions
from diptych.llmops.evaluation import evaluate
from diptych.llmops.evaluation.search import Search, optimise
from diptych.llmops.prompts import candidates
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

__all__ = [
    "LOSS", "LOST", "TUNED", "Lessons", "WindowSplit", "alarm", "bare", "best", "by_window",
    "compare", "gains", "in_windows", "lasted", "lessons", "limits", "lost", "measure",
    "new_ground", "optimise", "outcome", "proposals", "some", "split_windows", "tuned",
]  # fmt: skip

SHOWN = 40  # of the labelled rows, at most so many are examples to choose from
HELD = 0.15  # of the labelled rows, this share is not learnt but chooses among the challengers
SHOTS = (0, 0, 2, 4)  # examples of the prompts that are tried, in turn
LOST = "share of old rows lost"
TUNED = "tuned model"


@dataclass(frozen=True)
class Lessons:
    """The newly labelled rows, by what each may be used for; none is used twice.

    Attributes
    ----------
    shown : list of (dict, str)
        Examples that prompts may show.
    learn : DataFrame
        On which prompts are tried and models tuned.
    choose : DataFrame
        On which the best challenger is chosen.
    """

    shown: list[tuple[dict, str]]
    learn: pd.DataFrame
    choose: pd.DataFrame

    @property
    def labels(self) -> int:
        """How many rows somebody had to label."""
        return len(self.shown) + len(self.learn) + len(self.choose)

    def table(self) -> pd.DataFrame:
        """Return how many rows serve what."""
        counts = {
            "examples that prompts may show": len(self.shown),
            "prompts are tried and models tuned on them": len(self.learn),
            "the best challenger is chosen on them": len(self.choose),
        }
        return pd.DataFrame({"for": counts.keys(), "rows": counts.values()})

    def with_old(self, rows: pd.DataFrame, replay: int, seed: int) -> pd.DataFrame:
        """Return the rows to tune on: the new ones, and old train rows to keep the old ground."""
        old = data.sample(rows, "train", replay, seed) if replay else rows.head(0)
        return pd.concat([self.learn, old], ignore_index=True)


def alarm(monitored: Record) -> str | None:
    """Return the window in which ``llmops/5_monitor`` saw its prompt fall, else its input drift."""
    return monitored.fact("accuracy_alarm") or monitored.fact("drift_alarm")


def some(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Return `n` rows at random, all if there are fewer."""
    return rows.sample(min(n, len(rows)), random_state=seed)


def lessons(
    rows: pd.DataFrame, windows: pd.Series, planned: WindowSplit, labels: int, seed: int
) -> Lessons:
    """Share out the labels that came in the windows to learn from.

    Parameters
    ----------
    rows : DataFrame
        Canonical rows with what prompts read.
    windows : Series
        The window of every live row, by id.
    labels : int
        Rows at most.
    """
    fresh = some(in_windows(rows, windows, planned.learn), labels, seed)
    shown, held = min(SHOWN, len(fresh) // 10), round(HELD * len(fresh))
    inputs = [name for name in rows if name not in FRAME]
    examples = [(row[inputs].to_dict(), row["label"]) for _, row in fresh.head(shown).iterrows()]
    return Lessons(examples, fresh.iloc[shown : len(fresh) - held], fresh.tail(held))


def bare(variant: Variant) -> Variant:
    """Return the same way to ask without examples: a model that is tuned learns what they show."""
    prompt = variant.prompt
    if prompt.examples:
        name, note = f"{prompt.name}-bare", f"{prompt.name} without its examples."
        prompt = replace(prompt, examples=(), name=name, parent=prompt.name, note=note, path=None)
    return replace(variant, prompt=prompt, shots=0)


def proposals(
    champion: Variant, by_hand: Sequence[Prompt], shown: Sequence, n: int, seed: int
) -> list[Prompt]:
    """Return the prompts to try: those written by hand, and `n` in other words or with examples.

    Parameters
    ----------
    by_hand : sequence of Prompt
        The task's other prompt files.
    shown : sequence of (dict, str)
        Examples to choose from.
    """
    own = bare(champion).prompt
    made = candidates.with_examples([own, *candidates.ours(own, n, seed)], shown, SHOTS, seed)
    new = [one for one in made if one.version != champion.prompt.version]
    return [one for one in by_hand if one.name != champion.prompt.name] + new[:n]


def lasted(search: Search, prompts: Sequence[Prompt]) -> Prompt:
    """Return which of some prompts a search kept longest, and of these the best."""
    named = {prompt.name: prompt for prompt in prompts}
    rounds = search.rounds[search.rounds["name"].isin(named)]
    order = rounds.sort_values(["round", "value"], ascending=False, kind="stable")
    return named[order["name"].iloc[0]]


def compare(
    ways: Mapping[str, Variant], rows: pd.DataFrame, options: CallOptions = CallOptions()
) -> pd.DataFrame:
    """Ask each way about the same rows; returns what `evaluate.evaluate` does.

    ``variant`` is the name given here: two tuned models of one prompt would have one of their own.
    """
    with bars.within(options.progress, len(ways) * len(rows), "call") as bar:
        options = replace(options, progress=bar)
        found = [
            evaluate.evaluate([way], rows, options).assign(variant=name)
            for name, way in ways.items()
        ]
    return pd.concat(found, ignore_index=True)


def best(results: pd.DataFrame) -> str:
    """Return the challenger that scores highest in what `compare` returned, of equals the first."""
    scores = results.groupby("variant", sort=False)["score"].mean()
    return scores.drop("champion").idxmax()


def new_ground(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what was answered to rows of slices that no train row is of.

    Parameters
    ----------
    results : DataFrame
        As `compare` returns it.
    rows : DataFrame
        Canonical rows, all of them.
    """
    known = rows.loc[rows["split"] == "train", "slice"].unique()
    return results[results["id"].isin(rows.loc[~rows["slice"].isin(known), "id"])]


def gains(grounds: Mapping[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """Compare the challengers with the champion on the same rows, ground by ground.

    Parameters
    ----------
    grounds : mapping of str to DataFrame
        As `compare` returns them; one without rows is left out.

    Returns
    -------
    DataFrame
        ``name`` (such as "tuned model, old ground"), ``value``, ``low``, ``high`` (paired
        bootstrap) and ``n``.
    """
    lines = []
    for ground, results in grounds.items():
        scores = {name: own.mean(axis=1) for name, own in evaluate.grades(results).items()}
        champion = scores.pop("champion", None)
        for name, own in scores.items():
            gap = stats.paired_difference(own, champion, seed=seed)
            lines.append((f"{name}, {ground}", gap.value, gap.low, gap.high, gap.n))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def lost(results: pd.DataFrame, name: str) -> float:
    """Return the share of the old rows that one loses against the champion, less what it gains."""
    score = results.groupby("variant")["score"].mean()
    return float(score["champion"] - score[name])


def tuned(results: pd.DataFrame, labels: int) -> dict:
    """Return what the tuned model reached on old test rows with so many labels; {} if none was.

    Parameters
    ----------
    results : DataFrame
        As `compare` returns it.
    """
    scores = results.loc[results["variant"] == TUNED, "score"]
    if len(scores) < 2:
        return {}
    found = stats.bootstrap(scores)
    return {"labels": labels, "value": found.value, "low": found.low, "high": found.high}


def limits(floor: float, max_calibration_error: float, max_lost: float) -> Limits:
    """Return what a challenger must keep to; 0 asks for no calibration.

    Latency and size were the release's to judge.
    """
    return Limits(
        floor=floor,
        max_calibration_error=max_calibration_error or None,
        max_latency_ms=None,
        max_size_mb=None,
        extra={LOST: max_lost},
    )


def measure(results: pd.DataFrame, name: str, rows: pd.DataFrame, **extra: float) -> Candidate:
    """Measure for the gate one of those that `compare` asked about `rows`.

    Parameters
    ----------
    **extra
        Further figures that the gate limits, such as `LOST`.
    """
    own = results[results["variant"] == name]
    return Candidate.from_rows(
        name,
        own["correct"],
        slice_of=rows["slice"].to_numpy() if rows["slice"].nunique() > 1 else None,
        calibration_error=release.calibration_error(own),
        extra=extra,
    )


def by_window(
    ways: Mapping[str, Variant],
    rows: pd.DataFrame,
    windows: pd.Series,
    names: Sequence[str],
    options: CallOptions = CallOptions(),
) -> pd.DataFrame:
    """Score ways to ask on each window, see `diptych.core.monitoring.windows.by_window`."""
    found = compare(ways, in_windows(rows, windows, names), options)
    correct = {
        name: own.set_index("id")["correct"] for name, own in found.groupby("variant", sort=False)
    }
    return timeline.by_window(correct, windows, names)
