"""Where an HTTP/1.x message begins and ends, and what its head says: RFC 9112, the strict part.

One compiled expression decides about a whole head, a second finds the few fields that the proxy
acts on; the rest stays the bytes that came, and is sent on as such. What the expression refuses
is looked at again, line by line, to say why. Nothing is repaired: two programs that read one
message differently are how a request is smuggled. Why this is not h11: docs/decisions/0006.

Pure. Whatever is refused ends the connection. Targets other than ``/path``, ``CONNECT``, ``TRACE``
and ``Upgrade`` are well-formed, but get 400 as well: clients repeat a request on 501. An empty line
before a request is refused, as in h11. HTTP/1.0 is read, and its connections are never kept.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from kmi.proxy.events import only_readable
from kmi.proxy.grammar import (
    FIELDS,
    LONG_HEAD,
    LONG_LINE,
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    TOKEN,
    VALUE,
    BadMessage,
    request_fault,
    response_fault,
)

__all__ = [
    "BadMessage",
    "Framing",
    "RequestHead",
    "ResponseHead",
    "head_end",
    "request_head",
    "response_head",
    "upstream_fields",
    "downstream_fields",
]

_REQUEST = re.compile(
    rb"(?!(?i:connect|trace) )(" + TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.([01])\r\n" + FIELDS
).fullmatch
_RESPONSE = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + VALUE + rb"))?\r\n" + FIELDS
).fullmatch

#: A registered name, an IPv4 address or an IPv6 address, and a port.
_HOST = re.compile(rb"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch

#: Fields that end at the next hop (RFC 9110 7.6.1), and those that frame a message. ``close`` is
#: none, but what `Connection` lists most often.
_HOP = frozenset(
    b"close connection content-length keep-alive proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
#: What the proxy says itself, or the upstream must not see.
_OWN = frozenset(b"authorization cookie expect host proxy-authorization x-api-key".split())
_DROPPED = _HOP | _OWN
#: What a web page's request has. Not dropped, and rarely there.
_BROWSER = frozenset((b"origin", b"sec-fetch-site"))
#: Two of these would say two things.
_SINGLE = _BROWSER | frozenset(
    b"authorization content-length host transfer-encoding x-api-key".split()
)


def _lines(names: frozenset[bytes]) -> bytes:
    """What matches the lines of these names, each with the LF before it; groups: name, value.

    An expression fails fastest on other lines when names are told apart by their first byte.
    """
    tails: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        tails.setdefault(name[:1], []).append(name[1:])
    named = b"|".join(
        b"[%b%b](?i:%b)" % (first.upper(), first, b"|".join(rest)) for first, rest in tails.items()
    )
    return rb"\n(" + named + rb"):([^\r]*)\r(?=\n)"


_REQUEST_PARTS = re.compile(_lines(_DROPPED | _BROWSER)).split
_RESPONSE_FIELDS = re.compile(
    _lines(
        frozenset(
            b"connection content-encoding content-length content-type transfer-encoding".split()
        )
    )
).findall
_HOP_FIELDS = re.compile(_lines(_HOP)).sub


class Framing(enum.Enum):
    """How the end of a response's body is known."""

    NONE = "none"  # there is no body
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"  # ends with the connection


class RequestHead(NamedTuple):
    """A request without its body.

    Attributes:
        minor: the HTTP version is 1.``minor``.
        fields: the header lines as they came, each with its CRLF, without the empty line.
        kept: those that end neither here nor at the next hop, with the encodings that an error
            can be read in; see `upstream_fields`.
        host, authorization, api_key, origin, fetch_site: values of ``Host``, ``Authorization``,
            ``X-Api-Key``, ``Origin``, ``Sec-Fetch-Site``, without blanks around them; none of them
            is there twice.
        length: of the body in bytes, of any size; None if the request does not say, and then
            there is no body unless it is ``chunked``.
        keep_alive: whether the client wants to use the connection again.
        expects_continue: whether it waits for ``100 Continue``.
        connection: the names that ``Connection`` lists, in lower case.
    """

    method: bytes
    target: bytes
    minor: int
    fields: bytes
    kept: bytes
    host: bytes
    authorization: bytes | None
    api_key: bytes | None
    origin: bytes | None
    fetch_site: bytes | None
    length: int | None
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    connection: tuple[bytes, ...]

    def get(self, name: bytes) -> bytes | None:
        """The first value of any header; ``name`` in lower case."""
        return _first(self.fields, name)


