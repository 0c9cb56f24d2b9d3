"""`kmi undo`: take the last swap back, or put a whole backup in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.backup_secrets import hidden_ids, revealed
from kmi.config_file import ChangedError, fingerprint, remove_config, replace_config
from kmi.errors import EXIT_OK, ConfigError, KmiError, TryLaterError
from kmi.kimi_config import apply_edits, parse_config
from kmi.kimi_edits import undo_edits
from kmi.masking import config_diff
from kmi.secrets_source import resolve_secret
from kmi.settings import CLIENTS
from kmi.swap import ATTEMPTS, live_key, remember_active

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.config_file import Snapshot
    from kmi.state import State, Undo
    from kmi.store import Transaction


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument("--file", metavar="NAME", help="put this whole backup in place")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Undo, under the lock."""
    app.use_dry_run(args.dry_run)
    client = _client_of(args.file) or app.client(args.client)
    if app.dry_run:
        state = app.store.read()
        entry = None if args.file else _last(state, client)
        snapshot = app.read_config(client)
        raw = _wanted(app, snapshot, entry, args.file, None)
        diff = config_diff(snapshot.raw or b"", raw or b"", snapshot.path)
        app.screen.planned(diff, client=client)
        return EXIT_OK
    secrets = _secrets(app, client, args.file)
    with app.store.transaction() as transaction:
        entry = None if args.file else _last(transaction.state, client)
        for _ in range(ATTEMPTS):
            snapshot = app.read_config(client)
            try:
                raw = _wanted(app, snapshot, entry, args.file, secrets)
                backup = _put(app, snapshot, raw, transaction.state.ids_by_command())
                break
            except ChangedError:
                continue
        else:
            raise TryLaterError(f"{client}'s config keeps changing", "close what writes it")
        changed = entry is not None or raw != snapshot.raw
        _remember(app, transaction, client, entry, changed=changed)
        needed = {item.backup for item in transaction.state.undo.get(client, [])}
        app.backups.prune(client, {*needed, backup})
    what = f"{args.file} is in place" if entry is None else "the last swap is taken back"
    label = _active_label(transaction, client)
    app.screen.note(f"{client}: {what}; it uses {label!r} now" if label else f"{client}: {what}")
    if app.screen.json:
        app.screen.document({"client": client, "label": label, "changed": changed})
    return EXIT_OK


def _client_of(name: str | None) -> str | None:
    return next((client for client in CLIENTS if (name or "").startswith(f"{client}-2")), None)


def _last(state: State, client: str) -> Undo:
    history = state.undo.get(client, [])
    if not history:
        raise KmiError(f"there is no swap of {client} to take back", "see `kmi backups`")
    return history[-1]


def _secrets(app: App, client: str, name: str | None) -> dict[str, str]:
    """What is missing in the backup because a program gives it; run before the lock is taken."""
    state = app.store.read()
    history = state.undo.get(client, [])
    name = name or (history[-1].backup if history else "")
    secrets = {}
    for key_id in hidden_ids(app.backups.read(name)) if name else ():
        current = state.aliases.get(key_id, key_id)
        for key in app.known(state):
            if key.key_id in {key_id, current} and key.command is not None:
                secrets[key_id] = resolve_secret(key, app.env).secret or ""
    return secrets


def _wanted(
    app: App,
    snapshot: Snapshot,
    entry: Undo | None,
    name: str | None,
    secrets: dict[str, str] | None,
) -> bytes | None:
    """What the config is to be; markers stay in it where ``secrets`` is None (a dry run)."""
    if entry is None:
        raw: bytes | None = app.backups.read(name or "")
    else:
        raw = _before(app, snapshot, entry)
    if raw is None or secrets is None:
        return raw
    try:
        return revealed(raw, secrets)
    except KeyError:
        raise KmiError(
            "the key in that backup came from an api_key_command that is gone",
            "swap another key in with `kmi use LABEL`",
        ) from None


def _before(app: App, snapshot: Snapshot, entry: Undo) -> bytes | None:
    """What the config is to be: the very old bytes, or the old fields in what others changed.

    Returns:
        the bytes; None when there was no file.
    """
    untouched = snapshot.raw is not None and fingerprint(snapshot.raw) == entry.written
    if entry.kind == "create":
        if untouched or snapshot.raw is None:  # or gone: an undo was killed before it said so
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


def _put(app: App, snapshot: Snapshot, raw: bytes | None, by_command: set[str]) -> str:
    """Write the config; returns the name of the backup of what it was, "" when there is none."""
    if raw == snapshot.raw:
        return ""
    backup = app.backups.save(snapshot, app.now(), by_command)
    try:
        if raw is None:
            remove_config(snapshot)
        else:
            replace_config(snapshot, raw)
    except ChangedError:
        app.backups.discard(backup)
        raise
    return backup


def _remember(
    app: App, transaction: Transaction, client: str, entry: Undo | None, *, changed: bool
) -> None:
    state = transaction.state
    before = _active_label(transaction, client)
    if entry is not None:
        state.undo[client].remove(entry)
    live = live_key(app.read_config(client), app.known(state))
    if live is None:
        state.active.pop(client, None)
    else:
        remember_active(app, transaction, client, live)
    transaction.save()
    after = _active_label(transaction, client)
    outcome = "changed" if changed else "unchanged"
    app.audit(transaction, outcome, client=client, before=before, after=after)


def _active_label(transaction: Transaction, client: str) -> str | None:
    active = transaction.state.active.get(client)
    return None if active is None else active.label
