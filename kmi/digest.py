"""SHA-256 without the start-up of `hashlib`, which loads OpenSSL."""

from __future__ import annotations

try:
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]  # from 3.12 on
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found,no-redef,unused-ignore]  # Python 3.9 to 3.11
    except ImportError:
        from hashlib import sha256  # type: ignore[assignment,unused-ignore]  # later ones


def sha256_hex(data: bytes) -> str:
    """The digest in hexadecimal.

    >>> sha256_hex(b"")[:12]
    'e3b0c44298fc'
    """
    return str(sha256(data).hexdigest())
