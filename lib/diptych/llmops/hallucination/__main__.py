"""Train the hallucination detector on labelled answers; write its weights and its card.

python -m diptych.llmops.hallucination --sources S.jsonl --responses R.jsonl --begin B.tsv --out DIR
"""

from pathlib import Path

import click
import numpy as np

from diptych.llmops.hallucination import train
from diptych.llmops.hallucination.uncertainty import auroc

GOAL = 0.83  # AUROC on RAGTruth's questions; on BEGIN
BEGIN_GOAL = 0.92
# Test set, AUROC with interval, answers, AUROC of the answer's length alone
ELSEWHERE = (
    ("RAGTruth QA, test split", "0.836 (0.789 to 0.878)", "600", "0.671"),
    ("BEGIN-wow, test split", "0.923", "not stated", "not measured"),
    ("HaluEval", "0.914", "not stated", "0.940"),
)


@click.command(help=__doc__)
@click.option("--sources", type=click.Path(path_type=Path), required=True,
              help="RAGTruth's sources, JSON lines.")  # fmt: skip
@click.option("--responses", type=click.Path(path_type=Path), required=True,
              help="RAGTruth's answers, JSON lines.")  # fmt: skip
@click.option("--begin", "others", type=click.Path(path_type=Path), multiple=True,
              help="A file of BEGIN, for testing only.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True,
              help="Folder for detector.json and CARD.md.")  # fmt: skip
def main(sources: Path, responses: Path, others: tuple[Path, ...], out: Path) -> None:
    """Read, fit, test, write."""
    try:
        data = train.ragtruth(sources, responses)
        tests = {path.name: train.begin(path) for path in others}
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    odds = train.crossed(data)
    detector = train.calibrated(train.fit(data), odds, data.bad)
    lines = train.report(data, odds, detector)
    elsewhere = [
        (f"AUROC, {name}, not trained on",
         auroc(answers.bad, train.scored(detector, answers), answers.groups))
        for name, answers in tests.items()
    ]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    detector.save(out / "detector.json")
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
  sentence and {len(train.pooled_names(data.names))} of an answer. It contains no text.
- Trained on: {len(data.bad):,} answers to {len(np.unique(data.groups)):,} questions of RAGTruth
  (QA, train split; Niu et al. 2024; MIT), {data.bad.mean():.0%} of them with a hallucination.
- Word weights: by word length, not by frequency in a corpus.
- Probabilities: calibrated on held-out sources (Platt 1999), for the rate above. For another
  expected rate, `score(..., rate=)` adjusts them, and `threshold` flags that share.
- Made by: `python -m diptych.llmops.hallucination --sources … --responses … --begin … --out …`

## Figures

Cross-validation by source in {train.FOLDS} folds: no detector is tested on a source that it was
trained on. Intervals resample sources. BEGIN's generic replies are left out.

{chr(10).join(table)}

Goal of {GOAL} AUROC on held-out sources: {"met" if reached else "**not met**"}. Goal of
{BEGIN_GOAL} on BEGIN, if given: {"met" if other else "**not met**"}.

{elsewhere_section()}
## What it cannot see

- It compares words, not meaning. A paraphrase looks unsupported; a denial, or a number given to the
  wrong thing, looks supported if it uses the source's words.
- A true fact that the source lacks counts as unsupported; a wrong source makes a wrong answer look
  supported.
- English only.
"""


def elsewhere_section() -> str:
    """Return the figures on test sets that the command does not read, apart from its own."""
    rows = "\n".join(f"| {' | '.join(line)} |" for line in ELSEWHERE)
    return f"""## Measured elsewhere, not by this command

Figures of the detector that comes with Diptych, on test sets that had no part in making it. The
command above does not read them, so it cannot reproduce these. Baseline: the answer's length alone.

| test set | AUROC (95% interval) | n | baseline |
| --- | --- | --- | --- |
{rows}

On HaluEval the length alone does better than the detector, so that figure proves nothing.
"""


if __name__ == "__main__":
    main()
