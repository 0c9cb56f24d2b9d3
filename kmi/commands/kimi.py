"""`kmi kimi ARGS…`: the same as `kmi run -- kimi ARGS…`; every word is the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.run import run
from kmi.running import RunArgs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare that there are no options of our own."""
    parser.usage = "kmi kimi [ARGS...]"


def parse(words: Sequence[str], parser: Callable[[], argparse.ArgumentParser]) -> RunArgs:
    """Hand all words on, also ``--help``."""
    return RunArgs(["kimi", *words])


__all__ = ["configure", "parse", "run"]
