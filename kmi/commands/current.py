"""`kmi current`: the active key, as the client's config really has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import EXIT_FAILURE, EXIT_OK
from kmi.health import left, status_of
from kmi.settings import CLIENTS
from kmi.situation import look

if TYPE_CHECKING:
    import argparse

    from kmi.app import App

#: Statuses of keys that a run would not get.
OUT = {"blocked", "exhausted", "disabled"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")


def run(args: argparse.Namespace, app: App) -> int:
    """Print the label; exit 1 when the config holds no key of kmi's."""
    situation = look(app, app.client(args.client))
    words, now = app.words, app.now()
    key = next((key for key in situation.keys if key.key_id == situation.key_id), None)
    state = situation.state.key(situation.key_id or "")
    status = None if key is None else status_of(key, state, now)
    share = left(state, now)
    if app.screen.json:
        app.screen.document(
            {
                "client": situation.client,
                "label": situation.label,
                "key_id": situation.key_id,
                "live": situation.live,
                "source": situation.source,
                "status": None if status is None else status.name,
                "reason": None if status is None else status.reason,
                "left": None if status is None or share is None else round(share, 4),
            }
        )
    elif situation.label is not None:
        app.screen.data(situation.label)
    if situation.label is None:
        hint = "status.adopt-hint" if situation.live == "login" else "status.swap-hint"
        app.screen.note(f"{situation.explanation} {words(hint)}")
        return EXIT_FAILURE
    if situation.explanation:
        app.screen.note(situation.explanation)
    if status is not None and status.name in OUT:
        reason = words.reason(status, state, now)
        app.screen.note(f"{situation.label}: {words.status(status.name)}: {reason}")
    return EXIT_OK
