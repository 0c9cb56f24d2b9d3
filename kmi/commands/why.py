"""`kmi why`: which key a run would get now, and why each key would or would not be picked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK
from kmi.health import left, status_of
from kmi.project_words import binding_document, binding_lines
from kmi.selection import choose
from kmi.settings import CLIENTS, STRATEGIES
from kmi.situation import look
from kmi.timezones import utc_text

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--strategy", choices=STRATEGIES, help="as if this were the strategy")
    parser.add_argument("--client", choices=CLIENTS, help="whose active key counts")
    parser.add_argument("--rotate", action="store_true", help="explain `kmi rotate` instead")


def run(args: argparse.Namespace, app: App) -> int:
    """Explain the decision; nothing is changed."""
    app.require_keys()
    situation = look(app, app.client(args.client))
    states = app.store.with_last_runs(situation.state)
    project = None if args.rotate else app.project
    policy = app.policy(None if project is None else project.binding)
    if project is not None and project.closed:
        policy = policy._replace(allowed=frozenset(), bound_by=project.closed_by)
    strategy = args.strategy or app.strategy(situation.state)
    policy = policy._replace(strategy=strategy)
    active = situation.state.active.get(situation.client)
    now = app.now()
    decision = choose(
        situation.keys,
        states,
        policy,
        now=now,
        active=situation.key_id or (None if active is None else active.key_id),
        rotate=args.rotate,
    )
    if project is not None and project.closed:
        reason = f"{project.closed_by} {project.closed}"
        decision = decision._replace(reason=reason, code="binding-closed")
    rows: list[dict[str, Any]] = []
    for key in situation.keys:
        state = situation.state.key(key.key_id)
        status = status_of(key, state, now)
        picked = decision.key is not None and key.label == decision.key.label
        share = left(state, now)
        rows.append(
            {
                "label": key.label,
                "key_id": key.key_id,
                "picked": picked,
                "status": status.name,
                "left": share,
                "why": decision.reason if picked else decision.rejected.get(key.label, ""),
            }
        )
    strategy = "rotate" if args.rotate else policy.strategy
    if app.screen.json:
        app.screen.document(
            {
                "client": situation.client,
                "strategy": strategy,
                "picked": None if decision.key is None else decision.key.label,
                "code": decision.code,
                "reason": decision.reason,
                "back_at": None if decision.back_at is None else utc_text(decision.back_at),
                **binding_document(app, project),
                "keys": rows,
            }
        )
        return EXIT_OK
    _print(app, strategy, decision.reason, decision.back_at, rows)
    notes = binding_lines(app, project)
    if notes:
        app.screen.data()
    for line in notes:
        app.screen.data(line)
    return EXIT_OK


def _print(
    app: App, strategy: str, reason: str, back_at: float | None, rows: list[dict[str, Any]]
) -> None:
    screen, words = app.screen, app.words
    why = words.sentence(reason)
    picked = next((row["label"] for row in rows if row["picked"]), None)
    if picked is not None:
        screen.data(words("why.picked", label=picked, why=why, strategy=strategy))
    elif back_at is None:
        screen.data(words("why.none", why=why))
    else:
        screen.data(words("why.none-until", why=why, time=app.show_time(back_at)))
    screen.data()
    table = [
        [
            "*" if row["picked"] else " ",
            row["label"],
            words.status(row["status"]),
            "?" if row["left"] is None else f"{row['left']:.0%}",
            words.sentence(row["why"]),
        ]
        for row in rows
    ]
    names = ("health.key", "health.status", "status.left", "why.why")
    screen.table(table, header=["", *(words(name) for name in names)])
