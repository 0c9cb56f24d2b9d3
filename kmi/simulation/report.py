"""Strategies beside one another, and beside the bound that none exceeds (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.simulation.bound import bound, least_units
from kmi.simulation.run import Simulation, make_pool
from kmi.simulation.workload import DAY_S
from kmi.simulation.world import SPAN_S, Plan

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from kmi.simulation.bound import Bound
    from kmi.simulation.run import Outcome, Pool
    from kmi.simulation.workload import Request
    from kmi.wording import Words

#: Units of a 5 h window: about 600 requests of the synthetic workload, the middle of the 300 to
#: 1,200 that users report (upstream.md).
FIVE_HOURS_UNITS = 10_000_000.0
#: Clients for each key, where nobody says: about four fifths of what the keys hold.
CLIENTS_A_KEY = 4
#: The synthetic workload begins on Monday, 2027-01-18 0:00 UTC.
MONDAY = 1_800_230_400.0


class Report(NamedTuple):
    """What was simulated, and what came of it.

    Attributes:
        requests: how many there were.
        sessions: in how many sessions.
        load: what they cost at least, as a share of what the weeks of all accounts hold.
        bound: what no strategy exceeds.
        outcomes: by strategy.
    """

    keys: int
    accounts: int
    requests: int
    sessions: int
    days: float
    load: float
    bound: Bound
    outcomes: dict[str, Outcome]


def prepare(
    keys: int,
    requests: Sequence[Request],
    start: float,
    *,
    seed: int,
    load: float | None,
    chance: Callable[[int], random.Random],
) -> tuple[Pool, float]:
    """A pool of keys for a workload, and its load.

    Args:
        keys: how many.
        requests: the workload, ordered by time.
        start: when it begins.
        seed: for what the accounts have used before.
        load: what the plan is made for; None: the plan that is known, whatever the load then is.
        chance: what makes a generator of a seed.
    """
    pool = make_pool(keys, Plan.of(FIVE_HOURS_UNITS), seed, chance)
    units = least_units(requests)
    weeks = max(requests[-1].at - start, DAY_S) / SPAN_S["7d"] if requests else 1.0
    found = units / (weeks * pool.accounts * pool.plan.units["7d"])
    if load is None or not units:
        return pool, found
    return pool._replace(plan=Plan.of(FIVE_HOURS_UNITS * found / load)), load


def compare(
    pool: Pool,
    requests: Sequence[Request],
    strategies: Sequence[str],
    start: float,
    load: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Run every strategy on the same requests.

    Args:
        pool: the keys.
        requests: the workload, ordered by time.
        strategies: their names.
        start: when it begins.
        load: see `prepare`.
        progress: is told requests that were sent, of all.
    """
    total = len(strategies) * len(requests)
    outcomes = {}
    for number, strategy in enumerate(strategies):
        before = number * len(requests)

        def told(done: int, before: int = before) -> None:
            progress(before + done, total)

        outcomes[strategy] = Simulation(pool, strategy, start).run(requests, told)
    progress(total, total)
    return Report(
        len(pool.keys),
        pool.accounts,
        len(requests),
        len({request.session for request in requests}),
        (requests[-1].at - start) / DAY_S if requests else 0.0,
        load,
        bound(pool, requests, start),
        outcomes,
    )


def of_bound(report: Report, outcome: Outcome) -> float:
    """The share of the bound that a strategy served."""
    return outcome.served / report.bound.served if report.bound.served else 1.0


def misses_ratio(report: Report, outcome: Outcome) -> float:
    """How many times the misses that nobody avoids."""
    return outcome.misses / report.bound.misses if report.bound.misses else 1.0


def document(report: Report) -> dict[str, Any]:
    """For programs. Shares and ratios are rounded to four digits."""
    return {
        "keys": report.keys,
        "accounts": report.accounts,
        "requests": report.requests,
        "sessions": report.sessions,
        "days": round(report.days, 4),
        "load": round(report.load, 4),
        "bound": {"served": round(report.bound.served, 1), "misses": report.bound.misses},
        "strategies": {
            name: {
                "served": outcome.served,
                "refused": outcome.refused,
                "of_bound": round(of_bound(report, outcome), 4),
                "misses": outcome.misses,
                "misses_ratio": round(misses_ratio(report, outcome), 4),
                "switches": outcome.switches,
                "errors": outcome.errors,
                "wasted": round(outcome.wasted, 4),
                "waited_s": round(outcome.waited_s, 1),
                "tokens": outcome.tokens,
            }
            for name, outcome in report.outcomes.items()
        },
    }


def rows(report: Report) -> list[list[str]]:
    """The table for people, the bound at its end."""
    found = [
        [
            name,
            f"{outcome.served:,}",
            f"{of_bound(report, outcome):.1%}",
            f"{outcome.refused:,}",
            f"{outcome.misses:,}",
            f"{misses_ratio(report, outcome):.2f}",
            f"{outcome.switches:,}",
            f"{outcome.errors:,}",
            f"{outcome.wasted:.1%}",
        ]
        for name, outcome in report.outcomes.items()
    ]
    least = report.requests - report.bound.served
    last = ["", f"{report.bound.served:,.0f}", "100.0%", f"{least:,.0f}"]
    return [*found, [*last, f"{report.bound.misses:,}", "1.00", "", "", ""]]


def header(words: Words) -> list[str]:
    """The titles of the table."""
    names = (
        *("simulate.strategy", "simulate.served", "simulate.of-bound", "simulate.refused"),
        *("simulate.misses", "simulate.ratio", "simulate.switches", "simulate.errors"),
        "simulate.wasted",
    )
    return [words(name) for name in names]
