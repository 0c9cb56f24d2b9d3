"""How long a verdict keeps a key out of use."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.holds import PROBE_MAX_S, PROBE_S, Timing, holds, next_hold
from kmi.model import WINDOW_S, Hold, Window
from kmi.verdict_table import KINDS, RATE_MINUTE
from kmi.verdicts import Verdict, classify

NOW = 1_772_600_000.0
HOUR = 3600.0
DAY = 86400.0
RNG = random.Random(7)
FOR_EVER = {"dead-key", "banned"}


def verdict(name: str, after_s: float | None = None) -> Verdict:
    return Verdict(KINDS[name], 429, "words", after_s)


def hold(
    name: str,
    old: Hold | None = None,
    *,
    now: float = NOW,
    after_s: float | None = None,
    **timing: Any,
) -> Hold:
    return next_hold(old, verdict(name, after_s), Timing(**timing), now=now, rng=RNG)


def lasts(made: Hold) -> float:
    assert made.until is not None
    return made.until - made.since


def full(**resets_in: float) -> dict[str, Window]:
    return {name[1:]: Window(1.0, NOW + seconds) for name, seconds in resets_in.items()}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_only_what_holds_makes_a_hold(name: str) -> None:
    assert holds(verdict(name)) == (KINDS[name].hold != "none")


def test_header_before_text_before_window_before_ladder() -> None:
    windows = full(w5h=2 * HOUR)
    made = hold("quota-5h", after_s=60.0, retry_after_s=120.0, windows=windows)
    assert (lasts(made), made.source) == (120.0, "header")
    made = hold("quota-5h", after_s=60.0, windows=windows)
    assert (lasts(made), made.source) == (60.0, "text")
    made = hold("quota-5h", windows=windows)
    assert (lasts(made), made.source) == (2 * HOUR, "window")
    made = hold("quota-5h")
    assert made.source == "ladder"
    assert 1800.0 <= lasts(made) <= 1800.0 * 1.2


@pytest.mark.parametrize("header", [-1.0, 0.0, float("nan"), float("inf"), 1e12])
def test_an_absurd_header_is_ignored(header: float) -> None:
    made = hold("rate", retry_after_s=header, cooldown_s=300.0)
    assert (lasts(made), made.source) == (300.0, "setting")


@pytest.mark.parametrize(
    "name, most",
    [
        ("quota-5h", WINDOW_S["5h"]),
        ("quota-7d", WINDOW_S["7d"]),
        ("quota-month", WINDOW_S["month"]),
        ("rate-day", WINDOW_S["1d"]),
        ("rate", WINDOW_S["5h"]),
        ("rate-or-5h", WINDOW_S["5h"]),
        ("rate-org", HOUR),
        ("unknown-403", WINDOW_S["5h"]),
    ],
)
def test_no_header_and_no_text_reaches_beyond_the_window(name: str, most: float) -> None:
    assert lasts(hold(name, retry_after_s=31 * DAY)) == most
    assert lasts(hold(name, after_s=31 * DAY)) == most


def test_no_reset_reaches_beyond_the_window() -> None:
    made = hold("quota-5h", windows={"5h": Window(1.0, NOW + 400 * DAY)})
    assert lasts(made) == 5 * HOUR


def test_a_reset_that_is_past_says_nothing() -> None:
    assert hold("quota-5h", windows={"5h": Window(1.0, NOW - 1.0)}).source == "ladder"


def test_a_quota_of_unknown_window_is_the_full_one_with_the_latest_reset() -> None:
    windows = {**full(w5h=2 * HOUR, w7d=3 * DAY), "month": Window(0.98, NOW + 20 * DAY)}
    made = hold("quota", windows=windows)
    assert (lasts(made), made.window, made.source) == (3 * DAY, "7d", "window")


def test_without_a_full_window_it_is_tried_at_the_5h_reset_and_then_at_the_7d_reset() -> None:
    windows = {"5h": Window(0.1, NOW + 2 * HOUR), "7d": Window(0.1, NOW + 3 * DAY)}
    first = hold("quota", windows=windows)
    assert (lasts(first), first.window) == (2 * HOUR, None)
    second = hold("quota", first, now=NOW + 2 * HOUR + 1.0, windows=windows)
    assert second.until == NOW + 3 * DAY
    assert second.strikes == 2


def test_too_many_requests_is_the_window_only_when_that_is_full() -> None:
    short = hold("rate-or-5h", windows={"5h": Window(0.5, NOW + 2 * HOUR)})
    assert short.kind == "cooldown"
    assert 30.0 <= lasts(short) <= 36.0
    spent = hold("rate-or-5h", windows=full(w5h=2 * HOUR))
    assert (spent.kind, lasts(spent)) == ("exhausted", 2 * HOUR)


def test_tokens_per_minute_wait_for_a_minute() -> None:
    made = next_hold(None, Verdict(RATE_MINUTE, 429), Timing(), now=NOW, rng=RNG)
    assert 60.0 <= lasts(made) <= 72.0


def test_the_ladder_doubles_with_strikes_and_ends() -> None:
    made, now, steps = hold("rate", cooldown_s=100.0), NOW, []
    for _ in range(12):
        steps.append(lasts(made))
        now = (made.until or 0.0) + 1.0
        made = hold("rate", made, now=now, cooldown_s=100.0)
    assert steps[0] == 100.0
    assert 200.0 <= steps[1] <= 240.0
    assert 400.0 <= steps[2] <= 480.0
    assert all(1800.0 <= step <= 1800.0 * 1.2 for step in steps[6:])


def test_jitter_spreads_keys() -> None:
    assert len({lasts(hold("rate-org")) for _ in range(20)}) == 20


def test_a_burst_is_one_strike() -> None:
    first = hold("rate")
    made = first
    for n in range(20):
        made = hold("rate", made, now=NOW + n)
    assert made == first


def test_a_late_answer_that_names_a_time_is_believed_without_a_strike() -> None:
    made = hold("rate", hold("rate"), now=NOW + 1.0, retry_after_s=9.0)
    assert (made.until, made.strikes, made.source) == (NOW + 10.0, 1, "header")


def test_strikes_are_forgotten() -> None:
    first = hold("rate", cooldown_s=100.0)
    assert hold("rate", first, now=NOW + 250.0).strikes == 2
    assert hold("rate", first, now=NOW + 301.0).strikes == 1
    assert hold("unknown-403", first, now=NOW + 101.0).strikes == 1


def test_one_probe_early_and_the_next_one_later() -> None:
    made = hold("quota-7d", windows=full(w7d=3 * DAY))
    assert made.probe_at == NOW + PROBE_S
    assert not made.half_open(NOW + PROBE_S - 1.0)
    assert made.half_open(NOW + PROBE_S)
    again = hold("quota-7d", made, now=NOW + PROBE_S, windows=full(w7d=3 * DAY))
    assert again.probe_at == NOW + PROBE_S + 2 * PROBE_S
    assert again.until == NOW + 3 * DAY
    assert again.strikes == 2


def test_a_probe_is_never_after_the_end() -> None:
    made = hold("rate", retry_after_s=5.0)
    assert made.probe_at == made.until


def test_a_weaker_hold_never_replaces_a_stronger_one() -> None:
    spent = hold("quota-7d", windows=full(w7d=3 * DAY))
    assert hold("rate", spent, now=NOW + 1.0) == spent
    assert hold("quota-5h", spent, now=NOW + 1.0, retry_after_s=60.0) == spent
    dead = hold("dead-key", spent, now=NOW + 1.0)
    assert dead.verdict == "dead-key"
    assert hold("quota-7d", dead, now=NOW + 2.0) == dead
    assert hold("payment", dead, now=NOW + 2.0) == dead
    assert hold("banned", dead, now=NOW + 2.0).verdict == "banned"


def test_a_failed_probe_with_weaker_words_moves_the_next_probe() -> None:
    spent = hold("quota-7d", windows=full(w7d=3 * DAY))
    at = NOW + PROBE_S + 1.0
    after = hold("rate", spent, now=at)
    assert after == replace(spent, probe_at=at + PROBE_S)


def test_a_payment_block_grows_to_a_day_and_heeds_no_header() -> None:
    made = hold("payment", payment_block_s=HOUR, retry_after_s=5.0)
    assert (lasts(made), made.source) == (HOUR, "setting")
    again = hold("payment", made, now=NOW + HOUR, payment_block_s=HOUR)
    assert lasts(again) == 2 * HOUR
    worst = replace(made, strikes=29)
    assert lasts(hold("payment", worst, now=NOW + HOUR, payment_block_s=HOUR)) == DAY
    assert lasts(hold("payment", payment_block_s=3 * DAY)) == 3 * DAY


def test_a_payment_block_of_zero_is_ended_by_hand() -> None:
    made = hold("payment", payment_block_s=0.0)
    assert (made.until, made.probe_at) == (None, None)


def test_the_evidence_is_kept() -> None:
    body = '{"error": {"message": "usage limit for this period"}}'
    made = next_hold(None, classify(403, body), Timing(), now=NOW, rng=RNG)
    assert (made.status, made.text, made.window) == (403, "usage limit for this period", "5h")
    assert (made.kind, made.verdict, made.since) == ("exhausted", "quota-5h", NOW)


WINDOWS = st.dictionaries(
    st.sampled_from(sorted(WINDOW_S)),
    st.builds(Window, st.floats(0.0, 1.0), st.none() | st.floats(NOW - 90 * DAY, NOW + 400 * DAY)),
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(name for name in KINDS if holds(verdict(name)))),
        st.none() | st.floats(0.001, 31 * DAY),
        st.none() | st.floats(allow_nan=True),
        st.floats(-40 * DAY, 40 * DAY),
        WINDOWS,
    ),
    max_size=12,
)


@given(EVENTS, st.floats(0.0, 1e6), st.floats(1.0, 1e6))
def test_whatever_happens_a_key_comes_back(
    events: list[tuple[str, float | None, float | None, float, dict[str, Window]]],
    cooldown_s: float,
    payment_s: float,
) -> None:
    made: Hold | None = None
    now, latest, named = NOW, NOW, set()
    for name, after_s, header, step, windows in events:
        now = max(1.0, now + step)
        latest = max(latest, now)
        timing = Timing(cooldown_s, payment_s, header, windows)
        made = next_hold(made, verdict(name, after_s), timing, now=now, rng=random.Random(1))
        named.add(name)
        assert made.since <= now or made.active(now)
        if made.until is None:
            assert made.verdict in FOR_EVER & named
            continue
        assert made.until >= made.since
        longest = max(31 * DAY, cooldown_s, payment_s, DAY)
        assert made.until - made.since <= longest + 1.0
        assert made.probe_at is not None
        assert made.probe_at <= made.until
        assert made.probe_at <= latest + PROBE_MAX_S
        assert not made.active(max(now, made.since) + longest + 1.0)
