"""Drives a headless Chromium through its DevTools protocol, to look at pages as a reader does."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp

PATIENCE_S = 30  # of a page, and of one command
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --remote-debugging-port=0"""

# the contrast of every visible text with the background it stands on (WCAG 2.2, 1.4.3)
CONTRAST = """
(() => {
  const parse = colour => {
    const parts = colour.match(/[\\d.]+/g).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, under) =>
    [...under.slice(0, 3).map((v, i) => top[3] * top[i] + (1 - top[3]) * v), 1];
  const ground = node => {
    const own = node ? parse(getComputedStyle(node).backgroundColor) : [255, 255, 255, 1];
    return own[3] === 1 ? own : over(own, ground(node.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), node = walker.currentNode.parentElement;
    const style = getComputedStyle(node);
    if (!text || !node.getClientRects().length || +style.opacity === 0) continue;
    const back = ground(node);
    const ink = over(parse(node.closest("svg text") ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text.slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()
"""


def find() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser():
    """Start a Chromium, yield it as a `Browser`, and end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [find(), *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        loop = asyncio.new_event_loop()
        try:
            chromium = Browser(loop, _address(Path(profile) / "DevToolsActivePort", process))
            try:
                yield chromium
            finally:
                chromium.close()
        finally:
            loop.close()
            process.terminate()
            process.wait(10)


class Browser:
    """One tab of a running Chromium; every method returns when the browser has answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str):
        self._loop, self._count, self._page = loop, itertools.count(1), None
        self.requests: list[str] = []
        self._run(self._connect(address))

    def open(
        self, path: Path | str, width: int = 1440, height: int = 900, dark: bool = False
    ) -> None:
        """Show a file, or an http address, in a window of this size and colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        mobile = {"deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, **mobile)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.evaluate("window.left = true")  # or the page before could pass for the new one
        self.requests.clear()
        at_http = str(path).startswith("http:")
        self.call("Page.navigate", url=path if at_http else Path(path).absolute().as_uri())
        deadline = time.monotonic() + PATIENCE_S
        shown = f"complete {'http:' if at_http else 'file:'} undefined"
        state = "`${document.readyState} ${location.protocol} ${window.left}`"
        while self.evaluate(state) != shown:
            assert time.monotonic() < deadline, f"{path}: the page did not load in {PATIENCE_S} s"

    def evaluate(self, expression: str):
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Save what is shown as PNG, the whole page or the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, **parameters) -> dict:
        """Send one DevTools command to the tab."""
        return self._run(self._call(method, parameters, self._page))

    def close(self) -> None:
        self._run(self._socket.close())
        self._run(self._session.close())

    def _run(self, coroutine):
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE_S))

    async def _connect(self, address: str) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        target = await self._call("Target.createTarget", {"url": "about:blank"})
        attached = {"targetId": target["targetId"], "flatten": True}
        self._page = (await self._call("Target.attachToTarget", attached))["sessionId"]
        await self._call("Network.enable", {}, self._page)

    async def _call(self, method: str, parameters: dict, page: str | None = None) -> dict:
        number = next(self._count)
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": page} if page else {}))
        while True:
            answer = await self._socket.receive_json()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]


def _address(file: Path, process: subprocess.Popen) -> str:
    """Wait for the browser to say where it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, "chromium ended before it listened"
        assert time.monotonic() < deadline, f"chromium did not listen within {PATIENCE_S} s"
        time.sleep(0.05)
    port, path = file.read_text().split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"
