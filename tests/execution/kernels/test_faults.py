"""Whatever happens to a kernel or to the zygote, nothing else is touched."""

import gc
import os
import signal

import psutil
import pytest
from execution.kernels.conftest import pids, zygotes
from processes import is_gone, until

from diptych.base.errors import NotebookFailed
from diptych.execution.engine import Limits, WarmEngine

BEFORE = "print('before')"
PARENT = "import os; print(os.getppid())"


def fails(kernels, *sources, engine=None):
    """Run cells of which the last fails, and return how; the output of those before is kept."""
    with pytest.raises(NotebookFailed) as failed:
        kernels.run(BEFORE, *sources, "print('never')", engine=engine)
    assert failed.value.cell == len(sources)
    texts = kernels.outputs()
    assert texts[0] == "before\n"
    assert texts[-1] == ""
    assert until(lambda: not pids(kernels.folder)), "a process is left"
    assert kernels.run(BEFORE) == ["before\n"], "the next run is harmed"
    return failed.value


def test_no_state_passes_from_run_to_run(kernels):
    leave = (
        "import os, sys, random, pandas, numpy",
        "os.environ['MARK'] = 'x'; pandas.MARK = 1; pandas.set_option('display.max_rows', 7)",
        "os.mkdir('d'); os.chdir('d'); sys.path.insert(0, 'x'); mark = 1; In[0] = 'mark'",
    )
    look = (
        "import os, sys, random, pandas, numpy\n"
        "print('MARK' in os.environ, hasattr(pandas, 'MARK'), 'mark' in dir(), In[0] or None,"
        " pandas.get_option('display.max_rows'), os.path.basename(os.getcwd()), sys.path[0])\n"
        "print(random.random(), numpy.random.rand())"
    )
    first = kernels.run(look)[0].splitlines()
    kernels.run(*leave)
    second = kernels.run(look)[0].splitlines()
    assert first[0] == second[0]
    assert second[0].startswith("False False False None 60")
    assert first[1] != second[1], "random numbers repeat"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import os; os._exit(3)", "ended itself with exit status 3"),
        ("import ctypes; ctypes.string_at(0)", "crashed (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 9)", "was killed: out of memory, or by someone"),
    ],
)
def test_a_process_that_ends_fails_its_run_alone(kernels, source, why):
    failed = fails(kernels, source)
    assert failed.ename == "KernelDied"
    assert why in failed.evalue


def test_memory_that_runs_out_fails_the_cell(kernels):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))"
    failed = fails(kernels, f"{limit}\nx = bytearray(8 << 30)")
    assert failed.ename == "MemoryError"


def test_a_hang_that_ignores_an_interrupt_is_ended(kernels):
    hang = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print('hanging', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    failed = fails(kernels, hang, engine=WarmEngine(limits=Limits(cell_s=1)))
    assert (failed.ename, failed.evalue) == (
        "CellTimeout",
        "the cell was ended: it took longer than 1 s",
    )


def test_a_killed_caller_leaves_no_process(kernels):
    caller = kernels.launch("import subprocess; subprocess.run(['sleep', '600'])")
    until(lambda: len(pids(kernels.folder)) >= 3)  # the caller, the kernel, what it started
    caller.kill()
    caller.wait()
    until(lambda: not pids(kernels.folder))


def test_the_zygote_killed_during_a_run_harms_neither_it_nor_the_next(kernels, own_zygote):
    texts = kernels.run(
        "import os, signal, time; parent = os.getppid(); print(parent)",
        "os.kill(parent, signal.SIGKILL); time.sleep(0.5); print('goes on')",
        "print(1 + 1)",
    )
    assert texts[1:] == ["goes on\n", "2\n"]
    assert is_gone(int(texts[0]))
    (other,) = kernels.run(PARENT)
    assert int(other) not in (int(texts[0]), os.getpid())


def test_a_caller_killed_after_the_zygote_leaves_no_process(kernels, own_zygote):
    caller = kernels.launch(
        "import os, time; os.kill(os.getppid(), 9); open('mark', 'w').close(); time.sleep(600)"
    )
    until((kernels.folder / "mark").exists)
    caller.kill()
    caller.wait()
    until(lambda: not pids(kernels.folder))


@pytest.mark.long
def test_many_runs_leave_nothing_behind(kernels, own_zygote):
    def held():
        gc.collect()  # what earlier tests left is not counted
        return len(os.listdir("/proc/self/fd"))

    def descriptors():
        """Count the zygote's open files once its preforked kernel is there."""
        try:
            zygote = kernels.settle(own_zygote)
            return zygote.num_fds() if zygote.children() else None
        except psutil.NoSuchProcess:  # a successor took over between two looks
            return None

    theirs = until(descriptors)
    files = held()
    for _ in range(50):
        kernels.run("1")
    assert held() == files

    def is_as_before():
        try:
            now = zygotes(own_zygote)  # a successor may have taken over
            return len(now) == len(now[0].children()) == 1 and now[0].num_fds() < theirs + 10
        except psutil.NoSuchProcess:  # it ended between two looks
            return False

    until(is_as_before)


def test_an_interrupt_ends_all_and_keeps_the_run(kernels):
    # a shell's background job ignores Ctrl-C, and so would every process the tests start
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            kernels.run(
                BEFORE,
                f"import os, signal, subprocess, time; subprocess.Popen(['sleep', '600'])\n"
                f"os.kill({os.getpid()}, signal.SIGINT); time.sleep(600)",
            )
    finally:
        signal.signal(signal.SIGINT, usual)
    assert kernels.outputs()[0] == "before\n"
    until(lambda: not pids(kernels.folder))
