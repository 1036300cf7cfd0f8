"""A failed notebook says what and where in its first line, and what to do next."""

from diptych.base.errors import NotebookFailed

TRACEBACK = """Traceback (most recent call last)
Cell In[3], line 2
      1 x = 0
----> 2 y = 1 / x
      3 z = 2
ZeroDivisionError: division by zero"""


def failed(ename, evalue, traceback, notebook):
    error = NotebookFailed(5, ename, evalue, traceback, "Make")
    error.notebook = notebook
    return error


def test_the_first_line_says_what_and_where_and_the_traceback_is_apart():
    error = failed("ZeroDivisionError", "division by zero", TRACEBACK, "own")
    assert str(error).splitlines() == [
        "own failed in cell 6, under 'Make': ZeroDivisionError: division by zero",
        "The line: y = 1 / x",
    ]
    assert error.traceback == TRACEBACK


def test_a_failure_of_what_it_builds_on_is_told_once():
    inner = failed("ValueError", "window: takes no 9; take 8", TRACEBACK, "mlops/4_serve")
    outer = failed("NotebookFailed", f"{inner}", TRACEBACK, "mlops/5_monitor")
    assert str(outer).splitlines() == [
        "mlops/5_monitor failed in cell 6, under 'Make': mlops/4_serve failed in cell 6, under "
        "'Make': ValueError: window: takes no 9; take 8",
        "The line: y = 1 / x",
    ]
