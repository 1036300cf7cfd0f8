"""The local server as tests meet it: a question to it, and whether a process is gone."""

import contextlib
import os
import time

from diptych.llmops.client.target import Target

HELLO = [{"role": "user", "content": "Is this review positive or negative? What a lovely film."}]


def at(model, **server):
    """Return the local target of a model's file."""
    return Target(server={"model": model, **server})


def answer(client, **options):
    options = {"model": "diptych", "max_tokens": 6, "temperature": 0} | options
    return client.chat.completions.create(messages=HELLO, **options).choices[0].message.content


def gone(pid):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not so within {seconds} s"
        time.sleep(0.05)
