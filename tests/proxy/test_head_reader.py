"""A head that is remembered is read as if it were new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.proxy.framing import BadMessage, RequestHead, request_head
from kmi.proxy.head_reader import CAPACITY, LONGEST_BYTES, HeadReader

from .test_framing import REFUSED, get

POST = b"POST /v1/chat/completions HTTP/1.1"
#: Lines around the one that differs; some of them speak of it, or would make it wrong.
LINES = [
    b"Authorization: Bearer t",
    b"Connection: close",
    b"Connection: content-length",
    b"Content-Length: 7",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"X-Note: Content-Length: 5",
    b"x-session-id: a",
    b"Cookie: c",
]


def outcome(read: object, data: bytes) -> RequestHead | tuple[int, str]:
    try:
        head: RequestHead = read(data)  # type: ignore[operator]  # both readers are called so
    except BadMessage as error:
        return error.status, error.reason
    return head


@given(
    st.lists(st.sampled_from(LINES), max_size=4),
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from([b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH:  "]),
    st.lists(
        st.one_of(
            st.integers(0, 10**16).map(lambda number: b"%d" % number),
            st.sampled_from([b"", b"007", b"+1", b"1,1", b"0x1", b"1 ", b"9" * 25]),
        ),
        min_size=2,
        max_size=4,
    ),
)
def test_it_says_what_a_fresh_look_says(
    before: list[bytes], after: list[bytes], name: bytes, lengths: list[bytes]
) -> None:
    reader = HeadReader()
    for length in [*lengths, *lengths]:
        data = get(*before, name + length, *after, line=POST)
        assert outcome(reader.read, data) == outcome(request_head, data)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_again(name: str) -> None:
    data = REFUSED[name][0]
    reader = HeadReader()
    first = outcome(reader.read, data)
    assert first == outcome(request_head, data)
    assert outcome(reader.read, data) == first


def test_a_second_length_is_noticed_although_the_first_is_known() -> None:
    reader = HeadReader()
    assert reader.read(get(b"Content-Length: 5", line=POST)).length == 5
    assert reader.read(get(b"Content-Length: 6", line=POST)).length == 6
    with pytest.raises(BadMessage):
        reader.read(get(b"Content-Length: 5", b"Content-Length: 6", line=POST))
    assert len(reader) == 1


def test_its_memory_is_bounded() -> None:
    reader = HeadReader()
    for number in range(3 * CAPACITY):
        reader.read(get(b"X: %d" % number, b"Content-Length: 1", line=POST))
        assert len(reader) <= CAPACITY
    kept = len(reader)
    reader.read(get(b"X: " + b"x" * LONGEST_BYTES, b"Content-Length: 1", line=POST))
    assert len(reader) == kept
