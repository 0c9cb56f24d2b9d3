"""`kmi trace` as plain text: for pipes, `--plain`, `TERM=dumb`; and what each column says."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from kmi.health_text import wrapped
from kmi.output import safe
from kmi.trace import ENOUGH, MAX_STRIPS, OTHERS, confidence, timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.trace import Entry, Timeline
    from kmi.wording import Words

#: Cells of a strip, from nothing to the most.
ASCII_LEVELS = " .:-=+*#"
#: Between columns.
GAP = 2


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        title: the message that stands above it.
        rank: the columns of the highest ranks go first when there is no room.
        least, most: characters.
        usual: characters where the rows are not known yet.
    """

    name: str
    title: str
    rank: int
    least: int
    most: int
    usual: int
    right: bool = False


COLUMNS = (
    Column("time", "trace.time", 0, 8, 14, 8),
    Column("key", "trace.key", 0, 6, 20, 12),
    Column("path", "trace.path", 2, 12, 28, 18),
    Column("status", "trace.status", 0, 3, 6, 6, right=True),
    Column("verdict", "trace.verdict", 1, 7, 12, 9),
    Column("tried", "trace.tried", 4, 10, 30, 16),
    Column("first", "trace.first", 3, 7, 9, 8, right=True),
    Column("total", "trace.total", 0, 6, 8, 7, right=True),
    Column("tokens", "trace.tokens", 5, 6, 24, 20, right=True),
    Column("session", "trace.session", 6, 8, 8, 8),
)


class Clock:
    """Shows moments of the trace: the time of day, with the day where that is another one."""

    def __init__(self, zone: datetime.tzinfo | None, now: float) -> None:
        self._zone = zone
        self._today = self._moment(now).date()

    def _moment(self, at: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).astimezone(self._zone)

    def __call__(self, at: float) -> str:
        """Such as "14:03:09"; "11-20 14:03:09" for another day."""
        moment = self._moment(at)
        return moment.strftime("%H:%M:%S" if moment.date() == self._today else "%m-%d %H:%M:%S")


def cells(entry: Entry, clock: Clock) -> dict[str, str]:
    """What is shown of a request, by column; nothing in it that a terminal could obey."""
    return {
        "time": clock(entry.at),
        "key": safe(entry.label) or "-",
        "path": safe(entry.path),
        "status": str(entry.status or "-"),
        "verdict": safe(entry.verdict),
        "tried": ", ".join(safe(f"{label}: {verdict}") for label, verdict in entry.tried),
        "first": "-" if entry.first_s is None else seconds(entry.first_s),
        "total": seconds(entry.total_s),
        "tokens": tokens_text(entry.tokens),
        "session": safe(entry.session),
    }


def seconds(value: float) -> str:
    """A duration with three digits; what is less than a millisecond is called so.

    >>> seconds(0.0123), seconds(4.5678), seconds(123.4)
    ('12 ms', '4.57 s', '123 s')
    """
    if value < 0.001:
        return "<1 ms"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def tokens_text(tokens: tuple[int, int, int] | None) -> str:
    """The prompt, how much of it was cached, and the answer.

    >>> tokens_text((12000, 9000, 250))
    '12.0k (75 %) + 250'
    """
    if tokens is None:
        return ""
    prompt, cached, completion = tokens
    share = f" ({100 * min(cached, prompt) // prompt} %)" if prompt and cached else ""
    return f"{_count(prompt)}{share} + {_count(completion)}"


def _count(number: int) -> str:
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"


def fitting(
    rows: Sequence[dict[str, str]], words: Words, width: int, *, steady: bool = False
) -> list[tuple[Column, int, str]]:
    """The columns for which there is room, each with its width and heading.

    Args:
        rows: what is shown.
        words: the language of the headings.
        width: characters.
        steady: more rows will come, which shall stand below these.
    """
    found = []
    for column in COLUMNS:
        heading = words(column.title)
        known = [column.usual] if steady else [len(row[column.name]) for row in rows]
        longest = max([len(heading), *known])
        found.append((column, min(max(longest, column.least), column.most), heading))
    while (over := _total(found) - width) > 0:
        rank = max(column.rank for column, _, _ in found)
        index = next(i for i, item in enumerate(found) if item[0].rank == rank)
        if rank == 0:
            index = next(i for i, item in enumerate(found) if item[0].name == "key")
        column, wide, heading = found[index]
        # A column that can be made narrow enough stays.
        if rank == 0 or wide - over >= column.least:
            found[index] = (column, max(column.least, wide - over), heading)
            break
        del found[index]
    return found