class ResponseHead(NamedTuple):
    """An answer of the upstream without its body.

    Attributes:
        fields, minor, connection: as in `RequestHead`.
        framing: how the body ends.
        length: what ``Content-Length`` says; also for an answer to HEAD, which has no body.
        keep_alive: whether the connection can be used again after the body.
        content_type: the media type in lower case, without parameters, or empty.
        content_encoding: in lower case, or empty.
    """

    status: int
    reason: bytes
    minor: int
    fields: bytes
    framing: Framing
    length: int | None
    keep_alive: bool
    content_type: bytes
    content_encoding: bytes
    connection: tuple[bytes, ...]

    def get(self, name: bytes) -> bytes | None:
        """The first value of any header; ``name`` in lower case."""
        return _first(self.fields, name)


def head_end(
    buffer: bytes | bytearray, start: int = 0, *, searched: int = 0, answer: bool = False
) -> int:
    """The index after the empty line that ends a head, or -1 while it has not come.

    Lines that end with a bare LF end a head as well: `request_head` refuses it then, and nobody
    waits for a CRLF that never comes.

    Args:
        buffer: what was received.
        start: where in it the message begins.
        searched: how long the buffer was when -1 was returned for it, so that a head that comes
            in single bytes is not searched from its begin for each of them.
        answer: it comes from upstream.

    Raises:
        BadMessage: 414 or 431 (502 for an answer) as soon as it is too long, and 400 for what
            can't be HTTP from its first byte on.
    """
    if len(buffer) > start and buffer[start] <= 0x20:
        if buffer[start] == 0x16:
            raise _bad(answer, 400, "this is TLS, where plain HTTP is spoken")
        raise _bad(answer, 400, "a blank or a control character before the first line")
    since = max(start, searched - 2)
    found = buffer.find(b"\n\r\n", since)
    if 0 <= found < start + MAX_LINE_BYTES:
        # No limit is near. A bare LF on the way is found by those who read the head.
        return found + 3
    end = found + 3 if found >= 0 else -1
    bare = buffer.find(b"\n\n", since, end if end >= 0 else len(buffer))
    if bare >= 0:
        end = bare + 2
    size = (end if end >= 0 else len(buffer)) - start
    line = MAX_LINE_BYTES + 2
    if not answer and size > line and buffer.find(b"\n", start, start + line) < 0:
        raise BadMessage(414, LONG_LINE)
    if size > MAX_HEAD_BYTES:
        raise _bad(answer, 431, LONG_HEAD)
    return end


def request_head(data: bytes) -> RequestHead:
    """Read one head, with its empty line and nothing behind it.

    Raises:
        BadMessage: for everything that is not plainly right.
    """
    match = _REQUEST(data)
    if not match or match.start(4) > MAX_LINE_BYTES + 2 or len(data) > MAX_HEAD_BYTES:
        raise request_fault(data)
    method, target, minor, fields = match.groups()
    # Text, name, value, text, name, ..., text: one search finds the values and what is left.
    parts = _REQUEST_PARTS(b"\n" + fields)
    values: dict[bytes, bytes] = {}
    for name, value in zip(parts[1::3], parts[2::3]):
        name = name.lower()
        if name in values:
            if name in _SINGLE:
                raise BadMessage(400, f"{name.decode()} is there twice")
            value = values[name] + b"," + value
        values[name] = value.strip(b" \t")
    kept = b"".join(parts[::3])[1:]
    if not _BROWSER.isdisjoint(values):
        kept = _without(fields, _DROPPED)
    kept = only_readable(kept)
    host = values.get(b"host")
    if host is None:
        raise BadMessage(400, "host is missing")
    if not _HOST(host):
        raise BadMessage(400, "host is not a name or address with an optional port")
    if b"upgrade" in values:
        raise BadMessage(400, "an upgrade to another protocol is not offered")
    length, chunked = _body(values, minor, 400)
    connection = _names(values.get(b"connection"))
    return RequestHead(
        method,
        target,
        1 if minor == b"1" else 0,
        fields,
        kept,
        host,
        values.get(b"authorization"),
        values.get(b"x-api-key"),
        values.get(b"origin"),
        values.get(b"sec-fetch-site"),
        length,
        chunked,
        minor == b"1" and b"close" not in connection,
        # RFC 9110 10.1.1: HTTP/1.0 can't expect, and what is unknown may be ignored.
        b"expect" in values and minor == b"1" and b"100-continue" in _names(values[b"expect"]),
        connection,
    )


