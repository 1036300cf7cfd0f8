"""What an output shows, in sentences that are computed from the values of the run."""

from html import escape

from diptych.core.plots.html import display_html

CLASS = "interpretation"


def interpret(*sentences: str) -> None:
    """Display sentences below the output that they are about; empty ones are left out.

    Each is computed, so that it is true of other rows, too: what the output shows, with its
    numbers, and what to do about it.

    Raises
    ------
    ValueError
        If none is left: an output without a meaning is no output.
    """
    text = " ".join(sentence.strip() for sentence in sentences if sentence.strip())
    if not text:
        raise ValueError("sentences: there is none; say what the output shows")
    display_html(f'<p class="{CLASS}" role="note">{escape(text)}</p>', text)
