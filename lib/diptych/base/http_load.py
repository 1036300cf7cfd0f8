"""Send requests with bounded concurrency and measure each one."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars


@dataclass(frozen=True)
class Load:
    """What happened to each request, in the order sent.

    Attributes
    ----------
    start, latency_ms : ndarray of float, shape (n,)
        Seconds since the first request; milliseconds from when a worker took the request up.
    status : ndarray of int, shape (n,)
        HTTP status; 0 where there was none.
    error : list of str
        Why there is no answer to read; empty where there is one.
    answers : list
        Decoded JSON, or None.
    """

    start: np.ndarray
    latency_ms: np.ndarray
    status: np.ndarray
    error: list[str]
    answers: list
    wall_s: float

    def summary(self) -> dict[str, float]:
        """Return counts, percentiles in milliseconds and requests per second."""
        fine = [not error for error in self.error]
        good = self.latency_ms[(self.status == 200) & fine]
        p50, p95, p99 = np.percentile(good, [50, 95, 99]) if len(good) else [np.nan] * 3
        return {
            "n": len(self.status),
            "ok": len(good),
            "failed": len(self.status) - len(good),
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "requests_per_s": len(good) / self.wall_s,
            "wall_s": self.wall_s,
        }

    def table(self) -> pd.DataFrame:
        """Return the summary as rows of ``measured`` and ``value``."""
        return pd.DataFrame(self.summary().items(), columns=["measured", "value"])


def drive(
    url: str,
    bodies: Sequence[Mapping],
    *,
    concurrency: int = 16,
    timeout_s: float = 10.0,
    progress: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Post `bodies` in order, at most `concurrency` at once; nothing is retried.

    Works inside a running event loop too (as in Jupyter): it has a thread and a loop of its own.

    Raises
    ------
    ValueError
        If there is nothing to send, or the concurrency is below 1.
    """
    if not bodies or concurrency < 1:
        raise ValueError(f"bodies, concurrency: {len(bodies)} and {concurrency}; both at least 1")
    result: list = []
    todo = list(range(len(bodies)))[::-1]

    def work() -> None:
        try:
            run = _drive(url, bodies, todo, concurrency, timeout_s, progress, headers)
            result.append(asyncio.run(run))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        todo.clear()  # those under way finish, no other begins
        raise
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


async def _drive(url, bodies, todo, concurrency, timeout_s, progress, headers) -> Load:
    import aiohttp

    n = len(bodies)
    start, latency, status = np.zeros(n), np.zeros(n), np.zeros(n, dtype=int)
    errors, answers = [""] * n, [None] * n
    began = time.perf_counter()

    async def work(session, bar) -> None:
        while todo:
            i = todo.pop()
            taken = time.perf_counter()
            start[i] = taken - began
            try:
                async with session.post(url, json=bodies[i]) as response:
                    status[i] = response.status
                    answers[i] = json.loads(await response.read())
            except TimeoutError:
                errors[i] = f"no answer within {timeout_s:g} s"
            except ValueError:
                errors[i] = "the answer is not JSON"
            except aiohttp.ClientError as error:
                errors[i] = f"{type(error).__name__}: {error}"
            latency[i] = (time.perf_counter() - taken) * 1000
            bar.update()

    timeout = aiohttp.ClientTimeout(total=timeout_s)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, headers=headers
    ) as session:
        with bars.bar(n, "request", progress) as bar:
            await asyncio.gather(*(work(session, bar) for _ in range(concurrency)))
    return Load(start, latency, status, errors, answers, time.perf_counter() - began)


def usage(pid: int) -> dict[str, float]:
    """Return the CPU seconds a process and its children have used, and the memory they hold.

    Returns
    -------
    dict
        ``cpu_s`` (user and system) and ``memory_mb`` (resident).
    """
    import psutil

    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    times = [member.cpu_times() for member in family]
    return {
        "cpu_s": sum(spent.user + spent.system for spent in times),
        "memory_mb": sum(member.memory_info().rss for member in family) / 1e6,
    }
