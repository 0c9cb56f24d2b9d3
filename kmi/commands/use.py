"""`kmi use LABEL`: swap a named key in now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.swapping import swap_now
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("label", metavar="LABEL", help="the key to swap in")
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument("--adopt", action="store_true", help="add a provider beside an OAuth login")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Swap a named key in."""
    app.use_dry_run(args.dry_run)
    app.require_key(args.label)
    return swap_now(app, app.client(args.client), named=args.label, adopt=args.adopt)
