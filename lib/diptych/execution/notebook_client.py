"""nbclient's client with a limit to what a cell may write: one line of 100 MB is no report."""

import json
import re

from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_output

MEGABYTE = 10**6
DOTTED = re.compile(r"(application/vnd\.[\w.-]+)\.json")


class LimitedClient(NotebookClient):
    """Executes cells as nbclient does; what a cell writes past the limit is cut, and said so.

    Parameters
    ----------
    nb : NotebookNode
    limit_mb : float
        Megabytes of output a cell may have; 0 for any.

    Attributes
    ----------
    reached : tuple of (int, str)
        Position of the cell in progress and the heading it stands under.
    """

    def __init__(self, nb: NotebookNode, limit_mb: float = 0, **options):
        super().__init__(nb, **options)
        self.reached = (0, "")
        self._limit = int(limit_mb * MEGABYTE)
        self._written: dict[int, int] = {}

    def output(self, outs, msg, display_id, cell_index):
        """Add an output to a cell, cut to what is left of the limit."""
        msg = _with_valid_names(msg)
        if not self._limit:
            return super().output(outs, msg, display_id, cell_index)
        content = msg["content"]
        size, before = _size(msg), self._written.get(cell_index, 0)
        if before + size <= self._limit:
            self._written[cell_index] = before + size
            return super().output(outs, msg, display_id, cell_index)
        left = max(self._limit - before, 0)
        if msg["msg_type"] != "stream":
            outs.append(_note(f"An output of {_megabytes(size)} was left out", self._limit))
            return None
        self._written[cell_index] = self._limit + 1  # the next is left out without a word
        if before > self._limit:
            return None
        cut = content["text"].encode()[:left].decode(errors="ignore")
        added = super().output(
            outs, {**msg, "content": {**content, "text": cut}}, display_id, cell_index
        )
        outs.append(_note("\nWhat the cell wrote was cut here", self._limit))
        return added

    def clear_output(self, outs, msg, cell_index):
        """Clear a cell's outputs; what is cleared does not count."""
        super().clear_output(outs, msg, cell_index)
        self._written[cell_index] = 0


def _with_valid_names(msg: dict) -> dict:
    """Write altair's ``….json`` as ``…+json``: the format of notebooks refuses an object else."""
    data = msg["content"].get("data")
    if not isinstance(data, dict) or not any(map(DOTTED.fullmatch, data)):
        return msg
    named = {DOTTED.sub(r"\1+json", kind): value for kind, value in data.items()}
    return {**msg, "content": {**msg["content"], "data": named}}


def _size(msg: dict) -> int:
    content = msg["content"]
    if msg["msg_type"] == "stream":
        return len(content["text"].encode(errors="replace"))
    return sum(
        len(value.encode(errors="replace")) if isinstance(value, str) else len(json.dumps(value))
        for value in content.get("data", content).values()
    )


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.3g} MB"


def _note(what: str, limit: int) -> NotebookNode:
    text = f"{what}: a cell may write {_megabytes(limit)} (--output-limit).\n"
    return new_output("stream", name="stderr", text=text)
