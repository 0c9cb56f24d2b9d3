"""The queue in front of the keys, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kmi.model import ApiKey
from kmi.proxy.desk import Desk, Rules
from kmi.proxy.limits import Caps
from kmi.proxy.picker import Lesson
from kmi.proxy.tally import Tally
from kmi.proxy.view import View
from kmi.proxy.waiting import KEY_PATIENCE_S, TURN_PATIENCE_S
from kmi.selection import Policy
from kmi.state import Active
from kmi.urls import parse_base_url
from kmi.verdicts import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmi.proxy.picker import Pick

NOW = 1_795_000_000.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
A, B = (ApiKey(label, f"id-{label}", f"sk-{label}", URL) for label in ("a", "b"))
BUSY = classify(429, '{"error": {"message": "slow down"}}')


class Timer:
    """A timer of the test's clock."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Ask:
    """What the queue sees of an exchange."""

    is_model_request = True

    def __init__(self, name: str, room: Room, session: bytes = b"") -> None:
        self.name, self.room, self.session = name, room, session
        self.tried: set[str] = set()
        self.again: str | None = None
        self.waited_s = 0.0
        self.queued_at: float | None = None
        self.key: ApiKey | None = None
        self.refused: tuple[int, str] | None = None

    def send(self, key: ApiKey, pick: Pick) -> None:
        self.key = key
        self.room.sent.append((self.name, key.label, self.room.at))

    def reply(self, status: int, code: str, text: str, *, wait_s: int = 0, **kmi: object) -> None:
        self.refused = (status, code)
        self.room.desk.forget(self)  # type: ignore[arg-type]  # a stand-in


class Room:
    """A desk, its clock, and who was sent when."""

    def __init__(self, *keys: ApiKey, strategy: str = "sticky", **caps: int) -> None:
        self.at = 0.0
        self.timers: list[Timer] = []
        self.sent: list[tuple[str, str, float]] = []
        view = View(keys, {}, Active(A.key_id, "a", NOW), Policy(strategy=strategy), True)
        rules = Rules(Caps(**caps), None, 10, 300.0, 3600.0)
        no_tls: Any = None
        self.desk = Desk(view, rules, Tally(), no_tls, clock=lambda: NOW + self.at, seed=1)
        self.desk.mono = lambda: self.at
        later: Any = self.later
        self.desk.later = later  # type: ignore[method-assign]  # its timer

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.at + delay_s, call)
        self.timers.append(timer)
        return timer

    def ask(self, name: str, session: bytes = b"") -> Ask:
        ask = Ask(name, self, session)
        self.desk.place(ask)  # type: ignore[arg-type]  # a stand-in
        return ask

    def end(self, ask: Ask) -> None:
        assert ask.key is not None
        self.desk.forget(ask)  # type: ignore[arg-type]  # a stand-in
        self.desk.leave(ask.key)

    def pass_time(self, to: float) -> None:
        """Let time pass, and the timers go off that are due."""
        while True:
            due = [t for t in self.timers if not t.cancelled and t.at <= to]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.at = max(self.at, timer.at)
            timer.call()
        self.at = to

    def hold(self, key: ApiKey, seconds: float) -> None:
        now = NOW + self.at
        self.desk.picker.learn(Lesson(key.key_id, BUSY, now, now, seconds))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.sent]


def test_a_new_request_does_not_overtake_those_who_wait_for_a_rate() -> None:
    room = Room(A, rps=1)
    room.ask("first")
    waiting = [room.ask(f"w{number}") for number in range(3)]
    for step in range(1, 6):
        # The very moment at which there is room again, before any timer went off.
        room.at = float(step)
        room.ask(f"late{step}")
    room.pass_time(20.0)
    assert room.names[:4] == ["first", "w0", "w1", "w2"]
    assert room.names[4:] == [f"late{step}" for step in range(1, 6)]
    moments = [at for _, _, at in room.sent]
    assert all(last - first >= 1.0 for first, last in zip(moments, moments[1:]))
    assert all(ask.queued_at is None for ask in waiting)


