"""Stage 3, release: measure a candidate for the gate, save it whole, write its card."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.core import stats
from diptych.core.gate import Candidate, Decision
from diptych.core.prices import Price
from diptych.llmops import build, endpoint, prompts
from diptych.llmops.ask import ask_many
from diptych.llmops.build import Variant
from diptych.llmops.prompts import Prompt
from diptych.llmops.providers import provider
from diptych.llmops.serve import digest
from diptych.run.workspace import write_atomic

PROMPT, SETTINGS = "prompt.md", "settings.json"
UNREADABLE, COST = "share unreadable", "USD per 1,000 answers"
SHOWN = 12  # hex digits of a model file's digest


class ReleaseError(ValueError):
    """A released prompt cannot be read; the message says what to do."""


def freeze(variant: Variant, pool: Sequence[tuple[Mapping, str]] = ()) -> Variant:
    """Write the examples of the pool into the prompt, so that it needs nothing else to run."""
    prompt = variant.prompt
    given = tuple(
        ({name: str(inputs[name]) for name in prompt.inputs}, prompt.answer(label))
        for inputs, label in pool[: variant.shots]
    )
    return replace(variant, prompt=replace(prompt, examples=prompt.examples + given), shots=0)


def settings(variant: Variant) -> dict:
    """Return what a prompt runs with, as plain JSON in MLflow's words for it."""
    at = provider(variant.endpoint)
    found = {"provider": at.name, "model_name": variant.model or at.model}
    if at.name == "local":
        file = endpoint.model_file(variant.server.get("model"))
        found |= {"file": file.name, "digest": digest(file)[:SHOWN]}
    return found | variant.fields()


def save(variant: Variant, folder: Path) -> Path:
    """Save a frozen variant: the prompt's file, and the settings beside it."""
    if variant.shots:
        raise ReleaseError(f"shots: {variant.name} takes examples from a pool; freeze it first")
    folder.mkdir(parents=True, exist_ok=True)
    prompts.write(variant.prompt, folder / PROMPT)
    kept = {
        "name": variant.prompt.name,
        "endpoint": variant.endpoint,
        "model": variant.model,
        "temperature": variant.temperature,
        "parameters": variant.parameters,
        "server": {k: str(v) if isinstance(v, Path) else v for k, v in variant.server.items()},
    }
    write_atomic(folder / SETTINGS, json.dumps(kept, indent=1))
    return folder


def load(folder: Path) -> Variant:
    """Return the variant that was saved.

    Raises
    ------
    ReleaseError
        If the folder holds none.
    """
    try:
        kept = json.loads((folder / SETTINGS).read_text("utf-8"))
        prompt = prompts.parse((folder / PROMPT).read_text("utf-8"), folder / PROMPT)
        return Variant(replace(prompt, name=kept.pop("name")), **kept)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"prompt: {folder} holds no released prompt ({error})") from error


def measure(
    name: str,
    variant: Variant,
    rows: pd.DataFrame,
    behaviour: pd.DataFrame | None = None,
    **options,
) -> Candidate:
    """Measure what the gate asks of a prompt with its model and parameters.

    Parameters
    ----------
    name : str
        How reports call it.
    rows : DataFrame
        Canonical test rows; candidate and champion must be measured on the same ones.
    behaviour : DataFrame, optional
        From `diptych.llmops.behaviour.summary`; its failure rates go to the gate. Without it only
        the rows are asked: of a champion the gate wants no more.
    **options
        As `build.evaluate` takes them.
    """
    found = build.evaluate([variant], rows, **options)
    slices = rows["slice"].to_numpy() if rows["slice"].nunique() > 1 else None
    if behaviour is None:
        return Candidate.from_rows(name, found["correct"], slice_of=slices)
    sure = found["confidence"].to_numpy()
    told = np.isfinite(sure).all()  # an endpoint without logprobs tells none
    extra = {
        UNREADABLE: float(found["predicted"].isna().mean()),
        COST: 1000 * float(found["usd"].mean(skipna=False)),
    }
    return Candidate.from_rows(
        name,
        found["correct"],
        slice_of=slices,
        calibration_error=stats.calibration_error(sure, found["correct"]) if told else None,
        latency_p95_ms=latency_p95(variant, rows, **options),
        size_mb=size_mb(variant),
        extra=extra | dict(zip(failing(behaviour), 1 - behaviour["value"], strict=True)),
    )


def failing(behaviour: pd.DataFrame) -> list[str]:
    """Return what the gate calls the failure rates of the families of a summary."""
    return [f"share failing {name}" for name in behaviour["name"]]


def latency_p95(variant: Variant, rows: pd.DataFrame, calls: int = 40, **options) -> float:
    """Return the 95th percentile in milliseconds of one request after the other, over the wire.

    They are asked afresh in every run: an answer from the ledger has the latency of another day.
    """
    repeat = zlib.crc32(options.get("run", "").encode())
    asked = variant.requests(rows.head(calls).to_dict("records"))
    answers = ask_many(
        asked, endpoint=variant.endpoint, model=variant.model, server=variant.server, repeat=repeat,
        concurrency=1, prompt_version=variant.prompt.version,
        **{k: v for k, v in options.items() if k in ("calls", "run", "budget")},
    )  # fmt: skip
    return float(np.percentile([answer.latency_ms for answer in answers], 95))


def size_mb(variant: Variant) -> float | None:
    """Return the size of the model's file where it is served here, else None."""
    if provider(variant.endpoint).name != "local":
        return None
    return endpoint.model_file(variant.server.get("model")).stat().st_size / 1e6


def card(variant: Variant, decision: Decision, behaviour: pd.DataFrame, facts: dict) -> str:
    """Write the prompt card, after the model card (Mitchell et al. 2019), as Markdown."""
    prompt, at = variant.prompt, provider(variant.endpoint)
    price = Price(at.prices, variant.model or at.model).facts()
    costs = "nothing, it runs here" if price["provider"] == "free" else (
        f"{price['input_usd']} USD in, {price['output_usd']} USD out per million tokens"
    )  # fmt: skip
    runs = ", ".join(f"{key} = {value}" for key, value in settings(variant).items()
                     if key != "response_format")  # fmt: skip
    lines = [
        f"**Prompt** {prompt.name}, version {prompt.version}; {len(prompt.examples)} example(s)",
        f"**Runs with** {runs}",
        f"**Reads** {', '.join(prompt.inputs)}; **answers** {', '.join(prompt.labels) or 'text'}",
        *(f"**{name}** {value}" for name, value in facts.items()),
        f"**Price** {costs} ({price['source']})",
        f"**Gate** {decision.reason}",
        "**Not for** texts unlike those it was tested on: watch the reports of stage 5.",
    ]
    said = "\n\n".join(f"{m['role']}:\n{m['content']}" for m in prompt.messages(_slots(prompt)))
    quoted = "\n".join(f"    {line}" for line in said.splitlines())  # indented, it cannot end early
    return "\n\n".join([
        "\n".join(f"- {line}" for line in lines),
        _markdown(decision.checks[["rule", "measured", "limit", "status"]]),
        _markdown(behaviour.round(3)),
        quoted,
    ]) + "\n"  # fmt: skip


def _slots(prompt: Prompt) -> dict[str, str]:
    return {name: f"{{{name}}}" for name in prompt.inputs}


def _markdown(frame: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    cells = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(x.replace('|', '&#124;') for x in row)} |" for row in cells)
