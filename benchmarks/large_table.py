"""A table of a million rows and 30 columns: `mlops/1_data` and `mlops/2_build`, time and memory.

    python benchmarks/large_table.py [--rows 1000000] [--table FILE] [--keep FOLDER]

The rows are mixed as people's are: numbers, categories of 2 to 60 values, dates, booleans, an id,
gaps in most columns; the file is CSV. Both stages run as a user runs them, each in a workspace of
its own. CPU seconds and memory are those of all their processes, read five times a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import record

ROOT = Path(__file__).parents[1]
STAGES = ("mlops/1_data", "mlops/2_build")
LEVELS = {"channel": 2, "tier": 3, "contract": 4, "device": 5, "segment": 6, "region": 8,
          "product": 12, "agent": 20, "branch": 30, "town": 40, "make": 60}  # fmt: skip
NUMBERS = ("income", "age", "balance", "usage", "rate", "distance", "score", "weight")
COUNTS = ("calls", "visits", "children")
FLAGS = ("active", "insured", "paperless")


def generate(rows, seed=0):
    """Return the rows as they are written: numbers, categories, dates, booleans, gaps, a label."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([seed, 21])
    columns, score = {"customer_id": np.arange(rows) + 10_000_000}, np.full(rows, -0.4)
    for name, levels in LEVELS.items():
        shares = rng.dirichlet(np.full(levels, 2.0))
        codes = rng.choice(levels, rows, p=shares)
        columns[name] = pd.Series(np.array([f"{name} {i:02}" for i in range(levels)])[codes])
        score += rng.normal(0, 0.35, levels)[codes]
    for name in NUMBERS:
        values = rng.normal(0, 1, rows)
        columns[name] = pd.Series((values * 1_000 + 5_000).round(2))
        score += rng.normal(0, 0.4) * values + rng.normal(0, 0.3) * np.abs(values)
    for name in COUNTS:
        values = rng.poisson(2, rows)
        columns[name] = pd.Series(values)
        score += rng.normal(0, 0.2) * np.minimum(values, 4)
    for name in FLAGS:
        values = rng.random(rows) < 0.4
        columns[name] = pd.Series(np.where(values, "true", "false"))
        score += rng.normal(0, 0.5) * values
    for name, days in (("signup", 2_000), ("last_order", 500), ("birthday", 18_000)):
        age = rng.integers(0, days, rows)
        dates = pd.Timestamp("2025-01-01") - pd.to_timedelta(age, unit="D")
        columns[name] = pd.Series(dates.strftime("%Y-%m-%d"))
        score += rng.normal(0, 0.3) * age / days
    for name in list(columns)[1::2]:  # gaps, which mean a little themselves
        gaps = rng.random(rows) < 0.06
        columns[name] = columns[name].mask(gaps)
        score += rng.normal(0, 0.2) * gaps
    score += 0.8 * (columns["income"].fillna(0) > 5_500) * (columns["tier"] == "tier 01")
    columns["left"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    return pd.DataFrame(columns)


def stage(name, table, home, parameters=()):
    """Run one notebook; return wall and CPU seconds and the most memory in GB."""
    import psutil

    environ = os.environ | {"DIPTYCH_HOME": str(home)}
    environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT / "lib"), os.getenv("PYTHONPATH")])
    )
    options = [f"task={table}", "label_column=left", *parameters]
    command = [sys.executable, "-m", "diptych", "run", name]
    command += [part for option in options for part in ("-p", option)]
    start, cpu, most = time.perf_counter(), {}, 0
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None:
        memory = 0
        for other in psutil.process_iter():
            try:
                if other.environ().get("DIPTYCH_HOME") != str(home):
                    continue
                times = other.cpu_times()
                cpu[other.pid] = times.user + times.system
                # memory of its own: what a kernel shares with the process it was forked from
                # counts once, there
                memory += other.memory_info().rss - other.memory_info().shared
            except psutil.Error:
                continue
        most = max(most, memory)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.stdout.read())
    return {"wall": time.perf_counter() - start, "cpu": sum(cpu.values()), "gb": most / 1e9}


def main():
    """Read the arguments, run the stages, print and record the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--table", help="keep the table in this file and use it again")
    parser.add_argument("--keep", help="workspace to run in and to keep")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(options.table or Path(folder) / "table.csv").resolve()
        if not table.exists():
            generate(options.rows).to_csv(table, index=False)
        home = Path(options.keep or Path(folder) / "home").resolve()
        figures = {name: stage(name, table, home) for name in STAGES}
    lines = ["| stage | s | CPU s | GB |", "|---|---:|---:|---:|"]
    for name, x in figures.items():
        lines.append(f"| `{name}` | {x['wall']:.0f} | {x['cpu']:.0f} | {x['gb']:.1f} |")
    total = {key: sum(x[key] for x in figures.values()) for key in ("wall", "cpu")}
    most = max(x["gb"] for x in figures.values())
    lines.append(f"| together | {total['wall']:.0f} | {total['cpu']:.0f} | {most:.1f} |")
    record(f"A table of {options.rows:,} rows and 30 columns", lines)


if __name__ == "__main__":
    main()
