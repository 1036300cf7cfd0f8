"""A way to do the task: one model, one prompt with its model, or a cascade of two of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from diptych.core.contract import LLMOPS, MLOPS
from diptych.core.evaluation.stats import Estimate

CASCADE = "cascade"  # the side of a way that takes both
SIDES = {MLOPS: "MLOps", LLMOPS: "LLMOps", CASCADE: "cascade"}
NAMES = {
    "baseline": "majority class",
    "logistic": "logistic regression",
    "xgboost": "XGBoost",
    "cnn": "CNN",
    "embeddings": "embeddings + logistic regression",
}
PROMPT = ", prompt "  # in the name of a way, before a prompt that is not the usual one
MEAN = "mean of the training rows"  # the baseline where the label is a number
FEWEST = 30  # rows of the test set, at least, of a way that is compared


@dataclass(frozen=True)
class Way:
    """What one way answered, and what is known of it.

    Attributes
    ----------
    name : str
    side : str
        ``"mlops"``, ``"llmops"`` or `CASCADE`.
    rows : DataFrame
        Its graded answers by row id: ``truth``, ``predicted``, ``score``, ``grader``,
        ``confidence``, ``probabilities``; of test rows.
    run : str
        Id of the run that shows it.
    selected : bool
        Whether its run selected it.
    labels : float
        That it has seen; NaN where that is not known.
    by_hand, validation : DataFrame or None
        As `rows`, of hand-written rows and of validation rows.
    cpu_ms : Estimate or None
        CPU time of an answer; the ends are NaN where it was measured once.
    model : str
        Whose model, how large, under which licence.
    where : str
        When and on what it was measured, "" if in this report.
    """

    name: str
    side: str
    rows: pd.DataFrame = field(repr=False)
    run: str
    selected: bool = False
    labels: float = math.nan
    by_hand: pd.DataFrame | None = field(default=None, repr=False)
    validation: pd.DataFrame | None = field(default=None, repr=False)
    cpu_ms: Estimate | None = None
    model: str = ""
    where: str = ""

    @property
    def validated(self) -> float:
        """Its mean grade on validation rows, NaN where it was not asked about them."""
        return math.nan if self.validation is None else float(self.validation["score"].mean())

    def usd(self, usd_per_cpu_hour: float) -> Estimate | None:
        """Return what 1,000 of its answers cost in US dollars of CPU."""
        if self.cpu_ms is None:
            return None
        factor = usd_per_cpu_hour / 3600
        ends = (self.cpu_ms.value, self.cpu_ms.low, self.cpu_ms.high)
        return Estimate(*(factor * end for end in ends), self.cpu_ms.n)

    def but(self, **changes) -> "Way":
        """Return it with some attributes changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Elsewhere:
    """What else is known of a scenario.

    Attributes
    ----------
    ways : tuple of Way
    missing : tuple of str
        What could not be compared, and why.
    curves : DataFrame
        ``family``, ``labels``, ``value``, ``low``, ``high``, ``n``: by number of labels.
    when : str
        When and on what the curves were measured.
    cpu_ms : mapping
        Of each family, the CPU time of an answer to one row at a time.
    run : str
        Id of the run that shows it.
    """

    ways: tuple[Way, ...] = ()
    missing: tuple[str, ...] = ()
    curves: pd.DataFrame | None = None
    when: str = ""
    cpu_ms: Mapping[str, Estimate] = field(default_factory=dict)
    run: str = ""
