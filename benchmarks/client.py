"""The client's CPU per request: Diptych's `ask_many`, plain `AsyncOpenAI`, raw aiohttp.

    python benchmarks/client.py [--requests 2000] [--rounds 3] [--concurrency 64]

All send the same chats to the same loopback server, which answers after 50 ms. Each peer runs in a
process of its own; rounds are interleaved so that a busy machine slows all alike. Imports and the
first requests of a process are not counted. Diptych alone keeps a ledger: every call is a row on
the disk when it returns. The others retry (openai) or do nothing more (aiohttp).
"""

import argparse
import asyncio
import importlib.metadata
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import record

DELAY_S = 0.05
SYSTEM = "Classify the sentiment of the review. Answer with one word: positive or negative."
NAMES = {
    "aiohttp": "raw aiohttp, no retries",
    "diptych": "Diptych `ask_many`, with ledger",
    "openai_aiohttp": "`AsyncOpenAI` on aiohttp",
    "openai": "`AsyncOpenAI`",
}


def chats(n, round_=""):
    """Return n requests, no two alike."""
    texts = [f"This film was {'good' if i % 2 else 'bad'}, {round_} number {i}." for i in range(n)]
    return [
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}] for text in texts
    ]


def serve():
    """Answer every chat after the delay, and print the port."""
    from aiohttp import web

    usage = {"prompt_tokens": 60, "completion_tokens": 1, "total_tokens": 61}

    async def chat(request):
        bad = b"was bad" in await request.read()
        await asyncio.sleep(DELAY_S)
        message = {"role": "assistant", "content": "negative" if bad else "positive"}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "mock"}
        return web.json_response(whole | {"choices": [choice], "usage": usage})

    async def run():
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


async def bounded(call, requests, concurrency):
    limit = asyncio.Semaphore(concurrency)

    async def one(messages):
        async with limit:
            return await call(messages)

    return await asyncio.gather(*map(one, requests))


async def aiohttp(url, requests, concurrency, measure):
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(messages):
            body = {"model": "mock", "messages": messages, "temperature": 0}
            async with session.post(f"{url}/chat/completions", json=body) as answer:
                return (await answer.json())["choices"][0]["message"]["content"]

        await bounded(call, chats(concurrency, "warm"), concurrency)
        with measure:
            return await bounded(call, requests, concurrency)


async def openai(url, requests, concurrency, measure, http_client=None):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="x", base_url=url, http_client=http_client) as client:

        async def call(messages):
            completion = await client.chat.completions.create(
                model="mock", messages=messages, temperature=0
            )
            return completion.choices[0].message.content

        await bounded(call, chats(concurrency, "warm"), concurrency)
        with measure:
            return await bounded(call, requests, concurrency)


async def openai_aiohttp(url, requests, concurrency, measure):
    from openai import DefaultAioHttpClient

    return await openai(url, requests, concurrency, measure, DefaultAioHttpClient())


async def diptych(url, requests, concurrency, measure):
    from diptych.core.store.calls import Calls
    from diptych.llmops.client.ask import ask_many_async
    from diptych.llmops.client.call_options import CallOptions
    from diptych.llmops.client.target import Target

    target = Target(url, "mock", {"temperature": 0})
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "ledger.db") as calls:
        options = CallOptions(concurrency=concurrency, calls=calls)
        await ask_many_async(chats(concurrency, "warm"), target, options)
        with measure:
            answers = await ask_many_async(requests, target, options)
    return [answer.text for answer in answers]


class Measure:
    """CPU and wall seconds of a block."""

    def __enter__(self):
        self.cpu, self.wall = cpu(), time.perf_counter()

    def __exit__(self, *_):
        self.cpu, self.wall = cpu() - self.cpu, time.perf_counter() - self.wall


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def worker(peer, url, requests, concurrency):
    """Run one peer once in this process and print its figures as JSON."""
    measure, sent = Measure(), chats(requests)
    got = asyncio.run(globals()[peer](url, sent, concurrency, measure))
    right = sum(a == ("positive" if i % 2 else "negative") for i, a in enumerate(got))
    if right != requests:
        raise SystemExit(f"{peer}: {requests - right} of {requests} answers are wrong or missing")
    print(json.dumps({"cpu_ms": measure.cpu * 1000 / requests, "wall_s": measure.wall}))


def run(peer, url, options):
    command = [sys.executable, __file__, "--worker", peer, "--url", url]
    command += ["--requests", str(options.requests), "--concurrency", str(options.concurrency)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(results, options):
    base = statistics.median(x["cpu_ms"] for x in results["aiohttp"])
    base_wall = statistics.median(x["wall_s"] for x in results["aiohttp"])
    yield f"{options.requests:,} chats, {options.concurrency} at once, answered after 50 ms;"
    yield "median of rounds (lowest to highest CPU)"
    yield ""
    yield "| | CPU ms a request | | ratio | requests/s | wall, ratio |"
    yield "|---|---:|---|---:|---:|---:|"
    for peer, runs in results.items():
        used = [x["cpu_ms"] for x in runs]
        wall = statistics.median(x["wall_s"] for x in runs)
        middle = statistics.median(used)
        yield (
            f"| {NAMES[peer]} | {middle:.2f} | {min(used):.2f} to {max(used):.2f} "
            f"| {middle / base:.1f} | {options.requests / wall:,.0f} | {wall / base_wall:.2f} |"
        )
    yield ""
    names = ("openai", "httpx2", "aiohttp")
    yield "- " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def main():
    """Read the arguments, run the rounds, record the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.worker:
        return worker(options.worker, options.url, options.requests, options.concurrency)
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            results = {peer: [] for peer in NAMES}
            for _ in range(options.rounds):
                for peer in NAMES:
                    results[peer].append(run(peer, url, options))
        finally:
            server.terminate()
    return record("Client", table(results, options))


if __name__ == "__main__":
    main()