def test_who_waited_is_told_how_long() -> None:
    room = Room(A, rps=1)
    room.ask("first")
    second = room.ask("second")
    room.pass_time(3.0)
    assert second.waited_s == pytest.approx(1.005)


def test_a_new_request_does_not_overtake_those_who_wait_for_a_slot() -> None:
    async def scene() -> None:
        room = Room(A, concurrency_per_key=1)
        first, old = room.ask("first"), room.ask("old")
        room.end(first)
        room.ask("late")  # before the loop had a turn
        await asyncio.sleep(0)
        assert room.names == ["first", "old"]
        room.end(old)
        await asyncio.sleep(0)
        assert room.names == ["first", "old", "late"]

    asyncio.run(scene())


def test_slots_are_given_in_order() -> None:
    async def scene() -> None:
        room = Room(A, concurrency_per_key=1)
        asks = [room.ask(str(number)) for number in range(20)]
        for number in range(20):
            assert room.names == [str(n) for n in range(number + 1)]
            room.at += 0.1
            room.end(asks[number])
            await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_session_that_waits_for_its_key_holds_up_nobody_else() -> None:
    async def scene() -> None:
        room = Room(A, B, concurrency_per_key=1)
        mine = room.ask("mine", b"s")
        other = room.ask("other")
        assert [label for _, label, _ in room.sent] == ["a", "b"]
        for number in range(100):
            room.ask(f"mine{number}", b"s")
        last = room.ask("any")
        room.end(other)
        await asyncio.sleep(0)
        assert (room.names[-1], last.key) == ("any", B)
        room.end(mine)
        await asyncio.sleep(0)
        assert room.names[-1] == "mine0"

    asyncio.run(scene())


def test_who_leaves_the_queue_is_not_sent() -> None:
    async def scene() -> None:
        room = Room(A, concurrency_per_key=1)
        first, gone, stays = (room.ask(name) for name in ("first", "gone", "stays"))
        room.desk.forget(gone)  # type: ignore[arg-type]  # a stand-in
        assert room.desk.waiting == 1
        room.end(first)
        await asyncio.sleep(0)
        assert room.names == ["first", "stays"]
        assert stays.key == A

    asyncio.run(scene())


def test_patience_ends() -> None:
    room = Room(A, concurrency_per_key=1)
    room.ask("first")
    second = room.ask("second")
    room.pass_time(TURN_PATIENCE_S - 1.0)
    assert room.desk.waiting == 1
    room.pass_time(TURN_PATIENCE_S + 1.0)
    assert second.refused == (429, "limited")
    assert room.desk.waiting == 0


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(KEY_PATIENCE_S - 1.0, None), (KEY_PATIENCE_S + 1.0, (429, "all-out"))]
)
def test_a_key_is_waited_for_as_long_as_the_spec_says(
    seconds: float, outcome: tuple[int, str] | None
) -> None:
    room = Room(A)
    room.hold(A, seconds)
    ask = room.ask("x")
    assert ask.refused == outcome
    room.pass_time(KEY_PATIENCE_S)
    assert (ask.key is A) == (outcome is None)


def test_waiting_twice_is_no_longer_than_waiting_once() -> None:
    room = Room(A)
    room.hold(A, 20.0)
    ask = room.ask("x")
    room.pass_time(19.0)
    room.hold(A, 15.0)  # refused again, elsewhere
    room.pass_time(25.0)
    assert ask.key is None
    assert ask.refused == (429, "all-out")


def test_new_caps_count_from_now_on_and_let_those_go_who_wait() -> None:
    async def scene() -> None:
        room = Room(A, concurrency_per_key=1)
        first = room.ask("first")
        room.ask("second")
        desk = room.desk
        rules = desk.rules._replace(caps=Caps(concurrency_per_key=2))
        desk.replace_view(desk.picker.view, [], rules)
        assert room.names == ["first", "second"]
        room.ask("third")
        assert room.desk.waiting == 1
        room.end(first)
        await asyncio.sleep(0)
        assert room.names == ["first", "second", "third"]

    asyncio.run(scene())
