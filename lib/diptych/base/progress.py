"""Progress on stderr: bars on a terminal, one line a notebook anywhere."""

import sys

from tqdm import tqdm


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
    tqdm.write(line, file=sys.stderr)
