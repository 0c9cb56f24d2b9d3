"""What `kmi usage` shows, before it is drawn: sums put into rows, named and ordered (pure)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.timezones import utc_text
from kmi.usage.rows import BY_TIME, EXACT, QUARTER_S, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kmi.usage.store import Sum

#: What rows can be made of.
BY = ("key", "day", "project", "model", "session")


class Line(NamedTuple):
    """One row.

    Attributes:
        name: what it is about: a key id, a day, a directory, an alias, or a client and a session
            with a tab between them; "" for what is not known.
        calls: how many.
        fresh: tokens of prompts that no cache had.
        created: those of them that went into the cache.
        cached: tokens of prompts that the cache had.
        output: tokens of answers.
        exact, by_time, unknown: for how many calls it is so sure which key paid.
    """

    name: str
    calls: int = 0
    fresh: int = 0
    created: int = 0
    cached: int = 0
    output: int = 0
    exact: int = 0
    by_time: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All tokens."""
        return self.fresh + self.cached + self.output

    def plus(self, other: Line) -> Line:
        """Both together, under this one's name."""
        return Line(self.name, *(a + b for a, b in zip(self[1:], other[1:])))


class Report(NamedTuple):
    """The whole of it.

    Attributes:
        by: one of `BY`.
        since: from when on; 0.0: from the beginning.
        until: up to when.
        lines: days in their order, else the largest first.
        total: of all lines.
    """

    by: str
    since: float
    until: float
    lines: tuple[Line, ...]
    total: Line


def group_of(by: str) -> str:
    """What the store has to put rows together by."""
    return "quarter" if by == "day" else by


def report(
    by: str, sums: Iterable[Sum], since: float, until: float, day_of: Callable[[int], str]
) -> Report:
    """Put sums into rows.

    Args:
        by: one of `BY`.
        sums: by what `group_of` says.
        since: from when on they are.
        until: up to when.
        day_of: gives the day of a quarter of an hour.
    """
    found: dict[str, Line] = {}
    total = Line("")
    for item in sums:
        name = day_of(item.group[0]) if by == "day" else str(item.group[0])
        line = line_of(name, item)
        found[name] = found[name].plus(line) if name in found else line
        total = total.plus(line)
    ordered = sorted(found.values(), key=lambda line: (-line.total, line.name))
    if by == "day":
        ordered.sort(key=lambda line: line.name)
    return Report(by, since, until, tuple(ordered), total)


def line_of(name: str, item: Sum) -> Line:
    """A sum as a row."""
    sure = (EXACT, BY_TIME, UNKNOWN).index(item.sure)
    counts = [item.calls if number == sure else 0 for number in range(3)]
    fresh = item.input_other + item.cache_creation
    return Line(name, item.calls, fresh, item.cache_creation, item.cache_read, item.output, *counts)


def days(zone: datetime.tzinfo | None) -> Callable[[int], str]:
    """What gives the day of a quarter of an hour, such as "2026-11-21"."""
    known: dict[int, str] = {}

    def day_of(quarter: int) -> str:
        if quarter not in known:
            utc = datetime.datetime.fromtimestamp(quarter * QUARTER_S, datetime.timezone.utc)
            known[quarter] = utc.astimezone(zone).date().isoformat()
        return known[quarter]

    return day_of


def midnight(day: datetime.date, zone: datetime.tzinfo | None) -> float:
    """When a day begins, in seconds since the epoch."""
    start = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
    return start.timestamp()  # without a zone it is local time


def shortened(lines: Sequence[Line], most: int, name: str) -> list[Line]:
    """At most so many rows, the last of which stands for all that are left out."""
    if len(lines) <= most:
        return list(lines)
    rest = Line(name)
    for line in lines[most - 1 :]:
        rest = rest.plus(line)
    return [*lines[: most - 1], rest]


def tokens_text(number: int) -> str:
    """A count of tokens with three digits.

    >>> tokens_text(999), tokens_text(12345), tokens_text(4567890), tokens_text(123456789)
    ('999', '12.3k', '4.57M', '123M')
    """
    if number < 1000:
        return str(number)
    value, units = float(number), iter("kMGT")
    unit = ""
    while value >= 999.5 and unit != "T":
        value, unit = value / 1000, next(units)
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{unit}"


def parts(line: Line, most: int, width: int) -> tuple[int, int, int]:
    """A bar in cells: what is fresh, what was cached, what was answered; none of them vanishes.

    Args:
        line: what it is of.
        most: the tokens of the longest bar.
        width: its cells.
    """
    if not (most and line.total and width):
        return 0, 0, 0
    length = max(1, round(width * line.total / most))
    ends = [0]
    for number in (line.fresh, line.fresh + line.cached, line.total):
        ends.append(round(length * number / line.total))
    return ends[1] - ends[0], ends[2] - ends[1], ends[3] - ends[2]


def document(found: Report, label_of: Callable[[str], str | None], logs: int) -> dict[str, Any]:
    """The JSON of it.

    Args:
        found: the report.
        label_of: gives the label of a key id.
        logs: how many session logs there are.
    """
    rows = []
    for line in found.lines:
        named: dict[str, Any] = {found.by: line.name or None}
        if found.by == "key":
            named = {"key": label_of(line.name), "key_id": line.name or None}
        if found.by == "session":
            client, _, session = line.name.partition("\t")
            named = {"client": client, "session": session or None}
        rows.append({**named, **_figures(line)})
    return {
        "at": utc_text(found.until),
        "since": utc_text(found.since) if found.since else None,
        "by": found.by,
        "logs": logs,
        "rows": rows,
        "total": _figures(found.total),
    }


def _figures(line: Line) -> dict[str, Any]:
    return {
        "calls": line.calls,
        "input_other": line.fresh - line.created,
        "output": line.output,
        "cache_read": line.cached,
        "cache_creation": line.created,
        "tokens": line.total,
        "sure": {EXACT: line.exact, BY_TIME: line.by_time, UNKNOWN: line.unknown},
    }
