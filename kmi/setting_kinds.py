"""The kinds of settings: text to a value, or a ValueError that says what is allowed (pure)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable

from kmi import paths
from kmi.urls import BaseUrl, parse_allowlist, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS.update({"0": False, "false": False, "no": False, "off": False})

# A parser takes the text of a value and the environment (for ``~``), and raises ValueError saying
# what is allowed.
Parser = Callable[[str, "Mapping[str, str]"], Any]


def read_flag(text: str, env: Mapping[str, str]) -> bool:
    """A yes or no."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("allowed: 0, 1, true, false, yes, no, on, off") from None


def number_reader(low: int, high: int) -> Parser:
    """A whole number within limits."""

    def parse(text: str, env: Mapping[str, str]) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise ValueError(f"allowed: whole numbers from {low} to {high}")
        if not low <= int(text) <= high:
            raise ValueError(f"allowed: whole numbers from {low} to {high}")
        return int(text)

    return parse


def choice_reader(*words: str) -> Parser:
    """One of some words."""

    def parse(text: str, env: Mapping[str, str]) -> str:
        if text not in words:
            raise ValueError(f"allowed: {', '.join(words)}")
        return text

    return parse


def read_path(text: str, env: Mapping[str, str]) -> str:
    """An absolute path; ``~`` is expanded."""
    path = paths.expand(text, env)
    if not os.path.isabs(path):
        raise ValueError("allowed: an absolute path, or one that begins with ~/")
    return os.path.normpath(path)


def read_text(text: str, env: Mapping[str, str]) -> str:
    """Printable text."""
    if not text.isprintable():
        raise ValueError("allowed: printable text on one line")
    return text


def read_base_url(text: str, env: Mapping[str, str]) -> BaseUrl:
    """A base URL."""
    return parse_base_url(text)


def read_allowlist(text: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Hosts, separated by commas."""
    return parse_allowlist(text)


def read_listen(text: str, env: Mapping[str, str]) -> tuple[str, int]:
    """HOST:PORT; port 0 lets the system choose one."""
    host, _, port = text.rpartition(":")
    if not host or not text.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("allowed: HOST:PORT, with [::1] for IPv6 and a port from 0 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("allowed: HOST:PORT, with brackets around an IPv6 address")
    return host, int(port)


def read_base_path(text: str, env: Mapping[str, str]) -> str:
    """A path below which the proxy answers."""
    if not text.startswith("/") or "//" in text or not text.isascii() or not text.isprintable():
        raise ValueError("allowed: a path that begins with /, for instance /kmi-rotor/v1")
    return text.rstrip("/")


def read_token(text: str, env: Mapping[str, str]) -> str:
    """A secret that can't be guessed."""
    if len(text) < 32 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("allowed: at least 32 printable ASCII characters without spaces")
    return text


def read_timezone(text: str, env: Mapping[str, str]) -> str:
    """A time zone that exists."""
    from kmi.timezones import find_timezone

    find_timezone(text)
    return text
