"""Where the proxy may listen, who holds a port, and what answers there."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from kmi.errors import ConfigError
from kmi.lock import process_name
from kmi.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.settings import Settings

#: A proxy on loopback answers within milliseconds; longer means that it is ending or hangs.
PROBE_S = 2.0
_ANSWER_BYTES = 65536
_LISTENING = "0A"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - compared, not bound


def check_listen(settings: Settings) -> None:
    """Refuse to listen for others than this machine, unless all of it was asked for.

    Raises:
        ConfigError: naming what is missing.
    """
    host, port = settings.proxy_listen
    if is_loopback(host):
        return
    missing = []
    if not settings.proxy_allow_remote:
        missing.append("KMI_PROXY_ALLOW_REMOTE=1")
    if not settings.proxy_token:
        missing.append("an explicit KMI_PROXY_TOKEN of at least 32 characters")
    if settings.proxy_require_tls and not settings.proxy_tls_terminated:
        missing.append(
            "KMI_PROXY_TLS_TERMINATED=1 (TLS is terminated in front) or KMI_PROXY_REQUIRE_TLS=0"
        )
    if missing:
        raise ConfigError(
            f"{settings.origin('KMI_PROXY_LISTEN')}: KMI_PROXY_LISTEN={host}:{port} is not "
            f"loopback, and this is missing: {'; '.join(missing)}",
            "set what is missing, or listen on 127.0.0.1",
            code="remote-bind",
        )


def reachable(host: str) -> str:
    """By which host a client on this machine reaches a listener."""
    return _WILDCARDS.get(host, host)


def bracketed(host: str) -> str:
    """A host as it is written before a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def health(host: str, port: int, limit_s: float, *, whole: bool) -> bytes:
    """What answers ``GET /healthz`` there, without any token; as much of it as came.

    Args:
        host: where a proxy listens, or something else.
        port: likewise.
        limit_s: how long to wait for each piece.
        whole: read to the end, and not only the head.
    """
    host, answer = reachable(host), b""
    request = f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    with suppress(OSError), socket.create_connection((host.strip("[]"), port), limit_s) as there:
        there.sendall(request.encode())
        while len(answer) < _ANSWER_BYTES and (whole or b"\r\n\r\n" not in answer):
            piece = there.recv(_ANSWER_BYTES)
            if not piece:
                break
            answer += piece
    return answer


def probe(host: str, port: int) -> str:
    """What answers there: "kmi", "other", or "" for nothing."""
    answer = health(host, port, PROBE_S, whole=False)
    head = answer.partition(b"\r\n\r\n")[0]
    if re.search(rb"(?im)^server:[ \t]*kmi", head):
        return "kmi"
    return "other" if answer else ""


def port_holder(port: int) -> str:
    """Who listens on a port, by number and name, as far as the system tells; "" otherwise."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return ""
    for name in os.listdir("/proc"):
        if name.isdigit() and _has_socket(name, inodes):
            return process_name(int(name))
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    """The sockets that listen on a port: /proc/net/tcp, proc(5)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except (OSError, ValueError):
            continue
        for row in rows:
            if len(row) > 9 and row[3] == _LISTENING and row[1].endswith(f":{port:04X}"):
                yield row[9]


def _has_socket(pid: str, inodes: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False  # another user's
    for name in names:
        try:
            target = os.readlink(os.path.join(folder, name))
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return True
    return False
