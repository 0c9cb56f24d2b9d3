"""Putting a key into a client's config, under the lock: read, edit, compare, replace, remember."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, NamedTuple

from kmi.config_file import (
    ChangedError,
    Snapshot,
    fingerprint,
    replace_config,
    tighten,
    too_open,
)
from kmi.errors import ConfigError, TryLaterError
from kmi.kimi_config import apply_edits
from kmi.state import UNDO_KEPT, Active, Undo

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.kimi_config import Config, Edits
    from kmi.kimi_edits import Credential
    from kmi.model import ApiKey
    from kmi.store import Transaction

#: How often a config that others keep changing is read again before kmi gives up.
ATTEMPTS = 5
#: The pause before the second attempt is twice that, and doubles: an editor is done by then.
PAUSE_S = 0.02
#: Errors of `swap_edits` that a provider of kmi's own cures.
ADOPTABLE = {"no-model", "oauth-login", "not-kimi"}


class Swapped(NamedTuple):
    """What a swap did.

    Attributes:
        changed: whether the config was written.
        before: the label that was active before, or None.
        snapshot: the config as it was read last, before any change.
        raw: its bytes now.
    """

    changed: bool
    before: str | None
    snapshot: Snapshot
    raw: bytes

    def __repr__(self) -> str:
        """Without anything secret."""
        return f"Swapped(changed={self.changed}, before={self.before!r})"


def credential_of(key: ApiKey) -> Credential:
    """What is written for a key.

    Raises:
        ValueError: its program has not been run.
    """
    from kmi.kimi_edits import Credential

    if key.secret is None:
        raise ValueError("the secret is not resolved")
    return Credential(key.secret, key.base_url)


def proposed(snapshot: Snapshot, key: ApiKey, *, adopt: bool) -> tuple[str, bytes]:
    """What the config would be with a key, and the kind of change.

    Raises:
        ConfigError: the config can't take an API key as it is.
    """
    from kmi.kimi_edits import minimal_config

    if snapshot.config is None:
        return "create", minimal_config(credential_of(key)).encode()
    kind, edits = wanted_edits(snapshot.config, key, adopt=adopt)
    return kind, apply_edits(snapshot.config, edits)


def wanted_edits(config: Config, key: ApiKey, *, adopt: bool) -> tuple[str, Edits]:
    """Which fields have to change, and the kind of change.

    Raises:
        ConfigError: the config can't take an API key as it is.
    """
    from kmi.kimi_edits import adopt_edits, swap_edits

    credential = credential_of(key)
    try:
        return "swap", swap_edits(config, credential)
    except ConfigError as error:
        if not adopt or error.code not in ADOPTABLE:
            raise
        return "adopt", adopt_edits(config, credential)


def swap(
    app: App,
    transaction: Transaction,
    client: str,
    key: ApiKey,
    *,
    adopt: bool = False,
    seen: Snapshot | None = None,
) -> Swapped:
    """Make a client's config hold a key, and remember it. The caller saves the state.

    Args:
        app: the world.
        transaction: the lock is held.
        client: whose config.
        key: with its secret.
        adopt: a provider of kmi's own may be added where the config can't take a key.
        seen: the config as it was read under this lock, to spare the first reading.

    Raises:
        ConfigError, RefusedError: the config can't be changed; it is as it was.
        TryLaterError: somebody else keeps changing it.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * 2**attempt)
        snapshot = seen or app.read_config(client)
        seen = None
        kind, raw = proposed(snapshot, key, adopt=adopt)
        before, label = _before(app, transaction, snapshot)
        if raw == snapshot.raw:
            if too_open(snapshot):
                tighten(snapshot)
                _warn(app, f"{snapshot.path} could be read by others; it is 0600 now")
            remember_active(app, transaction, client, key)
            return Swapped(False, label, snapshot, raw)
        try:
            _write(app, transaction, snapshot, kind, raw, (before, key.key_id))
        except ChangedError:
            continue
        remember_active(app, transaction, client, key)
        return Swapped(True, label, snapshot, raw)
    raise TryLaterError(
        f"{client}'s config changed {ATTEMPTS} times while kmi was editing it",
        "close the editor or client that writes it, and try again",
        code="config-busy",
    )


def _before(
    app: App, transaction: Transaction, snapshot: Snapshot
) -> tuple[str | None, str | None]:
    """Id and label of the active key, or of the one that the config had before kmi's first swap."""
    active = transaction.state.active.get(snapshot.client)
    if active is not None:
        return active.key_id, active.label
    live = live_key(snapshot, app.known(transaction.state))
    return (None, None) if live is None else (live.key_id, live.label)


def _write(
    app: App,
    transaction: Transaction,
    snapshot: Snapshot,
    kind: str,
    raw: bytes,
    ids: tuple[str | None, str],
) -> None:
    """Replace the config, with a backup; ``ids`` are those of the key before, and of the new."""
    status = snapshot.status
    if status is not None and status.st_nlink > 1:
        links = status.st_nlink
        _warn(app, f"{snapshot.path} has {links} hard links; the others keep the old content")
    if too_open(snapshot):
        _warn(app, f"{snapshot.path} could be read by others; it is 0600 now")
    now = app.now()
    backup = app.backups.save(snapshot, now, transaction.state.ids_by_command())
    try:
        replace_config(snapshot, raw)
    except ChangedError:
        app.backups.discard(backup)
        raise
    entry = Undo(
        kind=kind,
        at=now,
        backup=backup,
        written=fingerprint(raw),
        from_key=ids[0],
        to_key=ids[1],
    )
    history = transaction.state.undo.setdefault(snapshot.client, [])
    history.append(entry)
    del history[:-UNDO_KEPT]
    app.backups.prune(snapshot.client, {item.backup for item in history})


def _warn(app: App, text: str) -> None:
    app.screen.warn(app.words.sentence(text))


def remember_active(app: App, transaction: Transaction, client: str, key: ApiKey) -> None:
    """Note which key a client's config holds now."""
    state = transaction.state
    current = state.active.get(client)
    if current is None or (current.key_id, current.label) != (key.key_id, key.label):
        state.active[client] = Active(key.key_id, key.label, app.now())
    if key.key_id not in state.keys or state.keys[key.key_id].label != key.label:
        state.keys[key.key_id] = dataclasses.replace(state.key(key.key_id), label=key.label)


def live_key(snapshot: Snapshot, keys: tuple[ApiKey, ...]) -> ApiKey | None:
    """The key that a config really holds, if it is one of these."""
    secret = None if snapshot.config is None else snapshot.config.secret
    if secret is None:
        return None
    from kmi.auth_formats import key_id_of

    key_id = key_id_of(secret)
    return next((key for key in keys if key.key_id == key_id), None)
