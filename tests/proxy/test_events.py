"""The first event of a stream, errors in it, and what an answer cost."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.proxy.events import (
    HELD_BYTES,
    decoder,
    first_event,
    is_error,
    last_event,
    only_readable,
    tokens_of,
)
from kmi.proxy.records import Tokens


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_first_event_with_any_line_end(end: str) -> None:
    text = ': hello\n\nevent: x\ndata: {"a":\ndata:1}\nid: 7\n\ndata: no\n\n'.replace("\n", end)
    assert first_event(text.encode()) == b'{"a":\n1}'


def test_a_byte_at_a_time_finds_the_same_event_and_none_before() -> None:
    text = b': ping\n\n\n: pong\r\n\r\ndata: {"choices": []}\n\ndata: [DONE]\n\n'
    found = [first_event(text[:size]) for size in range(len(text) + 1)]
    whole = text.index(b"\n\ndata: [") + 2
    assert found[:whole] == [None] * whole
    assert set(found[whole:]) == {b'{"choices": []}'}


@given(st.binary(max_size=200))
def test_they_are_total(junk: bytes) -> None:
    event = first_event(junk)
    assert event is None or event
    is_error(junk)
    last_event(junk)
    tokens_of(b'"usage"' + junk)


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        ({"error": {"message": "x", "type": "y"}}, True),
        ({"type": "error", "error": {"message": "x"}}, True),
        ({"error": "text"}, True),
        ({"choices": [{"delta": {"content": '{"error": 1}'}}]}, False),
        ({"choices": [], "error": None}, False),
        ({"choices": [], "error": {"message": "x"}}, False),
        ({"error": {}}, False),
        (["error"], False),
    ],
)
def test_what_an_error_is(event: object, is_one: bool) -> None:
    assert is_error(json.dumps(event).encode()) is is_one


@pytest.mark.parametrize("junk", [b"", b"{", b"[DONE]", b'{"error"', b'{"error":' + b"[" * 9000])
def test_what_is_no_json_is_no_error(junk: bytes) -> None:
    assert not is_error(junk)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_a_compressed_body_is_read_in_pieces(how: str, size: int) -> None:
    text = json.dumps({"error": {"message": "weekly (7-day) usage limit"}}).encode()
    packed = gzip.compress(text) if how == "gzip" else zlib.compress(text)
    undo = decoder(how.encode())
    assert undo is not None
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert b"".join(map(undo, pieces)) == text


def test_a_bomb_gives_no_more_than_is_read() -> None:
    undo = decoder(b"gzip")
    assert undo is not None
    assert len(undo(gzip.compress(b"\0" * 50_000_000))) <= HELD_BYTES


def test_an_unknown_encoding_is_not_read_and_garbage_is_no_gzip() -> None:
    assert decoder(b"br") is None
    undo = decoder(b"gzip")
    assert undo is not None
    with pytest.raises(ValueError, match="header"):
        undo(b"not gzip at all")


@pytest.mark.parametrize("size", [1, 1000])
def test_all_parts_of_a_gzip_file_are_read(size: int) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    undo = decoder(b"gzip")
    assert undo is not None
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert b"".join(map(undo, pieces)) == b"one two"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("gzip;q=1.0,  deflate", "gzip;q=1.0,  deflate"),
        ("br;q=1.0, GZip;q=0.8, *;q=0.1", "GZip;q=0.8"),
        ("*", "identity"),
        ("br", "identity"),
        ("", ""),
    ],
)
def test_only_what_can_be_read_is_asked_for(given: str, wanted: str) -> None:
    line = "X-Accept-Encoding: br\r\naccept-ENCODING: {}\r\nAccept: br\r\n"
    assert only_readable(line.format(given).encode()) == line.format(wanted).encode()


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [
        (
            'x"usage":{"prompt_tokens":12,"completion_tokens": 5,"cached_tokens":4}',
            Tokens(12, 4, 5),
        ),
        (
            '"usage":{"input_tokens":9,"output_tokens":3,"cache_read_input_tokens":2}',
            Tokens(9, 2, 3),
        ),
        ('"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}', Tokens(2, 0, 0)),
        ('"usage":{"output_tokens":3}', Tokens(0, 0, 3)),
        ('"content":"\\"usage\\":{\\"prompt_tokens\\":1}"', None),
        ('"usage":null', None),
        ("", None),
    ],
)
def test_what_an_answer_cost(tail: str, wanted: Tokens | None) -> None:
    assert tokens_of(tail.encode()) == wanted


def test_the_last_event_before_the_end() -> None:
    tail = b'tial"}\n\ndata: {"error": {"message": "x"}}\n\ndata: [DONE]\n\n'
    assert last_event(tail) == b'{"error": {"message": "x"}}'
    assert last_event(b"") == b""


def test_an_event_without_data_is_passed_over() -> None:
    assert first_event(b"event: ping\n\nid: 3\n\ndata: x\n\n") == b"x"
    assert first_event(b"event: ping\n\n") is None
