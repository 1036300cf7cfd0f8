"""``python -m diptych.llmops.pretrain``: train the model, or measure one."""

import itertools
import shutil
from pathlib import Path

import click

from diptych.llmops.pretrain import PRESETS, export, tokenizer, training
from diptych.llmops.pretrain.gates import card, measures

ASSETS = Path(__file__).parents[2] / "assets" / "model"
TOKENIZER_DOCUMENTS = 30_000


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), default="cpu", show_default=True,
              help="cpu: two hours; gpu (CUDA): half an hour; demo: one minute.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False),
              help="For rows, checkpoints, losses.  [default: .diptych/model/PRESET]")  # fmt: skip
@click.option("--kind", type=click.Choice(["q8_0", "f16", "f32"]), default="q8_0",
              show_default=True, help="Precision of the GGUF file.")  # fmt: skip
@click.option("--stop", type=int, help="Stop after this step; the same command resumes there.")
@click.option("--ship", is_flag=True, help="Put the GGUF into the package's assets.")
@click.option("--measure/--no-measure", default=False, help="Measure the gates, write the card.")
@click.option("--only-measure", is_flag=True, help="Do not train; measure the shipped model.")
@click.option("--sentences", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="CSV of real sentences (id, source, text, label) for the gates.")  # fmt: skip
@click.option("--items", default=300, show_default=True, help="Items of each generated gate.")
def main(preset, folder, kind, stop, ship, measure, only_measure, sentences, items):
    """Train the model of a preset; run again to resume from the last checkpoint."""
    folder = folder or Path(".diptych") / "model" / preset
    folder.mkdir(parents=True, exist_ok=True)
    file = ASSETS / "diptych.gguf" if ship or only_measure else folder / f"diptych-{kind}.gguf"
    if not only_measure:
        model = make(folder, PRESETS[preset], stop)
        file.parent.mkdir(parents=True, exist_ok=True)
        export.to_gguf(model, folder / "tokenizer.json", file, kind)
        if ship:
            shutil.copy(folder / "loss.jsonl", ASSETS)
        click.echo(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    if measure or only_measure:
        click.echo(measure_gates(file, folder, preset, sentences, items))


def make(folder: Path, preset, stop: int | None):
    """Return the trained model: train the vocabulary, then the remaining steps."""
    vocabulary = folder / "tokenizer.json"
    if not vocabulary.exists():
        tokenizer.train(vocabulary, preset.vocabulary, TOKENIZER_DOCUMENTS, preset.seed)
    return training.train(folder, preset, stop=stop).eval()


def measure_gates(
    file: Path, folder: Path, preset: str, sentences: Path | None, items: int
) -> Path:
    """Measure a model's gates and write its card; return the card's path."""
    gates = []
    for gate in itertools.chain(measures.measure(file, sentences, items), measures.speed(file)):
        click.echo(card.line(gate))
        gates.append(gate)
    if (folder / "checkpoint.pt").exists():  # it has the unrounded weights
        model, _, _ = training.restore(folder, PRESETS[preset])
        half = export.to_gguf(model, folder / "tokenizer.json", folder / "half.gguf", "f16")
        gates.append(measures.same_as_reference(model.eval(), folder / "tokenizer.json", half))
    return card.write(file, preset, gates)


if __name__ == "__main__":
    main()
