"""What the proxy counts: exact, bounded, and told in lines of plain JSON."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.proxy import tally as tallies
from kmi.proxy.records import Served, Tokens
from kmi.proxy.tally import BUCKETS_S, OTHER, RECENT, STEP_S, STEPS, Tally
from kmi.records import COMMON, EVENTS
from kmi.timezones import utc_text
from kmi.trace import entry_of, read_line
from tests.proxy.sample import HOSTILE, NOW, served


def records(tally: Tally) -> list[dict[str, Any]]:
    data = tally.drain()
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def test_a_line_says_what_was_served() -> None:
    tally = Tally()
    one = served(1, NOW + 0.1239, tried=(("home", "quota-5h"),), code="retry", waited_s=0.25)
    tally.note(one)
    (record,) = records(tally)
    assert record == {
        "schema": 1,
        "ts": "2026-09-21T14:13:20.123Z",
        "event": "request",
        "request": "00000001",
        "method": "POST",
        "path": "/chat/completions",
        "key": "id-work",
        "label": "work",
        "session": "00000001",
        "status": 200,
        "verdict": "ok",
        "code": "retry",
        "tried": [["home", "quota-5h"]],
        "eligible": 2,
        "waited_s": 0.25,
        "first_s": 0.4,
        "total_s": 3.2,
        "sent": 2000,
        "received": 900,
        "tokens": {"prompt": 12000, "cached": 9000, "completion": 250},
    }
    assert list(record) == [*COMMON, *EVENTS["request"].fields]
    assert tally.drain() == b""


def test_what_is_not_known_is_null() -> None:
    tally = Tally()
    tally.note(served(1, NOW, first_s=None, tokens=None, label="", key_id="", status=0))
    (record,) = records(tally)
    assert (record["first_s"], record["tokens"], record["label"]) == (None, None, "")


def test_strange_words_can_do_nothing() -> None:
    tally = Tally()
    strange = {"path": HOSTILE, "label": HOSTILE, "verdict": HOSTILE, "method": HOSTILE}
    tally.note(served(1, NOW, **strange, tried=((HOSTILE, "\x7f\x9b"),)))
    data = tally.drain()
    assert data.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in data[:-1])
    assert json.loads(data)["path"] == HOSTILE


words = st.text(max_size=30)


@given(
    st.builds(
        served,
        st.integers(0, 2**32 - 1),
        st.floats(0, 4e9).map(lambda at: round(at, 3)),
        path=words,
        label=words,
        verdict=words,
        key_id=words,
        status=st.integers(0, 999),
        tried=st.lists(st.tuples(words, words), max_size=3).map(tuple),
        first_s=st.none() | st.floats(0, 1e6),
        total_s=st.floats(0, 1e6),
        sent=st.integers(0, 2**60),
        tokens=st.none() | st.builds(Tokens, *[st.integers(0, 2**60)] * 3),
    )
)
def test_every_line_is_read_back(one: Served) -> None:
    tally = Tally()
    tally.note(one)
    data = tally.drain()
    assert data.isascii()
    entry = read_line(data.strip())
    assert not isinstance(entry, int)
    assert entry is not None
    assert abs(entry.at - one.at) <= 0.0011
    assert utc_text(entry.at) == json.loads(data)["ts"]
    exact = entry_of(one)
    rounded: dict[str, Any] = {"at": 0.0, "first_s": None, "total_s": 0.0, "waited_s": 0.0}
    assert entry._replace(**rounded) == exact._replace(**rounded)
    assert abs(entry.total_s - one.total_s) <= 0.0001


def test_the_counts_are_those_of_the_requests() -> None:
    tally = Tally()
    for number in range(30):
        tally.note(served(number, NOW))
    for number in range(7):
        tally.note(served(number, NOW, label="home", tokens=None, total_s=1000.0))
    tally.note(
        served(
            99,
            NOW,
            status=502,
            verdict="upstream",
            first_s=None,
            waited_s=1.5,
            tried=(("home", "rate"), ("home", "rate"), ("x", "quota")),
        )
    )
    assert {place: cell.requests for place, cell in tally.cells.items()} == {
        ("work", 200, "ok"): 30,
        ("home", 200, "ok"): 7,
        ("work", 502, "upstream"): 1,
    }
    work = tally.by_label()["work"]
    assert (work.requests, work.sent, work.received) == (31, 62000, 27900)
    assert (work.prompt, work.cached, work.completion) == (372000, 279000, 7750)
    assert tally.total().requests == 38
    assert tally.failed == {("home", "rate"): 2, ("x", "quota"): 1}
    assert (tally.waits, tally.waited_s) == (1, 1.5)
    assert sum(tally.first_byte.counts) == 37
    assert tally.whole.counts[-1] == 7
    assert tally.whole.total_s == pytest.approx(31 * 3.2 + 7000)


@pytest.mark.parametrize("end", BUCKETS_S)
def test_a_bucket_holds_its_end(end: float) -> None:
    tally = Tally()
    tally.note(served(1, NOW, total_s=end))
    assert tally.whole.counts[BUCKETS_S.index(end)] == 1


def test_lines_are_dropped_when_the_disk_does_not_take_them() -> None:
    tally = Tally(max_waiting=5)
    for number in range(12):
        tally.note(served(number, NOW + number))
    found = records(tally)
    assert found[0] == {"schema": 1, "ts": found[1]["ts"], "event": "dropped", "count": 7}
    assert list(found[0]) == [*COMMON, *EVENTS["dropped"].fields]
    assert [record["request"] for record in found[1:]] == [f"{n:08x}" for n in range(7, 12)]
    assert tally.total().requests == 12, "nothing is missing in the counts"
    tally.note(served(13, NOW))
    assert [record["event"] for record in records(tally)] == ["request"]
    assert tally.dropped == 7


def test_nothing_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MAX_CELLS", 50)
    monkeypatch.setattr(tallies, "MAX_LABELS", 10)
    tally = Tally(max_waiting=100)
    for number in range(3000):
        strange = {"label": f"l{number}", "verdict": f"v{number}", "path": f"/{number}"}
        tally.note(served(number, NOW + number * STEP_S, **strange, tried=((f"{number}", "x"),)))
        if number % 50 == 0:
            tally.drain()
    assert len(tally.cells) == 51
    assert len(tally.failed) == 51
    assert len(tally.by_label()) == 11
    assert tally.by_label()[OTHER].requests == 2990
    assert sum(tally.failed.values()) == 3000
    assert len(tally.recent) == RECENT
    assert len(tally.steps) == STEPS
    assert tally.total().requests == 3000
    assert sys.getsizeof(tally._lines._words) < 500_000


def test_a_clock_that_jumps_spoils_nothing() -> None:
    tally = Tally()
    for at in (NOW, NOW + 400 * 86400.0, NOW + 1.0, NOW + 2.0, NOW + 3.0 + STEP_S):
        tally.note(served(1, at))
    assert [(step, sum(counts.values())) for step, counts in tally.steps] == [
        (int(NOW) // STEP_S, 1),
        (int(NOW + 400 * 86400.0) // STEP_S, 1),
        (int(NOW) // STEP_S, 2),
        (int(NOW) // STEP_S + 1, 1),
    ]


@dataclass
class Drainer:
    """The thread that writes, as busy as it can be."""

    tally: Tally
    done: bool = False
    data: bytes = b""

    def run(self) -> None:
        while not self.done:
            self.data += self.tally.drain()
        self.data += self.tally.drain()


def test_two_threads_lose_nothing() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        drainer = Drainer(Tally(max_waiting=50))
        thread = threading.Thread(target=drainer.run)
        thread.start()
        for number in range(20_000):
            drainer.tally.note(served(number, NOW))
        drainer.done = True
        thread.join()
    finally:
        sys.setswitchinterval(before)
    found = [json.loads(line) for line in drainer.data.splitlines()]
    ids = [int(record["request"], 16) for record in found if record["event"] == "request"]
    missing = sum(record["count"] for record in found if record["event"] == "dropped")
    assert ids == sorted(set(ids))
    assert len(ids) + missing == 20_000
    assert drainer.tally.total().requests == 20_000


def test_a_line_that_is_dropped_while_the_others_are_told() -> None:
    class Racing(deque[Served]):
        """The event loop dropped one after its lines were counted."""

        def __len__(self) -> int:
            return super().__len__() + 1

    tally = Tally()
    tally.note(served(1, NOW))
    tally._waiting = Racing(tally._waiting)
    assert [record["event"] for record in records(tally)] == ["request"]


def test_a_line_that_is_told_while_it_would_be_dropped() -> None:
    class Racing(deque[Served]):
        """The writer took all lines after they were counted."""

        def __len__(self) -> int:
            self.clear()
            return 50

    tally = Tally(max_waiting=1)
    tally._waiting = Racing()
    tally.note(served(1, NOW))
    assert tally.dropped == 0
