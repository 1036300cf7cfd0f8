"""Notebooks one after another: Diptych, papermill, ploomber-engine, nbconvert, nbmake, nbval.

    python benchmarks/kernels.py [--sets 20] [--only 'NAME;NAME'] [--soak 1000]
                                 [--peers-python PATH | --install-peers]

All run the same notebook (it trains XGBoost, and draws) with the same sets of parameters. Rounds
are interleaved, one set a round, so that a busy machine slows all alike; a round before the first
is not counted: it pays for imports, and Diptych's zygote, one of its own that knew nothing,
learns in it what the notebook imports. After many other notebooks it is larger, and forks slower.
The floor runs the cells in one process that has imported everything, with IPython's own display
and nothing else: no isolation, no notebook. ploomber-engine runs cells in its own process too.
It and nbmake live in an environment of their own: name its Python, or let `--install-peers` make
one. `--soak` adds that many runs and what they left: memory, files, processes.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from results import record

PEERS = Path(tempfile.gettempdir()) / "diptych-peers" / "kernels"
CELLS = (
    "depth = 3  # depth of a tree\nrounds = 50  # trees\nseed = 0",
    "import matplotlib.pyplot as plt\nimport pandas as pd\nimport xgboost as xgb\n"
    "from sklearn.datasets import load_breast_cancer\nfrom sklearn.metrics import roc_auc_score\n"
    "from sklearn.model_selection import train_test_split",
    "X, y = load_breast_cancer(return_X_y=True, as_frame=True)\n"
    "X_fit, X_test, y_fit, y_test = train_test_split(X, y, random_state=seed)\n"
    "X_fit.describe().T.head()",
    "model = xgb.XGBClassifier(max_depth=depth, n_estimators=rounds, n_jobs=1, random_state=seed)\n"
    "model.fit(X_fit, y_fit)\nscore = model.predict_proba(X_test)[:, 1]\n"
    "print(round(roc_auc_score(y_test, score), 4))",
    "fig, ax = plt.subplots(figsize=(5, 3))\nax.hist([score[y_test == 0], score[y_test == 1]])\n"
    "ax.set_xlabel('score')\nplt.show()",
    "pd.Series(model.feature_importances_, X.columns).nlargest(5)",
)
HELD = ("matplotlib", "papermill", "nbclient", "nbconvert", "nbval", "ipykernel", "xgboost-cpu")
PEER = ("ploomber-engine", "nbmake")


def write(path, depth):
    """Write the notebook, and beside it the same with its parameters filled in."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nb.cells[0].metadata.tags = ["parameters"]
    spec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nb.metadata = nbformat.from_dict({"kernelspec": spec})
    nbformat.write(nb, path)
    nb = load_notebook_node(str(path))
    filled = parameterize_notebook(nb, {"depth": depth}, kernel_name="python3", language="python")
    nbformat.write(filled, path.with_suffix(".filled.ipynb"))


def floor():
    """Return a function that runs the cells in this process."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            """Need no event loop."""

    shell = Shell.instance()
    shell.run_line_magic("matplotlib", "inline")
    first = set(shell.user_ns)

    def run(path, depth):
        # `shell.reset()` would collect garbage, which takes as long as the cells
        shell.user_ns["_oh"].clear()
        for name in set(shell.user_ns) - first:
            del shell.user_ns[name]
        for number, source in enumerate(CELLS):
            with capture_output():
                shell.run_cell(source).raise_error()
                if number == 0:
                    shell.run_cell(f"depth = {depth}").raise_error()

    return run


def diptych():
    """Return a function that runs the notebook in a warm kernel."""
    from diptych.execution.engine import WarmEngine

    def run(path, depth):
        WarmEngine().execute(
            path, path.with_suffix(".out.ipynb"), {"depth": depth}, environment={},
            cwd=path.parent, on_cell=lambda *_: None,
        )  # fmt: skip

    return run


def papermill():
    """Return a function that runs the notebook with papermill in this process."""
    from papermill import execute_notebook

    def run(path, depth):
        out = str(path.with_suffix(".out.ipynb"))
        execute_notebook(str(path), out, {"depth": depth}, progress_bar=False, cwd=path.parent)

    return run


def ploomber():
    """Return a function that runs the notebook with ploomber-engine in this process."""
    from ploomber_engine import execute_notebook

    def run(path, depth):
        out = str(path.with_suffix(".out.ipynb"))
        execute_notebook(str(path), out, parameters={"depth": depth}, progress_bar=False)

    return run


class Worker:
    """A peer in a process of its own that runs set after set."""

    def __init__(self, python, name):
        command = [python, "-W", "ignore", __file__, "--worker", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = name

    def __call__(self, path, depth):
        self.process.stdin.write(json.dumps([str(path), depth]) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise SystemExit(f"{self.name} failed in {self.process.args[0]}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def work(name):
    """Be a worker: run what comes in, and say when it is done."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = globals()[name]()
    for line in sys.stdin:
        path, depth = json.loads(line)
        run(Path(path), depth)
        print("done", file=answers, flush=True)


