"""Waiting for other processes, and ending them."""

import contextlib
import json
import os
import signal
import time

import psutil

PATIENCE = 120  # seconds, for a process to come to a point; a machine may be busy


def until(condition):
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def end_servers(home):
    """End the servers of language models that were started in a workspace."""
    for file in (home / "llm").glob("*.json"):
        with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError):
            os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)


def is_gone(pid):
    """Say whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
