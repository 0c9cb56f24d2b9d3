"""`kmi keys check`: ask upstream whether keys work, and remember what it said."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from kmi.checking import apply_check
from kmi.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNAVAILABLE, KmiError
from kmi.health import left, status_of
from kmi.secrets_source import resolve_secret

if TYPE_CHECKING:
    import argparse

    from kmi.api import Answer
    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.state import State


def check(args: argparse.Namespace, app: App) -> int:
    """Ask about all keys at once: the quota, and with ``--chat`` one tiny request.

    Returns:
        0 when every key works, 1 when one does not, 69 when the upstream could not be reached.
    """
    app.require_keys()
    asked = [app.require_key(label) for label in args.labels] or list(app.keyring.keys)
    if app.dry_run:
        app.screen.note(f"would ask about {', '.join(key.label for key in asked)}")
        app.screen.planned(labels=[key.label for key in asked])
        return EXIT_OK
    keys, failed = _with_secrets(app, asked)
    sent_at = app.now()
    answers = _ask(app, keys, chat=args.chat)
    now = app.now()
    with app.store.transaction() as transaction:
        state = transaction.state
        before = {key.label: status_of(key, state.key(key.key_id), now).name for key in keys}
        for asked_key, key in zip((k for k in asked if k.label not in failed), keys):
            known = next(k for k in app.known(state) if k.label == key.label)
            if asked_key.command is not None and known.key_id != key.key_id:
                app.learn_key_id(state, known, key)
            state.keys = apply_check(
                state.keys,
                key.key_id,
                answers[key.key_id],
                now=now,
                sent_at=sent_at,
                rng=random.Random(),  # noqa: S311 - jitter is no secret
                cooldown_s=app.settings.rotation_cooldown_s,
                payment_block_s=app.settings.payment_block_s,
            )
        _name_keys(state, keys)
        transaction.save()
        after = {key.label: status_of(key, state.key(key.key_id), now).name for key in keys}
        outcome = "changed" if before != after else "unchanged"
        app.audit(transaction, outcome, before=before, after=after, chat=args.chat)
    rows = [_row(key, state, answers[key.key_id], now) for key in keys]
    rows += [
        {"label": label, "works": False, "status": "unknown", "left": None, "said": why}
        for label, why in failed.items()
    ]
    _print(app, rows)
    reached = any(answer.status or answer.chat_status for answer in answers.values())
    if keys and not reached:
        return EXIT_UNAVAILABLE
    return EXIT_OK if all(row["works"] for row in rows) else EXIT_FAILURE


def _with_secrets(app: App, asked: list[ApiKey]) -> tuple[list[ApiKey], dict[str, str]]:
    """The keys with their secrets, and why some have none."""
    keys, failed = [], {}
    for key in asked:
        try:
            keys.append(resolve_secret(key, app.env))
        except KmiError as error:
            app.screen.warn(error.message)
            failed[key.label] = "its api_key_command failed"
    return keys, failed


def _ask(app: App, keys: list[ApiKey], *, chat: bool) -> dict[str, Answer]:
    from kmi.api import check_keys

    return check_keys(
        keys,
        chat=chat,
        env=app.env,
        extra=app.patterns(),
        on_progress=lambda label, done, total: app.screen.progress(done, total, "asking"),
    )


def _name_keys(state: State, keys: list[ApiKey]) -> None:
    import dataclasses

    for key in keys:
        if key.key_id in state.keys:
            known = state.keys[key.key_id]
            state.keys[key.key_id] = dataclasses.replace(known, label=key.label)


def _row(key: ApiKey, state: State, answer: Answer, now: float) -> dict[str, Any]:
    known = state.key(key.key_id)
    status = status_of(key, known, now)
    said = answer.chat_error or answer.error
    if not said:
        said = "chat works" if answer.chat_status == 200 else "the quota was read"
    return {
        "label": key.label,
        "key_id": key.key_id,
        "works": not (answer.error or answer.chat_error)
        and status.name not in {"blocked", "exhausted"},
        "status": status.name,
        "reason": status.reason,
        "left": left(known, now),
        "said": said,
    }


def _print(app: App, rows: list[dict[str, Any]]) -> None:
    if app.screen.json:
        app.screen.document({"keys": rows})
        return
    table = [
        [
            row["label"],
            row["status"],
            "?" if row["left"] is None else f"{row['left']:.0%}",
            row["said"],
        ]
        for row in rows
    ]
    app.screen.table(table, header=["key", "status", "left", "upstream said"])
