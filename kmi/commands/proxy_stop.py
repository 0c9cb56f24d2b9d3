"""`kmi proxy-stop`: the same as `kmi proxy stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.proxy import configure_force, stop

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_force(parser)


def run(args: argparse.Namespace, app: App) -> int:
    """Do it."""
    return stop(app, force=args.force)
