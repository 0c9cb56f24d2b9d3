"""Starting the proxy's process in the background, and what it reports through its pipe."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_FAILURE, KmiError
from kmi.launcher import HOME_VARIABLES
from kmi.paths import PACKAGE_PARENT
from kmi.proxy import log
from kmi.proxy.instance import Instance, look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App

#: Another kmi was faster: this is no error of whoever waits for a proxy.
BUSY = "already-running"
_LAST_FD = 65536
#: Of a run around this one, which the proxy outlives; of a service; and what may be a secret.
_NOT_ITS = {"KMI_ACTIVE_KEY", "KMI_RUN_ID", "KMI_DEPTH", "KMI_PROXY_RUN"}
_NOT_ITS |= {"NOTIFY_SOCKET", "KMI_API_KEY"}


def own_words(*words: str) -> list[str]:
    """The command line that runs this very kmi, wherever it is started."""
    return [sys.executable, os.path.join(PACKAGE_PARENT, "kmi"), *words]


def launch(app: App, *, how: str, until_runs_end: bool, limit_s: float) -> Instance | None:
    """Start a proxy, and wait until it listens.

    Returns:
        the new proxy; None when another one has the lock.

    Raises:
        KmiError: it ended instead, and why; or it did not listen in time, and was ended.
    """
    words = own_words("proxy", "start", "--foreground", "--how", how)
    if until_runs_end:
        words.append("--until-runs-end")
    if app.screen.json or app.screen.plain:
        words.append("--plain")  # its errors are told by this process
    path = log.prepare_raw(app)
    app.screen.flush()
    if sys.platform == "win32":
        return _launch_on_windows(app, words, path, limit_s)
    receive, send = _pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _leave([*words, "--report", str(send)], proxy_env(app.env), path, send)
        finally:
            os._exit(1)
    os.close(send)
    try:
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, nothing is left to wait for
            os.waitpid(pid, 0)
        report, child = _receive(receive, limit_s)
    finally:
        os.close(receive)
    if report is None:
        raise _failed(app, path, child)
    if report.get("code") == BUSY:
        return None
    if "message" in report:
        raise _error_from(report)
    found = look(app.store.directory).instance
    if found is None:
        raise _failed(app, path, None)
    return found


def _pipe() -> tuple[int, int]:
    """A pipe whose sending end is none of 0 to 2, which may be free where somebody closed them."""
    import fcntl

    receive, low = os.pipe()
    send = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(low)
    return receive, send


def _leave(words: list[str], env: Mapping[str, str], log_path: str, send: int) -> None:
    """In the child: leave the session, become an orphan, keep the pipe only, and start over."""
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    file = log.open_raw(log_path)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    last = min(os.sysconf("SC_OPEN_MAX"), _LAST_FD)
    os.closerange(3, send)
    os.closerange(send + 1, last)
    os.set_inheritable(send, True)
    os.chdir("/")
    os.umask(0o077)
    with suppress(OSError):
        os.write(send, b"%d\n" % os.getpid())
    os.execve(words[0], words, dict(env))


def proxy_env(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a proxy: without the secrets of clients, and of no run.

    Programs that give keys (``api_key_command``) need much of the rest.
    """
    new = {
        name: value
        for name, value in env.items()
        if not name.startswith("KIMI_") and name not in _NOT_ITS
    }
    for name, real in HOME_VARIABLES.values():
        # Inside of a pinned run the first one may be private to it, and goes with it.
        home = new.pop(real, "") or env.get(name, "")
        if home:
            new[name] = os.path.abspath(home)
    return new


def _receive(fd: int, limit_s: float) -> tuple[dict[str, Any] | None, int | None]:
    """What the proxy reported, and its process; None for a report when there was none in time."""
    deadline, data = time.monotonic() + limit_s, b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 65536)
        if not piece:
            break
        data += piece
        if data.count(b"\n") >= 2:
            break
    lines = data.split(b"\n")
    pid = int(lines[0]) if lines[0].isdigit() else None
    try:
        report = json.loads(lines[1]) if len(lines) > 2 else None
    except ValueError:
        report = None
    return report, pid


def _error_from(report: dict[str, Any]) -> KmiError:
    """The error that a proxy reported."""
    error = KmiError(
        str(report.get("message", "")), report.get("fix") or None, code=report.get("code")
    )
    error.exit_code = int(report.get("exit", EXIT_FAILURE))
    return error


def _failed(app: App, path: str, pid: int | None) -> KmiError:
    """The error for a proxy that did not report; it is ended."""
    if pid is not None:
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    said = log.last_line(path)
    return KmiError(
        app.words("proxy.no-report", said=f": {said}" if said else ""),
        app.words("proxy.no-report-fix", path=path),
        code="start-failed",
    )


class Report:
    """The proxy's end of the pipe.

    Args:
        fd: the descriptor; None when nobody waits.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def ready(self) -> None:
        """It listens, and its record says where."""
        self._send({"ready": True})

    def failed(self, error: KmiError) -> None:
        """It can't, and why."""
        self._send(
            {
                "code": error.code,
                "message": error.message,
                "fix": error.fix,
                "exit": error.exit_code,
            }
        )

    def _send(self, table: Mapping[str, Any]) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.write(fd, json.dumps(table).encode() + b"\n")
            with suppress(OSError):
                os.close(fd)


def _launch_on_windows(app: App, words: list[str], path: str, limit_s: float) -> Instance | None:
    """The same where nothing can be inherited so simply: its record is what is waited for."""
    import subprocess

    detached = 0x00000008 | 0x00000200  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    with open(path, "ab") as file:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=proxy_env(app.env),
            creationflags=detached,
        )
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look(app.store.directory).instance
        if found is not None:
            return found
        if child.poll() is not None:
            break
        time.sleep(0.05)
    raise _failed(app, path, None)
