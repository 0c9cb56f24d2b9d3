"""The relay, byte by byte: what reaches the upstream, and what comes back."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.conftest import secret_of
from tests.proxy.harness import (
    BASE,
    CHAT,
    CHUNKED_HEAD,
    OK,
    QUOTA,
    TOKEN,
    Link,
    Running,
    Script,
    Upstream,
    answer,
    chunked,
    closes,
    own_words,
    running,
    sends,
    until,
    until_held,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = secret_of("one").encode()
LINE = b"POST " + CHAT.encode() + b" HTTP/1.1"
#: Text whose characters have 1 to 4 bytes, and bytes that look like framing.
TEXT = 'data: {"a":"é—漢😀"}\r\n\r\n0\r\n\r\ndata: \x00\n\n'.encode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One proxy with one key for all that leaves no traces in it."""
    with running(tmp_path_factory.mktemp("relay")) as found:
        yield found


@pytest.fixture
def relay(shared: Running) -> Running:
    shared.upstream.clear()
    return shared


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Running]:
    """A proxy with two keys that may be changed."""
    with running(tmp_path, "one", "two") as found:
        yield found


def expected_head(relay: Running, *lines: bytes, line: bytes = b"") -> bytes:
    """The head of a request as the upstream should get it."""
    line = line or b"POST /coding/v1/chat/completions HTTP/1.1"
    host = b"host: 127.0.0.1:%d" % relay.upstream.port
    return b"\r\n".join([line, host, b"authorization: Bearer " + SECRET, *lines, b"", b""])


# The way out.

KEPT = (
    b"User-Agent: KimiCLI/1.51.0",
    b"X-Msh-Platform: kimi_cli",
    b"x-msh-version:   1.51.0  ",
    b"X-Msh-Device-Name: M\xc3\xbcller",
    b"X-Msh-Device-Id: 0",
    b"X-Msh-Tool-Call-Id: t_1",
    b"X-Stainless-Lang: python",
    b"X-Stainless-Retry-Count: 0",
    b"Accept-Encoding: gzip, deflate",
    b"X-Empty:",
    b"X-Twice: 1",
    b"X-Twice: 2",
    b"Content-Type: application/json",
)


def test_a_request_reaches_the_upstream_as_it_was_sent(relay: Running) -> None:
    body = b'{ "messages":\t[ ]\n,"reasoning_content": "\xf0\x9f\x98\x80\\u00e9" }\r\n\r\n\x00\xff'
    line = b"POST " + CHAT.encode() + b"?a=1&b=%20%2f//x#y HTTP/1.1"
    found = relay.proxy.ask(relay.proxy.request(*KEPT, body=body, line=line))
    assert found.status == 200
    line = b"POST /coding/v1/chat/completions?a=1&b=%20%2f//x#y HTTP/1.1"
    length = b"content-length: %d" % len(body)
    (seen,) = relay.upstream.seen
    assert seen.head == expected_head(relay, *KEPT, length, line=line)
    assert seen.body == body


def test_what_is_the_proxys_own_is_replaced_and_the_rest_of_the_hop_dropped(relay: Running) -> None:
    mine = (
        b"Cookie: a=b",
        b"Proxy-Authorization: Basic eA==",
        b"Connection: keep-alive, X-Private, authorization, content-length, host",
        b"X-Private: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Trailer: X-Sum",
    )
    assert relay.proxy.ask(relay.proxy.request(KEPT[0], *mine, KEPT[1])).status == 200
    (seen,) = relay.upstream.seen
    assert seen.head == expected_head(relay, KEPT[0], KEPT[1], b"content-length: 2")
    assert seen.body == b"{}"


