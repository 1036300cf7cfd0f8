"""The library `nbformat`, imported in a tenth of the time.

jsonschema, which it needs, would build a grammar of international web addresses meanwhile, for
two seconds; the schema of notebooks has none.
"""

from diptych.base.lazy import without

with without("rfc3987_syntax"):
    import nbformat

__all__ = ["nbformat"]
