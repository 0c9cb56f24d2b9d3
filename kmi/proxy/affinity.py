"""Which session a request belongs to, and which key serves that session (pure).

A change of key costs the provider's prompt cache, so a session keeps its key. Both clients name it
by `prompt_cache_key` (upstream.md); other programs may send a session header; else the first
message of the user stands for it. The system prompt alone never does: it is the same for everybody.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

try:  # what `hashlib` offers, without loading OpenSSL for it
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Callable

#: A session that was silent for so long has lost its cache anyway.
TTL_S = 3600.0
#: Sessions that are remembered; the least recently used goes first. About 200 bytes each.
CAPACITY = 4096
#: Headers that name a session, in this order, when the body does not.
SESSION_HEADERS = (b"x-session-id", b"session-id", b"session_id", b"x-claude-code-session-id")
#: A session's name is longer in nobody's program.
_NAME_MAX = 512
# In a JSON string the quotes would be escaped, so these match names of fields only.
_CACHE_KEY_NAME = b'"prompt_cache_key"'
_CACHE_KEY = re.compile(rb'\s*:\s*"((?:[^"\\]|\\.){1,512})"')
_ROLE_NAME = b'"role"'
_USER = re.compile(rb'\s*:\s*"user"')
#: Where a conversation begins: chat and Anthropic's messages, or the responses API.
_MESSAGES = (b'"messages"', b'"input"')
_LIST = re.compile(rb"\s*:\s*\[")
_NEXT = re.compile(rb"[\s,]*\{")
#: Where to look for the first message of the user, in how many, and how much of it counts.
_LOOK_BYTES = 4 * 1024 * 1024
_LOOK_MESSAGES = 32
_MESSAGE_BYTES = 65536


def session_of(header: Callable[[bytes], bytes | None], body: bytes) -> bytes:
    """The hash of a request's session, 8 bytes; b"" when it names none.

    Args:
        header: gives a header's value by its lower-case name.
        body: the whole body; it is searched, not parsed.
    """
    # From the end: clients write it behind the messages, which may be a megabyte.
    at = body.rfind(_CACHE_KEY_NAME)
    while at >= 0:
        named = _CACHE_KEY.match(body, at + len(_CACHE_KEY_NAME))
        if named is not None:
            return _hash(b"c", named[1])
        at = body.rfind(_CACHE_KEY_NAME, 0, at)
    for name in SESSION_HEADERS:
        value = header(name)
        if value and len(value) <= _NAME_MAX:
            return _hash(b"h", value)
    first = first_user_message(body) if body else b""
    return _hash(b"m", first) if first else b""


def _after(
    body: bytes, name: bytes, value: re.Pattern[bytes], start: int = 0, end: int = _LOOK_BYTES
) -> re.Match[bytes] | None:
    """What follows a field's name, if it is as wanted; an expression alone would search slowly."""
    at = body.find(name, start, end)
    while at >= 0:
        at += len(name)
        found = value.match(body, at, end)
        if found is not None:
            return found
        at = body.find(name, at, end)
    return None


def first_user_message(body: bytes) -> bytes:
    """The first message of the user as it stands in a chat request's JSON; b"" without one.

    Later requests of a session repeat it byte for byte, since the provider's cache wants it so.
    Only the messages before it are walked over; what is no JSON gives whatever it gives.
    """
    begin = _after(body, _MESSAGES[0], _LIST) or _after(body, _MESSAGES[1], _LIST)
    at = -1 if begin is None else begin.end()
    for _ in range(_LOOK_MESSAGES):
        opening = _NEXT.match(body, at, _LOOK_BYTES) if at >= 0 else None
        if opening is None:
            break
        start = opening.end() - 1
        at = _object_end(body, start, min(len(body), _LOOK_BYTES))
        if _after(body, _ROLE_NAME, _USER, start, at):
            return body[start : min(at, start + _MESSAGE_BYTES)]
    return b""


_BRACKETS = re.compile(rb'["{}\[\]]')


def _object_end(body: bytes, start: int, limit: int) -> int:
    """Where the JSON object that begins at ``start`` ends, or ``limit``."""
    depth, at = 0, start
    while True:
        bracket = _BRACKETS.search(body, at, limit)
        if bracket is None:
            return limit
        at = bracket.end()
        sign = bracket[0]
        if sign == b'"':
            at = _string_end(body, at, limit)
        elif sign in b"{[":
            depth += 1
        else:
            depth -= 1
            if depth <= 0:
                return at


def _string_end(body: bytes, at: int, limit: int) -> int:
    """Where the JSON string ends whose first character is at ``at``, or ``limit``."""
    begin = at
    while True:
        quote = body.find(b'"', at, limit)
        if quote < 0:
            return limit
        back = quote
        while back > begin and body[back - 1] == 0x5C:
            back -= 1
        at = quote + 1
        if (quote - back) % 2 == 0:
            return at


def _hash(kind: bytes, name: bytes) -> bytes:
    return blake2b(name, digest_size=8, person=kind).digest()


def short_name(session: str) -> str:
    """What the trace calls the session of a ``prompt_cache_key``: 8 hex digits of its hash."""
    return _hash(b"c", session.encode("utf-8", "surrogatepass")).hex()[:8]


class Seat(NamedTuple):
    """Which key a session has, and when it was last asked for, in monotonic seconds."""

    key_id: str
    seen: float


class Affinity:
    """Sessions and their keys, bounded in number and time."""

    def __init__(self, capacity: int = CAPACITY, ttl_s: float = TTL_S) -> None:
        self._seats: OrderedDict[bytes, Seat] = OrderedDict()
        self._capacity = capacity
        self._ttl_s = ttl_s

    def __len__(self) -> int:
        return len(self._seats)

    def find(self, session: bytes, now: float) -> Seat | None:
        """The seat of a session, if it was seen lately."""
        seat = self._seats.get(session)
        if seat is None:
            return None
        if now - seat.seen > self._ttl_s:
            del self._seats[session]
            return None
        return seat

    def keep(self, session: bytes, key_id: str, now: float) -> None:
        """A session was given a key."""
        self._seats[session] = Seat(key_id, now)
        self._seats.move_to_end(session)
        while len(self._seats) > self._capacity:
            self._seats.popitem(last=False)

    def move_all(self, key_id: str) -> None:
        """Every session follows the key that the person named."""
        for session, seat in self._seats.items():
            self._seats[session] = Seat(key_id, seat.seen)
