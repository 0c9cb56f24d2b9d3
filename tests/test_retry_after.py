"""Headers that ask to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.retry_after import RETRY_AFTER_MAX_S, parse_retry_after, retry_after

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT: the example of RFC 9110


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:00:00 GMT", None),
        ("Sun, 31 Feb 1994 08:50:37 GMT", None),
        ("Sun, 06 Nov 1999 08:50:37 GMT", None),
        ("Sun, 06 Foo 1994 08:50:37 GMT", None),
        ("0", None),
        ("-5", None),
        ("99999999", None),
        ("9" * 400, None),
        ("inf", None),
        ("nan", None),
        ("1e3", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, 7.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, 9.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000060"}, 60.0),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "9"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1600000000"}, None),
        ({}, None),
    ],
)
def test_a_spent_rate_limit_stands_in(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, 1_700_000_000.0) == seconds


@given(st.text(max_size=40), st.floats(0, 4e9))
def test_any_value_gives_a_sane_wait_or_none(value: str, now: float) -> None:
    wait = parse_retry_after(value, now)
    assert wait is None or 0.0 < wait <= RETRY_AFTER_MAX_S
