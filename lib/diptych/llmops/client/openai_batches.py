"""OpenAI's Batch API: requests go up as a file, answers come down as one.

Written by https://platform.openai.com/docs/api-reference/batch and /docs/guides/batch (2026-11-29);
Gemini's OpenAI endpoint and Azure have the same. Chat Completions and Responses can be asked.
"""

import json
from collections.abc import Mapping

from diptych.llmops.client.batch_job import BatchJob, Remote, Results, State
from diptych.llmops.client.formats import tolerant

MARK = "diptych"  # the key in a batch's metadata
ENDED = ("completed", "failed", "expired", "cancelled")


class OpenAIBatches(Remote):
    """Batches of an endpoint that has OpenAI's Batch API."""

    @property
    def url(self) -> str:
        """What a line of the file asks."""
        return f"/v1{self.wire.PATH}"

    def _line(self, name: str, body: Mapping) -> str:
        line = {"custom_id": name, "method": "POST", "url": self.url, "body": self.sent(body)}
        return json.dumps(line) + "\n"

    def make(self, job: BatchJob) -> str:
        """Send the file up and let it be worked through; return the batch's id."""
        lines = "".join(self._line(name, body) for name, body in job.bodies.items())
        with self.explained(job):
            file = self.client.files.create(
                file=(f"{job.mark}.jsonl", lines.encode()), purpose="batch"
            )
            # not tried twice: an answer that was lost may be of a batch that is made
            batch = self.client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=self.url,
                completion_window="24h",  # there is no other
                metadata={MARK: job.mark},
            )
        return batch.id

    def lost(self, job: BatchJob) -> str:
        """Return the id of a batch whose maker was cut off, by its mark; "" if there is none."""
        with self.explained():
            for batch in self.client.batches.list(limit=100):
                if (batch.metadata or {}).get(MARK) == job.mark:
                    return batch.id
        return ""

    def look(self, job: BatchJob) -> State:
        """Return how far it is."""
        batch = self.client.batches.retrieve(job.id)
        counts = batch.request_counts
        done = counts.completed + counts.failed if counts else 0
        refusal = ""
        if batch.status == "failed":
            errors = (batch.errors and batch.errors.data) or ()
            reasons = [f"line {error.line}: {error.message}" for error in errors[:3]]
            refusal = "; ".join(reasons) or "unexplained"
        return State(batch.status, done, batch.status in ENDED, refusal)

    def results(self, job: BatchJob) -> tuple[str, Results]:
        """Return how the batch ended, and the lines of its output and error file."""
        with self.explained():
            batch = self.client.batches.retrieve(job.id)
            ids = filter(None, (batch.output_file_id, batch.error_file_id))
            texts = [self.client.files.content(name).text for name in ids]
        lines = (line for text in texts for line in json_lines(text))
        return batch.status, {str(line.get("custom_id")): _result(line) for line in lines}

    def cancel(self, job: BatchJob) -> None:
        """Ask for its end."""
        self.client.batches.cancel(job.id)


def json_lines(text: str) -> list[dict]:
    """Return the objects of a text's lines; a line that is none is left out."""
    objects = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        objects += [value] if isinstance(value, dict) else []
    return objects


def _result(line: Mapping) -> tuple[Mapping | None, str]:
    """Return the answer of a line, or why it has none."""
    envelope = line.get("response") if isinstance(line.get("response"), Mapping) else {}
    body = envelope.get("body") if isinstance(envelope.get("body"), Mapping) else {}
    code, error = envelope.get("status_code"), line.get("error") or body.get("error")
    if not error and code == 200:
        return body, ""
    reason = " ".join(tolerant.words(error).split()) or "no answer"
    return None, f"HTTP {code}: {reason}" if isinstance(code, int) else reason
