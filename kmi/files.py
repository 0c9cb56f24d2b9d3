"""Reading and writing files so that nothing is torn, leaked or followed by accident.

Every function raises ``OSError`` for what the system refuses, except where its docstring says
otherwise; callers add what the file meant to them.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from kmi.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Files that a person writes by hand are small; a larger one is a mistake or an attack.
SMALL_FILE_BYTES = 1024 * 1024

#: Stands between the name of a file and the process that is writing it, in a temporary's name.
TEMPORARY_MARK = ".kmi-"

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def read_regular(
    path: str, *, limit: int = SMALL_FILE_BYTES, follow: bool = False
) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole, checking the descriptor rather than the name.

    Opens without blocking, so a FIFO can't hang kmi; follows a link at the last part of the path
    only when ``follow``.

    Returns:
        the bytes, and the status of the very file they came from.

    Raises:
        RefusedError: it is a link, a FIFO, a directory or a device.
        ConfigError: it is larger than ``limit`` bytes.
        OSError: anything else, for instance that it does not exist.
    """
    fd, status = open_regular(path, follow=follow)
    try:
        if status.st_size > limit:
            raise too_large(path, limit)
        chunks = []
        room = limit + 1
        while room > 0:
            chunk = os.read(fd, min(room, 1 << 16))
            if not chunk:
                break
            chunks.append(chunk)
            room -= len(chunk)
        if room == 0:
            raise too_large(path, limit)
        return b"".join(chunks), status
    finally:
        os.close(fd)


def open_regular(path: str, *, follow: bool = False) -> tuple[int, os.stat_result]:
    """Open a regular file to read it, with the checks of `read_regular`; the caller closes it.

    Raises:
        RefusedError: it is a link, a FIFO, a directory or a device.
        OSError: anything else.
    """
    if not follow and os.path.islink(path):
        raise _link(path)
    flags = os.O_RDONLY | _CLOEXEC | _NONBLOCK | _BINARY | (0 if follow else _NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise _link(path) from None  # it became one since
        if error.errno == errno.ENXIO:
            raise _irregular(path) from None  # a socket
        raise
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    raise _irregular(path)


def _link(path: str) -> RefusedError:
    return RefusedError(f"{path} is a symbolic link", "put the file itself there")


def _irregular(path: str) -> RefusedError:
    return RefusedError(f"{path} is not a regular file", "put a regular file there")


def too_large(path: str, limit: int) -> ConfigError:
    """The error for a file that is larger than ``limit`` bytes."""
    return ConfigError(f"{path} is larger than {limit // 1024} KiB, the most that kmi reads")


def ensure_private_dir(path: str) -> None:
    """Make a directory (and its parents) with mode 0700 from the start."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        ensure_private_dir(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def write_atomic(
    path: str,
    data: bytes,
    *,
    mode: int = 0o600,
    like: os.stat_result | None = None,
    before_replace: Callable[[], None] | None = None,
    durable: bool = True,
) -> None:
    """Replace a file so that at every moment either the old or the new bytes are there.

    A temporary file in the same directory (created 0600, whatever the umask), fsync, rename, fsync
    of the directory. On any failure the temporary file is removed and the old file is as it was.

    Args:
        path: the file to replace or create; a link at its end would be replaced, not followed.
        data: the new content.
        mode: the permission bits of the result.
        like: the file that is replaced; its owner and extended attributes are kept, its
            ACL only where ``mode`` gives others any right, its group where that is allowed or where
            ``mode`` gives the group any.
        durable: whether it must survive a power cut; what can be made anew need not.
        before_replace: called last before the rename; what it raises stops the replacement.
    """
    temporary = f"{_temporary_prefix(path)}{os.getpid()}-{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW | _BINARY
    fd = os.open(temporary, flags, 0o600)
    try:
        try:
            _write_all(fd, data)
            if like is not None:
                _keep_attributes(fd, path, like, mode)
            # An attribute may have opened it; and a file system without modes refuses any change.
            if hasattr(os, "fchmod") and (mode != 0o600 or os.fstat(fd).st_mode & 0o077):
                os.fchmod(fd, mode)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if before_replace is not None:
            before_replace()
        os.replace(temporary, path)
    except BaseException:
        _unlink_quietly(temporary)
        raise
    if not durable:
        return
    try:
        fsync_dir(os.path.dirname(path) or ".")
    except OSError:
        # The new file is in place; only whether it survives a power cut is not sure.
        return


def _temporary_prefix(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{TEMPORARY_MARK}")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _keep_attributes(fd: int, path: str, like: os.stat_result, mode: int) -> None:
    if hasattr(os, "fchown"):
        mine = os.fstat(fd)
        if mine.st_uid != like.st_uid:
            os.fchown(fd, like.st_uid, -1)
        if mine.st_gid != like.st_gid:
            try:
                os.fchown(fd, -1, like.st_gid)
            except PermissionError:
                if mode & 0o070:
                    raise  # not of that group, so it would open the file to another one
    if hasattr(os, "listxattr"):
        try:
            for name in os.listxattr(path):
                # An ACL lets others in whatever the mode was: never into a private file.
                if mode & 0o077 or not name.startswith("system."):
                    os.setxattr(fd, name, os.getxattr(path, name))
        except OSError:
            # Some file systems have none, and some names (security.*) are not ours to set.
            return


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def fsync_dir(path: str) -> None:
    """Make a rename in a directory durable (git learned this on ext4: core.fsync)."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY | _CLOEXEC | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def append_line(path: str, line: bytes) -> None:
    """Append one line with one write; the file is created with mode 0600.

    A line that a full disk cut off stays alone: the next one begins on a line of its own.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _CLOEXEC | _NOFOLLOW | _BINARY
    fd = os.open(path, flags, 0o600)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        if size:
            os.lseek(fd, size - 1, os.SEEK_SET)
            line = line if os.read(fd, 1) == b"\n" else b"\n" + line
        _write_all(fd, line)
    finally:
        os.close(fd)


def sweep_temporaries(folder: str, name: str | None = None) -> None:
    """Remove what a killed kmi left behind: temporary files of processes that are gone.

    Args:
        folder: where to look.
        name: only those for a file of that name; all in a directory of kmi's own.
    """
    for path in left_temporaries(folder, name):
        _unlink_quietly(path)


def left_temporaries(folder: str, name: str | None = None) -> list[str]:
    """What `sweep_temporaries` would remove."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return []
    left = []
    for entry in entries:
        target, found, rest = entry.rpartition(TEMPORARY_MARK)
        if not found or not target.startswith(".") or (name is not None and target[1:] != name):
            continue
        pid = rest.partition("-")[0]
        number = int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 10 else os.getpid()
        if number != os.getpid() and not process_alive(number):
            left.append(os.path.join(folder, entry))
    return left


def process_alive(pid: int) -> bool:
    """Whether a process of that number exists (it may be another one by now)."""
    if os.name == "nt":
        return True  # signal 0 would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def others_can_read(mode: int) -> bool:
    """Whether group or world have any right to a file of that mode."""
    return bool(mode & 0o077) and os.name != "nt"
