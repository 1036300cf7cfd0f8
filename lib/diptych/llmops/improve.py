"""Stage 6, improve: another prompt or a tuned model, and the gate chooses on a later slice of time.

The search for a prompt is in `diptych.llmops.search`, tuning in `diptych.llmops.tuning`, and which
windows are learnt and which decide in `diptych.core.windows`, as in the other panel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from diptych.core import splits, stats
from diptych.core import windows as timeline
from diptych.core.columns import FRAME
from diptych.core.gate import Candidate
from diptych.core.records import Record
from diptych.core.windows import LOSS, Plan, in_windows, outcome, plan
from diptych.llmops import build, release, wordings
from diptych.llmops.grid import Variant
from diptych.llmops.prompts import Prompt
from diptych.llmops.search import optimise

__all__ = [
    "LOSS", "Lessons", "Plan", "bare", "best", "by_window", "compare", "gain", "in_windows",
    "lessons", "measure", "optimise", "outcome", "plan", "proposals", "windows_of",
]  # fmt: skip

SHOWN = 40  # of the labelled rows, at most so many are examples to choose from
HELD = 0.15  # of the labelled rows, this share is not learnt but chooses among the challengers
SHOTS = (0, 0, 2, 4)  # examples of the prompts that are tried, in turn
LOST = "share of old rows lost"


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


def windows_of(rows: pd.DataFrame, served: Record, seed: int) -> pd.Series:
    """Return the window of every live row, by id; the rows that were served lie in the same ones.

    Parameters
    ----------
    rows : DataFrame
        Canonical rows.
    served : Record
        A run of ``llmops/4_serve``; how many windows it made of rows without time counts.
    """
    live = rows[rows["split"] == "live"]
    count = served.facts["parameters"]["windows"]
    return splits.stream(live, count, len(live), seed).set_index("id")["window"]


def lessons(
    rows: pd.DataFrame, windows: pd.Series, planned: Plan, labels: int, seed: int
) -> Lessons:
    """Share out the labels that came in the windows to learn from.

    Parameters
    ----------
    rows : DataFrame
        Canonical rows with what prompts read.
    windows : Series
        See `windows_of`.
    labels : int
        Rows at most.
    """
    fresh = in_windows(rows, windows, planned.learn)
    fresh = fresh.sample(min(labels, len(fresh)), random_state=seed)
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


def proposals(champion: Variant, shown: Sequence, n: int, seed: int) -> list[Prompt]:
    """Return `n` prompts to try: the champion's words and others, without and with new examples.

    Parameters
    ----------
    shown : sequence of (dict, str)
        Examples to choose from.
    """
    own = bare(champion).prompt
    said = [own, *wordings.ours(own, n, seed)]
    made = wordings.with_examples(said, shown, SHOTS, seed)
    return [one for one in made if one.version != champion.prompt.version][:n]


def compare(ways: Mapping[str, Variant], rows: pd.DataFrame, **options) -> pd.DataFrame:
    """Ask each way about the same rows; takes what `build.evaluate` takes, and returns it.

    ``variant`` is the name given here: two tuned models of one prompt would have one of their own.
    """
    found = [
        build.evaluate([way], rows, **options).assign(variant=name) for name, way in ways.items()
    ]
    return pd.concat(found, ignore_index=True)


def best(results: pd.DataFrame) -> str:
    """Return the challenger that scores highest in what `compare` returned, of equals the first."""
    scores = results.groupby("variant", sort=False)["score"].mean()
    return scores.drop("champion").idxmax()


def gain(results: pd.DataFrame, name: str, seed: int) -> stats.Estimate:
    """Return by how much one scores more than the champion on the same rows, with its interval."""
    found = build.grades(results)
    one, champion = (found[key].mean(axis=1) for key in (name, "champion"))
    return stats.paired_difference(one, champion, seed=seed)


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
    **options,
) -> pd.DataFrame:
    """Score ways to ask on each window, see `diptych.core.windows.by_window`."""
    found = compare(ways, in_windows(rows, windows, names), **options)
    correct = {
        name: own.set_index("id")["correct"] for name, own in found.groupby("variant", sort=False)
    }
    return timeline.by_window(correct, windows, names)
