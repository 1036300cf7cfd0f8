"""Install the kernelspec "Diptych (warm)" for JupyterLab and nbval.

Run it as ``python -m diptych.execution.kernels``.

pip installs no file outside a package that is installed to be edited, so `make setup` calls this.
With ``stop``, let every warm process end with its last kernel.
"""

import shutil
import sys
from pathlib import Path


def install(prefix: str = sys.prefix) -> Path:
    """Install the kernelspec and return its folder.

    Parameters
    ----------
    prefix : str
        The environment's folder.
    """
    folder = Path(prefix, "share", "jupyter", "kernels", "diptych")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("kernel.json"), folder / "kernel.json")
    return folder


if __name__ == "__main__":
    if sys.argv[1:] == ["stop"]:
        from diptych.execution.kernels.client import stop

        print(stop())
    else:
        print(install())
