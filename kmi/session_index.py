"""``kimi.json``, in which kimi-cli keeps the last session of each working directory.

kimi-cli replaces it by rename, so a run in a private home has one of its own; when another run
changed the real one meanwhile, the two are put together.
"""

from __future__ import annotations

import json
import os
from hashlib import md5
from typing import TYPE_CHECKING, Any

from kmi.errors import KmiError
from kmi.files import read_regular, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

#: An entry of some hundred bytes for each working directory: no index is larger.
LIMIT_BYTES = 64 * 1024 * 1024
#: What ``kaos`` is for a session on this machine.
LOCAL = "local"


def merge_files(mine: str, theirs: str, sessions: str) -> None:
    """Add to an index what another one knows; a file that is no index changes nothing.

    Args:
        mine: what a run left in its private home.
        theirs: the real one; it is replaced.
        sessions: the directory in which the sessions are.

    Raises:
        OSError: the system refused.
    """
    try:
        own, real = (json.loads(_read(path)) for path in (mine, theirs))
        merged = merge(own, real, lambda entry: _written(sessions, entry))
        text = json.dumps(merged, indent=2, ensure_ascii=False)
        data = text.encode("utf-8", "surrogateescape")
    except (KmiError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
    if merged != real:
        write_atomic(theirs, data)


def _read(path: str) -> bytes:
    return read_regular(path, limit=LIMIT_BYTES)[0]


def merge(
    own: dict[str, Any], real: dict[str, Any], written: Callable[[dict[str, Any]], float]
) -> dict[str, Any]:
    """Both indexes as one: of two last sessions of a directory the one that was written last.

    Args:
        own: what a run left.
        real: what the others left; its other fields stay.
        written: gives the time at which the session of an entry was written, or 0.0.
    """
    entries = {(entry["path"], entry.get("kaos", LOCAL)): entry for entry in real["work_dirs"]}
    for entry in own["work_dirs"]:
        name = (entry["path"], entry.get("kaos", LOCAL))
        if name not in entries or written(entry) > written(entries[name]):
            entries[name] = entry
    return {**real, "work_dirs": list(entries.values())}


def _written(sessions: str, entry: dict[str, Any]) -> float:
    """When the last session of a working directory was written; 0.0 when it is not there."""
    session = entry.get("last_session_id")
    if not isinstance(session, str) or os.path.basename(session) != session or not session:
        return 0.0
    path = str(entry["path"]).encode("utf-8", "surrogateescape")
    folder = md5(path, usedforsecurity=False).hexdigest()
    kaos = entry.get("kaos", LOCAL)
    top = os.path.join(sessions, folder if kaos == LOCAL else f"{kaos}_{folder}", session)
    try:
        return max(os.stat(os.path.join(top, name)).st_mtime for name in ["", *os.listdir(top)])
    except OSError:
        return 0.0
