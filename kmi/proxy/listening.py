"""The socket that the proxy listens on."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress

from kmi.errors import KmiError
from kmi.proxy.ports import bracketed

#: Connections that wait to be accepted.
BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: a name or an address, IPv6 in brackets or not.
        port: 0 takes a free one.

    Raises:
        KmiError: "port-in-use", or "no-listen" for what else is in the way.
    """
    host = host.strip("[]")
    try:
        # As bytes: a name that is ASCII already needs none of the tables of IDNA.
        name, kind, flags = host.encode("ascii"), socket.SOCK_STREAM, socket.AI_PASSIVE
        found = socket.getaddrinfo(name, port, type=kind, flags=flags)
        family, kind, number, _, address = found[0]
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise _cant_listen(host, port, error) from None
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _cant_listen(host, port, error) from None
    return listening


def _cant_listen(host: str, port: int, error: OSError) -> KmiError:
    where = f"{bracketed(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        return KmiError(
            f"{where} is in use", "end the program that uses it, or set KMI_PROXY_LISTEN",
            code="port-in-use",
        )  # fmt: skip
    words = error.strerror or "the system refused"
    return KmiError(
        f"can't listen on {where}: {words}", "correct KMI_PROXY_LISTEN", code="no-listen"
    )


def allow_files(count: int) -> None:
    """Raise the limit of open files, as far as it may be: a stream takes two."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def has_terminal() -> bool:
    """Whether stdin is a terminal that is still there."""
    try:
        os.tcgetpgrp(0)
    except (OSError, AttributeError):
        return False
    return True