@pytest.mark.parametrize("both", [False, True])
def test_a_key_is_given_in_the_form_that_the_client_uses(relay: Running, both: bool) -> None:
    given = b"x-api-key: " + TOKEN.encode()
    data = relay.proxy.request(given, KEPT[0], auth=None if both else b"")
    assert relay.proxy.ask(data).status == 200
    (seen,) = relay.upstream.seen
    own = b"x-api-key: " + SECRET
    assert seen.head == expected_head(relay, own, KEPT[0], b"content-length: 2")


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        (b"GET", None, None),
        (b"DELETE", None, None),
        (b"GET", b"{}", b"2"),
        (b"DELETE", b"{}", b"2"),
        (b"POST", None, b"0"),
        (b"POST", b"", b"0"),
        (b"PUT", b"abc", b"3"),
        (b"PATCH", b"abc", b"3"),
    ],
)
def test_every_method_is_framed_by_its_length(
    relay: Running, method: bytes, body: bytes | None, length: bytes | None
) -> None:
    line = b"%b %b/models/x HTTP/1.1" % (method, BASE.encode())
    assert relay.proxy.ask(relay.proxy.request(line=line, body=body)).status == 200
    (seen,) = relay.upstream.seen
    assert seen.line == method + b" /coding/v1/models/x HTTP/1.1"
    assert (seen.get(b"content-length"), seen.body) == (length, body or b"")


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_chunked_request_is_sent_on_with_its_length(relay: Running, step: int) -> None:
    body = TEXT * 3
    data = relay.proxy.request(KEPT[0], b"Transfer-Encoding: chunked", body=None)
    data += (
        b"5;x=y\r\n" + body[:5] + b"\r\n" + chunked(body[5:6], body[6:], trailers=b"X-Sum: 1\r\n")
    )
    with relay.proxy.wire() as wire:
        wire.send(*(data[at : at + step] for at in range(0, len(data), step)))
        assert wire.answer().status == 200
        # And the connection goes on behind the body.
        assert wire.send(relay.proxy.request(body=b"next")).answer().status == 200
    first, second = relay.upstream.seen
    assert first.head == expected_head(relay, KEPT[0], b"content-length: %d" % len(body))
    assert (first.body, second.body) == (body, b"next")


def test_a_wait_for_100_continue_is_ended_here(relay: Running) -> None:
    data = relay.proxy.request(b"Expect: 100-continue", body=b"late")
    with relay.proxy.wire() as wire:
        assert wire.send(data[:-4]).head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert relay.upstream.seen == []
        assert wire.send(data[-4:]).answer().status == 200
        # Nobody waits when the body is there.
        assert wire.send(data).answer().status == 200
    assert [seen.body for seen in relay.upstream.seen] == [b"late", b"late"]
    assert b"xpect" not in b"".join(seen.head for seen in relay.upstream.seen)


