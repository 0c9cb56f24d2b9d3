"""A client's ``config.toml`` on disk: read, compare, replace, back up.

The clients take no lock and kimi-cli truncates in place, so a file may be empty or half written for
a moment, and may change between reading and replacing. kmi reads again, for a bounded time, and
compares immediately before the rename; it never "repairs" what it can't read.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmi.backup_secrets import hidden
from kmi.digest import sha256_hex
from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.files import ensure_private_dir, read_regular, sweep_temporaries, write_atomic
from kmi.kimi_config import MAX_CONFIG_BYTES, Config, parse_config
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Collection

#: How long a half-written file may take to become whole.
PATIENCE_S = 1.0
_PAUSE_S = 0.05
#: Backups kept per client.
BACKUPS_KEPT = 10


class ChangedError(Exception):
    """The file changed since it was read; read it again."""


class Snapshot(NamedTuple):
    """A config as it was at one moment.

    Attributes:
        path: where the client looks.
        target: the file itself, behind any links.
        raw: its bytes; None when there is no file.
        config: what is in it; None when there is no file.
        status: of the very file that was read.
    """

    client: str
    path: str
    target: str
    raw: bytes | None
    config: Config | None
    status: os.stat_result | None

    def __repr__(self) -> str:
        """Without anything secret."""
        return f"Snapshot(client={self.client!r}, path={self.path!r})"


def read_config(client: str, path: str, *, patience_s: float = PATIENCE_S) -> Snapshot:
    """Read and parse a client's config.

    Raises:
        ConfigError: it is not valid, after waiting for a writer to finish.
        RefusedError: it is not a regular file, or a link to another user's file.
    """
    deadline = time.monotonic() + patience_s
    while True:
        target = _resolve(path)
        try:
            raw, status = read_regular(target, limit=MAX_CONFIG_BYTES)
        except FileNotFoundError:
            return Snapshot(client, path, target, None, None, None)
        except OSError as error:
            raise RefusedError(
                f"can't read {path}: {error.strerror}", "check its owner and mode"
            ) from None
        _check_owner(path, target, status)
        try:
            config = parse_config(raw, name=path, client=client)
        except ConfigError:
            if time.monotonic() >= deadline:
                raise
        else:
            # An empty file is valid, but may be one that the client is just writing.
            if raw.strip() or time.monotonic() >= deadline:
                return Snapshot(client, path, target, raw, config, status)
        time.sleep(_PAUSE_S)


def _resolve(path: str) -> str:
    """The file behind a link, so that the link stays a link (dotfiles live elsewhere)."""
    if not os.path.islink(path):
        return path
    target = os.path.realpath(path)
    if not os.path.exists(target):
        raise RefusedError(
            f"{path} is a link that leads nowhere ({os.readlink(path)})",
            "correct the link, or remove it",
        )
    return target


def _check_owner(path: str, target: str, status: os.stat_result) -> None:
    if os.name == "nt" or status.st_uid == os.geteuid():
        return
    if target != path or os.geteuid() != 0:
        raise RefusedError(f"{path} belongs to another user", "kmi edits only files of your own")


def file_mode(snapshot: Snapshot) -> int:
    """The mode that a replacement gets: the old one, never looser than 0600."""
    if snapshot.status is None:
        return 0o600
    return stat.S_IMODE(snapshot.status.st_mode) & 0o600


def too_open(snapshot: Snapshot) -> bool:
    """Whether others can read the secret in it."""
    return (
        os.name != "nt"
        and snapshot.status is not None
        and bool(stat.S_IMODE(snapshot.status.st_mode) & 0o077)
    )


def tighten(snapshot: Snapshot) -> None:
    """Take the rights of others away, without touching the content.

    Raises:
        RefusedError: the system refused.
    """
    try:
        os.chmod(snapshot.target, file_mode(snapshot))
    except OSError as error:
        raise RefusedError(
            f"{snapshot.path} can be read by others, and its mode can't be changed "
            f"({error.strerror})",
            f"run: chmod 600 {snapshot.path}",
        ) from None


def replace_config(snapshot: Snapshot, new: bytes) -> None:
    """Put new bytes in the place of those that were read.

    Raises:
        ChangedError: somebody else wrote the file meanwhile; nothing was done.
        RefusedError: it is read-only, or the system refused; nothing was done.
    """
    folder = os.path.dirname(snapshot.target)
    if snapshot.status is not None and not snapshot.status.st_mode & 0o200:
        raise RefusedError(f"{snapshot.path} is read-only", f"run: chmod u+w {snapshot.path}")
    try:
        ensure_private_dir(folder)
        sweep_temporaries(folder, os.path.basename(snapshot.target))
        write_atomic(
            snapshot.target,
            new,
            mode=file_mode(snapshot),
            like=snapshot.status,
            before_replace=lambda: _check_unchanged(snapshot),
        )
    except OSError as error:
        raise RefusedError(
            f"can't write {snapshot.path}: {error.strerror}; it was not changed",
            "check the disk, and the owner and mode of its directory",
        ) from None


def remove_config(snapshot: Snapshot) -> None:
    """Remove a config as it was read.

    Raises:
        ChangedError: somebody else wrote the file meanwhile; nothing was done.
        RefusedError: the system refused; nothing was done.
    """
    _check_unchanged(snapshot)
    try:
        os.unlink(snapshot.target)
    except OSError as error:
        raise RefusedError(
            f"can't remove {snapshot.path}: {error.strerror}", "check its owner and directory"
        ) from None


def _check_unchanged(snapshot: Snapshot) -> None:
    if _resolve(snapshot.path) != snapshot.target:
        raise ChangedError
    try:
        now = os.lstat(snapshot.target)
    except FileNotFoundError:
        if snapshot.status is None:
            return
        raise ChangedError from None
    then = snapshot.status
    if then is None or (now.st_ino, now.st_mtime_ns, now.st_size) != (
        then.st_ino,
        then.st_mtime_ns,
        then.st_size,
    ):
        raise ChangedError


def fingerprint(raw: bytes) -> str:
    """SHA-256 of a file's bytes, to recognise them again."""
    return sha256_hex(raw)


