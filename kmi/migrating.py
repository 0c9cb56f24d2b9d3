"""What `kmi config migrate` does: kmi's own state to today's form, and an old home taken over.

Planned without a change, done under the lock; every step looks again, for the plan was shown to a
person meanwhile. Nothing is overwritten, nothing of the old home is touched.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from kmi.auth_writing import env_text
from kmi.errors import RefusedError
from kmi.files import ensure_private_dir, read_regular
from kmi.migrations import ASIDE, restore_aside, schema_of, take_over
from kmi.old_home import look
from kmi.old_settings import Left
from kmi.settings import TABLE
from kmi.state import SCHEMA, State
from kmi.store import STATE_LIMIT_BYTES
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.old_home import OldHome
    from kmi.store import Transaction

#: Of the settings that are never shown.
SECRET = frozenset(row.name for row in TABLE if row.secret)
_HEADING = "# from kmi-manager-cli"


class Plan(NamedTuple):
    """What is going to be done.

    Attributes:
        schema: of kmi's own state file; None where there is none.
        aside: labels that were kept aside of it and have keys by now, or will have.
        labels: those of which the old state tells something new.
        left: what is not taken over.
    """

    old: OldHome
    schema: int | None
    aside: list[str]
    labels: list[str]
    left: list[Left]

    @property
    def older(self) -> bool:
        """Whether kmi's own state is of an older schema."""
        return self.schema is not None and self.schema < SCHEMA

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        old = self.old
        return not (self.older or self.aside or self.labels or old.keys or old.settings.taken)


class Done(NamedTuple):
    """What was done: files of keys, labels of the state, names of settings, copies by path."""

    keys: list[str]
    labels: list[str]
    settings: list[str]
    copies: dict[str, str]


def plan(app: App, folder: str | None) -> Plan:
    """Look what there is to do.

    Args:
        app: the world.
        folder: the old home that the person names.

    Raises:
        KmiError: there is nothing in it, or kmi's own state is of a newer schema.
    """
    old = look(app.settings, app.env, app.keyring, folder)
    app.screen.redactor.hide(old.secrets)
    state, ids = app.store.read(), _ids(app, old)
    aside = state.unknown.get(ASIDE)
    kept = [label for label in aside if label in ids] if isinstance(aside, dict) else []
    ahead = State(keys=dict(state.keys), unknown=dict(state.unknown))
    restore_aside(ahead, ids, app.now())
    labels = take_over(ahead, old.knew, ids, app.now())
    unknown = [Left(repr(label), "migrate.why-no-key") for label in old.knew if label not in ids]
    left = [*old.settings.left, *old.left, *unknown]
    return Plan(old, _schema(app.store.state_file), kept, labels, left)


def _ids(app: App, old: OldHome) -> dict[str, str]:
    """The key id of every label, by its name here or there."""
    return {**{key.label: key.key_id for key in app.keyring.keys}, **old.ids}


def _schema(path: str) -> int | None:
    try:
        return schema_of(json.loads(read_regular(path, limit=STATE_LIMIT_BYTES)[0]))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def perform(app: App, planned: Plan, transaction: Transaction) -> Done:
    """Do it, under the lock, and record it; also what was done before something failed."""
    done = Done([], [], [], {})
    ids, before = _ids(app, planned.old), [key.label for key in app.keyring.keys]
    stamp = utc_text(app.now()).replace(":", "").replace("-", "")
    try:
        for file in planned.old.keys:
            _copy(app, file.target, file.data)
            done.keys.append(file.target)
        _take_state(app, planned, transaction, ids, done, stamp)
        if planned.old.settings.taken:
            _take_settings(app, planned.old.settings.taken, done, stamp)
    finally:
        if done.keys or done.labels or done.settings or planned.older:
            app.forget_keyring()
            _record(app, planned, transaction, done, before)
    return done


def _copy(app: App, target: str, data: bytes) -> None:
    try:
        ensure_private_dir(os.path.dirname(target))
    except OSError as error:
        where = os.path.dirname(target)
        what = f"can't make {where}: {error.strerror}"
        raise RefusedError(what, "check its owner and mode") from None
    if os.path.lexists(target):
        raise RefusedError(f"{target} is there already", "say it again")
    app.store.write(target, data)


def _take_state(
    app: App,
    planned: Plan,
    transaction: Transaction,
    ids: Mapping[str, str],
    done: Done,
    stamp: str,
) -> None:
    """What was known of keys; an older form of the file was made a new one by the lock."""
    state, path, now = transaction.state, app.store.state_file, app.now()
    done.labels.extend(restore_aside(state, ids, now))
    done.labels.extend(take_over(state, planned.old.knew, ids, now))
    if done.labels and not planned.older and os.path.exists(path):
        done.copies[path] = _keep(app, path, f"{stamp}-state.json")
    transaction.save()


def _take_settings(app: App, taken: Mapping[str, str], done: Done, stamp: str) -> None:
    """Append to the env file what is not in it; a link to it stays a link."""
    from kmi.envfile import parse_env

    path = os.path.realpath(app.settings.env_path)
    try:
        text = read_regular(path)[0].decode("utf-8")
    except FileNotFoundError:
        text = ""
    there = {binding.name for binding in parse_env(text)}
    fresh = {name: value for name, value in taken.items() if name not in there}
    if not fresh:
        return
    if text:
        done.copies[path] = _keep(app, path, f"{stamp}-env")
    text += "" if not text or text.endswith("\n") else "\n"
    ensure_private_dir(os.path.dirname(path))
    app.store.write(path, f"{text}{_HEADING}\n{env_text(fresh)}".encode())
    done.settings.extend(fresh)


def _keep(app: App, path: str, name: str) -> str:
    """A private copy of a file that is going to change."""
    copy = app.store.path("backups", "migrate", name)
    ensure_private_dir(os.path.dirname(copy))
    app.store.write(copy, read_regular(path, limit=STATE_LIMIT_BYTES)[0])
    return copy


def shown(settings: Mapping[str, str], hidden: str) -> dict[str, str]:
    """Settings by name, without those that are secret."""
    return {name: hidden if name in SECRET else text for name, text in settings.items()}


def _record(
    app: App, planned: Plan, transaction: Transaction, done: Done, before: list[str]
) -> None:
    """The one record: what there was, what there is, from where; no secret."""
    from kmi.auths import load_keyring

    places = planned.old.places
    written = {name: planned.old.settings.taken[name] for name in done.settings}
    now = [key.label for key in load_keyring(app.settings, change_modes=False).keys]
    app.audit(
        transaction,
        "changed",
        before={"schema": planned.schema, "keys": before, "settings": {}},
        after={"schema": SCHEMA, "keys": now, "settings": shown(written, "(set)")},
        labels=done.labels,
        source=[path for path in places if path],
        backup=done.copies,
    )
