"""Who is served: every refusal over a real socket, readable, and unseen by the upstream."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kmi.proxy.client import HEAD_TIMEOUT_S
from kmi.proxy.guards import own_hosts
from tests.conftest import secret_of
from tests.proxy.harness import (
    BASE,
    CHAT,
    CHUNKED_HEAD,
    OK,
    TOKEN,
    Answer,
    Link,
    Running,
    chunked,
    own_words,
    running,
    until,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

POST = b"POST " + CHAT.encode() + b" HTTP/1.1"
GET = b"GET %b/models HTTP/1.1" % BASE.encode()
HEALTH = b"GET /healthz HTTP/1.1"
STATUS = b"GET /status HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One proxy for all; nothing here reaches its key."""
    with running(tmp_path_factory.mktemp("guards")) as found:
        yield found


@pytest.fixture
def relay(shared: Running) -> Iterator[Running]:
    shared.upstream.clear()
    yield shared
    # Whatever it was: the proxy serves on.
    assert shared.proxy.ask(shared.proxy.request()).status == 200


def refused(relay: Running, data: bytes) -> Answer:
    """The refusal of a request: one whole answer, then an end in order, and nothing upstream."""
    with relay.proxy.wire() as wire:
        wire.send(data)
        head = wire.head()
        found = Answer(head, wire.read(int(Answer(head, b"").get(b"content-length") or 0)))
        assert wire.rest() == (b"", "end")
    assert found.get(b"connection") == b"close"
    assert b"access-control" not in found.head.lower()
    assert TOKEN.encode() not in found.head + found.body
    assert secret_of("one").encode() not in found.head + found.body
    assert relay.upstream.seen == []
    return found


# Framing.

