"""An endpoint that counts each answer it sends, and what a ledger knows of them.

An answer is paid when it is under way. A ledger must hold each but those that were under way when
a process was killed, and none twice.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from diptych.core.store.calls import Calls


@dataclass
class CountingEndpoint:
    """Answers chat completions by a word of the prompt, and numbers each answer.

    Attributes
    ----------
    delay : float
        Seconds that an answer takes.
    paid : int
        Answers so far, also those that nobody waited for.
    now, peak : int
        Answers under way, and the most of them since `peak` was set to 0.
    """

    delay: float = 0.05
    url: str = ""
    paid: int = 0
    now: int = 0
    peak: int = 0

    def routes(self) -> list:
        """Return what `llmops.fakes.serving` serves."""
        return [web.post("/v1/chat/completions", self.chat)]

    async def chat(self, request: web.Request) -> web.Response:
        """Answer one request; the answer counts even if the client is gone."""
        body = await request.json()
        self.paid += 1
        number, self.now = self.paid, self.now + 1
        self.peak = max(self.peak, self.now)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.now -= 1
        prompt = str(body["messages"][-1]["content"])
        text = "negative" if "bad" in prompt else "positive"
        message = {"role": "assistant", "content": text}
        return web.json_response({
            "id": f"call-{number}", "object": "chat.completion", "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
        })  # fmt: skip


class Bill:
    """Compares a ledger with what the endpoint answered, after each kill.

    Attributes
    ----------
    lost : int
        Answers that are neither in the ledger nor were under way at a kill: paid, and to be paid
        again.
    """

    def __init__(self, endpoint: CountingEndpoint, ledger: Path, at_once: int | None = None):
        self.endpoint, self.ledger, self.at_once = endpoint, ledger, at_once
        self.paid, self.recorded, self.lost = endpoint.paid, 0, 0

    def rows(self):
        """Return the ledger's answered calls; None if there is no ledger yet."""
        if not self.ledger.exists():
            return None
        with Calls(self.ledger) as calls:
            rows = calls.table()
        return rows[rows["status"].eq("ok")]

    def after_kill(self) -> None:
        """Count what is lost since the last kill beyond what can have been under way."""
        rows, paid = self.rows(), self.endpoint.paid
        recorded = 0 if rows is None else len(rows)
        missing = (paid - self.paid) - (recorded - self.recorded)
        under_way = self.endpoint.peak if self.at_once is None else self.at_once
        self.lost += max(0, missing - under_way)
        self.paid, self.recorded, self.endpoint.peak = paid, recorded, 0

    def twice(self) -> int:
        """Return how many calls are in the ledger again although they had their answer."""
        rows = self.rows()
        return 0 if rows is None else int(rows.duplicated(["request", "repeat"]).sum())
