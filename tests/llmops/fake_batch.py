"""An endpoint with OpenAI's Files and Batch API, on a real socket.

Source: OpenAI's API reference (Files; Batch: the batch object, request input and output objects)
and its guide to the Batch API (order, error file, expiry and cancelling). A batch moves on by one
state each time it is looked at.
"""

import itertools
import json
from dataclasses import dataclass, field

from aiohttp import web
from llmops.fakes import KEY, Fake

COURSE = ("validating", "in_progress", "in_progress", "finalizing")


@dataclass
class FakeBatch(Fake):
    """`Fake` with batches, each ending as `end` says once `course` is over."""

    course: tuple = COURSE
    end: str = "completed"
    done: int | None = None  # how many are when it ends early; all if None
    wrong: frozenset = frozenset()  # custom ids whose request itself fails
    files: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)
    asked_for: list = field(default_factory=list)  # method and path of every request
    forget: bool = False  # the answer to the making of a batch is lost on its way
    ids: itertools.count = field(default_factory=itertools.count)

    def routes(self) -> list:
        mine = [
            web.post("/v1/files", self.upload),
            web.get("/v1/files/{id}/content", self.download),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.every),
            web.get("/v1/batches/{id}", self.look),
            web.post("/v1/batches/{id}/cancel", self.cancel),
        ]
        return super().routes() + [
            web.route(r.method, r.path, self.guarded(r.handler)) for r in mine
        ]

    def guarded(self, handler):
        async def handle(request: web.Request):
            self.asked_for.append((request.method, request.path))
            if request.headers.get("Authorization") != f"Bearer {KEY}":
                return self.error(401, "invalid key", "authentication_error", "invalid_api_key")
            return await handler(request)

        return handle

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["purpose"] != "batch":
            return self.error(400, "purpose must be batch", "invalid_request_error")
        return web.json_response(self.store(form["file"].file.read()))

    def store(self, content: bytes) -> dict:
        name = f"file-{next(self.ids)}"
        self.files[name] = content
        return {"id": name, "object": "file", "bytes": len(content), "created_at": 1,
                "filename": "x.jsonl", "purpose": "batch", "status": "processed"}  # fmt: skip

    async def download(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["completion_window"] != "24h" or body["input_file_id"] not in self.files:
            return self.error(400, "wrong window or file", "invalid_request_error")
        name = f"batch_{next(self.ids)}"
        self.batches[name] = {
            "id": name, "object": "batch", "created_at": 1, "status": "validating", "step": 0,
            "errors": None, "output_file_id": None, "error_file_id": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0}, **body,
        }  # fmt: skip
        if self.forget:
            self.forget = False
            request.transport.abort()
        return web.json_response(self.batches[name])

    async def every(self, request: web.Request) -> web.Response:
        found = list(self.batches.values())[::-1]
        return web.json_response({"object": "list", "data": found, "has_more": False})

    async def look(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        if batch["status"] == "cancelling":
            self.finish(batch, "cancelled", self.done)
        elif batch["step"] < len(self.course):
            batch["status"] = self.course[batch["step"]]
            batch["step"] += 1
            if errors := self.faults(batch):
                batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
        elif batch["status"] in COURSE:
            self.finish(batch, self.end, None if self.end == "completed" else self.done)
        return web.json_response(batch)

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return self.error(409, f"is {batch['status']}", "invalid_request_error")
        batch["status"] = "cancelling"
        return web.json_response(batch)

    def lines(self, batch: dict) -> list[dict]:
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def faults(self, batch: dict) -> list[dict]:
        lines, seen, found = self.lines(batch), set(), []
        for number, line in enumerate(lines, start=1):
            told = None
            if line["custom_id"] in seen:
                told = ("duplicate_custom_id", "The custom_id is not unique.")
            elif line["url"] != batch["endpoint"] or line["method"] != "POST":
                told = ("invalid_url", "The URL does not match the batch's endpoint.")
            elif line["body"]["model"] != lines[0]["body"]["model"]:
                told = ("mismatched_model", "All requests of a batch must be for one model.")
            elif line["body"]["model"] == "nobody":
                told = ("model_not_found", "The model 'nobody' has no batches.")
            seen.add(line["custom_id"])
            if told:
                found.append({"code": told[0], "message": told[1], "line": number, "param": None})
        return found

    def finish(self, batch: dict, status: str, answered: int | None) -> None:
        output, errors = [], []
        for number, line in enumerate(self.lines(batch)):
            body, name = line["body"], line["custom_id"]
            made = {"id": f"batch_req_{number}", "custom_id": name, "response": None, "error": None}
            if answered is not None and number >= answered:
                told = {
                    "code": f"batch_{status}",
                    "message": f"The batch was {status} first.",
                }
                errors.append(made | {"error": told})
            elif batch["endpoint"] == "/v1/responses":
                output.append(made | {"response": {"status_code": 200, "request_id": "r",
                                                   "body": self.responses(body)}})  # fmt: skip
            elif body["messages"][-1]["content"] in self.wrong:
                told = {"error": {"message": "too long for it", "type": "invalid_request_error"}}
                errors.append(made | {"response": {"status_code": 400, "request_id": "r",
                                                   "body": told}})  # fmt: skip
            else:
                words = self.words(body)
                whole = self.whole("chat.completion", [self.choice(body, words, "message")])
                whole["usage"] = self.usage(body, words)
                output.append(made | {"response": {"status_code": 200, "request_id": "r",
                                                   "body": whole}})  # fmt: skip
        batch["status"] = status
        counts = {"total": len(output) + len(errors), "completed": len(output)}
        batch["request_counts"] = counts | {"failed": len(errors)}
        for field_, found in (("output_file_id", output), ("error_file_id", errors)):
            if found:  # in an order of its own, and without an empty file
                text = "\n".join(json.dumps(line) for line in reversed(found))
                batch[field_] = self.store(text.encode())["id"]
