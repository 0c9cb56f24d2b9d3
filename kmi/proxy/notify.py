"""What systemd is told of a service's state (sd_notify(3)); nothing where nobody listens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

READY, STOPPING = "READY=1", "STOPPING=1"


def notify(env: Mapping[str, str], *states: str) -> bool:
    """Send states such as ``READY=1`` to the manager.

    Args:
        env: ``NOTIFY_SOCKET`` in it names the socket; a leading ``@`` stands for the abstract
            namespace.
        states: assignments, as in sd_notify(3).

    Returns:
        whether they were sent; a manager that went away is no reason to fail.
    """
    name = env.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    address = "\0" + name[1:] if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(states).encode(), address)
    except OSError:
        return False
    return True
