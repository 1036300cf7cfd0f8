"""Prompt files: strict, small, versioned by what they say.

A prompt is a Markdown file: front matter (`FIELDS`), then the sections ``## system`` (optional),
``## user`` and any number of ``## example``. ``{text}`` stands for the input of that name. The
generic prompts in ``params/prompts/any`` also hold ``{labels}``, the labels of your own task; those
in ``params/prompts/number``, for tasks whose label is a number, what it is called and how it
lies: ``{target}``, ``{low}``, ``{mean}`` and ``{high}``.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from diptych.base import plugins, workspace
from diptych.base.errors import Plain
from diptych.base.secrets import Redactor
from diptych.core.data import images
from diptych.core.data.generators.support import AGENT, CUSTOMER
from diptych.core.data.schema import are_bare
from diptych.core.evaluation.graders import GRADERS
from diptych.execution.notebooks import nearest
from diptych.execution.parameters import Loader

ANY = "any"  # the folder of prompts for tasks that have none of their own
NUMBER = "number"  # the same where the label is a number
GENERIC = (ANY, NUMBER)
INSTRUCT = "instruct"  # below it: prompts for instruction models, which read more than the box does
REQUEST = ("max_tokens", "reasoning_effort", "thinking", "extra")  # what goes with its requests
FIELDS = ("task", "inputs", "images", "output", "graded", "turns", "parent", "note", *REQUEST)
TURNS = ("all", "last")  # of a dialogue, sent to the model as a chat
SECTIONS = ("system", "user", "example")
ANSWER = "answer"  # what an example's mapping calls it
LABELS = "labels"
FILLED = {ANY: (LABELS,), NUMBER: ("target", "low", "mean", "high")}  # slots of generic prompts
NUMERIC = ("number", "integer")  # types of JSON schema
DEFAULT = "default"  # of a schema: the number that stands for an answer without one
NEWLINE = re.compile("\r\n?")  # as reading a text file takes it
SLOT = re.compile(r"\{([A-Za-z_]\w*)\}")  # the braces of JSON hold quotes or spaces


class PromptError(Plain, ValueError):
    """A prompt file is wrong or is not there; the message says where and what to do."""


@dataclass(frozen=True)
class Prompt:
    """The messages to a model, with places for the inputs of a row.

    Attributes
    ----------
    name, task : str
    inputs : tuple of str
        Columns that it reads of a row, such as ``("text",)``.
    system, user : str
        The texts; "" where there is no system message.
    examples : tuple of (dict, str)
        Inputs and the answer to them, shown before the question.
    output : dict
        JSON schema of the answer; {} for free text.
    graded : str
        The grader that it is written for, "" if it says nothing. The task decides; a prompt for
        another grader is refused.
    turns : str
        ``"all"`` where the text is a dialogue whose turns become messages of their own, ``"last"``
        where only its last turn is sent, "" where the text is sent as it is.
    parent : str
        Name of the prompt that this one was made from, "" if none.
    note : str
        Why it is there.
    path : Path or None
        Its file.
    request : dict
        Fields of its requests: ``max_tokens`` of an answer, ``reasoning_effort``, ``thinking``
        (tokens, or the provider's own form), and all that stands under ``extra``.
    images : tuple of str
        The inputs that are pictures, for models that see: a URL, or the path of a file.
    """

    name: str
    task: str
    inputs: tuple[str, ...]
    system: str
    user: str
    examples: tuple[tuple[dict, str], ...] = field(default=(), hash=False)
    output: dict = field(default_factory=dict, hash=False)
    graded: str = ""
    turns: str = ""
    parent: str = ""
    note: str = ""
    path: Path | None = field(default=None, compare=False, repr=False)
    request: dict = field(default_factory=dict, hash=False)
    images: tuple[str, ...] = ()

    def __post_init__(self):
        """Check the slots now, before any row is asked.

        Raises
        ------
        PromptError
            If one is misspelt, or an input has none, or a key stands in the prompt: it would be
            sent, and stored with every call and release.
        """
        _check_slots(self.system, self.user, list(self.inputs), self.task, self._wrong)
        parts = [self.system, self.user, self.examples, self.output, self.note, self.request]
        content = json.dumps(parts, ensure_ascii=False)
        if Redactor().text(content) != content:
            raise self._wrong(
                "holds what looks like a key or a password. Take it out; an endpoint's key is "
                "read from the environment variable that `key_env` names"
            )

    def _wrong(self, fault: str) -> PromptError:
        return PromptError(f"{self.name}: {fault}")

    @property
    def version(self) -> str:
        """The first 12 hex digits of the SHA-256 of what the model reads."""
        content = [self.system, self.user, self.examples, self.output, self.inputs]
        content += [self.turns] if self.turns else []
        content += [self.request] if self.request else []
        content += [self.images] if self.images else []
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def answers_number(self) -> bool:
        """Whether the output schema asks for a number."""
        return not self.labels and _numeric(self.output) is not None

    @property
    def number_names(self) -> tuple[str, ...]:
        """What an answer may call its number: the key in its JSON, and what is predicted."""
        return tuple(filter(None, (_numeric(self.output), self.output.get("title"))))

    @property
    def stand_in(self) -> float:
        """The number that an answer without one counts as; NaN where none is set."""
        return float(self.output.get(DEFAULT, "nan"))

    @property
    def schema(self) -> dict:
        """The output schema as a request carries it."""
        return {key: value for key, value in self.output.items() if key not in (DEFAULT, "title")}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the output schema allows, () for free text."""
        return tuple(_enum(self.output))

    @property
    def unexplained(self) -> tuple[str, ...]:
        """The labels, if they are no names and this generic prompt cannot say what they mean."""
        is_generic = self.path is not None and folder(ANY) in self.path.parents
        return self.labels if is_generic and not self.images and are_bare(self.labels) else ()

    @property
    def without_pictures(self) -> "Prompt":
        """It with its pictures named instead of shown, for a reader of texts."""
        named = dict.fromkeys(self.images, "(a picture)")
        examples = tuple(({**inputs, **named}, answer) for inputs, answer in self.examples)
        return replace(self, images=(), examples=examples)

    def messages(self, row: Mapping, shots: Sequence[tuple[Mapping, str]] = ()) -> list[dict]:
        """Return the messages for a row: system, examples and shots with their answers, the row.

        Raises
        ------
        PromptError
            If the row or a shot lacks an input.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        pairs = [(inputs, self.answer(label)) for inputs, label in shots]
        for inputs, answer in (*self.examples, *pairs):
            messages += [*self._question(inputs), {"role": "assistant", "content": answer}]
        return [*messages, *self._question(row)]

    def _question(self, row: Mapping) -> list[dict]:
        """Return the filled user text as one message, or the turns of a dialogue as theirs."""
        if self.images:
            return [{"role": "user", "content": self._parts(row)}]
        text = self._fill(row)
        if not self.turns:
            return [{"role": "user", "content": text}]
        parts = re.split(rf"^({CUSTOMER}|{AGENT})", text, flags=re.MULTILINE)
        roles = ["assistant" if mark == AGENT else "user" for mark in parts[1::2]] or ["user"]
        turns = [turn.removesuffix("\n") for turn in parts[2::2]] or [text]
        messages = [{"role": r, "content": turn} for r, turn in zip(roles, turns, strict=True)]
        return messages if self.turns == "all" else messages[-1:]

    def answer(self, label: str | float) -> str:
        """Return the answer that gives a label, as JSON where the schema wants an object."""
        if self.answers_number:
            number = float(f"{float(label):.6g}")
            number = int(number) if number.is_integer() else number
            key = _numeric(self.output)
            return json.dumps({key: number} if key else number)
        if self.output.get("type") != "object":
            return label
        named = [k for k, v in self.output["properties"].items() if "enum" in v]
        return json.dumps(dict.fromkeys(named, label), ensure_ascii=False)

    def _parts(self, row: Mapping) -> list[dict]:
        """Return the filled user text as parts of a content: texts, and pictures between them."""
        self._check(row)
        parts = []
        # the name of a slot stands at every second place
        for i, piece in enumerate(SLOT.split(self.user)):
            if i % 2 and piece in self.images:
                url = {"url": self._picture(row[piece])}
                parts.append({"type": "image_url", "image_url": url})
                continue
            text = (
                piece if not i % 2 else str(row[piece]) if piece in self.inputs else f"{{{piece}}}"
            )
            if parts and parts[-1]["type"] == "text":
                parts[-1]["text"] += text
            elif text:
                parts.append({"type": "text", "text": text})
        return [part for part in parts if part["type"] != "text" or part["text"].strip()]

    def _picture(self, value: object) -> str:
        try:
            return value if images.is_picture(value) else images.of_file(str(value))
        except ValueError as error:
            raise self._wrong(f"images: {error}") from error

    def _fill(self, row: Mapping) -> str:
        self._check(row)
        # in one pass, so that a text with braces in it stays as it is
        return SLOT.sub(lambda m: str(row[m[1]]) if m[1] in self.inputs else m[0], self.user)

    def _check(self, row: Mapping) -> None:
        if missing := [name for name in self.inputs if name not in row]:
            has = ", ".join(map(str, row)) or "nothing"
            raise PromptError(f"{self.name}: a row lacks {', '.join(missing)}; it has {has}")


def _enum(schema: Mapping) -> list[str]:
    """Return the first list of allowed texts in a schema, of its properties if it has none."""
    inside = schema.get("properties") or {}
    return schema.get("enum") or next((x["enum"] for x in inside.values() if "enum" in x), [])


def _numeric(schema: Mapping) -> str | None:
    """Return the first key of a schema that holds a number, "" if it is one; None if none does."""
    if schema.get("type") in NUMERIC:
        return ""
    inside = schema.get("properties") or {}
    return next((name for name, x in inside.items() if x.get("type") in NUMERIC), None)


@dataclass(frozen=True)
class Numbers:
    """How the numbers lie that a task's label is, for its prompts.

    Attributes
    ----------
    target : str
        What the label is called.
    low, mean, high : float
        The 5th percentile, the mean and the 95th percentile of the training set.
    """

    target: str
    low: float
    mean: float
    high: float

    def words(self) -> dict[str, str]:
        """Return what stands in the slots of a generic prompt."""
        written = {name: f"{getattr(self, name):.4g}" for name in ("low", "mean", "high")}
        return {"target": self.target.replace("_", " "), **written}


def read_prompt(
    task: str, name: str, labels: Sequence[str] = (), numbers: Numbers | None = None
) -> Prompt:
    """Return a prompt by name, or by the path of its file.

    Parameters
    ----------
    task : str
        Name of the task; where it has no such prompt, the generic one is taken.
    name : str
        Stem of the file's name, or a path that ends in ``.md``; those for instruction models
        stand under ``instruct/``.
    labels : sequence of str
        The task's labels, for a generic prompt.
    numbers : Numbers, optional
        Where the label is a number, instead of the labels.

    Raises
    ------
    PromptError
        If there is none, or the file is wrong.
    """
    generic = NUMBER if numbers else ANY
    known = {path.stem: path for path in (*_files(generic), *_files(task))}
    known |= {f"{INSTRUCT}/{path.stem}": path for path in (*_instruct(generic), *_instruct(task))}
    if not name.endswith(".md") and name not in known and name in PROMPTS:
        return _for_task(PROMPTS[name], task, labels, numbers, name)
    path = Path(name).expanduser() if name.endswith(".md") else known.get(name)
    if path is None:
        raise PromptError(
            f"prompt: {task} has no {name!r}. {nearest(name, known)}There are "
            f"{', '.join([*known, *PROMPTS])}; or give the path of an .md file{plugins.failures()}"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise PromptError(f"{workspace.shown(path)}: cannot be read ({error})") from error
    return _for_task(parse(text, path), task, labels, numbers, workspace.shown(path))


def _for_task(
    prompt: Prompt, task: str, labels: Sequence[str], numbers: Numbers | None, where: str
) -> Prompt:
    """Return a prompt for a task: a generic one with its labels, or refused if of another."""
    if prompt.task in GENERIC:
        return made_for(prompt, task, labels, numbers)
    if prompt.task != task:
        raise PromptError(f"{where}: task: is {prompt.task}, and {task} is asked")
    return _with_numbers(prompt, numbers) if numbers and prompt.answers_number else prompt


def every(task: str, labels: Sequence[str] = (), numbers: Numbers | None = None) -> list[Prompt]:
    """Return all prompts of a task, or the generic ones if it has none, in order of their names.

    Those that plugins add for it, or for any task, come last.
    """
    generic = NUMBER if numbers else ANY
    names = [path.stem for path in _files(task)]
    names += [name for name, added in PROMPTS.items() if added.task == task]
    names = names or [path.stem for path in _files(generic)]
    names += [name for name, added in PROMPTS.items() if added.task == generic]
    return [read_prompt(task, name, labels, numbers) for name in dict.fromkeys(names)]


def for_instruction(
    task: str, labels: Sequence[str] = (), numbers: Numbers | None = None
) -> list[Prompt]:
    """Return a task's prompts for instruction models, or the generic ones if it has none at all.

    Those that plugins add come last, as in `every`. Those that show a picture are left out: they
    take a model that sees.
    """
    generic = NUMBER if numbers else ANY
    paths = _instruct(task)
    if not paths and not _files(task):
        paths = _instruct(generic)
    names = [f"{INSTRUCT}/{path.stem}" for path in paths]
    names += [name for name, added in PROMPTS.items() if names and added.task in (task, generic)]
    prompts = [read_prompt(task, name, labels, numbers) for name in names]
    return [prompt for prompt in prompts if not prompt.images]


def folder(task: str) -> Path:
    """Return the folder of a task's prompts."""
    return workspace.repo_root() / "params" / "prompts" / task


def _files(task: str) -> list[Path]:
    return sorted(folder(task).glob("*.md"))


def _instruct(task: str) -> list[Path]:
    return sorted((folder(task) / INSTRUCT).glob("*.md"))


def made_for(
    prompt: Prompt, task: str, labels: Sequence[str] = (), numbers: Numbers | None = None
) -> Prompt:
    """Put a task's labels, or what its numbers are, into a generic prompt.

    Raises
    ------
    PromptError
        If there is neither, or the prompt is of the other kind.
    """
    if (prompt.task == NUMBER) != (numbers is not None):
        kinds = ("a number", "a class") if numbers is None else ("a class", "a number")
        raise PromptError(
            f"{prompt.name}: asks for {kinds[0]}, and the label of {task} is {kinds[1]}"
        )
    if numbers is None and not labels:
        raise PromptError(f"{prompt.name}: is a generic prompt and needs the labels of {task}")
    either = " or ".join(filter(None, (", ".join(labels[:-1]), *labels[-1:])))
    words = numbers.words() if numbers else {LABELS: either}

    def put(text: str) -> str:
        return SLOT.sub(lambda slot: words.get(slot[1], slot[0]), text)

    filled = replace(prompt, task=task, system=put(prompt.system), user=put(prompt.user))
    return _with_numbers(filled, numbers) if numbers else _with_labels(filled, labels)


def _with_numbers(prompt: Prompt, numbers: Numbers) -> Prompt:
    """Let an answer without a number count as the mean, unless the prompt says another."""
    known = {"title": numbers.target, DEFAULT: float(f"{numbers.mean:.6g}")}
    return replace(prompt, output=known | prompt.output)


def _with_labels(prompt: Prompt, labels: Sequence[str]) -> Prompt:
    output = dict(prompt.output)
    if output.get("type") == "object":
        output["properties"] = {
            key: {**value, "enum": list(labels)} for key, value in output["properties"].items()
        }
    else:
        output["enum"] = list(labels)
    return replace(prompt, output=output)


def parse(text: str, path: str | Path = "prompt.md") -> Prompt:
    """Read a prompt from the text of its file.

    Raises
    ------
    PromptError
        Naming the file, the field, the value and the remedy.
    """
    path = Path(path)

    def wrong(fault: str) -> PromptError:
        return PromptError(f"{workspace.shown(path)}: {fault}")

    front, body = _front_matter(text, wrong)
    inputs, output = front.get("inputs"), front.get("output") or {}
    if not isinstance(front.get("task"), str):
        raise wrong("task: is missing; give the task's name")
    if not isinstance(inputs, list) or not all(isinstance(x, str) for x in inputs):
        raise wrong("inputs: is no list of names; give one such as [text]")
    if not isinstance(output, dict) or not all(isinstance(x, str) for x in _enum(output)):
        raise wrong('output: is no JSON schema; quote labels such as "yes", or leave it out')
    if type(output.get(DEFAULT, 0)) not in (int, float):
        raise wrong(f"output: default: {output[DEFAULT]!r} is no number")
    graded, turns = front.get("graded", ""), front.get("turns", "")
    if graded not in ("", *GRADERS):
        raise wrong(f"graded: {graded!r} is no grader; there are {', '.join(GRADERS)}")
    if turns not in ("", *TURNS):
        raise wrong(f"turns: {turns!r}; there are {', '.join(TURNS)}, or leave it out")
    seen = front.get("images") or []
    if not isinstance(seen, list) or not set(seen) <= set(inputs):
        raise wrong(f"images: {seen!r}; give those of the inputs that are pictures, as [image]")
    if seen and turns:
        raise wrong("turns: a prompt with images is one message; leave turns out")
    system, user, examples = _sections(body, inputs, wrong)
    _check_slots(system, user, inputs, front["task"], wrong)
    return Prompt(
        path.stem, front["task"], tuple(inputs), system, user, examples, output, graded, turns,
        str(front.get("parent") or ""), str(front.get("note") or ""), path, _request(front, wrong),
        tuple(seen),
    )  # fmt: skip


def _request(front: Mapping, wrong) -> dict:
    """Return the fields of a prompt's requests, those under ``extra`` among them."""
    fields = {name: front[name] for name in REQUEST if front.get(name) is not None}
    extra = fields.pop("extra", {})
    if not isinstance(extra, dict) or not all(isinstance(name, str) for name in extra):
        raise wrong("extra: is no mapping of fields, such as {seed: 7}")
    if reserved := extra.keys() & {"messages", "model", "stream", *REQUEST}:
        raise wrong(f"extra: {min(reserved)} has a place of its own; take it out")
    limit = fields.get("max_tokens", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise wrong(f"max_tokens: {limit!r}; give a whole number of 1 or more")
    if not isinstance(fields.get("reasoning_effort", ""), str):
        raise wrong(f"reasoning_effort: {fields['reasoning_effort']!r}; give a word such as low")
    return fields | extra


def _front_matter(text: str, wrong) -> tuple[dict, str]:
    """Return the fields of a prompt's file, and the text after them."""
    parts = re.match(r"---\n(.*?\n)---\n(.*)", NEWLINE.sub("\n", text), re.DOTALL)
    if not parts:
        raise wrong("has no front matter; begin with --- and end it with ---")
    try:
        front = yaml.load(parts[1], Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise wrong(f"front matter: {' '.join(str(error).split())}") from error
    if not isinstance(front, dict):
        raise wrong(f"front matter: holds no fields; there are {', '.join(FIELDS)}")
    for name in front.keys() - set(FIELDS):
        hint = f"{nearest(str(name), FIELDS)}There are {', '.join(FIELDS)}"
        raise wrong(f"{name}: is no field of a prompt. {hint}")
    return front, parts[2]


def _sections(body: str, inputs: list[str], wrong) -> tuple[str, str, tuple]:
    """Return system, user and examples of a prompt's body."""
    before, *parts = re.split(r"^## +(.*?) *$\n?", body, flags=re.MULTILINE)
    if before.strip():
        raise wrong(f"{before.strip()[:40]!r} stands before the first section; begin with ## user")
    texts, examples = {"system": "", "user": ""}, []
    for name, content in zip(parts[::2], parts[1::2], strict=True):
        content = content.strip("\n")
        if name == "example":
            examples.append(_example(content, inputs, wrong))
        elif name not in SECTIONS:
            hint = f"{nearest(name, SECTIONS)}There are {', '.join(SECTIONS)}"
            raise wrong(f"## {name}: is no section. {hint}; a heading in a text begins with ###")
        elif texts[name]:
            raise wrong(f"## {name}: is there twice; keep one")
        else:
            texts[name] = content
    if not texts["user"].strip():
        raise wrong("## user: is missing; say there what the model is asked")
    return texts["system"], texts["user"], tuple(examples)


def _check_slots(system: str, user: str, inputs: list[str], task: str, wrong) -> None:
    filled = FILLED.get(task, ())
    slots = set(SLOT.findall(user))
    for name in sorted(slots - {*inputs, *filled}):
        hint = f"{nearest(name, inputs)}Add it to inputs: [{', '.join(inputs)}], or take it out"
        raise wrong(f"{{{name}}}: is not among the inputs. {hint}")
    for name in inputs:
        if name not in slots:
            raise wrong(f"inputs: {{{name}}} is not in ## user; write it where the input belongs")
        if name in SLOT.findall(system):
            raise wrong(f"{{{name}}}: an input belongs in ## user, not in ## system")


def _example(content: str, inputs: list[str], wrong) -> tuple[dict, str]:
    try:
        example = yaml.load(content, yaml.BaseLoader)  # all texts: yes is no truth value here
    except yaml.YAMLError as error:
        raise wrong(f"## example: {' '.join(str(error).split())}; quote the text") from error
    wanted = {*inputs, ANSWER}
    if not isinstance(example, dict) or example.keys() != wanted:
        raise wrong(f"## example: needs {', '.join((*inputs, ANSWER))}, and nothing else")
    if not all(isinstance(value, str) for value in example.values()):
        raise wrong("## example: holds a value that is no text; quote it")
    return {name: example[name] for name in inputs}, example[ANSWER]


def read_added(name: str, entry: object) -> Prompt:
    """Return a prompt that a plugin adds: the text of its file, or the file's path.

    Raises
    ------
    PluginError
        If it is neither.
    PromptError
        If it is wrong.
    """
    if isinstance(entry, Prompt):
        return replace(entry, name=name)
    if isinstance(entry, Path):
        try:
            entry = entry.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise PromptError(f"prompt {name}: cannot be read ({error})") from error
    if not isinstance(entry, str):
        raise plugins.PluginError(f"prompt: {name!r} is no text of a prompt file, and no path")
    return replace(parse(entry, f"{name}.md"), path=None)


PROMPTS: plugins.Registry[Prompt] = plugins.Registry("prompt", {}, read_added)


def write(prompt: Prompt, path: str | Path | None = None) -> Path:
    """Write a prompt to its file, by default in its task's folder, and return the path.

    Raises
    ------
    PromptError
        If the file would not give the same prompt again.
    """
    path = Path(path or prompt.path or folder(prompt.task) / f"{prompt.name}.md")
    text = to_text(prompt)
    if parse(text, path).version != prompt.version:
        fault = "begins or ends with an empty line, or a line of it begins with ##"
        raise PromptError(f"{prompt.name}: cannot be written: a text {fault}")
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(path, text)
    return path


def to_text(prompt: Prompt) -> str:
    """Return the text of a prompt's file."""
    front = {"task": prompt.task, "inputs": list(prompt.inputs), "images": list(prompt.images),
             "output": prompt.output,
             "graded": prompt.graded, "turns": prompt.turns, "parent": prompt.parent,
             "note": prompt.note, **_named(prompt.request)}  # fmt: skip
    parts = ["---", _yaml({k: v for k, v in front.items() if v or v == 0}), "---"]
    parts += ["## system", prompt.system, ""] if prompt.system else []
    parts += ["## user", prompt.user]
    for inputs, answer in prompt.examples:
        parts += ["", "## example", _yaml({**inputs, ANSWER: answer})]
    return "\n".join(parts) + "\n"


def _named(request: Mapping) -> dict:
    """Return a prompt's request fields as its front matter has them."""
    names = {name: value for name, value in request.items() if name in REQUEST}
    extra = {name: value for name, value in request.items() if name not in REQUEST}
    return names | ({"extra": extra} if extra else {})


def _yaml(content: dict) -> str:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
    return text.rstrip("\n")


def difference(a: Prompt, b: Prompt) -> str:
    """Return what changed from `a` to `b` as a unified diff, "" if nothing did."""
    texts = (to_text(replace(p, parent="", note="")).splitlines() for p in (a, b))
    names = (f"{p.name} {p.version}" for p in (a, b))
    return "\n".join(difflib.unified_diff(*texts, *names, lineterm="", n=2))
