"""The style of every plot: colours, markers, sizes; nobody else's plots are touched.

Paper and ink are those of ``execution/pages/templates/diptych.css``, so a figure has no edge on a
page; the landing page has the colours too.
"""

import functools
from collections.abc import Callable
from typing import Any

LIGHT = {"paper": "#fbfaf6", "ink": "#1c2326"}
DARK = {"paper": "#14181b", "ink": "#e8e5dc"}
# at least 3:1 on their paper, and apart in the three common kinds of colour blindness
SERIES = ("#12796d", "#b5711a", "#7450c8", "#df58ac")
DARK_SERIES = ("#3fae9f", "#d28d34", "#9a7cf0", "#df58ac")
FAINT = 0.2  # the most opaque that decoration is: grid and bands; what must be seen is 3:1
MARKERS = ("o", "s", "^", "D")
WIDTH = 540  # of a figure, in CSS pixels
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.labelsize": 12.5,
    "axes.prop_cycle": f"cycler('color', {list(SERIES)})",
    "font.size": 12.5,
    "grid.alpha": 0.15,
    "grid.color": "black",
    "grid.linewidth": 0.8,
    "legend.fontsize": 12.5,
    "legend.frameon": False,
    "legend.title_fontsize": 12.5,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "xtick.labelsize": 12,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.labelsize": 12,
    "ytick.major.size": 0,
}


def styled(plot: Callable) -> Callable:
    """Make a function draw in the house style, without touching anyone else's."""

    @functools.wraps(plot)
    def draw(*args: Any, **kwargs: Any) -> Any:
        from matplotlib import style

        with style.context(["default", STYLE]):
            return plot(*args, **kwargs)

    return draw


@styled
def figure(height: int = 300, columns: int = 1) -> Any:
    """Return a matplotlib figure in the house style, and its axes.

    Parameters
    ----------
    height : int
        In CSS pixels; the width is always `WIDTH`.
    columns : int
        How many axes side by side.
    """
    from matplotlib.figure import Figure

    fig = Figure((WIDTH / 72, height / 72), layout="constrained")
    return fig, fig.subplots(1, columns)
