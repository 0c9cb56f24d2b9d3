"""The web page at `/`: `page.html`, with headers that let it do nothing else.

It holds no data and no token: it asks for the token, and gets `/status` with it.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from hashlib import sha256

HERE = os.path.dirname(os.path.abspath(__file__))
_PAGE: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []


def page() -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body, and its headers without Content-Length; read from the disk at the first call.

    Raises:
        OSError: the file is not there: the installation is incomplete.
    """
    if not _PAGE:
        with open(os.path.join(HERE, "page.html"), "rb") as file:
            body = file.read()
        _PAGE.append((body, _headers(body)))
    return _PAGE[0]


def _headers(body: bytes) -> list[tuple[bytes, bytes]]:
    policy = (
        "default-src 'none'; "
        f"style-src {_hashes(body, b'style')}; script-src {_hashes(body, b'script')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


def _hashes(body: bytes, tag: bytes) -> str:
    """What a policy allows: exactly the blocks of this page."""
    blocks = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), body, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(block).digest()).decode()}'" for block in blocks)
