"""Rates by counting, with a clock of the test's own, and concurrency per key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.proxy.limits import Caps, Limits, Rate


@given(
    st.integers(1, 8),
    st.sampled_from([1.0, 60.0]),
    st.lists(st.floats(0.0, 3.0, allow_nan=False), min_size=1, max_size=60),
)
def test_never_more_than_so_many_in_any_period(
    most: int, period_s: float, gaps: list[float]
) -> None:
    rate, now, sent = Rate(most, period_s), 0.0, []
    for gap in gaps:
        now += gap
        now += rate.wait_s(now)
        if rate.wait_s(now) > 0.0:
            now += 1e-9  # a float's last digit
        assert rate.wait_s(now) == 0.0
        rate.take(now)
        sent.append(now)
    for first, last in zip(sent, sent[most:]):
        assert last - first >= period_s - 1e-6


def test_a_rate_that_is_not_used_up_makes_nobody_wait() -> None:
    rate = Rate(3, 60.0)
    for now in (0.0, 1.0, 2.0):
        assert rate.wait_s(now) == 0.0
        rate.take(now)
    assert rate.wait_s(2.0) == 58.0
    assert rate.wait_s(60.0) == 0.0


def sent_in(limits: Limits, key_ids: list[str], seconds: float) -> list[tuple[str, float]]:
    """Ask for all keys in turn every 10 ms, and send what may be sent."""
    found = []
    for step in range(int(seconds * 100)):
        now = step / 100.0
        for key_id in key_ids:
            if limits.wait_s(key_id, now) == 0.0:
                limits.enter(key_id, now)
                found.append((key_id, now))
    return found


@pytest.mark.parametrize(
    ("caps", "seconds", "in_all"),
    [
        (Caps(rps=5), 3.0, 15),
        (Caps(rpm=7), 59.0, 7),
        (Caps(rps_per_key=2), 3.0, 12),
        (Caps(rpm_per_key=3), 59.0, 6),
        (Caps(rps=3, rpm=4), 59.0, 4),
        (Caps(rps=3, rps_per_key=1), 2.0, 4),
    ],
)
def test_the_rates_of_all_and_of_each_key(caps: Caps, seconds: float, in_all: int) -> None:
    found = sent_in(Limits(caps), ["a", "b"], seconds)
    assert len(found) == in_all
    if caps.rps_per_key or caps.rpm_per_key:
        assert [sum(1 for key_id, _ in found if key_id == name) for name in "ab"] == [
            in_all // 2
        ] * 2


def test_the_wait_is_that_of_the_strictest_rate() -> None:
    limits = Limits(Caps(rps=1, rpm_per_key=1))
    limits.enter("a", 10.0)
    assert limits.wait_s("a", 10.5) == pytest.approx(59.5)
    assert limits.wait_s("b", 10.5) == pytest.approx(0.5)
    assert limits.wait_all_s(10.5) == pytest.approx(0.5)


def test_a_key_that_had_its_share_is_full_for_a_while() -> None:
    limits = Limits(Caps(rps_per_key=1))
    limits.enter("a", 0.0)
    assert (limits.full_keys(0.5), limits.full_keys(1.0)) == ({"a"}, set())


def test_no_caps_count_and_limit_nothing() -> None:
    limits = Limits(Caps())
    assert not limits.capped
    for _ in range(1000):
        limits.enter("a", 0.0)
    assert limits.wait_s("a", 0.0) == 0.0
    assert not limits.full("a")
    assert limits.busy == {"a": 1000}


def test_concurrency_per_key_and_a_keys_own() -> None:
    limits = Limits(Caps(concurrency_per_key=2))
    limits.own_caps({"b": 1})
    for key_id in ("a", "b"):
        limits.enter(key_id, 0.0)
    assert [limits.full(key_id) for key_id in "abc"] == [False, True, False]
    limits.enter("a", 0.0)
    assert limits.full_keys(0.0) == {"a", "b"}
    limits.leave("a")
    assert limits.full_keys(0.0) == {"b"}
    limits.leave("b")
    assert limits.full_keys(0.0) == set()
    assert limits.busy == {"a": 1}


def test_a_keys_own_cap_may_be_larger_and_works_alone() -> None:
    limits = Limits(Caps(concurrency_per_key=1))
    limits.own_caps({"b": 3})
    limits.enter("b", 0.0)
    assert not limits.full("b")
    alone = Limits(Caps())
    alone.own_caps({"b": 1})
    assert alone.capped
    alone.enter("b", 0.0)
    assert alone.full("b")


def test_leaving_more_often_than_entering_is_harmless() -> None:
    limits = Limits(Caps(concurrency_per_key=1))
    limits.leave("a")
    assert limits.busy == {}


def test_rates_of_keys_that_came_and_went_do_not_grow_without_end() -> None:
    limits = Limits(Caps(rps_per_key=1))
    for number in range(10_002):
        limits.enter(f"key{number}", 0.0)
        limits.leave(f"key{number}")
    assert len(limits._keys) <= 10_001
    assert limits.busy == {}
