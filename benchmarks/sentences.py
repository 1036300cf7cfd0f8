"""Real models on labelled sentences of others: a CSV with `text` and `label` (0 or 1).

    python benchmarks/sentences.py CSV MODEL [--rows 1000] [--labels 160]

MODEL is a name of `diptych model list`. The prompt is the one for instruction models of `reviews`,
where it was chosen on validation rows; no sentence of the CSV chose anything. With `--labels` the
model is first tuned (LoRA) on so many of the sentences, and asked about others. Answers are kept in
the ledger of the workspace, so a run that was stopped goes on.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from diptych.base import workspace
from diptych.core.data import tasks
from diptych.core.evaluation import stats
from diptych.llmops import data as stage
from diptych.llmops import finetuning
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.prompts.variant import Variant

PROMPT, NAMES = "instruct/label_only", {0: "negative", 1: "positive"}


def sentences(file: Path) -> pd.DataFrame:
    """Return the sentences in random order, each once, with their labels named."""
    table = pd.read_csv(file).drop_duplicates("text").sample(frac=1, random_state=0)
    return table.assign(label=table["label"].map(NAMES), id=table.index)


def tuned(variant: Variant, rows: pd.DataFrame) -> Variant:
    """Return the variant with its model tuned on rows, and print what that took."""
    began, cpu = time.monotonic(), time.process_time()
    result = finetuning.tune("lora", variant, rows, workspace.home() / "adapter", progress=True)
    spent = time.process_time() - cpu
    print(f"LoRA: {result}; {spent:.0f} CPU s, {time.monotonic() - began:.0f} s in all")
    return result.variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--labels", type=int, default=0, help="tune the model on so many first")
    options = parser.parse_args()

    task, table = tasks.get("reviews"), sentences(options.file)
    (prompt,) = stage.choose(task, [PROMPT], list(NAMES.values()))
    variant = Variant(prompt, Target.parse(f"local/{options.model}"))
    if options.labels:
        variant = tuned(variant, table.head(options.labels))
    rows = table.iloc[options.labels :].head(options.rows)
    asked = CallOptions(run="sentences", concurrency=6, timeout_s=900.0, progress=True)
    results = evaluate.evaluate([variant], rows, task.grader, asked)
    right = stats.wilson(int(results["correct"].sum()), len(results))
    print(
        f"{options.model}: right {right.value:.3f} ({right.low:.3f} to {right.high:.3f}), "
        f"n={right.n}; {results['predicted'].isna().sum()} without a label, "
        f"{(results['error'] != '').sum()} failed"
    )


if __name__ == "__main__":
    main()
