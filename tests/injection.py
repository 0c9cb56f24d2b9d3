"""Faults at the calls by which kmi touches the disk: kills, errors, cut writes, busy editors.

`Injector` wraps, in a process that was forked for one run, the functions of ``os``, ``fcntl`` and
``io`` that change files: they count, and one of them fails. Nothing of kmi is replaced. That this
sees what the kernel sees is proven with strace in `test_fault_sweep`.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re
import signal
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The kernel's name of what a function does; where it takes a path, which argument that is.
BY_PATH = {
    "open": ("openat", 0),
    "listdir": ("openat", 0),
    "scandir": ("openat", 0),
    "replace": ("rename", 1),
    "rename": ("rename", 1),
    "unlink": ("unlink", 0),
    "remove": ("unlink", 0),
    "rmdir": ("rmdir", 0),
    "mkdir": ("mkdir", 0),
    "chmod": ("chmod", 0),
    "truncate": ("truncate", 0),
    "symlink": ("symlink", 1),
    "link": ("link", 1),
    "utime": ("utimensat", 0),
}
BY_DESCRIPTOR = ("write", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown", "setxattr")

#: The errors of every call, and those that only one has.
ERRORS = ("EIO", "ENOSPC", "EACCES", "EROFS", "EMFILE")
LOCK_ERRORS = ("ENOLCK", "ENOSYS", "EOPNOTSUPP")
#: Killed before the call; killed after half of a write, or the disk full then; full, or read-only,
#: from the call on; no descriptor to be had from it on.
KILL, SHORT_KILL, SHORT, FULL, FROZEN = "KILL", "SHORT-KILL", "SHORT", "ENOSPC...", "EROFS..."
STARVED = "EMFILE..."
#: Another program writes the client's config just before the call: in place, by a rename, or the
#: second half of it only when kmi has read it twice more.
EDIT, EDIT_RENAME, EDIT_SLOWLY = "EDIT", "EDIT-RENAME", "EDIT-SLOWLY"
#: The same, of a line at its end.
APPEND = "APPEND"
#: The lock is held by somebody; from then on the system says that it has none.
BUSY_THEN = {f"BUSY-{name}": name for name in LOCK_ERRORS}


class Point(NamedTuple):
    """One call of a run: the ``nth`` of this name for files of that name.

    Attributes:
        depth: how many forks it is away from the process that was started.
        call: the kernel's name.
        name: the file, with what is random in its name taken out (`shape`).
        writes: whether it can change something.
    """

    depth: int
    call: str
    name: str
    nth: int
    writes: bool

    def __str__(self) -> str:
        where = f" in fork {self.depth}" if self.depth else ""
        return f"{self.call} {self.name} #{self.nth}{where}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Everything that can go wrong there."""
        if not self.writes:
            return ("EIO", "EACCES", "EMFILE", STARVED)
        more: tuple[str, ...] = (FULL, FROZEN)
        if self.call == "flock":
            more = LOCK_ERRORS
        elif self.call == "openat":
            more = (FULL, FROZEN, STARVED)
        elif self.call == "write":
            more = (SHORT, SHORT_KILL, FULL, FROZEN)
        return (KILL, *ERRORS, *more)


_RANDOM = (
    (r"\.kmi-\d+-[0-9a-f]+", ".kmi-TEMPORARY"),
    (r"\d{8}T\d{6}(\.?\d+)?Z(-[0-9a-f]{4}\b)?", "TIME"),
    (r"pins/\d+-\d+-\d+-[0-9a-f]+", "pins/RUN"),
    (r"proxy-runs/\d+-\d+", "proxy-runs/RUN"),
    (r"backups/\d+\.toml", "backups/PID.toml"),  # of the careless one
)


@lru_cache(maxsize=10_000)
def shape(name: str) -> str:
    """The name of a file without what differs from run to run.

    >>> shape("kmi-state/.state.json.kmi-4711-0a0b0c0d")
    'kmi-state/.state.json.kmi-TEMPORARY'
    """
    for pattern, word in _RANDOM:
        name = re.sub(pattern, word, name)
    return name


