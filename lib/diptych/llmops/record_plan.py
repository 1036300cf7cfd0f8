"""What is asked of a model that is recorded: scenarios, their rows and prompts, in their order."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from diptych.base import hashing, workspace
from diptych.core.data import perturb, tasks, versions
from diptych.llmops import data as stage
from diptych.llmops.client import recordings
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import judge
from diptych.llmops.hallucination import uncertainty
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

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
    judged : bool
        Whether the model then judges its answers, see `judged`.
    load : int
        Rows asked at each level of concurrency, as many as it is high at least; 0: none.
    """

    task: str
    steps: tuple[tuple[str, tuple[int, ...], Mapping[str, int]], ...]
    judged: bool = False
    load: int = 0

    @property
    def prompts(self) -> list[str]:
        """The prompts' names."""
        return list(dict.fromkeys(prompt for prompt, _, _ in self.steps))

    @property
    def most_shots(self) -> int:
        """The largest number of examples."""
        return max(k for _, shots, _ in self.steps for k in shots)


SHORT = "instruct/label_only"  # a prompt for instruction models
FEW, BY_HAND = {"valid": 40, "test": 150}, {"handwritten": 150}
KEY = "instruct/key_sentence"  # asks for the sentence that summaries are graded by
SOME = {"valid": 40, "test": 60}
WRITTEN = ({"test": 30}, {"valid": 40}, {"test": 60}, {"test": 100})  # where answers are texts
FURTHER = (200, 250, 300, 400)  # test rows, those above among them: a verdict may need them
ZERO, FEW_SHOT = (0,), (4, 8)
REPEATED, PERTURBED = "repeated", "perturbed"  # test rows asked again; test rows with typos
REPEATS, WARM = 3, 0.7  # as in ``2_build``
AGAIN = {REPEATED: 10, PERTURBED: 30}
CARDS, N_CARDS = "cards", 40  # questions about product cards, as in ``5_monitor``
JUDGED = "judged"  # the model's answers beside the references, in both orders
# what two busy cores answer in an hour and a half, for three models
SCOPES = {
    "sentiment": Scope(
        "reviews",
        ((SHORT, ZERO, FEW), (SHORT, ZERO, BY_HAND), (SHORT, FEW_SHOT, FEW),
         (SHORT, FEW_SHOT, BY_HAND), *((SHORT, ZERO, {"test": n}) for n in FURTHER),
         (SHORT, ZERO, AGAIN)),
        load=16,
    ),
    "chatbot": Scope(
        "support",
        (*(("grounded", ZERO, sizes) for sizes in WRITTEN),
         ("grounded", ZERO, {"handwritten": 30})),
        judged=True,
    ),
    "summaries": Scope(
        "summaries",
        ((KEY, (0, 4), SOME), (KEY, (0, 4), {"test": 100}),
         *(("main_point", ZERO, sizes) for sizes in WRITTEN)),
    ),
    "structured": Scope("tumours", ((SHORT, ZERO, {"test": 30}),)),
}  # fmt: skip
TUNED = {  # of an adapter, which learnt from the rows of this scenario
    "sentiment": Scope("reviews", ((SHORT, ZERO, {"test": 150, "handwritten": 50}),)),
}


def scenarios() -> list[str]:
    """Return the names of all scenarios that can be recorded."""
    return [*SCOPES, CARDS]


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
        return key(self.scenario, self.facts)

    @property
    def way(self) -> tuple[str, str, int]:
        """The scenario, the prompt's version and the number of examples."""
        return self.scenario, self.variant.prompt.version, self.variant.shots

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


def key(scenario: str, line: Mapping) -> tuple:
    """Return what tells a part from others, from its facts."""
    return scenario, line["prompt"], line["split"], line["shots"]


