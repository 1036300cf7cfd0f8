"""Execute one notebook, in a kernel forked from a warm process or in one started afresh."""

import asyncio
import contextlib
import logging
import os
import queue
import re
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol, runtime_checkable

from diptych.base import process_environment, workspace
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.base.lazy import import_nbformat
from diptych.base.secrets import Redactor
from diptych.execution.cache import inputs
from diptych.execution.notebooks import HERE, heading, kernel_name

OnCell = Callable[[int, int, str], None]
PATIENCE = 2.0  # seconds
SOON = 0.5  # seconds
TELLING = 60.0  # seconds
LAST_WORDS = 2000  # characters
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
CLEAN_EXITS = ("", "0", "None")  # of sys.exit, as papermill has it
EXIT_HINT = "To exit: use 'exit', 'quit', or Ctrl-D."  # what IPython says of it


class Code(str):
    """A parameter's value as Python, where papermill would hand over another type."""

    __slots__ = ()


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes
    ----------
    run_s, cell_s : float or None
        Seconds for the whole notebook and for each cell; None for any.
    output_mb : float
        Megabytes that a cell may write; the rest is cut and said so. 0 for any.
    """

    run_s: float | None = None
    cell_s: float | None = None
    output_mb: float = 10


class Engine(Protocol):
    """What the runner needs of an engine.

    Attributes
    ----------
    name : str
        In `ENGINES`; notebooks that a notebook starts run with the engine of that name. "" lets
        them run with the usual one.
    """

    name: str

    def execute(
        self,
        notebook: Path,
        output: Path,
        parameters: Mapping[str, object],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        on_cell: OnCell,
    ) -> None:
        """Execute a notebook and leave no process behind, whatever happens.

        Parameters
        ----------
        notebook : Path
            Read, never written.
        output : Path
            The executed notebook; after a failure or Ctrl-C, as far as it came. Whatever is
            written there has passed through `Redactor`.
        parameters : mapping
            Values to inject after the cell tagged ``parameters``; may be empty.
        environment : mapping of str to str
            Variables the kernel gets besides this process's own.
        cwd : Path
            The kernel's working directory.
        on_cell : callable
            Called with (code cells done, code cells in all, heading the next stands under).

        Raises
        ------
        NotebookFailed
            If a cell raises or the kernel dies.
        """


@runtime_checkable
class KernelManager(Protocol):
    """What an engine needs of a started kernel: jupyter_client's manager has it, and a pipe's.

    Attributes
    ----------
    has_kernel : bool
        Whether a kernel was started and not yet ended.
    """

    has_kernel: bool

    async def is_alive(self) -> bool:
        """Say whether the kernel runs."""

    async def interrupt_kernel(self) -> None:
        """Interrupt the cell in progress."""

    async def shutdown_kernel(self, now: bool = False) -> None:
        """End the kernel; `now` does not ask it to."""


class PapermillEngine:
    """Papermill's injected cell and nbclient's kernel, in this process: what bare papermill does.

    The notebook is written while it runs, so that a killed run shows how far it came.

    Parameters
    ----------
    kernel : str
        Name of the kernel to run in, "" for the notebook's own.
    limits : Limits
    """

    name = "papermill"

    def __init__(self, kernel: str = "", limits: Limits = Limits()):
        self.kernel, self.limits = kernel, limits

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell) -> None:
        """Execute a notebook; see `Engine.execute`."""
        nb = _injected(notebook, parameters)
        redactor = Redactor({**os.environ, **environment})
        run = process_environment.run_folder(environment)
        begin = inputs.begin(run, notebook) if run else ""
        environment = {**os.environ, **environment}
        _finish(self._execute(nb, output, environment, cwd, on_cell, redactor, begin))

    async def _execute(self, nb, output, environment, cwd, on_cell, redactor, begin) -> None:
        from diptych.execution.notebook_client import LimitedClient

        name, limits = self.kernel or kernel_name(nb), self.limits
        client = LimitedClient(nb, limits.output_mb, kernel_name=name, timeout=limits.cell_s)
        saver = _Saver(nb, output, redactor)
        saver.now()
        with (
            TemporaryDirectory(prefix="diptych-", ignore_cleanup_errors=True) as sockets,
            Path(sockets, "words").open("w+b", buffering=0) as words,
        ):
            try:
                async with _at_most(limits.run_s, client):
                    await self._start(client, environment, cwd, sockets, words)
                    if begin:
                        await _tell(client, begin)
                    await self._execute_cells(client, saver, on_cell, redactor)
                    if begin:
                        await _tell(client, inputs.end())
                    client.set_widgets_metadata()  # a page draws widgets from it
            except BaseException as error:
                try:
                    await _stop(client, now=not await _interrupt(client))
                finally:
                    client.set_widgets_metadata()
                    saver.now()
                if isinstance(error, NotebookFailed) and error.ename == "KernelDied":
                    text = redactor.text(_last(words))
                    raise NotebookFailed(
                        error.cell, error.ename, error.evalue, text, error.label
                    ) from None
                raise
            await asyncio.gather(_stop(client), saver.meanwhile())

    async def _start(self, client, environment, cwd, sockets: str, words: BinaryIO) -> None:
        """Start the kernel.

        It talks over sockets in a folder of its own where the system has them. Nobody else on the
        machine can reach those, and two starting kernels cannot race for a port. The folder's path
        must be short: a socket's may have about 100 characters.

        What its process writes past the notebook goes to a file. It matters when the process
        dies; else it is mostly noise: ipykernel closes its sockets at its end while its thread
        for control messages still publishes, and then reports "not a socket".
        """
        from jupyter_client.kernelspec import NoSuchKernel

        manager = client.create_kernel_manager()
        if os.name == "posix":
            manager.transport = "ipc"
            manager.connection_file = str(Path(sockets) / "kernel.json")
        try:
            await client.async_start_new_kernel(
                env=dict(environment), cwd=str(cwd), stdout=words, stderr=words
            )
            await client.async_start_new_kernel_client()
        except NoSuchKernel as error:
            raise NotebookFailed(0, "NoSuchKernel", _no_kernel(error.name), "") from None
        except RuntimeError as error:
            raise NotebookFailed(0, "KernelDied", f"it did not start ({error})", "") from None

    async def _execute_cells(self, client, saver, on_cell, redactor) -> None:
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        total = sum(cell.cell_type == "code" for cell in client.nb.cells)
        label = ""
        for index, cell in enumerate(client.nb.cells):
            label = heading(cell) or label
            if cell.cell_type != "code":
                continue
            on_cell(client.code_cells_executed, total, label)
            client.reached = (index, label)
            try:
                await client.async_execute_cell(cell, index, client.code_cells_executed + 1)
            except CellExecutionError as error:
                if error.ename == "SystemExit" and error.evalue in CLEAN_EXITS:
                    _say_that_it_ended(cell)
                    break
                text = "\n".join(_traceback(cell) or [f"{error.ename}: {error.evalue}"])
                text = redactor.text(COLOUR.sub("", text))
                evalue = redactor.text(COLOUR.sub("", error.evalue))
                raise NotebookFailed(index, error.ename, evalue, text, label) from None
            except CellTimeoutError:
                why = f"the cell was ended: it took longer than {self.limits.cell_s:g} s"
                raise NotebookFailed(index, "CellTimeout", why, "", label) from None
            except DeadKernelError:
                # nbclient turns a cancelled cell (Ctrl-C) into a dead kernel.
                if asyncio.current_task().cancelling():
                    raise asyncio.CancelledError from None
                why = how_it_ended(await _returncode(client.km))
                raise NotebookFailed(index, "KernelDied", why, "", label) from None
            finally:
                _merge_streams(cell)
                saver.soon()
        on_cell(total, total, "")


class WarmEngine(PapermillEngine):
    """The same with a kernel forked from a warm process, which has imported the libraries.

    Where none can be forked, a kernel is started afresh, and a line says why.
    """

    name = "diptych"

    async def _start(self, client, environment, cwd, sockets, words) -> None:
        from diptych.execution.kernels import unavailable
        from diptych.execution.kernels.client import Refused, notice_fallback

        usual = client.kernel_manager_class
        try:
            if why := unavailable():
                raise Refused(why)
            from diptych.execution.kernels.pipe import PipeManager

            client.kernel_manager_class = PipeManager
            return await super()._start(client, environment, cwd, sockets, words)
        except Refused as refused:
            notice_fallback(refused)
            client.km, client.kernel_manager_class = None, usual
            return await super()._start(client, environment, cwd, sockets, words)


ENGINES = {engine.name: engine for engine in (WarmEngine, PapermillEngine)}


def named(
    name: str | None = None,
    kernel: str | None = None,
    limits: Limits = Limits(),
) -> Engine:
    """Return an engine by its name; without one, that of ``$DIPTYCH_ENGINE`` or the warm one.

    Parameters
    ----------
    kernel : str, optional
        Kernel that each notebook runs in, instead of the one it was saved with.
    limits : Limits
        Of each notebook.

    Raises
    ------
    ParameterError
        If there is no such engine or kernel.
    """
    where = "engine" if name else "DIPTYCH_ENGINE"
    name = name or process_environment.engine_name() or WarmEngine.name
    if name not in ENGINES:
        known = " or ".join(ENGINES)
        raise ParameterError(f"{where} = {name!r}: there is no such engine. Choose {known}")
    if kernel and kernel not in _kernels():
        raise ParameterError(f"--kernel {kernel}: {_no_kernel(kernel)}")
    return ENGINES[name](kernel or "", limits)


def _kernels() -> list[str]:
    """Return the names of the installed kernels, this environment's first."""
    from jupyter_client.kernelspec import KernelSpecManager

    return sorted(
        KernelSpecManager().find_kernel_specs(), key=lambda name: (name not in HERE, name)
    )


