"""The contrast: both panels of each scenario side by side, every verdict computed from runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path

import pandas as pd
import yaml

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.core import contract
from diptych.core.contract import BUILD, DATA, IMPROVE, RELEASE
from diptych.core.store.prices import Price, dated
from diptych.execution.parameters import find_file, load_file
from diptych.execution.runs import Run, find_runs, load_current
from diptych.reporting.contrast import (
    breakeven,
    cascade,
    dimensions,
    elsewhere,
    evidence,
    forest,
    frontier,
    labels,
    questions,
    reactions,
    remarks,
    verdicts,
    ways,
)
from diptych.reporting.contrast.breakeven import Workload
from diptych.reporting.contrast.cascade import Cascade
from diptych.reporting.contrast.evidence import CONTAMINATED, Figure, Panel
from diptych.reporting.contrast.measures import Assumptions
from diptych.reporting.contrast.questions import Answer
from diptych.reporting.contrast.verdicts import Verdict
from diptych.reporting.scenario import Scenario, load, names_of_all
from diptych.reporting.site.contrast_page import FILE

UNKNOWN = "not known"


@dataclass(frozen=True)
class Contrast:
    """One scenario's contrast.

    Attributes
    ----------
    scenario : Scenario
    verdicts : list of Verdict
    forecast, costs : DataFrame
        See `diptych.reporting.contrast.breakeven.forecast` and
        `diptych.reporting.contrast.breakeven.monthly`.
    labels : DataFrame
        See `diptych.reporting.contrast.labels.bought`.
    gate : str
        Which side would be released.
    answers : list of Answer
        To the scenario's questions.
    stated : DataFrame
        See `stated`.
    ways : DataFrame
        See `diptych.reporting.contrast.ways.table`.
    cascades : list of Cascade
    missing : list of str
        Ways that cannot be compared, and why.
    reactions : DataFrame
        See `diptych.reporting.contrast.reactions.by_window`.
    limits : list of str
        What the answers rest on.
    refused : list of str
        Sides that the release gate refused.
    """

    scenario: Scenario
    verdicts: list[Verdict]
    forecast: pd.DataFrame
    costs: pd.DataFrame
    labels: pd.DataFrame
    gate: str
    answers: list[Answer]
    stated: pd.DataFrame
    ways: pd.DataFrame
    cascades: list[Cascade]
    missing: list[str]
    reactions: pd.DataFrame
    limits: list[str]
    refused: list[str]

    @property
    def sentence(self) -> str:
        """The scenario's answer in one breath."""
        return questions.sentence(self.answers, self.gate, self.refused)

    def answer_table(self) -> pd.DataFrame:
        """Return a line for each question: the answer and why."""
        lines = [(one.question.title, one.outcome, one.why) for one in self.answers]
        return pd.DataFrame(lines, columns=["question", "answer", "why"])

    def table(self) -> pd.DataFrame:
        """Return a line for each dimension: both figures, the verdict and why."""
        lines = []
        for verdict in self.verdicts:
            dimension, measured = verdict.dimension, verdict.measured
            left, right = (
                "—" if figure is None else figure.text(dimension.unit)
                for figure in (measured.left, measured.right)
            )
            lines.append(
                (dimension.group, dimension.name, left, verdict.winner, right, verdict.why)
            )
        names = ["group", "dimension", "MLOps", "verdict", "LLMOps", "why"]
        return pd.DataFrame(lines, columns=names)

    def counts(self) -> dict[str, int]:
        """Return how many dimensions each outcome has, by scenario and outcome."""
        counted = verdicts.counts(self.verdicts)
        return {f"{self.scenario.name}, {outcome}": n for outcome, n in counted.items()}


