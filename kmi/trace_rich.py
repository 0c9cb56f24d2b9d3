"""`kmi trace` for a terminal: it draws with rich, and imports it late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.output import safe
from kmi.trace import timeline
from kmi.trace_text import (
    GAP,
    cells,
    confidence_text,
    fitting,
    label_width,
    level,
    served_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from kmi.trace import Entry
    from kmi.trace_text import Clock
    from kmi.wording import Words

#: Cells of a strip, from nothing to the most. They differ in height, too, not in colour alone.
LEVELS = "·▁▂▃▄▅▆▇█"
#: Keys get these in the order of their labels.
COLORS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red")


def page(
    entries: Sequence[Entry],
    shown: Sequence[Entry],
    dropped: int,
    words: Words,
    clock: Clock,
    *,
    width: int,
    title: str = "",
) -> RenderableType:
    """The whole page as rich draws it.

    Args:
        entries: all that were read.
        shown: those that are listed.
        dropped: how many are missing.
        words: the language.
        clock: shows moments.
        width: columns of the terminal.
        title: what stands above, or "".
    """
    from rich.console import Group
    from rich.text import Text

    styles = colors(entries)
    parts: list[RenderableType] = [Text(title, style="bold yellow")] if title else []
    if shown:
        parts += [_table(shown, words, clock, styles, width), Text()]
    parts += _strips(entries, words, clock, styles, width)
    counts = words("trace.counts", total=len(entries), shown=len(shown))
    parts.append(Text(counts, style="dim"))
    parts.append(Text(confidence_text(entries, words)))
    if dropped:
        parts.append(Text(words("trace.dropped", count=dropped), style="yellow"))
    return Group(*parts)


def height(entries: Sequence[Entry]) -> int:
    """The lines of a page without those of its table's rows."""
    strips = len(timeline(entries, 1).strips)
    return 6 + strips + (2 if strips else 0)


def colors(entries: Sequence[Entry]) -> dict[str, str]:
    """The colour of each label."""
    labels = sorted({entry.label for entry in entries if entry.label})
    return {label: COLORS[number % len(COLORS)] for number, label in enumerate(labels)}


def _table(
    shown: Sequence[Entry], words: Words, clock: Clock, styles: dict[str, str], width: int
) -> Table:
    from rich.table import Table
    from rich.text import Text

    rows = [cells(entry, clock) for entry in shown]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    columns = fitting(rows, words, width)
    for column, wide, heading in columns:
        table.add_column(
            heading,
            width=wide,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for entry, row in zip(shown, rows):
        look = {**_LOOK, "key": styles.get(entry.label, "dim"), "status": _status(entry)}
        look["verdict"] = "" if entry.verdict == "ok" else "yellow"
        table.add_row(*(Text(row[c.name], style=look.get(c.name, "")) for c, _, _ in columns))
    return table


_LOOK = {"time": "dim", "session": "dim", "tried": "yellow", "tokens": "dim"}


def _status(entry: Entry) -> str:
    if entry.status == 0:
        return "dim"
    return "green" if entry.status < 400 else "yellow" if entry.status < 500 else "bold red"


def _strips(
    entries: Sequence[Entry], words: Words, clock: Clock, styles: dict[str, str], width: int
) -> list[Text]:
    from rich.text import Text

    labels = label_width(entries)
    room = max(10, min(width, 120) - labels - 12)
    found = timeline(entries, room)
    if not found.strips:
        return []
    most = max(max(strip.counts) for strip in found.strips)
    drawn = [Text(served_text(found, words, clock), style="dim")]
    for strip in found.strips:
        style = styles.get(strip.label, "")
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        name = Text(safe(strip.label), style=f"bold {style}".strip())
        name.truncate(labels, overflow="ellipsis", pad=True)
        line.append_text(name).append(" ")
        for count in strip.counts:
            line.append(LEVELS[level(count, most, len(LEVELS))], style=style if count else "dim")
        drawn.append(line.append(f" {sum(strip.counts)}", style="dim"))
    return drawn