def _no_kernel(name: str) -> str:
    known = ", ".join(_kernels())
    if not known:
        return f"no kernel {name!r} is installed, nor any other; `diptych doctor` says what to do"
    return (
        f"no kernel {name!r} is installed; choose one by --kernel NAME. There are {known}. "
        f"{HERE[0]} is that of this environment"
    )


def how_it_ended(returncode: int | None) -> str:
    """Return in words how a kernel ended unexpectedly."""
    if returncode in (None, -9):
        return "its process was killed: out of memory, or by someone"
    if returncode < 0:
        return f"its process crashed ({signal.Signals(-returncode).name})"
    return f"its process ended itself with exit status {returncode}"


async def _returncode(manager) -> int | None:
    """Return how a kernel ended, None if nobody knows."""
    process = manager if manager.provisioner is None else manager.provisioner
    return await process.poll()


def _last(words: BinaryIO) -> str:
    """Return the end of what a process wrote."""
    words.seek(0)
    return words.read().decode(errors="replace")[-LAST_WORDS:]


def _injected(notebook: Path, parameters: Mapping[str, object]):
    """Return the notebook with papermill's cell of parameters, without old outputs."""
    import_nbformat()  # papermill imports it too
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)  # no parameters cell: said before
    nb = load_notebook_node(str(notebook))
    if parameters:
        codes = {name: value for name, value in parameters.items() if isinstance(value, Code)}
        plain = {name: value for name, value in parameters.items() if name not in codes}
        nb = parameterize_notebook(nb, plain, kernel_name="python3", language="python")
        for cell in nb.cells:
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.id = "injected-parameters"
                cell.source += "".join(f"{name} = {code}\n" for name, code in codes.items())
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


