"""What one call of a model cost, by the clients' session logs, and how sure that is (pure)."""

from __future__ import annotations

from typing import NamedTuple

#: How sure it is which key paid, from the best.
EXACT, BY_TIME, UNKNOWN = "exact", "by time", "unknown"

#: Seconds in a step of the time by which calls are summed up: time zones differ by such steps.
QUARTER_S = 900


class UsageRow(NamedTuple):
    """One call. Tokens are counts; what is cached counts in the cache fields only.

    Attributes:
        time: when it ended, seconds since the epoch.
        client: "kimi-cli" or "kimi-code".
        session: the client's name of it; sub-agents have that of their session.
        model: the client's alias; "" where it does not say.
        key_id: who paid; None when nobody can tell.
        input_other: prompt tokens that came from no cache and went into none.
        output: tokens of the answer.
        cache_read: prompt tokens that the provider's cache had.
        cache_creation: prompt tokens that went into it.
    """

    time: float
    client: str
    session: str
    model: str
    key_id: str | None
    input_other: int
    output: int
    cache_read: int
    cache_creation: int
