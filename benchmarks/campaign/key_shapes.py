"""Keys of many issuers, made up by a seed, on every way out of a run: real runs, real files."""

import os
import random
import re
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from figures import Figure
from key_shapes_onwards import WAYS_OUT, carry_on
from nbformat.v4 import new_code_cell, new_notebook

from diptych.base import workspace
from diptych.execution import abandoned
from diptych.execution.runner import run_notebook

# {a5}: five letters of either case and digits, {h5}: hexadecimal, {u5}: capitals and digits
TEMPLATES = """
sk-{a48} sk-proj-{a40}_{a30} sk-svcacct-{a40} sk-admin-{a40} sk-ant-api03-{a40}-{a40}
sk-or-v1-{h64} sk-lf-{h8}-{h4}-{h4}-{h4}-{h12} gsk_{a52} xai-{a80} r8_{a37} pplx-{h48} hf_{a34}
csk-{a48} fw_{a24} tvly-{a32} lsv2_pt_{h32}_{h10} nvapi-{a64} jina_{a60} e2b_{h40} fc-{h32}
pcsk_{a6}_{a60} AKIA{u16} ASIA{u16} AIza{a35} ya29.{a60} GOCSPX-{a28} 1//0{a60} dapi{h32}
dop_v1_{h64} doo_v1_{h64} {a3}8Q~{a34} ghp_{a36} gho_{a36} ghs_{a36} github_pat_{a22}_{a59}
glpat-{a20} gldt-{a20} npm_{a36} pypi-{a80} dckr_pat_{a27} ATATT3{a60} hvs.{a24}
dp.pt.{a43} {a14}.atlasv1.{a60} pul-{h40} SG.{a22}.{a43} xoxb-{d12}-{a24} xapp-1-{a40}
sk_live_{a24} rk_test_{a24} whsec_{a32} SK{h32} key-{h32} {h32}-us12 shpat_{h32} sq0atp-{a22}
{d10}:AA{a33} secret_{a43} ntn_{a44} lin_api_{a40} sbp_{h40} pscale_tkn_{a43}
PMAK-{h24}-{h34} NRAK-{u27} glsa_{a32}_{h8} pk.eyJ{a60}.{a22} pat-na1-{h8}-{h4}-{h4}-{h4}-{h12}
pat{a14}.{h64} eyJ{a36}.eyJ{a80}.{a43}
""".split()
KINDS = {
    "a": string.ascii_letters + string.digits, "h": "0123456789abcdef",
    "u": string.ascii_uppercase + string.digits, "d": string.digits,
}  # fmt: skip
WAYS = """
import html, json, os, pathlib, sqlite3, sys
import numpy as np, pandas as pd
from IPython.display import HTML, JSON, SVG, Markdown, display
from diptych.base import process_environment

keys = pathlib.Path(os.environ["CAMPAIGN_FILE"]).read_text().split()
keys += [os.environ[name] for name in os.environ if name.startswith("CAMPAIGN_HELD")]
here = pathlib.Path(process_environment.run_folder())
text = "\\n".join(keys)
for name in ("a.txt", "a.csv", "a.log", "a", "a.bin", "a.pkl", "a.tex", "a.ini"):
    (here / name).write_text(text)
for coding in ("utf-16", "utf-16-le", "utf-16-be"):
    (here / f"{coding}.dat").write_text(text, encoding=coding)
(here / "keys.json").write_text(json.dumps({key: 1 for key in keys}))
(here / "values.json").write_text(json.dumps({"text": text}))
pd.DataFrame({"text": keys}).to_parquet(here / "table.parquet", compression=None)
np.save(here / "array.npy", np.array([key.encode() for key in keys]))
with sqlite3.connect(here / "base.db") as db:
    db.execute("CREATE TABLE t (text)")
    db.executemany("INSERT INTO t VALUES (?)", [(key,) for key in keys])
db.close()
(here / "folder").mkdir()
for number, key in enumerate(keys):
    (here / "folder" / f"{number} {key.replace('/', '-')}").touch()
print(text)
print(text, file=sys.stderr)
print("\\x1b[31m" + "\\x1b[0m \\x1b[31m".join(keys) + "\\x1b[0m")
display(HTML(f"<b title='{keys[0]}'>{html.escape(text)}</b>"))
display(Markdown(text), JSON({key: key for key in keys}))
safe = html.escape(text)
display(SVG(f"<svg xmlns='http://www.w3.org/2000/svg'><text>{safe}</text></svg>"))
display(pd.DataFrame({"text": keys}))
"""
FAIL = f"{WAYS}\nraise ValueError(text)"
HANG = f"{WAYS}\nimport time; (here / 'hangs').touch(); time.sleep(600)"
RUN = "import sys; from diptych.execution.runner import run_notebook; run_notebook(sys.argv[1])"
TABLES = """
from diptych.core.store.records import Recorder
record = Recorder(here, "campaign/keys", {})
record.save("rows", pd.DataFrame({"text": keys, "probabilities": [{key: 0.5} for key in keys]}))
record.record("text", text)
record.note(text=text)
"""
WITHIN = 28  # files of 8 names, 3 codings, 7 formats and names; 6 kinds of outputs; 4 records


