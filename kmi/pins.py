"""What a pinned run has for itself, below ``pins/PID-START-NS-RUN/``: a config, or a client home.

The client keeps kmi's process id (exec), so a copy is in use exactly as long as that process lives;
the next kmi removes the others. Imported on the quick path: only what is loaded there anyway.
"""

from __future__ import annotations

import os
import time

from kmi.errors import KmiError
from kmi.quick import read_plain

#: Whether a process of another namespace lives can't be seen; nothing runs for longer.
FOREIGN_KEPT_S = 7 * 86400.0

FILE = "config.toml"
HOME = "home"
ORIGIN = "origin"

CLI, CODE = "kimi-cli", "kimi-code"
#: What kimi-cli 1.51.0 and Kimi Code 2.1.0 make in their homes; made there first, so that it is
#: written through the links and nothing of the user's ends up in a private home.
DIRS = {
    CLI: (
        *("sessions", "imported_sessions", "logs", "credentials", "mcp-oauth", "plugins"),
        *("user-history", "prompt-cache", "telemetry", "bin"),
    ),
    CODE: (
        *("sessions", "logs", "cache", "credentials", "oauth", "plugins", "user-history"),
        *("workspace-trust", "bin", "updates"),
    ),
}
FILES = {
    CLI: (
        *("device_id", "kimi.json", "mcp.json", "kimi_code_tips.json"),
        *("latest_version.txt", "skipped_version.txt"),
    ),
    CODE: ("device_id", "session_index.jsonl", "workspaces.json", "tui.toml", "mcp.json"),
}
#: Files that a client replaces by rename, so that the link is lost, go back. Two caches of Kimi
#: Code are not worth keeping; the index of kimi-cli's sessions is put together from both.
CODE_CACHES = {"workspaces.json", "session_index.jsonl"}
CLI_INDEX = "kimi.json"


def start_mark(pid: int) -> str:
    """When a process started, in clock ticks since boot ("0" where the system does not tell).

    A process id alone may be another process by now.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the name in parentheses, which may hold anything.
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return "0"


def create_file(directory: str, run_id: str, data: bytes) -> str:
    """Write a private config for this process, and return its path."""
    path = os.path.join(_folder(directory, run_id), FILE)
    _write(path, data)
    return path


def create_home(directory: str, run_id: str, data: bytes, real: str, client: str) -> str:
    """Make a private client home for this process: links to the real one, but its own config.

    Sessions, credentials (with the locks beside them) and history are the real ones; only the key
    is private. Measured with kimi-cli 1.51.0 and Kimi Code 2.1.0 (docs/decisions/0001).

    Returns:
        the directory to put into ``KIMI_SHARE_DIR`` or ``KIMI_CODE_HOME``.
    """
    folder = _folder(directory, run_id)
    _write(os.path.join(folder, ORIGIN), os.fsencode(real))
    home = os.path.join(folder, HOME)
    os.mkdir(home, 0o700)
    _write(os.path.join(home, FILE), data)
    for name in DIRS[client]:
        os.makedirs(os.path.join(real, name), 0o700, exist_ok=True)
    for name in {*os.listdir(real), *FILES[client]}:
        if not name.startswith((FILE, f".{FILE}.")):
            os.symlink(os.path.join(real, name), os.path.join(home, name))
    return home


def namespace() -> str:
    """The process namespace: a container with the home mounted counts its processes anew."""
    try:
        return "".join(c for c in os.readlink("/proc/self/ns/pid") if c.isdigit())
    except OSError:
        return "0"


def _folder(directory: str, run_id: str) -> str:
    pid = os.getpid()
    os.makedirs(directory, 0o700, exist_ok=True)
    folder = os.path.join(directory, f"{pid}-{start_mark(pid)}-{namespace()}-{run_id}")
    os.mkdir(folder, 0o700)
    return folder


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def remove(folder: str) -> None:
    """Remove what a run had; what its client left in a private home goes back to the real one."""
    home = os.path.join(folder, HOME)
    try:
        _unlink(os.path.join(folder, FILE))
        _unlink(os.path.join(home, FILE))
        if os.path.isdir(home):
            _give_back(home, os.fsdecode(read_plain(os.path.join(folder, ORIGIN), 65536)[0]))
            os.rmdir(home)
        _unlink(os.path.join(folder, ORIGIN))
        os.rmdir(folder)
    except (OSError, KmiError):
        # Something of the user's is in the way: it is left for them.
        return


def _give_back(home: str, real: str) -> None:
    made = os.lstat(os.path.join(os.path.dirname(home), ORIGIN)).st_mtime_ns
    for name in os.listdir(home):
        mine, theirs = os.path.join(home, name), os.path.join(real, name)
        if os.path.islink(mine) or name.startswith(FILE) or name in CODE_CACHES:
            _unlink(mine)
        elif not os.path.lexists(theirs) or (
            os.path.isfile(mine) and os.lstat(theirs).st_mtime_ns <= made
        ):
            _move(mine, theirs)
        elif os.path.isfile(mine):
            # The real one was changed later, by another run.
            if name == CLI_INDEX:
                from kmi.session_index import merge_files

                merge_files(mine, theirs, os.path.join(real, "sessions"))
            _unlink(mine)


def _move(mine: str, theirs: str) -> None:
    """Rename, also to another file system."""
    try:
        os.replace(mine, theirs)
    except OSError as error:
        import errno

        if error.errno != errno.EXDEV:
            raise
        if os.path.isfile(mine):
            from kmi.files import write_atomic

            data, mode = read_plain(mine)
            write_atomic(theirs, data, mode=mode & 0o777)
            os.unlink(mine)
        else:
            from shutil import move

            move(mine, theirs)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def sweep(directory: str) -> None:
    """Remove the copies of processes that are gone."""
    for folder in left(directory):
        remove(folder)


def left(directory: str) -> list[str]:
    """The copies of processes that are gone."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    found = []
    for name in names:
        parts = name.split("-")
        folder = os.path.join(directory, name)
        if len(parts) != 4 or not parts[0].isdigit():
            continue
        if parts[2] != namespace():
            gone = _age_s(folder) > FOREIGN_KEPT_S
        else:
            gone = not alive(int(parts[0]), parts[1])
        if gone:
            found.append(folder)
    return found


def _age_s(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0


def alive(pid: int, started: str) -> bool:
    """Whether a process lives that started then (`start_mark`)."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return started == "0" or start_mark(pid) in {started, "0"}
