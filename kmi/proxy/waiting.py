"""Where requests wait: for a slot, for a rate, for a key to come back, for the outcome of a probe.

Nobody overtakes: whenever something becomes free, those who wait the longest try first, and a new
request after them. A session that waits for its own key holds up nobody who wants another one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from kmi.proxy.answers import all_out
from kmi.proxy.limits import QUEUE_MAX

if TYPE_CHECKING:
    from kmi.proxy.desk import Desk
    from kmi.proxy.exchange import Exchange

#: How long a request waits for the first key to come back (spec: 30 s).
KEY_PATIENCE_S = 30.0
#: How long one waits for its turn where rates or concurrency are limited.
TURN_PATIENCE_S = 60.0
#: So many waiting requests in vain are looked at when something becomes free.
WAKE_MAX = 64
#: Timers may be early by the clock's resolution.
_SLACK_S = 0.005


class Need(NamedTuple):
    """What a request waits for.

    Attributes:
        turn_s: how long the rates make it wait, `TURN_PATIENCE_S` for a slot; 0.0: it waits for a
            key to come back.
        key_id: the only key that it would take; "" for any.
    """

    turn_s: float
    key_id: str = ""


class _Place(NamedTuple):
    """A place in the queue."""

    need: Need
    timer: asyncio.TimerHandle


class WaitingRoom:
    """The queue in front of the keys."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._queue: dict[Exchange, _Place] = {}
        self._probing: set[Exchange] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def place(self, exchange: Exchange) -> None:
        """Give an exchange a key, or a place in the queue, or an answer."""
        self.probe_ended(exchange)
        if self._queue and self._desk.limits.capped:
            self.wake()
        need = self._seat(exchange)
        if need is not None:
            self._wait_or_refuse(exchange, need)

    def _seat(self, exchange: Exchange) -> Need | None:
        """Send an exchange on its way; else what it has to wait for."""
        desk = self._desk
        now, mono, limits, picker = desk.clock(), desk.mono(), desk.limits, desk.picker
        full = limits.full_keys(mono) if limits.capped else ()
        pick = picker.pick(exchange.session, exchange.tried, now, mono, full, exchange.again)
        key = pick.key
        if key is None:
            return Need(0.0)
        if limits.capped:
            wait_s = limits.wait_s(key.key_id, mono)
            if limits.full(key.key_id):
                wait_s = TURN_PATIENCE_S
            if wait_s > 0.0:
                return Need(wait_s, key.key_id if pick.code in {"session", "again"} else "")
        limits.enter(key.key_id, mono)
        picker.take(exchange.session, pick, now, mono)
        self._unqueue(exchange)
        if pick.code == "probe":
            self._probing.add(exchange)
        exchange.send(key, pick)
        return None

    def _wait_or_refuse(self, exchange: Exchange, need: Need) -> None:
        """Nothing can be sent now."""
        desk = self._desk
        turn, back_at = need.turn_s > 0.0, None
        patience = (TURN_PATIENCE_S if turn else KEY_PATIENCE_S) - exchange.waited_s
        wait_s: float | None = min(need.turn_s, patience)
        if not turn:
            now = desk.clock()
            back_at = desk.picker.first_back(now)
            wait_s = None if back_at is None else max(0.0, back_at - now)
            if self._probing and (wait_s is None or wait_s > patience):
                wait_s = patience  # the one that tries a key out may end the hold for all
        if wait_s is None or patience <= 0.0 or wait_s > patience:
            self._refuse(exchange, turn=turn, back_at=back_at)
        elif exchange not in self._queue and len(self._queue) >= QUEUE_MAX:
            exchange.reply(429, "queue-full", f"{QUEUE_MAX} requests wait already", wait_s=1)
        else:
            self._enqueue(exchange, need, wait_s + _SLACK_S)

    def _refuse(self, exchange: Exchange, *, turn: bool, back_at: float | None) -> None:
        self._unqueue(exchange)
        if turn:
            text = "the limits of KMI_PROXY_MAX_* leave no room for this request"
            exchange.reply(429, "limited", text, wait_s=1)
            return
        desk = self._desk
        picker, now = desk.picker, desk.clock()
        why = picker.why_not(now)
        text, wait_s, kmi = all_out(picker.view, picker.states, back_at, why, now)
        if back_at is None:
            # Nothing will change by itself: a client must not try for hours.
            exchange.reply(403, "no-key", text, **kmi)
        else:
            exchange.reply(429, "all-out", text, wait_s=wait_s, **kmi)

    def _enqueue(self, exchange: Exchange, need: Need, wait_s: float) -> None:
        if exchange.queued_at is None:
            exchange.queued_at = self._desk.mono()
        old = self._queue.get(exchange)
        if old is not None:
            old.timer.cancel()
        timer = self._desk.later(wait_s, lambda: self._due(exchange))
        self._queue[exchange] = _Place(need, timer)

    def _due(self, exchange: Exchange) -> None:
        """The time has come that a queued exchange waited for."""
        now, since = self._desk.mono(), exchange.queued_at
        if since is not None:
            exchange.waited_s += now - since
            exchange.queued_at = now
        self._desk.picker.look_again()
        if self._queue[exchange].need.turn_s:
            self.wake()
            if exchange not in self._queue:
                return
        else:
            exchange.tried.clear()
        need = self._seat(exchange)
        if need is not None:
            self._wait_or_refuse(exchange, need)

    def _unqueue(self, exchange: Exchange) -> None:
        place = self._queue.pop(exchange, None)
        if place is not None:
            place.timer.cancel()
        if exchange.queued_at is not None:
            exchange.waited_s += self._desk.mono() - exchange.queued_at
            exchange.queued_at = None

    def wake(self, *, keys_changed: bool = False) -> None:
        """Something became free: let those who wait try, in their order.

        Args:
            keys_changed: a key may be usable that was not: whoever waits for one tries again, and
                also those keys that failed it before.
        """
        in_vain, free = 0, self._free_keys()
        for exchange, place in list(self._queue.items()):
            need = place.need
            if exchange not in self._queue:
                continue
            if need.turn_s:
                if not free or (need.key_id and need.key_id not in free and not keys_changed):
                    continue
            elif keys_changed:
                exchange.tried.clear()
            else:
                continue
            if self._seat(exchange) is None:
                free = self._free_keys()
                continue
            in_vain += 1
            if in_vain >= WAKE_MAX:
                return

    def _free_keys(self) -> set[str]:
        """The keys that one more request could be sent on now."""
        desk = self._desk
        mono = desk.mono()
        if desk.limits.wait_all_s(mono) > 0.0:
            return set()
        usable = desk.picker.usable(desk.clock(), mono)
        return set(usable) - desk.limits.full_keys(mono)

    def forget(self, exchange: Exchange) -> None:
        """An exchange is over."""
        self._unqueue(exchange)
        self.probe_ended(exchange)

    def probe_ended(self, exchange: Exchange) -> None:
        """If an exchange tried a key out, that is decided: those who waited for it go on."""
        if exchange in self._probing:
            self._probing.discard(exchange)
            asyncio.get_running_loop().call_soon(self._after_probe)

    def _after_probe(self) -> None:
        for exchange, place in list(self._queue.items()):
            if exchange in self._queue and not place.need.turn_s:
                self._due(exchange)
