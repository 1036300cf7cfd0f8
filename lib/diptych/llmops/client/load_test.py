"""An endpoint under load: time to the first token, tokens and requests a second, on the record."""

import itertools
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.core.evaluation import load_curve
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.batch import POLL_S, BatchError, ask_batch
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.formats import tolerant
from diptych.llmops.client.target import Target
from diptych.llmops.server import process, sizing

LEVELS = load_curve.LEVELS  # requests under way at once


def unused_repeat(purpose: str) -> int:
    """Return a repeat number of a purpose's own, so that what is timed is asked anew.

    Name the run and what it asks for. The number fits the 31 bits that a database has for it.
    """
    return zlib.crc32(purpose.encode()) & 0x7FFFFFFF


def drive(
    requests: Sequence,
    levels: Sequence[int],
    target: Target,
    options: CallOptions,
    rounds: int = load_curve.ROUNDS,
    count: int = 0,
) -> pd.DataFrame:
    """Stream the answers to requests `rounds` times at each level of concurrency.

    Parameters
    ----------
    requests : sequence
        As `diptych.llmops.client.ask.ask_many` takes them.
    levels : sequence of int
        Requests under way at once, such as `LEVELS`.
    target : Target
        Of a recording only the service times are known: one request at a time.
    options : CallOptions
        With ``run``: each run measures anew. Concurrency, stream and repeat are set here.
    rounds : int
    count : int
        How many requests a round takes, as many as the level is high at least: the next ones each
        time, so that no server answers by what it remembers, and from the first again where they
        end. 0: all of them each time.

    Returns
    -------
    DataFrame
        One line per request, round and level: ``concurrency``, ``round``, ``first_token_ms``,
        ``latency_ms``, ``prompt_tokens``, ``completion_tokens``, ``usd``, ``answer_tokens``
        (without thoughts; NaN where these are not counted), ``error``, ``wall_s`` of its round,
        and of a server on this machine ``cpu_ms`` and ``memory_mb``.

    Raises
    ------
    ValueError
        If the options name no run, or levels or rounds are too few.
    """
    run = options.required_run()
    if target.is_recorded:
        return pd.concat([_recorded(requests, level, target, options, rounds) for level in levels])

    supply = itertools.cycle(requests)

    def send(level: int, number: int) -> pd.DataFrame:
        size = max(count, level) if count else len(requests)
        some = list(itertools.islice(supply, size))
        began = time.perf_counter()
        repeat = unused_repeat(f"{run} load {level} {number}")
        answers = ask_many(
            some, target, replace(options, concurrency=level, stream=True, repeat=repeat)
        )
        wall_s = time.perf_counter() - began
        names = ("first_token_ms", "latency_ms", "prompt_tokens", "completion_tokens", "usd")
        lines = [[getattr(answer, name) for name in names] for answer in answers]
        frame = pd.DataFrame(lines, columns=list(names), dtype="float64")
        errors, tokens = zip(*((one.error, _answer_tokens(one)) for one in answers), strict=True)
        return frame.assign(answer_tokens=tokens, error=errors, wall_s=wall_s)

    target = anew(target, len(requests))
    pid = process.start(**target.server).pid if target.is_local else None
    return load_curve.measure(send, levels, rounds, pid)


def anew(target: Target, count: int) -> Target:
    """Return a target that reads each of `count` prompts, also where it was asked them before.

    A server of this machine keeps the last prompt of each slot. Where all fit there, it is told to
    read them from their start; of more it has kept none but what they have in common.
    """
    if not target.is_local:
        return target
    server = target.server
    model = process.model_file(server.get("model"))
    if count > sizing.fit(model, server.get("slots", 0), server.get("context", 0)).slots:
        return target
    return replace(target, parameters={**target.parameters, "cache_prompt": False})


def _answer_tokens(answer: Answer) -> float:
    """Return the tokens of the answer itself, which come after the first one."""
    thoughts = tolerant.read(answer.response).thoughts
    known = answer.completion_tokens is not None and thoughts is not None
    return float(max(0, answer.completion_tokens - thoughts)) if known else np.nan


def _recorded(
    requests: Sequence, level: int, target: Target, options: CallOptions, rounds: int
) -> pd.DataFrame:
    """Return one level of a recording: the service times of that day, and no other level.

    The requests were sent once, one at a time, so each round has every `rounds`-th of them.
    """
    names = ("first_token_ms", "latency_ms", "prompt_tokens", "completion_tokens", "usd")
    answers = ask_many(requests, target, replace(options, repeat=0)) if level == 1 else []
    lines = [[getattr(answer, name) for name in names] for answer in answers]
    frame = pd.DataFrame(lines or [[np.nan] * len(names)] * len(requests), columns=list(names))
    frame = frame.astype("float64")
    frame["answer_tokens"] = [_answer_tokens(answer) for answer in answers] or np.nan
    frame.insert(0, "concurrency", level)
    frame["error"] = [answer.error for answer in answers] or f"not recorded at {level} at once"
    frame["round"] = np.arange(len(frame)) % rounds
    seconds = frame.groupby("round")["latency_ms"].transform("sum") / 1000
    frame["wall_s"] = seconds if answers else np.nan
    return frame


