"""Becoming another program. Imported on the quick way: only ``os`` and ``sys``."""

from __future__ import annotations

import os
import sys

from kmi.errors import NotExecutableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def become(path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Become the program; returns only on Windows, with its exit code.

    Raises:
        NotExecutableError: the system can't execute it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        return _child(path, argv, env)
    restore_signals()
    try:
        os.execve(path, list(argv), env)
    except OSError as error:
        raise NotExecutableError(
            f"can't execute {path}: {error.strerror}", "check the file and its first line"
        ) from None


def restore_signals() -> None:
    """Undo what CPython sets at its start: ignored signals would be inherited through exec."""
    # The builtin part of `signal`, which would pull in `enum`.
    import _signal  # type: ignore[import-not-found]  # typeshed has none

    for name in ("SIGPIPE", "SIGXFSZ"):
        number = getattr(_signal, name, None)
        if number is not None:
            _signal.signal(number, _signal.SIG_DFL)


def _child(path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Windows: exec would return to the shell at once (python/cpython#101191)."""
    import signal
    import subprocess

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call([path, *argv[1:]], env=dict(env))
    finally:
        signal.signal(signal.SIGINT, previous)


def run_env(
    env: Mapping[str, str], variables: Mapping[str, str | None], label: str, run_id: str, depth: int
) -> dict[str, str]:
    """The environment of the program: what it had, the key, and who it runs for.

    Args:
        env: what kmi was started with.
        variables: set for the program; None unsets one.
        label: of the key; never the secret.
        run_id: the run's id in ``runs.jsonl``.
        depth: how many `kmi run` are around it then.
    """
    new = passed_env(env)
    for name, value in variables.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = value
    new["KMI_ACTIVE_KEY"] = label
    new["KMI_RUN_ID"] = run_id
    new["KMI_DEPTH"] = str(depth)
    return new


def begin_record(now: float, run_id: str, typed: str) -> dict[str, Any]:
    """What the line of ``runs.jsonl`` begins with, of any run that is not the quick one.

    Args:
        now: seconds since the epoch.
        run_id: what the program gets as ``KMI_RUN_ID``.
        typed: the program as the person named it.
    """
    from kmi.paths import working_directory
    from kmi.timezones import utc_text

    return {
        "schema": 1,
        "ts": utc_text(now),
        "event": "run",
        "run": run_id,
        "pid": os.getpid(),
        "cwd": working_directory(),
        "program": os.path.basename(typed),
    }


def passed_env(env: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before CPython started."""
    new = dict(env)
    if coerced_locale(env):
        del new["LC_CTYPE"]
    return new


def coerced_locale(env: Mapping[str, str]) -> bool:
    """Whether CPython put ``LC_CTYPE`` there by itself (PEP 538), so it is not the user's."""
    if env.get("LC_CTYPE") not in {"C.UTF-8", "C.utf8", "UTF-8"} or env.get("LC_ALL"):
        return False
    try:
        with open("/proc/self/environ", "rb") as file:
            return not any(item.startswith(b"LC_CTYPE=") for item in file.read().split(b"\0"))
    except OSError:
        return False
