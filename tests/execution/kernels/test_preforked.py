"""A kernel forked ahead serves the next request, once, as one forked for it would."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from execution.kernels.conftest import Kernels, zygotes
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from processes import is_gone, until

from diptych.execution.kernels.__main__ import install

PIDS = "import os; print(os.getpid(), os.getppid())"


@pytest.fixture
def folder(kernels, own_zygote):
    """Where a zygote is that has learnt the imports of these tests.

    Another may take its place in any test: those beside this one touch what it depends on.
    """
    kernels.run("import numpy, random")
    kernels.wait_for("numpy", own_zygote)
    return own_zygote


def preforked_now(folder):
    """Return the preforked kernel's process, None if there is none."""
    try:
        return next((preforked for each in zygotes(folder) for preforked in each.children()), None)
    except psutil.NoSuchProcess:
        return None


def preforked(folder):
    """Return the preforked kernel's process when it is there and others have gone."""

    def seen():
        found = preforked_now(folder)
        time.sleep(0.2)
        return found if found == preforked_now(folder) else None

    return until(seen)


def on_preforked(kernels, folder, *sources, **environment):
    """Run cells in a preforked kernel, again until one is ready; return what they showed."""

    def run():
        expected = preforked_now(folder)
        texts = kernels.run(PIDS, *sources, **environment)
        return texts if expected and texts[0].split()[0] == str(expected.pid) else None

    return until(run)[1:]


def test_it_serves_one_request_and_another_takes_its_place(kernels, folder):
    on_preforked(kernels, folder, "mark = 1")
    assert on_preforked(kernels, folder, "print('mark' in dir())") == ["False\n"]


def test_it_has_environment_folder_and_streams_of_the_request(kernels, folder, tmp_path):
    look = (
        "print(os.environ['MARK'], os.environ['JPY_PARENT_PID'], os.getcwd(), get_ipython()"
        ".starting_dir, os.getsid(0) == os.getpid())",
        "print(*{os.readlink(f'/proc/self/fd/{number}') for number in (1, 2)})",
        "import random, numpy; print(random.random(), numpy.random.rand())",
    )
    found = []
    for name in ("a", "b"):
        other = Kernels(tmp_path / name)
        other.folder.mkdir()
        found.append(on_preforked(other, folder, *look, MARK=name))
        here = other.folder
        assert found[-1][0] == f"{name} {os.getpid()} {here} {here} True\n"
        assert found[-1][1].endswith("words\n"), "the file of the run"
    assert found[0][1] != found[1][1]
    assert found[0][2] != found[1][2], "random numbers repeat"


def test_it_serves_none_who_differs_in_a_variable_it_looked_at(kernels, folder):
    for name in ("a", "b"):
        preforked(folder)
        assert kernels.run("print(__session__)", JPY_SESSION_NAME=name) == [f"{name}\n"]


def test_it_serves_jupyters_sockets(kernels, folder, tmp_path):
    specs = KernelSpecManager(kernel_dirs=[str(install(tmp_path / "prefix").parent)])
    look = "import ipykernel, os; print(ipykernel.get_connection_file(), os.getcwd())"

    def run():
        expected, shown = preforked_now(folder), []
        manager = KernelManager(kernel_name="diptych", kernel_spec_manager=specs)
        manager.start_kernel(cwd=str(kernels.folder))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            client.execute_interactive(look, output_hook=shown.append)
        finally:
            client.stop_channels()
            pid, file = manager.provisioner.pid, manager.connection_file
            manager.shutdown_kernel()
        texts = "".join(message["content"].get("text", "") for message in shown)
        assert texts == f"{file} {kernels.folder}\n"
        return expected and pid == expected.pid

    until(run)


def test_it_knows_what_was_learnt_meanwhile(kernels, folder):
    ahead = "import sys; print('yaml' in sys.modules)"
    # While it runs, a preforked kernel is forked that does not know yet.
    assert kernels.run(ahead, "import yaml, time; time.sleep(0.5)") == ["False\n", ""]
    until(lambda: on_preforked(kernels, folder, ahead) == ["True\n"])


@pytest.mark.long
def test_requests_at_once_get_a_kernel_each(kernels, folder):
    meet = (
        f"{PIDS}\nimport time\nopen(f'here-{{os.getpid()}}', 'w').close()\n"
        "while len([n for n in os.listdir() if n[:5] == 'here-']) < 3: time.sleep(0.01)"
    )
    preforked(folder)
    before = set(kernels.folder.glob("*.out.ipynb"))
    callers = [kernels.launch(meet) for _ in range(3)]
    assert [caller.wait() for caller in callers] == [0, 0, 0]
    paths = set(kernels.folder.glob("*.out.ipynb")) - before
    shown = [text.split() for path in paths for text in kernels.outputs(path)]
    assert len({pid for pid, _ in shown}) == 3
    assert not {parent for _, parent in shown} & {str(caller.pid) for caller in callers}


def test_a_killed_one_is_not_missed(kernels, folder):
    killed = preforked(folder)
    killed.send_signal(signal.SIGKILL)
    # Who is asked while its last thread dies fails as any kernel killed then.
    until(lambda: not psutil.pid_exists(killed.pid))
    assert kernels.run("print(1 + 1)") == ["2\n"]
    on_preforked(kernels, folder)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGSEGV, marks=pytest.mark.long),
    ],
)
def test_it_ends_with_the_zygote(kernels, folder, number):
    left = preforked(folder)
    left.parent().send_signal(number)
    until(lambda: is_gone(left.pid))
    assert kernels.run("print(1 + 1)") == ["2\n"]
    until(lambda: len(zygotes(folder)) == 1)


def test_it_ends_with_an_idle_zygote(kernels, own_zygote, monkeypatch):
    monkeypatch.setenv("DIPTYCH_KERNEL_IDLE", "1")
    kernels.run(PIDS)
    left = preforked(own_zygote)
    until(lambda: not zygotes(own_zygote))
    until(lambda: is_gone(left.pid))


def test_pages_that_were_noted_are_copied_ahead():
    code = """
import os, mmap
from diptych.execution.kernels import pages

known, memory = pages.Pages(), bytearray(b"x" * (8 << 20))

def faults(copied):
    read, write = os.pipe()
    if os.fork() == 0:
        if copied:
            known.copy()
        before = pages._faults()
        for start in range(0, len(memory), mmap.PAGESIZE):
            memory[start] = 0
        os.write(write, str(pages._faults() - before).encode())
        known.note()
        os._exit(0)
    os.wait()
    return int(os.read(read, 99))

print(faults(False), faults(True))
known.forget()
print(faults(True))
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    first, second, forgotten = map(int, shown.stdout.split())
    assert first > 2000
    assert second < first / 10
    assert forgotten > 2000
