"""A notebook as a script of cells, in jupytext's ``py:percent`` format, which editors run too.

The format: https://jupytext.readthedocs.io/en/latest/formats-scripts.html. Jupytext pairs such a
file with its notebook (``jupytext --sync FILE``); outputs stay in the notebook.
"""

import re
from collections.abc import Mapping

HEADER = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: {display_name}
#     language: python
#     name: {name}
# ---
"""
KERNEL = {"display_name": "Python 3 (ipykernel)", "name": "python3"}
# what Python cannot read, and what would begin a cell or is escaped already
MAGIC = re.compile(r"\s*(?:%|!|\?)|\s*[\w.]+\?\??\s*$|\s*\w+\s*=\s*[%!]")
ESCAPED = re.compile(r"\s*#( #)* ?(%%|%|!)")


def script(nb: Mapping) -> str:
    """Return a notebook's cells as a script; lines that Python cannot read are comments in it.

    Parameters
    ----------
    nb : NotebookNode
        Of format 4. A cell's tags stand in its first line; its outputs are left out.
    """
    kernel = KERNEL | dict(nb["metadata"].get("kernelspec", {}))
    parts = [HEADER.format(display_name=kernel["display_name"], name=kernel["name"])]
    return "\n".join([*parts, *(_cell(cell) for cell in nb["cells"])])


def _cell(cell: Mapping) -> str:
    kind = "" if cell["cell_type"] == "code" else f" [{cell['cell_type']}]"
    tags = cell["metadata"].get("tags", [])
    marks = " tags=[" + ", ".join(f'"{tag}"' for tag in tags) + "]" if tags else ""
    lines = cell["source"].split("\n") if cell["source"] else []
    write = _of_code if cell["cell_type"] == "code" else _of_text
    body = "".join(f"{line}\n" for line in write(lines))
    return f"# %%{kind}{marks}\n{body}"


def _of_text(lines: list[str]) -> list[str]:
    return [f"# {line}" if line else "#" for line in lines]


def _of_code(lines: list[str]) -> list[str]:
    if lines and lines[0].startswith("%%"):  # the whole cell is another language's
        return [f"# {line}" if line else "#" for line in lines]
    return [f"# {line}" if MAGIC.match(line) or ESCAPED.match(line) else line for line in lines]
