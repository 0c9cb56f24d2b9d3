"""Which key an alias of a model stands for, where Kimi Code's config gives it a key of its own.

Kmi swaps the key behind ``default_model`` only; a call on an alias with another one was paid by
that one, whatever was swapped.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from kmi.errors import KmiError


class Aliases(NamedTuple):
    """What a config says.

    Attributes:
        keys: from aliases to key ids.
        since: since when it says so at least, seconds since the epoch.
    """

    keys: dict[str, str]
    since: float


NO_ALIASES = Aliases({}, 0.0)


def alias_keys(home: str) -> Aliases:
    """The aliases that have keys of their own; none where the config can't be read."""
    from kmi.auth_formats import key_id_of
    from kmi.files import SMALL_FILE_BYTES, read_regular
    from kmi.kimi_config import parse_config

    path = os.path.join(home, "config.toml")
    try:
        raw, status = read_regular(path, limit=SMALL_FILE_BYTES, follow=True)
        config = parse_config(raw, name=path, client="kimi-code")
    except (OSError, KmiError):
        return NO_ALIASES
    models = config.data.get("models")
    aliases = models if isinstance(models, dict) else {}
    secrets = {alias: config.secret_of(alias) for alias in aliases}
    found = {alias: key_id_of(secret) for alias, secret in secrets.items() if secret}
    return Aliases(found, status.st_mtime)
