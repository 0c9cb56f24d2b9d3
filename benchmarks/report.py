"""The figures of all benchmarks as text, as JSON, and as a table for the docs; nothing is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCHEMA = 1
HEADINGS = ("what", "seen", "target", "", "peers", "how")


class Section(NamedTuple):
    """What one benchmark gave.

    Attributes:
        name: of the benchmark's module.
        title: what its docstring says it measures, in a few words.
        machine: processor, cores, system and Python that it was measured on.
        day: in UTC, as ``2026-01-31``.
        load: the machine's load average of the last minute before it began, 0 on an idle one; None
            where that was not written down.
        took_s: how long measuring took, in seconds; None likewise.
        figures: what was measured.
        unable: why nothing was; empty when something was.
    """

    name: str
    title: str
    machine: Mapping[str, str]
    day: str
    load: float | None
    took_s: float | None
    figures: Sequence[Figure]
    unable: str = ""


def document(sections: Iterable[Section]) -> dict[str, Any]:
    """Sections as JSON values, figures rounded to what is shown of them."""
    return {"schema": SCHEMA, "sections": [_section(section) for section in sections]}


def _section(section: Section) -> dict[str, Any]:
    figures = [
        {
            "what": figure.what,
            "seen": rounded(figure.seen),
            "unit": figure.unit,
            "target": figure.target,
            "met": figure.met,
            "how": figure.how,
            "peers": {name: rounded(seen) for name, seen in figure.peers},
        }
        for figure in section.figures
    ]
    return {**section._asdict(), "machine": dict(section.machine), "figures": figures}


def sections(text: str) -> list[Section]:
    """The inverse of `document`.

    Raises:
        ValueError: the text is of another schema, or is no JSON.
    """
    data = json.loads(text)
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']}, not {SCHEMA}")
    return [
        Section(**{**raw, "figures": [_figure(figure) for figure in raw["figures"]]})
        for raw in data["sections"]
    ]


def _figure(raw: Mapping[str, Any]) -> Figure:
    fields = {name: value for name, value in raw.items() if name not in ("met", "peers")}
    return Figure(**fields, peers=tuple(raw["peers"].items()))


def merged(old: Iterable[Section], new: Iterable[Section]) -> list[Section]:
    """Old sections, each replaced by a new one of its name that measured something.

    >>> a = Section("a", "", {}, "", None, None, ())
    >>> [section.name for section in merged([a], [a._replace(name="b")])]
    ['a', 'b']
    """
    found = {section.name: section for section in old}
    for section in new:
        if not section.unable or section.name not in found:
            found[section.name] = section
    return list(found.values())


def rounded(seen: float) -> float:
    """A figure with three digits, or with all that are before its point.

    >>> rounded(0.17239), rounded(12.345), rounded(115321.7)
    (0.172, 12.3, 115322.0)
    """
    return float(f"{seen:.0f}") if abs(seen) >= 100 else float(f"{seen:.3g}")


def shown(seen: float, unit: str = "") -> str:
    """A figure for people, with its unit.

    >>> shown(2.5, "×"), shown(115321.7), shown(0, "processes")
    ('2.5×', '115,322', '0 processes')
    """
    text = f"{rounded(seen):,.10g}"
    return text + (unit if unit in ("", "×", "%") else f" {unit}")


def cells(figure: Figure) -> tuple[str, ...]:
    """One figure under `HEADINGS`."""
    verdict = {True: "met", False: "missed", None: ""}[figure.met]
    peers = ", ".join(f"{name} {shown(seen)}" for name, seen in figure.peers)
    target = figure.target.removeprefix("== ").replace("<=", "≤").replace(">=", "≥")
    return (figure.what, shown(figure.seen, figure.unit), target, verdict, peers, figure.how)


def text(found: Sequence[Section]) -> str:
    """One table of all figures, and below it on what they were measured."""
    rows = [cells(figure) for section in found for figure in section.figures]
    widths = [max(len(row[at]) for row in [HEADINGS, *rows]) for at in range(len(HEADINGS))]
    lines = [_line(HEADINGS, widths)]
    for section in found:
        lines += ["", section.title]
        lines += [_line(cells(figure), widths) for figure in section.figures]
        if section.unable:
            lines.append(f"not measured: {section.unable}")
    met = [figure.met for section in found for figure in section.figures]
    lines += ["", f"{met.count(True)} targets met, {met.count(False)} missed"]
    return "\n".join([*lines, *machines(found)]) + "\n"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if at in (1, 2) else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths))
    ]
    return "  ".join(aligned).rstrip()


def machines(found: Iterable[Section]) -> list[str]:
    """One sentence for each machine, day and version of Python."""
    sentences: dict[str, list[str]] = {}
    for section in found:
        if section.unable:
            continue
        m = section.machine
        sentence = f"{m['cpu']}, {m['cores']} cores, {m['system']}, Python {m['python']}"
        took = "" if section.took_s is None else f" in {section.took_s:.0f} s"
        load = "" if section.load is None else f" at load {section.load:.1f}"
        sentences.setdefault(f"{sentence}; {section.day}", []).append(section.name + took + load)
    return [f"{sentence}: {', '.join(names)}." for sentence, names in sentences.items()]


def markdown(found: Sequence[Section]) -> str:
    """The same for `docs/explanation/performance.md`."""
    lines = []
    for section in found:
        lines += [f"### {section.title}", ""]
        if section.unable:
            lines += [f"Not measured: {section.unable}.", ""]
            continue
        lines += [
            "| what | seen | target | | peers | how |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += ["| " + " | ".join(cells(figure)) + " |" for figure in section.figures]
        lines.append("")
    return "\n".join([*lines, *machines(found)]) + "\n"