def _total(columns: Sequence[tuple[Column, int, str]]) -> int:
    return sum(wide for _, wide, _ in columns) + GAP * (len(columns) - 1)


def cut(text: str, width: int) -> str:
    """Text in so many characters; what is cut off shows.

    >>> cut("chat/completions", 8), cut("chat", 8)
    ('chat/c..', 'chat')
    """
    return text if len(text) <= width else f"{text[: max(0, width - 2)]}.."[:width]


def table(
    entries: Sequence[Entry],
    words: Words,
    clock: Clock,
    width: int,
    *,
    heading: bool = True,
    steady: bool = False,
) -> list[str]:
    """The requests, one a line. `fitting` says what ``steady`` is."""
    rows = [{n: _ascii(text) for n, text in cells(e, clock).items()} for e in entries]
    columns = fitting(rows, words, width, steady=steady)
    titles = {column.name: title for column, _, title in columns}
    lines = []
    for row in ([titles] if heading else []) + rows:
        parts = []
        for column, wide, _ in columns:
            text = cut(row[column.name], wide)
            parts.append(text.rjust(wide) if column.right else text.ljust(wide))
        lines.append((" " * GAP).join(parts).rstrip())
    return lines


def _ascii(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()


def strips(entries: Sequence[Entry], words: Words, clock: Clock, width: int) -> list[str]:
    """The picture of which key served what."""
    labels = label_width(entries)
    room = max(10, min(width, 100) - labels - 12)
    found = timeline(entries, room)
    if not found.strips:
        return []
    most = max(max(strip.counts) for strip in found.strips)
    lines = wrapped(served_text(found, words, clock), width, "")
    for strip in found.strips:
        drawn = "".join(ASCII_LEVELS[level(n, most, len(ASCII_LEVELS))] for n in strip.counts)
        label = cut(_ascii(safe(strip.label)), labels).ljust(labels)
        lines.append(f"  {label} [{drawn}] {sum(strip.counts)}")
    return lines


def label_width(entries: Sequence[Entry]) -> int:
    """The columns of the picture's names: those of the labels, and of what stands for the rest."""
    labels = {entry.label for entry in entries if entry.label}
    rest = [OTHERS] if len(labels) > MAX_STRIPS else []
    return min(max(map(len, [*labels, *rest]), default=0), 20)


def served_text(shown: Timeline, words: Words, clock: Clock) -> str:
    """What the picture shows: from when to when, and how long a cell is."""
    end = shown.start + shown.step_s * len(shown.strips[0].counts)
    step = words.span(shown.step_s)
    return words("trace.served", start=clock(shown.start), end=clock(end), step=step)


def level(count: int, most: int, levels: int) -> int:
    """Which of the cells stands for a count: the first for none only, the last for the most.

    >>> [level(n, 8, 8) for n in (0, 1, 4, 8)]
    [0, 1, 4, 7]
    """
    if count <= 0 or most <= 0:
        return 0
    return max(1, min(levels - 1, round(count * (levels - 1) / most)))


def confidence_text(entries: Sequence[Entry], words: Words) -> str:
    """The figure of the round robin, in words."""
    sure = confidence(entries)
    if sure.percent is None:
        return words("trace.unsure", count=sure.placements, needed=ENOUGH)
    return words("trace.sure", percent=sure.percent, count=sure.placements)


def summary(
    entries: Sequence[Entry], shown: int, dropped: int, words: Words, width: int
) -> list[str]:
    """What stands below: how many, the figure, and what is missing."""
    lines = [
        words("trace.counts", total=len(entries), shown=shown),
        confidence_text(entries, words),
        *([words("trace.dropped", count=dropped)] if dropped else []),
    ]
    return [part for line in lines for part in wrapped(line, width, "")]
