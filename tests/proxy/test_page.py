"""The web page: what it may do, and whether it can be read. A browser tries it in `tests/e2e`."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from kmi.proxy.page import page

BODY, HEADERS = page()
TEXT = BODY.decode()


def test_the_page_is_small_and_whole() -> None:
    assert len(BODY) < 30_000
    assert page()[0] is BODY
    links = set(re.findall(r"[a-z]+://[^\s\"'`)]*", TEXT))
    assert links == {"http://www.w3.org/2000/svg"}  # the name of a namespace
    assert not re.search(r"<(link|img|iframe|object|embed|base)\b|@import|url\(", TEXT)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(", TEXT
    )
    assert not re.search(r"<[^>]*\s(on[a-z]+|style)=", TEXT), "the policy would block it"


def test_the_policy_allows_this_page_and_nothing_else() -> None:
    headers = dict(HEADERS)
    assert len(headers) == len(HEADERS)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in headers[b"content-security-policy"].decode().split(";")
    )
    hashes = {
        tag: b64encode(sha256(TEXT.split(f"<{tag}>")[1].split(f"</{tag}>")[0].encode()).digest())
        for tag in ("style", "script")
    }
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{hashes['style'].decode()}'",
        "script-src": f"'sha256-{hashes['script'].decode()}'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert all(re.fullmatch(rb"[a-z-]+", name) for name in headers)


def colors(dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", TEXT, re.DOTALL)
    assert len(blocks) == 2
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[int(dark)]))


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read(dark: bool) -> None:
    """WCAG 2: 4.5 for text, 3 for graphics and for the edges of controls."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    found = colors(dark)
    for back in ("bg", "card"):
        for name in ("text", "dim", "link", "good", "warn", "bad"):
            assert contrast(found[name], found[back]) >= 4.5, (name, back)
        for name in ("line", "focus", *(f"k{n}" for n in range(6))):
            assert contrast(found[name], found[back]) >= 3.0, (name, back)
    for name in ("good", "warn", "bad"):
        assert contrast(found[name], found["soft"]) >= 3.0, name
