"""Make the hallucination detector anew from labelled answers: weights and a card.

python -m diptych.llmops.hallucination --sources S.jsonl --responses R.jsonl --begin B.tsv --out DIR
"""

from pathlib import Path

import click
import numpy as np

from diptych.llmops.hallucination import train
from diptych.llmops.hallucination.uncertainty import auroc

GOAL = 0.83  # AUROC on RAGTruth's questions; on BEGIN
BEGIN_GOAL = 0.92


@click.command(help=__doc__)
@click.option("--sources", type=click.Path(path_type=Path), required=True,
              help="RAGTruth's sources, JSON lines.")  # fmt: skip
@click.option("--responses", type=click.Path(path_type=Path), required=True,
              help="RAGTruth's answers, JSON lines.")  # fmt: skip
@click.option("--begin", "others", type=click.Path(path_type=Path), multiple=True,
              help="A file of BEGIN, never learnt from.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True,
              help="Folder for detector.json and CARD.md.")  # fmt: skip
def main(sources: Path, responses: Path, others: tuple[Path, ...], out: Path) -> None:
    """Read, fit, judge, write."""
    try:
        data = train.ragtruth(sources, responses)
        read = {path.name: train.begin(path) for path in others}
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    odds = train.crossed(data)
    made = train.calibrated(train.fit(data), odds, data.bad)
    lines = train.report(data, odds, made)
    elsewhere = [
        (f"AUROC, {name}, never learnt from", auroc(own.bad, train.scored(made, own), own.groups))
        for name, own in read.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    made.save(out / "detector.json")
    (out / "CARD.md").write_text(card(data, lines, train.as_lines(elsewhere)), "utf-8")
    click.echo(f"{out / 'detector.json'}: {lines['name'][0]} {lines['value'][0]:.3f}")


def card(data: train.Answers, lines, elsewhere) -> str:
    """Write the card, after the model card (Mitchell et al. 2019), as Markdown."""
    reached = lines["value"][0] >= GOAL
    other = all(elsewhere["value"] >= BEGIN_GOAL)
    table = ["| measured | value (95% interval) | n |", "| --- | --- | --- |"]
    for row in (*lines.itertuples(), *elsewhere.itertuples()):
        ends = "" if np.isnan(row.low) else f" ({row.low:.3f} to {row.high:.3f})"
        table.append(f"| {row.name} | {row.value:.3f}{ends} | {row.n} |")
    return f"""# Card: the hallucination detector in the box

- File: `detector.json`, numbers only: two logistic regressions, {len(data.names)} features of a
  sentence and {len(train.pooled_names(data.names))} of an answer. No text of anyone's is in it.
- Learnt from: {len(data.bad):,} answers to {len(np.unique(data.groups)):,} questions of RAGTruth
  (QA, train split; Niu et al. 2024; MIT), {data.bad.mean():.0%} of them with a hallucination.
- Word weights: by length, not by frequency in a corpus; no frequencies of others' texts.
- Probabilities: set by answers to held-out sources (Platt 1999), for the rate above. Where another
  rate is expected, `score(..., rate=)` moves them, and `threshold` flags that share.
- Made by: `python -m diptych.llmops.hallucination --sources … --responses … --begin … --out …`

## Figures

Sources held out in {train.FOLDS} folds: no answer is judged by a detector that saw its source.
Intervals resample sources. BEGIN's generic replies are left out.

{chr(10).join(table)}

Goal of {GOAL} AUROC on held-out sources: {"met" if reached else "**not met**"}. Goal of
{BEGIN_GOAL} on BEGIN, if given: {"met" if other else "**not met**"}.

## What it cannot see

- It sees words, not meaning. A text that says the same in other words looks unsupported, one that
  says the opposite in the source's words looks supported: very abstractive summaries, denials,
  numbers given to the wrong thing.
- Facts that are true but not in the source count as unsupported; a wrong source makes a wrong
  answer look right.
- English only.
"""


if __name__ == "__main__":
    main()
