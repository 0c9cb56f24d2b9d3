"""Whose key a session of Kimi Code uses when it is not on the default model (`-m`, `/model`).

Hooks are not told: they name the default model at the start, and none at a failure (2.1.0). The
session's own log says which alias it is bound to. Nothing else of that log is looked at, and only
where the config has several models.
"""

from __future__ import annotations

import glob
import mmap
import os
import re
from typing import TYPE_CHECKING

from kmi.auth_formats import key_id_of
from kmi.client_args import CODE
from kmi.errors import KmiError
from kmi.files import open_regular
from kmi.paths import client_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.hooks.sessions import Session
    from kmi.kimi_config import Config

_ALIAS = re.compile(rb'"modelAlias":"([^"\\]{1,200})"')


def other_key(session: Session, config: Config | None, env: Mapping[str, str]) -> str | None:
    """The id of the key of another model than the default one; "" if that has none.

    Returns:
        None when the session is on the key of the default model, or nothing says otherwise.
    """
    if session.client != CODE or session.how != "config" or config is None:
        return None
    if len(config.data.get("models", {})) < 2:
        return None
    secret = config.secret_of(bound_alias(client_home(CODE, env), session.session_id))
    return key_id_of(secret) if secret else secret


def bound_alias(home: str, session_id: str) -> str | None:
    """The model alias that a session was bound to last; None when its log does not say."""
    if not re.fullmatch(r"[\w-]+", session_id, re.ASCII):
        return None
    places = os.path.join(glob.escape(home), "sessions", "*", session_id, "agents", "main")
    for path in glob.glob(os.path.join(places, "wire.jsonl")):
        try:
            fd, status = open_regular(path)
        except (OSError, KmiError):
            continue
        with os.fdopen(fd, "rb") as file:
            if status.st_size == 0:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
                # In a prompt the quotes would have backslashes before them.
                at = log.rfind(b'"modelAlias":"')
                found = None if at < 0 else _ALIAS.match(log, at)
                if found is not None:
                    return found[1].decode("utf-8", "replace")
    return None
