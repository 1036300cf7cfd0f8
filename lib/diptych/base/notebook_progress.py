"""A bar while calls are made: text on a terminal, and in a notebook one that ends as a plain line.

tqdm's own writes its bar to stderr in a notebook without ipywidgets, and every step of it is kept
in the stored outputs.
"""

from contextlib import nullcontext
from html import escape
from typing import Protocol, runtime_checkable

from tqdm import tqdm


@runtime_checkable
class ProgressBar(Protocol):
    """What shows progress while calls are made."""

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
    kind = _InNotebook if show and _in_notebook() else tqdm
    return kind(total=total, unit=unit, disable=not show, mininterval=0.3)


def within(progress: ProgressBar | bool, total: int, unit: str):
    """Return the bar that a caller passes as `progress`, not to be ended here, or a new one."""
    if isinstance(progress, ProgressBar):
        return nullcontext(progress)
    return bar(total, unit, progress)


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
        """End it; what stays is how many there were."""
        if not self.disable:
            self.disable = True
            text = f"{self.n:,} {self.unit}s" if self.n != 1 else f"1 {self.unit}"
            self._shown.update({"text/plain": text}, raw=True)


FORMAT = "{desc}{n_fmt} of {total_fmt} {unit}s, {remaining} left"
