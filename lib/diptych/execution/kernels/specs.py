"""The kernel "python3" of `diptych lab`: what a notebook names, started warm."""

import json
import threading
from pathlib import Path

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager

from diptych.execution.kernels import client


class WarmSpecs(KernelSpecManager):
    """Jupyter's kernels, with the one of this environment forked from the zygote.

    The name that is shown and stored is Jupyter's own, so a notebook that is saved in another
    JupyterLab stays the same. The zygote starts with the server, so the first kernel is warm, too.
    """

    def __init__(self, **options):
        super().__init__(**options)
        threading.Thread(target=client.warm_up, daemon=True).start()

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernel by its name; see `jupyter_client.kernelspec.KernelSpecManager`."""
        spec = super().get_kernel_spec(kernel_name)
        if kernel_name == NATIVE_KERNEL_NAME:
            warm = json.loads(Path(__file__).with_name("kernel.json").read_text())
            spec.argv, spec.metadata = warm["argv"], warm["metadata"]
        return spec
