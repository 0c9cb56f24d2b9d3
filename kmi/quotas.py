"""Quota windows from a `/usages` answer, money from a balance answer. Pure, and total.

`/usages` is not documented. It comes in two generations that are also mixed, and that contradict
one another (upstream.md); so readings are collected per window, and the worst one wins. Names
are read in snake and in camel case, numbers also as strings.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmi.error_texts import evidence, short_hash
from kmi.model import WINDOW_S, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A reset may lie this much beyond its window: clocks differ, and windows begin at a request.
SLACK_S = 3600.0
# `limits[].window`, in minutes. A month is whatever has 28 to 31 days.
_MINUTES = {"minute": 1, "hour": 60, "day": 1440, "week": 10080}
_WINDOW_NAMES = {300: "5h", 1440: "1d", 10080: "7d"}
_POOLS = {"limit5h": "5h", "limit7d": "7d", "limitmonthtotal": "month", "limitmonthcode": "month"}
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?\s*")
_TIME = re.compile(
    r"\s*([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,18})?"
    r"\s*(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?\s*"
)


@dataclass(frozen=True)
class UsageReading:
    """What a `/usages` answer says.

    Attributes:
        windows: by name: "5h", "7d", "month"; also "1d", and "plan" for a period of unknown
            length. A window that can't be told is absent.
        group: a hash of the ``userId``, or None; keys with an equal one share their limits.
        drift: what in the answer was not as known, or "": for people, not for decisions.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    group: str | None = None
    drift: str = ""


@dataclass(frozen=True)
class Balance:
    """Money on the pay-as-you-go platform, in ``currency`` ("USD", "CNY", or "" when unknown).

    Cash may be negative; then only the voucher counts, and the platform has said so in
    ``available``. At ``available`` ≤ 0 there is no inference (upstream.md).
    """

    available: float
    currency: str = ""


def parse_usages(body: str | bytes, now: float) -> UsageReading:
    """Read a `/usages` answer.

    Raises:
        ValueError: when it is not JSON, or nothing in it is known.
    """
    return read_usages(_json(body), now)


def read_usages(document: object, now: float) -> UsageReading:
    """Read a parsed `/usages` answer.

    Raises:
        ValueError: nothing in it is known.
    """
    table = _folded(document)
    if "data" in table and "usages" not in table and "limits" not in table:
        table = _folded(table["data"])
    if not {"usage", "usages", "limits"} & set(table):
        raise ValueError("the answer has neither usages, usage nor limits")
    drift: list[str] = []
    candidates: dict[str, list[Window]] = {}
    for name, window in _candidates(table, now, drift):
        candidates.setdefault(name, []).append(window)
    windows = {name: _worst(found) for name, found in sorted(candidates.items())}
    if not windows:
        drift.append("no window could be read")
    user = _folded(table.get("user")).get("userid")
    group = short_hash(user) if isinstance(user, str) and user else None
    return UsageReading(windows, group, evidence("; ".join(drift)))


def _candidates(
    table: Mapping[str, Any], now: float, drift: list[str]
) -> Iterator[tuple[str, Window]]:
    """Every reading with the name of its window, as rule 1 of upstream.md collects them."""
    usage = _reading(table.get("usage"), now)
    if usage is not None:
        # It names no window: the week, unless its reset lies further off.
        far = usage.resets_at is not None and usage.resets_at > now + WINDOW_S["7d"] + SLACK_S
        yield from _bounded("plan" if far else "7d", usage, now, drift)
    limits = table.get("limits")
    for limit in limits if isinstance(limits, list) else []:
        row = _folded(limit)
        name = _window_name(row.get("window"))
        reading = _reading(row.get("detail", limit), now)
        if name is None:
            drift.append("a limit has an unknown window")
        elif reading is not None:
            yield from _bounded(name, reading, now, drift)
    for pool, value in _folded(table.get("usages")).items():
        reading = _reading(value, now)
        if pool not in _POOLS:
            drift.append(f"unknown pool {pool}")
        elif reading is not None:
            yield from _bounded(_POOLS[pool], reading, now, drift)


