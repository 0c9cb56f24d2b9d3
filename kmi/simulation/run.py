"""One strategy on one workload, in which sessions keep their keys as in the proxy (pure).

What a key is thought of is changed by the product's own code: `classify` reads the refusals,
`apply_answer`, `apply_success` and `apply_usage` learn, and `ranking` picks as `choose` does.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from kmi.holds import probed
from kmi.model import ApiKey, KeyState
from kmi.proxy.affinity import TTL_S
from kmi.quotas import UsageReading
from kmi.ranking import Ranking
from kmi.selection import Policy
from kmi.simulation.world import CACHE_S, Account, duration_s, warm_units
from kmi.transitions import apply_answer, apply_success, apply_usage
from kmi.urls import parse_base_url
from kmi.verdicts import Verdict, classify

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from kmi.simulation.workload import Request
    from kmi.simulation.world import Plan

#: How long a request waits for a key to come back, as in the proxy.
PATIENCE_S = 30.0
#: `/usages` is read again so long after the last reading, while a key is used.
USAGE_S = 600.0
#: Of keys that nobody uses it is read now and then, and some time after a reset.
IDLE_S = 4 * 3600.0
RESET_S = 300.0
#: Successes are handed on together.
TOGETHER_S = 60.0
#: Every so many accounts have a second key.
PAIR_EVERY = 5


class Pool(NamedTuple):
    """The keys of a simulation.

    Attributes:
        keys: in their order.
        account_of: the number of each key's account.
        accounts: how many there are.
        plan: what each of them may use.
        seed: for what was used before the start, and for jitter.
        chance: what makes a generator of a seed.
    """

    keys: tuple[ApiKey, ...]
    account_of: tuple[int, ...]
    accounts: int
    plan: Plan
    seed: int
    chance: Callable[[int], random.Random]

    def opened(self, start: float) -> list[Account]:
        """The accounts as they are at the start: the same for every strategy."""
        rng = self.chance(self.seed)
        return [Account(f"{n:06x}", self.plan, start, rng) for n in range(self.accounts)]


def make_pool(keys: int, plan: Plan, seed: int, chance: Callable[[int], random.Random]) -> Pool:
    """So many keys; of every `PAIR_EVERY` accounts one has two."""
    account_of: list[int] = []
    account = 0
    while len(account_of) < keys:
        account_of += [account] * (2 if account % PAIR_EVERY == PAIR_EVERY - 1 else 1)
        account += 1
    account_of = account_of[:keys]
    url = parse_base_url("https://api.kimi.com/coding/v1")
    made = tuple(ApiKey(f"key{n:05d}", f"{n:012x}", None, url) for n in range(keys))
    return Pool(made, tuple(account_of), account_of[-1] + 1, plan, seed, chance)


class Outcome(NamedTuple):
    """What a strategy came to.

    Attributes:
        served: requests that were answered.
        refused: requests for which there was no key.
        units: what the served ones were charged.
        misses: served requests whose context was not in their account's cache.
        switches: how often a session went on with another key.
        errors: answers that were refusals of the upstream.
        wasted: the share of the weeks' units that was unused when the weeks ended.
        tokens: prompt and answer tokens of what was served.
        waited_s: how long requests waited for a key, all together.
    """

    served: int
    refused: int
    units: float
    misses: int
    switches: int
    errors: int
    wasted: float
    tokens: int
    waited_s: float


class _Session:
    """What is known of a session while it lasts.

    Attributes:
        seat: the key that it has, and since when it was last asked for.
        key, account, cached, at: who served it last, how many tokens it left there, and when.
    """

    __slots__ = ("account", "at", "cached", "key", "seat", "seen")

    def __init__(self) -> None:
        self.seat = self.key = self.account = -1
        self.cached = 0
        self.at = self.seen = 0.0


class Simulation:
    """A pool of keys, and sessions that use it.

    Args:
        pool: the keys.
        strategy: one of ``settings.STRATEGIES``.
        start: seconds since the epoch.
        rank: what picks; the one of the product.
    """

    def __init__(
        self,
        pool: Pool,
        strategy: str,
        start: float,
        rank: Callable[..., Ranking] = Ranking,
    ) -> None:
        self._pool = pool
        self._accounts = pool.opened(start)
        self._of_account: list[list[int]] = [[] for _ in self._accounts]
        for number, account in enumerate(pool.account_of):
            self._of_account[account].append(number)
        self._states: dict[str, KeyState] = {}
        self._polls: list[tuple[float, int]] = []
        self._poll_at = [0.0] * len(pool.keys)
        self._polled_at = [0.0] * len(pool.keys)
        self._ranking = rank(pool.keys, self._states, Policy(strategy=strategy))
        for number in range(len(pool.keys)):
            self._poll(number, start)
        self._sessions: dict[int, _Session] = {}
        self._good: dict[int, list[float]] = {}
        self._verdicts: dict[tuple[int, str], Verdict] = {}
        self._standing: str | None = None
        self._served = self._refused = self._misses = self._switches = self._errors = 0
        self._tokens = 0
        self._units = self._waited_s = 0.0
        self._rng = pool.chance(pool.seed)

    def run(
        self, requests: Sequence[Request], progress: Callable[[int], None] | None = None
    ) -> Outcome:
        """Send every request at its time, or as soon after it as a key is back."""
        waiting: list[tuple[float, float, Request]] = []
        now = 0.0
        for number, request in enumerate(requests):
            now = request.at
            while waiting and waiting[0][0] <= now:
                at, came, other = heappop(waiting)
                self._send(other, at, came, waiting)
            self._send(request, now, now, waiting)
            if progress is not None and not number % 5000:
                progress(number)
        while waiting:
            now, came, other = heappop(waiting)
            self._send(other, now, came, waiting)
        return self._outcome(now)

    def _outcome(self, now: float) -> Outcome:
        offered = wasted = 0.0
        for account in self._accounts:
            account.turn(now)
            offered += account.offered["7d"]
            wasted += account.wasted["7d"]
        return Outcome(
            self._served,
            self._refused,
            self._units,
            self._misses,
            self._switches,
            self._errors,
            wasted / offered if offered else 0.0,
            self._tokens,
            self._waited_s,
        )

    def _send(
        self,
        request: Request,
        now: float,
        came: float,
        waiting: list[tuple[float, float, Request]],
    ) -> None:
        """Try keys until one serves the request; wait or give up when there is none."""
        while self._polls and self._polls[0][0] <= now:
            at, number = heappop(self._polls)
            if at == self._poll_at[number]:
                self._poll(number, at)
        session = self._sessions.get(request.session)
        if session is None:
            session = self._sessions[request.session] = _Session()
        tried: set[str] = set()
        back_at = None
        while len(tried) < len(self._pool.keys):
            number, back_at = self._choose(session, now, tried)
            if number < 0:
                break
            if self._ask(request, session, number, now):
                self._waited_s += now - came
                return
            tried.add(self._pool.keys[number].key_id)
        if back_at is None:
            back_at = self._ranking.pick(now).back_at
        if back_at is not None and now < back_at <= came + PATIENCE_S:
            heappush(waiting, (back_at, came, request))
        else:
            self._refused += 1

    def _choose(self, session: _Session, now: float, tried: set[str]) -> tuple[int, float | None]:
        """The session's key, or one by the strategy; -1 and when one is back if there is none."""
        number, back_at = self._seat(session, now, tried), None
        if number < 0:
            number, back_at = self._pick(now, tried)
        if number >= 0:
            session.seat, session.seen = number, now
        return number, back_at

    def _seat(self, session: _Session, now: float, tried: set[str]) -> int:
        """The key that a session had, while it is usable and the session not forgotten."""
        if session.seat < 0 or now - session.seen > TTL_S:
            return -1
        key_id = self._pool.keys[session.seat].key_id
        if key_id in tried or not self._ranking.usable(key_id, now):
            return -1
        return session.seat

    def _pick(self, now: float, tried: set[str]) -> tuple[int, float | None]:
        ranked = self._ranking.pick(now, active=self._standing, excluded=tried)
        if ranked.key is None:
            return -1, ranked.back_at
        key_id = self._standing = ranked.key.key_id
        state = self._states[key_id]
        if ranked.probe and state.hold is not None:
            state = replace(state, hold=probed(state.hold, now))
        self._learnt(key_id, replace(state, last_used=now))
        return int(key_id, 16), None

    def _learnt(self, key_id: str, state: KeyState) -> None:
        self._states[key_id] = state
        self._ranking.update(key_id)

    def _ask(self, request: Request, session: _Session, number: int, now: float) -> bool:
        account = self._pool.account_of[number]
        warm = session.account == account and now - session.at <= CACHE_S
        cached = session.cached if warm else 0
        units = warm_units(request.context, request.output, cached)
        refusal = self._accounts[account].ask(now, units, duration_s(request.output))
        if refusal is not None:
            self._refusal(number, refusal.status, refusal.body, now)
            return False
        self._success(number, now)
        self._served += 1
        self._units += units
        self._misses += not warm
        self._tokens += request.context + request.output
        self._switches += session.key >= 0 and session.key != number
        session.key = session.seat = number
        session.account, session.seen = account, now
        session.cached, session.at = request.context, now
        return True

    def _refusal(self, number: int, status: int, body: str, now: float) -> None:
        self._errors += 1
        self._hand_on(number, now)
        verdict = self._verdicts.get((status, body))
        if verdict is None:
            verdict = self._verdicts[status, body] = classify(status, body)
        key_id = self._pool.keys[number].key_id
        changed = apply_answer(self._states, key_id, verdict, now=now, rng=self._rng)
        for other, state in changed.items():
            self._learnt(other, state)

    def _success(self, number: int, now: float) -> None:
        good = self._good.get(number)
        if good is None:
            good = self._good[number] = [0, now]
            for other in self._of_account[self._pool.account_of[number]]:
                self._used(other, now)
        good[0] += 1
        key_id = self._pool.keys[number].key_id
        if now - good[1] >= TOGETHER_S or self._states[key_id].hold is not None:
            self._hand_on(number, now)

    def _hand_on(self, number: int, now: float) -> None:
        """Let the state know of the successes so far."""
        good = self._good.pop(number, None)
        if good is not None:
            key_id = self._pool.keys[number].key_id
            state = apply_success(self._states[key_id], now, sent_at=now, count=int(good[0]))
            self._learnt(key_id, replace(state, last_used=now))

    def _used(self, number: int, now: float) -> None:
        """A key's quota is another one than was read: it is read again soon."""
        at = max(now, self._polled_at[number] + USAGE_S)
        if at < self._poll_at[number]:
            self._poll_at[number] = at
            heappush(self._polls, (at, number))

    def _poll(self, number: int, now: float) -> None:
        key_id = self._pool.keys[number].key_id
        windows = self._accounts[self._pool.account_of[number]].windows(now)
        state = self._states.get(key_id, KeyState())
        self._learnt(key_id, apply_usage(state, UsageReading(windows), now))
        resets = [w.resets_at + RESET_S for w in windows.values() if w.resets_at is not None]
        self._polled_at[number] = now
        at = self._poll_at[number] = min([now + IDLE_S, *resets])
        heappush(self._polls, (at, number))
