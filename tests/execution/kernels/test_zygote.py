"""One zygote serves all callers, learns from their notebooks, and is never stale."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from execution.kernels.conftest import RUN, zygotes
from processes import is_gone, until

from diptych.execution.kernels import client

PARENT = "import os; print(os.getppid())"
LIB = Path(__file__).parents[3] / "lib"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python environment of the tests' own on top of the one that runs them."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    path = folder / "bin" / "python"
    libraries = next(folder.glob("lib/python*/site-packages"))
    (libraries / "below.pth").write_text(f"{sysconfig.get_path('purelib')}\n{LIB}\n")
    return path, libraries


CALLER = f"""{RUN}
import json, sys
for line in sys.stdin:
    run(*json.loads(line))
    print(flush=True)
"""


@pytest.fixture
def run_there(kernels, own_zygote, python):
    """Run cells as a notebook in the other Python and return the text that each showed."""
    path, _ = python
    with subprocess.Popen(
        [path, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as caller:

        def run(*sources, **environment):
            notebook = kernels.write(*sources)
            print(json.dumps([str(notebook), environment]), file=caller.stdin, flush=True)
            assert caller.stdout.readline() == "\n"
            return kernels.outputs()

        yield run


def test_callers_at_once_share_one_zygote(kernels, own_zygote):
    at_once = f"{PARENT}\nimport time\nopen(f'here-{{os.getpid()}}', 'w').close()\n"
    at_once += "while len([n for n in os.listdir() if n[:5] == 'here-']) < 2: time.sleep(0.01)"
    callers = [kernels.launch(at_once) for _ in range(2)]
    assert [caller.wait() for caller in callers] == [0, 0]
    parents = {kernels.outputs(path)[0] for path in kernels.folder.glob("*.out.ipynb")}
    assert len(parents) == 1
    assert not parents & {f"{caller.pid}\n" for caller in callers}
    assert own_zygote.stat().st_mode & 0o777 == 0o700


def test_it_is_there_before_the_first_kernel_where_one_is_warmed_up(kernels, own_zygote):
    client.warm_up()
    (zygote,) = zygotes(own_zygote)
    assert int(kernels.run(PARENT)[0]) == zygote.pid


def test_it_ends_when_nobody_needs_it(kernels, own_zygote, monkeypatch):
    monkeypatch.setenv("DIPTYCH_KERNEL_IDLE", "0.1")
    zygote = int(kernels.run(PARENT)[0])
    until(lambda: is_gone(zygote) and not zygotes(own_zygote))
    assert not list(own_zygote.glob("*.sock"))


def test_it_learns_libraries_and_this_package_but_no_module_of_the_users(kernels, own_zygote):
    mine = kernels.folder / "mine.py"
    mine.write_text("value = 1")
    names = "('yaml', 'mine', 'diptych.core.contract')"
    ahead = f"import sys; print([n for n in {names} if n in sys.modules])"
    use = "import yaml, mine, diptych.core.contract; print(mine.value)"
    assert kernels.run(ahead, use) == ["[]\n", "1\n"]
    kernels.wait_for("diptych.core.contract", own_zygote)
    mine.write_text("value = 2222")
    assert kernels.run(ahead, use) == ["['yaml', 'diptych.core.contract']\n", "2222\n"]


def test_a_kernel_after_an_edit_of_this_package_has_the_edit(kernels, own_zygote, tmp_path):
    """At once, and not when files are looked at the next time."""
    package = tmp_path / "lib" / "diptych"
    shutil.copytree(LIB / "diptych", package, ignore=shutil.ignore_patterns("assets", "*.pyc"))
    edited = package / "base" / "errors.py"
    look = "import sys; print('diptych.base.errors' in sys.modules)"
    value = "from diptych.base import errors; print(getattr(errors, 'EDITED', 0))"
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(package.parent)},
    ) as caller:  # fmt: skip

        def run() -> list[str]:
            notebook = str(kernels.write(look, value))
            own = {"PYTHONPATH": str(package.parent)}
            print(json.dumps([notebook, own]), file=caller.stdin, flush=True)
            assert caller.stdout.readline() == "\n"
            return kernels.outputs()

        until(lambda: run() == ["True\n", "0\n"])
        for number in (1, 2):
            with edited.open("a") as file:
                file.write(f"\nEDITED = {number}\n")
            assert run()[1] == f"{number}\n"


def test_a_users_module_goes_before_a_library_of_its_name(kernels, own_zygote, capfd):
    kernels.run("import yaml")
    kernels.wait_for("yaml", own_zygote)
    (kernels.folder / "yaml.py").write_text("value = 'mine'")
    assert kernels.run("import yaml; print(yaml.value)") == ["mine\n"]
    assert "kernels start cold: a module yaml of your own" in capfd.readouterr().err


def test_a_variable_that_a_library_reads_is_that_of_the_caller(kernels, own_zygote):
    look = "import matplotlib; print(matplotlib.get_configdir())"
    for name in ("a", "b", "a"):
        folder = kernels.folder / name
        assert kernels.run(look, MPLCONFIGDIR=str(folder)) == [f"{folder}\n"]


def test_it_is_found_again_after_a_library_read_every_variable(run_there, python):
    _, libraries = python
    (libraries / "nosy.py").write_text("import os\nevery = dict(os.environ)")
    look = "import sys; print('nosy' in sys.modules)", "import nosy", PARENT
    until(lambda: run_there(*look)[0] == "True\n")
    # of make, of a kernel that runs a notebook itself, of a run, of another terminal
    others = (
        {},
        {"MAKELEVEL": "1", "MAKEFLAGS": "w"},
        {"PAGER": "cat", "FORCE_COLOR": "1", "PYDEVD_USE_FRAME_EVAL": "NO"},
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"DIPTYCH_ENGINE": "diptych", "DIPTYCH_LEDGER": "", "TMUX_PANE": "%3"},
    )
    until(lambda: len({run_there(*look, **own)[-1] for own in others}) == 1)


def test_it_is_never_older_than_the_environment(run_there, python):
    _, libraries = python
    gadget = libraries / "gadget.py"
    gadget.write_text("value = 1")
    look = "import os, sys; print('gadget' in sys.modules)", f"import gadget; {PARENT}"
    value = "print(gadget.value)"
    assert run_there(*look, value)[::2] == ["False\n", "1\n"]
    until(lambda: run_there(*look)[0] == "True\n")
    _, old = run_there(*look)

    gadget.write_text("value = 2222")  # edited in place
    until(lambda: run_there(*look, value)[2] == "2222\n")
    (libraries / "gizmo.py").write_text("")  # installed
    _, new, _ = run_there(*look, value)
    assert new != old
    until(lambda: is_gone(int(old)))


def test_a_library_that_no_zygote_survives_is_left_to_the_kernels(run_there, own_zygote, python):
    _, libraries = python
    (libraries / "fragile.py").write_text(
        "import os\n"
        "from ipykernel.kernelapp import IPKernelApp\n"
        "if not IPKernelApp.initialized(): os.abort()\n"
    )
    (libraries / "sturdy.py").write_text("")
    use = "import fragile, sturdy"
    ahead = "import sys; print([n for n in ('fragile', 'sturdy') if n in sys.modules])"
    assert run_there(ahead, use)[0] == "[]\n"
    until(lambda: run_there(ahead, use)[0] == "['sturdy']\n")
    (known,) = own_zygote.glob("*.json")
    assert "fragile" in json.loads(known.read_text())["refused"]
    assert not list(own_zygote.glob("*.trying"))


@pytest.fixture
def slow(kernels, run_there, python):
    """Run cells where a successor is at the import of a library and does not come to its end."""
    _, libraries = python
    (libraries / "slow.py").write_text(
        "import os, time\n"
        "from ipykernel.kernelapp import IPKernelApp\n"
        f"here = {str(kernels.folder)!r}\n"
        "if not IPKernelApp.initialized():\n"
        "    open(here + '/importing', 'w').close()\n"
        "    while not os.path.exists(here + '/go'): time.sleep(0.01)\n"
    )
    run_there("import slow")
    until((kernels.folder / "importing").exists)
    return run_there


def test_nobody_waits_for_what_others_import(kernels, own_zygote, slow):
    look = "import sys; print('slow' in sys.modules)", PARENT
    ahead, old = slow(*look)
    assert ahead == "False\n"
    (kernels.folder / "go").touch()
    until(lambda: slow(*look)[0] == "True\n")
    until(lambda: is_gone(int(old)))


def test_an_import_under_way_ends_with_the_zygote(kernels, own_zygote, slow):
    client.stop()
    until(lambda: not zygotes(own_zygote))
    assert not list(own_zygote.glob("*.sock")) + list(own_zygote.glob("*.trying"))
    (known,) = own_zygote.glob("*.json")
    assert "slow" not in json.loads(known.read_text())["refused"]


def test_a_package_that_needs_an_unfit_one_is_found_with_it(run_there, own_zygote, python):
    _, libraries = python
    (libraries / "inner.py").write_text("import sys\nsys.stdout.write('loud')")
    for name in ("outer", "between"):
        (libraries / f"{name}.py").write_text("import inner")
    run_there("import outer, between")
    (known,) = own_zygote.glob("*.json")
    until(lambda: len(json.loads(known.read_text())["refused"]) == 3)
    log = own_zygote / "log"
    until(lambda: "not imported ahead" in log.read_text())
    assert log.read_text().count("not imported ahead") == 1


def test_a_package_that_adds_names_to_this_one_is_left_to_kernels(run_there, own_zygote, python):
    """Imported ahead, it would have added them to another process's copy, and not again."""
    _, libraries = python
    (libraries / "adding.py").write_text("from diptych.base import errors\nerrors.ADDED = 1")
    (libraries / "beside.py").write_text("")
    use = "import adding, beside; from diptych.base import errors; print(errors.ADDED)"
    ahead = "import sys; print([n for n in ('adding', 'beside') if n in sys.modules])"
    until(lambda: run_there(ahead, use) == ["['beside']\n", "1\n"])
    (known,) = own_zygote.glob("*.json")
    assert "adding" in json.loads(known.read_text())["refused"]


