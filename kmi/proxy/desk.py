"""Where exchanges meet: they get keys and connections here, wait here, and leave what they learnt.

Everything is in memory, and of the event loop alone; `keeper` brings it from and to the disk.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Callable, NamedTuple

from kmi.proxy.limits import Limits
from kmi.proxy.outcomes import DELIVER, Efforts, Step, follow
from kmi.proxy.picker import Lesson, Picker
from kmi.proxy.pool import Pool
from kmi.proxy.waiting import WaitingRoom
from kmi.verdicts import classify

if TYPE_CHECKING:
    import ssl

    from kmi.model import ApiKey
    from kmi.proxy.exchange import Exchange
    from kmi.proxy.framing import ResponseHead
    from kmi.proxy.guards import Refusal
    from kmi.proxy.limits import Caps
    from kmi.proxy.tally import Tally
    from kmi.proxy.view import View
    from kmi.urls import BaseUrl
    from kmi.verdicts import Verdict


class Rules(NamedTuple):
    """The settings that decide about requests; durations as their names say."""

    caps: Caps
    retry_max: int | None
    retry_base_ms: int
    cooldown_s: float
    payment_block_s: float


class Desk:
    """What all exchanges share.

    Attributes:
        picker: which key a request gets.
        tally: what was served.
        lessons: what was learnt and is not in ``state.json`` yet, for the keeper to take.
        on_error: called when an error was learnt.
        successes: by key id: how many, when the last one came, when it was sent.
        asks_usage: key ids whose last error one `/usages` answer would explain.
        refusals: requests that were not served at all, by the word for it; a handful of words.
        kept_bytes: request bodies that are kept in memory.
        draining: the proxy ends as soon as every exchange has.
    """

    def __init__(
        self,
        view: View,
        rules: Rules,
        tally: Tally,
        tls: Callable[[], asyncio.Future[ssl.SSLContext]],
        *,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        self.rules = rules
        self.tally = tally
        self.rng = random.Random(seed)  # noqa: S311 - jitter is no secret
        self.clock = clock
        self.mono = time.monotonic
        self.picker = Picker(
            view, cooldown_s=rules.cooldown_s, payment_block_s=rules.payment_block_s
        )
        self.limits = Limits(rules.caps)
        self.limits.own_caps(_own_caps(view))
        self.lessons: list[Lesson] = []
        self.on_error: Callable[[], None] = lambda: None
        self.successes: dict[str, tuple[int, float, float]] = {}
        self.kept_bytes = 0
        self.draining = False
        self.asks_usage: set[str] = set()
        self.refusals: dict[str, int] = {}
        self._tls = tls
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._own: dict[tuple[str, bool], bytes] = {}
        self._room = WaitingRoom(self)
        self._last_id = self.rng.getrandbits(32)

    def next_id(self) -> str:
        """The name of a request."""
        self._last_id = (self._last_id + 1) & 0xFFFFFFFF
        return f"{self._last_id:08x}"

    def later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call something after a while."""
        return asyncio.get_running_loop().call_later(delay_s, call)

    # Views.

    def replace_view(self, view: View, unsaved: list[Lesson], rules: Rules) -> None:
        """Take a newer sight of the disk."""
        if rules.caps != self.rules.caps:
            busy = self.limits.busy
            self.limits = Limits(rules.caps)
            self.limits.busy = busy
        self.rules = rules
        self.limits.own_caps(_own_caps(view))
        if view.keys != self.picker.view.keys:
            self._own.clear()
        self.picker.replace_view(view, unsaved, rules.cooldown_s, rules.payment_block_s)
        self._room.wake(keys_changed=True)

    @property
    def attempts_most(self) -> int:
        """Attempts within one request."""
        given = self.rules.retry_max
        return len(self.picker.view.keys) + 1 if given is None else max(1, given)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._room)

    # Places.

    def place(self, exchange: Exchange) -> None:
        """Give an exchange a key, or a place in the queue, or an answer."""
        self._room.place(exchange)

    def forget(self, exchange: Exchange) -> None:
        """An exchange is over."""
        self._room.forget(exchange)

    def leave(self, key: ApiKey) -> None:
        """A request on a key ended."""
        self.limits.leave(key.key_id)
        if self._room and self.limits.capped:
            asyncio.get_running_loop().call_soon(self._room.wake)

    def anyone_else(self, exchange: Exchange, verdict: Verdict) -> bool:
        """Whether it makes sense to look for another key after a verdict.

        A passing fault of the only key is the client's to know, and so is a refusal that holds for
        every key until a person acts; but if keys come back, the client is told when.
        """
        now = self.clock()
        usable = self.picker.usable(now, self.mono())
        if any(key_id not in exchange.tried for key_id in usable):
            return True
        return verdict.effect != "retry" and self.picker.first_back(now) is not None

    # Connections.

    def pool(self, url: BaseUrl) -> Pool:
        """The connections to the upstream of a base URL."""
        where = (url.scheme, url.host, url.port)
        pool = self._pools.get(where)
        if pool is None:
            pool = self._pools[where] = Pool(url, self._tls)
        return pool

    def own_fields(self, key: ApiKey, *, api_key: bool) -> bytes:
        """The header lines that are the key's: made once, and forgotten with it."""
        found = self._own.get((key.key_id, api_key))
        if found is None:
            secret = (key.secret or "").encode("ascii")
            found = b"host: %b\r\nauthorization: Bearer %b\r\n" % (
                key.base_url.netloc.encode(),
                secret,
            )
            if api_key:
                found += b"x-api-key: %b\r\n" % secret
            self._own[(key.key_id, api_key)] = found
        return found

    def sweep(self) -> None:
        """Let old connections go."""
        now = self.mono()
        for pool in self._pools.values():
            pool.sweep(now)

    def close(self) -> None:
        """Let all idle connections go."""
        for pool in self._pools.values():
            pool.close()

    # Lessons.

    def verdict(self, status: int | None, text: bytes, key: ApiKey) -> Verdict:
        """What an answer to a request with a key means; its words never repeat that key."""
        patterns = self.picker.view.patterns
        return classify(status, text, extra=patterns, secret=key.secret or "")

    def follow(self, verdict: Verdict, efforts: Efforts, *, replayable: bool) -> Step:
        """What to do about it."""
        if not replayable:
            return DELIVER
        return follow(
            verdict,
            efforts,
            may_change=self.picker.view.may_change,
            most=self.attempts_most,
            base_ms=self.rules.retry_base_ms,
            rng=self.rng,
        )

    def learn_error(
        self, key: ApiKey, verdict: Verdict, sent_at: float, answer: ResponseHead | None
    ) -> None:
        """An upstream answered with an error."""
        if verdict.effect == "pass":
            return
        now = self.clock()
        header = None
        if answer is not None:
            from kmi.retry_after import retry_after

            names = ("retry-after", "x-ratelimit-remaining", "x-ratelimit-reset")
            values = {n: (answer.get(n.encode()) or b"").decode("latin-1") for n in names}
            header = retry_after({n: v for n, v in values.items() if v}, now)
        lesson = Lesson(key.key_id, verdict, now, sent_at, header, 1, self.rng.getrandbits(32))
        if verdict.kind.ask_usage:
            self.asks_usage.add(key.key_id)
        self.lessons.append(lesson)
        self.picker.learn(lesson)
        self.on_error()

    def served(self, exchange: Exchange, key: ApiKey, sent_at: float) -> None:
        """An upstream answered well."""
        if exchange.tried and exchange.session:
            self.picker.settle(exchange.session, key.key_id, exchange.tried, self.mono())
        if not exchange.is_model_request:
            return
        now = self.clock()
        if self.picker.held(key.key_id):
            lesson = Lesson(key.key_id, None, now, sent_at)
            self.lessons.append(lesson)
            self.picker.learn(lesson)
            if self._room and not self.picker.held(key.key_id):
                self._room.wake(keys_changed=True)
            self._room.probe_ended(exchange)
            return
        count = self.successes.get(key.key_id, (0, 0.0, 0.0))[0]
        self.successes[key.key_id] = (count + 1, now, sent_at)

    def refused(self, found: Refusal) -> None:
        """A request was not served at all."""
        self.refusals[found.code] = self.refusals.get(found.code, 0) + 1


def _own_caps(view: View) -> dict[str, int]:
    return {k.key_id: k.max_concurrency for k in view.keys if k.max_concurrency}
