"""Attack what was built, and write what came of it: kills, hostile requests, keys, hostile pages.

    make campaign                                  # about 40 minutes on two cores
    python benchmarks/campaign --short --print     # half a minute, as in `make test`

Everything is made up from a seed, runs in a workspace of its own and stays on this machine's
loopback. The results go into benchmarks/TRUST.md; the exit status is 1 if a promise is broken.
"""

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# slow to import, and it reads the workspace from the environment
from figures import HEAD, Figure

PARTS = ("redactor", "pages", "requests", "secrets", "kills")
WHOLE = {"pages": 2_000, "requests": 20_000, "secrets": 5, "kills": 300, "seconds": 30}
SHORT = {"pages": 100, "requests": 150, "secrets": 1, "kills": 0, "seconds": 0}


def figures_of(part: str, sizes: dict, home: Path, seed: int) -> list[Figure]:
    """Run one part of the campaign."""
    import hostile_pages
    import hostile_requests
    import key_shapes
    import kills
    import slow_texts

    rng = random.Random(f"{part} {seed}")
    match part:
        case "redactor":
            return slow_texts.run()
        case "pages":
            return hostile_pages.run(home, rng, sizes["pages"])
        case "requests":
            return hostile_requests.run(home, rng, sizes["requests"], sizes["seconds"])
        case "secrets":
            return key_shapes.run(home, rng, sizes["secrets"])
        case _:
            return kills.run(home, rng, sizes["kills"]) if sizes["kills"] else []


def scaled(share: float) -> dict:
    """Return the sizes of a share of the whole campaign."""
    return {name: max(1, round(size * share)) for name, size in WHOLE.items()}


def report(figures: list[Figure], seed: int, seconds: float) -> str:
    """Return the page."""
    command = " ".join(["python benchmarks/campaign", *sys.argv[1:]])
    return "\n\n".join([
        "# What the attacks came to",
        f"Written by `{command}` (the whole is `make campaign`) on {date.today()} with seed "
        f"{seed} in {seconds / 60:.0f} minutes, Python {platform.python_version()}. The head of "
        "each module in "
        "`benchmarks/campaign/` says what is done; SECURITY.md says what is promised.",
        "\n".join([HEAD, *(figure.line() for figure in figures)]),
        "Not tried here: what SECURITY.md names as not promised.",
    ]) + "\n"  # fmt: skip


def main() -> int:
    """Run the parts that were asked for; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=27)
    parser.add_argument("--short", action="store_true", help="a little of each, no kills")
    parser.add_argument("--scale", type=float, default=1, help="share of the whole, such as 0.1")
    parser.add_argument("--print", action="store_true", help="print the page, do not store it")
    options = parser.parse_args()
    began, home = time.monotonic(), Path(tempfile.mkdtemp(prefix="diptych-campaign-"))
    os.environ["DIPTYCH_HOME"] = str(home / "workspace")
    figures: list[Figure] = []
    try:
        for part in options.parts:
            sizes = SHORT if options.short else scaled(options.scale)
            figures += figures_of(part, sizes, home, options.seed)
            print(f"{part}: done after {time.monotonic() - began:.0f} s", file=sys.stderr)
            page = report(figures, options.seed, time.monotonic() - began)
            if not options.print:  # after each part: one that is interrupted keeps its figures
                (Path(__file__).parents[1] / "TRUST.md").write_text(page)
    finally:
        if all(figure.holds for figure in figures):
            shutil.rmtree(home, ignore_errors=True)
    if options.print:
        print(page)
    return not all(figure.holds for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
