"""Streams of events: an upstream that sends them, and clients that time and check each byte."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Kimi's chunks have about 210 bytes with their framing.
_EVENT = (
    b'data: {"id":"chatcmpl-%05d-%05d","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"kimi-for-coding","choices":[{"index":0,"delta":{"content":"lorem"},'
    b'"finish_reason":null}],"t":%020d}\n\n'
)
_SENT_AT = re.compile(rb'"t":([0-9]{20})}')
_STREAM = re.compile(rb'"stream_number":([0-9]+)')
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n")
_DONE = b"data: [DONE]\n\n"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nx-trace-id: 0123456789abcdef\r\n\r\n"
)
_LAST = b"\r\n0\r\n\r\n"


class Plan(NamedTuple):
    """What every stream does.

    Attributes:
        streams: so many begin; none goes on before all have.
        events: of each stream, behind the first one.
        pause_s: between two events of a stream.
        timed: events carry the time at which they were sent; else every byte is known beforehand.
    """

    streams: int
    events: int
    pause_s: float
    timed: bool = True


class Outcome(NamedTuple):
    """What the clients saw: delays of events in seconds, sorted; and what went wrong."""

    delays_s: Sequence[float]
    errors: Sequence[str]

    @property
    def p50_s(self) -> float:
        """The median delay."""
        return self.delays_s[len(self.delays_s) // 2]


class Source:
    """The upstream.

    Attributes:
        port: where it listens.
        plan: what its streams do; set before each use.
    """

    def __init__(self) -> None:
        self.port = 0
        self.plan = Plan(0, 0, 0.0)
        self._begun: list[_Sending] = []

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Sending(self), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]

    def began(self, stream: _Sending) -> None:
        """Let all go on together, each a little later than the one before."""
        self._begun.append(stream)
        if len(self._begun) == self.plan.streams:
            begun, self._begun = self._begun, []
            now = asyncio.get_running_loop().time()
            for place, one in enumerate(begun):
                one.go_on(now + self.plan.pause_s * (1.0 + place / len(begun)))


class _Sending(asyncio.Protocol):
    """One connection to the upstream."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._stream = self._sent = 0
        self._next = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or length is None or len(body) < int(length[1]):
            return
        self._buffer, self._sent = b"", 0
        number = _STREAM.search(body)
        self._stream = int(number[1]) if number is not None else 0
        # The first event, so that whoever waits for one hands the head on. It is not timed.
        self._transport.write(_HEAD + _chunk(_EVENT % (self._stream, 0, 0)))
        self._source.began(self)

    def go_on(self, at: float) -> None:
        """Send the next event at a time of the loop's clock."""
        self._next = at
        asyncio.get_running_loop().call_at(at, self._send)

    def _send(self) -> None:
        plan = self._source.plan
        self._sent += 1
        sent_at = time.perf_counter_ns() if plan.timed else 0
        self._transport.write(_chunk(_EVENT % (self._stream, self._sent, sent_at)))
        if self._sent < plan.events:
            self.go_on(self._next + plan.pause_s)
        else:
            self._transport.write(_chunk(_DONE) + b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def consume(port: int, path: str, token: str, plan: Plan, limit_s: float) -> Outcome:
    """Open the streams of a plan all at once, and read them to their ends.

    Args:
        port: where.
        path: likewise.
        token: as whom.
        plan: what the source was told.
        limit_s: after this, streams that have not ended are errors.
    """
    loop = asyncio.get_running_loop()
    clients = [_Receiving(port, path, token, number, plan) for number in range(plan.streams)]
    made = (loop.create_connection(lambda c=c: c, "127.0.0.1", port) for c in clients)  # type: ignore[misc]  # any protocol
    for client, result in zip(clients, await asyncio.gather(*made, return_exceptions=True)):
        if isinstance(result, BaseException):
            client.refused(result)
    await asyncio.wait([client.ended for client in clients], timeout=limit_s)
    delays = sorted(delay for client in clients for delay in client.delays_s)
    errors = [fault for client in clients if (fault := client.fault())]
    for client in clients:
        client.close()
    return Outcome(delays, errors)


class _Receiving(asyncio.Protocol):
    """One client with one stream.

    Attributes:
        ended: done at the end of the stream or of the connection.
        delays_s: of its events.
    """

    def __init__(self, port: int, path: str, token: str, number: int, plan: Plan) -> None:
        body = b'{"stream":true,"messages":[],"stream_number":%d,"prompt_cache_key":"s%d"}' % (
            number,
            number,
        )
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._number = number
        self._plan = plan
        self._pieces: list[bytes] = []
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.get_running_loop().create_future()
        self.delays_s: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        self.delays_s += [(now - int(t)) / 1e9 for t in _SENT_AT.findall(data) if int(t)]
        self._pieces.append(data)
        if data.endswith(b"0\r\n\r\n") and b"".join(self._pieces[-2:]).endswith(_LAST):
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def refused(self, error: BaseException) -> None:
        """There is no connection."""
        self._pieces = [str(error).encode()]
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def fault(self) -> str:
        """What is wrong with the answer; empty when it is whole."""
        head, _, body = b"".join(self._pieces).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            return f"stream {self._number}: {head[:80]!r}"
        payload = _unchunked(body)
        if payload is None:
            return f"stream {self._number}: no clean end"
        count = self._plan.events + 1
        if self._plan.timed:
            whole = payload.count(b"data: {") == count and payload.endswith(_DONE)
        else:
            events = (_EVENT % (self._number, place, 0) for place in range(count))
            whole = payload == b"".join(events) + _DONE
        return "" if whole else f"stream {self._number}: other bytes than were sent"


def _unchunked(body: bytes) -> bytes | None:
    """The payload of a whole chunked body with nothing behind it, else None."""
    pieces: list[bytes] = []
    at = 0
    while True:
        line = body.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(body[at:line], 16)
        at = line + 2 + size + 2
        if at > len(body) or body[at - 2 : at] != b"\r\n":
            return None
        if size == 0:
            return b"".join(pieces) if at == len(body) else None
        pieces.append(body[line + 2 : at - 2])
