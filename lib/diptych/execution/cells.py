"""Which cells ran since a run began, so that its record cannot differ from what ran.

IPython's hooks keep every cell that ran, with its source and how it ended. From that follows what
a record made now would stand on:

- A run is *complete* if what is on record ran in one pass, from the setup cell downwards, with the
  parameters on record.
- It is a *draft* if cells ran again or in another order: true as far as it goes, but not what the
  notebook gives when all of it runs. Later stages build on no draft.
- What stands on names from before (of another run, or of other parameters) cannot be recorded.
"""

import contextlib
import copy
import json
import os
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.base import hashing, process_environment
from diptych.execution.cell_names import Names, names_of
from diptych.execution.parameters import is_plain

AGAIN = "run the setup cell and the cells below it again"
SHOWN = 2  # reasons
RUNNING, OK, FAILED, INTERRUPTED = "running", "ok", "failed", "interrupted"


@dataclass(eq=False)
class Cell:
    """One execution of one cell.

    Attributes
    ----------
    source : str
    id : str
        That of the notebook's cell; "" where the frontend sends none.
    state : str
        ``running``, ``ok``, ``failed`` or ``interrupted``.
    number : int
        Counts the cells of the session.
    partial : str
        What it did only in part, although it ended well.
    stale : frozenset of str
        Names that it read and that were made before a change.
    """

    source: str
    id: str = ""
    state: str = RUNNING
    number: int = 0
    partial: str = ""
    stale: frozenset[str] = frozenset()

    @property
    def names(self) -> Names:
        """The names it reads and binds."""
        return names_of(self.source)

    @property
    def key(self) -> str:
        """What tells that it is the same cell that runs again."""
        return self.id or hashing.of_json(self.source)

    def __str__(self) -> str:
        lines = [line.strip() for line in self.source.splitlines()]
        first = next((line for line in lines if line and line[0] not in "#%"), "an empty cell")
        return f"`{first if len(first) <= 40 else first[:37] + '...'}`"


