"""How answers change what kmi thinks of a key. Pure: ``now`` and ``rng`` come from the caller.

A hold is a hypothesis about a key, and these rules keep it one:

1. Only the verdicts "dead-key" and "banned" hold until a person acts; also "payment" and
   "no-money", when the person asked for that with `KMI_PAYMENT_BLOCK_SECONDS=0`.
2. Its length comes from the header, else from the words "after N seconds", else from the reset of
   the window, else from a ladder that doubles with every strike, with jitter. In each case it is
   capped by the window that it claims.
3. It is half open early: from ``probe_at`` on, one request may try the key.
4. A weaker hold never replaces a stronger one that is still active; a burst of answers counts as
   one strike.
5. A success ends it. `/usages` moves its end to a known reset, and never ends a quota because it
   reads "0 % used" (kimi-api.md 5, rule 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kmi.model import WINDOW_S, Hold, KeyState
from kmi.timezones import show_span

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from kmi.model import ApiKey, Window
    from kmi.usages import Balance, UsageReading
    from kmi.verdicts import Verdict

#: spec.md 5: at least so much left in every known window, and fewer errors than that.
HEALTHY_LEFT = 0.20
HEALTHY_ERRORS = 0.05
#: An error rate needs this many answers within the hour, and two errors: one past error must not
#: starve a key (field.md c 11), and 1 of 20 is already the 5 %.
RATE_MIN_ANSWERS = 20
RATE_MIN_ERRORS = 2
HOUR_MIN = 60
#: Errors of these faults count against the key: the others would have hit any key.
COUNTED_FAULTS = frozenset({"key", "account", "organisation", "host", "server"})
#: A window that is this full explains a quota error (kimi-api.md 5, rule 5).
FULL = 0.99
#: The ladder of cooldowns ends at half an hour (proxy.md 6), or where the setting begins.
LADDER_MAX_S = 1800.0
#: Repeated payment blocks grow up to a day (proxy.md 6).
PAYMENT_MAX_S = 86400.0
#: "Half open every few minutes" (proxy.md 6): five, doubling with every strike up to half an hour.
PROBE_S = 300.0
PROBE_MAX_S = 1800.0
#: Added to a step of the ladder, up to this share of it, so that many runs don't wake together.
JITTER = 0.2
#: The longest Retry-After that is believed: the longest window.
RETRY_AFTER_MAX_S = 31 * 86400.0

_STRIKES_MAX = 30
_KINDS = {"block": "blocked", "exhaust": "exhausted", "cooldown": "cooldown"}
_STRENGTH = {"cooldown": 0, "exhausted": 1, "blocked": 2}

#: What a held key's verdict means, for people.
MEANINGS: Mapping[str, str] = {
    "dead-key": "the key was refused; it is wrong, or belongs to another host",
    "unknown-401": "the key was refused in unknown words",
    "banned": "the account was terminated",
    "payment": "the membership could not be verified, or needs a payment",
    "no-money": "the account has no money left",
    "quota": "a quota is spent",
    "quota-5h": "the 5 hour quota is spent",
    "quota-7d": "the weekly quota is spent",
    "quota-month": "the monthly quota is spent",
    "rate": "rate limited",
    "rate-or-5h": "rate limited",
    "rate-org": "its organisation is rate limited",
    "rate-day": "the tokens of the day are spent",
    "unknown-403": "it was forbidden in unknown words",
    "usage-full": "a quota is used up, by its usage",
}


@dataclass(frozen=True)
class Status:
    """Where a key stands.

    Attributes:
        name: "healthy", "warn", "exhausted", "blocked", "disabled" or "unknown".
        reason: why, in English; "" when healthy.
        code: a stable word for the reason: a verdict, "low", "errors", "no-usage", or "".
        until: when it ends by itself, or None.
    """

    name: str
    reason: str = ""
    code: str = ""
    until: float | None = None


def status_of(key: ApiKey, state: KeyState, now: float) -> Status:
    """The status of a key. A key in cooldown counts as exhausted: back at a known time."""
    if key.disabled:
        return Status("disabled", "by its auth file", "auth-file")
    if state.disabled:
        return Status("disabled", "by `kmi keys disable`", "by-hand")
    if state.hold is not None and state.hold.active(now):
        return _held(state.hold, now)
    share = left(state, now)
    if share is not None and share < HEALTHY_LEFT:
        return Status("warn", f"only {math.floor(share * 100)} % of its quota is left", "low")
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
        if (share := _window_left(name, window, state.usage_at, now)) is not None
    ]
    return min(shares, default=None)


def _window_left(name: str, window: Window, read_at: float | None, now: float) -> float | None:
    """A reading counts until its reset, and no longer than its window lasts."""
    length = WINDOW_S.get(name, WINDOW_S["month"])
    if read_at is not None and not read_at - 86400.0 <= now < read_at + length:
        return None
    return window.left(now)


def error_rate(state: KeyState, now: float) -> float:
    """The share of failed answers in the last hour; 0.0 while there are too few to tell."""
    recent = _recent(state, now)
    answers = sum(minute[1] for minute in recent)
    errors = sum(minute[2] for minute in recent)
    if answers < RATE_MIN_ANSWERS or errors < RATE_MIN_ERRORS:
        return 0.0
    return errors / answers


def _recent(state: KeyState, now: float) -> tuple[tuple[int, int, int], ...]:
    minute = int(now // 60)
    return tuple(entry for entry in state.traffic if minute - HOUR_MIN < entry[0] <= minute)


def _counted(state: KeyState, now: float, *, error: bool) -> KeyState:
    minute = int(now // 60)
    counts = {at: (answers, errors) for at, answers, errors in _recent(state, now)}
    answers, errors = counts.get(minute, (0, 0))
    counts[minute] = (answers + 1, errors + int(error))
    return replace(state, traffic=tuple((at, *counts[at]) for at in sorted(counts)))


def apply_success(state: KeyState, now: float) -> KeyState:
    """A model request was answered: that ends every hold, and counts as traffic."""
    return replace(_counted(state, now, error=False), hold=None)


def apply_verdict(
    state: KeyState,
    verdict: Verdict,
    *,
    now: float,
    rng: random.Random,
    cooldown_s: float = 300.0,
    payment_block_s: float = 3600.0,
    retry_after_s: float | None = None,
    windows: Mapping[str, Window] | None = None,
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
        retry_after_s: what the header says, from `retry_after.parse_retry_after`.
        windows: a fresh reading; the state's own if None.
        count: whether it was a model request of this key, and so counts as traffic.
    """
    if count:
        state = _counted(state, now, error=verdict.fault in COUNTED_FAULTS)
    if state.group is None and verdict.group is not None:
        state = replace(state, group=verdict.group)
    if verdict.effect not in _KINDS:
        return state
    known = state.windows if windows is None else windows
    hold = _new_hold(state.hold, verdict, now, rng, cooldown_s, payment_block_s)
    hold = _timed(hold, verdict, retry_after_s, known, now)
    return replace(state, hold=_stronger(state.hold, hold, now))


