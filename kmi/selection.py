"""Which key a run gets, why, and why not the others. Pure: no clock, no disk, no randomness.

A key is *usable* when it is enabled, not held (blocked, exhausted or cooling down), allowed by
the project binding, has a base URL that the allowlist admits, and its usage is known where that is
required. A held key that is *half open* may be tried once when nothing else is usable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.health import left, status_of
from kmi.model import Decision, KeyState
from kmi.scores import UNUSED, View, by_age, by_quota, by_reset, by_room
from kmi.timezones import show_span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kmi.model import ApiKey

#: The default of mappings that are never changed.
_NOTHING: Mapping[str, Any] = {}


class Policy(NamedTuple):
    """What besides keys and states decides. Durations are seconds.

    Attributes:
        strategy: one of ``settings.STRATEGIES``.
        named: the label that was asked for (``-k``); it wins over every state.
        allowed: the labels that a strict project binding admits, or None.
        preferred: the labels that the project binding names, in their order; they come before
            every other key, and before the strategy.
        bound_by: where that binding is, for reasons.
        unavailable: ``{label: why}`` for keys that just can't be had (a failing command, a base
            URL that is not allowed).
    """

    strategy: str = "sticky"
    named: str | None = None
    allowed: frozenset[str] | None = None
    preferred: tuple[str, ...] = ()
    bound_by: str = "the project's binding"
    unavailable: Mapping[str, str] = _NOTHING
    rotate_on_tie: bool = True
    include_warn: bool = False
    require_usage: bool = False
    fail_open: bool = True
    usage_max_age_s: float = 600.0


def choose(
    keys: Sequence[ApiKey],
    states: Mapping[str, KeyState],
    policy: Policy,
    *,
    now: float,
    active: str | None = None,
    rotate: bool = False,
) -> Decision:
    """Pick a key.

    Args:
        keys: in their order (descending priority, then label).
        states: by key id; a key without one has never been used.
        policy: the strategy and its switches.
        now: seconds since the epoch.
        active: the key id that was last swapped in.
        rotate: `kmi rotate`: the best key, and the next one where several are best.
    """
    why_not = {}
    usable: list[ApiKey] = []
    for key in keys:
        reason = unusable(key, states.get(key.key_id, UNUSED), policy, now)
        if reason:
            why_not[key.label] = reason
        else:
            usable.append(key)
    view = View(states, policy, now, active)
    if policy.named is not None:
        return _named(policy.named, keys, why_not, view)
    if not usable:
        return _none_usable(keys, why_not, view)
    first = _first_bound(usable, policy)
    if first is not None:
        pick, reason, code = first, f"it is the first usable key of {policy.bound_by}", "bound"
    elif rotate:
        pick, reason, code = _rotate(usable, view)
    else:
        pick, reason, code = STRATEGY[policy.strategy](usable, list(keys), view)
    rejected = dict(why_not)
    for key in usable:
        if key is not pick:
            rejected[key.label] = f"usable, but {_compare(key, pick, code, view)}"
    if first is None and policy.preferred:
        reason = f"no key of {policy.bound_by} can be used; {reason}"
    return Decision(pick, reason, code, rejected)


def unusable(key: ApiKey, state: KeyState, policy: Policy, now: float) -> str:
    """Why a key can't be used now; "" when it can."""
    if policy.allowed is not None and key.label not in policy.allowed:
        return f"not allowed by {policy.bound_by}"
    if key.label in policy.unavailable:
        return policy.unavailable[key.label]
    if key.disabled:
        return f"disabled in {key.source}"
    status = status_of(key, state, now)
    if status.name in {"disabled", "blocked", "exhausted"}:
        return f"{status.name}: {status.reason}" if status.reason else status.name
    if policy.require_usage:
        return _usage_missing(state, policy, now)
    return ""


def _first_bound(usable: Sequence[ApiKey], policy: Policy) -> ApiKey | None:
    """The usable key that stands first in the project's binding."""
    by_label = {key.label: key for key in usable}
    return next((by_label[label] for label in policy.preferred if label in by_label), None)


