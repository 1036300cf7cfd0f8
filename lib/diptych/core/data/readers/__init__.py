"""Read a table of any kind: one module a format, and what was guessed.

`read_table` finds the format, reads, and says what it guessed; `parse_options` reads the string in
which a user corrects a guess.
"""

from diptych.core.data.facts import Conventions
from diptych.core.data.readers.formats import (
    SUFFIXES,
    columns_of_beginning,
    read_table,
    resolve,
    shown,
    stem,
)
from diptych.core.data.readers.options import (
    DROP,
    OPTIONS,
    kinds_of,
    labels_of,
    parse_options,
    without_drops,
)
from diptych.core.data.readers.table import Guess, RawTable, guess_table

__all__ = [
    "DROP",
    "OPTIONS",
    "SUFFIXES",
    "Conventions",
    "Guess",
    "RawTable",
    "columns_of_beginning",
    "guess_table",
    "kinds_of",
    "labels_of",
    "parse_options",
    "read_table",
    "resolve",
    "shown",
    "stem",
    "without_drops",
]
