"""Fine-tuning at an endpoint that has OpenAI's fine-tuning API: file, job, events, model.

The metadata of a job holds a hash of its model, data and settings. After an interruption the same
request finds its job, running or done, so it is paid once. A failed or cancelled job is started
again.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from diptych.base import notebook_progress as bars
from diptych.core.data.schema import right_answer
from diptych.llmops.client import endpoint as endpoints
from diptych.llmops.client.budget import Budget, BudgetError, prompt_bytes
from diptych.llmops.client.target import Target
from diptych.llmops.finetuning.weights import TuningError
from diptych.llmops.prompts.prompt import Prompt

MARK = "diptych"  # the key of the hash in a job's metadata
FEWEST = 10  # examples that the API takes
POLL_S, WAIT_S = 10.0, 24 * 3600.0
REMOTE = Target("openai")
PATIENCE = 30  # polls in a row without an answer


class JobFailedError(TuningError):
    """A job failed; `tokens` were trained before, as billed."""

    def __init__(self, message: str, tokens: int):
        super().__init__(message)
        self.tokens = tokens


@dataclass(frozen=True)
class Tuned:
    """A job that succeeded.

    Attributes
    ----------
    job, model : str
        The job's id, and the name of the tuned model.
    tokens : int
        Trained tokens, as billed.
    losses : list of float
        Training loss by step, where the job's events report it.
    """

    job: str
    model: str
    tokens: int
    losses: list[float]


def conversations(prompt: Prompt, rows: Iterable[Mapping]) -> list[dict]:
    """Return labelled rows in the API's format, one conversation a row."""
    return [
        {
            "messages": [
                *prompt.messages(row),
                {"role": "assistant", "content": prompt.answer(right_answer(row))},
            ]
        }
        for row in rows
    ]


@dataclass(frozen=True)
class Remote:
    """A model to tune at an endpoint, and what that may cost.

    Attributes
    ----------
    target : Target
        The endpoint, and its model to tune.
    job : str
        Id of a job to wait for; "" finds the job of this request, or starts it.
    budget : Budget, optional
        A job that could exceed it is refused before anything is sent.
    usd_per_million : float, optional
        Price of a million trained tokens, from the endpoint's price list; needed for a budget in
        dollars.
    poll_s, wait_s : float
        Seconds between two polls, and in all.
    """

    target: Target = REMOTE
    job: str = ""
    budget: Budget | None = None
    usd_per_million: float | None = None
    poll_s: float = POLL_S
    wait_s: float = WAIT_S

    @classmethod
    def of(cls, text: str, budget: Budget | None, usd_per_million: float) -> "Remote":
        """Return the model that a text names, as `Target.parse` takes it."""
        return cls(Target.parse(text), budget=budget, usd_per_million=usd_per_million)


def tune(
    examples: Sequence[Mapping],
    remote: Remote,
    *,
    epochs: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> Tuned:
    """Fine-tune a model on conversations, and wait until it is done.

    Parameters
    ----------
    examples : sequence of mappings
        From `conversations`.
    remote : Remote
    epochs, seed : int
    progress : bool
        Show a bar and the job's messages.

    Raises
    ------
    ValueError
        If there are fewer than `FEWEST` examples, or a price is missing.
    TuningError
        If the job fails, is cancelled or takes too long, or the endpoint refuses. A job that is
        still running counts in the budget as what it can cost at most.
    EndpointError, BudgetError
        See `diptych.llmops.client.ask.ask_many`.
    """
    target, job, budget = remote.target, remote.job, remote.budget
    model = target.model_name
    if not job and len(examples) < FEWEST:
        raise ValueError(f"rows: {len(examples)}; a job needs at least {FEWEST}")
    client = endpoints.client(target, max_retries=4)
    watch = _Watch(client, target, progress)
    if job:
        return watch.until_done(job, remote.poll_s, remote.wait_s)
    content = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in examples)
    facts = [target.provider.base_url, model, epochs, seed, content]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    known = watch.ask(_find, client, key)
    if known is not None:
        return watch.until_done(known, remote.poll_s, remote.wait_s)
    cost = _cost(examples, epochs, model, budget, remote.usd_per_million)
    budget = budget or Budget()
    if not budget.take(cost):
        raise BudgetError("budget: calls under way hold what this job may need; wait for them")
    tokens, done = cost[1], None  # a job is billed whatever becomes of the waiting
    try:
        begun = watch.ask(_begin, client, content.encode(), key, model, epochs, seed)
        done = watch.until_done(begun, remote.poll_s, remote.wait_s)
        tokens = done.tokens or tokens
        return done
    except TuningError as error:
        if isinstance(error, JobFailedError) or target.provider.wire.is_free(error.__cause__):
            tokens = getattr(error, "tokens", 0)
        raise
    finally:
        usd = tokens * (remote.usd_per_million or 0.0) / 1e6
        budget.settle(cost, usd, tokens, answered=done is not None)


def cancel(job: str, target: Target = REMOTE) -> str:
    """Cancel a job and return its status; tokens trained so far may be billed."""
    client = endpoints.client(target)
    return _Watch(client, target, False).ask(client.fine_tuning.jobs.cancel, job).status


