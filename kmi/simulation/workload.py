"""The requests that clients send: made up from a seed, or as they were recorded (pure).

When requests come is fixed before any strategy runs, so that all see the same ones. A client's day
has sessions, a session has requests, and each request carries the whole context so far and adds to
it. The distributions are assumptions, chosen to look like a coding agent's; they are listed in
`docs/explanation/strategies.md`, and nobody's data is behind them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from kmi.usage.rows import UsageRow

#: How many of a day's sessions begin in each hour, from 0:00: two humps, and a quiet night.
HOURS = (1, 1, 0, 0, 0, 0, 1, 2, 6, 10, 12, 11, 7, 8, 12, 12, 10, 8, 5, 4, 4, 4, 3, 2)
#: Sessions that a client begins on a working day; at a weekend this share of them.
SESSIONS_A_DAY = 5.0
WEEKEND = 0.3
#: Requests in a session: lognormal, median and sigma.
LENGTH, LENGTH_SIGMA, LENGTH_MAX = 16.0, 0.9, 250
#: Tokens: the context of a session's first request, what each further one adds, and answers.
FIRST_TOKENS, FIRST_SIGMA = 20_000.0, 0.25
ADDED_TOKENS, ADDED_SIGMA = 900.0, 1.0
OUTPUT_TOKENS, OUTPUT_SIGMA = 220.0, 1.0
CONTEXT_MAX = 200_000
#: Between two requests: mostly a tool that ran, at times a person who thought.
TOOL_S, TOOL_SIGMA = 6.0, 0.6
PERSON_S, PERSON_SIGMA, PERSON_SHARE = 60.0, 1.1, 0.15
GAP_MAX_S = 3 * 3600.0
DAY_S = 86400.0


class Request(NamedTuple):
    """One request of a session.

    Attributes:
        at: when it comes, seconds since the epoch.
        session: its number.
        context: prompt tokens, all of them.
        output: tokens of the answer.
    """

    at: float
    session: int
    context: int
    output: int


def synthetic(clients: int, days: float, start: float, rng: random.Random) -> list[Request]:
    """Make up a workload, ordered by time.

    Args:
        clients: how many work at the same time.
        days: for how long; sessions that are not over by then are cut off.
        start: midnight of a Monday, seconds since the epoch.
        rng: where chance comes from.
    """
    end = start + days * DAY_S
    requests: list[Request] = []
    session = 0
    for _ in range(clients):
        for day in range(math.ceil(days)):
            mean = SESSIONS_A_DAY * (WEEKEND if day % 7 >= 5 else 1.0)
            for _ in range(_poisson(mean, rng)):
                hour = rng.choices(range(24), HOURS)[0]
                at = start + day * DAY_S + (hour + rng.random()) * 3600.0
                requests += _session(session, at, end, rng)
                session += 1
    requests.sort()
    return requests


def _session(number: int, at: float, end: float, rng: random.Random) -> list[Request]:
    length = min(LENGTH_MAX, 1 + int(rng.lognormvariate(math.log(LENGTH), LENGTH_SIGMA)))
    context = int(rng.lognormvariate(math.log(FIRST_TOKENS), FIRST_SIGMA))
    requests = []
    for _ in range(length):
        if at >= end:
            break
        output = 1 + int(rng.lognormvariate(math.log(OUTPUT_TOKENS), OUTPUT_SIGMA))
        requests.append(Request(at, number, context, output))
        added = int(rng.lognormvariate(math.log(ADDED_TOKENS), ADDED_SIGMA))
        context = min(CONTEXT_MAX, context + output + added)
        person = rng.random() < PERSON_SHARE
        median, sigma = (PERSON_S, PERSON_SIGMA) if person else (TOOL_S, TOOL_SIGMA)
        at += min(GAP_MAX_S, rng.lognormvariate(math.log(median), sigma))
    return requests


def _poisson(mean: float, rng: random.Random) -> int:
    """Knuth's product of uniforms; means are small here."""
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number += 1
        product *= rng.random()
    return number


def recorded(rows: Iterable[UsageRow]) -> list[Request]:
    """The workload that usage rows tell of, ordered by time."""
    numbers: dict[tuple[str, str], int] = {}
    return sorted(
        Request(
            row.time,
            numbers.setdefault((row.client, row.session), len(numbers)),
            row.input_other + row.cache_read + row.cache_creation,
            row.output,
        )
        for row in rows
    )
