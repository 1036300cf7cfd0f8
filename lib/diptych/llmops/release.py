"""Stage 3, release: measure a candidate for the gate, write its card."""

from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.base.http_load import usage
from diptych.core.data.schema import is_number
from diptych.core.data.tasks import Task
from diptych.core.evaluation import baseline as constant
from diptych.core.evaluation import calibration
from diptych.core.evaluation.gate import Candidate, Decision
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import Figure
from diptych.core.store.prices import Price
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.load_test import anew, unused_repeat
from diptych.llmops.evaluation import evaluate, outcome
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process
from diptych.llmops.server.llama import Server

UNREADABLE, COST = "share unreadable", "USD per 1,000 answers"
UNCALIBRATED = (
    "the model gave no log-probabilities for {} answers; max_calibration_error = 0 asks for none"
)
UNPRICED = "no price of the model is known; give `prices` in params/endpoints.yaml"


def measure(
    name: str,
    variant: Variant,
    rows: pd.DataFrame,
    scoring: str | Scoring,
    options: CallOptions = CallOptions(),
    behaviour: pd.DataFrame | None = None,
    groups: pd.DataFrame | None = None,
) -> Candidate:
    """Measure what the gate asks of a prompt with its model and parameters.

    Parameters
    ----------
    name : str
        How reports call it.
    rows : DataFrame
        Canonical test rows; candidate and champion must be measured on the same ones.
    scoring : Scoring, or str
        The task's, whose metric is the score; a grader's name alone has the metric accuracy.
    options : CallOptions
    behaviour : DataFrame, optional
        From `diptych.llmops.evaluation.checklist.summary`; the gate checks its failure rates.
        Without it only the rows are asked, which is all that the gate needs of a champion.
    groups : DataFrame, optional
        Of the rows, by their id, see `slices.groups`: the gate asks for the gap between them.
    """
    scoring = Scoring.of(scoring)
    results = evaluate.evaluate([variant], rows, scoring.grader, options)
    if reason := outcome.unmeasured(results).get(variant.name):
        return unmeasured(name, reason, len(rows), scoring)
    digest = bundle.digest(variant)
    if behaviour is None:
        return candidate(name, results, rows, scoring, digest=digest)
    extra = {
        UNREADABLE: float(results["predicted"].isna().mean()),
        COST: cost_per_1000(results),
    }
    return candidate(
        name,
        results,
        rows,
        scoring,
        groups,
        calibration_error=calibration_error(results),
        latency_p95_ms=latency_p95(variant, rows, options),
        size_mb=size_mb(variant),
        digest=digest,
        extra=extra | dict(zip(failing(behaviour), 1 - behaviour["value"], strict=True)),
    )


def cost_per_1000(results: pd.DataFrame) -> float | Figure:
    """Return the US dollars of 1,000 answers; NaN with the reason where a price is not known."""
    usd = 1000 * float(results.loc[results["error"] == "", "usd"].mean(skipna=False))
    return usd if np.isfinite(usd) else Figure(np.nan, np.nan, np.nan, len(results), UNPRICED)


def unmeasured(name: str, reason: str, n: int, scoring: str | Scoring) -> Candidate:
    """Return a candidate that the gate refuses as not measured, for calls of it failed."""
    figure = Figure(np.nan, np.nan, np.nan, n, reason)
    return Candidate(name=name, score=figure, metric=Scoring.of(scoring).metric)


def candidate(
    name: str,
    results: pd.DataFrame,
    rows: pd.DataFrame,
    scoring: str | Scoring,
    groups: pd.DataFrame | None = None,
    **figures,
) -> Candidate:
    """Return the answers of one variant to some rows as the gate takes them.

    Parameters
    ----------
    results : DataFrame
        As `evaluate.evaluate` returns it, of this variant alone.
    rows : DataFrame
        What was asked, with ``id`` and ``slice``.
    groups : DataFrame, optional
        Of the rows, by their id.
    **figures
        Further figures of `Candidate`.
    """
    scoring = Scoring.of(scoring)
    ids = pd.Series(sorted(results["id"].unique()))
    (scored,) = evaluate.scored_rows(results, scoring).values()
    slices = ids.map(rows.set_index("id")["slice"])
    groups = None if groups is None else groups.reindex(ids)
    return Candidate.of_rows(name, scoring.metric, scored, slices, groups, **figures)


def baseline(data: pd.DataFrame, rows: pd.DataFrame, task: Task) -> Candidate | None:
    """Return the majority answer, or the mean, on some rows; a candidate must be better."""
    train = data.loc[data["split"] == "train", "label"]
    truth = rows.sort_values("id")["label"]
    truth = truth.to_numpy(float if is_number(truth) else object)
    return constant.candidate(train, truth, task.scoring)


def calibration_error(results: pd.DataFrame) -> Figure | None:
    """Return the calibration error of what `evaluate.evaluate` returned.

    An answer without a label has no confidence, and is counted apart; without any it is None. Where
    a confidence is not known the figure is NaN, with the reason.
    """
    answered = results[(results["error"] == "") & results["predicted"].notna()]
    if answered.empty:
        return None
    if unknown := int(answered["confidence"].isna().sum()):
        return Figure(np.nan, np.nan, np.nan, len(answered), UNCALIBRATED.format(unknown))
    return calibration.error(answered["confidence"], answered["correct"])


