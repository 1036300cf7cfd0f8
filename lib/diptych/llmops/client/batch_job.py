"""One batch: its note in the workspace, its files, and who works through it.

`Here` is the local model, `Remote` what endpoints with batches have in common: OpenAI's are in
`diptych.llmops.client.openai_batches`, Anthropic's in `anthropic_batches`.
"""

import hashlib
import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import openai

from diptych.base import notebook_progress as bars
from diptych.base import workspace
from diptych.base.workspace import write_atomic
from diptych.llmops.client import endpoint as endpoints
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.request import PreparedRequests

MOST_LINES, MOST_BYTES = 50_000, 200_000_000  # of one batch
Results = dict[str, tuple[Mapping | None, str]]  # by request: the endpoint's answer, or an error


class BatchError(RuntimeError):
    """A batch cannot be made or did not run; the message says what to do."""


@dataclass
class BatchJob:
    """One batch: its note in the workspace, its id at the endpoint and what it asks."""

    note: Path
    mark: str  # by which the endpoint's list of batches knows it
    repeat: int
    id: str = ""

    @classmethod
    def begin(cls, folder: Path, repeat: int, lines: list[str]) -> "BatchJob":
        """Write the file and the note of a new batch."""
        mark = secrets.token_hex(8)
        job = cls(folder / f"{mark}.json", mark, repeat)
        write_atomic(job.file, "".join(lines))
        job.keep()
        return job

    @cached_property
    def bodies(self) -> dict[str, dict]:
        """The requests by hash, as they lie in its file."""
        lines = map(json.loads, self.file.read_text("utf-8").splitlines())
        return {line["custom_id"]: line["body"] for line in lines}

    @property
    def file(self) -> Path:
        """The file with its requests."""
        return self.note.with_suffix(".jsonl")

    def keep(self) -> None:
        """Write the note."""
        facts = {"mark": self.mark, "repeat": self.repeat, "id": self.id}
        write_atomic(self.note, json.dumps(facts))

    def close(self) -> None:
        """Forget it: its answers are in the ledger."""
        for path in self.note.parent.glob(f"{self.note.stem}.*"):
            path.unlink(missing_ok=True)


def parts(
    todo: Mapping[str, dict], most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES
) -> Iterator[list[str]]:
    """Split requests into files of lines, each of one model and within the limits."""
    part, size, last = [], 0, None
    for name, body in sorted(todo.items(), key=lambda item: item[1]["model"]):
        line = json.dumps({"custom_id": name, "body": body}) + "\n"
        full = len(part) == most_lines or size + len(line) > most_bytes
        if part and (full or body["model"] != last):
            yield part
            part, size = [], 0
        part.append(line)
        size, last = size + len(line), body["model"]
    if part:
        yield part


class Side:
    """Where batches are worked through, and the folder of their notes."""

    records = True  # answers have yet to be written to the ledger

    def __init__(self, prepared: PreparedRequests):
        self.prepared = prepared
        where = hashlib.sha256(prepared.provider.base_url.encode()).hexdigest()[:16]
        self.folder = workspace.home() / "batches" / where
        self.folder.mkdir(parents=True, exist_ok=True)

    def noted(self) -> list[BatchJob]:
        """Return the batches that are not collected yet."""
        notes = sorted(self.folder.glob("*.json"))
        return [BatchJob(note, **json.loads(note.read_text("utf-8"))) for note in notes]


@dataclass(frozen=True)
class State:
    """How far a batch is; `refusal` says why it could not run at all."""

    status: str
    done: int
    ended: bool
    refusal: str = ""


class Remote(Side):
    """Batches of an endpoint; a kind of them says how one is made, looked at and read."""

    def __init__(self, prepared: PreparedRequests):
        super().__init__(prepared)
        self.wire = prepared.provider.wire
        self.client = endpoints.client(prepared.target)

    def make(self, job: BatchJob) -> str:
        """Let a batch be worked through; return its id."""
        raise NotImplementedError

    def lost(self, job: BatchJob) -> str:
        """Return the id of a batch whose maker was cut off before it could note it, "" if none."""
        raise NotImplementedError

    def look(self, job: BatchJob) -> State:
        """Return how far it is."""
        raise NotImplementedError

    def results(self, job: BatchJob) -> tuple[str, Results]:
        """Return how the batch ended, and what came back."""
        raise NotImplementedError

    def cancel(self, job: BatchJob) -> None:
        """Ask for its end."""
        raise NotImplementedError

    def sent(self, body: Mapping) -> dict:
        """Return a request as it goes up, with what refusals have taught."""
        return self.wire.request(self.prepared.learned(body).apply(body))

    def wait(self, job: BatchJob, poll_s: float, wait_s: float | None, progress: bool) -> None:
        """Return when the batch has ended; BatchError if it could not run."""
        until = time.monotonic() + (math.inf if wait_s is None else wait_s)
        with bars.bar(len(job.bodies), "call", progress) as bar, self.explained():
            while not (state := self.look(job)).ended:
                bar.set_description(state.status)
                bar.update(state.done - bar.n)
                if time.monotonic() > until:
                    raise BatchError(
                        f"batch {job.id}: is {state.status}, {state.done} of {len(job.bodies)} "
                        f"done after {wait_s:g} s; ask the same again later, it continues meanwhile"
                    )
                time.sleep(poll_s)
            bar.update(len(job.bodies) - bar.n)
        if state.refusal:
            job.close()
            raise BatchError(f"batch {job.id}: was refused, {state.refusal}")

    @contextmanager
    def explained(self, job: BatchJob | None = None):
        """Turn the client's errors into one sentence; forget a job that was refused."""
        try:
            yield
        except self.wire.FAILURES as error:
            refused = isinstance(error, openai.APIStatusError)
            if job and refused:
                job.close()
            reason = self.wire.explain(error)
            if refused and error.status_code in (404, 405, 501) and (job is None or not job.id):
                reason += "; has it the Batch API? If not, take ask_many"
            raise BatchError(f"batch: {self.prepared.provider.name}: {reason}") from error


class Here(Side):
    """Batches of the local model: the same files, worked through by `ask_many`."""

    records = False  # `ask_many` has written them

    def __init__(self, prepared: PreparedRequests, options: CallOptions):
        super().__init__(prepared)
        self.options = options

    def make(self, job: BatchJob) -> str:
        """Begin nothing: the work is done while it is waited for."""
        return job.mark

    def lost(self, job: BatchJob) -> str:
        """Return its id: what was done of it is in the ledger."""
        return job.mark

    def wait(self, job: BatchJob, poll_s: float, wait_s: float | None, progress: bool) -> None:
        """Work through the file and write what came back."""
        options = replace(self.options, repeat=job.repeat, progress=progress)
        answers = ask_many(job.bodies.values(), self.prepared.target, options)
        lines = [_line(name, answer) for name, answer in zip(job.bodies, answers, strict=True)]
        write_atomic(job.note.with_suffix(".output.jsonl"), "".join(lines))

    def results(self, job: BatchJob) -> tuple[str, Results]:
        """Return that it is completed, and what is in its output file."""
        lines = job.note.with_suffix(".output.jsonl").read_text("utf-8").splitlines()
        read = map(json.loads, lines)
        return "completed", {x["custom_id"]: (x["response"], x["error"]) for x in read}


def _line(name: str, answer: Answer) -> str:
    """Return an answer as a line of a batch's output file."""
    response = None if answer.error else answer.response
    line = {"custom_id": name, "response": response, "error": answer.error}
    return json.dumps(line) + "\n"
