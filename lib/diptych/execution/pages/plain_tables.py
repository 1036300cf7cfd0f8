"""The commonest output of all, a table as pandas writes it, without a parser of HTML.

A thousand tables are fitted in seconds. What is not written exactly so is left to `sanitize`,
which does the same to it: a test compares the two.
"""

import re

NUMBER = re.compile(r"[-+\u2212<]?[\d][\d,_.]*(e[-+]?\d+)?\s?%?|nan|None|—", re.IGNORECASE)
# possessive: a long run of spaces is read once, whatever follows
WHOLE = re.compile(
    r"\s*+(?P<open><div>)?+\s*+(?P<style><style scoped>[^<]*+</style>)?+\s*+"
    r"<table(?: border=\"1\")?(?P<class> class=\"[\w -]*\")?>(?P<rows>.*)</table>"
    r"\s*+(?P<size><p>[^<>&]*+</p>)?+\s*+(?P<close></div>)?+\s*+",
    re.DOTALL,
)
PART = re.compile(r"\s*<(/?)(thead|tbody|tfoot|tr)(?: style=\"text-align: \w+;\")?>|\s*<(th|td)>")
TEXT = re.compile(r"([^<>\x00\r]*)</(th|td)>")
ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|#39);)")
BOX = '<div aria-label="Table" class="scroll" role="group" tabindex="0">'


def fitted(html: str) -> str | None:
    """Return a plain table ready for the page; None if it is not one."""
    match = WHOLE.fullmatch(html)
    if not match or bool(match["open"]) != bool(match["close"]) or ENTITY.search(html):
        return None
    pieces = _pieces(match["rows"])
    if pieces is None:
        return None
    size = match["size"] or ""
    inside = f"{BOX}<table{match['class'] or ''}>{''.join(_aligned(pieces))}</table></div>{size}"
    return f"<div>{inside}</div>" if match["open"] else inside


def _pieces(rows: str) -> list[tuple[str, str, int]] | None:
    """Return (tag, text, column) of each part in order; None unless all nests as it should."""
    pieces, place, column, group, row = [], 0, 0, "", False
    while match := PART.match(rows, place):
        place = match.end()
        closing, name, cell = match.groups()
        if cell:
            text = TEXT.match(rows, place)
            if not row or not text or text[2] != cell:
                return None
            pieces.append((cell, text[1], column))
            place, column = text.end(), column + 1
        elif name == "tr":
            if row == (not closing) or not group:
                return None
            row, column = not closing, 0
            pieces.append((f"{closing}tr", "", -1))
        else:
            if row or (group != name if closing else group != ""):
                return None
            group = "" if closing else name
            pieces.append((f"{closing}{name}", "", -1))
    return pieces if not group and not row and not rows[place:].strip() else None


def _aligned(pieces: list[tuple[str, str, int]]):
    """Write the parts; columns of numbers go to the right, and an empty heading is a cell."""
    words, numbers = set(), set()
    for tag, text, column in pieces:
        if tag == "td" and (content := _shown(text)):
            (numbers if NUMBER.fullmatch(content) else words).add(column)
    numbers -= words
    for tag, text, column in pieces:
        if column < 0:
            yield f"<{tag}>"
            continue
        name = tag if text.strip() else "td"
        side = ' class="num"' if column in numbers else ""
        yield f"<{name}{side}>{text}</{name}>"


def _shown(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
