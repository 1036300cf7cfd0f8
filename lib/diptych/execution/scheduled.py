"""A run as a schedule wants it: tried again, put where readers look, summed up for programs."""

from dataclasses import dataclass
from pathlib import Path

from diptych.base.errors import NotebookFailed, ParameterError
from diptych.base.progress import say
from diptych.execution import destination, index_page, stable_paths
from diptych.execution.engine import Engine
from diptych.execution.runner import PreparedRun, run_prepared, warn_of_paths
from diptych.execution.runs import Run

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Order:
    """What is wanted of a run besides its notebook and parameters.

    Attributes
    ----------
    output : str
        Folder or address for the run folder; "" is the workspace.
    name : str
        Template of its stable path, as `stable_paths.path_of` takes it; "" for none.
    retry : int
        How many times a notebook that fails is run again.
    force : bool
        Run although nothing has changed.
    """

    output: str = ""
    name: str = ""
    retry: int = 0
    force: bool = False


@dataclass(frozen=True)
class Delivery:
    """A run and where it can be found.

    Attributes
    ----------
    run : Run
    latest : str
        Its stable path, "" without a name.
    address : str
        Where it was copied to, "" if nowhere.
    """

    run: Run
    latest: str = ""
    address: str = ""


def deliver(prepared: PreparedRun, order: Order, engine: Engine) -> Delivery:
    """Run a notebook and put its page where the order says.

    Raises
    ------
    ParameterError
        Before anything is run: if the place or the name cannot be used.
    NotebookFailed
        If it fails, `retry` times again; what ``latest`` led to stays.
    """
    place = destination.resolve(order.output)
    path = stable_paths.path_of(order.name, prepared) if order.name else ""
    warn_of_paths(prepared)
    root = place.folder / path if place.folder else None
    run = _tried(prepared, order, engine, root)
    if place.url:
        names = [f"{path}/{run.id}", f"{path}/{stable_paths.LATEST}"] if path else [run.id]
        addresses = [place.upload(run.folder, name) for name in names]
        return Delivery(run, addresses[-1] if path else "", addresses[0])
    if not path:
        return Delivery(run)
    top = place.folder or stable_paths.reports()
    latest = stable_paths.publish(run, top, path)
    index_page.enter(run, top, path)
    index_page.write_all(top)
    return Delivery(run, str(latest))


def seconds(text: str) -> float:
    """Return the seconds that a text stands for: ``90``, ``90s``, ``15m``, ``2h``, ``1d``.

    Raises
    ------
    ValueError
        If it is none.
    """
    text = text.strip().lower()
    unit = UNITS.get(text[-1:])
    value = float(text[:-1] if unit else text) * (unit or 1)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def summary(delivery: Delivery) -> dict:
    """Return what a program wants to know of a run, as plain JSON."""
    run = delivery.run
    values = run.result.get("values")
    values = values if isinstance(values, dict) else {}
    return {
        "run": run.id,
        "notebook": run.notebook,
        "title": run.manifest.get("title", ""),
        "status": run.status,
        "linked": run.linked,
        "started": run.manifest.get("started"),
        "seconds": run.manifest.get("seconds"),
        "parameters": run.manifest.get("parameters", {}),
        "values": {
            name: entry.get("value") if isinstance(entry, dict) else entry
            for name, entry in values.items()
        },
        "folder": str(run.folder),
        "page": str(run.folder / "notebook.html"),
        "latest": delivery.latest,
        "address": delivery.address,
        "error": run.manifest.get("error"),
    }


def _tried(prepared: PreparedRun, order: Order, engine: Engine, root: Path | None) -> Run:
    """Run a notebook, and again if it fails, as often as the order allows."""
    for left in range(order.retry, -1, -1):
        try:
            return run_prepared(prepared, engine=engine, outputs_root=root, force=order.force)
        except NotebookFailed as error:
            if not left:
                raise
            say(f"{prepared.name}: {error.ename}: {error.evalue[:200]}; it is run again "
                f"(retries left: {left - 1})")  # fmt: skip
    raise ParameterError(f"--retry {order.retry}: below 0. Write how many times to run again.")
