"""Counts, shares and spans on command lines."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING

import pytest

from kmi.arguments import read_number, read_share, read_since, read_span

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = [
    (read_number, "0", 0), (read_number, "123456789", 123456789),
    (read_share, "0.05", 0.05), (read_share, "20", 20.0), (read_share, "0.9", 0.9),
    (read_span, "30s", 30.0), (read_span, "10m", 600.0), (read_span, "2h", 7200.0),
    (read_span, "1d", 86400.0), (read_span, "4w", 2419200.0),
    (read_since, "all", 0.0), (read_since, "7d", 604800.0),
    (read_since, "2026-01-31", datetime.date(2026, 1, 31)),
]  # fmt: skip
BAD = [
    (read_number, ["", "-1", "1.5", "1e3", "\u0661", "1" * 10]),
    (read_share, ["", "0", "0.04", "20.1", "-1", "nan", "1e1", "100", ".5", "0.1234567"]),
    (read_span, ["", "5", "m", "5 m", "-5m", "5y", "1.5h", "1" * 7 + "m"]),
    (read_since, ["", "5", "2026-02-30", "2026-1-1", "yesterday", "ALL"]),
]


@pytest.mark.parametrize("read,text,value", GOOD)
def test_what_is_understood(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize("read,text", [(read, text) for read, texts in BAD for text in texts])
def test_what_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        read(text)
