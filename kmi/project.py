"""The `.kmi.toml` files above a directory, and what the person decided about them, on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi.binding import (
    LIMIT_BYTES,
    NAME,
    SCHEMA,
    Found,
    Project,
    Record,
    Trust,
    decode,
    encode,
    settle,
    with_record,
    with_reported,
)
from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.files import read_regular
from kmi.state import SchemaError
from kmi.store import STATE_LIMIT_BYTES

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.store import Store

#: Below the state directory.
TRUST_FILE = "bindings.json"


def working_directory() -> str:
    """Where kmi was started, without links; "" when it does not exist any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def files_above(folder: str) -> list[str]:
    """Every `.kmi.toml` in a directory and those above it, nearest first."""
    found = []
    while folder:
        path = os.path.join(folder, NAME)
        try:
            os.lstat(path)
        except FileNotFoundError:
            pass
        except OSError:
            found.append(path)  # it can't be seen; reading it will say why
        else:
            found.append(path)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    return found


def read(path: str) -> Found:
    """Read one, if it is a regular file that nobody else could have written.

    Mode 0664 is let pass: it is what a umask of 002 gives, and what counts is bound to the content.
    """
    try:
        data, status = read_regular(path, limit=LIMIT_BYTES)
    except KmiError as error:
        return Found(path, None, error.message.replace(f"{path} ", "", 1), error.fix or "")
    except OSError as error:
        return Found(path, None, f"can't be read: {error.strerror}", "check its owner and mode")
    if os.name != "nt":
        if status.st_uid not in {os.geteuid(), 0}:
            return Found(path, None, "is owned by another user", "make a copy of your own")
        if status.st_mode & 0o002:
            return Found(path, None, "can be written by everyone", f"chmod o-w {path}")
    return Found(path, data)


def look(store: Store, folder: str) -> Project:
    """What binds runs in a directory.

    Raises:
        ConfigError: the decisions are of a newer schema.
        RefusedError: they can't be read.
    """
    paths = files_above(folder)
    if not paths:
        return Project()
    try:
        trust = load(store)
    except ValueError as error:
        why = f"can't be judged: {store.path(TRUST_FILE)} is damaged ({error}), so no key is used"
        return Project(None, why, paths[0])
    return settle([read(path) for path in paths if os.path.lexists(path)], trust)


def load(store: Store) -> Trust:
    """The decisions.

    Raises:
        ValueError: the file is damaged.
        ConfigError: it is of a newer schema.
        RefusedError: it can't be read.
    """
    path = store.path(TRUST_FILE)
    try:
        return decode(read_regular(path, limit=STATE_LIMIT_BYTES)[0])
    except FileNotFoundError:
        return Trust()
    except OSError as error:
        raise RefusedError(
            f"can't read {path}: {error.strerror}", "check its owner and mode"
        ) from None
    except SchemaError as error:
        raise ConfigError(
            f"{path} has schema {error.found}, this kmi knows up to {SCHEMA}",
            "update kmi; the file was not touched",
            code="newer-schema",
        ) from None


def load_to_change(store: Store) -> Trust:
    """The decisions, under the lock; a damaged file is set aside."""
    try:
        return load(store)
    except ValueError as error:
        store.set_aside(store.path(TRUST_FILE), error)
        return Trust()


def decide(store: Store, path: str, record: Record) -> Record | None:
    """Write a decision, under the lock, and return the one before."""
    trust = load_to_change(store)
    before = trust.records.get(path)
    if before is None or (before.decision, before.sha256) != (record.decision, record.sha256):
        save(store, with_record(trust, path, record))
    return before


def save(store: Store, trust: Trust) -> None:
    """Write the decisions, under the lock."""
    store.write(store.path(TRUST_FILE), encode(trust))


def tell(app: App) -> None:
    """Say once of each file that does not count why it does not, and remember that it was said."""
    fresh = [item for item in app.project.ignored if not item.told]
    for item in fresh:
        app.screen.warn(f"{item.path} {item.why} ({item.fix})")
        for problem in item.problems:
            app.screen.warn(str(problem))
    if fresh and not app.dry_run:
        told = {item.path: item.content for item in fresh}
        with app.store.transaction():
            save(app.store, with_reported(load_to_change(app.store), told))
