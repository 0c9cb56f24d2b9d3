"""Chunked bodies (RFC 9112 7.1): read them, or only follow them while they are relayed. Pure.

Every byte is judged when it comes: what no continuation could make right is refused at once, so
the verdict never depends on where the reads cut a message. The CRLF behind each chunk's data is
checked (CVE-2025-43859 was a parser that skipped it).
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from kmi.proxy.grammar import LONG_BODY, MAX_BODY_BYTES, TOKEN, VALUE, BadMessage

#: Trailer fields together, without the empty line behind them.
MAX_TRAILER_BYTES = 8 * 1024
#: A chunk's extension, with its semicolon. Nobody is known to send one.
MAX_EXTENSION_BYTES = 256

# 15 digits stay below 2**60.
_SIZE = rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]{0,%d})?" % (MAX_EXTENSION_BYTES - 1)
# RFC 9110 6.5.1: a field that frames a message has no place behind it.
_TRAILER = rb"(?!(?i:content-length|transfer-encoding):)" + TOKEN


class _Pattern(Protocol):
    def __call__(self, text: bytes, pos: int = 0, /) -> re.Match[bytes] | None: ...


class _Line(NamedTuple):
    """A kind of line: all of one, as much of one as may have come so far, and what else it is."""

    whole: _Pattern
    begun: _Pattern
    fault: str


_SIZE_LINE = _Line(
    re.compile(_SIZE + rb"\r\n").match,
    re.compile(_SIZE + rb"\r?").fullmatch,
    "a chunk's size is not 1 to 15 hexadecimal digits, or its extension is too long",
)
_SIZE_BYTES = 15 + MAX_EXTENSION_BYTES + 2
_BREAK_LINE = _Line(
    re.compile(rb"\r\n").match,
    re.compile(rb"\r").fullmatch,
    "a chunk's data does not end where its size says",
)
_TRAILER_LINE = _Line(
    re.compile(rb"(?:" + _TRAILER + rb":" + VALUE + rb")?\r\n").match,
    re.compile(_TRAILER + rb"(?::" + VALUE + rb"\r?)?|\r").fullmatch,
    "a trailer field is malformed, or the trailers are too long",
)

_NO_LIMIT = 1 << 62
_AT_SIZE, _IN_DATA, _AT_BREAK, _AT_TRAILER = range(4)


class ChunkedTracker:
    """Follows a chunked body that is relayed as it came. The payload is not copied.

    Not to be used any more once it has raised.

    Attributes:
        ended: the whole message was seen.
    """

    __slots__ = ("_held", "_left", "_room", "_stage", "_status", "ended")

    def __init__(self, *, status: int = 502, room: int = _NO_LIMIT) -> None:
        """A new body.

        Args:
            status: what a `BadMessage` says; by default that of an answer.
            room: how many bytes of payload are allowed.
        """
        self.ended = False
        self._status = status
        self._room = room
        self._stage = _AT_SIZE
        self._left = 0  # bytes of data to come, or of trailers that are still allowed
        self._held = b""  # a line that has not ended

    def feed(self, data: bytes, spans: list[tuple[int, int]] | None = None) -> int:
        """Follow the next bytes; return how many of them belong to the message.

        That is all of them until the end is among them, and none after it.

        Args:
            data: what was received.
            spans: gets the parts of ``data`` that are payload.

        Raises:
            BadMessage: these bytes break the framing, and none of them should be passed on; 413
                in a request as soon as a chunk is announced for which there is no room.
        """
        at, size = 0, len(data)
        while at < size and not self.ended:
            stage = self._stage
            if stage == _AT_SIZE:
                match = None if self._held else _SIZE_LINE.whole(data, at)
                if match:
                    at = match.end()
                else:
                    match, at = self._line(_SIZE_LINE, _SIZE_BYTES, data, at)
                    if not match:
                        break
                left = int(match[1], 16)
                if left > self._room:
                    raise BadMessage(413 if self._status == 400 else self._status, LONG_BODY)
                self._room -= left
                end = at + left
                # Most chunks are here as a whole: then the next one's size follows.
                if left and data[end : end + 2] == b"\r\n":
                    if spans is not None:
                        spans.append((at, end))
                    at = end + 2
                elif left:
                    self._stage, self._left = _IN_DATA, left
                else:
                    self._stage, self._left = _AT_TRAILER, MAX_TRAILER_BYTES
            elif stage == _IN_DATA:
                end = min(at + self._left, size)
                if spans is not None:
                    spans.append((at, end))
                self._left -= end - at
                at = end
                if not self._left:
                    self._stage = _AT_BREAK
            elif stage == _AT_BREAK:
                match, at = self._line(_BREAK_LINE, 2, data, at)
                if match:
                    self._stage = _AT_SIZE
            else:
                match, at = self._line(_TRAILER_LINE, max(self._left, 2), data, at)
                if match:
                    self._left -= match.end()
                    self.ended = match.end() == 2
        return at

    def _line(
        self, kind: _Line, limit: int, data: bytes, at: int
    ) -> tuple[re.Match[bytes] | None, int]:
        """The line of at most ``limit`` bytes that goes on at ``at``, and where it ends.

        None for one that has not ended; all of ``data`` belongs to it.
        """
        text = self._held + data[at : at + limit + 1]
        match = kind.whole(text)
        if match and match.end() <= limit:
            at += match.end() - len(self._held)
            self._held = b""
            return match, at
        if len(text) <= limit and kind.begun(text):
            self._held = text
            return None, len(data)
        raise BadMessage(self._status, kind.fault)


class ChunkedBody:
    """Reads a chunked body. Extensions and trailers are checked and dropped.

    Not to be used any more once it has raised.
    """

    __slots__ = ("_tracker",)

    def __init__(self, *, status: int = 400, room: int | None = None) -> None:
        """As `ChunkedTracker`; a request has room for 64 MiB by default."""
        if room is None:
            room = MAX_BODY_BYTES if status == 400 else _NO_LIMIT
        self._tracker = ChunkedTracker(status=status, room=room)

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Read the next bytes.

        The pieces may be of one byte each: whoever keeps them joins those of one call.

        Returns:
            The payload in them; and what follows the message, or None while it has not ended.

        Raises:
            BadMessage: as `ChunkedTracker.feed`.
        """
        spans: list[tuple[int, int]] = []
        end = self._tracker.feed(data, spans)
        pieces = [data[begin:stop] for begin, stop in spans]
        return pieces, data[end:] if self._tracker.ended else None
