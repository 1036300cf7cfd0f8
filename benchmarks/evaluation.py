"""A whole evaluation, rows in and grades out: Diptych, raw aiohttp, promptfoo, Inspect, DeepEval.

    python benchmarks/evaluation.py [--rows 2000] [--peer-rows 400] [--rounds 3]
                                    [--install-peers] [--memory-rows 100000]

All ask the same loopback server, which answers after 50 ms, with 64 calls under way, and grade
each answer by its label. Each runs in a process of its own; rounds are interleaved so that a busy
machine slows all alike, and imports and the first calls are not counted. Diptych is
`evaluate.evaluate` as the notebooks use it: retries, a ledger in which every call is on the disk,
grades. Raw aiohttp only sends and compares. Inspect and promptfoo write their logs; their caches
are off. DeepEval makes no calls of its own: there a metric asks and grades. The peers live in
environments of their own, which `--install-peers` makes (promptfoo needs npm); they get fewer rows,
and rows a second are compared. At last Diptych evaluates many rows, and the memory of the process
at its peak is reported.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from client import SYSTEM, Measure, aiohttp, chats, cpu

PEERS = Path(tempfile.gettempdir()) / "diptych-peers"
NAMES = {
    "raw": "raw aiohttp, answers compared",
    "diptych": "Diptych `evaluate.evaluate`",
    "promptfoo": "promptfoo",
    "inspect": "Inspect",
    "deepeval": "DeepEval",
}
PACKAGES = {"inspect": "inspect-ai", "deepeval": "deepeval"}
PROMPTFOO = "promptfoo@^0.121"  # later ones need a newer Node
WARM = 64  # rows asked before the clock starts


def label(i):
    """Return what the server says of row i of `client.chats`."""
    return "positive" if i % 2 else "negative"


def raw(url, rows, concurrency):
    measure = Measure()
    answers = asyncio.run(aiohttp(url, chats(rows), concurrency, measure))
    right = sum(text == label(i) for i, text in enumerate(answers))
    return right, measure, {"aiohttp": importlib.metadata.version("aiohttp")}


def as_rows(rows, round_=""):
    """Return the rows as Diptych takes them, and the prompt that asks about them."""
    import pandas as pd

    from diptych.llmops.prompts.prompt import Prompt

    schema = {"type": "string", "enum": ["negative", "positive"]}
    prompt = Prompt("bench", "films", ("text",), SYSTEM, "{text}", output=schema)
    texts = [messages[-1]["content"] for messages in chats(rows, round_)]
    frame = pd.DataFrame({"id": range(rows), "text": texts})
    return prompt, frame.assign(label=[label(i) for i in range(rows)])


def diptych(url, rows, concurrency):
    from diptych.core.store.calls import Calls
    from diptych.llmops.client.call_options import CallOptions
    from diptych.llmops.client.target import Target
    from diptych.llmops.evaluation import evaluate
    from diptych.llmops.prompts.variant import Variant

    measure = Measure()
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "ledger.db") as calls:
        options = CallOptions(calls=calls, concurrency=concurrency)
        prompt, first = as_rows(WARM, "warm")
        variants = [Variant(prompt, Target(url, "mock"))]
        evaluate.evaluate(variants, first, "label", options)
        _, frame = as_rows(rows)
        with measure:
            graded = evaluate.evaluate(variants, frame, "label", options)
        recorded = calls.spent()["calls"]
    if recorded != rows + WARM:
        raise SystemExit(f"diptych: {recorded} calls are on record, and {rows + WARM} were made")
    return int(graded["correct"].sum()), measure, {}


def inspect(url, rows, concurrency):
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    os.environ |= {"BENCH_API_KEY": "x", "BENCH_BASE_URL": url}

    def run(n, round_=""):
        samples = [
            Sample(input=[ChatMessageSystem(content=a["content"]),
                          ChatMessageUser(content=b["content"])], target=label(i))
            for i, (a, b) in enumerate(chats(n, round_))
        ]  # fmt: skip
        (log,) = eval(
            Task(dataset=samples, solver=generate(), scorer=match()),
            model="openai-api/bench/mock", max_connections=concurrency, max_samples=concurrency,
            display="none", log_dir="logs", temperature=0,
        )  # fmt: skip
        return log

    run(WARM, "warm")
    measure = Measure()
    with measure:
        log = run(rows)
    right = sum(next(iter(x.scores.values())).value == "C" for x in log.samples)
    return right, measure, {"inspect-ai": importlib.metadata.version("inspect-ai")}


def deepeval(url, rows, concurrency):
    from deepeval import evaluate
    from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig
    from deepeval.metrics import BaseMetric
    from deepeval.test_case import LLMTestCase
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="x", base_url=url)

    class Asked(BaseMetric):
        """Ask the model about the input and compare."""

        async_mode, threshold, include_reason = True, 0.5, False

        async def a_measure(self, case, *_, **__):
            messages = [{"role": "system", "content": SYSTEM},
                        {"role": "user", "content": case.input}]  # fmt: skip
            completion = await client.chat.completions.create(
                model="mock", messages=messages, temperature=0
            )
            self.score = float(completion.choices[0].message.content == case.expected_output)
            self.success = self.score >= self.threshold
            return self.score

        def measure(self, case, *_, **__):
            raise NotImplementedError

        def is_successful(self):
            return self.success

        @property
        def __name__(self):
            return "Asked"

    def run(n, round_=""):
        cases = [
            LLMTestCase(input=x[-1]["content"], actual_output="", expected_output=label(i))
            for i, x in enumerate(chats(n, round_))
        ]
        return evaluate(
            cases, [Asked()],
            async_config=AsyncConfig(max_concurrent=concurrency, throttle_value=0),
            display_config=DisplayConfig(show_indicator=False, print_results=False),
            cache_config=CacheConfig(write_cache=False, use_cache=False),
        )  # fmt: skip

    run(WARM, "warm")
    measure = Measure()
    with measure:
        results = run(rows)
    right = sum(bool(result.success) for result in results.test_results)
    return right, measure, {"deepeval": importlib.metadata.version("deepeval")}


SCRIPT = """
import {{ readFileSync }} from "node:fs";
import promptfoo from "{place}/node_modules/promptfoo/dist/src/index.js";
const {{ warm, suite, options, version }} = JSON.parse(readFileSync("{suite}"));
await promptfoo.evaluate(warm, options);
const cpu = process.cpuUsage(), began = performance.now();
const found = await promptfoo.evaluate(suite, options);
const wall = (performance.now() - began) / 1000, used = process.cpuUsage(cpu);
const summary = await (found.toEvaluateSummary ? found.toEvaluateSummary() : found);
const right = summary.stats.successes;
console.log("\\n" + JSON.stringify({{ right, wall, cpu: (used.user + used.system) / 1e6 }}));
process.exit(0);
"""


def promptfoo(url, rows, concurrency):
    """Run it in Node; its figures are of the evaluation alone, as the others'."""
    place = PEERS / "promptfoo"
    version = json.loads((place / "node_modules/promptfoo/package.json").read_text())["version"]

    def suite(n, round_=""):
        tests = [
            {"vars": {"text": x[-1]["content"]}, "assert": [{"type": "equals", "value": label(i)}]}
            for i, x in enumerate(chats(n, round_))
        ]
        chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "{{text}}"}]
        config = {"apiBaseUrl": url, "apiKey": "x", "temperature": 0}
        return {
            "prompts": [json.dumps(chat)], "tests": tests, "writeLatestResults": False,
            "providers": [{"id": "openai:chat:mock", "config": config}],
        }  # fmt: skip

    options = {"maxConcurrency": concurrency, "cache": False, "showProgressBar": False}
    whole = {"warm": suite(WARM, "warm"), "suite": suite(rows), "options": options}
    Path("suite.json").write_text(json.dumps(whole))
    Path("run.mjs").write_text(SCRIPT.format(place=place, suite=Path("suite.json").absolute()))
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1",
             "PROMPTFOO_CONFIG_DIR": str(Path().absolute())}  # fmt: skip
    done = subprocess.run(
        ["node", "run.mjs"], capture_output=True, text=True, check=False, env=os.environ | quiet
    )
    if done.returncode:
        raise SystemExit(f"promptfoo: {(done.stderr or done.stdout).strip()[-300:]}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    measure = Measure()
    measure.cpu, measure.wall = figures["cpu"], figures["wall"]
    return figures["right"], measure, {"promptfoo": version}


def worker(peer, url, rows, concurrency):
    """Run one peer once in this process and print its figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        right, measure, versions = globals()[peer](url, rows, concurrency)
        os.chdir("/")
    if right != rows:
        raise SystemExit(f"{peer}: {rows - right} of {rows} answers are wrong or missing")
    figures = {"rows": rows, "cpu_ms": measure.cpu * 1000 / rows, "wall_s": measure.wall}
    print("\n" + json.dumps(figures | {"versions": versions}))


def many(url, rows, concurrency):
    """Evaluate many rows with Diptych and print the memory of this process as JSON."""
    before = cpu()
    right, measure, _ = diptych(url, rows, concurrency)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"rows": rows, "right": right, "peak_mb": peak, "wall_s": measure.wall}
    print("\n" + json.dumps(figures | {"cpu_s": cpu() - before}))


def run(python, job, peer, url, rows, concurrency):
    """Start a process and read what it prints last; a peer that fails is reported, not hidden."""
    command = [python, "-W", "ignore", __file__, job, peer, "--url", url, "--rows", str(rows)]
    quiet = {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--concurrency", str(concurrency)],
        capture_output=True, text=True, check=False, env=os.environ | quiet,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SystemExit(f"{peer} failed in {python}: {lines[-1] if lines else done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def pythons():
    """Return the Python of each that is there."""
    paths = {"raw": sys.executable, "diptych": sys.executable}
    if (PEERS / "promptfoo" / "node_modules" / "promptfoo").is_dir() and shutil.which("node"):
        paths["promptfoo"] = sys.executable
    for peer, package in PACKAGES.items():
        if (PEERS / package / "installed").exists():
            paths[peer] = str(PEERS / package / "bin" / "python")
    return paths


def install_peers():
    """Make the missing environments of the peers; report one that cannot be installed."""
    for peer, package in PACKAGES.items():
        place = PEERS / package
        if peer not in pythons():
            print(f"Installing {package} in {place} (a minute or two).", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q"]
            if subprocess.run([*pip, package, "openai", "aiohttp"], check=False).returncode == 0:
                (place / "installed").touch()
    if "promptfoo" not in pythons() and shutil.which("npm"):
        place = PEERS / "promptfoo"
        place.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", PROMPTFOO]
        subprocess.run(npm, cwd=place, check=False)


def table(results, options, memory):
    """Return the lines of the report."""

    def middle(peer, figure):
        return statistics.median(figure(x) for x in results[peer])

    def rate(x):
        return x["rows"] / x["wall_s"]

    ours, base = middle("diptych", rate), middle("raw", rate)
    yield f"{options.concurrency} at once, answered after 50 ms; median of rounds (lowest to"
    yield "highest CPU)"
    yield ""
    yield "| | rows | rows/s | Diptych is faster | wall, of raw aiohttp | CPU ms a row | |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for peer, runs in results.items():
        used, speed = [x["cpu_ms"] for x in runs], middle(peer, rate)
        yield (
            f"| {NAMES[peer]} | {runs[0]['rows']:,} | {speed:,.0f} | {ours / speed:.1f} x "
            f"| {base / speed:.2f} | {statistics.median(used):.2f} "
            f"| {min(used):.2f} to {max(used):.2f} |"
        )
    yield ""
    versions = {k: v for runs in results.values() for k, v in runs[0]["versions"].items()}
    yield "- " + ", ".join(f"{name} {version}" for name, version in versions.items())
    if memory:
        yield (
            f"- Diptych, {memory['rows']:,} rows: {memory['peak_mb']:,.0f} MB at the peak, "
            f"{memory['rows'] / memory['wall_s']:,.0f} rows/s, {memory['right']:,} right"
        )


def main():
    """Read the arguments, run the rounds, record the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--peer-rows", type=int, default=400, help="rows of the slow ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--memory-rows", type=int, default=100_000, help="0 leaves it out")
    parser.add_argument("--install-peers", action="store_true", help="make their environments")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--many", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.url, options.rows, options.concurrency)
    if options.many:
        return many(options.url, options.rows, options.concurrency)
    from results import record

    if options.install_peers:
        install_peers()
    there = pythons()
    if missing := [NAMES[peer] for peer in NAMES if peer not in there]:
        print(f"Left out: {', '.join(missing)}. --install-peers makes their environments.")
    results, memory = {peer: [] for peer in there}, None
    command = [sys.executable, str(Path(__file__).with_name("client.py")), "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            for _ in range(options.rounds):
                for peer, python in there.items():
                    rows = options.rows if peer in ("raw", "diptych") else options.peer_rows
                    got = run(python, "--worker", peer, url, rows, options.concurrency)
                    results[peer].append(got)
            if options.memory_rows:
                rows = options.memory_rows
                memory = run(sys.executable, "--many", "diptych", url, rows, options.concurrency)
        finally:
            server.terminate()
    return record("Evaluation", table(results, options, memory))


if __name__ == "__main__":
    main()
