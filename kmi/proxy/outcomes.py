"""What follows an answer of the upstream, before a byte of it went to the client (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

    from kmi.verdicts import Verdict

#: All attempts of one request together take no longer; waiting for a key to come back is apart.
ATTEMPTS_S = 120.0
#: The longest pause between two attempts: upstream.md gives 1-5 s for an overloaded cluster.
PAUSE_MAX_S = 5.0
#: So often a passing fault is tried again on the same key, whose cache is warm, before another.
SAME_KEY_TRIES = 1


class Efforts(NamedTuple):
    """What one request has been through.

    Attributes:
        attempts: how many were made.
        same: how many of them in a row failed on the last key by a passing fault.
        elapsed_s: since the first attempt.
    """

    attempts: int
    same: int
    elapsed_s: float


class Step(NamedTuple):
    """What to do: "deliver" the answer, try "again" on the same key, or on "another" one."""

    what: str
    pause_s: float = 0.0


DELIVER = Step("deliver")


def follow(
    verdict: Verdict,
    efforts: Efforts,
    *,
    may_change: bool,
    most: int,
    base_ms: int,
    rng: random.Random,
) -> Step:
    """What to do about an answer.

    Args:
        verdict: what it means.
        efforts: what the request has been through, this answer included.
        may_change: whether keys may be changed within a session.
        most: attempts within one request (`KMI_PROXY_RETRY_MAX`; keys + 1 by default).
        base_ms: `KMI_PROXY_RETRY_BASE_MS`, the first pause after a passing fault.
        rng: for jitter.
    """
    effect = verdict.effect
    if effect == "pass" or not may_change:
        return DELIVER
    if efforts.attempts >= most or efforts.elapsed_s > ATTEMPTS_S:
        return DELIVER
    if effect != "retry":
        return Step("another")
    pause = min(PAUSE_MAX_S, base_ms / 1000.0 * 2.0 ** (efforts.attempts - 1))
    if verdict.name == "overloaded":
        pause = max(1.0, pause)
    pause *= rng.uniform(0.75, 1.25)
    return Step("again" if efforts.same <= SAME_KEY_TRIES else "another", pause)
