"""`.env` text to names and values, with their lines.

Values are data: nothing is expanded, no ``$VAR``, no ``$(…)``, no backticks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# What needs no parser: `NAME=value` of plain characters, comments, blank lines. Importing
# python-dotenv costs twice the start of the interpreter, and most files hold nothing else.
_PLAIN = re.compile(r"(?:([A-Za-z_][A-Za-z0-9_]*)=([A-Za-z0-9._:/@+-]+)|#[^\r]*)?", re.ASCII)


class Binding(NamedTuple):
    """One ``NAME=value`` line. ``value`` is None for a bare name, ``name`` "" for a broken line."""

    name: str
    value: str | None
    line: int


def parse_env(text: str) -> list[Binding]:
    r"""Read `.env` text.

    A line that can't be read becomes a binding without a name, so that nothing is skipped in
    silence. A BOM is ignored.

    >>> parse_env("# keys\nA=1\nexport B='x $A'\n")
    [Binding(name='A', value='1', line=2), Binding(name='B', value='x $A', line=3)]
    """
    text = text.lstrip("\ufeff")
    plain = _parse_plain(text)
    return _parse_any(text) if plain is None else plain


def _parse_plain(text: str) -> list[Binding] | None:
    """The bindings of text that holds only plain lines; None for any other."""
    bindings = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _PLAIN.fullmatch(line)
        if match is None:
            return None
        if match[1] is not None:
            bindings.append(Binding(match[1], match[2], number))
    return bindings


def _parse_any(text: str) -> list[Binding]:
    from io import StringIO

    from dotenv.parser import parse_stream

    bindings = []
    for item in parse_stream(StringIO(text)):
        line = item.original.line + _blank_lines_before(item.original.string)
        if item.error:
            bindings.append(Binding("", None, line))
        elif item.key is not None:
            bindings.append(Binding(item.key, item.value, line))
    return bindings


def _blank_lines_before(original: str) -> int:
    """How many empty lines python-dotenv counted into a binding, before its first character."""
    return original[: len(original) - len(original.lstrip())].replace("\r\n", "\n").count("\n")
