"""What is known of one request, for those who decide about it and for its record (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.proxy.affinity import session_of
from kmi.proxy.events import tokens_of
from kmi.proxy.records import Served

if TYPE_CHECKING:
    from kmi.model import ApiKey
    from kmi.proxy.framing import RequestHead
    from kmi.proxy.picker import Pick

#: Only a model's answer proves that a key works; a list of models proves that it is genuine.
MODEL_PATHS = (b"/chat/completions", b"/messages", b"/completions", b"/responses")


class Account:
    """One request: what it is, and what it has been through.

    Args:
        head, path, body: the request; the path below the base.
        missing: bytes of a large body that are still to come.
        at: when it came, seconds since the epoch.
        mono: the same moment on the monotonic clock.

    Attributes:
        session: the hash of its session, or b"".
        is_model_request: its success proves that the key works.
        tried: key ids that failed it.
        again: the id of the key that is asked once more after a passing fault, or None.
        queued_at: since when it waits for a key, monotonic; None while it does not.
        waited_s: how long it waited in all.
    """

    # Values at its begin; most requests never change most of them.
    again: str | None = None
    queued_at: float | None = None
    waited_s = 0.0
    _key: ApiKey | None = None
    _pick: Pick | None = None
    _before: tuple[tuple[str, str], ...] = ()
    _first_s: float | None = None
    _received = 0
    _tail = b""

    def __init__(
        self, head: RequestHead, path: bytes, body: bytes, missing: int, at: float, mono: float
    ) -> None:
        self.head = head
        self.body = body
        self.missing = missing
        self.session = session_of(head.get, body)
        self.is_model_request = head.method == b"POST" and path.startswith(MODEL_PATHS)
        self.tried: set[str] = set()
        self.at = at
        self._mono = mono
        self._path = path
        self._sent = len(body) + missing

    def _record(self, request_id: str, status: int, verdict: str, mono: float) -> Served:
        """What came of it."""
        key, pick = self._key, self._pick
        return Served(
            self.at,
            request_id,
            self.head.method.decode("ascii", "replace"),
            self._path.partition(b"?")[0][:200].decode("ascii", "replace"),
            "" if key is None else key.key_id,
            "" if key is None else key.label,
            self.session[:4].hex(),
            status,
            verdict,
            "" if pick is None else "retry" if self._before else pick.code,
            self._before,
            0 if pick is None else pick.eligible,
            self.waited_s,
            self._first_s,
            mono - self._mono,
            self._sent,
            self._received,
            tokens_of(self._tail) if verdict == "ok" and self.is_model_request else None,
        )
