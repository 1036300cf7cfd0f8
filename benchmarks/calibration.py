"""Do intervals cover what they promise, and does the gate promote what it should? By simulation.

    make calibration            # about fifteen minutes on two quiet cores
    python benchmarks/calibration.py --simulations 200 --print

Coverage: rows are drawn whose classes overlap (normal scores 1.5 apart, probabilities that are
calibrated), a metric's interval is computed, and it is counted how often it holds the metric of
two million rows. Where the rows of a class are too few, the interval says so itself; these are
counted apart ("says so") and not as covered. The paired comparison is of two models whose scores
share part of their noise.

Gate: two models with correlated errors; how often the challenger is promoted.

Alarms: streams of 12 windows whose metric stays, falls by what does not matter, or slides by more;
how often an alarm rings, by the looks at windows and by the CUSUM over the rows in order.

The results go into benchmarks/CALIBRATION.md.
"""

import argparse
import platform
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from diptych.core.evaluation import calibration, gate
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import sequential

SIZES, SHARES = (50, 200, 1_000), (0.5, 0.2, 0.02)
GATE_SIZES, MARGIN = (20, 50, 200, 1_000), 0.05
GAIN = 1.5
LABELLED = [m.name for m in METRICS.values() if m.needs in ("labels", "probabilities")]
COUNTED = [m.name for m in METRICS.values() if m.needs == "numbers"]
LARGE = 2_000_000
LEAST, MOST = 0.93, 0.97  # what coverage should be
WINDOWS, FALL_MARGIN = 12, 0.02
NO_FALL = (0.0, FALL_MARGIN)  # what does not count as one: of other metrics, and of accuracy
OPEN = {"floor": None, "max_calibration_error": None, "max_latency_ms": None, "max_size_mb": None}


def labelled(n: int, share: float, rng, shared=None, gain: float = GAIN) -> tuple:
    """Draw true classes and the calibrated probabilities of a model; `shared` is (truth, noise)."""
    yes = rng.random(n) < share if shared is None else shared[0]
    noise = rng.normal(size=n)
    if shared is not None:
        noise = np.sqrt(0.7) * shared[1] + np.sqrt(0.3) * noise
    score = gain * (yes - 0.5) + noise
    return yes, noise, expit(np.log(share / (1 - share)) + gain * score)


def scored(yes, probability, share: float) -> ScoredRows:
    """Predict yes where the probability is above the share of yes."""
    truth = np.where(yes, "yes", "no").astype(object)
    said = np.where(probability >= share, "yes", "no").astype(object)
    shares = np.column_stack([1 - probability, probability])
    return ScoredRows(truth, said, shares, ("no", "yes"), "yes")


def numbers(n: int, rng, noise: float | np.ndarray = 1.0, truth=None) -> ScoredRows:
    """Draw skewed true numbers and predictions with normal errors."""
    truth = rng.gamma(2, 3, n) if truth is None else truth
    return ScoredRows.of_numbers(truth, truth + noise * rng.normal(size=n))


def coverage(job: tuple) -> list[tuple]:
    """Return name, share, n, covered and "says so" of single and of paired intervals."""
    share, n, simulations = job
    rng = np.random.default_rng([n, int(1000 * share)])
    names = LABELLED if share else COUNTED
    singles, pairs = _draws(LARGE, share, rng)
    truth = {name: METRICS[name].figure(singles) for name in names}
    gaps = {name: METRICS[name].figure(pairs) - truth[name] for name in names}
    counts = {name: np.zeros(4) for name in names}
    for _ in range(simulations):
        old, new = _draws(n, share, rng)
        for name in names:
            metric = METRICS[name]
            sign = 1 if metric.higher_is_better else -1
            for at, figure, true in (
                (0, metric.estimate(old), truth[name]),
                (2, metric.improvement(new, old), sign * gaps[name]),
            ):
                if figure.reliable:
                    counts[name][at] += figure.low <= true <= figure.high
                else:
                    counts[name][at + 1] += 1
    return [(name, share, n, *counts[name], simulations) for name in names]


