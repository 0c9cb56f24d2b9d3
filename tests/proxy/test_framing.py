"""Heads: what is refused, with which status, and what is taken; whatever the reads cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kmi.proxy.framing import (
    BadMessage,
    Framing,
    RequestHead,
    ResponseHead,
    downstream_fields,
    head_end,
    request_head,
    response_head,
    upstream_fields,
)
from kmi.proxy.grammar import MAX_FIELDS, MAX_HEAD_BYTES, MAX_LINE_BYTES, request_fault

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = b"Host: 127.0.0.1:54123\r\n"


def get(*fields: bytes, line: bytes = b"GET /v1/models HTTP/1.1", host: bytes = HOST) -> bytes:
    """A request from its lines."""
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def ok(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response from its lines."""
    return get(*fields, line=line, host=b"")


def read_request(data: bytes, step: int = 0) -> tuple[RequestHead, int]:
    """Read a head as a connection does, ``step`` bytes at once (0: all)."""
    end = received(data, step)
    return request_head(data[:end]), end


def read_response(data: bytes, step: int = 0, method: bytes = b"GET") -> tuple[ResponseHead, int]:
    end = received(data, step, answer=True)
    return response_head(data[:end], method), end


def received(data: bytes, step: int, *, answer: bool = False) -> int:
    buffer = bytearray()
    end = -1
    for at in range(0, len(data), step or len(data)):
        searched = len(buffer)
        buffer += data[at : at + (step or len(data))]
        end = head_end(buffer, searched=searched, answer=answer)
        assert end == head_end(bytes(buffer), answer=answer), "what was searched changes nothing"
        assert end == max(-1, head_end(b"xyz\r\n\r\n" + buffer, 7, answer=answer) - 7)
        if end >= 0:
            break
    assert end >= 0, "the head never ends"
    return end


def refusal(read: Callable[..., object], *args: object) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        read(*args)
    return caught.value


# Requests that are refused.

