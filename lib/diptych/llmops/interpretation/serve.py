"""What the outputs of ``llmops/4_serve`` show."""

from collections.abc import Sequence

import pandas as pd

from diptych.llmops.interpretation.words import count, is_known, listed

FEW = 20  # rows of a window below which its figure is hardly one
ENOUGH = 1.1  # a level must raise the throughput by a tenth to be worth its latency


def of_windows(rows: pd.DataFrame, notes: Sequence[str]) -> list[str]:
    """Say how many live rows there are by window, and which windows say little."""
    few = rows.loc[rows["rows"] < FEW, "window"]
    lines = [
        f"{count(rows['rows'].sum(), 'live row')} in {count(len(rows), 'window')}, from "
        f"{rows['window'].iloc[0]} to {rows['window'].iloc[-1]}."
        if len(rows)
        else "There are no live rows, so nothing can be served."
    ]
    if len(few):
        lines.append(f"Few rows have {listed(few)}: read their figures with their intervals.")
    return [*lines, *notes]


def of_stream(pieces: pd.DataFrame) -> list[str]:
    """Say when the first piece of an answer came, and what each further one took."""
    if pieces.empty:
        return ["The answer has no text, so there is no first token to time."]
    first, last, n = pieces["ms"].iloc[0], pieces["ms"].iloc[-1], len(pieces)
    lines = [f"The first piece came after {first:.1f} ms, the last of {n} after {last:.1f} ms."]
    if n == 1:
        return [*lines, "With one piece there is nothing to stream: TTFT is the latency. What to "
                        "do: shorten the prompt, if it is too slow."]  # fmt: skip
    return [*lines, f"Each further piece took {(last - first) / (n - 1):.1f} ms. What to do: a "
                    "shorter prompt brings the first sooner, a short answer the last."]  # fmt: skip


def of_log(log: pd.DataFrame, quantiles: pd.DataFrame) -> list[str]:
    """Say how many requests have an answer and a record, and how far the slowest lie out."""
    failed = int((log["status"] != "ok").sum())
    lines = [f"{count(len(log), 'request')}, each with its record; {failed} failed."]
    p50, p99 = (quantiles.loc[name, "latency_ms"] for name in ("p50", "p99"))
    first = quantiles.loc["p50", "first_token_ms"]
    if not is_known(float(p50)):
        return [*lines, "None has a latency. What to do: look at the errors in the ledger."]
    share = f"{first / p50:.0%} until the first token" if is_known(float(first)) else "no TTFT"
    return [*lines, f"Half took no more than {p50:.0f} ms ({share}), one in a hundred more than "
                    f"{p99:.0f} ms. What to do: promise the last, not the first."]  # fmt: skip


def of_load(load: pd.DataFrame) -> list[str]:
    """Say from which level on more requests at once only wait."""
    known = load.dropna(subset=["requests_per_s", "p95_ms"])
    if known.empty:
        return ["No level has a throughput: calls failed, or a recording answered."]
    one, best = known.iloc[0], known.loc[known["requests_per_s"].idxmax()]
    enough = known[known["requests_per_s"] * ENOUGH >= best["requests_per_s"]].iloc[0]
    return [
        f"{count(one['concurrency'], 'request')} at once: {one['requests_per_s']:.0f} a second, "
        f"p95 {one['p95_ms']:.0f} ms; at {best['concurrency']:.0f} it is "
        f"{best['requests_per_s']:.0f} a second and {best['p95_ms']:.0f} ms.",
        f"{enough['concurrency']:.0f} at once reach nine tenths of the best throughput; beyond, "
        "requests wait in a queue. What to do: admit so many, and refuse or scale above.",
    ]


def of_batch(both: pd.DataFrame, costs: pd.DataFrame) -> list[str]:
    """Say what a batch took beside real time, and what it would save elsewhere."""
    real, batch = (both.iloc[i] for i in (0, -1))
    lines = [f"In real time {count(real['ok'], 'answer')} took {real['wall_s']:.2f} s, in a batch "
             f"{batch['wall_s']:.2f} s."]  # fmt: skip
    saved = costs["saved"].dropna() if "saved" in costs else pd.Series(dtype=float)
    if saved.empty:
        return [*lines, "No price of a batch is known. What to do: batch only if that is simpler."]
    return [*lines, f"Elsewhere a batch saves up to {saved.max():.0%} of the price. What to do: "
                    "send what nobody waits for, such as an evaluation, in batches."]  # fmt: skip


def of_fallback(summary: pd.DataFrame) -> list[str]:
    """Say how many requests the next link saved."""
    last = summary.iloc[-1]
    lost = int(summary["answered"].sum())
    return [
        f"The first link answered {summary['answered'].iloc[0]:.0f}, the next "
        f"{last['answered']:.0f}: {count(lost, 'request')} had an answer in the end.",
        "What to do: name a fallback, and alarm on its use, for its price and quality differ.",
    ]


def of_formats(formats: pd.DataFrame) -> list[str]:
    """Say whether a schema that is sent is kept to, and where one that is not sent is."""
    known = formats.dropna(subset="value")
    if known.empty:
        return ["Nothing was measured: calls failed."]
    each = "; ".join(f"{x.name}: {x.value:.0%} of {x.n:.0f}" for x in known.itertuples(index=False))
    lowest = known["low"].min()
    return [f"Answers that keep to the schema: {each}.",
            f"With so many rows the true share may be as low as {lowest:.0%}. What to do: check "
            "every answer in the program all the same."]  # fmt: skip


def of_record(verdict: pd.DataFrame) -> list[str]:
    """Say what of a live latency is waiting, and what 1,000 answers cost."""
    values = dict(zip(verdict["measured"], verdict["value"], strict=True))
    wait, p50 = values.get("queueing_p50_ms"), values.get("p50_ms")
    usd = values.get("usd_per_1000")
    lines = [
        f"Of {p50:.0f} ms at p50, {wait:.0f} ms are queueing: others under way, not the model."
        if is_known(wait) and is_known(p50)
        else "The queueing time is not known."
    ]
    price = f"{usd:.4f} USD" if is_known(usd) else "an unknown price"
    return [*lines, f"1,000 answers cost {price}. What to do: lower the concurrency for latency, "
                    "raise it for throughput; the contrast reads both."]  # fmt: skip