class Backups:
    """What client configs were before kmi wrote them: 0600 files below ``backups/``."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def save(self, snapshot: Snapshot, now: float, by_command: Collection[str] = ()) -> str:
        """Keep the bytes of a snapshot; `prune` is for when the config is written.

        Args:
            snapshot: what is going to be replaced.
            now: seconds since the epoch; names the backup.
            by_command: ids of keys whose secret a program gives, and no file of kmi's holds.

        Returns:
            the name of the backup; "" when there was no file to keep.

        Raises:
            RefusedError: the system refused; then the config must not be written.
        """
        if snapshot.raw is None or snapshot.config is None:
            return ""
        raw = hidden(snapshot.config, snapshot.raw, by_command)
        stamp = utc_text(now).replace(":", "").replace("-", "")
        name = f"{snapshot.client}-{stamp}-{os.urandom(2).hex()}.toml"
        try:
            ensure_private_dir(self.directory)
            write_atomic(os.path.join(self.directory, name), raw)
        except OSError as error:
            raise RefusedError(
                f"can't keep a backup in {self.directory}: {error.strerror}; "
                f"{snapshot.path} was not changed",
                "check the disk and the state directory",
            ) from None
        return name

    def discard(self, name: str) -> None:
        """Remove a backup of what was not replaced after all; "" is none."""
        if name:
            with suppress(OSError):
                os.unlink(os.path.join(self.directory, name))

    def prune(self, client: str, needed: Collection[str]) -> None:
        """Remove a client's oldest backups until ten are left, but none that is needed.

        The config is written by then, so nothing is raised: one too many does no harm.
        """
        with suppress(RefusedError):
            names = self.names(client)
            spare = [name for name in reversed(names) if name not in needed]
            for old in spare[: max(0, len(names) - BACKUPS_KEPT)]:
                self.discard(old)

    def names(self, client: str) -> list[str]:
        """The backups of a client, newest first.

        Raises:
            RefusedError: their directory can't be read.
        """
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RefusedError(f"can't read {self.directory}: {error.strerror}") from None
        return sorted(
            (e for e in entries if e.startswith(f"{client}-") and e.endswith(".toml")), reverse=True
        )

    def read(self, name: str) -> bytes:
        """The bytes of a backup.

        Raises:
            KmiError: there is no such backup.
            RefusedError: it can't be read.
        """
        if os.path.basename(name) != name or not name.endswith(".toml"):
            raise KmiError(f"{name!r} is not the name of a backup", "see `kmi backups`")
        try:
            return read_regular(os.path.join(self.directory, name), limit=MAX_CONFIG_BYTES)[0]
        except FileNotFoundError:
            raise KmiError(f"there is no backup {name!r}", "see `kmi backups`") from None
        except OSError as error:
            raise RefusedError(f"can't read the backup {name}: {error.strerror}") from None
