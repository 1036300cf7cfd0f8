"""Requests as they will be sent: what identifies each, and what they may cost.

Nothing here needs a key or a running server, so a report is replayed from the ledger without them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from diptych.base import process_environment, workspace
from diptych.core.store.calls import Calls, request_hash
from diptych.core.store.prices import Price
from diptych.llmops.client import adaptation, recordings
from diptych.llmops.client import endpoint as endpoints
from diptych.llmops.client.budget import LIMITS, most_tokens, prompt_bytes
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import FORMATS, Provider
from diptych.llmops.client.target import Target
from diptych.llmops.server import process, store

ANSWER = 256  # tokens assumed of an answer that no request limits, in an estimate


@dataclass(frozen=True)
class PreparedRequests:
    """Requests as they will be sent, with what identifies and prices them.

    Attributes
    ----------
    bodies : list of dict
        As the model is known to take them; what a refusal teaches later is recorded with the call.
    hashes : list of str
        Of these bodies, so that a call made with other fields is another call.
    wanted : dict of str to dict
        By hash: the request as it was given, where it differs.
    """

    target: Target
    provider: Provider
    bodies: list[dict]
    hashes: list[str]
    wanted: dict[str, dict] = field(default_factory=dict)

    def by_hash(self) -> dict[str, dict]:
        """Return the requests by hash; equal ones are one."""
        return dict(zip(self.hashes, self.bodies, strict=True))

    def learned(self, body: Mapping) -> adaptation.Learned:
        """Return what refusals have taught of a request's model."""
        return adaptation.learned(self.provider.base_url, body["model"])

    def changes(self, name: str, body: Mapping) -> dict:
        """Return the rules by which what is sent differs from the request that was given."""
        wanted, later = self.wanted.get(name, body), self.learned(body).rules
        known = adaptation.effective(wanted, self.provider.rules(wanted))
        return known | adaptation.effective(body, later)

    def price(self, body: Mapping, batch: bool = False) -> Price:
        """Return the price of a request."""
        return Price(self.provider.prices, body["model"], batch)

    def model_of(self, body: Mapping) -> str:
        """Return the model that answers a request: the local server's file, or an adapter."""
        file = self.target.server.get("model") if self.target.is_local else None
        if file is None or body["model"] != self.provider.model:
            return body["model"]
        return Path(file).name.removesuffix(".gguf")

    def client(self, options: CallOptions, on_headers: Callable | None = None):
        """Return an asynchronous client of the target, which tries nothing again itself."""
        settings = {}
        if self.target.is_recorded:
            from diptych.llmops.client import recorded_transport

            settings["http_client"] = recorded_transport.async_client(
                recordings.load(self.target.model), options.repeat, options.prompt_version
            )
        return endpoints.async_client(
            self.target,
            on_headers=on_headers,
            **settings,
            timeout=options.timeout_s,
            max_retries=0,
            max_bytes=options.max_bytes,
        )


def prepare(requests: Iterable, target: Target) -> PreparedRequests:
    """Check every request and complete it; takes what `diptych.llmops.client.ask.ask_many` takes.

    Raises
    ------
    ValueError, EndpointError
        If a request is wrong, or the endpoint is unknown.
    """
    provider = target.provider
    model = target.model or provider.model
    parameters = provider.fields(model) | dict(target.parameters)
    parameters = {name: value for name, value in parameters.items() if value is not None}
    common = {"model": model} | parameters
    wanted = [_body(i, request, common) for i, request in enumerate(requests)]
    bodies = [adaptation.apply(body, provider.rules(body)) for body in wanted]
    if not target.is_local:
        # the same fields in another format are another call
        form = "" if provider.format == FORMATS[0] else f" {provider.format}"
        hashes = [request_hash(provider.base_url + form, body) for body in bodies]
        return PreparedRequests(target, provider, bodies, hashes, _changed(hashes, wanted, bodies))
    file = process.model_file(target.server.get("model"))
    adapters = (target.server.get("adapters") or {}).items()
    served = _digest(file)
    models = {name: f"{served} {_digest(Path(path))}" for name, path in adapters}
    hashes = [request_hash(models.get(body["model"], served), body) for body in bodies]
    target = replace(target, server={**target.server, "model": file})
    return PreparedRequests(target, provider, bodies, hashes, _changed(hashes, wanted, bodies))