class Log:
    """The cells of one kernel since its run began.

    Attributes
    ----------
    run : object
        The record of the run in progress, None if the setup cell has not ended well.
    parameters : dict
        The values that the cells of this pass ran with, of those that are plain.
    changes : dict of str to (before, now)
        Parameters that changed since the run was last written.
    executed : list of Cell
        All since the setup cell, in the order they ran.
    sequence : list of Cell
        Those that this pass consists of: what ran before a cell ran again, then that cell, and
        what ran after it.
    dropped : list of Cell
        Those of an earlier pass, since the run was last written.
    repeated : list of Cell
        Those that ran once more at once, since the run was last written.
    from_top : bool
        Whether this pass went back to the cell below the setup cell.
    """

    def __init__(self, shell):
        self.shell, self.namespace = shell, shell.user_ns
        self.run, self.current = None, None
        self.prologue: list[Cell] = []
        self.executed: list[Cell] = []
        self.sequence: list[Cell] = []
        self.stale: dict[str, str] = {}
        self.carried: set[str] = set()
        self.path: Path | None = None
        self.began, self.count = False, len(_history(shell))
        self._clear({}, ())
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._after)

    def _clear(self, parameters: Mapping, fixed: Collection[str]) -> None:
        plain = {k: v for k, v in parameters.items() if is_plain(self.namespace.get(k))}
        self.parameters, self.fixed = copy.deepcopy(plain), set(fixed)
        self.overwritten, self.reasons = set(), []
        self.written()

    def written(self) -> None:
        """Note that the run's record is of this pass now."""
        self.changes, self.dropped, self.repeated, self.from_top = {}, [], [], False

    def begin(self, run, parameters: Mapping, fixed: Collection[str], path: Path | None) -> None:
        """Begin a pass at the cell that runs, the setup cell.

        Parameters
        ----------
        run : object
            The record.
        parameters : mapping
            Values on record.
        fixed : collection of str
            Parameters that the setup cell itself reads.
        path : Path or None
            The notebook, if this session's is known.
        """
        history = [source for source in _history(self.shell) if source.strip()]
        source = history.pop() if history else ""
        # the hooks may be younger than this cell
        self.current = self.current or Cell(source, number=len(history))
        if self.began:
            self._put_aside([cell for cell in self.executed if cell is not self.current], path)
        else:
            self.prologue = [Cell(one, state=OK, number=n) for n, one in enumerate(history)]
        self._check_prologue(parameters)
        for name in (*self.current.names.binds, *parameters):
            self.stale.pop(name, None)
            self.carried.discard(name)
        self._clear(parameters, fixed)
        self.executed, self.sequence = [self.current], [self.current]
        self.run, self.path, self.began = run, path, True

    def _put_aside(self, earlier: list[Cell], path: Path | None) -> None:
        """Let nothing that earlier cells made pass for this run's, but what is above the setup."""
        above = _keys_above(path, self.current)
        digests = {hashing.of_json(cell.source) for cell in self.prologue}
        top = []
        for cell in earlier:
            defined = hashing.of_json(cell.source) in digests and self._defines(cell)
            if cell.key in above or defined or cell.names.declares_only(self.parameters):
                top.append(cell)
            else:
                self._spoil(cell, "is from before this run began")
        fresh = set().union(*(cell.names.binds for cell in top if cell.state == OK))
        for name in fresh:
            self.stale.pop(name, None)
        keys = {cell.key for cell in top}
        older = [cell for cell in self.prologue if cell.key not in keys]
        names = set().union(*(cell.names.binds for cell in older)) - fresh
        self.carried = {name for name in names if not _is_imported(self.namespace.get(name))}
        self.prologue = [*older, *top]

    def _defines(self, cell: Cell) -> bool:
        """Say whether a cell makes functions and classes only, or imports them."""
        kinds = (type, types.FunctionType, types.ModuleType)
        return all(isinstance(self.namespace.get(name), kinds) for name in cell.names.binds)

    def _check_prologue(self, parameters: Mapping) -> None:
        """Let nothing pass that cells above the setup made with other parameters."""
        bound = {
            name: cell.number
            for cell in self.prologue
            for name in cell.names.binds & parameters.keys()
        }
        for cell in self.prologue:
            for name in cell.names.reads & bound.keys():
                if bound[name] > cell.number:
                    self._spoil(cell, f"was made before {name} was set")

    def end(self) -> None:
        """End the run in progress: nothing more is recorded for it."""
        self.run = None

    def note(self, reason: str) -> None:
        """Make the run a draft, for a reason that only the caller knows."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    def fault(self, run, recording: bool) -> str:
        """Return why nothing true can be recorded now, in one sentence; "" if it can."""
        if run is not self.run:
            return f"This run has ended, for the setup cell ran again: {AGAIN}"
        for name in sorted(self.current.names.reads & self.stale.keys()) if recording else ():
            return f"{name} {self.stale[name]}: {AGAIN}, or the cells from there on"
        for name, value in self.parameters.items():
            if name in self.overwritten or name in self.current.names.binds:
                continue
            live = self.namespace.get(name)
            if not _same(live, value):
                return f"{name} is {live!r}, and was {value!r} when its cells ran: {AGAIN}"
        return ""

    def draft(self) -> list[str]:
        """Return why the run is a draft, nothing if it is complete."""
        reasons = list(self.reasons)
        mended = {cell.key for cell in self.sequence if cell.state == OK}
        last = {cell.key: cell for cell in self.sequence}
        for cell in self.sequence:
            if cell.partial and last[cell.key] is cell:
                reasons.append(cell.partial)
            if cell.names.shows:
                continue
            if cell.state == INTERRUPTED:
                reasons.append(f"{cell} was interrupted")
            elif cell.state == FAILED and cell.key not in mended:
                reasons.append(f"{cell} failed")
        skipped = _skipped(self.path, self.sequence) if self.path else []
        reasons += [f"{cell} did not run" for cell in skipped[:1]]
        return list(dict.fromkeys(reasons))

    def needed(self) -> list[Cell]:
        """Return the cells above the setup cell whose names the executed cells read."""
        names, bound = set(), set()
        for cell in self.executed:
            names |= cell.names.reads - bound
            bound |= cell.names.binds
        chosen = {}
        for cell in reversed(self.prologue):
            is_setup = "start(" in cell.source and cell.names.binds & self.executed[0].names.binds
            if is_setup or cell.key in chosen or cell.names.declares_only(self.parameters):
                continue
            if cell.names.binds & names:
                names |= cell.names.reads
                chosen[cell.key] = cell
        return list(reversed(chosen.values()))

    def _before(self, info) -> None:
        """Enter a cell that is about to run."""
        self.count += 1
        cell = self.current = Cell(info.raw_cell, info.cell_id or "", number=self.count)
        self.executed.append(cell)
        if self.run is None:
            return
        names = cell.names
        if names.declares_only(self.parameters) and not _is_linear():
            self.overwritten -= names.binds  # what changed is noticed by the next cell
            return
        if names.shows:
            self.sequence.append(cell)
            return
        self._rewind(cell, self._changed(names))
        for name in sorted(names.reads & self.overwritten):
            self.note(f"{name} was changed by a cell before {cell}")
        cell.stale = frozenset(names.reads & self.stale.keys())
        for name in sorted(cell.stale):
            self.note(f"{cell} used {name}, which {self.stale[name]}")
        for name in sorted(names.reads & self.carried):
            self.note(f"{cell} used {name}, which is from before an earlier run")

    def _after(self, result) -> None:
        """Leave a cell that has run."""
        cell = self.current
        if cell is None:
            return
        if result.error_before_exec is not None:  # no line of it ran
            for cells in (self.executed, self.sequence):
                if cell in cells:
                    cells.remove(cell)
            return
        error = result.error_in_exec
        interrupted = isinstance(error, KeyboardInterrupt)
        cell.state = INTERRUPTED if interrupted else OK if error is None else FAILED
        if self.run is None:
            return
        names = cell.names
        if cell.state == OK:
            earlier = sorted(names.reads & self.stale.keys())
            self.carried -= names.binds
            for name in names.binds:
                if earlier:
                    self.stale[name] = self.stale[earlier[0]]
                else:
                    self.stale.pop(name, None)
        self._see_overwritten(cell)
        with contextlib.suppress(OSError):
            self.run.after_cell()

    def _see_overwritten(self, cell: Cell) -> None:
        """Note which parameters a cell used as names of something else."""
        for name in cell.names.binds & self.parameters.keys():
            if name in cell.names.literals and not _is_linear():
                continue
            if name in cell.names.rebinds:
                self.note(f"{name} was changed inside {cell}")
            if not _same(self.namespace.get(name), self.parameters[name]):
                self.overwritten.add(name)

    def _changed(self, names: Names) -> dict:
        """Return the parameters that a cell will see with another value than those before it."""
        if _is_linear():
            return {}
        changed = {}
        for name, before in self.parameters.items():
            now = names.literals.get(name, self.namespace.get(name, before))
            if name not in self.overwritten and not _same(now, before):
                changed[name] = copy.deepcopy(now)
        return changed

    def _rewind(self, cell: Cell, changed: dict) -> None:
        """Let a pass go back to where a cell ran before, or where a changed parameter was read."""
        place = self._place(cell, changed)
        why = f"{cell} ran again"
        for name, value in changed.items():
            first, _ = self.changes.get(name, (self.parameters[name], None))
            self.changes[name] = (first, value)
            why = f"{name} was {self.parameters[name]!r}"
        self.parameters |= changed
        dropped = [one for one in self.sequence[place:] if not one.names.shows]
        for one in dropped:
            self._spoil(one, f"was made when {why}" if changed else f"is from before {why}")
        if dropped and (place > 1 or self._setup_makes()):
            self.note(f"cells above {cell} ran {'when' if changed else 'before'} {why}")
        elif dropped:
            self.reasons, self.from_top = [], True
        self.dropped += dropped
        self.sequence = [*self.sequence[:place], cell]

    def _place(self, cell: Cell, changed: dict) -> int:
        """Return how many cells of the sequence stay before a cell that runs now."""
        body = [place for place, one in enumerate(self.sequence) if not one.names.shows][1:]
        same = [place for place in body if self._is_again(cell, self.sequence[place])]
        ended = [place for place in same if self.sequence[place].state == OK]
        readers = [p for p in body if self.sequence[p].names.reads & changed.keys()]
        # what waited for this cell has run too early, and runs again after it
        early = [p for p in body if self.sequence[p].stale & cell.names.binds]
        places = [len(self.sequence), *readers[:1], *early[:1]]
        if changed.keys() & self.fixed:
            places.append(1)
        if ended and ended[-1] != body[-1]:
            places += ended[:1]
        else:  # at once, or it had not ended well
            self.repeated += [self.sequence[place] for place in same]
        return min(places)

    def _is_again(self, cell: Cell, other: Cell) -> bool:
        """Say whether two executions are of one cell.

        Without ids two cells of a notebook may be alike: who takes no input, as papermill, runs
        each once.
        """
        if cell.id or other.id:
            return cell.id == other.id
        kernel = getattr(self.shell, "kernel", None)
        attended = getattr(kernel, "_allow_stdin", True) and not _is_linear()
        return attended and cell.key == other.key

    def _setup_makes(self) -> bool:
        """Say whether the setup cell binds more than imports, parameters and the run."""
        names = self.sequence[0].names.binds - self.parameters.keys()
        values = (self.namespace.get(name) for name in names)
        return any(not _is_imported(value) and value is not self.run for value in values)

    def _spoil(self, cell: Cell, why: str) -> None:
        for name in cell.names.binds - self.parameters.keys():
            if not _is_imported(self.namespace.get(name)):
                self.stale[name] = why


_LOGS: list[Log] = []  # of this process, at most one


def current() -> Log | None:
    """Return the log of this kernel, None before the first run, or where there is no IPython."""
    return _LOGS[0] if _LOGS else None


def log_of(namespace: Mapping) -> Log | None:
    """Return the log of the IPython session whose names these are, begun if need be, or None."""
    import sys

    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or shell.user_ns is not namespace:
        return None
    if not _LOGS or _LOGS[0].shell is not shell:
        _LOGS[:] = [Log(shell)]
    return _LOGS[0]


def in_short(reasons: list[str]) -> str:
    """Return the first reasons why a run is a draft, and how many more there are."""
    more = len(reasons) - SHOWN
    if more <= 1:
        return "; ".join(reasons)
    return "; ".join([*reasons[:SHOWN], f"and {more} more reasons"])


def note_partial(reason: str) -> None:
    """Say that the cell that runs does its work in part: unless it runs again, the run is a draft.

    Parameters
    ----------
    reason : str
        In words, such as ``"7 of 20 settings were tried"``.
    """
    if _LOGS and _LOGS[0].current is not None:
        _LOGS[0].current.partial = reason


def notebook_of_session(namespace: Mapping) -> Path | None:
    """Return the notebook that Jupyter or VS Code has open here, None if it is not known."""
    path = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return Path(path) if path.endswith(".ipynb") and Path(path).is_file() else None


def sources_before(namespace: Mapping) -> list[str]:
    """Return the sources of the cells that ran in the session whose names these are."""
    log = log_of(namespace)
    return _history(log.shell) if log else []


def code_cells(path: Path | None) -> list[Cell]:
    """Return the code cells of a notebook; none of one that cannot be read."""
    try:
        content = json.loads(path.read_bytes())["cells"] if path else []
        return [
            Cell("".join(cell["source"]), cell.get("id", ""))
            for cell in content
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _keys_above(path: Path | None, setup: Cell) -> set[str]:
    """Return the keys of a notebook's cells above its setup cell."""
    keys = [cell.key for cell in code_cells(path)]
    return set(keys[: keys.index(setup.key)]) if setup.key in keys else set()


def _skipped(path: Path, sequence: list[Cell]) -> list[Cell]:
    """Return the cells of a notebook, between the first and the last that ran, that did not."""
    cells = code_cells(path)
    ids = [cell.id for cell in cells]
    first, last = sequence[0].id, sequence[-1].id
    if not first or first not in ids or last not in ids:
        return []
    executed = {cell.id for cell in sequence}
    between = cells[ids.index(first) : ids.index(last)]
    return [
        cell
        for cell in between
        if cell.id not in executed and cell.source.strip() and not cell.names.shows
    ]


def _history(shell) -> list[str]:
    """Return the sources of the cells that a session has run, this one's last."""
    return list(getattr(shell.history_manager, "input_hist_raw", []))


def _is_linear() -> bool:
    """Say whether a runner executes the notebook, from top to bottom."""
    return process_environment.run_folder() is not None


def _is_imported(value) -> bool:
    """Say whether a value is a module, or a function or class from one: nobody changes those."""
    if isinstance(value, types.ModuleType):
        return True
    defined = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    return defined and value.__module__ != "__main__"


def _same(one, other) -> bool:
    """Say whether two plain values are the same, in type too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one is other or (isinstance(one, bool | int | float | str) and one == other)
