"""What `trace.jsonl` tells of the proxy's requests: who served what, and how evenly (pure)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.timezones import utc_seconds, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmi.proxy.records import Served

#: Below so many placements nothing is said about the round robin.
ENOUGH = 20
#: A table of more keys than this would hide the others; the rest goes into one row.
MAX_STRIPS = 12
OTHERS = "(others)"
#: No request is of a year that calendars can't shift by a time zone.
_MAX_AT = 253_370_764_800.0


class Entry(NamedTuple):
    """One request. Durations are seconds; the fields are those of `proxy.records.Served`."""

    at: float
    request: str
    method: str
    path: str
    key: str
    label: str
    session: str
    status: int
    verdict: str
    code: str
    tried: tuple[tuple[str, str], ...]
    eligible: int
    waited_s: float
    first_s: float | None
    total_s: float
    sent: int
    received: int
    tokens: tuple[int, int, int] | None


class Confidence(NamedTuple):
    """How sure it is that keys are used in turn.

    Attributes:
        percent: 100: no key got more than its equal share; 0: one key got everything. None while
            there are fewer than `ENOUGH` placements.
        placements: the requests that it is measured by.
    """

    percent: int | None
    placements: int


class Strip(NamedTuple):
    """How many requests a key served in each step of time."""

    label: str
    counts: tuple[int, ...]


class Timeline(NamedTuple):
    """Which key served what, from ``start`` in steps of ``step_s`` seconds."""

    start: float
    step_s: float
    strips: tuple[Strip, ...]


def read_line(line: bytes) -> Entry | int | None:
    """A request; the number of requests that are missing before this line; or None for the rest.

    Any bytes are a fit argument: files of a newer kmi or a damaged disk are read as far as it goes.
    """
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            return None
        if record.get("event") == "dropped":
            return _natural(record["count"])
        return _entry(record) if record.get("event") == "request" else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _entry(record: dict[str, Any]) -> Entry:
    tokens = record.get("tokens")
    first_s = record["first_s"]
    at = utc_seconds(_text(record["ts"]))
    if not 0.0 <= at < _MAX_AT:
        raise ValueError("a time of no use")
    return Entry(
        at,
        _text(record["request"]),
        _text(record["method"]),
        _text(record["path"]),
        _text(record["key"]),
        _text(record["label"]),
        _text(record["session"]),
        _natural(record["status"]),
        _text(record["verdict"]),
        _text(record["code"]),
        tuple((_text(label), _text(verdict)) for label, verdict in record["tried"]),
        _natural(record["eligible"]),
        _seconds(record["waited_s"]),
        None if first_s is None else _seconds(first_s),
        _seconds(record["total_s"]),
        _natural(record["sent"]),
        _natural(record["received"]),
        None
        if tokens is None
        else (
            _natural(tokens["prompt"]),
            _natural(tokens["cached"]),
            _natural(tokens["completion"]),
        ),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise TypeError("not a count")
    return value


def _seconds(value: object) -> float:
    if type(value) not in {int, float} or not 0.0 <= value < 1e9:  # type: ignore[operator]  # checked just before
        raise TypeError("not a duration")
    return float(value)  # type: ignore[arg-type]  # a number


def entry_of(served: Served) -> Entry:
    """The same of a request that is still in the proxy's memory."""
    return Entry(*served)


def confidence(entries: Iterable[Entry]) -> Confidence:
    """How evenly the round robin placed requests, measured against the keys that were eligible.

    It counts the requests that were placed in turn among several keys. Those that stay on their
    session's key, that had one key only, or that are repeated, say nothing. With ``e`` keys
    eligible each of them is due ``1/e`` of a request, so a key that was always eligible is due the
    sum of these, its share. What the busiest key got beyond its share, in proportion to the most
    that it could have got, is what is missing to 100 %. A key that was out for a while lowers the
    others' ``e``, and so raises their share: nobody is blamed for that.

    >>> spread = [("abc"[n % 3], 3) for n in range(30)]
    >>> [measured(p).percent for p in (spread, [("a", 3)] * 30, [("a", 3)] * 19)]
    [100, 0, None]
    """
    return measured([(e.label, e.eligible) for e in entries if e.code == "next"])


def measured(placed: Iterable[tuple[str, int]]) -> Confidence:
    """The figure of `confidence`, from labels and how many keys were eligible."""
    counts: dict[str, int] = {}
    share = 0.0
    for label, eligible in placed:
        if eligible > 1 and label:
            counts[label] = counts.get(label, 0) + 1
            share += 1.0 / eligible
    number = sum(counts.values())
    if number < ENOUGH:
        return Confidence(None, number)
    # Requests come whole: with 50 on three keys one of them gets 17.
    due = math.ceil(round(share, 6))
    beyond = max(0, max(counts.values()) - due)
    most = number - due
    return Confidence(math.floor(100.0 * (1.0 - beyond / most)) if most else 100, number)


def shares(entries: Iterable[Entry]) -> dict[str, int]:
    """How many requests each key served, by label; "" for those that no key was asked for."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.label] = counts.get(entry.label, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def timeline(entries: Sequence[Entry], steps: int) -> Timeline:
    """The time from the first request to the last, in so many steps at most.

    A step is a whole number of seconds.
    """
    served = [entry for entry in entries if entry.label]
    if not served or steps < 1:
        return Timeline(0.0, 1.0, ())
    first = min(entry.at for entry in served)
    last = max(entry.at for entry in served)
    step_s = float(max(1, math.ceil((last - first + 0.001) / steps)))
    steps = int((last - first) / step_s) + 1
    by_count = list(shares(served))
    named = by_count if len(by_count) <= MAX_STRIPS else by_count[: MAX_STRIPS - 1]
    rows: dict[str, list[int]] = {label: [0] * steps for label in sorted(named)}
    for entry in served:
        label = entry.label if entry.label in rows else OTHERS
        row = rows.setdefault(label, [0] * steps)
        row[int((entry.at - first) / step_s)] += 1
    drawn = tuple(Strip(label, tuple(counts)) for label, counts in rows.items())
    return Timeline(first, step_s, drawn)


def document(
    entries: Sequence[Entry], shown: Sequence[Entry], dropped: int, now: float
) -> dict[str, Any]:
    """The JSON of it.

    Args:
        entries: all that were read, by which the figures are measured.
        shown: those that are listed.
        dropped: how many are missing among them.
        now: seconds since the epoch.
    """
    sure = confidence(entries)
    return {
        "at": utc_text(now),
        "read": len(entries),
        "dropped": dropped,
        "served": shares(entries),
        "confidence": {
            "percent": sure.percent,
            "placements": sure.placements,
            "needed": ENOUGH,
        },
        "requests": [entry_document(entry) for entry in shown],
    }


def entry_document(entry: Entry) -> dict[str, Any]:
    """The JSON of one request, as in `trace.jsonl`."""
    tokens = entry.tokens
    found: dict[str, Any] = {"ts": utc_text(entry.at), **entry._asdict()}
    del found["at"]
    found["tried"] = [list(pair) for pair in entry.tried]
    found["tokens"] = (
        None
        if tokens is None
        else {"prompt": tokens[0], "cached": tokens[1], "completion": tokens[2]}
    )
    return found
