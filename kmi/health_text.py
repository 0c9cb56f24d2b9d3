"""`kmi health` as plain text: for pipes, `--plain`, `TERM=dumb`; it fits 60 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kmi.output import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmi.overview import Advice, Gauge, Overview, Row
    from kmi.wording import Words

BAR = 16
WIDTH = 60


def bar(share: float, width: int = BAR) -> str:
    """A bar of ASCII; anything left shows, and so does anything used.

    >>> bar(0.5, 4), bar(0.001, 4), bar(0.999, 4)
    ('##--', '#---', '###-')
    """
    return "#" * filled(share, width) + "-" * (width - filled(share, width))


def filled(share: float, width: int) -> int:
    """How many cells of a bar are full."""
    cells = math.floor(share * width + 0.5)
    if 0.0 < share < 1.0:
        cells = min(max(cells, 1), width - 1)
    return min(max(cells, 0), width)


def percent(share: float) -> str:
    """A share as people read it; never 0 or 100 % for what is not quite that.

    >>> percent(0.999), percent(0.004), percent(0.5)
    ('99 %', '1 %', '50 %')
    """
    whole = math.floor(round(share * 100, 4))
    return f"{1 if whole == 0 and share > 0.0 else whole} %"


def advice_text(advice: Advice, words: Words, now: float, show_time: Callable[[float], str]) -> str:
    """The sentence of an advice."""
    values = dict(advice.values)
    if "error" in values:
        values["error"] = words.sentence(values["error"])
    if advice.at is not None:
        past = advice.at <= now
        values["when"] = words.ago(advice.at, now) if past else words.ahead(advice.at, now)
        values["time"] = show_time(advice.at)
    return words(advice.name, **values)


def gauge_note(gauge: Gauge, words: Words, now: float) -> str:
    """What stands behind a bar."""
    if gauge.left is None:
        return words("health.stale")
    if gauge.resets_at is None:
        return ""
    return words("health.resets-in", span=words.span(gauge.resets_at - now))


def key_notes(row: Row, words: Words, now: float) -> list[str]:
    """When it was used and its quota read, and its account."""
    notes = [words("health.ran", when=words.ago(row.state.last_used, now))]
    if row.state.usage_at is not None:
        notes.append(words("health.read", when=words.ago(row.state.usage_at, now)))
    if row.account:
        notes.append(words("health.account-is", name=row.account))
    return notes


def lines(
    view: Overview, words: Words, show_time: Callable[[float], str], width: int = WIDTH
) -> list[str]:
    """The whole page, without anything a terminal could obey."""
    found: list[str] = []
    for row in view.rows:
        mark = "* " if row.active else "  "
        found.append(f"{mark}{safe(row.key.label)}  {words.status(row.status.name)}")
        reason = words.reason(row.status, row.state, view.now)
        if reason:
            found += wrapped(safe(reason), width, "    ")
        for gauge in row.gauges:
            share = "?" if gauge.left is None else percent(gauge.left)
            drawn = " " * BAR if gauge.left is None else bar(gauge.left)
            note = gauge_note(gauge, words, view.now)
            name = words.window(gauge.name)
            found.append(f"    {name:<6} [{drawn}] {share:>5}  {note}".rstrip())
        found += wrapped("; ".join(key_notes(row, words, view.now)), width, "    ")
        found.append("")
    found.append(words("health.counts", total=len(view.rows), usable=view.usable))
    for advice in view.advice:
        mark = "! " if advice.urgent else "- "
        text = safe(advice_text(advice, words, view.now, show_time))
        first, *rest = wrapped(text, width, "  ")
        found += [mark + first[2:], *rest]
    return found


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Text in lines of at most this width."""
    import textwrap

    return textwrap.wrap(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent]
