"""The wheel also holds notebooks, params, docs and teach, which the repository has at its root."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = ("notebooks", "params", "docs", "teach")
# a release names the repository that it comes from, wherever that is
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
HOST = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
PAGES = {
    "Source": "",
    "Documentation": "/tree/main/docs",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Issues": "/issues",
}


class BuildPy(build_py):
    """Copies the project into the package; an editable installation has it in the repository."""

    def run(self):
        """Copy what the wheel holds beside the modules."""
        super().run()
        if self.editable_mode:
            return
        for name in PROJECT:
            target = Path(self.build_lib, "diptych", "project", name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))


setup(
    cmdclass={"build_py": BuildPy},
    project_urls={name: f"{HOST}/{REPOSITORY}{path}" for name, path in PAGES.items() if REPOSITORY},
)
