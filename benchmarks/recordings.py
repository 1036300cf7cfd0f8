"""What the recorded real models reached, as tables; it asks no model.

    python benchmarks/recordings.py

Scores are shares of right answers with 95 % intervals (Wilson). Times are of the day and machine of
the recording; CPU times, which other work disturbs less, are of the model's server for an answer:
the mean of 20 rows that were asked one at a time, with its interval (bootstrap).
"""

import os
import tempfile

import pandas as pd
from results import record

TITLE = "Real models, recorded"


def figures():
    """Yield the lines of a table: each recording, each scenario, each part that is whole."""
    from diptych.llmops import record_plan, recorded
    from diptych.llmops.client import recordings

    heads = ["recording", "scenario", "prompt", "split", "examples", "n", "right", "unreadable"]
    yield row([*heads, "ECE", "CPU ms", "p50 ms"])
    yield "|---|---|---|---|---:|---:|---|---:|---:|---:|---:|"
    for name in recordings.folders():
        parts = recordings.load(name).facts["parts"]
        for scenario in (one for one in parts if one in record_plan.SCOPES):
            cpu = recorded.compute(name, scenario)
            for line in recorded.measured(name, scenario).itertuples(index=False):
                prompt, shots, split, n, score, low, high, unreadable, error, p50 = line
                right = f"{score:.3f} ({low:.3f} to {high:.3f})"
                cells = [name, scenario, prompt, split, shots, n, right]
                cells += [shown(unreadable, ".3f"), shown(error, ".3f")]
                each = cpu.get((prompt, shots)) if split == "test" else None
                cells += [f"{each.value:.0f} ({each.low:.0f} to {each.high:.0f})" if each else "-"]
                cells += [shown(p50, ".0f")]
                yield row(cells)


def tuned():
    """Yield a table of adapters: labels, steps, seconds."""
    from diptych.llmops import recorded
    from diptych.llmops.client import recordings

    yield "| LoRA | labels | steps | CPU s | wall s | MB | test n | right |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    found = [(recordings.load(name).facts, name) for name in recordings.folders()]
    known = [
        (facts["labels"], name, facts["adapter"]) for facts, name in found if "labels" in facts
    ]
    for labels, name, adapter in sorted(known):
        of_test = recorded.measured(name, "sentiment").query("split == 'test'")
        for line in of_test.itertuples():
            right = f"{line.score:.3f} ({line.low:.3f} to {line.high:.3f})"
            yield row([name, labels, adapter["steps"], adapter["cpu_s"], adapter["seconds"],
                       round(adapter["bytes"] / 1e6, 1), line.n, right])  # fmt: skip


def further():
    """Yield what else was recorded: repeats, judge, inventions, load, when and where."""
    from diptych.llmops import recorded
    from diptych.llmops.client import recordings

    for name in recordings.folders():
        recording = recordings.load(name)
        yield f"- {name}: {recording.when()}."
        repeats = recorded.stability(name, "sentiment")
        for line in repeats.itertuples():
            label = f"the label changed in {line.changed:.0%} of {line.rows} rows"
            yield f"  - {line.name}, {line.repeats} times: {label}"
        inventions = recorded.hallucination(name)
        if len(inventions):
            share = inventions.attrs["invented"]
            ways = "; ".join(
                f"{x.name} AUROC {x.value:.3f} ({x.low:.3f} to {x.high:.3f}), n={x.n}"
                for x in inventions.itertuples()
            )
            yield f"  - product cards: {share.value:.0%} of {share.n} answers invented; {ways}"
        judge = recorded.judged(name, "chatbot")
        if "not recorded" not in judge:
            yield f"  - as judge of its answers to `support`: {judge}"
        for line in recorded.load(name, "sentiment").itertuples(index=False):
            values = line._asdict()
            yield (f"  - {values['concurrency']} at once: p50 {values['p50_ms']:.0f} ms, "
                   f"{values['requests_per_s']:.2f} requests/s")  # fmt: skip


def shown(value, form):
    """Return a number as text, a dash where there is none."""
    return "-" if value is None or pd.isna(value) else format(value, form)


def row(cells):
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    os.environ.setdefault("DIPTYCH_HOME", tempfile.mkdtemp())
    record(TITLE, [*figures(), "", *tuned(), "", *further()])
