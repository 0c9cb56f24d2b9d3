"""What kmi says of a key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmi.health import MEANINGS, Status, error_rate, left, status_of
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.urls import parse_base_url
from kmi.verdicts import KINDS

NOW = 1_772_600_000.0
MINUTE = int(NOW // 60)
KEY = ApiKey("alpha", "a" * 12, "sk-x", parse_base_url("https://api.kimi.com/coding/v1"))
HALF = {"5h": Window(0.5, NOW + 3600.0)}


def known(**windows: float) -> KeyState:
    """A state whose windows were just read; ``w5h=0.5`` is a share that is used."""
    table = {name[1:]: Window(used, NOW + 3600.0) for name, used in windows.items()}
    return KeyState(windows=table, usage_at=NOW)


def held(kind: str, verdict: str, until: float | None) -> KeyState:
    return KeyState(hold=Hold(kind, verdict, NOW - 10.0, until), windows=HALF, usage_at=NOW)


@pytest.mark.parametrize(
    "state, name, reason",
    [
        (KeyState(), "unknown", "its quota is not known"),
        (known(w5h=0.0), "healthy", ""),
        (known(w5h=0.8, w7d=0.1), "healthy", ""),
        (known(w5h=0.81, w7d=0.1), "warn", "19 % of its quota is left"),
        (known(w5h=0.1, month=1.0), "warn", "0 % of its quota is left"),
        (
            held("cooldown", "rate", NOW + 240.0),
            "exhausted",
            "rate limited; back in 4 min",
        ),
        (
            held("exhausted", "quota-5h", NOW + 3600.0),
            "exhausted",
            "the 5 hour quota is spent; back in 1 h",
        ),
        (
            held("blocked", "banned", None),
            "blocked",
            "access was terminated; until `kmi keys reset`",
        ),
        (held("cooldown", "rate", NOW - 1.0), "healthy", ""),
        (replace(held("blocked", "banned", None), disabled=True), "disabled", "by `kmi keys"),
    ],
)
def test_status(state: KeyState, name: str, reason: str) -> None:
    status = status_of(KEY, state, NOW)
    assert status.name == name
    assert status.reason.startswith(reason)


def test_an_auth_file_disables_before_all_else() -> None:
    status = status_of(replace(KEY, disabled=True), held("blocked", "banned", None), NOW)
    assert (status.name, status.code) == ("disabled", "auth-file")


def test_a_status_tells_programs_what_it_tells_people() -> None:
    assert status_of(KEY, held("cooldown", "rate", NOW + 240.0), NOW) == Status(
        "exhausted", "rate limited; back in 4 min", "rate", NOW + 240.0
    )
    assert status_of(replace(KEY, disabled=True), KeyState(), NOW).code == "auth-file"


def test_the_tightest_known_window_counts() -> None:
    assert left(known(w5h=0.5, w7d=0.75), NOW) == 0.25
    assert left(KeyState(), NOW) is None


def test_a_reading_does_not_outlive_its_reset_or_its_window() -> None:
    state = known(w5h=1.0)
    assert left(state, NOW + 3599.0) == 0.0
    assert left(state, NOW + 3600.0) is None
    without = KeyState(windows={"5h": Window(1.0), "7d": Window(0.5)}, usage_at=NOW)
    assert left(without, NOW + 4 * 3600.0) == 0.0
    assert left(without, NOW + 5 * 3600.0) == 0.5
    assert left(without, NOW + 7 * 86400.0) is None


def test_a_reading_from_the_future_is_not_believed() -> None:
    assert left(known(w5h=1.0), NOW - 2 * 86400.0) is None


@pytest.mark.parametrize(
    "traffic, rate",
    [
        ((), 0.0),
        (((MINUTE, 1, 1),), 0.0),
        (((MINUTE, 19, 19),), 0.0),
        (((MINUTE, 20, 1),), 0.0),
        (((MINUTE, 20, 2),), 0.1),
        (((MINUTE - 59, 10, 2), (MINUTE, 10, 0)), 0.1),
        (((MINUTE - 60, 10, 2), (MINUTE, 10, 2)), 0.0),
        (((MINUTE + 1, 100, 100),), 0.0),
    ],
)
def test_the_error_rate_of_the_last_hour(
    traffic: tuple[tuple[int, int, int], ...], rate: float
) -> None:
    assert error_rate(KeyState(traffic=traffic), NOW) == rate


def test_errors_warn_and_are_forgotten() -> None:
    state = replace(known(w5h=0.1), traffic=((MINUTE, 20, 2),), usage_at=NOW)
    assert status_of(KEY, state, NOW).reason == "10% of its answers in the last hour failed"
    fresh = replace(state, windows={"5h": Window(0.1, NOW + 9000.0)})
    assert status_of(KEY, fresh, NOW + 3600.0).name == "healthy"


def test_every_verdict_that_holds_has_words() -> None:
    holding = {k.name for k in KINDS.values() if k.effect in {"block", "exhaust", "cooldown"}}
    assert set(MEANINGS) == holding | {"usage-full"}
