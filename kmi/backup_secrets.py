"""Secrets of an `api_key_command` are in no file of kmi's, so also in no backup (pure).

In a backup such a secret is replaced by a marker with its key id; putting the backup in place runs
the program again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kmi.auth_formats import key_id_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kmi.kimi_config import Config

_MARKER = rb"kmi-key-id:([0-9a-f]{12})"


def hidden(config: Config, raw: bytes, key_ids: Collection[str]) -> bytes:
    """A config's bytes with the secrets of those keys replaced by markers."""
    for secret in _secrets(config.data):
        key_id = key_id_of(secret)
        if key_id in key_ids:
            raw = raw.replace(secret.encode(), b"kmi-key-id:" + key_id.encode())
    return raw


def _secrets(data: Any) -> set[str]:
    """Every ``api_key`` in a config, wherever it stands."""
    found = set()
    if isinstance(data, dict):
        for name, value in data.items():
            if name == "api_key" and isinstance(value, str) and value:
                found.add(value)
            else:
                found |= _secrets(value)
    elif isinstance(data, list):
        for item in data:
            found |= _secrets(item)
    return found


def hidden_ids(raw: bytes) -> set[str]:
    """The key ids whose secrets are missing in a backup."""
    return {match.decode() for match in re.findall(_MARKER, raw)}


def revealed(raw: bytes, secrets: Mapping[str, str]) -> bytes:
    """A backup's bytes with the secrets in their places again.

    Raises:
        KeyError: one is missing.
    """
    return re.sub(_MARKER, lambda match: secrets[match[1].decode()].encode(), raw)
