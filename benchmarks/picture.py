"""Write docs/contrast.svg, the picture of the README: the forest plot of the last clean run.

`make notebooks` stores that run's outputs in notebooks/contrast.ipynb. Run: make picture
"""

import json
import re
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "contrast.svg"
SOURCE = ROOT / "notebooks" / "contrast.ipynb"
ADDRESS = re.compile(r'<img class="figure" src="data:image/svg\+xml,([^"]+)" alt="Who is ahead')


def drawn() -> str:
    """Return the SVG.

    Raises
    ------
    SystemExit
        If the stored outputs have no forest plot.
    """
    cells = json.loads(SOURCE.read_text("utf-8"))["cells"]
    for cell in cells:
        for output in cell.get("outputs", ()):
            page = "".join(output.get("data", {}).get("text/html", ""))
            if found := ADDRESS.search(page):
                return f"{unquote(found[1])}\n"
    raise SystemExit(f"{SOURCE}: no forest plot is stored; run make notebooks first")


if __name__ == "__main__":
    PICTURE.write_text(drawn(), "utf-8")
    print(PICTURE)
