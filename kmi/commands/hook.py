"""`kmi hook`: what clients call; `kmi plugin install` writes the calls (see `kmi.hooks`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.hooks import events as hooks
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("event", choices=hooks.EVENTS, help="what happened in the client")
    parser.add_argument("--client", choices=CLIENTS, help="in which client")
    parser.add_argument(
        "--wait", action="store_true", help="answer when all is done, not before (for trying)"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Read the event from stdin, and do what it asks for; quietly, and always with success."""
    return hooks.run(hooks.Call(args.event, args.client or "", wait=args.wait), app.env)
