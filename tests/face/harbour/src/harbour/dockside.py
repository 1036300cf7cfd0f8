"""A wire format: Chat Completions under other names, at another address."""

import time

from diptych.llmops.client.formats import Reply
from diptych.llmops.client.formats.base import Base


class Dockside(Base):
    """Writes ``hail`` in place of ``messages``, and reads ``reply``."""

    PATH = "/signals"

    def request(self, body):
        return {"ship": body["model"], "hail": body["messages"]}

    def response_of(self, answer):
        message = {"role": "assistant", "content": answer["reply"]}
        usage = {"prompt_tokens": answer["read"], "completion_tokens": 1}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return {"id": "1", "model": answer["ship"], "choices": [choice], "usage": usage}

    async def complete(self, client, body):
        answer = await client.post(self.PATH, body=self.request(body), cast_to=dict)
        return Reply(self.response_of(answer))

    async def stream(self, client, body):
        start = time.perf_counter()
        whole = await self.complete(client, body)
        return Reply(whole.response, first_token_ms=1000 * (time.perf_counter() - start))


FORMAT = Dockside()
