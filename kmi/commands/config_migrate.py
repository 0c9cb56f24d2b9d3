"""`kmi config migrate`: everything in today's form, also what kmi-manager-cli left behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK, EXIT_REFUSED, RefusedError
from kmi.migrating import Plan, perform, plan, shown
from kmi.state import SCHEMA

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.migrating import Done
    from kmi.old_settings import Left


def run(args: argparse.Namespace, app: App) -> int:
    """Show what would be done; do it when the person agrees."""
    app.command = "config migrate"
    app.use_dry_run(args.dry_run)
    screen, words = app.screen, app.words
    planned = plan(app, args.folder)
    if planned.empty:
        _tell_left(app, planned)
        screen.note(words("migrate.nothing", schema=SCHEMA))
        _document(app, planned, None)
        return EXIT_OK
    _tell(app, planned)
    if app.dry_run:
        screen.note(words("migrate.dry-run"))
        _document(app, planned, None)
        return EXIT_OK
    if not args.yes and not _agreed(app):
        from kmi.auditing import audit_denied

        _document(app, planned, None)
        audit_denied(app, RefusedError("nobody agreed", code="not-agreed"))
        return EXIT_REFUSED
    with app.store.transaction() as transaction:
        done = perform(app, planned, transaction)
    for path, copy in done.copies.items():
        screen.note(words("migrate.kept", path=path, copy=copy))
    counts = {"keys": len(done.keys), "settings": len(done.settings), "states": len(done.labels)}
    screen.note(words("migrate.done", **counts))
    _document(app, planned, done)
    return EXIT_OK


def _agreed(app: App) -> bool:
    screen, words = app.screen, app.words
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        screen.error(words("migrate.not-asked"), None)
        return False
    if screen.ask(words("migrate.go-on")):
        return True
    screen.error(words("migrate.declined"), None)
    return False


def _tell(app: App, planned: Plan) -> None:
    """The plan, and what a person should know of it."""
    screen, words, old = app.screen, app.words, planned.old
    if not screen.json:
        screen.data(words("migrate.plan"))
        for line in _steps(app, planned):
            _item(app, line)
    _tell_left(app, planned)
    if old.settings.taken:
        screen.note(words("migrate.environment-wins"))
    if old.settings.taken.get("KMI_DRY_RUN"):
        screen.note(words("migrate.dry"))
    elif any(old.places) and not old.live:
        screen.note(words("migrate.live", path=app.settings.env_path))
    if old.rotating:
        screen.note(words("migrate.rotating"))
    if any(old.places):
        screen.note(words("migrate.stays"))
    screen.flush()


def _steps(app: App, planned: Plan) -> list[str]:
    """One line for each thing that is done."""
    words, old, path = app.words, planned.old, app.store.state_file
    steps = []
    if planned.older:
        steps.append(words("migrate.own", path=path, before=planned.schema, after=SCHEMA))
    for file in old.keys:
        labels = ", ".join(file.labels)
        steps.append(words("migrate.key", source=file.source, target=file.target, labels=labels))
    if planned.aside:
        steps.append(words("migrate.aside", labels=", ".join(planned.aside)))
    if planned.labels:
        labels = ", ".join(planned.labels)
        steps.append(words("migrate.state", path=old.places.state, labels=labels))
    for name, text in shown(old.settings.taken, words("migrate.not-secret")).items():
        line, env_file = f"{name}={text}", app.settings.env_path
        steps.append(words("migrate.setting", line=line, path=env_file))
    return steps


def _item(app: App, text: str) -> None:
    """A point of a list; words are not broken, for many are paths."""
    from kmi.health_text import wrapped
    from kmi.output import safe

    first, *rest = wrapped(safe(text), app.screen.width() - 4, "")
    app.screen.data(f"  - {first}")
    for line in rest:
        app.screen.data(f"    {line}")


def _tell_left(app: App, planned: Plan) -> None:
    if planned.left and not app.screen.json:
        app.screen.data(app.words("migrate.left"))
        for item in planned.left:
            _item(app, f"{item.name}: {_why(app, item)}")


def _why(app: App, item: Left) -> str:
    words = app.words
    values = {name: words.sentence(text) for name, text in item.values.items()}
    if not item.why:
        return values["what"] + (f" ({values['fix']})" if values["fix"] else "")
    if item.why == "migrate.why-safety":
        values["path"] = app.settings.env_path
    return words(item.why, **values)


def _document(app: App, planned: Plan, done: Done | None) -> None:
    """The same for programs; ``done`` tells whether it was done."""
    if not app.screen.json:
        return
    old = planned.old
    settings = shown(old.settings.taken, "(set)")
    document: dict[str, Any] = {
        "dry_run": app.dry_run,
        "changed": done is not None,
        "schema_before": planned.schema,
        "schema_after": SCHEMA,
        "keys": [
            {"source": file.source, "file": file.target, "labels": list(file.labels)}
            for file in old.keys
        ],
        "states": [*planned.aside, *planned.labels],
        "settings": [{"name": name, "value": value} for name, value in settings.items()],
        "env_file": app.settings.env_path,
        "left": [{"name": item.name, "reason": _why(app, item)} for item in planned.left],
        "copies": {} if done is None else done.copies,
    }
    app.screen.document(document)
