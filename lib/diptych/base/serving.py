"""Where a server listens, and what it asks of its callers: the same for both panels' servers."""

import ipaddress
import os
import socket

# ports of this package's servers that this process started or found: what they answer follows from
# what they were started with
OWN_PORTS: set[int] = set()


class ServeError(RuntimeError):
    """The server cannot be started; the message says what to do."""


def listen(host: str, port: int, token: str) -> socket.socket:
    """Return a socket that listens on an address; port 0 takes any free one.

    Raises
    ------
    ServeError
        If the address is taken or wrong, or open to others while there is no token.
    """
    if not token and not is_loopback(host):
        raise ServeError(
            f"host: {host!r} lets others in, so a token is needed; put one into an environment "
            "variable and name it with --token-env, or take 127.0.0.1"
        )
    if not 0 <= port <= 65_535:  # the socket's own refusal leaves it open
        raise ServeError(f"{host}, port {port}: there is none; take another --port, up to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise ServeError(f"{host}, port {port}: {reason}; take another --port or --host") from error


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address; a name other than localhost may not be."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(name: str) -> str:
    """Return the token that the environment variable `name` holds; "" if no name is given.

    Raises
    ------
    ServeError
        If the variable is not set or blank.
    """
    token = os.environ.get(name, "").strip() if name else ""
    if name and not token:
        raise ServeError(f"--token-env: the environment variable {name} is not set; export it")
    return token
