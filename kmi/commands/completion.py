"""`kmi completion SHELL`: the static completion script of a shell, for those without `kmi init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi import shells
from kmi.commands.init import put
from kmi.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", metavar="SHELL", choices=shells.SHELLS, help="the shell")


def run(args: argparse.Namespace, app: App) -> int:
    """Print the script."""
    put(app, lambda: shells.completion_script(args.shell))
    return EXIT_OK
