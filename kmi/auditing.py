"""Audit records: who changed what, and what was refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kmi.errors import KmiError
from kmi.files import append_line
from kmi.masking import mask_values
from kmi.store import record_line
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App


def audit_record(app: App, outcome: str, **fields: Any) -> dict[str, Any]:
    """The record of a command: "changed", "unchanged" or "denied"; the fields hold no secret."""
    record = {
        "schema": 1,
        "ts": utc_text(app.now()),
        "event": "audit",
        "actor": app.settings.audit_actor or login_name(app.env),
        "command": app.command,
        "outcome": outcome,
        **fields,
        **({"learnt": app.learnt} if app.learnt else {}),
    }
    # A label or a path that was typed may be a secret by mistake.
    shown: dict[str, Any] = mask_values(record, app.screen.redactor.data)
    return shown


def login_name(env: Mapping[str, str]) -> str:
    """Who is logged in, as far as it can be told."""
    for name in ("LOGNAME", "USER", "USERNAME"):
        if env.get(name):
            return env[name]
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def audit_denied(app: App, error: KmiError) -> None:
    """Record that a command which changes state was refused, if nothing was recorded yet."""
    if not app.changes or app.audited:
        return
    try:
        if app.dry_run:
            return
    except KmiError:
        return  # the settings are what is wrong: where to write is not known
    record = audit_record(app, "denied", error=error.code)
    try:
        app.store.prepare()
        # Without the lock: it may be the very thing that could not be had.
        append_line(app.store.path("audit.jsonl"), record_line(record))
    except (OSError, KmiError):
        return
    app.audited = True
