"""`kmi kimi ARGS…`: the same as `kmi run -- kimi ARGS…`; every word is the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.run import run

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare that there are no options of our own."""
    parser.usage = "kmi kimi [ARGS...]"
    parser.set_defaults(key=None, strategy=None, client=None, pin=False, adopt=False, dry_run=False)


def parse(args: argparse.Namespace, parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Hand all words on, also ``--help``."""
    args.command = ["kimi", *words]


__all__ = ["configure", "parse", "run"]
