"""The simulation: the same from the same seed, true to the product, and never above its bound."""

from __future__ import annotations

import itertools
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.proxy.picker import Picker
from kmi.proxy.view import View
from kmi.ranking import Ranked
from kmi.selection import Policy, choose
from kmi.settings import STRATEGIES
from kmi.simulation.bound import bound, least_units
from kmi.simulation.report import MONDAY, prepare
from kmi.simulation.run import Pool, Simulation, make_pool
from kmi.simulation.workload import DAY_S, Request, recorded, synthetic
from kmi.simulation.world import CACHE_S, SPAN_S, Account, Plan, Refusal, duration_s, warm_units
from kmi.usage.rows import UsageRow
from kmi.verdicts import classify
from tests.test_health_command import check_golden

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from kmi.model import ApiKey, KeyState
    from tests.conftest import World

SMALL = ("simulate", "--keys", "2", "--clients", "3", "--days", "2", "--load", "6")


def workload(clients: int, days: float, seed: int = 1) -> list[Request]:
    return synthetic(clients, days, MONDAY, random.Random(seed))


def pool_for(keys: int, requests: Sequence[Request], load: float | None, seed: int = 1) -> Pool:
    return prepare(keys, requests, MONDAY, seed=seed, load=load, chance=random.Random)[0]


# The command.


def test_the_document(world: World) -> None:
    before = sorted(str(path) for path in world.root.rglob("*"))
    document = world.document(*SMALL)
    assert sorted(str(path) for path in world.root.rglob("*")) == before, "it wrote something"
    check_golden(world, "simulate", document)
    assert set(document["strategies"]) == set(STRATEGIES)
    assert world.document(*SMALL) == document
    other = world.document(*SMALL, "--seed", "2", "--strategy", "sticky")
    assert list(other["strategies"]) == ["sticky"]
    assert other["requests"] != document["requests"]


def test_the_table(world: World) -> None:
    done = world.kmi(*SMALL, "--strategy", "spread", "--strategy", "sticky")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("keys: 2, accounts: 2, sessions: ")
    assert [line.split()[0] for line in lines[2:]] == ["strategy", "spread", "sticky", "(bound)"]
    assert len({len(line.rstrip()) for line in lines[3:5]}) == 1, "figures stand below one another"
    russian = world.kmi(*SMALL, "--strategy", "sticky", env={"KMI_LOCALE": "ru"})
    assert "ключей: 2" in russian.stdout


def test_a_workload_from_a_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = {"session": "s", "input_other": 900, "output": 10, "cache_read": 0, "cache_creation": 100}
    rows = [{**row, "time": MONDAY + 60.0 * number} for number in range(3)]
    late = {**row, "session": "t", "time": MONDAY + 3 * DAY_S}
    file.write_text("".join(json.dumps(r) + "\n" for r in [*rows, late]))
    words = ("simulate", "--workload", str(file), "--strategy", "spread")
    found = world.document(*words)
    assert (found["requests"], found["sessions"]) == (4, 2)
    assert found["strategies"]["spread"]["tokens"] == 4 * 1010
    assert world.document(*words, "--days", "1")["requests"] == 1
    file.write_text(json.dumps(rows[0]) + '\n\n{"time": "x", "session": "s"}\n')
    bad = world.kmi(*words)
    assert bad.returncode == 1
    assert f"{file}:3: this is no usage row" in bad.stderr
    for line in ("[" * 100_000, json.dumps({**row, "time": 10**400})):
        file.write_text(line)
        bad = world.kmi(*words)
        assert bad.returncode == 1
        assert f"{file}:1: this is no usage row" in bad.stderr
    file.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in world.kmi(*words).stderr


def test_a_workload_that_was_recorded(world: World) -> None:
    assert "no usage is recorded yet" in world.kmi("simulate", "--recorded").stderr
    assert world.kmi("usage").returncode == 0
    done = world.kmi("simulate", "--recorded")
    assert done.returncode == 1
    assert "there is no request to simulate (`kmi usage` records them)" in done.stderr
    path = world.state / "usage.db"
    path.write_bytes(b"no database" * 1000)
    done = world.kmi("simulate", "--recorded")
    assert done.returncode == 1
    assert f"{path} can't be read: " in done.stderr
    assert "(`kmi usage` makes it anew)" in done.stderr
    assert world.kmi("usage").returncode == 0
    assert "there is no request" in world.kmi("simulate", "--recorded").stderr