def command(*arguments, filled=True):
    """Return a function that runs a command on the notebook, ``{}`` and ``{depth}`` filled in."""

    def run(path, depth):
        notebook = path.with_suffix(".filled.ipynb") if filled else path
        out = path.with_suffix(".out.ipynb")
        parts = [a.format(notebook, out=out, folder=out.parent, depth=depth) for a in arguments]
        done = subprocess.run(parts, capture_output=True, text=True, check=False, cwd=path.parent)
        if done.returncode:
            raise SystemExit(f"{' '.join(parts)} failed:\n{done.stdout}{done.stderr}")

    return run


def entrants(peers_python):
    """Return who takes part: name and what runs one set."""
    me = sys.executable
    mill = (me, "-m", "papermill", "--no-progress-bar", "{}", "{out}", "-p", "depth", "{depth}")
    test = ("-m", "pytest", "-q", "-c", os.devnull, "--rootdir", "{folder}", "{}")
    runners = {
        "the floor": Worker(me, "floor"),
        "Diptych": Worker(me, "diptych"),
        "papermill --engine diptych": command(*mill, "--engine", "diptych", filled=False),
        "papermill, command": command(*mill, filled=False),
        "papermill, in one process": Worker(me, "papermill"),
        "nbconvert --execute": command(
            me, "-m", "nbconvert", "--execute", "--to", "notebook", "--output", "{out}", "{}"
        ),
        "nbval": command(me, *test, "--nbval-lax", "--nbval-current-env"),
        "nbval, kernel diptych": command(me, *test, "--nbval-lax", "--nbval-kernel-name=diptych"),
    }
    if peers_python:
        runners["nbmake"] = command(peers_python, *test, "--nbmake")
        runners["ploomber-engine"] = Worker(peers_python, "ploomber")
    return runners


