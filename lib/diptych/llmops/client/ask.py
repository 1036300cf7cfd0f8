"""Ask many questions of an endpoint at once: cached, recorded, retried, within a budget.

Every call becomes a row of the ledger (`diptych.core.store.calls`), failed ones too, and an equal
request is answered from there, so a run that was cut off goes on where it stopped without paying
twice.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from diptych.base import notebook_progress as bars
from diptych.core.store import replayed as spared
from diptych.core.store.calls import Calls
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.formats import chat_completions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.request import Plan, make_plan, opened

TIMEOUT_S = 120.0
RETRIES = 4  # with growing pauses and jitter, or after what Retry-After says


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes
    ----------
    text : str or None
        The answer; None if there is none.
    error : str
        Why there is none.
    response : dict or None
        The endpoint's whole answer, with logprobs if they were asked for.
    prompt_tokens, completion_tokens, usd, first_token_ms, latency_ms
        None where unknown; `first_token_ms` only of streamed calls. Of a cached answer they are
        those of the call that was made.
    retries : int
    cached : bool
        Whether it came from the ledger, so that nothing was paid now.
    """

    text: str | None
    error: str = ""
    response: dict | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usd: float | None = None
    first_token_ms: float | None = None
    latency_ms: float | None = None
    retries: int = 0
    cached: bool = False


def ask_many(requests: Iterable, **options) -> list[Answer]:
    """Ask for the answers to many requests; the answers come in the order of the requests.

    Works inside a running event loop too, as in a notebook; Ctrl-C keeps what was answered.

    Parameters
    ----------
    requests : iterable
        Each a text (one user message), a list of messages, or a whole request as a mapping.
    endpoint : str
        Name or base URL, see `diptych.llmops.client.endpoint.client`; ``"local"`` by default.
    model : str
        Where a request names none; by default the endpoint's.
    parameters : mapping
        Fields for every request that does not set them itself, such as ``max_tokens``.
    server : mapping
        For ``"local"``: what `endpoint.start` takes.
    key_env : str
        For a URL: the environment variable with its key.
    concurrency : int
        Calls under way at once, 64 by default.
    repeat : int
        Answers are cached by request and this number: another number asks again.
    stream : bool
        Stream the answers, to measure the time to the first token.
    calls : Calls, str or Path, optional
        The ledger: open, or its path or URL; by default ``DIPTYCH_LEDGER`` or the workspace's.
    run, prompt_version, caller : str
        Recorded with each call.
    step : int
        Recorded with each call: the endpoint's place in a fallback chain, see `chain`.
    budget : Budget, optional
        Stops before the call that could exceed it.
    progress : bool or bar
        Show a bar, or move this one (`diptych.base.notebook_progress.bar`).
    timeout_s : float
        For one try of one call.
    max_retries : int
        After 408, 409, 429 and 5xx, a refused connection or a timeout.
    deadline_s : float, optional
        For one call with all its tries; by default none.
    give_up : bool
        Raise at the first failure that every call will meet: a wrong key, an unknown model, nobody
        there. By default it is an answer with an error as others are.

    Raises
    ------
    ValueError
        If a request or an option is wrong; nothing is asked then.
    EndpointError
        If the endpoint cannot be used; see `give_up`.
    BudgetError
        If the budget is used up; what was answered is in the ledger.
    LedgerError
        If calls cannot be recorded; no more are made then.
    """
    return _apart(ask_many_async(requests, **options))


def ask(request, **options) -> Answer:
    """Ask for the answer to one request; takes what `ask_many` takes."""
    return ask_many([request], **options)[0]


async def ask_many_async(
    requests: Iterable,
    *,
    endpoint: str = "local",
    model: str = "",
    parameters: Mapping | None = None,
    server: Mapping | None = None,
    key_env: str = "",
    concurrency: int = 64,
    repeat: int = 0,
    stream: bool = False,
    calls: Calls | str | Path | None = None,
    run: str = "",
    prompt_version: str = "",
    caller: str = "",
    step: int = 0,
    budget: Budget | None = None,
    progress: bool = False,
    timeout_s: float = TIMEOUT_S,
    max_retries: int = RETRIES,
    deadline_s: float | None = None,
    give_up: bool = False,
) -> list[Answer]:
    """As `ask_many`, to be awaited."""
    if concurrency < 1:
        raise ValueError(f"concurrency: {concurrency}; at least 1")
    plan = make_plan(requests, endpoint, model, parameters, server, key_env)
    work = _Work(plan, budget or Budget(), stream, deadline_s, give_up)
    with opened(calls) as book:
        found = await asyncio.to_thread(book.answered, plan.hashes, repeat)
        work.answers |= {name: replayed(row) for name, row in found.items()}
        spared.note(run, _waited(found, run, concurrency))
        if len(work.answers) < len(set(plan.hashes)):
            facts = {"endpoint": plan.at.name, "run": run, "repeat": repeat, "caller": caller}
            facts |= {"prompt_version": prompt_version, "step": step}
            recorder = _Recorder(book, facts)
            # not in the loop: the local server may have to be started
            client = await asyncio.to_thread(plan.client, timeout_s, max_retries)
            async with client:
                await work.run(client, recorder, concurrency, progress)
    return [work.answers[name] for name in plan.hashes]


