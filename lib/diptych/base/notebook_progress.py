"""A bar while work is done: text on a terminal, and in a notebook one that ends as a plain line.

tqdm's own stores each step in a notebook without ipywidgets, and with them the state of a widget
that nobody can see later. This one needs neither, and shows nothing in a run of the runner, which
has a bar of its own.
"""

from contextlib import nullcontext
from html import escape
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from diptych.base import process_environment


@runtime_checkable
class ProgressBar(Protocol):
    """What shows progress while work is done."""

    def update(self, n: int = 1):
        """Move it on by `n`."""


def bar(total: int, unit: str, show: bool = True) -> tqdm:
    """Return a progress bar; ``update(n)`` moves it, and as a context manager it ends itself.

    Parameters
    ----------
    total : int
        Of `unit`.
    unit : str
        Of what it counts, such as ``"call"``.
    show : bool
        False shows nothing.
    """
    here = show and _in_notebook()
    show = show and not (here and process_environment.run_folder())
    kind = _InNotebook if here and show else tqdm
    return kind(total=total, unit=unit, disable=not show, mininterval=0.3)


def within(progress: ProgressBar | bool, total: int, unit: str):
    """Return the bar that a caller passes as `progress`, not to be ended here, or a new one."""
    if isinstance(progress, ProgressBar):
        return nullcontext(progress)
    return bar(total, unit, progress)


def best(progress: ProgressBar, score: float, name: str) -> None:
    """Show the best score so far beside the bar; NaN, of what failed, is none.

    A bar that shows no text is left as it is.
    """
    before = getattr(progress, "best", None)
    if score == score and (before is None or score > before):
        progress.best = score
        note(progress, f"best {score:.3f} {name}")


def note(progress: ProgressBar, text: str) -> None:
    """Show a text beside the bar, if it can show one."""
    if hasattr(progress, "set_postfix_str"):
        progress.set_postfix_str(text, refresh=False)


def _in_notebook() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class _InNotebook(tqdm):
    monitor_interval = 0  # it would show the bar from a thread of its own

    def __init__(self, **options):
        from IPython.display import display

        super().__init__(gui=True, **options)
        self._shown = display(self._shown_text(), raw=True, display_id=True)

    def _shown_text(self) -> dict[str, str]:
        text = self.format_meter(**self.format_dict | {"ncols": 0, "bar_format": FORMAT})
        part = f'<progress max="{max(self.total, 1)}" value="{self.n}"></progress>'
        return {"text/html": f"<div>{part} {escape(text)}</div>", "text/plain": text}

    def display(self, *_, **__) -> None:
        self._shown.update(self._shown_text(), raw=True)

    def close(self) -> None:
        """End it; what stays is how many there were, and of how many if not all."""
        if not self.disable:
            self.disable = True
            unit = self.unit if max(self.n, self.total or 0) == 1 else f"{self.unit}s"
            part = f" of {self.total:,}" if self.total and self.n < self.total else ""
            self._shown.update({"text/plain": f"{self.n:,}{part} {unit}"}, raw=True)


FORMAT = "{desc}{n_fmt} of {total_fmt} {unit}s, {remaining} left{postfix}"
