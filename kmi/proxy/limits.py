"""Rates and concurrency (pure): ``now`` comes from the caller, monotonic seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Requests that wait for a slot or a rate; the next one is refused.
QUEUE_MAX = 512


class Rate:
    """At most ``most`` requests in any ``period_s``: the moments of the last ones are kept.

    A token bucket would let through nearly twice as many in the first period, and an upstream that
    allows three in a minute would refuse the fourth.
    """

    __slots__ = ("_moments", "_most", "_period_s")

    def __init__(self, most: int, period_s: float) -> None:
        self._most = most
        self._period_s = period_s
        self._moments: deque[float] = deque(maxlen=most)

    def wait_s(self, now: float) -> float:
        """How long until one more fits; 0.0: now."""
        if len(self._moments) < self._most:
            return 0.0
        return max(0.0, self._moments[0] + self._period_s - now)

    def take(self, now: float) -> None:
        """One more."""
        self._moments.append(now)


class Caps(NamedTuple):
    """The settings of ``KMI_PROXY_MAX_*``; 0: no limit."""

    rps: int = 0
    rpm: int = 0
    rps_per_key: int = 0
    rpm_per_key: int = 0
    concurrency_per_key: int = 0


class Limits:
    """What may be sent now, in all and per key.

    Attributes:
        busy: requests in flight by key id.
    """

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.busy: dict[str, int] = {}
        self._all = _rates(caps.rps, caps.rpm)
        self._keys: dict[str, list[Rate]] = {}
        self._own: Mapping[str, int] = {}
        self._rated = bool(caps.rps or caps.rpm or caps.rps_per_key or caps.rpm_per_key)

    def own_caps(self, by_key_id: Mapping[str, int]) -> None:
        """The keys that name a concurrency of their own (``KMI_KEY_MAX_CONCURRENCY``)."""
        self._own = by_key_id

    @property
    def capped(self) -> bool:
        """Whether anything is limited at all."""
        return self._rated or bool(self.caps.concurrency_per_key or self._own)

    def full_keys(self, now: float) -> set[str]:
        """The keys that have as many requests in flight as they may, or had as many lately."""
        found = {key_id for key_id in self.busy if self.full(key_id)}
        if self._rated:
            for key_id, rates in self._keys.items():
                if any(rate.wait_s(now) > 0.0 for rate in rates):
                    found.add(key_id)
        return found

    def full(self, key_id: str) -> bool:
        """Whether a key has as many requests in flight as it may."""
        cap = self._own.get(key_id) or self.caps.concurrency_per_key
        return bool(cap) and self.busy.get(key_id, 0) >= cap

    def wait_s(self, key_id: str, now: float) -> float:
        """How long a request on this key has to wait for the rates; 0.0: not at all."""
        if not self._rated:
            return 0.0
        return max((rate.wait_s(now) for rate in (*self._all, *self._of(key_id))), default=0.0)

    def wait_all_s(self, now: float) -> float:
        """How long the rates of all keys together make any request wait."""
        return max((rate.wait_s(now) for rate in self._all), default=0.0)

    def enter(self, key_id: str, now: float) -> None:
        """A request is sent on this key."""
        self.busy[key_id] = self.busy.get(key_id, 0) + 1
        if self._rated:
            for rate in (*self._all, *self._of(key_id)):
                rate.take(now)

    def leave(self, key_id: str) -> None:
        """It ended."""
        left = self.busy.get(key_id, 0) - 1
        if left > 0:
            self.busy[key_id] = left
        else:
            self.busy.pop(key_id, None)

    def _of(self, key_id: str) -> list[Rate]:
        rates = self._keys.get(key_id)
        if rates is None:
            if len(self._keys) > 10_000:
                self._keys.clear()  # keys come and go; their rates start anew
            rates = _rates(self.caps.rps_per_key, self.caps.rpm_per_key)
            self._keys[key_id] = rates
        return rates


def _rates(rps: int, rpm: int) -> list[Rate]:
    found = []
    if rps:
        found.append(Rate(rps, 1.0))
    if rpm:
        found.append(Rate(rpm, 60.0))
    return found
