"""What is left out of an import is left out of that one alone."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from diptych.base.lazy import without


def test_a_library_is_missing_meanwhile_and_only_then():
    sys.modules.pop("this", None)
    with without("this"):
        with pytest.raises(ImportError):
            import_module("this")
        with without("this"):
            pass
    assert "this" not in sys.modules


def test_one_that_is_there_stays():
    with without("json"):
        assert import_module("json") is json
    assert sys.modules["json"] is json


def test_notebooks_are_read_without_the_grammar_of_addresses():
    code = """
import sys
from diptych.base.lazy import import_nbformat

nbformat = import_nbformat()
nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]))
assert "rfc3987_syntax" not in sys.modules
import rfc3987_syntax  # it is installed
"""
    subprocess.run([sys.executable, "-c", code], check=True)
