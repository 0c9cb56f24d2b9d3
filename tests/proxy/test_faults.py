"""What goes wrong, with upstreams, clients, disks, clocks and signals; what the client sees."""

from __future__ import annotations

import asyncio
import datetime
import resource
import select
import signal
import socket
import ssl
import struct
import threading
import time
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from kmi.proxy.pool import Pool
from kmi.proxy.pool import Upstream as Connection
from kmi.urls import parse_base_url
from tests.conftest import World, secret_of
from tests.proxy.harness import (
    BASE,
    CHUNKED_HEAD,
    LIMIT_S,
    OK,
    QUOTA,
    TOKEN,
    Link,
    Proxy,
    Running,
    Script,
    Upstream,
    Wire,
    answer,
    chunked,
    closes,
    own_words,
    resets,
    running,
    sends,
    until,
    until_held,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENT = b'data: {"choices":[]}\n\n'
DONE = b"data: [DONE]\n\n"
QUICK = {"KMI_PROXY_RETRY_BASE_MS": "1"}
EXHAUSTED = sends(answer(QUOTA, status=b"403 Forbidden"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One key that is never changed: every fault is the client's to know."""
    with running(tmp_path_factory.mktemp("faults"), rotate=False, env=QUICK) as found:
        yield found


@pytest.fixture
def single(shared: Running) -> Iterator[Running]:
    shared.upstream.clear()
    yield shared
    shared.upstream.clear()
    assert shared.proxy.ask(shared.proxy.request()).status == 200


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Running]:
    """Two keys that may be changed."""
    with running(tmp_path, "one", "two", env=QUICK) as found:
        yield found


def fresh(found: Running) -> None:
    """Leave no idle connection to the upstream: the next request makes one."""
    found.upstream.default = closes_after(OK)
    found.proxy.ask(found.proxy.request())
    found.upstream.clear()


def closes_after(*parts: bytes) -> Script:
    """A script: send, and end in order."""

    def play(link: Link) -> None:
        sends(*parts)(link)
        link.close()

    return play


def resets_after(*parts: bytes) -> Script:
    """A script: send, wait until it was seen, and reset."""

    def play(link: Link) -> None:
        sends(*parts)(link)
        assert link.go_on.wait(LIMIT_S)
        link.reset()

    return play


# An upstream that does not answer.


@pytest.mark.parametrize("script", [closes, resets])
def test_an_end_without_an_answer_is_502_and_asked_once(single: Running, script: Script) -> None:
    """It may have been paid for: repeating it is for those who allowed it."""
    fresh(single)
    single.upstream.play(script)
    found = single.proxy.ask(single.proxy.request())
    assert (found.status, found.document["kmi"]["code"]) == (502, "upstream")
    assert f"127.0.0.1:{single.upstream.port}" in found.document["error"]["message"]
    assert len(single.upstream.seen) == 1


def test_a_refused_connection_is_502(tmp_path: Path) -> None:
    with running(tmp_path, rotate=False) as found:
        found.upstream.close()
        answered = found.proxy.ask(found.proxy.request())
        assert answered.status == 502
        assert "connection refused" in answered.document["error"]["message"]
        # And this connection goes on.
        with found.proxy.wire() as wire:
            for _ in range(2):
                assert wire.send(found.proxy.request()).answer().status == 502


#: The proxy on a loop that takes its turns between a connection and its first use.
LATE = """
import asyncio, sys
from kmi.proxy.pool import Pool
connect = Pool.connect
async def late(self):
    connection = await connect(self)
    await asyncio.sleep(0.05)
    return connection
Pool.connect = late
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def ends_at_once(listening: socket.socket) -> None:
    """An upstream that accepts and ends, in order and by a reset in turn."""
    for reset in cycle((False, True)):
        try:
            own, _ = listening.accept()
        except OSError:
            return
        if reset:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        own.close()


@pytest.mark.parametrize("late", [False, True])
def test_an_upstream_that_ends_what_it_accepts_is_502(tmp_path: Path, late: bool) -> None:
    world = World(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=ends_at_once, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        world.add_key("one", UPSTREAM_BASE_URL=url)
        command = own_words(LATE) if late else None
        with Proxy(world, command=command, env=QUICK) as proxy:
            wires = [proxy.wire().send(proxy.request()) for _ in range(8)]
            assert [wire.answer().status for wire in wires] == [502] * 8
            until(lambda: len(proxy.trace()) == 8)
            assert {record["status"] for record in proxy.trace()} == {502}
        listening.shutdown(socket.SHUT_RDWR)


#: The proxy with keys that are made anew for every look, as those that programs give.
ANEW = """
import copy, sys
from kmi.proxy.picker import Picker
pick = Picker.pick
def anew(self, *args):
    found = pick(self, *args)
    return found._replace(key=copy.copy(found.key))
Picker.pick = anew
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def test_a_key_is_the_same_when_it_was_read_anew(tmp_path: Path) -> None:
    with running(tmp_path, "one", "two", command=own_words(ANEW), env=QUICK) as found:
        found.upstream.play(closes, closes)
        assert found.proxy.ask(found.proxy.request()).get(b"x-kmi-key") == b"two"


@pytest.mark.parametrize("script", [closes, resets])
def test_where_keys_may_be_changed_it_is_asked_again(pair: Running, script: Script) -> None:
    pair.upstream.play(script, script)
    found = pair.proxy.ask(pair.proxy.request(body=b"once"))
    assert (found.status, found.get(b"x-kmi-key")) == (200, b"two")
    assert [seen.body for seen in pair.upstream.seen] == [b"once"] * 3
    # It is counted, for it may have been paid for; and it is no fault of the key.
    until(pair.proxy.trace)
    assert pair.proxy.trace()[0]["tried"] == [["one", "network"]] * 2
    page = pair.proxy.ask(pair.proxy.request(line=b"GET /status HTTP/1.1", body=None)).document
    assert [key["status"] for key in page["keys"]] == ["unknown", "unknown"]


def test_a_kept_connection_that_died_is_replaced_unseen(single: Running) -> None:
    """Once; a fresh one that dies, too, is a fault."""
    for script in (closes, resets):
        single.proxy.ask(single.proxy.request())
        before = single.upstream.connections
        single.upstream.clear()
        single.upstream.play(script, sends(answer(b"again")))
        found = single.proxy.ask(single.proxy.request(body=b"x"))
        assert (found.status, found.body) == (200, b"again")
        assert [seen.body for seen in single.upstream.seen] == [b"x"] * 2
        assert single.upstream.connections == before + 1
        single.upstream.play(script, script, sends(answer(b"never")))
        assert single.proxy.ask(single.proxy.request()).status == 502
        single.upstream.clear()


def test_a_kept_connection_that_ended_is_not_used(single: Running) -> None:
    single.upstream.play(closes_after(OK))
    assert single.proxy.ask(single.proxy.request()).status == 200
    assert single.proxy.ask(single.proxy.request()).status == 200
    first, second = single.upstream.seen
    assert first.connection != second.connection


def test_what_comes_on_an_idle_connection_is_no_answer(single: Running) -> None:
    """Else it would be taken for the answer to the next request."""
    sent = threading.Event()

    def play(link: Link) -> None:
        sends(OK)(link)
        assert link.go_on.wait(LIMIT_S)
        link.send(answer(b"evil"))
        sent.set()
        link.gone()

    for _ in range(5):
        single.upstream.clear()
        single.upstream.play(play, sends(answer(b"good")))
        with single.proxy.wire() as wire:
            assert wire.send(single.proxy.request()).answer().body == b"{}"
            single.upstream.go_on()
            assert sent.wait(LIMIT_S)
            assert wire.send(single.proxy.request()).answer().body == b"good"
        sent.clear()
        first, second = single.upstream.seen
        assert first.connection != second.connection


@pytest.mark.parametrize("what", [b"HTTP/1.1 200 OK\r\n\r\nevil", b""])
def test_a_kept_connection_is_looked_at_before_it_is_used(what: bytes) -> None:
    """The event loop may have seen nothing of it: here it had no time to."""

    async def use(listening: socket.socket) -> None:
        port = listening.getsockname()[1]
        pool, now = Pool(parse_base_url(f"http://127.0.0.1:{port}/v1"), None), time.monotonic()
        connection = await pool.connect()
        peer, _ = listening.accept()
        with peer:
            connection.release(now, reusable=True)
            assert pool.idle(now) is connection
            connection.release(now, reusable=True)
            peer.sendall(what) if what else peer.shutdown(socket.SHUT_WR)
            select.select([connection.transport.get_extra_info("socket").fileno()], [], [])
            assert pool.idle(now) is None
            # And one that is too old is not used either.
            connection = await pool.connect()
            listening.accept()[0].close()
            connection.release(now - 60.0, reusable=True)
            assert pool.idle(now) is None
            await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        asyncio.run(use(listening))


# An upstream that ends, or talks nonsense, in its answer.

PLAIN = CHUNKED_HEAD.replace(b"text/event-stream", b"application/json")
BEGUN = {
    "a part of a status line": OK[:12],
    "a part of a head": OK[:30],
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a part of an error": answer(b"x" * 9, status=b"400 Bad Request")[:-3],
    "a part of a first event": CHUNKED_HEAD + chunked(EVENT)[:10],
    "a part of an error in chunks": PLAIN.replace(b"200 OK", b"500 Oh") + b"5\r\nab",
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", BEGUN)
def test_an_end_before_the_client_saw_a_byte_is_502(
    single: Running, name: str, reset: bool
) -> None:
    def play(link: Link) -> None:
        sends(BEGUN[name])(link)
        if reset:
            time.sleep(0.05)  # it would overtake what was not read yet
            link.reset()
        else:
            link.close()

    single.upstream.play(play)
    found = single.proxy.ask(single.proxy.request())
    assert (found.status, found.document["kmi"]["code"]) == (502, "upstream")
    assert len(single.upstream.seen) == 1


BODIES = {
    "a length": (answer(b"x" * 1000)[:-1], b"x" * 999),
    "chunks": (PLAIN + b"3e8\r\n" + b"x" * 999, b"3e8\r\n" + b"x" * 999),
    "chunks without their end": (PLAIN + b"1\r\nx\r\n", b"1\r\nx\r\n"),
    "chunks without their trailers": (PLAIN + b"1\r\nx\r\n0\r\n", b"1\r\nx\r\n0\r\n"),
    "a stream": (CHUNKED_HEAD + chunked(EVENT, EVENT)[:-5], chunked(EVENT, EVENT)[:-5]),
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_an_end_in_the_body_resets_the_client(single: Running, name: str, reset: bool) -> None:
    """Never an end in order: half an answer could pass for a whole one."""
    raw, shown = BODIES[name]
    single.upstream.play(resets_after(raw) if reset else closes_after(raw))
    with single.proxy.wire() as wire:
        wire.send(single.proxy.request()).head()
        assert wire.read(len(shown)) == shown
        single.upstream.go_on()
        assert wire.rest() == (b"", "reset")
    assert len(single.upstream.seen) == 1


@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_a_reset_is_no_end_of_a_body_without_a_length(single: Running, minor: bytes) -> None:
    """It would look whole: nothing but the reset tells."""
    single.upstream.play(resets_after(b"HTTP/1.1 200 OK\r\n\r\nhalf"))
    line = b"POST %b/chat/completions HTTP/1.%b" % (BASE.encode(), minor)
    with single.proxy.wire() as wire:
        wire.send(single.proxy.request(line=line)).head()
        assert wire.read(4) == b"half"
        single.upstream.go_on()
        assert wire.rest() == (b"", "reset")


def test_chunks_to_an_old_client_end_as_they_came(single: Running) -> None:
    single.upstream.play(closes_after(CHUNKED_HEAD + b"20\r\n" + EVENT))
    line = b"POST %b/chat/completions HTTP/1.0" % BASE.encode()
    with single.proxy.wire() as wire:
        found, end = wire.send(single.proxy.request(line=line)).rest()
    # Nothing of it was shown as a whole answer.
    assert end == "reset" or b" 502 " in found


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
    "text": b"x" * 100 + b"\r\n\r\n",
    "bytes": bytes(range(255, -1, -1)) + b"\r\n\r\n",
    "a long head": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
    "a folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a CR in a value": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nA: b\n\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": PLAIN[:-2] + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    "a bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "a bad size in an error": PLAIN.replace(b"200 OK", b"500 Oh") + b"x\r\n",
    "a bad size in a first event": CHUNKED_HEAD + b"-1\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_502_and_nothing_of_it_is_passed_on(single: Running, name: str) -> None:
    def play(link: Link) -> None:
        sends(GARBAGE[name])(link)
        link.gone()

    single.upstream.play(play)
    found = single.proxy.ask(single.proxy.request())
    assert found.status == 502
    assert found.document["error"]["message"].startswith(
        "kmi: the upstream's answer is not HTTP as it should be: "
    )
    assert b"Set-Cookie" not in found.head
    assert len(single.upstream.seen) == 1


@pytest.mark.parametrize("broken", [b"x\r\n", b"2\r\nabc\r\n", b"1\r\na\n"])
def test_broken_chunks_cut_the_client_off(single: Running, broken: bytes) -> None:
    def play(link: Link) -> None:
        sends(CHUNKED_HEAD + chunked(EVENT)[:-5])(link)
        assert link.go_on.wait(LIMIT_S)
        link.send(broken)
        link.gone()

    single.upstream.play(play)
    with single.proxy.wire() as wire:
        wire.send(single.proxy.request()).head()
        wire.read_past(EVENT + b"\r\n")
        single.upstream.go_on()
        found, end = wire.rest()
        assert end == "reset"
        assert broken not in found


@pytest.mark.parametrize(
    "raw", [OK + b"HTTP/1.1 200 OK\r\n\r\n", OK + b"x", PLAIN + chunked(b"{}") + b"\r\n"]
)
def test_bytes_after_the_end_are_nobodys(single: Running, raw: bytes) -> None:
    single.upstream.play(sends(raw))
    with single.proxy.wire() as wire:
        first = wire.send(single.proxy.request()).answer()
        assert first.body in (b"{}", chunked(b"{}"))
        assert wire.send(single.proxy.request()).answer().body == b"{}"
    assert single.upstream.seen[0].connection != single.upstream.seen[1].connection


def test_a_connection_that_is_to_close_is_not_kept(single: Running) -> None:
    for raw in (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ):
        single.upstream.clear()
        single.upstream.play(sends(raw))
        with single.proxy.wire() as wire:
            found = wire.send(single.proxy.request()).answer()
            assert (found.body, found.get(b"connection")) == (b"{}", None)
            assert wire.send(single.proxy.request()).answer().body == b"{}"
        assert single.upstream.seen[0].connection != single.upstream.seen[1].connection


# A client that goes away.


def waits(link: Link) -> None:
    """A script: keep the client waiting; see when it went."""
    link.body()
    link.ended_at.append(link.gone())


def streams(link: Link) -> None:
    """A script: begin a stream; see when the client went."""
    link.body()
    link.send(CHUNKED_HEAD + chunked(EVENT)[:-5])
    link.ended_at.append(link.gone())


def holds(link: Link) -> None:
    """A script: begin a first event; see when the client went."""
    link.body()
    link.send(CHUNKED_HEAD + b"20\r\ndata: ")
    link.ended_at.append(link.gone())


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize("script", [waits, streams, holds])
def test_when_the_client_goes_the_upstream_is_ended_within_a_second(
    single: Running, script: Script, rude: bool
) -> None:
    single.upstream.play(script)
    wire = single.proxy.wire().send(single.proxy.request())
    single.upstream.wait_for(1)
    if script is streams:
        wire.read_past(EVENT)
    left_at = time.monotonic()
    if rude:
        wire.reset()
    else:
        wire.socket.close()
    until(lambda: single.upstream.ended_at)
    assert single.upstream.ended_at[0] - left_at < 1.0
    # Its place is free, and nobody else gets its answer.
    assert single.proxy.ask(single.proxy.request()).body == b"{}"
    assert in_flight(single) == {}


def in_flight(found: Running) -> dict[str, int]:
    """The keys with requests in flight, as ``/status`` tells."""
    page = found.proxy.ask(found.proxy.request(line=b"GET /status HTTP/1.1", body=None)).document
    return {key["label"]: key["in_flight"] for key in page["keys"] if key["in_flight"]}


def test_a_client_that_goes_while_it_uploads(single: Running) -> None:
    def play(link: Link) -> None:
        link.read(1000)
        link.forget_body()
        link.ended_at.append(link.gone())

    single.upstream.play(play)
    with single.proxy.wire() as wire:
        wire.send(single.proxy.request(b"Content-Length: 70000000", body=None), b"x" * 500_000)
        single.upstream.wait_for(1)
    until(lambda: single.upstream.ended_at)
    # And one whose body is kept is never asked for.
    with single.proxy.wire() as wire:
        wire.send(single.proxy.request(b"Content-Length: 1000", body=None), b"x" * 500)
    assert single.proxy.ask(single.proxy.request()).status == 200
    assert [seen.body for seen in single.upstream.seen[1:]] == [b"{}"]


# TLS.


class Authority(NamedTuple):
    """One that made certificates: its own in a file, and what servers may show, good and bad."""

    path: str
    shown: dict[str, ssl.SSLContext]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority; one of the certificates is another one's, and one nobody's."""
    ca, stranger = trustme.CA(), trustme.CA()
    then = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    later = then + datetime.timedelta(days=1)
    leaves = {
        "right": ca.issue_cert("127.0.0.1"),
        "wrong name": ca.issue_cert("example.com"),
        "expired": ca.issue_cert("127.0.0.1", not_before=then, not_after=later),
        "a stranger's": stranger.issue_cert("127.0.0.1"),
    }
    shown = {name: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for name in (*leaves, "self-signed")}
    for name, leaf in leaves.items():
        leaf.configure_cert(shown[name])
    folder = tmp_path_factory.mktemp("tls")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.private_key_pem.write_to_path(str(folder / "own.pem"))
    stranger.cert_pem.write_to_path(str(folder / "own.pem"), append=True)
    shown["self-signed"].load_cert_chain(folder / "own.pem")
    return Authority(str(folder / "ca.pem"), shown)


#: The proxy in a world in which this authority is one of those that certifi knows.
TRUSTING = """
import sys
import certifi
certifi.where = lambda: {path!r}
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""
BAD = {
    "wrong name": "not valid for",
    "expired": "has expired",
    "a stranger's": "unable to get local issuer",
    "self-signed": "self",
}


def test_an_upstream_with_a_bad_certificate_gets_no_key(
    authority: Authority, tmp_path: Path
) -> None:
    shows = ["right"]

    def wrap(own: socket.socket) -> socket.socket:
        return authority.shown[shows[-1]].wrap_socket(own, server_side=True)

    world = World(tmp_path)
    with Upstream(wrap) as upstream:
        world.add_key("one", UPSTREAM_BASE_URL=upstream.base_url)
        code = TRUSTING.format(path=authority.path)
        with Proxy(world, command=own_words(code), env={"KMI_PROXY_RETRY_BASE_MS": "1"}) as proxy:
            for name, says in BAD.items():
                shows.append(name)
                found = proxy.ask(proxy.request())
                assert found.status == 502, name
                message = found.document["error"]["message"]
                assert "certificate is not accepted" in message
                assert says in message
                assert upstream.seen == []
            shows.append("right")  # the control
            assert proxy.ask(proxy.request()).status == 200
    assert len(upstream.seen) == 1


def test_what_other_programs_are_told_to_trust_is_not_for_the_keys(
    authority: Authority, tmp_path: Path
) -> None:
    world = World(tmp_path)
    right = authority.shown["right"]
    with Upstream(lambda own: right.wrap_socket(own, server_side=True)) as upstream:
        world.add_key("one", UPSTREAM_BASE_URL=upstream.base_url)
        with Proxy(world, env={"SSL_CERT_FILE": authority.path}) as proxy:
            for _ in range(2):
                found = proxy.ask(proxy.request())
                assert found.status == 502
                assert "certificate is not accepted" in found.document["error"]["message"]
        assert upstream.connections >= 2
        assert upstream.seen == []


def test_who_goes_while_tls_is_prepared_does_not_end_it_for_others() -> None:
    """All wait for one thing, which is made once."""

    async def wait() -> bool:
        ready: asyncio.Future[ssl.SSLContext] = asyncio.get_running_loop().create_future()
        pool = Pool(parse_base_url("https://127.0.0.1:9/v1"), lambda: ready)
        waiting = asyncio.ensure_future(pool.connect())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return ready.cancelled()

    assert asyncio.run(wait()) is False


def test_tls_that_ended_a_turn_before_it_is_let_go() -> None:
    """Of Python 3.9 and 3.10: its transport has lost the one below."""

    class Ended:
        aborted = False

        def get_write_buffer_size(self) -> int:
            raise AttributeError("'NoneType' object has no attribute 'get_write_buffer_size'")

        def is_closing(self) -> bool:
            return False

        def abort(self) -> None:
            self.aborted = True

    pool = Pool(parse_base_url("https://127.0.0.1:9/v1"), None)
    connection, ended = Connection(pool), Ended()
    connection.transport = ended  # type: ignore[assignment]  # a stand-in
    connection.release(0.0, reusable=True)
    assert ended.aborted
    assert pool.idle(0.0) is None


def test_plain_http_where_tls_is_expected(tmp_path: Path) -> None:
    def answers_plainly(own: socket.socket) -> socket.socket:
        own.recv(65536)
        own.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return own

    world = World(tmp_path)
    with Upstream(answers_plainly) as upstream:
        world.add_key("one", UPSTREAM_BASE_URL=upstream.base_url)
        with Proxy(world) as proxy:
            found = proxy.ask(proxy.request())
        assert found.status == 502
        assert "TLS failed" in found.document["error"]["message"]
        assert upstream.seen == []


# Disks, files, clocks.


def _traced(found: Running, count: int) -> bool:
    return len(found.proxy.trace()) >= count


def test_while_the_lock_can_not_be_taken_requests_go_on(pair: Running) -> None:
    lock = pair.world.state / "lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    pair.upstream.play(EXHAUSTED)
    for count in range(1, 6):
        assert pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"two"
        until(partial(_traced, pair, count))  # the keeper went on
    # It says so once, and what it learnt is not lost.
    assert len(pair.proxy.events("keeper-failed")) == 1
    assert str(lock) in pair.proxy.events("keeper-failed")[0]["text"]
    assert pair.world.saved_state().get("keys", {}) == {}
    lock.rmdir()
    assert until_held(pair.world, "one")["verdict"] == "quota-7d"


def test_while_the_disk_is_full_requests_go_on(pair: Running) -> None:
    """By a limit of file sizes: no file grows, no new one has a byte."""
    # Its address is the last that it says; stdout is a file here.
    until(lambda: f":{pair.proxy.port}/" in pair.proxy.errors)
    pid, none = pair.proxy.process.pid, resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, none))
    pair.upstream.play(EXHAUSTED)
    for _ in range(30):
        assert pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"two"
    time.sleep(1.0)  # it tries in vain a few times
    assert pair.proxy.trace() == []
    assert pair.world.saved_state() == {}
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (none, none))
    assert until_held(pair.world, "one")["verdict"] == "quota-7d"
    until(lambda: len(pair.proxy.trace()) == 30)
    assert len({record["request"] for record in pair.proxy.trace()}) == 30


def test_a_key_whose_file_goes_serves_its_stream_and_no_other_request(pair: Running) -> None:
    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD + chunked(EVENT)[:-5])
        assert link.go_on.wait(LIMIT_S)
        link.send(chunked(DONE))

    pair.upstream.play(play)
    with pair.proxy.wire() as stream:
        first = stream.send(pair.proxy.request()).head()
        assert b"x-kmi-key: one" in first
        (pair.world.auths / "one.env").unlink()
        until(lambda: pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"two")
        pair.upstream.go_on()
        stream.read_past(DONE + b"\r\n0\r\n\r\n")
    (pair.world.auths / "two.env").unlink()
    until(lambda: pair.proxy.ask(pair.proxy.request()).status == 403)
    found = pair.proxy.ask(pair.proxy.request())
    assert found.document["kmi"]["code"] == "no-key"
    # A new one is found as fast.
    pair.world.add_key("three", UPSTREAM_BASE_URL=pair.upstream.base_url)
    until(lambda: pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"three")


