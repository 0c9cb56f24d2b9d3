"""Writing the hooks and the status line into a client's files, and taking them out, under the lock.

The record comes before the files, and every file is replaced whole: wherever kmi is ended, what was
written is known, and the next `kmi plugin install` or `uninstall` goes on from there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi import shell_files
from kmi.client_args import CLI, CODE
from kmi.config_file import BACKUPS_KEPT
from kmi.errors import ConfigError, RefusedError
from kmi.files import ensure_private_dir, write_atomic
from kmi.plugin import record as plugin_record
from kmi.plugin.files import CONFIG, Change, remove_empty, write
from kmi.plugin.plan import Place, inspect, place_of, to_install, to_uninstall
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.app import App

#: Copies of what was there before, beside the backups of configs: ``backups/plugin-…``.
COPY = "plugin-"


class Done(NamedTuple):
    """What became of one client.

    Attributes:
        before: whether the hooks were installed before.
        changes: all its files, also those that stay as they are.
    """

    place: Place
    before: bool
    changes: Sequence[Change]

    @property
    def changed(self) -> list[Change]:
        """The files that are written or removed."""
        return [change for change in self.changes if change.changes]


def place(app: App, client: str, command: Sequence[str]) -> Place:
    """Where the parts for a client belong."""
    return place_of(client, app.env, app.store.directory, command)


def clients_to_install(app: App, asked: str | None) -> list[str]:
    """The clients that are meant: the one that is named, else all that are set up here."""
    from kmi.paths import client_config, client_home

    named = app.wanted_client(asked)
    if named is not None:
        return [named]
    found = [CODE] if os.path.isdir(client_home(CODE, app.env)) else []
    found += [CLI] if os.path.exists(client_config(CLI, app.env)) else []
    return found or [app.client(None)]


def plan(app: App, where: Place, *, install: bool) -> Done:
    """What would be written; nothing is.

    Raises:
        ConfigError: `KMI_WRITE_CONFIG` forbids it.
        KmiError: a file can't be read, or can't be edited.
    """
    record = _of(plugin_record.load_record(app.store.directory), where.client)
    before = inspect(where).installed
    stamp = utc_text(app.now())
    changes = to_install(where, record, stamp) if install else to_uninstall(where, record)
    done = Done(where, before, changes)
    if not app.settings.write_config and any(c.file.kind == CONFIG for c in done.changed):
        raise ConfigError(
            "KMI_WRITE_CONFIG=0 forbids to write the client's config, which holds its hooks",
            f"unset it ({app.settings.origin('KMI_WRITE_CONFIG')})",
        )
    return done


def perform(app: App, done: Done, *, install: bool) -> None:
    """Write what was planned; the lock must be held since before the plan.

    Raises:
        TryLaterError: a client wrote one of the files meanwhile.
        RefusedError: the system refused.
    """
    client = done.place.client
    clients = plugin_record.load_record(app.store.directory)
    known = _of(clients, client)
    folders: list[str] = []
    if install:
        _save(app, {**clients, client: _record(done, known, folders)})
    for change in done.changed:
        _keep(app, change, client)
        folders += write(change)
    if install:
        _save(app, {**clients, client: _record(done, known, folders)})
        return
    remove_empty(plugin_record.folders_of(known))
    clients.pop(client, None)
    _save(app, clients)
    if client == CODE:
        shell_files.drop_status_line(app)


def _of(clients: Mapping[str, Any], client: str) -> Mapping[str, Any]:
    record = clients.get(client)
    return record if isinstance(record, dict) else {}


def _record(done: Done, known: Mapping[str, Any], folders: Sequence[str]) -> dict[str, Any]:
    return plugin_record.remembered(done.changes, known, folders)


def _save(app: App, clients: Mapping[str, Any]) -> None:
    path = app.store.path(plugin_record.RECORD)
    if clients:
        app.store.write(path, plugin_record.encoded(clients))
    elif os.path.lexists(path):
        os.unlink(path)


def _keep(app: App, change: Change, client: str) -> None:
    """Keep a copy of what a file was.

    Raises:
        RefusedError: the system refused; then the file must not be written.
    """
    file = change.file
    if file.text is None:
        return
    if file.kind == CONFIG:
        state = app.store.read()
        name = app.backups.save(app.read_config(client), app.now(), state.ids_by_command())
        app.backups.prune(client, {name, *(item.backup for item in state.undo.get(client, []))})
        return
    folder = app.store.path("backups")
    stamp = utc_text(app.now()).replace(":", "").replace("-", "")
    name = f"{COPY}{stamp}-{os.urandom(2).hex()}-{os.path.basename(file.path)}"
    try:
        ensure_private_dir(folder)
        write_atomic(os.path.join(folder, name), file.text.encode())
        copies = sorted((n for n in os.listdir(folder) if n.startswith(COPY)), reverse=True)
        for old in copies[BACKUPS_KEPT:]:
            os.unlink(os.path.join(folder, old))
    except OSError as error:
        raise RefusedError(
            f"can't keep a copy in {folder}: {error.strerror}; {file.path} was not changed",
            "check the disk and the state directory",
        ) from None
