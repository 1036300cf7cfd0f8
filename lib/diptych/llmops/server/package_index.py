"""Wheels of the package index that pip is set up for, as files: nothing is installed or imported.

The index is read by its Simple API, in JSON or HTML (PyPA's specification of repositories).
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.parse import urldefrag, urljoin, urlsplit

from diptych.base.environment import normal
from diptych.llmops.server.download import Connection, DownloadError

PUBLIC = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


@dataclass(frozen=True)
class Wheel:
    """A wheel's address and its SHA-256, "" where the index does not give one."""

    url: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """The addresses of package indexes, in order, and how they are reached."""

    urls: tuple[str, ...]
    connection: Connection

    def wheel(self, name: str, version: str) -> Wheel:
        """Return a package's wheel that any platform takes.

        Raises
        ------
        DownloadError
            If no index has it, or none can be reached.
        """
        reasons = []
        for url in self.urls:
            try:
                links = self._links(f"{url.rstrip('/')}/{normal(name)}/")
            except (OSError, ValueError) as error:
                missing = isinstance(error, HTTPError) and error.code == 404
                reasons.append("it has no such package" if missing else str(error))
                continue
            for file, wheel in links.items():
                project, _, rest = file.partition("-")
                if normal(project) == normal(name) and rest.startswith(f"{version}-"):
                    return wheel
            reasons.append("it has no wheel of this version")
        raise DownloadError(f"package index: {name} {version}: {'; '.join(dict.fromkeys(reasons))}")

    def _links(self, page: str) -> dict[str, Wheel]:
        """Return the wheels of a project's page by file name."""
        with self.connection.open(page, {"Accept": ACCEPT}) as response:
            base, text = response.url, response.read().decode()
            is_json = "json" in response.headers.get("Content-Type", "")
        if is_json:
            listed = [(file["filename"], file["url"], file.get("hashes", {}).get("sha256", ""))
                      for file in json.loads(text)["files"]]  # fmt: skip
        else:
            anchors = _Anchors()
            anchors.feed(text)
            listed = [(name, *_split(address)) for name, address in anchors.links]
        return {
            name: Wheel(_joined(page, base, url), digest)
            for name, url, digest in listed
            if name.endswith(".whl")
        }


class _Anchors(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self._address = [], ""

    def handle_starttag(self, tag, attrs):
        self._address = dict(attrs).get("href") or "" if tag == "a" else ""

    def handle_data(self, data):
        if self._address and data.strip():
            self.links.append((data.strip(), self._address))
            self._address = ""


def _split(address: str) -> tuple[str, str]:
    url, fragment = urldefrag(address)
    return url, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""


def _joined(page: str, base: str, url: str) -> str:
    """Return a file's whole address; on the index's own host it keeps the index's credentials."""
    whole, index = urljoin(base, url), urlsplit(page)
    if index.username is not None and urlsplit(whole).hostname == index.hostname:
        return urlsplit(whole)._replace(netloc=index.netloc).geturl()
    return whole


def configured() -> Index:
    """Return the index that pip is set up for: its files and environment, else PyPI."""
    settings = _pip_settings()
    urls = [settings.get("index-url") or PUBLIC, *settings.get("extra-index-url", "").split()]
    hosts = frozenset(settings.get("trusted-host", "").split())
    usable = tuple(url for url in urls if url.startswith(("http://", "https://")))
    return Index(usable, Connection(settings.get("cert", ""), hosts))


def _pip_settings() -> dict[str, str]:
    """Return pip's settings by name, as ``pip config list`` shows them; the environment wins."""
    names = ("index-url", "extra-index-url", "trusted-host", "cert")
    settings = {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout  # fmt: skip
    for section in ("global", "install", "download"):
        for name, value in re.findall(rf"^{section}\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
            settings[name] = value.replace("\\n", " ").strip()
    for name in names:
        if value := os.environ.get(f"PIP_{name.replace('-', '_').upper()}"):
            settings[name] = value
    return {name: settings[name] for name in names if name in settings}
