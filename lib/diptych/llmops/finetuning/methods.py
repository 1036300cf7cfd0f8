"""The methods of fine-tuning, each with its settings: `tune` chooses one.

Each takes a variant (prompt, model, parameters) and labelled rows. It returns the variant of
the tuned model, which is evaluated, released and served like any other.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.llmops.client.target import Target
from diptych.llmops.finetuning import examples, jobs, lora, soft_prompt, weights
from diptych.llmops.finetuning.fitting import Schedule
from diptych.llmops.finetuning.jobs import Remote
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import gguf, process

METHODS = ("lora", "soft_prompt", "api")
LONGEST = 1024  # tokens of an example
# Numbers in the layers of a model that is tuned without being asked for. Two cores take 13 CPU
# seconds a step for 10**9 of them (4 for Qwen2.5 0.5B), so 800 labels take a quarter of an hour.
UNASKED = 10**9


@dataclass(frozen=True)
class Tuned:
    """A tuned model.

    Attributes
    ----------
    variant : Variant
        The prompt with the tuned model.
    losses : list of float
        Training loss by step.
    rows, left_out : int
        Rows it was trained on, and rows too long for the model.
    seconds : float
    facts : dict
        Other values to record, such as the settings, or a job's id.
    """

    variant: Variant
    losses: list[float]
    rows: int
    left_out: int
    seconds: float
    facts: dict

    def __str__(self) -> str:
        summary = f"{self.rows:,} rows, {self.left_out:,} too long, {self.seconds:.0f} s"
        if not self.losses:
            return summary
        first, last = np.mean(self.losses[:5]), np.mean(self.losses[-5:])
        return f"{summary}; {len(self.losses):,} steps, loss from {first:.2f} to {last:.2f}"


def choose(method: str, variant: Variant, remote: Target | str = jobs.REMOTE) -> str:
    """Return how a variant's model is tuned: as asked, or for ``"auto"`` as it can be.

    That is LoRA where this machine serves the model and can tune it in minutes, and ``"none"``
    elsewhere: hours of work, or a paid job at an endpoint, are done only where they are asked for.

    Raises
    ------
    ValueError, EndpointError
        See `check`.
    """
    remote = Target.parse(remote) if isinstance(remote, str) else remote
    if method == "auto":
        if variant.target.is_local:
            return _local(variant)
        where = variant.target.endpoint
        print(f"Nothing is tuned: {where} has the model; tune=api makes a job at `remote`.")
        return "none"
    if method != "none":
        check(method, variant, remote)
    return method


def _local(variant: Variant) -> str:
    try:
        check("lora", variant)
    except weights.TuningError as error:
        print(f"Nothing is tuned. {str(error)[0].upper()}{str(error)[1:]}.")
        return "none"
    file = process.model_file(variant.target.server.get("model"))
    numbers = gguf.layer_numbers(gguf.header(file))
    if numbers > UNASKED:
        print(
            f"Nothing is tuned: {numbers / 1e9:.1f} billion numbers in the layers of {file.name} "
            "take hours here; tune=lora does it."
        )
        return "none"
    return "lora"


def check(method: str, variant: Variant, remote: Target = jobs.REMOTE) -> None:
    """Refuse what `tune` cannot do, before any call is made or paid.

    Raises
    ------
    ValueError, EndpointError, TuningError
        The message names the field, its value and the remedy.
    """
    if method not in METHODS:
        raise ValueError(f"method: {method!r} is not one of {', '.join(METHODS)}")
    if method == "api" and remote.is_local:
        raise ValueError("remote: 'local' is the local model; take the method lora for it")
    if method != "api" and not variant.target.is_local:
        raise ValueError(
            f"method: {method} tunes the local model, but {variant.name} calls "
            f"{variant.target.endpoint}; take the method none, or api where that endpoint tunes"
        )
    if method != "api":
        weights.check(process.model_file(variant.target.server.get("model")))


def tune(
    method: str,
    variant: Variant,
    rows: pd.DataFrame,
    folder: Path,
    *,
    seed: int = 0,
    epochs: float | None = None,
    remote: Remote | None = None,
    progress: bool = False,
) -> Tuned:
    """Fine-tune on labelled rows with the prompt of `variant`.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    variant : Variant
        Its prompt is used. The local methods also tune its model, and replace its adapter.
    rows : DataFrame
        With ``label`` and the columns of the prompt.
    folder : Path
        Where an adapter or a model is written.
    seed : int
    epochs : float, optional
        Passes over the rows; by default the method's own.
    remote : Remote, optional
        For ``"api"``: what is tuned where, and what it may cost.
    progress : bool

    Raises
    ------
    ValueError
        See `check`; also if there are no rows.
    TuningError, EndpointError, BudgetError
        If tuning fails; the message says why.
    """
    remote = remote or Remote()
    check(method, variant, remote.target)
    if rows.empty:
        raise ValueError("rows: there are none to train on; label some first")
    if method == "api":
        began = time.monotonic()
        conversations = jobs.conversations(variant.prompt, rows.to_dict("records"))
        done = jobs.tune(
            conversations, remote, epochs=int(epochs or 3), seed=seed, progress=progress
        )
        there = replace(remote.target, model=done.model, parameters=variant.target.parameters)
        tuned = replace(variant, target=there)
        facts = {"job": done.job, "trained_tokens": done.tokens}
        return Tuned(tuned, done.losses, len(rows), 0, time.monotonic() - began, facts)
    prepared = prepare(variant, rows)
    make = {"lora": _lora, "soft_prompt": _soft_prompt}[method]
    return make(prepared, folder, seed, epochs, progress)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A local model and the rows that it is tuned on, as its tokens.

    Attributes
    ----------
    variant : Variant
    base : Base
        The frozen weights; `weights.adapted` adds an adapter of peft to them.
    encoded : list of Example
    left_out : int
        Rows too long for the model.
    began : float
        Of `time.monotonic`.
    """

    variant: Variant
    base: weights.Base
    encoded: list[examples.Example]
    left_out: int
    began: float

    def served_by(self, losses: list[float], files: dict, facts: Mapping, model: str = "") -> Tuned:
        """Return the tuned model.

        Parameters
        ----------
        files : dict
            What its server takes, as `Target.server` has it.
        facts : mapping
            How it was tuned.
        """
        target = self.variant.target
        server = {k: v for k, v in target.server.items() if k != "adapters"} | files
        variant = replace(self.variant, target=replace(target, model=model, server=server))
        seconds = time.monotonic() - self.began
        return Tuned(variant, losses, len(self.encoded), self.left_out, seconds, dict(facts))


