"""The chat page's server with answers that a test chooses, piece by piece."""

import asyncio
import json
import threading
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web


class ChatServer:
    """Serves the page, and answers as `say` or `refuse` said last."""

    def __init__(self, page: Path):
        self.page, self.seen, self.pieces, self.error = page, [], [], ""
        self.loop, self.url, self.open = asyncio.new_event_loop(), "", False

    def say(self, pieces: list) -> None:
        self.pieces, self.error = pieces, ""

    def refuse(self, message: str) -> None:
        self.error = message

    async def index(self, request):
        return web.Response(text=self.page.read_text(), content_type="text/html")

    async def models(self, request):
        meta = {"n_ctx": 512, "n_params": 3_400_000}
        return web.json_response({"data": [{"id": "fake <b>", "meta": meta}]})

    async def chat(self, request):
        self.seen.append(await request.json())
        if self.error:
            return web.json_response({"error": {"message": self.error}}, status=500)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for piece in self.pieces:
            if piece is None:
                await asyncio.sleep(60)
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            await answer.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        usage = {"prompt_tokens": 5, "completion_tokens": len(self.pieces), "total_tokens": 9}
        await answer.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer

    def start(self) -> None:
        ready = threading.Event()

        async def begin():
            app = web.Application()
            app.router.add_get("/", self.index)
            app.router.add_get("/v1/models", self.models)
            app.router.add_post("/v1/chat/completions", self.chat)
            self.runner = web.AppRunner(app, shutdown_timeout=0.1)
            await self.runner.setup()
            await web.TCPSite(self.runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/"
            ready.set()

        def work():
            self.loop.run_until_complete(begin())
            self.loop.run_forever()
            self.loop.run_until_complete(self.runner.cleanup())
            self.loop.close()

        self.thread, self.open = threading.Thread(target=work), True
        self.thread.start()
        assert ready.wait(20)

    def close(self) -> None:
        if self.open:
            self.open = False
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()


@contextmanager
def serving(page: Path):
    """Serve the page on a free loopback port."""
    server = ChatServer(page)
    server.start()
    try:
        yield server
    finally:
        server.close()
