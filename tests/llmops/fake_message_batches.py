"""Anthropic's Message Batches on a real socket.

Sources: platform.claude.com/docs/en/api/creating-message-batches, retrieving-message-batches,
retrieving-message-batch-results, listing-message-batches, canceling-message-batches and
/docs/en/build-with-claude/batch-processing (2026-11-29).
A batch moves on each time it is looked at.
"""

import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web
from llmops.provider_fakes import Anthropic

STATES = ("succeeded", "errored", "canceled", "expired")


@dataclass
class MessageBatches(Anthropic):
    """`Anthropic` with batches; `looks` times one is in progress before it has ended."""

    looks: int = 2
    expired: int = 0  # requests that are not answered in time
    forget: bool = False  # the answer to the making of a batch is lost on its way
    batches: dict = field(default_factory=dict)
    asked_for: list = field(default_factory=list)
    ids: itertools.count = field(default_factory=itertools.count)

    def routes(self) -> list:
        place = "/v1/messages/batches"
        return [
            *super().routes(),
            web.post(place, self.create),
            web.get(place, self.every),
            web.get(place + "/{id}", self.look),
            web.get(place + "/{id}/results", self.results),
            web.post(place + "/{id}/cancel", self.cancel),
        ]

    def allowed(self, request) -> web.Response | None:
        self.asked_for.append((request.method, request.path))
        return self.refusal(request, {"max_tokens": 1, "messages": []})

    async def create(self, request) -> web.Response:
        if refused := self.allowed(request):
            return refused
        requests = (await request.json())["requests"]
        names = [one["custom_id"] for one in requests]
        if len(set(names)) < len(names):
            return self.error(400, "requests: custom_id must be unique")
        if wrong := [n for n in names if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", n)]:
            return self.error(400, f"requests.0.custom_id: {wrong[0]} does not match the pattern")
        name = f"msgbatch_{next(self.ids)}"
        results = [(one["custom_id"], self.result(request, one["params"])) for one in requests]
        self.batches[name] = {"results": results, "seen": 0, "canceled": False,
                              "made": datetime.now(UTC).isoformat()}  # fmt: skip
        if self.forget:
            self.forget = False
            request.transport.abort()
        return web.json_response(self.shown(name))

    def result(self, request, params: dict) -> dict:
        if refused := self.refusal(request, params):
            return {"type": "errored", "error": json.loads(refused.text)}
        return {"type": "succeeded", "message": self.whole(params)}

    def shown(self, name: str) -> dict:
        batch = self.batches[name]
        ended = batch["canceled"] or batch["seen"] > self.looks
        kinds = [result["type"] for _, result in batch["results"]]
        counts = {kind: kinds.count(kind) if ended else 0 for kind in STATES}
        return {
            "id": name, "type": "message_batch", "created_at": batch["made"],
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {"processing": 0 if ended else len(kinds), **counts},
            "results_url": f"https://elsewhere.example/{name}" if ended else None,
        }  # fmt: skip

    async def every(self, request) -> web.Response:
        if refused := self.allowed(request):
            return refused
        data = [self.shown(name) for name in reversed(self.batches)]
        return web.json_response({"data": data, "has_more": False})

    async def look(self, request) -> web.Response:
        if refused := self.allowed(request):
            return refused
        self.batches[request.match_info["id"]]["seen"] += 1
        return web.json_response(self.shown(request.match_info["id"]))

    async def results(self, request) -> web.Response:
        if refused := self.allowed(request):
            return refused
        results = self.batches[request.match_info["id"]]["results"]
        lines = [{"custom_id": name, "result": result} for name, result in results]
        for line in lines[: self.expired]:
            line["result"] = {"type": "expired"}
        text = "\n".join(json.dumps(line) for line in reversed(lines))  # in an order of its own
        return web.Response(text=text, content_type="application/x-jsonl")

    async def cancel(self, request) -> web.Response:
        if refused := self.allowed(request):
            return refused
        name = request.match_info["id"]
        batch = self.batches[name]
        batch["canceled"] = True
        batch["results"] = [(one, {"type": "canceled"}) for one, _ in batch["results"]]
        return web.json_response(self.shown(name))