LONG_VALUE = b"v" * 700
REFUSED: dict[str, tuple[bytes, int, str]] = {
    # How long the body is.
    "length and coding": (get(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400, "exclude"),
    "coding and length": (get(b"transfer-encoding: chunked", b"content-length: 0"), 400, "exclude"),
    "two lengths": (get(b"Content-Length: 3", b"Content-Length: 4"), 400, "length is there twice"),
    "equal lengths": (get(b"Content-Length: 3", b"content-length: 3"), 400, "is there twice"),
    "a list of lengths": (get(b"Content-Length: 3, 3"), 400, "not one number"),
    "a plus": (get(b"Content-Length: +3"), 400, "not one number"),
    "a minus": (get(b"Content-Length: -3"), 400, "not one number"),
    "an underscore": (get(b"Content-Length: 1_0"), 400, "not one number"),
    "hexadecimal": (get(b"Content-Length: 0x3"), 400, "not one number"),
    "a fraction": (get(b"Content-Length: 3.0"), 400, "not one number"),
    "blanks within": (get(b"Content-Length: 3 0"), 400, "not one number"),
    "digits of other scripts": (get(b"Content-Length: \xb2"), 400, "not one number"),
    "no digits": (get(b"Content-Length:"), 400, "not one number"),
    "20 digits": (get(b"Content-Length: " + b"0" * 19 + b"3"), 400, "not one number"),
    "coding gzip": (get(b"Transfer-Encoding: gzip"), 400, "only transfer-encoding"),
    "codings": (get(b"Transfer-Encoding: gzip, chunked"), 400, "only transfer-encoding"),
    "chunked twice": (get(b"Transfer-Encoding: chunked, chunked"), 400, "only transfer-encoding"),
    "chunked and nothing": (get(b"Transfer-Encoding: chunked,"), 400, "only transfer-encoding"),
    "chunked, identity": (get(b"Transfer-Encoding: chunked, identity"), 400, "only transfer"),
    "a parameter": (get(b"Transfer-Encoding: chunked;q=1"), 400, "only transfer-encoding"),
    "quoted": (get(b'Transfer-Encoding: "chunked"'), 400, "only transfer-encoding"),
    "xchunked": (get(b"Transfer-Encoding: xchunked"), 400, "only transfer-encoding"),
    "no coding": (get(b"Transfer-Encoding:"), 400, "only transfer-encoding"),
    "two codings": (
        get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400, "is there twice",
    ),
    "chunked in 1.0": (
        get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), 400, "http/1.0 has no",
    ),
    # The bytes of a head.
    "bare LF": (get(b"A: b\nC: d"), 400, "CRLF"),
    "bare LF behind the request": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400, "CRLF"),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "CRLF"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "CRLF"),
    "empty line of LF, CRLF": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "CRLF"),
    "bare CR": (get(b"A: b\rC: d"), 400, "a CR"),
    "bare CR in a name": (get(b"A\rB: d"), 400, "a CR"),
    "bare CR in the request": (get(line=b"GET /\r HTTP/1.1"), 400, "a CR"),
    "CR CR LF": (get(b"A: b\r"), 400, "a CR"),
    "NUL": (get(b"A: b\0c"), 400, "control"),
    "NUL in a name": (get(b"A\0: b"), 400, "control"),
    "NUL in the target": (get(line=b"GET /\0 HTTP/1.1"), 400, "control"),
    "escape": (get(b"A: \x1b[2J"), 400, "control"),
    "vertical tab": (get(b"A:\x0bb"), 400, "control"),
    "delete": (get(b"A: \x7f"), 400, "control"),
    "folded": (get(b"A: b", b" c"), 400, "folded"),
    "folded with a tab": (get(b"A: b", b"\tc: d"), 400, "folded"),
    "folded at once": (get(b" A: b", host=b""), 400, "folded"),
    "blank before the colon": (get(b"A : b"), 400, "before the colon"),
    "tab before the colon": (get(b"Transfer-Encoding\t: chunked"), 400, "before the colon"),
    "no colon": (get(b"A"), 400, "field name"),
    "no name": (get(b": b"), 400, "field name"),
    "a name that is no token": (get(b"A(b): c"), 400, "field name"),
    "a blank in a name": (get(b"A b: c"), 400, "field name"),
    "obs-text in a name": (get(b"\xc3\xa4: c"), 400, "field name"),
    "an empty line first": (b"\r\n" + get(), 400, "before the first line"),
    "a LF first": (b"\n" + get(), 400, "before the first line"),
    "a blank first": (b" " + get(), 400, "before the first line"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "TLS"),
    # The request line.
    "absolute": (get(line=b"GET http://127.0.0.1:54123/ HTTP/1.1"), 400, "target"),
    "another host": (get(line=b"GET https://evil.com/v1 HTTP/1.1"), 400, "target"),
    "authority": (get(line=b"GET evil.com:443 HTTP/1.1"), 400, "target"),
    "asterisk": (get(line=b"OPTIONS * HTTP/1.1"), 400, "target"),
    "relative": (get(line=b"GET v1/models HTTP/1.1"), 400, "target"),
    "CONNECT": (get(line=b"CONNECT evil.com:443 HTTP/1.1"), 400, "CONNECT"),
    "CONNECT to a path": (get(line=b"CONNECT /v1 HTTP/1.1"), 400, "CONNECT"),
    "connect": (get(line=b"connect /v1 HTTP/1.1"), 400, "CONNECT"),
    "TRACE": (get(line=b"TRACE / HTTP/1.1"), 400, "TRACE"),
    "no target": (get(line=b"GET HTTP/1.1"), 400, "request line"),
    "no method": (get(line=b"/ HTTP/1.1"), 400, "request line"),
    "no version": (get(line=b"GET /"), 400, "request line"),
    "a method that is no token": (get(line=b"G@T / HTTP/1.1"), 400, "request line"),
    "a long blank": (get(line=b"GET  / HTTP/1.1"), 400, "request line"),
    "a tab": (get(line=b"GET\t/ HTTP/1.1"), 400, "request line"),
    "a blank in the target": (get(line=b"GET /a b HTTP/1.1"), 400, "request line"),
    "a blank at the end": (get(line=b"GET / HTTP/1.1 "), 400, "request line"),
    "not ASCII": (get(line=b"GET /\xc3\xa4 HTTP/1.1"), 400, "request line"),
    "lower case": (get(line=b"GET / http/1.1"), 400, "request line"),
    "two digits": (get(line=b"GET / HTTP/1.10"), 400, "request line"),
    "an answer": (ok(), 400, "request line"),
    "1.2": (get(line=b"GET / HTTP/1.2"), 400, "spoken"),
    "0.9": (get(line=b"GET / HTTP/0.9"), 400, "spoken"),
    "2.0": (get(line=b"GET / HTTP/2.0"), 400, "spoken"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "spoken"),
    # Fields that the proxy acts on.
    "no Host": (get(b"A: b", host=b""), 400, "host is missing"),
    "no fields": (get(host=b""), 400, "host is missing"),
    "no Host in 1.0": (get(host=b"", line=b"GET / HTTP/1.0"), 400, "host is missing"),
    "two Hosts": (get(b"Host: evil.com"), 400, "host is there twice"),
    "equal Hosts": (get(HOST[:-2]), 400, "host is there twice"),
    "Upgrade": (get(b"Connection: Upgrade", b"Upgrade: websocket"), 400, "upgrade"),
    "h2c": (get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), 400, "upgrade"),
    "two Authorizations": (
        get(b"Authorization: Bearer a", b"authorization: Bearer a"), 400, "authorization is there",
    ),
    "two API keys": (get(b"X-Api-Key: a", b"x-api-key: b"), 400, "x-api-key is there twice"),
    "two Origins": (get(b"Origin: null", b"Origin: http://a"), 400, "origin is there twice"),
    "two Sec-Fetch-Sites": (
        get(b"Sec-Fetch-Site: none", b"Sec-Fetch-Site: cross-site"), 400, "is there twice",
    ),
    # Lengths.
    "a long request line": (get(line=b"GET /" + b"a" * 8179 + b" HTTP/1.1"), 414, "request line"),
    "an endless request line": (b"GET /" + b"a" * 9000, 414, "request line"),
    "too many fields": (get(*[b"A: b"] * MAX_FIELDS), 431, "more than 100 fields"),
    "a long head": (get(*[b"A: " + LONG_VALUE] * 95), 431, "the head is longer"),
    "an endless head": (get(*[b"A: " + LONG_VALUE] * 95)[:-2], 431, "the head is longer"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_is_refused(name: str) -> None:
    data, status, reason = REFUSED[name]
    error = refusal(read_request, data)
    assert (error.status, reason in error.reason) == (status, True), error
    # ... and for the same reason when it comes in single bytes, or is followed by more.
    if len(data) < 10_000:
        alone = refusal(read_request, data, 1)
        assert (alone.status, alone.reason) == (error.status, error.reason)
    more = refusal(read_request, data + get())
    assert (more.status, more.reason) == (error.status, error.reason)


BAD_HOSTS = [
    *(b"", b"a b", b"a,b", b"a/b", b"a@b", b"user:word@a", b"a#b", b"a?b", b"a\\b", b"a%00b"),
    *(b"\xc3\xa4", b"a:", b"a:b", b"a:-1", b"a:123456", b"a:1:2", b":80", b"[::1", b"::1"),
    *(b"[::1]x", b"[g::]", b"[]", b"a;b", b"'a'", b"<a>", b"a\tb"),
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_is_refused(host: bytes) -> None:
    error = refusal(read_request, get(host=b"Host: " + host + b"\r\n"))
    assert (error.status, error.reason.startswith("host is not a name")) == (400, True)


def test_reasons_show_nothing_of_the_message() -> None:
    for name, (data, _, _) in REFUSED.items():
        assert "evil" not in refusal(read_request, data).reason, name


# Requests that are taken.


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:54123", b"[::1]:1", b"a_b.example."])
def test_a_host_is_taken(host: bytes) -> None:
    assert read_request(get(host=b"hOST:\t" + host + b" \r\n"))[0].host == host


POST = get(
    b"connection: Keep-Alive, X-Hop,,",
    b"Authorization:  Bearer abc\t ",
    b"X-API-Key: def",
    b"content-length: 0042",
    b"EXPECT: 100-Continue",
    b"x-msh-device-id: 1",
    b"X-Empty:",
    b"x-obs: gr\xc3\xbc\xdf\te",
    b"X-Hop: 1",
    b"x-msh-device-id: 2",
    line=b"POST /v1/chat/completions?a=//b%2f..\\@#x HTTP/1.1",
)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7, 64])
def test_a_request_is_read(step: int) -> None:
    head, end = read_request(POST + b"{...}", step)
    assert end == len(POST)
    assert head == RequestHead(
        method=b"POST",
        target=b"/v1/chat/completions?a=//b%2f..\\@#x",
        minor=1,
        fields=POST.partition(b"\r\n")[2][:-2],
        kept=b"x-msh-device-id: 1\r\nX-Empty:\r\nx-obs: gr\xc3\xbc\xdf\te\r\nX-Hop: 1\r\n"
        b"x-msh-device-id: 2\r\n",
        host=b"127.0.0.1:54123",
        authorization=b"Bearer abc",
        api_key=b"def",
        origin=None,
        fetch_site=None,
        length=42,
        chunked=False,
        keep_alive=True,
        expects_continue=True,
        connection=(b"keep-alive", b"x-hop"),
    )
    assert upstream_fields(head) == head.kept.replace(b"X-Hop: 1\r\n", b"")
    assert head.get(b"x-msh-device-id") == b"1"
    assert head.get(b"x-empty") == b""
    assert head.get(b"x-obs") == b"gr\xc3\xbc\xdf\te"
    assert head.get(b"host") == b"127.0.0.1:54123"
    assert head.get(b"device-id") is None
    assert head.get(b"x-msh-device") is None


