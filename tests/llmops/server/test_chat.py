"""The chat page in a real browser, against the real server and against one that can be steered."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import browser
import pytest
from llmops import chat_server
from page import Page

from diptych.llmops.server import llama

EVIL = "<img src=x onerror=alert(1)><script>document.title='owned'</script> & <b>bold</b>"


@contextmanager
def diptych(*arguments, **environment):
    """Run `diptych serve llm` and yield its address."""
    import os

    command = [sys.executable, "-m", "diptych", "serve", "llm", "--no-open", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        line = process.stdout.readline()
        assert line, "it did not start"
        try:
            yield re.search(r"http://\S+", line)[0]
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.fixture
def steered():
    with chat_server.serving(llama.PAGE / "index.html") as server:
        yield server


def wait(chromium, expression, seconds=30):
    until = time.monotonic() + seconds
    while not chromium.evaluate(expression):
        assert time.monotonic() < until, f"not so within {seconds} s: {expression}"
        time.sleep(0.02)


def put(chromium, field, value):
    chromium.evaluate(f"document.getElementById('{field}').value = {json.dumps(value)}")


def say(chromium, text):
    put(chromium, "text", text)
    # the page's autofocus comes with its first frame, which may be later than its load
    chromium.evaluate("document.getElementById('text').focus()")
    press(chromium, "Enter")


def press(chromium, key, **more):
    codes = {"Enter": 13, "Escape": 27, "Tab": 9}
    event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], **more}
    typed = {"text": "\r"} if key == "Enter" else {}
    chromium.call("Input.dispatchKeyEvent", type="keyDown", **event, **typed)
    chromium.call("Input.dispatchKeyEvent", type="keyUp", **event)


ALERT = "!!document.querySelector('[role=alert]')"
DONE = "document.getElementById('stop').hidden && document.querySelectorAll('.meta').length == {}"
LAST = "[...document.querySelectorAll('article.assistant p:not(.meta)')].pop().textContent"


def test_the_page_is_whole_and_its_script_is_the_one_allowed():
    html = (llama.PAGE / "index.html").read_text()
    page = Page(html)
    assert [link for link in page.loads() if not link.startswith("data:")] == []
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html, f"the script changed; allow sha256-{digest}"
    assert "default-src 'none'" in html
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|cookie", script)


def test_every_field_has_a_label():
    page = Page((llama.PAGE / "index.html").read_text())
    fields = [found for tag, found in page.tags if tag in ("input", "textarea") and "id" in found]
    labelled = {found["for"] for tag, found in page.tags if tag == "label"}
    assert {found["id"] for found in fields} == labelled
    assert page.names() >= {"main", "header", "form", "h1"}
    assert "log" in page.all("role")
    assert "status" in page.all("role")


def test_a_conversation_with_the_real_model(chromium, gguf, home):
    with diptych("--model", gguf) as url:
        chromium.open(url)
        wait(chromium, "document.getElementById('model').textContent.includes('million')")
        assert gguf.stem in chromium.evaluate("document.getElementById('model').textContent")
        put(chromium, "length", "24")
        say(chromium, "Is this positive or negative? A lovely film.")
        wait(chromium, DONE.format(1))
        assert re.search(
            r"tokens/s, first after [\d,]+ ms, [\d,]+ of [\d,]+ tokens of context used",
            chromium.evaluate("document.querySelector('.meta').textContent"),
        )
        total = chromium.evaluate("document.getElementById('total').textContent")
        assert "0.00 USD" in total
        assert all(address.startswith(url) for address in chromium.requests)
        put(chromium, "text", "word " * 20_000)  # more than it can hold
        chromium.evaluate("document.getElementById('send').click()")
        wait(chromium, ALERT)
        said = chromium.evaluate("document.querySelector('[role=alert]').textContent")
        assert "context size" in said
        assert chromium.evaluate("document.getElementById('text').value").startswith("word word")


def test_a_server_with_a_token_asks_for_it(chromium, gguf, home):
    with diptych("--model", gguf, "--token-env", "TOK", TOK="s3cret") as url:
        chromium.open(url)
        wait(chromium, "!document.getElementById('ask-token').hidden")
        put(chromium, "token", "s3cret")
        chromium.evaluate("document.getElementById('token').dispatchEvent(new Event('change'))")
        wait(chromium, "document.getElementById('model').textContent.includes('million')")


def test_whatever_anyone_writes_stays_text(chromium, steered):
    chromium.open(steered.url)
    steered.say([EVIL])
    put(chromium, "system", EVIL)
    say(chromium, EVIL)
    wait(chromium, DONE.format(1))
    texts = chromium.evaluate("[...document.querySelectorAll('article p')].map(p => p.textContent)")
    assert texts[:2] == [EVIL, EVIL]
    assert (
        chromium.evaluate("document.querySelectorAll('#log img, #log script, #log b').length") == 0
    )
    assert chromium.evaluate("document.title") == "Diptych chat"


def test_text_appears_as_it_comes_and_can_be_stopped(chromium, steered):
    chromium.open(steered.url)
    steered.say(["one ", "two ", None])  # None waits for ever
    say(chromium, "count")
    wait(chromium, f"{LAST} == 'one two '")
    assert chromium.evaluate("document.getElementById('log').getAttribute('aria-busy')") == "true"
    assert not chromium.evaluate("document.getElementById('stop').hidden")
    press(chromium, "Escape")
    wait(chromium, DONE.format(1))
    assert chromium.evaluate("document.querySelector('.meta').textContent").endswith(", stopped")
    assert chromium.evaluate("document.activeElement.id") == "text"
    steered.say(["three"])
    say(chromium, "go on")
    wait(chromium, DONE.format(2))
    assert [turn["content"] for turn in steered.seen[-1]["messages"]] == [
        "count", "one two ", "go on",
    ]  # fmt: skip


def test_the_stop_button_stops(chromium, steered):
    chromium.open(steered.url)
    steered.say(["one", None])
    say(chromium, "count")
    wait(chromium, f"{LAST} == 'one'")
    chromium.evaluate("document.getElementById('stop').click()")
    wait(chromium, DONE.format(1))


def test_settings_go_with_the_request_and_wrong_ones_are_refused(chromium, steered):
    chromium.open(steered.url)
    steered.say(["fine"])
    put(chromium, "system", "Be brief.")
    put(chromium, "temperature", "0.2")
    put(chromium, "length", "9")
    say(chromium, "hello")
    wait(chromium, DONE.format(1))
    body = steered.seen[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.2, 9, True)
    put(chromium, "temperature", "7")
    say(chromium, "again")
    assert chromium.evaluate("document.getElementById('settings').open")
    assert len(steered.seen) == 1


def test_a_new_conversation_forgets_the_old_one(chromium, steered):
    chromium.open(steered.url)
    steered.say(["first"])
    say(chromium, "remember me")
    wait(chromium, DONE.format(1))
    chromium.evaluate("document.getElementById('clear').click()")
    assert chromium.evaluate("document.querySelectorAll('article').length") == 0
    steered.say(["second"])
    say(chromium, "who am I?")
    wait(chromium, DONE.format(1))
    assert [turn["content"] for turn in steered.seen[-1]["messages"]] == ["who am I?"]


def test_a_server_that_fails_or_is_gone_is_said_and_the_question_kept(chromium, steered):
    chromium.open(steered.url)
    steered.refuse("the slot is broken <b>")
    say(chromium, "my long question")
    wait(chromium, ALERT)
    said = chromium.evaluate("document.querySelector('[role=alert]').textContent")
    assert said == "the slot is broken <b>"
    assert chromium.evaluate("document.getElementById('text').value") == "my long question"
    steered.close()
    press(chromium, "Enter")
    wait(chromium, "document.querySelectorAll('[role=alert]').length == 2")
    said = chromium.evaluate("[...document.querySelectorAll('[role=alert]')].pop().textContent")
    assert "diptych serve llm" in said


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_it_is_readable_on_wide_and_narrow_screens_light_and_dark(chromium, steered, width, dark):
    chromium.open(steered.url, width, dark=dark)
    steered.say(["An answer " * 30, "Averylongwordwithoutanyspace" * 10])
    say(chromium, "A question " * 20)
    wait(chromium, DONE.format(1))
    steered.refuse("an error")
    say(chromium, "x")
    wait(chromium, ALERT)
    chromium.evaluate("document.getElementById('settings').open = true")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    ratio, text = chromium.evaluate(browser.CONTRAST)
    assert ratio >= 4.5, text
    small = (
        "[...document.querySelectorAll('button')].filter(b => b.getClientRects().length)"
        ".map(b => b.getBoundingClientRect().height).filter(height => height < 44).length"
    )
    assert chromium.evaluate(small) == 0


def test_it_is_used_by_keyboard_alone(chromium, steered):
    chromium.open(steered.url)
    wait(chromium, "document.activeElement.id == 'text'")  # once the page is painted
    press(chromium, "Tab")
    assert chromium.evaluate("document.activeElement.id") == "send"
    press(chromium, "Tab")
    assert chromium.evaluate("document.activeElement.tagName") == "SUMMARY"
    press(chromium, "Enter")
    wait(chromium, "document.getElementById('settings').open")
    reached = []
    for _ in range(4):
        press(chromium, "Tab")
        reached.append(chromium.evaluate("document.activeElement.id"))
    assert reached == ["system", "temperature", "length", "clear"]
