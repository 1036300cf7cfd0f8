"""Anthropic's Message Batches: requests go up in one call, answers come down as lines.

Written by https://platform.claude.com/docs/en/api/creating-message-batches, -retrieving-,
-listing- and -canceling-message-batches (2026-11-29). A batch bears no mark of its maker.
"""

import json
from collections.abc import Mapping
from datetime import datetime

import httpx2

from diptych.llmops.client.batch_job import BatchJob, Remote, Results, State
from diptych.llmops.client.formats import tolerant
from diptych.llmops.client.formats.anthropic_messages import NO_BEARER
from diptych.llmops.client.openai_batches import json_lines

PATH = "/messages/batches"
COUNTED = ("succeeded", "errored", "canceled", "expired")
CLOCKS_S = 60.0  # by which the endpoint's clock may differ from ours


class AnthropicBatches(Remote):
    """Batches of an endpoint that has Anthropic's Message Batches."""

    def _get(self, path: str) -> httpx2.Response:
        options = {"headers": NO_BEARER}
        return self.client.get(path, cast_to=httpx2.Response, options=options)

    def _post(self, path: str, body: Mapping) -> httpx2.Response:
        # not tried twice: an answer that was lost may be of a batch that is made
        client = self.client.with_options(max_retries=0)
        options = {"headers": NO_BEARER}
        return client.post(path, cast_to=httpx2.Response, body=body, options=options)

    def make(self, job: BatchJob) -> str:
        """Send the requests and let them be worked through; return the batch's id."""
        requests = [
            {"custom_id": name, "params": self.sent(body)} for name, body in job.bodies.items()
        ]
        with self.explained(job):
            return _object(self._post(PATH, {"requests": requests}))["id"]

    def lost(self, job: BatchJob) -> str:
        """Return the id of a batch whose maker was cut off, "" if there is none.

        It is one that nobody has noted, made after the note, with as many requests.
        """
        noted = {other.id for other in self.noted()}
        since = job.note.stat().st_mtime - CLOCKS_S
        with self.explained():
            for batch in _object(self._get(f"{PATH}?limit=100")).get("data", ()):
                created = datetime.fromisoformat(batch["created_at"]).timestamp()
                total = sum(batch["request_counts"].values())
                if created >= since and total == len(job.bodies) and batch["id"] not in noted:
                    return batch["id"]
        return ""

    def look(self, job: BatchJob) -> State:
        """Return how far it is."""
        batch = _object(self._get(f"{PATH}/{job.id}"))
        counts, status = batch.get("request_counts") or {}, str(batch.get("processing_status"))
        done = sum(counts.get(name) or 0 for name in COUNTED)
        return State(status, done, status == "ended")

    def results(self, job: BatchJob) -> tuple[str, Results]:
        """Return that the batch has ended, and what came back."""
        with self.explained():  # not from `results_url`: the key is for this endpoint alone
            text = self._get(f"{PATH}/{job.id}/results").text
        return "ended", {
            str(line.get("custom_id")): _result(line.get("result")) for line in json_lines(text)
        }

    def cancel(self, job: BatchJob) -> None:
        """Ask for its end."""
        self._post(f"{PATH}/{job.id}/cancel", {})


def _object(response: httpx2.Response) -> dict:
    """Return an answer's JSON object; ValueError if it is none."""
    value = json.loads(response.content)
    if not isinstance(value, dict):
        raise ValueError(f"the endpoint's answer is no JSON object: {str(value)[:200]}")
    return value


def _result(result: object) -> tuple[Mapping | None, str]:
    """Return the answer of a line, or why it has none."""
    result = result if isinstance(result, Mapping) else {}
    kind, message = result.get("type"), result.get("message")
    if kind == "succeeded" and isinstance(message, Mapping):
        return message, ""
    reason = " ".join(tolerant.words(result.get("error")).split())
    return None, reason or f"the batch has no answer to this: it is {kind}"