def _cost(examples, epochs, model, budget, usd_per_million) -> tuple[float, int]:
    """Return the most dollars and tokens that a job can take: no token is shorter than a byte."""
    if budget is not None and budget.max_usd is not None and usd_per_million is None:
        raise ValueError(
            f"max_usd: the price of training {model} is not known; give usd_per_million by the "
            "endpoint's price list, or limit max_tokens instead"
        )
    most = epochs * sum(map(prompt_bytes, examples))
    return most * (usd_per_million or 0.0) / 1e6, most


def _find(client, key: str) -> str | None:
    """Return the id of this request's job, running or done; None if there is none."""
    for job in client.fine_tuning.jobs.list(metadata={MARK: key}, limit=100):
        # an endpoint may ignore the filter
        if (job.metadata or {}).get(MARK) == key and job.status not in ("failed", "cancelled"):
            return job.id
    return None


def _begin(client, content: bytes, key: str, model: str, epochs: int, seed: int) -> str:
    file = client.files.create(file=(f"{MARK}-{key}.jsonl", content), purpose="fine-tune")
    # no retries: if only the answer were lost, a second job would start
    job = client.with_options(max_retries=0).fine_tuning.jobs.create(
        model=model,
        training_file=file.id,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}},
        seed=seed,
        suffix=MARK,
        metadata={MARK: key},
    )
    return job.id


class _Watch:
    """Polls a job until it is done."""

    def __init__(self, client, target: Target, progress: bool):
        self.client, self.progress = client, progress
        self.name, self.wire = target.provider.name, target.provider.wire
        self.seen: set[str] = set()
        self.losses: dict[int, float] = {}

    def ask(self, call, *arguments):
        """Make a call; turn an error into one sentence."""
        try:
            return call(*arguments)
        except self.wire.FAILURES as error:
            raise TuningError(f"{self.name}: {self.wire.explain(error)}") from error

    def until_done(self, job: str, poll_s: float, wait_s: float) -> Tuned:
        """Poll until the job ends, and return its model."""
        remedy = f"give job={job} to wait for it again"
        until, silent = time.monotonic() + wait_s, 0
        try:
            with bars.bar(0, "step", self.progress) as bar:
                bar.set_description(f"{job} ")
                while True:
                    state = self.look(job, bar)
                    silent = 0 if state else silent + 1
                    if state and state.status in ("succeeded", "failed", "cancelled"):
                        return self.result(state)
                    if silent > PATIENCE:
                        reason = f"has not answered {silent} times in a row"
                        raise TuningError(f"{self.name}: {reason}; the job may still run, {remedy}")
                    if time.monotonic() > until:
                        status = state.status if state else "out of reach"
                        reason = f"is {status} after {wait_s:g} s and still running"
                        raise TuningError(f"{self.name}: {job} {reason}; {remedy}")
                    time.sleep(poll_s)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{job} is still running; {remedy}, or cancel it") from None

    def look(self, job: str, bar: tqdm):
        """Show new events and return the job's state, None if the endpoint cannot be reached."""
        import openai

        try:
            state = self.client.fine_tuning.jobs.retrieve(job)
            for event in reversed(list(self.events(job))):
                self.show(event, bar)
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
            return None
        except self.wire.FAILURES as error:
            raise TuningError(f"{self.name}: {self.wire.explain(error)}") from error
        return state

    def events(self, job: str) -> Iterator:
        """Yield the new events, the newest first."""
        for event in self.client.fine_tuning.jobs.list_events(job, limit=100):
            if event.id in self.seen:
                return
            yield event

    def show(self, event, bar: tqdm) -> None:
        """Show an event and note its loss."""
        self.seen.add(event.id)
        data = event.data if isinstance(event.data, dict) else {}
        if event.type == "metrics" and "step" in data:
            bar.total = data.get("total_steps", bar.total)
            bar.update(max(0, data["step"] - bar.n))
            if data.get("train_loss") is not None:
                self.losses[data["step"]] = float(data["train_loss"])
                bar.set_postfix(loss=f"{data['train_loss']:.3f}")
        elif self.progress:
            bar.write(event.message)

    def result(self, job) -> Tuned:
        """Return the model of a job that ended; raise with the reason if it has none."""
        if job.status == "cancelled":
            raise TuningError(  # how much of it is billed is not told
                f"{self.name}: {job.id} was cancelled; run again to start a new one"
            )
        if job.status == "failed":
            error = job.error
            stated = error and error.message
            reason = f"{error.code}: {error.message}" if stated else "no reason given"
            where = f" ({error.param})" if error and error.param else ""
            message = f"{self.name}: {job.id} failed: {reason}{where}"
            raise JobFailedError(message, job.trained_tokens or 0)
        if not job.fine_tuned_model:
            raise TuningError(f"{self.name}: {job.id} succeeded but names no model")
        losses = [self.losses[step] for step in sorted(self.losses)]
        return Tuned(job.id, job.fine_tuned_model, job.trained_tokens or 0, losses)
