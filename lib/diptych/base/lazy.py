"""Imports made light: without what a library imports only where it can, and nobody here uses."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(name: str) -> Iterator[None]:
    """Let what is imported meanwhile do without a library; one that has been imported stays."""
    was_known = name in sys.modules
    sys.modules.setdefault(name, None)  # None: it cannot be imported
    try:
        yield
    finally:
        if not was_known:
            del sys.modules[name]
