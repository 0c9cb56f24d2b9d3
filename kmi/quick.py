"""The quick way of `kmi run` (and `kmi current`): nothing has to change, and that is cheap to know.

After a run on the active key the whole way writes a *memo*: what it decided, until when that
holds, and a signature of everything that it looked at. When all of that is the same, the decision
is the same (`choose` is pure), so this module records the run and becomes the program. In any
doubt it gives None, and the whole way runs. `kmi.memo` writes what is read here.

It may import only what the interpreter has loaded or builtin: each further import is paid at every
start of the client.
"""

from __future__ import annotations

import os
import sys
import time

from kmi import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = f"kmi-memo 2 {__version__}"
_CLIENT_NAMES = ("kimi", "kimi-cli", "kimi-code")
#: A client call with one of these words, wherever it stands, is for the whole way to understand.
_SPECIAL = frozenset(
    {
        "-h", "--help", "-V", "--version", "acp", "doctor", "export", "fork", "info",
        "install-desktop", "login", "logout", "mcp", "migrate", "plugin", "provider", "rc",
        "remote", "server", "session", "term", "update", "upgrade", "vis", "web",
    }
)  # fmt: skip
#: No file that is looked at here is larger: `kmi.store.STATE_LIMIT_BYTES`.
LIMIT_BYTES = 64 * 1024 * 1024
#: With one of these set, the whole way has something to say or to do.
_LOUD = (
    "KIMI_API_KEY",
    "KIMI_BASE_URL",
    "KIMI_CODE_CUSTOM_HEADERS",
    "KIMI_MODEL_API_KEY",
    "KIMI_MODEL_BASE_URL",
    "KIMI_MODEL_NAME",
)


class _DoubtError(Exception):
    """Something is not as the memo says."""


class Memo:
    """What a memo holds, checked against the world as far as that is cheap."""

    def __init__(self, lines: list[str]) -> None:
        self.label = ""
        self.mode = ""
        self.tail = ""
        self.program = ""
        self.config = b""
        self.variables: dict[str, str | None] = {}
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "f":
                signature, _, path = rest.partition(" ")
                if stat_signature(path) != signature:
                    raise _DoubtError
            elif kind == "d":
                digest, _, rest = rest.partition(" ")
                folder, *names = rest.split("\0")
                if folder_signature(folder, names) != digest:
                    raise _DoubtError
            elif kind == "c":
                digest, _, path = rest.partition(" ")
                data = _read(path)
                if content_signature(data) != digest:
                    raise _DoubtError
                if not self.config:
                    self.config = data
            elif kind == "v":
                name, _, value = rest.partition("=")
                self.variables[name] = value
            elif kind in ("label", "mode", "tail", "program"):
                setattr(self, kind, rest)


def try_quick(words: list[str], env: Mapping[str, str]) -> int | None:
    """Do the whole command, if nothing has to change.

    Returns:
        an exit code, or None when the whole way has to run. On success of a run it does not return.
    """
    if os.name == "nt" or not words:
        return None
    if words == ["current"]:
        return _current(env)
    if words[0] == "kimi":
        command = words
    elif words[0] == "run" and len(words) > 1:
        command = words[2:] if words[1] == "--" else words[1:]
    else:
        return None
    if not command or command[0].startswith("-"):
        return None
    name = command[0].rpartition("/")[2]
    kind = name if name in _CLIENT_NAMES else "other"
    if kind != "other" and not plain_call(command[1:]):
        return None
    try:
        return _run(command, name, kind, env)
    except (OSError, ValueError, KeyError, IndexError, ImportError, _DoubtError):
        return None


def plain_call(arguments: list[str]) -> bool:
    """Whether a client's arguments are surely of its main job, with no config of their own."""
    return not any(
        argument in _SPECIAL or argument.startswith(("--config", "__")) for argument in arguments
    )


def state_dir(env: Mapping[str, str]) -> str:
    """The state directory, where it is not moved by the env file."""
    return env.get("KMI_STATE_DIR") or env["HOME"] + "/.kmi"


def memo_path(directory: str, kind: str) -> str:
    """Where the memo of a kind of program is."""
    return f"{directory}/memo/{kind}"


def env_signature(env: Mapping[str, str]) -> str:
    """Every variable that a decision depends on.

    Raises:
        ValueError: one is set that the whole way has something to say about.
    """
    names = []
    for name in env:
        if name in _LOUD:
            raise ValueError(name)
        if name.startswith("KMI_PROMPT"):
            continue  # of the shell's prompt; it follows every swap
        if name.startswith(("KMI_", "KIMI_")) or name in ("HOME", "PATH"):
            names.append(name)
    names.sort()
    # A digest, for some of the values are secrets of the clients.
    return content_signature(ascii([(name, env[name]) for name in names]).encode())


def stat_signature(path: str) -> str:
    """What changes when a file or a directory is changed; "-" when there is none.

    The time of the last status change can't be set back by a program, unlike that of the content.
    """
    try:
        s = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return "-"
    return f"{s.st_mode}:{s.st_uid}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}:{s.st_ino}"


