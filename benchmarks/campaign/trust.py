"""What each part of the campaign came to when it last ran whole, and the page of them all."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from figures import HEAD, Figure

BENCHMARKS = Path(__file__).resolve().parents[1]
DAY_S = 24 * 3600
INTRODUCTION = (
    "Written by `make campaign`, part by part, each on the day that its row says. The head of "
    "each module in `benchmarks/campaign/` says what is done; SECURITY.md says what is promised. "
    "Load is the most processes that ran beside it (load average of a minute), so that minutes "
    "are those of a machine that others used, too."
)


@dataclass(frozen=True)
class Pass:
    """One part's figures, and when and how they came about.

    Attributes
    ----------
    part : str
    size, whole : int
        How much of the part is done, and how much there is.
    figures : list of Figure
    seed : int
    seconds : float
    load : float
        The load average of a minute when it began.
    time : float
        Unix time when it ended.
    """

    part: str
    size: int
    whole: int
    figures: list[Figure]
    seed: int
    seconds: float
    load: float
    time: float = 0.0
    cores: int = 0
    python: str = ""

    @property
    def holds(self) -> bool:
        """Whether every promise is kept."""
        return all(figure.holds for figure in self.figures)

    def plus(self, more: "Pass") -> "Pass":
        """Return this pass and a further part of it as one."""
        figures = [one.plus(two) for one, two in zip(self.figures, more.figures, strict=True)]
        size, seconds = self.size + more.size, self.seconds + more.seconds
        load = max(self.load, more.load)
        return replace(more, size=size, figures=figures, seconds=seconds, load=load)

    def store(self) -> None:
        """Replace the figures that are stored of the part."""
        facts = asdict(self) | {
            "time": round(time.time()),
            "seconds": round(self.seconds),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        file = _file(self.part)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(facts, indent=1) + "\n")

    def line(self) -> str:
        """Return when and how it ran, as a line of a Markdown table."""
        day = datetime.fromtimestamp(self.time or time.time(), UTC)
        cells = (
            self.part, f"{self.size:,} of {self.whole:,}", f"{day:%Y-%m-%d}", self.seed,
            f"{self.seconds / 60:.1f}", f"{self.load:.1f}", self.cores or os.cpu_count(),
            self.python or platform.python_version(),
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


def _file(part: str) -> Path:
    return BENCHMARKS / "trust" / f"{part}.json"


def stored(part: str) -> Pass | None:
    """Return a part's last whole pass, None if there is none."""
    if not _file(part).exists():
        return None
    facts = json.loads(_file(part).read_text())
    return Pass(**facts | {"figures": [Figure(**figure) for figure in facts["figures"]]})


def recent(part: str, seed: int) -> Pass | None:
    """Return the part's pass with this seed if it was stored within a day and holds."""
    last = stored(part)
    fits = last is not None and last.holds and last.seed == seed
    return last if fits and time.time() - last.time < DAY_S else None


def page(passes: list[Pass]) -> str:
    """Return the page of some passes."""
    when = "| part | done | day | seed | minutes | load | cores | Python |\n" + "|---" * 8 + "|"
    figures = [figure.line() for one in passes for figure in one.figures]
    return "\n\n".join([
        "# What the attacks came to",
        INTRODUCTION,
        "\n".join([HEAD, *figures]),
        "\n".join([when, *(one.line() for one in passes)]),
        "Not tried here: what SECURITY.md names as not promised.",
    ]) + "\n"  # fmt: skip


def write(parts: list[str]) -> None:
    """Write TRUST.md from what is stored of the parts."""
    passes = [one for part in parts if (one := stored(part)) is not None]
    (BENCHMARKS / "TRUST.md").write_text(page(passes))
