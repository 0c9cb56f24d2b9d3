"""Answers of kmi's own, as whole HTTP messages (pure).

Errors have the shape that clients of the upstream know: ``{"error": {"message", "type", …}}``, and
Anthropic's around it for its path. What only kmi says is under ``"kmi"``.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmi.model import KeyState
    from kmi.proxy.guards import Refusal
    from kmi.proxy.view import View

REASONS = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
#: What every answer of kmi's own has.
OWN_FIELDS = (b"content-type", b"content-length", b"server", b"cache-control",
              b"x-content-type-options")  # fmt: skip
#: The longest wait that a client is told: Kimi Code obeys it without a cap (clients.md).
RETRY_AFTER_MAX_S = 3600
#: Kimi Code waits out a 429 without a word, however long it is told to; only this type of error
#: makes it stop and show the message (clients.md). So a person who would have to wait for longer is
#: told at once who is back when.
QUIET_WAIT_S = 120
#: `error.type` by status, as the upstream spells them (upstream.md).
_TYPES = {401: "invalid_authentication_error", 403: "permission_denied_error",
          404: "resource_not_found_error", 429: "rate_limit_reached_error"}  # fmt: skip

#: The same as Anthropic's API spells them.
_ANTHROPIC_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error",
                    429: "rate_limit_error"}  # fmt: skip


def message(
    status: int,
    body: bytes,
    kind: bytes = b"application/json",
    fields: Iterable[tuple[bytes, bytes]] = (),
    *,
    keep_alive: bool = True,
    head_only: bool = False,
) -> bytes:
    """One whole answer."""
    lines = [b"HTTP/1.1 %d %s" % (status, REASONS.get(status, b"Error"))]
    if status != 204:
        lines.append(b"content-type: " + kind)
        lines.append(b"content-length: %d" % len(body))
    lines += [b"server: kmi", b"cache-control: no-store", b"x-content-type-options: nosniff"]
    lines += [name + b": " + value for name, value in fields]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b"" if head_only or status == 204 else body])


def document(value: Mapping[str, Any]) -> bytes:
    """JSON in ASCII: whatever a label holds, it is harmless."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def error_body(
    status: int, code: str, text: str, *, anthropic: bool = False, kmi: Mapping[str, Any] = {}
) -> bytes:
    """The body of an error of kmi's own."""
    if anthropic:
        kind = _ANTHROPIC_TYPES.get(
            status, "invalid_request_error" if status < 500 else "api_error"
        )
    elif status == 429 and (kmi.get("retry_after_s") or 0) > QUIET_WAIT_S:
        kind = "exceeded_current_quota_error"
    else:
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error: dict[str, Any] = {"message": f"kmi: {text}", "type": kind, "code": code}
    table: dict[str, Any] = {"error": error, "kmi": {"code": code, **kmi}}
    if anthropic:
        table = {"type": "error", **table}
    return document(table)


def refusal(found: Refusal, *, anthropic: bool, head_only: bool = False) -> bytes:
    """The answer to a request that is not welcome; the connection ends with it."""
    fields = [(b"www-authenticate", b'Bearer realm="kmi"')] if found.status == 401 else []
    body = error_body(found.status, found.code, found.message, anthropic=anthropic)
    return message(found.status, body, fields=fields, keep_alive=False, head_only=head_only)


def all_out(
    view: View,
    states: Mapping[str, KeyState],
    back_at: float | None,
    why: Mapping[str, str],
    now: float,
) -> tuple[str, int, dict[str, Any]]:
    """Why no key can serve a request: the text, whole seconds to wait, and each key's return."""
    from kmi.timezones import show_span, utc_text

    keys, first = [], "the first"
    for key in view.keys:
        state = states.get(key.key_id)
        hold = None if state is None else state.hold
        until = None if hold is None or not hold.active(now) else hold.until
        if until is not None and until == back_at:
            first = key.label
        keys.append(
            {
                "label": key.label,
                "why": why.get(key.label, ""),
                "back_at": None if until is None else utc_text(until),
                "back_in_s": None if until is None else max(0, math.ceil(until - now)),
            }
        )
    wait_s = None
    text = "no key can be used now, and none comes back by itself"
    if back_at is not None:
        wait_s = min(RETRY_AFTER_MAX_S, max(1, math.ceil(back_at - now)))
        text = f"no key can be used now; {first} is back in {show_span(back_at - now)}"
    if not keys:
        text = "there is no key; add one with `kmi keys add LABEL`"
    details = "; ".join(f"{k['label']}: {k['why']}" for k in keys[:5] if k["why"])
    if details:
        text = f"{text} ({details})"
    return text, wait_s or 0, {"keys": keys[:100], "retry_after_s": wait_s}
