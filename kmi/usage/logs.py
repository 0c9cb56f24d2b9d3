"""The clients' session logs on disk: found by their place, read in pieces, never written.

Nothing outside of the session folders is opened: below ``sessions/`` no link is followed, only
regular files of a bounded size are read (`kmi.files.open_regular`), and each is looked at by its
descriptor. Lines may be as long as a prompt, so that only those that hold a marker are kept.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import ConfigError, KmiError
from kmi.files import open_regular, read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The log of a session, and of each of its agents.
NAME = "wire.jsonl"
#: No session is so long; a larger file is not read.
LOG_LIMIT_BYTES = 4 * 1024**3
#: Files are read in pieces of this size.
BLOCK_BYTES = 1024 * 1024
#: No line about tokens is so long. Longer ones are prompts, and skipped.
LINE_MAX_BYTES = 256 * 1024


class Log(NamedTuple):
    """One log.

    Attributes:
        folder: the session's directory, in one with the client's name of the project.
        session: the client's name of the session.
        agent: the sub-agent whose log it is; "" for the session's own.
        status: of the file, not of what it may link to.
    """

    client: str
    folder: str
    session: str
    agent: str
    path: str
    status: os.stat_result


def sessions_folder(home: str) -> str:
    """Where a client keeps its sessions. The folder itself may be a link: that is the person's."""
    return os.path.realpath(os.path.join(home, "sessions"))


def find_logs(client: str, home: str) -> Iterator[Log]:
    """Every log of a client; by looks at directories only, no file is opened."""
    for project in _folders(sessions_folder(home)):
        for session in _folders(project.path):
            if client == "kimi-cli":
                yield from _log(client, session.path, session.name, "", session.path)
            agents = session.path + ("/subagents" if client == "kimi-cli" else "/agents")
            for agent in [] if os.path.islink(agents) else _folders(agents):
                name = "" if agent.name == "main" else agent.name
                yield from _log(client, session.path, session.name, name, agent.path)


def _folders(path: str) -> list[os.DirEntry[str]]:
    """The directories in one; links are none."""
    try:
        with os.scandir(path) as entries:
            return [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _log(client: str, folder: str, session: str, agent: str, place: str) -> Iterator[Log]:
    path = f"{place}{os.sep}{NAME}"
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        yield Log(client, folder, session, agent, path, status)


def open_log(path: str, root: str) -> tuple[int, os.stat_result]:
    """Open a log to read it; the caller closes it.

    Raises:
        RefusedError: it is a link, or no regular file.
        ConfigError: it lies outside of ``root`` by now, or is too large.
        OSError: anything else, for instance that it is gone.
    """
    fd, status = open_regular(path)
    real = os.path.realpath(path)
    try:
        if real != path or not real.startswith(root + os.sep):
            raise ConfigError(f"{path} is not inside of {root}, so it is not read")
        if status.st_size > LOG_LIMIT_BYTES:
            raise ConfigError(
                f"{path} is larger than {LOG_LIMIT_BYTES >> 30} GiB, so it is not read"
            )
    except KmiError:
        os.close(fd)
        raise
    return fd, status


def read_beside(folder: str, name: str) -> bytes:
    """A small file in a session's folder; b"" when there is none that may be read."""
    with suppress(OSError, KmiError):
        return read_regular(os.path.join(folder, name))[0]
    return b""


def marked_lines(fd: int, start: int, marker: bytes) -> Iterator[tuple[list[bytes], int]]:
    """The lines of an open file that hold a marker, piece by piece.

    Args:
        fd: the file.
        start: where a line begins.
        marker: what a line has to hold; b"": every line.

    Yields:
        lines without their ends, and the offset behind the last whole line so far. The part of a
        line at the file's end does not count: whoever writes it may not be done.
    """
    held, skipping, at = b"", False, start
    while True:
        os.lseek(fd, at, os.SEEK_SET)  # others read from it between two pieces
        block = os.read(fd, BLOCK_BYTES)
        if not block:
            return
        at += len(block)
        end = block.rfind(b"\n") + 1
        if not end:
            skipping = skipping or len(held) + len(block) > LINE_MAX_BYTES
            held = b"" if skipping else held + block
            continue
        first = block.find(b"\n") + 1 if skipping else 0
        lines = _marked(held + block[first:end], marker)
        skipping = len(block) - end > LINE_MAX_BYTES
        held = b"" if skipping else block[end:]
        yield lines, at - len(block) + end


def _marked(data: bytes, marker: bytes) -> list[bytes]:
    """The lines of ``data``, which ends where a line does, that hold a marker."""
    found = []
    start = 0
    while (at := data.find(marker, start)) >= 0 and start < len(data):
        first = data.rfind(b"\n", start, at) + 1 or start
        last = data.find(b"\n", at)
        if last - first <= LINE_MAX_BYTES:
            found.append(data[first:last])
        start = last + 1
    return found
