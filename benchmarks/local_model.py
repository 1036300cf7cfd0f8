"""Speed of a local model: llama.cpp by itself (the wheel's code, a native build's) and as served.

    python benchmarks/local_model.py MODEL [--threads 2] [--bench PATH_OF_LLAMA_BENCH]

MODEL is a name of `diptych model list` or a GGUF file. Tokens a second of reading 256 tokens and of
decoding 64, best of `--repeats`, as llama.cpp reports them, and tokens a CPU second, which other
work on the machine disturbs less. "served" is the server that `diptych` starts, with its own
choice of threads. `make local-native` makes the native build.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

READ, DECODED = 256, 64


def bare(model: str, threads: int) -> tuple[str, Callable[[dict], dict], int]:
    """Start llama.cpp's server in this process; return its name, how it is asked, and its pid."""
    from diptych.llmops.server import native, sizing

    built = native.activate()
    os.environ.update(sizing.fit(Path(model)).environment())
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_parallel, parameters.n_ctx = model, 1, 1024
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.hostnames, parameters.port, parameters.verbosity = ["127.0.0.1"], 0, 0
    server = xllamacpp.Server(parameters)

    def ask(body: dict) -> dict:
        request = urllib.request.Request(
            f"{server.listening_address}/completion", json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        return json.load(urllib.request.urlopen(request))["timings"]

    return "native" if built else "wheel", ask, os.getpid()


def served(model: str) -> tuple[str, Callable[[dict], dict], int]:
    """Start the server as `diptych` does."""
    from diptych.llmops.server import process

    process.stop(model, slots=1)  # it may be one of the other code
    server = process.start(model, slots=1)

    def ask(body: dict) -> dict:
        _, answer = process.request(server, "POST", "/completion", json.dumps(body).encode(), 900.0)
        return json.loads(answer)["timings"]

    return "served", ask, server.pid


def measure(code: str, ask: Callable[[dict], dict], pid: int, repeats: int) -> dict:
    """Return the speeds of a server."""
    import psutil

    process, best = psutil.Process(pid), {}
    for i in range(repeats):
        for kind, read, decoded in (("read", READ, 1), ("decoded", 2, DECODED)):
            body = {"prompt": [1000 + 7 * j + i for j in range(read)], "n_predict": decoded,
                    "temperature": 0, "ignore_eos": True, "cache_prompt": False}  # fmt: skip
            before = process.cpu_times().user
            timings = ask(body)
            used = process.cpu_times().user - before
            name = "prompt" if kind == "read" else "predicted"
            speeds = {f"{kind} a second": timings[f"{name}_per_second"],
                      f"{kind} a CPU second": max(read, decoded) / used}  # fmt: skip
            best |= {key: round(max(value, best.get(key, 0)), 1) for key, value in speeds.items()}
    return {"code": code, **best}


def run(model: str, threads: int, repeats: int, mark: str, **environment: str) -> None:
    command = [sys.executable, __file__, model, "--threads", str(threads), "--repeats",
               str(repeats), mark]  # fmt: skip
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, check=True)  # fmt: skip
    print(done.stdout.strip().splitlines()[-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bench", help="llama-bench, to compare with")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--served", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    from diptych.llmops.server import native, process

    model = str(process.model_file(options.model))
    if options.here or options.served:
        server = served(model) if options.served else bare(model, options.threads)
        sys.stdout.write(f"{json.dumps(measure(*server, options.repeats))}\n")
        sys.stdout.flush()
        os._exit(0)  # llama.cpp's threads need not end in order
    for mark in ("--here", "--served"):
        run(model, options.threads, options.repeats, mark, DIPTYCH_NATIVE="0")
        if native.folder().is_dir():
            run(model, options.threads, options.repeats, mark)
    if options.bench:
        command = [options.bench, "-m", model, "-t", str(options.threads), "-p", str(READ), "-n",
                   str(DECODED), "-r", str(options.repeats), "-o", "md"]  # fmt: skip
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
