"""How long a verdict keeps a key out of use. Pure: ``now`` and ``rng`` come from the caller.

A hold is a hypothesis about a key, and these rules keep it one:

1. Only the verdicts "dead-key" and "banned" hold until a person acts; also "payment" and
   "no-money", when the person asked for that with `KMI_PAYMENT_BLOCK_SECONDS=0`.
2. Its end comes from the header, else from the words "after N seconds", else from the reset of
   the window, else from a ladder that doubles with every strike, with jitter. In each case it is
   capped by the window that it claims.
3. It is half open early: from ``probe_at`` on, one request may try the key.
4. A weaker hold never replaces a stronger one that is still active, and a burst of answers counts
   as one strike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kmi.model import WINDOW_S, Hold
from kmi.retry_after import RETRY_AFTER_MAX_S

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from kmi.model import Window
    from kmi.verdicts import Verdict

#: A window that is this full explains a quota error (upstream.md, rule 5).
FULL = 0.99
#: The ladder doubles up to twenty times its first step, and up to half an hour.
LADDER_STEPS = 20.0
LADDER_MAX_S = 1800.0
#: Repeated payment blocks grow up to a day.
PAYMENT_MAX_S = 86400.0
#: "Half open every few minutes": five, doubling with every strike up to half an hour.
PROBE_S = 300.0
PROBE_MAX_S = 1800.0
#: Up to this share is added to a step of the ladder, so that many runs don't wake together.
JITTER = 0.2

_STRIKES_MAX = 30
_KINDS = {"block": "blocked", "exhaust": "exhausted", "cooldown": "cooldown"}
_STRENGTH = {"cooldown": 0, "exhausted": 1, "blocked": 2}


@dataclass(frozen=True)
class Timing:
    """What the length of a hold depends on, besides the verdict. Durations are seconds.

    Attributes:
        cooldown_s: `KMI_ROTATION_COOLDOWN_SECONDS`.
        payment_block_s: `KMI_PAYMENT_BLOCK_SECONDS`; 0: until a person acts.
        retry_after_s: what the header asks for, or None.
        windows: the key's quota readings.
    """

    cooldown_s: float = 300.0
    payment_block_s: float = 3600.0
    retry_after_s: float | None = None
    windows: Mapping[str, Window] = field(default_factory=dict)


def holds(verdict: Verdict) -> bool:
    """Whether a verdict keeps a key out of use at all."""
    return verdict.effect in _KINDS


def next_hold(
    old: Hold | None, verdict: Verdict, timing: Timing, *, now: float, rng: random.Random
) -> Hold:
    """The hold after a verdict that `holds`: a new one, or the old one where that is stronger."""
    kind = verdict.kind
    hold = Hold(
        kind=_KINDS[kind.effect],
        verdict=kind.name,
        since=now,
        until=None,
        window=kind.window,
        status=verdict.status,
        text=verdict.text,
        strikes=_strikes(old, verdict, now),
    )
    if kind.hold == "payment":
        hold = _payment(hold, timing.payment_block_s)
    elif kind.hold != "hand":
        first = max(1.0, timing.cooldown_s) if kind.hold == "cooldown" else kind.seconds
        hold = _told(hold, verdict, timing, now) or _laddered(hold, verdict, first, rng)
    return _stronger(old, probed(hold, now), now)


def _strikes(old: Hold | None, verdict: Verdict, now: float) -> int:
    """One more when the same verdict comes back soon after its hold; a burst adds nothing."""
    if old is None or old.verdict != verdict.name or now < old.since:
        return 1
    if old.active(now) and not old.half_open(now):
        return old.strikes
    end = old.since if old.until is None else old.until
    memory = max(60.0, 2.0 * (end - old.since))
    return min(_STRIKES_MAX, old.strikes + 1) if now < end + memory else 1


def _payment(hold: Hold, block_s: float) -> Hold:
    """The person's setting decides, and not a header; with 0 there is no end."""
    if block_s <= 0.0:
        return hold
    length = min(block_s * 2.0 ** (hold.strikes - 1), max(block_s, PAYMENT_MAX_S))
    return replace(hold, until=hold.since + length)


