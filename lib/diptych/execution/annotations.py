"""What the annotation of a parameter allows: ``int``, ``date | None``, ``list[list[str]]``.

An annotation that is not known here, such as ``pd.Timestamp``, allows anything.
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
DATES = {"date": date, "datetime": datetime}
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
KINDS |= {list: "a list", tuple: "a list", dict: "a mapping", type(None): "nothing"}
KINDS |= {date: "a date", datetime: "a date and time"}
REMEDIES = {
    "int": "Write a whole number such as 3",
    "float": "Write a number such as 0.5 or 1.0e-3",
    "str": 'Put text in quotes: "..."',
    "bool": "Write true or false",
}
EXAMPLES = {"date": "2026-01-31", "datetime": "2026-01-31T09:00"}
OTHER_NAMES = {"List": "list", "Tuple": "tuple", "Dict": "dict", "Sequence": "list"}
LISTS = ("list", "tuple")


@dataclass(frozen=True)
class Annotation:
    """An annotation, read.

    Attributes
    ----------
    name : str
        ``int``, ``float``, ``str``, ``bool``, ``date``, ``datetime``, ``list``, ``tuple``,
        ``dict``, ``none``, ``literal``, ``union``, or ``any`` for what is not known.
    items : tuple of Annotation
        Of a list, tuple or mapping, or the members of a union.
    source : str
        As it was written.
    values : tuple
        Of a ``literal``.
    """

    name: str
    items: tuple["Annotation", ...] = ()
    source: str = ""
    values: tuple = ()

    @property
    def scalars(self) -> set[str]:
        """The names of what it holds at any depth."""
        return {self.name}.union(*(item.scalars for item in self.items))

    @property
    def is_text(self) -> bool:
        """Whether a text from the command line is taken as it is."""
        if self.name == "union":
            return all(item.is_text or item.name == "none" for item in self.items)
        if self.name == "literal":
            return all(isinstance(value, str) for value in self.values)
        return self.name in ("str", *DATES)

    @property
    def allows_none(self) -> bool:
        """Whether None is a value."""
        return self.name in ("none", "any") or (
            self.name == "union" and any(item.allows_none for item in self.items)
        )


@lru_cache
def read(text: str) -> Annotation:
    """Read an annotation as it stands in a notebook."""
    try:
        return _read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        return Annotation("any", source=text)


def check(annotation: Annotation, value, limit: Callable = lambda value: value):
    """Return a value in its annotated type, as plain JSON: a date becomes ISO text.

    Parameters
    ----------
    limit : callable
        Called with each scalar of the right type outside mappings; it refuses or returns it.

    Raises
    ------
    ValueError
        If it is of another type; the message says what is wrong and what to write.
    """
    match annotation.name:
        case "any":
            return value
        case "union":
            return _one_of(annotation, value, limit)
        case "literal":
            return _literal(annotation, value)
        case "none":
            if value is None:
                return None
            raise ValueError(f"{kind_of(value)}, not nothing. Write None")
        case "list" | "tuple":
            return _items(annotation, value, limit)
        case "dict":
            return _mapping(annotation, value)
        case "date" | "datetime":
            return _time(annotation.name, value)
    return limit(_scalar(annotation.name, value))


def code(annotation: Annotation, value) -> str | None:
    """Return Python for a checked value that papermill would hand over in another type.

    None where papermill's own translation is right: a date would arrive as text, a tuple as list.
    """
    if not annotation.scalars & {*DATES, "tuple"}:
        return None
    return _code(annotation, value)


def kind_of(value) -> str:
    """Return in words what a value is."""
    return KINDS.get(type(value), type(value).__name__)


def _read(node: ast.expr) -> Annotation:
    source = ast.unparse(node)
    match node:
        case ast.Constant(value=None):
            return Annotation("none", source=source)
        case ast.Constant(value=str(text)):
            return read(text)
        case ast.BinOp(op=ast.BitOr()):
            return _union(_read(node.left), _read(node.right))
        case ast.Name() | ast.Attribute():
            return Annotation(_known(node), source=source)
        case ast.Subscript(value=ast.Name() | ast.Attribute() as base):
            return _subscript(_last(base), node.slice, source)
    return Annotation("any", source=source)


def _subscript(base: str, inner: ast.expr, source: str) -> Annotation:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    name = OTHER_NAMES.get(base, base)
    if name == "Optional":
        return _union(_read(inner), Annotation("none", source="None"))
    if name == "Union":
        return _union(*map(_read, parts))
    if name == "Annotated":
        return _read(parts[0])
    if name == "Literal" and all(isinstance(part, ast.Constant) for part in parts):
        return Annotation("literal", source=source, values=tuple(part.value for part in parts))
    if name in (*LISTS, "dict"):
        ellipsis = [part for part in parts if ast.unparse(part) == "..."]
        items = tuple(_read(part) for part in parts if part not in ellipsis)
        endless = ("...",) if ellipsis else ()
        return Annotation(name, items, source, endless)
    return Annotation("any", source=source)


def _union(*members: Annotation) -> Annotation:
    flat = []
    for member in members:
        flat += member.items if member.name == "union" else [member]
    return Annotation("union", tuple(flat), " | ".join(member.source for member in flat))


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _known(node: ast.expr) -> str:
    name = OTHER_NAMES.get(_last(node), _last(node))
    return name if name in (*SCALARS, *DATES, *LISTS, "dict") else "any"


def _one_of(annotation: Annotation, value, limit: Callable):
    refusal = None
    for member in annotation.items:
        try:
            return check(member, value, limit)
        except ValueError as error:  # the first is what is meant, None and the like stand last
            refusal = refusal or error
    extra = " or None" if annotation.allows_none else ""
    raise ValueError(f"{refusal}{extra}")


def _literal(annotation: Annotation, value):
    for known in annotation.values:
        if known == value and type(known) is type(value):
            return value
    raise ValueError(f"not a choice. Write one of {', '.join(map(str, annotation.values))}")


def _items(annotation: Annotation, value, limit: Callable) -> list:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{kind_of(value)}, not a list. Write [a, b]")
    items = annotation.items
    if not items:
        return list(value)
    if annotation.name == "tuple" and not annotation.values:
        if len(items) != len(value):
            raise ValueError(f"{len(value)} values, not {len(items)}. Write {len(items)} values")
        return [check(item, part, limit) for item, part in zip(items, value, strict=True)]
    return [check(items[0], part, limit) for part in value]


def _mapping(annotation: Annotation, value) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{kind_of(value)}, not a mapping. Write {{name: value}}")
    if len(annotation.items) != 2:
        return value
    names, values = annotation.items
    return {check(names, name): check(values, entry) for name, entry in value.items()}


def _time(name: str, value) -> str:
    kind = DATES[name]
    if isinstance(value, kind) and isinstance(value, datetime) == (kind is datetime):
        return value.isoformat()
    if isinstance(value, str):
        try:
            return kind.fromisoformat(value.strip()).isoformat()
        except ValueError:
            pass
    raise ValueError(f"{kind_of(value)}, not {KINDS[kind]}. Write it as {EXAMPLES[name]}")


def _scalar(name: str, value):
    if name == "float" and type(value) is int:
        value = _as_float(value)
    if type(value) is not SCALARS[name]:
        raise ValueError(f"{kind_of(value)}, not {KINDS[SCALARS[name]]}. {REMEDIES[name]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number. Write a number such as 0.5")
    if isinstance(value, str):
        _check_unicode(value)
    return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not valid Unicode text. Remove the lone surrogate") from error


def _code(annotation: Annotation, value) -> str:
    """Return Python for a checked value."""
    match annotation.name:
        case "union":
            return _code(_holder(annotation, value), value)
        case "date" | "datetime":
            return f"{annotation.source}.fromisoformat({value!r})"
        case "tuple" | "list":
            parts = ", ".join(_code(_item(annotation, i), part) for i, part in enumerate(value))
            comma = "," if len(value) == 1 else ""
            return f"[{parts}]" if annotation.name == "list" else f"({parts}{comma})"
        case "dict" if len(annotation.items) == 2:
            pairs = (f"{name!r}: {_code(annotation.items[1], v)}" for name, v in value.items())
            return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _holder(annotation: Annotation, value) -> Annotation:
    """Return the member of a union that takes a value."""
    for member in annotation.items:
        try:
            check(member, value)
        except ValueError:
            continue
        return member
    return Annotation("any")


def _item(annotation: Annotation, number: int) -> Annotation:
    if not annotation.items:
        return Annotation("any")
    exact = annotation.name == "tuple" and not annotation.values
    return annotation.items[number if exact else 0]
