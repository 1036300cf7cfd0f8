# ruff: noqa: E501 (markup)
# ruff: noqa: E501 (markup)
"""Hostile outputs of notebooks, rendered and opened in a browser: no script, nothing from outside.

Each page is opened as it is, and once more without its content security policy, so that both lines
of defence are seen.
"""

import random
import re
from pathlib import Path

import browser
from figures import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from diptych.execution.pages.export import notebook_to_html

browser.PATIENCE_S = 300  # a campaign may run beside other work
OWN = "window.owned=1"
OUT = "http://127.0.0.1:9/out"  # nobody listens there; the browser's log shows an attempt
SEEDS = (
    f"<script>{OWN}</script>", f"<img src=x onerror='{OWN}'>", f"<svg onload='{OWN}'></svg>",
    f"<a href='javascript:{OWN}' autofocus onfocus='{OWN}'>a</a>", f"<iframe src='{OUT}'></iframe>",
    f"<iframe srcdoc='<script>parent.{OWN}</script>'></iframe>", f"<object data='{OUT}'></object>",
    f"<embed src='{OUT}'>", f"<link rel=stylesheet href='{OUT}'>", f"<base href='{OUT}/'>",
    f"<meta http-equiv=refresh content='0;url={OUT}'>", f"<img src='{OUT}'>",
    f"<img srcset='{OUT} 2x'>", f"<video poster='{OUT}' src='{OUT}'></video>",
    f"<div style='background:url({OUT})'>a</div>", f"<div style='background:UR\\4c ({OUT})'>a</div>",
    f"<div style='background:url&#40;{OUT})'>a</div>", f"<style>*{{background:url({OUT})}}</style>",
    f"<style>@import '{OUT}';</style>", f"<style>@im\\70ort url({OUT});</style>",
    f"<svg><image href='{OUT}'/></svg>", f"<svg><use href='{OUT}#a'/></svg>",
    f"<svg><rect fill='URL({OUT})' width=9 height=9 /></svg>",
    f"<svg><rect fill='ur\\6c ({OUT})' width=9 height=9 /></svg>",
    f"<svg><rect filter='url({OUT}#a)' mask='url({OUT}#b)' width=9 height=9 /></svg>",
    f"<svg><style>rect{{fill:url({OUT})}}</style><rect width=9 height=9 /></svg>",
    f"<svg><script>{OWN}</script></svg>", f"<svg><script href='{OUT}'/></svg>",
    f"<svg><animate attributeName=href values='javascript:{OWN}' onbegin='{OWN}'/></svg>",
    f"<svg><set attributeName=onmouseover to='{OWN}'/></svg>",
    f"<svg><foreignObject><img src=x onerror='{OWN}'></foreignObject></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror='{OWN}'></style></table></mtext></math>",
    f"<math href='javascript:{OWN}'>a</math>", f"<noscript><p title='</noscript><img src=x onerror={OWN}>'>",
    f"<details open ontoggle='{OWN}'>a</details>", f"<body onload='{OWN}'>", f"<x onclick='{OWN}'>a",
    f"<form action='{OUT}'><input autofocus onfocus='{OWN}'></form>", f"<title><img src=x onerror={OWN}>",
    f"<textarea><img src=x onerror='{OWN}'>", f"<table background='{OUT}'><tr><td>a</table>",
    f"<img src='data:text/html,<script>{OWN}</script>'>", f"<audio src='{OUT}' autoplay></audio>",
    f"<a href='data:text/html,<script>{OWN}</script>'>a</a>", f"<template><script>{OWN}</script></template>",
    f"<input type=image src='{OUT}'>", f"<picture><source srcset='{OUT}'><img src=x></picture>",
    f"<div class='jp-x' data-src='{OUT}' ping='{OUT}'>a</div>", f"<a href='{OUT}' ping='{OUT}'>a</a>",
    f"<link rel=prefetch href='{OUT}'><link rel=preconnect href='{OUT}'>",
)  # fmt: skip
KINDS = (
    "text/html",
    "image/svg+xml",
    "text/markdown",
    "text/latex",
    "markdown cell",
    "stream",
    "error",
)


def mutated(text: str, rng: random.Random) -> str:
    """Return hostile markup with another case, spelling or wrapping."""
    for _ in range(rng.randrange(3)):
        choice = rng.randrange(7)
        at = rng.randrange(len(text))
        if choice == 0:
            text = "".join(rng.choice((c.lower(), c.upper())) if c != "\\" else c for c in text)
            text = text.replace(OWN.upper(), OWN)
        elif choice == 1:
            text = text.replace("<", "<\0" if rng.random() < 0.3 else "<", 1)
        elif choice == 2:
            text = (
                text[:at]
                + rng.choice(("\n", "\t", "\f", "/", "<!--", "-->", "\x00", "&#0;"))
                + text[at:]
            )
        elif choice == 3:
            text = (
                rng.choice(("<svg>", "<math>", "<p>", "<table>", "<style>", "<!--", "<xmp>")) + text
            )
        elif choice == 4:
            text = re.sub(r"javascript", "java&#x09;script", text, flags=re.IGNORECASE)
        elif choice == 5:
            text += rng.choice(SEEDS)
        else:
            text = text.replace("'", rng.choice(("'", '"', "`", "&#39;")))
    return text


def cell(text: str, kind: str):
    """Return a cell that shows a text as one kind of output."""
    if kind == "markdown cell":
        return new_markdown_cell(text)
    code = new_code_cell("show()")
    if kind == "stream":
        code.outputs = [new_output("stream", name="stdout", text=text)]
    elif kind == "error":
        code.outputs = [new_output("error", ename=text, evalue=text, traceback=[text])]
    else:
        code.outputs = [new_output("display_data", data={kind: text, "text/plain": text})]
    return code


def _check_sight(chromium, home: Path) -> None:
    """Raise if a script that runs, or a request to the outside, is not seen."""
    (home / "control.html").write_text(f"<script>{OWN}</script><img src='{OUT}'>")
    chromium.open(home / "control.html")
    if chromium.evaluate("window.owned !== 1") or OUT not in chromium.requests:
        raise RuntimeError("the browser's log does not show what a page does")


def run(home: Path, rng: random.Random, count: int, a_page: int = 100) -> list[Figure]:
    """Render outputs, a hundred on a page, and look at each page in a browser."""
    if browser.find() is None:
        print("hostile pages: no Chromium is installed; left out")
        return []
    scripts = loads = rendered = 0
    with browser.browser() as chromium:
        _check_sight(chromium, home)
        while rendered < count:
            cells = [
                cell(mutated(rng.choice(SEEDS), rng), rng.choice(KINDS)) for _ in range(a_page)
            ]
            page = notebook_to_html(new_notebook(cells=cells), title=mutated(SEEDS[0], rng))
            rendered += a_page
            for bare in (False, True):
                shown = (
                    re.sub(r"<meta http-equiv=.?Content-Security[^>]*>", "", page) if bare else page
                )
                path = home / "page.html"
                path.write_text(shown, errors="surrogatepass")
                chromium.open(path)
                script = chromium.evaluate("window.owned === 1")
                out = [url for url in chromium.requests if not url.startswith(("file:", "data:"))]
                if script or out:
                    (home / f"fell-{rendered}.html").write_text(shown)
                    print("fell:", home / f"fell-{rendered}.html", out[:3])
                scripts, loads = scripts + bool(script), loads + len(out)
    return [
        Figure("pages", "pages on which a script ran", rendered, scripts),
        Figure("pages", "requests to the outside", rendered, loads),
    ]
