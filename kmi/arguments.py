"""Words of a command line that several commands take: counts and spans (pure)."""

from __future__ import annotations

import argparse
import re

#: Seconds in each unit of a span.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_count(text: str) -> int:
    """A number of lines, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise argparse.ArgumentTypeError("a number of lines is needed, such as 50")
    return int(text)


def read_span(text: str) -> float:
    """A span of time in seconds, for argparse.

    >>> read_span("10m"), read_span("2d")
    (600.0, 172800.0)
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError("a span is needed, such as 30s, 10m, 2h, 1d or 4w")
    return float(int(match[1]) * _UNITS[match[2]])
