"""`kmi usage` as plain text: for pipes, `--plain`, `TERM=dumb`; and what each column says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmi.output import safe
from kmi.usage.report import parts, shortened, tokens_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmi.usage.report import Line, Report
    from kmi.wording import Words

#: Rows that a terminal shows; JSON has all.
MOST_ROWS = 30
#: Signs of a bar: what no cache had, what a cache had, what was answered.
SIGNS = "#.="
#: Between columns; and the cells of a bar, at least and at most.
GAP, BAR_LEAST, BAR_MOST = 2, 8, 40
_NAME_LEAST = 12
_NUMBERS = ("calls", "input", "cached", "output", "total")
#: What stands above columns.
HEADS = {
    "key": "usage.key",
    "day": "usage.day",
    "project": "usage.project",
    "model": "usage.model",
    "session": "usage.session",
    "calls": "usage.calls",
    "input": "usage.input",
    "cached": "usage.cached",
    "output": "usage.output",
    "total": "usage.total",
}
#: What goes first where there is no room.
_GIVEN_UP = ("calls", "cached", "output", "input")


class Names(NamedTuple):
    """How rows are called.

    Attributes:
        words: the language.
        labels: of key ids.
        home: is shown as ``~``.
    """

    words: Words
    labels: dict[str, str]
    home: str

    def of(self, by: str, name: str) -> str:
        """What a row is called, before it is made safe."""
        if by == "session":
            client, _, session = name.partition("\t")
            return f"{client} {session}" if session else self.words("usage.proxy")
        if not name:
            return self.words("usage.nobody")
        if by == "key":
            return self.labels.get(name, name)
        if by == "project" and self.home and (name + "/").startswith(self.home + "/"):
            return "~" + name[len(self.home) :]
        return name


class Table(NamedTuple):
    """The table as text.

    Attributes:
        columns: what they are: "name" and some of the numbers.
        heads: what stands above them.
        rows: cells of the same columns, and the line that they are of; the total is the last one.
        widths: of the columns.
        bar: cells of the longest bar; 0 where there is no room.
    """

    columns: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], Line], ...]
    widths: tuple[int, ...]
    bar: int


def table(found: Report, names: Names, width: int, *, cut: Callable[[str, int], str]) -> Table:
    """What is drawn, in so many characters; where there is no room the bar goes, then numbers do.

    Args:
        found: the report.
        names: how rows are called.
        width: characters.
        cut: shortens a name.
    """
    words, by = names.words, found.by
    called, lines = _shown_rows(found, names)
    longest = max(map(len, [words(HEADS[by]), *map(safe, called)]))
    columns = {n: (words(HEADS[n]), *(_number(line, n) for line in lines)) for n in _NUMBERS}
    widths = {column: max(map(len, cells)) for column, cells in columns.items()}
    for given_up in _GIVEN_UP:
        room = width - sum(widths.values()) - GAP * len(widths)
        if room >= min(longest, _NAME_LEAST):
            break
        del widths[given_up]
    room = width - sum(widths.values()) - GAP * len(widths)
    bar = min(BAR_MOST, room - GAP - min(longest, max(_NAME_LEAST, 2 * room // 3)))
    bar = bar if bar >= BAR_LEAST else 0
    name = max(1, min(longest, room - (bar + GAP if bar else 0)))
    cells = [
        (cut(safe(text), name), *(columns[column][number] for column in widths))
        for number, text in enumerate([words(HEADS[by]), *called])
    ]
    rows = tuple(zip(cells[1:], lines))
    return Table(("name", *widths), cells[0], rows, (name, *widths.values()), bar)


def _shown_rows(found: Report, names: Names) -> tuple[list[str], list[Line]]:
    """What rows are called, and what they are of; the total is the last one."""
    hidden = len(found.lines) - MOST_ROWS + 1
    rest = names.words("usage.others", count=hidden)
    is_day = found.by == "day"  # of days the last ones are shown, in their order
    lines = shortened(found.lines[::-1] if is_day else found.lines, MOST_ROWS, rest)
    called = [names.of(found.by, line.name) for line in lines]
    if hidden > 1:
        called[-1] = rest
    if is_day:
        lines, called = lines[::-1], called[::-1]
    return [*called, names.words("usage.total")], [*lines, found.total]


def _number(line: Line, name: str) -> str:
    if name == "calls":
        return str(line.calls)
    counts = {"input": line.fresh, "cached": line.cached, "output": line.output}
    return tokens_text(counts.get(name, line.total))


def title(found: Report, words: Words, day: Callable[[float], str], label: str = "") -> str:
    """What stands above."""
    by, until = words(HEADS[found.by]), day(found.until)
    if found.since:
        text = words("usage.title", by=by, since=day(found.since), until=until)
    else:
        text = words("usage.title-all", by=by, until=until)
    return text + _of_key(words, label)


def span(found: Report, words: Words, day: Callable[[float], str], label: str = "") -> str:
    """The same for a page, on which rows are made of everything."""
    until = day(found.until)
    if found.since:
        text = words("usage.page-span", since=day(found.since), until=until)
    else:
        text = words("usage.page-span-all", until=until)
    return text + _of_key(words, label)


def _of_key(words: Words, label: str) -> str:
    return f" ({words('usage.title-key', label=label)})" if label else ""


def sure_text(found: Report, words: Words) -> str:
    """How sure it is which key paid."""
    total = found.total
    return words("usage.sure", exact=total.exact, by_time=total.by_time, unknown=total.unknown)


def legend(words: Words, signs: Sequence[str] = SIGNS) -> str:
    """What the signs of bars are."""
    names = ("input", "cached", "output")
    return "  ".join(f"{sign} {words(HEADS[name])}" for sign, name in zip(signs, names))


def lines(found: Report, names: Names, title: str, width: int, *, plain: bool = False) -> list[str]:
    """The whole page, without anything a terminal could obey; in ASCII if ``plain``."""
    drawn = table(found, names, width, cut=_cut_ascii if plain else _cut)
    most = max(line.total for line in found.lines)
    text = [*_wrapped(title, width), "", _line(drawn.heads, drawn.widths)]
    for number, (cells, line) in enumerate(drawn.rows):
        is_total = number == len(drawn.rows) - 1
        counts = (0, 0, 0) if is_total else parts(line, most, drawn.bar)
        bar = "".join(sign * count for sign, count in zip(SIGNS, counts))
        text.append(f"{_line(cells, drawn.widths)}{' ' * GAP}{bar}".rstrip())
    text.append("")
    if drawn.bar:
        text.append(legend(names.words))
    return text + _wrapped(sure_text(found, names.words), width)


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    from kmi.health_text import wrapped

    return wrapped(text, width, "")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = cells
    shown = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))]
    return (" " * GAP).join(shown).rstrip()


def _cut(text: str, width: int) -> str:
    """The end of a path and of an id says more than its beginning.

    >>> _cut("a/long/path", 8)
    '..g/path'
    """
    return text if len(text) <= width else ".." + text[len(text) - max(0, width - 2) :]


def _cut_ascii(text: str, width: int) -> str:
    return _cut(text.encode("ascii", "backslashreplace").decode(), width)
