"""What the parts of the campaign count, and whether it is what SECURITY.md promises."""

from dataclasses import dataclass, replace


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
    among : int
        How many there were of what is counted, 0 where `tried` says it.
    """

    part: str
    what: str
    tried: int
    value: float
    most: float = 0
    unit: str = ""
    among: int = 0

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.most

    def plus(self, more: "Figure") -> "Figure":
        """Return what this and a further pass came to: counts are added up."""
        tried, among = self.tried + more.tried, self.among + more.among
        return replace(self, tried=tried, value=self.value + more.value, among=among)

    def line(self) -> str:
        """Return the figure as a line of a Markdown table."""
        what = f"{self.what}, of {self.among:,}" if self.among else self.what
        cells = (
            self.part, what, f"{self.tried:,}", f"{self.value:,.4g} {self.unit}".strip(),
            f"{self.most:,.4g} {self.unit}".strip(), "yes" if self.holds else "**no**",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


HEAD = "| part | what | tried | came of it | at most | holds |\n|---|---|---|---|---|---|"
