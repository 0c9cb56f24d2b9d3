"""The heads that go out: of a request to the upstream, and of its answer to the client (pure).

Only what belongs to this hop is written anew: the target's base, host, credentials and framing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.proxy.framing import Framing, downstream_fields

if TYPE_CHECKING:
    from kmi.proxy.framing import ResponseHead

#: Without a body these say nothing of its length (RFC 9110 8.6).
_NO_BODY = frozenset({b"GET", b"HEAD", b"DELETE"})


def request_bytes(
    method: bytes, base: bytes, path: bytes, own: bytes, fields: bytes, length: int
) -> bytes:
    """The head of a request.

    Args:
        method: the client's.
        base: the path of the base URL.
        path: what stands below it, with the query.
        own: the lines of host and credentials.
        fields: the client's lines that are sent on.
        length: of the body in bytes.
    """
    target = base + path
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
        method,
        target if target[:1] == b"/" else b"/" + target,
        own,
        fields,
        b"content-length: %d\r\n" % length if length or method not in _NO_BODY else b"",
    )


def answer_bytes(answer: ResponseHead, label: str, *, chunked: bool, close: bool) -> bytes:
    """The head of an answer that is handed on.

    Args:
        answer: the upstream's.
        label: of the key that it was asked with.
        chunked: whether a chunked body stays so.
        close: whether the client's connection ends with it.
    """
    framing = b""
    if answer.framing is Framing.CHUNKED:
        framing = b"transfer-encoding: chunked\r\n" if chunked else b""
    elif answer.length is not None and answer.status != 204:
        framing = b"content-length: %d\r\n" % answer.length
    return b"HTTP/1.1 %d %b\r\n%b%bx-kmi-key: %b\r\n%b" % (
        answer.status,
        answer.reason,
        downstream_fields(answer),
        framing,
        label.encode(),
        b"connection: close\r\n\r\n" if close else b"\r\n",
    )
