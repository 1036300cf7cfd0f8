"""Where keys go after a run: sweeps, MLflow, exports, archives, refusals, an endpoint's errors."""

import contextlib
import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
from aiohttp import web
from llmops.fakes import serving
from nbformat.v4 import new_code_cell, new_notebook

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.core.store import mlflow_runs
from diptych.execution import archive, exporting
from diptych.execution.runner import prepare
from diptych.execution.runs import find_runs
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import PromptError, parse

POINT = """
import os, pathlib
import diptych as dt
keys = pathlib.Path(os.environ["CAMPAIGN_FILE"]).read_text().split()
dt.record(**{f"figure {keys[x]}": 1.0, "text": " ".join(keys)})
if x % 2:
    raise ValueError(keys[x])
"""
PROMPT = """\
---
task: reviews
inputs: [text]
output: {{type: string, enum: [negative, positive]}}
note: For the campaign.
---
## system
Answer with the key {key}.

## user
{{text}}
"""
WAYS_OUT = (
    "a sweep's CSV", "its Parquet", "its JSON", "its page", "its terminal", "MLflow's store",
    "an exported script", "an exported page", "an archive", "the list of runs",
    "a parameter's refusal", "a prompt's refusal", "an endpoint's error in the ledger",
    "the error that a caller sees",
)  # fmt: skip


class Telltale:
    """An endpoint that says which key it was sent, as some do."""

    def __init__(self, keys: list[str]):
        self.url, self.keys = "", keys

    def routes(self) -> list:
        """Return what `llmops.fakes.serving` serves."""
        return [web.post("/v1/chat/completions", self.refuse)]

    async def refuse(self, request: web.Request) -> web.Response:
        """Refuse any request with the key whose number stands in it."""
        key = self.keys[int((await request.json())["messages"][-1]["content"])]
        told = {"message": f"Incorrect API key provided: {key}", "type": "invalid_request_error"}
        return web.json_response({"error": told}, status=400)


def carry_on(home: Path, rng: random.Random, keys: list[str]) -> str:
    """Let keys go on from runs, and return what stood on terminals and in errors."""
    words = [swept(home, rng, keys), refused(keys), repeated(keys)]
    export(home, keys)
    mlflow_runs.update()
    return "\n".join(words)


def swept(home: Path, rng: random.Random, keys: list[str]) -> str:
    """Sweep a notebook that records keys and fails with one."""
    notebook = home / "points.ipynb"
    cells = [new_code_cell("x = 0"), new_code_cell(POINT)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), notebook)
    points = ",".join(map(str, rng.sample(range(len(keys)), 4)))
    command = [sys.executable, "-m", "diptych"]
    done = [
        subprocess.run([*command, *words], capture_output=True, text=True)
        for words in (["sweep", notebook, "--grid", f"x={points}"], ["runs"])
    ]
    return "\n".join(one.stdout + one.stderr for one in done)


def export(home: Path, keys: list[str]) -> None:
    """Export a notebook with keys in its cells, and pack each run."""
    notebook, out = home / "keyed.ipynb", workspace.home() / "out"
    cells = [new_code_cell(f"key = {key!r}") for key in keys]
    nbformat.write(new_notebook(cells=cells), notebook)
    exporting.as_script(str(notebook), out / "keyed.py")
    exporting.export(str(notebook), {}, out / "keyed.html")
    for run in find_runs():
        with contextlib.suppress(ParameterError):  # made outside the runner
            packed, _ = archive.write(run, out / f"{run.id}.zip")
            with zipfile.ZipFile(packed) as file:
                # what a run read is the user's own, and goes along as it is
                names = [name for name in file.namelist() if Path(name).name != "keys"]
                file.extractall(out / run.id, names)
            packed.unlink()


def refused(keys: list[str]) -> str:
    """Return the sentences that refuse parameters and prompts with keys."""
    words = []
    for key in keys:
        for refuse in (
            lambda key=key: prepare("mlops/1_data", (), {"task": key}),
            lambda key=key: parse(PROMPT.format(key=key)),
        ):
            try:
                refuse()
            except (ParameterError, PromptError) as error:
                words.append(str(error))
            else:
                words.append(f"not refused: {key}")
    return "\n".join(words)


def repeated(keys: list[str]) -> str:
    """Return the errors of an endpoint that repeats keys."""
    options = CallOptions(calls=workspace.ledger_path(), give_up=False, progress=False)
    with serving(Telltale(keys)) as fake, contextlib.redirect_stdout(io.StringIO()) as output:
        answers = ask_many(map(str, range(len(keys))), Target(fake.url, "m"), options)
    return "\n".join([output.getvalue(), *(answer.error for answer in answers)])
