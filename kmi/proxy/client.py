"""One connection of a client: its requests, one after another, and kmi's own pages."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from kmi.proxy import answers
from kmi.proxy.chunks import ChunkedBody
from kmi.proxy.exchange import Exchange
from kmi.proxy.framing import BadMessage, RequestHead, head_end
from kmi.proxy.guards import Refusal

if TYPE_CHECKING:
    from kmi.proxy.desk import Desk
    from kmi.proxy.site import Site

#: A head that is not whole by then is an attack, or a mistake (trust: slow heads).
HEAD_TIMEOUT_S = 15.0
#: A body that stands still for so long.
BODY_TIMEOUT_S = 60.0
#: For so long a client may go on to send what nobody reads.
LINGER_S = 2.0
#: Connections that ask for nothing are kept a little longer than clients keep them.
IDLE_TIMEOUT_S = 120.0
#: A body is kept whole up to this size, so that it can be sent again; a larger one is handed on as
#: it comes, with one attempt.
REPLAY_BYTES = 64_000_000
#: All bodies together: beyond it none is kept.
REPLAY_TOTAL_BYTES = 256_000_000
#: Bytes of a next request that are read while one is being answered.
AHEAD_BYTES = 65536
WRITE_HIGH_BYTES = 256 * 1024
TOO_SLOW = "the request did not arrive in time"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: The socket option by which a connection ends with a reset: linger, for no time.
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        exchange: the request that is being answered, or None.
        deadline: when it is ended unless something happens, on the monotonic clock; None: never.
    """

    __slots__ = ("_ahead", "_chunks", "_desk", "_head", "_kept", "_lingering", "_missing",
                 "_paused", "_scheduled", "_searched", "_site", "_size", "deadline", "exchange",
                 "transport")  # fmt: skip

    def __init__(self, desk: Desk, site: Site) -> None:
        self._desk = desk
        self._site = site
        self._ahead = b""
        self._searched = 0
        self._head: RequestHead | None = None
        self._kept = bytearray()
        self._size = 0
        self._missing = 0
        self._chunks: ChunkedBody | None = None
        self._lingering = False
        self._paused = False
        self._scheduled = False
        self.exchange: Exchange | None = None
        self.deadline: float | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.deadline = self._desk.mono() + HEAD_TIMEOUT_S
        self._site.arrived(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client went away."""
        self._site.left(self)
        self.forget_body()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def eof_received(self) -> bool:
        """A client that sends no more does not read either, as far as any of them is known."""
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than the upstream writes."""
        self._paused = True
        if self.exchange is not None:
            self.exchange.client_paused(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self.exchange is not None:
            self.exchange.client_paused(False)
        elif self._head is None:
            self._look_ahead()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._lingering:
            return
        exchange = self.exchange
        try:
            if exchange is not None:
                self._during(exchange, data)
            elif self._head is not None:
                self._more(data)
            elif self._paused or self._scheduled:
                self._keep_ahead(data)
            else:
                self._begin(self._ahead + data if self._ahead else data)
        except BadMessage as error:
            self.refuse(Refusal(error.status, "bad-request", error.reason))

    def _begin(self, data: bytes) -> None:
        """Read a head; the guards stand before the body."""
        end = head_end(data, searched=self._searched)
        if end < 0:
            if not self._ahead:
                self.deadline = self._desk.mono() + HEAD_TIMEOUT_S
            self._ahead, self._searched = data, len(data)
            return
        self._ahead, self._searched = b"", 0
        head = self._site.heads.read(data[:end])
        self._head = head
        if not self._site.welcome(self, head):
            return
        rest = data[end:] if end < len(data) else b""
        length = head.length or 0
        if not head.chunked and length <= len(rest):
            self._start(head, rest[:length], rest[length:])
            return
        if head.expects_continue and not rest:
            self.transport.write(_CONTINUE)
        total = self._desk.kept_bytes + length
        if not head.chunked and (length > REPLAY_BYTES or total > REPLAY_TOTAL_BYTES):
            self._start(head, rest, b"", missing=length - len(rest))
            return
        self._chunks = ChunkedBody() if head.chunked else None
        self._missing = length
        self._reserve(length)  # before another one begins that would not fit beside it
        self._more(rest)

    def _more(self, data: bytes) -> None:
        """A part of a body that is kept until it is whole."""
        assert self._head is not None  # noqa: S101 - for the type
        self.deadline = self._desk.mono() + BODY_TIMEOUT_S
        rest: bytes | None
        if self._chunks is not None:
            pieces, rest = self._chunks.feed(data)
        else:
            pieces = [data[: self._missing]]
            rest = data[self._missing :] if len(data) >= self._missing else None
            self._missing -= len(pieces[0])
        # Chunks may be of one byte each.
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._kept += piece
        if self._chunks is not None:
            self._reserve(len(piece))
            if self._size > REPLAY_BYTES or self._desk.kept_bytes > REPLAY_TOTAL_BYTES:
                what = "a chunked body of more than 64 MB can't be sent on: send its Content-Length"
                raise BadMessage(413, what)
        if rest is not None:
            body, self._kept = bytes(self._kept), bytearray()
            self._start(self._head, body, rest)

    def _reserve(self, size: int) -> None:
        """Count a part of a body in that is kept; `forget_body` gives it back."""
        self._size += size
        self._desk.kept_bytes += size

    def _start(self, head: RequestHead, body: bytes, ahead: bytes, *, missing: int = 0) -> None:
        """The request is whole (or too large to keep): answer it, or ask upstream."""
        self.deadline = self._desk.mono() + BODY_TIMEOUT_S if missing else None
        self._ahead = ahead
        self._chunks = None
        if not missing and self._site.answer(self, head):
            return
        self.exchange = Exchange(self, self._desk, head, self._site.below(head), body, missing)
        self.exchange.begin()

    def _during(self, exchange: Exchange, data: bytes) -> None:
        """Bytes that come while a request is being answered."""
        if exchange.missing:
            part, data = data[: exchange.missing], data[exchange.missing :]
            whole = len(part) == exchange.missing
            self.deadline = None if whole else self._desk.mono() + BODY_TIMEOUT_S
            exchange.upload(part)
        if data:
            self._keep_ahead(data)

    def hold_upload(self, held: bool) -> None:
        """Read no more of a large body, or go on; meanwhile the client is not at fault."""
        exchange = self.exchange
        owed = not held and exchange is not None and exchange.missing
        self.deadline = self._desk.mono() + BODY_TIMEOUT_S if owed else None
        if held:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _keep_ahead(self, data: bytes) -> None:
        """Keep bytes of a request whose turn has not come."""
        self._ahead += data
        if len(self._ahead) > AHEAD_BYTES:
            self.transport.pause_reading()

    def done(self, *, keep_alive: bool) -> None:
        """The answer was written; go on with the next request, or end."""
        unread = self.exchange is not None and self.exchange.missing
        self.exchange = None
        self._head = None
        self.forget_body()
        keep_alive = keep_alive and not self._site.draining
        if unread or (self._ahead and not keep_alive):
            self._linger()
        elif not keep_alive:
            self.transport.close()
        else:
            self.deadline = self._desk.mono() + IDLE_TIMEOUT_S
            if self._ahead:
                self._look_ahead()
            else:
                self.transport.resume_reading()

    def _look_ahead(self) -> None:
        """Go on with what came ahead, unless the client does not even read what it was answered.

        Not at once: many requests in one read would be answered one within another.
        """
        if self._ahead and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        if self._paused or self._lingering or self.transport.is_closing():
            return
        data, self._ahead = self._ahead, b""
        self.transport.resume_reading()
        self.data_received(data)

    @property
    def busy(self) -> bool:
        """Whether it is owed an answer, or a part of one."""
        if self._lingering or (self.exchange is None and self._head is None):
            return self.transport.get_write_buffer_size() > 0
        return True

    def forget_body(self) -> None:
        """Nobody needs the body any more that is kept."""
        if self._size:
            self._desk.kept_bytes -= self._size
            self._size = 0
            self._kept = bytearray()

    def refuse(self, found: Refusal) -> None:
        """Say why a request is not served, and end the connection: its body was not read."""
        head = self._head
        anthropic = head is not None and b"/messages" in head.target
        head_only = head is not None and head.method == b"HEAD"
        self._desk.refused(found)
        self.transport.write(answers.refusal(found, anthropic=anthropic, head_only=head_only))
        self._linger()

    def _linger(self) -> None:
        """End after an answer to a request that was not read whole.

        Closing with unread bytes resets the connection, and the client would lose the answer; so
        what it still sends is read for a moment, and thrown away (RFC 9112 9.6).
        """
        self._lingering = True
        self._ahead = b""
        self.forget_body()
        self.deadline = self._desk.mono() + LINGER_S
        self.transport.resume_reading()
        with suppress(OSError):  # it went away in this moment
            self.transport.write_eof()

    def reply(self, data: bytes, head: RequestHead) -> None:
        """An answer of kmi's own to a request that was read whole."""
        self.transport.write(data)
        self.done(keep_alive=head.keep_alive)

    def abort(self) -> None:
        """Reset the connection, so that nobody takes half an answer for a whole one."""
        own = self.transport.get_extra_info("socket")
        with suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def overdue(self) -> None:
        """The deadline passed."""
        if self._lingering:
            self.transport.abort()
        elif self._head is None and not self._ahead:
            self.transport.close()
        elif self.exchange is None:
            self.refuse(Refusal(408, "too-slow", TOO_SLOW))
        else:
            self.exchange.too_slow(TOO_SLOW)