def _bounded(
    name: str, window: Window, now: float, drift: list[str]
) -> Iterator[tuple[str, Window]]:
    """Drop a reading past its reset (rule 3: stale), and a reset beyond its window."""
    if window.resets_at is None:
        yield name, window
    elif window.resets_at > now + WINDOW_S[name] + SLACK_S:
        drift.append(f"the {name} reset lies beyond the window")
        yield name, Window(window.used)
    elif window.resets_at > now:
        yield name, window


def _worst(found: list[Window]) -> Window:
    """The largest used share with its own reset, or the latest known one if it names none."""
    worst = max(found, key=lambda window: (window.used, window.resets_at or 0.0))
    resets = [window.resets_at for window in found if window.resets_at is not None]
    if worst.resets_at is None and resets:
        return Window(worst.used, max(resets))
    return worst


def _reading(value: object, now: float) -> Window | None:
    """One pool of either generation; None when its share is unknown."""
    table = _folded(value)
    shares = []
    ratio = number(table.get("usedratio"))
    if ratio is not None:
        shares.append(ratio)
    limit = number(table.get("limit"))
    if limit is not None and limit > 0.0:
        used, remaining = number(table.get("used")), number(table.get("remaining"))
        if used is not None:
            shares.append(used / limit)
        if remaining is not None:
            shares.append((limit - remaining) / limit)
    if not shares:
        return None
    return Window(min(1.0, max(0.0, *shares)), moment(table.get("resettime")))


def _window_name(value: object) -> str | None:
    table = _folded(value)
    duration = number(table.get("duration"))
    unit = table.get("timeunit")
    if duration is None or not isinstance(unit, str):
        return None
    minutes = duration * _MINUTES.get(unit.lower().replace("time_unit_", "").rstrip("s"), 0)
    if 28 * 1440 <= minutes <= 31 * 1440:
        return "month"
    return _WINDOW_NAMES.get(round(minutes)) if minutes < 1e9 else None


def _folded(value: object) -> dict[str, Any]:
    """A JSON object with its names in one form: `used_ratio` and `usedRatio` become one."""
    if not isinstance(value, dict):
        return {}
    return {str(name).replace("_", "").lower()[:80]: item for name, item in value.items()}


def number(value: object) -> float | None:
    """A finite number, also from a string; None for anything else.

    >>> number("40"), number(float("nan")), number(True)
    (40.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    try:
        result = float(value)
    except (OverflowError, ValueError):
        return None
    return result if math.isfinite(result) else None


def moment(value: object) -> float | None:
    """A time in seconds since the epoch, from RFC 3339 text with any fraction, or epoch numbers.

    Epoch numbers may be seconds, milli-, micro- or nanoseconds: told apart by their size.

    >>> moment("1970-01-01T00:01:00.123456789Z")
    60.123456789
    """
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return _epoch(number(value))
    import datetime

    year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
    zone = datetime.timezone.utc
    try:
        # Second 60 is a leap second; Python has none.
        date = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        at = date.timestamp() + float(match[7] or 0.0)
    except (ValueError, OverflowError):
        return None
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        at += offset if match[8] == "-" else -offset
    return at if at > 0.0 else None


def _epoch(value: float | None) -> float | None:
    if value is None or value < 1e9:
        return None
    # 1e11 seconds are the year 5138; 1e11 milliseconds are 1973.
    for scale in (1.0, 1e3, 1e6, 1e9):
        if value / scale < 1e11:
            return value / scale
    return None


def parse_balance(body: str | bytes, host: str = "") -> Balance:
    """Read an answer of ``/users/me/balance``; the currency goes by the host (upstream.md).

    Raises:
        ValueError: when it is not JSON, or has no available balance.
    """
    table = _folded(_json(body))
    data = _folded(table.get("data", {}))
    available = number(data.get("availablebalance"))
    if available is None:
        raise ValueError("the answer has no available_balance")
    currency = "CNY" if host.endswith(".cn") else "USD" if host.endswith(".ai") else ""
    return Balance(available, currency)


def _json(body: str | bytes) -> object:
    import json

    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
        return json.loads(text)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None
    except ValueError:
        raise ValueError("the answer is not JSON") from None
