"""Progress on stderr: bars on a terminal, one line a notebook anywhere."""

import re
import sys

from tqdm import tqdm

# control characters, marks and overrides of direction, halves of characters
STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Bar:
    """A bar on a terminal, nothing elsewhere.

    Parameters
    ----------
    name : str
        Shown before the bar.
    unit : str
        Of what it counts.
    show : bool
        False shows nothing on a terminal either.
    """

    def __init__(self, name: str, unit: str, show: bool = True, total: int = 0):
        self._name = name
        self._bar = tqdm(
            desc=name,
            unit=unit,
            total=total,
            file=sys.stderr,
            leave=False,
            disable=not (show and sys.stderr.isatty()),
            bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} {unit} {elapsed}",
        )

    def __call__(self, done: int, total: int, label: str = "") -> None:
        """Show how much is done and what comes next."""
        self._bar.total = total
        self._bar.n = done
        self._bar.set_description_str(f"{self._name} · {label}" if label else self._name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()


def say(line: str) -> None:
    """Write a line above the bars."""
    tqdm.write(printable(line, also="\n\t"), file=sys.stderr)


def printable(text: str, also: str = "") -> str:
    """Return a text, such as a file's name, that steers no terminal and turns no direction.

    Parameters
    ----------
    also : str
        Characters that stay all the same.
    """
    return STEERING.sub(lambda match: match[0] if match[0] in also else ascii(match[0])[1:-1], text)
