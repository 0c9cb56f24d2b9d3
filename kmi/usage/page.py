"""`kmi usage --html`: one page that needs nothing else, and can do nothing (pure).

No script, no font, no picture is loaded, and its policy allows none; charts are SVG within it.
"""

from __future__ import annotations

import datetime
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from kmi.output import safe
from kmi.usage.report import parts, shortened, tokens_text
from kmi.usage.text import HEADS, sure_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmi.usage.report import Line, Report
    from kmi.usage.text import Names

#: By which a page is known as kmi's own, and may be replaced.
MARK = '<meta name="generator" content="kmi usage">'
#: Rows of a table; JSON has all.
MOST_ROWS = 100
#: Keys with a colour of their own; the others share one.
COLORS = 6
#: Bars that can be told from each other; with more days they stand for weeks or months.
MOST_BARS = 120
#: The colours of what no cache had, what a cache had, what was answered.
_PARTS = (0, 4, 1)
_WIDE, _HIGH, _TOP, _FOOT = 1000, 260, 26, 22

STYLE = """
:root { --bg: #f7f7f5; --card: #fff; --line: #8a8f98; --soft: #e3e5e8; --text: #1b1f24;
  --dim: #555c66; --focus: #0b57b7; --k0: #0f6e84; --k1: #9c3587; --k2: #2b7a2f; --k3: #8a5a00;
  --k4: #3d5bc4; --k5: #b3402f; --k6: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --card: #1d2127; --line: #79818d;
  --soft: #343a43; --text: #e8eaed; --dim: #a9b1bc; --focus: #8ab8ff; --k0: #5cc8dd;
  --k1: #e08bd0; --k2: #7ed083; --k3: #e5b45a; --k4: #98aefc; --k5: #ff9d8c; --k6: #9aa3af; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif; }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: .75rem 1rem; }
h1 { font-size: 1.35rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.dim, figcaption { color: var(--dim); font-size: .9rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; }
a { color: var(--focus); }
nav a { margin-right: 1rem; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 1px; }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.tiles div, figure, .scroll { background: var(--card); border: 1px solid var(--soft);
  border-radius: .5rem; }
.tiles div { padding: .6rem; }
.tiles b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
figure { margin: 0; padding: .75rem; }
.plot { overflow-x: auto; }
.plot svg { width: 100%; min-width: 36rem; height: auto; display: block; }
svg text { fill: var(--dim); font-size: 13px; }
.tip { visibility: hidden; fill: var(--text); }
.bar:hover .tip, .bar:focus .tip { visibility: visible; }
.bar:focus { outline: none; }
.bar:focus .hit { stroke: var(--focus); stroke-width: 3; }
.hit { fill: transparent; }
.bar:hover .hit { fill: var(--soft); opacity: .5; }
.axis { stroke: var(--line); }
.k0 { fill: var(--k0); } .k1 { fill: var(--k1); } .k2 { fill: var(--k2); } .k3 { fill: var(--k3); }
.k4 { fill: var(--k4); } .k5 { fill: var(--k5); } .k6 { fill: var(--k6); }
ul { list-style: none; margin: .5rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .25rem 1rem; }
.square { width: .8rem; height: .8rem; display: inline-block; margin-right: .35rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--soft);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
td svg { width: 10rem; height: .8rem; display: block; }
@media print { body { background: #fff; } .skip, nav { display: none; } }
"""


class Page(NamedTuple):
    """What a page shows.

    Attributes:
        reports: one of each kind, in the order in which they stand.
        days: for each day with calls, the tokens of each key id.
        title: what of which time.
        made: when it was made, for people.
    """

    reports: Sequence[Report]
    days: Mapping[str, Mapping[str, int]]
    title: str
    made: str


