"""The advisory lock around state and client config: one per state directory.

A kernel lock (flock): it ends with its process, so it can't go stale. An uncontended one is taken
directly, because importing filelock costs as much start-up as the rest of kmi together
(docs/decisions/0004); filelock does the waiting, and everything on Windows. Both exclude each
other: it is the same call on the same file.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmi.errors import ConfigError, RefusedError, TryLaterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long to wait for one holder. It only edits one small file; longer means it hangs.
LOCK_TIMEOUT_S = 10.0
#: How long to wait while the lock goes from hand to hand: many runs that start together.
QUEUE_TIMEOUT_S = 60.0
#: How often the holder is looked at.
LOOK_S = 0.25
#: After this long the person is told what the wait is for.
NOTICE_AFTER_S = 0.5

_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def locked(
    path: str,
    notice: Callable[[str], None],
    *,
    timeout_s: float = LOCK_TIMEOUT_S,
    queue_s: float = QUEUE_TIMEOUT_S,
    held: int | None = None,
) -> Iterator[None]:
    """Hold the lock at ``path``.

    Args:
        path: the lock file; it is created, and stays.
        notice: told once when the wait is longer than a moment.
        timeout_s: how long to wait for one holder. Where the system does not tell who holds it,
            for all of them.
        queue_s: how long to wait at all, also while the lock goes from hand to hand.
        held: a descriptor that holds the lock already, handed down by the parent process.

    Raises:
        TryLaterError: somebody else held it for all of that time; the message names the holder.
        ConfigError: the file system has no locks.
        RefusedError: the lock file can't be opened.
    """
    fd = _try_kernel_lock(path) if held is None else held
    if fd is not None:
        try:
            yield
        finally:
            os.close(fd)
        return
    with _waited(path, notice, timeout_s, queue_s):
        yield


def _try_kernel_lock(path: str) -> int | None:
    """A descriptor that holds the lock, or None when it has to be waited for."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise RefusedError(
            f"can't open the lock file {path}: {error.strerror}", "check the state directory"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        raise _failed(path, error) from None
    return fd


@contextmanager
def _waited(
    path: str, notice: Callable[[str], None], timeout_s: float, queue_s: float
) -> Iterator[None]:
    import inspect

    from filelock import FileLock, Timeout

    options = {}
    if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters:
        # filelock 4 would silently take an existence lock, which a crash leaves behind.
        options["fallback_to_soft"] = False
    lock = FileLock(path, timeout=timeout_s, mode=0o600, **options)
    started = progress = time.monotonic()
    told, holder = False, ""
    try:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=LOOK_S, poll_interval=0.01)
            except Timeout:
                _check_works(path)
                now = time.monotonic()
                last, holder = holder, _holder(path)
                if last and holder != last:
                    progress = now  # the queue moves
                if not told and now - started >= NOTICE_AFTER_S:
                    told = True
                    notice(f"waiting for {holder}, which holds the lock {path}")
                if now - progress >= timeout_s or now - started >= queue_s:
                    raise TryLaterError(
                        f"gave up after {int(now - started)} s: {holder} holds the lock {path}",
                        "try again, or end that process",
                        code="lock-timeout",
                    ) from None
    except (OSError, NotImplementedError) as error:
        raise _failed(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _check_works(path: str) -> None:
    """Raise what `locked` would where locks do not work: filelock 3 takes that for a holder."""
    fd = _try_kernel_lock(path)
    if fd is not None:
        os.close(fd)


def _failed(path: str, error: Exception) -> Exception:
    number = getattr(error, "errno", None)
    if isinstance(error, NotImplementedError) or number in _UNSUPPORTED:
        return ConfigError(
            f"the file system of {path} has no file locks",
            "set KMI_STATE_DIR to a directory on a local disk",
        )
    return RefusedError(
        f"can't lock {path}: {getattr(error, 'strerror', None) or 'the system refused'}",
        "check the state directory",
    )


def _holder(path: str) -> str:
    """Who holds the lock, as far as the system tells."""
    pid = holder_pid(path)
    return "another kmi" if pid is None else process_name(pid)


def holder_pid(path: str) -> int | None:
    """The process that holds the lock; None where the system does not tell (Linux: /proc/locks)."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                parts = line.split()
                if "->" not in parts and parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
                    return int(parts[4])
    except (OSError, ValueError, IndexError):
        pass
    return None


def process_name(pid: int) -> str:
    """A process by its number and name."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            name = ascii(comm.read().strip())[1:-1]
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({name})"
