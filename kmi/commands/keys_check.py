"""`kmi keys check`: ask upstream whether keys work, and remember what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNAVAILABLE
from kmi.health import left, status_of
from kmi.refresh import refresh

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
    done = refresh(app, asked, chat=args.chat, audit="always")
    now = app.now()
    rows = [_row(key, done.state, done.answers[key.key_id], now) for key in done.keys]
    rows += [_failed(label, why) for label, why in done.failed.items()]
    _print(app, rows)
    if done.keys and not done.reached:
        return EXIT_UNAVAILABLE
    return EXIT_OK if all(row["works"] for row in rows) else EXIT_FAILURE


def _row(key: ApiKey, state: State, answer: Answer, now: float) -> dict[str, Any]:
    known = state.key(key.key_id)
    status = status_of(key, known, now)
    said = answer.chat_error or answer.error or _good_news(answer)
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


def _failed(label: str, why: str) -> dict[str, Any]:
    """The row of a key that could not be asked about: without its secret it has no id."""
    return {
        "label": label,
        "key_id": None,
        "works": False,
        "status": "unknown",
        "reason": None,
        "left": None,
        "said": why,
    }


def _good_news(answer: Answer) -> str:
    if answer.chatted:
        return "chat works"
    if answer.reading is None and answer.balance is not None:
        money = f"{answer.balance.available:.2f} {answer.balance.currency}".rstrip()
        return f"no plan; the balance is {money}"
    return "the quota was read"


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
