"""Which runs use the proxy: a file for each below ``proxy-runs/``, named ``PID-START``.

The client keeps kmi's process id (exec), so a lease is good exactly as long as that process lives.
A proxy that ends with its runs asks `live` about once a second. It must ask and stop listening in
one go, without giving way in between: a run writes its lease first and looks whether the proxy
answers second, so it is either counted or not answered, and then starts another one.
"""

from __future__ import annotations

import os
from contextlib import suppress

from kmi.files import ensure_private_dir
from kmi.pins import alive, start_mark

#: Below the state directory.
FOLDER = "proxy-runs"
#: A lease of no process: somebody wants the proxy to stay when its runs end.
STAY = "stay"


def take(directory: str) -> str:
    """Write the lease of this process, and return its path."""
    pid = os.getpid()
    return _touch(directory, f"{pid}-{start_mark(pid)}")


def stay(directory: str) -> None:
    """Let a proxy that would end with its runs stay."""
    _touch(directory, STAY)


def _touch(directory: str, name: str) -> str:
    ensure_private_dir(directory)
    path = os.path.join(directory, name)
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    os.close(os.open(path, flags, 0o600))
    return path


def drop(path: str) -> None:
    """Take a lease back, for instance because the program could not be started."""
    with suppress(OSError):
        os.unlink(path)


def forget_stay(directory: str) -> None:
    """A new proxy decides anew whether it stays."""
    drop(os.path.join(directory, STAY))


def stays(directory: str) -> bool:
    """Whether somebody asked for it to stay."""
    return os.path.exists(os.path.join(directory, STAY))


def live(directory: str) -> int:
    """How many leases are good, `STAY` among them; those of processes that are gone are removed."""
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    count = 0
    for name in names:
        pid, _, started = name.partition("-")
        if name == STAY:
            count += 1
        elif pid.isdigit() and pid.isascii() and started:
            if alive(int(pid), started):
                count += 1
            else:
                drop(os.path.join(directory, name))
    return count
