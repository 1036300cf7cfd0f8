"""Where the benchmarks run, and where their tables are kept."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = "# Benchmarks\n\nWritten by `make bench`; compare ratios, not times of a busy machine.\n"


def machine():
    """Return cores and processor of this machine, and its Python."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
        model = names[0].split(":")[1].strip() if names else model
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def record(title, lines):
    """Print a section and put it into RESULTS.md in place of the one before."""
    text = "\n".join(lines)
    print(f"\n{text}")
    before = RESULTS.read_text() if RESULTS.exists() else HEAD
    others = re.sub(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", "", before, flags=re.DOTALL)
    section = f"\n## {title}\n\n{datetime.now(UTC):%Y-%m-%d}, {machine()}\n\n{text}\n"
    RESULTS.write_text(others.rstrip("\n") + "\n" + section)
