"""Record a real model: ask what the contrast compares, and keep the answers to be replayed.

The most valuable questions come first, so what an interrupted recording holds is of use already.
Every answer is on the disk as it comes, and only questions that have none are asked.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from diptych.base import environment, hashing, workspace
from diptych.base import notebook_progress as bars
from diptych.core.evaluation import load_curve
from diptych.core.store.calls import Calls
from diptych.llmops import data as stage
from diptych.llmops import record_compute, recorded
from diptych.llmops.client import load_test, recordings
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import RECORDED
from diptych.llmops.client.target import Target
from diptych.llmops.record_plan import (
    SCOPES,
    TUNED,
    Part,
    RecordingError,
    Scope,
    judged,
    judged_key,
    key,
    parts,
    rows_of,
    scenarios,
    text_version,
    ways,
)
from diptych.llmops.server import process, sizing

EVERY = 200  # questions between two writings of the recording's files
CHUNK = 20  # questions asked before the bar moves on
PATIENCE_S = 900.0  # for one answer: nobody waits for it
REMOTE = 8  # calls under way at once, of a hosted model
ROUNDS = 2  # of every level of load


@dataclass(frozen=True)
class Session:
    """One sitting of recording a model.

    Attributes
    ----------
    name : str
        Of the recording.
    target : Target
        Who is asked.
    folder : Path
        Where the recording is kept.
    adapter : mapping
        Of a fine-tuned model: ``base`` (the recording of the model before), ``labels`` that it saw,
        and ``adapter`` (steps, seconds, size), see `record_tuned`.
    at_once : int
        Questions that a local model answers at once. With more than one it takes far less time and
        computation in all, but answers come later. What one of them computes is measured apart.
    """

    name: str
    target: Target
    folder: Path
    adapter: Mapping = field(default_factory=dict, hash=False)
    at_once: int = 1

    @classmethod
    def of(cls, model: str, folder: Path | None = None, at_once: int = 1) -> "Session":
        """Return the session of a model.

        Parameters
        ----------
        model : str
            A name of `diptych model list`, or ``endpoint/model`` of a hosted one, such as
            ``openai/gpt-5-mini``; ``NAME=`` before it, or before a GGUF file, names the recording.
        folder : Path, optional
            The folder of recordings; by default `home`.
        at_once : int

        Raises
        ------
        EndpointError
            If the model is not here, or the endpoint is not known.
        """
        name, mark, source = model.removeprefix("local/").partition("=")
        source = source if mark else name
        if "/" in source and not Path(source).is_file():
            target = Target.parse(source)
            name = re.sub("[^A-Za-z0-9._-]+", "-", name)
        else:
            target = Target(server={"model": str(process.model_file(source)), "slots": at_once})
        return cls(name, target, (folder or home()) / name, at_once=at_once)

    def scope(self, scenario: str) -> Scope | None:
        """Return what is asked in a scenario, None where that needs no scope."""
        return (TUNED if self.adapter else SCOPES).get(scenario)

    def scenarios(self, names: Sequence[str] = ()) -> list[str]:
        """Return in which scenarios the model is asked: `names` or all, of an adapter its own."""
        return list(TUNED) if self.adapter else list(names) or scenarios()

    @cached_property
    def ledger(self) -> Path:
        """The file in which answers are kept as they come."""
        place = workspace.home() / "recordings"
        place.mkdir(exist_ok=True)
        return place / f"{self.name}.ledger.db"

    def facts(self) -> dict:
        """Return what is known of the recording so far.

        Raises
        ------
        RecordingError
            If the recording is of another file of that name.
        """
        try:
            facts = json.loads((self.folder / recordings.FACTS).read_text("utf-8"))
        except FileNotFoundError:
            facts = {**self._model(), "machines": [], "parts": {}}
        if facts.get("digest") != self._model().get("digest"):
            raise RecordingError(
                f"{self.name}: {workspace.shown(self.folder)} was recorded with another file "
                f"({facts.get('file')}); record this one under another name, NAME=FILE"
            )
        return facts | self._model()

    def _model(self) -> dict:
        if not self.target.is_local:
            return {"model": self.target.model_name, "endpoint": self.target.endpoint,
                    "parameters": self.target.provider.fields(self.target.model_name)}  # fmt: skip
        file = Path(self.target.server["model"])
        model = {"model": self.name, "file": file.name, "digest": hashing.of_file(file),
                 "bytes": file.stat().st_size}  # fmt: skip
        return model | dict(self.adapter)

    def machine(self) -> dict:
        """Return what answers: the day, and the processor if it is this machine's."""
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        if not self.target.is_local:
            return {"date": today, "load": 0.0}
        threads = sizing.fit(Path(self.target.server["model"]), slots=1).threads
        several = {"at_once": self.at_once} if self.at_once > 1 else {}
        return {"date": today, "cpu": recordings.processor(), "cores": environment.cores(),
                "threads": threads, "load": recordings.load_now(), **several}  # fmt: skip