MALFORMED = {
    "length and chunks": (POST, [b"Content-Length: 2", CHUNKED], b"{}", 400),
    "two lengths": (POST, [b"Content-Length: 2", b"Content-Length: 3"], b"{}", 400),
    "equal lengths": (POST, [b"Content-Length: 2", b"Content-Length: 2"], b"{}", 400),
    "a list of lengths": (POST, [b"Content-Length: 2, 2"], b"{}", 400),
    "a length with a sign": (POST, [b"Content-Length: +2"], b"{}", 400),
    "another coding": (POST, [b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n", 400),
    "a bare LF": (POST, [b"A: b\nC: d"], b"", 400),
    "a bare CR": (POST, [b"A: b\rC: d"], b"", 400),
    "a NUL": (POST, [b"A: b\x00"], b"", 400),
    "a folded line": (POST, [b"A: b", b" c"], b"", 400),
    "a blank before the colon": (POST, [b"A : b"], b"", 400),
    "no token for a name": (POST, [b"A(: b"], b"", 400),
    "no name": (POST, [b": b"], b"", 400),
    "an upgrade": (GET, [b"Connection: upgrade", b"Upgrade: websocket"], b"", 400),
    "absolute form": (b"GET http://127.0.0.1:1/ HTTP/1.1", [], b"", 400),
    "authority form": (b"CONNECT 127.0.0.1:1 HTTP/1.1", [], b"", 400),
    "a star": (b"OPTIONS * HTTP/1.1", [], b"", 400),
    "trace": (b"TRACE / HTTP/1.1", [], b"", 400),
    "another version": (GET[:-3] + b"2.0", [], b"", 400),
    "no version": (GET[:-9], [], b"", 400),
    "an old version": (GET[:-3] + b"0.9", [], b"", 400),
    "a second host": (GET, [b"Host: evil.com"], b"", 400),
    "a second authorization": (GET, [b"Authorization: Bearer x"], b"", 400),
    "a long line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1", [], b"", 414),
    "a long head": (GET, [b"A: " + b"a" * 70_000], b"", 431),
    "many fields": (GET, [b"A: b"] * 200, b"", 431),
    "a size with a prefix": (POST, [CHUNKED], b"0x2\r\n{}\r\n0\r\n\r\n", 400),
    "a size with a sign": (POST, [CHUNKED], b"+2\r\n{}\r\n0\r\n\r\n", 400),
    "a size with a blank": (POST, [CHUNKED], b" 2\r\n{}\r\n0\r\n\r\n", 400),
    "a size of 16 digits": (POST, [CHUNKED], b"0" * 16 + b"\r\n\r\n", 400),
    "no CRLF behind a chunk": (POST, [CHUNKED], b"2\r\n{}0\r\n\r\n0\r\n\r\n", 400),
    "a bare LF behind a size": (POST, [CHUNKED], b"2\n{}\r\n0\r\n\r\n", 400),
    "a bad trailer": (POST, [CHUNKED], b"0\r\nContent-Length: 3\r\n\r\n", 400),
    "a huge chunk": (POST, [CHUNKED], b"7fffffff\r\n", 413),
}


@pytest.mark.parametrize("step", [1 << 20, 1])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused(relay: Running, name: str, step: int) -> None:
    line, fields, body, status = MALFORMED[name]
    data = relay.proxy.request(*fields, line=line, body=None) + body
    with relay.proxy.wire() as wire:
        if step == 1 and len(data) < 2000:
            # What comes behind the fault may meet a closed door: it is not sent.
            for at in range(len(data)):
                if wire.readable():
                    break
                wire.send(data[at : at + 1])
        else:
            wire.send(data)
        found = wire.answer()
        assert wire.rest() == (b"", "end")
    assert (found.status, found.get(b"connection")) == (status, b"close")
    assert found.document["error"]["message"].startswith("kmi: ")
    assert relay.upstream.seen == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_told_so(relay: Running, data: bytes, status: int) -> None:
    assert refused(relay, data).status == status


def test_a_smuggled_request_is_never_seen(relay: Running) -> None:
    """Two readings of one message: neither the first nor the second request goes on."""
    inner = relay.proxy.request(line=b"POST %b/files HTTP/1.1" % BASE.encode())
    for fields, body in (
        ([b"Content-Length: %d" % (5 + len(inner)), CHUNKED], b"0\r\n\r\n" + inner),
        ([CHUNKED, CHUNKED], b"0\r\n\r\n" + inner),
        ([CHUNKED], b"1\r\nab\r\n0\r\n\r\n" + inner),
        ([b"Content-Length : 5", CHUNKED], b"0\r\n\r\n" + inner),
    ):
        data = relay.proxy.request(*fields, line=POST, body=None) + body
        assert refused(relay, data).status == 400


def test_a_page_takes_no_body(relay: Running) -> None:
    """It could hide a second request; and it would be kept for people without the token."""
    inner = relay.proxy.request()
    for line in (HEALTH, STATUS, b"GET / HTTP/1.1"):
        for fields, body in (
            ([b"Content-Length: %d" % len(inner)], inner),
            ([b"Content-Length: 70000000"], inner),
            ([CHUNKED], chunked(inner)),
        ):
            data = relay.proxy.request(*fields, line=line, body=None) + body
            assert refused(relay, data).document["error"]["code"] == "no-body"
    empty = relay.proxy.request(b"Content-Length: 0", line=HEALTH, body=None)
    assert relay.proxy.ask(empty).status == 200


# Where to.


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /coding/v1/models", 404),
        (b"GET /kmi-rotor/v10/models", 404),
        (b"GET //evil.com/kmi-rotor/v1/models", 404),
        (b"GET /@evil.com", 404),
        (b"GET /..", 404),
        (b"GET /kmi-rotor/v1/..%2f..%2fetc", 400),
        (b"GET /kmi-rotor/v1/../admin", 400),
        (b"GET /kmi-rotor/v1/%2e%2E/admin", 400),
        (b"GET /kmi-rotor/v1/..%5cadmin", 400),
        (b"GET /kmi-rotor/v1/..\\admin", 400),
        (b"GET /kmi-rotor/v1/a/..", 400),
        (b"OPTIONS /kmi-rotor/v1/models", 405),
        (b"BREW /kmi-rotor/v1/models", 405),
        (b"get /kmi-rotor/v1/models", 405),
        (b"POST /healthz", 405),
        (b"DELETE /status", 405),
    ],
)
def test_a_target_outside_of_the_api_is_refused(relay: Running, line: bytes, status: int) -> None:
    data = relay.proxy.request(line=line + b" HTTP/1.1", body=None)
    assert refused(relay, data).status == status


@pytest.mark.parametrize(
    "path", ["//evil.com/x", "/@evil.com", "/http://evil.com/", "/a\\b", "/%2e"]
)
def test_every_other_target_goes_to_the_keys_own_host(relay: Running, path: str) -> None:
    line = f"GET {BASE}{path} HTTP/1.1".encode()
    assert relay.proxy.ask(relay.proxy.request(line=line, body=None)).status == 200
    (seen,) = relay.upstream.seen
    assert seen.line == f"GET /coding/v1{path} HTTP/1.1".encode()
    assert seen.get(b"host") == b"127.0.0.1:%d" % relay.upstream.port


# From whom.


