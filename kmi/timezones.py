"""``KMI_TIMEZONE``: the one time zone of everything that people read."""

from __future__ import annotations

import datetime


def find_timezone(name: str) -> datetime.tzinfo | None:
    """The zone of "local" (None), "UTC", "+03:00", or an IANA name.

    Raises:
        ValueError: saying what is allowed.

    >>> find_timezone("+03:00")
    datetime.timezone(datetime.timedelta(seconds=10800))
    """
    if name == "local":
        return None
    if name.upper() in {"UTC", "Z"}:
        return datetime.timezone.utc
    if name[:1] in {"+", "-"}:
        return _offset(name)
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError("allowed: local, UTC, +03:00, or an IANA name like Europe/Riga") from None


def _offset(name: str) -> datetime.tzinfo:
    hours, _, minutes = name[1:].partition(":")
    minutes = minutes or "00"
    digits = hours + minutes
    if len(hours) == len(minutes) == 2 and digits.isascii() and digits.isdigit():
        if int(hours) > 14 or int(minutes) > 59:
            raise ValueError("allowed: an offset like +03:00, up to 14 hours")
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        return datetime.timezone(-offset if name[0] == "-" else offset)
    raise ValueError("allowed: an offset like +03:00, up to 14 hours")


def show_time(at: float, zone: datetime.tzinfo | None) -> str:
    """A moment for people, to the minute.

    >>> show_time(0.0, datetime.timezone.utc)
    '1970-01-01 00:00 UTC'
    """
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:%M %Z")


def show_span(seconds: float) -> str:
    """A duration for people, in its two largest units.

    >>> show_span(3725), show_span(42), show_span(200000)
    ('1 h 2 min', '42 s', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def utc_text(at: float) -> str:
    """A moment as records and state files hold it: UTC, milliseconds.

    >>> utc_text(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    moment = datetime.datetime.fromtimestamp(round(at, 3), datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def utc_seconds(text: str) -> float:
    """The reverse of `utc_text`.

    Raises:
        ValueError: it is not of that form.
    """
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    moment = datetime.datetime.strptime(text, form)
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
