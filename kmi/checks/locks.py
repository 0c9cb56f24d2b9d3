"""The lock: whether it can be had, and else who has it and since when."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from kmi.checks.finding import ERROR, OK, WARNING, Finding, shell
from kmi.lock import holder_pid, process_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: A run holds the lock for some milliseconds; who holds it for longer is told.
PATIENCE_S = 0.3
_PAUSE_S = 0.02


def locks(site: Site) -> Iterator[Finding]:
    """The lock file; a kernel lock, so that it ends with its process and can't go stale."""
    path, words = site.store.path("lock"), site.words
    try:
        status = os.lstat(path)
    except OSError:
        yield Finding("lock", OK, "state", words("check.lock-free"), path, detail=True)
        return
    if not stat.S_ISREG(status.st_mode):
        cure = shell("rm", "-r", path)
        yield Finding("lock", ERROR, "state", words("check.lock-kind"), path, cure=cure)
        return
    try:
        taken = is_taken(path, PATIENCE_S)
    except OSError as error:
        what = words("check.lock-fails", why=error.strerror or str(error))
        cure = words("check.lock-fails-cure")
        yield Finding("lock", ERROR, "state", what, path, cure=cure)
        return
    if taken:
        yield _held(site, path)
    else:
        yield Finding("lock", OK, "state", words("check.lock-free"), path, detail=True)


def is_taken(path: str, patience_s: float) -> bool:
    """Whether somebody holds a lock for longer than a moment.

    Raises:
        OSError: it can't be opened, or there are no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows: only taking it would tell
        return False
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags)
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return True
                time.sleep(_PAUSE_S)
            else:
                return False
    finally:
        os.close(fd)


def _held(site: Site, path: str) -> Finding:
    words = site.words
    pid = holder_pid(path)
    if pid is None:
        what, cure = words("check.lock-held-unknown"), shell("lsof", path)
        return Finding("lock", WARNING, "state", what, path, cure=cure)
    state, age_s = process_state(pid)
    since = words.span(age_s)
    if state in {"T", "t"}:
        what = words("check.lock-stopped", who=process_name(pid), span=since)
        return Finding("lock", ERROR, "state", what, path, cure=f"kill -CONT {pid}")
    what = words("check.lock-held", who=process_name(pid), span=since)
    return Finding("lock", WARNING, "state", what, path, cure=f"kill {pid}")


def process_state(pid: int) -> tuple[str, float]:
    """The state letter of a process ("T": stopped), and its age in seconds (Linux; proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/uptime", "rb") as file:
            uptime_s = float(file.read().split()[0])
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return "", 0.0
    return fields[0].decode(), max(0.0, uptime_s - started_s)
