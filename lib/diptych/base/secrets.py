"""Keep keys out of parameters and out of everything a run writes."""

import base64
import html
import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, urlsplit

from diptych.base import workspace
from diptych.base.secret_shapes import spans

# of an environment variable; PWD is the folder one is in, an AUTHOR is nobody's secret
SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH(?!OR)|_PASS$|_PWD$", re.IGNORECASE
)
SECRET_PARAMETER = re.compile(r"(^|_)(api)?(key|token|password|secret|passphrase)$", re.IGNORECASE)
VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
SHORTEST = 8
MOST_BYTES = 16 * 2**20  # of a file that is no text, searched for shapes; known values: in any
SAMPLE = 2**16  # bytes by which text is told from other files
REDACTED = "[redacted]"
_NAMED: set[str] = set()  # variables that hold keys, whatever they are called


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
    if spans(value) or any(secret in value for secret in secret_values(environment)):
        return True
    if VARIABLE_NAME.fullmatch(value):
        return False
    return bool(SECRET_PARAMETER.search(name)) or _has_random_token(value)


def secret_values(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the values that must not be written, each with its variable's name.

    A path that exists (``SSH_KEY_FILE``) is no secret; the password in a URL is, whatever its
    variable is called.
    """
    values = {}
    for name, value in environment.items():
        if not SECRET_NAME.search(name) and name not in _NAMED:
            value = _password(value)
        if len(value) >= SHORTEST and not (value.startswith("/") and os.path.exists(value)):
            values[value] = name
    return values


def keep_secret(variable: str) -> None:
    """Take the value of an environment variable for a secret, whatever its name."""
    _NAMED.add(variable)


def _password(url: str) -> str:
    if "://" not in url or "@" not in url:
        return ""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""


class Redactor:
    """Replaces secrets in what a run writes: known values in any spelling, and known shapes.

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

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        if present := [value for value in self._names if value in text]:
            values = re.compile("|".join(map(re.escape, present)))
            text = values.sub(lambda match: f"[redacted {self._names[match[0]]}]", text)
        pieces, at = [], 0
        for begin, end in spans(text):
            pieces += [text[at:begin], REDACTED]
            at = end
        return "".join([*pieces, text[at:]]) if pieces else text

    def tree(self, node):
        """Return a copy of a notebook (or any JSON) with every text redacted but images."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, list | tuple):
            return [self.tree(item) for item in node]
        if isinstance(node, dict):
            # The type is kept: nbformat's nodes are dicts with attributes.
            return type(node)(
                (self.text(key), item if _is_bitmap(key) else self.tree(item))
                for key, item in node.items()
            )
        return node

    def json(self, content) -> str:
        """Return content as indented JSON without secrets, which is JSON still."""
        clean = self.text(json.dumps(content, indent=1))
        if _is_json(clean):
            return clean
        # a password of digits stood in a number, which tells nobody so
        return json.dumps(self.tree(content), indent=1)

    def folder(self, folder: Path) -> None:
        """Redact the files in a folder, whatever they are, and their names."""
        for path in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
            if path.is_file() and not path.is_symlink():
                self.file(path)
            if (name := self.text(path.name)) != path.name:
                path.rename(_free(path.with_name(name)))

    def file(self, path: Path) -> None:
        """Redact a file.

        A text of UTF-8 or UTF-16 reads ``[redacted]`` where a secret stood. In any other file as
        many asterisks take its place, so that lengths and offsets in it stay true.
        """
        data = path.read_bytes()
        clean = self.bytes(data)
        if clean != data:
            workspace.write_atomic(path, clean)

    def bytes(self, data: bytes) -> bytes:
        """Return a file's content without secrets; see `file`."""
        if coding := _coding(data[:SAMPLE]):
            errors = "surrogateescape" if coding == "utf-8" else "surrogatepass"
            try:
                text = data.decode(coding, errors)
            except UnicodeDecodeError:
                return self._masked(data)
            clean = self.text(text)
            if clean == text:
                return data
            if _is_json(text) and not _is_json(clean):
                clean = self.json(json.loads(text))
            return clean.encode(coding, errors)
        return self._masked(data)

    def _masked(self, data: bytes) -> bytes:
        for value in self._names:
            for coding in ("utf-8", "utf-16-le"):
                if (spelled := value.encode(coding, "surrogatepass")) in data:
                    data = data.replace(spelled, b"*" * len(spelled))
        if len(data) <= MOST_BYTES:
            mask, text = bytearray(data), data.decode("latin-1")  # one character a byte
            for begin, end in spans(text, anywhere=True):
                if text[begin:end].isascii() and text[begin:end].isprintable():  # else by chance
                    mask[begin:end] = b"*" * (end - begin)
            data = bytes(mask)
        return data


def _coding(sample: bytes) -> str:
    """Return how a file's text is coded, "" if it is no text."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16-le" if sample[0] == 0xFF else "utf-16-be"
    if b"\0" not in sample:
        return "utf-8"
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.8 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.8 * half and odd < 0.05 * half else ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _free(path: Path) -> Path:
    """Return the path, with a number if something has it."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


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
        quote_plus(value),
        base64.b64encode(value.encode(errors="surrogatepass")).decode().rstrip("="),
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
