"""Whether kmi can write where it has to: space, read-only disks, directories without the right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from kmi.checks.finding import ERROR, OK, WARNING, Finding, shell
from kmi.paths import client_home
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: A swap writes a config (1 MiB at the most), a backup of it, and the state.
NEEDED_BYTES = 4 * 1024 * 1024
#: Below that it is soon too little.
LOW_BYTES = 64 * 1024 * 1024


class Room(NamedTuple):
    """What is left on a disk; ``files`` is None where the system does not count them."""

    free_bytes: int
    files: int | None
    read_only: bool


def room(path: str) -> Room:
    """What is left where a path is."""
    status = os.statvfs(path)
    files = status.f_favail if status.f_files else None
    read_only = bool(status.f_flag & getattr(os, "ST_RDONLY", 1))
    return Room(status.f_bavail * status.f_frsize, files, read_only)


def trouble(left: Room) -> tuple[str, str]:
    """The severity, and the message; `OK` and "" when there is room."""
    if left.read_only:
        return ERROR, "check.read-only"
    if left.free_bytes < NEEDED_BYTES:
        return ERROR, "check.full"
    if left.files is not None and left.files < 16:
        return ERROR, "check.no-inodes"
    if left.free_bytes < LOW_BYTES:
        return WARNING, "check.nearly-full"
    return OK, ""


def disks(site: Site) -> Iterator[Finding]:
    """The state directory, and the homes of the clients."""
    if not hasattr(os, "statvfs"):
        return
    wanted = [site.settings.state_dir]
    wanted += [client_home(client, site.env) for client in CLIENTS if site.config_path(client)]
    seen = set()
    for path in map(_existing, wanted):
        if path in seen:
            continue
        seen.add(path)
        try:
            left = room(path)
        except OSError:
            continue
        severity, message = trouble(left)
        if message:
            what = site.words(message, free=f"{left.free_bytes // 1024} KiB")
            option = "-i" if message == "check.no-inodes" else "-h"
            cure = shell("df", option, path)
            if left.read_only:
                cure = site.words("check.read-only-cure")
            yield Finding("disk", severity, "files", what, path, cure=cure)
        elif not os.access(path, os.W_OK | os.X_OK):
            what, cure = site.words("check.not-writable"), shell("chmod", "u+wx", path)
            if os.stat(path).st_uid != os.geteuid():
                cure = f"sudo chown {os.geteuid()} {shell(path)}"
            yield Finding("disk", ERROR, "files", what, path, cure=cure)
        elif path == _existing(site.settings.state_dir):
            what = site.words("check.room", free=f"{left.free_bytes >> 20} MiB")
            yield Finding("disk", OK, "files", what, path, detail=True)


def _existing(path: str) -> str:
    """The path, or the first directory above it that exists."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
