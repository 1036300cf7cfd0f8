"""A bar while calls are made: text on a terminal, and in a notebook one that ends as a plain line.

tqdm's own writes its bar to stderr in a notebook without ipywidgets, and every step of it is kept
in the stored outputs.
"""

from contextlib import nullcontext
from html import escape

from tqdm import tqdm


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


def within(progress, total: int, unit: str):
    """Return the bar that a caller gave as `progress`, not to be ended here, or a new one."""
    given = hasattr(progress, "update")
    return nullcontext(progress) if given else bar(total, unit, progress)


def _in_notebook() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class _InNotebook(tqdm):
    monitor_interval = 0  # it would show the bar from a thread of its own

    def __init__(self, **options):
        from IPython.display import display

        super().__init__(gui=True, **options)
        self._shown = display(self._said(), raw=True, display_id=True)

    def _said(self) -> dict[str, str]:
        text = self.format_meter(**self.format_dict | {"ncols": 0, "bar_format": SAID})
        part = f'<progress max="{max(self.total, 1)}" value="{self.n}"></progress>'
        return {"text/html": f"<div>{part} {escape(text)}</div>", "text/plain": text}

    def display(self, *_, **__) -> None:
        self._shown.update(self._said(), raw=True)

    def close(self) -> None:
        """End it; what stays is how many there were."""
        if not self.disable:
            self.disable = True
            text = f"{self.n:,} {self.unit}s" if self.n != 1 else f"1 {self.unit}"
            self._shown.update({"text/plain": text}, raw=True)


SAID = "{desc}{n_fmt} of {total_fmt} {unit}s, {remaining} left"