def test_a_request_says_nothing_of_a_body() -> None:
    head = request_head(get())
    assert (head.length, head.chunked) == (None, False)
    assert (head.authorization, head.api_key, head.origin, head.fetch_site) == (None,) * 4
    assert (head.keep_alive, head.expects_continue, head.connection) == (True, False, ())


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"\tCHUNKED "])
def test_a_chunked_request(coding: bytes) -> None:
    head = request_head(get(b"Transfer-Encoding:" + coding))
    assert (head.length, head.chunked) == (None, True)


@pytest.mark.parametrize(
    "line, fields, kept",
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.1", [b"Connection: CLOSE"], False),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive, close"], False),
        (b"GET / HTTP/1.1", [b"Connection: a", b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: closed"], True),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.0", [b"Connection: keep-alive"], False),
    ],
)
def test_whether_the_connection_is_kept(line: bytes, fields: list[bytes], kept: bool) -> None:
    head = request_head(get(*fields, line=line))
    assert (head.keep_alive, head.minor) == (kept, int(line[-1:]))


@pytest.mark.parametrize(
    "line, fields, expects",
    [
        (b"POST / HTTP/1.1", [b"Expect: 100-continue"], True),
        (b"POST / HTTP/1.1", [b"Expect: x", b"Expect: 100-continue"], True),
        (b"POST / HTTP/1.1", [b"Expect: 200-ok"], False),
        (b"POST / HTTP/1.0", [b"Expect: 100-continue"], False),
    ],
)
def test_whether_a_client_waits(line: bytes, fields: list[bytes], expects: bool) -> None:
    assert request_head(get(*fields, line=line)).expects_continue is expects


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"PATCH", b"M-SEARCH", b"CONNECTED", b"x"])
def test_methods_are_passed_on(method: bytes) -> None:
    assert request_head(get(line=method + b" / HTTP/1.1")).method == method


