"""What the proxy reads of answers: the first event of a stream, an error's body, the cost (pure).

Nothing is read of a stream but its first event, and its last few bytes for the tokens it cost.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from kmi.proxy.records import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

#: A first event is held back up to this size, and an error body is read so far.
HELD_BYTES = 65536
#: The end of an answer, in which its cost is looked for.
TAIL_BYTES = 4096

#: The content encodings that can be undone.
READABLE = frozenset((b"", b"identity", b"gzip", b"x-gzip", b"deflate"))

_ACCEPTED = re.compile(rb"(?im)^(accept-encoding:[ \t]*)([^\r\n]*)").sub
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
# Only comments and empty lines: a keep-alive, not an event.
_COMMENTS = re.compile(rb"(?:[ \t]*(?::[^\r\n]*)?(?:\r\n|\n|\r))*")
_DATA = re.compile(rb"(?:(?<=[\r\n])|\A)data:[ ]?([^\r\n]*)")
_NUMBERS = re.compile(
    rb'"(prompt_tokens|completion_tokens|cached_tokens|input_tokens|output_tokens'
    rb'|cache_read_input_tokens)"[ ]*:[ ]*([0-9]{1,12})'
)


def first_event(text: bytes) -> bytes | None:
    r"""The data of a stream's first event; None while it is not complete.

    >>> first_event(b': hello\n\ndata: {"a": 1}\n\ndata: ')
    b'{"a": 1}'
    """
    at = 0
    while True:
        skipped = _COMMENTS.match(text, at)
        at = skipped.end() if skipped is not None else at
        end = _EVENT_END.search(text, at)
        if end is None:
            return None
        data = b"\n".join(_DATA.findall(text, at, end.end()))
        if data:
            return data
        at = end.end()


def last_event(tail: bytes) -> bytes:
    """The data of the last whole event in the end of a stream that is not ``[DONE]``; or b""."""
    events = [data for data in _DATA.findall(tail) if data.strip() != b"[DONE]"]
    return events[-1] if events else b""


def is_error(event: bytes) -> bool:
    """Whether an event's data is an error of the upstream instead of a piece of an answer."""
    head = event[:HELD_BYTES].lstrip()
    if not head.startswith(b"{") or b'"error"' not in head:
        return False
    import json

    try:
        table = json.loads(head)
    except (ValueError, RecursionError):
        return False
    return isinstance(table, dict) and bool(table.get("error")) and "choices" not in table


def decoder(encoding: bytes) -> Callable[[bytes], bytes] | None:
    """What undoes a content encoding, piece by piece; None for one that kmi can't read.

    It raises `ValueError` for a piece that is not encoded so.
    """
    name = encoding.strip().lower()
    if name in {b"", b"identity"}:
        return bytes
    if name not in READABLE:
        return None
    inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)

    def undo(piece: bytes) -> bytes:
        nonlocal inflate
        text = b""
        while piece and len(text) < HELD_BYTES:
            try:
                text += inflate.decompress(piece, HELD_BYTES - len(text))
            except zlib.error as error:
                raise ValueError(str(error)) from None
            piece = inflate.unused_data  # a gzip file can have several parts
            if piece:
                inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        return text

    return undo


def only_readable(fields: bytes) -> bytes:
    r"""Header lines of a request, of whose `Accept-Encoding` only what `decoder` knows is left.

    >>> only_readable(b"Accept-Encoding: gzip, br, zstd;q=0.5\r\n")
    b'Accept-Encoding: gzip\r\n'
    """
    return _ACCEPTED(_readable, fields)


def _readable(line: re.Match[bytes]) -> bytes:
    names = line[2].split(b",")
    known = [name for name in names if name.partition(b";")[0].strip().lower() in READABLE]
    if len(known) == len(names):
        return line[0]
    return line[1] + (b",".join(known).strip() or b"identity")


def tokens_of(tail: bytes) -> Tokens | None:
    """The cost that the end of an answer names, in the form of OpenAI or Anthropic."""
    at = tail.rfind(b'"usage"')
    if at < 0:
        return None
    found = {name: int(number) for name, number in reversed(_NUMBERS.findall(tail, at))}
    prompt = found.get(b"prompt_tokens", found.get(b"input_tokens"))
    completion = found.get(b"completion_tokens", found.get(b"output_tokens"))
    if prompt is None and completion is None:
        return None
    cached = found.get(b"cached_tokens", found.get(b"cache_read_input_tokens", 0))
    return Tokens(prompt or 0, cached, completion or 0)
