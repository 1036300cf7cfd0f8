"""Markdown of a notebook as HTML, with its formulas and its pictures in it.

nbconvert's parser reads it. Formulas become tokens that `Formulas` replaces once the HTML around
them is safe; a picture is embedded from the notebook's attachments or from a file beside it.
"""

import base64
import html
import mimetypes
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from diptych.execution.pages.mime import pictures
from diptych.execution.pages.mime.latex import MATHS, Formulas

LARGEST = 25_000_000  # bytes of a picture that is embedded
TAG = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
TASK = re.compile(r"<input\b[^<>]*checkbox[^<>]*>")
SOURCE = re.compile(r"""\bsrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)


def to_html(
    source: str,
    formulas: Formulas,
    attachments: Mapping = {},
    folders: Sequence[Path] = (),
    shrink: bool = False,
) -> str:
    """Return Markdown as HTML that is not yet safe.

    Parameters
    ----------
    source : str
    formulas : Formulas
        Takes the formulas.
    attachments : mapping
        Of the cell: name to MIME bundle.
    folders : sequence of Path
        Where relative pictures may lie, the first that has one.
    shrink : bool
        As in `pictures.address`.
    """
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body):
            return formulas.token(body, True)

        def inline_math(self, body):
            return formulas.token(body, False)

        def latex_environment(self, name, body):
            if not MATHS.fullmatch(name):
                return super().latex_environment(name, body)
            return formulas.token(f"\\begin{{{name}}}{body}\\end{{{name}}}", True)

        def block_html(self, html):
            return super().block_html(embed(html))

        def inline_html(self, html):
            return super().inline_html(embed(html))

        def image(self, text, url, title=None):
            return _image(finder(url), text, url)

    def finder(url: str) -> str:
        return _address(url, attachments, folders, shrink)

    def embed(text: str) -> str:
        return with_pictures(text, finder)

    parser = MarkdownWithMath(renderer=Renderer(escape=False, exclude_anchor_links=True))
    return TASK.sub(lambda box: "☑ " if "checked" in box[0] else "☐ ", parser.render(source))


def with_pictures(text: str, finder) -> str:
    """Return HTML with its pictures in it, or a sentence about each that is missing.

    Parameters
    ----------
    text : str
    finder : callable or sequence of Path
        Gives a picture's address by what its tag names, or where relative pictures may lie.
    """
    if not callable(finder):
        folders, finder = finder, lambda url: _address(url, {}, folders, False)
    return TAG.sub(lambda tag: _embedded(tag[0], finder), text)


def _image(address: str, text: str, url: str) -> str:
    """Return an `img`, or one sentence about the picture that is missing."""
    if address.startswith("data:"):
        return f'<img src="{address}" alt="{html.escape(html.unescape(text))}">'
    where = "it lies on the network" if re.match(r"[a-z]+:|//", url) else "there is no such file"
    label = f"{text}: " if text else ""
    line = f"[{label}the picture {html.escape(url[:200])} is not on this page: {where}]"
    return f'<em class="missing">{line}</em>'


def _embedded(tag: str, finder) -> str:
    match = SOURCE.search(tag)
    if not match:
        return tag
    url = html.unescape(next(filter(None, match.groups()), ""))
    address = finder(url)
    if not address.startswith("data:"):
        return _image("", "", url)
    return f'{tag[: match.start()]}src="{address}"{tag[match.end() :]}'


def _address(url: str, attachments: Mapping, folders: Sequence[Path], shrink: bool) -> str:
    """Return where a picture's content is: a ``data:`` address if it can be embedded."""
    if url.startswith("attachment:"):
        bundle = attachments.get(unquote(url[11:])) or attachments.get(url[11:]) or {}
        for kind in pictures.KINDS:
            if kind in bundle:
                return pictures.address(kind, "".join(bundle[kind]), shrink)
        return url
    if re.match(r"[a-z][a-z+.-]*:|//|/", url, re.IGNORECASE):
        return url
    name = unquote(url.split("?")[0].split("#")[0])
    kind = mimetypes.guess_type(name)[0]
    for folder in folders:
        path = Path(folder, name)
        if kind in pictures.KINDS and path.is_file() and path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            text = content.decode(errors="replace") if kind == "image/svg+xml" else ""
            return pictures.address(kind, text or base64.b64encode(content).decode(), shrink)
    return url
