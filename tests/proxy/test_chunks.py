"""Chunked bodies: what is read, what is refused, and that neither depends on the reads."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.proxy.chunks import (
    MAX_EXTENSION_BYTES,
    MAX_TRAILER_BYTES,
    ChunkedBody,
    ChunkedTracker,
)
from kmi.proxy.framing import BadMessage


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def read(data: bytes, step: int = 0, *, room: int = 1 << 30) -> tuple[bytes, bytes | None]:
    """Read a body ``step`` bytes at once (0: all); the tracker must agree at every step."""
    body, tracker = ChunkedBody(room=room), ChunkedTracker(status=400, room=room)
    payload, rest, spans = b"", None, 0
    step = step or len(data) or 1
    for at in range(0, len(data), step):
        part = data[at : at + step]
        try:
            pieces, after = body.feed(part)
        except BadMessage as error:
            with pytest.raises(BadMessage, match=re.escape(str(error))):
                tracker.feed(part)
            raise
        assert all(pieces), "no piece is empty"
        payload += b"".join(pieces)
        used = tracker.feed(part)
        spans += used
        if rest is None:
            assert (after is not None) == tracker.ended
            assert used == len(part) - len(after or b"")
            rest = after
        else:
            assert (pieces, after, used) == ([], part, 0)
            rest += part
    if rest is not None:
        assert spans == len(data) - len(rest)
    return payload, rest


def verdict(data: bytes, step: int = 0) -> tuple[bytes, bytes | None] | str:
    try:
        return read(data, step)
    except BadMessage as error:
        return f"{error.status} {error.reason}"


STEPS = [0, 1, 2, 3, 5, 16, 300]

TAKEN: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"0\r\n\r\n", b""),
    "zeros": (b"000\r\n\r\n", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "several": (chunk(b"a") + chunk(b"bc" * 9) + chunk(b"\r\n0\r\n\r\n") + b"0\r\n\r\n",
                b"a" + b"bc" * 9 + b"\r\n0\r\n\r\n"),
    "either case": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "15 digits": (b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    "extensions": (chunk(b"a", b";x=1") + chunk(b"b", b';y="\t\xff;"') + b"0;z\r\n\r\n", b"ab"),
    "a long extension": (chunk(b"a", b";" + b"x" * (MAX_EXTENSION_BYTES - 1)) + b"0\r\n\r\n", b"a"),
    "the longest size": (
        b"0" * 14 + b"1;" + b"x" * (MAX_EXTENSION_BYTES - 1) + b"\r\na\r\n0\r\n\r\n", b"a",
    ),
    "trailers": (chunk(b"a") + b"0\r\nX-Sum: 1\r\ny:\r\n\r\n", b"a"),
    "long trailers": (
        b"0\r\n" + (b"a: " + b"b" * 1019 + b"\r\n") * 8 + b"\r\n", b"",
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", TAKEN)
def test_a_body_is_read(name: str, step: int) -> None:
    data, payload = TAKEN[name]
    assert read(data, step) == (payload, b"")
    assert read(data + b"GET / HTTP/1.1\r\n", step) == (payload, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("name", TAKEN)
def test_a_body_that_stops_has_not_ended(name: str) -> None:
    data, payload = TAKEN[name]
    for stop in range(0, len(data), max(1, len(data) // 300)):
        got, rest = read(data[:stop])
        assert rest is None
        assert payload.startswith(got)


SIZE = "a chunk's size is not 1 to 15 hexadecimal digits"
BREAK = "a chunk's data does not end where its size says"
TRAILER = "a trailer field is malformed"
#: What is refused, where its last byte is the one that breaks it; and how the reason begins.
REFUSED: dict[str, tuple[bytes, str]] = {
    "no size": (b"\r", SIZE),
    "only LF": (b"\n", SIZE),
    "0x": (b"0x", SIZE),
    "a plus": (b"+", SIZE),
    "a minus": (b"-", SIZE),
    "a blank first": (b" ", SIZE),
    "a tab first": (b"\t", SIZE),
    "a blank behind": (b"5 ", SIZE),
    "a blank before an extension": (b"5 ", SIZE),
    "an underscore": (b"1_", SIZE),
    "not a digit": (b"5g", SIZE),
    "digits of other scripts": (b"\xb2", SIZE),
    "16 digits": (b"0000000000000005", SIZE),
    "bare LF": (b"5\n", SIZE),
    "bare CR": (b"5\rh", SIZE),
    "CR CR LF": (b"5\r\r", SIZE),
    "a semicolon only": (b";", SIZE),
    "LF in an extension": (b"5;a\n", SIZE),
    "CR in an extension": (b"5;a\rb", SIZE),
    "NUL in an extension": (b"5;\0", SIZE),
    "delete in an extension": (b"5;\x7f", SIZE),
    "an extension too long": (b"5;" + b"x" * MAX_EXTENSION_BYTES, SIZE),
    "no CRLF": (b"5\r\nhello0", BREAK),
    "two other bytes": (b"5\r\nhelloX", BREAK),
    "one byte more": (b"5\r\nhello!", BREAK),
    "only CR behind": (b"5\r\nhello\r0", BREAK),
    "only LF behind": (b"5\r\nhello\n", BREAK),
    "one byte less": (b"5\r\nhell\r\n", BREAK),
    "a blank behind data": (b"5\r\nhello ", BREAK),
    "in a later chunk": (chunk(b"a") * 3 + b"5\r\nhelloX", BREAK),
    "a bad size later": (chunk(b"a") * 3 + b"x", SIZE),
    "an empty line too many": (chunk(b"a") + b"\r", SIZE),
    "a trailer without a colon": (b"0\r\nabc\r", TRAILER),
    "a folded trailer": (b"0\r\na: b\r\n ", TRAILER),
    "a blank before the colon": (b"0\r\na ", TRAILER),
    "no name": (b"0\r\n:", TRAILER),
    "NUL in a trailer": (b"0\r\na: \0", TRAILER),
    "LF in the trailers": (b"0\r\na: b\n", TRAILER),
    "CR in the trailers": (b"0\r\na: b\rc", TRAILER),
    "LF at the end": (b"0\r\n\n", TRAILER),
    "CR at the end": (b"0\r\n\rx", TRAILER),
    "a length behind the body": (b"0\r\nContent-Length:", TRAILER),
    "a coding behind the body": (b"0\r\na: b\r\ntransfer-encoding:", TRAILER),
    "one long trailer": (b"0\r\na:" + b"b" * (MAX_TRAILER_BYTES - 1), TRAILER),
    "trailers too long": (
        b"0\r\n" + (b"a: " + b"b" * 1019 + b"\r\n") * 8 + b"a: b", TRAILER
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_is_refused_at_the_byte_that_breaks_it(name: str) -> None:
    data, reason = REFUSED[name]
    assert read(data[:-1] if name != "trailers too long" else data[:-4])[1] is None
    for whole in (data, data + b"\r\n0\r\n\r\n" * 99):
        for step in STEPS if len(data) < 1000 else (0, 9, 300):
            said = verdict(whole, step)
            assert isinstance(said, str)
            assert said.startswith(f"400 {reason}"), (whole[:40], step)


def test_the_status_is_that_of_the_side_it_came_from() -> None:
    for target, status in ((ChunkedTracker(), 502), (ChunkedBody(), 400)):
        with pytest.raises(BadMessage) as caught:
            target.feed(b"x")
        assert caught.value.status == status


@pytest.mark.parametrize("step", STEPS)
def test_a_body_is_refused_when_there_is_no_room(step: int) -> None:
    data = chunk(b"hello") + chunk(b"world") + b"0\r\n\r\n"
    assert read(data, step, room=10) == (b"helloworld", b"")
    for text, room in ((data, 9), (data, 4), (b"5\r\n", 4), (b"fffffffffffffff\r\n", 1 << 26)):
        with pytest.raises(BadMessage) as caught:
            read(text, step, room=room)
        assert caught.value.status == 413


def test_how_long_a_body_may_be() -> None:
    size = b"%x\r\n"
    assert ChunkedBody().feed(size % (64 << 20)) == ([], None)
    assert ChunkedBody(status=502).feed(b"fffffffffffffff\r\n") == ([], None)
    for body, status in ((ChunkedBody(), 413), (ChunkedBody(status=502, room=64 << 20), 502)):
        with pytest.raises(BadMessage) as caught:
            body.feed(size % ((64 << 20) + 1))
        assert caught.value.status == status
    assert (MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES) == (256, 8192)


def test_a_tracker_has_room_for_the_longest_chunk() -> None:
    tracker = ChunkedTracker()
    data = b"x" * 65536
    assert tracker.feed(b"fffffffffffffff\r\n") == 17
    assert [tracker.feed(data) for _ in range(100)] == [65536] * 100
    assert not tracker.ended


chunks = st.lists(
    st.binary(min_size=1, max_size=40) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"data: {}\n\n"]),
    max_size=6,
)
cuts = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=300)
@given(chunks, cuts, st.binary(max_size=20))
def test_any_chunks_in_any_pieces(parts: list[bytes], where: list[int], rest: bytes) -> None:
    data = b"".join(chunk(part) for part in parts) + b"0\r\n\r\n" + rest
    body = ChunkedBody()
    marks = sorted({0, len(data), *(at for at in where if at < len(data))})
    got, after = b"", b""
    for begin, stop in zip(marks, marks[1:]):
        pieces, more = body.feed(data[begin:stop])
        got += b"".join(pieces)
        after += more or b""
    assert (got, after) == (b"".join(parts), rest)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"0", b"1", b"a", b";", b":", b" ", b"x"]), max_size=14)
)
def test_the_verdict_does_not_depend_on_the_reads(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert len({verdict(data, step) for step in (0, 1, 2, 3)}) == 1
