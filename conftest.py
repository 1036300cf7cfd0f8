"""All tests share one workspace of their own, so that no run of the user is touched.

The notebooks run in order on one worker: each builds on the runs of those before it.
"""

import os
import shutil
import tempfile

import pytest
from nbval.plugin import IPyNbCell
from xdist.scheduler import LoadFileScheduling

from diptych.run.refresh import in_order

WORKSPACE = pytest.StashKey[str]()


class NotebooksTogether(LoadFileScheduling):
    """A worker takes a whole test file, or all notebooks."""

    def _split_scope(self, nodeid: str) -> str:
        return "notebooks" if nodeid.startswith("notebooks/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return NotebooksTogether(config, log)


def pytest_configure(config):
    config.stash[WORKSPACE] = tempfile.mkdtemp(prefix="diptych-tests-")
    os.environ["DIPTYCH_HOME"] = config.stash[WORKSPACE]
    # threads of one process wait for each other by spinning: with a test beside it, all stand still
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_unconfigure(config):
    shutil.rmtree(config.stash[WORKSPACE], ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Put the notebooks first, in the order of the lifecycle: together they take longest."""
    order = {path: number for number, path in enumerate(in_order())}

    def place(item):
        return order.get(item.path, 0) if isinstance(item, IPyNbCell) else len(order)

    items.sort(key=place)
