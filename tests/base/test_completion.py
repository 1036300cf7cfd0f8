import json
import os
import subprocess
import sys

CODE = """
import json
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import diptych as dt")
shell.run_cell("from diptych.mlops import build\\nfrom diptych.core.plots import plots")
shell.run_cell("from diptych.core import data, evaluation")
names = {}
for name in ("build", "plots", "dt", "data"):
    with provisionalcompleter():
        text = f"{name}."
        names[name] = [each.text for each in shell.Completer.completions(text, len(text))]
print(json.dumps(names))
"""


def test_completion_lists_what_a_module_is_for(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    assert {"tune_all", "evaluate", "SPACE"} <= set(names["build"])
    assert {"interval_plot", "show", "table"} <= set(names["plots"])
    assert {"compare", "runs", "drift"} <= set(names["dt"])
    assert {"tasks", "splits"} <= set(names["data"])  # the modules of a package
    foreign = {
        "dataclass",
        "field",
        "itertools",
        "math",
        "np",
        "pd",
        "sys",
        "import_module",
        "Path",
    }
    for listed in names.values():
        assert not foreign & set(listed)
