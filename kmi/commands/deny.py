"""`kmi deny [PATH]`: let a project's `.kmi.toml` not count, and say no more about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi.binding import Record
from kmi.commands.allow import decision
from kmi.errors import EXIT_OK
from kmi.project import chosen, decide, no_binding
from kmi.timezones import utc_text

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="the file or its directory; the nearest by default"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Take back what was allowed; whatever the file says later does not count either."""
    path = chosen(args.path, must_exist=False)
    exists = os.path.lexists(path)
    if app.dry_run:
        app.screen.note(f"would deny {path}")
        app.screen.planned(path=path)
        return EXIT_OK
    # Of a file that is gone nothing has to be remembered.
    record = Record("deny", at=utc_text(app.now())) if exists else None
    with app.store.transaction() as transaction:
        before = decide(app.store, path, record)
        if record is None and before is None:
            raise no_binding(path)
        changed = before is None or record is None or before.decision != "deny"
        app.audit(
            transaction,
            "changed" if changed else "unchanged",
            path=path,
            before=None if before is None else decision(before),
            after=None if record is None else decision(record),
        )
    app.screen.note(f"{path} does not count" if exists else f"{path} is forgotten")
    if app.screen.json:
        app.screen.document({"path": path, "changed": changed})
    return EXIT_OK
