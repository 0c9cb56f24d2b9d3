"""`kmi health` for a terminal: it draws with rich, and imports it late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.health_text import advice_text, filled, gauge_note, key_notes, percent
from kmi.output import safe

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from kmi.overview import Gauge, Overview, Row
    from kmi.wording import Words

#: From this many columns on keys stand in a table, below it one under the other.
WIDE = 112
BAR = 16
_COLORS = {
    "healthy": "green",
    "warn": "yellow",
    "exhausted": "red",
    "blocked": "bold red",
    "disabled": "dim",
    "unknown": "cyan",
}
_MARKS = {
    "healthy": "●",
    "warn": "◐",
    "exhausted": "○",
    "blocked": "✗",
    "disabled": "-",
    "unknown": "?",
}


def console(out: TextIO, *, color: bool, width: int | None = None, record: bool = False) -> Console:
    """Where it is drawn: with boxes and bars, and with colour or without."""
    from rich.console import Console

    return Console(
        file=out,
        width=width,
        record=record,
        force_terminal=True if color else None,
        no_color=not color,
        color_system="auto" if color else None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def page(
    view: Overview, words: Words, show_time: Callable[[float], str], *, width: int, title: str = ""
) -> RenderableType:
    """The whole page as rich draws it."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if title:
        parts.append(Text(title, style="bold yellow"))
    parts.append(_table(view, words) if width >= WIDE else _cards(view, words))
    counts = words("health.counts", total=len(view.rows), usable=view.usable)
    parts.append(Text(counts, style="dim"))
    for advice in view.advice:
        mark, style = ("! ", "yellow") if advice.urgent else ("· ", "dim")
        parts.append(_hanging(mark, safe(advice_text(advice, words, view.now, show_time)), style))
    return Group(*parts)


def _hanging(mark: str, text: str, style: str) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=0)
    grid.add_column(width=len(mark))
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    return grid


def _table(view: Overview, words: Words) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED, border_style="dim", header_style="bold", show_lines=True)
    table.add_column(words("health.key"), min_width=8, max_width=24, overflow="fold")
    table.add_column(words("health.status"), min_width=14, overflow="fold")
    table.add_column(words("health.quota"), no_wrap=True)
    table.add_column(words("health.last-run"), min_width=8, overflow="fold")
    if view.accounts:
        table.add_column(words("health.account"), justify="center")
    for row in view.rows:
        used = words.ago(row.state.last_used, view.now)
        cells: list[RenderableType] = [
            _label(row, words, "\n"),
            _with_reason(row, words, view.now),
            _gauges(row, words, view.now),
            Text(used, style="" if row.state.last_used else "dim"),
        ]
        table.add_row(*cells, *([Text(row.account)] if view.accounts else []))
    return table


def _cards(view: Overview, words: Words) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for row in view.rows:
        parts.append(Text.assemble(_label(row, words, " "), "  ", _status(row, words)))
        reason = _reason(row, words, view.now)
        if reason:
            parts.append(Padding(reason, (0, 0, 0, 2)))
        notes = "; ".join(key_notes(row, words, view.now))
        parts.append(Padding(_gauges(row, words, view.now), (0, 0, 0, 2)))
        parts.append(Padding(Text(notes, style="dim"), (0, 0, 1, 2)))
    return Group(*parts)


def _label(row: Row, words: Words, between: str) -> Text:
    from rich.text import Text

    text = Text.assemble((safe(row.key.label), "bold"))
    if row.active:
        text.append(f"{between}({words('health.active')})", style="cyan")
    return text


def _status(row: Row, words: Words) -> Text:
    from rich.text import Text

    name = row.status.name
    return Text(f"{_MARKS.get(name, '?')} {words.status(name)}", style=_COLORS.get(name, ""))


def _reason(row: Row, words: Words, now: float) -> Text:
    from rich.text import Text

    return Text(safe(words.reason(row.status, row.state, now)), style="dim")


def _with_reason(row: Row, words: Words, now: float) -> Text:
    from rich.text import Text

    status, reason = _status(row, words), _reason(row, words, now)
    return Text.assemble(status, "\n", reason) if reason else status


def _gauges(row: Row, words: Words, now: float) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    if not row.gauges:
        return Text(words("health.unknown-quota"), style="dim")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=5, no_wrap=True)
    grid.add_column(width=BAR)
    grid.add_column(justify="right", min_width=5, no_wrap=True)
    grid.add_column(no_wrap=True)
    for gauge in row.gauges:
        share = "?" if gauge.left is None else percent(gauge.left)
        note = gauge_note(gauge, words, now)
        grid.add_row(
            Text(words.window(gauge.name)), _bar(gauge), Text(share), Text(note, style="dim")
        )
    return grid


def _bar(gauge: Gauge) -> Text:
    from rich.text import Text

    if gauge.left is None:
        return Text("·" * BAR, style="dim")
    color = "green" if gauge.left >= 0.5 else "yellow" if gauge.left >= 0.2 else "red"
    full = filled(gauge.left, BAR)
    # Thick and thin, so that it can be read without colour, too.
    return Text.assemble(("━" * full, color), ("─" * (BAR - full), "dim"))
