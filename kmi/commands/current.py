"""`kmi current`: the active key, as the client's config really has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import EXIT_FAILURE, EXIT_OK
from kmi.settings import CLIENTS
from kmi.situation import look

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")


def run(args: argparse.Namespace, app: App) -> int:
    """Print the label; exit 1 when the config holds no key of kmi's."""
    situation = look(app, app.client(args.client))
    if app.screen.json:
        app.screen.document(
            {
                "client": situation.client,
                "label": situation.label,
                "key_id": situation.key_id,
                "live": situation.live,
                "source": situation.source,
            }
        )
    elif situation.label is not None:
        app.screen.data(situation.label)
    if situation.label is None:
        app.screen.note(f"{situation.explanation} (`kmi use LABEL` swaps a key in)")
        return EXIT_FAILURE
    if situation.explanation:
        app.screen.note(situation.explanation)
    return EXIT_OK
