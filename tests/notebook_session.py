"""A notebook in a real kernel, its cells run as JupyterLab runs them: any of them, in any order."""

import contextlib
import os
import time
from dataclasses import dataclass, field

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

PATIENCE = 120  # seconds


@dataclass
class Outcome:
    """What a cell showed: its text, and the class and message of its error."""

    text: str = ""
    error: str = ""
    messages: list = field(default_factory=list)


class NotebookSession:
    """A kernel, and a client that sends cells with their ids.

    Parameters
    ----------
    environment : dict
        Variables the kernel gets besides this process's.
    ids : bool
        Whether the client sends the cells' ids, as JupyterLab does.
    attended : bool
        Whether the client takes input: papermill and nbclient take none.
    """

    def __init__(self, environment=(), ids=True, attended=True):
        self.environment, self.ids, self.attended = dict(environment), ids, attended
        self.manager = KernelManager(kernel_name="python3")
        self.client = None
        self._start()

    def _start(self):
        self.manager.start_kernel(env={**os.environ, **self.environment})
        self._connect()

    def _connect(self):
        if self.client is not None:
            self.client.stop_channels()
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def restart(self):
        """Begin a kernel anew, with no variables."""
        self.manager.restart_kernel(now=True)
        self._connect()

    def close(self):
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, source, cell_id="", interrupt_after=""):
        """Run a cell to its end; interrupt it when it has printed a text, if one is given."""
        content = {"code": source, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": self.attended, "stop_on_error": True}  # fmt: skip
        metadata = {"cellId": cell_id} if cell_id and self.ids else {}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return self._outcome(message["header"]["msg_id"], interrupt_after)

    def _outcome(self, request, interrupt_after):
        outcome = Outcome()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            reply = self.client.get_iopub_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") != request:
                continue
            kind, content = reply["msg_type"], reply["content"]
            outcome.messages.append(reply)
            if kind == "stream":
                outcome.text += content["text"]
                if interrupt_after and interrupt_after in outcome.text:
                    self.manager.interrupt_kernel()
                    interrupt_after = ""
            elif kind == "error":
                outcome.error = f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                self._drain_reply(request)
                return outcome
        raise AssertionError("the cell did not end")

    def _drain_reply(self, request):
        while self.client.get_shell_msg(timeout=PATIENCE)["parent_header"]["msg_id"] != request:
            pass


@contextlib.contextmanager
def session(environment=(), ids=True, attended=True):
    """Start a kernel and end it."""
    opened = NotebookSession(environment, ids, attended)
    try:
        yield opened
    finally:
        opened.close()