def summary(calls: pd.DataFrame) -> pd.DataFrame:
    """Return a line per concurrency: counts, percentiles in milliseconds, and rates.

    Rates count what was answered in the level's time. ``tokens_per_s`` is of all answers together,
    ``tokens_per_s_each`` the median of one answer's own speed after its first token, and
    ``between_tokens_p50_ms`` of its time between two tokens. ``queueing_p50_ms`` is what the
    requests under way add to the median of one request at a time, the service time; NaN where
    that level was not measured.
    """
    lines, service_ms = [], alone(calls)["p50_ms"]
    for level, group in calls.groupby("concurrency"):
        good = group[group["error"] == ""]
        wall = group.groupby("round")["wall_s"].first().sum(min_count=1)
        after = (good["latency_ms"] - good["first_token_ms"]).where(lambda ms: ms > 0) / 1000
        later = (good["answer_tokens"] - 1).where(lambda count: count > 0)
        first, latency = _percentiles(good["first_token_ms"]), _percentiles(good["latency_ms"])
        lines.append({
            "concurrency": level,
            "ok": len(good),
            "failed": len(group) - len(good),
            "first_token_p50_ms": first[0],
            "first_token_p95_ms": first[1],
            "p50_ms": latency[0],
            "p95_ms": latency[1],
            "queueing_p50_ms": max(0.0, latency[0] - service_ms) if service_ms == service_ms
            else np.nan,
            "between_tokens_p50_ms": (1000 * after / later).median(),
            "requests_per_s": len(good) / wall,
            "tokens_per_s": good["completion_tokens"].sum() / wall,
            "tokens_per_s_each": (later / after).median(),
        })  # fmt: skip
    return pd.DataFrame(lines)


def alone(calls: pd.DataFrame) -> dict[str, float]:
    """Return ``p50_ms``, ``p95_ms`` and ``p99_ms`` of one request at a time, NaN without any.

    This is the service time: no request waits for another.
    """
    one = calls[(calls["concurrency"] == 1) & (calls["error"] == "")]["latency_ms"]
    return {f"p{percent}_ms": float(one.quantile(percent / 100)) for percent in (50, 95, 99)}


def beside_batch(
    requests: Sequence,
    target: Target,
    options: CallOptions,
    *,
    poll_s: float = POLL_S,
    wait_s: float | None = None,
) -> pd.DataFrame:
    """Ask the same in real time and in a batch.

    A remote batch is the same in every run: one that is still worked through, or was paid for
    before, is taken up and not made anew.

    Parameters
    ----------
    requests : sequence
        As `diptych.llmops.client.ask.ask_many` takes them.
    target : Target
    options : CallOptions
        With ``run``; the repeat is set here.
    poll_s, wait_s
        See `diptych.llmops.client.batch.ask_batch`.

    Returns
    -------
    DataFrame
        ``name``, ``ok``, ``failed``, ``cached``, ``tokens in``, ``tokens out``, ``usd`` (NaN where
        not known), ``wall_s`` and ``note``: why there is no batch, of an endpoint without batches
        or of one that is still worked through.

    Raises
    ------
    ValueError
        If the options name no run.
    """
    run, target = options.required_run(), anew(target, len(requests))
    if target.is_recorded:
        alone = replace(options, repeat=0)
        line = _line("real time", ask_many(requests, target, alone), time.perf_counter())
        taken = _recorded(requests, 1, target, options)["wall_s"].iloc[0]
        return pd.DataFrame([{**line, "wall_s": taken, "note": "one after the other, recorded"}])
    began = time.perf_counter()
    now = replace(options, repeat=unused_repeat(f"{run} real time"))
    lines = [_line("real time", ask_many(requests, target, now), began)]
    began, note = time.perf_counter(), ""
    # a remote batch is nobody's own: the next run takes it up
    later = replace(options, repeat=unused_repeat(f"{run if target.is_local else ''} batch"))
    try:
        answers = ask_batch(requests, target, later, poll_s=poll_s, wait_s=wait_s)
    except BatchError as error:
        answers, note = [], str(error)
    lines.append(_line("batch", answers, began, note))
    return pd.DataFrame(lines)


def _line(name: str, answers: Sequence[Answer], began: float, note: str = "") -> dict:
    """Return the line of one way to ask."""
    wall_s = time.perf_counter() - began
    failed = sum(bool(answer.error) for answer in answers)
    usd = [np.nan if answer.usd is None else answer.usd for answer in answers if not answer.error]
    return {
        "name": name,
        "ok": len(answers) - failed,
        "failed": failed,
        "cached": sum(answer.cached for answer in answers),
        "tokens in": sum(answer.prompt_tokens or 0 for answer in answers),
        "tokens out": sum(answer.completion_tokens or 0 for answer in answers),
        "usd": sum(usd) if usd else np.nan,
        "wall_s": wall_s,
        "note": note,
    }


def _percentiles(values: pd.Series) -> np.ndarray:
    """Return the median and the 95th percentile of what is known, else NaN."""
    known = values.dropna()
    return np.percentile(known, [50, 95]) if len(known) else np.full(2, np.nan)