def test_what_a_web_page_sends_is_told() -> None:
    head = request_head(get(b"Origin: null", b"A: b", b"Sec-Fetch-Site: none", b"Cookie: c"))
    assert (head.origin, head.fetch_site) == (b"null", b"none")
    assert upstream_fields(head) == b"Origin: null\r\nA: b\r\nSec-Fetch-Site: none\r\n"


def test_the_longest_that_is_taken() -> None:
    line = b"GET /" + b"a" * (MAX_LINE_BYTES - 14) + b" HTTP/1.1"
    assert (len(line), MAX_HEAD_BYTES, MAX_FIELDS) == (8192, 65536, 100)
    assert read_request(get(line=line))[1] == len(get(line=line))
    fields = get(*[b"A: b"] * (MAX_FIELDS - 1))
    assert len(read_request(fields)[0].fields.splitlines()) == MAX_FIELDS
    rest = MAX_HEAD_BYTES - len(get(b"A: "))
    assert read_request(get(b"A: " + b"b" * rest))[1] == MAX_HEAD_BYTES
    assert refusal(read_request, get(b"A: " + b"b" * (rest + 1))).status == 431
    # How large a body may be is not for its head to say: a large one is passed on as it comes.
    assert request_head(get(b"Content-Length: " + b"9" * 19)).length == 10**19 - 1
    assert request_head(get(b"Content-Length: " + b"0" * 18 + b"3")).length == 3


