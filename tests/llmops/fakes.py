"""Endpoints on real sockets, each with the documented ways of the one it is named after."""

import asyncio
import itertools
import json
import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from aiohttp import web

from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target

KEY = "the-right-key"
LONGEST = 2000  # characters of a prompt
STALL_S = 3.0  # how long a stalled call takes
SOON = {"retry-after-ms": "50"}  # without, a client waits half a second and more


@dataclass
class Fake:
    """One endpoint: what it honours, how it refuses, and what it has seen.

    Sources: OpenAI's API reference (errors, rate limits, streaming usage); Anthropic's page on
    OpenAI SDK compatibility (fields ignored without a word) and on errors (529); Ollama's page on
    OpenAI compatibility; vLLM's OpenAI-compatible server.
    """

    name: str
    honours: frozenset = frozenset({"logprobs", "response_format", "seed"})
    needs_key: bool = True
    truncates: bool = False  # a long prompt is cut without a word
    overloaded: int = 503
    delay: float = 0.0
    pause: float = 0.0  # before each piece of a stream
    troubles: list = field(default_factory=list)  # what the next calls meet, one each
    seen: list = field(default_factory=list)  # bodies
    times: list = field(default_factory=list)
    answered: list = field(default_factory=list)  # prompts, each time an answer was made
    stalled: set = field(default_factory=set)  # prompts whose answer came late
    now: int = 0
    most: int = 0
    url: str = ""
    dice: itertools.count = field(default_factory=itertools.count)

    def error(self, status: int, message: str, kind: str, code=None, headers=None) -> web.Response:
        told = {"message": message, "type": kind}
        if self.name == "anthropic":
            body = {"type": "error", "error": told}
        elif self.name == "vllm":
            body = {"error": told | {"param": None, "code": status}}
        else:
            body = {"error": told | {"param": None, "code": code}}
        return web.json_response(body, status=status, headers=headers)

    def refusal(self, request, body) -> web.Response | None:
        if self.needs_key and request.headers.get("Authorization") != f"Bearer {KEY}":
            return self.error(401, "invalid key", "authentication_error", "invalid_api_key")
        if body["model"] == "nobody":
            return self.error(404, "model 'nobody' not found", "not_found_error")
        prompt = body["messages"][-1]["content"]
        if len(prompt) > LONGEST and not self.truncates:
            told = f"This model's maximum context length is {LONGEST}, and yours is {len(prompt)}"
            return self.error(400, told, "invalid_request_error", "context_length_exceeded")
        return None

    def words(self, body) -> list[str]:
        """Return the answer's words."""
        if "response_format" in body and "response_format" in self.honours:
            return ['{"verdict": "yes"}']
        prompt = body["messages"][-1]["content"]
        if body.get("temperature"):
            seeded = "seed" in body and "seed" in self.honours
            die = body["seed"] if seeded else f"{next(self.dice)}-{time.time_ns()}"
            return ["thrown ", str(die)]
        return ["negative " if "bad" in prompt else "positive ", "<b>", prompt[-12:]]

    def usage(self, body, words) -> dict:
        read = min(len(body["messages"][-1]["content"]), LONGEST)
        return {"prompt_tokens": read, "completion_tokens": len(words),
                "total_tokens": read + len(words)}  # fmt: skip

    def choice(self, body, words, part: str) -> dict:
        made = {"index": 0, part: {"role": "assistant", "content": "".join(words)}}
        made["finish_reason"] = None
        if body.get("logprobs") and "logprobs" in self.honours:
            made["logprobs"] = {"content": [scored(w, body.get("top_logprobs")) for w in words]}
        return made

    def routes(self) -> list:
        return [web.post("/v1/chat/completions", self.chat)]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        self.times.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.delay)
            return await self.answer(request, body)
        finally:
            self.now -= 1

    async def answer(self, request: web.Request, body: dict) -> web.StreamResponse:
        if refused := self.refusal(request, body):
            return refused
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble == "rate":
            headers = {"Retry-After": "0.4"}
            return self.error(429, "slow down", "rate_limit_error", headers=headers)
        if trouble == "overloaded":
            return self.error(self.overloaded, "Overloaded", "overloaded_error", headers=SOON)
        if trouble == "broken":
            return self.error(500, "Internal error", "server_error", headers=SOON)
        if trouble == "html":
            return web.Response(text="<html>a proxy's page</html>", content_type="text/html")
        if trouble == "empty":
            return web.json_response({"object": "chat.completion", "choices": []})
        if trouble == "hang up":
            request.transport.abort()
            return web.Response()
        if trouble == "stall":
            self.stalled.add(body["messages"][-1]["content"])
            await asyncio.sleep(STALL_S)
        self.answered.append(body["messages"][-1]["content"])
        words = self.words(body)
        if body.get("stream"):
            return await self.stream(request, body, words, trouble)
        response = self.whole("chat.completion", [self.choice(body, words, "message")])
        response["choices"][0]["finish_reason"] = "stop"
        if trouble != "no usage":
            response["usage"] = self.usage(body, words)
        return web.json_response(response)

    def whole(self, kind: str, choices: list) -> dict:
        return {"id": "x", "object": kind, "created": 1, "model": self.name, "choices": choices}

    async def stream(self, request, body, words, trouble) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)

        async def send(piece) -> None:
            text = piece if isinstance(piece, str) else json.dumps(piece)
            await answer.write(f"data: {text}\n\n".encode())

        for i, word in enumerate(words):
            if trouble == "cut" and i == 1:
                request.transport.abort()
                return answer
            await asyncio.sleep(self.pause)
            await send(self.whole("chat.completion.chunk", [self.choice(body, [word], "delta")]))
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await send(self.whole("chat.completion.chunk", [last]))
        if body.get("stream_options", {}).get("include_usage"):
            await send(self.whole("chat.completion.chunk", []) | {"usage": self.usage(body, words)})
        await send("[DONE]")
        return answer


def scored(word: str, more: int | None) -> dict:
    """Return a token of probability exp(-0.5), and what might have been there instead."""
    token = {"token": word, "logprob": -0.5}
    if more:
        other = {"token": "pos" if word.startswith("neg") else "neg"}
        token["top_logprobs"] = [dict(token), other | {"logprob": math.log(1 - math.exp(-0.5))}]
    return token


def make(name: str) -> Fake:
    """Return the endpoint of this name, not yet served."""
    if name == "anthropic":
        return Fake(name, honours=frozenset(), overloaded=529)
    if name == "ollama":
        honours = frozenset({"response_format", "seed"})
        return Fake(name, honours=honours, needs_key=False, truncates=True)
    return Fake(name, needs_key=name != "vllm")


def ways(**named) -> tuple[Target, CallOptions]:
    """Return fields of either by their names: who is asked, and how."""
    target = {field.name: named.pop(field.name) for field in fields(Target) if field.name in named}
    return Target(**target), CallOptions(**named)


def as_clone(folder, endpoints: str, monkeypatch) -> None:
    """Make a folder the working one, as a clone with these lines in ``params/endpoints.yaml``."""
    from diptych.llmops.client import providers

    for name in ("params", "notebooks"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "pyproject.toml").touch()
    (folder / "params" / "endpoints.yaml").write_text(endpoints)
    monkeypatch.chdir(folder)
    providers._from_file.cache_clear()


NAMES = ("openai", "anthropic", "ollama", "vllm")


@contextmanager
def serving(fake: Fake):
    """Serve it on a free loopback port, in a thread."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def begin() -> web.AppRunner:
        app = web.Application()
        app.add_routes(fake.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    def work() -> None:
        runner = loop.run_until_complete(begin())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(20)
        yield fake
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
