"""A refresh of the quotas that nobody waits for (docs/decisions/0014).

`kmi run` starts it just before it becomes the client, and only when a key is due. It is a process
of its own: of no session, terminal or parent of the client's, with no file of theirs open, and it
ends itself. On the quick way nothing of this is loaded.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from kmi.paths import PACKAGE_PARENT
from kmi.polling import FLOOR_S, claimed, due

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.state import State

#: The words of the command that does it; not for people, so the help does not show it.
COMMAND = ("-m", "kmi", "health", "--background")
#: It is over after 8 s of asking; whatever hangs is ended by the system after this.
HARD_STOP_S = 25
_LAST_FD = 65536


def due_now(app: App, state: State) -> list[ApiKey]:
    """The keys to ask about by itself: none that a program would have to give."""
    barred = app.policy().unavailable
    return [
        key
        for key in due(app.known(state), state.keys, app.own_pace, app.now())
        if key.secret is not None and key.label not in barred
    ]


def in_question(app: App, state: State, labels: Sequence[str]) -> list[ApiKey]:
    """Those of some keys that were not asked about in the last five minutes."""
    now, barred = app.now(), app.policy().unavailable
    return [
        key
        for key in app.known(state)
        if key.label in labels
        and key.secret is not None
        and key.label not in barred
        and not 0.0 <= now - (state.key(key.key_id).usage_tried_at or 0.0) < FLOOR_S
    ]


def claim(app: App, state: State) -> bool:
    """Whether this process starts a refresh; the state then says so. The lock is held."""
    now = app.now()
    if app.dry_run or claimed(state.refresh_at, now) or not due_now(app, state):
        return False
    state.refresh_at = now
    return True


def start(env: Mapping[str, str]) -> None:
    """Start it and return at once; what fails here must not stop a run."""
    child = dict(env)
    places = [PACKAGE_PARENT, *filter(None, [env.get("PYTHONPATH")])]
    child["PYTHONPATH"] = os.pathsep.join(places)
    if sys.platform == "win32":
        _start_on_windows(child)
        return
    try:
        pid = os.fork()
    except OSError:
        return
    if pid:
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, nothing is left to wait for
            os.waitpid(pid, 0)
        return
    try:
        _leave(child)
    finally:
        os._exit(0)


def _leave(env: Mapping[str, str]) -> None:
    """In the child: leave the session, become an orphan, let go of every file, and start over."""
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), _LAST_FD))
    os.chdir("/")
    os.umask(0o077)
    os.execve(sys.executable, [sys.executable, *COMMAND], dict(env))


def _start_on_windows(env: Mapping[str, str]) -> None:
    import subprocess

    detached = 0x00000008 | 0x00000200  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    with suppress(OSError):
        subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(env),
            creationflags=detached,
        )


def stop_in_time() -> None:
    """In the process itself: let the system end it, should it hang. Every write of it is whole."""
    import signal

    if hasattr(signal, "alarm"):
        signal.alarm(HARD_STOP_S)
