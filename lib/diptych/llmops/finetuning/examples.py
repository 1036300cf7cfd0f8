"""Labelled rows as the tokens that the served model reads.

The model's own server makes the tokens. So training and serving use the same tokens, for any
vocabulary and chat template.
"""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from diptych.core.data.schema import right_answer
from diptych.llmops.finetuning.weights import TuningError
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.server import process


@dataclass(frozen=True)
class Example:
    """Tokens of a conversation; the last `answer_tokens` are the answer and its end mark."""

    ids: list[int]
    answer_tokens: int


class Tokens:
    """Tokens from the server of a model; a context manager over one connection."""

    def __init__(self, url: str):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.answers: dict[str, list[int]] = {}

    def __enter__(self) -> "Tokens":
        return self

    def __exit__(self, *exception) -> None:
        self.connection.close()

    def prompt(self, messages: list[dict]) -> list[int]:
        """Return the tokens of a conversation, up to the place of the assistant's answer."""
        text = self._post("/apply-template", {"messages": messages})["prompt"]
        request = {"content": text, "add_special": True, "parse_special": True}
        return self._post("/tokenize", request)["tokens"]

    def answer(self, text: str) -> list[int]:
        """Return the tokens of an answer."""
        if text not in self.answers:
            request = {"content": text, "add_special": False, "parse_special": False}
            self.answers[text] = self._post("/tokenize", request)["tokens"]
        return self.answers[text]

    def _post(self, path: str, content: dict) -> dict:
        body = json.dumps(content).encode()
        self.connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        reply = json.loads(response.read())
        if response.status != 200:
            raise TuningError(f"the model's server answers {path} with {response.status}: {reply}")
        return reply


def encode(
    prompt: Prompt, rows: Iterable[Mapping], file: Path, end: int, longest: int
) -> tuple[list[Example], int]:
    """Turn labelled rows into examples.

    Parameters
    ----------
    prompt : Prompt
        It makes the messages; its own examples stand before each row.
    rows : iterable of mappings
        With ``label`` and the columns of the prompt.
    file : Path
        The model; its server is started.
    end : int
        The token that ends an answer.
    longest : int
        Tokens of an example, at most.

    Returns
    -------
    examples : list of Example
    left_out : int
        Rows that are too long.

    Raises
    ------
    TuningError
        If all rows are too long, or there are none.
    """
    encoded, left_out = [], 0
    with Tokens(process.start(file).url) as tokens:
        for row in rows:
            answer = [*tokens.answer(prompt.answer(right_answer(row))), end]
            ids = tokens.prompt(prompt.messages(row)) + answer
            if len(ids) > longest:
                left_out += 1
            else:
                encoded.append(Example(ids, len(answer)))
    if not encoded:
        raise TuningError(
            f"rows: none of {left_out} fits into {longest} tokens with the prompt {prompt.name}; "
            "give rows, or a shorter prompt"
        )
    return encoded, left_out
