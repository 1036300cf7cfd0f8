"""Questions to a language model: cached, within a budget, on record."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, overload

import pandas as pd

from diptych.base import process_environment
from diptych.base.errors import ParameterError
from diptych.core.plots import html
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target

COLUMNS = ["question", "answer", "outcome", "error", "tokens in", "tokens out", "usd", "ms",
           "cached"]  # fmt: skip
SHOWN = 300  # characters of a question in the table


class Answers(Sequence[Answer]):
    """Answers in the order of their questions; a notebook shows them as a table.

    Parameters
    ----------
    questions, answers : sequence
    model : str
    """

    def __init__(self, questions: Sequence, answers: Sequence[Answer], model: str):
        self.questions, self.model, self._answers = list(questions), model, list(answers)

    @overload
    def __getitem__(self, place: int) -> Answer: ...

    @overload
    def __getitem__(self, place: slice) -> list[Answer]: ...

    def __getitem__(self, place: Any) -> Any:
        return self._answers[place]

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def texts(self) -> list[str | None]:
        """The answers' texts, None where there is none."""
        return [answer.text for answer in self]

    @property
    def failed(self) -> list[Answer]:
        """The calls that failed; they have no answer."""
        return [answer for answer in self if answer.error]

    @property
    def usd(self) -> float | None:
        """What all of them cost, cached ones as when they were paid; None if a price is unknown."""
        costs = [answer.usd for answer in self if not answer.error]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def frame(self) -> pd.DataFrame:
        """Return a table, one line a question."""
        lines = [
            (_text(question), x.text, x.outcome, x.error, x.prompt_tokens, x.completion_tokens,
             x.usd, x.latency_ms, x.cached)
            for question, x in zip(self.questions, self, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(lines, columns=COLUMNS)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"<{len(self)} answers of {self.model}{failed}>"

    def _repr_html_(self) -> str:
        table = self.frame()
        table["question"] = [_cut(text) for text in table["question"]]
        drop = [name for name in ("error", "usd", "outcome") if not _says(table[name])]
        failed = f"{len(self.failed)} of {len(self)} calls failed and have no answer."
        warning = f"<p><strong>{escape(failed)}</strong></p>" if self.failed else ""
        return warning + html.table_html(table.drop(columns=drop), f"Answers of {self.model}")


@overload
def ask(questions: str, model: str = ..., **options: Any) -> Answer: ...


@overload
def ask(questions: Iterable, model: str = ..., **options: Any) -> Answers: ...


def ask(
    questions: Any,
    model: str = "local",
    *,
    system: str = "",
    max_tokens: int | None = 256,
    max_usd: float | None = None,
    repeat: int = 0,
    concurrency: int = 8,
    progress: bool = False,
    **fields: object,
) -> Any:
    r"""Ask a language model; equal questions are answered from the ledger, which pays nothing.

    Parameters
    ----------
    questions : str, or iterable
        Each a text, or a list of messages. One text gives one `Answer`, else `Answers`.
    model : str
        ``"local"`` (in the box), or an endpoint with its model: ``"openai/gpt-5-mini"``,
        ``"ollama/qwen3"``, ``"http://127.0.0.1:8080/v1#model"``. A key stands in its environment
        variable.
    system : str
        A system message before each text.
    max_tokens : int, optional
        Of an answer.
    max_usd : float, optional
        No call is made that could exceed it.
    repeat : int
        Another number asks anew what was answered before.
    concurrency : int
        Calls under way at once.
    progress : bool
        Show a bar.
    **fields
        Of every request, such as ``top_p=0.9``; the ``temperature`` is 0 unless it is named here.

    Returns
    -------
    Answers or Answer
        A call that failed has no text, and its error.

    Raises
    ------
    EndpointError
        If the endpoint is unknown, or every call would fail: a wrong key, nobody there.
    BudgetError
        Before the call that could exceed the budget; answers so far are in the ledger.
    ValueError
        If a question or a field is wrong; nothing is asked then.

    Examples
    --------
    >>> answers = dt.ask(["Is this review positive or negative?\nIt broke."], model="local")
    >>> len(answers), answers.failed
    (1, [])
    """
    single = isinstance(questions, str)
    requests = [_request(each, system) for each in ([questions] if single else questions)]
    wanted = {"temperature": 0.0, "max_tokens": max_tokens, **fields}
    parameters = {name: value for name, value in wanted.items() if value is not None}
    target = Target.parse(model)
    target = Target(target.endpoint, target.model, {**parameters, **target.parameters},
                    target.server, target.key_env)  # fmt: skip
    folder = process_environment.run_folder()
    run = folder.name.lstrip(".").removesuffix(".partial") if folder else ""
    options = CallOptions(
        run=run, caller="dt.ask", repeat=repeat, concurrency=concurrency, progress=progress,
        budget=None if max_usd is None else Budget(max_usd=max_usd), give_up=True,
    )  # fmt: skip
    answers = ask_many(requests, target, options)
    return answers[0] if single else Answers([_asked(x) for x in requests], answers, model)


def _request(question: object, system: str) -> object:
    if isinstance(question, str) and question.strip():
        messages = [{"role": "system", "content": system}] if system else []
        return [*messages, {"role": "user", "content": question}]
    if isinstance(question, list) and question:
        return question
    raise ParameterError(
        f"questions: {question!r} is no question; give a text, or a list of messages with role "
        "and content"
    )


def _asked(request: object) -> object:
    """Return what is shown of a request: its last message's content."""
    last = request[-1] if isinstance(request, list) else request
    return last.get("content", last) if isinstance(last, dict) else last


def _text(question: object) -> str:
    return question if isinstance(question, str) else str(question)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def _says(column: pd.Series) -> bool:
    """Whether a column holds something else than nothing, 0 or the usual outcome."""
    return any(x and x == x and x != "answered" for x in column)
