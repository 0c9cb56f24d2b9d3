"""Reading and writing the files of clients that `kmi plugin` changes."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import ConfigError, RefusedError, TryLaterError
from kmi.files import ensure_private_dir, read_regular, write_atomic
from kmi.plugin.texts import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

#: No file that is edited here is larger.
LIMIT_BYTES = 1024 * 1024
#: Kinds of files.
MANIFEST, ENTRY, STATUS, CONFIG = "manifest", "entry", "status-line", "hooks"


class File(NamedTuple):
    """A file of a client's, as it was at one moment.

    Attributes:
        path: where the client looks.
        target: the file itself, behind any links.
        text: what is in it; None when there is none.
        status: of the very file that was read.
    """

    kind: str
    path: str
    target: str
    text: str | None
    status: os.stat_result | None


class Change(NamedTuple):
    """What becomes of a file.

    Attributes:
        after: its new text; None when it goes.
        patch: what was put in, to be remembered.
    """

    file: File
    after: str | None
    patch: Patch = Patch("", "")

    @property
    def changes(self) -> bool:
        """Whether anything has to be written."""
        return self.after != self.file.text


def read(kind: str, path: str) -> File:
    """Read a file of a client's; a link is followed, so that it stays one.

    Raises:
        RefusedError: it is another user's, no regular file, or the system refused.
        ConfigError: it is too large, or no UTF-8 text.
    """
    target = os.path.realpath(path)
    try:
        raw, status = read_regular(target, limit=LIMIT_BYTES)
    except FileNotFoundError:
        if os.path.islink(path):
            raise RefusedError(
                f"{path} is a link that leads nowhere", "correct the link, or remove it"
            ) from None
        return File(kind, path, target, None, None)
    except OSError as error:
        raise RefusedError(
            f"can't read {path}: {error.strerror}", "check its owner and mode"
        ) from None
    if os.name != "nt" and status.st_uid != os.geteuid():
        raise RefusedError(f"{path} belongs to another user", "kmi edits only files of your own")
    try:
        return File(kind, path, target, raw.decode(), status)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", "save it as UTF-8") from None


def write(change: Change) -> list[str]:
    """Write one file, or remove it; returns the folders that had to be made, outermost first.

    Raises:
        TryLaterError: somebody else wrote it meanwhile; nothing was done.
        RefusedError: the system refused.
    """
    file, made = change.file, []
    try:
        if change.after is None:
            _check_unchanged(file)
            os.unlink(file.target)
            return []
        made = _missing_folders(os.path.dirname(file.target))
        ensure_private_dir(os.path.dirname(file.target))
        mode = 0o600 if file.status is None else stat.S_IMODE(file.status.st_mode)
        write_atomic(
            file.target,
            change.after.encode(),
            mode=mode & 0o600 if file.kind == CONFIG else mode,
            like=file.status,
            before_replace=lambda: _check_unchanged(file),
        )
    except OSError as error:
        raise RefusedError(
            f"can't write {file.path}: {error.strerror}; it was not changed",
            "check the disk, and the owner and mode of its directory",
        ) from None
    return made


def _missing_folders(folder: str) -> list[str]:
    found: list[str] = []
    while folder != os.path.dirname(folder) and not os.path.isdir(folder):
        found.insert(0, folder)
        folder = os.path.dirname(folder)
    return found


def remove_empty(folders: Sequence[str]) -> None:
    """Remove the folders that kmi made, innermost first, as far as nothing is in them."""
    for folder in sorted(folders, key=len, reverse=True):
        try:
            os.rmdir(folder)
        except OSError:
            continue


def _check_unchanged(file: File) -> None:
    try:
        now = os.lstat(file.target)
    except FileNotFoundError:
        if file.status is None:
            return
        now = None
    then = file.status
    if (
        now is None
        or then is None
        or (now.st_ino, now.st_mtime_ns, now.st_size)
        != (then.st_ino, then.st_mtime_ns, then.st_size)
    ):
        raise TryLaterError(
            f"{file.path} was changed while kmi was editing it",
            "close what writes it, and try again",
            code="config-busy",
        )
