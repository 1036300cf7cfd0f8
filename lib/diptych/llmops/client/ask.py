"""Ask many questions of an endpoint at once: cached, recorded, retried, within a budget.

Every call becomes a row of the ledger (`diptych.core.store.calls`), failed ones too, and an equal
request is answered from there, so a run that was cut off resumes where it stopped without paying
twice.
"""

import asyncio
import math
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from html import escape

from diptych.base import notebook_progress as bars
from diptych.core.store.calls import Calls
from diptych.llmops.client import rate_limits, recordings
from diptych.llmops.client.adaptation import describe
from diptych.llmops.client.attempts import Attempts, StoppedError, Trail
from diptych.llmops.client.budget import BudgetError, whole
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.formats import Format, Reply, outcomes
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.request import PreparedRequests, opened, prepare
from diptych.llmops.client.target import Target

INTERRUPTED = "interrupted before its answer came; it may have been paid"
SILENT = (outcomes.ANSWERED, outcomes.FAILED)  # the text or the error says it


@dataclass(frozen=True, slots=True, repr=False)
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
    log_probabilities : tuple of float
        Of the answer's tokens; () where they were not asked for, or the endpoint does not tell.
    token_probabilities : sequence of mappings
        The tokens with their log-probabilities and, where asked for, ``top_logprobs``.
    outcome : str
        How it ended, one of `diptych.llmops.client.formats.outcomes.OUTCOMES`.
    changes : dict, optional
        How what was sent differs from the request, as `diptych.llmops.client.adaptation` says.
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
    log_probabilities: tuple[float, ...] = ()
    token_probabilities: Sequence[Mapping] = ()
    outcome: str = ""
    changes: dict | None = None

    def __post_init__(self):
        outcome = outcomes.FAILED if self.error else self.outcome or outcomes.ANSWERED
        object.__setattr__(self, "outcome", outcome)

    def __repr__(self) -> str:
        content = f"failed: {self.error}" if self.text is None else repr(self.text)
        return f"<Answer {' · '.join([content, *self._facts()])}>"

    def _repr_html_(self) -> str:
        content = escape(f"Failed: {self.error}" if self.text is None else self.text)
        line = escape(" · ".join(self._facts()))
        return f'<div style="white-space:pre-wrap">{content}</div><small>{line}</small>'

    def _facts(self) -> list[str]:
        tokens = self.completion_tokens
        return [
            *([f"{self.prompt_tokens} tokens in, {tokens} out"] if tokens is not None else []),
            *([f"{self.usd:.6f} USD"] if self.usd else []),
            *([f"{self.latency_ms:.0f} ms"] if self.latency_ms is not None else []),
            *([self.outcome] if self.outcome not in SILENT else []),
            *(["from the ledger"] if self.cached else []),
            *([describe(self.changes)] if self.changes else []),
        ]


def ask_many(
    requests: Iterable, target: Target = Target(), options: CallOptions = CallOptions()
) -> list[Answer]:
    """Ask for the answers to many requests; the answers come in the order of the requests.

    Works inside a running event loop too, as in a notebook; Ctrl-C keeps what was answered.

    Parameters
    ----------
    requests : iterable
        Each a text (one user message), a list of messages, or a whole request as a mapping.
    target : Target
        Who is asked.
    options : CallOptions
        How it is asked.

    Raises
    ------
    ValueError
        If a request or an option is wrong; nothing is asked then.
    EndpointError
        If the endpoint cannot be used; see `CallOptions.give_up`.
    BudgetError
        If the budget is used up; what was answered is in the ledger.
    LedgerError
        If calls cannot be recorded; no more are made then.
    """
    answers = _apart(ask_many_async(requests, target, options))
    if target.is_recorded:
        recordings.show(target.model, options.run)
    return answers


def ask(request, target: Target = Target(), options: CallOptions = CallOptions()) -> Answer:
    """Ask for the answer to one request, see `ask_many`."""
    return ask_many([request], target, options)[0]


async def ask_many_async(
    requests: Iterable, target: Target = Target(), options: CallOptions = CallOptions()
) -> list[Answer]:
    """As `ask_many`, to be awaited."""
    prepared = prepare(requests, target)
    work = _Work(prepared, options)
    with opened(options.calls) as calls:
        again = options.ask_again
        rows = await asyncio.to_thread(calls.answered, prepared.hashes, options.repeat, again)
        known = {name: from_ledger(row, work.wire) for name, row in rows.items()}
        # rows of an older version do not say how they ended
        work.answers |= {name: x for name, x in known.items() if x.outcome not in again}
        if options.replayed is not None:
            options.replayed.add(_waited(rows, options))
        if len(work.answers) < len(set(prepared.hashes)):
            recorder = _Recorder(calls, {"endpoint": prepared.provider.name, **options.facts()})
            # not in the loop: the local server may have to be started
            client = await asyncio.to_thread(prepared.client, options, work.limits.read)
            async with client:
                await work.run(client, recorder)
        if target.is_recorded and options.replayed is not None:
            options.replayed.add(_waits(work.answers, options))
    return [work.answers[name] for name in prepared.hashes]


