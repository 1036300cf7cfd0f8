"""Tables on paper: each stands whole, on a page that it fits.

A style sheet cannot know how wide a table is, so its width is estimated here from its words and a
class says which sheet it needs: upright, turned, or larger paper. On paper words may break, so an
estimate that is too small costs looks and never a column.
"""

import html
import re

TABLE = re.compile(r"<table\b[^<>]*>.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr\b[^<>]*>(.*?)</tr>", re.DOTALL)
CELL = re.compile(r"<t[dh]\b([^<>]*)>(.*?)(?=</?t[dhr]\b)", re.DOTALL)
SPAN = re.compile(r'colspan="(\d+)"')
MARKUP = re.compile(r"<[^<>]*>")
LETTER, GAP = 6.6, 19  # CSS pixels of a letter, and between columns
ROWS = 200  # of a table, that are looked at
WORD = 24  # letters of one word that may not break
# the first sheet whose width in pixels the table fits; the last takes what is wider
SHEETS = ((680, ""), (1_010, "turned"), (1_450, "sheet-a3"), (2_100, "sheet-a2"), (0, "sheet-a1"))


def fitted(page: str) -> str:
    """Return HTML whose wide tables say in a class which sheet of paper they need."""
    return TABLE.sub(lambda table: _marked(table[0]), page)


def _marked(table: str) -> str:
    wide = width(table)
    name = next(name for most, name in SHEETS if wide <= most or not most)
    if not name:
        return table
    head, _, rest = table.partition(">")
    if 'class="' in head:
        return head.replace('class="', f'class="{name} ', 1) + ">" + rest
    return f'{head} class="{name}">{rest}'


def width(table: str) -> float:
    """Return about how many CSS pixels a table takes so that no word breaks."""
    columns: dict[int, int] = {}
    for number, row in enumerate(ROW.finditer(table)):
        if number >= ROWS:
            break
        column = 0
        for attributes, content in CELL.findall(row[0]):
            span = SPAN.search(attributes)
            count = min(int(span[1]), 1_000) if span else 1
            if count == 1:
                columns[column] = max(columns.get(column, 1), _letters(attributes, content))
            column += count
    return sum(LETTER * letters + GAP for letters in columns.values())


def _letters(attributes: str, content: str) -> int:
    text = html.unescape(MARKUP.sub(" ", content)).strip()
    if 'class="num"' in attributes:
        return len(text)
    return min(max(map(len, text.split()), default=1), WORD)
