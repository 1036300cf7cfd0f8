"""Attack what was built, and write what came of it: kills, hostile requests, keys, hostile pages.

    make campaign                                  # about 45 minutes on two cores
    make campaign ONLY="kills secrets"             # some parts; the others keep their figures
    make campaign RESUME=1                          # resume one that was interrupted today
    python benchmarks/campaign --short             # half a minute, as in `make test`; only printed

Everything is made up from a seed, runs in a workspace of its own and stays on this machine's
loopback. Each part stores its figures in benchmarks/trust/ when it ends, and benchmarks/TRUST.md
is written from them; the exit status is 1 if a promise is broken.
"""

import argparse
import importlib
import math
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
# slow to import, and it reads the workspace from the environment
import trust
from figures import Figure

# each with its module and function, how much of it the whole campaign has and the short one
PARTS = {
    "redactor": ("slow_texts", "run", 1, 1),
    "pages": ("hostile_pages", "run", 2_000, 100),
    "requests": ("hostile_requests", "run", 20_000, 150),
    "slowdown": ("hostile_requests", "slowdowns", 30, 0),
    "token": ("token_times", "run", 2_000, 0),
    "secrets": ("key_shapes", "run", 5, 1),
    "kills-runs": ("kills", "runs", 260, 0),
    "kills-sweeps": ("kills_of_calls", "sweeps", 60, 0),
    "kills-reports": ("kills_of_calls", "reports", 60, 0),
    "kills-asks": ("kills_of_calls", "asks", 340, 0),
    "kills-endpoints": ("kills", "endpoints", 150, 0),
    "kills-promotions": ("kills", "promotions", 140, 0),
}
BATCHES = {"kills": 20, "secrets": 1}  # after so many the figures are stored


def figures_of(part: str, size: int, folder: Path, seed: int) -> list[Figure]:
    """Run one part of the campaign in a folder and a workspace of its own."""
    folder.mkdir()
    os.environ["DIPTYCH_HOME"] = str(folder / "workspace")
    module, function, *_ = PARTS[part]
    run = getattr(importlib.import_module(module), function)
    return run(folder, random.Random(f"{part} {seed}"), size)


def passes_of(part: str, size: int, home: Path, options: argparse.Namespace):
    """Run a part to its size, kills in batches; yield what is done so far after each."""
    done = trust.recent(part, options.seed) if options.resume else None
    until = time.monotonic() + 60 * (options.minutes or math.inf)
    while (done is None or done.size < size) and time.monotonic() < until:
        so_far = done.size if done else 0
        more = min(size - so_far, BATCHES.get(part.partition("-")[0], size))
        began, load = time.monotonic(), os.getloadavg()[0]
        figures = figures_of(part, more, home / f"{part}-{so_far}", options.seed + so_far)
        seconds = time.monotonic() - began
        last = trust.Pass(part, more, PARTS[part][2], figures, options.seed, seconds, load)
        done = done.plus(last) if done else last
        print(f"{part}: {done.size} of {size}, {seconds:.0f} s", file=sys.stderr, flush=True)
        yield done


def main() -> int:
    """Run the parts that were asked for; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help=f"beginnings of {', '.join(PARTS)}")
    parser.add_argument("--resume", action="store_true", help="add to what was stored within a day")
    parser.add_argument("--minutes", type=float, help="begin no further kills of a part after that")
    parser.add_argument("--seed", type=int, default=27)
    parser.add_argument("--short", action="store_true", help="a little of each, no kills")
    parser.add_argument("--scale", type=float, default=1, help="share of the whole, such as 0.1")
    options = parser.parse_args()
    parts = [x for x in PARTS if not options.only or x.startswith(tuple(options.only))]
    if not parts:
        parser.error(f"--only {' '.join(options.only)}: the parts are {', '.join(PARTS)}")
    home = Path(tempfile.mkdtemp(prefix="diptych-campaign-"))
    done: dict[str, trust.Pass] = {}
    try:
        for part in parts:
            _, _, whole, short = PARTS[part]
            size = short if options.short else max(1, round(whole * options.scale))
            for so_far in passes_of(part, size, home, options) if size else ():
                done[part] = so_far
                if size == whole and not options.short:
                    so_far.store()  # one that is interrupted keeps its figures
                    trust.write(list(PARTS))
    except BaseException:
        print(f"What was attacked stays in {home}", file=sys.stderr)
        raise
    holds = all(one.holds for one in done.values())
    if holds:
        shutil.rmtree(home, ignore_errors=True)
    print(trust.page(list(done.values())))
    return not holds


if __name__ == "__main__":
    sys.exit(main())