def install_peers():
    """Make an environment for the peers on top of this one and return its Python."""
    python = str(PEERS / "bin" / "python")
    print(f"Installing {' and '.join(PEER)} in {PEERS}.", file=sys.stderr)
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    libraries = next(PEERS.glob("lib/python*/site-packages"))
    (libraries / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
    return python


def ready(name, times=5):
    """Return the seconds until a kernel, started as JupyterLab does, is ready."""
    from jupyter_client.manager import KernelManager

    times_taken = []
    for _ in range(times):
        start = time.perf_counter()
        manager = KernelManager(kernel_name=name)
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        times_taken.append(time.perf_counter() - start)
        client.stop_channels()
        manager.shutdown_kernel()
    return statistics.median(times_taken)


def soak(runs, folder):
    """Run a short notebook many times and yield lines on what it left."""
    import nbformat
    import psutil

    from diptych.execution.engine import WarmEngine

    path = folder / "short.ipynb"
    source = "import os, numpy; print(os.getppid())"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nb.metadata = nbformat.from_dict({"kernelspec": {"name": "python3", "display_name": ""}})
    nbformat.write(nb, path)
    out, me = path.with_suffix(".out.ipynb"), psutil.Process()
    yield "| runs | caller MB | caller's files | zygote MB | zygote's files | kernels, preforked |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for number in range(1, runs + 1):
        WarmEngine().execute(path, out, {}, environment={}, cwd=folder, on_cell=lambda *_: None)
        if number in (10, runs // 2, runs):
            pid = nbformat.read(out, as_version=4).cells[0].outputs[0].text
            zygote = psutil.Process(int(pid))
            left = sum(p.status() != psutil.STATUS_ZOMBIE for p in zygote.children())
            sizes = [f"{p.memory_info().rss / 2**20:.0f} | {p.num_fds()}" for p in (me, zygote)]
            yield f"| {number:,} | {' | '.join(sizes)} | {left} |"


def workers(folder, rounds=3):
    """Return the median seconds of `diptych sweep` over 40 points with one and two workers."""
    path = folder / "swept.ipynb"
    write(path, 3)
    command = (sys.executable, "-m", "diptych", "sweep", path, "--grid", "depth=2..6",
               "--grid", "seed=0..7", "--workers")  # fmt: skip
    taken = {1: [], 2: []}
    for number in range(rounds):
        for count in taken:
            environment = os.environ | {"DIPTYCH_HOME": str(folder / f"home-{number}-{count}")}
            start = time.perf_counter()
            subprocess.run([*command, str(count)], check=True, env=environment, capture_output=True)
            taken[count].append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken.values()]


def measure(runs, folder, sets):
    """Run all sets with each entrant, in turn, and return the seconds of each run."""
    taken = {name: [] for name in runs}
    order = list(runs)
    for number in range(-1, sets):
        for name in order:
            path = folder / f"{list(runs).index(name)}" / "notebook.ipynb"
            path.parent.mkdir(exist_ok=True)
            depth = 2 + max(number, 0) % 5
            write(path, depth)
            start = time.perf_counter()
            runs[name](path, depth)
            if number >= 0:
                taken[name].append(time.perf_counter() - start)
        order = order[1:] + order[:1]
        print(f"round {number + 1} of {sets}", file=sys.stderr)
    return taken


@contextlib.contextmanager
def own_zygotes():
    """End the zygotes in the folder that was made for them, and remove it."""
    from diptych.execution.kernels import client

    try:
        yield
    finally:
        client.stop()
        shutil.rmtree(os.environ["DIPTYCH_KERNELS"], ignore_errors=True)


def report(taken, sets, extra, peers_python):
    """Record the table."""
    middle = {name: statistics.median(times) for name, times in taken.items()}
    ours, least = middle.get("Diptych"), middle.get("the floor")
    lines = [
        f"{sets} sets of parameters, one after another; seconds a notebook",
        "",
        "| | median | lowest to highest | all sets | to Diptych | over the floor | to the floor |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, times in sorted(taken.items(), key=lambda item: middle[item[0]]):
        mean = middle[name]
        lines.append(
            f"| {name} | {mean:.3f} | {min(times):.3f} to {max(times):.3f} | {sum(times):.1f} "
            f"| {mean / ours:.1f} | {mean - least:.3f} | {mean / least:.1f} |"
        )
    versions = {name: importlib.metadata.version(name) for name in HELD}
    if peers_python:
        code = f"import importlib.metadata as m; print(*map(m.version, {PEER}))"
        done = subprocess.run([peers_python, "-c", code], check=True, capture_output=True)
        versions |= dict(zip(PEER, done.stdout.decode().split(), strict=True))
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    record("Kernels", [*lines, *extra, "", shown])


def main():
    """Read the arguments, run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--only", help="names of entrants, between semicolons; no table is stored")
    parser.add_argument("--soak", type=int, default=0, metavar="RUNS")
    parser.add_argument("--peers-python", help="Python of an environment with the peers")
    parser.add_argument("--install-peers", action="store_true", help="make that environment")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # one thread each: idle threads of a linear algebra library burn CPU that is not the peer's
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.environ["PLOOMBER_STATS_ENABLED"] = "false"  # no word to anyone of what is run here
    if options.worker:
        return work(options.worker)
    peers_python = install_peers() if options.install_peers else options.peers_python
    if not peers_python:
        print(f"Left out: {', '.join(PEER)}; give --peers-python PATH or --install-peers.")
    os.environ["DIPTYCH_KERNELS"] = tempfile.mkdtemp(prefix="diptych-")
    runs = entrants(peers_python)
    names = options.only.split(";") if options.only else list(runs)
    with tempfile.TemporaryDirectory(prefix="diptych-bench-") as folder, own_zygotes():
        chosen = {name: run for name, run in runs.items() if name in names}
        taken = measure(chosen, Path(folder), options.sets)
        for run in runs.values():
            if isinstance(run, Worker):
                run.close()
        if options.only:
            for name, times in taken.items():
                print(f"{name}: {statistics.median(times):.3f} s, lowest {min(times):.3f} s")
            return None
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "diptych", "--help"], check=True, capture_output=True)
        help_s = time.perf_counter() - start
        one, two = workers(Path(folder))
        extra = [
            "",
            f"A kernel for JupyterLab is ready in {ready('diptych'):.2f} s "
            f"(`python3`: {ready('python3'):.2f} s).",
            f"`diptych --help` takes {help_s:.2f} s.",
            f"`diptych sweep` over 40 points: one worker {one:.1f} s, two {two:.1f} s "
            f"({one / two:.2f} times as fast).",
        ]
        if options.soak:
            extra += ["", *soak(options.soak, Path(folder))]
    return report(taken, options.sets, extra, peers_python)


if __name__ == "__main__":
    main()