@pytest.mark.parametrize(
    "words, code, said",
    [
        ("--keys 0", 2, "--keys 0 is out of range (from 1 to 100,000)"),
        ("--days 400", 2, "out of range"),
        ("--keys 10000", 2, "40000 clients make too many requests in 14 days"),
        ("--keys x", 2, "a whole number is needed"),
        ("--load 0", 2, "from 0.05 to 20"),
        ("--strategy no", 2, "invalid choice"),
        ("--recorded --clients 2", 2, "--clients is for the synthetic workload"),
        ("--workload /nowhere", 1, "/nowhere"),
    ],
)
def test_what_it_can_not_take(world: World, words: str, code: int, said: str) -> None:
    done = world.kmi("simulate", *words.split())
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


# The workload.


def test_a_workload_is_in_order_and_within_its_days() -> None:
    requests = workload(5, 3)
    assert requests == sorted(requests)
    assert all(MONDAY <= request.at < MONDAY + 3 * DAY_S for request in requests)
    by_session: dict[int, list[Request]] = {}
    for request in requests:
        by_session.setdefault(request.session, []).append(request)
    for session in by_session.values():
        contexts = [request.context for request in session]
        assert contexts == sorted(contexts), "a context only grows"
    assert workload(5, 3) == requests
    assert workload(5, 3, seed=2) != requests
    morning = workload(5, 0.4)
    assert morning[-1].at < MONDAY + 0.4 * DAY_S, "what is not over by then is cut off"


def test_recorded_rows_keep_their_sessions() -> None:
    rows = [
        UsageRow(9.0, "kimi-code", "a", "", None, 1, 5, 20, 300),
        UsageRow(8.0, "kimi-cli", "a", "", None, 7, 6, 0, 0),
        UsageRow(7.0, "kimi-code", "a", "", None, 2, 4, 0, 0),
    ]
    found = recorded(rows)
    assert [(r.at, r.context, r.output) for r in found] == [(7.0, 2, 4), (8.0, 7, 6), (9.0, 321, 5)]
    assert found[0].session == found[2].session != found[1].session


# The world.


def account(five: float, start: float = MONDAY) -> Account:
    return Account("0a", Plan.of(five), start, None)


def verdict_of(refusal: Refusal | None) -> str:
    assert refusal is not None
    return classify(refusal.status, refusal.body).name


def test_windows_begin_with_a_request_and_are_reset() -> None:
    a = account(100.0)
    assert a.windows(MONDAY)["5h"].resets_at is None
    assert a.ask(MONDAY + 60.0, 60.0, 1.0) is None
    assert a.windows(MONDAY + 60.0)["5h"] == (0.6, MONDAY + 60.0 + SPAN_S["5h"])
    refusal = a.ask(MONDAY + 120.0, 41.0, 1.0)
    assert verdict_of(refusal) == "quota-5h"
    assert a.ask(MONDAY + 120.0, 40.0, 1.0) is None, "what is refused costs nothing"
    assert a.ask(MONDAY + 60.0 + SPAN_S["5h"], 100.0, 1.0) is None
    assert a.used["7d"] == 200.0


def test_every_refusal_is_read_as_what_it_is() -> None:
    a = account(100.0)
    a.used["7d"] = 590.0
    assert verdict_of(a.ask(MONDAY, 11.0, 1.0)) == "quota-7d"
    a.used.update({"7d": 0.0, "month": 2395.0})
    assert verdict_of(a.ask(MONDAY, 11.0, 1.0)) == "quota-month"
    crowd = account(1e9)
    refusals = [crowd.ask(MONDAY + 600.0, 1.0, 60.0) for _ in range(31)]
    assert [r for r in refusals if r is not None] == [refusals[-1]]
    assert verdict_of(refusals[-1]) == "rate-org"
    quick = account(1e9)
    refusals = [quick.ask(MONDAY + 600.0 + 0.1 * n, 1.0, 0.01) for n in range(201)]
    assert refusals[199] is None
    assert verdict_of(refusals[200]) == "rate-org"
    assert quick.ask(MONDAY + 660.0, 1.0, 0.01) is None, "the next minute is another one"


