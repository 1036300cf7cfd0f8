"""What cannot be looked at again is told by the names that code refers to, and in a real kernel."""

import datetime
import http.server
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from diptych.execution.cache import entries
from diptych.execution.kernels import recorder
from diptych.execution.runner import prepare, run_notebook


def reasons(text, **names):
    """Return why code, run to its end, cannot be linked."""
    code = compile(text, "cell", "exec")
    namespace = dict(names)
    exec(code, namespace)
    references = recorder.References(namespace)
    references.look(code)
    return list(references.unknown())


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "from time import time as now\nnow()",
        "import time as t\nt.strftime('%d')",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now().year",
        "from datetime import date as day\nf'{day.today()}'",
        "import datetime\nlist(map(lambda _: datetime.datetime.utcnow(), [1]))",
        "import pandas as pd\npd.Timestamp.now()",
        "import pandas\npandas.to_datetime('today')",
        "import numpy as np\nnp.datetime64('now')",
        "def f():\n    import time\n    return time.time()",
        "class A:\n    def f(self):\n        import datetime as d\n        d.date.today()",
        "from datetime import datetime\nclock = datetime.now\nclock()",
        "import uuid\nuuid.uuid4()",
        "import os\nos.urandom(3)",
        "import secrets\nsecrets.token_hex()",
        "import random\nrandom.Random()",
        "import os\nos.path.getmtime('/')",
        "from pathlib import Path\nPath('/').stat().st_mtime",
        "import random\nrandom.seed()",
        "import sqlite3\nsqlite3.connect(':memory:').execute('ATTACH \":memory:\" AS x')",
        "import psutil\npsutil.cpu_percent()",
        "import pyarrow.parquet as pq\ntry:\n    pq.read_table('x')\nexcept OSError:\n    pass",
        "import xgboost\ntry:\n    xgboost.Booster(model_file='x')\nexcept Exception:\n    pass",
        "import time\ntime.clock_gettime(time.CLOCK_REALTIME)",
        "import datetime\ndef f():\n    day = datetime.date\n    return day.today()\nf()",
        "import datetime\nclass A:\n    def f(self):\n        return self.clock.now()",
        "import arrow\narrow.now('utc')",
        "import pandas as pd\npd.Timestamp('10:30')",
        "import pandas as pd\nrows = pd.DataFrame({'d': [pd.Timestamp(0)]})\n"
        "rows.query('d < @pd.Timestamp.today()')",
        "import os\nos.access('x', os.R_OK)",
        "import os\nos.stat('/')",
    ],
)
def test_what_changes_by_itself_is_told(text):
    assert len(reasons(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import time\nstart = time.perf_counter()\ntime.sleep(0)",
        "import time\ntime.strftime('%d', time.gmtime(0))",
        "from datetime import datetime\ndatetime(2026, 1, 1).date()",
        "import datetime\ndatetime.date.fromisoformat('2026-01-01')",
        "import random\nrandom.Random(3)",
        "import numpy as np\nnp.random.default_rng(3).normal()",
        "import pandas as pd\npd.to_datetime('2026-01-01')",
        "import pandas as pd\npd.DataFrame({'now': [1]}).now",
        "import uuid\nuuid.UUID(int=1)",
        "import pyarrow as pa\npa.table({'a': [1]})",
        "import xgboost\nxgboost.XGBClassifier",
        "import pandas as pd, pyarrow as pa\nimport io\npd.read_csv(io.StringIO('a'))\npa.int8()",
        "def now(n):\n    return n\nnow(1)",
        "import pandas as pd\npd.Timestamp('2026-01-01 10:30')",
    ],
)
def test_what_is_the_same_each_time_is_not(text):
    assert not reasons(text)


def test_a_seed_counts_for_its_own_generator():
    for text, seeded in (("random.seed(1)", {"random"}), ("np.random.seed(1)", {"numpy.random"})):
        code = compile(text, "cell", "exec")
        references = recorder.References({"random": random, "np": np})
        references.look(code)
        assert references.seeded == seeded


def test_names_are_those_that_the_code_saw():
    names = {"now": datetime.datetime.now, "np": np, "pd": pd, "clock": time}
    assert reasons("now", **names) == ["it reads the clock (datetime.now)"]
    assert reasons("clock.time", **names) == ["it reads the clock (time)"]
    assert not reasons("time = 3\ntime", **names)


