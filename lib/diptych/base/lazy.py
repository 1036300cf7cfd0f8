"""Faster imports: leave out what a library imports only if it is there, and nobody here uses."""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without(name: str) -> Iterator[None]:
    """Hide a library from the imports made meanwhile; one that has been imported stays."""
    was_known = name in sys.modules
    sys.modules.setdefault(name, None)  # None: it cannot be imported
    try:
        yield
    finally:
        if not was_known:
            del sys.modules[name]


def import_nbformat() -> ModuleType:
    """Return the library `nbformat`, imported in a tenth of the time.

    jsonschema, which it needs, would spend two seconds on a grammar of international web
    addresses; the schema of notebooks has none.
    """
    with without("rfc3987_syntax"):
        import nbformat
    return nbformat


def pytest_addhooks() -> None:
    """Import nbformat this way before nbval imports it, under ``pytest -p diptych.base.lazy``."""
    import_nbformat()