def failing(behaviour: pd.DataFrame) -> list[str]:
    """Return the gate's names for the failure rates of a summary's families."""
    return [f"share failing {name}" for name in behaviour["name"]]


def limit_of_size(variant: Variant, max_mb: float) -> float | None:
    """Return the limit on the size of the model's file, None where it is no file here, or for 0."""
    return (max_mb or None) if variant.target.is_local else None


def limits(behaviour: pd.DataFrame, unreadable: float, usd: float, fails: float) -> dict:
    """Return the highest share unreadable, USD per 1,000 answers and share failing each family."""
    return {UNREADABLE: unreadable, COST: usd} | dict.fromkeys(failing(behaviour), fails)


def figures(measured: Candidate) -> dict[str, float]:
    """Return the measured figures, as MLflow keeps them beside a version."""
    figures = {
        "score": measured.score,
        "calibration error": measured.calibration_error,
        "latency p95 ms": measured.latency_p95_ms,
        **measured.extra,
    }
    values = {k: getattr(figure, "value", figure) for k, figure in figures.items()}
    return {k.replace(",", ""): v for k, v in values.items() if v is not None and np.isfinite(v)}


def latency_p95(
    variant: Variant, rows: pd.DataFrame, options: CallOptions = CallOptions(), n: int = 40
) -> float:
    """Return the 95th percentile in milliseconds of one request after the other, over the wire.

    Every run sends them again: an answer from the ledger has the latency of another day. NaN where
    none was answered.
    """
    one_by_one = replace(
        options, concurrency=1, stream=False, prompt_version=variant.prompt.version,
        repeat=unused_repeat(f"{options.run} latency"),
    )  # fmt: skip
    requests = variant.requests(rows.head(n).to_dict("records"))
    answers = ask_many(requests, anew(variant.target, len(requests)), one_by_one)
    latencies = [answer.latency_ms for answer in answers if not answer.error]
    return float(np.percentile(latencies, 95)) if latencies else np.nan


def size_mb(variant: Variant) -> float | None:
    """Return the size of the model's file in MB where it is served here, else None."""
    if not variant.target.is_local:
        return None
    return process.model_file(variant.target.server.get("model")).stat().st_size / 1e6


def memory_mb(variant: Variant) -> float | None:
    """Return the memory of the model's server in MB where it runs here, else None."""
    return usage(_server(variant).pid)["memory_mb"] if variant.target.is_local else None


def cpu_ms(
    variant: Variant, rows: pd.DataFrame, options: CallOptions = CallOptions(), most: int = 40
) -> float | None:
    """Return the server's CPU time per answer in milliseconds where it runs here, else None."""
    if not variant.target.is_local:
        return None
    requests = variant.requests(rows.head(most).to_dict("records"))
    pid = _server(variant).pid
    before = usage(pid)["cpu_s"]
    repeat = unused_repeat(f"{options.run} cpu")
    options = replace(options, repeat=repeat, prompt_version=variant.prompt.version)
    ask_many(requests, anew(variant.target, len(requests)), options)
    return 1000 * (usage(pid)["cpu_s"] - before) / len(requests)


def _server(variant: Variant) -> Server:
    return process.start(**variant.target.server)


def card(
    variant: Variant,
    decision: Decision,
    behaviour: pd.DataFrame,
    facts: dict,
    groups: pd.DataFrame | None = None,
) -> str:
    """Write the prompt card, after the model card (Mitchell et al. 2019), as Markdown.

    Parameters
    ----------
    facts : dict of str to str or Figure
    groups : DataFrame, optional
        As `Candidate.by_group` returns it.
    """
    prompt, target = variant.prompt, variant.target
    price = Price(target.provider.prices, target.model_name).facts()
    costs = "nothing, it runs here" if price["provider"] == "free" else (
        f"{price['input_usd']} USD in, {price['output_usd']} USD out per million tokens"
    )  # fmt: skip
    runs = ", ".join(f"{key} = {value}" for key, value in bundle.settings(variant).items()
                     if key != "response_format")  # fmt: skip
    lines = [
        f"**Prompt** {prompt.name}, version {prompt.version}; {len(prompt.examples)} example(s)",
        f"**Runs with** {runs}",
        f"**Reads** {', '.join(prompt.inputs)}; **answers** {_answers(prompt)}",
        *(f"**{name}** {value}" for name, value in facts.items()),
        f"**Price** {costs} ({price['source']})",
        f"**Gate** {decision.reason}",
        "**Not for** texts unlike those it was tested on: watch the reports of stage 5.",
    ]
    messages = "\n\n".join(
        f"{m['role']}:\n{m['content']}" for m in prompt.without_pictures.messages(_slots(prompt))
    )
    quoted = "\n".join(
        f"    {line}" for line in messages.splitlines()
    )  # indented, it cannot end early
    return "\n\n".join([
        "\n".join(f"- {line}" for line in lines),
        _markdown(decision.checks[["rule", "measured", "limit", "status"]]),
        _markdown(behaviour.round(3)),
        *([] if groups is None or groups.empty else [_markdown(groups)]),
        quoted,
    ]) + "\n"  # fmt: skip


def _answers(prompt: Prompt) -> str:
    return ", ".join(prompt.labels) or ("a number" if prompt.answers_number else "text")


def _slots(prompt: Prompt) -> dict[str, str]:
    return {name: f"{{{name}}}" for name in prompt.inputs}


def _markdown(frame: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    cells = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(x.replace('|', '&#124;') for x in row)} |" for row in cells)
