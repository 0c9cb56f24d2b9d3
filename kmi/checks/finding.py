"""What a check finds (pure): one form for the validator, the doctor, JSON and repairs."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.masking import mask_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmi.errors import KmiError
    from kmi.model import Problem
    from kmi.wording import Words

OK, WARNING, ERROR = "ok", "warning", "error"
#: In this order they are shown.
SUBJECTS = ("kmi", "settings", "keys", "state", "project", "clients", "files", "shell", "proxy")

#: Repairs, by the word that a finding carries (see `kmi.repairs`).
PRIVATE, UNSHARED = "private", "unshared"
TEMPORARY, PINS, ASIDE = "temporary", "pins", "aside"
SHELL_FILES, PROXY_RECORD = "shell-files", "proxy-record"
PLUGIN = "plugin"


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: which check; a stable word.
        severity: `OK`, `WARNING` (it should be put right), `ERROR` (something does not work).
        subject: one of `SUBJECTS`.
        what: what is there, or what is wrong with it; no secret.
        path, line: where; "" when it is no file (for settings: the environment).
        cure: a command or an edit that puts it right.
        repair: how `kmi doctor --fix` does; "" when a person has to.
        detail: an `OK` that is told only to those who ask with ``-v``.
    """

    check: str
    severity: str
    subject: str
    what: str
    path: str = ""
    line: int | None = None
    cure: str = ""
    repair: str = ""
    detail: bool = False

    @property
    def where(self) -> str:
        """``path:line``, ``path``, or ""."""
        return self.path if self.line is None else f"{self.path}:{self.line}"


def from_problem(words: Words, problem: Problem, check: str, subject: str) -> Finding:
    """The finding of something that a parser reported."""
    path, line = split_where(problem.where)
    severity = ERROR if problem.fatal else WARNING
    what = mask_text(words.sentence(problem.what))
    return Finding(check, severity, subject, what, path, line, words.sentence(problem.fix))


def from_error(words: Words, error: KmiError, check: str, subject: str, path: str = "") -> Finding:
    """The finding of an error that would have stopped a command.

    Args:
        words: for the person's language.
        error: its message may begin with the place.
        check: as in `Finding`.
        subject: as in `Finding`.
        path: the file it is about, if the message does not say.
    """
    place, _, rest = error.message.partition(": ")
    line = None
    if rest and place.startswith("/") and " " not in place:
        path, line = split_where(place)
    elif place != "environment" or not rest:
        place = path
    # The sentence as a whole, for its place may be a part of it; then without the place.
    what = words.sentence(error.message)
    start = next((start for start in (f"{place}: ", f"{place} ") if what.startswith(start)), "")
    if not start and place == "environment":
        start = what[: what.find(": ") + 2]
    what, cure = mask_text(what[len(start) :]), words.sentence(error.fix or "")
    return Finding(check, ERROR, subject, what, path, line, cure)


def split_where(where: str) -> tuple[str, int | None]:
    """The path and the line of a problem's place; "" for what is no path.

    >>> split_where("/a/b.toml:3"), split_where("environment")
    (('/a/b.toml', 3), ('', None))
    """
    if not where.startswith("/") and not re.match(r"[A-Za-z]:[\\/]", where):
        return "", None
    found = re.fullmatch(r"(?s)(.+):(\d+)", where)
    return (found[1], int(found[2])) if found else (where, None)


def shell(*words: str) -> str:
    """A command line that can be pasted."""
    return shlex.join(words)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """By subject, and within one the gravest first; as they are told, without secrets."""
    rank = {ERROR: 0, WARNING: 1, OK: 2}
    # A label or a name in a file may be a key that somebody pasted into the wrong place.
    told = [finding._replace(what=mask_text(finding.what)) for finding in findings]
    return sorted(told, key=lambda f: (SUBJECTS.index(f.subject), rank[f.severity]))


def worst(findings: Iterable[Finding]) -> str:
    """The gravest severity among findings."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in (ERROR, WARNING) if severity in severities), OK)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings of each severity."""
    return {s: sum(f.severity == s for f in findings) for s in (ERROR, WARNING, OK)}


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The JSON of it: ``{ok, counts, findings}``."""
    return {
        "ok": worst(findings) != ERROR,
        "counts": counts(findings),
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "subject": finding.subject,
                "path": finding.path or None,
                "line": finding.line,
                "what": finding.what,
                "cure": finding.cure or None,
                "fixable": bool(finding.repair),
            }
            for finding in findings
        ],
    }