def response_head(data: bytes, method: bytes) -> ResponseHead:
    """Read the head of an answer to ``method``, with its empty line and nothing behind it.

    An interim answer (1xx) is returned as any other: the caller skips it. ``Content-Length`` may be
    there twice with one value (RFC 9112 6.3): it is not passed on.

    Raises:
        BadMessage: 502; also for a change of protocols (101), for nobody asked for one.
    """
    match = _RESPONSE(data)
    if not match or len(data) > MAX_HEAD_BYTES:
        raise response_fault(data)
    minor, code, reason, fields = match.groups()
    status = int(code)
    if status == 101:
        raise BadMessage(502, "it changes to another protocol, which nobody asked for")
    values: dict[bytes, bytes] = {}
    for name, value in _RESPONSE_FIELDS(b"\n" + fields):
        name, value = name.lower(), value.strip(b" \t")
        if name in values:
            if name == b"content-type" or (name == b"content-length" and value == values[name]):
                continue
            value = values[name] + b"," + value
        values[name] = value
    length, chunked = _body(values, minor, 502)
    if status < 200 or status in (204, 304) or method == b"HEAD":
        framing = Framing.NONE
    elif chunked:
        framing = Framing.CHUNKED
    else:
        framing = Framing.CLOSE if length is None else Framing.LENGTH
    connection = _names(values.get(b"connection"))
    kept = minor == b"1" and framing is not Framing.CLOSE and b"close" not in connection
    return ResponseHead(
        status,
        reason or b"",
        1 if minor == b"1" else 0,
        fields,
        framing,
        length,
        kept,
        values.get(b"content-type", b"").partition(b";")[0].rstrip(b" \t").lower(),
        values.get(b"content-encoding", b"").lower(),
        connection,
    )


def upstream_fields(head: RequestHead) -> bytes:
    """The header lines to send on, in order, and untouched but for `events.only_readable`.

    Without those that end at the next hop, those that ``Connection`` names, the framing, and what
    the proxy writes or keeps itself: ``Host``, every credential, ``Cookie``, ``Expect``.
    """
    return _unnamed(head.kept, head.connection)


def downstream_fields(head: ResponseHead) -> bytes:
    """The header lines to pass to the client, untouched and in order; the framing is not there."""
    return _unnamed(_HOP_FIELDS(b"", b"\n" + head.fields)[1:], head.connection)


def _unnamed(kept: bytes, connection: tuple[bytes, ...]) -> bytes:
    """Lines without those that ``Connection`` names, when it names any that are still there."""
    if not connection or _HOP.issuperset(connection):
        return kept
    return _without(kept, frozenset(connection))


def _without(fields: bytes, names: frozenset[bytes]) -> bytes:
    lines = fields.splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0].lower() not in names)


def _body(values: dict[bytes, bytes], minor: bytes, status: int) -> tuple[int | None, bool]:
    """What the fields say of a body: its length, and whether it is chunked (RFC 9112 6)."""
    coding = values.get(b"transfer-encoding")
    length = values.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise BadMessage(status, "content-length and transfer-encoding exclude each other")
        if minor == b"0":
            raise BadMessage(status, "http/1.0 has no transfer-encoding")
        if coding.lower() != b"chunked":
            raise BadMessage(status, "the only transfer-encoding is chunked")
        return None, True
    if length is None:
        return None, False
    # `isdigit` of bytes knows ASCII only. Nineteen digits fit into 64 bits.
    if not length.isdigit() or len(length) > 19:
        raise BadMessage(status, "content-length is not one number")
    return int(length), False


def _names(value: bytes | None) -> tuple[bytes, ...]:
    """A list of names in lower case."""
    if not value:
        return ()
    if b"," not in value:
        return (value.lower(),)
    names = (name.strip(b" \t") for name in value.lower().split(b","))
    return tuple(name for name in names if name)


def _first(fields: bytes, name: bytes) -> bytes | None:
    lines = b"\n" + fields.lower()
    at = lines.find(b"\n" + name + b":")
    if at < 0:
        return None
    at += len(name) + 1  # `fields` lacks the LF that `lines` begins with
    return fields[at : fields.index(b"\r", at)].strip(b" \t")


def _bad(answer: bool, status: int, reason: str) -> BadMessage:
    return BadMessage(502 if answer else status, reason)