def _new_hold(
    old: Hold | None,
    verdict: Verdict,
    now: float,
    rng: random.Random,
    cooldown_s: float,
    payment_block_s: float,
) -> Hold:
    """The hold as the ladder and the settings have it."""
    kind = verdict.kind
    strikes = _strikes(old, verdict, now)
    factor = 2.0 ** (strikes - 1)
    hold = Hold(_KINDS[kind.effect], kind.name, now, None, status=verdict.status, strikes=strikes)
    hold = replace(hold, window=kind.window, text=verdict.text)
    if kind.hold == "hand" or (kind.hold == "payment" and payment_block_s <= 0.0):
        return hold
    if kind.hold == "payment":
        length = min(payment_block_s * factor, max(payment_block_s, PAYMENT_MAX_S))
        return replace(hold, until=now + length)
    first = max(1.0, cooldown_s) if kind.hold == "cooldown" else kind.seconds
    top = kind.cap_s if kind.hold == "window" else max(first, LADDER_MAX_S)
    length = min(first * factor, top) * rng.uniform(1.0, 1.0 + JITTER)
    source = "setting" if kind.hold == "cooldown" and strikes == 1 else "ladder"
    return replace(hold, until=now + min(length, max(kind.cap_s, first)), source=source)


def _strikes(old: Hold | None, verdict: Verdict, now: float) -> int:
    """One more when the same verdict comes back after its hold; a burst adds nothing."""
    if old is None or old.verdict != verdict.name:
        return 1
    if old.active(now) and not old.half_open(now):
        return old.strikes
    memory = max(3600.0, 2.0 * ((old.until or old.since) - old.since))
    if not old.since <= now < (old.until or old.since) + memory:
        return 1
    return min(_STRIKES_MAX, old.strikes + 1)


