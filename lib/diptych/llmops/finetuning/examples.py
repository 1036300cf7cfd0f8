"""Rows with their labels as the tokens that the model will meet when it is served.

The model's own server makes the tokens, so training sees exactly what serving will, whatever the
vocabulary and the chat template are.
"""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from diptych.llmops.client import endpoint
from diptych.llmops.finetuning.weights import TuningError
from diptych.llmops.prompts.prompt import Prompt


@dataclass(frozen=True)
class Example:
    """Tokens of a conversation, and how many at its end are the answer with its end mark."""

    ids: list[int]
    asked: int


class Tokens:
    """Tokens as a served model's server makes them; a context manager over one connection."""

    def __init__(self, url: str):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.answers: dict[str, list[int]] = {}

    def __enter__(self) -> "Tokens":
        return self

    def __exit__(self, *exception) -> None:
        self.connection.close()

    def prompt(self, messages: list[dict]) -> list[int]:
        """Return the tokens of a conversation up to where the assistant is to answer."""
        text = self._post("/apply-template", {"messages": messages})["prompt"]
        asked = {"content": text, "add_special": True, "parse_special": True}
        return self._post("/tokenize", asked)["tokens"]

    def answer(self, text: str) -> list[int]:
        """Return the tokens of an answer."""
        if text not in self.answers:
            asked = {"content": text, "add_special": False, "parse_special": False}
            self.answers[text] = self._post("/tokenize", asked)["tokens"]
        return self.answers[text]

    def _post(self, path: str, content: dict) -> dict:
        body = json.dumps(content).encode()
        self.connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        found = json.loads(response.read())
        if response.status != 200:
            raise TuningError(f"the model's server answers {path} with {response.status}: {found}")
        return found


def encode(
    prompt: Prompt, rows: Iterable[Mapping], file: Path, end: int, longest: int
) -> tuple[list[Example], int]:
    """Turn labelled rows into examples.

    Parameters
    ----------
    prompt : Prompt
        How they are asked; its own examples stand before each.
    rows : iterable of mappings
        With ``label`` and what the prompt reads.
    file : Path
        The model, which is served for this.
    end : int
        The token that ends an answer.
    longest : int
        Tokens of an example, at most.

    Returns
    -------
    list of Example, int
        And how many rows are too long and left out.

    Raises
    ------
    TuningError
        If no row is left.
    """
    made, left_out = [], 0
    with Tokens(endpoint.start(file).url) as tokens:
        for row in rows:
            answer = [*tokens.answer(prompt.answer(row["label"])), end]
            ids = tokens.prompt(prompt.messages(row)) + answer
            if len(ids) > longest:
                left_out += 1
            else:
                made.append(Example(ids, len(answer)))
    if not made:
        raise TuningError(
            f"rows: none of {left_out} fits into {longest} tokens with the prompt {prompt.name}; "
            "give rows, or a shorter prompt"
        )
    return made, left_out
