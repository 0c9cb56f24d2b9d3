"""Kmi's own files: ``state.json`` and the append-only records, shared by any number of processes.

``state.json`` is written only under the lock, always whole and atomically. Records (``runs.jsonl``,
``audit.jsonl``) are appended under it, one line with one write.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.files import (
    append_line,
    ensure_private_dir,
    open_regular,
    read_regular,
    sweep_temporaries,
    write_atomic,
)
from kmi.lock import locked
from kmi.masking import mask_values, may_hold_key
from kmi.state import SCHEMA, SchemaError, State, decode, encode
from kmi.timezones import utc_seconds, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kmi.model import KeyState

#: A state with 10,000 keys is about 5 MB; a larger file is not ours.
STATE_LIMIT_BYTES = 64 * 1024 * 1024
#: The waits of `locked`.
_LIMITS = ("timeout_s", "queue_s")
#: Files that were set aside because they could not be read.
CORRUPT_KEPT = 5
#: How much of the end of ``runs.jsonl`` is read to find when keys were last used.
TAIL_BYTES = 256 * 1024


class Transaction:
    """The state while the lock is held."""

    def __init__(self, store: Store, state: State) -> None:
        self._store = store
        self._before = encode(state)
        self.state = state

    def save(self) -> None:
        """Write the state if it changed."""
        now = encode(self.state)
        if now != self._before or not os.path.exists(self._store.state_file):
            data = json.dumps(now, separators=(",", ":"), sort_keys=True).encode() + b"\n"
            self._store.write(self._store.state_file, data)
            self._store.wrote = True
            self._before = now
        self._store.saved(self.state)

    def record_run(self, record: Mapping[str, Any]) -> None:
        """Append to ``runs.jsonl``."""
        _append(self._store.path("runs.jsonl"), record)

    def record_audit(self, record: Mapping[str, Any]) -> None:
        """Append to ``audit.jsonl``."""
        _append(self._store.path("audit.jsonl"), record)


def _append(path: str, record: Mapping[str, Any]) -> None:
    """Append to a record file, which comes last: what it tells of is done by then.

    Raises:
        KmiError: the system refused.
    """
    try:
        append_line(path, record_line(record))
    except OSError as error:
        raise KmiError(
            f"can't record this in {path}: {error.strerror or error}; what came before it is done",
            "check the disk, the file's owner and its mode",
            code="not-recorded",
        ) from error


def record_line(record: Mapping[str, Any]) -> bytes:
    """One line of a record file: without what looks like a key; ASCII, with escapes."""
    line = json.dumps(record, separators=(",", ":"), ensure_ascii=True)
    if may_hold_key(line):
        line = json.dumps(mask_values(record), separators=(",", ":"), ensure_ascii=True)
    return line.encode() + b"\n"


class Store:
    """The state directory.

    Args:
        directory: it is made when something is first written.
        notice: what the person is told while kmi waits or repairs something.
        enforce_modes: tighten the directory when others can get into it.
        saved: called with the state after every save, while the lock is held.
        ids: gives the key id of each label, for a state file that named keys by their labels.

    Attributes:
        last: the state that was read or saved last; None before.
        wrote: whether ``state.json`` was written.
        patience_s: how long to wait for the lock at all; None: as long as `locked` would.
        held_lock: a descriptor that holds it already, for the first transaction.
    """

    def __init__(
        self,
        directory: str,
        notice: Callable[[str], None],
        *,
        enforce_modes: bool = True,
        saved: Callable[[State], None] | None = None,
        ids: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self.directory = directory
        self.state_file = os.path.join(directory, "state.json")
        self._notice = notice
        self._enforce = enforce_modes
        self._saved = saved
        self._ids = ids
        self._told = False
        self.last: State | None = None
        self.wrote = False
        self.patience_s: float | None = None
        self.held_lock: int | None = None

    def saved(self, state: State) -> None:
        """Tell whoever wants to know that the state was saved."""
        self.last = state
        if self._saved is not None:
            self._saved(state)

    @property
    def beside_proxy(self) -> bool:
        """Whether the state was written, and a proxy may have to see that."""
        return self.wrote and os.path.lexists(self.path("proxy.json"))

    def path(self, *names: str) -> str:
        """A path below the state directory."""
        return os.path.join(self.directory, *names)

    def prepare(self) -> None:
        """Make the directory, private from the start; tighten one that is not.

        Raises:
            RefusedError: it can't be made or tightened.
        """
        try:
            ensure_private_dir(self.directory)
            mode = os.stat(self.directory).st_mode & 0o777
            if self._enforce and mode & 0o077 and os.name != "nt":
                os.chmod(self.directory, mode & 0o700)
                self._notice(f"{self.directory} was open to others; its mode is tightened")
        except OSError as error:
            raise RefusedError(
                f"can't use the state directory {self.directory}: {error.strerror}",
                "correct its owner and mode, or set KMI_STATE_DIR",
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the lock, with the state freshly read. Nothing is saved by itself.

        Raises:
            TryLaterError: the lock was held by somebody else for too long.
            ConfigError: the state is of a newer schema, or locks do not work there.
            RefusedError: the directory can't be used.
        """
        self.prepare()
        limits = {} if self.patience_s is None else dict.fromkeys(_LIMITS, self.patience_s)
        held, self.held_lock = self.held_lock, None
        with locked(self.path("lock"), self._notice, held=held, **limits):
            for names in ((), ("backups",), ("backups", "keys"), ("memo",)):
                sweep_temporaries(self.path(*names))
            yield Transaction(self, self._read(under_lock=True))

    def check(self) -> None:
        """Raise what `transaction` would, before something is done outside of one."""
        with self.transaction():
            pass

    def read(self) -> State:
        """The state, without a lock: an atomic replace makes every reading whole."""
        self.last = self._read(under_lock=False)
        return self.last

    def _read(self, *, under_lock: bool) -> State:
        try:
            data, _ = read_regular(self.state_file, limit=STATE_LIMIT_BYTES)
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise RefusedError(
                f"can't read {self.state_file}: {error.strerror}", "check its owner and mode"
            ) from None
        try:
            table = json.loads(data)
            if isinstance(table, dict) and table.get("schema") != SCHEMA:
                table = self._upgraded(table, data, under_lock=under_lock)
            return decode(table)
        except SchemaError as error:
            raise ConfigError(
                f"{self.state_file} has schema {error.found}, this kmi knows up to {SCHEMA}",
                "update kmi; the file was not touched",
                code="newer-schema",
            ) from None
        except (ValueError, RecursionError) as error:
            if under_lock:
                self.set_aside(self.state_file, error)
            elif not self._told:
                self._told = True
                self._notice(f"{self.state_file} can't be read; the next change sets it aside")
            return State()

    def _upgraded(self, table: dict[str, Any], data: bytes, *, under_lock: bool) -> Any:
        """The table in today's form, if it is of an older one; a copy of the file is kept."""
        from kmi.migrations import schema_of, upgrade

        schema = schema_of(table)
        if schema is None or schema >= SCHEMA:
            return table
        ids = {} if self._ids is None else self._ids()
        made = upgrade(table, ids, time.time())
        if under_lock:
            stamp = utc_text(time.time()).replace(":", "").replace("-", "").replace(".", "")
            copy = f"{self.state_file}.schema-{schema}-{stamp}"
            self.write(copy, data)
            self.write(self.state_file, json.dumps(made, separators=(",", ":")).encode() + b"\n")
            self._notice(
                f"{self.state_file} was of schema {schema} and is of schema {SCHEMA} now; "
                f"it is kept as {copy}"
            )
        return made

    def set_aside(self, path: str, error: Exception) -> None:
        """Rename one of kmi's own files that can't be read; the lock must be held."""
        folder, name = os.path.split(path)
        stamp = utc_text(time.time()).replace(":", "").replace("-", "").replace(".", "")
        aside = f"{path}.corrupt-{stamp}"
        os.replace(path, aside)
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "it is damaged"
        self._notice(f"{path} can't be read ({why}); it is kept as {aside}")
        old = sorted(e for e in os.listdir(folder) if e.startswith(f"{name}.corrupt-"))
        for entry in old[:-CORRUPT_KEPT]:
            os.unlink(os.path.join(folder, entry))

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Replace one of kmi's own files.

        Raises:
            RefusedError: the system refused.
        """
        try:
            write_atomic(path, data, durable=durable)
        except OSError as error:
            raise RefusedError(
                f"can't write {path}: {error.strerror}", "check the disk, its owner and mode"
            ) from None

    def with_last_runs(self, state: State) -> dict[str, KeyState]:
        """The states of all keys, with the last use that the records know of."""
        keys = dict(state.keys)
        for key_id, at in self.last_runs().items():
            known = state.key(key_id)
            if (known.last_used or 0.0) < at:
                keys[key_id] = dataclasses.replace(known, last_used=at)
        return keys

    def last_runs(self) -> dict[str, float]:
        """When each key was last given to a run, by key id, from the end of ``runs.jsonl``."""
        used: dict[str, float] = {}
        for line in self._tail("runs.jsonl"):
            try:
                record = json.loads(line)
                used[record["key"]] = max(utc_seconds(record["ts"]), used.get(record["key"], 0.0))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return used

    def _tail(self, name: str) -> list[bytes]:
        """The last whole lines of a record file."""
        try:
            with os.fdopen(open_regular(self.path(name))[0], "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                lines = file.read().split(b"\n")
        except (OSError, RefusedError):
            return []
        return lines[1 if size > TAIL_BYTES else 0 : -1]