def test_a_base_url_without_a_path_and_a_request_for_the_base(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        (found.world.auths / "one.env").write_text(
            f"KMI_API_KEY={secret_of('one')}\n"
            f"KMI_UPSTREAM_BASE_URL=http://127.0.0.1:{found.upstream.port}\n"
        )
        query, base = f"GET {BASE}?a HTTP/1.1".encode(), f"GET {BASE} HTTP/1.1".encode()

        def line(given: bytes) -> bytes:
            found.proxy.ask(found.proxy.request(line=given, body=None))
            return found.upstream.seen[-1].line

        until(lambda: line(base) == b"GET / HTTP/1.1")
        assert line(query) == b"GET /?a HTTP/1.1"
        assert line(f"GET {BASE}/ HTTP/1.1".encode()) == b"GET / HTTP/1.1"


# The way back.

WHOLE = {
    "a length": answer(TEXT, b"X-Trace-Id: t", b"X-RateLimit-Remaining: 3", b"x-request-id:  r "),
    "no body": answer(b""),
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "an error": answer(TEXT, status=b"400 Bad Request"),
    "a strange status": answer(TEXT, status=b"299 Odd \xe9"),
    "a redirect": answer(TEXT, b"Location: /elsewhere", status=b"302 Found"),
    "cookies": answer(TEXT, b"Set-Cookie: a=b", b"Set-Cookie: c=d"),
    "gzip": answer(gzip.compress(TEXT), b"Content-Encoding: gzip"),
    "an error in gzip": answer(
        gzip.compress(TEXT), b"Content-Encoding: gzip", status=b"404 Not Found"
    ),
}


def passed_on(raw: bytes, *own: bytes) -> bytes:
    """The answer that the client should get for one of the upstream."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    if lines[0].endswith(b" 200"):
        lines[0] += b" "
    return b"\r\n".join([*lines, *own, b"x-kmi-key: one", b"", body])


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_an_answer_comes_back_as_it_was_sent(relay: Running, name: str, step: int) -> None:
    raw = WHOLE[name]
    relay.upstream.play(sends(*(raw[at : at + step] for at in range(0, len(raw), step))))
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request())
        expected = passed_on(raw, b"content-length: %d" % len(raw.partition(b"\r\n\r\n")[2]))
        assert wire.read(len(expected)) == expected
        # Not a byte more, and the connection goes on.
        assert wire.send(relay.proxy.request()).answer().body == b"{}"


CUTS = {
    "single bytes": [TEXT[at : at + 1] for at in range(len(TEXT))],
    "amid a character": [TEXT[:13], TEXT[13:17], TEXT[17:]],
    "amid a CRLF": [TEXT[: TEXT.index(b"\n")], TEXT[TEXT.index(b"\n") :]],
    "one": [TEXT],
    "many": [TEXT] * 200,
}


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
@pytest.mark.parametrize(
    ("cut", "step"),
    [*((cut, step) for cut in CUTS if cut != "many" for step in (1, 3)), ("many", 1 << 20)],
)
def test_chunks_come_back_byte_for_byte(relay: Running, cut: str, step: int, kind: bytes) -> None:
    head = CHUNKED_HEAD.replace(b"text/event-stream", kind)
    body = chunked(*CUTS[cut], trailers=b"X-Sum: 1\r\nX-More:2\r\n")
    raw = head + body
    relay.upstream.play(sends(*(raw[at : at + step] for at in range(0, len(raw), step))))
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request())
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % kind
        head += b"transfer-encoding: chunked\r\nx-kmi-key: one\r\n\r\n"
        assert wire.read(len(head + body)) == head + body
        assert wire.send(relay.proxy.request()).answer().body == b"{}"


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
def test_a_body_until_the_end_of_the_connection(
    relay: Running, status: bytes, version: bytes, kind: bytes
) -> None:
    raw = b"%b %b\r\nContent-Type: %b\r\n\r\n%b" % (version, status, kind, TEXT)

    def play(link: Link) -> None:
        sends(raw[:-3], raw[-3:])(link)
        link.close()

    relay.upstream.play(play)
    with relay.proxy.wire() as wire:
        found, end = wire.send(relay.proxy.request()).rest()
    own = b"x-kmi-key: one\r\nconnection: close"
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%b\r\n\r\n" % (status, kind, own)
    assert (found, end) == (head + TEXT, "end")


@pytest.mark.parametrize(
    ("method", "raw", "own"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"content-length: 99\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", b"content-length: 5\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (
            b"GET",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            b"content-length: 7\r\n",
        ),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
    ],
)
def test_answers_without_a_body(relay: Running, method: bytes, raw: bytes, own: bytes) -> None:
    relay.upstream.play(sends(raw))
    line = b"%b %b/models HTTP/1.1" % (method, BASE.encode())
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request(line=line, body=None))
        lines = raw.split(b"\r\n")[:-2]
        kept = [x for x in lines if not x.startswith((b"Content-L", b"Transfer"))]
        assert wire.head() == b"\r\n".join(kept) + b"\r\n" + own + b"x-kmi-key: one\r\n\r\n"
        assert wire.send(relay.proxy.request()).answer().body == b"{}"
    assert relay.upstream.seen[0].connection == relay.upstream.seen[1].connection


def test_an_old_client_gets_chunks_as_one_body(relay: Running) -> None:
    relay.upstream.play(sends(CHUNKED_HEAD, chunked(*CUTS["single bytes"], trailers=b"X: 1\r\n")))
    data = relay.proxy.request(line=LINE[:-1] + b"0")
    with relay.proxy.wire() as wire:
        found, end = wire.send(data).rest()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-kmi-key: one\r\n"
    assert (found, end) == (head + b"connection: close\r\n\r\n" + TEXT, "end")


def test_interim_answers_are_skipped(relay: Running) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    for step in (1, 1 << 20):
        raw = early + OK
        relay.upstream.play(sends(*(raw[at : at + step] for at in range(0, len(raw), step))))
        assert relay.proxy.ask(relay.proxy.request()) == relay.proxy.ask(relay.proxy.request())
    relay.upstream.play(sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"))
    assert relay.proxy.ask(relay.proxy.request()).status == 502


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        (answer(b"x" * 9)[:-8], b"x"),
        (CHUNKED_HEAD + b"b\r\ndata: {}\n\n\n\r\n", b"b\r\ndata: {}\n\n\n\r\n"),
        (CHUNKED_HEAD.replace(b"text/event-stream", b"text/plain") + b"5\r\nab", b"5\r\nab"),
        (b"HTTP/1.1 200 OK\r\n\r\nab", b"ab"),
    ],
)
def test_the_first_bytes_do_not_wait_for_the_rest(
    relay: Running, first: bytes, shown: bytes
) -> None:
    """The upstream goes on only when the client has what it sent first."""
    told = threading.Event()

    def play(link: Link) -> None:
        link.body()
        link.send(first)
        assert told.wait(20)
        link.close()

    relay.upstream.play(play)
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request()).head()
        assert wire.read(len(shown)) == shown
        told.set()
        wire.rest()


def test_a_redirect_is_not_followed(relay: Running) -> None:
    with Upstream() as other:
        target = f"http://127.0.0.1:{other.port}/".encode()
        relay.upstream.play(sends(answer(b"", b"Location: " + target, status=b"307 Moved")))
        found = relay.proxy.ask(relay.proxy.request())
        assert (found.status, found.get(b"location")) == (307, target)
        assert len(relay.upstream.seen) == 1
        assert other.connections == 0


# One connection, many requests.


def echo(link: Link) -> None:
    link.send(answer(link.body()))


@pytest.mark.parametrize("step", [1, 50, 1 << 20])
def test_requests_that_come_at_once_are_answered_in_their_order(relay: Running, step: int) -> None:
    relay.upstream.default = echo
    bodies = [b"%d" % number * (number + 1) for number in range(12)]
    data = b"".join(relay.proxy.request(body=body) for body in bodies)
    data += relay.proxy.request(line=b"GET /healthz HTTP/1.1", body=None)
    data += relay.proxy.request(b"Connection: close", body=b"last")
    with relay.proxy.wire() as wire:
        wire.send(*(data[at : at + step] for at in range(0, len(data), step)))
        assert [wire.answer().body for _ in bodies] == bodies
        assert b'"server":"kmi"' in wire.answer().body
        last = wire.answer()
        assert (last.body, last.get(b"connection")) == (b"last", b"close")
        assert wire.rest() == (b"", "end")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_that_asks_and_never_reads_is_not_served_ahead(
    relay: Running, at_once: bool
) -> None:
    """Its answers would fill the memory: the upstream must not even be asked."""
    # Each answer fits below the mark at which the proxy stops to read: their sum must count.
    count, size = 200, 100_000
    relay.upstream.default = sends(answer(b"x" * size))
    asked = [b"%d" % number for number in range(count)]
    with relay.proxy.wire(receive_buffer=4096) as wire:
        for number, body in enumerate(asked):
            wire.send(relay.proxy.request(body=body))
            if not at_once:
                # Before the next one comes, if there is one.
                try:
                    until(partial(_seen, relay, number + 1), 0.2)
                except AssertionError:
                    at_once = True
        until(lambda: _stands_still(lambda: len(relay.upstream.seen)))
        # The proxy and both kernels hold no more than some megabytes.
        assert len(relay.upstream.seen) <= 120
        for _ in range(count):
            assert wire.answer().body == b"x" * size
    assert [seen.body for seen in relay.upstream.seen] == asked


def test_connections_to_the_upstream_are_used_again(relay: Running) -> None:
    before = relay.upstream.connections
    for _ in range(5):
        assert relay.proxy.ask(relay.proxy.request()).status == 200
    assert relay.upstream.connections <= before + 1
    # Several at once need as many.
    gate = threading.Event()

    def play(link: Link) -> None:
        link.body()
        assert gate.wait(20)
        link.send(OK)

    relay.upstream.default = play
    wires = [relay.proxy.wire().send(relay.proxy.request()) for _ in range(3)]
    relay.upstream.wait_for(8)
    gate.set()
    assert [wire.answer().status for wire in wires] == [200] * 3
    assert len({seen.connection for seen in relay.upstream.seen[5:]}) == 3
    for wire in wires:
        wire.socket.close()


# What is held back until it is known not to be an error.


@pytest.mark.parametrize("encoding", [b"", b"gzip", b"deflate", b"br"])
def test_an_error_is_read_whatever_its_encoding(pair: Running, encoding: bytes) -> None:
    import zlib

    packed = {b"gzip": gzip.compress(QUOTA), b"deflate": zlib.compress(QUOTA)}.get(encoding, QUOTA)
    fields = [b"Content-Encoding: " + encoding] if encoding else []
    raw = answer(packed, *fields, status=b"403 Forbidden")
    pair.upstream.play(sends(raw), sends(OK))
    found = pair.proxy.ask(pair.proxy.request())
    assert (found.status, found.get(b"x-kmi-key")) == (200, b"two")
    state = until_held(pair.world, "one")
    if encoding == b"br":  # kmi can't read it: the status alone says less
        assert state["verdict"] == "unknown-403"
    else:
        assert state["verdict"] == "quota-7d"


ERROR_EVENT = b'data: {"error":{"type":"access_terminated_error","message":"You have reached your weekly (7-day) usage limit"}}\n\n'  # noqa: E501 - as it is sent


@pytest.mark.parametrize("before", [b"", b": hello\n\n: again\n\n", b"\n", b"event: error\n"])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_an_error_in_the_first_event_is_no_answer(pair: Running, before: bytes, step: int) -> None:
    raw = CHUNKED_HEAD + chunked(before + ERROR_EVENT) if step > 1 else CHUNKED_HEAD + chunked(
        *(bytes([byte]) for byte in before + ERROR_EVENT)
    )  # fmt: skip
    good = CHUNKED_HEAD + chunked(b'data: {"choices":[]}\n\n')
    pair.upstream.play(
        sends(*(raw[at : at + step] for at in range(0, len(raw), step))), sends(good)
    )
    found = pair.proxy.ask(pair.proxy.request())
    assert (found.status, found.get(b"x-kmi-key")) == (200, b"two")
    assert found.body == chunked(b'data: {"choices":[]}\n\n')
    assert until_held(pair.world, "one")["verdict"] == "quota-7d"


def test_an_error_after_the_first_event_is_passed_on(pair: Running) -> None:
    body = chunked(b'data: {"choices":[]}\n\n', ERROR_EVENT, b"data: [DONE]\n\n")
    pair.upstream.play(sends(CHUNKED_HEAD, body))
    found = pair.proxy.ask(pair.proxy.request())
    assert (found.status, found.get(b"x-kmi-key"), found.body) == (200, b"one", body)
    assert len(pair.upstream.seen) == 1
    # But the next request knows.
    assert until_held(pair.world, "one")["verdict"] == "quota-7d"
    assert pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"two"


@pytest.mark.parametrize(
    "first",
    [
        b": hello\n\n" * 3 + b'data: {"choices":[]}\n\n',
        b"data: " + b"x" * 200_000,
        b'data: {"error": ' + b"x" * 70_000,
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_what_is_held_back_comes_whole(relay: Running, first: bytes) -> None:
    body = chunked(*filter(None, [first, b"data: 2\n\n"]))
    relay.upstream.play(sends(CHUNKED_HEAD, body))
    found = relay.proxy.ask(relay.proxy.request())
    assert (found.status, found.body) == (200, body)
    assert len(relay.upstream.seen) == 1


def test_a_long_first_event_is_not_held_for_ever(relay: Running) -> None:
    told = threading.Event()
    first = b"data: " + b"x" * 70_000

    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD, b"%x\r\n" % len(first), first, b"\r\n")
        assert told.wait(20)
        link.send(chunked(b"\n\n"))

    relay.upstream.play(play)
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request()).head()
        assert first[:1000] in wire.read(2000)
        told.set()
        wire.read_past(b"0\r\n\r\n")


# Size.

MIB = 1 << 20


def pieces(size: int) -> Iterator[bytes]:
    """So many bytes, none of which are all the same."""
    block = hashlib.sha512(b"x").digest() * 4096  # 256 KiB
    for at in range(0, size, len(block)):
        yield block[: size - at]


def digest_of(size: int) -> str:
    found = hashlib.sha256()
    for piece in pieces(size):
        found.update(piece)
    return found.hexdigest()


def counts(seen: list[tuple[int, str]], *, answer: bytes = OK) -> Script:
    """A script that reads a large body without keeping it."""

    def play(link: Link) -> None:
        fields = link.head.lower().partition(b"\r\ncontent-length: ")[2]
        size, left, found = int(fields.split(b"\r\n")[0]), 0, hashlib.sha256()
        left = size
        while left:
            part = link.read(min(left, 65536))
            assert part
            found.update(part)
            left -= len(part)
        link.forget_body()
        seen.append((size, found.hexdigest()))
        link.send(answer)

    return play


def peak_growth(relay: Running, base: int) -> int:
    """By how many KiB the memory grew at most since `forget_peak`."""
    return relay.proxy.memory_kib("VmHWM") - base


def test_a_file_of_10_mb(relay: Running) -> None:
    body = b"".join(pieces(10 * MIB))
    line = f"POST {BASE}/files HTTP/1.1".encode()
    form = b"Content-Type: multipart/form-data; boundary=x"
    found = relay.proxy.ask(relay.proxy.request(form, body=body, line=line))
    assert found.status == 200
    (seen,) = relay.upstream.seen
    assert seen.body == body
    assert seen.get(b"content-type") == b"multipart/form-data; boundary=x"


def test_a_body_above_the_limit_is_passed_on_as_it_comes_and_only_once(relay: Running) -> None:
    size, seen = 70 * MIB, list[tuple[int, str]]()
    raw = answer(b"later", status=b"503 Service Unavailable")
    relay.upstream.play(sends(OK), counts(seen, answer=raw))
    assert relay.proxy.ask(relay.proxy.request()).status == 200
    base = relay.proxy.forget_peak()
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request(b"Content-Length: %d" % size, body=None))
        wire.send(*pieces(size))
        found = wire.answer()
        # Told before the end of the body was there: this connection ends.
        assert (found.status, found.body) == (503, b"later")
    assert peak_growth(relay, base) <= 20 * 1024
    assert seen == [(size, digest_of(size))]
    # Not on a connection that was kept: one that had died could not be replaced.
    first, second = relay.upstream.seen
    assert first.connection != second.connection


#: The proxy with room for little.
NARROW = """
import sys
from kmi.proxy import client
client.REPLAY_TOTAL_BYTES = 3_000_000
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def test_uploads_that_are_too_large_together_are_passed_on_as_they_come(tmp_path: Path) -> None:
    body = b"".join(pieces(2 * MIB))
    env = {"KMI_PROXY_RETRY_BASE_MS": "1"}
    with running(tmp_path, command=own_words(NARROW), env=env) as found:
        data = found.proxy.request(body=body)
        wires = [found.proxy.wire().send(data[:MIB]) for _ in range(3)]
        time.sleep(0.3)  # each is there in part before any is whole
        for wire in wires:
            wire.send(data[MIB:])
        assert [wire.answer().status for wire in wires] == [200] * 3
        assert [seen.body == body for seen in found.upstream.seen] == [True] * 3
        # Given back: the next one is kept, and so can be sent again; also after one that went.
        with found.proxy.wire() as gone:
            gone.send(data[:MIB])

        def kept() -> bool:
            found.upstream.clear()
            found.upstream.play(closes)
            return found.proxy.ask(data).status == 200

        until(kept)
        assert [seen.body == body for seen in found.upstream.seen] == [True] * 2


def test_an_early_answer_to_a_large_body_is_readable(relay: Running) -> None:
    def play(link: Link) -> None:
        link.read(MIB)
        link.forget_body()
        link.send(answer(b"no", status=b"413 Content Too Large"))
        link.gone()

    relay.upstream.play(play)
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request(b"Content-Length: %d" % (70 * MIB), body=None))
        wire.send(*pieces(2 * MIB))
        until(wire.readable)
        # A connection closed on unread bytes would be reset by these.
        wire.send(*pieces(MIB), *pieces(MIB))
        found = wire.answer()
        assert (found.status, found.body, found.get(b"connection")) == (413, b"no", b"close")
        assert wire.rest() == (b"", "end")


