"""The kernel in a forked process: ipykernel's own, in a shell made before the fork."""

import asyncio
import atexit
import contextlib
import multiprocessing.process
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import ipykernel
import zmq
from ipykernel import debugger, iostream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from tornado.ioloop import IOLoop
from traitlets import Any

from diptych.base import completion
from diptych.execution.kernels import wire
from diptych.execution.kernels.shell import EARLY

LAUNCHER = str(Path(ipykernel.__file__).parents[1] / "ipykernel_launcher.py")


class WarmApp(IPKernelApp):
    """ipykernel's application, around a shell that is there already.

    Attributes
    ----------
    arguments : list of str
        Those it was initialized with.
    receive : callable or None
        Returns the request and its files, once; in a preforked kernel, when they come.
    files : list of int
        Stdin, stdout, stderr, and the pipe if there is one.
    """

    arguments = receive = None
    files = ()

    def become(self):
        """Take on what a process started by the caller would have, if not done yet."""
        if self.receive is None:
            return
        request, (*self.files, connection) = self.receive()
        self.receive = None
        _become(request, self.files)
        connection = socket.socket(fileno=connection)
        threading.Thread(target=_watch, args=(connection,), daemon=True).start()
        if request["arguments"] != self.arguments:
            self.parse_command_line(request["arguments"])

    def init_connection_file(self):
        """Read the connection file, which is the first thing that is the request's own."""
        self.become()
        super().init_connection_file()

    def init_poller(self):
        """Wait for no parent: the zygote, and `_watch`, see to it that the kernel ends."""

    def init_io(self):
        """Turn the early streams into those of this kernel."""
        usual = iostream.OutStream

        def late(session, thread, name, **options):
            stream = EARLY[name]
            stream.__class__ = usual
            stream.__init__(session, thread, name, **options)
            return stream

        iostream.OutStream = late
        try:
            super().init_io()
        finally:
            iostream.OutStream = usual

    def init_kernel(self):
        """Make the kernel, and finish the shell: what a fork must not have, what this run set."""
        shell = ZMQInteractiveShell.instance()
        self.user_ns = shell.user_ns
        self.make_kernel()
        shell.kernel = shell.parent = self.kernel
        del shell.config.HistoryManager["enabled"]
        shell.update_config(self.config)
        shell.configurables.remove(shell.history_manager)
        in_memory = self.config.HistoryManager.get("hist_file") == ":memory:"
        if in_memory:
            shell.init_history()
        self.become()
        self.listen()
        shell.starting_dir = os.getcwd()
        if not in_memory:
            shell.init_history()
        shell.init_user_ns()

    def start(self):
        """Run to the end; the thread for control messages first, which may still publish.

        Ended after the thread that publishes, it would wait for that in vain, for seconds.
        """
        super().start()
        if self.control_thread and self.control_thread.is_alive():
            self.control_thread.stop()
            self.control_thread.join()

    def make_kernel(self):
        """Make the kernel."""
        super().init_kernel()

    def hang_up(self):
        """Need do nothing: the caller waits for the process to end."""

    def listen(self):
        """Need do nothing: the kernel has its sockets."""


class Channel:
    """One of the channels that share the pipe; to ipykernel it looks like a zmq stream."""

    def __init__(self, pipe: "Pipe", name: str):
        self.pipe, self.name = pipe, name
        self.io_loop, self.context = IOLoop.current(), pipe.context

    def send_multipart(self, frames, **_):
        """Send a message."""
        self.pipe.send(self.name, frames)

    def on_recv(self, callback, **_):
        """Set what is called with each message that comes in."""
        self.pipe.callbacks[self.name] = callback

    def flush(self, *_):
        """Do nothing: a message is sent when `send_multipart` returns."""

    close = flush


class Pipe:
    """The kernel's end of the pipe."""

    def __init__(self):
        self.end, self.lock, self.buffer = None, threading.Lock(), bytearray()
        self.callbacks = {}
        self.context = zmq.Context()  # the publishing thread wakes itself through it

    def send(self, channel: str, frames) -> None:
        """Send a message; nobody listens once the caller is gone."""
        content = wire.pack(channel, frames)
        with self.lock, contextlib.suppress(OSError):
            self.end.sendall(content)

    def receive(self, *_) -> None:
        """Hand on the messages that have come in."""
        try:
            content = self.end.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            os.killpg(0, signal.SIGKILL)
        self.buffer += content
        loop = asyncio.get_running_loop()
        for channel, frames in wire.unpack(self.buffer):
            message = [zmq.Frame(frame) for frame in frames]
            self.tasks = loop.create_task(self.callbacks[channel](message))


