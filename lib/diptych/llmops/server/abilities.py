"""What the served model cannot do, of which llama.cpp takes no notice: tools, pictures, sound."""

from collections.abc import Mapping

from diptych.llmops.server.refusals import RefusedError

INSTEAD = "leave it out, or hold the answer to a JSON schema by response_format"
MEDIA = {"image_url": "vision", "image": "vision", "input_image": "vision", "input_audio": "audio",
         "video_url": "video", "document": "documents", "file": "files",
         "input_file": "files"}  # fmt: skip
AUTO = (None, "auto", {"type": "auto"})
NONE = ("none", {"type": "none"})


def is_plain(body: Mapping) -> bool:
    """Say whether a request asks for texts by texts alone, which every model can do."""
    if body.get("tools") or body.get("functions"):
        return False
    return not any(map(_parts, _messages(body)))


def adapted(body: Mapping, facts: Mapping) -> dict:
    """Return a chat request as llama.cpp is to get it.

    Parameters
    ----------
    body : mapping
        Of Chat Completions or Messages.
    facts : mapping
        What llama.cpp says of the model at ``/props``.

    Raises
    ------
    RefusedError
        If it asks for what this server would not do.
    """
    for message in _messages(body):
        for part in _parts(message):
            _check_part(part, facts)
    if body.get("functions"):
        raise RefusedError(400, f"functions: are not taken; {INSTEAD}", "functions")
    if not body.get("tools"):
        return dict(body)
    choice = body.get("tool_choice")
    if choice in NONE:  # else it would still read of them, and call one in its text
        return {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    if not (facts.get("chat_template_caps") or {}).get("supports_tools"):
        raise RefusedError(400, f"tools: this model knows none; {INSTEAD}", "tools")
    if choice not in AUTO:
        reason = "the model alone decides here whether it calls a tool: auto or none"
        raise RefusedError(400, f"tool_choice: {reason}; {INSTEAD}", "tool_choice")
    return dict(body)


def _check_part(part: Mapping, facts: Mapping) -> None:
    kind = part.get("type")
    medium = MEDIA.get(kind) if isinstance(kind, str) else None
    if medium and not (facts.get("modalities") or {}).get(medium):
        raise RefusedError(400, f"messages: this model reads texts, no {kind}; send text parts",
                           "messages")  # fmt: skip


def _messages(body: Mapping) -> list:
    """Return the messages; what is no list llama.cpp refuses itself."""
    messages = body.get("messages")
    return messages if isinstance(messages, list) else []


def _parts(message) -> list[Mapping]:
    content = message.get("content") if isinstance(message, Mapping) else None
    return (
        [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    )