def render(page: Page, names: Names) -> str:
    """The HTML."""
    words = names.words
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    total = page.reports[0].total
    tiles = [
        (words(HEADS[name]), text)
        for name, text in zip(
            ("total", "input", "cached", "output", "calls"),
            [
                *map(tokens_text, (total.total, total.fresh, total.cached, total.output)),
                str(total.calls),
            ],
        )
    ]
    links = "".join(f'<a href="#by-{found.by}">{_by(found, names)}</a>' for found in page.reports)
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{words.locale}">',
            "<head>",
            '<meta charset="utf-8">',
            MARK,
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(words('usage.page-title'))}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f'<a class="skip" href="#figures">{_text(words("usage.page-skip"))}</a>',
            f"<header><h1>{_text(words('usage.page-title'))}</h1><p>{_text(page.title)}</p>"
            f"<nav>{links}</nav></header>",
            '<main id="figures">',
            '<div class="tiles">',
            *(
                f"<div>{_square(color)}{_text(name)}<b>{_text(text)}</b></div>"
                for (name, text), color in zip(tiles, (None, *_PARTS, None))
            ),
            "</div>",
            f'<p class="dim">{_text(sure_text(page.reports[0], words))}</p>',
            *_chart(page, names),
            *(line for found in page.reports for line in _table(found, names)),
            "</main>",
            f'<footer class="dim">{_text(words("usage.page-made", time=page.made))}</footer>',
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(text: str) -> str:
    return escape(safe(text))


def _by(found: Report, names: Names) -> str:
    return _text(names.words("usage.page-by", by=names.words(HEADS[found.by])))


# The chart.


def _chart(page: Page, names: Names) -> list[str]:
    """Tokens by day and key, as stacked bars."""
    keys = _ranked(page.days.values())
    bins = binned(page.days)
    most = max((sum(by_key.values()) for _, by_key in bins), default=0)
    words = names.words
    title = _text(words("usage.page-days"))
    if not most:
        return []
    step = _WIDE / len(bins)
    bars = [
        bar
        for number, (name, by_key) in enumerate(bins)
        for bar in _bar(name, by_key, number * step, step, most, keys, names)
    ]
    marks = _marks([name for name, _ in bins], step)
    shown = [names.of("key", key) for key in keys[:COLORS]]
    if len(keys) > COLORS:
        shown.append(words("usage.others", count=len(keys) - COLORS))
    items = "".join(f"<li>{_square(number)}{_text(name)}</li>" for number, name in enumerate(shown))
    high = _TOP + _HIGH
    return [
        f"<h2>{title}</h2>",
        f'<figure><div class="plot"><svg viewBox="0 0 {_WIDE} {high + _FOOT}" role="group"'
        f' aria-label="{title}">',
        *bars,
        f'<line class="axis" x1="0" x2="{_WIDE}" y1="{high}" y2="{high}"/>',
        *marks,
        f"</svg></div><ul>{items}</ul>",
        f"<figcaption>{_text(words('usage.page-hint'))}</figcaption></figure>",
    ]


def _square(color: int | None) -> str:
    if color is None:
        return ""
    rect = f'<rect class="k{color}" width="1" height="1"/>'
    return f'<svg class="square" viewBox="0 0 1 1" aria-hidden="true">{rect}</svg>'


def _ranked(days: Iterable[Mapping[str, int]]) -> list[str]:
    """Every key id, the one that paid most first."""
    sums: dict[str, int] = {}
    for by_key in days:
        for key, count in by_key.items():
            sums[key] = sums.get(key, 0) + count
    return sorted(sums, key=lambda key: (-sums[key], key))


def binned(days: Mapping[str, Mapping[str, int]]) -> list[tuple[str, dict[str, int]]]:
    """Days in a row, also those without calls; weeks or months where days would be too many.

    >>> [name for name, _ in binned({"2026-01-30": {"a": 1}, "2026-02-01": {"a": 2}})]
    ['2026-01-30', '2026-01-31', '2026-02-01']
    """
    if not days:
        return []
    first, last = (datetime.date.fromisoformat(edge(days)) for edge in (min, max))
    length = (last - first).days + 1
    found: dict[str, dict[str, int]] = {}
    for number in range(length):
        day = first + datetime.timedelta(days=number)
        name = day.isoformat()
        sums = found.setdefault(_bin(day, length), {})
        for key, count in days.get(name, {}).items():
            sums[key] = sums.get(key, 0) + count
    return list(found.items())


def _bin(day: datetime.date, length: int) -> str:
    if length <= MOST_BARS:
        return day.isoformat()
    if length <= 7 * MOST_BARS:
        return (day - datetime.timedelta(days=day.weekday())).isoformat()
    return day.strftime("%Y-%m")


