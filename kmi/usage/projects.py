"""The directories that kimi-cli's session folders stand for: their names are hashes of them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import md5
from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.files import read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The index of directories grows with each one that was worked in.
_INDEX_LIMIT_BYTES = 16 * 1024 * 1024


def cli_projects(home: str, known: Iterable[str]) -> Callable[[str], str]:
    """What gives the directory of a session's folder; "" where nobody knows it.

    Args:
        home: of kimi-cli, whose ``kimi.json`` lists directories.
        known: directories that kmi knows of.
    """
    named: dict[str, str] = {}
    for path in known:
        named[_name(path)] = path
    with suppress(
        OSError, KmiError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ):
        index = json.loads(
            read_regular(os.path.join(home, "kimi.json"), limit=_INDEX_LIMIT_BYTES)[0]
        )
        for entry in index["work_dirs"]:
            kaos = entry.get("kaos", "local")
            prefix = "" if kaos == "local" else f"{kaos}_"
            named[prefix + _name(entry["path"])] = entry["path"]
    return lambda folder: named.get(os.path.basename(os.path.dirname(folder)), "")


def _name(path: str) -> str:
    return md5(path.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
