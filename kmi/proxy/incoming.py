"""An answer as it comes in: its head, where it ends, and whether it is an error (pure).

An error, and the first event of a stream, are held back: until then another key can be asked.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from kmi.proxy.chunks import ChunkedBody, ChunkedTracker
from kmi.proxy.events import HELD_BYTES, decoder, first_event, is_error
from kmi.proxy.framing import Framing, head_end, response_head

if TYPE_CHECKING:
    from typing import Callable

    from kmi.proxy.framing import ResponseHead


class Stage(enum.Enum):
    """What is known of an answer."""

    HEAD = "head"  # its head is not whole
    HELD = "held"  # it may be an error, or is one that is not whole
    ERROR = "error"  # it is an error, and ``text`` says which
    GOOD = "good"  # it can be handed on


class _Whole:
    """The extent of a body with a length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def ended(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> int:
        taken = min(len(data), self._left)
        self._left -= taken
        return taken


class _UntilClose:
    """The extent of a body that ends with its connection."""

    __slots__ = ()
    ended = False

    def feed(self, data: bytes) -> int:
        return len(data)


_UNTIL_CLOSE = _UntilClose()


class Incoming:
    """One answer.

    Attributes:
        stage: how far it is known.
        head: its head, once that is whole.
        held: the bytes of its body that were not handed on yet, framed as they came.
        text: the error, or the first event, decoded.
        clean: nothing came after its end, so the connection can be used again.
        begun: whether any byte of it came.
    """

    stage = Stage.HEAD
    head: ResponseHead | None = None
    held = b""
    text = b""
    clean = True
    begun = False
    _buffer = b""
    _undo: Callable[[bytes], bytes] | None = None
    _unchunk: ChunkedBody | None = None

    def __init__(self, method: bytes) -> None:
        self._method = method
        self._extent: ChunkedTracker | _Whole | _UntilClose = _UNTIL_CLOSE

    @property
    def ended(self) -> bool:
        """Whether the whole message came."""
        return self.head is not None and self._extent.ended

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        return self.ended and self.clean and self.head is not None and self.head.keep_alive

    @property
    def is_error(self) -> bool:
        """Whether its status says so; a redirect is one, for it is never followed."""
        return self.head is not None and self.head.status >= 300

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.head is not None and self.head.content_type == b"text/event-stream"

    @property
    def until_close(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        return self.head is not None and self.head.framing is Framing.CLOSE

    def tells(self, secret: str, *, closed: bool) -> bool:
        """Whether the error repeats a part of a key in any form.

        One that can't be read, or was not read to its end, may do so, too.

        Args:
            secret: of the key that was sent.
            closed: its connection ended, and with it a body that has no other end.
        """
        from kmi.redaction import without

        unread = self._undo is None and (bool(self.held) or not self.ended)
        if self.is_error:
            whole = self.ended or (closed and self.until_close)
            unread = unread or not whole or len(self.text) >= HELD_BYTES
        if unread:
            return True
        head = b"" if self.head is None else self.head.reason + b" " + self.head.fields
        text = (head + b"\n" + self.text).decode("latin-1")
        return without(text, secret) != text

    def track(self, data: bytes) -> int:
        """How many bytes of ``data`` belong to the body; for an answer that is handed on.

        Raises:
            BadMessage: its framing broke.
        """
        taken = self._extent.feed(data)
        if taken < len(data):
            self.clean = False
        return taken

    def feed(self, data: bytes) -> Stage:
        """Take in bytes until the answer can be judged or handed on.

        Raises:
            BadMessage: it is not HTTP as it should be.
        """
        self.begun = True
        if self.stage is Stage.HEAD:
            data = self._buffer + data if self._buffer else data
            rest = self._read_head(data)
            if rest is None:
                return self.stage
            data = rest
        self._hold(data)
        return self.stage

    def _read_head(self, data: bytes) -> bytes | None:
        """Read the head, after interim ones; None while it is not whole."""
        while True:
            end = head_end(data, answer=True)
            if end < 0:
                self._buffer = data
                return None
            head = response_head(data[:end], self._method)
            data = data[end:]
            if head.status >= 200:
                break
        self.head, self._buffer = head, b""
        if head.framing is Framing.CHUNKED:
            self._extent = ChunkedTracker()
        elif head.framing is not Framing.CLOSE:
            self._extent = _Whole(head.length or 0 if head.framing is Framing.LENGTH else 0)
        stream = head.content_type == b"text/event-stream" and head.framing is not Framing.NONE
        if head.status < 300 and not stream:
            self.stage = Stage.GOOD
            return data
        self.stage = Stage.HELD
        self._undo = decoder(head.content_encoding)
        if head.framing is Framing.CHUNKED:
            self._unchunk = ChunkedBody(status=502)
        return data

    def _hold(self, data: bytes) -> None:
        part = data[: self.track(data)]
        self.held += part
        if self.stage is Stage.GOOD or self.head is None:
            return
        if self._undo is not None and len(self.text) < HELD_BYTES:
            pieces = [part] if self._unchunk is None else self._unchunk.feed(part)[0]
            try:
                for piece in pieces:
                    self.text += self._undo(piece)
                    if len(self.text) >= HELD_BYTES:
                        break  # a few bytes can stand for many
            except ValueError:
                self._undo = None  # it is not encoded as it says
        enough = self.ended or self._undo is None or len(self.held) >= HELD_BYTES
        if self.is_error:
            self.stage = Stage.ERROR if enough else Stage.HELD
            return
        event = first_event(self.text)
        if event is not None and is_error(event):
            self.text, self.stage = event, Stage.ERROR
        elif event is not None or enough:
            self.stage = Stage.GOOD

    def release(self) -> bytes:
        """What was held back, to be handed on."""
        held, self.held = self.held, b""
        self.stage = Stage.GOOD
        return held
