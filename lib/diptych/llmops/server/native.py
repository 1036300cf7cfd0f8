"""llama.cpp built for this processor: `make local-native` builds it, the server then uses it.

A wheel's code must run on any processor of its kind, so it uses AVX2 at most. Built here from the
sources of the same version, it uses what the processor has (AVX-512, VNNI), and reads prompts
faster. It lies in the user's cache, by version and processor, and the wheel stays as it is.
``DIPTYCH_NATIVE=0`` leaves it out.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from diptych.base import workspace

PACKAGE = "xllamacpp"
# what the server has no use for, and what would be fetched from elsewhere in the build
OPTIONS = "-DGGML_NATIVE=ON -DLLAMA_LLGUIDANCE=OFF -DLLAMA_BUILD_BORINGSSL=OFF"
TOOLS = {"cmake": "apt install cmake", "c++": "apt install g++"}


class NativeError(RuntimeError):
    """The build cannot be made; the message says what to do."""


def folder() -> Path:
    """Return where the build for this processor lies, which may not be there."""
    version = importlib.metadata.version(PACKAGE)
    return workspace.models().parent / "native" / f"{PACKAGE}-{version}-{_processor()}"


def _processor() -> str:
    """Return a short name of the processor's instructions, and of Python's way to load code."""
    lines = []
    info = Path("/proc/cpuinfo")
    if info.is_file():
        wanted = ("flags", "Features")
        lines = [line for line in info.read_text().splitlines() if line.startswith(wanted)][:1]
    facts = [platform.machine(), platform.processor(), sys.implementation.cache_tag, *lines]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def activate() -> bool:
    """Put the build before the wheel on the path, if it is there; say whether it is."""
    place = folder()
    if os.environ.get("DIPTYCH_NATIVE") == "0" or not (place / PACKAGE).is_dir():
        return False
    sys.path.insert(0, str(place))
    return True


def build() -> Path:
    """Build the installed version from its sources, which takes some minutes; return the folder.

    Raises
    ------
    NativeError
        If a tool is missing or the build fails; what it printed stands above.
    """
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        remedies = "; ".join(TOOLS[tool] for tool in missing)
        raise NativeError(f"{', '.join(missing)}: not on this machine; install it ({remedies})")
    place = folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version(PACKAGE)
    with tempfile.TemporaryDirectory(dir=place.parent) as beside:
        command = [
            sys.executable, "-m", "pip", "install", "--no-deps", "--no-cache-dir",
            "--no-binary", PACKAGE, "--target", f"{beside}/built", f"{PACKAGE}=={version}",
        ]  # fmt: skip
        options = f"{os.environ.get('CMAKE_ARGS', '')} {OPTIONS}".strip()
        done = subprocess.run(command, env=os.environ | {"CMAKE_ARGS": options}, check=False)
        if done.returncode:
            raise NativeError(
                f"{PACKAGE} {version} was not built; the lines above say why. "
                "Everything works without it, by the wheel"
            )
        shutil.rmtree(place, ignore_errors=True)
        os.replace(f"{beside}/built", place)
    return place


if __name__ == "__main__":
    try:
        print(f"Built: {build()}. The local server uses it from its next start on.")
    except NativeError as error:
        sys.exit(f"error: {error}")
