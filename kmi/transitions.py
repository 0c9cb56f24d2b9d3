"""How answers change what kmi thinks of a key. Pure: ``now`` and ``rng`` come from the caller.

How long a verdict holds a key is in `holds`. Here is what ends a hold: a success, a person, and,
within limits, a `/usages` answer. That answer moves the end of a quota to a known reset, but never
ends one because it reads "0 % used": readings were wrong both ways (upstream.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kmi.health import recent
from kmi.holds import FULL, Timing, by_reset, fullest, holds, next_hold, probed
from kmi.model import Hold, KeyState

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from kmi.model import Window
    from kmi.quotas import Balance, UsageReading
    from kmi.verdicts import Verdict

#: Errors of these faults count against the key; the others would have hit any key.
COUNTED_FAULTS = frozenset({"key", "account", "organisation", "host", "server"})
#: From here on `/usages` alone holds a key: 100 %, but for rounding.
SPENT = 0.9995
#: Two readings name the same reset when they differ by less: servers round.
_SAME_RESET_S = 120.0
#: After a reading that failed: five minutes, doubling with every further one up to an hour. What
#: the upstream asks for is honoured up to a day (upstream.md).
BACKOFF_S = 300.0
BACKOFF_MAX_S = 3600.0
WAIT_MAX_S = 86400.0


def _counted(state: KeyState, now: float, *, error: bool, count: int = 1) -> KeyState:
    minute = int(now // 60)
    counts = {at: (answers, errors) for at, answers, errors in recent(state, now)}
    answers, errors = counts.get(minute, (0, 0))
    counts[minute] = (answers + count, errors + count * int(error))
    return replace(state, traffic=tuple((at, *counts[at]) for at in sorted(counts)))


def apply_success(
    state: KeyState, now: float, *, sent_at: float | None = None, count: int = 1
) -> KeyState:
    """A model request was answered: it counts, and it ends a hold.

    Args:
        state: what was known of the key.
        now: seconds since the epoch.
        sent_at: when the request was sent. One that was sent before the hold began proves
            nothing against it: long streams end after other requests were refused.
        count: how many requests, where several are counted at once.
    """
    state = _counted(state, now, error=False, count=count)
    if state.hold is not None and sent_at is not None and sent_at < state.hold.since <= now:
        return state
    return replace(state, hold=None)


def apply_verdict(
    state: KeyState,
    verdict: Verdict,
    *,
    now: float,
    rng: random.Random,
    cooldown_s: float = 300.0,
    payment_block_s: float = 3600.0,
    retry_after_s: float | None = None,
    count: bool = True,
) -> KeyState:
    """A request was answered with an error.

    Args:
        state: what was known of the key.
        verdict: what the answer means.
        now: seconds since the epoch.
        rng: for jitter.
        cooldown_s: `KMI_ROTATION_COOLDOWN_SECONDS`.
        payment_block_s: `KMI_PAYMENT_BLOCK_SECONDS`; 0: until a person acts.
        retry_after_s: what the header says, from `retry_after`.
        count: whether it was a model request of this very key, and so counts as traffic.
    """
    if count:
        state = _counted(state, now, error=verdict.fault in COUNTED_FAULTS)
    if state.group is None and verdict.group is not None:
        state = replace(state, group=verdict.group)
    if not holds(verdict):
        return state
    timing = Timing(cooldown_s, payment_block_s, retry_after_s, state.windows)
    return replace(state, hold=next_hold(state.hold, verdict, timing, now=now, rng=rng))


def affected(verdict: Verdict, key_id: str, states: Mapping[str, KeyState]) -> set[str]:
    """The key ids that a verdict on an answer to ``key_id`` holds out of use.

    A group is made of the keys whose errors or `/usages` named the same account.
    """
    if not holds(verdict):
        return set()
    if verdict.scope != "group":
        return {key_id}
    own = states[key_id].group if key_id in states else None
    groups = {own, verdict.group} - {None}
    return {key_id} | {other for other, state in states.items() if state.group in groups}


def apply_answer(
    states: Mapping[str, KeyState],
    key_id: str,
    verdict: Verdict,
    *,
    now: float,
    rng: random.Random,
    cooldown_s: float = 300.0,
    payment_block_s: float = 3600.0,
    retry_after_s: float | None = None,
) -> dict[str, KeyState]:
    """`apply_verdict` for the key that was answered and for all that are affected.

    Returns:
        The new states of just those keys.
    """
    return {
        other: apply_verdict(
            states.get(other, KeyState()),
            verdict,
            now=now,
            rng=rng,
            cooldown_s=cooldown_s,
            payment_block_s=payment_block_s,
            retry_after_s=retry_after_s,
            count=other == key_id,
        )
        for other in sorted({key_id} | affected(verdict, key_id, states))
    }


def apply_usage(state: KeyState, reading: UsageReading, now: float) -> KeyState:
    """A `/usages` answer was read.

    It proves the key genuine, so it ends "dead-key" and "unknown-401", and lets a payment block be
    probed at once. An answer without any window keeps the last good reading.
    """
    before = state
    state = replace(state, usage_tried_at=now, usage_error=reading.drift, usage_wait_until=None)
    if reading.group is not None:
        state = replace(state, group=reading.group)
    state = _proven(state, now)
    if not reading.windows:
        return replace(state, usage_error=reading.drift or "no window could be read")
    state = replace(state, windows=dict(reading.windows), usage_at=now)
    return replace(state, hold=_after_usage(before, state, now))


def _proven(state: KeyState, now: float) -> KeyState:
    """The service accepted the key for something other than a model request."""
    hold = state.hold
    if hold is None or hold.verdict not in {"dead-key", "unknown-401", "payment"}:
        return state
    if hold.verdict != "payment":
        return replace(state, hold=None)
    return state if hold.until is None else replace(state, hold=replace(hold, probe_at=now))


def _after_usage(before: KeyState, state: KeyState, now: float) -> Hold | None:
    """The hold in the light of new windows."""
    hold = state.hold
    held = hold is not None and hold.active(now)
    if hold is not None and held and hold.verdict != "usage-full":
        return _moved(hold, state.windows, now)
    name = fullest(state.windows, now, SPENT)
    if name is None:
        return None if hold is not None and hold.verdict == "usage-full" else hold
    if hold is None and _same(before.windows.get(name), state.windows[name]):
        return None  # a success or a person ended the hold of this very reading: believe them
    full = Hold("exhausted", "usage-full", now, None)
    if hold is not None and held:
        full = hold
    made = by_reset(full, name, state.windows[name], now)
    return hold if made is None else made if held else probed(made, now)


def _same(before: Window | None, after: Window) -> bool:
    if before is None or before.resets_at is None or after.resets_at is None:
        return False
    return before.used >= SPENT and abs(before.resets_at - after.resets_at) < _SAME_RESET_S


def _moved(hold: Hold, windows: Mapping[str, Window], now: float) -> Hold:
    """A quota's hold, moved to a known reset.

    A full window gives a guess its end; else a reset can only bring the end nearer.
    """
    if hold.until is None or (hold.kind != "exhausted" and hold.verdict != "rate-or-5h"):
        return hold
    name = fullest(windows, now) if hold.verdict == "quota" else hold.window
    window = windows.get(name or "")
    if name is None or window is None:
        return hold
    full = window.used >= FULL
    if hold.kind != "exhausted" and not full:
        return hold
    made = by_reset(hold, name, window, now)
    if made is None or made.until is None:
        return hold
    if full and hold.source in {"ladder", "setting", "window"}:
        return made
    return made if made.until < hold.until else hold


def apply_usage_failure(
    state: KeyState,
    error: str,
    verdict: Verdict | None = None,
    *,
    now: float,
    rng: random.Random,
    payment_block_s: float = 3600.0,
    retry_after_s: float | None = None,
) -> KeyState:
    """`/usages` or the balance could not be read.

    The last good reading stays, with its age. A verdict that blocks or exhausts a key counts
    (upstream.md, rule 7: 401, 402); a rate limit, a server error or an unknown 403 does not, for
    it says nothing about model requests.
    """
    state = replace(
        state,
        usage_tried_at=now,
        usage_error=error or "it could not be read",
        usage_wait_until=_wait_until(state, now, retry_after_s),
    )
    if verdict is None or verdict.effect not in {"block", "exhaust"}:
        return state
    return apply_verdict(
        state, verdict, now=now, rng=rng, payment_block_s=payment_block_s, count=False
    )


def _wait_until(before: KeyState, now: float, retry_after_s: float | None) -> float:
    """When kmi may ask again by itself after a failure."""
    last = (before.usage_wait_until or 0.0) - (before.usage_tried_at or 0.0)
    failed_before = before.usage_wait_until is not None and last > 0.0
    wait = min(BACKOFF_MAX_S, max(BACKOFF_S, 2.0 * last)) if failed_before else BACKOFF_S
    return now + min(WAIT_MAX_S, max(wait, retry_after_s or 0.0))


def apply_balance(
    state: KeyState,
    balance: Balance,
    *,
    now: float,
    rng: random.Random,
    payment_block_s: float = 3600.0,
) -> KeyState:
    """A balance was read: without money there is no inference (upstream.md)."""
    from kmi.verdict_table import NO_MONEY
    from kmi.verdicts import Verdict

    state = replace(state, usage_tried_at=now, usage_error="", usage_wait_until=None)
    state = _proven(state, now)
    if balance.available <= 0.0:
        words = f"balance {balance.available:g} {balance.currency}".rstrip()
        return apply_verdict(
            state,
            Verdict(NO_MONEY, None, words),
            now=now,
            rng=rng,
            payment_block_s=payment_block_s,
            count=False,
        )
    if state.hold is not None and state.hold.verdict == "no-money":
        return replace(state, hold=None)
    return state


def reset(state: KeyState) -> KeyState:
    """`kmi keys reset`: no hold, no counted errors. What `/usages` said stays."""
    return replace(state, hold=None, traffic=())
