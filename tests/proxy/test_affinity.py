"""Which session a request belongs to, and how its key is remembered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.proxy.affinity import CAPACITY, TTL_S, Affinity, first_user_message, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM = {"role": "system", "content": 'You are {"role": "user"} Kimi, "prompt_cache_key": "no".'}


def no_header(name: bytes) -> bytes | None:
    return None


def headers(**given: str) -> Callable[[bytes], bytes | None]:
    table = {name.replace("_", "-").encode(): value.encode() for name, value in given.items()}
    return table.get


def chat(*messages: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"model": "k", "messages": list(messages), **fields}).encode()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_the_cache_key_comes_first_wherever_it_stands() -> None:
    early = json.dumps({"prompt_cache_key": "s1", "messages": [user("a")]}).encode()
    late = chat(user("b"), prompt_cache_key="s1")
    header = headers(x_session_id="other")
    assert session_of(header, early) == session_of(no_header, late) != b""
    assert session_of(header, chat(user("b"), prompt_cache_key="s2")) != session_of(header, late)


def test_then_a_header_then_the_first_message() -> None:
    body = chat(SYSTEM, user("hello"))
    by_header = session_of(headers(x_session_id="abc"), body)
    assert by_header == session_of(headers(x_session_id="abc"), chat(user("else")))
    assert by_header != session_of(headers(x_session_id="abd"), body)
    assert session_of(no_header, body) not in {b"", by_header}


def test_the_same_text_in_another_role_is_another_session() -> None:
    """A cache key, a header and a message never name the same session by chance."""
    named = session_of(no_header, chat(user("x"), prompt_cache_key="abc"))
    assert named != session_of(headers(x_session_id="abc"), chat(user("x")))


def test_the_system_prompt_alone_is_no_session() -> None:
    assert session_of(no_header, chat(SYSTEM)) == b""
    one, two = (session_of(no_header, chat(SYSTEM, user(text))) for text in ("one", "two"))
    assert one != two


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"prompt_cache_key": ""}', b'{"prompt_cache_key": null}', b'{"prompt":"x"}'],
)
def test_a_request_without_a_session(body: bytes) -> None:
    assert session_of(no_header, body) == b""


def test_an_escaped_name_is_text_and_an_escaped_quote_is_part_of_the_name() -> None:
    quoting = chat(user('send "prompt_cache_key": "stolen" please'), prompt_cache_key="mine")
    assert session_of(no_header, quoting) == session_of(no_header, chat(prompt_cache_key="mine"))
    one = session_of(no_header, chat(prompt_cache_key='a"b'))
    two = session_of(no_header, chat(prompt_cache_key='a"c'))
    assert b"" not in {one, two}
    assert one != two


ROLE_LAST = {"content": 'while (1) { say("{") } \\', "role": "user"}
PARTS = {"role": "user", "content": [{"type": "text", "text": 'a } ] "'}, {"type": "image"}]}


@pytest.mark.parametrize("first", [user('a "quoted" { brace \\'), ROLE_LAST, PARTS])
@pytest.mark.parametrize("before", [[], [SYSTEM], [SYSTEM, {"role": "assistant", "content": "{"}]])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_conversation_that_grows_stays_one_session(
    first: dict[str, Any], before: list[dict[str, Any]], indent: int | None
) -> None:
    def asked(*later: dict[str, Any]) -> bytes:
        table = {"tools": [{"x": {"role": "user"}}], "messages": [*before, first, *later]}
        return json.dumps(table, indent=indent).encode()

    more: list[dict[str, Any]] = []
    names = set()
    for text in ("ok", 'no " }', "{{{"):
        names.add(session_of(no_header, asked(*more)))
        more += [{"role": "assistant", "content": text}, user(text)]
    assert len(names) == 1
    assert b"" not in names
    assert json.loads(first_user_message(asked(*more))) == first


def test_a_long_first_message_counts_by_its_beginning() -> None:
    long = "x" * 200_000
    one, two = chat(user(long)), chat(user(long), user("more"))
    assert session_of(no_header, one) == session_of(no_header, two) != b""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=3), json_values, json_values)
def test_the_first_message_is_found_in_any_json(
    around: dict[str, Any], content: Any, later: Any
) -> None:
    first = {"content": content, "role": "user"}
    table = {**around, "messages": [{"role": "system", "content": "{["}, first, {"x": later}]}
    assert json.loads(first_user_message(json.dumps(table).encode())) == first


@given(st.binary(max_size=300), st.sampled_from([b"", b'{"messages": [', b'"prompt_cache_key":"']))
def test_it_is_total(junk: bytes, before: bytes) -> None:
    assert len(session_of(no_header, before + junk)) in {0, 8}
    assert first_user_message(before + junk) in before + junk


def test_seats_slide_in_time() -> None:
    seats = Affinity()
    seats.keep(b"s", "a", 0.0)
    assert seats.find(b"s", TTL_S) is not None
    seats.keep(b"s", "a", TTL_S)
    found = seats.find(b"s", 2 * TTL_S)
    assert found is not None
    assert found.key_id == "a"
    assert seats.find(b"s", 2 * TTL_S + 1) is None
    assert len(seats) == 0


def test_the_least_recently_used_goes_first() -> None:
    seats = Affinity(capacity=2)
    for now, session in enumerate([b"1", b"2", b"1", b"3"]):
        seats.keep(session, "a", float(now))
    assert [seats.find(s, 5.0) is not None for s in (b"1", b"2", b"3")] == [True, False, True]


def test_a_hundred_thousand_sessions_are_bounded() -> None:
    seats = Affinity()
    for number in range(100_000):
        seats.keep(number.to_bytes(8, "big"), "a", float(number) / 1e3)
    assert len(seats) == CAPACITY == 4096
    assert seats.find((99_999).to_bytes(8, "big"), 100.0) is not None


def test_all_sessions_move_at_once_and_grow_no_younger() -> None:
    seats = Affinity()
    for number in range(10):
        seats.keep(bytes([number]), "a", float(number))
    seats.move_all("b")
    found = [seats.find(bytes([number]), 10.0) for number in range(10)]
    assert [seat and seat.key_id for seat in found] == ["b"] * 10
    assert seats.find(b"\x00", TTL_S + 0.5) is None


@pytest.mark.parametrize(
    "cut",
    [
        b'{"messages":[{"role":"user"',  # no end of the object
        b'{"messages":[{"role":"us',  # none of a string
        b'{"messages":[{"content":"x","role":"assistant"},{"role":"tool"',
    ],
)
def test_a_body_that_is_cut_off_gives_what_is_there(cut: bytes) -> None:
    assert first_user_message(cut) == (cut[cut.index(b"{", 1) :] if b'"user"' in cut else b"")


def test_only_the_first_messages_are_walked_over() -> None:
    many = chat(*[{"role": "system", "content": "x"}] * 200, user("late"))
    assert first_user_message(many) == b""