class PipeKernel(IPythonKernel):
    """ipykernel's kernel without sockets: the main thread reads the requests."""

    shell_stream = Any()
    control_stream = Any()
    _supports_kernel_subshells = False

    def start(self):
        """Register for requests, but for none of a debugger."""
        self.shell.exit_now = False
        super(IPythonKernel, self).start()


class MainThread(SimpleNamespace):
    """What ipykernel asks of the thread that reads requests, where there is no such thread."""

    def __bool__(self):
        return False


class PipeApp(WarmApp):
    """ipykernel's application, its messages going over the pipe."""

    def init_connection_file(self):
        """Need no file, and sign no message: nobody else can reach the pipe."""
        self.session.key = b""

    def init_sockets(self):
        """Publish through ipykernel's thread, so that outputs are cut and ordered as ever."""
        self.pipe = Pipe()
        self.context = self.pipe.context
        atexit.register(self.close)
        self.configure_tornado_logger()
        channel = Channel(self.pipe, "iopub")
        self.iopub_thread = iostream.IOPubThread(channel, pipe=True, session=self.session)
        self.iopub_thread.start()
        self.iopub_socket = self.iopub_thread.background_socket

    def init_heartbeat(self):
        """Have none: the other end sees the process end."""

    write_connection_file = log_connection_info = init_heartbeat

    def init_io(self):
        """Do it later: the streams are the caller's."""

    def make_kernel(self):
        """Make the kernel, which needs no request."""
        debugger._is_debugpy_available = False
        self.kernel = PipeKernel.instance(
            parent=self,
            session=self.session,
            shell_stream=Channel(self.pipe, "shell"),
            control_stream=Channel(self.pipe, "control"),
            shell_channel_thread=MainThread(parent_thread=threading.current_thread()),
            iopub_thread=self.iopub_thread,
            iopub_socket=self.iopub_socket,
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )

    def listen(self):
        """Publish the caller's streams and listen to the pipe: they came with the request."""
        super().init_io()
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count
        self.pipe.end = socket.socket(fileno=self.files[3])
        IOLoop.current().add_handler(self.pipe.end.fileno(), self.pipe.receive, IOLoop.READ)

    def hang_up(self):
        """Let the caller go: nothing is left to do."""
        self.pipe.end.shutdown(socket.SHUT_RDWR)


def run(
    arguments: list[str], piped: bool, receive: Callable, report: Callable, *, ahead: bool
) -> NoReturn:
    """Be a kernel, in a process just forked, and end with it.

    Parameters
    ----------
    arguments : list of str
        Of ``ipykernel_launcher``.
    piped : bool
        Whether it talks over a pipe.
    receive : callable
        Returns the request (``arguments``, ``environment`` and ``cwd``) and descriptors for
        stdin, stdout, stderr, the pipe if there is one, and the connection to the caller. When
        that goes, so does the kernel.
    report : callable
        Called at the end with the names of the modules that were there at the beginning.
    ahead : bool
        Whether to do what needs no request before asking for it.
    """
    code = 1
    try:
        before = set(sys.modules)
        _leave()
        app = PipeApp.instance() if piped else WarmApp.instance()
        app.arguments, app.receive = arguments, receive
        app.parent_handle = os.getppid()  # as any kernel has that was not started by hand
        if not ahead:
            app.become()
        app.initialize(arguments)
        completion.register(app.shell)  # this package, imported before, has met no shell
        app.start()
        report(before)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            app.hang_up()
        os._exit(code)


def _leave() -> None:
    """Part from the zygote."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _become(request: dict, files: list[int]) -> None:
    """Take on what a process started by the caller would have."""
    for target, descriptor in enumerate(files[:3]):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [LAUNCHER, *request["arguments"]]


def _watch(connection: socket.socket) -> None:
    """End this process and those it started when the caller is gone."""
    with contextlib.suppress(OSError):
        connection.settimeout(None)
        connection.recv(1)
    os.killpg(0, signal.SIGKILL)