def parts(scenario: str, target: Target, scope: Scope | None = None) -> Iterator[Part]:
    """Return what is asked in a scenario, the most valuable first.

    What a judge is to read depends on the recorded answers: see `judged`.

    Parameters
    ----------
    scenario : str
        Of `scenarios`.
    target : Target
        Who is asked.
    scope : Scope, optional
        Of the scenario; by default that of `SCOPES`.

    Raises
    ------
    RecordingError
        If the scenario is not known.
    """
    if scenario == CARDS:
        yield _cards(target)
        return
    if scenario not in SCOPES:
        known = ", ".join(scenarios())
        raise RecordingError(f"scenario: {scenario!r} is not known; there are {known}")
    scope = scope or SCOPES[scenario]
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
                else:
                    rows = stage.sample(data, split, n, SEED)
                    if split == PERTURBED:
                        rows = stage.as_text(perturb.rows(stored, task, n, SEED), task.features)
                    if len(rows):
                        yield replace(plain, split=split, rows=rows)


def ways(some: Iterable[Part]) -> list[Part]:
    """Return one part of each way to ask about test rows: of each prompt and number of examples."""
    chosen: dict[tuple, Part] = {}
    for part in some:
        if part.split == "test":
            chosen.setdefault(part.way, part)
    return list(chosen.values())


@cache
def _stored(name: str, _: Path) -> tuple[tasks.Task, pd.DataFrame, str]:
    """Return a task, its rows in this workspace, and what identifies them."""
    task = tasks.get(name)
    version = versions.ingest(task, why="rows of a recording")
    return task, versions.read(task.name), version.digest[:12]


def rows_of(scenario: str) -> tuple[tasks.Task, pd.DataFrame]:
    """Return a scenario's task and its rows, as texts."""
    task, stored, _ = _stored(SCOPES[scenario].task, workspace.home())
    return task, stage.as_text(stored, task.features)


def _repeated(part: Part, n: int) -> Iterator[Part]:
    """Return the same test rows several times, without a temperature and with one."""
    rows = stage.sample(part.rows, "test", FEW["test"], SEED).head(n)
    for temperature, repeat in itertools.product((0.0, WARM), range(REPEATS)):
        variant = replace(part.variant, temperature=temperature)
        split = f"{REPEATED} {repeat + 1}, t={temperature:g}"
        yield replace(part, split=split, variant=variant, rows=rows, repeat=repeat)


def _cards(target: Target) -> Part:
    """Return questions about product cards, which are the same everywhere."""
    texts = [row.message for row in uncertainty.rows(N_CARDS, SEED)]
    return _texts(CARDS, CARDS, texts, target, uncertainty.TOKENS)


def judged(scenario: str, target: Target, answers: pd.DataFrame) -> Part:
    """Return what a model is asked as the judge of its own answers.

    Parameters
    ----------
    answers : DataFrame
        Of one way to ask, as `diptych.llmops.evaluation.evaluate.evaluate` returns them.
    """
    return _texts(scenario, JUDGED, judge.Judge().asked(pairs(scenario, answers)), target,
                  judge.TOKENS)  # fmt: skip


def pairs(scenario: str, answers: pd.DataFrame) -> pd.DataFrame:
    """Return recorded answers beside the references, as `diptych.llmops.evaluation.judge.pairs`."""
    task, data = rows_of(scenario)
    return judge.pairs(answers, answers.head(0), data, task.grader, stage.labels_of(data))


def judged_key(scenario: str) -> tuple:
    """Return the key of what `judged` returns."""
    return key(scenario, {"prompt": JUDGED, "split": JUDGED, "shots": 0})


def _texts(scenario: str, name: str, texts: Sequence[str], target: Target, tokens: int) -> Part:
    """Return questions that are texts as they stand."""
    prompt = _prompt(name)
    target = replace(target, parameters={**target.parameters, "max_tokens": tokens})
    rows = pd.DataFrame({"id": range(len(texts)), "text": list(texts)})
    return Part(scenario, name, Variant(prompt, target), rows, [], hashing.of_json(texts)[:12])


def _prompt(name: str) -> Prompt:
    return Prompt(name, "", ("text",), "", "{text}")


@cache
def text_version() -> str:
    """Return the version of the prompt of texts as they stand."""
    return _prompt(CARDS).version
