"""Writing the memo that lets the next `kmi run` take the quick way (see `kmi.quick`)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kmi.files import ensure_private_dir, read_regular, write_atomic
from kmi.paths import client_config
from kmi.quick import (
    HEADER,
    LIMIT_BYTES,
    content_signature,
    env_signature,
    find_executable,
    folder_signature,
    memo_path,
    stat_signature,
    state_dir,
)
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmi.app import App
    from kmi.state import State

#: A memo is never trusted for longer, whatever it depends on.
MEMO_MAX_S = 3600.0
#: A file that was changed less than this before it was looked at may change again without its times
#: telling: kernels stamp files by their tick, of 10 ms at the most.
TICK_NS = 20_000_000
#: The same for file systems that keep whole seconds only (FAT: two).
COARSE_NS = 2_100_000_000

#: Homes of the clients (`kmi.paths.client_home`); a relative one counts from the working directory.
HOMES = ("KMI_CLI_HOME", "KIMI_SHARE_DIR", "KMI_CLIENT_HOME", "KIMI_CODE_HOME")

#: The fields of a record that differ from run to run; the rest is the memo's tail.
HEAD_FIELDS = ("schema", "ts", "event", "run", "pid", "cwd", "program")


def write_memo(
    app: App,
    kind: str,
    *,
    client: str,
    config_raw: bytes,
    state: State,
    record: Mapping[str, Any],
    private: str,
    variables: Mapping[str, str | None],
) -> None:
    """Write the memo of a kind of program, or remove it when one can't be trusted.

    Args:
        app: the world, under the lock.
        kind: "other", or the name of a client program.
        client: whose config was looked at.
        config_raw: the config's bytes as they are now.
        state: as it was saved.
        record: of the next run, if nothing changes.
        private: "file" for a private config copy, else "".
        variables: what is set for the program.
    """
    directory = app.store.directory
    path = memo_path(directory, kind)
    text = None
    if os.path.realpath(state_dir(app.env)) == os.path.realpath(directory):
        text = _memo(app, kind, client, config_raw, state, record, private, variables)
    if text is None:
        if os.path.lexists(path):
            os.unlink(path)
        return
    ensure_private_dir(os.path.dirname(path))
    write_atomic(path, text.encode("ascii"), durable=False)


def _memo(
    app: App,
    kind: str,
    client: str,
    config_raw: bytes,
    state: State,
    record: Mapping[str, Any],
    private: str,
    variables: Mapping[str, str | None],
) -> str | None:
    now = app.now()
    if not all(os.path.isabs(app.env.get(name) or "/") for name in HOMES):
        return None  # the next run may be in another directory
    try:
        signature = env_signature(app.env)
    except ValueError:
        return None
    watched = find_executable("kimi" if kind == "other" else kind, app.env)
    other = next(name for name in CLIENTS if name != client)
    linked = [app.settings.env_path, app.settings.auths_dir, *([watched] if watched else [])]
    paths = [*linked, *map(os.path.realpath, linked), *_folders(app)]
    paths.append(client_config(other, app.env))
    lines = [HEADER, f"{now!r} {min(_deadlines(app, state, now))!r}", signature]
    config_path = client_config(client, app.env)
    lines.append(f"c {content_signature(config_raw)} {config_path}")
    saved, _ = read_regular(app.store.state_file, limit=LIMIT_BYTES)
    lines.append(f"c {content_signature(saved)} {app.store.state_file}")
    files = app.keyring.files
    if not all(settled(path, app.started) for path in (*paths, *files)):
        return None
    lines += [f"f {stat_signature(path)} {path}" for path in dict.fromkeys(paths)]
    for folder, names in _by_folder(files).items():
        try:
            digest = folder_signature(folder, names)
        except FileNotFoundError:
            return None
        lines.append(f"d {digest} " + "\0".join([folder, *names]))
    tail = {name: value for name, value in record.items() if name not in HEAD_FIELDS}
    lines.append(f"tail {json.dumps(tail, separators=(',', ':'), ensure_ascii=True)[1:]}")
    lines += [f"label {record['label']}", f"mode {private}", f"program {watched}"]
    lines += [f"v {name}={value}" for name, value in variables.items() if value is not None]
    if any("\n" in line or not line.isascii() for line in lines):
        return None
    return "\n".join(lines) + "\n"


def _folders(app: App) -> Iterable[str]:
    """Every folder in the auths directory, whether or not there is an auth file in it."""
    for entry in os.scandir(app.keyring.directory):
        if entry.is_dir(follow_symlinks=False):
            yield entry.path


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Names of files by the directory that they are in.

    >>> _by_folder(["/a/x", "/a/b/y", "/a/z"])
    {'/a': ['x', 'z'], '/a/b': ['y']}
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


def settled(path: str, since: float) -> bool:
    """Whether every change of a file since a time will show in its status.

    Args:
        path: the file; one that is missing is settled, for a new one shows.
        since: before anything was read, in seconds since the epoch.
    """
    try:
        changed_ns = os.stat(path, follow_symlinks=False).st_ctime_ns
    except FileNotFoundError:
        return True
    margin = COARSE_NS if changed_ns % 1_000_000_000 == 0 else TICK_NS
    return changed_ns + margin < since * 1e9


def _deadlines(app: App, state: State, now: float) -> Iterable[float]:
    """Every moment at which the decision could become another one, or a refresh is due."""
    from kmi.polling import next_due

    yield now + MEMO_MAX_S
    refresh = next_due(app.known(state), state.keys, app.own_pace, state.refresh_at, now)
    if refresh is not None:
        yield max(refresh, now)
    for key in state.keys.values():
        moments = [window.resets_at for window in key.windows.values()]
        if key.hold is not None:
            moments += [key.hold.until, key.hold.probe_at]
        if key.usage_at is not None:
            moments.append(key.usage_at + app.settings.usage_cache_s)
        yield from (at for at in moments if at is not None and at > now)