def _draws(n: int, share: float, rng) -> tuple[ScoredRows, ScoredRows]:
    """Return the rows of a model and of a better one."""
    if not share:
        old = numbers(n, rng)
        return old, numbers(n, rng, 0.8, old.truth)
    yes, noise, probability = labelled(n, share, rng)
    better = labelled(n, share, rng, (yes, noise), GAIN * 1.2)[2]
    return scored(yes, probability, share), scored(yes, better, share)


def gate_rates(job: tuple) -> tuple:
    """Return how often a challenger this much better is promoted, and the rows asked for."""
    question, n, better, simulations = job
    rng = np.random.default_rng([n, int(1000 * (better + 1)), len(question)])
    promoted, needed = 0, []
    for _ in range(simulations):
        shared = rng.normal(size=n) * np.sqrt(0.6)
        old, new = (
            shared + rng.normal(size=n) * np.sqrt(0.4) < norm.ppf(share)
            for share in (0.85, 0.85 + better)
        )
        passes, asked = decided(question, n, int((new & ~old).sum()), int((old & ~new).sum()))
        promoted += passes
        needed.extend(asked)
    return question, n, better, promoted / simulations, int(np.median(needed)) if needed else None


@cache
def decided(question: str, n: int, won: int, lost: int) -> tuple[bool, tuple]:
    """Return whether the gate promotes, and the rows asked for.

    Without a floor it depends on no more than the rows on which only one of both is right, so each
    pair of numbers is decided once.
    """
    limits = gate.Limits(**OPEN, margin=MARGIN, question=question)
    new, old = np.ones(n), np.ones(n)
    old[:won] = 0
    new[won : won + lost] = 0
    decision = gate.decide(
        gate.Candidate.from_rows("new", new), gate.Candidate.from_rows("old", old), limits
    )
    return decision.promoted, tuple(decision.checks["rows_needed"].dropna())


def calibration_coverage(job: tuple) -> tuple:
    """Return n, how far stated logits are stretched, the true error, coverage, mean estimate."""
    n, stretch, simulations = job
    rng = np.random.default_rng([n, int(10 * stretch)])

    def draw(rows: int) -> tuple:
        logit = np.abs(rng.normal(1.5, 1.5, rows))
        return expit(stretch * logit), expit(logit)

    stated, true = draw(LARGE)
    error = float(np.sqrt(np.mean((stated - true) ** 2)))
    estimates = []
    for _ in range(simulations):
        stated, true = draw(n)
        estimates.append(calibration.error(stated, rng.random(n) < true))
    held = np.mean([e.low - 1e-9 <= error <= e.high for e in estimates])
    return n, stretch, error, held, float(np.mean([e.value for e in estimates]))


