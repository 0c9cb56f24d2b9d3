"""The JSON of the fake API's answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.demo.behaviours import Behaviour

#: How much of a request body is kept: Kimi Code sends 84 KB for "hi".
BODY_KEPT = 4096


def parsed(raw: bytes) -> dict[str, Any]:
    """A request's body; empty when it is no JSON object."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def last_prompt(body: Mapping[str, Any]) -> str:
    """What the user said since the last answer; clients add reminders of their own to it."""
    messages = body.get("messages")
    said: list[str] = []
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            continue
        if message.get("role") == "assistant" and not message.get("tool_calls"):
            break
        if message.get("role") == "user":
            said.insert(0, _text_of(message.get("content"))[:BODY_KEPT])
    return "\n".join(said)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def chat_message(behaviour: Behaviour, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The model's message, and why it ended."""
    messages = body.get("messages")
    called = any(
        isinstance(message, dict) and message.get("role") == "tool"
        for message in (messages if isinstance(messages, list) else [])
    )
    if behaviour.tool is None or called:
        return {"role": "assistant", "content": behaviour.text}, "stop"
    name, arguments = behaviour.tool
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": "call_fake_0", "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}, "tool_calls"


def as_delta(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a stream carries it."""
    delta = {name: value for name, value in message.items() if name != "role"}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return delta


def models(names: Sequence[str]) -> dict[str, Any]:
    """The answer of ``/models``."""
    rows = [
        {
            "id": name,
            "object": "model",
            "created": 1760000000,
            "owned_by": "fake",
            "context_length": 262144,
            "display_name": name,
            "supports_reasoning": True,
            "supports_image_in": True,
            "supports_video_in": False,
        }
        for name in names
    ]
    return {"object": "list", "data": rows}


def balance(available: float) -> dict[str, Any]:
    """The answer of ``/users/me/balance``."""
    money = {"available_balance": available, "voucher_balance": 0.0, "cash_balance": available}
    return {"code": 0, "data": money, "scode": "0x0", "status": True}


SEARCH_RESULT = {
    "site_name": "Fake",
    "title": "A result of the fake",
    "url": "http://127.0.0.1/result",
    "snippet": "Found by the fake.",
    "content": "",
    "date": "",
    "icon": "",
    "mime": "text/html",
}
