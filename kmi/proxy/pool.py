"""Connections to upstreams: plain asyncio protocols, kept open between requests.

One pool per scheme, host and port serves all keys, for the key belongs to the request. A
connection is used again only when it is idle, silent, and not older than an upstream's own
patience; whatever arrives on an idle one ends it.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Callable, Protocol

if TYPE_CHECKING:
    import ssl

    from kmi.urls import BaseUrl

#: Idle connections are dropped before the 60 s after which load balancers usually do it.
IDLE_S = 55.0
#: Idle connections kept per upstream.
IDLE_MAX = 64
CONNECT_TIMEOUT_S = 10.0
#: Above this an upload waits for the upstream to read.
WRITE_HIGH_BYTES = 256 * 1024


class Receiver(Protocol):
    """Who waits for an answer: an exchange."""

    def answer_data(self, data: bytes) -> None:
        """Bytes came."""

    def answer_ended(self, error: Exception | None) -> None:
        """The connection ended."""

    def upload_paused(self, paused: bool) -> None:
        """The upstream can't take more for now, or can again."""


class Upstream(asyncio.Protocol):
    """One connection to an upstream.

    Attributes:
        receiver: the exchange that it serves; None while it is idle.
        used: whether it has served a request before this one.
    """

    __slots__ = (
        "_dead",
        "_paused",
        "_pool",
        "_readable",
        "idle_since",
        "receiver",
        "transport",
        "used",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._dead = False
        self._paused = False
        self._readable: Callable[[], bool]
        self.transport: asyncio.Transport
        self.receiver: Receiver | None = None
        self.used = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type
        self.transport = transport
        self._readable = _watch(transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; an idle connection has none to say."""
        receiver = self.receiver
        if receiver is None:
            self.drop()
        else:
            receiver.answer_data(data)

    def eof_received(self) -> bool:
        """The upstream will send no more; the transport closes itself."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It ended, in whatever way."""
        self._dead = True
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            self._pool.forget(self)
        else:
            receiver.answer_ended(error)

    def pause_writing(self) -> None:
        """The upstream reads more slowly than the client writes."""
        if self.receiver is not None:
            self.receiver.upload_paused(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.receiver is not None:
            self.receiver.upload_paused(False)

    def pause(self) -> None:
        """Stop reading: the client is slower."""
        if not self._paused and not self._dead:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._dead:
            self._paused = False
            self.transport.resume_reading()

    def release(self, now: float, *, reusable: bool) -> None:
        """The exchange is over: keep the connection, or end it."""
        self.receiver = None
        if self._dead:
            return
        transport = self.transport
        try:
            unsent = transport.get_write_buffer_size()
        except AttributeError:
            # TLS of Python 3.9 and 3.10: its end is known there, and told to us a turn later.
            self.drop()
            return
        if not reusable or self._paused or unsent or transport.is_closing():
            self.drop()
            return
        self.used = True
        self.idle_since = now
        self._pool.keep(self)

    @property
    def lost(self) -> bool:
        """Whether it ended, or is about to."""
        return self._dead or self.transport.is_closing()

    def silent(self) -> bool:
        """Whether nothing came since it became idle; its end would have."""
        return not (self.transport.is_closing() or self._readable())

    def drop(self) -> None:
        """End it at once; nobody is told."""
        self.receiver = None
        self._pool.forget(self)
        if not self._dead:
            self.transport.abort()


def _watch(transport: asyncio.Transport) -> Callable[[], bool]:
    """Tells whether bytes, or the end, wait in a socket that the event loop has not seen yet."""
    number = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return lambda: bool(select.select([number], [], [], 0)[0])
    polling = select.poll()
    polling.register(number, select.POLLIN)
    poll = polling.poll
    return lambda: bool(poll(0))


class Pool:
    """The idle connections to one upstream, and how to make new ones."""

    def __init__(
        self, url: BaseUrl, tls: Callable[[], asyncio.Future[ssl.SSLContext]] | None
    ) -> None:
        self._host = url.host.strip("[]")
        self._port = url.port
        self._name = url.host.strip("[]") if url.scheme == "https" else None
        self._tls = tls if url.scheme == "https" else None
        self._idle: list[Upstream] = []

    def idle(self, now: float) -> Upstream | None:
        """The connection that was used last, if one is idle and young enough."""
        while self._idle:
            connection = self._idle.pop()
            if now - connection.idle_since <= IDLE_S and connection.silent():
                return connection
            connection.drop()
        return None

    def keep(self, connection: Upstream) -> None:
        """A connection became idle."""
        if len(self._idle) >= IDLE_MAX:
            self._idle.pop(0).drop()
        self._idle.append(connection)

    def forget(self, connection: Upstream) -> None:
        """A connection ended."""
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        """End what was idle for too long."""
        for connection in [c for c in self._idle if now - c.idle_since > IDLE_S]:
            connection.drop()

    def close(self) -> None:
        """End all idle connections."""
        for connection in list(self._idle):
            connection.drop()

    async def connect(self) -> Upstream:
        """A new connection.

        Raises:
            OSError: it can't be made in time; also what TLS refused (``ssl.SSLError``).
        """
        loop = asyncio.get_running_loop()
        # Shielded: this task may be cancelled, and others wait for the same.
        context = None if self._tls is None else await asyncio.shield(self._tls())
        making = loop.create_connection(
            lambda: Upstream(self),
            self._host,
            self._port,
            ssl=context,
            server_hostname=self._name,
        )
        try:
            _, connection = await asyncio.wait_for(making, CONNECT_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise TimeoutError(f"no connection within {CONNECT_TIMEOUT_S:.0f} s") from None
        return connection


def failure_words(error: BaseException | None) -> str:
    """Why a connection failed, for people."""
    from kmi.connection_words import connection_words
    from kmi.error_texts import evidence
    from kmi.errors import KmiError

    if isinstance(error, KmiError):
        return evidence(error.message)
    words = connection_words(error)
    if not words and isinstance(error, OSError):
        words = "no connection"
    return words or "the connection ended without an answer"
