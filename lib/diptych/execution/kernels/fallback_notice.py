"""Say why a kernel was not forked."""

from functools import cache

from diptych.base.progress import say
from diptych.execution.kernels.client import Foreign


def notice(refused: Exception) -> None:
    """Say, once, why kernels are started afresh; not that another language's are."""
    if not isinstance(refused, Foreign):
        _once(str(refused))


@cache
def _once(why: str) -> None:
    say(f"kernels start cold: {why}")
