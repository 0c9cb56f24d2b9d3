"""`kmi proxy-restart`: the same as `kmi proxy restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.proxy import configure_force, restart

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_force(parser)


def run(args: argparse.Namespace, app: App) -> int:
    """Do it."""
    return restart(app, force=args.force)
