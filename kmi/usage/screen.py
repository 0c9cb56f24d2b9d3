"""`kmi usage` for a terminal: it draws with rich, and imports it late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.usage.report import parts
from kmi.usage.text import GAP, legend, sure_text, table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from kmi.usage.report import Report
    from kmi.usage.text import Names

#: Parts of a bar differ in their shade, too, not in colour alone.
BLOCKS = "█░▓"
STYLES = ("cyan", "blue", "magenta")
_LOOK = {"calls": "dim", **dict(zip(("input", "cached", "output"), STYLES)), "total": "bold"}


def page(found: Report, names: Names, title: str, *, width: int) -> RenderableType:
    """The whole page as rich draws it.

    Args:
        found: what is shown.
        names: how rows are called.
        title: what stands above.
        width: columns of the terminal.
    """
    from rich.console import Group
    from rich.text import Text

    drawn = table(found, names, width, cut=_cut)
    most = max(line.total for line in found.lines)
    rows = [Text(title, style="bold"), Text()]
    rows.append(_cells(drawn.heads, drawn.widths, ["bold"] * len(drawn.heads)))
    for number, (cells, line) in enumerate(drawn.rows):
        is_total = number == len(drawn.rows) - 1
        look = ["bold" if is_total else _LOOK.get(name, "") for name in drawn.columns]
        row = _cells(cells, drawn.widths, look)
        if drawn.bar and not is_total:
            row.append(" " * GAP)
            for sign, count, style in zip(BLOCKS, parts(line, most, drawn.bar), STYLES):
                row.append(sign * count, style=style)
        rows.append(row)
    rows.append(Text())
    if drawn.bar:
        rows.append(Text(legend(names.words, BLOCKS), style="dim"))
    rows.append(Text(sure_text(found, names.words), style="dim"))
    return Group(*rows)


def _cells(cells: tuple[str, ...], widths: tuple[int, ...], look: list[str]) -> Text:
    from rich.text import Text

    row = Text(no_wrap=True, overflow="ellipsis")
    for number, (cell, width, style) in enumerate(zip(cells, widths, look)):
        if number:
            row.append(" " * GAP)
        row.append(cell.rjust(width) if number else cell.ljust(width), style=style)
    return row


def _cut(text: str, width: int) -> str:
    """The end of a path and of an id says more than its beginning."""
    return text if len(text) <= width else "…" + text[len(text) - max(0, width - 1) :]
