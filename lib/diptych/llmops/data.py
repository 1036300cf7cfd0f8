"""Stage 1, data: prompts are data too; examples and evaluation rows come from one data version."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from diptych.core.data import images, perturb, splits
from diptych.core.data.schema import FRAME, REFERENCE, is_number, right_answer
from diptych.core.data.tasks import Task
from diptych.core.evaluation.graders import LABEL
from diptych.core.store.records import Recorder
from diptych.llmops.client.budget import prompt_bytes
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import judge, scorers
from diptych.llmops.prompts.constraint import FREE
from diptych.llmops.prompts.prompt import (
    Numbers,
    Prompt,
    PromptError,
    difference,
    every,
    for_instruction,
    parse,
    read_prompt,
    write,
)
from diptych.llmops.prompts.variant import MAX_TOKENS_TEXT, Step, grid
from diptych.llmops.server import llama, process

__all__ = [
    "Extent", "Prompt", "PromptError", "Questions", "as_text", "choose", "difference", "every",
    "inventory", "labels_of", "leaks", "numbers_of", "parse", "pool", "raise_if_leaked",
    "read_prompt", "sample", "shown", "tokens", "unasked", "write",
]  # fmt: skip

IMAGE = "image"  # the column with a row's picture


def labels_of(data: pd.DataFrame) -> list[str]:
    """Return the classes of canonical rows, sorted; [] where the label is a number."""
    return [] if is_number(data["label"]) else sorted(data["label"].unique())


def choose(
    task: Task,
    names: Sequence[str],
    labels: Sequence[str],
    data: pd.DataFrame | None = None,
    models: Sequence[str] = (),
) -> list[Prompt]:
    """Return a task's prompts by their names or paths; without any, those of the task.

    These are the ones for instruction models, if there are some, where each of the models is one
    that answers slowly here: a local one but that in the box, or a recorded one.

    Parameters
    ----------
    labels : sequence of str
        As `labels_of` returns them.
    data : DataFrame, optional
        Canonical rows; needed where the label is a number, of which prompts say how it lies in the
        training set.
    models : sequence of str
        Who is asked, as `Target.parse` takes it.

    Raises
    ------
    PromptError
        If one is not there, two have one name, one is for another grader than the task's, or one
        may not answer with a label of the data, or with no number where the label is one.
    """
    numbers = numbers_of(task, data) if task.regression else None
    prompts = [read_prompt(task.base, name, labels, numbers) for name in names]
    if not prompts and models and all(map(_is_real, models)):
        prompts = for_instruction(task.base, labels, numbers)
    prompts = prompts or every(task.base, labels, numbers)
    all_names = [prompt.name for prompt in prompts]
    for prompt in prompts:
        if all_names.count(prompt.name) > 1:
            raise PromptError(
                f"prompts: two are called {prompt.name}, after their files; give one file another "
                f"name, or take one of them: -p prompts=[{prompt.name}]"
            )
        scorers.check_prompt(prompt, task.grader, task.regression)
        wanted = labels if task.grader == LABEL and not task.regression else ()
        if missing := set(wanted) - set(prompt.labels):
            raise PromptError(
                f"{prompt.name}: output: allows {', '.join(prompt.labels)}, the data also have "
                f"{', '.join(sorted(missing))}; add them to its enum"
            )
    return prompts


def _is_real(model: str) -> bool:
    target = Target.parse(model)
    return target.is_recorded or (target.is_local and not target.is_quick)


def numbers_of(task: Task, data: pd.DataFrame | None) -> Numbers:
    """Return what the numbers of a task's label are called, and how they lie.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    if data is None:
        raise ValueError(f"data: the label of {task.name} is a number; give its rows")
    train = data.loc[data["split"] == "train", "label"].dropna()
    low, high = train.quantile([0.05, 0.95])
    return Numbers(task.target, float(low), float(train.mean()), float(high))


