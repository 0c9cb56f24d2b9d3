"""Which key a request gets, and what its answer teaches (pure: time comes from the caller).

The decision is `selection.choose`, the same as everywhere in kmi. Here is only what a proxy adds:
sessions keep their keys, a request does not get the same key twice, and a request every few
microseconds must not pay for a whole decision, so the set of usable keys is kept for a moment.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kmi.holds import probed
from kmi.model import KeyState
from kmi.proxy.affinity import Affinity
from kmi.selection import choose, in_turn, unusable
from kmi.transitions import apply_answer, apply_success

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kmi.model import ApiKey, Hold
    from kmi.proxy.view import View
    from kmi.verdicts import Verdict

#: For so long the set of usable keys is believed: the end of a hold is noticed no later.
USABLE_S = 0.25
#: A success from less than this before a hold proves nothing; from longer: the clock went back.
LATE_S = 60.0


class Pick(NamedTuple):
    """Which key a request gets.

    Attributes:
        key: None when it can get none now.
        code: why, as in `records.Served`.
        eligible: how many keys could have been picked.
    """

    key: ApiKey | None
    code: str
    eligible: int


class Lesson(NamedTuple):
    """What one answer taught.

    Attributes:
        key_id: whose answer it was.
        verdict: what it means; None for a success.
        at: when it came, seconds since the epoch.
        sent_at: when its request was sent.
        retry_after_s: what its header asked for, or None.
        times: how many such answers (successes are counted together).
        seed: for the jitter, the same wherever the lesson is learnt.
    """

    key_id: str
    verdict: Verdict | None
    at: float
    sent_at: float
    retry_after_s: float | None = None
    times: int = 1
    seed: int = 0


def learn(
    states: Mapping[str, KeyState],
    lesson: Lesson,
    *,
    cooldown_s: float,
    payment_block_s: float,
) -> dict[str, KeyState]:
    """The new states of the keys that a lesson is about."""
    known = states.get(lesson.key_id, KeyState())
    if lesson.verdict is None:
        state = apply_success(known, lesson.at, sent_at=lesson.sent_at, count=lesson.times)
        hold = known.hold
        if hold is not None and lesson.at < hold.since < lesson.at + LATE_S:
            # Another process found that out since: successes are handed over seconds later.
            state = replace(state, hold=hold)
        return {lesson.key_id: replace(state, last_used=max(lesson.at, known.last_used or 0.0))}
    return apply_answer(
        states,
        lesson.key_id,
        lesson.verdict,
        now=lesson.at,
        rng=random.Random(lesson.seed),  # noqa: S311 - jitter is no secret
        cooldown_s=cooldown_s,
        payment_block_s=payment_block_s,
        retry_after_s=lesson.retry_after_s,
    )


class Picker:
    """The keys as the event loop sees them.

    Attributes:
        view: what was read from the disk last.
        states: those of the view, and what was learnt since.
        sessions: who has which key.
    """

    def __init__(self, view: View, *, cooldown_s: float, payment_block_s: float) -> None:
        self.view = view
        self.states: dict[str, KeyState] = dict(view.states)
        self.sessions = Affinity()
        self._cooldown_s = cooldown_s
        self._payment_block_s = payment_block_s
        self._usable: dict[str, ApiKey] = {}
        self._usable_until = 0.0
        self._stand_in: str | None = None
        self._turn: str | None = None
        self._probed: dict[str, Hold] = {}
        self._taken: dict[str, float] = {}

    def replace_view(
        self, view: View, unsaved: Iterable[Lesson], cooldown_s: float, payment_block_s: float
    ) -> None:
        """Take a newer sight of the disk, and what it does not hold yet."""
        self._cooldown_s, self._payment_block_s = cooldown_s, payment_block_s
        before, self.view = self.view, view
        self.states = dict(view.states)
        for lesson in unsaved:
            self._apply(lesson)
        self._remember(key.key_id for key in view.keys)
        self._usable_until = 0.0
        if view.active != before.active:
            self._stand_in = None
        if view.active is not None and view.chosen_at not in {None, before.chosen_at}:
            # The person said which key: every session follows.
            self._stand_in = None
            self.sessions.move_all(view.active.key_id)

    def _remember(self, key_ids: Iterable[str]) -> None:
        """What the disk does not know: who was given a key, and who tries one out."""
        here = set(key_ids)
        self._taken = {k: at for k, at in self._taken.items() if k in here}
        for key_id, at in self._taken.items():
            state = self.states.get(key_id) or KeyState()
            self.states[key_id] = replace(state, last_used=max(at, state.last_used or 0.0))
        probed, self._probed = self._probed, {}
        for key_id, hold in probed.items():
            state = self.states.get(key_id) or KeyState()
            found = state.hold
            if found is not None and (found.verdict, found.since) == (hold.verdict, hold.since):
                self._probed[key_id] = hold
                self.states[key_id] = replace(state, hold=hold)

    def learn(self, lesson: Lesson) -> None:
        """Take in what an answer taught."""
        self._apply(lesson)
        self._usable_until = 0.0

    def _apply(self, lesson: Lesson) -> None:
        self.states.update(
            learn(
                self.states,
                lesson,
                cooldown_s=self._cooldown_s,
                payment_block_s=self._payment_block_s,
            )
        )

    def look_again(self) -> None:
        """Forget which keys were usable a moment ago."""
        self._usable_until = 0.0

    def first_back(self, now: float) -> float | None:
        """When the first key comes back by itself; None when none does."""
        ends = []
        for key in self.view.keys:
            state = self._state(key)
            hold = state.hold
            if hold is None or hold.until is None or not hold.active(now):
                continue
            if not unusable(key, replace(state, hold=None), self.view.policy, now):
                ends.append(hold.until)
        return min(ends, default=None)

    def why_not(self, now: float) -> dict[str, str]:
        """Why each key can't be used, by label."""
        reasons = {
            key.label: unusable(key, self._state(key), self.view.policy, now)
            for key in self.view.keys
        }
        return {label: why for label, why in reasons.items() if why}

    def held(self, key_id: str) -> bool:
        """Whether a key has a hold that a success would end."""
        state = self.states.get(key_id)
        return state is not None and state.hold is not None

    def usable(self, now: float, mono: float) -> dict[str, ApiKey]:
        """The keys that can be used now, by key id, in their order."""
        if mono >= self._usable_until:
            self._usable = {
                key.key_id: key
                for key in self.view.keys
                if not unusable(key, self._state(key), self.view.policy, now)
            }
            self._usable_until = mono + USABLE_S
        return self._usable

    def _state(self, key: ApiKey) -> KeyState:
        return self.states.get(key.key_id) or KeyState()

    def pick(
        self,
        session: bytes,
        tried: Collection[str],
        now: float,
        mono: float,
        full: Collection[str] = (),
        again: str | None = None,
    ) -> Pick:
        """The key that a request would get; `take` says that it got it.

        Args:
            session: its hash, or b"".
            tried: key ids that failed it already.
            now: seconds since the epoch.
            mono: the same moment on the monotonic clock.
            full: key ids that have as many requests in flight as they may: a session waits for
                its key, but a new one is not given such a key while there is another.
            again: the key id that is to be tried once more after a passing fault, or None.
        """
        usable = self.usable(now, mono)
        if not self.view.may_change:
            return self._active(tried, now)
        if again is not None and again in usable and again not in tried:
            return Pick(usable[again], "again", len(usable))
        seat = self.sessions.find(session, mono) if session else None
        if seat is not None and seat.key_id in usable and seat.key_id not in tried:
            return Pick(usable[seat.key_id], "session", len(usable))
        if self.view.policy.strategy == "sticky":
            # What `choose` would say, for all those requests that name no session.
            standing = self._standing() or ""
            if standing in usable and standing not in tried and standing not in full:
                return Pick(usable[standing], "active", len(usable))
        return self._choose(tried, now, full if set(usable).difference(tried, full) else ())

    def take(self, session: bytes, pick: Pick, now: float, mono: float) -> None:
        """A request is sent on a key: its session stays there, and turns go on from it."""
        key, view = pick.key, self.view
        if key is None:
            return
        if not view.may_change:
            if pick.code != "active":
                self._stand_in = key.key_id
            return
        if session:
            seat = self.sessions.find(session, mono)
            if seat is None or seat.key_id == key.key_id or seat.key_id not in self._usable:
                self.sessions.keep(session, key.key_id, mono)
            # Else a passing fault of its key led here, and it may be that of all: see `settle`.
        if pick.code in {"session", "again", "active"}:
            return
        self._turn = key.key_id
        self._taken[key.key_id] = now
        state = self._state(key)
        if view.active is None or view.active.key_id != key.key_id:
            self._stand_in = key.key_id
        if pick.code == "probe" and state.hold is not None:
            # Only this request tries it; others wait for what comes of it.
            hold = self._probed[key.key_id] = probed(state.hold, now)
            state = replace(state, hold=hold)
        self.states[key.key_id] = replace(state, last_used=max(now, state.last_used or 0.0))

    def settle(self, session: bytes, key_id: str, tried: Collection[str], mono: float) -> None:
        """A request was answered well by a key, after others had failed it: its session is warm."""
        seat = self.sessions.find(session, mono)
        if seat is not None and seat.key_id in tried:
            self.sessions.keep(session, key_id, mono)

    def _choose(self, tried: Collection[str], now: float, full: Collection[str]) -> Pick:
        view = self.view
        keys = [k for k in view.keys if k.key_id not in tried and k.key_id not in full]
        standing = self._standing()
        if view.policy.strategy == "round-robin":
            standing = _last_of(view.keys, keys, standing)
        decision = choose(keys, self.states, view.policy, now=now, active=standing)
        if decision.key is None:
            return Pick(None, decision.code, 0)
        if decision.code == "next":
            eligible = len(in_turn(keys, self.states, view.policy, now=now))
        else:
            eligible = sum(1 for key_id in self._usable if key_id not in tried)
        return Pick(decision.key, decision.code, max(1, eligible))

    def _standing(self) -> str | None:
        """From which key on turns are taken; else the key of new sessions, if it can be used."""
        active = None if self.view.active is None else self.view.active.key_id
        if self.view.policy.strategy == "round-robin":
            return self._turn or active
        return active if active in self._usable or self._stand_in is None else self._stand_in

    def _active(self, tried: Collection[str], now: float) -> Pick:
        """The one key that serves everybody while keys may not be changed.

        Its errors are the client's to know, so a hold does not count; but a key that a person
        disabled, or whose base URL is not allowed, is not used.
        """
        by_id = {key.key_id: key for key in self.view.keys}
        active = None if self.view.active is None else self.view.active.key_id
        for key_id in (active, self._stand_in):
            key = None if key_id is None or key_id in tried else by_id.get(key_id)
            if key is not None:
                bare = replace(self._state(key), hold=None)
                if not unusable(key, bare, self.view.policy, now):
                    return Pick(key, "active", 1)
        return self._choose(tried, now, ())


def _last_of(order: Sequence[ApiKey], keys: Sequence[ApiKey], turn: str | None) -> str | None:
    """Whose turn was last; where that key is left out of ``keys``, the nearest before it."""
    ids, there = [key.key_id for key in order], {key.key_id for key in keys}
    if turn not in ids:
        return turn
    at = ids.index(turn) + 1
    return next((key_id for key_id in reversed(ids[at:] + ids[:at]) if key_id in there), None)
