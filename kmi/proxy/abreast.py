"""Waiting until a proxy that runs has seen what a command wrote: it looks a few times a second."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.proxy.instance import look
from kmi.proxy.ports import health

if TYPE_CHECKING:
    from kmi.proxy.instance import Instance

#: The proxy looks every quarter of a second, less often at very many files; a command that has
#: done its work waits no longer than this.
PATIENCE_S = 1.0
_PAUSE_S = 0.02
_ANSWER_S = 0.5


def wait(directory: str, state_file: str) -> bool:
    """Wait until the proxy of a state directory has seen ``state.json`` as it is now.

    Returns:
        whether it has; True also where none runs.
    """
    try:
        instance = look(directory).instance
        status = os.stat(state_file)
    except (KmiError, OSError):
        return False
    wanted = [status.st_mtime_ns, status.st_size, status.st_ino]
    until = time.monotonic() + PATIENCE_S
    while instance is not None:
        seen = _seen(instance)
        # It writes the file too, and may be further on.
        if seen is not None and (seen == wanted or seen[0] > wanted[0]):
            return True
        if seen is None or time.monotonic() > until:
            return False
        time.sleep(_PAUSE_S)
    return True


def _seen(instance: Instance) -> list[int] | None:
    """What ``/healthz`` says of the state that it goes by; None when it does not say."""
    answer = health(instance.host, instance.port, _ANSWER_S, whole=True)
    try:
        seen = json.loads(answer.partition(b"\r\n\r\n")[2])["state"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    sound = isinstance(seen, list) and len(seen) == 3 and all(isinstance(n, int) for n in seen)
    return seen if sound else None
