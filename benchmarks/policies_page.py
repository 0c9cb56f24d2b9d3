"""The tables of `docs/explanation/strategies.md`, from the figures of `benchmarks.policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTE = "<!-- Written by `python -m benchmarks.policies`; the text is in `docs/templates`. -->\n\n"
HEAD = (
    "| strategy | of the bound | worst | cache misses | switches | errors | week wasted |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def page(template: str, scenarios: Mapping[str, Any]) -> str:
    """The page: the template with a table for each scenario."""
    tables = "\n".join(table(name, found) for name, found in scenarios.items())
    return NOTE + template.replace("{{tables}}\n", tables)


def table(name: str, found: Mapping[str, Any]) -> str:
    """One scenario; the best figures are bold."""
    seeds = len(found["seeds"])
    days = f"{found['days']:g} days" if found["days"] >= 1 else f"{found['days'] * 24:g} hours"
    lines = [
        f"**{name}**, {found['clients']:,} clients, {days}"
        + (f", means of {seeds} seeds" if seeds > 1 else "")
        + f": {found['requests']:,.0f} requests in {found['sessions']:,.0f} sessions,"
        f" load {found['load']:.2f}; the bound serves {found['bound']:.1%}.\n\n",
        HEAD,
    ]
    rows = found["rows"]
    most = f"{max(row['of_bound'] for row in rows.values()):.1%}"
    least = f"{min(row['misses'] for row in rows.values()):.3f}"
    for strategy, row in rows.items():
        cells = (
            f"`{strategy}`",
            bold(f"{row['of_bound']:.1%}", most),
            f"{row['worst']:.1%}",
            bold(f"{row['misses']:.3f}", least),
            f"{row['switches']:.2f}",
            f"{row['errors']:.2f}",
            f"{row['wasted']:.1%}",
        )
        lines.append("| " + " | ".join(cells) + " |\n")
    return "".join(lines)


def bold(text: str, best: str) -> str:
    """A figure, marked when none is better."""
    return f"**{text}**" if text == best else text
