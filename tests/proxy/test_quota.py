"""`/usages` of several keys in one answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.proxy.quota import aggregated
from kmi.proxy.view import View
from kmi.quotas import parse_usages
from kmi.selection import Policy
from kmi.timezones import utc_text
from kmi.urls import parse_base_url

NOW = 1_795_000_000.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
KEYS = tuple(ApiKey(label, label * 12, f"sk-{label}", URL) for label in "abc")


def seen(used: float, resets_in: float = 3600.0, **more: Any) -> KeyState:
    windows = {"5h": Window(used, NOW + resets_in), "7d": Window(used / 2, NOW + 86400.0)}
    return KeyState(windows=windows, usage_at=NOW - 60.0, **more)


def view(states: dict[str, KeyState], *, may_change: bool = True, **policy: Any) -> View:
    return View(KEYS, states, None, Policy(**policy), may_change)


def asked(states: dict[str, KeyState], **more: Any) -> dict[str, Any]:
    sight = view({key * 12: state for key, state in states.items()}, **more)
    found = aggregated(sight, sight.states, NOW)
    assert found is not None
    return found


def test_the_mean_share_and_the_first_reset_in_both_forms() -> None:
    found = asked({"a": seen(0.2, 7200.0), "b": seen(0.6, 600.0)})
    assert found["usages"]["limit_5h"] == {
        "used_ratio": 0.4,
        "reset_time": utc_text(NOW + 600.0),
    }
    assert found["usages"]["limit_7d"]["used_ratio"] == 0.2
    assert found["kmi"] == {"sum_of": ["a", "b"]}
    reading = parse_usages(json.dumps(found), NOW)
    assert not reading.drift
    assert {name: round(window.used, 6) for name, window in reading.windows.items()} == {
        "5h": 0.4,
        "7d": 0.2,
    }


def test_a_month_has_no_length_in_minutes() -> None:
    month = KeyState(windows={"month": Window(0.3, NOW + 9e5)}, usage_at=NOW - 60.0)
    found = asked({"a": month, "b": month})
    assert found["usages"]["limit_month_total"]["used_ratio"] == 0.3
    assert found["limits"] == []


def test_a_key_that_is_out_is_used_up() -> None:
    hold = Hold("exhausted", "quota-5h", NOW - 1.0, NOW + 600.0)
    found = asked({"a": seen(0.0), "b": seen(0.1, hold=hold)})
    assert found["usages"]["limit_5h"]["used_ratio"] == 0.5


def test_keys_that_are_no_part_of_it() -> None:
    states = {"a": seen(0.5), "b": seen(0.1, disabled=True), "c": seen(0.1)}
    found = asked(states, unavailable={"c": "its base URL is not allowed"})
    assert found["kmi"] == {"sum_of": ["a"]}
    assert found["usages"]["limit_5h"]["used_ratio"] == 0.5


def test_the_upstream_is_asked_itself_where_there_is_no_sum() -> None:
    states = {key.key_id: seen(0.5) for key in KEYS}
    assert aggregated(view(states, may_change=False), states, NOW) is None
    assert aggregated(view({}), {}, NOW) is None
    old = {key_id: replace(state, usage_at=NOW - 40 * 86400.0) for key_id, state in states.items()}
    assert aggregated(view(old), old, NOW) is None
    one = view(states)._replace(keys=KEYS[:1])
    assert aggregated(one, states, NOW) is None


def test_what_is_not_known_is_left_out() -> None:
    unknown = KeyState(
        windows={"5h": Window(0.2, None), "odd": Window(0.9, NOW + 60.0)}, usage_at=NOW - 60.0
    )
    found = asked({"a": unknown, "b": unknown})
    assert set(found["usages"]) == {"limit_5h"}
    assert found["usages"]["limit_5h"]["reset_time"] is None
    (limit,) = found["limits"]
    assert "resetTime" not in limit["detail"]
