"""What Kimi Code's footer shows: the key, its tightest window, and what comes next (pure).

It is written when something changes and read at any time later, so it names times, not spans.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from kmi.health import window_left
from kmi.selection import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.model import ApiKey, KeyState
    from kmi.selection import Policy
    from kmi.state import Active, State
    from kmi.wording import Words

_DAY_S = 86400.0


def status_line(
    words: Words,
    state: State,
    active: Active | None,
    keys: Sequence[ApiKey] | None,
    policy: Policy | None,
    *,
    now: float,
    zone: datetime.tzinfo | None,
) -> str:
    """The line, without its end.

    Args:
        words: for the person's language.
        state: what kmi remembers.
        active: the key that the client's config holds, or None.
        keys: those that exist; None when nobody looked: then what comes next is left out.
        policy: how the next one is chosen.
        now: seconds since the epoch.
        zone: for times.
    """
    if active is None:
        return words("plugin.line-none")
    label = ascii(active.label)[1:-1]  # a state that was edited by hand drives no terminal
    parts = [f"kmi {label}", _own(words, state.key(active.key_id), now, zone)]
    if keys is not None and policy is not None:
        others = [key for key in keys if key.key_id != active.key_id]
        parts.append(_next(words, state, others, policy, now, zone))
    return " | ".join(part for part in parts if part)


def _own(words: Words, known: KeyState, now: float, zone: datetime.tzinfo | None) -> str:
    """How long the key is out, or what is left in its tightest window; "" when neither is known."""
    if known.hold is not None and known.hold.active(now):
        if known.hold.until is None:
            return words("plugin.line-out-only")
        return words("plugin.line-out", time=short_time(known.hold.until, now, zone))
    lefts = {name: window_left(name, w, known.usage_at, now) for name, w in known.windows.items()}
    shares = [(share, name) for name, share in lefts.items() if share is not None]
    if not shares:
        return ""
    share, name = min(shares)
    values = {"window": words.window(name), "share": int(round(share * 100, 4))}
    at = known.windows[name].resets_at
    if at is None or at <= now:
        return words("plugin.line-left-only", **values)
    return words("plugin.line-left", **values, time=short_time(at, now, zone))


def _next(
    words: Words,
    state: State,
    others: Sequence[ApiKey],
    policy: Policy,
    now: float,
    zone: datetime.tzinfo | None,
) -> str:
    decision = choose(others, state.keys, policy, now=now, active=None)
    if decision.key is not None:
        return words("plugin.line-next", label=decision.key.label)
    if decision.back_at is not None:
        return words("plugin.line-first", time=short_time(decision.back_at, now, zone))
    return words("plugin.line-no-next")


def short_time(at: float, now: float, zone: datetime.tzinfo | None) -> str:
    """A moment as short as it can be told: the time of today, else with its date.

    >>> short_time(3600.0, 0.0, datetime.timezone.utc)
    '01:00'
    """
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).astimezone(zone)
    return moment.strftime("%H:%M" if at - now < _DAY_S else "%m-%d %H:%M")
