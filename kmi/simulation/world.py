"""The simulated upstream: accounts with quota windows and limits, and what it answers (pure).

A quota is counted in *units*: what an uncached prompt token costs. The plan's real metering is not
published; that a cached token costs a part of it, and a token of the answer some times as much, is
assumed from how prices per token are made. What does not fit into a window is refused, and costs
nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from kmi.model import Window

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

#: Units of a prompt token that the cache had, and of a token of the answer.
CACHED_UNITS = 0.2
OUTPUT_UNITS = 5.0
#: A prompt is cached for this account so long after the session's last request to it.
CACHE_S = 3600.0
#: An answer takes so long: to the first token, and then tokens a second.
FIRST_TOKEN_S = 1.5
TOKENS_A_S = 60.0

HOUR_S = 3600.0
#: The windows. Five hours begin with a request; the others come round at the account's own time.
SPAN_S: Mapping[str, float] = {"5h": 5 * HOUR_S, "7d": 168 * HOUR_S, "month": 30 * 24 * HOUR_S}
#: What a week and a month hold, counted in 5 h windows.
WEEK_OF_5H = 6.0
MONTH_OF_5H = 24.0

_WORDS = {
    "5h": "You've reached your usage limit for this period.",
    "7d": "You've reached your weekly (7-day) usage limit.",
    "month": "You've reached your Kimi monthly usage limit.",
}


class Plan(NamedTuple):
    """What an account may use.

    Attributes:
        units: by window.
        concurrency: requests at once.
        per_minute: requests in any calendar minute.
    """

    units: Mapping[str, float]
    concurrency: int = 30
    per_minute: int = 200

    @classmethod
    def of(cls, five_hours: float) -> Plan:
        """A plan by the units of its 5 h window."""
        week, month = five_hours * WEEK_OF_5H, five_hours * MONTH_OF_5H
        return cls({"5h": five_hours, "7d": week, "month": month})


class Refusal(NamedTuple):
    """An answer that is none: what the upstream says instead."""

    status: int
    body: str


def warm_units(context: int, output: int, cached: int) -> float:
    """What a request costs of which so many prompt tokens are in the cache."""
    cached = min(cached, context)
    return context - cached + CACHED_UNITS * cached + OUTPUT_UNITS * output


def duration_s(output: int) -> float:
    """How long an answer takes."""
    return FIRST_TOKEN_S + output / TOKENS_A_S


class Account:
    """One membership: its windows, its limits, and what was wasted.

    Attributes:
        used: units by window.
        ends: when each window is reset; the 5 h window's is past while none runs.
        wasted: units that were unused when a window ended, by window.
        offered: units of the windows that ended.
    """

    __slots__ = (
        "_flying",
        "_minute",
        "_minute_count",
        "ends",
        "name",
        "offered",
        "plan",
        "used",
        "wasted",
    )

    def __init__(self, name: str, plan: Plan, start: float, rng: random.Random | None) -> None:
        self.name = name
        self.plan = plan
        self.used = dict.fromkeys(SPAN_S, 0.0)
        self.ends = {"5h": start, "7d": start + SPAN_S["7d"], "month": start + SPAN_S["month"]}
        self.wasted = dict.fromkeys(SPAN_S, 0.0)
        self.offered = dict.fromkeys(SPAN_S, 0.0)
        self._flying: list[float] = []
        self._minute = -1
        self._minute_count = 0
        if rng is not None:
            self._begin_midway(start, rng)

    def _begin_midway(self, start: float, rng: random.Random) -> None:
        """Somewhere in its week and month, used about as far as these are over."""
        for name in ("7d", "month"):
            gone = rng.random()
            self.ends[name] = start + (1.0 - gone) * SPAN_S[name]
            share = min(1.0, max(0.0, gone + rng.uniform(-0.25, 0.25)))
            self.used[name] = share * self.plan.units[name]

    def turn(self, now: float) -> None:
        """Reset the windows that are over."""
        for name, end in self.ends.items():
            if end > now:
                continue
            if name == "5h":
                if self.used[name]:
                    self._waste(name)
                continue
            while self.ends[name] <= now:
                self.ends[name] += SPAN_S[name]
                self._waste(name)

    def _waste(self, name: str) -> None:
        units = self.plan.units[name]
        self.wasted[name] += units - self.used[name]
        self.offered[name] += units
        self.used[name] = 0.0

    def ask(self, now: float, units: float, lasts_s: float) -> Refusal | None:
        """Send a request; None when it is served."""
        ends = self.ends
        if ends["5h"] <= now or ends["7d"] <= now or ends["month"] <= now:
            self.turn(now)
        flying = self._flying
        while flying and flying[0] <= now:
            heappop(flying)
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._minute_count = minute, 0
        self._minute_count += 1
        if len(flying) >= self.plan.concurrency:
            return self._limit("max organization concurrency", self.plan.concurrency, 2)
        if self._minute_count > self.plan.per_minute:
            return self._limit("max RPM", self.plan.per_minute, 60 - int(now % 60))
        used = self.used
        for name, most in self.plan.units.items():
            if used[name] + units > most:
                return _quota(name)
        if ends["5h"] <= now:
            ends["5h"] = now + SPAN_S["5h"]
        for name in used:
            used[name] += units
        heappush(flying, now + lasts_s)
        return None

    def _limit(self, what: str, most: int, after_s: int) -> Refusal:
        text = (
            f"Your account org-{self.name} request reached {what}: {most}, "
            f"please try again after {after_s} seconds"
        )
        return Refusal(429, _body(text, "rate_limit_reached_error"))

    def windows(self, now: float) -> dict[str, Window]:
        """What `/usages` says."""
        self.turn(now)
        units = self.plan.units
        readings = {}
        for name, used in self.used.items():
            end = self.ends[name]
            readings[name] = Window(used / units[name], end if end > now else None)
        return readings


def _quota(name: str) -> Refusal:
    return Refusal(403, _body(_WORDS[name], "access_terminated_error"))


def _body(message: str, kind: str) -> str:
    return f'{{"error": {{"message": "{message}", "type": "{kind}"}}}}'
