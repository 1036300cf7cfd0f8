"""What every reader takes and gives back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from diptych.core.data.facts import Conventions

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?")


@dataclass(frozen=True)
class Guess:
    """Something a reader decided that the file does not say.

    Attributes
    ----------
    what, value : str
        Such as "decimal mark" and ",".
    why : str
        The evidence, in numbers where there are any.
    override : str
        What to give as `read_options` to decide otherwise; "" if nothing can.
    """

    what: str
    value: str
    why: str
    override: str = ""


@dataclass(frozen=True)
class RawTable:
    """A table as its file has it.

    Attributes
    ----------
    frame : DataFrame
        At least one row. Columns of a text file are strings, with null for an empty field; columns
        of a typed format keep their type, whole numbers with gaps as pandas' nullable integers.
    guesses : list of Guess
        What was decided without being told.
    notes : list of str
        What was left out or named, and why.
    conventions : Conventions
        How the strings in `frame` write numbers and gaps.
    """

    frame: pd.DataFrame
    guesses: list[Guess] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conventions: Conventions = field(default_factory=Conventions)

    def guessed(self) -> pd.DataFrame:
        """Return the guesses as a table to show, one row each."""
        return guess_table(self.guesses)


def guess_table(guesses: Sequence[Guess]) -> pd.DataFrame:
    """Return guesses as a table to show, one row each."""
    rows = [(g.what, g.value, g.why, g.override) for g in guesses]
    return pd.DataFrame(rows, columns=["guessed", "value", "because", "to override"])


@dataclass(frozen=True)
class Source:
    """The bytes of one file on their way to a reader.

    Attributes
    ----------
    data : bytes
    name : str
        The file's own name in lower case; its suffix tells the format. Of an archive, the member's.
    place : str
        What messages call it: no password, no query.
    options : mapping
        As `parse_options` returns it.
    expected : collection of str
        Names of columns; a first row that holds one of them is the header.
    """

    data: bytes
    name: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)
    expected: Collection[str] = ()
