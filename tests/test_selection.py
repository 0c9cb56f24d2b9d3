"""Which key, and why: every strategy as a table, and what holds for all of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.health import status_of
from kmi.model import ApiKey, Decision, Hold, KeyState, Window
from kmi.selection import Policy, choose, unusable
from kmi.settings import STRATEGIES
from kmi.urls import parse_base_url

NOW = 1_800_000_000.0
HOUR = 3600.0


def key(label: str, *, priority: int = 0, disabled: bool = False) -> ApiKey:
    """A key whose id is its label, for easy reading."""
    url = parse_base_url("https://api.kimi.com/coding/v1")
    return ApiKey(label, label, "s", url, f"/a/{label}.env", priority=priority, disabled=disabled)


def hold(
    kind: str = "exhausted",
    *,
    until: float | None = NOW + HOUR,
    probe_at: float | None = None,
    verdict: str = "quota-5h",
) -> Hold:
    return Hold(kind, verdict, NOW - 60.0, until, probe_at)


def used(share: float, *, resets: float | None = NOW + HOUR, **fields: Any) -> KeyState:
    """A state whose 5 h window is used so far."""
    return KeyState(windows={"5h": Window(share, resets)}, usage_at=NOW - 10.0, **fields)


def traffic(answers: int, errors: int) -> tuple[tuple[int, int, int], ...]:
    return ((int(NOW // 60), answers, errors),)


ABC = (key("a"), key("b"), key("c"))


def pick(states: dict[str, KeyState], strategy: str = "most-remaining", **more: Any) -> Decision:
    """Choose among a, b and c."""
    active, rotate = more.pop("active", None), more.pop("rotate", False)
    keys = more.pop("keys", ABC)
    policy = Policy(strategy=strategy, **more)
    return choose(keys, states, policy, now=NOW, active=active, rotate=rotate)


def label_of(decision: Decision) -> str | None:
    return None if decision.key is None else decision.key.label


# Sticky.


@pytest.mark.parametrize(
    "states, active, expected, code",
    [
        ({}, "b", "b", "active"),
        ({"b": used(0.95)}, "b", "b", "active"),  # warn is still usable
        ({"a": used(0.0), "b": used(0.5)}, "b", "b", "active"),
        ({"b": KeyState(hold=hold())}, "b", "a", "best"),
        ({"b": KeyState(disabled=True)}, "b", "a", "best"),
        ({"a": used(0.9), "b": KeyState(hold=hold()), "c": used(0.1)}, "b", "c", "best"),
        ({}, None, "a", "best"),
        ({}, "gone", "a", "best"),
        ({"c": used(0.1)}, None, "c", "best"),
    ],
)
def test_sticky(states: dict[str, KeyState], active: str | None, expected: str, code: str) -> None:
    decision = pick(states, "sticky", active=active)
    assert (label_of(decision), decision.code) == (expected, code)
    changed = active in {"a", "b", "c"} and expected != active
    assert ("the active key can't be used" in decision.reason) is changed


def test_sticky_leaves_a_key_that_the_binding_forbids() -> None:
    decision = pick({}, "sticky", active="b", allowed=frozenset({"c"}))
    assert label_of(decision) == "c"


# Most remaining: status, share left, error rate, priority, least recently used, order.


@pytest.mark.parametrize(
    "states, expected",
    [
        ({}, "a"),
        ({"a": used(0.5), "b": used(0.2), "c": used(0.4)}, "b"),
        ({"a": used(0.6), "b": used(0.6), "c": used(0.6)}, "a"),
        # An unknown quota is neutral: between one that is fuller and one that is emptier.
        ({"a": used(0.7), "b": used(0.7)}, "c"),
        ({"a": used(0.3), "b": used(0.7)}, "a"),
        # Healthy before warn, whatever is left in another window.
        ({"a": used(0.85), "b": used(0.9), "c": used(0.79)}, "c"),
        # The tightest window counts.
        (
            {
                "a": KeyState(windows={"5h": Window(0.0), "7d": Window(0.7)}, usage_at=NOW),
                "b": used(0.6),
                "c": used(0.65),
            },
            "b",
        ),
        # A reading from before its reset says nothing any more.
        ({"a": used(0.99, resets=NOW - 1.0), "b": used(0.6), "c": used(0.7)}, "a"),
        # Errors: 5 % of 20 or more make warn, fewer decide a tie.
        ({"a": KeyState(traffic=traffic(100, 10))}, "b"),
        ({"a": KeyState(traffic=traffic(100, 3))}, "b"),
        ({"a": KeyState(traffic=traffic(10, 10))}, "a"),
        # The least recently used of equals.
        ({"a": KeyState(last_used=NOW - 5.0), "b": KeyState(last_used=NOW - 50.0)}, "c"),
        (
            {
                "a": KeyState(last_used=NOW - 5.0),
                "b": KeyState(last_used=NOW - 50.0),
                "c": KeyState(last_used=NOW - 1.0),
            },
            "b",
        ),
        ({"a": KeyState(hold=hold()), "b": used(0.99)}, "c"),
    ],
)
def test_most_remaining(states: dict[str, KeyState], expected: str) -> None:
    assert label_of(pick(states)) == expected


def test_priority_decides_between_equals_only() -> None:
    keys = (key("c", priority=5), key("a"), key("b"))
    assert label_of(pick({"c": KeyState(last_used=NOW - 1.0)}, keys=keys)) == "c"
    assert label_of(pick({"c": used(0.6), "a": used(0.5)}, keys=keys)) in {"a", "b"}


def test_the_only_usable_key() -> None:
    decision = pick({"a": KeyState(hold=hold()), "c": KeyState(disabled=True)})
    assert (label_of(decision), decision.code) == ("b", "only")


# Round robin, least recently used, soonest reset.


@pytest.mark.parametrize(
    "states, active, expected",
    [
        ({}, None, "a"),
        ({}, "a", "b"),
        ({}, "b", "c"),
        ({}, "c", "a"),
        ({}, "gone", "a"),
        ({"b": KeyState(hold=hold())}, "a", "c"),
        ({"b": KeyState(hold=hold())}, "b", "c"),
        ({"b": KeyState(hold=hold()), "c": KeyState(disabled=True)}, "a", "a"),
        ({"b": used(0.95)}, "a", "c"),
        ({"a": used(0.95), "b": used(0.95), "c": used(0.95)}, "a", "b"),
    ],
)
def test_round_robin(states: dict[str, KeyState], active: str | None, expected: str) -> None:
    decision = pick(states, "round-robin", active=active)
    assert (label_of(decision), decision.code) == (expected, "next")


def test_round_robin_goes_round() -> None:
    seen, active = [], None
    for _ in range(6):
        active = label_of(pick({}, "round-robin", active=active))
        seen.append(active)
    assert seen == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(
    "states, expected",
    [
        ({}, "a"),
        ({"a": KeyState(last_used=1.0)}, "b"),
        (
            {
                "a": KeyState(last_used=3.0),
                "b": KeyState(last_used=2.0),
                "c": KeyState(last_used=4.0),
            },
            "b",
        ),
        (
            {
                "a": KeyState(last_used=3.0),
                "b": used(0.9, last_used=2.0),
                "c": KeyState(last_used=4.0),
            },
            "a",
        ),
        (
            {
                "a": KeyState(last_used=1.0, hold=hold()),
                "b": KeyState(last_used=2.0),
                "c": KeyState(last_used=3.0),
            },
            "b",
        ),
    ],
)
def test_least_recently_used(states: dict[str, KeyState], expected: str) -> None:
    assert label_of(pick(states, "least-recently-used", active="c")) == expected


@pytest.mark.parametrize(
    "states, expected, code",
    [
        (
            {"a": used(0.5, resets=NOW + 9.0), "b": used(0.5, resets=NOW + 5.0)},
            "b",
            "soonest-reset",
        ),
        ({"a": used(0.5), "b": used(1.0, resets=NOW + 5.0)}, "a", "soonest-reset"),
        ({"a": used(0.5), "b": used(0.5, resets=NOW - 5.0)}, "a", "soonest-reset"),
        ({"a": used(0.5), "b": used(0.5, resets=None)}, "a", "soonest-reset"),
        ({"a": used(0.5), "b": used(0.85, resets=NOW + 5.0)}, "a", "soonest-reset"),
        ({"a": used(0.5, resets=None), "b": used(0.4, resets=None)}, "b", "best"),
        ({}, "a", "best"),
        (
            {
                "a": used(0.5, resets=NOW + 50.0),
                "b": KeyState(
                    windows={"5h": Window(0.1, NOW + 90.0), "7d": Window(0.1, NOW + 10.0)},
                    usage_at=NOW,
                ),
            },
            "b",
            "soonest-reset",
        ),
    ],
)
def test_soonest_reset(states: dict[str, KeyState], expected: str, code: str) -> None:
    decision = pick(states, "soonest-reset")
    assert (label_of(decision), decision.code) == (expected, code)


def room(five: float, week: float, last_used: float | None = None, **more: Any) -> KeyState:
    """A state with so much left of two windows."""
    windows = {"5h": Window(1.0 - five, NOW + HOUR), "7d": Window(1.0 - week, NOW + 90.0 * HOUR)}
    return KeyState(windows=windows, usage_at=NOW - 10.0, last_used=last_used, **more)


@pytest.mark.parametrize(
    "states, expected, reason",
    [
        ({}, "a", "of the keys with room it was used least recently (never)"),
        ({"a": KeyState(last_used=1.0)}, "b", "with room"),
        # Room counts before age, the 5 hours before longer windows, errors before both.
        ({"a": room(0.4, 1.0), "b": room(0.6, 1.0, 9.0), "c": room(0.6, 1.0, 5.0)}, "c", "room"),
        ({"a": room(1.0, 0.09), "b": room(1.0, 0.11, 9.0), "c": room(0.4, 1.0)}, "b", "room"),
        (
            {"a": room(0.4, 1.0), "b": room(1.0, 0.09), "c": room(0.4, 0.09)},
            "b",
            "no key has much room, and it was used least recently (never)",
        ),
        (
            {"a": room(1.0, 1.0, traffic=traffic(20, 5)), "b": room(0.1, 0.05), "c": room(0.1, 0)},
            "b",
            "no key has much room",
        ),
        # Exactly half and exactly a tenth are room; a key with status warn may have it.
        ({"a": room(0.5, 0.1), "b": room(1.0, 1.0, 9.0), "c": room(1.0, 1.0, 9.0)}, "a", "room"),
        # What was read before a reset is not believed after it.
        ({"a": used(0.9, resets=NOW - 1.0), "b": room(1, 1, 9.0), "c": room(1, 1, 9.0)}, "a", "r"),
        ({"a": KeyState(hold=hold()), "b": room(1.0, 1.0, 9.0), "c": room(0.1, 1.0)}, "b", "room"),
    ],
)
def test_spread(states: dict[str, KeyState], expected: str, reason: str) -> None:
    decision = pick(states, "spread", active="c")
    assert (label_of(decision), decision.code) == (expected, "spread")
    assert reason in decision.reason


def test_spread_says_why_not() -> None:
    states = {"a": room(1.0, 1.0, 2.0), "b": room(0.1, 1.0), "c": room(1.0, 1.0, 9.0)}
    keys = (*ABC, key("d"))
    decision = pick({**states, "d": room(1.0, 1.0, 2.0)}, "spread", keys=keys)
    assert decision.rejected == {
        "b": "usable, but a has more room",
        "c": "usable, but a was used longer ago",
        "d": "usable, but a comes first",
    }


# Rotate by hand.


@pytest.mark.parametrize(
    "states, active, on_tie, expected, code",
    [
        ({}, None, True, "a", "best"),
        ({}, "a", True, "b", "tie"),
        ({}, "c", True, "a", "tie"),
        ({}, "a", False, "a", "stays"),
        ({"b": used(0.1)}, "a", True, "b", "best"),
        ({"b": used(0.1)}, "b", True, "b", "stays"),
        ({"b": used(0.8)}, "a", True, "c", "tie"),
        ({"a": KeyState(hold=hold())}, "a", True, "b", "best"),
        ({"b": KeyState(hold=hold()), "c": KeyState(hold=hold())}, "a", True, "a", "stays"),
        ({"b": KeyState(hold=hold())}, "a", True, "c", "tie"),
        ({"a": used(0.95), "b": used(0.95)}, "a", True, "c", "best"),
        # A tie is of status, quota and errors; recency and priority only order it.
        ({"a": KeyState(last_used=1.0)}, "a", True, "b", "tie"),
    ],
)
def test_rotate(
    states: dict[str, KeyState], active: str | None, on_tie: bool, expected: str, code: str
) -> None:
    decision = pick(states, "sticky", active=active, rotate=True, rotate_on_tie=on_tie)
    assert (label_of(decision), decision.code) == (expected, code)


@pytest.mark.parametrize("strategy", ["round-robin", "least-recently-used", "soonest-reset"])
def test_warn_keys_stand_in_unless_they_are_included(strategy: str) -> None:
    states = {
        "a": used(0.95, resets=NOW + 1.0, last_used=1.0),
        "b": used(0.5, resets=NOW + 9.0, last_used=9.0),
        "c": used(0.5, resets=NOW + 8.0, last_used=8.0),
    }
    assert label_of(pick(states, strategy, active="c")) in {"b", "c"}
    assert label_of(pick(states, strategy, active="c", include_warn=True)) == "a"
    for name in "bc":
        states[name] = KeyState(hold=hold())
    assert label_of(pick(states, strategy, active="c")) == "a"


def test_warn_is_told_as_the_reason() -> None:
    decision = pick({"a": used(0.95)}, "round-robin", active="c")
    assert label_of(decision) == "b"
    assert pick({"a": used(0.95)}).rejected["a"] == "usable, but it has status warn, and b has not"


# Named.


@pytest.mark.parametrize(
    "state, code",
    [
        (KeyState(), "named"),
        (used(0.99), "named"),
        (KeyState(hold=hold()), "named-anyway"),
        (KeyState(hold=hold("blocked", until=None)), "named-anyway"),
        (KeyState(disabled=True), "named-anyway"),
    ],
)
def test_a_named_key_is_taken_whatever_its_state(state: KeyState, code: str) -> None:
    decision = pick({"b": state}, named="b", active="a")
    assert (label_of(decision), decision.code) == ("b", code)
    assert decision.rejected == {"a": "b was named", "c": "b was named"}


def test_what_is_said_of_a_named_key_is_a_sentence() -> None:
    unread = pick({}, named="b", require_usage=True, fail_open=False).reason
    assert unread == "it was named, yet its usage is not known yet, and that is required"
    held = pick({"b": KeyState(hold=hold())}, named="b").reason
    assert held.startswith("it was named, although it is exhausted: ")
    refused = pick({}, named="b", unavailable={"b": "its api_key_command failed"}).reason
    assert refused == "b was named, but: its api_key_command failed"


def test_a_named_key_that_its_file_disables() -> None:
    keys = (key("a"), key("b", disabled=True))
    decision = pick({}, named="b", keys=keys)
    assert (label_of(decision), decision.code) == ("b", "named-anyway")
    assert "/a/b.env" in decision.reason


@pytest.mark.parametrize(
    "more, why",
    [
        ({"unavailable": {"b": "its api_key_command failed"}}, "api_key_command failed"),
        ({"allowed": frozenset({"a", "c"})}, "binding"),
    ],
)
def test_a_named_key_that_cannot_be_had(more: dict[str, Any], why: str) -> None:
    decision = pick({}, named="b", **more)
    assert (decision.key, decision.code) == (None, "named")
    assert why in decision.reason


def test_a_label_that_no_key_has() -> None:
    decision = pick({}, named="nobody")
    assert (decision.key, decision.code) == (None, "no-such-key")


# What makes a key unusable.


@pytest.mark.parametrize(
    "state, more, why",
    [
        (KeyState(), {}, ""),
        (KeyState(disabled=True), {}, "disabled"),
        (KeyState(hold=hold()), {}, "exhausted: the 5 hour quota is spent; back in 1 h"),
        (
            KeyState(hold=hold("cooldown", verdict="rate")),
            {},
            "exhausted: rate limited; back in 1 h",
        ),
        (KeyState(hold=hold("blocked", until=None, verdict="banned")), {}, "kmi keys reset"),
        (KeyState(hold=hold(until=NOW)), {}, ""),
        (KeyState(hold=hold(until=NOW - 1.0)), {}, ""),
        (KeyState(), {"allowed": frozenset({"b"})}, "binding"),
        (KeyState(), {"allowed": frozenset({"a"})}, ""),
        (KeyState(), {"unavailable": {"a": "no command"}}, "no command"),
        (KeyState(), {"require_usage": True}, ""),
        (KeyState(), {"require_usage": True, "fail_open": False}, "not known yet"),
        (used(0.1), {"require_usage": True, "fail_open": False}, ""),
        (KeyState(usage_at=NOW - 601.0), {"require_usage": True}, "too old"),
        (KeyState(usage_at=NOW - 599.0), {"require_usage": True}, ""),
        (KeyState(usage_at=NOW, usage_error="timed out"), {"require_usage": True}, "timed out"),
        (KeyState(usage_error="timed out"), {}, ""),
    ],
)
def test_usable_or_why_not(state: KeyState, more: dict[str, Any], why: str) -> None:
    found = unusable(key("a"), state, Policy(**more), NOW)
    assert why in found
    assert bool(found) is bool(why)


def test_a_clock_that_went_back_ends_a_hold() -> None:
    late = Hold("blocked", "rate", NOW + 10 * 365 * 86400.0, NOW + 10 * 366 * 86400.0)
    assert unusable(key("a"), KeyState(hold=late), Policy(), NOW) == ""


# When every key is out.


def test_a_half_open_key_is_tried_when_nothing_else_is_usable() -> None:
    states = {
        "a": KeyState(hold=hold(probe_at=NOW - 1.0)),
        "b": KeyState(hold=hold(probe_at=NOW - 9.0)),
        "c": KeyState(hold=hold(probe_at=NOW + 9.0)),
    }
    decision = pick(states)
    assert (label_of(decision), decision.code) == ("b", "probe")
    assert set(decision.rejected) == {"a", "c"}
    assert label_of(pick({**states, "c": used(0.99)})) == "c"


def test_a_half_open_key_that_is_not_allowed_is_not_tried() -> None:
    held = KeyState(hold=hold(probe_at=NOW - 1.0))
    for more in ({"allowed": frozenset({"x"})}, {"unavailable": dict.fromkeys("abc", "no")}):
        assert pick({"a": held}, **more).key is None
    disabled = KeyState(disabled=True, hold=hold(probe_at=NOW - 1.0))
    assert pick(dict.fromkeys("abc", disabled)).key is None


@pytest.mark.parametrize(
    "untils, back_at",
    [
        ((NOW + 9.0, NOW + 5.0, NOW + 7.0), NOW + 5.0),
        ((None, NOW + 5.0, None), NOW + 5.0),
        ((None, None, None), None),
    ],
)
def test_all_out_tells_when_the_first_is_back(
    untils: tuple[float | None, ...], back_at: float | None
) -> None:
    states = {name: KeyState(hold=hold(until=until)) for name, until in zip("abc", untils)}
    for rotate in (False, True):
        decision = pick(states, rotate=rotate)
        assert (decision.key, decision.code, decision.back_at) == (None, "all-out", back_at)
        assert set(decision.rejected) == {"a", "b", "c"}


def test_a_key_that_stays_out_for_another_reason_does_not_promise_to_be_back() -> None:
    states = {
        "a": KeyState(disabled=True, hold=hold(until=NOW + 1.0)),
        "b": KeyState(hold=hold(until=NOW + 9.0)),
        "c": KeyState(disabled=True),
    }
    assert pick(states).back_at == NOW + 9.0


def test_no_keys() -> None:
    decision = pick({}, keys=())
    assert (decision.key, decision.code, decision.rejected) == (None, "no-keys", {})


# What holds for all.

LABELS = ("a", "b", "c", "d")
times = st.sampled_from([NOW - 86400.0, NOW - 60.0, NOW, NOW + 60.0, NOW + 86400.0])
maybe_times = st.none() | times
shares = st.sampled_from([0.0, 0.5, 0.79, 0.81, 1.0]) | st.floats(0.0, 1.0)
windows = st.dictionaries(
    st.sampled_from(["5h", "7d", "month"]), st.builds(Window, shares, maybe_times), max_size=3
)
holds = st.builds(
    Hold,
    kind=st.sampled_from(["cooldown", "exhausted", "blocked"]),
    verdict=st.sampled_from(["rate", "quota-5h", "banned", "payment"]),
    since=times,
    until=maybe_times,
    probe_at=maybe_times,
)
key_states = st.builds(
    KeyState,
    disabled=st.booleans(),
    hold=st.none() | holds,
    windows=windows,
    usage_at=maybe_times,
    usage_error=st.sampled_from(["", "timed out"]),
    last_used=maybe_times,
    traffic=st.lists(
        st.tuples(st.just(int(NOW // 60)), st.integers(0, 100), st.integers(0, 100)), max_size=2
    ).map(tuple),
)
some_keys = st.lists(
    st.builds(key, st.sampled_from(LABELS), priority=st.integers(-1, 1), disabled=st.booleans()),
    unique_by=lambda item: item.label,
    max_size=4,
)
policies = st.builds(
    Policy,
    strategy=st.sampled_from(STRATEGIES),
    named=st.none() | st.sampled_from([*LABELS, "z"]),
    allowed=st.none() | st.frozensets(st.sampled_from(LABELS)),
    unavailable=st.dictionaries(st.sampled_from(LABELS), st.just("no command"), max_size=1),
    rotate_on_tie=st.booleans(),
    include_warn=st.booleans(),
    require_usage=st.booleans(),
    fail_open=st.booleans(),
)
anything = given(
    keys=some_keys,
    states=st.dictionaries(st.sampled_from(LABELS), key_states),
    policy=policies,
    active=st.none() | st.sampled_from([*LABELS, "z"]),
    rotate=st.booleans(),
)


@anything
def test_what_is_picked_is_usable_named_or_a_probe(
    keys: list[ApiKey],
    states: dict[str, KeyState],
    policy: Policy,
    active: str | None,
    rotate: bool,
) -> None:
    decision = choose(keys, states, policy, now=NOW, active=active, rotate=rotate)
    assert decision.reason
    usable = [
        item
        for item in keys
        if not unusable(item, states.get(item.key_id, KeyState()), policy, NOW)
    ]
    if decision.key is None:
        assert decision.code in {"no-keys", "all-out", "named", "no-such-key"}
        assert decision.code in {"named", "no-such-key"} or not usable
        assert decision.back_at is None or decision.back_at > NOW
        return
    picked = decision.key
    assert picked in keys
    state = states.get(picked.key_id, KeyState())
    if policy.named is not None:
        assert picked.label == policy.named
    elif decision.code == "probe":
        assert usable == []
        assert state.hold is not None
        assert state.hold.half_open(NOW)
    else:
        assert picked in usable
        assert status_of(picked, state, NOW).name in {"healthy", "warn", "unknown"}
    if policy.allowed is not None:
        assert picked.label in policy.allowed
    assert picked.label not in policy.unavailable


@anything
def test_every_other_key_has_a_why_not(
    keys: list[ApiKey],
    states: dict[str, KeyState],
    policy: Policy,
    active: str | None,
    rotate: bool,
) -> None:
    decision = choose(keys, states, policy, now=NOW, active=active, rotate=rotate)
    others = {item.label for item in keys if item != decision.key}
    if decision.code == "named" and decision.key is None:
        others.discard(policy.named or "")  # its reason is the decision's
    if decision.code == "no-such-key":
        others = set(decision.rejected)
    assert set(decision.rejected) == others
    assert all(decision.rejected.values())


@anything
def test_it_is_pure(
    keys: list[ApiKey],
    states: dict[str, KeyState],
    policy: Policy,
    active: str | None,
    rotate: bool,
) -> None:
    before = copy.deepcopy((keys, states, policy))
    first = choose(keys, states, policy, now=NOW, active=active, rotate=rotate)
    again = choose(tuple(keys), dict(states), policy, now=NOW, active=active, rotate=rotate)
    assert first == again
    assert (keys, states, policy) == before


@given(keys=some_keys, states=st.dictionaries(st.sampled_from(LABELS), key_states))
def test_rotating_reaches_every_key_that_ties(
    keys: list[ApiKey], states: dict[str, KeyState]
) -> None:
    first = choose(keys, states, Policy(), now=NOW, rotate=True).key
    if first is None:
        return
    seen, active = {first.label}, first.key_id
    for _ in range(len(keys) + 1):
        decision = choose(keys, states, Policy(), now=NOW, active=active, rotate=True)
        assert decision.key is not None
        if decision.code in {"stays", "probe"}:
            break
        assert decision.code == "tie"
        active = decision.key.key_id
        seen.add(decision.key.label)
    else:
        assert len(seen) > 1
