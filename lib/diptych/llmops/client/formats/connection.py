"""Whether a request reached anybody at all: if not, it was not paid."""

import httpx2

UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout)


def is_unreached(error: BaseException | None) -> bool:
    """Say whether a failure of a client means that nobody was there.

    On aiohttp a server that hangs up in mid-answer looks like one that could not be reached
    (openai's transport makes both a `ConnectTimeout`); what lies below tells them apart.
    """
    import aiohttp

    cause = getattr(error, "__cause__", None)
    if not isinstance(cause, UNREACHED):
        return False
    below = cause.__cause__ or cause.__context__
    if not isinstance(below, aiohttp.ClientError):
        return True
    return isinstance(below, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
