"""No scheduler serves more, not even one that knows all requests beforehand (pure).

The bound is the optimum of a problem with fewer constraints than the real one, so it is at least
the real optimum. What is left of the constraints, with their proofs:

1. *What a request costs at least.* Its prompt can be cached only as far as the request before it in
   its session reached, and not when that one is longer ago than caches last. In a run of requests
   without such a gap the first one that is served finds nothing in the cache, whichever it is. So
   serving any m of the n requests of a run costs at least their warm costs and one premium, the
   smallest that any of them would pay; m/n of that premium is not more than all of it. Each
   request is charged its warm cost and the n-th part of the premium. (A run that reaches over a
   border between periods may pay its premium in one and be served in another: there no premium is
   charged.)
2. *What a period holds at most.* For each account: a window of five hours begins with a request,
   so not more than ``ceil(L / 5 h) + 1`` of them overlap a period of length L, and one less when
   nothing could be served before it; weeks and months
   come round at known times, and the sum over those that overlap, each with what it has left at
   the start, is not exceeded. The accounts' sums are added up, as if a request could be divided
   among all of them. Limits of rate and concurrency, and the order of time within a period, are
   dropped. A period is longer by what a request may wait.

The periods of one family are nested or apart. For such a family the sets of costs that fit are a
polymatroid, and the greedy choice by the smallest cost is optimal for the number of requests
(Edmonds 1970), the last one in parts. Any family gives a bound, and the smallest counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kmi.simulation.run import PATIENCE_S
from kmi.simulation.world import CACHE_S, SPAN_S, warm_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.simulation.run import Pool
    from kmi.simulation.workload import Request
    from kmi.simulation.world import Account

DAY_S = 86400.0
#: Days are cut at four in the morning, when the fewest sessions run.
CUTS_H = (4,)
#: With so few requests more often, and at the resets of so few accounts.
FEW_REQUESTS, FEW_ACCOUNTS = 50_000, 5
MORE_CUTS_H = (4, 8, 11, 14, 17, 20)


class Bound(NamedTuple):
    """What no strategy exceeds.

    Attributes:
        served: requests, at most.
        misses: requests that find nothing in a cache if all are served, at least.
    """

    served: float
    misses: int


class _Run(NamedTuple):
    """Requests of a session without a gap that outlasts caches, as numbers of requests."""

    members: list[int]
    warm: list[float]
    premium: float


def least_units(requests: Sequence[Request]) -> float:
    """What all requests cost at least."""
    return sum(sum(run.warm) + run.premium for run in _runs(requests))


def bound(pool: Pool, requests: Sequence[Request], start: float) -> Bound:
    """The clairvoyant bound of a pool and a workload."""
    runs = _runs(requests)
    if not requests:
        return Bound(0.0, 0)
    holds = _Holds(pool.opened(start))
    few = len(requests) <= FEW_REQUESTS
    edges = _edges(start, requests[-1].at, holds.accounts, MORE_CUTS_H if few else CUTS_H)
    served = float(len(requests))
    for periods in _families(edges, _crowded(requests, runs, edges, holds)):
        served = min(served, _greedy(requests, runs, periods, holds))
    return Bound(served, len(runs))


def _crowded(
    requests: Sequence[Request], runs: Sequence[_Run], edges: Sequence[float], holds: _Holds
) -> set[int]:
    """Cuts with which a period begins that may not hold all its requests."""
    cost = _costs(len(requests), runs)
    sums, at = [0.0], 0
    for until in edges[1:]:
        total = sums[-1]
        while at < len(requests) and requests[at].at < until:
            total += cost[at]
            at += 1
        sums.append(total)
    return {
        i
        for i in range(len(edges) - 1)
        for j in range(i + 1, len(edges))
        if sums[j] - sums[i] > holds(edges[i], edges[j])
    }


def _costs(size: int, runs: Sequence[_Run], inner: Sequence[int] | None = None) -> list[float]:
    """What each request is charged; premiums only within a period, if periods are given."""
    cost = [0.0] * size
    for run in runs:
        whole = inner is None or len({inner[number] for number in run.members}) == 1
        share = run.premium / len(run.members) if whole else 0.0
        for number, warm in zip(run.members, run.warm):
            cost[number] = warm + share
    return cost


def _runs(requests: Sequence[Request]) -> list[_Run]:
    """The requests by sessions, cut where a cache is lost for sure."""
    last: dict[int, tuple[Request, list[int]]] = {}
    groups: list[list[int]] = []
    for number, request in enumerate(requests):
        before = last.get(request.session)
        if before is None or request.at - before[0].at > CACHE_S + PATIENCE_S:
            group: list[int] = []
            groups.append(group)
        else:
            group = before[1]
        group.append(number)
        last[request.session] = (request, group)
    return [_run([requests[number] for number in group], group) for group in groups]


def _run(members: Sequence[Request], numbers: list[int]) -> _Run:
    """What its requests cost at least, and the premium that one of them pays."""
    reach = 0
    full = [warm_units(r.context, r.output, 0) for r in members]
    warm = []
    for request, cold in zip(members, full):
        warm.append(warm_units(request.context, request.output, reach) if reach else cold)
        reach = max(reach, request.context)
    first = members[0]
    extra = full[0] - warm_units(first.context, first.output, first.context)
    premium = min([extra, *(c - w for c, w in zip(full[1:], warm[1:]))])
    warm[0] -= premium
    return _Run(numbers, warm, premium)


#: A family: the periods, each with the number of the one that it lies in, the whole first.
_Periods = list[tuple[float, float, int]]


def _edges(
    start: float, end: float, accounts: Sequence[Account], hours: Sequence[int]
) -> list[float]:
    """The start, where periods are cut, and the end."""
    end = math.nextafter(end, math.inf)
    days = range(math.ceil((end - start) / DAY_S))
    cuts = {start + DAY_S * day + 3600.0 * hour for day in days for hour in hours}
    if len(accounts) <= FEW_ACCOUNTS:
        cuts |= {
            until
            for account in accounts
            for name in ("7d", "month")
            for _, _, until in _rounds(account, name, start, end)
        }
    return [start, *sorted(cut for cut in cuts if start < cut < end), end]


def _families(edges: Sequence[float], crowded: set[int]) -> list[_Periods]:
    """Families of periods that are nested or apart, as far as one of them may be too full."""
    if not crowded:
        return []
    whole = (edges[0], edges[-1])
    tails: _Periods = [(*whole, -1)]
    tails += [(cut, edges[-1], number) for number, cut in enumerate(edges[1:-1])]
    # A day is what is between two cuts, a week seven days.
    weeks: _Periods = [(*whole, -1)]
    for begin in range(0, len(edges) - 1, 7):
        piece = edges[begin : begin + 8]
        weeks.append((piece[0], piece[-1], 0))
        above = len(weeks) - 1
        weeks += [(one, other, above) for one, other in zip(piece, piece[1:])]
    return [*(_split(edges, middle) for middle in sorted(crowded | {0})), tails, weeks]


def _split(edges: Sequence[float], middle: int) -> _Periods:
    """All periods that begin at the start and end before a cut, and all that begin with it."""
    periods: _Periods = [(edges[0], edges[-1], -1)]
    for begin, ends in ((0, edges[1 : middle + 1]), (middle, edges[middle + 1 :])):
        above = 0
        for until in reversed(ends):
            if (edges[begin], until) != periods[0][:2]:
                periods.append((edges[begin], until, above))
                above = len(periods) - 1
    return periods


def _greedy(
    requests: Sequence[Request],
    runs: Sequence[_Run],
    periods: _Periods,
    holds: _Holds,
) -> float:
    """How many requests fit into the periods of one family, cheapest first."""
    left = [holds(begin, until) for begin, until, _ in periods]
    inner = _innermost([request.at for request in requests], periods)
    cost = _costs(len(requests), runs, inner)
    need = [0.0] * len(periods)
    for number, period in enumerate(inner):
        need[period] += cost[number]
    for period in range(len(periods) - 1, 0, -1):
        need[periods[period][2]] += need[period]
    if all(n <= most for n, most in zip(need, left)):
        return float(len(requests))
    # A period that holds all its requests holds any of them, and is left out.
    tight = {period for period in range(len(periods)) if need[period] > left[period]}
    ways = [
        [over for over in _way(period, periods) if over in tight] for period in range(len(periods))
    ]
    served = 0.0
    for number in sorted(range(len(cost)), key=cost.__getitem__):
        way = ways[inner[number]]
        units = cost[number]
        room = min((left[period] for period in way), default=units)
        if room <= 0.0 < units:
            continue
        served += min(1.0, room / units) if units > 0.0 else 1.0
        units = min(units, room)
        for period in way:
            left[period] -= units
    return served


def _innermost(times: Sequence[float], periods: _Periods) -> list[int]:
    """For each time, in order, the smallest period that it lies in."""
    edges = sorted({edge for begin, until, _ in periods for edge in (begin, until)})
    smallest = []
    for begin in edges[:-1]:
        around = [n for n, p in enumerate(periods) if p[0] <= begin < p[1]]
        smallest.append(min(around, key=lambda n: periods[n][1] - periods[n][0]))
    found, at = [], 0
    for time in times:
        while at < len(smallest) - 1 and time >= edges[at + 1]:
            at += 1
        found.append(smallest[at])
    return found


def _way(period: int, periods: _Periods) -> list[int]:
    """A period and all that it lies in."""
    way = []
    while period >= 0:
        way.append(period)
        period = periods[period][2]
    return way


class _Holds:
    """The units that all accounts can be charged within a period, at most."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = accounts
        self._known: dict[tuple[float, float], float] = {}

    def __call__(self, begin: float, until: float) -> float:
        """For a period, which is longer by what a request may wait."""
        found = self._known.get((begin, until))
        if found is None:
            found = sum(_most(account, begin, until + PATIENCE_S) for account in self.accounts)
            self._known[begin, until] = found
        return found