def made_up(template: str, rng: random.Random) -> str:
    """Return a key of a template."""

    def some(match: re.Match) -> str:
        return "".join(rng.choices(KINDS[match[1]], k=int(match[2])))

    key = re.sub(r"\{([ahud])(\d+)\}", some, template)
    # a key without a digit or a capital is no key of its issuer
    return key if re.search(r"\d", key) else made_up(template, rng)


def leaks(folder: Path, keys: list[str]) -> set[str]:
    """Return the keys that stand in files or names of a folder, in any coding."""
    found = set()
    spelled = {key: [key.encode(c) for c in ("utf-8", "utf-16-le", "utf-16-be")] for key in keys}
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for key, codings in spelled.items():
            if key in path.name or any(coded in data for coded in codings):
                found.add(f"{key} in {path.name}")
    return found


def run(home: Path, rng: random.Random, rounds: int) -> list[Figure]:
    """Let notebooks write keys everywhere: one ends, one fails, one is killed."""
    runs, total, found, time_s = workspace.runs(), 0, set(), 180
    for number in range(rounds):
        keys = [made_up(template, rng) for template in TEMPLATES]
        held = {"CAMPAIGN_HELD_TOKEN": made_up("{a20} {a9}!", rng).replace(" ", "&")}
        (home / "keys").write_text("\n".join(keys))
        os.environ |= held | {"CAMPAIGN_FILE": str(home / "keys")}
        for name, source in (("whole", WAYS + TABLES), ("failed", FAIL), ("killed", HANG)):
            notebook = home / f"{name}-{number}.ipynb"
            nbformat.write(new_notebook(cells=[new_code_cell(source)]), notebook)
            command = [sys.executable, "-c", RUN, str(notebook)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if name == "killed":
                _kill_when(process, lambda: any(runs.glob(".*.partial/hangs")), time_s)
            output = process.communicate(timeout=time_s)[0].decode()
            found |= {f"{key} on the terminal" for key in [*keys, *held.values()] if key in output}
        quiet = home / "quiet.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell("1")]), quiet)
        run_notebook(str(quiet))  # the next run redacts what the killed one left
        every = [*keys, *held.values()]
        words = carry_on(home, rng, keys)
        found |= {f"{key} on a terminal or in an error" for key in every if key in words}
        found |= leaks(workspace.home(), every)
        total += len(every)
        abandoned.remove(runs)
    for leak in sorted(found):
        print("found:", leak)
    ways = 3 * WITHIN + len(WAYS_OUT)
    what = f"keys found of {len(TEMPLATES)} shapes on {WITHIN} ways x 3 ends + {len(WAYS_OUT)}"
    return [Figure("secrets", what, total * ways, len(found))]


def _kill_when(process: subprocess.Popen, reached, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not reached():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            words = process.communicate()[0].decode(errors="replace")[-2000:]
            raise RuntimeError(f"the notebook to be killed did not run: {words}")
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
