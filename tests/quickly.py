"""Many runs of kmi in little time: each is a process of its own, forked with the modules loaded.

A start of Python costs more than most commands. `Forks` starts one Python, which imports kmi once
and then forks for every run; what a run sees (arguments, environment, directory, descriptors) is
what it would see when started by a shell. Nothing of kmi is replaced. What a start costs, and what
it imports, is the subject of test_startup.py, where each run is a start.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import kmi
from tests.fork_server import (
    LOCALE,
    PACKAGE_PARENT,
    ended,
    environment,
    exit_code,
    preload,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from tests.conftest import World

#: A run of kmi that takes longer than this hangs.
LIMIT_S = 60.0
#: What Python says of itself after ``python -m kmi``.
ENTRY = str(Path(kmi.__file__).with_name("__main__.py").resolve())

Result = subprocess.CompletedProcess[str]


def fits(env: Mapping[str, str]) -> bool:
    """Whether a run with this environment needs no interpreter of its own."""
    return (
        env.get("LANG") == LOCALE
        and env.get("PYTHONPATH") == PACKAGE_PARENT
        and not any(
            name.startswith(("LC_", "LANGUAGE", "PYTHON", "_ARGCOMPLETE")) and name != "PYTHONPATH"
            for name in env
        )
    )


@lru_cache(maxsize=1)
def shared() -> Forks:
    """The one of this process, which ends with it."""
    forks = Forks()
    atexit.register(forks.close)
    return forks


class Forked:
    """A run that goes on; what tests use of `subprocess.Popen`, whose child it would be.

    Attributes:
        pid: its process.
        returncode: None until its end was waited for.
        stdout, stderr: of those that are pipes, the end to read from.
    """

    def __init__(self, result: socket.socket, stdout: IO[bytes] | None, stderr: IO[bytes] | None):
        self._result = result
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self.pid = int(result.recv(64))

    def poll(self) -> int | None:
        """The exit code (or the signal, negative), if it ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        if self.returncode is None:
            if not select.select([self._result], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["kmi"], timeout or 0.0)
            self.returncode = int(self._result.recv(64))
            self._result.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it says until its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        said: dict[Any, list[bytes]] = {self.stdout: [], self.stderr: []}
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for pipe in {self.stdout, self.stderr} - {None}:
                assert pipe is not None
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready = selector.select(left)
                if not ready:
                    raise subprocess.TimeoutExpired(["kmi"], timeout or 0.0)
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    said[key.fileobj].append(data)
                    if not data:
                        selector.unregister(key.fileobj)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        for pipe in {self.stdout, self.stderr} - {None}:
            assert pipe is not None
            pipe.close()
        return b"".join(said[self.stdout]), b"".join(said[self.stderr])

    def send_signal(self, number: int) -> None:
        """Send a signal, unless its end is known."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class Forks:
    """The process that forks, as a context manager."""

    def __init__(self) -> None:
        self._socket, his = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.quickly", str(his.fileno())],
            cwd=str(Path(__file__).parents[1]),
            env=environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=[his.fileno()],
        )
        his.close()

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the process end."""
        self._socket.close()
        self._process.wait(timeout=LIMIT_S)

    def run(
        self,
        world: World,
        *args: str,
        input: str = "",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run kmi in a world to its end."""
        return self.call(args, world.environment(env), cwd or world.cwd, input)

    def call(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        input: str = "",
        *,
        argv0: str = ENTRY,
    ) -> Result:
        """Run kmi to its end; ``argv0`` is what it was started as.

        Raises:
            subprocess.TimeoutExpired: it took longer than LIMIT_S.
        """
        with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
            stdin.write(input.encode("utf-8", "surrogateescape"))
            stdin.seek(0)
            streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            code = Forked(self._send([argv0, *args], env, cwd, streams, LIMIT_S), None, None).wait()
            said = []
            for stream in (stdout, stderr):
                stream.seek(0)
                # As a text stream reads it.
                text = stream.read().decode("utf-8", "surrogateescape")
                said.append(text.replace("\r\n", "\n").replace("\r", "\n"))
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(["kmi", *args], LIMIT_S, said[0], said[1])
        return Result([sys.executable, "-m", "kmi", *args], code, *said)

    def start(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> Forked:
        """Start kmi with an empty stdin; a stream is a pipe, or a file that is open."""
        mine: list[IO[bytes] | None] = []
        his: list[int] = [os.open(os.devnull, os.O_RDONLY)]
        pipes = his[:]
        for given in (stdout, stderr):
            if given == subprocess.PIPE:
                end, other = os.pipe()
                mine.append(open(end, "rb"))  # noqa: SIM115 - the test reads it
                pipes.append(other)
                his.append(other)
            else:
                mine.append(None)
                his.append(given if isinstance(given, int) else given.fileno())
        result = self._send([ENTRY, *args], env, cwd, his, 0.0)
        for fd in pipes:
            os.close(fd)
        return Forked(result, *mine)

    def _send(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        streams: Sequence[int],
        limit_s: float,
    ) -> socket.socket:
        """Ask for a run; its process and then its end come from the socket."""
        mine, his = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The call goes by a file, for an environment may be larger than a packet.
        with his, TemporaryFile() as call:
            what = [list(argv), dict(env), str(cwd), umask(), limit_s]
            call.write(json.dumps(what).encode())
            call.seek(0)
            rights = array.array("i", (his.fileno(), call.fileno(), *streams))
            self._socket.sendmsg([b"run"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        return mine


def umask() -> int:
    """The umask of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def main() -> None:
    """Fork for each call, until the other side is closed."""
    calls = socket.socket(fileno=int(sys.argv[1]))
    preload()
    gc.freeze()
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    runs: dict[int, socket.socket] = {}
    while True:
        ready = select.select([calls, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            reap(runs)
        if calls in ready:
            rights = array.array("i")
            word, ancillary, _, _ = calls.recvmsg(16, socket.CMSG_SPACE(5 * rights.itemsize))
            if not word:
                return
            rights.frombytes(ancillary[0][2])
            result, *fds = rights
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (calls, woken, wake, *runs.values()):
                    end.close()
                os.close(result)
                os._exit(forked(fds))
            for fd in fds:
                os.close(fd)
            runs[pid] = socket.socket(fileno=result)
            with suppress(OSError):  # the test is over
                runs[pid].send(str(pid).encode())


def reap(runs: dict[int, socket.socket]) -> None:
    """Tell the ends of all runs that ended."""
    for pid in list(runs):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with runs.pop(pid) as result, suppress(OSError):  # the test is over
                result.send(str(exit_code(status)).encode())


def forked(fds: list[int]) -> int:
    """One run, in the process that was forked for it: call, stdin, stdout, stderr."""
    from kmi import __main__ as entry

    with open(fds[0], encoding="utf-8") as call:
        sys.argv, env, cwd, mask, limit_s = json.load(call)
    signal.alarm(int(limit_s))
    for number, fd in enumerate(fds[1:]):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    streams(sys.stdin.errors, sys.stdout.errors, sys.stderr.errors)
    return ended(entry.main)


def streams(stdin: str | None, stdout: str | None, stderr: str | None) -> None:
    """The three standard streams, made anew for what the descriptors now are."""
    sys.stdin = open(0, encoding="utf-8", errors=stdin)  # noqa: SIM115 - as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", errors=stdout)  # noqa: SIM115 - the same
    sys.stderr = open(2, "w", encoding="utf-8", errors=stderr, buffering=1)  # noqa: SIM115 - so


if __name__ == "__main__":
    main()