def _bar(
    name: str,
    by_key: Mapping[str, int],
    left: float,
    step: float,
    most: int,
    keys: Sequence[str],
    names: Names,
) -> list[str]:
    """One bar: it can be reached by keyboard, and says its figures then."""
    total = sum(by_key.values())
    ordered = [key for key in keys if by_key.get(key)]
    told = ", ".join(
        f"{names.of('key', key)} {tokens_text(by_key[key])}" for key in ordered[:COLORS]
    )
    label = f"{name}: {tokens_text(total)}" + (f" ({told})" if told else "")
    bottom = float(_TOP + _HIGH)
    made = [
        f'<g class="bar" tabindex="0" role="img" aria-label="{_text(label)}">',
        f'<rect class="hit" x="{left:.2f}" y="{_TOP}" width="{step:.2f}" height="{_HIGH}"/>',
    ]
    for key in ordered:
        high = _HIGH * by_key[key] / most
        bottom -= high
        color = min(keys.index(key), COLORS)
        made.append(
            f'<rect class="k{color}" x="{left + step * 0.1:.2f}" y="{bottom:.2f}"'
            f' width="{step * 0.8:.2f}" height="{high:.2f}"/>'
        )
    middle = left + step / 2
    anchor = "start" if middle < _WIDE / 4 else "end" if middle > 3 * _WIDE / 4 else "middle"
    x = {"start": left, "middle": middle, "end": left + step}[anchor]
    made.append(
        f'<text class="tip" x="{x:.2f}" y="16" text-anchor="{anchor}">{_text(label)}</text></g>'
    )
    return made


def _marks(names: Sequence[str], step: float) -> list[str]:
    """The dates below the axis, as many as can be read."""
    every = max(1, -(-len(names) // 8))
    high = _TOP + _HIGH + 16
    return [
        f'<text x="{number * step + step / 2:.2f}" y="{high}" text-anchor="'
        f'{"start" if not number and step < 80 else "middle"}">{_text(names[number])}</text>'
        for number in range(0, len(names), every)
        if len(names) - number > every / 2 or not number
    ]


# Tables.


def _table(found: Report, names: Names) -> list[str]:
    words = names.words
    heads = [words(HEADS[name]) for name in ("calls", "input", "cached", "output", "total")]
    hidden = len(found.lines) - MOST_ROWS + 1
    rest = words("usage.others", count=hidden)
    lines = found.lines[::-1] if found.by == "day" else found.lines
    lines = tuple(shortened(lines, MOST_ROWS, rest))
    most = max((line.total for line in lines), default=0)
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    called = [names.of(found.by, line.name) for line in lines]
    if hidden > 1:
        called[-1] = rest
    rows = [
        f'<tr><th scope="row">{_text(name)}</th>{_figures(line)}<td>{_share(line, most)}</td></tr>'
        for name, line in zip(called, lines)
    ]
    return [
        f'<h2 id="by-{found.by}">{_by(found, names)}</h2>',
        '<div class="scroll" tabindex="0"><table>',
        f'<thead><tr><th scope="col">{_text(words(HEADS[found.by]))}</th>{head}'
        f'<th scope="col">{_text(words("usage.page-share"))}</th></tr></thead>',
        "<tbody>",
        *rows,
        f'</tbody><tfoot><tr><th scope="row">{_text(words("usage.total"))}</th>'
        f"{_figures(found.total)}<td></td></tr></tfoot></table></div>",
    ]


def _figures(line: Line) -> str:
    counts = (line.fresh, line.cached, line.output, line.total)
    return f"<td>{line.calls}</td>" + "".join(f"<td>{_text(tokens_text(c))}</td>" for c in counts)


def _share(line: Line, most: int) -> str:
    """The bar of a row: what no cache had, what a cache had, what was answered."""
    left, drawn = 0, []
    for number, wide in enumerate(parts(line, most, 200)):
        drawn.append(f'<rect class="k{_PARTS[number]}" x="{left}" width="{wide}" height="16"/>')
        left += wide
    box = '<svg viewBox="0 0 200 16" preserveAspectRatio="none" aria-hidden="true">'
    return f"{box}{''.join(drawn)}</svg>"
