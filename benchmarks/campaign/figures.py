"""What the parts of the campaign count, and whether it is what SECURITY.md promises."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes
    ----------
    part, what : str
    tried : int
        How often it was tried.
    value : float
        What came of it.
    most : float
        The highest value that is promised.
    unit : str
    """

    part: str
    what: str
    tried: int
    value: float
    most: float = 0
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.most

    def line(self) -> str:
        """Return the figure as a line of a Markdown table."""
        cells = (
            self.part, self.what, f"{self.tried:,}", f"{self.value:,.4g} {self.unit}".strip(),
            f"{self.most:,.4g} {self.unit}".strip(), "yes" if self.holds else "**no**",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


HEAD = "| part | what | tried | came of it | at most | holds |\n|---|---|---|---|---|---|"
