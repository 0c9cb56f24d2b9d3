"""`kmi config show|validate|path|migrate`: the settings and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_CONFIG, EXIT_OK
from kmi.settings import CLIENTS, TABLE, Settings

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("show", help="every setting with its value and its origin")
    actions.add_parser("validate", help="check settings, keys, state, bindings and client configs")
    actions.add_parser("path", help="where each file is")
    migrate = actions.add_parser(
        "migrate", help="bring kmi's files to today's form, also those of kmi-manager-cli"
    )
    migrate.add_argument(
        "--from",
        dest="folder",
        metavar="DIR",
        help="where kmi-manager-cli was started, or kept its files",
    )
    migrate.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    migrate.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace, app: App) -> int:
    """Dispatch to the action."""
    app.changes = args.action == "migrate"
    if app.changes:
        from kmi.commands import config_migrate

        return config_migrate.run(args, app)
    return {"show": _show, "validate": _validate, "path": _path}[args.action](app)


def shown_value(value: Any, *, secret: bool = False) -> str:
    """A setting's value as it would be written in an env file."""
    if value is None or value == "":
        return ""
    if secret:
        return "(set)"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        return f"{value[0]}:{value[1]}"
    if isinstance(value, tuple) and not hasattr(value, "netloc"):
        return ",".join(map(str, value))
    return str(value)


def _show(app: App) -> int:
    settings = app.settings
    rows = [
        {
            "name": row.name,
            "value": shown_value(getattr(settings, row.attribute), secret=row.secret),
            "origin": settings.origin(row.name),
            "meaning": row.doc,
        }
        for row in TABLE
    ]
    if app.screen.json:
        app.screen.document({"settings": rows})
    else:
        table = [[row["name"], row["value"] or "-", row["origin"]] for row in rows]
        app.screen.table(table, header=["setting", "value", "from"])
    return EXIT_OK


def _path(app: App) -> int:
    paths = _paths(app, app.settings)
    if app.screen.json:
        app.screen.document({"paths": paths})
    else:
        app.screen.table([[name, path] for name, path in paths.items()])
    return EXIT_OK


def _paths(app: App, settings: Settings) -> dict[str, str]:
    from kmi.paths import client_config

    return {
        "auths": settings.auths_dir,
        "env": settings.env_path,
        "state": settings.state_dir,
        **{client: client_config(client, app.env) for client in CLIENTS},
    }


def _validate(app: App) -> int:
    """What is wrong, one line each; nothing is changed."""
    from kmi.checks.finding import ERROR, OK, document, ordered, worst
    from kmi.checks.site import Site
    from kmi.doctor_text import where_and_what
    from kmi.validation import validate

    screen = app.screen
    site = Site(app.env, app.now(), english=screen.plain or screen.json)
    screen.redactor.hide(site.secrets)
    words = site.words
    if site.settings.dry_run:
        screen.warn(words("mode.dry-run"))
    found = ordered(validate(site))
    if screen.json:
        screen.document(document(found))
        return EXIT_CONFIG if worst(found) == ERROR else EXIT_OK
    for finding in found:
        if finding.severity == OK and not screen.verbose:
            continue
        name = "doctor.error" if finding.severity == ERROR else "mode.warning"
        kind = OK if finding.severity == OK else words(name)
        cure = f" ({finding.cure})" if finding.cure else ""
        screen.data(f"{kind}: {where_and_what(words, finding)}{cure}")
    if worst(found) != ERROR:
        screen.data(words("doctor.all-valid" if worst(found) == OK else "doctor.valid"))
        return EXIT_OK
    return EXIT_CONFIG