def _usage_missing(state: KeyState, policy: Policy, now: float) -> str:
    if state.usage_at is None:
        return "" if policy.fail_open else "its usage is not known yet, and that is required"
    if now - state.usage_at > policy.usage_max_age_s:
        return f"its usage was last read {show_span(now - state.usage_at)} ago, which is too old"
    if state.usage_error:
        return f"its usage could not be read: {state.usage_error}"
    return ""


def _named(label: str, keys: Sequence[ApiKey], why_not: Mapping[str, str], view: View) -> Decision:
    rejected = {key.label: f"{label} was named" for key in keys if key.label != label}
    for key in keys:
        if key.label != label:
            continue
        if label in view.policy.unavailable or (
            view.policy.allowed is not None and label not in view.policy.allowed
        ):
            return Decision(None, f"{label} was named, but: {why_not[label]}", "named", rejected)
        doubt = why_not.get(label)
        if not doubt:
            return Decision(key, "it was named", "named", rejected)
        reason = f"it was named, although it is {doubt}"
        if doubt.startswith("its "):
            reason = f"it was named, yet {doubt}"
        return Decision(key, reason, "named-anyway", rejected)
    return Decision(None, f"there is no key {label!r}", "no-such-key", rejected)


def _none_usable(keys: Sequence[ApiKey], why_not: Mapping[str, str], view: View) -> Decision:
    if not keys:
        return Decision(None, "there are no keys", "no-keys", {})
    holds = []
    for key in keys:
        hold = view.state(key).hold
        others = unusable(key, _without_hold(view.state(key)), view.policy, view.now)
        if hold is None or others:
            continue
        holds.append((hold, key))
    probes = [(hold.probe_at or 0.0, key) for hold, key in holds if hold.half_open(view.now)]
    if probes:
        pick = min(probes, key=lambda pair: (pair[0], pair[1].label))[1]
        rejected = {label: why for label, why in why_not.items() if label != pick.label}
        reason = "every key is out; it may be back, and is tried once"
        return Decision(pick, reason, "probe", rejected)
    returns = [hold.until for hold, _ in holds if hold.until is not None]
    reason = "no key can be used now"
    return Decision(None, reason, "all-out", dict(why_not), min(returns) if returns else None)


def _without_hold(state: KeyState) -> KeyState:
    import dataclasses

    return dataclasses.replace(state, hold=None)


# A strategy takes the usable keys, all keys in their order and the view, and gives the pick, the
# reason, and a stable word for it.
_Pick = tuple["ApiKey", str, str]


