"""An endpoint under load: time to the first token, tokens and requests a second, on the record."""

import time
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.batch import BatchError, ask_batch

LEVELS = (1, 8, 32)  # requests under way at once


def fresh(purpose: str) -> int:
    """Return a repeat number of a purpose's own: what is timed is asked now, not read from records.

    Name the run and what it asks for. The number fits the 31 bits that a database has for it.
    """
    return zlib.crc32(purpose.encode()) & 0x7FFFFFFF


def drive(
    requests: Sequence,
    levels: Sequence[int] = LEVELS,
    *,
    run: str,
    progress: bool = False,
    **options,
) -> pd.DataFrame:
    """Stream the answers to all requests once at each level of concurrency.

    Parameters
    ----------
    requests : sequence
        As `diptych.llmops.client.ask.ask_many` takes them.
    levels : sequence of int
        Requests under way at once.
    run : str
        The run that asks; each run measures anew.
    **options
        As `ask_many` takes them.

    Returns
    -------
    DataFrame
        One line per request and level: ``concurrency``, ``first_token_ms``, ``latency_ms``,
        ``prompt_tokens``, ``completion_tokens``, ``usd``, ``error``, and ``wall_s`` of its level.
    """
    frames = []
    for number, level in enumerate(levels):
        began = time.perf_counter()
        answers = ask_many(
            requests, concurrency=level, stream=True, run=run, progress=progress,
            repeat=fresh(f"{run} load {number}"), **options,
        )  # fmt: skip
        names = ("first_token_ms", "latency_ms", "prompt_tokens", "completion_tokens", "usd")
        lines = [[getattr(answer, name) for name in names] for answer in answers]
        frame = pd.DataFrame(lines, columns=list(names), dtype="float64")
        frame.insert(0, "concurrency", level)
        frame["error"] = [answer.error for answer in answers]
        frame["wall_s"] = time.perf_counter() - began
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def summary(calls: pd.DataFrame) -> pd.DataFrame:
    """Return a line per concurrency: counts, percentiles in milliseconds, and rates.

    Rates count what was answered in the level's time. ``tokens_per_s`` is of all answers together,
    ``tokens_per_s_each`` the median of one answer's own speed after its first token.
    """
    lines = []
    for level, group in calls.groupby("concurrency"):
        good, wall = group[group["error"] == ""], group["wall_s"].iloc[0]
        after = (good["latency_ms"] - good["first_token_ms"]).where(lambda ms: ms > 0) / 1000
        first, latency = _percentiles(good["first_token_ms"]), _percentiles(good["latency_ms"])
        lines.append({
            "concurrency": level,
            "ok": len(good),
            "failed": len(group) - len(good),
            "first_token_p50_ms": first[0],
            "first_token_p95_ms": first[1],
            "p50_ms": latency[0],
            "p95_ms": latency[1],
            "requests_per_s": len(good) / wall,
            "tokens_per_s": good["completion_tokens"].sum() / wall,
            "tokens_per_s_each": ((good["completion_tokens"] - 1) / after).median(),
        })  # fmt: skip
    return pd.DataFrame(lines)


def beside_batch(requests: Sequence, *, run: str, **options) -> pd.DataFrame:
    """Ask the same in real time and in a batch.

    A remote batch is the same in every run: one that is still worked through, or was paid for
    before, is taken up and not made anew.

    Parameters
    ----------
    requests : sequence
        As `diptych.llmops.client.ask.ask_many` takes them.
    **options
        What `ask_many` and `diptych.llmops.client.batch.ask_batch` both take, and ``poll_s`` and
        ``wait_s`` of the second.

    Returns
    -------
    DataFrame
        ``name``, ``ok``, ``failed``, ``cached``, ``tokens in``, ``tokens out``, ``usd`` (NaN where
        not known), ``wall_s`` and ``note``: why there is no batch, of an endpoint without batches
        or of one that is still worked through.
    """
    patience = {name: options.pop(name) for name in ("poll_s", "wait_s") if name in options}
    made_here = options.get("endpoint", "local") == "local"
    lines = []
    for name, ask, more in (("real time", ask_many, {}), ("batch", ask_batch, patience)):
        own = run if made_here or name == "real time" else ""
        began, note = time.perf_counter(), ""
        try:
            answers = ask(requests, run=run, repeat=fresh(f"{own} {name}"), **options, **more)
        except BatchError as error:
            answers, note = [], str(error)
        failed = sum(bool(answer.error) for answer in answers)
        usd = [np.nan if x.usd is None else x.usd for x in answers if not x.error]
        lines.append({
            "name": name,
            "ok": len(answers) - failed,
            "failed": failed,
            "cached": sum(answer.cached for answer in answers),
            "tokens in": sum(answer.prompt_tokens or 0 for answer in answers),
            "tokens out": sum(answer.completion_tokens or 0 for answer in answers),
            "usd": sum(usd) if usd else np.nan,
            "wall_s": time.perf_counter() - began,
            "note": note,
        })  # fmt: skip
    return pd.DataFrame(lines)


def _percentiles(values: pd.Series) -> np.ndarray:
    """Return the median and the 95th percentile of what is known, else NaN."""
    known = values.dropna()
    return np.percentile(known, [50, 95]) if len(known) else np.full(2, np.nan)
