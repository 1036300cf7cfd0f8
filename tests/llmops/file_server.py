"""A server of files as hubs and package indexes are, which can be slow or cut a connection."""

import contextlib
import hashlib
import http.server
import json
import threading
import time

CHUNK = 1 << 14


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        server.authorizations.append(self.headers.get("Authorization"))
        if self.path.startswith("/simple/"):
            return self.page(self.path.split("/")[2])
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        return self.send_file(content)

    def send_file(self, content):
        start, total = 0, len(content)
        if (asked := self.headers.get("Range")) and self.server.ranges:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        with contextlib.suppress(OSError):
            for i in range(start, total, CHUNK):
                if self.server.cuts and i - start >= self.server.cuts[0]:
                    self.server.cuts.pop(0)
                    self.close_connection = True
                    return None
                self.wfile.write(content[i : i + CHUNK])
                self.server.sent += len(content[i : i + CHUNK])
                time.sleep(self.server.pause_s)
        return None

    def page(self, project):
        names = self.server.wheels.get(project)
        if names is None:
            return self.send_error(404)
        listed = [(name, hashlib.sha256(self.server.files[f"/packages/{name}"]).hexdigest())
                  for name in names]  # fmt: skip
        if self.server.html:
            kind = "text/html"
            body = "".join(f'<a href="../../packages/{name}#sha256={digest}">{name}</a><br/>'
                           for name, digest in listed)  # fmt: skip
        else:
            kind = "application/vnd.pypi.simple.v1+json"
            entries = [{"filename": name, "url": f"/packages/{name}", "hashes": {"sha256": digest}}
                       for name, digest in listed]  # fmt: skip
            body = json.dumps({"files": entries})
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
        return None

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """Yield a server; its attributes say what it has and how it behaves."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.files, server.wheels, server.requests, server.authorizations = {}, {}, [], []
        server.ranges, server.html, server.cuts, server.pause_s, server.sent = True, False, [], 0, 0
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
