"""A JupyterLab of a test's own, started as `diptych lab` starts it, and driven in Chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from processes import until

ROOT = Path(__file__).parents[1]
PATIENCE = 240  # seconds, for what a notebook does
PANEL = "jupyterapp.shell.currentWidget"
SHOWN = f"""(async () => {{
  await jupyterapp.restored;
  const panel = {PANEL};
  if (!panel || !panel.sessionContext) return false;
  await panel.context.ready;
  await panel.revealed;
  return true;
}})()"""
READY = f"""(async () => {{
  const context = {PANEL}.sessionContext;
  await context.ready;
  return context.session?.kernel?.status === 'idle';
}})()"""
# what a reader sees of a cell's figures: their widths, 0 for one that does not show
FIGURES = """(async () => {
  const notebook = PANEL.content, cell = notebook.widgets[CELL];
  await notebook.scrollToCell(cell);
  await cell.ready;
  await new Promise(done => setTimeout(done, 50));
  const pictures = [...cell.outputArea.node.querySelectorAll('img.figure, svg.figure')];
  await Promise.all(pictures.map(picture => picture.decode?.().catch(() => null)));
  return pictures.map(picture => {
    const box = picture.getBoundingClientRect();
    return (picture.naturalWidth ?? 1) && box.height && box.width;
  });
})()""".replace("PANEL", PANEL)


@contextmanager
def server(folder: Path):
    """Start JupyterLab for a copy of the notebooks in an empty folder, and yield its address."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=_checkpoints)
    shutil.copytree(ROOT / "params", folder / "params")
    for name in ("pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for command in ("init -q", "add .", "commit -q -m before"):
        git(folder, *command.split())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--no-browser --allow-root --port={port} --IdentityProvider.token= "
    options += "--LabApp.expose_app_in_browser=True"
    own = folder.with_name(f"{folder.name} of jupyter")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "SHELL": "/bin/bash"}
    environment["DIPTYCH_HOME"] = str(folder / ".diptych")
    environment |= {
        f"JUPYTER_{name}_DIR": str(own / name) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    log = folder.with_name(f"{folder.name}.log")
    command = [sys.executable, "-m", "diptych", "lab", *options.split()]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as nobody in particular."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def _checkpoints(_, names: list[str]) -> set[str]:
    return {".ipynb_checkpoints"} & set(names)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Lab:
    """JupyterLab in a tab of Chromium; what is done to a notebook is done to the one in front."""

    def __init__(self, chromium, address: str, folder: Path):
        self.chromium, self.address, self.folder = chromium, address, folder

    def open(self, notebook: str, *, dark: bool = False, ready: bool = True) -> None:
        """Show a notebook, ``"mlops/2_build"``, alone; its kernel idle unless `ready` is false."""
        page = f"{self.address}/lab/tree/notebooks/{notebook}.ipynb?reset"
        self.chromium.open(page, 1440, 1000, dark=dark)
        until(lambda: self.js("typeof jupyterapp !== 'undefined'"))
        until(lambda: self.js(SHOWN))
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait for the kernel of the notebook in front."""
        until(lambda: self.js(READY))

    def figures(self, cell: int) -> list[float]:
        """Return the widths of a code cell's figures, 0 for one that does not show."""
        return self.js(FIGURES.replace("CELL", str(cell)))

    def end_kernels(self) -> None:
        """End every kernel, as many notebooks are looked at."""
        self.js("jupyterapp.serviceManager.sessions.shutdownAll()")

    def js(self, expression: str):
        """Return the value of a JavaScript expression, or of its promise."""
        answer = self.chromium.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def command(self, name: str, **arguments) -> None:
        """Execute a command of JupyterLab and wait for it."""
        self.js(f"jupyterapp.commands.execute({name!r}, {json.dumps(arguments)}).then(() => null)")

    def begin(self, name: str, **arguments) -> None:
        """Execute a command without waiting for what it runs."""
        self.js(f"void jupyterapp.commands.execute({name!r}, {json.dumps(arguments)})")

    def wait_idle(self) -> None:
        """Wait until every cell that was begun has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.js(BUSY):
            assert time.monotonic() < deadline, "the notebook did not end"
            time.sleep(0.05)

    def run_all(self) -> None:
        """Run every cell, to the end."""
        self.begin("notebook:run-all-cells")
        self.wait_idle()

    def run(self, *cells: int) -> None:
        """Run some cells, each when the one before has ended."""
        for cell in cells:
            self.js(f"void ({PANEL}.content.activeCellIndex = {cell})")
            self.js(f"void {PANEL}.content.deselectAll()")
            self.begin("notebook:run-cell")
            self.wait_idle()

    def edit(self, cell: int, old: str, new: str) -> None:
        """Replace a part of a cell's source, as typing does."""
        source = self.source(cell)
        assert source.count(old) == 1, source
        source = json.dumps(source.replace(old, new))
        self.js(f"void {_model(cell)}.sharedModel.setSource({source})")

    def source(self, cell: int) -> str:
        return self.js(f"{_model(cell)}.sharedModel.getSource()")

    def sources(self) -> list[str]:
        return self.js(f"{PANEL}.content.widgets.map(cell => cell.model.sharedModel.getSource())")

    def outputs(self, cell: int) -> list[dict]:
        """Return a code cell's outputs as they would be stored."""
        return self.js(f"{_model(cell)}.outputs.toJSON()")

    def text(self, cell: int) -> str:
        """Return what a code cell's outputs say, without markup."""
        self.js(f"{PANEL}.content.scrollToCell({PANEL}.content.widgets[{cell}])")
        return self.js(f"{PANEL}.content.widgets[{cell}].outputArea.node.innerText")

    def insert(self, source: str) -> int:
        """Add a code cell at the end and return its place."""
        self.js(
            f"void {PANEL}.content.model.sharedModel.addCell("
            f"{{cell_type: 'code', source: {json.dumps(source)}}})"
        )
        return self.js(f"{PANEL}.content.widgets.length") - 1

    def errors(self) -> list[str]:
        """Return the errors that cells show."""
        return self.js(
            f"{PANEL}.content.widgets.filter(c => c.model.type === 'code')"
            ".flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type === 'error')"
            ".map(o => `${o.ename}: ${o.evalue}`)"
        )

    def cell_with(self, text: str) -> int:
        """Return the place of the only cell whose source has a text."""
        (place,) = [place for place, source in enumerate(self.sources()) if text in source]
        return place

    def screenshot(self, name: str) -> None:
        """Keep what is shown under build/lab/, where CI collects it."""
        folder = ROOT / "build" / "lab"
        folder.mkdir(parents=True, exist_ok=True)
        self.chromium.screenshot(folder / f"{name}.png", whole=False)


BUSY = f"""(() => {{
  const cells = {PANEL}.content.widgets.filter(cell => cell.model.type === 'code');
  const kernel = {PANEL}.sessionContext.session?.kernel;
  return kernel?.status !== 'idle' || cells.some(c => c.model.executionState === 'running');
}})()"""


def _model(cell: int) -> str:
    return f"{PANEL}.content.widgets[{cell}].model"