class _Work:
    """Asks what is not yet answered, with bounded concurrency and within the budget."""

    def __init__(
        self, plan: Plan, budget: Budget, stream: bool, deadline_s: float | None, give_up: bool
    ):
        self.plan, self.budget, self.deadline_s = plan, budget, deadline_s
        self.give_up, self.hopeless = give_up, ""
        self.call = chat_completions.stream if stream else chat_completions.complete
        self.answers: dict[str, Answer] = {}
        self.settled = asyncio.Event()
        limited = budget.max_usd is not None or budget.max_tokens is not None
        # told before any call is made, so that a wrong request costs nothing
        self.costs = {
            name: budget.cost(body, plan.price(body)) if limited else (0.0, 0)
            for name, body in plan.named().items()
        }

    async def run(self, client, recorder: "_Recorder", concurrency: int, progress) -> None:
        todo = {h: b for h, b in self.plan.named().items() if h not in self.answers}
        queue = iter(todo.items())
        with bars.within(progress, len(todo), "call") as bar:

            async def worker() -> None:
                for name, body in queue:
                    await self.afford(name)
                    row = await self.ask(client, name, body)
                    recorder.add(row)
                    bar.update()
                    if self.hopeless:
                        raise EndpointError(self.hopeless)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(concurrency, len(todo))):
                        group.create_task(worker())
            except* Exception as errors:
                raise errors.exceptions[0] from None
            finally:
                await asyncio.shield(recorder.close())

    async def afford(self, name: str) -> None:
        """Wait until the budget has room for a call beside those under way."""
        while not self.budget.take(self.costs[name]):
            self.settled.clear()
            await self.settled.wait()

    async def ask(self, client, name: str, body: dict) -> dict:
        """Make one call and return its row."""
        began, reply, error, written = time.perf_counter(), None, "", (None, None)
        usd, sure = None, True
        try:
            async with asyncio.timeout(self.deadline_s):
                reply = await self.call(client, body)
            written = chat_completions.tokens(reply.response)
            if None not in written:
                usd = self.plan.price(body).usd(*written)
        except chat_completions.FAILURES as problem:
            error, sure = chat_completions.explain(problem), chat_completions.is_free(problem)
            if self.give_up and (remedy := chat_completions.remedy(problem)):
                self.hopeless = f"{self.plan.at.name}: {error}; {remedy}"
        except TimeoutError:  # it may be answered, and paid, all the same
            error, sure = "no answer in time", False
        except BaseException:
            sure = False  # cut off: it may have been paid
            raise
        finally:
            self._settle(name, written, usd, charge=not (error and sure))
        answer = Answer(
            text=chat_completions.text(reply.response) if reply else None,
            error=error,
            response=reply.response if reply else None,
            prompt_tokens=written[0],
            completion_tokens=written[1],
            usd=usd,
            first_token_ms=reply.first_token_ms if reply else None,
            latency_ms=(time.perf_counter() - began) * 1000,
            retries=reply.retries if reply else client.max_retries if not sure else 0,
        )
        self.answers[name] = answer
        return as_row(name, body, answer)

    def _settle(self, name: str, written: tuple, usd: float | None, charge: bool) -> None:
        """Count a call's cost; where the endpoint does not tell, what it can have been at most."""
        most = self.costs[name]
        tokens = sum(written) if None not in written else most[1]
        spent = (most[0] if usd is None else usd, tokens) if charge else (0.0, 0)
        self.budget.settle(most, *spent)
        self.settled.set()


class _Recorder:
    """Writes rows to the ledger in a thread; while one commit is under way the next gathers."""

    def __init__(self, calls: Calls, facts: dict):
        self.calls, self.facts = calls, facts
        self.rows: list[dict] = []
        self.task: asyncio.Task | None = None

    def add(self, row: dict) -> None:
        """Take a row; raises what an earlier commit met."""
        self.rows.append(self.facts | row)
        if self.task is None or self.task.done():
            if self.task:
                self.task.result()
            self.task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self.rows:
            rows, self.rows = self.rows, []
            await asyncio.to_thread(self.calls.log, rows)

    async def close(self) -> None:
        """Wait until all rows are on the disk."""
        if self.task:
            await self.task
            await self._write()


def as_row(name: str, body: Mapping, answer: Answer) -> dict:
    """Return the ledger's row of a call, without what all calls of one run share."""
    return {
        "request": name,
        "model": body["model"],
        "input": body,
        "output": answer.text,
        "response": answer.response,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "usd": answer.usd,
        "first_token_ms": answer.first_token_ms,
        "latency_ms": answer.latency_ms,
        "retries": answer.retries,
        "status": "failed" if answer.error else "ok",
        "error": answer.error or None,
    }


def replayed(row: Mapping) -> Answer:
    """Return the answer that a row of the ledger holds."""
    names = ("response", "prompt_tokens", "completion_tokens", "usd", "first_token_ms",
             "latency_ms", "retries")  # fmt: skip
    return Answer(row["output"], cached=True, **{name: row[name] for name in names})


def _waited(found: Mapping[str, Mapping], run: str, concurrency: int) -> dict[str, float]:
    """Return each answer's share, in seconds, of what other runs waited for them."""
    others = {name: row["latency_ms"] for name, row in found.items() if row["run"] != run}
    side_by_side = max(1, min(concurrency, len(others)))
    return {name: (latency or 0.0) / 1000 / side_by_side for name, latency in others.items()}


def _apart(coroutine):
    """Run in a loop and a thread of its own; Ctrl-C cancels it and waits for its end."""
    made: Future = Future()
    running: dict = {}

    async def main():
        running.update(loop=asyncio.get_running_loop(), task=asyncio.current_task())
        return await coroutine

    def work() -> None:
        try:
            made.set_result(asyncio.run(main()))
        except BaseException as error:
            made.set_exception(error)

    thread = threading.Thread(target=work, name="ask")
    thread.start()
    try:
        return made.result()
    except KeyboardInterrupt:
        if running:
            running["loop"].call_soon_threadsafe(running["task"].cancel)
        raise
    finally:
        thread.join()