CHANGING = """
import random
random.random()
# %%
import numpy as np
import torch
torch.manual_seed(1)  # seeds neither
np.random.rand(2)
# %%
np.random.default_rng().normal()
# %%
!echo hello
# %%
import subprocess
subprocess.run(["true"])
# %%
import os, urllib.request
urllib.request.urlopen(os.environ["ADDRESS"]).read()
# %%
%%time
import time
time.time()
# %%
exec("from datetime import date; date.today()")
# %%
import socket, contextlib
with contextlib.suppress(OSError):
    socket.socket(socket.AF_UNIX).connect("nobody.sock")
# %%
import multiprocessing as mp
context = getattr(mp, "get_" + "context")("spawn")
child = context.Process(target=print)
child.start(); child.join()
"""
IN_A_THREAD = """
import os, urllib.request
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    [answer.read() for answer in pool.map(urllib.request.urlopen, [os.environ["ADDRESS"]])]
"""
SAME = """
import logging, random, tempfile, time, warnings
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from tqdm.auto import tqdm
# %%
random.seed(3)
np.random.seed(3)
random.random(), np.random.rand(), np.random.default_rng(1).normal()
# %%
start = time.perf_counter()
for _ in tqdm(range(3)):
    pass
logging.getLogger("x").warning("said at %s", 1)
# %%
plt.plot([1, 2])
plt.savefig("figure.png")
# %%
go.Figure(go.Scatter(y=[1, 2])).to_json()
# %%
pd.DataFrame({"a": [1]}).style.background_gradient()
# %%
import os, sqlite3
with tempfile.TemporaryDirectory() as folder:
    open(os.path.join(folder, "own.db"), "x").close()
    for value in (1, 2):
        own = sqlite3.connect(os.path.join(folder, "own.db"))
        own.execute("CREATE TABLE IF NOT EXISTS t (x)")
        own.execute("INSERT INTO t VALUES (?)", [value])
        own.commit()
        print(own.execute("SELECT sum(x) FROM t").fetchone())
        own.close()
# %%
with tempfile.TemporaryDirectory() as folder:
    pd.DataFrame({"a": [1]}).to_parquet(f"{folder}/a.parquet")
    print(len(pd.read_parquet(f"{folder}/a.parquet")))
# %%
pd.DataFrame({"a": [1]}).to_csv("out.csv")
pd.read_csv("out.csv")
# %%
from sklearn.linear_model import LogisticRegression
LogisticRegression().fit([[1], [2]], [0, 1])
# %%
import os
open("/sys/devices/system/cpu/online").read()
os.listdir(b"/proc")
# %%
from sklearn.model_selection import cross_val_score
cross_val_score(LogisticRegression(), np.arange(20)[:, None], np.arange(20) % 2, cv=2, n_jobs=2)
"""


def write(path, cells):
    tags = {"tags": ["parameters"]}
    parts = [nbformat.v4.new_code_cell("", metadata=tags)]
    parts += [nbformat.v4.new_code_cell(text.strip()) for text in cells.split("# %%")]
    nbformat.write(nbformat.v4.new_notebook(cells=parts), path)
    return path


@pytest.fixture
def server():
    """Serve something nobody can look at again."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.RequestHandlerClass.do_GET = lambda self: (
            self.send_response(200), self.end_headers(), self.wfile.write(b"1"),
        )  # fmt: skip
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_run_that_read_what_changes_by_itself_is_not_linked(tmp_path, home, server, monkeypatch):
    monkeypatch.setenv("ADDRESS", server)
    path = write(tmp_path / "changing.ipynb", CHANGING)
    run = run_notebook(path, progress=False)
    unknown = "\n".join(run.manifest["cache"]["unknown"])
    for words in ("(random)", "(numpy.random)", "(a generator of its own)", "(echo hello)",
                  "(true)", "network (127.0.0.1)", "clock (time)", "(date.today)",
                  "a socket (nobody.sock)", "starts processes"):  # fmt: skip
        assert words in unknown
    prepared = prepare(path)
    assert entries.find(prepared, home).run is None
    assert entries.find(prepared, home).why in unknown
    assert entries.find(replace(prepared, link_for=3600.0), run.folder.parent).run == run
    assert entries.find(replace(prepared, link_for=0.01), home).run is None
    assert "not linkable: it reads from the network (127.0.0.1)" in entries.why(run)


def test_a_connection_of_a_thread_is_told(tmp_path, home, server, monkeypatch):
    """No code of the user's is on the stack of a thread that a library's function runs in."""
    monkeypatch.setenv("ADDRESS", server)
    run = run_notebook(write(tmp_path / "thread.ipynb", IN_A_THREAD), progress=False)
    assert run.manifest["cache"]["unknown"] == ["it reads from the network (127.0.0.1)"]


@pytest.mark.parametrize("engine", ["diptych", pytest.param("papermill", marks=pytest.mark.long)])
def test_what_libraries_do_for_themselves_does_not_count(tmp_path, home, engine, monkeypatch):
    from diptych.execution.engine import named

    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "same.ipynb", SAME)
    run = run_notebook(path, progress=False, engine=named(engine))
    assert not run.manifest["cache"]["unknown"]
    assert not run.manifest["cache"]["never"]
    assert entries.find(prepare(path), Path(run.folder).parent).run == run
    os.unlink("out.csv")
    assert "out.csv, which it wrote" in entries.find(prepare(path), home).why


DELTA = """import deltalake
from deltalake import DeltaTable
print(len(DeltaTable("rows").to_pandas()))
"""


def test_a_delta_table_that_a_cell_opens_is_an_input(tmp_path, home, monkeypatch):
    from deltalake import write_deltalake

    monkeypatch.chdir(tmp_path)
    write_deltalake("rows", pd.DataFrame({"a": [1]}))
    path = write(tmp_path / "delta.ipynb", DELTA)
    run = run_notebook(path, progress=False)
    assert not run.manifest["cache"]["unknown"]
    assert entries.find(prepare(path), Path(run.folder).parent).run == run
    write_deltalake("rows", pd.DataFrame({"a": [1, 2]}), mode="overwrite")
    assert "rows" in entries.find(prepare(path), Path(run.folder).parent).why
