"""Keep keys out of parameters and out of everything a run writes."""

import html
import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from diptych.base import workspace

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SECRET_PARAMETER = re.compile(r"(^|_)(api)?(key|token|password|secret)$", re.IGNORECASE)
VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
TEXT_FILES = {".csv", ".html", ".json", ".jsonl", ".log", ".md", ".svg", ".txt", ".yaml", ".yml"}
SHORTEST = 8

# A token may follow a terminal colour code, whose last character is a letter.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\x1b\[\dm)|(?<=\x1b\[\d\dm)|(?<=[;\d]\d\dm))"
_TOKENS = (
    # scikit-learn's HTML has long classes such as sk-toggleable__content, so more than length.
    r"sk-(?:(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{20,}|[a-z0-9]{20,})",
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}",
    r"gh[oprsu]_[A-Za-z0-9]{20,}",
    r"github_pat_\w{20,}",
    r"glpat-[\w-]{16,}",
    r"hf_[A-Za-z0-9]{20,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[\w-]{20,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"AIza[\w-]{30,}",
    r"xox[a-z]-[A-Za-z0-9-]{10,}",
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,}",
)
PATTERNS = re.compile(
    rf"{_START}(?:{'|'.join(_TOKENS)})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^\s/:@]+:[^\s/:@]+(?=@)"
    r"|(?<=Bearer )[\w.~+/-]{20,}=*",
    re.DOTALL,
)


def looks_secret(name: str, value, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether a parameter's value is likely a key, a password or a token.

    Parameters
    ----------
    name : str
        A name ending in key, token, password or secret may hold only the name of an
        environment variable.
    value : object
        A string, or a list or mapping of which any string may be secret; nothing else is.
    """
    if isinstance(value, list | tuple):
        return any(looks_secret(name, item, environment) for item in value)
    if isinstance(value, dict):
        return any(looks_secret(str(key), item, environment) for key, item in value.items())
    if not isinstance(value, str) or not value:
        return False
    if PATTERNS.search(value) or any(secret in value for secret in secret_values(environment)):
        return True
    if VARIABLE_NAME.fullmatch(value):
        return False
    return bool(SECRET_PARAMETER.search(name)) or _has_random_token(value)


def secret_values(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the values that must not be written, each with its variable's name.

    A path that exists (``SSH_KEY_FILE``) is no secret.
    """
    return {
        value: name
        for name, value in environment.items()
        if SECRET_NAME.search(name)
        and len(value) >= SHORTEST
        and not (value.startswith("/") and os.path.exists(value))
    }


class Redactor:
    """Replaces secrets in what a run writes: known values in any spelling, and known patterns.

    Parameters
    ----------
    environment : mapping of str to str
        Its values of variables named like a key, token, secret or password are replaced.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ):
        spelled = {
            spelling: name
            for value, name in secret_values(environment).items()
            for spelling in _spellings(value)
        }
        # The longest first: one secret may begin with another.
        self._names = dict(sorted(spelled.items(), key=lambda item: -len(item[0])))
        self._values = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        text = self._values.sub(lambda match: f"[redacted {self._names[match[0]]}]", text)
        return PATTERNS.sub("[redacted]", text)

    def tree(self, node):
        """Return a copy of a notebook (or any JSON) with every string redacted but images."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, list):
            return [self.tree(item) for item in node]
        if isinstance(node, dict):
            # The type is kept: nbformat's nodes are dicts with attributes.
            return type(node)(
                (key, item if _is_bitmap(key) else self.tree(item)) for key, item in node.items()
            )
        return node

    def folder(self, folder: Path) -> None:
        """Redact the text files in a folder; Parquet and model files are not read."""
        for path in folder.rglob("*"):
            if path.suffix in TEXT_FILES and path.is_file():
                self.file(path)

    def file(self, path: Path) -> None:
        """Redact a text file."""
        text = path.read_bytes().decode(errors="surrogateescape")
        clean = self.text(text)
        if clean != text:
            workspace.write_atomic(path, clean.encode(errors="surrogateescape"))


def _is_bitmap(key: str) -> bool:
    return key.startswith("image/") and key != "image/svg+xml"


def _spellings(value: str) -> set[str]:
    """Return how a value is written in text, in HTML, in JSON, in Python and in a URL."""
    return {
        value,
        html.escape(value),
        html.escape(value, quote=False),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
        quote(value, safe=""),
    }


def _has_random_token(text: str) -> bool:
    """Say whether text holds a long random token; the path of a file or URL may hold digests."""
    if "://" in text:
        text = urlsplit(text).query
    elif text.startswith(("/", "./", "../", "~")) or re.search(r"\.[A-Za-z]\w{1,7}$", text):
        return False
    return any(_is_random(token) for token in re.findall(r"[A-Za-z0-9]{24,}", text))


def _is_random(token: str) -> bool:
    if re.fullmatch(r"[0-9a-f]{32,}|[0-9A-F]{32,}", token):
        return bool(re.search(r"[a-fA-F]", token))
    mixed = re.search(r"\d", token) and re.search(r"[a-z]", token) and re.search(r"[A-Z]", token)
    counts = Counter(token).values()
    entropy = -sum(n / len(token) * math.log2(n / len(token)) for n in counts)
    return bool(mixed) and entropy >= 3.5
