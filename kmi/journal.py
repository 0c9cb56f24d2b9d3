"""Record files of lines that many processes append to, rotated by size, and read while they grow.

``path`` is the newest, ``path.1`` to ``path.N`` are the backups. Writers take turns by an advisory
lock on ``path.lock``, so that no line goes into a file which is just rotated away. Readers need no
lock: they hold the file open that they read, and find the next one by its inode.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Callable

from kmi.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long to wait for the other writers. Each holds the lock for one write.
LOCK_TIMEOUT_S = 5.0
#: How often a follower looks, in seconds.
LOOK_S = 0.2
#: Files are read in pieces of this size.
BLOCK_BYTES = 64 * 1024
#: No record is so long. Of a longer line only a part is told, which can't be read as one.
LINE_MAX_BYTES = 1024 * 1024

_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _COMMON
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | _COMMON


def append(path: str, data: bytes, *, max_bytes: int, backups: int) -> None:
    """Append whole lines with one write: all of them, or none.

    Args:
        path: the newest file; it is created with mode 0600, and so is ``path.lock``.
        data: lines, the last one ended, too.
        max_bytes: a file that would grow beyond this is rotated first. Lines that are larger by
            themselves get a file of their own.
        backups: so many rotated files are kept, no more and no less; 0: none.

    Raises:
        OSError: the system refused; TimeoutError, one of them: the lock was not to be had.
    """
    if not data:
        return
    with _turn(f"{path}.lock"):
        fd = os.open(path, _APPEND, 0o600)
        try:
            size = _whole_size(fd)
            if size and size + len(data) > max_bytes:
                os.close(fd)
                fd = -1
                _rotate(path, backups)
                fd = os.open(path, _APPEND, 0o600)
                size = 0
            if os.write(fd, data) != len(data):
                os.ftruncate(fd, size)  # half a line would be worse than none
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            if fd >= 0:
                os.close(fd)


def _rotate(path: str, backups: int) -> None:
    """Make ``path`` the first backup; the oldest one goes.

    No more are renamed than have to make room: a rotation that was killed in the middle left a
    gap, and this one fills it rather than pushing out a backup for nothing.
    """
    gap = next((n for n in range(1, backups) if not os.path.lexists(f"{path}.{n}")), backups)
    for number in range(gap, 0, -1):
        os.replace(path if number == 1 else f"{path}.{number - 1}", f"{path}.{number}")
    if not backups:
        os.unlink(path)
    surplus = backups + 1  # those of a setting that was larger once
    while os.path.lexists(f"{path}.{surplus}"):
        os.unlink(f"{path}.{surplus}")
        surplus += 1


def _whole_size(fd: int) -> int:
    """The size of a file, without the part of a line that a killed writer left at its end."""
    size = end = os.lseek(fd, 0, os.SEEK_END)
    if not size or _read_at(fd, size - 1, size) == b"\n":
        return size
    whole = 0
    while end and not whole:
        start = max(0, end - BLOCK_BYTES)
        whole = start + _read_at(fd, start, end).rfind(b"\n") + 1
        whole, end = (0 if whole == start else whole), start
    os.ftruncate(fd, whole)
    return whole


def _read_at(fd: int, start: int, end: int) -> bytes:
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, end - start)


@contextmanager
def _turn(path: str) -> Iterator[None]:
    """Hold the lock of the writers."""
    try:
        import fcntl
    except ImportError:  # Windows
        from kmi.lock import locked

        with locked(path, lambda text: None, timeout_s=LOCK_TIMEOUT_S):
            yield
        return
    fd = os.open(path, _APPEND, 0o600)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    text = "another process holds its lock"
                    raise TimeoutError(errno.ETIMEDOUT, text, path) from None
                time.sleep(0.001)
        yield
    finally:
        os.close(fd)


class Follower:
    """Reads a journal from its present end: backwards into the past, and forwards as it grows.

    Nothing is told twice or left out when the file is rotated meanwhile, as long as what was not
    read yet is still among the backups. Only whole lines count.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = _open(path)
        if self._fd is None:
            self._fd = _open(f"{path}.1")  # just rotated, or taken away
        self._at = 0 if self._fd is None else _last_line_end(self._fd)
        self._start = self._at

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def past(self) -> Iterator[bytes]:
        """The lines from before this follower was made, the latest first, without their ends."""
        if self._fd is None:
            return
        seen = set()
        number = 0
        fd: int | None = os.dup(self._fd)
        while fd is not None:
            try:
                inode = os.fstat(fd).st_ino
                if inode not in seen:  # the newest may have become a backup since
                    seen.add(inode)
                    yield from _backwards(fd, _last_line_end(fd) if number else self._start)
            finally:
                os.close(fd)
            number += 1
            # While it is rotated there is a gap; what belongs there has the next number already.
            fd = _open(f"{self._path}.{number}")
            if fd is None:
                fd = _open(f"{self._path}.{number + 1}")

    def lines(self) -> Iterator[bytes]:
        """The lines that came since the last call, in their order, without their ends."""
        while True:
            if self._fd is None:
                self._fd, self._at = self._oldest(), 0
                if self._fd is None:
                    return
            if os.fstat(self._fd).st_size < self._at:
                self._at = 0  # somebody emptied it
            named = _inode(self._path)
            # Its last lines are read after it was seen to be rotated: nobody adds to it then.
            yield from self._rest()
            if named == os.fstat(self._fd).st_ino:
                return
            newer, replaced = self._newer()
            if newer is None:
                return  # it was taken away, and there is no other yet
            at = _told(self._fd, self._at, newer) if replaced else 0
            self.close()
            self._fd, self._at = newer, at

    def _rest(self) -> Iterator[bytes]:
        """The whole lines from here to the end."""
        held = b""
        while self._fd is not None:
            at = self._at + len(held)
            block = _read_at(self._fd, at, at + BLOCK_BYTES)
            if not block:
                return
            *whole, held = (held + block).split(b"\n")
            for line in whole:
                self._at += len(line) + 1
                yield line
            if len(held) > LINE_MAX_BYTES:
                self._at += len(held)
                held = b""

    def _oldest(self) -> int | None:
        """The first file of a journal that did not exist when this follower was made, opened."""
        if _inode(self._path) is None:
            return None
        with _turn(f"{self._path}.lock"):
            return _open((self._path, *_backups(self._path))[-1])

    def _newer(self) -> tuple[int | None, bool]:
        """The file that came after the one that is open, opened; None when there is none yet.

        And whether the one that is open is gone: the other one may hold lines of it.
        """
        if self._fd is None or _inode(self._path) is None:
            return None, False
        mine = os.fstat(self._fd).st_ino
        with _turn(f"{self._path}.lock"):  # else a rotation could be half done
            newer = self._path
            for path in _backups(self._path):
                if _inode(path) == mine:
                    return _open(newer), False
                newer = path
            # It is gone: only the newest is sure to be newer.
            return _open(self._path), True