def _changed(hashes: list[str], wanted: list[dict], bodies: list[dict]) -> dict[str, dict]:
    """Return the requests that are not sent as they were given, by hash."""
    pairs = zip(hashes, wanted, bodies, strict=True)
    return {name: body for name, body, sent in pairs if body != sent}


def _body(i: int, request, common: Mapping) -> dict:
    """Return a whole request from a text, a list of messages or a mapping."""
    if isinstance(request, str):
        request = [{"role": "user", "content": request}]
    fields = dict(request) if isinstance(request, Mapping) else {"messages": list(request)}
    body = {**common, **fields}
    if not body.get("messages"):
        raise ValueError(f"request {i}: messages: there are none")
    if not body.get("model"):
        raise ValueError(
            f"request {i}: model: is not given and the endpoint has none of its own; append it: "
            "NAME/MODEL, or to an address ADDRESS#MODEL"
        )
    if "stream" in body:
        raise ValueError(f"request {i}: stream: is an option of the call, not of a request")
    return body


def _digest(path: Path) -> str:
    try:
        return store.digest(path)
    except OSError as error:
        raise endpoints.EndpointError(f"adapters: {path} is not there") from error


def limit_of(body: Mapping, default: int = ANSWER) -> int:
    """Return the tokens that a request allows of its answer."""
    return next((int(body[name]) for name in LIMITS if body.get(name)), default)


@dataclass(frozen=True)
class Estimate:
    """What asking would take.

    Attributes
    ----------
    calls, cached : int
    prompt_tokens, completion_tokens : int
        Of the prompts about, by 4 bytes each; of the answers at most.
    usd, most_usd : float or None
        What these tokens cost, and what they cost at most: no token is shorter than a byte. None
        where no price is known. Attempts that fail and are tried again come on top.
    """

    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    most_usd: float | None = None

    def __str__(self) -> str:
        usd = "at an unknown price"
        if self.usd is not None and self.most_usd is not None:
            usd = f"{self.usd:.4f} USD, {self.most_usd:.4f} USD at most"
        tokens = f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens"
        return f"{self.calls:,} calls ({self.cached:,} more are cached), about {tokens}, {usd}"


def estimate(
    requests: Iterable, target: Target = Target(), options: CallOptions = CallOptions()
) -> Estimate:
    """Return what `ask_many` would take, without asking; no key is needed."""
    prepared = prepare(requests, target)
    with opened(options.calls) as ledger:
        known = ledger.answered(prepared.hashes, options.repeat, options.ask_again)
    todo = [body for name, body in prepared.by_hash().items() if name not in known]
    prompts, answers = [prompt_bytes(body) // 4 for body in todo], [limit_of(x) for x in todo]
    prices = [prepared.price(body) for body in todo]
    about = _cost(prices, zip(prompts, answers, strict=True))
    most = _cost(prices, (most_tokens({**body, LIMITS[0]: limit_of(body)}) for body in todo))
    return Estimate(len(todo), len(known), sum(prompts), sum(answers), about, most)


def _cost(prices: Sequence[Price], tokens: Iterable[tuple[int, int]]) -> float | None:
    """Return what calls cost, None where a price is not known; equal calls are priced once."""
    calls = Counter(zip(prices, tokens, strict=True))
    amounts = {call: call[0].usd(*call[1]) for call in calls}
    if None in amounts.values():
        return None
    return sum((count * amounts[call] for call, count in calls.items()), 0.0)


def opened(calls: Calls | str | Path | None):
    """Return the ledger as a context manager that closes only what it opened."""
    if isinstance(calls, Calls):
        return nullcontext(calls)
    return Calls(calls or process_environment.ledger() or workspace.ledger_path())
