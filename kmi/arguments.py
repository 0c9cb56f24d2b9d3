"""Words of a command line that several commands take: counts and spans (pure).

A word that means nothing raises ``argparse.ArgumentTypeError``, which says what is needed.
"""

from __future__ import annotations

import argparse
import datetime
import re

#: Seconds in each unit of a span.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_count(text: str) -> int:
    """A number of lines, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise argparse.ArgumentTypeError("a number of lines is needed, such as 50")
    return int(text)


def read_number(text: str) -> int:
    """A whole number, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError("a whole number is needed, such as 3")
    return int(text)


def read_share(text: str) -> float:
    """A share of something, for argparse: 0.05 to 20."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", text) or not 0.05 <= float(text) <= 20.0:
        raise argparse.ArgumentTypeError("a share is needed, from 0.05 to 20, such as 0.9")
    return float(text)


def read_span(text: str) -> float:
    """A span of time in seconds, for argparse.

    >>> read_span("10m"), read_span("2d")
    (600.0, 172800.0)
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError("a span is needed, such as 30s, 10m, 2h, 1d or 4w")
    return float(int(match[1]) * _UNITS[match[2]])


def read_since(text: str) -> float | datetime.date:
    """A span in seconds, 0.0 for ``all``, or a day, for argparse.

    >>> read_since("7d"), read_since("2026-01-31")
    (604800.0, datetime.date(2026, 1, 31))
    """
    if text == "all":
        return 0.0
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            raise argparse.ArgumentTypeError("there is no such day") from None
    try:
        return read_span(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            "a span such as 12h or 7d, a day such as 2026-01-31, or all is needed"
        ) from None
