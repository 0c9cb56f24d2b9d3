"""`kmi undo`: take the last swap back, or put a whole backup in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.config_file import ChangedError, fingerprint, replace_config
from kmi.errors import EXIT_OK, ConfigError, KmiError, TryLaterError
from kmi.kimi_config import apply_edits, parse_config
from kmi.kimi_edits import undo_edits
from kmi.masking import config_diff
from kmi.settings import CLIENTS
from kmi.swap import ATTEMPTS, live_key, remember_active, write_prompt

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.config_file import Snapshot
    from kmi.state import Undo
    from kmi.store import Transaction


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument("--file", metavar="NAME", help="put this whole backup in place")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Undo, under the lock."""
    app.use_dry_run(args.dry_run)
    app.banner()
    client = _client_of(args.file) or app.client(args.client)
    with app.store.transaction() as transaction:
        entry = None if args.file else _last(transaction, client)
        for _ in range(ATTEMPTS):
            snapshot = app.read_config(client)
            raw = app.backups.read(args.file) if entry is None else _before(app, snapshot, entry)
            if app.dry_run:
                for line in config_diff(snapshot.raw or b"", raw or b"", snapshot.path):
                    app.screen.data(line)
                return EXIT_OK
            try:
                _put(app, snapshot, raw)
                break
            except ChangedError:
                continue
        else:
            raise TryLaterError(f"{client}'s config keeps changing", "close what writes it")
        _remember(app, transaction, client, entry)
    what = f"{args.file} is in place" if entry is None else "the last swap is taken back"
    label = _active_label(transaction, client)
    app.screen.note(f"{client}: {what}; it uses {label!r} now" if label else f"{client}: {what}")
    if app.screen.json:
        app.screen.document({"client": client, "label": label, "changed": True})
    return EXIT_OK


def _client_of(name: str | None) -> str | None:
    return next((client for client in CLIENTS if (name or "").startswith(f"{client}-2")), None)


def _last(transaction: Transaction, client: str) -> Undo:
    history = transaction.state.undo.get(client, [])
    if not history:
        raise KmiError(f"there is no swap of {client} to take back", "see `kmi backups`")
    return history[-1]


def _before(app: App, snapshot: Snapshot, entry: Undo) -> bytes | None:
    """What the config is to be: the very old bytes, or the old fields in what others changed.

    Returns:
        the bytes; None when there was no file.
    """
    untouched = snapshot.raw is not None and fingerprint(snapshot.raw) == entry.written
    if entry.kind == "create":
        if untouched:
            return None
        raise ConfigError(
            f"{snapshot.path} was made by kmi, and changed since; it is not removed",
            "remove it by hand if that is meant",
        )
    old = app.backups.read(entry.backup)
    if untouched:
        return old
    if snapshot.config is None:
        raise ConfigError(f"{snapshot.path} is gone", f"kmi undo --file {entry.backup}")
    before = parse_config(old, name=entry.backup, client=snapshot.client)
    return apply_edits(snapshot.config, undo_edits(snapshot.config, before, entry.kind))


def _put(app: App, snapshot: Snapshot, raw: bytes | None) -> None:
    if raw == snapshot.raw:
        return
    app.backups.save(snapshot, app.now())
    if raw is not None:
        replace_config(snapshot, raw)
        return
    import os

    os.unlink(snapshot.target)


def _remember(app: App, transaction: Transaction, client: str, entry: Undo | None) -> None:
    state = transaction.state
    before = _active_label(transaction, client)
    if entry is not None:
        state.undo[client].remove(entry)
    live = live_key(app.read_config(client), app.known(state))
    if live is None:
        state.active.pop(client, None)
        write_prompt(app, None)
    else:
        remember_active(app, transaction, client, live)
    transaction.save()
    after = _active_label(transaction, client)
    app.audit(transaction, "changed", client=client, before=before, after=after)


def _active_label(transaction: Transaction, client: str) -> str | None:
    active = transaction.state.active.get(client)
    return None if active is None else active.label
