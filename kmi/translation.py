"""English sentences of errors, problems and reasons in Russian (pure).

Such a sentence is written once, in English, where it arises, and goes to JSON and records like
that. For a person its Russian is found here, by the table in `messages.russian`: the sentence is
matched with every English entry that shares its longest words, and the values in it are put into
the Russian one, translated themselves where they are sentences too. What is in no table (words of
the upstream, of the system, of a person) stays as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from kmi.messages.russian import sentences

_FIELD = re.compile(r"\{(\w+)\}")
_UNITS = {"d": "д", "h": "ч", "min": "мин", "s": "с"}  # noqa: RUF001 - Russian
#: Placeholders for one word; the others take anything.
_ONE_WORD = {"client", "count", "label", "wanted"}
#: Placeholders for what has no Russian, though a word of it may look like a status.
_NAMES = {"client", "label", "labels", "name", "path", "wanted"}
#: Sentences in sentences: a reason in an error in a note, and one to spare.
_DEPTH = 5


class _Entry(NamedTuple):
    """One English sentence with placeholders.

    Attributes:
        longest: its longest words, which a text must hold.
        pattern: matches the sentence, with a group for each placeholder.
    """

    longest: str
    pattern: str
    russian: str


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], tuple[_Entry, ...]]:
    """The sentences without placeholders, and the others, those with most words first."""
    plain: dict[str, str] = {}
    entries: list[tuple[int, _Entry]] = []
    for english, russian in sentences().items():
        parts = _FIELD.split(english)
        words, names = parts[::2], parts[1::2]
        if not names:
            plain[english] = russian
            continue
        pattern = re.escape(words[0])
        for name, after in zip(names, words[1:]):
            some = r"\S+?" if name in _ONE_WORD else ".+?"
            pattern += f"(?P<{name}>{some}){re.escape(after)}"
        entry = _Entry(max(words, key=len), pattern, russian)
        entries.append((sum(map(len, words)), entry))
    entries.sort(key=lambda item: -item[0])
    return plain, tuple(entry for _, entry in entries)


def to_russian(text: str) -> str:
    """A sentence in Russian; as it is when no table has it.

    >>> to_russian("/x/a.env:3: the key is a placeholder")
    '/x/a.env:3: вместо ключа заглушка'
    """
    return _found(text, _DEPTH) or text


def _found(text: str, depth: int) -> str | None:
    """The Russian of a sentence, of a list, or of what follows a place; None: there is none."""
    if depth == 0:
        return None
    return _matched(text, depth) or _listed(text, depth) or _after_place(text, depth)


def _matched(text: str, depth: int) -> str | None:
    """The Russian of one whole sentence."""
    plain, entries = _table()
    if text in plain:
        return plain[text]
    for entry in entries:
        match = re.fullmatch(entry.pattern, text, re.DOTALL) if entry.longest in text else None
        if match is not None:
            values = {name: _value(name, item, depth) for name, item in match.groupdict().items()}
            return entry.russian.format(**values)
    return None


def _value(name: str, text: str, depth: int) -> str:
    if name == "span":
        return " ".join(_UNITS.get(word, word) for word in text.split(" "))
    found = None if name in _NAMES else _found(text, depth - 1)
    if found is not None:
        return found
    # "environment: NAME=value", of a setting.
    head, mark, tail = text.partition(": ")
    return f"{_table()[0].get(head, head)}{mark}{tail}" if mark else text


def _listed(text: str, depth: int) -> str | None:
    """``a: why; b: why``."""
    parts = text.split("; ")
    if len(parts) == 1:
        return None
    found = [_found(part, depth - 1) for part in parts]
    if not any(found):
        return None
    return "; ".join(new or old for new, old in zip(found, parts))


def _after_place(text: str, depth: int) -> str | None:
    """``path:line: what``, ``exhausted: why``, and ``path what``."""
    plain, _ = _table()
    for mark in (": ", " "):
        at = text.find(mark)
        while at > 0:
            head, tail = text[:at], text[at + len(mark) :]
            if mark == ": ":
                found = _found(tail, depth - 1)
            else:
                found = _matched(tail, depth - 1) if "/" in head else None
            if found is not None:
                return f"{plain.get(head, head)}: {found}"
            at = text.find(mark, at + 1)
    return None
