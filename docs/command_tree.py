"""The commands as data, from the parsers: what completions, the man page and argcomplete show."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from kmi.cli import COMMANDS, build_parser

#: What a placeholder stands for. Values of another name can't be guessed.
KINDS = {"LABEL": "LABEL", "FILE": "FILE", "DIR": "DIR", "PATH": "FILE"}
#: Where the placeholder misleads: labels that must be new; names of backups.
EXCEPTIONS = {
    ("keys add", "LABEL"): "FREE",
    ("keys import", "LABEL"): "FREE",
    ("undo", "NAME"): "BACKUP",
}
#: Commands whose words belong to another program from the first one on.
COMMAND_WORDS = ("run", "kimi")
GLOBAL_OPTIONS = (
    ("--json", "one JSON document on stdout"),
    ("--plain", "ASCII only, no colour"),
    ("--no-color", "no colour"),
    ("--quiet", "no notes"),
    ("--verbose", "details"),
    ("--help", "show help"),
)


class Option(NamedTuple):
    """An option of a command.

    Attributes:
        kind: "" for a flag, a word of `KINDS`, "FREE", "BACKUP", or choices joined by ``|``.
        value: its placeholder.
    """

    names: tuple[str, ...]
    help: str
    kind: str = ""
    value: str = ""


class Node(NamedTuple):
    """A command, or an action of one.

    Attributes:
        path: how it is called, without ``kmi``; "" for kmi itself.
        words: the kinds of its arguments in order; a last one with ``+`` repeats.
    """

    path: str
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    children: dict[str, str]


def tree() -> dict[str, Node]:
    """Every command and action by its path, in the order of the table."""
    top = tuple(Option((name,), about) for name, about in GLOBAL_OPTIONS)
    version = Option(("--version",), "the version, and where it runs from")
    names = {name: command.help for name, command in COMMANDS.items()}
    nodes = {"": Node("", "", (*top, version), (), names)}
    for name in COMMANDS:
        _add(nodes, name, build_parser(name), COMMANDS[name].help, top)
    return nodes


def _add(
    nodes: dict[str, Node],
    path: str,
    parser: argparse.ArgumentParser,
    about: str,
    top: tuple[Option, ...],
) -> None:
    options: list[Option] = []
    words: list[str] = []
    children: dict[str, str] = {}
    inner: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - no public name
            inner = dict(action.choices)
            for choice in action._choices_actions:  # noqa: SLF001 - no public name
                children[choice.dest] = choice.help or ""
        elif action.option_strings:
            if action.dest != "help" and action.help != argparse.SUPPRESS:
                kind = "" if action.nargs == 0 else _kind(path, action)
                value = "" if action.nargs == 0 else placeholder(action)
                options.append(Option(tuple(action.option_strings), action.help or "", kind, value))
        else:
            words.append(_kind(path, action) + ("+" if action.nargs in ("*", "+") else ""))
    if path not in COMMAND_WORDS:
        known = {name for option in options for name in option.names}
        options += [option for option in top if not known.intersection(option.names)]
    nodes[path] = Node(path, about, tuple(options), tuple(words), children)
    for name, child in inner.items():
        _add(nodes, f"{path} {name}", child, children.get(name, ""), top)


def placeholder(action: argparse.Action) -> str:
    """What help shows for a value."""
    if action.choices:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _kind(path: str, action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    name = placeholder(action)
    return EXCEPTIONS.get((path, name)) or KINDS.get(name, "FREE")
