"""A page as PDF, printed by an installed browser of the Chromium family."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "microsoft-edge-stable", "msedge", "brave-browser",
)  # fmt: skip
PLACES = (  # where they lie on systems that do not put programs on the path
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = """--headless --disable-gpu --no-first-run --disable-sync --disable-extensions
    --disable-background-networking --disable-component-update --no-pdf-header-footer
    --run-all-compositor-stages-before-draw --virtual-time-budget=20000 --window-size=700,1000"""
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
PATIENCE = 300  # seconds


class PdfError(RuntimeError):
    """A page could not be printed; one sentence says what to do."""


def find_browser() -> str | None:
    """Return the path of a browser that can print without a window, or None."""
    on_path = next(filter(None, map(shutil.which, NAMES)), None)
    return on_path or next((place for place in PLACES if Path(place).exists()), None)


def print_page(page: Path, pdf: Path, online: bool = False) -> None:
    """Print an HTML page as PDF.

    Parameters
    ----------
    page : Path
    pdf : Path
        Written whole or not at all.
    online : bool
        Let the page reach the network; only a trusted one needs it.

    Raises
    ------
    PdfError
        If there is no browser, or it prints nothing.
    """
    browser = find_browser()
    if browser is None:
        raise PdfError(
            "A PDF is printed by Chromium, Chrome or Edge, and none is installed: install one "
            "(Debian: `apt install chromium`), or open the page in a browser and print it there."
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        printed = Path(folder, "page.pdf")
        command = [browser, *FLAGS.split(), f"--user-data-dir={folder}/profile"]
        command += [] if online else [OFFLINE]
        # a browser started by root has no sandbox to go into
        command += ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        command += [f"--print-to-pdf={printed}", Path(page).absolute().as_uri()]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise PdfError(f"{browser} did not print {page} within {PATIENCE} s.") from None
        if not printed.exists():
            last = done.stderr.decode(sys.getdefaultencoding(), "replace").strip().splitlines()
            raise PdfError(f"{browser} printed nothing: {' '.join(last[-2:]) or 'no reason'}")
        staged = pdf.with_name(f".{pdf.name}.partial")
        shutil.copyfile(printed, staged)
        os.replace(staged, pdf)
