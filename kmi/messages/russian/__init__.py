"""Russian for sentences that are written in English where they arise: errors, problems, reasons.

Their English goes to JSON and records as it is; `kmi.translation` finds the Russian by the English
with its placeholders, when a person is told. One table per subject, ``{English: Russian}``.
`tests/test_translation.py` looks into the modules where such sentences arise: none may be missing
here, and none may be here that nobody says.
"""

from __future__ import annotations

TABLES = (
    *(
        "choosing",
        "clients",
        "files",
        "keys",
        "plugin",
        "projects",
        "proxy",
        "settings",
        "simulating",
        "states",
    ),
    "upstream",
    "usage",
)


def sentences() -> dict[str, str]:
    """All tables in one."""
    from importlib import import_module

    found: dict[str, str] = {}
    for table in TABLES:
        found.update(import_module(f"kmi.messages.russian.{table}").RUSSIAN)
    return found
