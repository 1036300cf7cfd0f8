"""Replace an earlier site by a finished one, and never anything else."""

import os
from pathlib import Path

GENERATOR = '<meta name="generator" content="diptych">'


def refuse_foreign(site: Path) -> None:
    """Refuse to replace anything that was not written here."""
    try:
        names = os.listdir(site)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        names = [site.name]
    try:
        index = (site / "index.html").read_text(encoding="utf-8", errors="replace")
        ours = GENERATOR in index
    except OSError:
        # listed but gone: another build is replacing it
        ours = not names or "index.html" in names
    if not ours:
        raise ValueError(
            f"site: {site} holds something that is not a site of Diptych. "
            "Give an empty or a new folder."
        )


def replace_site(new: Path, site: Path, beside: Path) -> None:
    """Replace the old site by the new one, even while another build does the same."""
    for turn in range(100):
        old = beside / f"old-{turn}"
        try:
            os.rename(site, old)
        except FileNotFoundError:
            old = None
        try:
            os.rename(new, site)
            return
        except OSError:
            if turn == 99:
                raise
            if old and not site.exists():
                os.rename(old, site)