def test_limits_hold_without_head_end() -> None:
    """Whoever has a whole head already can't pass them either."""
    for name in ("a long request line", "a long head"):
        data, status, _ = REFUSED[name]
        assert refusal(request_head, data).status == status


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\r\n\r\n", get()[:-2], get() + b"x", get() + get()]
)
def test_only_a_whole_head_and_nothing_else_is_one(data: bytes) -> None:
    assert refusal(request_head, data).status == 400
    assert refusal(response_head, data, b"GET").status == 502


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n\r\n"])
def test_nobody_waits_for_an_end_that_was_there(end: bytes) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a" + end
    assert [head_end(data + rest) for rest in (b"", b"\n", b"A: b\n")] == [len(data)] * 3
    assert all(head_end(data[:stop]) == -1 for stop in range(len(data)))


# Responses that are refused: as requests, with 502.

REFUSED_ANSWERS: dict[str, bytes] = {
    "length and coding": ok(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "two lengths": ok(b"Content-Length: 3", b"Content-Length: 4"),
    "three lengths": ok(b"Content-Length: 3", b"Content-Length: 3", b"Content-Length: 4"),
    "a list of lengths": ok(b"Content-Length: 3, 3"),
    "no digits": ok(b"Content-Length: +3"),
    "20 digits": ok(b"Content-Length: " + b"1" * 20),
    "gzip": ok(b"Transfer-Encoding: gzip, chunked"),
    "two codings": ok(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked in 1.0": ok(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"),
    "bare LF": ok(b"A: b\nC: d"),
    "bare LF everywhere": b"HTTP/1.1 200 OK\nA: b\n\n",
    "bare CR": ok(b"A: b\rC: d"),
    "NUL": ok(b"A: b\0"),
    "escape in the reason": ok(line=b"HTTP/1.1 200 \x1b[2J"),
    "folded": ok(b"A: b", b" c"),
    "blank before the colon": ok(b"A : b"),
    "no colon": ok(b"A"),
    "101": ok(b"Upgrade: h2c", line=b"HTTP/1.1 101 Switching"),
    "1.2": ok(line=b"HTTP/1.2 200 OK"),
    "2.0": ok(line=b"HTTP/2.0 200 OK"),
    "two digits": ok(line=b"HTTP/1.1 20 OK"),
    "four digits": ok(line=b"HTTP/1.1 2000 OK"),
    "status 000": ok(line=b"HTTP/1.1 000 OK"),
    "status 099": ok(line=b"HTTP/1.1 099 OK"),
    "two blanks": ok(line=b"HTTP/1.1  200 OK"),
    "no status": ok(line=b"HTTP/1.1"),
    "shoutcast": ok(line=b"ICY 200 OK"),
    "a request": get(),
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "an empty line first": b"\r\n" + ok(),
    "too many fields": ok(*[b"A: b"] * (MAX_FIELDS + 1)),
    "a long head": ok(*[b"A: " + LONG_VALUE] * 95),
    "an endless line": b"HTTP/1.1 200 " + b"x" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("name", REFUSED_ANSWERS)
def test_a_response_is_refused(name: str) -> None:
    data = REFUSED_ANSWERS[name]
    error = refusal(read_response, data)
    assert error.status == 502
    if len(data) < 10_000:
        assert refusal(read_response, data, 1).reason == error.reason


# Responses that are taken.

STREAM = ok(
    b"Content-Type: Text/Event-Stream ; charset=utf-8",
    b"transfer-encoding: chunked",
    b"Connection: keep-alive",
    b"Retry-After: 7",
    b"Set-Cookie: a=b",
    b"Set-Cookie: c=d",
    b"Content-Encoding: GZIP",
)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7, 64])
def test_a_response_is_read(step: int) -> None:
    head, end = read_response(STREAM + b"5\r\n", step, b"POST")
    assert end == len(STREAM)
    assert head == ResponseHead(
        status=200,
        reason=b"OK",
        minor=1,
        fields=STREAM.partition(b"\r\n")[2][:-2],
        framing=Framing.CHUNKED,
        length=None,
        keep_alive=True,
        content_type=b"text/event-stream",
        content_encoding=b"gzip",
        connection=(b"keep-alive",),
    )
    assert head.get(b"retry-after") == b"7"
    assert head.get(b"set-cookie") == b"a=b"
    assert head.get(b"x-trace-id") is None


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200 Very  \xc3\xa4 OK\t", b"Very  \xc3\xa4 OK\t"),
    ],
)
def test_a_reason_may_be_missing(line: bytes, reason: bytes) -> None:
    assert response_head(ok(line=line), b"GET").reason == reason