@pytest.mark.parametrize("line", [GET, HEALTH, STATUS, b"GET / HTTP/1.1"])
@pytest.mark.parametrize(
    "host", ["evil.com", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.com:{}", "0.0.0.0:{}",
             "[::ffff:127.0.0.1]:{}", "localhost.:{}", "example.localhost:{}"]
)  # fmt: skip
def test_a_foreign_host_is_refused(relay: Running, line: bytes, host: str) -> None:
    given = f"Host: {host.format(relay.proxy.port)}".encode()
    found = refused(relay, relay.proxy.request(line=line, host=given, body=None))
    assert (found.status, found.document["error"]["code"]) == (403, "host-not-allowed")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_the_own_host_is_served(relay: Running, name: str) -> None:
    host = f"Host: {name}:{relay.proxy.port}".encode()
    assert relay.proxy.ask(relay.proxy.request(host=host)).status == 200


def test_a_request_without_a_host_is_refused(relay: Running) -> None:
    for line in (GET, GET[:-1] + b"0"):
        assert refused(relay, relay.proxy.request(line=line, host=b"", body=None)).status == 400


@pytest.mark.parametrize(
    "line", [GET, HEALTH, STATUS, b"OPTIONS %b/models HTTP/1.1" % BASE.encode()]
)
@pytest.mark.parametrize(
    "field",
    [b"Origin: null", b"Origin: http://evil.com", b"Origin:", b"Sec-Fetch-Site: cross-site",
     b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Site:"],
)  # fmt: skip
def test_a_web_page_is_refused(relay: Running, line: bytes, field: bytes) -> None:
    found = refused(relay, relay.proxy.request(field, line=line, body=None))
    assert (found.status, found.document["error"]["code"]) == (403, "origin-not-allowed")


def test_a_page_with_a_simple_post_is_refused_before_its_body(relay: Running) -> None:
    data = relay.proxy.request(
        b"Content-Type: text/plain", b"Origin: http://evil.com", b"Content-Length: 5", body=None
    )
    assert refused(relay, data).status == 403


def test_the_page_of_kmi_may_ask_for_its_data_and_for_nothing_else(relay: Running) -> None:
    own = b"Sec-Fetch-Site: same-origin"
    for line in (STATUS, HEALTH, b"GET / HTTP/1.1", b"GET /metrics HTTP/1.1"):
        assert relay.proxy.ask(relay.proxy.request(own, line=line, body=None)).status == 200
    assert refused(relay, relay.proxy.request(own, line=GET, body=None)).status == 403


def test_node_and_address_bars_are_served(relay: Running) -> None:
    for field in (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Site: none"):
        assert relay.proxy.ask(relay.proxy.request(field)).status == 200


WRONG = [
    b"",
    b"Authorization: Bearer ",
    b"Authorization: Bearer " + TOKEN.encode()[:-1],
    b"Authorization: Bearer " + TOKEN.encode() + b"x",
    b"Authorization: Bearer " + TOKEN.upper().encode(),
    b"Authorization: Bearer \xc3\xa9" + TOKEN.encode(),
    b"Authorization: Basic " + TOKEN.encode(),
    b"Authorization: " + TOKEN.encode(),
    b"x-api-key: ",
    b"x-api-key: wrong",
    b"Authorization: Bearer wrong\r\nx-api-key: " + TOKEN.encode(),
    b"X-Token: " + TOKEN.encode(),
]


@pytest.mark.parametrize("auth", WRONG)
@pytest.mark.parametrize("line", [POST, STATUS, b"GET /metrics HTTP/1.1"])
def test_a_stranger_is_told_what_to_send(relay: Running, line: bytes, auth: bytes) -> None:
    found = refused(relay, relay.proxy.request(line=line, auth=auth, body=None))
    assert (found.status, found.document["error"]["code"]) == (401, "wrong-token")
    text = found.document["error"]["message"]
    assert "Authorization: Bearer TOKEN" in text
    assert "x-api-key: TOKEN" in text
    assert "kmi proxy status" in text


@pytest.mark.parametrize(
    "auth",
    [b"Authorization: Bearer " + TOKEN.encode(), b"authorization:bearer   " + TOKEN.encode(),
     b"X-API-Key: " + TOKEN.encode()],
)  # fmt: skip
def test_who_has_the_token_is_served(relay: Running, auth: bytes) -> None:
    assert relay.proxy.ask(relay.proxy.request(auth=auth)).status == 200
    assert relay.proxy.ask(relay.proxy.request(auth=auth, line=STATUS, body=None)).status == 200
    assert TOKEN.encode() not in relay.upstream.seen[0].head


def test_the_token_is_in_no_url(relay: Running) -> None:
    line = f"GET /status?token={TOKEN} HTTP/1.1".encode()
    assert refused(relay, relay.proxy.request(line=line, auth=b"", body=None)).status == 401


def test_anthropics_clients_get_their_shape(relay: Running) -> None:
    line = f"POST {BASE}/messages HTTP/1.1".encode()
    found = refused(relay, relay.proxy.request(line=line, auth=b"x-api-key: wrong", body=None))
    assert found.document["type"] == "error"
    assert found.document["error"]["type"] == "authentication_error"


# Slowly, and many.


@pytest.mark.parametrize("auth", [b"", None])
def test_a_refusal_is_readable_while_the_client_still_sends(
    relay: Running, auth: bytes | None
) -> None:
    """Closing on unread bytes would reset the connection, and the answer would be lost."""
    fields = [] if auth is not None else [b"Origin: null"]
    data = relay.proxy.request(*fields, b"Content-Length: 50000000", auth=auth, body=None)
    with relay.proxy.wire() as wire:
        wire.send(data, *[b"x" * 100_000] * 100)
        found = wire.answer()
        assert found.status == (401 if auth is not None else 403)
        assert wire.rest() == (b"", "end")
    assert relay.upstream.seen == []


def test_a_refused_client_can_not_go_on_for_ever(relay: Running) -> None:
    """After its moment the connection is cut, whatever it still sends."""
    with relay.proxy.wire() as wire:
        wire.send(relay.proxy.request(b"Content-Length: 50000000", auth=b"", body=None))
        wire.answer()
        until(lambda: _ended(wire.socket))


def _ended(own: socket.socket) -> bool:
    try:
        own.sendall(b"x" * 1000)
    except ConnectionError:
        return True
    return False


def test_200_slow_and_idle_connections_keep_nobody_out(relay: Running) -> None:
    slow = [relay.proxy.wire() for _ in range(200)]
    for number, wire in enumerate(slow):
        whole = relay.proxy.request(body=b"x" * 100)
        wire.send(whole[: (0, 10, 150, len(whole) - 1)[number % 4]])
    for _ in range(20):
        health = relay.proxy.request(line=HEALTH, auth=b"", body=None)
        assert relay.proxy.ask(health).status == 200
        assert relay.proxy.ask(relay.proxy.request()).status == 200
    # And they are served as soon as they have said what they want.
    for number, wire in enumerate(slow):
        whole = relay.proxy.request(body=b"x" * 100)
        wire.send(whole[(0, 10, 150, len(whole) - 1)[number % 4] :])
    assert {wire.answer().status for wire in slow} == {200}
    for wire in slow:
        wire.socket.close()


#: The proxy with deadlines that a test can wait for; they are looked at once a second.
HURRIED = """
import sys
import kmi.proxy.client as client
client.HEAD_TIMEOUT_S = client.BODY_TIMEOUT_S = client.IDLE_TIMEOUT_S = 0.3
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def test_who_is_too_slow_is_told_so_and_who_is_served_is_left_alone(tmp_path: Path) -> None:
    told = threading.Event()

    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD, b"3\r\n:\n\n\r\n")
        assert told.wait(20)
        link.send(chunked(b"data: {}\n\n"))

    with running(tmp_path, command=own_words(HURRIED)) as relay:
        whole, ask = relay.proxy.request(body=b"x" * 100), relay.proxy.wire
        chunks = relay.proxy.request(CHUNKED, body=None)
        relay.upstream.play(play)
        # All of it in one write: it has no body to wait for any more.
        stream = ask().send(chunks + chunked(b"{}"))
        relay.upstream.wait_for(1)
        silent, idle = ask(), ask().send(whole)
        assert idle.answer().status == 200
        slow = [ask().send(whole[:cut]) for cut in (1, 80, len(whole) - 100, len(whole) - 1)]
        slow += [ask().send(chunks), ask().send(chunks + b"2\r\n{")]
        for wire in slow:
            found = wire.answer()
            assert (found.status, found.document["error"]["code"]) == (408, "too-slow")
            assert wire.rest() == (b"", "end")
        for wire in (silent, idle):
            assert wire.rest() == (b"", "end")
        told.set()
        assert stream.answer().body == b"3\r\n:\n\n\r\n" + chunked(b"data: {}\n\n")
        for wire in (stream, silent, idle, *slow):
            wire.socket.close()
        assert HEAD_TIMEOUT_S <= 15.0


def test_a_large_upload_that_stands_still_ends_and_a_held_one_does_not(tmp_path: Path) -> None:
    """A body that is too large to keep is handed on: who stops sending it is told so, too."""
    went_on, size = threading.Event(), 32 * 1024 * 1024
    body, event = bytes(size), b"a\r\ndata: {}\n\n\r\n"

    def slow(link: Link) -> None:
        assert went_on.wait(20)  # meanwhile it reads nothing, and so the client can't send
        link.body()
        link.send(OK)

    def stands(link: Link) -> None:
        link.read(1000)
        link.forget_body()
        link.gone()

    def answers_early(link: Link) -> None:
        link.read(1000)
        link.forget_body()
        link.send(CHUNKED_HEAD, event)
        link.gone()

    code = HURRIED.replace("= 0.3", "= 1.0; client.REPLAY_BYTES = 1_000_000")
    with running(tmp_path, command=own_words(code)) as relay:
        head = relay.proxy.request(b"Content-Length: %d" % size, body=None)
        held, standing, early = (relay.proxy.wire() for _ in range(3))
        relay.upstream.play(slow)
        sending = threading.Thread(target=held.send, args=(head, body), daemon=True)
        sending.start()
        relay.upstream.wait_for(1)
        for number, (wire, script) in enumerate(((standing, stands), (early, answers_early)), 2):
            relay.upstream.play(script)
            wire.send(head, body[:1000])
            relay.upstream.wait_for(number)
        found = standing.answer()
        assert (found.status, found.document["error"]["code"]) == (408, "too-slow")
        assert found.get(b"connection") == b"close"
        assert standing.rest() == (b"", "end")
        assert early.head().startswith(b"HTTP/1.1 200")
        assert early.rest() == (event, "reset")
        went_on.set()
        assert held.answer().status == 200
        sending.join()
        until(lambda: len(relay.proxy.trace()) == 3)
        verdicts = sorted((record["status"], record["verdict"]) for record in relay.proxy.trace())
        assert verdicts == [(200, "ok"), (200, "too-slow"), (408, "too-slow")]


#: A proxy that takes three connections at once; the real limit is 2,048.
CROWDED = """
import sys
import kmi.proxy.site as site
assert site.CONNECTIONS_MAX == 2048
site.CONNECTIONS_MAX = 3
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def test_one_connection_too_many_is_ended_and_the_others_are_served(tmp_path: Path) -> None:
    told = threading.Event()

    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD, chunked(b"data: {}\n\n")[:-5])
        assert told.wait(20)
        link.send(b"0\r\n\r\n")

    with running(tmp_path, command=own_words(CROWDED)) as relay:
        relay.upstream.play(play)
        stream, kept, third = (relay.proxy.wire() for _ in range(3))
        stream.send(relay.proxy.request())
        assert stream.head().startswith(b"HTTP/1.1 200")
        for wire in (kept, third):
            assert wire.send(relay.proxy.request()).answer().status == 200
        for _ in range(3):
            # The reset may be there before `connect` has returned.
            with suppress(ConnectionResetError), relay.proxy.wire() as more:
                assert more.rest() == (b"", "reset")
        # Those that were there first are served on, whatever they are doing.
        assert kept.send(relay.proxy.request()).answer().status == 200
        told.set()
        assert stream.read_past(b"\r\n0\r\n\r\n") == chunked(b"data: {}\n\n")
        # And one that goes makes room.
        third.socket.close()
        until(lambda: room(relay))


def room(relay: Running) -> bool:
    """Whether a new connection is served."""
    with relay.proxy.wire() as wire, suppress(ConnectionError):
        return wire.send(relay.proxy.request()).answer().status == 200
    return False


def test_refusals_are_counted_where_a_person_looks(relay: Running) -> None:
    def count() -> int:
        page = relay.proxy.ask(relay.proxy.request(line=STATUS, body=None))
        assert page.status == 200
        found: int = json.loads(page.body)["refused"].get("wrong-token", 0)
        return found

    before = count()
    assert refused(relay, relay.proxy.request(auth=b"Authorization: Bearer no")).status == 401
    assert count() == before + 1


@pytest.mark.parametrize(
    "host, port, more",
    [
        ("127.0.0.1", 9, set()),
        ("::1", 9, {b"::1:9"}),
        ("0.0.0.0", 9, {b"0.0.0.0:9"}),  # noqa: S104 - only a name
        ("Box", 80, {b"box:80", b"box", b"127.0.0.1", b"localhost", b"[::1]"}),
    ],
)
def test_the_names_of_a_listener(host: str, port: int, more: set[bytes]) -> None:
    always = {f"{own}:{port}".encode() for own in ("127.0.0.1", "localhost", "[::1]")}
    assert own_hosts(host, port) == always | more


def test_a_browsers_wish_for_an_icon_gets_no_body(relay: Running) -> None:
    asked = relay.proxy.request(line=b"GET /favicon.ico HTTP/1.1", body=None)
    answer = relay.proxy.ask(asked)
    assert (answer.status, answer.body) == (204, b"")
