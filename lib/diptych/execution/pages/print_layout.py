"""Tables on paper: each stands whole, on a page that it fits.

A style sheet cannot know how wide a table is, so its width is estimated here from its words. A
table that is too wide is printed smaller, on a turned sheet if that would be too small. Where the
estimate cannot be sure (long words, styles of the table's own), words may break on paper, so that
no column is ever cut.
"""

import html
import re

TABLE = re.compile(r"<table\b[^<>]*>.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr\b[^<>]*>(.*?)</tr>", re.DOTALL)
CELL = re.compile(r"<t[dh]\b([^<>]*)>(.*?)(?=</?t[dhr]\b)", re.DOTALL)
SPAN = re.compile(r'colspan="(\d+)"')
MARKUP = re.compile(r"<[^<>]*>")
GAP = 20  # CSS pixels between columns
WIDTHS = (  # CSS pixels of letters in the widest of the usual fonts, as tables print it
    ("ijlI.,:;'|!", 4.2), ("frt()[]- ", 5.4), ("mwMW@%—", 12.2), ("ABCDEFGHJKLNOPQRSTUVXYZ&", 9.6)
)  # fmt: skip
LETTER, WIDE = 7.8, 12.4  # of all others, and of those beyond the Latin letters
LETTERS = {letter: width for letters, width in WIDTHS for letter in letters}
ROWS = 500  # of a table, that are looked at
WORD = 24  # letters of one word that may not break
UPRIGHT, TURNED = 680, 1_008  # CSS pixels of a sheet's width
SMALL, SMALLEST = 0.7, 0.3  # of the usual size: a table turns below the first, and ends at the last


def fitted(page: str) -> str:
    """Return HTML whose wide tables say how they are printed."""
    return TABLE.sub(lambda table: _marked(table[0]), page)


def _marked(table: str) -> str:
    wide, is_sure = width(table)
    turned = wide * SMALL > UPRIGHT
    size = min(1.0, (TURNED if turned else UPRIGHT) / wide) if wide else 1.0
    names = ["whole"] if is_sure and size > SMALLEST else []
    names += ["turned"] if turned else ["smaller"] if size < 1 else []
    if not names:
        return table
    head, _, rest = table.partition(">")
    fit = f"--fit: {max(size, SMALLEST):.2f};"
    for key, value in (("class", " ".join(names)), ("style", fit))[: 1 if size == 1 else 2]:
        if f' {key}="' in head:
            head = head.replace(f' {key}="', f' {key}="{value} ', 1)
        else:
            head += f' {key}="{value}"'
    return f"{head}>{rest}"


def width(table: str) -> tuple[float, bool]:
    """Return how many CSS pixels a table takes if no word breaks, and whether that is sure."""
    columns: dict[int, float] = {}
    is_sure = True
    for number, row in enumerate(ROW.finditer(table)):
        if number >= ROWS:
            is_sure = False
            break
        column = 0
        for attributes, content in CELL.findall(row[0]):
            span = SPAN.search(attributes)
            count = min(int(span[1]), 1_000) if span else 1
            if count == 1:
                words = html.unescape(MARKUP.sub(" ", content)).split()
                longest = max((_pixels(word[:WORD]) for word in words), default=0)
                columns[column] = max(columns.get(column, 0), longest)
                is_sure &= all(len(word) <= WORD for word in words) and "<img" not in content
            column += count
    return sum(columns.values()) + GAP * len(columns), is_sure


def _pixels(word: str) -> float:
    return sum(LETTERS.get(letter, LETTER if letter < "\u0500" else WIDE) for letter in word)
