"""When kmi asks upstream about a key by itself. Pure: ``now`` comes from the caller.

`/usages` is not a documented API, so kmi is careful with it (upstream.md): a key is asked about
only while kmi is being used, at most once in 300 s, and not before its last reading is older than
`KMI_USAGE_CACHE_SECONDS`. A failure waits longer, and as long as the upstream asked for. A person
who asks (`kmi health --refresh`, `kmi keys check`) is answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmi.model import KeyState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmi.model import ApiKey

#: The least time between two polls of a key by itself.
FLOOR_S = 300.0
#: For so long a refresh that was started counts as under way: it ends itself well before.
CLAIM_S = 60.0


class Pace(NamedTuple):
    """How often, in seconds.

    Attributes:
        cache_s: `KMI_USAGE_CACHE_SECONDS`; 0: never by itself.
        recheck_s: `KMI_BLOCKLIST_RECHECK_SECONDS`.
        recheck_max: `KMI_BLOCKLIST_RECHECK_MAX`, blocked keys per pass; 0: all.
        first: whether a key that nobody ever asked about counts as due.
    """

    cache_s: float = 600.0
    recheck_s: float = 3600.0
    recheck_max: int = 3
    first: bool = True


def blocked(state: KeyState, now: float) -> bool:
    """Whether a key is blocked, and so rechecked at its own pace."""
    hold = state.hold
    return hold is not None and hold.kind == "blocked" and hold.active(now)


def next_poll(key: ApiKey, state: KeyState, pace: Pace, now: float) -> float | None:
    """The moment from which kmi may ask about a key by itself.

    Returns:
        a time that may be past, or None for never: the key is disabled, its account was banned,
        or polling is off.
    """
    if key.disabled or state.disabled or pace.cache_s <= 0.0:
        return None
    hold, tried = state.hold, state.usage_tried_at
    if tried is not None and tried > now + FLOOR_S:
        tried = None  # the clock went back
    if hold is not None and blocked(state, now):
        if hold.verdict == "banned":
            return None
        since = hold.since if tried is None else max(tried, hold.since)
        return min(since, now) + max(FLOOR_S, pace.recheck_s)
    if tried is None:
        return 0.0 if pace.first else None
    wait = min(state.usage_wait_until or 0.0, tried + 86400.0)
    return max(tried + max(FLOOR_S, pace.cache_s), wait)


def due(
    keys: Iterable[ApiKey], states: Mapping[str, KeyState], pace: Pace, now: float
) -> list[ApiKey]:
    """The keys to ask about now; of the blocked ones those that wait longest."""
    usual: list[ApiKey] = []
    again: list[tuple[float, str, ApiKey]] = []
    for key in keys:
        state = states.get(key.key_id, KeyState())
        at = next_poll(key, state, pace, now)
        if at is None or at > now:
            continue
        if blocked(state, now):
            again.append((at, key.label, key))
        else:
            usual.append(key)
    again.sort(key=lambda entry: entry[:2])
    most = pace.recheck_max or len(again)
    return usual + [key for _, _, key in again[:most]]


def claimed(refresh_at: float | None, now: float) -> bool:
    """Whether a refresh was started a moment ago, by whichever process."""
    return refresh_at is not None and refresh_at <= now < refresh_at + CLAIM_S


def next_due(
    keys: Iterable[ApiKey],
    states: Mapping[str, KeyState],
    pace: Pace,
    refresh_at: float | None,
    now: float,
) -> float | None:
    """When a run has to look again whether a refresh is due; None for never."""
    moments = [next_poll(key, states.get(key.key_id, KeyState()), pace, now) for key in keys]
    known = [at for at in moments if at is not None]
    if not known:
        return None
    if refresh_at is not None and claimed(refresh_at, now):
        return max(min(known), refresh_at + CLAIM_S)
    return min(known)