def _but_load(machine: Mapping) -> dict:
    return {name: value for name, value in machine.items() if name != "load"}


def home() -> Path:
    """Return where recordings are kept: in a clone with the package, else in the workspace."""
    with suppress(workspace.WorkspaceError):
        if workspace.PACKAGE.is_relative_to(workspace.repo_root()):
            return recordings.shipped()
    return workspace.home() / "recordings"


def record(
    session: Session,
    names: Sequence[str] = (),
    *,
    max_usd: float | None = None,
    shots: Sequence[int] = (),
    most: int | None = None,
    progress: bool = True,
) -> int:
    """Ask what is not recorded yet, and return how many questions were asked.

    Parameters
    ----------
    session : Session
    names : sequence of str
        Of scenarios, see `scenarios`; all without any.
    max_usd : float, optional
        No call is made that could exceed it.
    shots : sequence of int
        Only these numbers of examples.
    most : int, optional
        Questions at most, in the order of their value.
    progress : bool
        Show a bar with the time that is left.

    Raises
    ------
    RecordingError
        See `parts` and `Session.facts`.
    EndpointError, BudgetError
        What was answered until then is kept.
    """
    facts = session.facts()
    session.folder.mkdir(parents=True, exist_ok=True)
    with Calls(session.ledger) as calls:
        keep = _Keeper(session, facts, calls)
        names = session.scenarios(names)
        keep.plan(names, shots)
        keep.write()  # with what a kill left in the ledger
        options = CallOptions(
            run=json.dumps(session.machine(), sort_keys=True), calls=calls, stream=True,
            budget=Budget(max_usd, strict=True), give_up=True, timeout_s=PATIENCE_S,
            concurrency=session.at_once if session.target.is_local else REMOTE, progress=progress,
        )  # fmt: skip
        total = keep.ask_all(_first(keep.missing(), most), options)
        if most is None:
            keep.plan_judged(names)
            total += keep.ask_all(keep.missing(), options)
        if most is None and session.target.is_local:
            keep.measure_compute(options)
            for scenario in names:
                keep.measure_load(scenario, options)
    return total


def _first(todo: list, most: int | None) -> list:
    """Return the first `most` questions of all."""
    if most is None:
        return todo
    some = []
    for part, requests in todo:
        some.append((part, requests[: max(0, most)]))
        most -= len(requests)
    return [(part, requests) for part, requests in some if requests]


