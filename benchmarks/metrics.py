"""Figure, interval and paired comparison of every metric on a million rows.

    python benchmarks/metrics.py [--rows 1000000]

Two models answer the same rows: of a rare class (7 %) with probabilities, of skewed numbers, and
with grades. The CPU time of each part is measured on rows whose labels nothing has coded yet. The
bootstrap that is not taken would compute the figure a thousand times: that is what "bootstrap"
says. A function that a plugin adds is computed on a hundred parts of the rows.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
from results import record

from diptych.core.evaluation import added_metrics, calibration, own_metrics, thresholds
from diptych.core.evaluation.metrics import METRICS, Metric, parse
from diptych.core.evaluation.scored import ScoredRows

RESAMPLES = 1_000
COSTS = "cost:yes>no=50,no>yes=2"


def labelled(n: int, rng) -> tuple[ScoredRows, ScoredRows]:
    """Return what two models say of rows of two classes."""
    signal = rng.normal(size=n) * 2 - 4
    truth = np.where(rng.random(n) < 1 / (1 + np.exp(-signal)), "yes", "no").astype(object)

    def answered(noise: float) -> ScoredRows:
        probability = 1 / (1 + np.exp(-(signal + noise * rng.normal(size=n))))
        said = np.where(probability > 0.5, "yes", "no").astype(object)
        shares = np.column_stack([1 - probability, probability])
        return ScoredRows.of_labels(truth, said, shares, ("no", "yes"), "yes")

    return answered(0.5), answered(0.8)


def numbers(n: int, rng) -> tuple[ScoredRows, ScoredRows]:
    """Return what two models say of skewed numbers."""
    truth = rng.gamma(2, 3, n)
    pair = (truth + noise * rng.normal(size=n) for noise in (1.0, 1.1))
    return tuple(ScoredRows.of_numbers(truth, predicted) for predicted in pair)


def graded(n: int, rng) -> tuple[ScoredRows, ScoredRows]:
    """Return how two models' answers were graded."""
    return tuple(ScoredRows.of_grades(rng.beta(4, 1, n)) for _ in range(2))


def cpu(work) -> float:
    """Return the CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def timed(metric: Metric, new: ScoredRows, old: ScoredRows) -> str:
    """Return the line of a metric."""
    new, old = replace(new), replace(old)  # nothing coded
    with_interval = cpu(lambda: metric.estimate(new))
    figure = cpu(lambda: metric.figure(new))
    compared = cpu(lambda: metric.improvement(new, old)) + cpu(lambda: metric.p_value(new, old))
    parts = (with_interval, compared, with_interval + compared, figure * RESAMPLES)
    return f"| {metric.title} | " + " | ".join(f"{part:,.2f}" for part in parts) + " |"


def others(rows: ScoredRows) -> list[str]:
    """Return the lines of what is not a metric of the package."""
    from sklearn.metrics import matthews_corrcoef

    added = added_metrics.of_function("mcc of scikit-learn", matthews_corrcoef)
    right, sure = rows.right, rows.probabilities.max(axis=1)
    arrays = [rows.truth.astype(str), rows.predicted.astype(str)]
    works = {
        "a function that a plugin adds": lambda: added.estimate(rows),
        "a function added in a notebook": lambda: own_metrics.measure(
            "mcc", matthews_corrcoef, arrays, 0
        ),
        "calibration error": lambda: calibration.error(sure, right),
        "threshold": lambda: thresholds.choose(rows, METRICS["f1"]),
    }
    return [f"| {name} | {cpu(work):,.2f} |" for name, work in works.items()]


def main() -> None:
    """Measure, print, and store the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows, rng = parser.parse_args().rows, np.random.default_rng(0)
    pairs = {"numbers": numbers(rows, rng), "grades": graded(rows, rng)}
    of_labels = labelled(rows, rng)
    METRICS["accuracy"].p_value(*(side.take(slice(100)) for side in of_labels))  # imports
    every = [*METRICS.values(), parse(COSTS)]
    lines = [timed(metric, *pairs.get(metric.needs, of_labels)) for metric in every]
    record(
        "Metrics of many rows",
        [
            f"{rows:,} rows, CPU seconds",
            "",
            "| metric | figure and interval | paired difference and p | all | bootstrap |",
            "|---|---:|---:|---:|---:|",
            *lines,
            "",
            "| also | CPU s |",
            "|---|---:|",
            *others(of_labels[0]),
        ],
    )


if __name__ == "__main__":
    main()
