"""Asking upstream about keys, and remembering what it said.

For `kmi health`, `kmi keys check` and the background of `kmi run`. What came of it is in the
state: the cache that all processes share. When to ask is in `polling`, how in `api`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import KmiError
from kmi.health import status_of
from kmi.polling import FLOOR_S, due
from kmi.secrets_source import resolve_secret
from kmi.selection import unusable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.api import Answer
    from kmi.app import App
    from kmi.binding import Binding
    from kmi.model import ApiKey
    from kmi.state import State


class Refreshed(NamedTuple):
    """What came of asking.

    Attributes:
        keys: those that were asked about, with their secrets.
        answers: by key id.
        failed: ``{label: why it could not be asked about}``.
        state: as it was saved.
    """

    keys: list[ApiKey]
    answers: Mapping[str, Answer]
    failed: Mapping[str, str]
    state: State

    @property
    def reached(self) -> bool:
        """Whether anything was answered at all."""
        return any(answer.status or answer.chat_status for answer in self.answers.values())


def refresh(
    app: App,
    wanted: Sequence[ApiKey],
    *,
    chat: bool = False,
    programs: bool = True,
    audit: str = "changes",
) -> Refreshed:
    """Ask about keys, all at once, and remember the answers.

    Args:
        app: the world.
        wanted: which keys.
        chat: also one tiny request with each.
        programs: run the programs that give secrets; they may ask the person.
        audit: when a record is written: "changes" (the status of a key became another one),
            "always" (to ask is this command's job), "later" (into the one record that the command
            writes of something else, `App.learnt`), or "never" (the caller writes one).
    """
    from kmi.api import check_keys

    asked, failed = _with_secrets(app, wanted, programs=programs)
    sent_at = app.now()
    answers = check_keys(
        [key for _, key in asked],
        chat=chat,
        env=app.env,
        extra=app.patterns(),
        on_progress=lambda label, done, total: app.screen.progress(
            done, total, app.words("mode.asking")
        ),
    )
    keys = [key for _, key in asked]
    with app.store.transaction() as transaction:
        before = _statuses(app, transaction.state, keys)
        _learn(app, transaction.state, asked, answers, sent_at)
        transaction.save()
        after = _statuses(app, transaction.state, keys)
        changed = {label for label in after if before[label] != after[label]}
        if audit == "later":
            app.learnt.update({label: [before[label], after[label]] for label in sorted(changed)})
        if audit == "always" or (changed and audit == "changes"):
            named = set(after) if audit == "always" else changed
            app.audit(
                transaction,
                "changed" if changed else "unchanged",
                before={label: before[label] for label in sorted(named)},
                after={label: after[label] for label in sorted(named)},
                chat=chat,
            )
        return Refreshed(keys, answers, failed, transaction.state)


def _with_secrets(
    app: App, wanted: Sequence[ApiKey], *, programs: bool
) -> tuple[list[tuple[ApiKey, ApiKey]], dict[str, str]]:
    """Keys as they were named and as they are with their secrets, and why some have none."""
    found, failed = [], {}
    barred = app.policy().unavailable
    for key in wanted:
        if key.label in barred:
            why = f"{key.label!r} is not asked about: {barred[key.label]}"
            app.screen.warn(app.words.sentence(why))
            failed[key.label] = barred[key.label]
        elif key.secret is not None or programs:
            try:
                found.append((key, resolve_secret(key, app.env)))
            except KmiError as error:
                app.screen.warn(app.words.sentence(error.message))
                failed[key.label] = "its api_key_command failed"
    return found, failed


def _learn(
    app: App,
    state: State,
    asked: Sequence[tuple[ApiKey, ApiKey]],
    answers: Mapping[str, Answer],
    sent_at: float,
) -> None:
    import random

    from kmi.checking import apply_check

    for named, key in asked:
        known = next((k for k in app.known(state) if k.label == key.label), None)
        if named.command is not None and known is not None and known.key_id != key.key_id:
            app.learn_key_id(state, known, key)
        state.keys = apply_check(
            state.keys,
            key.key_id,
            answers[key.key_id],
            now=app.now(),
            sent_at=sent_at,
            rng=random.Random(),  # noqa: S311 - jitter is no secret
            cooldown_s=app.settings.rotation_cooldown_s,
            payment_block_s=app.settings.payment_block_s,
        )
        if key.key_id in state.keys:
            state.keys[key.key_id] = dataclasses.replace(state.keys[key.key_id], label=key.label)


def _statuses(app: App, state: State, keys: Sequence[ApiKey]) -> dict[str, str]:
    now = app.now()
    return {key.label: status_of(key, state.key(key.key_id), now).name for key in keys}


def ensure_usage(app: App, binding: Binding | None) -> None:
    """With `KMI_REQUIRE_USAGE_BEFORE_REQUEST=1`: ask first, when no key can be used without.

    This is the one place where a start waits, for as long as `api.check_keys` may take.
    """
    if not app.settings.require_usage or app.dry_run:
        return
    state, now = app.store.read(), app.now()
    strict = app.policy(binding)
    lax = app.policy(binding, require_usage=False)
    missing = []
    for key in app.known(state):
        known = state.key(key.key_id)
        if not unusable(key, known, strict, now):
            return
        if not unusable(key, known, lax, now):
            missing.append(key)
    pace = app.pace._replace(cache_s=app.pace.cache_s or FLOOR_S)
    wanted = due(missing, state.keys, pace, now)
    if wanted:
        app.screen.note(app.words("run.asking-first", count=len(wanted)))
        refresh(app, wanted, audit="later")
