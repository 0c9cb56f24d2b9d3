"""The home of kmi-manager-cli: where its files are, what is in them, and what of it is new here.

Looking changes nothing. It kept its state in ``~/.kmi``, as kmi does, its keys in ``./_auths`` or
``~/.kimi/_auths``, and its settings in ``./.env``; what it found in the directory that it was
started in is looked for in the one that the person names, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi import paths
from kmi.errors import ConfigError, KmiError
from kmi.files import read_regular
from kmi.migrations import schema_of
from kmi.old_settings import BASE_URL, Left, Sorted, sort_out
from kmi.settings import DEFAULT_BASE_URL
from kmi.store import STATE_LIMIT_BYTES
from kmi.urls import BaseUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.auths import Keyring
    from kmi.envfile import Binding
    from kmi.settings import Settings

#: What it kept, one of which is in a directory that the person names.
_NAMES = (".env", "_auths", "state.json")
#: Stands for the base URL of keys that have none.
_NO_URL = BaseUrl("https", "none.invalid", 443, "")


class Places(NamedTuple):
    """Where the files of kmi-manager-cli are; "" for one that is not there, or is kmi's own."""

    auths: str = ""
    state: str = ""
    env_file: str = ""


class KeyFile(NamedTuple):
    """An auth file that is going to be copied.

    Attributes:
        source, target: from where, to where; nothing is there yet.
        labels: of its keys.
    """

    source: str
    target: str
    data: bytes
    labels: tuple[str, ...]


class OldHome(NamedTuple):
    """What is taken over, and what is not.

    Attributes:
        keys: the files that are copied.
        ids: the key id of each label, of keys that kmi has or gets.
        knew: what its state says of each label.
        rotating: whether `rotate auto` was on.
        settings: what goes over, and what not.
        left: files and keys that don't, each with a message.
        live: whether it was told not to make a dry run, which it did by default.
        secrets: what must never be shown.
    """

    places: Places
    keys: list[KeyFile]
    ids: dict[str, str]
    knew: dict[str, Any]
    rotating: bool
    settings: Sorted
    left: list[Left]
    live: bool
    secrets: list[str]


def find(
    settings: Settings, env: Mapping[str, str], folder: str | None
) -> tuple[Places, list[Binding]]:
    """Where its files are, and the lines of its settings.

    Args:
        settings: those of kmi, whose own files are not taken for old ones.
        env: for ``~``.
        folder: the directory that the person names, where it was started or kept its files.

    Raises:
        KmiError: there is nothing of it in that directory, or its settings can't be read.
    """
    home = paths.home(env)
    named = "" if folder is None else os.path.abspath(paths.expand(folder, env))
    if named and not os.path.isdir(named):
        raise KmiError(f"there is no directory {named}", "name another one", code="no-old-home")
    if named and not any(os.path.lexists(os.path.join(named, name)) for name in _NAMES):
        raise KmiError(
            f"there is nothing of kmi-manager-cli in {named}",
            "name the directory that holds its .env, its _auths or its state.json",
            code="no-old-home",
        )
    env_file = _there(os.path.join(named, ".env"), settings.env_path) if named else ""
    lines = _lines(env_file) if env_file else []
    told = {name: value or "" for name, value, _ in lines}
    auths = [_place(told.get("KMI_AUTHS_DIR", ""), named, env)]
    states = [_place(told.get("KMI_STATE_DIR", ""), named, env), named]
    auths += [os.path.join(named, "_auths")] if named else []
    found = Places(
        _first([*auths, os.path.join(home, ".kimi", "_auths")], settings.auths_dir),
        _first(
            [os.path.join(at, "state.json") for at in [*states, os.path.join(home, ".kmi")] if at],
            os.path.join(settings.state_dir, "state.json"),
        ),
        env_file,
    )
    return found, lines


def _place(text: str, folder: str, env: Mapping[str, str]) -> str:
    """A directory that its settings name, counted from where it was started."""
    return os.path.normpath(os.path.join(folder, paths.expand(text, env))) if text else ""


def _first(candidates: list[str], own: str) -> str:
    """The first one that is there and is not kmi's own."""
    for path in candidates:
        if path and os.path.lexists(path):
            return _there(path, own)
    return ""


def _there(path: str, own: str) -> str:
    """A path, unless nothing is there, or it is kmi's own under another name."""
    if not os.path.lexists(path) or os.path.realpath(path) == os.path.realpath(own):
        return ""
    return path