class _Work:
    """Asks what is not yet answered, with bounded concurrency and within the budget."""

    def __init__(self, prepared: PreparedRequests, options: CallOptions):
        self.prepared, self.options = prepared, options
        self.end: Exception | None = None  # why no more is asked
        self.alike: list[str] = [] if options.alike is None else options.alike
        self.interrupted: list[dict] = []  # rows of calls that may have been paid
        self.wire = prepared.provider.wire
        self.limits = rate_limits.of(prepared.provider.base_url, prepared.target.model_name)
        self.attempts = Attempts(prepared, options, self.limits)
        self.answers: dict[str, Answer] = {}
        self.first: defaultdict = defaultdict(asyncio.Lock)  # of each model and kind of request
        for body in prepared.by_hash().values():
            # a wrong request is refused before any call is paid
            self.attempts.cost(prepared.learned(body).apply(body))

    async def run(self, client, recorder: "_Recorder") -> None:
        """Ask all that is open; before an early end what is under way is awaited."""
        todo = {h: b for h, b in self.prepared.by_hash().items() if h not in self.answers}
        queue = iter(todo.items())
        with bars.within(self.options.progress, len(todo), "call") as bar:

            async def worker() -> None:
                for name, body in queue:
                    try:
                        row = await self.in_turn(client, name, body)
                    except (BudgetError, StoppedError) as reason:
                        self.stop(reason)
                        break
                    await recorder.write(row)  # what a kill loses was under way
                    bar.update()
                    if self.end:
                        break

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.options.concurrency, len(todo))):
                        group.create_task(worker())
            except* Exception as errors:
                raise errors.exceptions[0] from None
            finally:
                await asyncio.shield(recorder.close(self.interrupted))
            if self.end:
                raise self.end

    def stop(self, reason: Exception) -> None:
        """Let nothing more be sent; calls under way are paid, so they end and are recorded."""
        self.end = self.end or reason
        self.attempts.stopped = True

    async def in_turn(self, client, name: str, body: dict) -> dict:
        """Make one call; the others wait for the first of its kind, which learns for them all."""
        learned = self.prepared.learned(body)
        if not self.prepared.target.is_local and not learned.is_known(body):
            async with self.first[body["model"], learned.kind(body)]:
                if not learned.is_known(body):
                    row = await self.ask(client, name, body)
                    learned.known.add(learned.kind(body))
                    return row
        return await self.ask(client, name, body)

    async def ask(self, client, name: str, body: dict) -> dict:
        """Make one call and return its row."""
        began, answer, trail, error = time.perf_counter(), None, Trail(), ""
        wanted = self.prepared.wanted.get(name, body)
        try:
            reply = await self.attempts.make(client, body, trail)
            latency_ms = (time.perf_counter() - began) * 1000
            answer = self._answer(name, body, reply, latency_ms, trail.retries)
            if (answer.latency_ms or 0) > 1000 * (self.options.deadline_s or math.inf):
                answer = None  # of a recording, whose time was another day's
                raise TimeoutError
        except asyncio.CancelledError:
            if trail.maybe_paid:
                failed = Answer(None, INTERRUPTED, retries=trail.retries)
                self.interrupted.append(as_row(name, wanted, failed, self.prepared.model_of(body)))
            raise
        except self.wire.FAILURES as problem:
            error = self.wire.explain(problem)
            if self.wire.is_filtered(problem):
                answer = Answer("", response={"error": error}, outcome=outcomes.FILTERED)
            else:
                self._note(problem, error, body["model"])
        except TimeoutError:
            error = f"no answer in time: the deadline of {self.options.deadline_s:g} s is over"
        if answer is None:
            latency_ms = (time.perf_counter() - began) * 1000
            answer = Answer(None, error, latency_ms=latency_ms, retries=trail.retries)
        else:
            self.alike.clear()
        self.answers[name] = answer
        return as_row(name, wanted, answer, self.prepared.model_of(body))

    def _note(self, problem: Exception, error: str, model: str) -> None:
        """Count a failure, and give the run up where every other call will meet it."""
        if not self.options.give_up:
            return
        who, kind = self.prepared.provider.name, re.sub(r"\d{2,}", "#", error)
        if remedy := self.wire.remedy(problem):
            self.stop(EndpointError(f"{who}: {error}; {remedy}"))
        elif remedy := self.wire.recurring(problem):
            if kind not in self.alike:
                self.alike.clear()
            self.alike.append(kind)
            if len(self.alike) == self.options.patience:
                alike = f"{len(self.alike)} calls in a row failed alike, the last with "
                self.stop(EndpointError(
                    f"{who}: {alike if len(self.alike) > 1 else ''}{error} (model {model}); "
                    f"{remedy}. What was answered is in the ledger"
                ))  # fmt: skip

    def _answer(
        self, name: str, body: Mapping, reply: Reply, latency_ms: float, retries: int
    ) -> Answer:
        used = tuple(map(whole, self.wire.tokens(reply.response)))
        if self.prepared.target.is_recorded:
            return self._recorded(reply.response, used)
        cached = self.wire.cached_tokens(reply.response)
        return Answer(
            text=self.wire.text(reply.response),
            response=reply.response,
            prompt_tokens=used[0],
            completion_tokens=used[1],
            usd=None if None in used else self.prepared.price(body).usd(*used, *cached),
            first_token_ms=reply.first_token_ms,
            latency_ms=latency_ms,
            retries=retries,
            log_probabilities=self.wire.log_probabilities(reply.response),
            token_probabilities=self.wire.token_probabilities(reply.response),
            outcome=self.wire.outcome(reply.response),
            changes=self.prepared.changes(name, body) or None,
        )

    def _recorded(self, response: dict, used: tuple) -> Answer:
        """Return an answer with the times and the cost of the day when it was recorded."""
        facts = response["recorded"]
        return Answer(
            text=self.wire.text(response),
            response=response,
            prompt_tokens=used[0],
            completion_tokens=used[1],
            log_probabilities=self.wire.log_probabilities(response),
            token_probabilities=self.wire.token_probabilities(response),
            outcome=self.wire.outcome(response),
            **{name: facts[name] for name in ("usd", "first_token_ms", "latency_ms")},
        )


