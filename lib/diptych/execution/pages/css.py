"""CSS that came out of a notebook: parsed, and only what can do no harm is written again.

tinycss2 reads it as a browser does, so an escaped or upper-case ``url(`` is a `url(` here too.
"""

import re
from collections.abc import Mapping

import tinycss2


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROPERTIES = _words(
    """align-content align-items align-self aspect-ratio background background-color
    background-image background-position background-repeat background-size border border-bottom
    border-bottom-color border-bottom-left-radius border-bottom-right-radius border-bottom-style
    border-bottom-width border-collapse border-color border-left border-left-color
    border-left-style border-left-width border-radius border-right border-right-color
    border-right-style border-right-width border-spacing border-style border-top border-top-color
    border-top-left-radius border-top-right-radius border-top-style border-top-width border-width
    box-shadow box-sizing caption-side clear color column-gap display empty-cells fill
    fill-opacity fill-rule flex flex-basis flex-direction flex-flow flex-grow flex-shrink
    flex-wrap float font font-family font-size font-stretch font-style font-variant
    font-variant-numeric font-weight gap grid-column grid-gap grid-row grid-template-columns
    grid-template-rows height justify-content justify-items justify-self letter-spacing
    line-height list-style list-style-type margin margin-bottom margin-left margin-right
    margin-top max-height max-width min-height min-width opacity outline overflow overflow-wrap
    overflow-x overflow-y padding padding-bottom padding-left padding-right padding-top row-gap
    stroke stroke-dasharray stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity
    stroke-width table-layout tab-size text-align text-anchor text-decoration text-indent
    text-overflow text-shadow text-transform transform vertical-align visibility white-space width
    word-break word-spacing word-wrap writing-mode"""
)
COLOURS = _words(
    """background background-color background-image border border-bottom border-bottom-color
    border-color border-left border-left-color border-right border-right-color border-top
    border-top-color box-shadow color"""
)
FUNCTIONS = _words(
    """calc clamp conic-gradient hsl hsla hwb lab lch linear-gradient max min minmax oklab oklch
    radial-gradient repeat repeating-linear-gradient rgb rgba rotate scale scalex scaley skew
    translate translatex translatey matrix fit-content"""
)
NEUTRAL = _words("inherit initial transparent currentcolor none unset 0 auto")


class Declarations:
    """Cleans style attributes, as `bleach.Cleaner` asks a ``css_sanitizer`` to.

    Attributes
    ----------
    coloured : bool
        Whether a colour was among them: it was chosen for white paper.
    """

    def __init__(self):
        self.coloured = False

    def sanitize_css(self, style: str) -> str:
        """Return the declarations that may stay."""
        parsed = tinycss2.parse_declaration_list(style, skip_comments=True, skip_whitespace=True)
        return self._text(parsed)

    def _text(self, parsed: list) -> str:
        lines = []
        for node in parsed:
            if node.type != "declaration" or node.lower_name not in PROPERTIES:
                continue
            if not harmless(node.value):
                continue
            value = tinycss2.serialize(node.value).strip()
            self.coloured |= node.lower_name in COLOURS and value.lower() not in NEUTRAL
            lines.append(f"{node.lower_name}: {value}{' !important' if node.important else ''}")
        return "; ".join(lines)


def harmless(tokens: list, functions: frozenset[str] = FUNCTIONS) -> bool:
    """Say whether a value loads nothing and calls only these functions."""
    for token in tokens:
        if token.type in ("url", "error", "at-keyword") or "block" in token.type:
            return False
        if token.type == "function" and not (
            token.lower_name in functions and harmless(token.arguments, functions)
        ):
            return False
    return True


def stays_inside(value: str) -> bool:
    """Say whether an attribute of a drawing points nowhere but into the page (``url(#clip)``)."""
    if "(" not in value and "\\" not in value:
        return True
    for token in tinycss2.parse_component_value_list(value):
        if token.type == "url":
            inside = token.value.startswith("#")
        elif token.type == "function" and token.lower_name == "url":
            words = [t.value for t in token.arguments if t.type == "string"]
            inside = len(words) == 1 and words[0].startswith("#")
        elif token.type == "function":
            inside = harmless([token], FUNCTIONS | {"skewx", "skewy"})
        else:
            inside = token.type not in ("error", "at-keyword") and "block" not in token.type
        if not inside:
            return False
    return True


def scoped(css: str, scope: str, names: Mapping[str, str]) -> tuple[str, bool]:
    """Return a style sheet that holds inside one element only, and whether it has colours.

    Parameters
    ----------
    css : str
        What stood in a style element.
    scope : str
        Id of the element.
    names : mapping
        The ids that the page gave to those of the output.
    """
    rules = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    cleaner = Declarations()
    lines = []
    for rule in rules:  # at-rules load, or hold for other media: they are left out
        if rule.type != "qualified-rule":
            continue
        selectors = _selectors(rule.prelude, scope, names)
        parsed = tinycss2.parse_declaration_list(
            rule.content, skip_comments=True, skip_whitespace=True
        )
        if selectors and (text := cleaner._text(parsed)):
            lines.append(f"{selectors} {{ {text} }}")
    return "\n".join(lines).replace("<", "\\3c "), cleaner.coloured


def _selectors(prelude: list, scope: str, names: Mapping[str, str]) -> str:
    """Put each selector of a rule inside the scope, with the page's ids."""
    parts, current = [], []
    for token in [*prelude, None]:
        if token is None or (token.type == "literal" and token.value == ","):
            text = "".join(_selector(part, names) for part in current).strip()
            if text and not re.match(r"(html|body|:root)\b", text):
                parts.append(f"#{scope} {text}")
            current = []
        else:
            current.append(token)
    return ", ".join(parts)


def _selector(token, names: Mapping[str, str]) -> str:
    if token.type == "hash":
        return f"#{names.get(token.value, token.value)}"
    return token.serialize()
