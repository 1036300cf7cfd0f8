"""The parameters cell: what a notebook can be run with.

One line a parameter, ``name: type = default  # help [lo..hi]`` or ``# help {a | b | c}``; a choice
``+estimator`` stands for those that plugins add (`diptych.base.plugins.GROUPS`). A line without a
type takes what papermill takes, unchecked. A default that is no plain value, such as
``date.today()``, is evaluated by the kernel. Whatever else stands in the cell (magics, imports) is
left alone.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diptych.base import plugins, secrets, workspace
from diptych.base.errors import ParameterError
from diptych.execution import annotations
from diptych.execution.notebooks import read_notebook, source

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"\[\s*({NUMBER})?\s*\.\.\s*({NUMBER})?\s*\]\s*$")
CHOICES = re.compile(r"\{([^{}]*\|[^{}]*)\}\s*$")
TYPE_COMMENT = re.compile(r"type:\s*(\S+)\s*")  # as papermill reads it
MAGIC = re.compile(r"^(\s*)(?:(\w+)\s*=\s*)?[%!?].*$")
PLUGINS = "+"  # begins a choice that stands for what plugins add of a kind
UNKNOWN = "unknown"  # the type of a default without a type that only the kernel knows


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Attributes
    ----------
    name : str
    type : str
        As annotated, such as ``int`` or ``list[str] | None``; else that of the default.
    default : object
        Of that type, as plain JSON; None where `expression` is given.
    help : str
        The line's comment, its range or choices included.
    minimum, maximum : int or float or None
        Ends of the range, both allowed; None is open.
    choices : tuple
        The values allowed; empty allows any.
    typed : bool
        Whether values are checked: it is annotated, or has a range or choices.
    expression : str
        Source of a default that the kernel evaluates, "" for a plain value.
    """

    name: str
    type: str
    default: object
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple = ()
    typed: bool = True
    expression: str = ""

    @property
    def annotation(self) -> annotations.Annotation:
        """What `type` allows."""
        return annotations.read(self.type)

    def check(self, value):
        """Return the value in its declared type: a whole number may stand for a float.

        Raises
        ------
        ValueError
            If it is of another type, out of range or not among the choices; the message says
            what is wrong and what to write.
        """
        if not self.typed:
            return value
        return annotations.check(self.annotation, value, self._within)

    def _within(self, value):
        low = self.minimum is not None and value < self.minimum
        high = self.maximum is not None and value > self.maximum
        if low or high:
            raise ValueError(f"{'below' if low else 'above'} the range. Write {self.allowed()}")
        if self.choices and value not in self.choices and value not in self._added():
            raise ValueError(f"not a choice. Write {self.allowed()}")
        return value

    def _added(self) -> list[str]:
        """Return the names that plugins add to the choices, where one is such as ``+estimator``."""
        kinds = [choice[1:] for choice in self.choices if _is_kind(choice)]
        return [name for kind in kinds for name in plugins.registry(kind).added()]

    def allowed(self) -> str:
        """Return the range or the choices in words, "" if any value goes."""
        if self.choices:
            names = [choice for choice in self.choices if not _is_kind(choice)] + self._added()
            return "one of " + ", ".join(str(name) or '""' for name in names)
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f"{low} to {high}"
        if low is not None:
            return f"{low} or more"
        return f"{high} or less" if high is not None else ""


def _is_kind(choice: object) -> bool:
    return isinstance(choice, str) and choice[:1] == PLUGINS and choice[1:] in plugins.GROUPS


