"""Foreign test suites on warm kernels: papermill's own, and jupyter_kernel_test.

    python benchmarks/compat.py [papermill] [kernel]

papermill's tests run with Diptych's engine in place of its default one; jupyter_kernel_test talks
to the kernelspec "Diptych (warm)". Both live in an environment of their own, made on demand.
Exceptions, each with its reason: lib/diptych/execution/kernels/README.md.
"""

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.gettempdir()) / "diptych-peers" / "compat"
NEEDED = ("pytest", "pytest-mock", "jupyter_kernel_test", "moto", "boto3", "pyarrow", "requests")
# storage elsewhere: no engine takes part, and each needs its own client library
LEFT_OUT = ("test_abs", "test_adl", "test_gcs", "test_hdfs", "test_s3")
ENGINE = """
from papermill.engines import papermill_engines
from diptych.execution.kernels.papermill import DiptychEngine

papermill_engines.register(None, DiptychEngine)
papermill_engines.register("nbclient", DiptychEngine)
"""
KERNEL = """
import unittest
import jupyter_kernel_test


class Warm(jupyter_kernel_test.KernelTests):
    kernel_name = "diptych"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('x')"
    code_inspect_sample = "zip"
    code_execute_result = [{"code": "1 + 2", "result": "3"}]
    code_display_data = [
        {"code": "import IPython.display as d; d.display(d.HTML('x'))", "mime": "text/html"}
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_clear_output = "from IPython.display import clear_output; clear_output()"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "print('x')", "def f(x):\\n  return x*2\\n\\n\\n"]
    incomplete_code_samples = ["print('''x", "def f(x):\\n  x*2"]
    invalid_code_samples = ["import = 7q"]


if __name__ == "__main__":
    unittest.main()
"""


def environment():
    """Make the environment on top of this one and return its Python."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    libraries = next(FOLDER.glob("lib/python*/site-packages"))
    package = Path(__file__).parents[1] / "lib"
    (libraries / "below.pth").write_text(f"{sysconfig.get_path('purelib')}\n{package}\n")
    subprocess.run([str(python), "-m", "pip", "install", "-q", *NEEDED], check=True)
    subprocess.run(
        [str(python), "-m", "diptych.execution.kernels"], check=True, stdout=subprocess.DEVNULL
    )
    return str(python)


def source(python):
    """Fetch papermill's sources of the installed version and return their folder."""
    name = f"papermill-{importlib.metadata.version('papermill')}"
    folder = FOLDER / name
    if not folder.exists():
        wanted = f"papermill=={importlib.metadata.version('papermill')}"
        fetch = ["download", "-q", "--no-deps", "--no-binary", "papermill"]
        subprocess.run([python, "-m", "pip", *fetch, "-d", str(FOLDER), wanted], check=True)
        with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
            archive.extractall(FOLDER, filter="data")
    return folder


def papermill(python):
    """Run papermill's tests with our engine as its default."""
    folder = source(python)
    (folder / "diptych_engine.py").write_text(ENGINE)
    ignored = [f"--ignore=papermill/tests/{name}.py" for name in LEFT_OUT]
    command = [python, "-m", "pytest", "-q", "-p", "diptych_engine", "papermill/tests", *ignored]
    where = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": where}, check=False)


def kernel(python):
    """Run jupyter_kernel_test on the kernelspec."""
    path = FOLDER / "kernel.py"
    path.write_text(KERNEL)
    return subprocess.run([python, str(path), "-v"], cwd=FOLDER, check=False)


def main():
    """Run the suites that are named, or both."""
    python = environment()
    suites = [globals()[name] for name in sys.argv[1:] or ("papermill", "kernel")]
    sys.exit(max(suite(python).returncode for suite in suites))


if __name__ == "__main__":
    main()
