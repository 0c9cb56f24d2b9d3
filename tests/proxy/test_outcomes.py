"""What follows an answer: a table over verdicts, permission and attempts."""

from __future__ import annotations

import json
import random

import pytest

from kmi.demo import behaviours
from kmi.proxy.outcomes import ATTEMPTS_S, Efforts, Step, follow
from kmi.verdicts import KINDS, Kind, Verdict, classify


def step(
    verdict: Verdict,
    *,
    attempts: int = 1,
    same: int = 1,
    elapsed_s: float = 0.0,
    may_change: bool = True,
    most: int = 4,
) -> Step:
    return follow(
        verdict,
        Efforts(attempts, same, elapsed_s),
        may_change=may_change,
        most=most,
        base_ms=250,
        rng=random.Random(1),
    )


#: What each kind of verdict leads to at the first and at the second failure in a row on one key.
WANTED = {
    "pass": ("deliver", "deliver"),
    "block": ("another", "another"),
    "exhaust": ("another", "another"),
    "cooldown": ("another", "another"),
    "retry": ("again", "another"),
}


@pytest.mark.parametrize("kind", [KINDS[name] for name in sorted(KINDS)])
def test_every_kind(kind: Kind) -> None:
    verdict = Verdict(kind)
    first, second = WANTED[verdict.effect]
    assert step(verdict).what == first
    assert step(verdict, attempts=2, same=2).what == second
    # Without permission, and when the attempts or the time are used up: what came is passed on.
    assert step(verdict, may_change=False) == Step("deliver")
    assert step(verdict, attempts=4) == Step("deliver")
    assert step(verdict, most=1) == Step("deliver")
    assert step(verdict, elapsed_s=ATTEMPTS_S + 1) == Step("deliver")


@pytest.mark.parametrize(
    ("status", "message", "type_", "what"),
    [
        (403, behaviours.QUOTA_CYCLE, "access_terminated_error", "another"),
        (429, behaviours.QUOTA_PERIOD, "rate_limit_reached_error", "another"),
        (200, behaviours.QUOTA_WEEK, "access_terminated_error", "another"),
        (402, behaviours.NO_MEMBERSHIP, "invalid_request_error", "another"),
        (401, behaviours.INVALID_KEY, "invalid_authentication_error", "another"),
        (429, behaviours.TOO_MANY_REQUESTS, "rate_limit_reached_error", "another"),
        (403, behaviours.CODING_AGENTS_ONLY, "access_terminated_error", "deliver"),
        (400, "the request was rejected because it was considered high risk", "content_filter",
         "deliver"),
        (404, "Not found the model k2 or Permission denied", "resource_not_found_error", "deliver"),
        (500, "internal server error", "server_error", "again"),
        (503, behaviours.OVERLOADED, "server_error", "again"),
        (429, behaviours.OVERLOADED, "engine_overloaded_error", "again"),
        (408, "", "", "again"),
        (None, "connection refused", "", "again"),
        (302, "", "", "deliver"),
    ],
)  # fmt: skip
def test_the_texts_of_the_upstream(status: int, message: str, type_: str, what: str) -> None:
    body = json.dumps(behaviours.error_body(message, type_))
    assert step(classify(status, body if type_ else message)).what == what


def test_pauses_grow_have_jitter_and_an_end() -> None:
    verdict, rng = classify(500, "oops"), random.Random(7)
    for attempts, least, most in (
        (1, 0.18, 0.32),
        (2, 0.37, 0.63),
        (3, 0.75, 1.25),
        (20, 3.7, 6.3),
    ):
        pauses = {
            follow(
                verdict,
                Efforts(attempts, 1, 0.0),
                may_change=True,
                most=99,
                base_ms=250,
                rng=rng,
            ).pause_s
            for _ in range(20)
        }
        assert len(pauses) == 20
        assert all(least <= pause <= most for pause in pauses), (attempts, pauses)


def test_an_overloaded_cluster_gets_a_second() -> None:
    overloaded = classify(429, json.dumps(behaviours.error_body(behaviours.OVERLOADED, "x")))
    assert overloaded.name == "overloaded"
    assert step(overloaded).pause_s >= 0.75


def test_another_key_is_asked_at_once() -> None:
    assert step(classify(403, behaviours.QUOTA_WEEK)).pause_s == 0.0
