"""What will be asked: whole requests, what identifies each, what it may cost, and by which client.

Nothing here needs a key or a running server, so a report is replayed from the ledger without them.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from diptych.base import hashing, process_environment, workspace
from diptych.core.store.calls import Calls, request_hash
from diptych.core.store.prices import Price
from diptych.llmops.client import endpoint as endpoints
from diptych.llmops.client.budget import LIMITS, prompt_bytes
from diptych.llmops.client.providers import Provider, provider

ANSWER = 256  # tokens assumed of an answer that no request limits, in an estimate


@dataclass(frozen=True)
class Plan:
    """Requests as they will be sent, with what identifies and prices them."""

    at: Provider
    server: Mapping
    bodies: list[dict]
    hashes: list[str]

    def named(self) -> dict[str, dict]:
        """Return the requests by hash; equal ones are one."""
        return dict(zip(self.hashes, self.bodies, strict=True))

    def price(self, body: Mapping) -> Price:
        """Return the price of a request."""
        return Price(self.at.prices, body["model"])

    def client(self, timeout_s: float, max_retries: int):
        """Return a client of the endpoint."""
        options = {"timeout": timeout_s, "max_retries": max_retries}
        if self.at.name == "local":
            return endpoints.async_client("local", **self.server, **options)
        return endpoints.async_client(self.at, **options)


def make_plan(
    requests: Iterable,
    endpoint: str = "local",
    model: str = "",
    parameters: Mapping | None = None,
    server: Mapping | None = None,
    key_env: str = "",
) -> Plan:
    """Check every request; takes what `diptych.llmops.client.ask.ask_many` takes.

    Raises
    ------
    ValueError, EndpointError
        If a request is wrong, or the endpoint is unknown.
    """
    at = provider(endpoint, key_env)
    common = {"model": model or at.model} | dict(parameters or {})
    bodies = [_body(i, request, common) for i, request in enumerate(requests)]
    server = dict(server or {})
    if at.name == "local":
        server["model"] = file = endpoints.model_file(server.get("model"))
        whose = {name: Path(path) for name, path in (server.get("adapters") or {}).items()}
        where = {name: f"{_digest(file)} {_digest(path)}" for name, path in whose.items()}
        hashes = [request_hash(where.get(b["model"], _digest(file)), b) for b in bodies]
    else:
        hashes = [request_hash(at.base_url, body) for body in bodies]
    return Plan(at, server, bodies, hashes)


def _body(i: int, request, common: Mapping) -> dict:
    """Return a whole request from a text, a list of messages or a mapping."""
    if isinstance(request, str):
        request = [{"role": "user", "content": request}]
    given = dict(request) if isinstance(request, Mapping) else {"messages": list(request)}
    body = {**common, **given}
    if not body.get("messages"):
        raise ValueError(f"request {i}: messages: there are none")
    if not body.get("model"):
        raise ValueError(f"request {i}: model: is not given and the endpoint has none of its own")
    if "stream" in body:
        raise ValueError(f"request {i}: stream: is an option of the call, not of a request")
    return body


def _digest(path: Path) -> str:
    try:
        return hashing.of_file(path)
    except OSError as error:
        raise endpoints.EndpointError(f"adapters: {path} is not there") from error


@dataclass(frozen=True)
class Estimate:
    """What asking would take; tokens of the prompts by 4 bytes each, of the answers at most."""

    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None

    def __str__(self) -> str:
        usd = "at an unknown price" if self.usd is None else f"{self.usd:.4f} USD at most"
        tokens = f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens"
        return f"{self.calls:,} calls ({self.cached:,} more are cached), about {tokens}, {usd}"


def estimate(
    requests: Iterable,
    *,
    endpoint: str = "local",
    model: str = "",
    parameters: Mapping | None = None,
    server: Mapping | None = None,
    repeat: int = 0,
    calls: Calls | str | Path | None = None,
) -> Estimate:
    """Return what `ask_many` would take, without asking; no key is needed."""
    plan = make_plan(requests, endpoint, model, parameters, server, "")
    with opened(calls) as book:
        known = book.answered(plan.hashes, repeat)
    todo = {h: b for h, b in zip(plan.hashes, plan.bodies, strict=True) if h not in known}
    read = written = 0
    usd: float | None = 0.0
    for body in todo.values():
        prompt = prompt_bytes(body) // 4
        answer = next((int(body[name]) for name in LIMITS if body.get(name)), ANSWER)
        price = plan.price(body).usd(prompt, answer)
        usd = None if usd is None or price is None else usd + price
        read, written = read + prompt, written + answer
    return Estimate(len(todo), len(known), read, written, usd)


def opened(calls: Calls | str | Path | None):
    """Return the ledger as a context manager that closes only what it opened."""
    if isinstance(calls, Calls):
        return nullcontext(calls)
    return Calls(calls or process_environment.ledger() or workspace.ledger_path())
