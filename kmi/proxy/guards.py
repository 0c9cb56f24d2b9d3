"""Who may talk to the proxy (pure): checks of a request's head, before its body is read.

Any web page can send requests to a loopback address. So a request must name the proxy's own host
(else a name was rebound to it), must not come from a page, and must carry the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

try:  # what `hmac` offers, without the megabyte of OpenSSL that it loads
    from _operator import _compare_digest as compare_digest
except ImportError:
    from hmac import compare_digest

if TYPE_CHECKING:
    from kmi.proxy.framing import RequestHead

#: Methods that make sense below the base path; OPTIONS would only ask for what is never granted.
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"})


class Refusal(NamedTuple):
    """An answer of kmi's own: status, a word for programs, and what to do, for people."""

    status: int
    code: str
    message: str


def own_hosts(host: str, port: int) -> frozenset[bytes]:
    """The values of Host by which the proxy is meant, in lower case.

    Args:
        host: where it listens.
        port: likewise.
    """
    names = {"127.0.0.1", "localhost", "[::1]", host}
    named = {f"{name}:{port}" for name in names}
    return frozenset(name.lower().encode() for name in (named | names if port == 80 else named))


class Guard:
    """The checks, with what they compare to."""

    def __init__(self, hosts: frozenset[bytes], token: str, *, any_host: bool = False) -> None:
        self._hosts = hosts
        self._token = token.encode()
        self._any_host = any_host
        # The value that clients send again and again is compared first, as a whole.
        self._bearer = b"Bearer " + self._token

    def refusal(self, head: RequestHead, *, page: bool = False) -> Refusal | None:
        """Why a request is refused; None when it is welcome.

        Args:
            head: its head.
            page: it is for the status page and its data, which the page itself may ask for.
        """
        if head.host.lower() not in self._hosts and not self._any_host:
            return Refusal(403, "host-not-allowed", "the Host header does not name this proxy")
        if head.origin is not None:
            return Refusal(403, "origin-not-allowed", "requests of web pages are not served")
        site = head.fetch_site
        if site is not None and site != b"none" and not (page and site == b"same-origin"):
            return Refusal(403, "origin-not-allowed", "requests of web pages are not served")
        return None

    def unknown(self, head: RequestHead) -> Refusal | None:
        """Why the sender is not known; None when it sent the token, as either header."""
        given = head.authorization
        if given is not None:
            if compare_digest(given, self._bearer):
                return None
            kind, _, value = given.partition(b" ")
            if kind.lower() == b"bearer" and compare_digest(value.strip(), self._token):
                return None
        elif head.api_key is not None and compare_digest(head.api_key, self._token):
            return None
        what = "the token is missing" if given is None and head.api_key is None else "wrong token"
        return Refusal(
            401,
            "wrong-token",
            f"{what}: send `Authorization: Bearer TOKEN` (or `x-api-key: TOKEN`); the token is in "
            "the file that `kmi proxy status` names",
        )
