"""A forked kernel as nbclient and papermill know kernels: a manager, and a client on a pipe.

Everything that turns messages into outputs stays theirs, and so do timeouts, interrupts and
errors: what they make of a notebook is the same by construction.
"""

import asyncio
import contextlib
import os
import queue
import signal
import socket
import time
from collections.abc import Mapping
from typing import BinaryIO

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

from diptych.execution.kernels import client, wire

GRACE = 2.5  # seconds
TICK = 0.002  # seconds
# What a kernel gets that has not ended, and after how long; it listens when no cell runs.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none, and no pipe either
INSIST = ((0.2, signal.SIGINT), (5.0, signal.SIGTERM), (GRACE, KILL))


class PipeManager(AsyncKernelManager):
    """Starts and ends a kernel forked from the zygote."""

    _process: client.Forked | None = None
    _pipe: socket.socket | None = None
    _client: "PipeClient | None" = None

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel was started and not yet seen to its end."""
        return self._process is not None

    async def start_kernel(
        self,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
        extra_arguments: tuple[str, ...] = (),
        **_,
    ) -> None:
        """Fork a kernel; its process writes to this one's stdout and stderr by default.

        Raises
        ------
        Refused
            If none can be forked.
        """
        self.shutting_down = False
        self.session.key = b""  # nobody else can reach the pipe
        environment = {**(os.environ if env is None else env), **self.kernel_spec.env}
        ours, end = socket.socketpair()
        with end, open(os.devnull) as nothing, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            self._process = await asyncio.to_thread(
                client.launch,
                [*self.kernel_spec.argv, *extra_arguments],
                environment=environment,
                cwd=cwd or os.getcwd(),
                files=[
                    nothing.fileno(),
                    1 if stdout is None else stdout.fileno(),
                    2 if stderr is None else stderr.fileno(),
                    end.fileno(),
                ],
            )
            undo.pop_all()
        self._pipe = ours

    def client(self, **_) -> "PipeClient":
        """Return a client of the kernel; a second one would take the messages of the first."""
        self._client = PipeClient(parent=self, pipe=self._pipe)
        return self._client

    async def is_alive(self) -> bool:
        """Say whether the kernel runs."""
        return self._process is not None and self._process.poll() is None

    _async_is_alive = is_alive  # the name that clients call

    async def poll(self) -> int | None:
        """Return how a kernel ended that has just been seen to end."""
        await self._ended(GRACE)
        return self._process.returncode

    async def interrupt_kernel(self) -> None:
        """Interrupt the kernel and the processes it started."""
        self._process.send_group(signal.SIGINT)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """End the kernel: ask it to end, then insist.

        It hangs up as its last act: only the system is not done with it then, which nobody needs
        to wait for, as it takes a tenth of a short run to give back all memory.
        """
        self.shutting_down = True
        if self._process is None:
            return
        if not now:
            request = self.session.msg("shutdown_request", {"restart": False})
            with contextlib.suppress(OSError):
                self._pipe.sendall(wire.pack("control", self.session.serialize(request)))
            for patience, number in INSIST:
                if not await self._hung_up(patience):
                    self._process.send_group(number)
        if not await self._hung_up(0):
            self._process.send_group(signal.SIGKILL)
            await self._ended(GRACE)
        self._process = None
        if self._client is not None:
            self._client.stop_channels()
        self._pipe.close()

    async def cleanup_resources(self, restart: bool = False) -> None:
        """Do nothing: there is no file and no socket with a name."""

    async def _ended(self, patience: float) -> bool:
        """Wait for the process to end."""
        deadline = time.monotonic() + patience
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(TICK)
        return self._process.returncode is not None

    async def _hung_up(self, patience: float) -> bool:
        """Wait for the process to end or hang up, reading on so that it can say its last."""
        deadline = time.monotonic() + patience
        while self._process.poll() is None:
            try:
                if not self._pipe.recv(1 << 20, socket.MSG_DONTWAIT):
                    break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                await asyncio.sleep(TICK)
            except ConnectionResetError:
                break
        return True


class PipeClient(AsyncKernelClient):
    """Sends requests into a pipe and sorts what comes out of it.

    Parameters
    ----------
    parent : PipeManager
    pipe : socket.socket
    """

    def __init__(self, parent: PipeManager, pipe: socket.socket):
        super().__init__(parent=parent)
        self.session.key = b""  # nobody else can reach the pipe
        self._pipe, self._buffer, self._loop = pipe, bytearray(), None
        names = ("shell", "iopub", "control", "stdin", "hb")
        self._channels = {name: PipeChannel(name, pipe, self.session) for name in names}

    shell_channel = property(lambda self: self._channels["shell"])
    iopub_channel = property(lambda self: self._channels["iopub"])
    control_channel = property(lambda self: self._channels["control"])
    stdin_channel = property(lambda self: self._channels["stdin"])
    hb_channel = property(lambda self: self._channels["hb"])

    def start_channels(self, **_) -> None:
        """Read from now on, in the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pipe, self._receive)

    def stop_channels(self) -> None:
        """Read no more."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._pipe)
        self._loop = None

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return at once: a pipe loses nothing that is sent before the kernel reads."""

    def _receive(self) -> None:
        try:
            content = self._pipe.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            content = b""
        if not content:
            self.stop_channels()
            # What was published is seen to before anyone learns of the end.
            self._channels["shell"].queue.put_nowait(None)
            return
        self._buffer += content
        for name, frames in wire.unpack(self._buffer):
            _, frames = self.session.feed_identities(frames)
            self._channels[name].queue.put_nowait(self.session.deserialize(frames))


class PipeChannel:
    """One of the channels that share the pipe."""

    def __init__(self, name: str, pipe: socket.socket, session):
        self.name, self.pipe, self.session = name, pipe, session
        self.queue = asyncio.Queue()

    def send(self, message: dict) -> None:
        """Send a message; a kernel that is gone is noticed when the answer is awaited."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.sendall(wire.pack(self.name, self.session.serialize(message)))

    async def get_msg(self, timeout: float | None = None) -> dict:
        """Return the next message.

        Raises
        ------
        queue.Empty
            If none comes in time.
        DeadKernelError
            If the kernel has ended.
        """
        try:
            message = await asyncio.wait_for(self.queue.get(), timeout)
        except TimeoutError:
            raise queue.Empty from None
        if message is None:
            self.queue.put_nowait(None)
            raise DeadKernelError("Kernel died")
        return message

    def start(self) -> None:
        """Do nothing: the client reads for all channels."""

    stop = close = start

    def is_alive(self) -> bool:
        """Say that it can be used."""
        return True
