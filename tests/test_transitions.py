"""How answers change what kmi thinks of a key."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.health import error_rate, left, status_of
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.quotas import Balance, UsageReading
from kmi.transitions import (
    affected,
    apply_answer,
    apply_balance,
    apply_success,
    apply_usage,
    apply_usage_failure,
    apply_verdict,
    reset,
)
from kmi.urls import parse_base_url
from kmi.verdict_table import KINDS
from kmi.verdicts import Verdict, classify

NOW = 1_772_600_000.0
HOUR = 3600.0
DAY = 86400.0
RNG = random.Random(7)
KEY = ApiKey("alpha", "a" * 12, "sk-x", parse_base_url("https://api.kimi.com/coding/v1"))


def verdict(name: str, group: str | None = None) -> Verdict:
    return Verdict(KINDS[name], 429, "words", None, group)


def after(name: str, state: KeyState | None = None, now: float = NOW) -> KeyState:
    return apply_verdict(state or KeyState(), verdict(name), now=now, rng=RNG)


def reading(*, group: str | None = None, drift: str = "", **windows: Window) -> UsageReading:
    return UsageReading({name[1:]: window for name, window in windows.items()}, group, drift)


def until(state: KeyState) -> float | None:
    assert state.hold is not None
    return state.hold.until


HALF = Window(0.5, NOW + 2 * HOUR)
FULL_5H = Window(1.0, NOW + 2 * HOUR)
FULL_7D = Window(1.0, NOW + 3 * DAY)


# Answers to model requests.


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_verdict_has_its_status(name: str) -> None:
    expected = {"block": "blocked", "exhaust": "exhausted", "cooldown": "exhausted"}
    found = status_of(KEY, after(name), NOW + 1.0)
    assert found.name == expected.get(KINDS[name].effect, "unknown")
    if found.name != "unknown":
        assert found.code == name


@pytest.mark.parametrize("name", sorted(KINDS))
def test_only_the_keys_own_errors_count(name: str) -> None:
    state = KeyState()
    for _ in range(20):
        state = apply_verdict(state, verdict(name), now=NOW, rng=RNG)
    others = {"request", "login", "client", "network", "none"}
    assert error_rate(state, NOW) == (0.0 if KINDS[name].fault in others else 1.0)


def test_a_success_ends_a_hold_and_counts() -> None:
    state = apply_success(after("rate"), NOW + 1.0)
    assert state.hold is None
    assert sum(minute[1] for minute in state.traffic) == 2
    assert sum(minute[2] for minute in state.traffic) == 1


def test_a_success_of_a_request_from_before_the_hold_proves_nothing() -> None:
    state = after("quota-7d")
    assert apply_success(state, NOW + 60.0, sent_at=NOW - 60.0).hold == state.hold
    assert apply_success(state, NOW + 60.0, sent_at=NOW + 1.0).hold is None


def test_traffic_stays_bounded() -> None:
    state = KeyState()
    for minute in range(500):
        state = apply_success(state, NOW + 60.0 * minute)
    assert len(state.traffic) == 60


def test_the_settings_give_cooldown_and_block() -> None:
    state = apply_verdict(KeyState(), verdict("rate"), now=NOW, rng=RNG, cooldown_s=42.0)
    assert until(state) == NOW + 42.0
    state = apply_verdict(KeyState(), verdict("payment"), now=NOW, rng=RNG, payment_block_s=42.0)
    assert until(state) == NOW + 42.0


def test_a_fresh_reading_gives_the_reset() -> None:
    known = KeyState(windows={"5h": FULL_5H}, usage_at=NOW)
    assert until(after("quota-5h", known)) == FULL_5H.resets_at


def test_an_error_names_the_group_but_never_renames_it() -> None:
    state = apply_verdict(KeyState(), verdict("rate-org", "g1"), now=NOW, rng=RNG)
    assert state.group == "g1"
    assert apply_verdict(state, verdict("rate-org", "g2"), now=NOW, rng=RNG).group == "g1"
    assert apply_usage(state, reading(group="g3", w5h=HALF), NOW).group == "g3"


GROUPS = {"a": KeyState(group="g1"), "b": KeyState(group="g1"), "c": KeyState(group="g2")}


@pytest.mark.parametrize(
    "name, group, keys",
    [
        ("rate-org", None, {"a", "b"}),
        ("rate-org", "g2", {"a", "b", "c"}),
        ("rate", "g1", {"a"}),
        ("quota-5h", None, {"a"}),
        ("quota-month", None, {"a", "b"}),
        ("no-money", None, {"a", "b"}),
        ("banned", None, {"a", "b"}),
        ("client-identity", "g1", set()),
        ("server", "g1", set()),
        ("request-fault", "g1", set()),
    ],
)
def test_who_is_affected(name: str, group: str | None, keys: set[str]) -> None:
    assert affected(verdict(name, group), "a", GROUPS) == keys


def test_keys_of_no_known_group_stand_alone() -> None:
    states = {"a": KeyState(), "b": KeyState()}
    assert affected(verdict("rate-org"), "a", states) == {"a"}
    assert affected(verdict("rate-org", "g9"), "new", states) == {"new"}


def test_a_group_cools_down_together_but_only_one_key_had_the_error() -> None:
    states = apply_answer(GROUPS, "a", verdict("rate-org"), now=NOW, rng=RNG)
    assert set(states) == {"a", "b"}
    assert states["b"].hold is not None
    assert (len(states["a"].traffic), len(states["b"].traffic)) == (1, 0)
    only = apply_answer(GROUPS, "a", verdict("server"), now=NOW, rng=RNG)
    assert set(only) == {"a"}
    assert only["a"].hold is None


# `/usages`.


def test_a_reading_is_kept_with_its_time() -> None:
    state = apply_usage(KeyState(usage_error="old"), reading(w5h=HALF), NOW)
    assert (state.windows, state.usage_at, state.usage_tried_at) == ({"5h": HALF}, NOW, NOW)
    assert (state.usage_error, state.hold) == ("", None)


def test_an_answer_without_windows_keeps_the_last_good_one() -> None:
    state = apply_usage(KeyState(), reading(w5h=HALF), NOW)
    state = apply_usage(state, UsageReading(drift="odd"), NOW + 60.0)
    assert (state.windows, state.usage_at) == ({"5h": HALF}, NOW)
    assert (state.usage_tried_at, state.usage_error) == (NOW + 60.0, "odd")


def test_a_full_window_holds_the_key_until_all_full_ones_reset() -> None:
    state = apply_usage(KeyState(), reading(w5h=FULL_5H, w7d=FULL_7D, month=HALF), NOW)
    assert status_of(KEY, state, NOW).name == "exhausted"
    assert (until(state), state.hold and state.hold.window) == (FULL_7D.resets_at, "7d")
    assert state.hold is not None
    assert state.hold.half_open(NOW + 300.0)


def test_a_full_window_without_a_reset_holds_nothing() -> None:
    state = apply_usage(KeyState(), reading(w5h=Window(1.0)), NOW)
    assert (state.hold, status_of(KEY, state, NOW).name) == (None, "warn")


def test_a_success_is_believed_against_the_same_full_reading() -> None:
    state = apply_success(apply_usage(KeyState(), reading(w5h=FULL_5H), NOW), NOW + 60.0)
    again = apply_usage(state, reading(w5h=Window(1.0, NOW + 2 * HOUR + 1.0)), NOW + 600.0)
    assert again.hold is None
    next_window = Window(1.0, NOW + 7 * HOUR)
    assert apply_usage(state, reading(w5h=next_window), NOW + 3 * HOUR).hold is not None


def test_a_reset_by_hand_is_believed_too() -> None:
    state = reset(apply_usage(KeyState(), reading(w5h=FULL_5H), NOW))
    assert apply_usage(state, reading(w5h=FULL_5H), NOW + 600.0).hold is None


def test_a_full_window_that_is_not_full_any_more_lets_go() -> None:
    state = apply_usage(KeyState(), reading(w5h=FULL_5H), NOW)
    assert apply_usage(state, reading(w5h=HALF), NOW + 600.0).hold is None


def test_a_full_window_moves_with_its_reset() -> None:
    state = apply_usage(KeyState(), reading(w5h=FULL_5H), NOW)
    moved = apply_usage(state, reading(w5h=Window(1.0, NOW + HOUR)), NOW + 60.0)
    assert until(moved) == NOW + HOUR


def test_zero_per_cent_used_never_ends_a_quota_error() -> None:
    state = after("quota-7d")
    fresh = apply_usage(state, reading(w7d=Window(0.0)), NOW + 1.0)
    assert fresh.hold == state.hold


def test_a_known_reset_shortens_a_quota_and_a_full_window_gives_a_guess_its_end() -> None:
    guess = after("quota-7d")
    near = apply_usage(guess, reading(w7d=Window(0.0, NOW + 60.0)), NOW + 1.0)
    assert until(near) == NOW + 60.0
    far = apply_usage(guess, reading(w7d=Window(0.0, NOW + 3 * DAY)), NOW + 1.0)
    assert until(far) == until(guess)
    full = apply_usage(guess, reading(w7d=FULL_7D), NOW + 1.0)
    assert until(full) == FULL_7D.resets_at


def test_a_told_time_is_only_shortened() -> None:
    told = apply_verdict(KeyState(), verdict("quota-7d"), now=NOW, rng=RNG, retry_after_s=DAY)
    assert until(apply_usage(told, reading(w7d=FULL_7D), NOW)) == NOW + DAY
    assert until(apply_usage(told, reading(w7d=Window(1.0, NOW + HOUR)), NOW)) == NOW + HOUR


def test_usage_decides_what_too_many_requests_means() -> None:
    state = after("rate-or-5h")
    free = apply_usage(state, reading(w5h=HALF), NOW + 1.0)
    assert free.hold == state.hold
    full = apply_usage(state, reading(w5h=FULL_5H), NOW + 1.0)
    assert full.hold is not None
    assert (full.hold.kind, full.hold.until) == ("exhausted", FULL_5H.resets_at)


def test_usage_finds_the_window_of_a_billing_cycle() -> None:
    full = apply_usage(after("quota"), reading(w5h=FULL_5H, w7d=HALF), NOW + 1.0)
    assert full.hold is not None
    assert (full.hold.window, full.hold.until) == ("5h", FULL_5H.resets_at)


def test_a_rate_limit_is_not_touched_by_usage() -> None:
    state = after("rate")
    assert apply_usage(state, reading(w5h=Window(0.0, NOW + 1.0)), NOW).hold == state.hold


def test_an_accepted_key_is_not_dead() -> None:
    assert apply_usage(after("dead-key"), reading(w5h=HALF), NOW).hold is None
    assert apply_usage(after("unknown-401"), reading(w5h=HALF), NOW).hold is None
    banned = after("banned")
    assert apply_usage(banned, reading(w5h=HALF), NOW).hold == banned.hold


def test_a_payment_block_may_be_probed_once_usage_answers() -> None:
    state = apply_usage(after("payment"), reading(w5h=HALF), NOW + 1.0)
    assert state.hold is not None
    assert state.hold.half_open(NOW + 1.0)
    assert until(state) == NOW + HOUR
    by_hand = apply_verdict(KeyState(), verdict("payment"), now=NOW, rng=RNG, payment_block_s=0.0)
    assert apply_usage(by_hand, reading(w5h=HALF), NOW).hold == by_hand.hold


@pytest.mark.parametrize(
    "status, body, held",
    [
        (401, "Invalid Authentication", "dead-key"),
        (402, "", "payment"),
        (403, "usage limit for this period", "quota-5h"),
        (403, "odd", None),
        (404, "", None),
        (429, "", None),
        (503, "", None),
        (None, "", None),
    ],
)
def test_a_failed_reading(status: int | None, body: str, held: str | None) -> None:
    before = apply_usage(KeyState(), reading(w5h=HALF), NOW)
    state = apply_usage_failure(before, "503", classify(status, body), now=NOW + 60.0, rng=RNG)
    assert (state.windows, state.usage_at) == ({"5h": HALF}, NOW)
    assert (state.usage_tried_at, state.usage_error) == (NOW + 60.0, "503")
    assert state.traffic == ()
    assert (state.hold.verdict if state.hold else None) == held


def test_without_money_the_account_is_blocked_and_with_money_it_is_not() -> None:
    broke = apply_balance(KeyState(), Balance(0.0, currency="CNY"), now=NOW, rng=RNG)
    assert broke.hold is not None
    assert (broke.hold.verdict, broke.hold.text) == ("no-money", "balance 0 CNY")
    assert apply_balance(broke, Balance(1.0), now=NOW + 60.0, rng=RNG).hold is None
    rate = after("rate")
    assert apply_balance(rate, Balance(1.0), now=NOW, rng=RNG).hold == rate.hold


def test_reset_clears_holds_and_errors_and_nothing_else() -> None:
    state = replace(after("banned"), disabled=True, windows={"5h": HALF}, group="g1")
    clean = reset(state)
    assert (clean.hold, clean.traffic) == (None, ())
    assert (clean.disabled, clean.windows, clean.group) == (True, {"5h": HALF}, "g1")


# Whatever happens.


STEP = st.tuples(
    st.floats(0.0, 3 * DAY),
    st.sampled_from(["answer", "success", "usage", "failure", "balance"]),
    st.none() | st.integers(100, 599),
    st.sampled_from(
        [
            "usage limit for this period",
            "usage limit for this billing cycle",
            "weekly (7-day) usage limit",
            "kimi monthly usage limit",
            "TPD rate limit, org-1a2b",
            "max RPM, try again after 99999 seconds",
            "insufficient balance",
            "Incorrect API key",
            "Access terminated",
            "engine is currently overloaded",
            "",
        ]
    )
    | st.text(max_size=40),
    st.none() | st.floats(),
    st.dictionaries(
        st.sampled_from(["5h", "1d", "7d", "month", "plan", "odd"]),
        st.builds(Window, st.floats(0.0, 1.0), st.none() | st.floats(NOW, NOW + 400 * DAY)),
    ),
)


@given(st.lists(STEP, max_size=15))
def test_no_answer_whatsoever_retires_a_key_for_ever(
    steps: list[tuple[float, str, int | None, str, float | None, dict[str, Window]]],
) -> None:
    states, now, for_ever = {"a": KeyState()}, NOW, False
    rng = random.Random(1)
    for step, event, status, text, header, windows in steps:
        now += step
        found = classify(status, text)
        for_ever = for_ever or found.name in {"dead-key", "banned"}
        state = states["a"]
        if event == "answer":
            states.update(apply_answer(states, "a", found, now=now, rng=rng, retry_after_s=header))
        elif event == "success":
            states["a"] = apply_success(state, now)
        elif event == "usage":
            states["a"] = apply_usage(state, UsageReading(windows), now)
        elif event == "failure":
            states["a"] = apply_usage_failure(state, text, found, now=now, rng=rng)
        else:
            states["a"] = apply_balance(state, Balance(header or 0.0), now=now, rng=rng)
    state = states["a"]
    held = status_of(KEY, state, now)
    assert (held.until is not None) or held.name not in {"exhausted"}
    hold: Hold | None = state.hold
    if hold is not None and hold.until is None:
        assert for_ever
        assert hold.verdict in {"dead-key", "banned"}
    else:
        later = now + 31 * DAY + 1.0
        assert status_of(KEY, state, later).name in {"healthy", "warn", "unknown"}
        assert left(state, later) is None


def test_a_hold_stays_where_its_window_is_not_in_the_reading() -> None:
    held = KeyState(hold=Hold("exhausted", "quota", NOW, NOW + 5 * HOUR, window="5h"))
    known = apply_usage(held, reading(_7d=Window(0.2, NOW + DAY)), now=NOW + 60.0)
    assert known.hold == held.hold
