"""When kmi asks upstream by itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.polling import CLAIM_S, FLOOR_S, Pace, blocked, claimed, due, next_due, next_poll
from kmi.quotas import UsageReading
from kmi.transitions import apply_usage, apply_usage_failure
from kmi.urls import parse_base_url

NOW = 1_800_000_000.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
PACE = Pace()
RNG = random.Random(0)


def key(label: str = "a", *, disabled: bool = False) -> ApiKey:
    return ApiKey(label, f"id-{label}", "sk-kimi-test", URL, disabled=disabled)


def held(verdict: str, *, kind: str = "blocked", since: float = NOW - 60.0) -> Hold:
    return Hold(kind, verdict, since, None)


CASES = {
    "never asked": (KeyState(), PACE, 0.0),
    "just asked": (KeyState(usage_tried_at=NOW), PACE, NOW + 600.0),
    "asked a while ago": (KeyState(usage_tried_at=NOW - 700.0), PACE, NOW - 100.0),
    "a short cache has a floor": (KeyState(usage_tried_at=NOW), Pace(10.0), NOW + FLOOR_S),
    "a long cache": (KeyState(usage_tried_at=NOW), Pace(7200.0), NOW + 7200.0),
    "off": (KeyState(), Pace(0.0), None),
    "disabled by hand": (KeyState(disabled=True), PACE, None),
    "upstream asked to wait": (
        KeyState(usage_tried_at=NOW, usage_wait_until=NOW + 5000.0),
        PACE,
        NOW + 5000.0,
    ),
    "upstream asked to wait for ever": (
        KeyState(usage_tried_at=NOW, usage_wait_until=NOW + 1e9),
        PACE,
        NOW + 86400.0,
    ),
    "the clock went back": (KeyState(usage_tried_at=NOW + 1e6), PACE, 0.0),
    "blocked, not asked since": (KeyState(hold=held("payment")), PACE, NOW - 60.0 + 3600.0),
    "blocked, asked since": (
        KeyState(hold=held("payment", since=NOW - 9000.0), usage_tried_at=NOW - 100.0),
        PACE,
        NOW - 100.0 + 3600.0,
    ),
    "a dead key is rechecked": (
        KeyState(hold=held("dead-key", since=NOW - 4000.0)),
        PACE,
        NOW - 400.0,
    ),
    "a banned account is not": (KeyState(hold=held("banned", since=NOW - 9e5)), PACE, None),
    "an exhausted key is asked about as usual": (
        KeyState(hold=held("quota-5h", kind="exhausted"), usage_tried_at=NOW - 600.0),
        PACE,
        NOW,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_poll(case: str) -> None:
    state, pace, at = CASES[case]
    assert next_poll(key(), state, pace, NOW) == at


def test_a_disabled_auth_file_is_never_asked_about() -> None:
    assert next_poll(key(disabled=True), KeyState(), PACE, NOW) is None


def test_blocked_keys_wait_their_turn() -> None:
    keys = [key(label) for label in "abcde"]
    states = {
        f"id-{label}": KeyState(hold=held("payment", since=NOW - 4000.0 - 10.0 * number))
        for number, label in enumerate("abcde")
    }
    states["id-a"] = KeyState()
    assert [k.label for k in due(keys, states, PACE, NOW)] == ["a", "e", "d", "c"]
    assert [k.label for k in due(keys, states, Pace(recheck_max=1), NOW)] == ["a", "e"]
    assert len(due(keys, states, Pace(recheck_max=0), NOW)) == 5
    assert due(keys, states, Pace(0.0), NOW) == []


def test_a_refresh_that_was_started_is_waited_for() -> None:
    assert claimed(NOW, NOW)
    assert claimed(NOW, NOW + CLAIM_S - 1.0)
    assert not claimed(NOW, NOW + CLAIM_S)
    assert not claimed(NOW + 1.0, NOW), "the clock went back"
    assert not claimed(None, NOW)
    assert next_due([key()], {}, PACE, NOW, NOW) == NOW + CLAIM_S
    assert next_due([key()], {}, PACE, None, NOW) == 0.0
    assert next_due([key()], {}, Pace(0.0), None, NOW) is None
    assert next_due([], {}, PACE, None, NOW) is None


times = st.floats(NOW - 40 * 86400.0, NOW + 40 * 86400.0)
holds = st.builds(
    Hold,
    st.sampled_from(["cooldown", "exhausted", "blocked"]),
    st.sampled_from(["payment", "dead-key", "banned", "quota", "rate"]),
    times,
    st.none() | times,
)
states = st.builds(
    KeyState,
    hold=st.none() | holds,
    usage_tried_at=st.none() | times,
    usage_wait_until=st.none() | times,
)
paces = st.builds(
    Pace, st.floats(1.0, 1e6), st.floats(60.0, 1e6), st.integers(0, 5), first=st.just(True)
)


@given(states, paces)
def test_a_key_is_never_polled_twice_within_the_floor(state: KeyState, pace: Pace) -> None:
    tried = state.usage_tried_at
    if tried is not None and NOW - FLOOR_S < tried <= NOW:
        assert due([key()], {"id-a": state}, pace, NOW) == []


@given(states, paces)
def test_every_key_is_polled_again_some_day(state: KeyState, pace: Pace) -> None:
    """Unless its account was banned: then a person has to act."""
    at = next_poll(key(), state, pace, NOW)
    if at is None:
        assert state.hold is not None
        assert state.hold.verdict == "banned"
    else:
        assert at <= NOW + FLOOR_S + max(pace.cache_s, pace.recheck_s, 86400.0)


@given(states, paces)
def test_by_itself_only_a_key_that_was_asked_about_before(state: KeyState, pace: Pace) -> None:
    """Or one that is blocked, which something was heard of."""
    shy = pace._replace(first=False)
    if state.usage_tried_at is None and not blocked(state, NOW):
        assert next_poll(key(), state, shy, NOW) is None
        assert due([key()], {"id-a": state}, shy, NOW) == []
    elif state.usage_tried_at is not None and state.usage_tried_at <= NOW:
        assert next_poll(key(), state, shy, NOW) == next_poll(key(), state, pace, NOW)


@given(st.lists(states, max_size=8), paces, st.none() | times)
def test_a_memo_ends_when_a_refresh_is_due(
    several: list[KeyState], pace: Pace, refresh_at: float | None
) -> None:
    keys = [key(f"k{number}") for number in range(len(several))]
    known = {k.key_id: state for k, state in zip(keys, several)}
    at = next_due(keys, known, pace, refresh_at, NOW)
    if due(keys, known, pace, NOW) and not claimed(refresh_at, NOW):
        assert at is not None
        assert at <= NOW


# How long a failure waits.


def test_failures_back_off_and_a_success_ends_that() -> None:
    state, waits, now = KeyState(), [], NOW
    for _ in range(7):
        state = apply_usage_failure(state, "503", now=now, rng=RNG)
        assert state.usage_wait_until is not None
        waits.append(state.usage_wait_until - now)
        now = state.usage_wait_until
    assert waits == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0, 3600.0]
    state = apply_usage(state, UsageReading({"5h": Window(0.1)}), now)
    assert state.usage_wait_until is None


@pytest.mark.parametrize(
    "asked, wait", [(None, 300.0), (10.0, 300.0), (4000.0, 4000.0), (1e7, 86400.0)]
)
def test_what_the_upstream_asks_for_is_honoured(asked: float | None, wait: float) -> None:
    state = apply_usage_failure(KeyState(), "429", now=NOW, rng=RNG, retry_after_s=asked)
    assert state.usage_wait_until == NOW + wait
    assert next_poll(key(), state, PACE, NOW) == NOW + max(600.0, wait)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1e6), st.none() | st.floats(0.0, 1e9))))
def test_no_series_of_failures_ends_the_asking(
    series: list[tuple[bool, float, float | None]],
) -> None:
    state, now = KeyState(), NOW
    for good, pause, wait in series:
        now += pause
        if good:
            state = apply_usage(state, UsageReading({"5h": Window(0.5)}), now)
        else:
            state = apply_usage_failure(state, "x", now=now, rng=RNG, retry_after_s=wait)
    at = next_poll(key(), state, PACE, now)
    assert at is not None
    assert at <= now + 86400.0
