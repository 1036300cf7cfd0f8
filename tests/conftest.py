"""All tests share one workspace of their own, so that no run of the user is touched."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def workspace(tmp_path_factory):
    """A fresh workspace; the notebooks build on each other's runs in it."""
    before = os.environ.get("DIPTYCH_HOME")
    os.environ["DIPTYCH_HOME"] = str(tmp_path_factory.mktemp("workspace"))
    yield os.environ["DIPTYCH_HOME"]
    if before is None:
        del os.environ["DIPTYCH_HOME"]
    else:
        os.environ["DIPTYCH_HOME"] = before
