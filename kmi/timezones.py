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


#: Every digit of ASCII becomes a zero; a state of thousands of keys has many times.
_SHAPE = str.maketrans("123456789", "000000000")


def utc_text(at: float) -> str:
    """A moment as records and state files hold it: UTC, milliseconds.

    >>> utc_text(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    moment = datetime.datetime.fromtimestamp(round(at, 3), datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def utc_seconds(text: object) -> float:
    """The reverse of `utc_text`.

    Raises:
        ValueError: it is not of that form, or no text at all, as a damaged record may have it.
    """
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} is not a time like 2026-01-31T12:00:00.000Z")
    # Not strptime, whose first use costs as much start-up as all the rest of this module.
    whole, _, fraction = text[:-1].partition(".")
    if whole.translate(_SHAPE) != "0000-00-00T00:00:00" or text[-1:] != "Z" or len(fraction) > 6:
        raise ValueError(f"{text[:40]!a} is not a time like 2026-01-31T12:00:00.000Z")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"{text[:40]!a} is not a time like 2026-01-31T12:00:00.000Z")
    parts = (whole[:4], whole[5:7], whole[8:10], whole[11:13], whole[14:16], whole[17:19])
    year, month, day, hour, minute, second = map(int, parts)
    micros = int((fraction or "0").ljust(6, "0"))
    utc = datetime.timezone.utc
    return datetime.datetime(year, month, day, hour, minute, second, micros, utc).timestamp()
