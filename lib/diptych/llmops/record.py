"""Record a real model: ask what the contrast compares, and keep the answers to be replayed.

The most valuable questions come first, so what an interrupted recording holds is of use already.
Every answer is on the disk as it comes, and only questions that have none are asked.
"""

import itertools
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path

import pandas as pd

from diptych.base import environment, hashing, workspace
from diptych.base import notebook_progress as bars
from diptych.base.http_load import usage
from diptych.core.data import perturb, tasks, versions
from diptych.core.evaluation import calibration, stats
from diptych.core.store.calls import Calls
from diptych.llmops import data as stage
from diptych.llmops.client import recordings
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import RECORDED
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process, sizing

CHUNK = 20  # questions between two looks at the server's CPU time
EVERY = 200  # questions between two writings of the recording's files
PATIENCE_S = 900.0  # for one answer: nobody waits for it
REMOTE = 8  # calls under way at once, of a hosted model
SEED = 0


class RecordingError(RuntimeError):
    """A model cannot be recorded; the message says what to do."""


@dataclass(frozen=True)
class Scope:
    """What is asked of a model in one scenario.

    Attributes
    ----------
    task : str
    steps : tuple of (prompt, shots, rows)
        The most valuable first: the prompt's name, numbers of examples, and rows by split. A later
        step of the same prompt holds the rows of those before.
    """

    task: str
    steps: tuple[tuple[str, tuple[int, ...], Mapping[str, int]], ...]

    @property
    def prompts(self) -> list[str]:
        """The prompts' names."""
        return list(dict.fromkeys(prompt for prompt, _, _ in self.steps))

    @property
    def most_shots(self) -> int:
        """The largest number of examples."""
        return max(k for _, shots, _ in self.steps for k in shots)