def contrast(
    scenario: Scenario,
    runs: Sequence[Run],
    assumptions: Assumptions,
    *,
    workload: Workload | None = None,
    models: Sequence[str] = (),
    most_requests: float = 1e7,
    run: str = "",
) -> Contrast:
    """Compare the panels of a scenario by what its runs recorded.

    Parameters
    ----------
    runs : sequence of Run
        Of either panel; of a notebook the last one counts. What a missing run would have recorded
        is not measured.
    assumptions, workload : Assumptions, Workload
        What no run can tell.
    models : sequence of str
        To forecast the price of, such as ``"openai/gpt-4o"``.
    most_requests : float
        Largest number of requests a month looked at.
    run : str
        Id of the run of this contrast, which shows what was measured elsewhere.
    """
    left, right = evidence.sides(runs)
    others = elsewhere.of(scenario.name, left, right, run)
    for panel in (left, right):
        panel.represent(others)
    concluded = [
        verdicts.conclude(dimension, dimension.measure(left, right, assumptions), assumptions)
        for dimension in dimensions.of(left, right)
    ]
    prices = breakeven.forecast(right, models)
    volumes = breakeven.volumes(most_requests)
    costs = breakeven.monthly(left, right, prices, volumes, workload or Workload(), assumptions)
    compared, missing = ways.gathered(left, right)
    cascades = ways.cascades(compared, left, right)
    compared += [one.way for one in cascades]
    passed = questions.gates(left, right)
    refused = [side for side, yes in passed.items() if yes is False]
    return Contrast(
        scenario,
        concluded,
        prices,
        costs,
        labels.bought(left, right),
        " ".join(filter(None, (questions.gate_words(passed), remarks.who(right)))),
        _answers(scenario, concluded, refused, compared, (left, right), costs, assumptions),
        stated(left, right),
        ways.with_forecast(ways.table(compared, left, right, assumptions), prices),
        cascades,
        missing,
        reactions.by_window(left, right),
        limits(left, right),
        refused,
    )


def _answers(scenario, concluded, refused, compared, panels, costs, assumptions) -> list[Answer]:
    """Answer the scenario's questions, and say on which language model each answer rests."""
    answers = []
    for question in questions.asked(scenario.questions):
        beside = remarks.of(question, panels, compared, costs, assumptions.goal)
        one = questions.answer(question, concluded, refused, beside)
        by_cascade = questions.cascade_ahead(one, compared, panels, assumptions.margin)
        answers.append(replace(by_cascade, speaker=questions.speaker(one, panels[1])))
    return answers


def limits(left: Panel, right: Panel) -> list[str]:
    """Return what a reader must know before acting on the answers."""
    chosen = right.representative
    lines = [f"LLMOps is {right.speakers}."] if right.run(BUILD) else []
    if chosen is not None:
        lines.append(
            f"For quality LLMOps is {chosen.name} ({chosen.model}; {chosen.where}), on "
            f"{len(chosen.rows):,} test rows; latency and memory are those of the model above."
        )
    if left.representative is not None:
        lines.append(f"For quality MLOps is {left.representative.name}.")
    if right.is_contaminated:
        lines.append(f"{CONTAMINATED[0].upper()}{CONTAMINATED[1:]}.")
    lines += [f"The curves of labels were {left.others.when}."] * bool(left.others.when)
    return [*lines, "Cost is that of compute on this machine; times depend on it."]


def stated(left: Panel, right: Panel) -> pd.DataFrame:
    """Return what stands beside the verdicts and decides none, with the reason.

    Returns
    -------
    DataFrame
        ``what``, ``MLOps``, ``LLMOps`` as text, and ``why`` they are not compared; a line only
        where a side has a figure.
    """
    panels, first = (left, right), (DATA, BUILD, RELEASE)
    lines = []
    for what, figures, unit, why in (
        ("labels used to react to drift", [p.value(IMPROVE, contract.LABELS) for p in panels],
         "labels", "parameters of 6_improve decide it"),
        ("time of stages 1 to 3", [p.seconds(*first) for p in panels], "s", "measured once"),
        ("time of stage 6", [p.seconds(IMPROVE) for p in panels], "s",
         "measured once, and not the same work: a retraining, and a search for prompts"),
    ):  # fmt: skip
        if any(figures):
            texts = ["—" if one is None else one.text(unit) + _noted(one) for one in figures]
            lines.append((what, *texts, why))
    return pd.DataFrame(lines, columns=["what", "MLOps", "LLMOps", "why not compared"])


def _noted(figure: Figure) -> str:
    return f" ({figure.note.removeprefix(', ')})" if figure.note else ""


def gather(names: Sequence[str], runs: Sequence[str] = ()) -> list[tuple[Scenario, list[Run]]]:
    """Return scenarios (all, if none is named) with their runs.

    Parameters
    ----------
    runs : sequence of str
        ``scenario:id``; of a scenario that has none here, the latest run of each notebook on the
        scenario's task is taken.

    Raises
    ------
    ParameterError
        If a scenario or a run is not there.
    """
    chosen = [load(name) for name in (tuple(names) or names_of_all())]
    named: dict[str, list[Run]] = {}
    for text in runs:
        name, _, run_id = text.partition(":")
        if name not in [scenario.name for scenario in chosen]:
            raise ParameterError(f"runs: {text!r}; write scenario:id, of a scenario listed")
        try:
            named.setdefault(name, []).append(load_current(run_id))
        except LookupError as error:
            raise ParameterError(f"runs: {error}") from error
    known = find_runs() if len(named) < len(chosen) else []
    return [(one, named.get(one.name) or _latest(one, known)) for one in chosen]


