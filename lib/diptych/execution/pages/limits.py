"""How much a page takes of a notebook's outputs, and what it says of the rest.

Pictures and figures are never left out. Printed text and tables have a limit far above what
anybody reads; what is beyond it is cut or left out in place, with a line that counts it.
"""

import re
from collections.abc import Mapping

from diptych.execution.pages.sanitize import without

LIMIT = 10_000_000  # characters of text and tables in a page's outputs
LEAST = 1_000  # characters of an output that is worth leaving out
LINES = 10_000  # of one printed output; the middle of a longer one is left out
CHARACTERS = 1_000_000  # of one printed output, likewise
HEAVY = 4_000_000  # bytes of a page that says what it weighs
TEXT = ("text/plain", "text/latex", "text/markdown", "application/javascript")
ENCODED = re.compile(r"base64,[A-Za-z0-9+/=\s]+")


def cut(text: str) -> str:
    """Return printed text with the middle of a very long one left out, and counted."""
    if len(text) > 4 * CHARACTERS:  # a line of 100 MB is not split first
        text = _without_middle(text, 4 * CHARACTERS)
    lines = text.splitlines()
    if (left_out := len(lines) - LINES) > 0:
        note = f"… {left_out:,} lines left out here; the notebook has them …"
        text = "\n".join([*lines[: LINES * 3 // 4], note, *lines[-LINES // 4 :]])
    return _without_middle(text, CHARACTERS)


def _without_middle(text: str, most: int) -> str:
    if (left_out := len(text) - most) <= 0:
        return text
    note = f"\n… {left_out:,} characters left out here; the notebook has them …\n"
    return text[: most * 3 // 4] + note + text[-most // 4 :]


def drop_largest(nb: Mapping, limit: int = LIMIT) -> None:
    """Put notes in place of the largest outputs until their text is within a limit.

    Parameters
    ----------
    nb : mapping
        Changed in place.
    limit : int
        Characters; pictures, figures and scripts do not count.
    """
    outputs = [
        (_length(output), place, cell)
        for cell in nb["cells"]
        for place, output in enumerate(cell.get("outputs", ()))
    ]
    excess = sum(size for size, _, _ in outputs) - limit
    for size, place, cell in sorted(outputs, key=lambda output: -output[0]):
        if excess <= 0 or size < LEAST:
            break
        note = f"An output of {size / 1000:,.0f} kB was left out of the page; the notebook has it."
        cell["outputs"][place] = {"output_type": "stream", "name": "stdout", "text": f"{note}\n"}
        excess -= size


def weight(html: str, scripts: Mapping[str, str]) -> str:
    """Return what a heavy page weighs, in words; "" for one that is not heavy."""
    pictures = sum(len(match[0]) for match in ENCODED.finditer(html))
    if len(html) < HEAVY:
        return ""
    parts = [f"pictures {pictures / 1e6:.1f}", f"text and data {(len(html) - pictures) / 1e6:.1f}"]
    if scripts:
        parts.append(f"scripts that draw figures {sum(map(len, scripts.values())) / 1e6:.1f}")
    total = (len(html) + sum(map(len, scripts.values()))) / 1e6
    hint = "; `diptych export RUN --shrink-images` makes the pictures smaller"
    return f"This page weighs {total:.1f} MB ({', '.join(parts)} MB){hint if pictures else ''}."


def _length(output: Mapping) -> int:
    """Return the characters of an output that a page takes as text."""
    data = output.get("data", {})
    printed = min(len(output.get("text", "")), CHARACTERS)  # `cut` leaves no more
    html = data.get("text/html", "")
    if len(html) > LEAST:
        html = ENCODED.sub("", without("script", html))
    texts = sum(min(len(str(data[kind])), CHARACTERS) for kind in TEXT if kind in data)
    return printed + max(len(html), texts)
