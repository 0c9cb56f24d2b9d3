"""Quota windows from every known shape of `/usages`, and from what is none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.model import WINDOW_S, Window
from kmi.quotas import (
    SLACK_S,
    Balance,
    moment,
    number,
    parse_balance,
    parse_usages,
    read_usages,
)

NOW = 1_772_600_000.0  # 2026-03-04T04:53:20Z


def at(seconds: float) -> float:
    return NOW + seconds


HOUR = 3600.0
DAY = 86400.0
IN_2H = "2026-03-04T06:53:20Z"
IN_3D = "2026-03-07T04:53:20Z"
IN_20D = "2026-03-24T04:53:20Z"
PAST = "2026-03-04T04:00:00Z"


def row(
    minutes: object = 300, unit: object = "TIME_UNIT_MINUTE", **detail: object
) -> dict[str, Any]:
    return {"window": {"duration": minutes, "timeUnit": unit}, "detail": detail}


def old(**more: object) -> dict[str, Any]:
    """The first example of upstream.md."""
    return {
        "user": {"userId": "u-1", "membership": {"level": "LEVEL_STANDARD"}},
        "usage": {"limit": "100", "used": "40", "remaining": "60", "resetTime": IN_3D},
        "limits": [row(limit="100", used="1", remaining="99", resetTime=IN_2H)],
        "parallel": {"limit": "30"},
        "totalQuota": {"limit": "100", "remaining": "1"},
        "subType": "TYPE_PURCHASE",
        **more,
    }


def new(**more: object) -> dict[str, Any]:
    """The second example of upstream.md."""
    return {
        "usages": {
            "limit_5h": {"used_ratio": 0.25, "reset_time": IN_2H},
            "limit_7d": {"used_ratio": "0.5", "reset_time": IN_3D},
            "limit_month_total": {"used_ratio": 0.0338, "reset_time": IN_20D},
            "limit_month_code": {"used_ratio": 0, "reset_time": IN_20D},
        },
        "limits": [row(limit="100", remaining="100", resetTime=IN_2H)],
        "boosterWallet": {"balance": {"type": "BOOSTER", "amount": "1"}},
        **more,
    }


def windows(document: object) -> dict[str, Window]:
    return dict(read_usages(document, NOW).windows)


def test_the_old_generation() -> None:
    assert windows(old()) == {
        "5h": Window(0.01, at(2 * HOUR)),
        "7d": Window(0.4, at(3 * DAY)),
    }


def test_the_new_generation() -> None:
    assert windows(new()) == {
        "5h": Window(0.25, at(2 * HOUR)),
        "7d": Window(0.5, at(3 * DAY)),
        "month": Window(0.0338, at(20 * DAY)),
    }


def test_mixed_generations_and_the_worst_wins() -> None:
    spent = {"limit": "100", "used": "100", "resetTime": IN_3D}
    mixed = new(usage=spent)
    mixed["usages"]["limit_7d"]["used_ratio"] = 0
    assert windows(mixed)["7d"] == Window(1.0, at(3 * DAY))
    mixed = new(usage={"limit": "100", "used": "1", "resetTime": IN_3D})
    assert windows(mixed)["7d"] == Window(0.5, at(3 * DAY))


def test_the_worst_without_a_reset_takes_a_known_one() -> None:
    mixed = new(usage={"limit": "100", "used": "100"})
    assert windows(mixed)["7d"] == Window(1.0, at(3 * DAY))
    assert windows({"usage": {"limit": 10, "used": 10}}) == {"7d": Window(1.0, None)}


def test_camel_case_and_no_pools() -> None:
    document = {"usages": {"limit5h": {"usedRatio": "0.75", "resetTime": IN_2H}}}
    assert windows(document) == {"5h": Window(0.75, at(2 * HOUR))}
    assert windows({"data": document}) == {"5h": Window(0.75, at(2 * HOUR))}
    empty = read_usages({"usages": {}, "limits": []}, NOW)
    assert (empty.windows, empty.drift) == ({}, "no window could be read")


@pytest.mark.parametrize(
    "detail, used",
    [
        ({"limit": "100", "used": "40"}, 0.4),
        ({"limit": "100", "remaining": "60"}, 0.4),
        ({"limit": 100, "used": 40.0, "remaining": 60}, 0.4),
        ({"limit": "100", "used": "0", "remaining": "0"}, 1.0),
        ({"limit": "100", "used": "150"}, 1.0),
        ({"limit": "100", "used": "-5"}, 0.0),
        ({"limit": "100", "remaining": "150"}, 0.0),
        ({"limit": "100", "used": "many", "remaining": "25"}, 0.75),
        ({"used_ratio": 7}, 1.0),
        ({"used_ratio": -7}, 0.0),
    ],
)
def test_the_share_that_is_used(detail: dict[str, object], used: float) -> None:
    assert windows({"limits": [row(**detail)]}) == {"5h": Window(used)}


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"limit": "100"},
        {"limit": "0", "used": "0"},
        {"limit": 0, "remaining": 0},
        {"used": "40"},
        {"limit": "-100", "used": "40"},
        {"limit": "100", "used": "NaN"},
        {"limit": "100", "used": None},
        {"limit": True, "used": True},
        {"limit": 10**400, "used": 10**400},
        {"used_ratio": "nan"},
        {"used_ratio": float("inf")},
    ],
)
def test_a_share_that_can_not_be_told_is_unknown_and_not_full(detail: dict[str, object]) -> None:
    assert windows({"limits": [row(**detail)]}) == {}


@pytest.mark.parametrize(
    "minutes, unit, name",
    [
        (300, "TIME_UNIT_MINUTE", "5h"),
        ("5", "TIME_UNIT_HOUR", "5h"),
        (5, "hours", "5h"),
        (10080, "TIME_UNIT_MINUTE", "7d"),
        (168, "TIME_UNIT_HOUR", "7d"),
        (7, "TIME_UNIT_DAY", "7d"),
        (1, "TIME_UNIT_WEEK", "7d"),
        (1, "TIME_UNIT_DAY", "1d"),
        (30, "TIME_UNIT_DAY", "month"),
    ],
)
def test_windows_are_known_by_their_length(minutes: object, unit: str, name: str) -> None:
    limit = row(minutes, unit, limit=10, used=1)
    assert windows({"limits": [limit]}) == {name: Window(0.1)}


@pytest.mark.parametrize(
    "limit",
    [
        row(7, "TIME_UNIT_FORTNIGHT", limit=10, used=10),
        row(77, "TIME_UNIT_MINUTE", limit=10, used=10),
        row(None, limit=10, used=10),
        row(1e300, "TIME_UNIT_DAY", limit=10, used=10),
        {"detail": {"limit": 10, "used": 10}},
        [],
        7,
    ],
)
def test_an_unknown_window_is_skipped_and_reported(limit: object) -> None:
    reading = read_usages({"limits": [limit, row(limit=10, used=1)]}, NOW)
    assert reading.windows == {"5h": Window(0.1)}
    assert reading.drift == "a limit has an unknown window"


def test_an_unknown_pool_is_reported() -> None:
    reading = read_usages(
        {"usages": {"limit_2y": {"used_ratio": 1}, "limit_5h": {"used_ratio": 0}, "limit_7d": {}}},
        NOW,
    )
    assert (reading.windows, reading.drift) == ({"5h": Window(0.0)}, "unknown pool limit2y")


def test_a_reading_past_its_reset_is_unknown() -> None:
    document = new()
    document["usages"]["limit_5h"] = {"used_ratio": 1, "reset_time": PAST}
    del document["limits"]
    assert set(windows(document)) == {"7d", "month"}


def test_a_reset_beyond_its_window_is_not_believed() -> None:
    reading = read_usages({"limits": [row(limit=10, used=10, resetTime=IN_20D)]}, NOW)
    assert reading.windows == {"5h": Window(1.0, None)}
    assert "beyond" in reading.drift


def test_a_usage_with_a_far_reset_is_the_plans() -> None:
    document = {"usage": {"limit": 10, "used": 1, "resetTime": IN_20D}}
    assert windows(document) == {"plan": Window(0.1, at(20 * DAY))}


def test_the_account_is_only_known_by_its_hash() -> None:
    one, same = read_usages(old(), NOW).group, read_usages(old(), NOW).group
    other = read_usages(old(user={"userId": "u-2"}), NOW).group
    assert one is not None
    assert one == same != other
    assert "u-1" not in one
    assert read_usages(old(user=[]), NOW).group is None


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2026-03-04T04:53:20Z", NOW),
        ("2026-03-04T04:53:20.5Z", NOW + 0.5),
        ("2026-03-04T04:53:20.123456789Z", NOW + 0.123456789),
        ("2026-03-04t04:53:20z", NOW),
        ("2026-03-04 12:53:20+08:00", NOW),
        ("2026-03-03T23:53:20-0500", NOW),
        ("2026-03-04T04:53:20", NOW),
        ("1772600000", NOW),
        (1772600000, NOW),
        (1772600000123, NOW + 0.123),
        (1772600000123456, NOW + 0.123456),
        (1772600000123456789, NOW + 0.123456789),
        (10**25, None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-03-04T25:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-03-04", None),
        ("soon", None),
        (5, None),
        (-1, None),
        (float("nan"), None),
        (10**400, None),
        (None, None),
        ({}, None),
        (True, None),
    ],
)
def test_times(text: object, seconds: float | None) -> None:
    found = moment(text)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-5))


@pytest.mark.parametrize("text", ["1_000", "0x10", "١٢", "", " ", "1e9999", "--1", "1" * 5000])
def test_what_only_looks_like_a_number(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    "body, says",
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"null", "neither usages"),
        (b"[]", "neither usages"),
        (b'{"error": {"message": "no"}}', "neither usages"),
        (b'{"data": 5}', "neither usages"),
    ],
)
def test_what_is_no_usage_at_all(body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_usages(body, NOW)


NAMES = [
    "usage",
    "usages",
    "limits",
    "limit",
    "used",
    "remaining",
    "resetTime",
    "reset_time",
    "window",
    "detail",
    "duration",
    "timeUnit",
    "used_ratio",
    "limit_5h",
    "limit_7d",
    "limit_month_code",
    "user",
    "userId",
    "data",
    "available_balance",
    "cash_balance",
]  # noqa: SIM905 - one name a line
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**400), 10**400)
    | st.text(max_size=12)
    | st.sampled_from([IN_2H, IN_3D, PAST, "100", "0", "1e5"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=8,
        )
    ),
    max_leaves=40,
)


@given(JSON, st.floats(0.0, 4e9))
def test_any_json_gives_a_reading_or_a_value_error(document: object, now: float) -> None:
    try:
        reading = read_usages(document, now)
    except ValueError:
        return
    assert len(reading.drift) <= 200
    for name, window in reading.windows.items():
        assert 0.0 <= window.used <= 1.0
        assert math.isfinite(window.used)
        if window.resets_at is not None:
            assert now < window.resets_at <= now + WINDOW_S[name] + SLACK_S


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_value_or_a_value_error(body: bytes) -> None:
    for parse in (lambda: parse_usages(body, NOW), lambda: parse_balance(body)):
        try:
            parse()
        except ValueError as error:
            assert str(error)  # noqa: PT017 - inside a property


def test_the_balance_of_the_reference() -> None:
    body = (
        '{"code":0,"data":{"available_balance":49.58894,"voucher_balance":46.58893,'
        '"cash_balance":3.00001},"scode":"0x0","status":true}'
    )
    assert parse_balance(body, "api.moonshot.ai") == Balance(49.58894, "USD")
    assert parse_balance(body, "api.moonshot.cn").currency == "CNY"
    assert parse_balance(body, "127.0.0.1").currency == ""


def test_a_balance_may_be_owed() -> None:
    body = '{"data": {"available_balance": "0", "cash_balance": -3}}'
    assert parse_balance(body) == Balance(0.0, "")


@pytest.mark.parametrize("body", ["{}", '{"data": {"available_balance": "NaN"}}', "[", "7"])
def test_what_is_no_balance(body: str) -> None:
    with pytest.raises(ValueError):
        parse_balance(body)
