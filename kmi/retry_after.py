"""The wait that a response's headers ask for. Pure.

No captured answer of the upstream carries any of these headers, although its help centre promises
``X-RateLimit-*`` (upstream.md): so they are read where present, and never relied on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The longest wait that is believed: the longest window of the plan.
RETRY_AFTER_MAX_S = 31 * 86400.0

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SECONDS = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
_CLOCK = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
# RFC 9110 5.6.7: IMF-fixdate, then the obsolete forms of RFC 850 and of asctime.
_DATES = (
    rf"[A-Za-z]{{3,9}}, ([0-9]{{2}})[ -]([A-Za-z]{{3}})[ -]([0-9]{{2,4}}) {_CLOCK} GMT",
    rf"[A-Za-z]{{3}} ([A-Za-z]{{3}}) ([ 0-9][0-9]) {_CLOCK} ([0-9]{{4}})",
)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """The seconds that a ``Retry-After`` asks to wait (RFC 9110 10.2.3).

    None for no value, for one that can't be read, for the past, and for what is absurd: more than
    31 days.

    >>> parse_retry_after("120", 0.0), parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0.0)
    (120.0, 60.0)
    """
    text = (value or "").strip()
    if re.fullmatch(_SECONDS, text):
        return _sane(float(text))
    at = _date(text)
    return None if at is None else _sane(at - now)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The wait that headers ask for: ``Retry-After``, else the reset of a spent rate limit.

    ``X-RateLimit-Reset`` counts only beside ``X-RateLimit-Remaining: 0``; from 1e9 on it is a
    time, below it seconds. Names are compared without case.
    """
    names = {name.lower(): value for name, value in headers.items()}
    wait = parse_retry_after(names.get("retry-after"), now)
    reset = names.get("x-ratelimit-reset", "").strip()
    if wait is None and names.get("x-ratelimit-remaining", "").strip() == "0":
        if not re.fullmatch(_SECONDS, reset):
            return None
        seconds = float(reset)
        return _sane(seconds - now if seconds >= 1e9 else seconds)
    return wait


def _sane(seconds: float) -> float | None:
    return seconds if 0.0 < seconds <= RETRY_AFTER_MAX_S else None


def _date(text: str) -> float | None:
    fixed, asctime = (re.fullmatch(pattern, text) for pattern in _DATES)
    if fixed:
        day, month, year, *clock = fixed.groups()
    elif asctime:
        month, day, *clock, year = asctime.groups()
    else:
        return None
    if month.lower() not in _MONTHS or len(year) == 3:
        return None
    number = int(year)
    if len(year) == 2:
        # RFC 9110: two digits that seem over 50 years ahead are of the past.
        number += 2000 if number < 70 else 1900
    import datetime

    try:
        moment = datetime.datetime(
            number,
            _MONTHS.index(month.lower()) + 1,
            int(day),
            int(clock[0]),
            int(clock[1]),
            min(int(clock[2]), 59),
            tzinfo=datetime.timezone.utc,
        )
    except ValueError:
        return None
    return moment.timestamp()