def test_where_none_can_be_forked_a_line_tells_and_kernels_start_afresh(kernels):
    caller = kernels.launch("print(1 + 1)", before="import os; del os.fork", stderr=subprocess.PIPE)
    _, err = caller.communicate()
    assert caller.returncode == 0
    assert kernels.outputs() == ["2\n"]
    assert err == b"kernels start cold: this Python cannot fork them\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 90, "set DIPTYCH_KERNELS to a shorter path"), ("link", "no folder of this user's")],
)
def test_a_folder_not_fit_for_sockets_is_named(kernels, monkeypatch, capfd, name, why):
    (kernels.folder / "link").symlink_to(kernels.folder)
    monkeypatch.setenv("DIPTYCH_KERNELS", str(kernels.folder / name))
    assert kernels.run("print(1 + 1)") == ["2\n"]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("kernels start cold: no zygote can be reached")
    assert why in line


@pytest.mark.long
def test_papermill_finds_the_engine(kernels, own_zygote):
    path = kernels.write("depth = 1", "import psutil; print(psutil.Process().parent().cmdline())")
    output = path.with_suffix(".out.ipynb")
    command = [sys.executable, "-m", "papermill", "--engine", "diptych", "--no-progress-bar"]
    subprocess.run([*command, path, output, "-p", "depth", "2"], check=True, cwd=kernels.folder)
    (zygote,) = zygotes(own_zygote)
    assert kernels.outputs(output)[-1] == f"{zygote.cmdline()}\n"