class Injector:
    """Counts the calls that touch files below some folders, and lets one of them fail.

    Args:
        top: what names are relative to.
        folders: below it.
        log: a file; each call is told there, or only that which failed.
        target: the call that fails, as the fields of `Point`; None: none does.
        kind: how it fails.
        config: the file that an editor writes.
    """

    def __init__(
        self,
        top: str,
        folders: Sequence[str],
        log: str,
        target: Sequence[object] | None,
        kind: str,
        config: str,
    ) -> None:
        self._top = f"{top}/"
        self._folders = tuple(f"{top}/{folder}" for folder in folders)
        self._log = log
        self._target = None if target is None else Point(*target)  # type: ignore[arg-type]  # JSON
        self._kind = kind
        self._config = config
        self._depth = 0
        self._seen: Counter[tuple[str, str]] = Counter()
        self._broken: Callable[[str, str], bool] = lambda call, name: False
        self._editor: SlowEditor | None = None
        self._inside = False
        self._real = {name: getattr(os, name) for name in (*BY_PATH, *BY_DESCRIPTOR, "readlink")}

    def install(self) -> None:
        """Wrap the functions of this process."""
        import fcntl

        for function, (call, index) in BY_PATH.items():
            setattr(os, function, self._by_path(function, call, index))
        for function in BY_DESCRIPTOR:
            setattr(os, function, self._by_descriptor(self._real[function], function))
        # typeshed knows no module whose functions may be replaced.
        fcntl.flock = self._by_descriptor(fcntl.flock, "flock")
        real = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            return self._open_file(real, file, mode, *args, **options)

        builtins.open = io.open = opened
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._depth += 1
        self._seen.clear()

    def _by_path(self, function: str, call: str, index: int) -> Callable[..., Any]:
        real = self._real[function]

        def wrapped(*args: Any, **options: Any) -> Any:
            given = args[index] if len(args) > index else "."
            path = self._path(given)
            flags = args[1] if function == "open" and len(args) > 1 else 0
            writes = function not in {"listdir", "scandir"} and not (
                function == "open" and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            return self._meet(call, path, writes, lambda: real(*args, **options))

        return wrapped

    def _by_descriptor(self, real: Callable[..., Any], call: str) -> Callable[..., Any]:
        def wrapped(fd: Any, *args: Any, **options: Any) -> Any:
            path = self._path(fd)
            if call == "write":
                half = args[0][: len(args[0]) // 2]
                return self._meet(call, path, True, lambda: real(fd, *args), lambda: real(fd, half))
            return self._meet(call, path, True, lambda: real(fd, *args, **options))

        return wrapped

    def _path(self, given: Any) -> str:
        """The path that a function was given, by its name or by a descriptor."""
        if hasattr(given, "fileno"):
            given = given.fileno()
        if not isinstance(given, int):
            return os.path.abspath(os.fsdecode(given))
        try:
            return str(self._real["readlink"](f"/proc/self/fd/{given}"))
        except OSError:
            return ""

    def _meet(
        self,
        call: str,
        path: str,
        writes: bool,
        act: Callable[[], Any],
        act_by_half: Callable[[], Any] | None = None,
    ) -> Any:
        """Do what was called, unless it is its turn to fail."""
        if self._inside or not path.startswith(self._folders):
            return act()
        name = shape(path[len(self._top) :].replace(" (deleted)", ""))
        self._seen[call, name] += 1
        point = Point(self._depth, call, name, self._seen[call, name], writes)
        if self._target is None:
            self._tell(point)
            return act()
        if point == self._target:
            self._tell(point)
            return self._fail(call, name, path, act, act_by_half)
        if (writes or self._kind == STARVED) and self._broken(call, name):
            kind = FULL if self._kind == SHORT else self._kind
            raise self._error(BUSY_THEN.get(kind, kind), path)
        if self._editor is not None and call == "openat" and path == self._config:
            self._alone(self._editor.seen)
        return act()

    def finish(self) -> None:
        """Let the editor end."""
        if self._editor is not None:
            self._alone(self._editor.end)

    def _alone(self, act: Callable[[], None]) -> None:
        """Do what is not kmi's, so that it does not count."""
        self._inside = True
        act()
        self._inside = False

    def _tell(self, point: Point) -> None:
        fd = self._real["open"](self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._real["write"](fd, json.dumps(point).encode() + b"\n")
        os.close(fd)

    def _error(self, kind: str, path: str) -> OSError:
        number = getattr(errno, kind.rstrip("."))
        return OSError(number, os.strerror(number), path)

    def _fail(
        self,
        call: str,
        name: str,
        path: str,
        act: Callable[[], Any],
        act_by_half: Callable[[], Any] | None,
    ) -> Any:
        kind = self._kind
        if kind in {SHORT, SHORT_KILL} and act_by_half is not None:
            done = act_by_half()
            if kind == SHORT:
                self._broken = lambda again, file: (again, file) == (call, name)
                return done
        if kind in {KILL, SHORT_KILL}:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind in {EDIT, EDIT_RENAME}:
            self._alone(lambda: edit(self._config, rename=kind == EDIT_RENAME))
            return act()
        if kind == APPEND:
            self._alone(self._append)
            return act()
        if kind == EDIT_SLOWLY:
            self._alone(self._start_editor)
            return act()
        if kind in BUSY_THEN:
            self._broken = lambda again, file: again == "flock"
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if kind == STARVED:
            self._broken = lambda again, file: again == "openat"
        if kind in {FULL, FROZEN}:
            frees = {"unlink", "rmdir", "ftruncate", "fsync", "flock", "chmod", "fchmod"}
            self._broken = lambda again, file: kind == FROZEN or again not in frees
        raise self._error(kind, path)

    def _append(self) -> None:
        with open(self._config, "ab") as file:
            file.write(b"# edited\n")

    def _start_editor(self) -> None:
        self._editor = SlowEditor(self._config)

    def _open_file(
        self, real: Callable[..., Any], file: Any, mode: str, *args: Any, **options: Any
    ) -> Any:
        """``open()``: its call, and the writes of what it gives, which ``os`` does not see."""
        if isinstance(file, int) or not self._path(file).startswith(self._folders):
            return real(file, mode, *args, **options)
        options["opener"] = lambda path, flags: os.open(path, flags, 0o666)
        if not set("wax+") & set(mode):
            return real(file, mode, *args, **options)
        raw = _Raw(
            os.fspath(file), mode.replace("b", "").replace("t", ""), opener=options["opener"]
        )
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding="utf-8", write_through=True)


class _Raw(io.FileIO):
    """A file whose writes `Injector` sees."""

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)


#: What an editor changes: the size of the file stays.
OLD_THEME, NEW_THEME = b"theme = 'dark'", b"theme = 'dusk'"


def edited(path: str) -> bytes:
    """What an editor makes of a client's config."""
    with open(path, "rb") as file:
        return file.read().replace(OLD_THEME, NEW_THEME)


class SlowEditor:
    """One that truncates a config, writes half of it, and the rest after two more readings."""

    def __init__(self, path: str) -> None:
        new = edited(path)
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - as long as the editor needs
        self._file.write(new[: len(new) // 2])
        self._rest: bytes = new[len(new) // 2 :]
        self._readings = 0

    def seen(self) -> None:
        """Somebody is about to read it."""
        self._readings += 1
        if self._readings > 2:
            self.end()

    def end(self) -> None:
        """Write what is left."""
        if not self._file.closed:
            self._file.write(self._rest)
            self._file.close()


def edit(path: str, *, rename: bool) -> None:
    """Change a field of a client's config as the clients do, from what it is now."""
    new = edited(path)
    if rename:
        with open(f"{path}.new", "wb") as file:
            file.write(new)
        os.chmod(f"{path}.new", 0o600)
        os.replace(f"{path}.new", path)
        return
    with open(path, "wb") as file:
        file.write(new)
