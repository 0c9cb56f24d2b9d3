"""`.env` text to names and values, with their lines.

Values are data: nothing is expanded, no ``$VAR``, no ``$(…)``, no backticks.
"""

from __future__ import annotations

from io import StringIO
from typing import NamedTuple


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
    from dotenv.parser import parse_stream

    bindings = []
    for item in parse_stream(StringIO(text.lstrip("\ufeff"))):
        line = item.original.line + _blank_lines_before(item.original.string)
        if item.error:
            bindings.append(Binding("", None, line))
        elif item.key is not None:
            bindings.append(Binding(item.key, item.value, line))
    return bindings


def _blank_lines_before(original: str) -> int:
    """How many empty lines python-dotenv counted into a binding, before its first character."""
    return original[: len(original) - len(original.lstrip())].replace("\r\n", "\n").count("\n")