def folder_signature(folder: str, names: list[str]) -> str:
    """The same for many files of one directory, as one digest: thousands are compared by it.

    Raises:
        OSError: there is none of one of the names, or the system refused.
    """
    # Here when the interpreter starts, and faster than any text.
    from marshal import dumps

    fields: list[int] = []  # flat: thousands of small tuples would wake the garbage collector
    for s in map(os.lstat, [f"{folder}/{name}" for name in names]):
        fields += (s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
    # Later versions of the format tell the same values in several ways.
    return content_signature(dumps(fields, 2))


def content_signature(data: bytes) -> str:
    """A digest that no other content has."""
    # What `hashlib` is made of, without its start-up.
    from _blake2 import blake2b

    return str(blake2b(data, digest_size=20).hexdigest())


def find_executable(typed: str, env: Mapping[str, str]) -> str:
    """The first executable file that a word means; "" when there is none."""
    if "/" in typed:
        paths = [typed]
    else:
        paths = [f"{folder or '.'}/{typed}" for folder in env.get("PATH", os.defpath).split(":")]
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if mode & 0o170000 == 0o100000 and os.access(path, os.X_OK):
            return path
    return ""


def _read(path: str) -> bytes:
    data, mode = read_plain(path)
    if mode & 0o077:
        raise _DoubtError  # one that others can read
    return data


def read_plain(path: str, limit: int = LIMIT_BYTES) -> tuple[bytes, int]:
    """What `kmi.files.read_regular` does, without its imports; a link is followed.

    Returns:
        the bytes and the mode.

    Raises:
        OSError: the system refused, it is no regular file, or it is larger than ``limit``.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    fd = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000 or status.st_size > limit:
            raise OSError(f"{path} is no regular file, or too large")
        chunks: list[bytes] = []
        room = limit + 1
        while room > 0:
            chunk = os.read(fd, min(room, 1 << 20))
            if not chunk:
                return b"".join(chunks), status.st_mode
            chunks.append(chunk)
            room -= len(chunk)
        raise OSError(f"{path} is too large")
    finally:
        os.close(fd)


def _load(kind: str, env: Mapping[str, str], directory: str) -> Memo:
    lines = _read(memo_path(directory, kind)).decode("ascii").split("\n")
    if lines[0] != HEADER or lines[2] != env_signature(env):
        raise _DoubtError
    start, _, end = lines[1].partition(" ")
    if not float(start) <= time.time() < float(end):
        raise _DoubtError
    return Memo(lines[3:])


def _current(env: Mapping[str, str]) -> int | None:
    try:
        memo = _load("other", env, state_dir(env))
        if find_executable("kimi", env) != memo.program:
            return None
    except (OSError, ValueError, KeyError, ImportError, IndexError, _DoubtError):
        return None
    sys.stdout.write(memo.label + "\n")
    return 0


def _run(command: list[str], name: str, kind: str, env: Mapping[str, str]) -> int | None:
    import fcntl

    if _bound(os.getcwd()):
        return None
    directory = state_dir(env)
    lock = os.open(f"{directory}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        memo = _load(kind, env, directory)
        path = find_executable(command[0], env)
        watched = find_executable("kimi", env) if kind == "other" else path
        if not path or watched != memo.program or not memo.tail:
            return None
        run_id = os.urandom(6).hex()
        record = record_head(run_id, name) + memo.tail + "\n"
        pins = f"{directory}/pins"
        arguments = command[1:]
        if memo.mode == "file" or os.path.isdir(pins):
            from kmi import pins as private

            private.sweep(pins)
            if memo.mode == "file":
                file = private.create_file(pins, run_id, memo.config)
                arguments = ["--config-file", file, *arguments]
        _append(f"{directory}/runs.jsonl", record.encode("ascii"))
    finally:
        os.close(lock)
    from kmi.errors import KmiError
    from kmi.execute import become, run_env

    try:
        new_env = run_env(env, memo.variables, memo.label, run_id, 1)
        return become(path, [command[0], *arguments], new_env)
    except KmiError as error:
        from kmi.cli import report_run_failure

        return report_run_failure(error)


def _bound(folder: str) -> bool:
    """Whether a project binding may count: there is a `.kmi.toml` in a directory or above it."""
    while True:
        try:
            os.stat(f"{folder}/.kmi.toml", follow_symlinks=False)
        except FileNotFoundError:
            parent = folder.rpartition("/")[0]
            if parent == folder:
                return False
            folder = parent
        else:
            return True


def record_head(run_id: str, program: str) -> str:
    """The fields of a run's record that differ from run to run, as JSON text.

    Raises:
        ValueError: one needs escapes, which the whole way writes.
    """
    cwd = os.getcwd()
    for text in (cwd, program):
        if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
            raise ValueError(text)
    now = round(time.time(), 3)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    millis = round((now % 1) * 1000) % 1000
    return (
        f'{{"schema":1,"ts":"{stamp}.{millis:03d}Z","event":"run","run":"{run_id}",'
        f'"pid":{os.getpid()},"cwd":"{cwd}","program":"{program}",'
    )


def _append(path: str, line: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            raise _DoubtError  # a line was cut off; the whole way knows what to do
        if os.write(fd, line) != len(line):
            raise OSError("the disk is full")
    finally:
        os.close(fd)
