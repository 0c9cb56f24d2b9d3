"""TAB by argcomplete: `register-python-argcomplete kmi`. Imported only when it asks.

The parser is made from the generated table, for the words on the line only: the real parsers would
import every command. Labels come from the file that kmi keeps for shells.
"""

from __future__ import annotations

import os
import sys

from kmi.quick import read_plain

# `typing` is not imported: it costs half a start of the interpreter.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from typing import Any


def complete() -> None:
    """Answer argcomplete, and end the process."""
    try:
        from argcomplete import autocomplete
    except ImportError:
        sys.exit("kmi: argcomplete is not installed (pip install argcomplete)")
    line = os.environ.get("COMP_LINE", "").split()
    autocomplete(build(line, os.environ), always_complete_options=False)
    sys.exit(0)


def build(line: Iterable[str], env: Mapping[str, str]) -> argparse.ArgumentParser:
    """A parser that knows the commands, and of those on the line everything."""
    import argparse

    from kmi.completion_table import TABLE

    words = set(line)
    top = argparse.ArgumentParser(prog="kmi", add_help=False)
    _fill(top, "", env)
    parsers: dict[str, argparse.ArgumentParser] = {"": top}
    inner: dict[str, Any] = {}
    for path, (_, _, children) in TABLE.items():
        if path not in parsers or not children:
            continue
        inner[path] = parsers[path].add_subparsers(dest=f"command {path}")
        for name, about in children.items():
            child = f"{path} {name}".strip()
            parser = inner[path].add_parser(name, help=about, add_help=False)
            if name in words:
                parsers[child] = parser
                _fill(parser, child, env)
    return top


def _fill(parser: argparse.ArgumentParser, path: str, env: Mapping[str, str]) -> None:
    from argparse import REMAINDER

    from kmi.completion_table import TABLE

    options, words, _ = TABLE[path]
    if path in ("run", "kimi"):
        words = ("PROGRAM",)
    for names, kind, about in options:
        if kind:
            _complete_by(parser.add_argument(*names, help=about), kind, env)
        else:
            parser.add_argument(*names, help=about, action="store_true")
    for number, kind in enumerate(words):
        nargs = REMAINDER if kind == "PROGRAM" else "*" if kind.endswith("+") else None
        _complete_by(parser.add_argument(f"word{number}", nargs=nargs), kind.rstrip("+"), env)


def _complete_by(action: Any, kind: str, env: Mapping[str, str]) -> None:
    if kind in ("LABEL", "BACKUP"):
        read = labels if kind == "LABEL" else backups

        def completer(**_: Any) -> list[str]:
            return read(env)

        action.completer = completer
    elif kind == "FREE":
        from argcomplete.completers import SuppressCompleter

        action.completer = SuppressCompleter()
    elif kind not in ("FILE", "PROGRAM"):
        action.choices = kind.split("|")


def labels(env: Mapping[str, str]) -> list[str]:
    """What the file of labels holds."""
    try:
        return read_plain(os.path.join(_directory(env), "labels"))[0].decode("ascii").split()
    except (OSError, ValueError):
        return []


def backups(env: Mapping[str, str]) -> list[str]:
    """The names of backups of client configs."""
    try:
        names = os.listdir(os.path.join(_directory(env), "backups"))
    except OSError:
        return []
    return sorted(name for name in names if name.startswith("kimi-"))


def _directory(env: Mapping[str, str]) -> str:
    from kmi.light import state_dir

    return state_dir(env) or ""
