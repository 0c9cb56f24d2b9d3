"""Choosing under the lock, and running a key's own program outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, TypeVar

from kmi.errors import ConfigError, KmiError, RefusedError, TryLaterError
from kmi.secrets_source import resolve_secret
from kmi.selection import choose
from kmi.swap import live_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.binding import Binding
    from kmi.model import ApiKey, Decision
    from kmi.state import State
    from kmi.store import Transaction

Result = TypeVar("Result")


def decide(
    app: App,
    state: State,
    client: str,
    *,
    named: str | None = None,
    strategy: str | None = None,
    unavailable: dict[str, str] | None = None,
    rotate: bool = False,
    binding: Binding | None = None,
) -> Decision:
    """Pick a key by a state.

    Raises:
        RefusedError: the named key is not one of a strict binding.
        ConfigError: no key of a strict binding is there at all.
        TryLaterError: every key is out.
        KmiError: the named key can't be used at all.
    """
    keys = app.known(state)
    changes = {} if strategy is None else {"strategy": strategy}
    decision = choose(
        keys,
        app.store.with_last_runs(state),
        app.policy(binding, named=named, unavailable=unavailable or {}, **changes),
        now=app.now(),
        active=active_id(app, state, client, keys),
        rotate=rotate,
    )
    if decision.key is None:
        if binding is not None and binding.strict:
            raise strict_error(app, binding, decision, named)
        if named is not None:
            raise KmiError(decision.reason, "see `kmi why`", code="not-usable")
        raise out_of_keys(app, decision.reason, decision.rejected, decision.back_at)
    return decision


def out_of_keys(
    app: App, reason: str, why_not: Mapping[str, str], back_at: float | None
) -> KmiError:
    """The error when no key can be used: which is out, why, and until when.

    In the person's language, for only here its parts are known.
    """
    words = app.words
    reason = words.sentence(reason)
    out = [(label, words.sentence(why)) for label, why in list(why_not.items())[:5]]
    details = "; ".join(f"{label}: {why}" for label, why in out)
    more = words("run.and-more", count=len(why_not) - 5) if len(why_not) > 5 else ""
    if back_at is None:
        fix = words("run.reset-hint")
        return TryLaterError(f"{reason}: {details}{more}", fix, code="no-key")
    span = words.span(back_at - app.now())
    back = words("run.first-back", span=span, time=app.show_time(back_at))
    return TryLaterError(f"{reason}: {details}{more}", back, code="all-out")


def strict_error(app: App, binding: Binding, decision: Decision, named: str | None) -> KmiError:
    """Why a strict binding leaves no key, and how to go on: never with another key."""
    path, labels = binding.path, ", ".join(binding.keys)
    change = f"change {path} and `kmi allow` it"
    if named is not None and named not in binding.keys:
        return RefusedError(
            f"{named!r} is not allowed by {path}, which is strict",
            f"it allows {labels}: name one of them, or {change}",
            code="not-allowed",
        )
    if named is not None:
        return KmiError(decision.reason, "see `kmi why`", code="not-usable")
    out = {label: decision.rejected[label] for label in binding.keys if label in decision.rejected}
    if not out:
        return ConfigError(
            f"{path} is strict and allows only {labels}, and there is no such key",
            f"`kmi keys add {binding.keys[0]}`, or {change}",
            code="no-allowed-key",
        )
    reason = f"{path} is strict and allows only {labels}, and none of them can be used now"
    error = out_of_keys(app, reason, out, decision.back_at)
    error.fix = app.words.sentence(f"{error.fix}; or {change}")
    return error


def active_id(app: App, state: State, client: str, keys: tuple[ApiKey, ...]) -> str | None:
    """The active key: what kmi swapped in last, else what the config holds, else the last run's."""
    active = state.active.get(client)
    if active is not None:
        return active.key_id
    live = live_key(app.read_config(client), keys)
    if live is not None:
        return live.key_id
    # Runs beside the config (an OAuth login) swap nothing in; the last one's key is kept.
    used = app.store.last_runs()
    recent = [key.key_id for key in keys if key.key_id in used]
    return max(recent, key=lambda key_id: used[key_id], default=None)


def pick_and_commit(
    app: App,
    pick: Callable[[State, dict[str, str]], Decision],
    commit: Callable[[Transaction, Decision, ApiKey], Result],
    *,
    named: str | None,
) -> tuple[Result, Decision, ApiKey]:
    """Pick under the lock and commit, with the secret at hand.

    A key whose secret a program gives is resolved outside of the lock, for the program may wait for
    a person; then the choice is made anew. A key whose program fails is left out, unless it was
    named.

    Args:
        app: the world.
        pick: state and ``{label: why it can't be had}`` to a decision with a key.
        commit: what to do with the key while the lock is held.
        named: the label that was asked for.
    """
    resolved: dict[str, ApiKey] = {}
    unavailable: dict[str, str] = {}
    while True:
        with app.store.transaction() as transaction:
            decision = pick(transaction.state, unavailable)
            picked = decision.key
            assert picked is not None  # noqa: S101 - pick() raises otherwise
            key = resolved.get(picked.label, picked)
            if key.secret is not None:
                if key.key_id != picked.key_id:
                    app.learn_key_id(transaction.state, picked, key)
                return commit(transaction, decision, key), decision, key
        try:
            resolved[picked.label] = resolve_secret(picked, app.env)
        except KmiError as error:
            if named is not None:
                raise
            app.screen.warn(app.words.sentence(f"{error.message}; another key is used"))
            unavailable[picked.label] = "its api_key_command failed"
