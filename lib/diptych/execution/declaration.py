"""The parameters cell: what a notebook can be run with.

One line a parameter, ``name: type = default  # help [lo..hi]`` or ``# help {a | b | c}``.
"""

import ast
import io
import math
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from diptych.base import secrets, workspace
from diptych.base.errors import ParameterError
from diptych.execution.notebooks import read_notebook, source

SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"\[\s*({NUMBER})?\s*\.\.\s*({NUMBER})?\s*\]\s*$")
CHOICES = re.compile(r"\{([^{}]*\|[^{}]*)\}\s*$")
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
KINDS |= {list: "a list", dict: "a mapping", type(None): "nothing"}
REMEDIES = {
    "int": "Write a whole number such as 3",
    "float": "Write a number such as 0.5 or 1.0e-3",
    "str": 'Put text in quotes: "..."',
    "bool": "Write true or false",
}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Attributes
    ----------
    name : str
    type : str
        ``int``, ``float``, ``str``, ``bool``, or ``list[...]`` of one of them.
    default : object
        Of that type.
    help : str
        The line's comment, its range or choices included.
    minimum, maximum : int or float or None
        Ends of the range, both allowed; None is open.
    choices : tuple
        The values allowed; empty allows any.
    """

    name: str
    type: str
    default: object
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple = ()

    @property
    def item(self) -> str:
        """The type of the value, or of each item of a list."""
        return self.type.removeprefix("list[").removesuffix("]")

    def check(self, value):
        """Return the value in its declared type: a whole number may stand for a float.

        Raises
        ------
        ValueError
            If it is of another type, out of range or not among the choices; the message says
            what is wrong and what to write.
        """
        if self.type == self.item:
            return self._check_scalar(value)
        if not isinstance(value, list):
            raise ValueError(f"{_kind(value)}, not a list. Write [a, b]")
        return [self._check_scalar(item) for item in value]

    def _check_scalar(self, value):
        if self.item == "float" and type(value) is int:
            value = _as_float(value)
        if type(value) is not SCALARS[self.item]:
            wanted = KINDS[SCALARS[self.item]]
            raise ValueError(f"{_kind(value)}, not {wanted}. {REMEDIES[self.item]}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("not a finite number. Write a number such as 0.5")
        if isinstance(value, str):
            _check_unicode(value)
        low = self.minimum is not None and value < self.minimum
        high = self.maximum is not None and value > self.maximum
        if low or high:
            raise ValueError(f"{'below' if low else 'above'} the range. Write {self.allowed()}")
        if self.choices and value not in self.choices:
            raise ValueError(f"not a choice. Write {self.allowed()}")
        return value

    def allowed(self) -> str:
        """Return the range or the choices in words, "" if any value goes."""
        if self.choices:
            return "one of " + ", ".join(str(choice) or '""' for choice in self.choices)
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f"{low} to {high}"
        if low is not None:
            return f"{low} or more"
        return f"{high} or less" if high is not None else ""


def read_parameters(notebook: Path) -> list[Parameter]:
    """Read the parameters that a notebook declares, without starting a kernel.

    Parameters
    ----------
    notebook : Path
        A notebook with one cell tagged ``parameters``.

    Raises
    ------
    ParameterError
        If the notebook is missing, is none, has no such cell, or the cell holds something else
        than parameters with good defaults.
    """
    name = workspace.shown(notebook)
    tagged = [
        cell
        for cell in read_notebook(notebook)["cells"]
        if "parameters" in cell.get("metadata", {}).get("tags", [])
    ]
    if not tagged:
        raise ParameterError(
            f"{name}: no cell tagged `parameters`. Tag the cell of defaults (in JupyterLab: "
            "property inspector, cell tags); a notebook without parameters needs an empty one."
        )
    text = source(tagged[0])
    try:
        statements = ast.parse(text).body
        notes = comments(text)
    except (SyntaxError, tokenize.TokenError) as error:
        where = f"line {error.lineno}" if isinstance(error, SyntaxError) else "its end"
        raise ParameterError(f"{name}: the parameters cell is no Python at {where}.") from error
    parameters, problems = {}, []
    for statement in statements:
        try:
            parameter = _read(statement, notes.get(statement.end_lineno, ""))
            if parameter.name in parameters:
                raise ValueError(f"{parameter.name}: declared twice. Keep one line")
            parameters[parameter.name] = parameter
        except ValueError as error:
            problems.append(f"{name}: parameters cell, line {statement.lineno}: {error}.")
    if problems:
        raise ParameterError(problems)
    return list(parameters.values())


def _read(statement: ast.stmt, comment: str) -> Parameter:
    """Read one declaration and check its default against it."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            kind = ast.unparse(statement.annotation).strip("'\"")
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            kind = None
        case _:
            raise ValueError(
                f"{ast.unparse(statement)[:60]}: not a parameter. "
                "The cell holds only `name: type = default  # help`; move other code below it"
            )
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} = {ast.unparse(value)[:60]}: not a plain value. "
            "Write a number, text, true or false, or a list of them"
        ) from error
    kind = kind or _inferred(default)
    if not re.fullmatch(r"(list\[)?(int|float|str|bool)(?(1)\])", kind):
        raise ValueError(f"{name}: type {kind}. Annotate it int, float, str, bool or list[...]")
    if secrets.looks_secret(name, default):
        raise ValueError(f"{name}: the default looks like a secret. {SECRET_REMEDY}")
    limits = _limits(Parameter(name, kind, default, comment))
    try:
        checked = Parameter(name, kind, default, comment, *limits).check(default)
    except ValueError as error:
        raise ValueError(f"{name} = {default!r}: the default is {error}") from error
    return Parameter(name, kind, checked, comment, *limits)


SECRET_REMEDY = "Put the name of an environment variable there, and the secret in the variable"


def _limits(parameter: Parameter) -> tuple[float | None, float | None, tuple]:
    """Return minimum, maximum and choices as the comment gives them."""
    number = {"int": int, "float": float}.get(parameter.item)
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
    if isinstance(default, list) and default:
        return f"list[{type(default[0]).__name__}]"
    return type(default).__name__


def _kind(value) -> str:
    return KINDS.get(type(value), type(value).__name__)


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