@contextlib.asynccontextmanager
async def _at_most(seconds: float | None, client):
    """Fail a notebook that takes longer, at the cell it has reached."""
    try:
        async with asyncio.timeout(seconds) as timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise
        index, label = client.reached
        why = f"the run was ended: it took longer than {seconds:g} s"
        raise NotebookFailed(index, "RunTimeout", why, "", label) from None


def _say_that_it_ended(cell) -> None:
    """Put a sentence where a clean ``sys.exit`` left an error."""
    from nbformat.v4 import new_output

    cell.outputs = [
        output
        for output in cell.outputs
        if output.get("ename") != "SystemExit" and EXIT_HINT not in output.get("text", "")
    ]
    text = "The notebook ended here, by sys.exit.\n"
    cell.outputs.append(new_output("stream", name="stdout", text=text))


async def _tell(client, code: str) -> None:
    """Run code of ours in the kernel, unseen by the notebook.

    A kernel that cannot do it takes no notes, and its run is not linked.
    """
    with contextlib.suppress(TimeoutError, RuntimeError, queue.Empty):
        await client.kc.execute(
            code, silent=True, store_history=False, allow_stdin=False, reply=True, timeout=TELLING
        )


async def _interrupt(client) -> bool:
    """Interrupt a cell in progress, so that it cleans up after itself; say whether it ended."""
    channels, client.kc = client.kc, None
    # nbclient leaves its watchers behind; the loop is this run's own.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    if channels is None:
        return False
    try:
        if await client.km.is_alive():
            await client.km.interrupt_kernel()
            # Answered when the cell has ended.
            with contextlib.suppress(TimeoutError, RuntimeError):
                await channels.kernel_info(reply=True, timeout=PATIENCE)
                return True
    finally:
        channels.stop_channels()
    return False


async def _stop(client, now: bool = False) -> None:
    """End the kernel, without asking it to if need be."""
    from jupyter_client.utils import ensure_async

    manager: KernelManager | None = client.km
    channels = client.kc
    client.km = client.kc = None
    if channels is not None:
        channels.stop_channels()
    if manager is not None and manager.has_kernel:
        await ensure_async(manager.shutdown_kernel(now=now))


def _finish(coroutine) -> None:
    """Run a coroutine to its end, also where a loop is running already (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _traceback(cell) -> list[str]:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return errors[-1].traceback if errors else []


def _merge_streams(cell) -> None:
    """Join neighbouring pieces of one stream: where they were cut is a matter of timing."""
    merged = []
    for output in cell.get("outputs", []):
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    cell.outputs = merged


class _Saver:
    """Writes the notebook soon after it changed, not at every change."""

    def __init__(self, nb, output: Path, redactor: Redactor):
        self._nb, self._output, self._redactor = nb, output, redactor
        self._timer = None

    def soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SOON, self.now)

    async def meanwhile(self) -> None:
        """Write it while other tasks wait."""
        self.now()

    def now(self) -> None:
        from nbformat.v4 import writes

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        workspace.write_atomic(self._output, writes(self._redactor.tree(self._nb)) + "\n")
