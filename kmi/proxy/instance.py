"""The proxy of a state directory: at most one, by a lock that it holds for its whole life.

``proxy.lock`` is a kernel lock (flock), so it ends with its process; ``proxy.json`` says who and
where that is. A record without the lock is of a proxy that was killed. Who looks takes the lock
shared for a moment, so looking does not disturb looking; who starts tries for a little while.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import Any, NamedTuple

from kmi.errors import ConfigError, RefusedError
from kmi.files import read_regular, write_atomic
from kmi.pins import alive
from kmi.proxy.ports import reachable

LOCK, RECORD = "proxy.lock", "proxy.json"
SCHEMA = 1
#: How long a starter tries for a lock that somebody may only be looking at.
PATIENCE_S = 1.0
_PAUSE_S = 0.01


class Instance(NamedTuple):
    """A proxy that runs, as ``proxy.json`` has it.

    Attributes:
        started_ticks: when its process started, in clock ticks since boot; "0": not known.
        base_path: below which it serves.
        started: UTC.
        how: "background", "foreground", "service" or "run".
        until_runs_end: whether it ends by itself with the runs that use it.
        token_id: names the token that it takes (`token.token_id`).
    """

    pid: int
    started_ticks: str
    host: str
    port: int
    base_path: str
    version: str
    started: str
    how: str
    until_runs_end: bool
    token_id: str

    @property
    def base_url(self) -> str:
        """What a client on this machine takes for its base URL."""
        return f"http://{reachable(self.host)}:{self.port}{self.base_path}"


class Sight(NamedTuple):
    """What is to be seen of the proxy of a state directory.

    Attributes:
        held: somebody has the lock.
        instance: the process that has it; None when there is none, or it is just starting.
        stale: there is a record of a proxy that was killed.
    """

    held: bool
    instance: Instance | None
    stale: bool


def look(directory: str) -> Sight:
    """What is to be seen; nothing is changed.

    Raises:
        RefusedError: the lock can't be opened.
        ConfigError: the record is of a newer schema.
    """
    # The record first: one that is there before its lock is seen held can't be of a later proxy.
    instance = read_record(directory)
    held = _held(os.path.join(directory, LOCK))
    if instance is not None and not (held and alive(instance.pid, instance.started_ticks)):
        return Sight(held, None, stale=True)
    return Sight(held, instance if held else None, stale=False)


def read_record(directory: str) -> Instance | None:
    """The record, of a living proxy or not; None when there is none, or it is damaged.

    Raises:
        ConfigError: it is of a newer schema.
        RefusedError: the system refuses to let it be read.
    """
    path = os.path.join(directory, RECORD)
    try:
        data, _ = read_regular(path)
        table = json.loads(data)
        schema = table["schema"]
        if schema == SCHEMA:
            fields = {name: table[name] for name in Instance._fields}
            return Instance(**fields) if _sound(fields) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"can't read {path}: {error.strerror}", "check its owner") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    raise ConfigError(
        f"{path} has schema {str(schema)[:20]}, this kmi knows up to {SCHEMA}",
        "a newer kmi runs the proxy; update this one",
        code="newer-schema",
    )


def _sound(fields: dict[str, Any]) -> bool:
    kinds = {"pid": int, "port": int, "until_runs_end": bool}
    right = all(isinstance(fields[name], kinds.get(name, str)) for name in Instance._fields)
    return right and fields["pid"] > 1 and 0 < fields["port"] < 65536


def write_record(directory: str, instance: Instance) -> None:
    """Write the record of this process, which holds the lock."""
    text = json.dumps({"schema": SCHEMA, **instance._asdict()}, indent=2)
    # It is of no use after a power cut.
    write_atomic(os.path.join(directory, RECORD), text.encode() + b"\n", durable=False)


def remove_record(directory: str) -> None:
    """Remove the record; the lock is held."""
    with suppress(OSError):
        os.unlink(os.path.join(directory, RECORD))


def hold(directory: str) -> int | None:
    """Take the lock for good.

    Returns:
        the descriptor that holds it; None when another proxy does.

    Raises:
        RefusedError: the lock file can't be opened.
        ConfigError: the file system has no locks.
    """
    path = os.path.join(directory, LOCK)
    fd = _open(path, os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + PATIENCE_S
    while not _try_lock(fd, path, shared=False):
        if look(directory).instance is not None or time.monotonic() >= deadline:
            os.close(fd)
            return None
        time.sleep(_PAUSE_S)
    return fd


def clean(directory: str) -> bool:
    """Remove the record of a proxy that was killed, if there is one; whether there was."""
    if not look(directory).stale:
        return False
    fd = hold(directory)
    if fd is None:
        return False
    try:
        remove_record(directory)
    finally:
        os.close(fd)
    return True


def _held(path: str) -> bool:
    try:
        fd = _open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(fd, path, shared=True)
    finally:
        os.close(fd)


def _open(path: str, flags: int) -> int:
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RefusedError(
            f"can't open the lock file {path}: {error.strerror}", "check the state directory"
        ) from None


def _try_lock(fd: int, path: str, *, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise ConfigError(
            f"can't lock {path}: {error.strerror}",
            "set KMI_STATE_DIR to a directory on a local disk",
        ) from None
    return True
