"""What the proxy knows of one finished request: for the trace, the metrics and the page (pure)."""

from __future__ import annotations

from typing import NamedTuple


class Tokens(NamedTuple):
    """What an answer says of its cost, in tokens; ``cached`` are part of ``prompt``."""

    prompt: int
    cached: int
    completion: int


class Served(NamedTuple):
    """One finished request. Durations are seconds; no prompt text and no secret is in it.

    Attributes:
        at: when its head was complete, seconds since the epoch.
        request_id: 8 hex digits.
        method: such as "POST".
        path: below the base path, without the query, at most 200 characters; client text.
        key_id: the key that served it last; "" when none was asked.
        label: that key's label; "".
        session: 8 hex digits of the session's hash; "" when it names none.
        status: what the client was answered; 0 when it went away before that.
        verdict: "ok", the verdict on the last answer ("quota-5h"), or why kmi answered itself:
            "all-out", "queue-full", "limited", "too-slow", "upstream", "cut" (upstream died in the
            body), "gone" (the client did).
        code: why that key: "session", the code of a Decision ("active", "best", "next", "only",
            "probe"), or "retry".
        tried: the attempts before the last one, as (label, verdict).
        eligible: how many keys could have been picked.
        waited_s: in queues and for keys to come back.
        first_s: from the head's end to the first byte of the answer; None without one.
        total_s: until the last byte was handed over.
        sent: bytes of the request's body.
        received: bytes of the answer's body.
        tokens: what the answer says of its cost, or None.
    """

    at: float
    request_id: str
    method: str
    path: str
    key_id: str
    label: str
    session: str
    status: int
    verdict: str
    code: str
    tried: tuple[tuple[str, str], ...]
    eligible: int
    waited_s: float
    first_s: float | None
    total_s: float
    sent: int
    received: int
    tokens: Tokens | None