def _laddered(hold: Hold, verdict: Verdict, first: float, rng: random.Random) -> Hold:
    """No one said how long: double with every strike; the setting comes first, as it is."""
    kind = verdict.kind
    if kind.hold == "cooldown" and hold.strikes == 1:
        return replace(hold, until=hold.since + first, source="setting")
    top = kind.cap_s if kind.hold == "window" else min(LADDER_MAX_S, LADDER_STEPS * first)
    length = min(first * 2.0 ** (hold.strikes - 1), max(first, top))
    length = min(length * rng.uniform(1.0, 1.0 + JITTER), max(first, kind.cap_s))
    return replace(hold, until=hold.since + length, source="ladder")


def _told(hold: Hold, verdict: Verdict, timing: Timing, now: float) -> Hold | None:
    """The end as the answer or the reading of the window has it, capped; None when neither has."""
    header = timing.retry_after_s
    if header is not None and 0.0 < header <= RETRY_AFTER_MAX_S:
        hold = replace(hold, until=now + header, source="header")
    elif verdict.after_s is not None:
        hold = replace(hold, until=now + verdict.after_s, source="text")
    elif verdict.kind.hold == "window" and hold.window is None:
        return _by_any_window(hold, timing.windows, now)
    elif hold.window is not None:
        window = timing.windows.get(hold.window)
        # A text that may just mean haste (row 18) means the window only if that is full.
        if window is None or (verdict.kind.hold != "window" and window.used < FULL):
            return None
        return by_reset(hold, hold.window, window, now)
    if hold.until is None:
        return None
    return replace(hold, until=min(hold.until, now + verdict.kind.cap_s))


def by_reset(hold: Hold, name: str, window: Window, now: float) -> Hold | None:
    """The hold until a window's reset; None when that is not known, or past."""
    if window.resets_at is None or window.resets_at <= now:
        return None
    until = min(window.resets_at, now + WINDOW_S.get(name, WINDOW_S["month"]))
    return replace(hold, kind="exhausted", window=name, until=until, source="window")


def _by_any_window(hold: Hold, windows: Mapping[str, Window], now: float) -> Hold | None:
    """A spent quota of unknown window (row 10; upstream.md, rule 5).

    The full window with the latest reset; if none is full, the reset of the 5 h window, and that of
    the week when the key failed again after it.
    """
    name = fullest(windows, now)
    if name is None:
        known = [n for n in ("5h", "7d")[min(hold.strikes, 2) - 1 :] if n in windows]
        ends = [by_reset(hold, n, windows[n], now) for n in known]
        guess = next((end for end in ends if end is not None), None)
        return None if guess is None else replace(guess, window=None)
    return by_reset(hold, name, windows[name], now)


def fullest(windows: Mapping[str, Window], now: float, full: float = FULL) -> str | None:
    """The name of the full window with the latest reset, or None."""
    resets = [
        (window.resets_at, name)
        for name, window in windows.items()
        if window.used >= full and window.resets_at is not None and window.resets_at > now
    ]
    return max(resets)[1] if resets else None


def probed(hold: Hold, now: float) -> Hold:
    """The hold with the time of its next probe; none where a person must act."""
    if hold.until is None:
        return hold
    wait = min(PROBE_MAX_S, PROBE_S * 2.0 ** (hold.strikes - 1))
    return replace(hold, probe_at=min(hold.until, now + wait))


def _stronger(old: Hold | None, new: Hold, now: float) -> Hold:
    """Which of two holds stays (rule 4); a probe that failed moves the next one."""
    if old is None or not old.active(now):
        return new
    if old.verdict == new.verdict:
        burst = not old.half_open(now) and new.source in {"ladder", "setting"}
        return old if burst else new
    if _rank(new) >= _rank(old):
        return new
    return probed(old, now) if old.half_open(now) else old


def _rank(hold: Hold) -> tuple[int, float]:
    return _STRENGTH.get(hold.kind, 0), math.inf if hold.until is None else hold.until