def _timed(
    hold: Hold,
    verdict: Verdict,
    retry_after_s: float | None,
    windows: Mapping[str, Window],
    now: float,
) -> Hold:
    """The hold with the best known end (rule 2), its cap, and its probe (rule 3)."""
    kind = verdict.kind
    if hold.until is None:
        return hold
    told = _believable(retry_after_s)
    if kind.hold == "payment":
        pass  # the person's setting decides, not the header
    elif told is not None:
        hold = replace(hold, until=now + told, source="header")
    elif verdict.after_s is not None:
        hold = replace(hold, until=now + verdict.after_s, source="text")
    else:
        hold = _by_window(hold, kind.hold, windows, now)
    if kind.hold in {"window", "seconds"}:
        cap_s = min(kind.cap_s, WINDOW_S.get(hold.window or "", kind.cap_s))
        hold = replace(hold, until=min(hold.until or now, now + cap_s))
    elif kind.hold == "cooldown" and hold.source == "header":
        hold = replace(hold, until=min(hold.until or now, now + kind.cap_s))
    return _probed(hold, now)


def _believable(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    return seconds if 0.0 < seconds <= RETRY_AFTER_MAX_S else None


def _by_window(hold: Hold, rule: str, windows: Mapping[str, Window], now: float) -> Hold:
    """The reset of the window that it claims.

    A spent quota that names no window (row 10) is the full one with the latest reset. A text that
    may just mean haste (row 18) means the window only if that is full.
    """
    found = windows.get(hold.window or "")
    if rule == "window" and hold.window is None:
        full = [(w.resets_at or 0.0, name) for name, w in windows.items() if _full(w, now)]
        name = max(full)[1] if full else None
        found = windows[name] if name is not None else None
        hold = replace(hold, window=name)
    if found is None or found.resets_at is None or found.resets_at <= now:
        return _next_reset(hold, rule, windows, now)
    if rule == "window":
        return replace(hold, until=found.resets_at, source="window")
    if hold.window is not None and found.used >= FULL:
        return replace(hold, kind="exhausted", until=found.resets_at, source="window")
    return hold


def _next_reset(hold: Hold, rule: str, windows: Mapping[str, Window], now: float) -> Hold:
    """Row 10 without a full window: try at the 5 h reset, and at the 7 d reset the next time."""
    if rule != "window" or hold.window is not None:
        return hold
    for name in ("5h", "7d")[min(hold.strikes, 2) - 1 :]:
        window = windows.get(name)
        if window is not None and window.resets_at is not None and window.resets_at > now:
            return replace(hold, until=window.resets_at, source="window")
    return hold


def _full(window: Window, now: float) -> bool:
    return window.used >= FULL and window.resets_at is not None and window.resets_at > now


def _probed(hold: Hold, now: float) -> Hold:
    """The hold with the time of its next probe."""
    wait = min(PROBE_MAX_S, PROBE_S * 2.0 ** (hold.strikes - 1))
    probe_at = now + wait
    if hold.until is None:
        return hold
    return replace(hold, probe_at=min(hold.until, probe_at))


def _stronger(old: Hold | None, new: Hold, now: float) -> Hold:
    """Which of two holds stays (rule 4)."""
    if old is None or not old.active(now):
        return new
    if old.verdict == new.verdict:
        burst = not old.half_open(now) and new.source in {"ladder", "setting"}
        return old if burst else new
    ends = (_STRENGTH.get(hold.kind, 0), math.inf if hold.until is None else hold.until)
    raise NotImplementedError(ends)
