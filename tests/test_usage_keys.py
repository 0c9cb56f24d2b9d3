"""Who paid for a call, from what runs, hooks, swaps and the proxy tell: tables of each rule."""

from __future__ import annotations

import pytest

from kmi.usage.keys import (
    CLOSE_S,
    EARLY_S,
    LATE_S,
    NOBODY,
    QUIET_S,
    Paid,
    Request,
    Run,
    Session,
    Spell,
    by_cost,
    matched,
    payer,
    spells,
)
from kmi.usage.rows import BY_TIME, EXACT
from tests.conftest import CLI, CODE

ALWAYS = float("inf")
PINNED = Spell(100.0, "pinned", "pin", 200.0)
CONFIG = Spell(100.0, "config", "first", 0.0)
FOLLOWS = Spell(100.0, "follows", "first", 0.0)
PROXY = Spell(100.0, "proxy", "first", 0.0)
SWAPS = [(50.0, "old"), (150.0, "new")]
OWN = Paid("own", EXACT)


@pytest.mark.parametrize(
    "client, at, found, swaps, own, paid",
    [
        # Nothing tells of the session: the config's key at that time, if that is known.
        (CLI, 100.0, [], SWAPS, None, Paid("old", BY_TIME)),
        (CODE, 150.0, [], SWAPS, None, Paid("new", BY_TIME)),
        (CLI, 49.0, [], SWAPS, None, NOBODY),
        (CODE, 49.0, [], SWAPS, OWN, OWN),
        # A pinned key is exact up to where the session was silent, and beats a model's own key.
        (CLI, 200.0, [PINNED], SWAPS, None, Paid("pin", EXACT)),
        (CODE, 201.0, [PINNED], SWAPS, OWN, Paid("pin", BY_TIME)),
        (CLI, 99.0, [PINNED], SWAPS, None, Paid("old", BY_TIME)),
        # Behind the proxy only its trace knows.
        (CLI, 160.0, [PROXY], SWAPS, None, NOBODY),
        (CODE, 160.0, [PINNED, PROXY], SWAPS, OWN, NOBODY),
        # kimi-cli reads its config once, Kimi Code again and again.
        (CLI, 160.0, [CONFIG], SWAPS, None, Paid("first", BY_TIME)),
        (CLI, 160.0, [CONFIG._replace(key="")], SWAPS, None, NOBODY),
        (CLI, 160.0, [CONFIG], SWAPS, OWN, OWN),
        (CODE, 160.0, [CONFIG], SWAPS, None, Paid("new", BY_TIME)),
        # One that follows has the key of the last swap; before the first, that of its beginning.
        (CLI, 160.0, [FOLLOWS], SWAPS, None, Paid("new", BY_TIME)),
        (CLI, 160.0, [FOLLOWS], [], None, Paid("first", BY_TIME)),
        (CLI, 160.0, [FOLLOWS._replace(key="")], [], None, NOBODY),
        # The last spell that had begun counts.
        (CLI, 160.0, [CONFIG, PINNED._replace(since=155.0)], SWAPS, None, Paid("pin", EXACT)),
        (CLI, 160.0, [CONFIG, PINNED._replace(since=165.0)], SWAPS, None, Paid("first", BY_TIME)),
    ],
)
def test_who_paid(
    client: str,
    at: float,
    found: list[Spell],
    swaps: list[tuple[float, str]],
    own: Paid | None,
    paid: Paid,
) -> None:
    assert payer(client, at, found, swaps, own) == paid


def session(
    number: int, born: float, times: list[float], runs: frozenset[str] = frozenset()
) -> Session:
    return Session(number, born, runs, times, [])


def test_a_resumed_session_is_the_one_that_was_used_last() -> None:
    begun = [Run("r1", 0.0, "pinned", "a"), Run("r2", 10.0, "pinned", "a")]
    old, later = session(1, 1.0, [2.0, 103.0]), session(2, 11.0, [12.0, 104.0])
    again = Run("r3", 100.0, "pinned", "b")
    found = spells([*begun, again], [old, later])
    assert [(spell.since, spell.key) for spell in found[1]] == [(1.0, "a")]
    assert [(spell.since, spell.key, spell.until) for spell in found[2]] == [
        (11.0, "a", 104.0),
        (100.0, "b", 0.0),  # it may have been the other one
    ]
    # The other way round in the list, and of two that were, the last is meant all the same.
    assert spells([*begun, again], [later, old]) == found


def test_a_resumed_session_that_names_the_run_is_that() -> None:
    begun = [Run("r1", 0.0, "pinned", "a"), Run("r2", 10.0, "pinned", "a")]
    old = session(1, 1.0, [2.0, 103.0], frozenset({"r3"}))
    later = session(2, 11.0, [12.0, 104.0])
    found = spells([*begun, Run("r3", 100.0, "pinned", "b")], [later, old])
    assert found[1][-1] == Spell(100.0, "pinned", "b", 103.0)
    assert [spell.key for spell in found[2]] == ["a"]


def test_a_pinned_session_is_sure_until_it_was_silent_for_long() -> None:
    times = [1.0, 1.0 + QUIET_S, 2.5 + 2 * QUIET_S]
    found = spells([Run("r", 0.0, "pinned", "a")], [session(1, 0.5, times)])
    assert found == {1: [Spell(0.5, "pinned", "a", 1.0 + QUIET_S)]}


def request(uid: int, ended: float, name: str = "s1", cost: int = 5) -> Request:
    return Request(uid, ended - 3.0, ended, name, f"key-{uid}", (cost, 0, 0))


@pytest.mark.parametrize(
    "name, seen, uid",
    [
        ("s1", [request(1, 1000.0)], 1),
        ("s1", [request(1, 1000.0 - LATE_S)], 1),
        ("s1", [request(1, 1000.0 - LATE_S - 0.1)], None),
        ("s1", [request(1, 1000.0 + EARLY_S)], 1),
        ("s1", [request(1, 1000.0 + EARLY_S + 0.1)], None),
        ("s1", [request(1, 990.0), request(2, 1000.5), request(3, 1002.0)], 2),
        ("s1", [request(1, 1000.5), request(2, 998.0)], 1),
        ("s1", [request(1, 1000.0, "s2")], None),
        ("s1", [request(1, 1000.0, "s2"), request(2, 990.0)], 2),
        ("s1", [request(1, 1000.0, cost=6)], None),
        # Of any session, only what is close.
        (None, [request(1, 1000.0 + CLOSE_S, "s2")], 1),
        (None, [request(1, 1000.0 - CLOSE_S - 0.1, "s2")], None),
    ],
)
def test_the_request_of_a_call(name: str | None, seen: list[Request], uid: int | None) -> None:
    waiting = by_cost(seen)
    found = matched([(7, 1000.0, (5, 0, 0))], name, waiting)
    assert {call: request.uid for call, request in found.items()} == (
        {} if uid is None else {7: uid}
    )
    left = sorted(item[1] for same in waiting.values() for item in same)
    assert left == sorted(request.uid for request in seen if request.uid != uid)


def test_each_request_is_one_call() -> None:
    waiting = by_cost([request(1, 1000.0)])
    calls = [(7, 1000.0, (5, 0, 0)), (8, 1000.1, (5, 0, 0))]
    assert [*matched(calls, "s1", waiting)] == [7]