#: The proxy on a clock that the test can set: seconds to add are in the file ``shift``.
SHIFTED = """
import os, sys, time
real, path = time.time, {path!r}
def shifted():
    with open(path) as file:
        return real() + float(file.read())
time.time = shifted
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


@pytest.mark.parametrize("shift", ["86400", "-86400"])
def test_a_clock_that_jumps_disturbs_nobody(tmp_path: Path, shift: str) -> None:
    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD + chunked(EVENT)[:-5])
        assert link.go_on.wait(LIMIT_S)
        link.send(chunked(DONE))

    clock = tmp_path / "shift"
    clock.write_text("0")
    command = own_words(SHIFTED.format(path=str(clock)))
    with running(tmp_path, "one", "two", command=command, env=QUICK) as found:
        found.upstream.play(EXHAUSTED)
        assert found.proxy.ask(found.proxy.request()).get(b"x-kmi-key") == b"two"
        until_held(found.world, "one")
        found.upstream.play(play)
        with found.proxy.wire() as stream:
            stream.send(found.proxy.request()).head()
            (tmp_path / "next").write_text(shift)
            (tmp_path / "next").replace(clock)  # at no time is it empty
            # Seconds that the ticks of the proxy need to notice.
            for _ in range(10):
                assert found.proxy.ask(found.proxy.request()).status == 200
                time.sleep(0.05)
            found.upstream.go_on()
            stream.read_past(DONE + b"\r\n0\r\n\r\n")
        until(lambda: len(found.proxy.trace()) == 12)
        for record in found.proxy.trace():
            assert 0.0 <= record["total_s"] < 60.0
        if shift.startswith("-"):
            assert b"one" not in {found.proxy.ask(found.proxy.request()).get(b"x-kmi-key")}


# Signals.


def test_sigterm_under_load_cuts_no_stream(pair: Running) -> None:
    def play(link: Link) -> None:
        link.body()
        link.send(CHUNKED_HEAD + chunked(EVENT)[:-5])
        assert link.go_on.wait(LIMIT_S)
        link.send(*[chunked(EVENT)[:-5]] * 50, chunked(DONE))

    pair.upstream.default = play
    proxy = pair.proxy
    streams = [proxy.wire().send(proxy.request()) for _ in range(20)]
    for stream in streams:
        stream.read_past(EVENT)
    idle = proxy.wire()
    assert idle.send(proxy.request(line=b"GET /healthz HTTP/1.1", body=None)).answer().status == 200
    whole = proxy.request(body=b"x" * 1000)
    late = proxy.wire().send(whole[:-500])
    assert proxy.ask(proxy.request(line=b"GET /healthz HTTP/1.1", body=None)).status == 200
    proxy.process.send_signal(signal.SIGTERM)
    assert idle.rest() == (b"", "end")
    with pytest.raises(ConnectionRefusedError):
        proxy.wire()
    assert proxy.process.poll() is None
    pair.upstream.go_on()
    for number, stream in enumerate([*streams, late]):
        if number == len(streams):
            # Who was just sending a request is waited for and answered, too.
            time.sleep(0.3)  # time to forget it
            late.send(whole[-500:])
        body, end = stream.rest()
        assert (body[-len(chunked(DONE)) :], end) == (chunked(DONE), "end")
        assert body.count(EVENT) in (50, 51)  # the first was read above
    assert proxy.process.wait(LIMIT_S) == 0
    assert len(proxy.trace()) == 21
    assert {record["verdict"] for record in proxy.trace()} == {"ok"}


#: The proxy with little patience at its end.
IMPATIENT = """
import functools, sys
from kmi.proxy import server
server.ServeOptions = functools.partial(server.ServeOptions, drain_s=0.3)
from kmi.__main__ import main
sys.argv = ["kmi", "proxy", "start", "--foreground"]
sys.exit(main())
"""


def test_a_stream_that_outlasts_the_patience_is_reset(tmp_path: Path) -> None:
    with running(tmp_path, command=own_words(IMPATIENT)) as found:
        found.upstream.play(streams)
        with found.proxy.wire() as wire:
            wire.send(found.proxy.request()).read_past(EVENT)
            found.proxy.process.send_signal(signal.SIGTERM)
            assert wire.rest()[1] == "reset"
        assert found.proxy.process.wait(LIMIT_S) == 0
        assert [record["verdict"] for record in found.proxy.trace()] == ["gone"]
        assert not (found.world.state / "proxy.json").exists()


def test_after_sigkill_the_next_start_knows_what_is_older_than_a_second(pair: Running) -> None:
    pair.upstream.play(EXHAUSTED)
    assert pair.proxy.ask(pair.proxy.request()).get(b"x-kmi-key") == b"two"
    time.sleep(1.0)
    pair.proxy.process.kill()
    pair.proxy.process.wait()
    keys = pair.world.saved_state()["keys"].values()
    assert [key["label"] for key in keys if key.get("hold")] == ["one"]
    pair.upstream.clear()
    with Proxy(pair.world, env=QUICK) as again:
        assert again.ask(again.request()).get(b"x-kmi-key") == b"two"
    assert [secret_of("two").encode() in seen.head for seen in pair.upstream.seen] == [True]


# The control: what these tests say of a relay that takes no care.


def careless(upstream: int) -> socket.socket:
    """A relay that copies bytes, and ends in order whatever happens; its listening socket."""

    def serve(client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", upstream))
        server.sendall(client.recv(65536).replace(BASE.encode(), b"/coding/v1"))
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except ConnectionError:
            pass
        client.shutdown(socket.SHUT_WR)
        client.close()
        server.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    return listening


def test_a_careless_relay_is_found_out() -> None:
    data = b"POST %b/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % (
        BASE.encode(),
        TOKEN.encode(),
    )
    with Upstream() as upstream, careless(upstream.port) as listening:
        port = listening.getsockname()[1]
        for name, (raw, _) in BODIES.items():
            upstream.play(closes_after(raw))
            with Wire(port) as wire:
                # The same that `test_an_end_in_the_body_resets_the_client` wants reset.
                assert wire.send(data).rest() == (raw, "end"), name
        upstream.play(sends(OK + b"evil"))
        with Wire(port) as wire:
            assert wire.send(data).read_past(b"evil")
        assert all(TOKEN.encode() in seen.head for seen in upstream.seen)
