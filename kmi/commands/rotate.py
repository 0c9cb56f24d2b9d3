"""`kmi rotate`: swap the best key in now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.swapping import swap_now
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument("--adopt", action="store_true", help="add a provider beside an OAuth login")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Swap the best key in; where several tie, the next of them."""
    app.use_dry_run(args.dry_run)
    app.banner()
    app.require_keys()
    return swap_now(app, app.client(args.client), named=None, adopt=args.adopt)
