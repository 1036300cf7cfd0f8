"""An endpoint in the form of OpenAI's Chat Completions whose answers a test's function gives."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from diptych.llmops.client.target import Target


@contextmanager
def answering(answer):
    """Serve on a free loopback port, and yield the target and the bodies that were sent.

    Parameters
    ----------
    answer : callable
        Takes a request's body; returns the text, or a choice's fields beside its index.
    """
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/chat/completions"):  # files of a batch, for one
                self.send_error(404)
                return
            body = json.loads(sent)
            seen.append(body)
            said = answer(body)
            if isinstance(said, str):
                said = {"message": {"role": "assistant", "content": said}}
            choice = {"index": 0, "finish_reason": "stop"} | said
            usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
            reply = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"],
                     "choices": [choice], "usage": usage}  # fmt: skip
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Target(f"http://127.0.0.1:{server.server_address[1]}/v1", "m"), seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
