"""Latency and throughput by requests under way, with intervals from repeated rounds.

A round sends the same requests once at one level of concurrency. Requests of a round wait for each
other, so they are no independent measurements; rounds are.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from diptych.base.http_load import usage
from diptych.core.evaluation import stats
from diptych.core.evaluation.stats import Estimate

LEVELS = (1, 4, 8, 16, 32)  # requests under way at once, the same in both panels
ROUNDS = 5
FEWEST = 3  # levels with figures that tell where throughput stops rising
DRAWS = 4_000
P50, P95, FIRST_TOKEN, THROUGHPUT, CPU, MEMORY = MEASURED = (
    "p50_ms",
    "p95_ms",
    "first_token_p50_ms",
    "requests_per_s",
    "cpu_ms",  # of the server, a request
    "memory_mb",  # of the server, after the round
)


def of_rounds(calls: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each level, its figures with 95 % intervals over the rounds.

    Parameters
    ----------
    calls : DataFrame
        A line for each request: ``concurrency``, ``round``, ``latency_ms``, ``error`` ("" where it
        was answered) and ``wall_s`` of its round; ``first_token_ms`` where answers stream,
        ``cpu_ms`` and ``memory_mb`` where the server runs on this machine.

    Returns
    -------
    DataFrame
        ``concurrency``, ``rounds``, ``requests``, ``failed``, and of each of `MEASURED` its
        ``value``, ``low`` and ``high`` as ``p50_ms``, ``p50_ms low``, ``p50_ms high``. A level at
        which a request failed has no figures (NaN): those answered would look faster than all.
    """
    lines = []
    for level, group in calls.groupby("concurrency"):
        failed = int((group["error"] != "").sum())
        line = {
            "concurrency": int(level),
            "rounds": group["round"].nunique(),
            "requests": len(group),
            "failed": failed,
        }
        rounds = pd.DataFrame([_round(one) for _, one in group.groupby("round")])
        for name in MEASURED:
            known = name in rounds and not failed and (rounds[name] > 0).all()
            estimate = stats.repeated(rounds[name]) if known else None
            value, low, high = (
                (estimate.value, estimate.low, estimate.high) if estimate else [np.nan] * 3
            )
            line |= {name: value, f"{name} low": low, f"{name} high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def _round(calls: pd.DataFrame) -> dict[str, float]:
    """Return the figures of one round."""
    figures = {
        P50: calls["latency_ms"].quantile(0.5),
        P95: calls["latency_ms"].quantile(0.95),
        THROUGHPUT: len(calls) / calls["wall_s"].iloc[0],
    }
    if "first_token_ms" in calls:
        figures[FIRST_TOKEN] = calls["first_token_ms"].quantile(0.5)
    return figures | {name: calls[name].iloc[0] for name in (CPU, MEMORY) if name in calls}


def lowest_utilisation(curve: pd.DataFrame) -> float:
    """Return the throughput with the fewest requests under way, as a share of the measured peak.

    NaN where fewer than `FEWEST` levels have figures: the peak is not known then.

    Parameters
    ----------
    curve : DataFrame
        As `of_rounds` returns it.
    """
    rates = _measured(curve)[THROUGHPUT]
    return float(rates.iloc[0] / rates.max()) if len(rates) >= FEWEST else np.nan


def at_utilisation(
    curve: pd.DataFrame, share: float, name: str = P95, seed: int = 0
) -> tuple[Estimate, float]:
    """Return what requests take where throughput first reaches a share of its measured peak.

    Between two levels the requests under way and the logarithm of the figure go with throughput
    in a straight line. The interval is that of curves drawn anew: throughput and figure of each
    level by Student's distribution of its rounds, on logarithms. Where the first level reaches the
    share, figure and interval are that level's: there is no load below it.

    Parameters
    ----------
    curve : DataFrame
        As `of_rounds` returns it, with `FEWEST` levels that have figures.
    share : float
        Of the highest measured throughput, above 0 and at most 1.
    name : str
        One of `MEASURED`.

    Returns
    -------
    Estimate, float
        With the number of levels as its ``n``, and the requests under way there.
    """
    lines = _measured(curve)
    levels, random = lines["concurrency"].to_numpy(float), np.random.default_rng(seed)
    rates, figures = (_logs(lines, column) for column in (THROUGHPUT, name))
    value, level = _reached(levels, rates[0], figures[0], share)
    if level == levels[0]:
        first, low, high = (float(lines[name + end].iloc[0]) for end in ("", " low", " high"))
        return Estimate(first, low, high, len(lines)), float(level)
    drawn_rates, drawn = (_drawn(one, lines["rounds"], random) for one in (rates, figures))
    low, high = np.quantile(_reached(levels, drawn_rates, drawn, share)[0], [0.025, 0.975])
    first, low, high = np.exp([value, min(low, value), max(high, value)]).tolist()
    return Estimate(first, low, high, len(lines)), float(level)


def _measured(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the levels that have figures, in their order."""
    if curve.empty:
        return pd.DataFrame(columns=["concurrency", "rounds", THROUGHPUT])
    return curve[curve[THROUGHPUT].notna()].sort_values("concurrency")


def _logs(lines: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of a figure and half their intervals, by level."""
    value, low, high = (np.log(lines[name + end].to_numpy(float)) for end in ("", " low", " high"))
    return value, (high - low) / 2


def _drawn(logs: tuple, rounds: pd.Series, random: np.random.Generator) -> np.ndarray:
    """Return levels as they might have been measured, shape (`DRAWS`, levels)."""
    from scipy.stats import t

    value, half = logs
    free = rounds.to_numpy(float) - 1
    spread = random.standard_t(free, (DRAWS, len(value))) / t.ppf(0.975, free)
    return value + half * spread


def _reached(
    levels: np.ndarray, rates: np.ndarray, figures: np.ndarray, share: float
) -> np.ndarray:
    """Return the logarithms of the figure and the levels at a share of each curve's peak.

    Parameters
    ----------
    levels : array of shape (levels,)
    rates, figures : array of shape (..., levels)
        Logarithms.

    Returns
    -------
    array of shape (2, ...)
    """
    shares = np.exp(rates - rates.max(axis=-1, keepdims=True))
    after = np.argmax(shares >= share - 1e-9, axis=-1)[..., None]
    before = np.maximum(after - 1, 0)
    at_after, at_before = (np.take_along_axis(shares, one, -1) for one in (after, before))
    part = (share - at_before) / np.where(after > 0, at_after - at_before, np.inf)
    both = np.broadcast_arrays(figures, levels)
    ends = [[np.take_along_axis(one, at, -1) for at in (before, after)] for one in both]
    return np.stack([(first + part * (last - first))[..., 0] for first, last in ends])


def measure(
    send: Callable[[int, int], pd.DataFrame],
    levels: Sequence[int] = LEVELS,
    rounds: int = ROUNDS,
    pid: int | None = None,
) -> pd.DataFrame:
    """Send the requests `rounds` times at each level and return all calls, as `of_rounds` has them.

    Parameters
    ----------
    send : callable
        From the level and the number of the round to its calls: ``latency_ms``, ``error``,
        ``wall_s``, and ``first_token_ms`` where answers stream.
    pid : int, optional
        Of the server, where it runs on this machine; its processor time and memory are measured.

    Raises
    ------
    ValueError
        If there is no level, one is below 1, or there are fewer than two rounds.
    """
    if not levels or min(levels) < 1:
        raise ValueError(f"levels: {list(levels)}; give requests under way, each at least 1")
    if rounds < 2:
        raise ValueError(f"rounds: {rounds}; an interval takes at least 2")
    # levels in turn, so that a slow minute of the machine meets all of them
    order = [(level, number) for number in range(rounds) for level in dict.fromkeys(levels)]
    return pd.concat([_sent(send, *one, pid) for one in order], ignore_index=True)


def _sent(send: Callable, level: int, number: int, pid: int | None) -> pd.DataFrame:
    """Return the calls of one round, with what it took of the server's machine."""
    before = None if pid is None else usage(pid)
    calls = send(level, number).assign(concurrency=level, round=number)
    if pid is None or before is None:
        return calls
    after = usage(pid)
    cpu_ms = 1000 * (after["cpu_s"] - before["cpu_s"]) / len(calls)
    return calls.assign(**{CPU: cpu_ms, MEMORY: after["memory_mb"]})