def _lines(path: str) -> list[Binding]:
    from kmi.envfile import parse_env

    try:
        return parse_env(read_regular(path, follow=True)[0].decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", "save it as UTF-8") from None
    except OSError as error:
        what = f"can't read {path}: {error.strerror}"
        raise ConfigError(what, "check its owner and mode") from None


def look(settings: Settings, env: Mapping[str, str], ring: Keyring, folder: str | None) -> OldHome:
    """Read the old home.

    Args:
        settings: those of kmi.
        ring: the keys that it has.
        env: for ``~``.
        folder: see `find`.

    Raises:
        KmiError: as `find`.
    """
    places, lines = find(settings, env, folder)
    told = {name: value or "" for name, value, _ in lines if name}
    left: list[Left] = []
    secrets = [value for name, value in told.items() if name in ("KMI_PROXY_TOKEN", "KMI_API_KEY")]
    found = sort_out(lines, settings, env, has_keys=bool(ring.keys))
    keys: list[KeyFile] = []
    ids: dict[str, str] = {}
    if places.auths:
        theirs = _their_keys(settings, places.auths)
        secrets += [key.secret for key in theirs.keys if key.secret]
        base_url = told.get(BASE_URL, "") or DEFAULT_BASE_URL
        same = BASE_URL in found.taken or base_url == str(settings.upstream_base_url)
        keys, ids = _sort_keys(settings, ring, theirs, left, "" if same else base_url)
    table = _state(places.state, left, named=folder is not None) if places.state else {}
    knew = table.get("keys")
    return OldHome(
        places,
        keys,
        ids,
        knew if isinstance(knew, dict) else {},
        table.get("auto_rotate") is True,
        found,
        left,
        told.get("KMI_DRY_RUN", "").lower() in {"0", "false", "no", "off"},
        secrets,
    )


def _their_keys(settings: Settings, folder: str) -> Keyring:
    """The keys of a directory, as kmi reads them; the modes of its files stay."""
    from kmi.auths import load_keyring

    theirs = dataclasses.replace(
        settings, auths_dir=folder, upstream_base_url=_NO_URL, upstream_allowlist=()
    )
    return load_keyring(theirs, change_modes=False)


def _sort_keys(
    settings: Settings, ring: Keyring, theirs: Keyring, left: list[Left], base_url: str
) -> tuple[list[KeyFile], dict[str, str]]:
    """The auth files with keys that kmi does not have yet, and the ids of all labels.

    Args:
        settings: where kmi's auth files are.
        ring: its keys.
        theirs: the old ones.
        left: what is not taken is appended to it.
        base_url: where keys without one of their own went; "" when they go there here, too.
    """
    left += [Left(p.where, "", {"what": p.what, "fix": p.fix}) for p in theirs.problems]
    known = {key.key_id: key for key in ring.keys}
    taken = {key.label: key.source for key in ring.keys}
    found = []
    for source in theirs.files:
        keys = [key for key in theirs.keys if key.source == source]
        if not keys:
            continue  # why is among the problems
        fresh = [key for key in keys if key.key_id not in known]
        target = os.path.join(settings.auths_dir, os.path.relpath(source, theirs.directory))
        clash = next((key.label for key in fresh if key.label in taken), None)
        if not fresh:
            same = known[keys[0].key_id]
            if same.source != target:
                values = {"label": repr(same.label), "path": same.source}
                left.append(Left(source, "migrate.why-same-key", values))
        elif clash is not None:
            values = {"label": repr(clash), "path": taken[clash]}
            left.append(Left(source, "migrate.why-label", values))
        elif os.path.lexists(target):
            left.append(Left(source, "migrate.why-there", {"path": target}))
        elif base_url and any(key.base_url == _NO_URL for key in fresh):
            left.append(Left(source, "migrate.why-no-url", {"line": f"{BASE_URL}={base_url}"}))
        else:
            labels = tuple(key.label for key in keys)
            found.append(KeyFile(source, target, read_regular(source)[0], labels))
    left += [Left(path, "migrate.why-bak") for path in _other_backups(theirs.directory)]
    copied = {file.source for file in found}
    here = [key for key in theirs.keys if key.key_id in known or key.source in copied]
    return found, {key.label: key.key_id for key in here}


def _other_backups(folder: str) -> list[str]:
    """Files that it read as keys and kmi does not: ``.bak`` of anything but JSON."""
    found = []
    for place, folders, names in os.walk(folder):
        if place != folder:
            folders.clear()
        found += [
            os.path.join(place, name)
            for name in names
            if name.endswith(".bak") and not name.endswith(".json.bak")
        ]
    return sorted(found)


def _state(path: str, left: list[Left], *, named: bool) -> dict[str, Any]:
    """Its state; empty when that is not one of kmi-manager-cli."""
    table: Any = None
    with suppress(OSError, ValueError, RecursionError, KmiError):
        table = json.loads(read_regular(path, limit=STATE_LIMIT_BYTES)[0])
    schema = schema_of(table)
    if schema == 0:
        found: dict[str, Any] = table
        return found
    if schema is None:
        left.append(Left(path, "migrate.why-unreadable"))
    elif named:
        left.append(Left(path, "migrate.why-not-old"))
    return {}
