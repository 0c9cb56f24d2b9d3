"""Configs and their differences without the secrets in them (pure)."""

from __future__ import annotations

import re

from kmi.model import masked

# Values of fields that hold secrets, in any of TOML's one-line quotings, and anything that looks
# like a key wherever it stands.
# Compiled when first used: nothing is masked on most starts.
_FIELD = (
    r"(?i)(?P<name>\b(?:api_key|access_token|refresh_token|token|secret|password|authorization)\b"
    r"[\"']?\s*[=:]\s*)(?P<quote>\"\"\"|'''|\"|')(?P<value>(?s:.*?))(?P=quote)"
)
_KEY = r"sk-[A-Za-z0-9_-]{8,}"


def mask_text(text: str) -> str:
    """Text with every secret in it cut to its last four characters."""
    text = re.sub(
        _FIELD,
        lambda m: f"{m['name']}{m['quote']}{masked(m['value']) if m['value'] else ''}{m['quote']}",
        text,
    )
    return mask_keys(text)


def mask_keys(text: str) -> str:
    """Text with everything that looks like a key cut to its last four characters."""
    if "sk-" not in text:
        return text
    return re.sub(_KEY, lambda match: masked(match[0]), text)


def config_diff(before: bytes, after: bytes, name: str) -> list[str]:
    """A unified diff of two configs, secrets masked; empty when they are equal."""
    import difflib

    old = mask_lines(before)
    new = mask_lines(after)
    lines = difflib.unified_diff(old, new, f"{name} (before)", f"{name} (after)", n=1, lineterm="")
    found = list(lines)
    if not found and before != after:
        return [f"{name}: only the last characters of a secret stay the same"]
    return found


def mask_lines(raw: bytes) -> list[str]:
    """The lines of a config, secrets masked."""
    return mask_text(raw.decode("utf-8", "replace")).splitlines()
