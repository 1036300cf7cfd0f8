"""Results that show themselves in a notebook: frames with a caption, a plot or a link."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from diptych.core.plots import html


class ShownFrame(pd.DataFrame):
    """A DataFrame that a notebook shows as Diptych's tables are; what is taken of it is ordinary.

    Its `attrs` hold ``caption``, and ``note`` where a sentence stands below.
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        return html.table_html(self._table(), str(self.attrs.get("caption", ""))) + self._below()

    def _table(self) -> pd.DataFrame:
        """Return what is shown as a table."""
        return pd.DataFrame(self)

    def _below(self) -> str:
        """Return HTML that stands below the table."""
        note = self.attrs.get("note", "")
        return f"<p>{escape(note)}</p>" if note else ""


@dataclass(frozen=True)
class Page:
    """A page that was written: in a notebook a link, elsewhere its path.

    Attributes
    ----------
    path : Path
    title : str
    """

    path: Path
    title: str = ""

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Open it in a browser."""
        import webbrowser

        webbrowser.open(self.path.absolute().as_uri())

    def _repr_html_(self) -> str:
        return link(self.path, self.title)


def link(path: Path, title: str = "") -> str:
    """Return a link to a file, relative to the working folder as links of a notebook are."""
    try:
        address = os.path.relpath(path, Path.cwd())
    except ValueError:  # on another drive
        address = path.absolute().as_uri()
    return f'<a href="{escape(address)}" target="_blank">{escape(title or path.name)}</a>'