def _sticky(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    for key in usable:
        if key.key_id == view.active:
            return key, "it is the active key, and still usable", "active"
    pick, reason, code = _most_remaining(usable, order, view)
    if view.active is not None and any(key.key_id == view.active for key in order):
        reason = f"the active key can't be used; {reason}"
    return pick, reason, code


def _most_remaining(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    pick = min(usable, key=lambda key: by_quota(key, view))
    if len(usable) == 1:
        return pick, "it is the only usable key", "only"
    known = left(view.state(pick), view.now)
    share = "its quota is not known" if known is None else f"{known:.0%} of its quota is left"
    return pick, f"it is the best by status and quota ({share})", "best"


def _round_robin(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    pick = _next(_preferred(usable, view), order, view.active)
    return pick, "it is the next usable key in order", "next"


def _least_recently_used(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    pick = min(usable, key=lambda key: by_age(key, view))
    return pick, f"it was used least recently ({_ago(pick, view)})", "least-recent"


def _ago(key: ApiKey, view: View) -> str:
    used = view.last_used(key)
    return f"{show_span(view.now - used)} ago" if used else "never"


def _soonest_reset(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    pick = min(usable, key=lambda key: by_reset(key, view))
    at = view.soonest_reset(pick)
    if at is None:
        _, reason, _ = _most_remaining(usable, order, view)
        return pick, f"no reset is known; {reason}", "best"
    return pick, f"its unused quota is lost first, in {show_span(at - view.now)}", "soonest-reset"


def _spread(usable: Sequence[ApiKey], order: Sequence[ApiKey], view: View) -> _Pick:
    pick = min(usable, key=lambda key: by_room(key, view))
    ago = _ago(pick, view)
    if any(view.crowded(pick)):
        return pick, f"no key has much room, and it was used least recently ({ago})", "spread"
    return pick, f"of the keys with room it was used least recently ({ago})", "spread"


def _rotate(usable: Sequence[ApiKey], view: View) -> _Pick:
    """`kmi rotate`: most-remaining; where several keys are equally good, the next of them."""
    best = min(view.merit(key) for key in usable)
    ties = [key for key in usable if view.merit(key) == best]
    current = next((key for key in ties if key.key_id == view.active), None)
    if current is None:
        return _most_remaining(usable, usable, view)
    if len(ties) == 1:
        only = "the only usable key" if len(usable) == 1 else "already the best key"
        return current, f"it is {only}", "stays"
    if not view.policy.rotate_on_tie:
        return current, "it ties for best, and KMI_ROTATE_ON_TIE=0 keeps it", "stays"
    return _next(ties, usable, view.active), f"{len(ties)} keys tie for best; it is next", "tie"


def _preferred(usable: Sequence[ApiKey], view: View) -> list[ApiKey]:
    """The usable keys without those with status warn, unless there are only such."""
    best = min(view.rank(key) for key in usable)
    return [key for key in usable if view.rank(key) == best]


def in_turn(
    keys: Sequence[ApiKey], states: Mapping[str, KeyState], policy: Policy, *, now: float
) -> list[ApiKey]:
    """The keys that the round robin goes through at a moment."""
    usable = [k for k in keys if not unusable(k, states.get(k.key_id, UNUSED), policy, now)]
    return _preferred(usable, View(states, policy, now, None)) if usable else []


def _next(candidates: Sequence[ApiKey], order: Sequence[ApiKey], active: str | None) -> ApiKey:
    """The first candidate after the active key, in order, going round."""
    place = {key.key_id: number for number, key in enumerate(order)}
    start = place.get(active, -1) + 1 if active else 0
    return min(candidates, key=lambda key: (place[key.key_id] - start) % len(place))


def _compare(key: ApiKey, pick: ApiKey, code: str, view: View) -> str:
    """Why a usable key was not the pick."""
    if code == "bound":
        return f"{pick.label} comes first in {view.policy.bound_by}"
    if code == "active":
        return f"{pick.label} is active (sticky)"
    if code in {"next", "tie"}:
        return f"{pick.label} is next in order"
    if code == "spread":
        roomier = view.crowded(key) > view.crowded(pick)
        return f"{pick.label} has more room" if roomier else _older(key, pick, view)
    if view.rank(key) > view.rank(pick):
        return f"it has status warn, and {pick.label} has not"
    if code == "least-recent":
        return f"{pick.label} was used longer ago"
    if code == "soonest-reset":
        return f"{pick.label} resets earlier"
    if view.left(key) < view.left(pick):
        return f"{pick.label} has more quota left"
    if view.merit(key) > view.merit(pick):
        return f"{pick.label} has fewer errors"
    if key.priority < pick.priority:
        return f"{pick.label} has a higher priority"
    return _older(key, pick, view)


def _older(key: ApiKey, pick: ApiKey, view: View) -> str:
    if view.last_used(key) > view.last_used(pick):
        return f"{pick.label} was used longer ago"
    return f"{pick.label} comes first"


STRATEGY: Mapping[str, Callable[[Sequence[ApiKey], Sequence[ApiKey], View], _Pick]] = {
    "sticky": _sticky,
    "most-remaining": _most_remaining,
    "round-robin": _round_robin,
    "least-recently-used": _least_recently_used,
    "soonest-reset": _soonest_reset,
    "spread": _spread,
}
