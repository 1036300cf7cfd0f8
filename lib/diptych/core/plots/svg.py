"""How a figure becomes one `<img>` that shows everywhere: a small SVG in the address itself.

JupyterLab takes inline SVG out of a notebook that is not trusted, and keeps pictures. A picture
cannot see the colours around it, so it has its own paper; a reader's dark scheme gives it dark
paper. It holds no date and no random id, so it compares equal from run to run.
"""

import io
import re
from html import escape
from typing import Any
from xml.etree import ElementTree

from diptych.core.plots.style import DARK, DARK_SERIES, LIGHT, SERIES

MARGIN = 8  # of paper around the drawing, in CSS pixels
QUOTE = "\ue000"  # stands for a quotation mark of a text, until attributes have theirs
RESERVED = {"%": "%25", "#": "%23", "<": "%3C", ">": "%3E", "&": "%26", QUOTE: "%22", "\n": " "}
FRACTION = re.compile(r"-?\d+\.\d+")


def svg_text(fig: Any) -> str:
    """Return a matplotlib figure as the text of an SVG file."""
    return ElementTree.tostring(_root(fig), encoding="unicode")


def image_html(fig: Any, alt: str) -> str:
    """Return a matplotlib figure as an `<img>` element."""
    root = _root(fig)
    width, height = root.attrib["viewBox"].split()[2:]
    text = ElementTree.tostring(root, encoding="unicode").replace('"', "'")
    address = "".join(RESERVED.get(sign, sign) for sign in text)
    return (
        f'<img class="figure" src="data:image/svg+xml,{address}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto">'
    )


def _root(fig: Any) -> ElementTree.Element:
    """Draw a figure and return its SVG, on paper of its own."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    referred = re.findall(r"(?:url\(|href=\")#([^)\"]+)", buffer.getvalue())
    names = {name: f"{k}" for k, name in enumerate(dict.fromkeys(referred))}
    _clean(root, names)
    width, height = (round(float(size)) for size in root.attrib["viewBox"].split()[2:])
    box = [-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN]
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": " ".join(map(str, box)),
        "fill": "currentColor",
        "font-family": "system-ui, sans-serif",
        "stroke-linejoin": "round",
    }
    paper = dict(zip(("x", "y", "width", "height"), map(str, box), strict=True))
    style = ElementTree.Element("style")
    style.text = _schemes(root)
    root[:0] = [style, ElementTree.Element("rect", {"class": "paper", "rx": "6", **paper})]
    return root


def _schemes(root: ElementTree.Element) -> str:
    """Return the style sheet: paper and ink of both schemes, and the series' dark colours."""
    drawn = {(key, value) for node in root.iter() for key, value in node.attrib.items()}
    dark = [
        f"[{key}='{light}']{{{key}:{other}}}"
        for light, other in zip(SERIES, DARK_SERIES, strict=True)
        for key in ("fill", "stroke")
        if (key, light) in drawn and other != light
    ]
    light, night = (
        f"svg{{color:{colours['ink']}}}.paper{{fill:{colours['paper']}}}"
        for colours in (LIGHT, DARK)
    )
    return f"{light}@media(prefers-color-scheme:dark){{{night}{''.join(dark)}}}"


def _clean(node: ElementTree.Element, names: dict[str, str]) -> None:
    """Reduce matplotlib's SVG to what draws: no namespaces, unused ids, fonts or long decimals."""
    node.tag = node.tag.rpartition("}")[2]
    node.tail = None
    node.text = node.text.replace('"', QUOTE) if node.tag == "text" and node.text else None
    attributes = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    for declaration in attributes.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        attributes[key.strip()] = value.strip()
    for unwanted in ("", "font-family", *(["id"] if attributes.get("id") not in names else [])):
        attributes.pop(unwanted, None)
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    node.attrib = {key: _value(key, value, names) for key, value in attributes.items()}
    children = []
    for child in node:
        _clean(child, names)
        if child.tag in ("metadata", "style"):
            continue
        plain = child.tag in ("g", "defs") and not child.attrib
        if child.tag == "path" and child.get("fill") == "none" and "stroke" not in child.attrib:
            continue
        children += list(child) if plain and (child.tag == "g" or not len(child)) else [child]
    node[:] = children


def _value(key: str, value: str, names: dict[str, str]) -> str:
    if key == "id":
        return names[value]
    if (part := re.search(r"#([^)]+)", value)) and part[1] in names:
        return value.replace(f"#{part[1]}", f"#{names[part[1]]}")
    if value == "#000000":
        return "currentColor"
    if value == "#ffffff":
        return "none"  # the paper
    if value.startswith("#"):
        return value
    digits = 2 if "opacity" in key else 1  # a tenth of a pixel
    value = FRACTION.sub(lambda m: f"{round(float(m[0]), digits) + 0:g}", value)
    return re.sub(r"\s+", " ", value.removesuffix("px")).strip()
