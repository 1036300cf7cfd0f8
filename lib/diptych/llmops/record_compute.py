"""What an answer of a model that is recorded computes: the CPU time of its server, row by row."""

import tempfile
from dataclasses import replace
from pathlib import Path

from diptych.base.http_load import usage
from diptych.core.store.calls import Calls
from diptych.llmops import data as stage
from diptych.llmops.client.ask import ask
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.record_plan import Part, RecordingError, rows_of
from diptych.llmops.server import process

ROWS = 20  # of each way to ask
ASKED = ROWS + 1  # the first answer reads what all questions have in common


def measure(part: Part, options: CallOptions, progress) -> list[float]:
    """Return the CPU milliseconds of answers to train rows that nothing else is asked about.

    They are asked one at a time, of a server that answers nothing else. What it has read of the
    prompt and its examples stays there from one answer to the next, as it does in service.

    Parameters
    ----------
    part : Part
        Its way to ask.
    options : CallOptions
    progress : ProgressBar
        Moved on by `ASKED`.

    Raises
    ------
    RecordingError
        If a question is not answered.
    """
    _, data = rows_of(part.scenario)
    rows = stage.unasked(data, ASKED, "compute").to_dict("records")
    target = part.variant.target
    target = replace(target, server={**target.server, "slots": 1})
    pid = process.start(**target.server).pid
    spent = []
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        options = replace(options, calls=calls, progress=False)  # nothing was answered before
        for body in part.variant.requests(rows, part.pool):
            before = usage(pid)["cpu_s"]
            answer = ask(body, target, options)
            if answer.error:
                raise RecordingError(f"{part.title}: compute of an answer: {answer.error}")
            spent.append(round(1000 * (usage(pid)["cpu_s"] - before), 1))
            progress.update()
    return spent[1:]
