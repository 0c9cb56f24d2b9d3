"""What the proxy says of itself: JSON lines in ``logs/kmi.jsonl``, and the same words for people.

People read it on stderr: a terminal, the journal of a service manager, or ``logs/proxy.log`` of a
proxy in the background, which is rotated by the same settings.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmi.errors import KmiError
from kmi.files import ensure_private_dir, open_regular
from kmi.output import safe
from kmi.store import record_line
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App

#: Below the state directory.
FOLDER, APP_LOG, RAW_LOG = "logs", "kmi.jsonl", "proxy.log"
#: Fields that every line has; they are not repeated as NAME=VALUE.
_COMMON = ("schema", "ts", "level", "event", "text")


class Log:
    """The log of one proxy.

    Args:
        app: for the settings and the state directory.
        background: stderr is the file ``proxy.log``.
    """

    def __init__(self, app: App, *, background: bool) -> None:
        self._folder = app.store.path(FOLDER)
        self._limits = limits(app)
        self._background = background
        ensure_private_dir(self._folder)

    def __call__(self, fields: Mapping[str, object]) -> None:
        """Append one event: "event", "level", and what else is known of it; never a secret.

        A full disk must not end the proxy, so nothing is raised.
        """
        from kmi.journal import append

        common = {"schema": 1, "ts": utc_text(time.time()), "level": "info"}
        record: dict[str, Any] = {**common, **fields}
        line = f"{record['ts']} {shown_event(record)}\n".encode("ascii", "backslashreplace")
        # A lock that is not to be had is a `KmiError` on Windows.
        with suppress(OSError, KmiError):
            append(os.path.join(self._folder, APP_LOG), record_line(record), **self._limits)
        with suppress(OSError, KmiError):
            if self._background:
                self._append_raw(line)
            else:
                os.write(2, line)

    def _append_raw(self, line: bytes) -> None:
        """Append to ``proxy.log``; when that rotates it, stderr goes to the new file, too."""
        from kmi.journal import append

        path = os.path.join(self._folder, RAW_LOG)
        append(path, line, **self._limits)
        if not os.path.samestat(os.stat(path), os.fstat(2)):
            fd = open_raw(path)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            os.close(fd)


def limits(app: App) -> dict[str, int]:
    """The arguments of `journal.append` for logs."""
    return {"max_bytes": app.settings.log_max_mb << 20, "backups": app.settings.log_backups}


def prepare_raw(app: App) -> str:
    """Make ``proxy.log``, rotated when it is large, and return its path."""
    from kmi import __version__
    from kmi.journal import append

    folder = app.store.path(FOLDER)
    ensure_private_dir(folder)
    path = os.path.join(folder, RAW_LOG)
    line = f"{utc_text(time.time())} info starting kmi {__version__}\n"
    append(path, line.encode(), **limits(app))
    return path


def open_raw(path: str) -> int:
    """Open ``proxy.log`` to append to it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags, 0o600)


def shown_event(record: Mapping[str, Any]) -> str:
    """An event for people, without its time: ``level event text name=value``."""
    words = [str(record.get("level", "")), str(record.get("event", ""))]
    if record.get("text"):
        words.append(str(record["text"]))
    words += [f"{name}={value}" for name, value in record.items() if name not in _COMMON]
    return safe(" ".join(word for word in words if word))


def last_line(path: str) -> str:
    """The last line of a log that says something; "" when there is none."""
    try:
        with os.fdopen(open_regular(path)[0], "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except (OSError, KmiError):
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