def test_what_a_week_leaves_is_wasted() -> None:
    a = account(100.0)
    a.ask(MONDAY, 60.0, 1.0)
    a.turn(MONDAY + SPAN_S["7d"])
    assert (a.wasted["7d"], a.offered["7d"], a.used["7d"]) == (540.0, 600.0, 0.0)
    a.turn(MONDAY + 3 * SPAN_S["7d"])
    assert a.wasted["7d"] == 540.0 + 1200.0


# A strategy.


class Slowly:
    """`Ranking` as it would be if it asked `choose` each time."""

    def __init__(
        self, keys: Sequence[ApiKey], states: Mapping[str, KeyState], policy: Policy
    ) -> None:
        self._keys, self._states, self._policy = keys, states, policy

    def update(self, key_id: str) -> None:
        """Nothing is remembered."""

    def usable(self, key_id: str, now: float) -> bool:
        """The key alone, named by no strategy."""
        alone = [key for key in self._keys if key.key_id == key_id]
        decision = choose(alone, self._states, self._policy, now=now)
        return decision.key is not None and decision.code != "probe"

    def pick(
        self, now: float, *, active: str | None = None, excluded: Collection[str] = ()
    ) -> Ranked:
        """What `choose` says."""
        keys = [key for key in self._keys if key.key_id not in excluded]
        decision = choose(keys, self._states, self._policy, now=now, active=active)
        return Ranked(decision.key, decision.code == "probe", decision.back_at)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_picks_as_choose_does(strategy: str) -> None:
    requests = workload(8, 1.0)
    pool = pool_for(6, requests, 5.0)
    quick = Simulation(pool, strategy, MONDAY).run(requests)
    rank: Any = Slowly
    assert Simulation(pool, strategy, MONDAY, rank).run(requests) == quick
    assert quick.served + quick.refused == len(requests)
    assert quick.refused > 0, "nothing was scarce, so nothing was tried"
    assert quick.errors > 0


def test_a_cache_is_lost_by_a_switch_and_by_time() -> None:
    at = [0.0, 10.0, 20.0, 20.0 + CACHE_S, 21.0 + 2 * CACHE_S]
    requests = [Request(MONDAY + t, 0, 1000, 10) for t in at]
    pool = make_pool(1, Plan.of(1e9), 1, random.Random)
    outcome = Simulation(pool, "sticky", MONDAY).run(requests)
    assert (outcome.served, outcome.misses, outcome.switches) == (5, 2, 0)
    warm, cold = warm_units(1000, 10, 1000), warm_units(1000, 10, 0)
    assert outcome.units == pytest.approx(3 * warm + 2 * cold)


def test_a_request_waits_for_a_key_that_is_back_soon() -> None:
    requests = [Request(MONDAY + 600.0, session, 1000, 10) for session in range(31)]
    pool = make_pool(1, Plan.of(1e9), 1, random.Random)
    outcome = Simulation(pool, "spread", MONDAY).run(requests)
    assert (outcome.served, outcome.refused, outcome.errors) == (31, 0, 1)
    assert outcome.waited_s == 2.0


# The bound.


def best(pool: Pool, requests: Sequence[Request]) -> int:
    """The most requests that can be served, by trying every way to serve them."""
    most = 0
    for way in itertools.product(range(-1, pool.accounts), repeat=len(requests)):
        accounts = pool.opened(MONDAY)
        last: dict[int, tuple[int, Request]] = {}
        served = 0
        for request, number in zip(requests, way):
            if number < 0:
                continue
            before = last.get(request.session)
            warm = (
                before is not None and before[0] == number and request.at - before[1].at <= CACHE_S
            )
            cached = before[1].context if warm and before is not None else 0
            units = warm_units(request.context, request.output, cached)
            if accounts[number].ask(request.at, units, duration_s(request.output)) is None:
                served += 1
                last[request.session] = (number, request)
        most = max(most, served)
    return most


