"""Latency and throughput by requests under way, with intervals from repeated rounds.

A round sends the same requests once at one level of concurrency. Requests of a round wait for each
other, so they are no independent measurements; rounds are.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from diptych.base.http_load import usage
from diptych.core.evaluation import stats

LEVELS = (1, 4, 8, 16, 32)  # requests under way at once, the same in both panels
ROUNDS = 5
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
    before = usage(pid) if pid else None
    calls = send(level, number).assign(concurrency=level, round=number)
    if before is None:
        return calls
    after = usage(pid)
    cpu_ms = 1000 * (after["cpu_s"] - before["cpu_s"]) / len(calls)
    return calls.assign(**{CPU: cpu_ms, MEMORY: after["memory_mb"]})
