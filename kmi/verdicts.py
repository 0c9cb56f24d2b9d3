"""What one upstream answer says about a key. Pure, and total: no body makes it raise.

The rules are data, in `verdict_table`. Where no status is known (an error event in a stream, a
text from a hook), rules match by their texts alone, and those that hold a key until a person acts
do not match at all: that takes an answer with a status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmi.error_texts import evidence, fold, group_named, read_error, split_status, wait_named
from kmi.verdict_table import (
    KINDS,
    NETWORK,
    NETWORK_WORDS,
    OK,
    REDIRECT,
    RULES,
    UNKNOWN,
    Kind,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.error_texts import ErrorText


@dataclass(frozen=True)
class Verdict:
    """What one answer says.

    Attributes:
        kind: what it means.
        status: the HTTP status, or None.
        text: the upstream's words as evidence: redacted, escaped, at most 200 characters.
        after_s: the seconds that the text asks to wait, or None.
        group: a hash of the organisation that the text names, or None.
        row: the row of upstream.md that matched, or 0.
    """

    kind: Kind
    status: int | None = None
    text: str = ""
    after_s: float | None = None
    group: str | None = None
    row: int = 0

    @property
    def name(self) -> str:
        """The kind's name, such as "quota-5h"."""
        return self.kind.name

    @property
    def fault(self) -> str:
        """Whose fault it is: see `Kind`."""
        return self.kind.fault

    @property
    def scope(self) -> str:
        """What it holds for: see `Kind`."""
        return self.kind.scope

    @property
    def effect(self) -> str:
        """What is to be done: see `Kind`."""
        return self.kind.effect

    @property
    def window(self) -> str | None:
        """The quota window that it claims, or None."""
        return self.kind.window


def classify(
    status: int | None,
    body: str | bytes,
    *,
    oauth: bool = False,
    extra: Sequence[Rule] = (),
    secret: str = "",
) -> Verdict:
    """Say what an answer means.

    Args:
        status: the HTTP status; None when there was no answer at all.
        body: the error body, or an SSE event with an error; only its first 64 KiB count.
        oauth: whether the request carried a login token instead of an API key.
        extra: the user's rules, tried first.
        secret: what the request was sent with, which the evidence must not repeat.

    >>> classify(403, '{"error": {"message": "Weekly (7-day) usage limit reached"}}').name
    'quota-7d'
    """
    error = read_error(body)
    rule = _match(status, error, oauth, extra)
    if rule is not None:
        return _verdict(rule.kind, status, error, rule.row, secret)
    if status is None:
        return _verdict(NETWORK, status, error, 23, secret)
    if 200 <= status < 300 and not error.found:
        return Verdict(OK, status)
    kind = REDIRECT if 300 <= status < 400 else UNKNOWN
    return _verdict(kind, status, error, secret=secret)


def classify_text(text: str, *, extra: Sequence[Rule] = ()) -> Verdict:
    """Say what a client's error text means, such as hooks hand over.

    The status is taken from ``Error code: 403 - {…}``, ``provider.auth_error: 403 …`` or
    ``403 …`` (upstream.md). Kimi Code labels every 403 "auth_error", so the label is ignored.
    """
    status, rest = split_status(text)
    error = read_error(rest)
    rule = _match(status, error, False, extra)
    if rule is not None:
        return _verdict(rule.kind, status, error, rule.row)
    words = fold(text[:4096])
    lost = any(word in words for word in NETWORK_WORDS)
    return _verdict(NETWORK if lost else UNKNOWN, status, error, 23 if lost else 0)


def _match(status: int | None, error: ErrorText, oauth: bool, extra: Sequence[Rule]) -> Rule | None:
    known = status is not None and 400 <= status < 600
    if not (known or status is None or (200 <= status < 300 and error.found)):
        return None  # a good answer may quote any of these words
    message = fold(error.message)
    for rule in (*extra, *RULES):
        if rule.oauth and not oauth:
            continue
        if known and rule.statuses and status not in rule.statuses:
            continue
        texts = bool(rule.needles or rule.types)
        if not known and (not texts or rule.kind.hold == "hand"):
            continue
        if not texts or _says(rule, message, error.kind):
            return rule
    return None


def _says(rule: Rule, message: str, kind: str) -> bool:
    return any(needle in message for needle in rule.needles) or any(
        word in kind for word in rule.types
    )


def _verdict(
    kind: Kind, status: int | None, error: ErrorText, row: int = 0, secret: str = ""
) -> Verdict:
    words = fold(error.message)
    group = group_named(error.message)
    return Verdict(kind, status, evidence(error.shown, secret), wait_named(words), group, row)


_FIELDS = ("verdict", "status", "contains", "type")


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read the user's patterns: ``patterns.toml`` in the state directory.

    ::

        [[pattern]]
        verdict = "quota-5h"                  # one of `KINDS`; gives effect, scope and time
        status = [403, 429]                   # optional; without it, any error status
        contains = ["five-hour allowance"]    # words in the message, any case, any apostrophe
        type = ["allowance_error"]            # or words in the error's type or code

    A pattern needs ``contains`` or ``type``, so that none can swallow every answer.

    Raises:
        ValueError: naming the entry (counted from 1) and what is allowed.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise ValueError(f"is not TOML: {evidence(str(error))}") from None
    unknown = sorted(set(document) - {"pattern"})
    if unknown:
        raise ValueError(f"has '{evidence(unknown[0])}'; allowed are [[pattern]] entries only")
    entries = document.get("pattern", [])
    if not isinstance(entries, list):
        raise ValueError("has [pattern]; an entry begins with [[pattern]]")
    return tuple(_rule(f"[[pattern]] {n}", entry) for n, entry in enumerate(entries, start=1))


def _rule(where: str, entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not a table")
    unknown = sorted(set(entry) - set(_FIELDS))
    if unknown:
        allowed = ", ".join(_FIELDS)
        raise ValueError(f"{where} has '{evidence(unknown[0])}'; allowed: {allowed}")
    name = entry.get("verdict")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"{where} needs a verdict: one of {', '.join(sorted(KINDS))}")
    needles = tuple(fold(word) for word in _words(where, entry, "contains"))
    types = tuple(word.lower() for word in _words(where, entry, "type"))
    if not needles and not types:
        raise ValueError(f"{where} needs words in contains or type")
    return Rule(0, kind, _statuses(where, entry.get("status", [])), needles, types)


def _words(where: str, entry: dict[str, object], name: str) -> list[str]:
    value = entry.get(name, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(w, str) and fold(w) for w in words):
        raise ValueError(f"{where}: {name} must be a list of words, none of them empty")
    return words


def _statuses(where: str, value: object) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) is int and 400 <= number < 600 for number in numbers):
        raise ValueError(f"{where}: status must be a list of numbers from 400 to 599")
    return tuple(numbers)


__all__ = ["KINDS", "RULES", "Kind", "Rule", "Verdict", "classify", "classify_text", "parse_rules"]
