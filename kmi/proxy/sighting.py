"""Making a view of what is on the disk: settings, auth files, patterns and state."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple, Optional

from kmi.errors import KmiError
from kmi.proxy.desk import Rules
from kmi.proxy.limits import Caps
from kmi.proxy.view import View
from kmi.secrets_source import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kmi.app import App
    from kmi.auths import Keyring
    from kmi.model import ApiKey, KeyState
    from kmi.state import Active, State


#: Time of change (ns), size and inode of a file; None when it can't be looked at.
Stamp = Optional[tuple[int, int, int]]
#: A program that gave no key is run again after so long: it may ask a person something each time.
PROGRAM_RETRY_S = 60.0


class Stamps(NamedTuple):
    """What changes when something was written that a view is made of."""

    files: tuple[object, ...]
    state: Stamp


class Programs:
    """The keys that programs give (`api_key_command`), run once and again after a refusal.

    Attributes:
        fresh: the keys whose secrets came since the last look, for `state.json` to know their ids.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], ApiKey] = {}
        self._failed: dict[tuple[str, str], tuple[float, KmiError]] = {}
        self.fresh: list[ApiKey] = []

    def resolve(self, key: ApiKey, app: App) -> ApiKey:
        """The key with its secret.

        Raises:
            KmiError: the program failed, now or a moment ago.
        """
        if key.command is None or key.secret is not None:
            return key
        name = (key.label, key.command)
        if name not in self._found:
            at, error = self._failed.get(name, (0.0, None))
            if error is not None and time.monotonic() - at < PROGRAM_RETRY_S:
                raise error
            try:
                self._found[name] = resolve_secret(key, app.env)
            except KmiError as failure:
                self._failed[name] = (time.monotonic(), failure)
                raise
            self._failed.pop(name, None)
            self.fresh.append(self._found[name])
        return _as_now(self._found[name], key)

    def keep(self, keys: Iterable[ApiKey]) -> None:
        """Those are all the keys now: what else failed is edited or gone, and never due again."""
        named = {(key.label, key.command) for key in keys}
        self._failed = {name: at for name, at in self._failed.items() if name in named}

    @property
    def due(self) -> bool:
        """Whether one that failed may be run again."""
        now = time.monotonic()
        return any(now - at >= PROGRAM_RETRY_S for at, _ in self._failed.values())

    def forget(self, key_id: str) -> None:
        """A secret was refused: the program may give another one by now."""
        for name in [name for name, key in self._found.items() if key.key_id == key_id]:
            del self._found[name]


def _as_now(found: ApiKey, key: ApiKey) -> ApiKey:
    """The key as its file describes it now, with the secret that is known."""
    from dataclasses import replace

    return replace(key, secret=found.secret, key_id=found.key_id)


def stamps(app: App) -> Stamps:
    """The times, sizes and inodes of everything that a view is made of."""
    settings = app.settings
    paths = [settings.env_path, app.store.path("patterns.toml"), *_below(settings.auths_dir)]
    return Stamps(tuple((path, stamp(path)) for path in paths), stamp(app.store.state_file))


def _below(folder: str) -> Iterator[str]:
    yield folder
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as inner:
                        yield from [item.path for item in inner]
    except OSError:
        return


def stamp(path: str) -> Stamp:
    """What changes when a file is written."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def look(app: App, programs: Programs, before: tuple[ApiKey, ...] = ()) -> tuple[View, Rules]:
    """What is on the disk now.

    Args:
        app: the world.
        programs: those that give keys.
        before: the keys of the last look: one whose auth file was broken by an edit goes on.

    Raises:
        KmiError: the settings, the state or the directory of auth files can't be used.
    """
    settings, state = app.settings, app.store.read()
    problems = [str(problem) for problem in app.keyring.problems]
    keys, failed, ids = [], {}, {}
    programs.keep(app.keyring.keys)
    for key in app.keyring.keys:
        try:
            keys.append(programs.resolve(key, app))
            ids[key.key_id] = keys[-1].key_id
        except KmiError as error:
            problems.append(error.message)
            failed[key.label] = "its api_key_command failed"
            keys.append(key)
    for key in _kept(app.keyring, before, app):
        problems.append(f"{key.source}: key {key.label!r} is used as it was until that is mended")
        keys.append(key)
    if app.dry_run:
        failed.update((key.label, "KMI_DRY_RUN=1: nothing is sent upstream") for key in keys)
    keys.sort(key=lambda key: (-key.priority, key.label))
    view = View(
        tuple(keys),
        _by_true_ids(state.keys, ids),
        _active(app, state, {key.label: key.key_id for key in keys if key.command is not None}),
        app.policy(strategy=app.strategy(state), unavailable=failed),
        settings.auto_rotate_allowed,
        state.auto_rotate,
        app.patterns(),
        tuple(problems),
        state.chosen_at,
    )
    return view, rules(app)


def _kept(keyring: Keyring, before: tuple[ApiKey, ...], app: App) -> Iterator[ApiKey]:
    """The keys that are missing only because their files can't be read as they are now."""
    from kmi.files import others_can_read
    from kmi.urls import allowed

    settings = app.settings
    broken = {problem.where for problem in keyring.problems if problem.fatal}
    taken = {key.label for key in keyring.keys} | {key.key_id for key in keyring.keys}
    for key in before:
        if key.label in taken or key.key_id in taken or key.secret is None:
            continue
        if not any(where == key.source or where.startswith(f"{key.source}:") for where in broken):
            continue
        try:
            exposed = others_can_read(os.stat(key.source).st_mode)
        except OSError:
            continue
        if exposed and settings.enforce_file_perms:
            continue
        if allowed(key.base_url, settings.upstream_allowlist):
            yield key


def _by_true_ids(states: Mapping[str, KeyState], ids: Mapping[str, str]) -> dict[str, KeyState]:
    """The states, those of programs' keys by the ids of their secrets."""
    found = dict(states)
    for provisional, key_id in ids.items():
        if provisional in states:
            found.setdefault(key_id, states[provisional])
    return found


def rules(app: App) -> Rules:
    """The settings that decide about requests."""
    settings = app.settings
    return Rules(
        Caps(
            settings.proxy_max_rps,
            settings.proxy_max_rpm,
            settings.proxy_max_rps_per_key,
            settings.proxy_max_rpm_per_key,
            settings.proxy_max_concurrency_per_key,
        ),
        settings.proxy_retry_max,
        settings.proxy_retry_base_ms,
        float(settings.rotation_cooldown_s),
        float(settings.payment_block_s),
    )


def _active(app: App, state: State, programs: Mapping[str, str]) -> Active | None:
    """The key that the person, or a run, swapped in last: of whichever client.

    ``programs`` are the ids of the secrets that programs gave, by label.
    """
    if not state.active:
        return None
    wanted = app.wanted_client(None)
    if wanted is not None and wanted in state.active:
        found = state.active[wanted]
    else:
        found = max(state.active.values(), key=lambda active: active.since)
    # A program may have given another secret since: it is the same key to the person.
    true_id = programs.get(found.label, found.key_id)
    return found._replace(key_id=true_id)