def _open(path: str) -> int | None:
    """A regular file, opened for reading; None when there is none."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return fd


def _backups(path: str) -> list[str]:
    """The rotated files, the latest first; one number may be missing (`_rotate`)."""
    found: list[str] = []
    number = missing = 0
    while missing < 2:
        number += 1
        if os.path.lexists(f"{path}.{number}"):
            found.append(f"{path}.{number}")
            missing = 0
        else:
            missing += 1
    return found


def _told(fd: int, at: int, newer: int) -> int:
    """Where the last line before ``at`` ends in a file that came instead; 0 when it is not there.

    `prune` replaces a file by one with some of its lines: those that were told are not told again.
    """
    last = next(_backwards(fd, at), None)
    count = sum(line == last for line in _backwards(fd, at))
    end = 0
    with os.fdopen(newer, "rb", closefd=False) as file:
        for line in file:
            end += len(line)
            if last is not None and line == last + b"\n":
                count -= 1  # of equal lines all stay
                if not count:
                    return end
    return 0


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def _last_line_end(fd: int) -> int:
    """Where the last whole line ends."""
    end = os.lseek(fd, 0, os.SEEK_END)
    while end:
        start = max(0, end - BLOCK_BYTES)
        found = _read_at(fd, start, end).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _backwards(fd: int, end: int) -> Iterator[bytes]:
    """The lines before ``end``, where a line ends, the last one first."""
    if not end:
        return
    end -= 1
    held = b""
    while end:
        start = max(0, end - BLOCK_BYTES)
        first, *whole = (_read_at(fd, start, end) + held).split(b"\n")
        yield from reversed(whole)
        held, end = (first if len(first) <= LINE_MAX_BYTES else b""), start
    yield held


def prune(path: str, keep: Callable[[bytes], bool], *, dry_run: bool = False) -> tuple[int, int]:
    """Remove lines from a journal and its backups; a backup of which none stays goes, too.

    Args:
        path: the newest file.
        keep: whether a line, without its end, stays.
        dry_run: only count.

    Returns:
        how many lines, and how many bytes, were removed.

    Raises:
        OSError: the system refused; what was not pruned yet is as it was.
    """
    if not os.path.lexists(path) and not _backups(path):
        return 0, 0
    lines = freed = 0
    with nullcontext() if dry_run else _turn(f"{path}.lock"):
        for name in (path, *_backups(path)):
            fd = _open(name)
            if fd is None:
                continue
            with os.fdopen(fd, "rb") as file:
                data = file.read()
            kept = [line for line in data.splitlines(keepends=True) if keep(line.rstrip(b"\r\n"))]
            left = b"".join(kept)
            if len(left) == len(data):
                continue
            lines += data.count(b"\n") - left.count(b"\n")
            freed += len(data) - len(left)
            if dry_run:
                continue
            if left or name == path:
                write_atomic(name, left, durable=False)
            else:
                os.unlink(name)
    return lines, freed
