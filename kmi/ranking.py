"""`selection.choose` for large pools: the same pick without looking at every key (pure).

`choose` explains itself for every key, and so looks at each. Whoever picks often remembers what a
key came out at instead, until its state or the time changes it: then a pick costs a heap's top.
`tests/test_ranking.py` holds the two to the same picks. A binding's order, a named key and
`kmi rotate` are not for it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.health import RATE_MIN_ERRORS
from kmi.model import WINDOW_S, KeyState
from kmi.scores import SCORE, UNUSED, View
from kmi.selection import unusable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from kmi.model import ApiKey
    from kmi.scores import Score
    from kmi.selection import Policy

_DAY_S = 86400.0
_NEVER = math.inf


class Ranked(NamedTuple):
    """What a request gets.

    Attributes:
        key: as in `Decision`; None when no key can be used.
        probe: whether it is only tried, because every key is out.
        back_at: when ``key`` is None: the earliest known return, in seconds since the epoch.
    """

    key: ApiKey | None
    probe: bool = False
    back_at: float | None = None


class Ranking:
    """Keys in the order in which a strategy would take them.

    Args:
        keys: in their order, as for `choose`.
        states: by key id; the caller changes it, and tells by `update`.
        policy: the strategy and its switches, without ``named`` and ``preferred``.
    """

    def __init__(
        self, keys: Sequence[ApiKey], states: Mapping[str, KeyState], policy: Policy
    ) -> None:
        self._keys = keys
        self._states = states
        self._policy = policy
        self._index = {key.key_id: number for number, key in enumerate(keys)}
        self._score = SCORE.get(policy.strategy)
        self._usable = [False] * len(keys)
        self._rank = [-1] * len(keys)
        self._due: list[tuple[float, int]] = []
        self._due_at = [-_NEVER] * len(keys)
        self._best = _Heap(len(keys))
        self._probes = _Heap(len(keys))
        self._returns = _Heap(len(keys))
        # Positions of usable keys by their rank, for the strategy that goes round.
        self._turns: tuple[list[int], list[int]] = ([], [])
        for number in range(len(keys)):
            heappush(self._due, (-_NEVER, number))

    def update(self, key_id: str) -> None:
        """A key's state is another one; it is looked at when the next key is picked."""
        number = self._index.get(key_id)
        if number is not None and self._due_at[number] != -_NEVER:
            self._due_at[number] = -_NEVER
            heappush(self._due, (-_NEVER, number))

    def usable(self, key_id: str, now: float) -> bool:
        """Whether a key can be used now."""
        number = self._index[key_id]
        if self._due_at[number] <= now:
            self._look(number, now)
        return self._usable[number]

    def pick(
        self, now: float, *, active: str | None = None, excluded: Collection[str] = ()
    ) -> Ranked:
        """The key that `choose` would pick among those that are not excluded.

        Args:
            now: seconds since the epoch, never less than before.
            active: the key id that was last swapped in, or had the last turn.
            excluded: key ids that are out of the question.
        """
        while self._due and self._due[0][0] <= now:
            at, number = heappop(self._due)
            if at == self._due_at[number]:
                self._look(number, now)
        without = {self._index[key_id] for key_id in excluded if key_id in self._index}
        first = self._first(active, without)
        if first is not None:
            return Ranked(self._keys[first])
        probe = self._probes.top(without)
        if probe is not None and self._probes.value(probe)[0] <= now:
            return Ranked(self._keys[probe], probe=True)
        back = self._returns.top(without)
        return Ranked(None, back_at=None if back is None else self._returns.value(back)[0])

    def _first(self, active: str | None, without: set[int]) -> int | None:
        standing = -1 if active is None else self._index.get(active, -1)
        if standing in without:
            standing = -1
        if self._policy.strategy == "sticky" and standing >= 0 and self._usable[standing]:
            return standing
        if self._score is not None:
            return self._best.top(without)
        return next(self._round(standing, without), None)

    def _round(self, standing: int, without: set[int]) -> Iterator[int]:
        for positions in self._turns:
            start = bisect_left(positions, standing + 1)
            for number in (*positions[start:], *positions[:start]):
                if number not in without:
                    yield number

    def _look(self, number: int, now: float) -> None:
        """Put a key where it belongs from now until its state or the time changes it."""
        key = self._keys[number]
        state = self._states.get(key.key_id, UNUSED)
        self._due_at[number] = due = settled_until(state, self._policy, now)
        if due < _NEVER:
            heappush(self._due, (due, number))
        view = View(self._states, self._policy, now, None)
        usable = not unusable(key, state, self._policy, now)
        self._usable[number] = usable
        self._best.put(number, self._score(key, view) if usable and self._score else None)
        if self._score is None:
            self._seat(number, view.rank(key) if usable else -1)
        hold = state.hold
        if usable or hold is None or self._bare(key, state, now):
            self._probes.put(number, None)
            self._returns.put(number, None)
            return
        probe = hold.active(now) and hold.probe_at is not None
        self._probes.put(number, (hold.probe_at or 0.0, key.label) if probe else None)
        self._returns.put(number, None if hold.until is None else (hold.until,))

    def _bare(self, key: ApiKey, state: KeyState, now: float) -> str:
        """Why it could not be used without its hold either."""
        return unusable(key, replace(state, hold=None), self._policy, now)

    def _seat(self, number: int, rank: int) -> None:
        before, self._rank[number] = self._rank[number], rank
        if rank == before:
            return
        if before >= 0:
            positions = self._turns[before]
            del positions[bisect_left(positions, number)]
        if rank >= 0:
            insort(self._turns[rank], number)


class _Heap:
    """Numbers by a value, smallest first; what is outdated goes when it comes to the top."""

    def __init__(self, size: int) -> None:
        self._heap: list[tuple[Any, int]] = []
        self._values: list[Score | None] = [None] * size

    def put(self, number: int, value: Score | None) -> None:
        """Set a number's value; None takes it out."""
        if value != self._values[number]:
            self._values[number] = value
            if value is not None:
                heappush(self._heap, (value, number))

    def value(self, number: int) -> Score:
        """The value of a number that is in."""
        return self._values[number] or ()

    def top(self, without: Collection[int]) -> int | None:
        """The number with the smallest value among those that count."""
        heap, aside = self._heap, []
        found = None
        while heap and found is None:
            value, number = heap[0]
            if value != self._values[number]:
                heappop(heap)
            elif number in without:
                aside.append(heappop(heap))
                # A value that came back is in the heap twice.
                while heap and heap[0] == aside[-1]:
                    heappop(heap)
            else:
                found = number
        for entry in aside:
            heappush(heap, entry)
        return found


def settled_until(state: KeyState, policy: Policy, now: float) -> float:
    """The earliest moment at which time alone may change what `choose` makes of a state."""
    moments = [
        window.resets_at
        for window in state.windows.values()
        if window.resets_at is not None and window.resets_at > now
    ]
    hold = state.hold
    if hold is not None:
        moments += [hold.since - _DAY_S]
        if hold.until is not None:
            moments.append(hold.until)
    if state.usage_at is not None:
        moments += [state.usage_at - _DAY_S]
        moments += [
            state.usage_at + WINDOW_S.get(name, WINDOW_S["month"]) for name in state.windows
        ]
        if policy.require_usage:
            moments.append(math.nextafter(state.usage_at + policy.usage_max_age_s, _NEVER))
    if sum(errors for _, _, errors in state.traffic) >= RATE_MIN_ERRORS:
        for minute, _, _ in state.traffic:
            moments += [minute * 60.0, (minute + 60) * 60.0]
    return min((moment for moment in moments if moment > now), default=_NEVER)
