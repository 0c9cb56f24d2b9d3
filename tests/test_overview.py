"""What `kmi health` advises: one table of states and what follows from each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.overview import Overview, look_over
from kmi.polling import Pace
from kmi.urls import parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_795_000_000.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
KEYS = tuple(ApiKey(label, label * 12, f"sk-{label}", URL) for label in "abc")
GOOD = KeyState(windows={"5h": Window(0.1, NOW + 60.0)}, usage_at=NOW - 1.0, usage_tried_at=NOW)
BANNED = Hold("blocked", "banned", NOW - 60.0, None, text="no access")
SPENT = Hold("exhausted", "quota-5h", NOW - 60.0, NOW + 3600.0)


def view(states: Mapping[str, KeyState], barred: Mapping[str, str] | None = None) -> Overview:
    keys = [key for key in KEYS if key.label in states]
    by_id = {key.key_id: states[key.label] for key in keys}
    pace = Pace(600, 3600, 3)
    return look_over(keys, by_id, active={}, barred=barred or {}, pace=pace, now=NOW)


def advised(overview: Overview) -> list[tuple[str, str]]:
    return [(advice.name, advice.label) for advice in overview.advice]


def test_no_keys_and_good_keys_need_no_advice() -> None:
    assert advised(view({})) == []
    assert advised(view({"a": GOOD, "b": GOOD})) == []


@pytest.mark.parametrize(
    "verdict, name",
    [
        ("dead-key", "health.do-dead-key"),
        ("banned", "health.do-banned"),
        ("payment", "health.do-payment"),
        ("no-money", "health.do-no-money"),
        ("unknown-403", "health.do-unknown"),
    ],
)
def test_each_block_has_its_cure(verdict: str, name: str) -> None:
    blocked = replace(GOOD, hold=replace(BANNED, verdict=verdict))
    overview = view({"a": blocked, "b": GOOD})
    assert advised(overview) == [(name, "a")]
    assert overview.advice[0].values["error"] == "no access"
    wordless = view({"a": replace(GOOD, hold=replace(BANNED, verdict=verdict, text="")), "b": GOOD})
    assert wordless.advice[0].values["error"] == verdict


def test_when_none_is_usable_the_first_that_is_back_is_named() -> None:
    late = replace(GOOD, hold=replace(SPENT, until=NOW + 9000.0))
    overview = view({"a": late, "b": replace(GOOD, hold=SPENT)})
    assert advised(overview) == [("health.all-out", "b")]
    assert (overview.advice[0].at, overview.usable) == (NOW + 3600.0, 0)
    by_hand = view({"a": replace(GOOD, disabled=True), "b": replace(GOOD, disabled=True)})
    assert advised(by_hand) == [("health.all-out-by-hand", "")]


def test_a_key_that_may_not_be_used_is_no_hope() -> None:
    late = replace(GOOD, hold=replace(SPENT, until=NOW + 9000.0))
    barred = {"b": "not allowed"}
    overview = view({"a": late, "b": GOOD}, barred)
    assert advised(overview) == [("health.all-out", "a"), ("health.not-allowed", "b")]
    assert (overview.advice[0].at, overview.usable) == (NOW + 9000.0, 0)
    sooner = view({"a": late, "b": replace(GOOD, hold=SPENT)}, barred)
    assert advised(sooner)[0] == ("health.all-out", "a")
    # Where no other key is, waiting is no advice.
    assert advised(view({"b": GOOD}, barred)) == [("health.not-allowed", "b")]


@pytest.mark.parametrize(
    "changes, name, urgent",
    [
        ({}, "health.drift", False),  # it answered, and something in it is new
        ({"usage_wait_until": NOW + 9.0}, "health.failed", True),
        ({"usage_at": None, "windows": {}}, "health.failed-first", True),
    ],
)
def test_a_failed_reading_says_what_is_shown_instead(
    changes: dict[str, object], name: str, urgent: bool
) -> None:
    failed = replace(GOOD, usage_error="status 500", **changes)  # type: ignore[arg-type]  # any field
    overview = view({"a": failed, "b": GOOD})
    assert advised(overview) == [(name, "a")]
    assert overview.advice[0].urgent is urgent
    # Of a key that is disabled, or whose block says the same, nothing is told.
    assert advised(view({"a": replace(failed, disabled=True), "b": GOOD})) == []
    same = replace(failed, hold=replace(BANNED, since=failed.usage_tried_at or 0.0))
    assert advised(view({"a": same, "b": GOOD})) == [("health.do-banned", "a")]


def test_keys_that_were_never_asked_and_may_not_be() -> None:
    overview = view({"a": KeyState(), "b": GOOD, "c": KeyState()}, barred={"c": "not allowed"})
    assert advised(overview) == [("health.not-allowed", "c"), ("health.not-asked", "")]
    assert overview.advice[1].values == {"labels": "a"}
    assert overview.usable == 2


def test_keys_of_one_account_are_told() -> None:
    overview = view({"a": replace(GOOD, group="g"), "b": GOOD, "c": replace(GOOD, group="g")})
    assert overview.accounts == {"A": ("a", "c")}
    assert [row.account for row in overview.rows] == ["A", "", "A"]
    assert advised(overview) == [("health.group", "")]
