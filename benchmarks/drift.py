"""Drift of one window against a reference: Diptych, scipy column by column, Evidently.

    python benchmarks/drift.py [--rows 100000] [--repeats 3]
                               [--evidently-python PATH | --install-peers]

All measure the same rows: 30 numeric and 5 categorical columns, a third of them shifted. Rounds
are interleaved so that a busy machine slows all alike; the table gives the median CPU time of
each, its ratio to Diptych's, and the memory it added at its peak. Diptych reads a profile fitted
before, as in use; the time of fitting is in the last column. Evidently needs pandas 2, so it runs
in an environment of its own: name its Python, or let `--install-peers` make one. It makes the
tables of a whole report, more than the distances that the other two compute.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import record

PEERS = Path(tempfile.gettempdir()) / "diptych-peers" / "evidently"


def make(rows, seed, shifted=False):
    """Return a frame of 30 numeric columns of three shapes and 5 of names."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    shapes = [rng.standard_normal, rng.standard_exponential, lambda n: rng.lognormal(size=n)]
    columns = {f"n{i}": shapes[i % 3](rows) for i in range(30)}
    for i in range(10 if shifted else 0):
        columns[f"n{i}"] = columns[f"n{i}"] * 1.05 + 0.1
    for j in range(5):
        weights = np.ones(5 * (j + 1))
        weights[0] = 1.5 if shifted and j < 2 else 1
        names = np.array([f"v{k}" for k in range(len(weights))], dtype=object)
        columns[f"c{j}"] = names[rng.choice(len(weights), rows, p=weights / weights.sum())]
    return pd.DataFrame(columns)


def diptych(reference, window):
    from diptych.core.monitoring.drift import Profile, compare_profiles

    profile = Profile.fit(reference)
    yield
    table = compare_profiles(profile, window)
    yield dict(zip(table["feature"], table["drifted"].tolist(), strict=True))


def scipy(reference, window):
    from scipy import stats

    yield
    drifted = {}
    for name in reference:
        a, b = reference[name], window[name]
        if name.startswith("n"):
            distance = stats.wasserstein_distance(a, b) / a.std()
            drifted[name] = distance > 0 and stats.ks_2samp(a, b, method="asymp").pvalue < 0.001
        else:
            table = [x.value_counts().sort_index().to_numpy() for x in (a, b)]
            drifted[name] = stats.chi2_contingency(table).pvalue < 0.001
    yield drifted


def evidently(reference, window):
    from evidently import Report
    from evidently.presets import DataDriftPreset

    yield
    result = Report([DataDriftPreset()]).run(window, reference).dict()
    yield {"metrics": len(result["metrics"])}


def worker(peer, rows):
    """Run one peer once in this process and print its figures as JSON."""
    reference, window = make(rows, 0), make(rows, 1, shifted=True)
    start = time.process_time()
    steps = globals()[peer](reference, window)
    next(steps)  # imports, and for Diptych the profile
    prepared, wall = time.process_time(), time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drifted = next(steps)
    names = ["numpy", "pandas", "scipy"] + ["evidently"] * (peer == "evidently")
    figures = {
        "prepare": prepared - start,
        "cpu": time.process_time() - prepared,
        "wall": time.perf_counter() - wall,
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "found": sum(map(bool, drifted.values())) if "metrics" not in drifted else None,
        "versions": {name: importlib.metadata.version(name) for name in names},
    }
    print(json.dumps(figures))


def run(python, peer, rows):
    """Start a peer in its own process; a peer that fails is reported, not hidden."""
    command = [python, "-W", "ignore", __file__, "--rows", str(rows), "--worker", peer]
    # one thread each: idle threads of a linear algebra library burn CPU that is not the peer's
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | threads
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SystemExit(f"{peer} failed in {python}: {lines[-1] if lines else done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def install_peers():
    """Make the environment of Evidently and return its Python."""
    python = str(PEERS / "bin" / "python")
    print(f"Installing evidently in {PEERS} (a minute or two at first).", file=sys.stderr)
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "evidently", "pandas<3"], check=True)
    return python


def report(results, rows):
    """Record the table."""
    base = statistics.median(x["cpu"] for x in results["diptych"])
    lines = [
        f"{rows:,} rows x (30 numeric + 5 categorical)",
        "",
        "| | CPU s | lowest to highest | ratio | wall s | memory MB | drifted | before (CPU s) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer, runs in results.items():
        cpu = [x["cpu"] for x in runs]
        middle = {k: statistics.median(x[k] for x in runs) for k in ("wall", "memory", "prepare")}
        count = "" if runs[0]["found"] is None else runs[0]["found"]
        lines.append(
            f"| {peer} | {statistics.median(cpu):.3f} | {min(cpu):.3f} to {max(cpu):.3f} "
            f"| {statistics.median(cpu) / base:.1f} | {middle['wall']:.3f} "
            f"| {middle['memory']:.0f} | {count} | {middle['prepare']:.2f} |"
        )
    lines.append("")
    for peer, runs in results.items():
        versions = ", ".join(f"{k} {v}" for k, v in runs[0]["versions"].items())
        lines.append(f"- {peer}: {versions}")
    record("Drift", lines)


def main():
    """Read the arguments, run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--evidently-python", help="Python of an environment with evidently")
    parser.add_argument("--install-peers", action="store_true", help="make that environment")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.rows)
    pythons = {"diptych": sys.executable, "scipy": sys.executable}
    if options.evidently_python or options.install_peers:
        pythons["evidently"] = options.evidently_python or install_peers()
    else:
        print("Evidently is left out: give --evidently-python PATH or --install-peers.")
    results = {peer: [] for peer in pythons}
    for _ in range(options.repeats):
        for peer, python in pythons.items():
            results[peer].append(run(python, peer, options.rows))
    return report(results, options.rows)


if __name__ == "__main__":
    main()
