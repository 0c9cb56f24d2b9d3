"""What kmi says to people, in English and Russian: one table per subject, ``{id: (en, ru)}``.

An id is ``subject.name``, and the subject names the module that holds it, so that a command loads
only its own. `tests/test_messages.py` walks all of them: none may be missing, untranslated, unused,
or have other placeholders in one language. Errors, problems and reasons are written in English
where they arise; their Russian is in `messages.russian`. Pure data; how it is put together is in
`wording`.
"""

from __future__ import annotations

from functools import cache

#: Every subject.
SUBJECTS = (
    *("binding", "check", "doctor", "health", "migrate", "mode", "plugin"),
    *("proxy", "reason"),
    *("rotate", "run", "simulate", "status", "swap", "trace", "unit", "usage", "why"),
)
LOCALES = ("en", "ru")


@cache
def catalogue(subject: str) -> dict[str, tuple[str, str]]:
    """The table of a subject."""
    from importlib import import_module

    table: dict[str, tuple[str, str]] = import_module(f"kmi.messages.{subject}").MESSAGES
    return table


def message(locale: str, name: str) -> str:
    """The text of an id, with its placeholders.

    Raises:
        KeyError: there is no such id.
    """
    texts = catalogue(name.partition(".")[0])[name]
    return texts[LOCALES.index(locale)]