class _Keeper:
    """Asks, and keeps what was answered: in the ledger at once, in the recording now and then."""

    def __init__(self, session: Session, facts: dict, calls: Calls):
        self.session, self.facts, self.calls = session, facts, calls
        self.parts: list[tuple[Part, dict]] = []  # with their questions
        self.versions: dict[str, set[str]] = {}  # of the prompts of a scenario
        self.keys: dict[str, set[tuple]] = {}  # of all its parts
        self.answers: dict[tuple[str, int], dict] = {}  # what is recorded
        self.since = 0

    def plan(self, names: Sequence[str], shots: Sequence[int]) -> None:
        """Find out what there is to ask."""
        for scenario in names:
            every = list(parts(scenario, self.session.target, self.session.scope(scenario)))
            self.versions[scenario] = {part.variant.prompt.version for part in every}
            self.versions[scenario].add(text_version())
            self.keys[scenario] = {part.key for part in every} | {judged_key(scenario)}
            for part in every:
                if not shots or part.variant.shots in shots:
                    self.parts.append((part, part.requests()))

    def plan_judged(self, names: Sequence[str]) -> None:
        """Add what the model is asked as a judge, where its own answers are whole."""
        if recordings.folders().get(self.session.name) != self.session.folder:
            return  # nobody can replay them
        for scenario in names:
            if (scope := self.session.scope(scenario)) and scope.judged:
                replay = Target(RECORDED, self.session.name)
                answers = recorded.graded(next(parts(scenario, replay)))
                if answers is not None:
                    part = judged(scenario, self.session.target, answers)
                    self.parts.append((part, part.requests()))

    def measure_compute(self, options: CallOptions) -> None:
        """Measure what an answer computes, of each way to ask of which that is not known."""
        file = self.session.folder / recordings.COMPUTE
        lines = [line for line in recordings.read_lines(file) if self._is_of_today(line)]
        known = {recordings.way_of(line) for line in lines}
        todo = [part for part in ways(part for part, _ in self.parts) if part.way not in known]
        with bars.bar(len(todo) * record_compute.ASKED, "answer", options.progress) as bar:
            for part in todo:
                bars.note(bar, recorded.compute_title(part))
                machine = replace(self.session, at_once=1).machine()
                facts = {name: part.facts[name] for name in ("prompt", "version", "shots")}
                line = {"scenario": part.scenario, **facts, "on": self._on(json.dumps(machine)),
                        "load": machine["load"]}  # fmt: skip
                self._write_facts()
                lines.append({**line, "cpu_ms": record_compute.measure(part, options, bar)})
                recordings.write_lines(file, lines)

    def _is_of_today(self, line: Mapping) -> bool:
        """Say whether a prompt is still asked as it was, as far as that was planned."""
        return line["version"] in self.versions.get(line["scenario"], (line["version"],))

    def measure_load(self, scenario: str, options: CallOptions) -> None:
        """Ask about other rows at each level of concurrency, unless that was done."""
        scope = self.session.scope(scenario)
        if scope is None or not scope.load:
            return
        part = next(parts(scenario, self.session.target))
        server = {name: x for name, x in part.variant.target.server.items() if name != "slots"}
        target = replace(part.variant.target, server=server)  # as many as it is served with
        _, data = rows_of(scenario)
        file, version = self.session.folder / recordings.LOAD, part.variant.prompt.version
        load = recordings.read_lines(file)
        for level in load_curve.LEVELS:
            if (version, level) not in {(line["version"], line["concurrency"]) for line in load}:
                count = max(scope.load, level)  # fewer would never be so many at once
                rows = stage.unasked(data, count * ROUNDS, f"load {level}").to_dict("records")
                calls = load_test.drive(
                    part.variant.requests(rows), [level], target,
                    replace(options, caller="load", run=f"{options.run} load", progress=False),
                    ROUNDS, count,
                )  # fmt: skip
                on = self._on(options.run)
                load += [
                    {"version": version, "on": on, **line} for line in calls.to_dict("records")
                ]
                recordings.write_lines(file, load)
        self._write_facts()

    def missing(self) -> list[tuple[Part, list]]:
        """Return each part with those of its questions that have no answer yet."""
        todo, seen = [], set()
        for part, requests in self.parts:
            new = [
                body
                for name, body in requests.items()
                if name not in seen and not self.has(name, body)
            ]
            seen |= requests.keys()
            todo += [(part, new)] if new else []
        return todo

    def has(self, name: tuple[str, int], body: Mapping) -> bool:
        """Say whether a question has an answer that fits."""
        row = self.answers.get(name)
        return row is not None and not recordings.unfit(row, body)

    def ask_all(self, todo: list[tuple[Part, list]], options: CallOptions) -> int:
        """Ask, and return how many questions that were."""
        total = sum(len(requests) for _, requests in todo)
        try:
            with bars.bar(total, "question", options.progress) as bar:
                for part, requests in todo:
                    bars.note(bar, part.title)
                    self.ask(part, requests, replace(options, progress=False), bar)
        finally:
            self.write()
        return total

    def ask(self, part: Part, requests: list, options: CallOptions, bar) -> None:
        """Ask questions, and write what was answered now and then."""
        version, target = part.variant.prompt.version, part.variant.target
        options = replace(options, caller=part.scenario, prompt_version=version, repeat=part.repeat)
        for start in range(0, len(requests), CHUNK):
            some = requests[start : start + CHUNK]
            ask_many(some, target, options)
            bar.update(len(some))
            self.since += len(some)
            if self.since >= EVERY:
                self.write()

    def write(self) -> None:
        """Write the recording's files: what they held, and what the ledger has besides.

        Answers to a former version of a prompt go.
        """
        self.since = 0
        table = self.calls.table()
        calls = table[table["status"] == "ok"]
        for scenario, versions_now in self.versions.items():
            file = self.session.folder / f"{scenario}{recordings.ANSWERS}"
            rows = recordings.read_rows(file) if file.is_file() else []
            before = {(row["q"], row["r"]): row for row in rows}
            here = calls[calls["caller"] == scenario].to_dict("records")
            rows += [recordings.row_of(call, self._on(call["run"])) for call in here]
            whole = {(row["q"], row["r"]): row for row in rows if row["v"] in versions_now}
            if whole and whole != before:  # to compress them takes a while
                recordings.write_rows(file, whole.values())
            self.answers |= whole
        self._write_facts()

    def _on(self, run: str) -> int:
        """Return the number of the machine that answered, which stands in the call's run."""
        machine, machines = json.loads(run), self.facts["machines"]
        for number, one in enumerate(machines):
            if _but_load(one) == _but_load(machine):
                one["load"] = max(one["load"], machine["load"])
                return number
        machines.append(machine)
        return len(machines) - 1

    def _write_facts(self) -> None:
        for part, requests in self.parts:
            scenario = self.facts["parts"].setdefault(part.scenario, [])
            others = [line for line in scenario if key(part.scenario, line) != part.key]
            known = sum(self.has(*one) for one in requests.items())
            # rows of the same text are one question
            count = len(part.rows) if known == len(requests) else known
            scenario[:] = [*others, {**part.facts, "recorded": count}]
        for scenario, known in self.keys.items():  # what is asked no longer goes
            lines = self.facts["parts"].get(scenario, [])
            lines[:] = [line for line in lines if key(scenario, line) in known]
        text = json.dumps(self.facts, indent=1, ensure_ascii=False)
        workspace.write_atomic(self.session.folder / recordings.FACTS, text + "\n")


def status(session: Session, names: Sequence[str] = ()) -> str:
    """Return what is recorded, what is missing and what does not fit any longer, as text."""
    try:
        facts = json.loads((session.folder / recordings.FACTS).read_text("utf-8"))
    except FileNotFoundError:
        return f"{session.name}: nothing is recorded"
    measured = recordings.read_lines(session.folder / recordings.COMPUTE)
    compute = {recordings.way_of(line): line["cpu_ms"] for line in measured}
    lines = []
    for scenario in session.scenarios(names):
        known = {key(scenario, line): line for line in facts["parts"].get(scenario, [])}
        planned = parts(scenario, session.target, session.scope(scenario))
        planned = {part.key: part for part in planned}
        for name, part in planned.items():
            lines.append(f"{part.title}: {recorded.state(part, known.get(name))}")
        for part in ways(planned.values()) if session.target.is_local else ():
            count = len(compute.get(part.way, ()))
            lines.append(f"{recorded.compute_title(part)}: {count} of {record_compute.ROWS}")
    return "\n".join(lines)