def prepare(variant: Variant, rows: pd.DataFrame) -> Prepared:
    """Load the weights of a variant's local model, and encode the rows with its prompt.

    Raises
    ------
    TuningError
        If the model cannot be tuned here.
    """
    began, file = time.monotonic(), process.model_file(variant.target.server.get("model"))
    weights.ignore_old_name()
    base = weights.load(file)
    longest = min(LONGEST, base.model.config.max_position_embeddings)
    end = base.model.config.eos_token_id
    records = rows.to_dict("records")
    encoded, left_out = examples.encode(variant.prompt, records, file, end, longest)
    return Prepared(variant, base, encoded, left_out, began)


def with_adapter(
    prepared: Prepared, tuned, losses: list[float], folder: Path, schedule: Schedule
) -> Tuned:
    """Write the adapter of a `PeftModel` as a file, and let llama.cpp serve it beside its model."""
    adapter = lora.to_gguf(tuned.eval(), folder / "adapter.gguf")
    files = {"model": str(prepared.base.path), "adapters": {"lora": str(adapter)}}
    how = tuned.peft_config["default"]
    facts = {"rank": how.r, "alpha": how.lora_alpha, **asdict(schedule)}
    return prepared.served_by(losses, files, facts, "lora")


def _lora(prepared: Prepared, folder: Path, seed: int, epochs, progress: bool) -> Tuned:
    schedule = lora.schedule_of(prepared.base, epochs)
    tuned, losses = lora.tune(prepared.base, prepared.encoded, seed, schedule, progress=progress)
    return with_adapter(prepared, tuned, losses, folder, schedule)


def _soft_prompt(prepared: Prepared, folder: Path, seed: int, epochs, progress: bool) -> Tuned:
    schedule = replace(soft_prompt.SCHEDULE, epochs=epochs or soft_prompt.SCHEDULE.epochs)
    vectors, losses = soft_prompt.tune(
        prepared.base, prepared.encoded, seed, schedule, progress=progress
    )
    file = soft_prompt.to_gguf(prepared.base, vectors, folder / "soft_prompt.gguf")
    facts = {"vectors": len(vectors), **asdict(schedule)}
    return prepared.served_by(losses, {"model": str(file)}, facts)
