"""Why a connection failed, for people: the same of the proxy and of kmi that asks itself."""

from __future__ import annotations

import os


def connection_words(error: BaseException | None) -> str:
    """The words for an error of the system or of TLS; "" for any other.

    Never the error's own text where that could be somebody else's, or hold an address.
    """
    import socket
    import ssl

    from kmi.error_texts import evidence

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {evidence(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {evidence(str(error.reason or 'no reason given')).lower()}"
    if isinstance(error, socket.gaierror):
        return "host not found"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return ""
