"""All tests share one workspace of their own, so that no run of the user is touched.

They share one zygote of their own too, which ends with them; nbval's kernels are forked from it.

The notebooks run in order on one worker: each builds on the runs of those before it, but for one
that needs none of them and takes long.
"""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest
from nbval.plugin import IPyNbCell
from processes import end_servers
from xdist.scheduler import LoadFileScheduling

from diptych.base import workspace
from diptych.execution.kernels import client
from diptych.execution.kernels.__main__ import install
from diptych.execution.refresh import in_order

TESTS = Path(__file__).parent / "tests"
WORKSPACE = pytest.StashKey[str]()
PRETRAINING = "notebooks/llmops/0_pretrain"  # a minute of two cores; no other notebook needs it

# In a worker that imports XGBoost, MLflow or torch: where all have them, kernels share a zygote.
SET_BY_LIBRARIES = {
    "DO_NOT_TRACK": "true",
    "KMP_DUPLICATE_LIB_OK": "True",
    "KMP_INIT_AT_FORK": "FALSE",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir(), "torchinductor")),
}

# a busy machine is no failure
hypothesis.settings.register_profile("diptych", deadline=None)
hypothesis.settings.load_profile("diptych")


class NotebooksTogether(LoadFileScheduling):
    """A worker takes a whole test file, or all notebooks that build on each other.

    Or all tests that train a language model, or those that need MLflow: importing it takes seconds.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("notebooks/") and "0_pretrain" not in nodeid:
            return "notebooks"
        if nodeid.startswith(
            ("tests/llmops/pretrain/", "tests/llmops/finetuning/test_finetuning.py")
        ):
            return "training"
        if nodeid.startswith(
            (
                "tests/llmops/test_registry.py",
                "tests/core/store/test_mlflow_runs.py",
                "tests/mlops/test_registry.py",
                "tests/mlops/serving/test_mlflow_clients.py",
                "tests/old_workspace/",
            )
        ):
            return "registries"
        return super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return NotebooksTogether(config, log)


def pytest_configure(config):
    config.stash[WORKSPACE] = tempfile.mkdtemp(prefix="diptych-tests-")
    os.environ["DIPTYCH_HOME"] = config.stash[WORKSPACE]
    if not os.environ.get("DIPTYCH_REAL_MODELS"):  # else no test depends on the user's models
        os.environ.setdefault("DIPTYCH_MODELS", str(Path(config.stash[WORKSPACE]) / "models"))
    # threads of one process wait for each other by spinning: with a test beside it, all stand still
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name, value in SET_BY_LIBRARIES.items():
        os.environ.setdefault(name, value)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt processes
    if not hasattr(config, "workerinput"):  # xdist's workers inherit it
        os.environ["DIPTYCH_KERNELS"] = config.stash[WORKSPACE]
        kernels = install(config.stash[WORKSPACE]).parent
        os.environ["JUPYTER_PATH"] = str(kernels.parent)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        client.stop()
    end_servers(Path(config.stash[WORKSPACE]))
    shutil.rmtree(config.stash[WORKSPACE], ignore_errors=True)


@pytest.fixture(scope="session")
def chromium():
    """Start one Chromium for all tests of a worker."""
    import browser  # with aiohttp: not in xdist's own process

    if browser.find() is None:
        pytest.skip("no Chromium is installed, so no page was opened in a browser")
    with browser.browser() as tab:
        yield tab


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory):
    """Make MLflow's tables, which takes two seconds, and return what copies them to a workspace."""
    from diptych.mlops.registry import ModelRegistry  # with pandas: not in xdist's own process

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("tables")))
        ModelRegistry("any")
        made = workspace.mlflow_path()

    def into(home: Path) -> None:
        home.mkdir(exist_ok=True)
        shutil.copy(made, home)

    return into


@pytest.fixture(scope="module")
def registry_home(tmp_path_factory, mlflow_tables):
    """Let the tests of a module have one workspace."""
    home = tmp_path_factory.mktemp("registry home")
    mlflow_tables(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(home))
        yield


def pytest_collection_finish():
    """Let the garbage collector skip what imports made: it would look at all of it each time."""
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    """Put what takes longest first: the notebooks, in the order of the lifecycle.

    The pipeline comes when their kernels have taught the zygote what to import, and the short tests
    of the core last, so that the workers end together.
    """
    order = {path: number for number, path in enumerate(in_order())}
    turns = {"llmops": 0, "test_pipeline.py": 1, "core": 3}

    def place(item):
        if isinstance(item, IPyNbCell):
            return order.get(item.path, 0)
        part, *_ = item.path.relative_to(TESTS).parts
        return len(order) + turns.get(part, 2)

    items.sort(key=place)
    for item in items:
        if item.nodeid.startswith(PRETRAINING):
            item.add_marker("long")
    if not os.environ.get("DIPTYCH_LONG"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in set(long)]
        config.hook.pytest_deselected(items=long)
