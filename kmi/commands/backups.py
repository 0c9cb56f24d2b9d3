"""`kmi backups`: what client configs were before kmi wrote them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK
from kmi.settings import CLIENTS
from kmi.timezones import utc_seconds, utc_text

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="only this client's")


def run(args: argparse.Namespace, app: App) -> int:
    """List them, newest first."""
    clients = [args.client] if args.client else list(CLIENTS)
    state = app.store.read()
    labels = {key_id: key.label for key_id, key in state.keys.items()}
    labels.update({key.key_id: key.label for key in app.known(state)})
    rows: list[dict[str, Any]] = []
    for client in clients:
        made = {item.backup: item for item in state.undo.get(client, [])}
        for name in app.backups.names(client):
            item = made.get(name)
            status = os.stat(os.path.join(app.backups.directory, name))
            rows.append(
                {
                    "name": name,
                    "client": client,
                    "bytes": status.st_size,
                    "at": utc_text(status.st_mtime),
                    "before": None if item is None else item.kind,
                    "key_then": None if item is None else labels.get(item.from_key or ""),
                }
            )
    if app.screen.json:
        app.screen.document({"backups": rows})
        return EXIT_OK
    if not rows:
        app.screen.note("there are no backups yet")
        return EXIT_OK
    table = [
        [r["name"], app.show_time(utc_seconds(r["at"])), f"{r['bytes']} B", r["key_then"] or "-"]
        for r in rows
    ]
    app.screen.table(table, header=["backup (newest first)", "made", "size", "key then"])
    app.screen.note("`kmi undo` puts the credential fields back, `kmi undo --file NAME` all of it")
    return EXIT_OK
