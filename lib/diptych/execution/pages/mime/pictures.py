"""Pictures: a `data:` address each, described, and smaller if the maker asks for it."""

import base64
import html
import io
import re
from collections.abc import Mapping

from diptych.execution.pages.mime.canvas import Canvas

KINDS = ("image/svg+xml", "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif")
SMALL = 100_000  # characters from which a picture is worth encoding again
WIDEST = 1_600  # pixels of one that is
QUALITY = 82


def draw(data: Mapping, metadata: Mapping, canvas: Canvas) -> str | None:
    """Return an output's picture as HTML; None if it has none."""
    for kind in KINDS:
        if kind in data:
            return picture(kind, str(data[kind]), metadata, canvas)
    return None


def picture(kind: str, content: str, metadata: Mapping, canvas: Canvas) -> str:
    """Return one picture as HTML, in the size that the notebook gives it."""
    size = metadata.get(kind)
    size = size if isinstance(size, Mapping) else {}
    alt = html.escape(str(size.get("alt") or metadata.get("alt") or metadata.get("alt_text", "")))
    sides = "".join(
        f' {side}="{size[side]}"' for side in ("width", "height") if _is_number(size.get(side))
    )
    source = address(kind, content, canvas.look.shrink_images)
    themed = " themed" if kind == "image/svg+xml" and "prefers-color-scheme" in content else ""
    return f'<div class="shown picture{themed}"><img src="{source}" alt="{alt}"{sides}></div>'


def address(kind: str, content: str, shrink: bool = False) -> str:
    """Return a picture as a ``data:`` address.

    Parameters
    ----------
    kind : str
        Its MIME type.
    content : str
        Base64, or the text of an SVG.
    shrink : bool
        Encode it again where that makes it smaller.
    """
    if kind == "image/svg+xml":
        if content.lstrip().startswith("<"):
            content = base64.b64encode(_complete(content).encode()).decode()
    elif shrink and len(content) > SMALL:
        kind, content = _smaller(kind, content)
    return f"data:{kind};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', content)}"


def _complete(svg: str) -> str:
    """Return an SVG that stands alone: a browser draws none without its name space."""
    head = re.search(r"<svg\b[^>]*>", svg)
    if head and "xmlns=" not in head[0]:
        svg = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    if "xlink:" in svg and "xmlns:xlink" not in svg:
        svg = svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    return svg


def _smaller(kind: str, content: str) -> tuple[str, str]:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        if getattr(image, "is_animated", False):
            return kind, content
        image.thumbnail((WIDEST, 4 * WIDEST))
        file = io.BytesIO()
        image.save(file, "WEBP", quality=QUALITY)
    except (UnidentifiedImageError, OSError, ValueError):
        return kind, content
    smaller = base64.b64encode(file.getvalue()).decode()
    return ("image/webp", smaller) if len(smaller) < len(content) else (kind, content)


def _is_number(value) -> bool:
    return isinstance(value, int | float) or bool(re.fullmatch(r"\d{1,5}", str(value)))
