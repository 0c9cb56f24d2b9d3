"""Findings as text: a line for each subject, and below it what should be put right.

On a terminal with marks and colour, else in ASCII. Cures are not wrapped, so that they can be
pasted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.checks.finding import ERROR, OK, SUBJECTS, WARNING, counts, worst
from kmi.health_text import wrapped
from kmi.output import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.checks.finding import Finding
    from kmi.output import Screen
    from kmi.repairs import Repair
    from kmi.wording import Words

_TITLES = {
    "kmi": "doctor.subject-kmi",
    "settings": "doctor.subject-settings",
    "keys": "doctor.subject-keys",
    "state": "doctor.subject-state",
    "project": "doctor.subject-project",
    "clients": "doctor.subject-clients",
    "files": "doctor.subject-files",
    "shell": "doctor.subject-shell",
    "proxy": "doctor.subject-proxy",
}
_MARKS = {OK: "\u2713", WARNING: "!", ERROR: "\u2717"}
_ASCII = {OK: "ok", WARNING: "!!", ERROR: "XX"}
_COLORS = {OK: "32", WARNING: "33", ERROR: "1;31"}


def report(screen: Screen, words: Words, findings: Sequence[Finding]) -> None:
    """The whole page."""
    marks = _MARKS if screen.boxes else _ASCII
    titles = {subject: words(_TITLES[subject]) for subject in SUBJECTS}
    column = max(map(len, titles.values()))
    for subject in SUBJECTS:
        group = [finding for finding in findings if finding.subject == subject]
        if not group:
            continue
        grave = worst(group)
        mark = screen.style(marks[grave], _COLORS[grave])
        title = screen.style(titles[subject].ljust(column), "1")
        indent = " " * (len(marks[OK]) + column + 3)
        first, *rest = _headline(group, screen.width(), indent, verbose=screen.verbose)
        screen.page(f"{mark} {title}  {first}".rstrip())
        for line in rest:
            screen.page(indent + line)
        for finding in group:
            if finding.severity != OK:
                _tell(screen, words, finding, marks[finding.severity])
    screen.page("")
    screen.page(summary(screen, words, findings))


def _headline(
    group: Sequence[Finding], width: int, indent: str, *, verbose: bool
) -> tuple[str, ...]:
    """What is fine, in short; with ``-v`` all of it, each on a line of its own."""
    fine = [safe(f.what) for f in group if f.severity == OK and (verbose or not f.detail)]
    if verbose:
        return tuple(fine) or ("",)
    lines = wrapped("; ".join(fine), width - len(indent), "")
    return tuple(lines)


def _tell(screen: Screen, words: Words, finding: Finding, mark: str) -> None:
    """One finding that is not fine: where, what, and the cure."""
    color = _COLORS[finding.severity]
    indent = " " * (len(mark) + 3)
    text = where_and_what(words, finding)
    first, *rest = wrapped(safe(text), screen.width() - len(indent), "")
    screen.page(f"  {screen.style(mark, color)} {first}")
    for line in rest:
        screen.page(indent + line)
    if finding.cure:
        arrow = "\u2192" if screen.boxes else "->"
        screen.page(f"{indent}{screen.style(arrow, '36')} {screen.style(safe(finding.cure), '36')}")


def where_and_what(words: Words, finding: Finding) -> str:
    """``path:line: what``; a setting without a file is one of the environment."""
    where = finding.where
    if not where and finding.check == "setting":
        where = words("doctor.environment")
    return f"{where}: {finding.what}" if where else finding.what


def summary(screen: Screen, words: Words, findings: Sequence[Finding]) -> str:
    """The one line that says how it stands."""
    number = counts(findings)
    grave = worst(findings)
    if grave == OK:
        return screen.style(words("doctor.all-fine"), _COLORS[OK])
    fixable = sum(bool(finding.repair) for finding in findings)
    text = words("doctor.summary", errors=number[ERROR], warnings=number[WARNING])
    if fixable:
        text += "; " + words("doctor.fixable", count=fixable)
    return screen.style(text, _COLORS[grave])


def plan(screen: Screen, words: Words, repairs: Sequence[Repair]) -> list[str]:
    """What is going to be done, or would be."""
    lines = [words("doctor.plan")]
    for repair in repairs:
        first, *rest = wrapped(repair.what, screen.width() - 9, "")
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return lines
