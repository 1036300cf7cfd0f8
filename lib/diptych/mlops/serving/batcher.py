"""Predict requests that arrive together in one call, and record them in one transaction.

A record is on the disk before its answer is handed out.
"""

import asyncio
import json
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException

from diptych.core.store.predictions import LedgerError, Predictions
from diptych.mlops.models.model import Model


@dataclass(slots=True)
class PendingRequest:
    """One request's rows, and where its answer goes."""

    rows: list
    ids: list
    began: float
    ignored: list[str]
    answer: asyncio.Future = field(repr=False)


class Batcher:
    """Predicts and records requests in batches, in one worker thread.

    While a batch is under way the next one gathers, so batches grow with the load and a lone
    request never waits.

    Parameters
    ----------
    model : Model
    ledger : Predictions
    endpoint, name : str
        Of the serving run and of the model, in records and answers.
    most : int
        Rows in a batch; a single request may have more.
    """

    def __init__(self, model: Model, ledger: Predictions, endpoint: str, name: str, most: int):
        self.model, self.ledger, self.endpoint, self.name = model, ledger, endpoint, name
        self.most = most
        self.waiting: list[PendingRequest] = []
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self.task: asyncio.Task | None = None

    def close(self) -> None:
        """End the worker thread."""
        self.worker.shutdown()

    async def submit(
        self, rows: list, ids: list, began: float, ignored: Sequence[str] = ()
    ) -> bytes:
        """Return the answer as JSON, once it is recorded; it names the columns ignored."""
        loop = asyncio.get_running_loop()
        request = PendingRequest(rows, ids, began, list(ignored), loop.create_future())
        self.waiting.append(request)
        if self.task is None:
            self.task = loop.create_task(self._drain())
        return await request.answer

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            try:
                answers = await loop.run_in_executor(self.worker, self._work, batch)
            except Exception as error:
                answers = [error] * len(batch)
            for request, answer in zip(batch, answers, strict=True):
                if request.answer.done():  # its request was cut off meanwhile
                    continue
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)
        self.task = None

    def _next(self) -> list[PendingRequest]:
        rows = count = 0
        for request in self.waiting:
            rows += len(request.rows)
            if count and rows > self.most:
                break
            count += 1
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        return batch

    def _work(self, batch: list[PendingRequest]) -> list[bytes | Exception]:
        """Return each request's answer, or why there is none."""
        try:
            predictions = self._predict([row for request in batch for row in request.rows])
        except Exception:
            if len(batch) > 1:  # one request must not fail the others
                return [answer for request in batch for answer in self._work([request])]
            traceback.print_exc()
            return [HTTPException(500, "the model failed on these rows; see the server's log")]
        try:
            self._record(batch, predictions)
        except LedgerError:
            traceback.print_exc()
            message = "not answered, because it cannot be recorded; see the server's log"
            return [HTTPException(503, message, {"Retry-After": "5"}) for _ in batch]
        answers, start = [], 0
        for request in batch:
            end = start + len(request.rows)
            answers.append(self._answer(request, predictions[start:end]))
            start = end
        return answers

    def _predict(self, rows: list) -> list[tuple[str | float, list[float], bool]]:
        """Return each row's class, its probabilities, and whether they rest on what it holds.

        Of a regression the class is the number.
        """
        probabilities, has_basis = self.model.predict_with_basis(self.model.inputs(rows))
        names = self.model.labels_of(probabilities).tolist()
        return list(zip(names, probabilities.tolist(), has_basis.tolist(), strict=True))

    def _record(self, batch: list[PendingRequest], predictions: list[tuple]) -> None:
        now, remaining, records = time.perf_counter(), iter(predictions), []
        for request in batch:
            latency = (now - request.began) * 1000
            for row, row_id in zip(request.rows, request.ids, strict=True):
                prediction, probabilities, _ = next(remaining)
                sure = None
                if self.model.regression:
                    prediction, probabilities = repr(prediction), None
                else:
                    sure = probabilities[self.model.classes.index(prediction)]
                records.append(
                    {
                        "endpoint": self.endpoint,
                        "model": self.name,
                        "row_id": row_id,
                        "input": row,
                        "prediction": prediction,
                        "probability": sure,
                        "probabilities": probabilities,
                        "latency_ms": latency,
                    }
                )
        self.ledger.log(records)

    def _answer(self, request: PendingRequest, predictions: list[tuple]) -> bytes:
        labels = [label for label, _, _ in predictions]
        content = {"predictions": labels}
        if self.model.regression:
            content |= self._intervals(labels)
        else:
            content["probabilities"] = [probabilities for _, probabilities, _ in predictions]
            content["classes"] = self.model.classes
        content["model"] = self.name
        if self.model.threshold is not None:
            content |= self.model.decided([probabilities for _, probabilities, _ in predictions])
        if self.model.speaks:
            content["answers"] = self.model.answers(request.rows, labels)
        unknown = [at for at, (_, _, has_basis) in enumerate(predictions) if not has_basis]
        if unknown:  # their probabilities are the classes' shares in training
            content["no_basis"] = unknown
        if request.ignored:
            content["ignored_columns"] = request.ignored
        return json.dumps(content).encode()

    def _intervals(self, numbers: list[float]) -> dict:
        """Return where the true numbers lie with the probability ``level``, if that is known."""
        if (known := self.model.interval) is None:
            return {}
        half = known["half"]
        return {"intervals": [[x - half, x + half] for x in numbers], "level": known["level"]}
