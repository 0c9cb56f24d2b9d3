"""What a strategy makes of one key, by itself: the smallest score wins (pure).

That a score needs no other key, and changes only with the key's state or at a known time, is what
`ranking` lives by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.health import HEALTHY_ERRORS, error_rate, left, status_of, window_left
from kmi.model import KeyState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kmi.model import ApiKey
    from kmi.selection import Policy

#: How much is assumed to be left of a quota that is not known: neither full nor empty.
NEUTRAL_LEFT = 0.5
#: A session finds room where so much is left of five hours, and of longer windows. Found by
#: simulation: docs/explanation/strategies.md.
ROOM_5H = 0.5
ROOM_LONGER = 0.1

Score = tuple[Any, ...]


#: What is known of a key that was never used.
UNUSED = KeyState()


class Figures(NamedTuple):
    """What a key is judged by: 1 where it only stands in; the share left; the share of errors."""

    rank: int
    left: float
    errors: float


class View:
    """What the strategies look at, at one moment. Each key is looked at once.

    Args:
        states: by key id.
        policy: the strategy and its switches.
        now: seconds since the epoch.
        active: the key id that was last swapped in, or None.
    """

    def __init__(
        self, states: Mapping[str, KeyState], policy: Policy, now: float, active: str | None
    ) -> None:
        self.states = states
        self.policy = policy
        self.now = now
        self.active = active
        self._figures: dict[str, Figures] = {}

    def state(self, key: ApiKey) -> KeyState:
        """What is known of a key."""
        return self.states.get(key.key_id, UNUSED)

    def figures(self, key: ApiKey) -> Figures:
        """What it is judged by."""
        found = self._figures.get(key.key_id)
        if found is None:
            state = self.state(key)
            known = left(state, self.now)
            free = self.policy.include_warn or status_of(key, state, self.now).name != "warn"
            found = self._figures[key.key_id] = Figures(
                int(not free),
                NEUTRAL_LEFT if known is None else known,
                error_rate(state, self.now),
            )
        return found

    def left(self, key: ApiKey) -> float:
        """The share left of the tightest window, or `NEUTRAL_LEFT`."""
        return self.figures(key).left

    def rank(self, key: ApiKey) -> int:
        """0 for a key that may be picked freely, 1 for one that only stands in."""
        return self.figures(key).rank

    def merit(self, key: ApiKey) -> tuple[int, float, float]:
        """Smaller is better: status, share left, error rate."""
        rank, share, errors = self.figures(key)
        return rank, -round(share, 3), round(errors, 3)

    def last_used(self, key: ApiKey) -> float:
        """When it was picked last; 0.0 for never."""
        return self.state(key).last_used or 0.0

    def crowded(self, key: ApiKey) -> tuple[bool, bool, bool]:
        """Whether it fails often, has little left of five hours, has little left of others."""
        state = self.state(key)
        five = longer = False
        for name, window in state.windows.items():
            share = window_left(name, window, state.usage_at, self.now)
            if share is not None and name == "5h":
                five = round(share, 6) < ROOM_5H
            elif share is not None and round(share, 6) < ROOM_LONGER:
                longer = True
        return error_rate(state, self.now) >= HEALTHY_ERRORS, five, longer

    def soonest_reset(self, key: ApiKey) -> float | None:
        """When the first of its windows that still has quota is reset; None when not known."""
        return min(
            (
                window.resets_at
                for window in self.state(key).windows.values()
                if window.resets_at is not None and (window.left(self.now) or 0.0) > 0.0
            ),
            default=None,
        )


def by_quota(key: ApiKey, view: View) -> Score:
    """Most-remaining: status, share left, errors, priority, least recently used."""
    return (*view.merit(key), -key.priority, view.last_used(key), key.label)


def by_age(key: ApiKey, view: View) -> Score:
    """Least-recently-used; keys with status warn only stand in."""
    return view.rank(key), view.last_used(key), -key.priority, key.label


def by_reset(key: ApiKey, view: View) -> Score:
    """Soonest-reset: first the keys of which a reset is known."""
    at = view.soonest_reset(key)
    if at is None:
        return (view.rank(key), 1, *by_quota(key, view))
    return view.rank(key), 0, at, -key.priority, key.label


def by_room(key: ApiKey, view: View) -> Score:
    """Spread: room for a session first, then least recently used."""
    return (*view.crowded(key), view.last_used(key), -key.priority, key.label)


#: What a strategy makes of one key, for those that need no other to tell: the smallest wins.
SCORE: Mapping[str, Callable[[ApiKey, View], Score]] = {
    "sticky": by_quota,
    "most-remaining": by_quota,
    "least-recently-used": by_age,
    "soonest-reset": by_reset,
    "spread": by_room,
}
