"""What `kmi keys check` learns, applied to what kmi knows (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.model import KeyState
from kmi.transitions import (
    apply_answer,
    apply_balance,
    apply_success,
    apply_usage,
    apply_usage_failure,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from kmi.api import Answer


def apply_check(
    states: Mapping[str, KeyState],
    key_id: str,
    answer: Answer,
    *,
    now: float,
    sent_at: float,
    rng: random.Random,
    cooldown_s: float,
    payment_block_s: float,
) -> dict[str, KeyState]:
    """The states after one key was checked; keys of the same account may change with it.

    Args:
        states: by key id.
        key_id: the key that was checked.
        answer: what the upstream said.
        now: seconds since the epoch.
        sent_at: when it was asked.
        rng: for jitter.
        cooldown_s: `KMI_ROTATION_COOLDOWN_SECONDS`.
        payment_block_s: `KMI_PAYMENT_BLOCK_SECONDS`.
    """
    after = dict(states)
    state = after.get(key_id, KeyState())
    if answer.reading is not None:
        state = apply_usage(state, answer.reading, now)
    elif answer.balance is not None:
        state = apply_balance(
            state, answer.balance, now=now, rng=rng, payment_block_s=payment_block_s
        )
    elif answer.error:
        state = apply_usage_failure(
            state,
            answer.error,
            answer.verdict,
            now=now,
            rng=rng,
            payment_block_s=payment_block_s,
            retry_after_s=answer.retry_after_s,
        )
    after[key_id] = state
    if answer.chat_verdict is not None:
        after.update(
            apply_answer(
                after,
                key_id,
                answer.chat_verdict,
                now=now,
                rng=rng,
                cooldown_s=cooldown_s,
                payment_block_s=payment_block_s,
                retry_after_s=answer.chat_retry_after_s,
            )
        )
    elif answer.chatted:
        after[key_id] = apply_success(state, now, sent_at=sent_at)
    return after
