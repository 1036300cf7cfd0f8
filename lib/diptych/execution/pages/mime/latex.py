r"""LaTeX as MathML, which browsers draw themselves: ``$..$`` in Markdown, and LaTeX outputs.

What cannot be converted stays as readable source. The converter's tree is written anew from a list
of tags and attributes: it does not escape the text that it takes over.
"""

import hashlib
import html
import re
from functools import lru_cache

TAGS = frozenset(
    """math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover
    munderover mmultiscripts mprescripts none mtable mtr mtd mpadded mphantom menclose""".split()
)
ATTRIBUTES = frozenset(
    """accent accentunder columnalign columnlines columnspacing columnspan depth display
    displaystyle fence form frame height largeop linethickness lspace mathsize mathvariant maxsize
    minsize movablelimits notation rowlines rowspacing rowspan rspace scriptlevel separator
    stretchy symmetric voffset width""".split()
)
MACRO = re.compile(
    r"\\(?:re|provide)?newcommand\*?\s*\{?\s*(\\[A-Za-z]+)\s*\}?\s*(?:\[(\d)\])?\s*(?=\{)"
    r"|\\def\s*(\\[A-Za-z]+)\s*(?=\{)"
    r"|\\DeclareMathOperator\*?\s*\{?\s*(\\[A-Za-z]+)\s*\}?\s*(?=\{)"
)
NUMBERED = re.compile(r"(\\(?:begin|end)\{(?:align|equation|gather|multline|alignat|eqnarray))\}")
INLINE = re.compile(
    r"(?<!\\)\$\$(?P<a>.+?)(?<!\\)\$\$|\\\[(?P<b>.+?)\\\]|(?<![$\\])\$(?P<c>[^$]+?)(?<!\\)\$"
    r"|\\\((?P<d>.+?)\\\)|(?P<e>\\begin\{(?P<n>[A-Za-z]+\*?)\}.*?\\end\{(?P=n)\})",
    re.DOTALL,
)
LONGEST = 100_000  # characters of an output that formulas are looked for in
MATHS = re.compile(r"(equation|align|gather|multline|alignat|eqnarray|math|displaymath|split)\*?")


class Formulas:
    """The formulas of a page: converted, and put in once the text around them is safe.

    Markdown holds a token in place of each, so that no sanitizer sees MathML, and none is needed.
    """

    def __init__(self):
        self.macros: dict[str, tuple[int, str]] = {}
        self._sources: dict[str, tuple[str, bool]] = {}

    def token(self, source: str, block: bool) -> str:
        """Return the token of a formula."""
        source = self.define(source)
        key = hashlib.sha256(f"{block}{source}".encode()).hexdigest()[:20]
        self._sources[key] = (source, block)
        return f"\ue000{key}\ue001"

    def put_in(self, html_text: str) -> str:
        """Return HTML with each token replaced by its formula."""
        return re.sub("\ue000([0-9a-f]{20})\ue001", self._formula, html_text)

    def in_words(self, text: str) -> str:
        """Return text with each token replaced by the formula's source, for a list of contents."""
        return re.sub(
            "\ue000([0-9a-f]{20})\ue001",
            lambda m: self._sources.get(m[1], ("", False))[0].strip(),
            text,
        )

    def _formula(self, match: re.Match) -> str:
        if match[1] not in self._sources:
            return ""
        source, block = self._sources[match[1]]
        return mathml(source, block) if source.strip() else ""

    def define(self, source: str) -> str:
        """Learn the macros that a formula defines, and return it without them, macros expanded."""
        place = 0
        while match := MACRO.search(source, place):
            end = _group_end(source, match.end())
            body = source[match.end() + 1 : end - 1]
            name = match[1] or match[3] or match[4]
            body = f"\\operatorname{{{body}}}" if match[4] else body
            self.macros[name] = (int(match[2] or 0), body[:1_000])
            source, place = source[: match.start()] + source[end:], match.start()
        for _ in range(8):  # macros in macros; one that holds itself ends here
            if len(source) > 50_000 or (expanded := self._expanded(source)) == source:
                break
            source = expanded
        return source

    def _expanded(self, source: str) -> str:
        for name, (count, body) in self.macros.items():
            if len(source) > 50_000:
                break
            pieces, place = [], 0
            for match in re.finditer(re.escape(name) + r"(?![A-Za-z])", source):
                if match.start() < place:
                    continue
                arguments, end = _arguments(source, match.end(), count)
                text = re.sub(r"#(\d)", lambda m, a=arguments: _nth(a, int(m[1])), body)
                pieces += [source[place : match.start()], f"{{{text}}}"]
                place = end
            source = "".join([*pieces, source[place:]])
        return source