few_requests = st.lists(
    st.builds(
        Request,
        st.sampled_from([0.0, 60.0, 3000.0, 4 * 3600.0, 6 * 3600.0, 20 * 3600.0, 30 * 3600.0]).map(
            lambda after: MONDAY + after
        ),
        st.integers(0, 2),
        st.integers(100, 1000),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=5,
).map(sorted)


@settings(max_examples=40)
@given(requests=few_requests, five=st.floats(150.0, 2500.0), seed=st.integers(0, 5))
def test_nobody_exceeds_the_bound(requests: list[Request], five: float, seed: int) -> None:
    pool = make_pool(2, Plan.of(five), seed, random.Random)
    limit = bound(pool, requests, MONDAY)
    assert best(pool, requests) <= limit.served + 1e-6
    for strategy in ("sticky", "spread"):
        outcome = Simulation(pool, strategy, MONDAY).run(requests)
        assert outcome.served <= limit.served + 1e-6
        assert outcome.units >= 0.0


def test_the_bound_is_not_just_everything() -> None:
    requests = workload(6, 2.0)
    pool = pool_for(2, requests, 3.0)
    limit = bound(pool, requests, MONDAY)
    outcome = Simulation(pool, "spread", MONDAY).run(requests)
    assert outcome.served < limit.served < 0.9 * len(requests)
    assert bound(pool_for(12, requests, 3.0), requests, MONDAY).served < len(requests)
    generous = bound(pool_for(2, requests, 0.1), requests, MONDAY)
    assert generous.served == len(requests)
    assert generous.misses >= len({request.session for request in requests})
    assert least_units(requests) <= sum(warm_units(r.context, r.output, 0) for r in requests)


@pytest.mark.parametrize(
    "keys, count, most",
    [(1, 20, 20.0), (1, 30, 20.0), (1, 300, 20.0), (2, 30, 30.0), (2, 50, 40.0)],
)
def test_a_burst_meets_two_windows_of_each_account_at_most(
    keys: int, count: int, most: float
) -> None:
    """Ten requests fill a window; the burst is short, and a window may end within it."""
    begin = MONDAY + 3 * DAY_S + 10 * 3600.0
    burst = [Request(begin + number, number, 100, 0) for number in range(count)]
    pool = make_pool(keys, Plan.of(1000.0), 0, random.Random)
    assert bound(pool, burst, MONDAY) == (most, count)


def test_nothing_to_serve() -> None:
    pool = make_pool(2, Plan.of(1.0), 1, random.Random)
    assert bound(pool, [], MONDAY) == (0.0, 0)
    assert Simulation(pool, "spread", MONDAY).run([]).served == 0


class Beside(Simulation):
    """A simulation that asks the proxy's own `Picker` before each pick, and compares."""

    def __init__(self, pool: Pool, strategy: str) -> None:
        super().__init__(pool, strategy, MONDAY)
        view = View(pool.keys, {}, None, Policy(strategy=strategy), may_change=True)
        self.picker = Picker(view, cooldown_s=300.0, payment_block_s=3600.0)
        self.picker.states = self._states
        self.session = b""
        self.compared = 0

    def _send(self, request: Request, now: float, *rest: Any) -> None:
        self.session = b"%08d" % request.session
        super()._send(request, now, *rest)

    def _choose(self, session: Any, now: float, tried: set[str]) -> tuple[int, float | None]:
        self.picker.look_again()
        theirs = self.picker.pick(self.session, tried, now, now)
        number, back_at = super()._choose(session, now, tried)
        ours = self._pool.keys[number] if number >= 0 else None
        assert ours == theirs.key
        self.picker.take(self.session, theirs, now, now)
        self.compared += 1
        return number, back_at

    def _success(self, number: int, now: float) -> None:
        super()._success(number, now)
        self.picker.sessions.keep(self.session, self._pool.keys[number].key_id, now)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_proxy_would_pick_the_same(strategy: str) -> None:
    requests = workload(8, 1.0)
    simulation = Beside(pool_for(6, requests, 4.0), strategy)
    outcome = simulation.run(requests)
    assert simulation.compared > outcome.served > 0
    assert outcome.switches > 0
