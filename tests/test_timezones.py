"""Times as records hold them, and the zones that people name."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.timezones import find_timezone, utc_seconds, utc_text


@given(st.floats(0.0, 4e9, allow_nan=False))
def test_a_time_comes_back_to_the_millisecond(at: float) -> None:
    text = utc_text(at)
    assert len(text) == 24
    assert text.endswith("Z")
    assert abs(utc_seconds(text) - at) <= 0.0011
    assert utc_text(utc_seconds(text)) == text


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("1970-01-01T00:00:01.500Z", 1.5),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:00.000001Z", 1e-6),
    ],
)
def test_times_of_other_lengths(text: str, seconds: float) -> None:
    assert utc_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00.000",
        "1970-01-01 00:00:00Z", "1970-01-01T00:00:00.1a3Z", "1970-01-01T00:00:00.1234567Z",
        "1970-01-01T00:00:00.\u0661Z", "\u0661\u066970-01-01T00:00:00Z", "1970-13-01T00:00:00Z",
        "1970-01-01T25:00:00Z", "a970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z ",
    ],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        utc_seconds(text)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [1], {"a": 1}, b"1970-01-01T00:00:01Z"])
def test_what_is_no_text_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="is not a time like"):
        utc_seconds(value)


def test_zones() -> None:
    assert find_timezone("local") is None
    assert find_timezone("utc") is datetime.timezone.utc
    for name, hours in (("+03:00", 3.0), ("-05", -5.0), ("+05:30", 5.5)):
        zone = find_timezone(name)
        assert zone is not None
        assert zone.utcoffset(None) == datetime.timedelta(hours=hours)
    riga = find_timezone("Europe/Riga")
    assert riga is not None
    assert riga.utcoffset(datetime.datetime(2026, 1, 31)) == datetime.timedelta(hours=2)


@pytest.mark.parametrize(
    "name", ["+15", "+03:60", "+3", "-0330", "+03:0a", "Mars/Base", "../x", ""]
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        find_timezone(name)