def draw(text: str) -> str:
    """Return a LaTeX output as HTML: its formulas as MathML, its text as text."""
    formulas, parts, place = Formulas(), [], 0
    for match in INLINE.finditer(text) if len(text) <= LONGEST else ():
        if match["e"] and not MATHS.fullmatch(match["n"]):
            continue
        parts.append(html.escape(text[place : match.start()]))
        inside = next(match[k] for k in "abcde" if match[k])
        block = bool(match["a"] or match["b"] or match["e"]) or text.strip() == match[0]
        parts.append(mathml(formulas.define(inside), block))
        place = match.end()
    if not parts:
        return f"<pre><code>{html.escape(text)}</code></pre>"
    return "".join(parts) + html.escape(text[place:])


@lru_cache(2048)
def mathml(source: str, block: bool) -> str:
    r"""Return a formula as MathML; as its source in a ``code`` element if it cannot be converted.

    An unknown command is one that the converter passes on as a name that starts with ``\``.
    """
    from latex2mathml.converter import convert_to_element

    plain = re.sub(r"\\(label|tag\*?)\{[^{}]*\}|\\(nonumber|notag)\b", "", source)
    plain = NUMBERED.sub(r"\1*}", plain).strip()
    try:
        tree = convert_to_element(plain, display="block" if block else "inline")
        text = _written(tree)
    except Exception:  # the converter raises whatever its parser meets
        text = "\\"
    if re.search(r">\s*\\[A-Za-z]", text) or text == "\\":
        return f'<code class="tex">{html.escape(source.strip())}</code>'
    label = html.escape(source.strip())
    return text.replace("<math", f'<math aria-label="{label}"', 1)


def _written(node) -> str:
    """Write a tree with safe tags and attributes only; what is inside another tag stays."""
    inside = html.escape(html.unescape(node.text or ""), quote=False)
    inside += "".join(_written(child) + _tail(child) for child in node)
    tag = node.tag.rpartition("}")[2]
    if tag not in TAGS:
        return inside
    names = [f' {k}="{html.escape(v)}"' for k, v in node.attrib.items() if k in ATTRIBUTES]
    return f"<{tag}{''.join(names)}>{inside}</{tag}>"


def _tail(node) -> str:
    return html.escape(html.unescape(node.tail or ""), quote=False)


def _group_end(text: str, place: int) -> int:
    """Return where the group in braces that begins at `place` ends."""
    depth = 0
    for index in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0) if text[index - 1 : index] != "\\" else 0
        if depth == 0:
            return index + 1
    return len(text)


def _arguments(text: str, place: int, count: int) -> tuple[list[str], int]:
    """Return the arguments after a macro, and where they end."""
    arguments = []
    for _ in range(count):
        while text[place : place + 1].isspace():
            place += 1
        if text[place : place + 1] == "{":
            end = _group_end(text, place)
            arguments.append(text[place + 1 : end - 1])
        else:
            end = place + 1
            arguments.append(text[place:end])
        place = end
    return arguments, place


def _nth(arguments: list[str], number: int) -> str:
    return arguments[number - 1] if 0 < number <= len(arguments) else ""
