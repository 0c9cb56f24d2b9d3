"""Base URLs, parsed once; the connection uses that same parsed value.

The grammar is far narrower than RFC 3986 on purpose: whatever two parsers could read in two
ways (userinfo, percent signs, backslashes, non-ASCII dots, bare numbers as hosts) is refused, so a
key can't be sent to a host that only looks like the one that was allowed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT_PORTS = {"https": 443, "http": 80}
_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:-]*)*)",
    re.ASCII,
)
_HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"


class BaseUrl(NamedTuple):
    """A checked base URL: lower-case scheme and host, numeric port, path without a final slash."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """The normal form: the default port is left out."""
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def netloc(self) -> str:
        """``host`` or ``host:port``."""
        default = _DEFAULT_PORTS[self.scheme] == self.port
        return self.host if default else f"{self.host}:{self.port}"

    @property
    def platform(self) -> tuple[str, int]:
        """What decides whether a key is valid somewhere: host and port (upstream.md)."""
        return (self.host, self.port)


def is_loopback(host: str) -> bool:
    """Whether a host, as `BaseUrl` spells it, is this machine."""
    return host in {"localhost", "[::1]"} or (
        host.startswith("127.") and re.fullmatch(_IPV4, host) is not None
    )


def parse_base_url(text: str) -> BaseUrl:
    """Read a base URL.

    Raises:
        ValueError: with a message for people, which never repeats userinfo.

    >>> str(parse_base_url("HTTPS://API.KIMI.COM:443/coding/v1/"))
    'https://api.kimi.com/coding/v1'
    """
    if "@" in text:
        raise ValueError("has userinfo ('@'), which a base URL must not have")
    if "?" in text or "#" in text:
        raise ValueError("has a query or a fragment, which a base URL must not have")
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError("is not of the form https://host[:port][/path]")
    scheme = match["scheme"].lower()
    host = match["host"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with https://")
    _check_host(host)
    if scheme == "http" and not is_loopback(host):
        raise ValueError("is plain http, which only loopback addresses may use; use https://")
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65535:
        raise ValueError("has a port outside 1 to 65535")
    path = match["path"].rstrip("/")
    if any(part in {"", ".", ".."} for part in path.split("/")[1:]):
        raise ValueError("has an empty, '.' or '..' part in its path")
    return BaseUrl(scheme, host, port, path)


def _check_host(host: str) -> None:
    if host.startswith("["):
        if host != "[::1]":
            raise ValueError("has an IPv6 host other than [::1]")
        return
    if host[-1].isdigit() and re.fullmatch(_IPV4, host):
        if host.startswith(("169.254.", "0.")):
            raise ValueError("has a link-local or unspecified address")
        return
    labels = host.split(".")
    if not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is not a plain host name")
    if any(label.startswith("xn--") for label in labels):
        raise ValueError("has an internationalised host, which could imitate another one")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        raise ValueError("has a number as its host")


def parse_allowlist(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of ``host``, ``host:port`` or ``*.domain``.

    Raises:
        ValueError: naming the entry, for instance a bare ``*``.
    """
    entries = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for entry in entries:
        name, _, port = entry[2:].partition(":") if entry.startswith("*.") else entry.partition(":")
        plain = entry == "[::1]" or all(_HOST_LABEL.fullmatch(p) for p in name.split("."))
        if not plain or (port and not (port.isascii() and port.isdigit()) and entry != "[::1]"):
            raise ValueError(f"has the entry {entry!r}, which is not host, host:port or *.domain")
    return entries


def allowed(url: BaseUrl, allowlist: Sequence[str]) -> bool:
    """Whether a base URL matches the allowlist; an empty list allows all.

    A port other than the scheme's own must be listed with its host. ``*.kimi.com`` matches by
    whole labels, and not ``kimi.com`` itself.
    """
    if not allowlist:
        return True
    standard = _DEFAULT_PORTS[url.scheme] == url.port
    for entry in allowlist:
        if entry.startswith("*."):
            name, _, port = entry[1:].partition(":")
            matches = url.host.endswith(name) and len(url.host) > len(name)
        elif entry == "[::1]":
            name, port, matches = entry, "", url.host == entry
        else:
            name, _, port = entry.partition(":")
            matches = url.host == name
        if matches and (int(port) == url.port if port else standard or is_loopback(url.host)):
            return True
    return False


__all__ = ["BaseUrl", "allowed", "is_loopback", "parse_allowlist", "parse_base_url"]