def as_text(data: pd.DataFrame, features: Sequence[str] | Task) -> pd.DataFrame:
    """Return rows with their features as one text, for a model that reads nothing else.

    Rows of a text task stay as they are. For others ``text`` reads ``width 1.5, plan yearly``; a
    missing value is left out. Given the task, rows that are pictures have ``image``, too, for a
    prompt that shows it to a model that sees.
    """
    task = features if isinstance(features, Task) else None
    features = list(task.features if task else features)
    if features == ["text"]:
        return data
    names = [name.replace("_", " ") for name in features]
    written = [_written(data[name]) for name in features]
    texts = [
        ", ".join(f"{n} {v}" for n, v in zip(names, row, strict=True) if v)
        for row in zip(*written, strict=True)
    ]
    shown = data.drop(columns=features).assign(text=texts)
    if task is not None and task.kind == "image":
        shown[IMAGE] = images.of_pixels(data[features], task.bounds)
    return shown


def _written(values: pd.Series) -> list[str]:
    """Return a column's values as a text shows them, "" where one is missing."""
    types = pd.api.types
    if types.is_bool_dtype(values.dtype):
        return ["" if pd.isna(x) else ("no", "yes")[bool(x)] for x in values]
    if types.is_datetime64_any_dtype(values.dtype):
        whole = (values.dropna() == values.dropna().dt.normalize()).all()
        form = "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M"
        return ["" if pd.isna(x) else f"{x:{form}}" for x in values]
    if types.is_numeric_dtype(values.dtype):
        exact = values.dtype == "float64"  # of a typed table: whole numbers in full
        return [_number(x, exact) if x == x else "" for x in values.tolist()]
    return ["" if pd.isna(x) else str(x) for x in values]


def _number(value: float, exact: bool) -> str:
    if exact and value.is_integer() and abs(value) < 2**53:
        return f"{value:.0f}"
    return f"{value:.6g}" if exact else f"{value:.4g}"


