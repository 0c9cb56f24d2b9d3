"""What `kmi plugin install` wrote: ``plugin.json`` in the state directory."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kmi.errors import ConfigError, KmiError
from kmi.files import read_regular
from kmi.plugin.texts import Patch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.plugin.files import Change

#: Below the state directory.
RECORD = "plugin.json"
SCHEMA = 1
LIMIT_BYTES = 1024 * 1024


def load_record(directory: str) -> dict[str, Any]:
    """What was written, by client; empty where nothing is known, or it can't be read.

    Raises:
        ConfigError: it is of a newer schema.
    """
    path = os.path.join(directory, RECORD)
    try:
        table = json.loads(read_regular(path, limit=LIMIT_BYTES)[0])
    except (OSError, ValueError, RecursionError, KmiError):
        return {}
    schema = table.get("schema") if isinstance(table, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ConfigError(
            f"{path} has schema {schema}, this kmi knows up to {SCHEMA}",
            "update kmi; the file was not touched",
            code="newer-schema",
        )
    clients = table.get("clients") if isinstance(table, dict) else None
    return clients if schema == SCHEMA and isinstance(clients, dict) else {}


def encoded(clients: Mapping[str, Any]) -> bytes:
    """The file's bytes."""
    text = json.dumps({"schema": SCHEMA, "clients": clients}, indent=1, ensure_ascii=True)
    return text.encode() + b"\n"


def remembered(
    changes: Sequence[Change], record: Mapping[str, Any], folders: Sequence[str]
) -> dict[str, Any]:
    """What is known of an installation afterwards."""
    files = {}
    for change in changes:
        if not change.patch.after:
            continue  # nothing of ours is in it
        known = kept(record, change.file.path)
        created = change.file.text is None if known is None else known[0]
        files[change.file.path] = {
            "created": created,
            "before": change.patch.before,
            "after": change.patch.after,
        }
    return {"files": files, "folders": [*folders_of(record), *folders]}


def kept(record: Mapping[str, Any], path: str) -> tuple[bool, Patch] | None:
    """Whether kmi made a file, and what it put in."""
    try:
        known = record["files"][path]
        before, after = known["before"], known["after"]
    except (LookupError, TypeError):
        return None
    if not isinstance(before, str) or not isinstance(after, str):
        return None
    return known.get("created") is True, Patch(before, after)


def folders_of(record: Mapping[str, Any]) -> list[str]:
    """The folders that kmi made."""
    found = record.get("folders")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
