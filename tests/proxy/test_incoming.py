"""An answer as it comes in, at any split: what is held back, and what is an error."""

from __future__ import annotations

import gzip
import json

import pytest

from kmi.proxy.framing import BadMessage
from kmi.proxy.incoming import Incoming, Stage

ERROR = json.dumps({"error": {"message": "usage limit for this period", "type": "x"}}).encode()
EVENT = b'data: {"choices": []}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def answer(status: int, body: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *fields, b"", body]
    return b"\r\n".join(lines)


def fed(text: bytes, size: int, method: bytes = b"POST") -> tuple[Incoming, list[Stage]]:
    """Feed a text in pieces until it is judged; the rest belongs to the body."""
    incoming, stages = Incoming(method), []
    for at in range(0, len(text), size):
        stages.append(incoming.feed(text[at : at + size]))
    return incoming, stages


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("encoding", [b"", b"gzip"])
def test_an_error_is_judged_when_it_is_whole(encoding: bytes, size: int) -> None:
    body = gzip.compress(ERROR) if encoding else ERROR
    fields = (b"Content-Encoding: gzip",) if encoding else ()
    incoming, stages = fed(answer(403, body, *fields), size)
    assert stages[-1] is Stage.ERROR
    assert set(stages[:-1]) <= {Stage.HEAD, Stage.HELD}
    assert incoming.text == ERROR
    assert incoming.release() == body
    assert incoming.reusable


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_stream_is_held_until_its_first_event(size: int) -> None:
    text = STREAM + chunked(b": ping\n\n", EVENT, b"data: [DONE]\n\n")
    incoming, stages = fed(text, size)
    assert stages[-1] is Stage.GOOD
    if size == 1:
        first = text.index(EVENT) + len(EVENT)
        assert stages[first - 1] is Stage.GOOD
        assert Stage.GOOD not in stages[: first - 1]
    assert incoming.release() == text[len(STREAM) :]
    assert incoming.ended


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_an_error_as_the_first_event_is_an_error(size: int) -> None:
    text = STREAM + chunked(b": ping\n\n", b"data: " + ERROR + b"\n\n")
    incoming, at = Incoming(b"POST"), 0
    while incoming.stage in {Stage.HEAD, Stage.HELD}:
        incoming.feed(text[at : at + size])
        at += size
    assert incoming.stage is Stage.ERROR
    assert incoming.text == ERROR
    # It may have to be handed on after all: no byte is lost.
    held = incoming.release()
    assert held + text[at:] == text[len(STREAM) :]
    assert incoming.track(text[at:]) == len(text[at:])
    assert incoming.ended


def test_a_later_error_is_not_held_back() -> None:
    text = STREAM + chunked(EVENT, b"data: " + ERROR + b"\n\n")
    assert fed(text, 10_000)[1] == [Stage.GOOD]


def test_a_first_event_that_never_ends_is_let_go() -> None:
    text = STREAM + chunked(*[b"data: " + b"x" * 1000] * 80)
    incoming, stages = fed(text, 4096)
    assert stages[-1] is Stage.GOOD
    assert stages.count(Stage.HELD) >= 15
    assert incoming.release() == text[len(STREAM) :]


def test_a_good_answer_that_is_no_stream_is_handed_on_at_once() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    assert fed(head, 10_000)[1] == [Stage.GOOD]


def test_an_empty_stream_is_handed_on() -> None:
    incoming, stages = fed(STREAM + chunked(), 10_000)
    assert stages == [Stage.GOOD]
    assert incoming.ended


def test_a_redirect_is_an_error_and_a_head_has_no_body() -> None:
    incoming, stages = fed(answer(302, b"", b"Location: https://evil"), 10_000)
    assert stages == [Stage.ERROR]
    assert incoming.is_error
    head, stages = fed(b"HTTP/1.1 403 X\r\nContent-Length: 999\r\n\r\n", 10_000, b"HEAD")
    assert stages == [Stage.ERROR]
    assert head.reusable


def test_interim_answers_are_skipped_and_what_follows_the_end_is_noticed() -> None:
    text = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + answer(200, b"ok") + b"HTTP/1.1 200"
    incoming, _ = fed(text, 10_000)
    assert incoming.release() == b"ok"
    assert incoming.ended
    assert not incoming.clean
    assert not incoming.reusable


def test_until_the_connection_closes() -> None:
    incoming, stages = fed(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc", 10_000)
    assert stages == [Stage.GOOD]
    assert incoming.until_close
    assert not incoming.ended
    assert not incoming.reusable


@pytest.mark.parametrize("text", [b"nonsense\r\n\r\n", STREAM + b"zz\r\nhello"])
def test_what_is_not_http_is_refused(text: bytes) -> None:
    with pytest.raises(BadMessage):
        fed(text, 10_000)
