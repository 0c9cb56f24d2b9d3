"""Removing what kmi wrote and nobody needs any more: old records, logs, usage and backups.

Never a key, never what a client wrote, and never the audit, which tells who removed the rest.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import KmiError
from kmi.journal import prune
from kmi.timezones import utc_seconds

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.state import State

#: What can be cleaned, and where it is below the state directory.
JOURNALS = {"logs": ("logs/kmi.jsonl", "logs/proxy.log"), "trace": ("trace.jsonl",),
            "runs": ("runs.jsonl",)}  # fmt: skip
PARTS = (*JOURNALS, "usage", "backups")
_TIME = re.compile(rb'(?:\{.{0,40}?"ts": ?")?([0-9T:.-]{23}Z)')
_ASIDE = re.compile(r".+\.corrupt-[0-9TZ.-]+")


class Cleaned(NamedTuple):
    """What went, or would go: a part, its path, how many lines or files, how many bytes."""

    part: str
    path: str
    removed: int
    size: int


def clean(app: App, state: State | None, parts: frozenset[str], before: float) -> list[Cleaned]:
    """Remove what is older than a moment.

    Args:
        app: the world.
        state: while the lock is held, for runs write their records under it; None: only count.
        parts: some of `PARTS`.
        before: seconds since the epoch.

    Raises:
        OSError: the system refused.
    """
    found = []
    for part in (part for part in PARTS if part in parts):
        if part == "backups":
            found += _backups(app, state, before)
            found += _set_aside(app, before, dry_run=state is None)
            continue
        if part == "usage":
            found += _usage(app, before, dry_run=state is None)
            continue
        for name in JOURNALS[part]:
            path = app.store.path(*name.split("/"))
            count, size = prune(path, _Younger(before), dry_run=state is None)
            found.append(Cleaned(part, path, count, size))
    return [item for item in found if item.removed]


def _usage(app: App, before: float, *, dry_run: bool) -> list[Cleaned]:
    """What calls cost; reading their logs again brings nothing back."""
    path = app.store.path("usage.db")
    if not os.path.lexists(path):
        return []
    from kmi.usage.store import DamagedError, open_usage

    try:
        with open_usage(app.store) as usage:
            size = os.stat(path).st_size
            known = usage.count()
            gone = usage.clean(before, dry_run=dry_run)
    except DamagedError as error:
        raise KmiError(f"{path} can't be read: {error}", "`kmi usage` sets it aside") from None
    return [Cleaned("usage", path, gone, size * gone // max(1, known))]


class _Younger:
    """Whether a line stays: it is younger, or belongs to one that is."""

    def __init__(self, before: float) -> None:
        self._before = before
        self._last = False

    def __call__(self, line: bytes) -> bool:
        match = _TIME.match(line)
        if match is not None:
            with suppress(ValueError):  # it only looks like a time: as the line before
                self._last = utc_seconds(match[1].decode()) >= self._before
        return self._last


def _backups(app: App, state: State | None, before: float) -> list[Cleaned]:
    """Backups of client configs, and the steps of `kmi undo` that need them."""
    from kmi.settings import CLIENTS

    found, gone = [], set()
    for client in CLIENTS:
        for name in app.backups.names(client):
            path = os.path.join(app.backups.directory, name)
            status = os.lstat(path)
            if status.st_mtime < before:
                found.append(Cleaned("backups", path, 1, status.st_size))
                gone.add(name)
    if state is None:
        return found
    for client, steps in state.undo.items():
        state.undo[client] = [step for step in steps if step.backup not in gone]
    for item in found:
        os.unlink(item.path)
    return found


def _set_aside(app: App, before: float, *, dry_run: bool) -> list[Cleaned]:
    """Files of kmi's own that could not be read once (``NAME.corrupt-TIMESTAMP``)."""
    found = []
    try:
        entries = list(os.scandir(app.store.directory))
    except FileNotFoundError:
        return []
    for entry in entries:
        if _ASIDE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            if status.st_mtime < before:
                found.append(Cleaned("backups", entry.path, 1, status.st_size))
                if not dry_run:
                    os.unlink(entry.path)
    return found
