"""The lines of the clients' session logs that tell what a call of a model cost (pure).

Kimi Code writes one ``usage.record`` for each call; kimi-cli a ``StatusUpdate``, which stands in a
``SubagentEvent`` when a sub-agent made the call (clients.md). All other lines, among them every
prompt and every answer, are left alone.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

try:  # what `hashlib` offers, without loading OpenSSL for it
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from kmi.masking import mask_data

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a line has to hold, byte for byte, to be looked at: in a prompt its quotes would be escaped.
MARKERS = {"kimi-cli": b'"StatusUpdate"', "kimi-code": b'"usage.record"'}
#: Sub-agents in sub-agents; the clients allow one.
_DEPTH = 8
#: Nobody's call costs so many tokens.
_MOST = 1 << 40
#: No call is of a year that calendars can't shift by a time zone.
_MAX_AT = 253_370_764_800.0
#: What JSON of any shape raises when a record is expected.
BAD = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


class Call(NamedTuple):
    """One call of a model.

    Attributes:
        uid: the same for the same call, wherever it is told: a copied or forked session repeats the
            lines of the first one, and a sub-agent's calls stand in two files of kimi-cli.
        time: when it ended, seconds since the epoch.
        model: the alias; "" where the line does not say.
    """

    uid: int
    time: float
    model: str
    input_other: int
    output: int
    cache_read: int
    cache_creation: int


def read_call(client: str, line: bytes, agent: str) -> Call | None:
    """The call that a line tells of; None when it tells of none, or is damaged.

    Args:
        client: whose log it is.
        line: any bytes.
        agent: the sub-agent whose log it is; "" for the session's own.
    """
    try:
        record = json.loads(line)
        return _READERS[client](record, agent)
    except BAD:
        return None


def _code_call(record: dict[str, Any], agent: str) -> Call | None:
    if record["type"] != "usage.record":
        return None
    usage = record["usage"]
    names = ("inputOther", "output", "inputCacheRead", "inputCacheCreation")
    tokens = tuple(_natural(usage.get(name, 0)) for name in names)
    moment = record["time"]
    at = _moment(moment / 1000)
    who = record.get("agentId") or agent
    model = _text(record.get("model") or "")
    return _call(at, model, tokens, ("kimi-code", who, moment, model))


def _cli_call(record: dict[str, Any], agent: str) -> Call | None:
    message = record["message"]
    for _ in range(_DEPTH):
        if message["type"] != "SubagentEvent":
            break
        agent = message["payload"].get("agent_id") or agent
        message = message["payload"]["event"]
    usage = message["payload"].get("token_usage")
    if message["type"] != "StatusUpdate" or usage is None:
        return None
    names = ("input_other", "output", "input_cache_read", "input_cache_creation")
    tokens = tuple(_natural(usage.get(name, 0)) for name in names)
    moment = record["timestamp"]
    at = _moment(moment)
    answer = message["payload"].get("message_id")
    # Both logs tell of a sub-agent's call, each with a time of its own.
    named = agent and answer
    return _call(at, "", tokens, ("kimi-cli", agent, answer, None if named else moment))


_READERS: dict[str, Callable[[dict[str, Any], str], Call | None]] = {
    "kimi-cli": _cli_call,
    "kimi-code": _code_call,
}


def _call(
    at: float, model: str, tokens: tuple[int, ...], identity: tuple[object, ...]
) -> Call | None:
    if not any(tokens):
        return None
    return Call(number_of((*identity, *tokens)), at, model, *tokens)


def number_of(identity: tuple[object, ...]) -> int:
    """A number of 64 bits for what makes something the one thing that it is."""
    text = "\0".join(map(str, identity)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def first_moment(client: str, head: bytes) -> float | None:
    """When a log begins, from its first bytes; None where they do not say."""
    for line in head.split(b"\n")[:8]:
        try:
            record = json.loads(line)
            if client == "kimi-cli":
                return _moment(record["timestamp"])
            return _moment((record.get("created_at") or record["time"]) / 1000)
        except BAD:
            continue
    return None


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("not a count of tokens")
    return value


def _moment(value: object) -> float:
    if not isinstance(value, (int, float)) or not 0.0 <= value < _MAX_AT:
        raise TypeError("not a time")
    return float(value)


@lru_cache(maxsize=256)
def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return storable(mask_data(value[:200]))


def storable(text: str) -> str:
    """Text that a database takes: what is no character, as in names that are not UTF-8, escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