def _latest(scenario: Scenario, known: Sequence[Run]) -> list[Run]:
    """Return the newest complete run of each of a scenario's notebooks on its task."""
    wanted = {}
    for file in scenario.files:
        wanted |= load_file(find_file(file))
    wanted |= {text.partition("=")[0]: text.partition("=")[2] for text in scenario.parameters}
    newest = []
    for notebook in dict.fromkeys(step.partition(" ")[0] for step in scenario.notebooks):
        for run in known:
            task = run.result.get("task") or {}
            same = all(str(task[name]) == str(wanted[name]) for name in task if name in wanted)
            complete = run.is_current and run.result.get("complete")
            if run.notebook == notebook and complete and task and same:
                newest.append(run)
                break
    return newest


def options() -> pd.DataFrame:
    """Return the options of the field: how to access each, its price and the source of that.

    Returns
    -------
    DataFrame
        ``option``, ``what``, ``access``, ``price``, ``source``, ``read``.
    """
    path = resources.files("diptych") / "assets" / "options.yaml"
    lines = []
    for entry in yaml.safe_load(path.read_text("utf-8")):
        if "tokens" in entry:
            entry = entry | _token_price(entry["tokens"])
        price = entry.get("price") or UNKNOWN
        source = entry.get("source") or UNKNOWN
        lines.append((entry["name"], entry["what"], entry["access"], price, source,
                      str(entry.get("read") or "")))  # fmt: skip
    return pd.DataFrame(lines, columns=["option", "what", "access", "price", "source", "read"])


def _token_price(model: str) -> dict:
    provider, _, name = model.partition("/")
    price = Price(provider, name)
    facts = price.facts()
    if facts["input_usd"] is None:
        return {"price": UNKNOWN, "source": facts["source"]}
    prices = f"{facts['input_usd']:g} USD in, {facts['output_usd']:g} USD out, a million tokens"
    page = price.page()
    source = f"{facts['source']}, after {page}" if page else facts["source"]
    return {"price": prices, "source": source, "read": f"{dated()} or later"}


def write(
    contrasts: Sequence[Contrast], assumptions: Assumptions, workload: Workload, folder: Path
) -> Path:
    """Write everything a page shows of the contrast into a run's folder."""
    content = {
        "scenarios": [_facts(one, assumptions.goal) for one in contrasts],
        "options": options().to_dict("records"),
        "assumptions": asdict(assumptions) | asdict(workload),
    }
    path = folder / FILE
    workspace.write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False))
    return path


def _apart(answer: Answer) -> list[Verdict]:
    """Return the lines of an answer that a picture shows: of amounts the one that decides.

    Nine more would say again that a smaller model takes less.
    """
    first, *others = answer.evidence
    return [first, *(one for one in others if one.dimension.kind == dimensions.SHARE)]


def _facts(one: Contrast, goal: float) -> dict:
    title = one.scenario.title
    keys = {answer.question.key for answer in one.answers}
    compared = one.ways if keys & {"alike", "unlike", "labels"} else one.ways.head(0)
    return {
        "name": one.scenario.name,
        "title": title,
        "question": one.scenario.question,
        "verdicts": [verdict.facts() for verdict in one.verdicts],
        "gate": one.gate,
        "sentence": one.sentence,
        "answers": [answer.facts() for answer in one.answers],
        "stated": one.stated.to_dict("records"),
        "forest": forest.html([v for a in one.answers for v in _apart(a)], title),
        "frontier": frontier.html(compared, title, "usd"),
        "by labels": frontier.html(compared, title, "labels"),
        "ways": json.loads(compared.to_json(orient="records")),
        "left out": one.missing,
        "limits": one.limits,
        "reactions": reactions.html(one.reactions, title) if "change" in keys else "",
        "note": one.ways.attrs["note"],
        "forecast": json.loads(one.forecast.to_json(orient="records")),
        "crossings": [
            breakeven.crossing_words(row.option, row.requests)
            for row in breakeven.crossings(one.costs).itertuples()
        ],
        "figure": breakeven.html(one.costs, title) if len(one.costs) else "",
        "meets": labels.crossings(one.labels),
        "cascade": cascade.html(one.cascades, title) if len(compared) else "",
        "bought": labels.html(one.labels, goal, title) if len(one.labels) and len(compared) else "",
    }