def alarm_rates(job: tuple) -> tuple:
    """Return how often looks and CUSUM ring where a metric slides by so much, and how late."""
    name, reference, size, fall, streams = job
    rng = np.random.default_rng([reference, size, int(1000 * fall)])
    n, start = WINDOWS * size, WINDOWS * size // 3
    names = np.repeat([f"{window:02d}" for window in range(WINDOWS)], size)
    slid = fall * np.clip((np.arange(n) - start) / start, 0, 1)
    looks = in_order = either = 0
    windows = []
    for _ in range(streams):
        before, live = (
            _answered(len(shares), name, shares, rng) for shares in (np.zeros(reference), slid)
        )
        table = sequential.falls(live, names, before, METRICS[name], FALL_MARGIN)
        rang = table[table["alarm"]]
        of_rows = rang["by"] == sequential.ROWS_IN_ORDER
        looks, in_order = looks + bool((~of_rows).any()), in_order + bool(of_rows.any())
        either += bool(len(rang))
        windows += [int(rang["window"].iloc[0]) - WINDOWS // 3] if len(rang) else []
    late = float(np.median(windows)) if windows else np.nan
    return (*job, looks / streams, in_order / streams, either / streams, late)


def _answered(n: int, name: str, slid: np.ndarray, rng) -> ScoredRows:
    """Return rows of a model that is right on 0.95 less what it slid, or a ranking that weakens."""
    if METRICS[name].needs == "numbers":
        return numbers(n, rng, 1 + slid)
    if name == "accuracy":
        right = rng.random(n) < 0.95 - slid
        return ScoredRows.of_labels(["no"] * n, np.where(right, "no", "yes"), None, ("no", "yes"))
    yes, noise = rng.random(n) < 0.2, rng.normal(size=n)
    probability = expit(2 * GAIN * (1 - slid) * (yes - 0.5) + noise)
    return scored(yes, probability, 0.5)


def alarm_table(streams: int, pool) -> list[str]:
    """Return how often an alarm rings, and how many windows after the slide began."""
    jobs = [
        # a rate near 0.05 takes more streams than one near 1
        (name, reference, size, fall, streams * (5 if fall <= NO_FALL[name == "accuracy"] else 1))
        for name, falls in (("accuracy", (0.0, FALL_MARGIN, 0.04, 0.07, 0.1)),
                            ("f1", (0.0, 0.2, 0.4)), ("average_precision", (0.0, 0.2, 0.4)),
                            ("rmse", (0.0, 0.1, 0.3)))
        for reference, size in ((300, 60), (1_000, 200))
        for fall in falls
    ]  # fmt: skip
    table = [
        "| metric | test rows | windows of | slides by | streams | looks | CUSUM | any | late by |",
        "|---" * 9 + "|",
    ]
    for name, reference, size, fall, drawn, *shares, late in pool.map(alarm_rates, jobs):
        cells = [f"{share:.3f}" for share in shares]
        what = fall if name == "accuracy" else f"{fall:g} of its signal"
        what = f"{1 + fall:g} times the error" if name == "rmse" else what
        after = "-" if np.isnan(late) or not fall else f"{late:g}"
        table.append(
            f"| {METRICS[name].title} | {reference} | {size} | {what} | {drawn} | "
            f"{' | '.join(cells)} | {after} |"
        )
    return table


def coverage_table(lines: list[tuple], at: int, shares: tuple) -> list[str]:
    """Return a Markdown table of single (0) or paired (2) intervals."""
    heads = [f"{s:.0%}, n={n}" if s else f"n={n}" for s in shares for n in SIZES]
    table = ["| metric | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    known = {(line[0], line[1], line[2]): line for line in lines}
    for name in LABELLED if shares[0] else COUNTED:
        cells = []
        for share in shares:
            for n in SIZES:
                line = known[name, share, n]
                rest = line[-1] - line[4 + at]
                cell = f"{line[3 + at] / rest:.3f}" if rest > line[-1] / 10 else "-"
                said = line[4 + at] / line[-1]
                cells.append(f"{cell} ({said:.0%} says so)" if said > 0.005 else cell)
        table.append(f"| {METRICS[name].title} | " + " | ".join(cells) + " |")
    return table


def outside(page: str) -> str:
    """Say which single intervals cover less or more than was asked, by the cells of a table."""
    columns, named = [], []
    for line in page.splitlines():
        first, *cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if first == "metric":
            columns = cells
        for column, cell in zip(columns, cells, strict=False):
            share = cell.split(" ")[0]
            if share.startswith(("0.", "1.")) and not LEAST <= float(share) <= MOST:
                named.append(f"{first} at {column} ({share})")
    return f"Outside {LEAST} to {MOST}: {'; '.join(named) or 'none'}."


def gate_table(simulations: int, pool) -> list[str]:
    """Return the rates at which challengers are promoted, and at the rows the gate asks for."""
    cases = [
        ("worse by the margin", "no worse", -MARGIN), ("equal", "better", 0.0),
        ("better by twice the margin", "no worse", 2 * MARGIN),
        ("better by twice the margin", "better", 2 * MARGIN),
    ]  # fmt: skip
    jobs = [(q, n, better, simulations) for _, q, better in cases for n in GATE_SIZES]
    rates = {(q, n, b): (rate, rows) for q, n, b, rate, rows in pool.map(gate_rates, jobs)}
    heads = [f"n={n}" for n in GATE_SIZES]
    table = [
        "| challenger | asked | " + " | ".join(heads) + " | at the n asked for |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for words, question, better in cases:
        cells = [f"{rates[question, n, better][0]:.3f}" for n in GATE_SIZES]
        last = "-"
        if better > 0:
            rows = rates[question, 50, better][1]
            last = f"{gate_rates((question, rows, better, simulations))[3]:.3f} (n={rows})"
        table.append(f"| {words} | {question} | " + " | ".join(cells) + f" | {last} |")
    return table


def report(simulations: int) -> str:
    """Run everything and return the page."""
    with ProcessPoolExecutor() as pool:
        jobs = [(share, n, simulations) for share in (*SHARES, 0) for n in SIZES]
        lines = [line for part in pool.map(coverage, jobs) for line in part]
        promoted = gate_table(simulations, pool)
        jobs = [(n, s, simulations) for s in (1.0, 2.0, 0.5) for n in (50, 100, *SIZES[1:])]
        errors = list(pool.map(calibration_coverage, jobs))
        alarms = alarms_section(max(simulations // 10, 20), pool)
    singles = ["\n".join(coverage_table(lines, 0, shares)) for shares in (SHARES, (0,))]
    parts = [
        "# Do the intervals hold, and does the gate decide right?",
        f"Written by `make calibration` on {date.today()}, {simulations:,} simulations a cell, "
        f"Python {platform.python_version()}. See the head of `benchmarks/calibration.py` for what "
        "is drawn. A cell's own error is about "
        f"{np.sqrt(0.95 * 0.05 / simulations):.3f} where coverage is 0.95.",
        "## Coverage of 95 % intervals, by share of the rarer class",
        *singles,
        outside("\n".join(singles)),
        "## Coverage of paired differences",
        "\n".join(coverage_table(lines, 2, SHARES)),
        "\n".join(coverage_table(lines, 2, (0,))),
        "## How often the gate promotes",
        f"Accuracy 0.85, correlated errors, a margin of {MARGIN}. At most 0.05 of those in the "
        "first two lines may be promoted, and at the rows that the gate asks for (the median of "
        "what it said at n=50) at least 0.80 of the others.",
        "\n".join(promoted),
        "## Calibration error, debiased",
        "| n | logits stated | true error | mean estimate | coverage |\n|---|---|---|---|---|\n"
        + "\n".join(
            f"| {n} | x {s:g} | {true:.3f} | {mean:.3f} | {held:.3f} |"
            for n, s, true, held, mean in errors
        ),
        alarms,
    ]
    return "\n\n".join(parts) + "\n"


def alarms_section(streams: int, pool) -> str:
    """Return the part of the page about alarms."""
    return "\n\n".join([
        "## Alarms on a fall of the metric",
        f"From the fifth of 12 windows on the metric slides, for "
        f"four windows; a loss of {FALL_MARGIN} (of RMSE, of its figure) would not matter. Where "
        "nothing falls by more, at most 0.05 may ring. The looks are at each window and at the "
        "newest half of all; the CUSUM is over the rows in order.",
        "\n".join(alarm_table(streams, pool)),
    ])  # fmt: skip


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2_000)
    parser.add_argument("--alarms", action="store_true", help="print the part about alarms alone")
    parser.add_argument("--print", action="store_true", help="print it, do not store it")
    options = parser.parse_args()
    if options.alarms:
        with ProcessPoolExecutor() as pool:
            print(alarms_section(max(options.simulations // 10, 20), pool))
        return
    page = report(options.simulations)
    if options.print:
        print(page)
    else:
        (Path(__file__).parent / "CALIBRATION.md").write_text(page)


if __name__ == "__main__":
    main()