def pool(data: pd.DataFrame, k: int, seed: int, labels: Sequence[str]) -> list[tuple[dict, str]]:
    """Return `k` examples from the train rows, the labels in turn, the same for the same seed.

    The first examples of a larger pool are those of a smaller one. Where the rows have a
    reference, it is the answer. Of numbers the examples are spread over the training set's.

    Raises
    ------
    PromptError
        If the train rows do not hold so many.
    """
    train = data[data["split"] == "train"]
    if is_number(train["label"]):
        return examples(_spread(splits.shuffled(train, seed), k))
    groups = [splits.shuffled(train[train["label"] == label], seed) for label in labels]
    each = -(-k // len(labels)) if labels else 0
    short = [f"{x} {len(g)}" for x, g in zip(labels, groups, strict=True) if len(g) < each]
    if short or (k and not labels):
        counts = ", ".join(short) or "no labels"
        raise PromptError(f"shots: {k} need {each} train rows of each label; there are {counts}")
    return examples(pd.DataFrame([group.iloc[i] for i in range(each) for group in groups][:k]))


def _spread(rows: pd.DataFrame, k: int) -> pd.DataFrame:
    """Return `k` rows whose numbers are spread: a middle one, the quarters, the eighths, ..."""
    if k > len(rows):
        raise PromptError(f"shots: {k} are more than the {len(rows)} rows of the training set")
    order, at = rows.sort_values("label", kind="stable"), []
    for i in range(1, k + 1):
        place = int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length()  # van der Corput 1935
        at.append(int(place * len(order)))
    return order.iloc[at]


def examples(rows: pd.DataFrame) -> list[tuple[dict, str]]:
    """Return rows as examples: what a prompt may read of each, and its right answer."""
    inputs = [name for name in rows if name not in (*FRAME, REFERENCE)]
    return [(row[inputs].to_dict(), right_answer(row)) for _, row in rows.iterrows()]


def sample(data: pd.DataFrame, split: str, n: int, seed: int) -> pd.DataFrame:
    """Return `n` rows of a split, its classes in the split's own shares; all if it has fewer.

    Which rows are taken depends on their ids and the seed alone.
    """
    rows = data[data["split"] == split]
    if n < len(rows):
        order = splits.shuffled(rows, seed)
        if is_number(rows["label"]):
            return order.head(n).sort_values("id", ignore_index=True)
        # the i-th row of a label with m rows stands at (i + 1/2) / m, so shares are kept
        place = order.groupby("label").cumcount().add(0.5)
        place /= order.groupby("label")["id"].transform("size")
        rows = rows.loc[place.sort_values(kind="stable").index[:n]]
    return rows.sort_values("id", ignore_index=True)


def unasked(data: pd.DataFrame, n: int, purpose: str) -> pd.DataFrame:
    """Return `n` train rows at random, others for each purpose; of all rows where these are few.

    Nothing is asked about train rows but here, so no server remembers them: it would answer in a
    fraction of the time.
    """
    rows = data[data["split"] == "train"]
    rows = rows if len(rows) >= n else data
    return rows.sample(min(n, len(rows)), random_state=zlib.crc32(purpose.encode()))


@dataclass(frozen=True)
class Extent:
    """How many rows an evaluation asks about, each a parameter of its notebook.

    Attributes
    ----------
    validation_rows, rows : int
        Validation rows, on which shots and temperature are chosen; test rows.
    perturbed_rows : int
        Test rows perturbed in each way.
    hand_written_rows : int
        Hand-written rows at most; 0 is none.
    repeat_rows, repeats : int
        Test rows whose questions are repeated, and how often.
    power_rows : int
        Test rows of the selected prompt in all, where its calls are free and quick.
    """

    validation_rows: int
    rows: int
    perturbed_rows: int
    hand_written_rows: int
    repeat_rows: int
    repeats: int
    power_rows: int = 0


@dataclass(frozen=True)
class Questions:
    """The rows that an evaluation asks about, and the model that judges ("": the one asked)."""

    validation: pd.DataFrame
    test: pd.DataFrame
    perturbed: pd.DataFrame
    hand_written: pd.DataFrame
    further: pd.DataFrame
    extent: Extent
    judge: str = ""

    @classmethod
    def of(cls, stored: pd.DataFrame, task: Task, extent: Extent, seed: int) -> "Questions":
        """Draw them; they depend on the ids of the rows and the seed alone."""
        data = as_text(stored, task)
        perturbed = perturb.rows(stored, task, extent.perturbed_rows, seed)
        test = sample(data, "test", extent.rows, seed)
        most = sample(data, "test", max(extent.rows, extent.power_rows), seed)
        return cls(
            validation=sample(data, "valid", extent.validation_rows, seed),
            test=test,
            further=most[~most["id"].isin(test["id"])].reset_index(drop=True),
            perturbed=as_text(perturbed, task),
            hand_written=sample(data, "handwritten", extent.hand_written_rows, seed),
            extent=extent,
        )

    @classmethod
    def of_run(cls, run: Recorder, stored: pd.DataFrame, task: Task) -> "Questions":
        """Draw as many as the parameters of a run in progress say, which are `Extent`'s."""
        parameters = run.fact("parameters")
        extent = Extent(**{each.name: parameters[each.name] for each in fields(Extent)})
        rows = cls.of(stored, task, extent, parameters["seed"])
        return replace(rows, judge=parameters.get("judge", ""))

    def steps(
        self,
        prompts: Sequence[Prompt],
        shots: Sequence[int],
        temperatures: Sequence[float],
        repeat_temperature: float = 0.7,
        decodings: Sequence[str] = (FREE,),
    ) -> list[Step]:
        """Return all that ``2_build`` asks of one model, and of its judge, for `forecast`."""
        finalists = grid(prompts, shots=[max(shots)], temperatures=[max(temperatures)])
        warm = grid(prompts, shots=[max(shots)], temperatures=[repeat_temperature])
        again = self.test.head(self.extent.repeat_rows)
        longest = max(each.fields().get("max_tokens") or MAX_TOKENS_TEXT for each in finalists)
        return [
            Step(
                "validation",
                grid(prompts, ["local"], shots, temperatures, decodings),
                self.validation,
            ),
            Step("test", finalists, self.test),
            # without a temperature and with one
            Step("repeated", warm, again, 2 * self.extent.repeats, one=True),
            Step("perturbed", finalists, self.perturbed, one=True),
            Step("hand-written", finalists, self.hand_written, one=True),
            Step("further", finalists, self.further, one=True, free=True),
            *judge.steps(self.test, longest, self.judge),
        ]


def leaks(examples: Sequence[tuple[Mapping, str]], rows: pd.DataFrame) -> int:
    """Count the evaluation rows that repeat an example, or nearly (see `splits.near_copies`).

    Where numbers tell rows apart, as in tables written as text, only true repeats count.
    """
    shown = pd.DataFrame([dict(inputs) for inputs, _ in examples])
    inputs = [name for name in shown if name in rows]
    if not inputs or rows.empty:
        return 0
    both = pd.concat([shown[inputs], rows[inputs]], ignore_index=True)
    is_example = both.index < len(shown)
    hashes = pd.Series(splits.content_hash(both, inputs))
    same = hashes.isin(hashes[is_example]).to_numpy()
    if inputs == ["text"] and _numbers(both["text"]) < NUMBERS:
        same = same | splits.near_copies(both["text"], is_example)
    return int(same[~is_example].sum())


def _numbers(texts: pd.Series) -> float:
    """Return the share of words that begin with a digit."""
    return texts.str.count(r"(?<!\S)\d").sum() / max(texts.str.split().str.len().sum(), 1)


def raise_if_leaked(count: int, from_user: bool = False) -> None:
    """Refuse evaluation rows that repeat examples; of your own rows, which may repeat, warn.

    Parameters
    ----------
    count : int
        As `leaks` counts them.
    from_user : bool
        Whether the rows are the user's own.

    Raises
    ------
    PromptError
        If there are such rows and the task ships.
    """
    if count and not from_user:
        raise PromptError(
            f"examples: {count} evaluation rows repeat one; take another seed, or other examples "
            "in the prompt's file"
        )
    if count:
        rows = f"{count} evaluation rows repeat" if count > 1 else "1 evaluation row repeats"
        print(
            f"Warning: {rows} an example, so figures of prompts with examples are too good. Leave "
            "rows that repeat out of your file, or show no examples: -p 'shots=[0]'"
        )


def shown(examples: Sequence[tuple[Mapping, str]]) -> pd.DataFrame:
    """Return examples as a table of their inputs and ``answer``."""
    return pd.DataFrame([{**inputs, "answer": answer} for inputs, answer in examples])


def inventory(
    prompts: Sequence[Prompt], row: Mapping, examples: Sequence[tuple[Mapping, str]] = ()
) -> pd.DataFrame:
    """Return what there is of prompts, and how long each is with one row.

    Returns
    -------
    DataFrame
        ``prompt``, ``version``, ``parent``, ``answers``, ``examples``, ``tokens`` (counted by the
        local model's own vocabulary; of pictures it has none), ``by 4 bytes`` (as forecasts guess
        them) and ``note``. Where no local model can run, ``tokens`` are those of ``by 4 bytes``.

    Raises
    ------
    EndpointError
        If the local model's server cannot be started.
    """
    lines, can_count = [], not llama.unavailable()
    for prompt in prompts:
        guess = prompt_bytes({"messages": prompt.messages(row, examples)}) // 4
        lines.append(
            {
                "prompt": prompt.name,
                "version": prompt.version,
                "parent": prompt.parent,
                "answers": _answers(prompt),
                "examples": len(prompt.examples),
                "tokens": tokens(_in_words(prompt, row, examples)) if can_count else guess,
                "by 4 bytes": guess,
                "note": prompt.note,
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def _in_words(prompt: Prompt, row: Mapping, examples: Sequence[tuple[Mapping, str]]) -> list[dict]:
    """Return the messages for one row with their pictures named: the local model sees none."""
    named = dict.fromkeys(prompt.images, "(a picture)")
    examples = [({**inputs, **named}, answer) for inputs, answer in examples]
    return prompt.without_pictures.messages({**row, **named}, examples)


def _answers(prompt: Prompt) -> str:
    if prompt.output.get("type") == "object":
        return "JSON"
    return "a label" if prompt.labels else "a number" if prompt.answers_number else "text"


def tokens(messages: Sequence[Mapping], **server) -> int:
    """Return how many tokens the local model reads of a chat; takes what `process.start` takes."""
    running = process.start(**server)

    def ask(path: str, body: dict) -> dict:
        status, answer = process.request(running, "POST", path, json.dumps(body).encode())
        if status != 200:
            raise process.EndpointError(f"{path}: {answer[:300].decode(errors='replace')}")
        return json.loads(answer)

    text = ask("/apply-template", {"messages": list(messages)})["prompt"]
    return len(ask("/tokenize", {"content": text, "add_special": True})["tokens"])


NUMBERS = 0.2  # share of numbers from which on the other words of a text tell little
