"""Warm kernels behind Jupyter's usual sockets: the kernelspec "Diptych (warm)".

JupyterLab, nbval and whatever else starts a kernel by its name get one forked from the zygote. The
spec is `kernel.json` beside this module; ``python -m diptych.execution.kernels`` installs it.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from jupyter_client.provisioning import LocalProvisioner

from diptych.execution.kernels import client


class WarmProvisioner(LocalProvisioner):
    """Forks kernels; where none can be forked, starts one afresh, and a line says why."""

    async def launch_kernel(self, cmd: list[str], **options) -> Mapping:
        """Start a kernel; see `jupyter_client.provisioning.LocalProvisioner`."""
        try:
            self.process = await _fork(cmd, options)
        except client.Refused as refused:
            client.notice_fallback(refused)
            return await super().launch_kernel(cmd, **options)
        self.pid = self.pgid = self.process.pid
        self.cwd = options.get("cwd") or Path.cwd()
        return self.connection_info


async def _fork(command: list[str], options: dict) -> client.Forked:
    """Fork the kernel that a command would start, its output going where it was asked to go."""
    with open(os.devnull, "r+") as nothing:
        files = [nothing.fileno()]
        for number, name in enumerate(("stdout", "stderr"), start=1):
            file = options.get(name)
            if file == subprocess.PIPE:
                raise client.Refused(f"its {name} is to go through a pipe")
            if file == subprocess.DEVNULL:
                file = nothing
            files.append(number if file is None else getattr(file, "fileno", lambda f=file: f)())
        return await asyncio.to_thread(
            client.launch,
            command,
            environment=options.get("env") or os.environ,
            cwd=options.get("cwd") or os.getcwd(),
            files=files,
        )