def _most(account: Account, begin: float, until: float) -> float:
    by_month = 0.0
    for left, start, end in _rounds(account, "month", begin, until):
        by_month += min(left, _weeks(account, start, end))
    return min(by_month, _weeks(account, begin, until), _fives(account, begin, until))


def _weeks(account: Account, begin: float, until: float) -> float:
    rounds = _rounds(account, "7d", begin, until)
    return sum(min(left, _fives(account, start, end)) for left, start, end in rounds)


def _fives(account: Account, begin: float, until: float) -> float:
    """What the windows of five hours hold that overlap a period, at most.

    One that began before it counts, unless the account could serve nothing before.
    """
    first = max(
        end if account.used[name] >= account.plan.units[name] else account.ends["5h"]
        for name, end in account.ends.items()
    )
    windows = math.ceil((until - max(begin, first)) / SPAN_S["5h"]) + int(begin > first)
    return max(0, windows) * account.plan.units["5h"]


def _rounds(
    account: Account, name: str, begin: float, until: float
) -> list[tuple[float, float, float]]:
    """The windows that overlap a period: what they hold, and the part that overlaps."""
    span, most = SPAN_S[name], account.plan.units[name]
    end = account.ends[name]
    left = most - account.used[name]
    rounds = []
    while end <= begin:
        end, left = end + span, most
    while True:
        rounds.append((left, max(begin, end - span), min(until, end)))
        if end >= until:
            return rounds
        end, left = end + span, most