def test_a_gibibyte_in_chunks_is_refused(pair: Running) -> None:
    """By a proxy of its own: what the allocator kept of other tests is not its growth."""
    base = pair.proxy.forget_peak()
    block = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    sent = 0
    with pair.proxy.wire() as wire:
        wire.send(pair.proxy.request(b"Transfer-Encoding: chunked", body=None))
        while sent < 1024 * MIB and not wire.readable():
            wire.send(block)
            sent += 0x40000
        found = wire.answer()
    assert (found.status, found.get(b"connection")) == (413, b"close")
    assert "Content-Length" in found.document["error"]["message"]
    assert 60 * MIB < sent < 128 * MIB
    assert peak_growth(pair, base) <= 64 * 1024
    assert pair.upstream.seen == []


def test_small_chunks_cost_no_more_than_what_is_in_them(relay: Running) -> None:
    """Each kept as an object of its own they would take forty times as much."""
    base = relay.proxy.forget_peak()
    data = b"2\r\nab\r\n" * 500_000 + b"0\r\n\r\n"
    found = relay.proxy.ask(relay.proxy.request(b"Transfer-Encoding: chunked", body=None) + data)
    assert found.status == 200
    assert relay.upstream.seen[0].body == b"ab" * 500_000
    assert peak_growth(relay, base) <= 30 * 1024


def test_an_answer_waits_for_a_slow_reader(relay: Running) -> None:
    size, sent = 48 * MIB, 0

    def play(link: Link) -> None:
        nonlocal sent
        link.body()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for piece in pieces(size):
            link.send(piece)
            sent += len(piece)

    relay.upstream.play(play)
    base = relay.proxy.forget_peak()
    with relay.proxy.wire(receive_buffer=65536) as wire:
        wire.send(relay.proxy.request()).head()
        # Others go on meanwhile; and what is sent stops, for nobody reads.
        until(lambda: _stands_still(lambda: sent))
        assert sent < size / 2
        assert relay.proxy.ask(relay.proxy.request()).status == 200
        found = hashlib.sha256()
        for piece in pieces(size):
            found.update(wire.read(len(piece)))
    assert found.hexdigest() == digest_of(size)
    assert peak_growth(relay, base) <= 20 * 1024


def _seen(relay: Running, count: int) -> bool:
    return len(relay.upstream.seen) >= count


def _stands_still(value: Callable[[], int]) -> bool:
    """Whether something has begun, and then does not change for a while."""
    before = value()
    time.sleep(0.3)
    return bool(before and value() == before)