CASES: list[tuple[bytes, int, list[bytes], Framing, int | None, bool]] = [
    (b"GET", 200, [b"Content-Length: 5"], Framing.LENGTH, 5, True),
    (b"GET", 200, [b"Content-Length: 5", b"Content-Length: 5"], Framing.LENGTH, 5, True),
    (b"GET", 200, [b"Content-Length: 0"], Framing.LENGTH, 0, True),
    (b"GET", 200, [b"Content-Length: 5", b"Connection: close"], Framing.LENGTH, 5, False),
    (b"GET", 200, [b"Transfer-Encoding: Chunked"], Framing.CHUNKED, None, True),
    (b"GET", 200, [], Framing.CLOSE, None, False),
    (b"GET", 200, [b"Connection: keep-alive"], Framing.CLOSE, None, False),
    (b"GET", 999, [], Framing.CLOSE, None, False),
    (b"HEAD", 200, [b"Content-Length: 5"], Framing.NONE, 5, True),
    (b"HEAD", 200, [b"Transfer-Encoding: chunked"], Framing.NONE, None, True),
    (b"HEAD", 200, [], Framing.NONE, None, True),
    (b"GET", 204, [], Framing.NONE, None, True),
    (b"GET", 204, [b"Content-Length: 5"], Framing.NONE, 5, True),
    (b"GET", 304, [b"Content-Length: 5"], Framing.NONE, 5, True),
    (b"GET", 100, [], Framing.NONE, None, True),
    (b"GET", 103, [b"Link: </a>"], Framing.NONE, None, True),
    (b"GET", 199, [b"Content-Length: 5"], Framing.NONE, 5, True),
    (b"head", 200, [], Framing.CLOSE, None, False),
]


@pytest.mark.parametrize("method, status, fields, framing, length, kept", CASES)
def test_how_a_response_ends(
    method: bytes,
    status: int,
    fields: list[bytes],
    framing: Framing,
    length: int | None,
    kept: bool,
) -> None:
    head = response_head(ok(*fields, line=b"HTTP/1.1 %d X" % status), method)
    assert (head.status, head.framing, head.length) == (status, framing, length)
    assert head.keep_alive is kept
    old = response_head(ok(b"Content-Length: 1", line=b"HTTP/1.0 200 OK"), method)
    assert (old.keep_alive, old.minor) == (False, 0)


def test_the_longest_response_that_is_taken() -> None:
    rest = MAX_HEAD_BYTES - len(ok(b"A: "))
    assert read_response(ok(b"A: " + b"b" * rest))[1] == MAX_HEAD_BYTES
    assert refusal(read_response, ok(b"A: " + b"b" * (rest + 1))).status == 502
    assert len(read_response(ok(*[b"A: b"] * MAX_FIELDS))[0].fields.splitlines()) == MAX_FIELDS


def test_the_type_and_the_coding_of_a_response() -> None:
    head = response_head(ok(), b"GET")
    assert (head.content_type, head.content_encoding) == (b"", b"")
    head = response_head(
        ok(
            b"Content-Type: a/b",
            b"Content-Type: c/d",
            b"Content-Encoding: br",
            b"Content-Encoding: gzip",
        ),
        b"GET",
    )
    assert (head.content_type, head.content_encoding) == (b"a/b", b"br,gzip")


