"""An endpoint with OpenAI's Files and fine-tuning API, on a real socket.

Source: OpenAI's API reference (Files; Fine-tuning: the job, its events and metrics, listing by
metadata) and its guide to supervised fine-tuning (format of the file, at least ten examples). A
job moves on by one state each time it is looked at. Its model answers with what it was taught.
"""

import json
from dataclasses import dataclass, field

from aiohttp import web
from llmops.fakes import KEY, SOON, Fake

COURSE = ("validating_files", "queued", "running", "running", "running")


@dataclass
class FakeFineTune(Fake):
    """`Fake` with fine-tuning jobs, each ending as `end` says once `course` is over."""

    course: tuple = COURSE
    end: str = "succeeded"
    reason: dict = field(default_factory=dict)  # a failed job's error
    files: dict = field(default_factory=dict)
    jobs: dict = field(default_factory=dict)
    taught: dict = field(default_factory=dict)  # by model: answers by question
    asked_for: list = field(default_factory=list)  # method and path of every request
    troubled: str = ""  # the path whose requests meet `troubles`
    forget: bool = False  # the answer to the making of a job is lost on its way
    filters: bool = True  # honours the filter by metadata
    least: int = 10  # examples in a file

    def routes(self) -> list:
        mine = [
            web.post("/v1/files", self.upload),
            web.post("/v1/fine_tuning/jobs", self.create),
            web.get("/v1/fine_tuning/jobs", self.every),
            web.get("/v1/fine_tuning/jobs/{id}", self.look),
            web.get("/v1/fine_tuning/jobs/{id}/events", self.events),
            web.post("/v1/fine_tuning/jobs/{id}/cancel", self.cancel),
        ]
        return super().routes() + [
            web.route(r.method, r.path, self.guarded(r.handler)) for r in mine
        ]

    def guarded(self, handler):
        async def handle(request: web.Request):
            self.asked_for.append((request.method, request.path))
            if self.needs_key and request.headers.get("Authorization") != f"Bearer {KEY}":
                return self.error(401, "invalid key", "authentication_error", "invalid_api_key")
            if self.troubles and request.path.endswith(self.troubled):
                trouble = self.troubles.pop(0)
                if trouble == "hang up":
                    request.transport.abort()
                return self.error(self.overloaded, "Overloaded", "server_error", headers=SOON)
            if (job := request.match_info.get("id")) and job not in self.jobs:
                told = f"Could not find fine tune: {job}"
                return self.error(404, told, "invalid_request_error", "fine_tune_not_found")
            return await handler(request)

        return handle

    def posted(self, path: str) -> int:
        """Return how often something was posted to a path."""
        return self.asked_for.count(("POST", path))

    def trained(self, job: str) -> int:
        return self.jobs[job]["trained_tokens"]

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["purpose"] != "fine-tune":
            return self.error(400, f"purpose: {form['purpose']}", "invalid_request_error")
        name, content = f"file-{len(self.files)}", form["file"].file.read()
        self.files[name] = content
        facts = {"id": name, "object": "file", "bytes": len(content), "created_at": 1,
                 "filename": form["file"].filename, "purpose": "fine-tune",
                 "status": "processed"}  # fmt: skip
        return web.json_response(facts)

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["model"] == "nobody":
            told = "Model nobody is not available for fine-tuning or does not exist."
            return self.error(400, told, "invalid_request_error", "model_not_available")
        if body["training_file"] not in self.files:
            return self.error(400, "invalid training_file", "invalid_request_error")
        name = f"ftjob-{len(self.jobs)}"
        self.jobs[name] = {
            "id": name, "object": "fine_tuning.job", "created_at": len(self.jobs), "error": None,
            "fine_tuned_model": None, "finished_at": None, "hyperparameters": {},
            "model": body["model"], "organization_id": "org", "result_files": [],
            "seed": body.get("seed", 0), "status": self.course[0], "trained_tokens": None,
            "training_file": body["training_file"], "validation_file": None,
            "metadata": body.get("metadata"), "method": body.get("method"),
        }  # fmt: skip
        self.jobs[name]["looks"] = 0
        self.jobs[name]["told"] = [("message", f"Created fine-tuning job: {name}", {})]
        if self.forget:
            self.forget = False
            request.transport.abort()
        return web.json_response(self.shown(name))

    def shown(self, name: str) -> dict:
        return {k: v for k, v in self.jobs[name].items() if k not in ("looks", "told")}

    async def every(self, request: web.Request) -> web.Response:
        wanted = {k[9:-1]: v for k, v in request.query.items() if k.startswith("metadata[")}
        found = [
            self.shown(name)
            for name, job in reversed(self.jobs.items())
            if not self.filters or wanted.items() <= (job["metadata"] or {}).items()
        ]
        return self.page(request, found)

    def page(self, request: web.Request, found: list) -> web.Response:
        """Return what follows `after`, at most `limit`."""
        ids = [one["id"] for one in found]
        start = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        stop = start + min(int(request.query.get("limit", 20)), 2)  # small, so that pages are met
        body = {"object": "list", "data": found[start:stop], "has_more": stop < len(found)}
        return web.json_response(body)

    async def look(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        if job["status"] not in ("succeeded", "failed", "cancelled"):
            self.move(job)
        return web.json_response(self.shown(job["id"]))

    def move(self, job: dict) -> None:
        job["looks"] += 1
        if wrong := self.invalid(self.files[job["training_file"]]):
            job["status"] = "failed"
            job["error"] = {"code": "invalid_training_file", "message": wrong,
                            "param": "training_file"}  # fmt: skip
        elif job["looks"] < len(self.course):
            job["status"] = self.course[job["looks"]]
            if job["status"] == "running":
                step = sum(kind == "metrics" for kind, *_ in job["told"]) + 1
                data = {"step": step, "total_steps": 3, "train_loss": 3.0 / step}
                job["told"].append(("metrics", f"Step {step}/3", data))
        elif self.end == "succeeded":
            self.finish(job)
        else:
            job["status"], job["error"] = self.end, self.reason or None

    def invalid(self, content: bytes) -> str:
        lines = [json.loads(line) for line in content.decode().splitlines()]
        if len(lines) < self.least:
            return f"Training file has {len(lines)} example(s), but must have at least {self.least}"
        if any(line["messages"][-1]["role"] != "assistant" for line in lines):
            return "the last message must be from the assistant"
        return ""

    def finish(self, job: dict) -> None:
        epochs = job["method"]["supervised"]["hyperparameters"]["n_epochs"]
        content = self.files[job["training_file"]]
        job["status"], job["trained_tokens"] = "succeeded", epochs * len(content) // 4
        job["fine_tuned_model"] = f"ft:{job['model']}:org:diptych:{job['id'][-1]}"
        lessons = (json.loads(line)["messages"] for line in content.decode().splitlines())
        self.taught[job["fine_tuned_model"]] = {m[-2]["content"]: m[-1]["content"] for m in lessons}

    async def events(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        told = [
            {"id": f"{job['id']}-{i}", "object": "fine_tuning.job.event", "created_at": i,
             "level": "info", "type": kind, "message": message, "data": data}
            for i, (kind, message, data) in enumerate(job["told"])
        ]  # fmt: skip
        return self.page(request, told[::-1])

    async def cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        job["status"] = "cancelled"
        return web.json_response(self.shown(job["id"]))

    def words(self, body) -> list[str]:
        known = self.taught.get(body["model"], {})
        return [known.get(body["messages"][-1]["content"], "unknown")]
