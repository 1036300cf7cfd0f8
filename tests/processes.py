"""Waiting for other processes."""

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


def is_gone(pid):
    """Say whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
