"""Record a model after fine-tuning: LoRA on so many labels, each its own recording."""

import json
import time
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.llmops import data as stage
from diptych.llmops import finetuning, record
from diptych.llmops import record_plan as plan
from diptych.llmops.prompts.variant import Variant

FILE, FACTS = "adapter.gguf", "facts.json"


def session(
    model: str,
    labels: int,
    folder: Path | None = None,
    progress: bool = True,
    at_once: int = 1,
) -> record.Session:
    """Fine-tune a local model on training rows of the reviews, unless that was done.

    Parameters
    ----------
    model, at_once
        As `diptych.llmops.record.Session.of` takes them.
    labels : int
        Training rows; the same that a sample of so many has everywhere.
    folder : Path, optional
        The folder of recordings.

    Returns
    -------
    Session
        Of the recording ``MODEL-lora-LABELS``, with what the adapter was trained on.

    Raises
    ------
    ValueError, TuningError
        If the model cannot be tuned on this machine.
    """
    base = record.Session.of(model, folder, at_once)
    name = f"{base.name}-lora-{labels}"
    place = workspace.home() / "recordings" / "adapters" / name
    if not (place / FACTS).is_file():
        _tune(base, labels, place, progress)
    facts = json.loads((place / FACTS).read_text("utf-8"))
    server = {**base.target.server, "adapters": {"lora": str(place / FILE)}}
    target = record.replace(base.target, model="lora", server=server)
    about = {"base": base.name, "labels": facts["labels"], "adapter": facts}
    return record.Session(name, target, base.folder.with_name(name), about, at_once)


def _tune(base: record.Session, labels: int, place: Path, progress: bool) -> None:
    task, data = plan.rows_of("sentiment")
    (prompt,) = stage.choose(task, [plan.SHORT], stage.labels_of(data))
    rows = stage.sample(data, "train", labels, plan.SEED)
    before = time.process_time()
    tuned = finetuning.tune(
        "lora", Variant(prompt, base.target), rows, place, seed=plan.SEED, progress=progress
    )
    facts = {
        "labels": tuned.rows, "steps": len(tuned.losses), "seconds": round(tuned.seconds, 1),
        "cpu_s": round(time.process_time() - before, 1),
        "digest": hashing.of_file(place / FILE), "bytes": (place / FILE).stat().st_size,
        **tuned.facts,
    }  # fmt: skip
    workspace.write_atomic(place / FACTS, json.dumps(facts, indent=1) + "\n")