SHORT, BOX = "instruct/label_only", "plain"  # for instruction models; what the box model is asked
FEW, MORE = {"valid": 40, "test": 150}, {"valid": 200, "test": 400}
BY_HAND, ALL = {"handwritten": 1_000}, {"valid": 400, "test": 1_828}
ZERO, EVERY_K = (0,), (0, 4, 8)
REPEATED, PERTURBED = "repeated", "perturbed"  # test rows asked again; test rows with typos
REPEATS, WARM = 3, 0.7  # as in ``2_build``
AGAIN, AGAIN_FEW = {REPEATED: 40, PERTURBED: 150}, {REPEATED: 10, PERTURBED: 30}
FIGURES = (
    "prompt",
    "shots",
    "split",
    "n",
    "score",
    "low",
    "high",
    "unreadable",
    "calibration error",
    "p50 ms",
)
SCOPES = {
    "sentiment": Scope(
        "reviews",
        (
            (SHORT, ZERO, FEW), (SHORT, ZERO, {"handwritten": 150}), (SHORT, EVERY_K, FEW),
            (SHORT, ZERO, AGAIN_FEW), (BOX, ZERO, FEW), (SHORT, EVERY_K, BY_HAND),
            (SHORT, ZERO, AGAIN), (SHORT, EVERY_K, MORE), (BOX, EVERY_K, FEW | BY_HAND),
            (SHORT, EVERY_K, ALL), (BOX, ZERO, ALL),
        ),
    ),
    "chatbot": Scope(
        "support",
        (("grounded", ZERO, {"test": 30}), ("grounded", ZERO, {"valid": 20, "test": 60}),
         ("memory", ZERO, {"valid": 20, "test": 60}),
         ("grounded", ZERO, FEW | BY_HAND)),
    ),
    "summaries": Scope(
        "summaries",
        (("main_point", ZERO, {"test": 30}), ("main_point", ZERO, {"valid": 20, "test": 60}),
         ("one_line", ZERO, FEW),
         ("main_point", ZERO, FEW)),
    ),
    "structured": Scope(
        "tumours",
        ((SHORT, ZERO, {"test": 30}), (SHORT, (0, 4), {"valid": 20, "test": 50}),
         (BOX, ZERO, {"valid": 20, "test": 50})),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Some rows and one way to ask about them."""

    scenario: str
    split: str
    variant: Variant
    rows: pd.DataFrame
    pool: list
    data: str
    repeat: int = 0

    @property
    def key(self) -> tuple:
        """What tells it from others, however many rows it has."""
        return _key(self.scenario, self.facts)

    @property
    def title(self) -> str:
        """Readable."""
        shots = f", {self.variant.shots} examples" if self.variant.shots else ""
        return f"{self.scenario} · {self.variant.prompt.name}{shots} · {self.split}"

    @property
    def facts(self) -> dict:
        """What is kept of it beside the answers."""
        prompt = self.variant.prompt
        return {
            "split": self.split, "prompt": prompt.name, "version": prompt.version,
            "shots": self.variant.shots, "rows": len(self.rows), "data": self.data,
        }  # fmt: skip

    def requests(self) -> dict[tuple[str, int], dict]:
        """Return its questions, by what a recording finds them by."""
        requests = self.variant.requests(self.rows.to_dict("records"), self.pool)
        return {(recordings.question(body), self.repeat): body for body in requests}


def parts(scenario: str, target: Target) -> Iterator[Part]:
    """Return what is asked in a scenario, the most valuable first.

    Raises
    ------
    RecordingError
        If the scenario is not known.
    """
    if scenario not in SCOPES:
        raise RecordingError(f"scenario: {scenario!r} is not known; there are {', '.join(SCOPES)}")
    scope = SCOPES[scenario]
    task, stored, digest = _stored(scope.task, workspace.home())
    data = stage.as_text(stored, task.features)
    labels = stage.labels_of(data)
    prompts = dict(zip(scope.prompts, stage.choose(task, scope.prompts, labels), strict=True))
    pool = stage.pool(data, scope.most_shots, SEED, labels) if scope.most_shots else []
    for name, counts, sizes in scope.steps:
        for k in counts:
            plain = Part(scenario, "", Variant(prompts[name], target, k), data, pool, digest)
            for split, n in sizes.items():
                if split == REPEATED:
                    yield from _repeated(plain, n)
                    continue
                rows = stage.sample(data, split, n, SEED)
                if split == PERTURBED:
                    rows = stage.as_text(perturb.rows(stored, task, n, SEED), task.features)
                if len(rows):
                    yield replace(plain, split=split, rows=rows)


@cache
def _stored(name: str, _: Path) -> tuple[tasks.Task, pd.DataFrame, str]:
    """Return a task, its rows in this workspace, and what identifies them."""
    task = tasks.get(name)
    version = versions.ingest(task, why="rows of a recording")
    return task, versions.read(task.name), version.digest[:12]


def _repeated(part: Part, n: int) -> Iterator[Part]:
    """Return the same test rows several times, without a temperature and with one."""
    rows = stage.sample(part.rows, "test", FEW["test"], SEED).head(n)
    for temperature, repeat in itertools.product((0.0, WARM), range(REPEATS)):
        variant = replace(part.variant, temperature=temperature)
        split = f"{REPEATED} {repeat + 1}, t={temperature:g}"
        yield replace(part, split=split, variant=variant, rows=rows, repeat=repeat)


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
    """

    name: str
    target: Target
    folder: Path

    @classmethod
    def of(cls, model: str, folder: Path | None = None) -> "Session":
        """Return the session of a model.

        Parameters
        ----------
        model : str
            A name of `diptych model list`, or ``endpoint/model`` of a hosted one, such as
            ``openai/gpt-5-mini``; ``NAME=`` before it, or before a GGUF file, names the recording.
        folder : Path, optional
            The folder of recordings; by default `home`.

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
            target = Target(server={"model": str(process.model_file(source)), "slots": 1})
        return cls(name, target, (folder or home()) / name)

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
        return facts

    def _model(self) -> dict:
        if not self.target.is_local:
            return {"model": self.target.model_name, "endpoint": self.target.endpoint,
                    "parameters": self.target.provider.fields(self.target.model_name)}  # fmt: skip
        file = Path(self.target.server["model"])
        return {"model": self.name, "file": file.name, "digest": hashing.of_file(file),
                "bytes": file.stat().st_size}  # fmt: skip

    def machine(self) -> dict:
        """Return what answers: the day, and the processor if it is this machine's."""
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        if not self.target.is_local:
            return {"date": today, "load": 0.0}
        threads = sizing.fit(Path(self.target.server["model"]), slots=1).threads
        return {"date": today, "cpu": recordings.processor(), "cores": environment.cores(),
                "threads": threads, "load": recordings.load_now()}  # fmt: skip


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
    scenarios: Sequence[str] = tuple(SCOPES),
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
    scenarios : sequence of str
        Of `SCOPES`.
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
        keep.plan(scenarios, shots)
        keep.write()  # with what a kill left in the ledger
        todo = _first(keep.missing(), most)
        total = sum(len(requests) for _, requests in todo)
        options = CallOptions(
            run=json.dumps(session.machine(), sort_keys=True), calls=calls, stream=True,
            budget=Budget(max_usd, strict=True), give_up=True, timeout_s=PATIENCE_S,
            concurrency=1 if session.target.is_local else REMOTE,
        )  # fmt: skip
        try:
            with bars.bar(total, "question", progress) as bar:
                for part, requests in todo:
                    bars.note(bar, part.title)
                    keep.ask(part, requests, options, bar)
        finally:
            keep.write()
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
        self.answers: dict[tuple[str, int], dict] = {}  # what is recorded
        self.since = 0
        self.cpu: dict[tuple, tuple[float, int]] = {}  # of the server, by part

    def plan(self, scenarios: Sequence[str], shots: Sequence[int]) -> None:
        """Find out what there is to ask."""
        for scenario in scenarios:
            every = list(parts(scenario, self.session.target))
            self.versions[scenario] = {part.variant.prompt.version for part in every}
            for part in every:
                if not shots or part.variant.shots in shots:
                    self.parts.append((part, part.requests()))

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

    def ask(self, part: Part, requests: list, options: CallOptions, bar) -> None:
        """Ask questions, and look at the CPU time of the server in between."""
        version, target = part.variant.prompt.version, part.variant.target
        options = replace(options, caller=part.scenario, prompt_version=version, repeat=part.repeat)
        for start in range(0, len(requests), CHUNK):
            some = requests[start : start + CHUNK]
            pid = process.start(**target.server).pid if target.is_local else None
            before = usage(pid)["cpu_s"] if pid else 0.0
            ask_many(some, target, options)
            if pid:
                spent, count = self.cpu.get(part.key, (0.0, 0))
                self.cpu[part.key] = spent + usage(pid)["cpu_s"] - before, count + len(some)
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
            here = calls[calls["caller"] == scenario].to_dict("records")
            rows += [recordings.row_of(call, self._on(call["run"])) for call in here]
            whole = {(row["q"], row["r"]): row for row in rows if row["v"] in versions_now}
            if whole:
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
            same = [line for line in scenario if _key(part.scenario, line) == part.key]
            line = {**(same[0] if same else {}), **part.facts}
            line["recorded"] = sum(self.has(*one) for one in requests.items())
            if part.key in self.cpu:
                spent, count = self.cpu[part.key]
                line["cpu_ms"] = round(1000 * spent / count, 1)
            scenario[:] = [*(each for each in scenario if each not in same), line]
        text = json.dumps(self.facts, indent=1, ensure_ascii=False)
        workspace.write_atomic(self.session.folder / recordings.FACTS, text + "\n")


def status(session: Session, scenarios: Sequence[str] = tuple(SCOPES)) -> str:
    """Return what is recorded, what is missing and what does not fit any longer, as text."""
    try:
        facts = json.loads((session.folder / recordings.FACTS).read_text("utf-8"))
    except FileNotFoundError:
        return f"{session.name}: nothing is recorded"
    lines = []
    for scenario in scenarios:
        known = {_key(scenario, line): line for line in facts["parts"].get(scenario, [])}
        planned = {part.key: part for part in parts(scenario, session.target)}
        for key, part in planned.items():
            lines.append(f"{part.title}: {_state(part, known.get(key))}")
    return "\n".join(lines)


def _state(part: Part, line: Mapping | None) -> str:
    """Return how much of a part is recorded, and why not all of it can be used."""
    if line is None:
        return f"none of {len(part.rows):,}"
    count = f"{line['recorded']:,} of {len(part.rows):,}"
    if line["version"] != part.variant.prompt.version:
        return f"{count}, of another version of the prompt: record again"
    if line["data"] != part.data:
        return f"{count}, of other rows: record again"
    return count


def _key(scenario: str, line: Mapping) -> tuple:
    return scenario, line["prompt"], line["split"], line["shots"]


def measured(name: str, scenario: str) -> pd.DataFrame:
    """Return what a recording shows: the figures of each part whose every row is recorded.

    Returns
    -------
    DataFrame
        `FIGURES`: ``score`` (share of right answers) with its interval, ``unreadable`` (share),
        ``calibration error`` of the label's probability, ``p50 ms`` of an answer.
    """
    target, lines = Target(RECORDED, name), []
    task = tasks.get(SCOPES[scenario].task)
    for part in parts(scenario, target):
        if part.split.startswith(REPEATED):  # these are among the test rows
            continue
        results = _replayed(part, task.grader)
        if results is not None:
            lines.append({"prompt": part.variant.prompt.name, "shots": part.variant.shots,
                          "split": part.split, **_figures(results)})  # fmt: skip
    table = pd.DataFrame(lines, columns=list(FIGURES))
    return table.drop_duplicates(list(FIGURES[:3]), keep="last", ignore_index=True)


def _replayed(part: Part, grader) -> pd.DataFrame | None:
    """Return the graded answers to a part, None where one is missing."""
    answers = recordings.load(part.variant.target.model).answers
    for name, body in part.requests().items():
        if name not in answers or recordings.unfit(answers[name], body):
            return None
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        options = CallOptions(calls=calls, run="measured", repeat=part.repeat)
        return evaluate.evaluate([part.variant], part.rows, grader, options, pool=part.pool)


def _figures(results: pd.DataFrame) -> dict:
    labelled = set(results["grader"]) == {"label"}
    right = stats.wilson(int(results["correct"].sum()), len(results))
    sure = results[results["confidence"].notna()]
    error = math.nan
    if labelled and len(sure) >= calibration.FEWEST:
        error = calibration.error(sure["confidence"], sure["correct"].astype(float)).value
    return {
        "n": len(results), "score": right.value, "low": right.low, "high": right.high,
        "unreadable": float(results["predicted"].isna().mean()) if labelled else math.nan,
        "calibration error": error, "p50 ms": float(results["latency_ms"].median()),
    }  # fmt: skip
