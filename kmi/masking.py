"""Configs and their differences without the secrets in them (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kmi.model import masked

if TYPE_CHECKING:
    from collections.abc import Callable

# Values of fields whose name has one of these words in it, in any quoting of TOML and JSON, and
# anything that looks like a key wherever it stands. What nothing closes goes on to the end of the
# line, or of the text. Every repetition of a name is bounded: otherwise a long one takes seconds.
# Compiled when first used: nothing is masked on most starts.
_FIELD = (
    r"(?i)(?P<name>(?:(?:api|access|private)[_-]?key|token|secret|passw(?:or)?d|authorization)"
    r"[\w-]{0,64}[\"']?\s*[=:]\s*)(?P<value>"
    r"\"\"\"(?:\\(?s:.)|[^\\])*?(?:\"\"\"|\\?\Z)|'''(?s:.*?)(?:'''|\Z)"
    r"|\"(?:\\(?s:.)|[^\"\\\n])*\"?|'[^'\n]*'?)"
)
# Where a word begins: also behind an escape of a URL, a string, or the name of a scheme.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
_CHARS = r"[A-Za-z0-9_.~+%=\\-]"
_SK = r"sk(?:-|%2[dD]|\\+u002[dD])"
# What may be a key: of a short one that is not sure where it does not begin a word ("desk-…").
_KEY = rf"{_BEGIN}{_SK}{_CHARS}{{8,}}|{_SK}(?=[A-Za-z_.~+%=\\-]{{0,200}}[0-9]){_CHARS}{{20,}}"
# A whole key, in text where a label or a path may begin with "sk-" by chance.
_WHOLE = rf"{_BEGIN}sk-(?=[A-Za-z_.~+=-]{{0,200}}[0-9])[A-Za-z0-9_.~+=-]{{20,}}"
# The same in base64, at each of the three offsets that "sk-" can have in it. It is looked for from
# where a run begins, and only there: from everywhere, a long run would take seconds.
_BASE64 = (
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]*"
    r"(?:c2st|[HXn3]NrL[Q-Za-f]|[A-Za-z0-9+/_-][BFJNRVZdhlptx159]zay[0-3])"
    r"[A-Za-z0-9+/_-]{12,}=*"
)
# What every such text has: nothing else is looked at closely.
_MARKS = ("sk-", "sk%2", "u002d", "u002D", "c2st", "NrL", "zay")


def mask_text(text: str) -> str:
    """Text with every secret in it cut to its last four characters."""
    return mask_keys(re.sub(_FIELD, _masked_field, text))


def _masked_field(match: re.Match[str]) -> str:
    literal = match["value"]
    quote = literal[:3] if literal[:3] in {'"""', "'''"} else literal[0]
    value = literal[len(quote) :]
    if value.endswith(quote):
        value = value[: -len(quote)]
    return f"{match['name']}{quote}{masked(value) if value else ''}{quote}"


def mask_keys(text: str) -> str:
    """Text with everything that looks like a key cut to its last four characters."""
    return _masked(text, _KEY)


def mask_data(text: str) -> str:
    """The same for labels, paths and the like: only what can hardly be anything but a key."""
    return _masked(text, _WHOLE)


def mask_values(value: Any, mask: Callable[[str], str] = mask_data) -> Any:
    """A JSON document with every text in it masked, names as well."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask_values(k, mask): mask_values(v, mask) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_values(item, mask) for item in value]
    return value


def may_hold_key(text: str) -> bool:
    """Whether a text is worth a closer look; quick."""
    return any(mark in text for mark in _MARKS)


def looks_like_key(text: str) -> bool:
    """Whether a text can hardly be anything but a key, such as a secret typed for a label."""
    return mask_data(text) != text


def _masked(text: str, key: str) -> str:
    if not may_hold_key(text):
        return text
    text = re.sub(key, lambda match: masked(match[0]), text)
    return re.sub(_BASE64, "…", text)


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
