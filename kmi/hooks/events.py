"""`kmi hook EVENT`: what the clients call when a session begins, ends, or fails.

The client waits for the start of a session and must never fail by it, so this is a short way: it
prints nothing, always exits 0, and tells what went wrong in a log only. The end of a failed turn
takes longer (keys, settings, the swap), and kimi-cli ends its hooks with itself; so that work is
done by a child of its own session, while the client has its answer already. The child holds the
lock from before that answer on: whoever comes next waits for what was learnt.

May import only what is cheap (see `kmi.quick`).
"""

from __future__ import annotations

import os
import sys
import time

from kmi.light import state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: `kmi.client_args`, which costs too much here.
CLI, CODE = CLIENTS = ("kimi-cli", "kimi-code")
SESSION_EVENTS = {"session-start": "session_start", "session-end": "session_end"}
FAILURE = "stop-failure"
EVENTS = (*SESSION_EVENTS, FAILURE)
#: An error text has a few hundred bytes, a page of HTML some thousand.
LIMIT_BYTES = 1024 * 1024
#: Within the hooks' own limits (`kmi.plugin.texts.HOOKS`): clients would end a hook that waits.
LOCK_WAIT_S = 1.0
CHILD_LOCK_WAIT_S = 5.0
#: The system ends a child that hangs: the program of a key may wait for a person, 10 s at most.
HARD_STOP_S = 30


class Call:
    """The words behind `kmi hook`."""

    def __init__(self, event: str, client: str = "", *, wait: bool = False) -> None:
        self.event = event
        self.client = client
        self.wait = wait


def try_hook(words: list[str], env: Mapping[str, str]) -> int | None:
    """Do it; None when the whole command line has to run, for help.

    A call that this kmi does not know, from hooks of another version, is for the log, too: an exit
    code of 2 would stop the client.
    """
    if not words or words[0].startswith("-") or "--help" in words or "-h" in words:
        return None
    call = read_words(words)
    if call is None:
        event = words[0] if words[0] in EVENTS else "unknown"
        report(event, env, ValueError("this kmi does not know such a call of `kmi hook`"))
        return 0
    return run(call, env)


def read_words(words: list[str]) -> Call | None:
    """Read the words, as they are in hooks; None for any others."""
    if words[0] not in EVENTS:
        return None
    call = Call(words[0])
    rest = iter(words[1:])
    for word in rest:
        if word == "--wait":
            call.wait = True
        elif word == "--client":
            call.client = next(rest, "")
            if call.client not in CLIENTS:
                return None
        else:
            return None
    return call


def run(call: Call, env: Mapping[str, str]) -> int:
    """Do what the event asks for. Nothing that goes wrong reaches the client."""
    try:
        _run(call, env)
    except Exception as error:  # noqa: BLE001 - a hook must never fail its client; the log has it
        report(call.event, env, error)
    return 0


def _run(call: Call, env: Mapping[str, str]) -> None:
    data = read_event()
    at = time.time()
    directory = state_dir(env) or _directory_by_settings(env)
    if not os.path.isdir(directory):
        return  # kmi has never been used here, so there is nothing to tell of
    if call.event in SESSION_EVENTS:
        from kmi.hooks.sessions import record

        record(SESSION_EVENTS[call.event], data, call.client, env, directory, at)
    elif call.wait or not hasattr(os, "fork"):
        _fail(call, data, env, at, None)
    else:
        _fail_behind(call, data, env, at, directory)


def read_event() -> bytes:
    """The JSON of the event, from stdin.

    Raises:
        ValueError: nobody gave one, or it is too large.
    """
    if os.isatty(0):
        raise ValueError("an event is expected on stdin, which is a terminal")
    chunks: list[bytes] = []
    room = LIMIT_BYTES + 1
    while room > 0:
        chunk = os.read(0, min(room, 1 << 16))
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        room -= len(chunk)
    raise ValueError(f"the event is larger than {LIMIT_BYTES // 1024} KiB")


def _directory_by_settings(env: Mapping[str, str]) -> str:
    from kmi.settings import load_settings

    return load_settings(env)[0].state_dir


def _fail_behind(
    call: Call, data: bytes, env: Mapping[str, str], at: float, directory: str
) -> None:
    """Answer now, and let a child do the work, which holds the lock already if it was free."""
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock: int | None = os.open(f"{directory}/lock", flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]  # set above
    except BlockingIOError:
        os.close(lock)  # type: ignore[arg-type]  # set above
        lock = None
    if os.fork():
        if lock is not None:
            os.close(lock)  # the child's copy keeps it
        return
    try:
        os.setsid()
        _fail(call, data, env, at, lock)
    except BaseException as error:  # noqa: BLE001 - a forked child must not go on as its parent
        report(call.event, env, error)
    finally:
        os._exit(0)


def _fail(call: Call, data: bytes, env: Mapping[str, str], at: float, lock: int | None) -> None:
    # First: the client waits for the end of what a hook says.
    _silence()
    import signal

    from kmi.hooks.failures import handle

    if hasattr(signal, "alarm"):
        signal.alarm(HARD_STOP_S)
    handle(data, call.client, env, at, lock)


def _silence() -> None:
    """Say nothing from here on: what a hook says may go to the model."""
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def report(event: str, env: Mapping[str, str], error: BaseException) -> None:
    """Tell the log why a hook did not do its work; that it can't stops nothing."""
    try:
        from kmi.hooks.sessions import log

        log(env, event, error)
    except Exception:  # noqa: BLE001 - there is nowhere left to tell it
        return
