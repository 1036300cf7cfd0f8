"""Check a reader's answer to an exercise: one line back, with a hint, and never an error.

An answer of None is none yet. The right answer is computed by the cell that asks, from the run's
own rows, so that an exercise holds for other data, too.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

TODO = "Your turn: set the first line of this cell, and run it again."
NUMERAL = re.compile(r"[-+]?\d[\d_ ]*(?:[.,]\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


def number(answer: Any, right: Any, *, tolerance: float = 0.005, hint: str = "") -> bool | None:
    """Check a number: 0.43, "0.43", "0,43", "43 %" and NumPy's numbers are the same.

    Parameters
    ----------
    answer : object
        Whatever the reader set.
    right : float or None
        The figure of this run; None or NaN where it has none.
    tolerance : float
        How far off counts as right.
    hint : str
        Where to look.

    Returns
    -------
    bool or None
        Whether it is right; None without an answer.
    """
    goal = read_number(right)
    if answer is None:
        return _say(None, TODO)
    if goal is None:
        return _say(None, "This run has no figure to compare with: nothing was measured.")
    value = read_number(answer)
    if value is None:
        return _say(False, f"{_short(answer)} is no number. Set one, such as 0.43. {hint}")
    if abs(value - goal) <= tolerance + 1e-9:
        return _say(True, f"Right: {_plain(goal)}.")
    side = "high" if value > goal else "low"
    return _say(False, f"Not yet: {_plain(value)} is too {side}. {hint}")


def choice(
    answer: Any, right: str, *, hints: Mapping[str, str] | None = None, why: str = ""
) -> bool | None:
    """Check a word: case, spaces and an article do not matter.

    Parameters
    ----------
    right : str
    hints : mapping of str to str
        What to say to another answer.
    why : str
        What is said when it is right.
    """
    if answer is None:
        return _say(None, TODO)
    known = {_word(wrong): hint for wrong, hint in (hints or {}).items()}
    value = _word(answer)
    if value == _word(right):
        return _say(True, f"Right: {right}. {why}")
    if value in known:
        return _say(False, f"Not yet. {known[value]}")
    options = ", ".join(repr(word) for word in sorted({right, *(hints or {})}))
    return _say(False, f"{_short(answer)} is none of the answers: {options}.")


def code(attempt: Any, check: Callable[[Any], bool | str], *, hint: str = "") -> bool | None:
    """Check what the reader wrote: a function, a table, a list.

    Parameters
    ----------
    check : callable
        Takes the attempt; returns True, or a hint. What the attempt raises becomes a hint.
    """
    if attempt is None:
        return _say(None, TODO)
    try:
        result = check(attempt)
    except Exception as error:  # whatever the reader's code raises
        reason = (str(error).splitlines() or [""])[0][:200]
        return _say(False, f"Not yet: it raised {type(error).__name__}: {reason}. {hint}")
    if result is True or (isinstance(result, np.bool_) and bool(result)):
        return _say(True, "Right.")
    return _say(False, f"Not yet. {result if isinstance(result, str) else hint}")


def read_number(answer: Any) -> float | None:
    """Return an answer as a number, None if it is none; "43 %" is 0.43."""
    if isinstance(answer, str):
        text = answer.strip()
        share = text.endswith("%")
        text = text.removesuffix("%").strip()
        if not NUMERAL.fullmatch(text):
            return None
        text = re.sub(r"[_ ]", "", text).replace(",", ".")
        value = float(text) / (100 if share else 1)
        return value if math.isfinite(value) else None
    try:
        value = float(answer)
    except Exception:  # an answer may be any object
        return None
    return value if math.isfinite(value) else None


def _word(answer: Any) -> str:
    try:
        text = str(answer)
    except Exception:  # an answer may be any object
        return ""
    text = re.sub(r"[\s_]+", " ", text).strip(" .\"'").casefold()
    return re.sub(r"^(the|a|an) ", "", text)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def _short(answer: Any) -> str:
    try:
        text = repr(answer)
    except Exception:  # an object may not even have a repr
        text = f"A {type(answer).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _say(result: bool | None, message: str) -> bool | None:
    print(message.strip())
    return result
