"""Framing against h11: the same verdict, the same body, the same end, however the bytes come.

kmi may be stricter where `STRICTER` says so, with a reason for each line; laxer is a failure. h11
below 0.16 has the bug that `Careless` shows, so it is no measure.

More than the few hundred messages of each run: ``FRAMING_EXAMPLES=20000``.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import h11
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from kmi.proxy.chunks import ChunkedBody, ChunkedTracker
from kmi.proxy.framing import (
    BadMessage,
    Framing,
    RequestHead,
    ResponseHead,
    head_end,
    request_head,
    response_head,
    upstream_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLES = int(os.environ.get("FRAMING_EXAMPLES", "300"))
DONE, MORE, BAD = "done", "more", "bad"


class Outcome(NamedTuple):
    """What one parser made of the first message in some bytes.

    Attributes:
        verdict: read to its end; not ended; refused.
        reason: of the refusal.
        start: method and target, or the status.
        fields: names and values, as they came.
        body: what was decoded.
        end: where the message ends.
    """

    verdict: str
    reason: str = ""
    start: tuple[object, ...] = ()
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    end: int = -1


# kmi's parser, driven as a connection does.


class Reader:
    """One message that comes in parts; ``method`` None reads a request, else an answer to it."""

    def __init__(self, method: bytes | None, body: type[ChunkedBody] = ChunkedBody) -> None:
        self.method = method
        self.chunks = body(status=400 if method is None else 502)
        self.tracker = ChunkedTracker(status=400 if method is None else 502)
        self.compared = body is ChunkedBody
        self.buffer = bytearray()
        self.head: RequestHead | ResponseHead | None = None
        self.framing = Framing.NONE
        self.left = 0
        self.body = bytearray()
        self.end = 0
        self.verdict, self.reason = MORE, ""

    def feed(self, part: bytes) -> None:
        if self.verdict != MORE:
            return
        try:
            if self.head is None:
                part = self.feed_head(part)
            if self.head is not None:
                self.feed_body(part)
        except BadMessage as error:
            self.verdict, self.reason = BAD, error.reason

    def feed_head(self, part: bytes) -> bytes:
        searched = len(self.buffer)
        self.buffer += part
        answer = self.method is not None
        end = head_end(self.buffer, searched=searched, answer=answer)
        while end >= 0:
            data, rest = bytes(self.buffer[:end]), bytes(self.buffer[end:])
            self.end += end
            if self.method is None:
                head = self.head = request_head(data)
                self.left = head.length or 0
                self.framing = Framing.CHUNKED if head.chunked else Framing.LENGTH
                return rest
            answered = response_head(data, self.method)
            if answered.status >= 200:
                self.head = answered
                self.left = answered.length or 0
                self.framing = answered.framing
                return rest
            self.buffer[:] = rest
            end = head_end(self.buffer, answer=answer)
        return b""

    def feed_body(self, part: bytes) -> None:
        if self.framing is Framing.CHUNKED:
            pieces, rest = self.chunks.feed(part)
            self.body += b"".join(pieces)
            used = len(part) - len(rest or b"")
            if self.compared:
                assert self.tracker.feed(part) == used
                assert self.tracker.ended is (rest is not None)
            self.end += used
            self.verdict = MORE if rest is None else DONE
        elif self.framing is Framing.CLOSE:
            self.body += part
            self.end += len(part)
        else:
            taken = part[: self.left] if self.framing is Framing.LENGTH else b""
            self.body += taken
            self.left -= len(taken)
            self.end += len(taken)
            if not self.left or self.framing is Framing.NONE:
                self.verdict = DONE

    def outcome(self) -> Outcome:
        """After the peer has closed the connection."""
        head = self.head
        if self.verdict == MORE and head and self.framing is Framing.CLOSE:
            self.verdict = DONE
        if self.verdict != DONE:
            return Outcome(self.verdict, self.reason)
        assert head is not None
        start = (head.method, head.target) if isinstance(head, RequestHead) else (head.status,)
        lines = (line.split(b":", 1) for line in head.fields.split(b"\r\n")[:-1])
        fields = tuple((name, value.strip(b" \t")) for name, value in lines)
        return Outcome(DONE, "", start, fields, bytes(self.body), self.end)


def ours(
    parts: Iterable[bytes], method: bytes | None, body: type[ChunkedBody] = ChunkedBody
) -> Outcome:
    reader = Reader(method, body)
    for part in parts:
        reader.feed(part)
    return reader.outcome()


def lengths_once(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields with values in lower case, and of equal content-lengths one.

    RFC 9110 8.6 allows both: h11 keeps one, kmi keeps all and passes none of them on.
    """
    seen: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        line = (name, value.lower())
        if name.lower() != b"content-length" or not any(
            other.lower() == b"content-length" for other, _ in seen
        ):
            seen.append(line)
    return seen


