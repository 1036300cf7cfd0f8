"""Make HTML that came out of a notebook safe and tidy enough to stand in a page of ours.

What a cell prints may hold text written by users or by a model, so nothing in it may run, load or
link outside: markup that is not on the list below is shown as text. What stays is fitted into the
page: ids are unique, headings keep their order, wide tables scroll inside their own box. Styles
are read by `css` and hold inside their own output only.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import accumulate

from bleach import Cleaner
from bleach.html5lib_shim import Filter

from diptych.execution.pages import css, plain_tables
from diptych.execution.pages.plain_tables import NUMBER


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HEADINGS = {f"h{level}": level for level in range(1, 7)}
TEXT_TAGS = _words(
    """a abbr audio b blockquote br caption cite code col colgroup dd del details div dl dt em
    figcaption figure hr i img ins kbd li mark meter ol p pre progress q s samp small source span
    strong sub summary sup table tbody td tfoot th thead time tr u ul var video"""
)
SVG_TAGS = _words(
    """circle clipPath defs ellipse g line linearGradient marker path pattern polygon
    polyline radialGradient rect stop svg symbol text tspan use"""
)
# no style, script, title, textarea or the like: with svg allowed, they are how filters are fooled
TAGS = {*TEXT_TAGS, *HEADINGS, *SVG_TAGS, *(tag.lower() for tag in SVG_TAGS)}
ANYWHERE = {"class", "dir", "hidden", "id", "lang", "role", "style", "tabindex"}
BY_TAG = {
    "audio": {"controls", "loop", "src"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "meter": {"min", "max", "low", "high", "optimum", "value"},
    "ol": {"start"},
    "progress": {"max", "value"},
    "source": {"src", "type"},
    "td": {"colspan", "rowspan", "headers"},
    "th": {"colspan", "rowspan", "scope", "headers"},
    "time": {"datetime"},
    "video": {"controls", "height", "loop", "src", "width"},
}
SVG_ATTRIBUTES = _words(
    """clip-path clip-rule cx cy d dominant-baseline dx dy fill fill-opacity fill-rule font-family
    font-size font-style font-weight gradienttransform gradientunits height href markerheight
    marker-end markerunits markerwidth offset opacity orient patterntransform patternunits points
    preserveaspectratio r refx refy rx ry stop-color stop-opacity stroke stroke-dasharray
    stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity stroke-width
    text-anchor transform viewbox width x x1 x2 y y1 y2"""
)
# an SVG that is a picture runs no script and loads nothing
PICTURE = re.compile(
    r"data:image/((png|jpeg|gif|webp|avif|svg\+xml);base64|svg\+xml),", re.IGNORECASE
)
SOUND = re.compile(r"data:(video|audio)/[\w.+-]+;(codecs=[^;,]+;)?base64,", re.IGNORECASE)
STYLE_END = re.compile(r"</style\s*>", re.IGNORECASE)
# by which a reader of a live notebook sorts a table: core/plots/html.py
TABLE_SCRIPT = re.compile(r'<script class="of-table">[^<]*</script>')
FRAME = re.compile(  # of a whole document, and of forms: what is inside them stays
    r"</?(?:html|head|body|meta|link|base|center|font|form|label|fieldset|main|section|article|nav"
    r"|header|footer|address|input|button|select|option|textarea|canvas|embed|picture)\b[^<>]*>"
    r"|<!doctype[^<>]*>",
    re.IGNORECASE,
)
RUNS = ("script", "iframe", "object", "noscript", "title", "template")  # they go with all inside
PLACED = re.compile(r"\bid\s*=|href|aria-|headers|url\(", re.IGNORECASE)  # it needs names in a page
REFERENCES = {"aria-labelledby", "aria-describedby", "aria-controls", "headers"}


class Fitter:
    """Fits fragments of HTML into one page, in reading order.

    Parameters
    ----------
    prefix : str
        Starts every id, so that two notebooks can share a page.
    resolve : callable, optional
        Turns a relative link into the page it leads to, or None when there is no such page; the
        link is then left as text.

    Attributes
    ----------
    headings : list of (level, id, text)
        Of the prose, so far.
    """

    def __init__(self, prefix: str = "", resolve: Callable[[str], str | None] | None = None):
        self.prefix, self.resolve = prefix, resolve or (lambda link: None)
        self.headings: list[tuple[int, str, str]] = []
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def prose(self, html: str) -> str:
        """Fit rendered Markdown: its headings get anchors and enter `headings`."""
        return self._fitted(html, _Prose)

    def output(self, html: str) -> str:
        """Fit what a cell displayed: its headings stay below the sections of the prose.

        Styles hold inside the output only; one with colours of its own stands on white paper,
        which it was made for, on a dark page too.
        """
        if (table := plain_tables.fitted(html)) is not None:
            return table
        return self._fitted(TABLE_SCRIPT.sub("", html), _Output)

    def _fitted(self, html: str, tidy: type) -> str:
        html, styles = _split(html)
        html = FRAME.sub("", html)
        if tidy is _Output and not styles and not PLACED.search(html):
            return _clean_anywhere(html)
        declarations, names = css.Declarations(), {}
        clean = self._clean(html, partial(tidy, names=names), declarations)
        scope = self.name("output") if styles else ""
        sheet, coloured = css.scoped(styles, scope, names)
        return _on_paper(clean, sheet, scope, coloured or declarations.coloured)

    def name(self, wanted: str) -> str:
        """Return `wanted` as an id that the page does not have yet."""
        stem = name = self.prefix + (re.sub(r"[^\w-]+", "-", wanted).strip("-").lower() or "part")
        while name in self._taken:
            self._counts[stem] = self._counts.get(stem, 1) + 1
            name = f"{stem}-{self._counts[stem]}"
        self._taken.add(name)
        return name

    def _clean(
        self, html: str, tidy: Callable, declarations: css.Declarations | None = None
    ) -> str:
        cleaner = Cleaner(
            tags=TAGS,
            attributes=_allowed,
            protocols={"http", "https", "mailto", "data"},
            css_sanitizer=declarations or css.Declarations(),
            filters=[partial(tidy, fitter=self)],
        )
        return cleaner.clean(html)


@lru_cache(maxsize=512)
def _clean_anywhere(html: str) -> str:
    """Fit an output that is the same in any place of any page."""
    declarations = css.Declarations()
    clean = Fitter()._clean(html, _Output, declarations)
    return _on_paper(clean, "", "", declarations.coloured)


def _on_paper(html: str, sheet: str, scope: str, coloured: bool) -> str:
    """Put an output and its styles into a box of their own, if it has any."""
    if not sheet and not coloured:
        return html
    name = f' id="{scope}"' if sheet else ""
    style = f"<style>{sheet}</style>" if sheet else ""
    return f'{style}<div{name} class="styled{" paper" if coloured else ""}">{html}</div>'


def _split(html: str) -> tuple[str, str]:
    """Return an output without its style elements, and the styles.

    A style element that is never closed is left to the list of tags. Pandas writes the same small
    one, which says ``scoped``, with every table: the page's own style does that already.
    """
    styles: list[str] = []

    def note(match: re.Match) -> str:
        head, _, text = match[0].partition(">")
        if not re.search(r"\bscoped\b", head):
            styles.append(STYLE_END.sub("", text))
        return ""

    return without("style", html, note), "\n".join(styles)


def without(tag: str, html: str, note: Callable[[re.Match], str] = lambda match: "") -> str:
    """Leave out each element of a kind with all that is inside; `note` gives what stands there."""
    closings = [m.end() for m in re.finditer(rf"</{tag}\s*>", html, re.IGNORECASE)]
    last = closings[-1] if closings else 0  # each search beyond it would reach the end in vain
    whole = re.compile(rf"<{tag}\b.*?</{tag}\s*>", re.DOTALL | re.IGNORECASE)
    return whole.sub(note, html[:last]) + html[last:]


def _allowed(tag: str, name: str, value: str) -> bool:
    """Say whether an attribute may stay; its protocol and CSS properties are checked elsewhere."""
    name = name.lower()
    if name in ANYWHERE or name.startswith("aria-") or name in BY_TAG.get(tag, ()):
        source = PICTURE if tag == "img" else SOUND
        return name != "src" or bool(source.match(value))
    if tag == "a":
        return name == "href" and not value.lstrip().lower().startswith("data:")
    if tag in SVG_TAGS or tag in TAGS - {*TEXT_TAGS, *HEADINGS}:
        inside = css.stays_inside(value) if name != "href" else value[:1] == "#"
        return name in SVG_ATTRIBUTES and inside
    return False


class _Tidy(Filter):
    """Works on the sanitized fragment as a list of html5lib tokens."""

    def __init__(self, source, fitter: Fitter, names: dict[str, str] | None = None):
        super().__init__(source)
        self.fitter, self.names = fitter, {} if names is None else names

    def __iter__(self):
        tokens = list(super().__iter__())
        self._rename(tokens)
        _align(tokens)
        self._head(tokens)
        return iter(_wrapped(self._linked(tokens)))

    def _rename(self, tokens: list[dict]) -> None:
        """Give every id a name of its own in the page, and point its references there."""
        opened = [token for token in tokens if token["type"] in ("StartTag", "EmptyTag")]
        names = self.names
        for token in opened:
            if wanted := _get(token, "id"):
                names[wanted] = self.fitter.name(wanted)
                _set(token, "id", names[wanted])
        for token in opened:
            for key, value in token["data"].items():
                if key[1] in REFERENCES:
                    words = [names.get(word, word) for word in value.split()]
                    token["data"][key] = " ".join(words)
                elif key[1] == "href" or "url(" in value:
                    token["data"][key] = re.sub(
                        r"(^|url\()#([^)]+)",
                        lambda m: f"{m[1]}#{names.get(m[2], self.fitter.prefix + m[2])}",
                        value,
                    )

    def _linked(self, tokens: list[dict]):
        """Leave out links that lead outside, and write their address after them."""
        addresses: list[str] = []
        text_before = ""
        for token in tokens:
            if token.get("name") == "a" and token["type"] == "StartTag":
                link = _get(token, "href")
                text_before = ""
                outside = bool(re.match(r"[a-z][a-z+.-]*:|//", link, re.IGNORECASE))
                addresses.append(link.removeprefix("mailto:") if outside else "")
                if outside or (link and not link.startswith("#")):
                    target = None if outside else self.fitter.resolve(link)
                    token["data"].pop((None, "href"), None)
                    if target:
                        _set(token, "href", target)
            elif token.get("name") == "a" and token["type"] == "EndTag":
                address = addresses.pop() if addresses else ""
                # a mark or a picture that leads to a site is no source that a reader looks for
                if address and address != text_before and len(text_before) > 1:
                    yield {"type": "Characters", "data": f" ({address})"}
            elif token["type"] == "Characters":
                text_before = token["data"]
            yield token

    def _head(self, tokens: list[dict]) -> None:
        raise NotImplementedError


class _Prose(_Tidy):
    def _head(self, tokens: list[dict]) -> None:
        """Name the headings and put an anchor in each; only the first h1 of the page stays one."""
        place = 0
        while place < len(tokens):
            token = tokens[place]
            place += 1
            if token["type"] != "StartTag" or token["name"] not in HEADINGS:
                continue
            end = _end(tokens, place)
            text = _text(tokens[place:end])
            level = HEADINGS[token["name"]]
            if level == 1 and any(heading[0] == 1 for heading in self.fitter.headings):
                level = 2
            token["name"] = tokens[end]["name"] = f"h{level}"
            name = _get(token, "id") or self.fitter.name(text)
            _set(token, "id", name)
            self.fitter.headings.append((level, name, text))
            if level > 1:
                tokens[end:end] = _anchor(name, text)


class _Output(_Tidy):
    def _head(self, tokens: list[dict]) -> None:
        """Move the headings of an output below those of the prose."""
        headings = [token for token in tokens if token.get("name") in HEADINGS]
        top = min((HEADINGS[token["name"]] for token in headings), default=3)
        for token in headings:
            token["name"] = f"h{min(HEADINGS[token['name']] - top + 3, 6)}"


def _wrapped(tokens) -> list[dict]:
    """Put tables in a box that scrolls; let scrolling text and pictures be reached and read."""
    done, boxes, scrolling = [], [], 0
    for token in tokens:
        kind, name = token["type"], token.get("name")
        if kind == "StartTag" and name == "div":
            boxes.append("scroll" in _get(token, "class").split())
            scrolling += boxes[-1]
        if kind == "EndTag" and name == "div" and boxes:
            scrolling -= boxes.pop()
        bare = name == "table" and not scrolling
        if kind == "StartTag" and bare:
            box = {"class": "scroll", "role": "group", "aria-label": "Table", "tabindex": "0"}
            done.append(_tag("StartTag", "div", box))
        if kind == "StartTag" and name == "pre":
            _set(token, "tabindex", "0")
        if kind in ("StartTag", "EmptyTag") and name == "img" and not _get(token, "alt"):
            _set(token, "alt", "Image; the notebook gives no description")
        if kind == "StartTag" and name == "svg" and not _get(token, "aria-label"):
            _set(token, "role", "img")
            _set(token, "aria-label", "Drawing; the notebook gives no description")
        done.append(token)
        if kind == "EndTag" and bare:
            done.append(_tag("EndTag", "div"))
    return done


def _align(tokens: list[dict]) -> None:
    """Set columns of numbers to the right."""
    ends, text, offsets = _ends(tokens), *_offsets(tokens)
    tables = [_Columns()]
    for place, token in enumerate(tokens):
        kind, name = token["type"], token.get("name")
        if name == "table" and kind == "StartTag":
            tables[-1].hold_table()
            tables.append(_Columns())
        elif name == "tr" and kind == "StartTag":
            tables[-1].next = 0
        elif name in ("td", "th") and kind == "StartTag":
            end = ends.get(place, len(tokens) - 1)
            content = text[offsets[place] : offsets[end]].strip()
            if not content:  # a corner, not a heading
                token["name"] = tokens[end]["name"] = "td"
            tables[-1].add(token, content)
        elif name == "table" and kind == "EndTag" and len(tables) > 1:
            tables.pop().align()


class _Columns:
    """The cells of one table by column; `next` is where the next cell stands."""

    def __init__(self):
        self.next, self.cells = 0, {}

    def add(self, cell: dict, text: str) -> None:
        self.cells.setdefault(self.next, []).append((cell, text))
        self.next += 1

    def hold_table(self) -> None:
        """Let the last cell, which a table begins in, be no number."""
        if column := self.cells.get(self.next - 1):
            column[-1] = (column[-1][0], "a table")

    def align(self) -> None:
        for cells in self.cells.values():
            data = [text for cell, text in cells if cell["name"] == "td" and text]
            if data and all(NUMBER.fullmatch(text) for text in data):
                for cell, _ in cells:
                    _set(cell, "class", f"{_get(cell, 'class')} num".strip())


def _ends(tokens: list[dict]) -> dict[int, int]:
    """Return where each element that begins at a place ends."""
    ends, opened = {}, {}
    for place, token in enumerate(tokens):
        if token["type"] == "StartTag":
            opened.setdefault(token["name"], []).append(place)
        elif token["type"] == "EndTag" and opened.get(token["name"]):
            ends[opened[token["name"]].pop()] = place
    return ends


def _offsets(tokens: list[dict]) -> tuple[str, list[int]]:
    """Return the text of all tokens, and how much of it stands before each."""
    texts = [t["data"] if t["type"] in ("Characters", "SpaceCharacters") else "" for t in tokens]
    return "".join(texts), list(accumulate(map(len, texts), initial=0))


def _end(tokens: list[dict], place: int) -> int:
    """Return where the element whose content begins at `place` ends."""
    name = tokens[place - 1]["name"]
    for index in range(place, len(tokens)):
        if tokens[index]["type"] == "EndTag" and tokens[index]["name"] == name:
            return index
    return len(tokens) - 1


def _text(tokens: list[dict]) -> str:
    return "".join(t["data"] for t in tokens if t["type"] in ("Characters", "SpaceCharacters"))


def _anchor(name: str, text: str) -> list[dict]:
    data = {"class": "anchor", "href": f"#{name}", "aria-label": f"Link to {text}"}
    mark = {"type": "Characters", "data": "#"}
    return [_tag("StartTag", "a", data), mark, _tag("EndTag", "a")]


def _tag(kind: str, name: str, data: dict | None = None) -> dict:
    named = {(None, key): value for key, value in (data or {}).items()}
    return {"type": kind, "name": name, "namespace": None, "data": named}


def _get(token: dict, name: str) -> str:
    return token["data"].get((None, name), "")


def _set(token: dict, name: str, value: str) -> None:
    token["data"][(None, name)] = value


def terminal(text: str) -> str:
    """Turn printed text into HTML, the colours of a terminal into classes."""
    from nbconvert.filters import ansi2html

    return ansi2html(re.sub(r"\x1b\[([\d;]*)m", _sixteen, text))


def _sixteen(match: re.Match) -> str:
    """Bring the 256 and the true colours of a terminal down to its eight names."""

    def named(colour: re.Match) -> str:
        layer, code = colour[1], [int(part) for part in colour[2].split(";")]
        if code[0] == 5 and code[1] < 16:
            return f"{layer}{code[1] % 8}"
        if code[0] == 5 and code[1] > 231:
            return f"{layer}9"
        level = code[1] - 16
        parts = [level // 36, level // 6 % 6, level % 6] if code[0] == 5 else code[1:]
        bits = sum(1 << i for i, part in enumerate(parts) if 2 * part >= max(parts) > 0)
        return f"{layer}{bits}"

    return f"\x1b[{re.sub(r'([34])8;(5;[0-9]+|2;[0-9]+;[0-9]+;[0-9]+)', named, match[1])}m"


def plain(text: str) -> str:
    """Return printed text without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)
