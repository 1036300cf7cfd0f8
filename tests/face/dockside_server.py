"""An endpoint that speaks the wire format of the package `harbour`, and no other."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CARGO = {"crate", "pallet", "load", "freight", "hold"}
ANSWERS = {"berth": "call the harbour master", "cargo": "call the freight desk"}


def _reply(hail: list[dict]) -> str:
    question = hail[-1]["content"]
    label = "cargo" if CARGO & set(question.split()) else "berth"
    return ANSWERS[label] if "Clerk" in question else label


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fits = self.path == "/v1/signals" and sent.keys() == {"ship", "hail"}
        answer = {"ship": sent["ship"], "reply": _reply(sent["hail"]), "read": 9} if fits else {}
        data = json.dumps(answer).encode()
        self.send_response(200 if fits else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@contextmanager
def serving():
    """Serve on a free loopback port, and yield the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
