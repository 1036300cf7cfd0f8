"""Why there is no answer: the errors of `openai`'s client and of providers, read and explained."""

import json
import re
from collections.abc import Mapping

import httpx2
import openai

from diptych.base.secrets import Redactor
from diptych.llmops.client.adaptation import Refusal, read_refusal
from diptych.llmops.client.formats import tolerant
from diptych.llmops.client.formats.connection import UNREACHED, is_unreached

OVERLOADED = (503, 529)  # it has not begun
FAILURES = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError)
# errors of one request and not of all: they end no run
OF_A_ROW = ("context_length", "context_window", "content_filter", "content_policy", "too long")
MODEL = "give a model that it has"
NO_MODEL = re.compile(r"(invalid|unknown) model( name)? (passed|in|:)", re.IGNORECASE)
ASKED = ("/chat/completions", "/responses", "/messages")  # what formats add to a base URL
NO_API = "its base URL is hardly that of an API, which mostly ends in /v1"
WRONG_KEY = re.compile(r"api.?key (is )?(not valid|invalid|not found)", re.IGNORECASE)
REMEDIES = {
    400: "change what the request asks for, or take another model",
    402: "pay at the provider, or take another endpoint",
    404: MODEL,
    422: "change what the request asks for, or take another model",
    429: "raise the quota at the provider, or take another endpoint",
}
BROKEN = "the endpoint is out of order: ask again later, or take another one"


def read_error(body: Mapping, error: Exception, names: Mapping[str, str]) -> Refusal | None:
    """Return the field of a request that an error refuses, None if it is about another.

    `names` turns the format's names of fields into those of Chat Completions.
    """
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return None
    content = error.body
    named = content.get("param") if isinstance(content, Mapping) else ""
    text = content.get("message") if isinstance(content, Mapping) else None
    text = text if isinstance(text, str) else json.dumps(content, default=str)
    named = named if isinstance(named, str) else ""
    for name, ours in names.items():
        named, text = named.replace(name, ours), text.replace(name, ours)
    return read_refusal(body, text, named)


def is_free(error: Exception) -> bool:
    """Say whether a failed call cannot have been paid: nobody was there, or it was refused.

    An endpoint that breaks down (500, 502, 504) or is too slow (408) may have answered, and bills.
    """
    if isinstance(error, openai.APIStatusError):
        refused = 400 <= error.status_code < 500 and error.status_code != 408
        return refused or error.status_code in OVERLOADED
    return isinstance(error, openai.APIConnectionError) and is_unreached(error)


def remedy(error: Exception) -> str:
    """Return what to do about a failure that every call will meet, "" where the next may not."""
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "give a key that it takes"
    if isinstance(error, openai.BadRequestError) and WRONG_KEY.search(_words(error)):  # Gemini
        return "give a key that it takes"
    if isinstance(error, openai.BadRequestError) and NO_MODEL.search(_words(error)):  # LiteLLM
        return MODEL
    if isinstance(error, openai.NotFoundError):
        return _remedy_of_404(error)
    if isinstance(error, openai.APIConnectionError) and is_unreached(error):
        return "start it, or give another endpoint"
    return ""


def _remedy_of_404(error: openai.NotFoundError) -> str:
    """Return what to do about a 404: it is of a model, or of an address that has no API."""
    if re.search("model|deployment", f"{error.code} {_words(error)}", re.IGNORECASE):
        return MODEL
    base = str(error.response.request.url.copy_with(query=None))
    base = next((base.removesuffix(path) for path in ASKED if base.endswith(path)), base)
    for path in ASKED:
        if base.endswith(path):
            return f"leave {path} off its base URL"
    if "/v1" not in base:
        return f"its base URL mostly ends in /v1: {base}/v1"
    return f"{MODEL}, and its whole base URL"


def recurring(error: Exception) -> str:
    """Return what to do about a failure that other calls will meet if a few did, "" where none."""
    if isinstance(error, json.JSONDecodeError):
        return NO_API
    if not isinstance(error, openai.APIStatusError):
        return NO_API if str(error).startswith(tolerant.NO_PART) else ""
    about = f"{error.code} {_words(error)}".lower()
    if any(name in about for name in OF_A_ROW):
        return ""
    status = error.status_code
    if status == 429 and "quota" not in about:
        return ""
    if status in (400, 422) and error.param not in (None, "", "None"):
        return f"change {error.param} in the prompt or the parameters, or take another model"
    return remedy(error) or REMEDIES.get(status, BROKEN if status >= 500 else "")


def is_filtered(error: Exception) -> bool:
    """Say whether a provider's filter refused this one request."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.status_code == 400 and any(x in str(error.code) for x in OF_A_ROW[2:4])


def explain(error: Exception) -> str:
    """Return why there is no answer, in one line, without secrets."""
    return _line(Redactor().text(_reason(error)), error)


def _reason(error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}: {_words(error)}"
    if isinstance(error, openai.APIConnectionError) and is_unreached(error):
        return f"no connection: {error.__cause__}"
    if isinstance(error.__cause__, UNREACHED):  # somebody was there, and hung up
        return f"the connection broke: {error.__cause__}"
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if type(error) is openai.APIConnectionError and error.__cause__:
        return f"the connection broke: {_line(error.__cause__)}"
    if isinstance(error, UnicodeDecodeError):
        return "the endpoint's answer is no UTF-8"
    if isinstance(error, json.JSONDecodeError):
        page = re.search(r"<title>(.{1,80}?)</title>", error.doc, re.IGNORECASE | re.DOTALL)
        return f"the endpoint's answer is not JSON{f' but the page {page[1]!r}' if page else ''}"
    if isinstance(error, RecursionError):
        return "the endpoint's answer is not JSON that can be read: it is nested too deep"
    return str(error)


def _words(error: openai.APIStatusError) -> str:
    """Return the provider's words about a refused request, without the tags of a page."""
    if 300 <= error.status_code < 400:
        where = httpx2.URL(error.response.headers.get("location", "")).host or "another path"
        return f"it redirects to {where}, which is not followed; give the address where it is"
    body = error.body
    if isinstance(body, str) and body.lstrip().startswith("<"):
        body = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body, flags=re.DOTALL)
    return _line(tolerant.words(body) or error.message)


def _line(text: object, otherwise: object = "") -> str:
    return " ".join(str(text).split())[:500] or type(otherwise or text).__name__