# What is sent on.

OWN = b"""\
HOST: a
authorization: Bearer token
X-Api-Key: token
cookie: a=b
Cookie: c=d
Proxy-Authorization: Basic x
Content-Length: 3
Expect: 100-continue
"""
HOP = b"""\
Connection: x-one , , X-TWO
keep-alive: timeout=5
Proxy-Connection: keep-alive
TE: trailers
Trailer: x
x-one: 1
X-Two: 2
"""
END_TO_END = b"""\
User-Agent: KimiCLI/1.0
x-msh-device-id:abc
X-Stainless-Lang: js
Accept-Encoding: gzip
X-Host: a
Hosts: a
Host-: a
TEX: a
X-One-More: 1
cookies: a
X-Authorization: a
Date: Host: a
Close-By: a
Accept-Encoding: br
"""


def crlf(text: bytes) -> list[bytes]:
    return text.splitlines()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_upstream_gets_everything_but_what_is_ours(order: int) -> None:
    ours, theirs = crlf(OWN + HOP), crlf(END_TO_END)
    mixed = [
        [*ours, *theirs],
        [*theirs, *ours],
        [line for n in range(20) for line in (ours[n : n + 1] + theirs[n : n + 1])],
    ][order]
    head = request_head(get(*mixed, host=b""))
    assert upstream_fields(head) == b"".join(
        # What could not be read if it were an error is not asked for.
        line.replace(b": br", b": identity") + b"\r\n"
        for line in theirs
    )


def test_upstream_gets_nothing_that_connection_names() -> None:
    for named in (b"authorization", b"host", b"user-agent", b"x-api-key, cookie", b"close"):
        head = request_head(
            get(b"User-Agent: a", b"Authorization: b", b"Connection: " + named, b"Accept: c")
        )
        kept = b"" if named == b"user-agent" else b"User-Agent: a\r\n"
        assert upstream_fields(head) == kept + b"Accept: c\r\n"
        assert head.authorization == b"b"


def test_upstream_may_get_nothing() -> None:
    assert upstream_fields(request_head(get())) == b""
    assert upstream_fields(request_head(get(b"Transfer-Encoding: chunked"))) == b""


def test_the_client_gets_everything_but_the_hop() -> None:
    kept = [*crlf(END_TO_END), b"Set-Cookie: a=b", b"WWW-Authenticate: x", b"Cookie: a", b"Host: a"]
    dropped = [*crlf(HOP), b"transfer-encoding: chunked", b"Upgrade: h2"]
    mixed = [line for n in range(20) for line in (dropped[n : n + 1] + kept[n : n + 1])]
    expected = b"".join(line + b"\r\n" for line in kept)
    assert downstream_fields(response_head(ok(*mixed), b"GET")) == expected
    assert downstream_fields(response_head(ok(*kept, *dropped), b"GET")) == expected
    assert downstream_fields(response_head(ok(b"Content-Length: 5"), b"GET")) == b""


# Time.


def test_a_hostile_head_is_judged_in_linear_steps() -> None:
    """Not a measurement: any of these would take minutes if the expressions went back and forth."""
    size = MAX_HEAD_BYTES - 200
    for data in (
        get(b"A" * size),
        get(b"A:" + b" " * size + b"\0"),
        get(b"A: " + b"\t " * (size // 2) + b"\rx"),
        get(*[b"A:" + b":" * 600] * 95, b"A\0: b"),
        get(b"Connection: " + b"a," * (size // 2), b"Connection: x\0"),
        get(line=b"A" * 8000 + b"/ HTTP/1.1"),
    ):
        assert refusal(request_head, data).status == 400
    head = request_head(get(b"Connection: " + b"a," * (size // 2), b"A: b", b"C: d"))
    assert upstream_fields(head) == b"C: d\r\n"


def test_a_head_that_does_not_end_is_told_as_one() -> None:
    fault = request_fault(b"GET / HTTP/1.1\r")
    assert (fault.status, str(fault.reason)) == (400, "the head goes on after its end")
