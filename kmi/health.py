"""What kmi says of a key: its status, with the reason. Pure: ``now`` comes from the caller.

How answers change a key's state is in `transitions`, how long they hold it in `holds`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kmi.model import WINDOW_S
from kmi.timezones import show_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.model import ApiKey, Hold, KeyState, Window

#: At least so much left in every known window, and a smaller share of errors.
HEALTHY_LEFT = 0.20
HEALTHY_ERRORS = 0.05
#: An error rate needs this many answers within the hour, two of them errors: one past error must
#: not starve a key, and one of twenty already makes the 5 %.
RATE_MIN_ANSWERS = 20
RATE_MIN_ERRORS = 2
_HOUR_MIN = 60
#: What a verdict that holds a key means, for people.
MEANINGS: Mapping[str, str] = {
    "dead-key": "the key was refused: it is wrong, or belongs to another host",
    "unknown-401": "the key was refused in unknown words",
    "banned": "access was terminated",
    "payment": "the membership could not be verified, or payment is due",
    "no-money": "the account has no money left",
    "quota": "a quota is spent",
    "quota-5h": "the 5 hour quota is spent",
    "quota-7d": "the weekly quota is spent",
    "quota-month": "the monthly quota is spent",
    "rate": "rate limited",
    "rate-or-5h": "rate limited",
    "rate-org": "its organisation is rate limited",
    "rate-day": "the tokens of the day are spent",
    "unknown-403": "refused in unknown words",
    "usage-full": "a quota is used up, as its usage says",
}


class Status(NamedTuple):
    """Where a key stands.

    Attributes:
        name: "healthy", "warn", "exhausted", "blocked", "disabled" or "unknown".
        reason: why, in English; "" when healthy.
        code: a stable word for the reason: "auth-file", "by-hand", a verdict, "low", "errors",
            "no-usage", or "".
        until: when it ends by itself, or None.
    """

    name: str
    reason: str = ""
    code: str = ""
    until: float | None = None


def status_of(key: ApiKey, state: KeyState, now: float) -> Status:
    """The status of a key. One in cooldown is "exhausted" too: it is back at a known time."""
    if key.disabled:
        return Status("disabled", "by its auth file", "auth-file")
    if state.disabled:
        return Status("disabled", "by `kmi keys disable`", "by-hand")
    if state.hold is not None and state.hold.active(now):
        return _held(state.hold, now)
    share = left(state, now)
    if share is not None and round(share, 6) < HEALTHY_LEFT:
        return Status("warn", f"{math.floor(round(share * 100, 4))} % of its quota is left", "low")
    errors = error_rate(state, now)
    if errors >= HEALTHY_ERRORS:
        return Status("warn", f"{errors:.0%} of its answers in the last hour failed", "errors")
    if share is None:
        return Status("unknown", "its quota is not known", "no-usage")
    return Status("healthy")


def _held(hold: Hold, now: float) -> Status:
    name = "blocked" if hold.kind == "blocked" else "exhausted"
    words = MEANINGS.get(hold.verdict, hold.verdict)
    if hold.until is None:
        return Status(name, f"{words}; until `kmi keys reset`", hold.verdict)
    back = f"{words}; back in {show_span(hold.until - now)}"
    return Status(name, back, hold.verdict, hold.until)


def left(state: KeyState, now: float) -> float | None:
    """The share left in the tightest known window; None when none is known."""
    shares = [
        share
        for name, window in state.windows.items()
        if (share := window_left(name, window, state.usage_at, now)) is not None
    ]
    return min(shares, default=None)


def window_left(name: str, window: Window, read_at: float | None, now: float) -> float | None:
    """A reading counts until its reset, and no longer than its window lasts."""
    length = WINDOW_S.get(name, WINDOW_S["month"])
    if read_at is not None and not read_at - 86400.0 <= now < read_at + length:
        return None
    return window.left(now)


def error_rate(state: KeyState, now: float) -> float:
    """The share of failed answers in the last hour; 0.0 while there are too few to tell."""
    minutes = recent(state, now)
    answers = sum(minute[1] for minute in minutes)
    errors = sum(minute[2] for minute in minutes)
    if answers < RATE_MIN_ANSWERS or errors < RATE_MIN_ERRORS:
        return 0.0
    return errors / answers


def recent(state: KeyState, now: float) -> tuple[tuple[int, int, int], ...]:
    """The counted minutes of the last hour; what a clock ahead of time wrote is left out."""
    minute = int(now // 60)
    return tuple(entry for entry in state.traffic if minute - _HOUR_MIN < entry[0] <= minute)