class _Recorder:
    """Writes rows to the ledger in a thread; while one commit is under way the next gathers."""

    def __init__(self, calls: Calls, facts: dict):
        self.calls, self.facts = calls, facts
        self.rows: list[tuple[dict, asyncio.Future]] = []
        self.task: asyncio.Task | None = None

    async def write(self, row: dict) -> None:
        """Return when the row is on the disk; raise what its commit met."""
        done = asyncio.get_running_loop().create_future()
        self.rows.append((self.facts | row, done))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self.rows:
            rows, self.rows = self.rows, []
            error = None
            try:
                await asyncio.to_thread(self.calls.log, [row for row, _ in rows])
            except Exception as problem:
                error = problem
            for _, done in rows:
                if done.done():  # its worker was cancelled; the row is on the disk all the same
                    continue
                done.set_exception(error) if error else done.set_result(None)
            if error and all(done.cancelled() for _, done in rows):
                raise error

    async def close(self, rows: Sequence[dict] = ()) -> None:
        """Write these rows, too, and return when all are on the disk."""
        if self.task:
            await self.task
            await self._write()
        await asyncio.gather(*map(self.write, rows))


def as_row(name: str, body: Mapping, answer: Answer, model: str = "") -> dict:
    """Return the ledger's row of a call, without what all calls of one run share.

    `model` is what answered, where it is not the one that the request names.
    """
    return {
        "request": name,
        "model": model or body["model"],
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
        "outcome": answer.outcome,
        "changes": answer.changes,
    }


def from_ledger(row: Mapping, wire: Format) -> Answer:
    """Return the answer that a row of the ledger holds."""
    names = ("response", "prompt_tokens", "completion_tokens", "usd", "first_token_ms",
             "latency_ms", "retries", "changes")  # fmt: skip
    response, outcome = row["response"], row["outcome"]
    fields = {name: row[name] for name in names}
    if not response:
        return Answer(row["output"], cached=True, outcome=outcome, **fields)
    return Answer(
        row["output"],
        cached=True,
        log_probabilities=wire.log_probabilities(response),
        token_probabilities=wire.token_probabilities(response),
        outcome=outcome or wire.outcome(response),
        **fields,
    )


def _waits(answers: Mapping[str, Answer], options: CallOptions) -> dict[str, float]:
    """Return each recorded answer's share, in seconds, of what asking took on its day."""
    side_by_side = max(1, min(options.concurrency, len(answers)))
    return {name: (x.latency_ms or 0.0) / 1000 / side_by_side for name, x in answers.items()}


def _waited(rows: Mapping[str, Mapping], options: CallOptions) -> dict[str, float]:
    """Return each answer's share, in seconds, of what other runs waited for them."""
    others = {name: row["latency_ms"] for name, row in rows.items() if row["run"] != options.run}
    side_by_side = max(1, min(options.concurrency, len(others)))
    return {name: (latency or 0.0) / 1000 / side_by_side for name, latency in others.items()}


def _apart(coroutine):
    """Run in a loop and a thread of its own; Ctrl-C cancels it and waits for its end."""
    outcome: Future = Future()
    running: dict = {}

    async def main():
        running.update(loop=asyncio.get_running_loop(), task=asyncio.current_task())
        return await coroutine

    def work() -> None:
        try:
            outcome.set_result(asyncio.run(main()))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=work, name="ask")
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        if running:
            with suppress(RuntimeError):  # the loop has just ended, and with it the task
                running["loop"].call_soon_threadsafe(running["task"].cancel)
        raise
    finally:
        thread.join()
