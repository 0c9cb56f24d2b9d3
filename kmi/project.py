"""The `.kmi.toml` files above a directory, and what the person decided about them, on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi import shell_files
from kmi.binding import (
    LIMIT_BYTES,
    SCHEMA,
    Found,
    Project,
    Record,
    Trust,
    decode,
    encode,
    how_to_go_on,
    settle,
    with_record,
    with_reported,
)
from kmi.errors import ConfigError, KmiError, RefusedError, UsageError
from kmi.files import read_regular, sweep_temporaries, write_atomic
from kmi.paths import BINDING, bindings_above, working_directory
from kmi.state import SchemaError
from kmi.store import STATE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.store import Store

#: Below the state directory.
TRUST_FILE = "bindings.json"


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


def look(store: Store, paths: Sequence[str]) -> Project:
    """What counts of the `.kmi.toml` above a directory, nearest first.

    Raises:
        ConfigError: the decisions are of a newer schema.
        RefusedError: they can't be read.
    """
    try:
        trust = load(store)
    except ValueError as error:
        why = f"can't be judged: {store.path(TRUST_FILE)} is damaged ({error}), so no key is used"
        return Project(None, why, paths[0])
    return settle([read(path) for path in paths], trust)


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


def decide(store: Store, path: str, record: Record | None) -> Record | None:
    """Write a decision (None: forget it), under the lock, and return the one before."""
    trust = load_to_change(store)
    before = trust.records.get(path)
    if before is None or record is None:
        same = before is record
    else:
        same = (before.decision, before.sha256) == (record.decision, record.sha256)
    if not same:
        save(store, with_record(trust, path, record))
    return before


def is_allowed(store: Store, found: Found) -> bool:
    """Whether a file is allowed as it is now."""
    try:
        record = load(store).records.get(found.path)
    except ValueError:
        return False
    return record is not None and (record.decision, record.sha256) == ("allow", found.content)


def chosen(given: str | None, *, must_exist: bool = True) -> str:
    """The file that a command is about: the one that is named, else the nearest.

    Raises:
        KmiError: there is none.
        UsageError: what is named is another kind of file.
    """
    if given is None:
        folder = working_directory()
        above = bindings_above(folder)
        if not above:
            raise no_binding(os.path.join(folder, BINDING), "in the directories above")
        return above[0]
    path = os.path.abspath(given)
    if os.path.basename(path) != BINDING:
        if not os.path.isdir(path):
            raise UsageError(f"{given} is neither a {BINDING} nor a directory", "name one of them")
        path = os.path.join(path, BINDING)
    # As the working directory is seen: without links, but the file itself is not followed.
    path = os.path.join(os.path.realpath(os.path.dirname(path)), BINDING)
    if must_exist and not os.path.lexists(path):
        raise no_binding(path)
    return path


def no_binding(path: str, more: str = "") -> KmiError:
    """The error where there is no file."""
    where = f"{path}, nor any {more}" if more else path
    return KmiError(f"there is no {where}", "`kmi bind LABEL` writes one", code="no-binding")


def write_binding(path: str, data: bytes, over: bytes | None) -> None:
    """Write a `.kmi.toml`: it is meant to be committed, so its mode is the ordinary one.

    Args:
        path: the file.
        data: its content.
        over: what it may replace; None: there must be none.

    Raises:
        RefusedError: the system refused, or the file is another one by now.
    """

    def check() -> None:
        now = read(path).data if os.path.lexists(path) else None
        if now != over:
            raise RefusedError(f"{path} was changed meanwhile", "look at it, and try again")

    umask = os.umask(0o077)
    os.umask(umask)
    try:
        sweep_temporaries(os.path.dirname(path), BINDING)
        write_atomic(path, data, mode=0o644 & ~umask, before_replace=check)
    except OSError as error:
        raise RefusedError(
            f"can't write {path}: {error.strerror}", "check the disk, its owner and mode"
        ) from None


def save(store: Store, trust: Trust) -> None:
    """Write the decisions, under the lock; and those that count, for the prompts of shells."""
    store.write(store.path(TRUST_FILE), encode(trust))
    lines = shell_files.binding_lines(trust.records)
    store.write(store.path(shell_files.BINDINGS), lines.encode("utf-8", "surrogateescape"))


def check_open(project: Project) -> None:
    """Stop where a binding that was strict does not count as it is.

    Raises:
        RefusedError: naming the file, and how to go on.
    """
    if project.closed:
        raise RefusedError(
            f"{project.closed_by} {project.closed}",
            how_to_go_on(project.closed_by),
            code="binding-closed",
        )


def tell(app: App, project: Project) -> None:
    """Say once of each file that does not count why it does not, and remember that it was said."""
    fresh = [item for item in project.ignored if not item.told]
    words = app.words
    for item in fresh:
        why, fix = words.sentence(item.why), words.sentence(item.fix)
        app.screen.warn(words("binding.untold", path=item.path, why=why, fix=fix))
        for problem in item.problems:
            app.screen.warn(words.problem(problem))
    if fresh and not app.dry_run:
        told = {item.path: item.content for item in fresh}
        with app.store.transaction():
            save(app.store, with_reported(load_to_change(app.store), told))
