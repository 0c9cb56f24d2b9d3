"""Which key a request gets, and what its answer teaches: with a clock of the test's own."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.proxy.picker import Lesson, Pick, Picker, learn
from kmi.proxy.view import View
from kmi.selection import Policy
from kmi.state import Active
from kmi.urls import parse_base_url
from kmi.verdicts import classify

NOW = 1_795_000_000.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
A, B, C = (ApiKey(label, f"id-{label}", f"sk-{label}", URL) for label in ("a", "b", "c"))
QUOTA = classify(403, '{"error": {"message": "usage limit for this period"}}')
DEAD = classify(401, '{"error": {"message": "Incorrect API key"}}')
BUSY = classify(429, '{"error": {"message": "slow down"}}')


def active(key: ApiKey, since: float = NOW) -> Active:
    return Active(key.key_id, key.label, since)


def sight(
    *keys: ApiKey,
    states: dict[str, KeyState] | None = None,
    use: ApiKey | None = A,
    may_change: bool = True,
    chosen_at: float | None = None,
    **policy: Any,
) -> View:
    return View(
        keys or (A, B, C),
        states or {},
        None if use is None else active(use),
        Policy(**policy),
        may_change,
        chosen_at=chosen_at,
    )


class Desk:
    """A picker and its clock."""

    def __init__(self, view: View) -> None:
        self.picker = Picker(view, cooldown_s=300.0, payment_block_s=3600.0)
        self.at = 0.0

    def ask(self, session: bytes = b"", *tried: ApiKey, send: bool = True, **more: Any) -> str:
        """The label of the key that a request gets; "" for none."""
        return self.pick(session, *tried, send=send, **more)[0]

    def pick(
        self, session: bytes = b"", *tried: ApiKey, send: bool = True, **more: Any
    ) -> tuple[str, Pick]:
        now, mono = NOW + self.at, self.at
        pick = self.picker.pick(session, {key.key_id for key in tried}, now, mono, **more)
        if send:
            self.picker.take(session, pick, now, mono)
        return ("" if pick.key is None else pick.key.label), pick

    def learn(self, key: ApiKey, verdict: Any, header_s: float | None = None) -> None:
        at = NOW + self.at
        self.picker.learn(Lesson(key.key_id, verdict, at, at, header_s))

    def see(self, view: View, *unsaved: Lesson) -> None:
        self.picker.replace_view(view, unsaved, 300.0, 3600.0)


def test_sticky_gives_the_active_key_to_everybody() -> None:
    desk = Desk(sight(use=B))
    assert {desk.ask(bytes([n])) for n in range(50)} == {"b"}
    assert {desk.ask() for _ in range(9)} == {"b"}


def test_sticky_without_an_active_key_stays_with_one() -> None:
    desk = Desk(sight(use=None))
    assert len({desk.ask(bytes([n])) for n in range(50)} | {desk.ask()}) == 1


def test_a_session_leaves_on_hard_evidence_only_and_then_stays() -> None:
    desk = Desk(sight())
    assert desk.ask(b"s") == "a"
    desk.learn(A, classify(503, "oops"))
    desk.learn(A, classify(None, "reset"))
    desk.learn(A, classify(400, "no"))
    assert desk.ask(b"s") == "a"
    desk.learn(A, QUOTA)
    moved = desk.ask(b"s", A)
    assert moved in {"b", "c"}
    # The old key is back, and is the one for new sessions; this one is warm where it is.
    desk.at += 6 * 3600
    desk.picker.sessions.keep(b"s", f"id-{moved}", desk.at)
    assert desk.ask(b"new") == "a"
    assert desk.ask(b"s") == moved


def test_a_passing_fault_moves_a_session_only_if_another_key_does_better() -> None:
    desk = Desk(sight())
    assert desk.ask(b"s") == "a"
    other = desk.ask(b"s", A)
    assert other in {"b", "c"}
    # It was answered no better there: the next request goes to where the cache is.
    assert desk.ask(b"s") == "a"
    desk.picker.settle(b"s", f"id-{other}", {A.key_id}, desk.at)
    assert desk.ask(b"s") == other


def test_an_answer_from_before_does_not_undo_what_the_person_said() -> None:
    desk = Desk(sight())
    desk.ask(b"s")
    moved = {"b": C, "c": B}[desk.ask(b"s", A)]
    desk.see(sight(use=moved, chosen_at=NOW))
    desk.picker.settle(b"s", "id-whatever", {A.key_id}, desk.at)
    assert desk.ask(b"s") == moved.label


def test_new_sessions_stay_together_while_the_active_key_is_out() -> None:
    desk = Desk(sight())
    desk.learn(A, QUOTA)
    assert len({desk.ask(bytes([n])) for n in range(20)} | {desk.ask()}) == 1


def test_round_robin_spreads_new_sessions_evenly_and_keeps_the_old_ones() -> None:
    desk = Desk(sight(strategy="round-robin"))
    first = {bytes([n]): desk.ask(bytes([n])) for n in range(99)}
    assert Counter(first.values()) == {"a": 33, "b": 33, "c": 33}
    assert {session: desk.ask(session) for session in first} == first


def test_a_key_that_failed_does_not_send_the_round_back_to_its_start() -> None:
    desk = Desk(sight(strategy="round-robin"))
    assert [desk.ask(), desk.ask(b"", A), desk.ask(b"", B), desk.ask(b"", C)] == [
        "b",
        "c",
        "a",
        "b",
    ]
    assert desk.ask(b"", B) == "c"


@pytest.mark.parametrize("strategy", ["round-robin", "least-recently-used"])
def test_a_pick_that_is_not_sent_takes_no_turn(strategy: str) -> None:
    """A request in the queue asks again and again."""
    desk = Desk(sight(strategy=strategy))
    found = []
    for number in range(30):
        desk.at += 1.0
        for _ in range(number % 4):
            desk.ask(bytes([number]), send=False)
        found.append(desk.ask(bytes([number])))
    assert Counter(found) == {"a": 10, "b": 10, "c": 10}


def test_turns_survive_a_new_view() -> None:
    desk = Desk(sight(strategy="least-recently-used"))
    found = []
    for number in range(30):
        desk.at += 1.0
        found.append(desk.ask(bytes([number])))
        desk.see(sight(strategy="least-recently-used"))
    assert Counter(found) == {"a": 10, "b": 10, "c": 10}


def test_a_new_session_is_not_given_a_full_key_while_there_is_another() -> None:
    desk = Desk(sight())
    assert desk.ask(b"old") == "a"
    assert desk.ask(b"new", full={A.key_id}) in {"b", "c"}
    assert desk.ask(b"old", full={A.key_id}) == "a"
    assert desk.ask(b"third", full={A.key_id, B.key_id, C.key_id}) == "a"


def test_once_more_on_the_same_key() -> None:
    desk = Desk(sight(strategy="round-robin"))
    label, pick = desk.pick()
    assert pick.key is not None
    assert desk.ask(again=pick.key.key_id) == label
    desk.learn(pick.key, QUOTA)
    assert desk.ask(b"", pick.key, again=pick.key.key_id) != label


def test_use_moves_every_session() -> None:
    desk = Desk(sight(strategy="round-robin"))
    sessions = [bytes([n]) for n in range(30)]
    assert len({desk.ask(session) for session in sessions}) == 3
    desk.see(sight(use=B, chosen_at=NOW, strategy="round-robin"))
    assert {desk.ask(session) for session in sessions} == {"b"}
    # Named again, although it is active already.
    desk.learn(B, QUOTA)
    desk.ask(sessions[0], B)
    desk.see(sight(use=B, chosen_at=NOW + 9, strategy="round-robin"))
    assert desk.ask(sessions[0]) == "b"


def test_a_run_that_swaps_a_key_moves_no_session() -> None:
    desk = Desk(sight())
    assert desk.ask(b"old") == "a"
    desk.see(sight(use=B))
    assert (desk.ask(b"old"), desk.ask(b"new")) == ("a", "b")


def test_a_new_view_without_a_word_of_the_person_moves_nobody() -> None:
    desk = Desk(sight(chosen_at=NOW))
    desk.ask(b"s")
    desk.learn(A, QUOTA)
    moved = desk.ask(b"s", A)
    desk.see(sight(chosen_at=NOW))  # and the lesson was not saved: as if it never was
    assert desk.ask(b"s") == moved


def test_lessons_that_are_not_saved_count_in_a_new_view() -> None:
    desk = Desk(sight())
    desk.see(sight(), Lesson(A.key_id, DEAD, NOW, NOW))
    assert desk.ask() != "a"


# While keys may not be changed.


def test_the_active_key_only_whatever_it_answers() -> None:
    desk = Desk(sight(may_change=False, use=B))
    for verdict in (QUOTA, DEAD, BUSY):
        desk.learn(B, verdict)
        assert desk.pick(b"s")[1].code == "active"
        assert desk.ask(b"s") == "b"
    hold = desk.picker.states[B.key_id].hold
    assert hold is not None
    assert hold.kind == "blocked"


def test_a_disabled_active_key_is_stood_in_for_and_comes_back() -> None:
    off = {B.key_id: KeyState(disabled=True)}
    desk = Desk(sight(may_change=False, use=B, states=off))
    stand_in = desk.ask()
    assert stand_in in {"a", "c"}
    assert {desk.ask(bytes([n])) for n in range(9)} == {stand_in}
    desk.see(sight(may_change=False, use=B))
    assert desk.ask() == "b"


@pytest.mark.parametrize("may_change", [True, False])
def test_a_key_whose_base_url_is_not_allowed_is_never_given(may_change: bool) -> None:
    desk = Desk(sight(may_change=may_change, unavailable={"a": "its base URL is not allowed"}))
    assert desk.ask(b"s") in {"b", "c"}
    alone = Desk(sight(A, may_change=may_change, unavailable={"a": "it is not allowed"}))
    assert alone.ask() == ""


# Keys that are out.


def test_all_out_says_who_is_first() -> None:
    desk = Desk(sight(A, B))
    desk.learn(A, BUSY, 600.0)
    desk.learn(B, BUSY, 40.0)
    assert desk.ask() == ""
    assert desk.picker.first_back(NOW) == NOW + 40.0
    assert set(desk.picker.why_not(NOW)) == {"a", "b"}


def test_a_key_that_needs_a_person_never_comes_back_by_itself() -> None:
    disabled = replace(B, disabled=True)
    desk = Desk(sight(A, disabled))
    desk.learn(A, DEAD)
    desk.learn(disabled, BUSY, 5.0)
    assert desk.ask() == ""
    assert desk.picker.first_back(NOW) is None


def test_the_end_of_a_hold_is_noticed() -> None:
    desk = Desk(sight(A, B))
    desk.learn(A, BUSY, 5.0)
    assert desk.ask() == "b"
    desk.at += 5.3
    assert desk.ask(b"x") == "a"


def test_one_probe_at_a_time_also_across_views() -> None:
    hold = Hold("exhausted", "quota-5h", NOW - 400, NOW + 7200, probe_at=NOW - 1)
    states = {A.key_id: KeyState(hold=hold)}
    desk = Desk(sight(A, states=states))
    label, pick = desk.pick(send=False)
    assert (label, pick.code) == ("a", "probe")
    assert desk.pick()[1].code == "probe"  # what was not sent does not count
    assert [desk.ask() for _ in range(50)] == [""] * 50
    desk.see(sight(A, states=states))
    assert [desk.ask() for _ in range(50)] == [""] * 50
    # It worked: everybody may.
    desk.learn(A, None)
    assert desk.ask() == "a"


def test_a_hold_that_was_set_anew_is_probed_anew() -> None:
    old = Hold("exhausted", "quota-5h", NOW - 400, NOW + 7200, probe_at=NOW - 1)
    desk = Desk(sight(A, states={A.key_id: KeyState(hold=old)}))
    assert desk.ask() == "a"
    new = replace(old, since=NOW - 300)
    desk.see(sight(A, states={A.key_id: KeyState(hold=new)}))
    assert desk.ask() == "a"


def test_a_success_from_before_the_error_ends_nothing() -> None:
    states = learn({}, Lesson("x", QUOTA, NOW, NOW - 1), cooldown_s=1.0, payment_block_s=1.0)
    late = Lesson("x", None, NOW + 5, NOW - 3, times=7)
    after = learn(states, late, cooldown_s=1.0, payment_block_s=1.0)["x"]
    assert after.hold == states["x"].hold
    assert sum(answers for _, answers, _ in after.traffic) == 8
    proof = learn(states, Lesson("x", None, NOW + 5, NOW + 1), cooldown_s=1.0, payment_block_s=1.0)
    assert proof["x"].hold is None


def test_the_same_lesson_is_the_same_wherever_it_is_learnt() -> None:
    lesson = Lesson("x", BUSY, NOW, NOW, seed=12345)
    twice = [learn({}, lesson, cooldown_s=10.0, payment_block_s=1.0) for _ in range(2)]
    assert twice[0] == twice[1]


def test_keys_of_one_organisation_go_together() -> None:
    text = json.dumps({"error": {"message": "Organization Rate limit of org-abc123 reached"}})
    named = classify(429, text)
    assert named.group is not None
    states = {key.key_id: KeyState(group=named.group) for key in (A, B)}
    desk = Desk(sight(states=states))
    desk.learn(A, named)
    assert desk.ask(b"", A) == "c"


def test_eligible_in_turn_are_only_those_that_have_a_turn() -> None:
    """The confidence of the round robin is measured against them."""
    low = KeyState(windows={"5h": Window(0.9)}, usage_at=NOW)
    well = KeyState(windows={"5h": Window(0.1)}, usage_at=NOW)
    states = {"id-a": well, "id-b": low, "id-c": well}
    desk = Desk(sight(states=states, strategy="round-robin"))
    picks = [desk.pick(bytes([n])) for n in range(6)]
    assert {label for label, _ in picks} == {"a", "c"}
    assert {(pick.code, pick.eligible) for _, pick in picks} == {("next", 2)}
    both = Desk(sight(states=states, strategy="round-robin", include_warn=True))
    assert {both.pick(bytes([n]))[1].eligible for n in range(6)} == {3}