def parameters_cell(notebook: Path) -> str | None:
    """Return the source of the first cell tagged ``parameters``, None if there is none.

    Raises
    ------
    ParameterError
        If the file is missing or is no notebook.
    """
    for cell in read_notebook(notebook)["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            return source(cell)
    return None


def read_parameters(notebook: Path) -> list[Parameter]:
    """Read the parameters that a notebook declares, without starting a kernel.

    Parameters
    ----------
    notebook : Path
        A notebook; one without a cell tagged ``parameters`` declares none.

    Raises
    ------
    ParameterError
        If the notebook is missing or is none, or a default does not fit its declaration.
    """
    name = workspace.shown(notebook)
    return parse(parameters_cell(notebook) or "", name)


def parse(cell: str, name: str) -> list[Parameter]:
    """Read the parameters that the source of a parameters cell declares.

    Parameters
    ----------
    cell : str
    name : str
        What messages call the notebook.

    Raises
    ------
    ParameterError
        If a default does not fit its declaration.
    """
    text = plain_python(cell)
    try:
        statements = ast.parse(text).body
        notes = comments(text)
    except (SyntaxError, tokenize.TokenError) as error:
        where = f"line {error.lineno}" if isinstance(error, SyntaxError) else "its end"
        raise ParameterError(f"{name}: the parameters cell is no Python at {where}.") from error
    parameters, problems = {}, []
    for statement in statements:
        try:
            for parameter in _read(statement, notes.get(statement.end_lineno, "")):
                earlier = parameters.get(parameter.name)
                if earlier and earlier.typed and parameter.typed:
                    raise ValueError(f"{parameter.name}: declared twice. Keep one line")
                parameters[parameter.name] = parameter
        except ValueError as error:
            problems.append(f"{name}: parameters cell, line {statement.lineno}: {error}.")
    if problems:
        raise ParameterError(problems)
    return list(parameters.values())


def plain_python(text: str) -> str:
    """Return a cell's source with IPython's magics replaced, line by line."""
    return "\n".join(MAGIC.sub(_without_magic, line) for line in text.split("\n"))


def _without_magic(line: re.Match) -> str:
    return f"{line[1]}{line[2]} = ..." if line[2] else f"{line[1]}pass"


def _read(statement: ast.stmt, comment: str) -> Iterator[Parameter]:
    """Read what a statement declares."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield _declared(name, ast.unparse(statement.annotation).strip("'\""), value, comment)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            typed = TYPE_COMMENT.match(comment)
            kind, note = (typed[1], comment[typed.end() :]) if typed else (None, comment)
            yield _declared(name, kind, value, note)
        case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    expression = ast.unparse(statement)
                    yield Parameter(
                        node.id, UNKNOWN, None, comment, typed=False, expression=expression
                    )


def _declared(name: str, kind: str | None, value: ast.expr, comment: str) -> Parameter:
    """Read one declaration and check its default against it."""
    try:
        default, expression = ast.literal_eval(value), ""
        plain = _plain(default)
    except (ValueError, TypeError, RecursionError):
        default, expression, plain = None, ast.unparse(value), None
    if secrets.looks_secret(name, default):
        raise ValueError(f"{name}: the default looks like a secret. {SECRET_REMEDY}")
    if kind is None:
        return _untyped(name, plain, expression, comment)
    if plain is None and not expression and not annotations.read(kind).allows_none:
        kind = f"{kind} | None"  # what `x: int = None` means
    limits = _limits(Parameter(name, kind, plain, comment))
    parameter = Parameter(name, kind, plain, comment, *limits, expression=expression)
    if expression:
        return parameter
    try:
        checked = parameter.check(plain)
    except ValueError as error:
        raise ValueError(f"{name} = {default!r}: the default is {error}") from error
    return Parameter(name, kind, checked, comment, *limits)


def _untyped(name: str, default, expression: str, comment: str) -> Parameter:
    """Return a parameter without a type: unchecked, unless its comment has a range or choices."""
    kind = UNKNOWN if expression else _inferred(default)
    free = Parameter(name, kind, default, comment, typed=False, expression=expression)
    if expression or not (RANGE.search(comment) or CHOICES.search(comment)):
        return free
    try:
        typed = Parameter(name, kind, default, comment, *_limits(free))
        return typed if typed.check(default) == default else free
    except ValueError:
        return free  # prose that looks like one


def _plain(value):
    """Return a literal as JSON has it.

    Raises
    ------
    TypeError
        If JSON has no such value, as bytes or a set.
    """
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _plain(entry) for name, entry in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(type(value).__name__)


SECRET_REMEDY = "Put the name of an environment variable there, and the secret in the variable"


def _limits(parameter: Parameter) -> tuple[float | None, float | None, tuple]:
    """Return minimum, maximum and choices as the comment gives them."""
    scalars = parameter.annotation.scalars
    number = int if "int" in scalars else float if "float" in scalars else None
    try:
        if limits := RANGE.search(parameter.help):
            if number is None:
                raise ValueError("only numbers have a range")
            low, high = (number(end) if end else None for end in limits.groups())
            return low, high, ()
        if limits := CHOICES.search(parameter.help):
            words = [word.strip().strip("\"'") for word in limits[1].split("|")]
            return None, None, tuple(parameter.check(_of_type(number, word)) for word in words)
    except ValueError as error:
        raise ValueError(
            f"{parameter.name}: {limits[0].strip()} does not fit {parameter.type} ({error})"
        ) from error
    return None, None, ()


def _of_type(number: type | None, word: str):
    return number(word) if number else word


def comments(text: str) -> dict[int, str]:
    """Return the comment on each line that has code before it."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokens
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
    }


def _inferred(default) -> str:
    """Return the name of an unannotated default's type."""
    if default is None:
        return UNKNOWN
    kinds = {type(item) for item in default} if isinstance(default, list) else set()
    if len(kinds) == 1 and (kind := kinds.pop()).__name__ in annotations.SCALARS:
        return f"list[{kind.__name__}]"
    return type(default).__name__
