"""One request of a client, from the choice of a key to the last byte of its answer.

Callbacks of two connections, and no task: a chunk of a stream costs one read and one write. Until
the first byte goes to the client everything can be undone, and another key be asked. After it
nothing can: an upstream that dies then makes the client's connection end as abruptly.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.proxy import answers
from kmi.proxy.account import Account
from kmi.proxy.chunks import ChunkedBody
from kmi.proxy.events import TAIL_BYTES, is_error, last_event
from kmi.proxy.framing import BadMessage, Framing, upstream_fields
from kmi.proxy.heads import answer_bytes, request_bytes
from kmi.proxy.incoming import Incoming, Stage
from kmi.proxy.outcomes import Efforts
from kmi.proxy.pool import failure_words

if TYPE_CHECKING:
    from kmi.model import ApiKey
    from kmi.proxy.client import Client
    from kmi.proxy.desk import Desk
    from kmi.proxy.framing import RequestHead
    from kmi.proxy.picker import Pick
    from kmi.proxy.pool import Pool, Upstream
    from kmi.urls import BaseUrl
    from kmi.verdicts import Verdict

#: An error's body that is not whole by then is judged by what came.
ERROR_BODY_S = 10.0
#: Bodies up to this size are put behind their head, which costs less than to hand over two pieces.
COPIED_BYTES = 16 * 1024
#: So much of a body that can't be kept waits for the connection.
AHEAD_BYTES = 256 * 1024


class Exchange(Account):
    """One request and its answer; ``missing`` bytes of a large body are still to come."""

    _connection: Upstream | None = None
    _incoming: Incoming
    _task: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _fields: bytes | None = None
    _attempts = 0
    _same = 0
    _verdict = "ok"
    _over = False
    _keep = False
    _sent_at = 0.0
    _unchunk: ChunkedBody | None = None

    def __init__(
        self, client: Client, desk: Desk, head: RequestHead, path: bytes, body: bytes, missing: int
    ) -> None:
        super().__init__(head, path, body, missing, desk.clock(), desk.mono())
        self._client = client
        self._desk = desk

    @property
    def _replayable(self) -> bool:
        """Whether its whole body is here, and can be sent again."""
        return self._sent == len(self.body)

    # The way out: a key, a connection, the request.

    def begin(self) -> None:
        """Find a key."""
        self._desk.place(self)

    def send(self, key: ApiKey, pick: Pick) -> None:
        """Send the request with a key; the desk has counted it in."""
        # A program's key is another object after each look at the disk.
        before = "" if self._key is None else self._key.key_id
        self._same = self._same + 1 if before == key.key_id else 1
        self._key, self._pick = key, pick
        self._attempts += 1
        self._sent_at = self._desk.clock()
        self._incoming = Incoming(self.head.method)
        pool = self._desk.pool(key.base_url)
        # One that was kept may turn out dead, and then the request must be sent again.
        connection = pool.idle(self._desk.mono()) if self._replayable else None
        if connection is not None:
            self._write(connection)
        else:
            self._connect(pool)

    def _connect(self, pool: Pool) -> None:
        self._task = asyncio.get_running_loop().create_task(self._connected(pool))

    async def _connected(self, pool: Pool) -> None:
        try:
            connection = await pool.connect()
        except (OSError, ValueError, KmiError) as error:
            self._task = None
            self._no_answer(error)
            return
        self._task = None
        if self._over:
            connection.release(self._desk.mono(), reusable=True)
        elif connection.lost:
            # It ended before this task had its turn, and would tell nobody any more.
            connection.drop()
            self._no_answer(None)
        else:
            self._write(connection)

    def _write(self, connection: Upstream) -> None:
        """The whole request in one write; a larger body behind its head."""
        key, head = self._key, self.head
        assert key is not None  # noqa: S101 - for the type
        connection.receiver = self
        self._connection = connection
        if self._fields is None:
            self._fields = upstream_fields(head)
        first = request_bytes(
            head.method,
            key.base_url.path.encode(),
            self._path,
            self._desk.own_fields(key, api_key=head.api_key is not None),
            self._fields,
            self._sent,
        )
        if self._sent <= COPIED_BYTES:
            connection.transport.write(first + self.body)
            return
        # One system call as well, from Python 3.12 on without a copy.
        connection.transport.writelines((first, self.body))
        if not self._replayable:
            self.body = b""  # it can't be sent again, and so needs not be kept
            self._client.hold_upload(False)

    def upload(self, part: bytes) -> None:
        """A part of a body that is too large to be kept."""
        self.missing -= len(part)
        if self._connection is not None:
            self._connection.transport.write(part)
            return
        self.body += part
        if len(self.body) > AHEAD_BYTES:
            self._client.hold_upload(True)

    def upload_paused(self, paused: bool) -> None:
        """The upstream is slower than the client, or has caught up."""
        self._client.hold_upload(paused and self.missing > 0)

    # The way back.

    def answer_data(self, data: bytes) -> None:
        """Bytes from upstream."""
        incoming = self._incoming
        try:
            if self._first_s is not None:
                self._relay(data, incoming.track(data))
                return
            stage = incoming.feed(data)
        except BadMessage as error:
            self._broken(f"the upstream's answer is not HTTP as it should be: {error.reason}")
            return
        if stage is Stage.GOOD:
            self._commit()
        elif stage is Stage.ERROR:
            self._judge()
        elif incoming.is_error and self._timer is None:
            self._timer = self._desk.later(ERROR_BODY_S, self._judge)

    def _judge(self) -> None:
        """An error is there, as far as it is going to be: pass it on, or try again."""
        self._cancel_timer()
        incoming, key = self._incoming, self._key
        if incoming.head is None or key is None or self._over:
            return
        verdict = self._desk.verdict(incoming.head.status, incoming.text, key)
        self._desk.learn_error(key, verdict, self._sent_at, incoming.head)
        if self._again(verdict):
            return
        self._verdict = verdict.name
        if incoming.tells(key.secret or "", closed=self._connection is None):
            # The client has the proxy's token, and is not to learn the key from an answer.
            self._let_go(reusable=incoming.reusable)
            status = incoming.head.status if incoming.is_error else 502
            self.reply(status, verdict.name, f"the upstream said: {verdict.text}")
        else:
            self._commit()

    def _again(self, verdict: Verdict) -> bool:
        """Whether the request is tried again, or waits for a key."""
        desk, key = self._desk, self._key
        efforts = Efforts(self._attempts, self._same, desk.mono() - self._mono - self.waited_s)
        step = desk.follow(verdict, efforts, replayable=self._replayable)
        if key is None or step.what == "deliver":
            return False
        self.tried.add(key.key_id)
        if step.what == "another" and not desk.anyone_else(self, verdict):
            return False
        self._before += ((key.label, verdict.name),)
        self._let_go(reusable=self._incoming.reusable)
        desk.leave(key)
        self._pick = None
        self.again = key.key_id if step.what == "again" else None
        if self.again is not None:
            self.tried.discard(self.again)
        if step.pause_s:
            self._timer = desk.later(step.pause_s, self._go_on)
        else:
            desk.place(self)
        return True

    def _go_on(self) -> None:
        self._timer = None
        if not self._over:
            self._desk.place(self)

    def _commit(self) -> None:
        """From here on the client sees this answer."""
        incoming, key = self._incoming, self._key
        answer = incoming.head
        assert answer is not None  # noqa: S101 - for the type
        assert key is not None  # noqa: S101 - for the type
        desk = self._desk
        self._first_s = desk.mono() - self._mono
        if answer.status < 300 and self._verdict == "ok":
            desk.served(self, key, self._sent_at)
        if answer.framing is Framing.CHUNKED and not self.head.minor:
            # HTTP/1.0 knows no chunks: there the end of the connection is the end.
            self._unchunk = ChunkedBody(status=502)
        plain = self._unchunk is None
        self._keep = plain and self._may_keep and not incoming.until_close
        if self._replayable:
            self.body = b""  # from here on it is not sent again
            self._client.forget_body()
        first = answer_bytes(answer, key.label, chunked=plain, close=not self._keep)
        held = incoming.release()
        self._relay(held, len(held), first)

    @property
    def _may_keep(self) -> bool:
        """Whether the client's connection can serve another request."""
        return self.head.keep_alive and not self.missing and not self._desk.draining

    def _relay(self, data: bytes, taken: int, before: bytes = b"") -> None:
        """Hand on what belongs to the answer; end with it."""
        if taken < len(data):
            data = data[:taken]
        self._received += taken
        if self.is_model_request:
            tail = self._tail + data if self._tail else data
            self._tail = tail[-TAIL_BYTES:]
        if self._unchunk is not None:
            data = b"".join(self._unchunk.feed(data)[0])
        if before or data:
            self._client.transport.write(before + data if before else data)
        if self._incoming.ended:
            self._finish()

    def answer_ended(self, error: Exception | None) -> None:
        """The upstream's connection ended under this exchange."""
        connection, self._connection = self._connection, None
        if self._over:
            return
        incoming = self._incoming
        if self._first_s is not None:
            if incoming.until_close and error is None:
                self._finish()
            else:
                self._cut()
        elif incoming.stage is Stage.HELD and incoming.until_close and error is None:
            self._held_whole()
        elif incoming.begun:
            self._broken("the upstream's connection ended in the middle of its answer")
        elif connection is not None and connection.used and self._replayable:
            # It was kept open for too long; the upstream never saw this request.
            self._connect(self._desk.pool(self._key_base()))
        else:
            self._no_answer(error)

    def _held_whole(self) -> None:
        """All of an answer that was held back is there, for its connection ended."""
        if self._incoming.is_error:
            self._judge()
        else:
            self._commit()
        if self._first_s is not None:
            self._finish()

    def _no_answer(self, error: BaseException | None) -> None:
        """The upstream could not be asked, or ended without a byte."""
        if self._over or self._key is None:
            return
        words = failure_words(error)
        verdict = self._desk.verdict(None, words.encode(), self._key)
        if not self._again(verdict):
            self._broken(f"{self._key.base_url.netloc}: {words}")

    def _key_base(self) -> BaseUrl:
        assert self._key is not None  # noqa: S101 - for the type
        return self._key.base_url

    # The end.

    def _finish(self) -> None:
        """The answer is whole."""
        if self._verdict == "ok" and self._incoming.is_stream:
            self._look_at_the_end()
        answer = self._incoming.head
        self._let_go(reusable=self._incoming.reusable and not self.missing)
        self._close(answer.status if answer is not None else 0, self._verdict)
        self._client.done(keep_alive=self._keep)

    def _look_at_the_end(self) -> None:
        """An error at the end of a stream was passed on; the next request needs to know."""
        event = last_event(self._tail) if b'"error"' in self._tail else b""
        if event and is_error(event) and self._key is not None:
            verdict = self._desk.verdict(200, event, self._key)
            self._desk.learn_error(self._key, verdict, self._sent_at, None)
            self._verdict = verdict.name

    def _broken(self, text: str) -> None:
        """The upstream failed in a way that can't be mended."""
        if self._first_s is not None:
            self._cut()
            return
        self._let_go(reusable=False)
        self.reply(502, "upstream", text)

    def _cut(self, verdict: str = "cut") -> None:
        """The upstream ended in the middle: so must the client's connection."""
        self._let_go(reusable=False)
        answer = self._incoming.head
        self._close(answer.status if answer is not None else 0, verdict)
        self._client.abort()

    def too_slow(self, text: str) -> None:
        """The client has stopped sending in the middle of a large body."""
        if self._first_s is not None:
            self._cut("too-slow")
        else:
            self._let_go(reusable=False)
            self.reply(408, "too-slow", text)

    def reply(self, status: int, code: str, text: str, *, wait_s: int = 0, **kmi: object) -> None:
        """Answer in the upstream's place."""
        head = self.head
        self._close(status, code)
        fields = [(b"retry-after", b"%d" % wait_s)] if wait_s else []
        body = answers.error_body(
            status, code, text, anthropic=self._path.startswith(b"/messages"), kmi=kmi
        )
        keep = self._may_keep
        self._client.transport.write(
            answers.message(
                status, body, fields=fields, keep_alive=keep, head_only=head.method == b"HEAD"
            )
        )
        self._client.done(keep_alive=keep)

    def client_gone(self) -> None:
        """Nobody waits for the answer: the upstream may stop."""
        if self._over:
            return
        self._let_go(reusable=False)
        answer = self._incoming.head if self._first_s is not None else None
        self._close(answer.status if answer is not None else 0, "gone")

    def client_paused(self, paused: bool) -> None:
        """The client is slower than the upstream, or has caught up."""
        if self._connection is not None:
            if paused:
                self._connection.pause()
            else:
                self._connection.resume()

    def _let_go(self, *, reusable: bool) -> None:
        """Part with the upstream's connection."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(self._desk.mono(), reusable=reusable)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self, status: int, verdict: str) -> None:
        """Give back what was held, and leave a record."""
        self._over = True
        desk, key, pick = self._desk, self._key, self._pick
        desk.forget(self)
        if key is not None and pick is not None:
            desk.leave(key)
        desk.tally.note(self._record(desk.next_id(), status, verdict, desk.mono()))