# h11, driven the same way.


def theirs(parts: Iterable[bytes], method: bytes | None) -> Outcome:
    limit = 1 << 20
    if method is None:
        connection = h11.Connection(h11.SERVER, limit)
    else:
        connection = h11.Connection(h11.CLIENT, limit)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    body = bytearray()
    fed = 0
    start: tuple[object, ...] = ()
    fields: tuple[tuple[bytes, bytes], ...] = ()
    for part in [*filter(None, parts), b""]:
        connection.receive_data(part)
        fed += len(part)
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                return Outcome(BAD if part else MORE, str(error))
            if event is h11.NEED_DATA:
                break
            if isinstance(event, h11.Request):
                start = (event.method, event.target)
                fields = tuple(event.headers.raw_items())
            elif isinstance(event, h11.Response):
                start = (event.status_code,)
                fields = tuple(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                end = fed - len(connection.trailing_data[0])
                return Outcome(DONE, "", start, fields, bytes(body), end)
            elif isinstance(event, h11.ConnectionClosed):
                return Outcome(MORE)
    raise AssertionError("h11 neither ended nor refused, and the connection is closed")


# Where kmi is stricter.


class Stricter(NamedTuple):
    """A kind of message that h11 takes, and kmi refuses on purpose.

    Attributes:
        reason: how kmi's reason begins.
        pattern: what such messages look like, told from the bytes alone.
        sample: one of them.
        method: None for a request, else it is an answer to this method.
        why: why kmi refuses.
    """

    reason: str
    pattern: bytes
    sample: bytes
    method: bytes | None
    why: str


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return request(*fields, line=line, host=b"")


CHUNKED = request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1")
_LF = rb"(?<!\r)\n"
_FOLD = rb"\n[ \t]"
_CONTROL = rb"[\x00-\x08\x0e-\x1f\x7f]"
_BOTH = rb"(?i)(?s:\ncontent-length:.*\ntransfer-encoding:|\ntransfer-encoding:.*\ncontent-length:)"
_LIST = rb"(?i)\ncontent-length:[^\n]*,"
_DIGITS = rb"(?i)\ncontent-length:[ \t]*[0-9]{20}"
_HOSTS = rb"(?i)\nhost:[ \t]*(?![a-z0-9._-]+(?::[0-9]+)?[ \t]*\r|\[)"
_SHOWN = "a message is passed on, and others would read it in another way"
STRICTER = [
    Stricter("a line does not", _LF, b"GET / HTTP/1.1\nHost: a\r\n\r\n", None, _SHOWN),
    Stricter("a line does not", _LF, b"HTTP/1.1 200 OK\n\n", b"HEAD", _SHOWN),
    Stricter("a folded line", _FOLD, request(b"A: b", b" c"), None, "deprecated since RFC 7230"),
    Stricter("a folded line", _FOLD, response(b"A: b", b" c"), b"HEAD", "the same"),
    Stricter("a control", _CONTROL, request(b"A: \x1bb"), None, "RFC 9110 5.5; terminals, logs"),
    Stricter("a control", _CONTROL, response(b"A: \x7f"), b"HEAD", "the same"),
    Stricter(
        "content-length and transfer-encoding exclude", _BOTH,
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", None,
        "RFC 9112 6.1: ought to be handled as an error; the classic way to smuggle",
    ),
    Stricter(
        "content-length and transfer-encoding exclude", _BOTH,
        response(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n", b"GET",
        "the same",
    ),
    Stricter(
        "content-length is there twice", rb"(?i)(?s:\ncontent-length:.*\ncontent-length:)",
        request(b"Content-Length: 0", b"Content-Length: 0"), None, "no client does it",
    ),
    Stricter("content-length is not", _LIST, request(b"Content-Length: 0, 0"), None, "the same"),
    Stricter("content-length is not", _LIST, response(b"Content-Length: 0,0"), b"GET", "the same"),
    Stricter(
        "content-length is not", _DIGITS, request(b"Content-Length: " + b"0" * 20), None,
        "19 digits fit into 64 bits everywhere",
    ),
    Stricter(
        "content-length is not", _DIGITS, response(b"Content-Length: " + b"0" * 20), b"GET",
        "the same",
    ),
    Stricter(
        "http/1.0 has no transfer-encoding", rb"(?i)(?s:HTTP/1\.0.*\ntransfer-encoding:)",
        request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0") + b"0\r\n\r\n", None,
        "RFC 9112 6.1: its framing is faulty",
    ),
    Stricter(
        "http/1.0 has no transfer-encoding", rb"(?i)(?s:HTTP/1\.0.*\ntransfer-encoding:)",
        response(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK") + b"0\r\n\r\n", b"GET",
        "the same",
    ),
    Stricter(
        "the target does not", rb"(?m)^[^ \n]+ [^/]",
        request(line=b"GET http://evil.com/ HTTP/1.1"), None, "kmi has one upstream",
    ),
    Stricter(
        "CONNECT and TRACE", rb"(?im)^(?:connect|trace) ", request(line=b"TRACE / HTTP/1.1"),
        None, "no tunnel, and TRACE would show the token",
    ),
    Stricter(
        "an upgrade", rb"(?i)\nupgrade:", request(b"Upgrade: h2c"), None,
        "what follows would not be HTTP/1.1",
    ),
    Stricter(
        "only HTTP/1.1 and", rb" HTTP/(?!1\.[01])", request(line=b"GET / HTTP/1.2"), None,
        "RFC 9110 15.6.6",
    ),
    Stricter(
        "the status line", rb"HTTP/(?!1\.[01])", response(line=b"HTTP/1.2 200 OK"), b"HEAD",
        "the same",
    ),
    Stricter(
        "host is missing", rb" HTTP/1\.0", request(line=b"GET / HTTP/1.0", host=b""), None,
        "Host is what keeps web pages out (DNS rebinding), whatever the version",
    ),
    Stricter("host is not", _HOSTS, request(host=b"Host: a b\r\n"), None, "RFC 9112 3.2"),
    Stricter(
        "host is not", rb"(?i)\nhost:[ \t]*[^\r]*[\[:]", request(host=b"Host: a:b\r\n"), None,
        "the same",
    ),
    *(
        Stricter(
            f"{name} is there twice", rb"(?i)(?s:\n%b:.*\n%b:)" % (name.encode(), name.encode()),
            request(name.encode() + b": a", name.title().encode() + b": a"), None,
            "a check that looks at one of them is no check",
        )
        for name in ("authorization", "x-api-key", "origin", "sec-fetch-site")
    ),
    Stricter(
        "the head is longer", rb"(?s:(?:\n[^\n]+){100})", request(*[b"A: b"] * 100), None,
        "nobody sends that many",
    ),
    Stricter(
        "the request line is longer", rb"[^\n]{8192}",
        request(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), None, "nginx takes no more either",
    ),
    Stricter(
        "a chunk's size", rb"\n[0-9A-Fa-f]{16}", CHUNKED + b"0" * 16 + b"\r\n\r\n", None,
        "more digits than any size needs",
    ),
    Stricter(
        "a chunk's size", rb"\n[0-9A-Fa-f]+[ \t]", CHUNKED + b"0 \r\n\r\n", None,
        "RFC 9112 7.1 has no blank there",
    ),
    Stricter(
        "a chunk's size", rb"\n[0-9A-Fa-f]+;[^\n]*[\x00-\x08\x0a-\x1f\x7f]",
        CHUNKED + b"0;a\rb\r\n\r\n", None, "RFC 9112 7.1.1; parsers differ about line ends there",
    ),
    Stricter(
        "a chunk's size", rb"\n[0-9A-Fa-f]+;[^\n]{256}", CHUNKED + b"0;" + b"a" * 300 + b"\r\n\r\n",
        None, "nobody sends one; unbounded, it is a way to keep a server busy",
    ),
    Stricter(
        "a trailer", _LF + rb"|" + _FOLD + rb"|" + _CONTROL, CHUNKED + b"0\r\na: b\n\r\n", None,
        "as in a head",
    ),
    Stricter(
        "a trailer", rb"(?i)\n0+[^\n]*\n(?s:.*)(?:content-length|transfer-encoding):",
        CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n", None, "RFC 9110 6.5.1",
    ),
    Stricter(
        "a trailer", rb"(?s:\n0+\r\n.{8192})",
        CHUNKED + b"0\r\na: " + b"b" * 9000 + b"\r\n\r\n", None, "dropped anyway",
    ),
]  # fmt: skip


def explained(data: bytes, reason: str) -> bool:
    """Whether a refusal is one that the list above allows."""
    return any(reason.startswith(row.reason) and re.search(row.pattern, data) for row in STRICTER)


@pytest.mark.parametrize("row", STRICTER, ids=lambda row: f"{row.reason}-{row.why}"[:50])
def test_the_list_of_differences_is_true(row: Stricter) -> None:
    mine, his = ours([row.sample], row.method), theirs([row.sample], row.method)
    assert (mine.verdict, mine.reason.startswith(row.reason)) == (BAD, True), mine
    assert his.verdict == DONE, his.reason
    assert explained(row.sample, mine.reason)


# The comparison.


def compare(
    data: bytes,
    cuts: list[int],
    method: bytes | None = None,
    body: type[ChunkedBody] = ChunkedBody,
) -> None:
    """Fail if kmi and h11 read messages differently, one after another, or at other cuts."""
    for _ in range(4):
        parts = cut(data, cuts)
        mine, his = ours(parts, method, body), theirs(parts, method)
        assert mine == ours([data], method, body), "it depends on the reads"
        if mine.verdict == BAD:
            # h11 looks at whole lines only: so it may see later what kmi has seen already.
            late = theirs([data, b"\r\n\r\n"], method)
            assert BAD in (his.verdict, late.verdict) or explained(data, mine.reason), mine.reason
            return
        assert mine.verdict == his.verdict, f"laxer than h11: {his.reason}"
        if mine.verdict == MORE:
            return
        assert mine.end == his.end
        assert mine.body == his.body
        assert mine.start == his.start
        assert lengths_once(mine.fields) == lengths_once(his.fields)
        if method is None:
            compare_meaning(data, his)
        data = data[mine.end :]
        if not data:
            return


def compare_meaning(data: bytes, his: Outcome) -> None:
    """What is looked up and dropped, against a plain reading of h11's fields."""
    head = request_head(data[: head_end(data)])
    values: dict[bytes, bytes] = {}
    for name, value in his.fields:
        values.setdefault(name.lower(), value)
    assert head.host == values[b"host"]
    assert head.authorization == values.get(b"authorization")
    assert head.api_key == values.get(b"x-api-key")
    assert head.origin == values.get(b"origin")
    assert head.fetch_site == values.get(b"sec-fetch-site")
    assert head.chunked is (b"transfer-encoding" in values)
    assert all(head.get(name) == value for name, value in values.items())
    named = {
        word.strip().lower()
        for name, value in his.fields
        if name.lower() == b"connection"
        for word in value.split(b",")
    }
    dropped = named | set(
        b"host authorization x-api-key cookie proxy-authorization content-length expect te close"
        b" transfer-encoding connection keep-alive proxy-connection trailer upgrade".split()
    )
    sent = [tuple(line.split(b":", 1)) for line in upstream_fields(head).split(b"\r\n")[:-1]]
    assert [(name, value.strip(b" \t")) for name, value in sent] == [
        field for field in his.fields if field[0].lower() not in dropped
    ]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The parts of some bytes; no cuts at all means single bytes."""
    if not cuts:
        return [data[at : at + 1] for at in range(len(data))]
    marks = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[begin:stop] for begin, stop in zip(marks, marks[1:])]


# Messages: mostly right, in part odd, and then with bytes changed.

cuts = st.lists(st.integers(0, 2000), max_size=8)
odd = st.sampled_from([
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\0", b":", b",", b";", b"0"),
    *(b"1", b"a", b"+", b"-", b"x", b"\x7f", b"\x80", b"\xff", b"\x0b", b"\x0c", b"\x1b", b"/"),
    *(b"\r\r\n", b"0\r\n\r\n", b"_", b"0x", b'"', b"(", b"\r\n "),
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
])  # fmt: skip
change = st.tuples(st.integers(0, 2000), st.sampled_from([0, 0, 1, 1, 2, 5]), odd | st.just(b""))
changes: st.SearchStrategy[list[tuple[int, int, bytes]]] = (
    st.just([]) | st.just([]) | st.lists(change, max_size=2)
)
request_lines = st.sampled_from([
    *[b"GET / HTTP/1.1"] * 8, *[b"POST /v1/chat HTTP/1.1"] * 24,
    *(b"GET / HTTP/1.0", b"get /?a=b#c HTTP/1.1", b"HEAD / HTTP/1.1", b"GET * HTTP/1.1"),
    *(b"CONNECT a:1 HTTP/1.1", b"TRACE / HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET / HTTP/1.2"),
    *(b"GET / HTTP/2.0", b"GET / HTTP/1.10", b"GET /", b"GET  / HTTP/1.1", b"G(T / HTTP/1.1"),
])  # fmt: skip
status_lines = st.sampled_from([
    *[b"HTTP/1.1 200 OK"] * 24, b"HTTP/1.1 200", b"HTTP/1.1 429 Too Many", b"HTTP/1.0 200 OK",
    *(b"HTTP/1.1 204 No", b"HTTP/1.1 304 Not", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 Switch"),
    *(b"HTTP/1.1 000 X", b"HTTP/1.1 099 X", b"HTTP/1.1 999 ", b"HTTP/2.0 200 OK", b"HTTP/1.1 20 X"),
    *(b"HTTP/1.1 200 \xff\t", b"HTTP/1.1  200 OK", b"HTTP/1.1 2000 OK", b"http/1.1 200 OK"),
])  # fmt: skip
plain_fields = st.sampled_from([
    *(b"User-Agent: KimiCLI/1.0", b"x-msh-device-id: a", b"Accept:  */*\t", b"Cookie: a=b", b"A:"),
    *(b"Authorization: Bearer a", b"X-Api-Key: b", b"Connection: keep-alive"),
    *(b"connection: close, A", b"TE: trailers", b"X: \xc3\xa4", b"Keep-Alive: a"),
    *(b"content-type: a/b", b"Sec-Fetch-Site: none", b"Origin: null"),
    *(b"Proxy-Authorization: x", b"Trailer: y", b"Expect: 100-continue"),
])  # fmt: skip
odd_fields = st.sampled_from([
    *(b"Host: b", b"Host:", b"Upgrade: h2c", b"A : b", b" folded", b"no colon", b": no name"),
    *(b"Content-Length: 3", b"content-length: 5", b"Content-Length: 3,3", b"Content-Length: 0x3"),
    *(b"Content-Length: " + b"0" * 19 + b"3", b"Content-Length: 99999999", b"Content-Length: 1_0"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:"),
    *(b"Transfer-Encoding: Chunked", b"Transfer-Encoding: identity", b"transfer-encoding: x"),
    *(b"A: b\0", b"A: b\x1b", b"A: b\rc", b"A: b\nc: d", b"A(): b", b"\xc3: b", b"A: b\x0b"),
])  # fmt: skip
payloads = st.lists(
    st.binary(min_size=1, max_size=20)
    | st.sampled_from([b"data: {}\n\n", b"\r\n", b"0\r\n\r\n", b"x" * 300]),
    max_size=4,
)
sizes = st.sampled_from([
    *[b"%x"] * 16, *(b"%X", b"%04x", b"%x;a=b", b"%x;", b"%x ", b"%016x", b"0x%x"),
])  # fmt: skip
breaks = st.sampled_from([*[b"\r\n"] * 30, b"", b"XX", b"\n", b"\r\r\n"])
tails = st.sampled_from([
    *[b"0\r\n\r\n"] * 16, b"000;x\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n", b"0\r\nA: b\r\n c\r\n\r\n",
    *(b"0\r\nTransfer-Encoding: gzip\r\n\r\n", b"0\r\na: b\n\r\n", b"0\r\n: b\r\n\r\n"),
    *(b"0\r\n", b""),
])  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The fields that frame a body, and the body."""
    parts = draw(payloads)
    kind = draw(st.sampled_from(["none", "length", "length", "chunked", "chunked", "chunked"]))
    if kind == "none":
        return [], draw(st.sampled_from([b"", b"", b"rest"]))
    if kind == "length":
        body = b"".join(parts)
        return [b"Content-Length: %d" % len(body)], body
    body = b"".join(draw(sizes) % len(part) + b"\r\n" + part + draw(breaks) for part in parts)
    return [b"Transfer-Encoding: chunked"], body + draw(tails)


@st.composite
def messages(draw: st.DrawFn, lines: st.SearchStrategy[bytes], host: bytes | None) -> bytes:
    """A head and a body that fit, sometimes with a field too many."""
    framing, body = draw(bodies())
    fields = draw(st.lists(plain_fields, max_size=4)) + framing
    if host:
        fields.append(host)
    if draw(st.integers(0, 4)) == 0:
        fields.append(draw(odd_fields))
    fields = draw(st.permutations(fields))
    return request(*fields, line=draw(lines), host=b"") + body


def changed(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Some bytes replaced by others, at places all over the message."""
    for place, gone, new in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + gone :]
    return data


requests = st.builds(changed, messages(request_lines, b"Host: a"), changes)
responses = st.builds(changed, messages(status_lines, None), changes)
methods = st.sampled_from([b"GET", b"POST", b"POST", b"HEAD"])


@settings(max_examples=EXAMPLES)
@given(st.lists(requests, min_size=1, max_size=3), cuts)
@example([request(), CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", request(b"Content-Length: 2") + b"ab"], [])
def test_requests_are_read_as_h11_reads_them(data: list[bytes], where: list[int]) -> None:
    compare(b"".join(data), where)


@settings(max_examples=EXAMPLES)
@given(st.lists(responses, min_size=1, max_size=2), cuts, methods)
@example(
    [response(line=b"HTTP/1.1 103 Early") * 2, response(b"Content-Length: 1") + b"a"], [], b"GET"
)
def test_responses_are_read_as_h11_reads_them(
    data: list[bytes], where: list[int], method: bytes
) -> None:
    compare(b"".join(data), where, method)


@settings(max_examples=EXAMPLES)
@given(st.lists(odd | st.sampled_from([b"5\r\nhello\r\n", b"A: b"]), max_size=12), cuts)
def test_odd_chunks_are_read_as_h11_reads_them(parts: list[bytes], where: list[int]) -> None:
    compare(CHUNKED + b"".join(parts), where)


@settings(max_examples=EXAMPLES)
@given(st.lists(odd | plain_fields | odd_fields, max_size=10), cuts)
def test_odd_heads_are_read_as_h11_reads_them(parts: list[bytes], where: list[int]) -> None:
    compare(b"GET / HTTP/1.1\r\nHost: a" + b"".join(parts) + b"\r\n\r\n", where)
    compare(b"HTTP/1.1 200 OK\r\nA: a" + b"".join(parts) + b"\r\n\r\n", where, b"GET")


def test_every_split_in_two_reads_the_same() -> None:
    head = request(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST / HTTP/1.1"
    )
    data = head + b"5;a\r\nhello\r\n00b\r\n\r\n0\r\n\r\nworld\r\n0\r\nX: y\r\n\r\n" + request()
    for at in range(1, len(data)):
        compare(data, [at])
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + response(*head.split(b"\r\n")[2:4])
    data = answer + data[len(head) :]
    for at in range(1, len(data)):
        compare(data, [at], b"POST")


# The control: decoders that this must find out about.


class Careless(ChunkedBody):
    """Decodes as one does without thinking; ``skip`` bytes behind each chunk, whatever they are."""

    strict_sizes = True

    def __init__(self, *, status: int = 400, room: int = 0) -> None:
        super().__init__(status=status)
        self.status = status
        self.data = b""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        self.data += data
        pieces: list[bytes] = []
        while b"\r\n" in self.data:
            line, _, rest = self.data.partition(b"\r\n")
            word = line.partition(b";")[0]
            if self.strict_sizes and not re.fullmatch(rb"[0-9a-fA-F]{1,15}", word):
                raise BadMessage(self.status, "a chunk's size")
            try:
                size = int(word, 16)
            except ValueError:
                raise BadMessage(self.status, "a chunk's size") from None
            if not size:
                if b"\r\n" not in rest[:2]:
                    break
                return pieces, rest[2:]
            if len(rest) < size + 2:
                break
            pieces.append(rest[:size])
            self.data = rest[size + 2 :]
        return pieces, None


class CarelessSizes(Careless):
    """The same with Python's idea of a number."""

    strict_sizes = False


@pytest.mark.parametrize(
    "body, data",
    [(Careless, b"5\r\nhelloXX0\r\n\r\n"), (CarelessSizes, b"+5\r\nhello\r\n0\r\n\r\n")],
)
def test_a_careless_decoder_is_found_out(body: type[ChunkedBody], data: bytes) -> None:
    right = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"
    compare(right, [len(right)], body=body)  # it is not simply broken
    compare(CHUNKED + data, [1])
    with pytest.raises(AssertionError, match="laxer"):
        compare(CHUNKED + data, [len(CHUNKED + data)], body=body)


def test_the_search_finds_a_careless_decoder() -> None:
    """Not only the sample: the generated messages reach that bug as well."""

    @settings(max_examples=2000, phases=[Phase.generate], derandomize=True)
    @given(st.lists(requests, min_size=1, max_size=3))
    def search(data: list[bytes]) -> None:
        whole = b"".join(data)
        compare(whole, [len(whole)], body=Careless)

    with pytest.raises(AssertionError, match="laxer"):
        search()


def test_h11_is_no_older_than_the_measure() -> None:
    assert tuple(map(int, version("h11").split(".")[:2])) >= (0, 16)
