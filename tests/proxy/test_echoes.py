"""An upstream that repeats the key it was asked with: the proxy's client never sees it."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Callable
from urllib.parse import quote

import pytest

from tests.conftest import secret_of
from tests.proxy.harness import running, sends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxy.harness import Link, Running

KEY = secret_of("one").encode()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A proxy that may not change keys, and so hands errors on."""
    with running(tmp_path_factory.mktemp("echoes"), rotate=False) as found:
        yield found


def told(words: bytes) -> bytes:
    """As an error's body."""
    table = {"error": {"message": words.decode("latin-1"), "type": "invalid_request_error"}}
    return json.dumps(table).encode()


def answer(status: bytes, *fields: bytes, body: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, length, b"", body])


def chunked(status: bytes, kind: bytes, body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Type: " + kind,
                         b"Transfer-Encoding: chunked", b"", b""])  # fmt: skip
    return head + chunks + b"0\r\n\r\n"


JSON = b"Content-Type: application/json"
PLAIN = told(b"no such key: " + KEY)
WAYS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: answer(b"401 No", JSON, body=PLAIN),
    "its end": lambda: answer(b"400 No", JSON, body=told(b"key ..." + KEY[-9:])),
    "base64": lambda: answer(b"400 No", body=told(b"got " + base64.b64encode(b"Bearer " + KEY))),
    "escaped": lambda: answer(b"400 No", JSON, body=PLAIN.replace(b"-", b"\\u002d")),
    "in a URL": lambda: answer(b"404 No", body=quote(b"Bearer " + KEY, safe="").encode()),
    "compressed": lambda: answer(b"500 No", b"Content-Encoding: gzip", body=gzip.compress(PLAIN)),
    "not readable": lambda: answer(b"500 No", b"Content-Encoding: br", body=b"~" + PLAIN),
    "twice compressed": lambda: answer(
        b"400 No", b"Content-Encoding: gzip, zstd", body=gzip.compress(PLAIN)
    ),
    "not what it says": lambda: answer(b"400 No", b"Content-Encoding: gzip", body=PLAIN),
    "in a second part": lambda: answer(
        b"400 No", b"Content-Encoding: gzip", body=gzip.compress(b"{}") + gzip.compress(PLAIN)
    ),
    "in raw deflate": lambda: answer(
        b"400 No", b"Content-Encoding: deflate", body=zlib.compress(PLAIN)[2:-4]
    ),
    "behind much else": lambda: answer(b"400 No", JSON, body=told(b"x" * 70_000 + KEY)),
    "behind many chunks": lambda: chunked(
        b"400 No", b"application/json", told(b"x" * 70_000 + KEY), 9_000
    ),
    "in chunks": lambda: chunked(b"403 No", b"application/json", PLAIN, 7),
    "in an event": lambda: chunked(
        b"200 OK", b"text/event-stream", b"data: " + PLAIN + b"\n\ndata: [DONE]\n\n", 5
    ),
    "in a field": lambda: answer(b"401 No", b"WWW-Authenticate: Bearer " + KEY, body=b"{}"),
    "in a redirect": lambda: answer(b"307 Go", b"Location: https://x/?k=" + KEY, body=b""),
    "in the reason": lambda: answer(b"401 bad " + KEY, body=b"{}"),
}


@pytest.mark.parametrize("how", WAYS)
def test_an_answer_does_not_tell_the_key(how: str, single: Running) -> None:
    single.upstream.play(sends(WAYS[how]()))
    found = single.proxy.ask(single.proxy.request())
    raw = found.head + found.body
    assert b"content-encoding" not in found.head.lower()
    for shape in (KEY[-8:], KEY[12:24], base64.b64encode(KEY)[:12], quote(KEY).encode()[-8:]):
        assert shape not in raw, raw
    with_status = int(WAYS[how]()[9:12])
    assert found.status == (with_status if with_status != 200 else 502)
    assert found.document["error"]["message"].startswith("kmi: the upstream said")


@pytest.mark.parametrize("encoding", [b"br", b"gzip"])
def test_an_unreadable_body_that_comes_later_does_not_either(
    encoding: bytes, single: Running
) -> None:
    def play(link: Link) -> None:
        link.body()
        head, _, body = answer(b"400 No", b"Content-Encoding: " + encoding, body=PLAIN).partition(
            b"\r\n\r\n"
        )
        link.send(head + b"\r\n\r\n")
        time.sleep(0.1)
        with suppress(OSError):  # nobody needs to wait for it
            link.send(body)

    single.upstream.play(play)
    found = single.proxy.ask(single.proxy.request())
    assert found.status == 400
    assert KEY[-8:] not in found.head + found.body


def test_any_other_error_is_handed_on_as_it_came(single: Running) -> None:
    body = told(b"no such key: sk-kimi-somebody-elses-0123456789")
    single.upstream.play(sends(answer(b"400 No", JSON, body=body)))
    assert single.proxy.ask(single.proxy.request()).body == body


def test_nothing_of_it_is_written(single: Running) -> None:
    world = single.proxy.world
    assert world.files_with(KEY[-8:].decode(), world.state) == []
    assert KEY[-8:].decode() not in single.proxy.errors
