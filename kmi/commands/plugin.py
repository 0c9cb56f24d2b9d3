"""`kmi plugin install|uninstall|status`: kmi's hooks and status line in the clients."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Any

from kmi import shell_files
from kmi.client_args import CODE
from kmi.errors import EXIT_OK
from kmi.masking import mask_lines
from kmi.plugin import record as plugin_record
from kmi.plugin.install import Done, clients_to_install, perform, place, plan
from kmi.plugin.plan import gone, inspect, program_of
from kmi.settings import CLIENTS
from kmi.shells import own_command

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.plugin.files import Change


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, about in (
        ("install", "let the clients tell kmi which session began, and which failed"),
        ("uninstall", "take all of that out again"),
        ("status", "what is installed where"),
    ):
        action = actions.add_parser(name, help=about)
        action.add_argument("--client", choices=CLIENTS, help="only for this client")
        if name != "status":
            action.add_argument(
                "--dry-run", action="store_true", help="show what would be written, and stop"
            )
    parser.set_defaults(dry_run=False)


def run(args: argparse.Namespace, app: App) -> int:
    """Dispatch to the action."""
    app.command = f"plugin {args.action}"
    app.changes = args.action != "status"
    app.use_dry_run(args.dry_run)
    if args.action == "status":
        return _status(args, app)
    return _change(args, app, install=args.action == "install")


def _command() -> list[str]:
    return own_command(sys.argv[0], sys.executable)


def _change(args: argparse.Namespace, app: App, *, install: bool) -> int:
    named = app.wanted_client(args.client)
    clients = clients_to_install(app, args.client) if install else [named] if named else CLIENTS
    places = [place(app, client, _command()) for client in clients]
    planned = [plan(app, where, install=install) for where in places]
    _tell_plan(app, planned)
    if app.dry_run:
        lines = [line for done in planned for change in done.changed for line in _diff(change)]
        app.screen.planned(lines, clients=[_document(done) for done in planned])
        return EXIT_OK
    with app.store.transaction() as transaction:
        # Once more: another kmi may have been here since.
        planned = [plan(app, where, install=install) for where in places]
        for done in planned:
            perform(app, done, install=install)
        if install and CODE in clients:
            state = transaction.state
            shell_files.write_status_line(app, state, app.known(state), create=True)
        changed = any(done.changed for done in planned)
        app.audit(
            transaction,
            "changed" if changed else "unchanged",
            client=", ".join(done.place.client for done in planned),
            before={done.place.client: done.before for done in planned},
            after={done.place.client: inspect(done.place).installed for done in planned},
        )
    _tell_end(app, planned, install=install, changed=changed)
    return EXIT_OK


def _tell_plan(app: App, planned: list[Done]) -> None:
    """What is going to be written, before it is."""
    for done in planned:
        for change in done.changed:
            name = "plugin.remove" if change.after is None else "plugin.change"
            name = "plugin.create" if change.file.text is None else name
            app.screen.note(app.words(name, path=change.file.path))


def _tell_end(app: App, planned: list[Done], *, install: bool, changed: bool) -> None:
    screen, words = app.screen, app.words
    if screen.json:
        screen.document({"changed": changed, "clients": [_document(done) for done in planned]})
    elif not changed:
        screen.note(words("plugin.same-in" if install else "plugin.same-out"))
    else:
        names = ", ".join(done.place.client for done in planned if done.changed)
        screen.note(words("plugin.installed" if install else "plugin.uninstalled", names=names))
    if not install:
        return
    for done in planned:
        if inspect(done.place).status_line == "theirs":
            screen.note(words("plugin.status-theirs", path=done.place.paths["status-line"]))
    if not app.settings.auto_rotate_allowed:
        screen.note(words("plugin.only-marks"))


def _diff(change: Change) -> list[str]:
    path = change.file.path
    old, new = (mask_lines((text or "").encode()) for text in (change.file.text, change.after))
    names = (f"{path} (before)", f"{path} (after)")
    return list(difflib.unified_diff(old, new, *names, n=1, lineterm=""))


def _document(done: Done) -> dict[str, Any]:
    files = [
        {
            "path": change.file.path,
            "kind": change.file.kind,
            "change": "none"
            if not change.changes
            else "create"
            if change.file.text is None
            else "remove"
            if change.after is None
            else "change",
        }
        for change in done.changes
    ]
    return {"client": done.place.client, "changed": bool(done.changed), "files": files}


def _status(args: argparse.Namespace, app: App) -> int:
    named = app.wanted_client(args.client)
    recorded = plugin_record.load_record(app.store.directory)
    rows = [_row(app, client, client in recorded) for client in ([named] if named else CLIENTS)]
    if app.screen.json:
        app.screen.document(
            {"auto_rotate_allowed": app.settings.auto_rotate_allowed, "clients": rows}
        )
        return EXIT_OK
    words = app.words
    for row in rows:
        name = "plugin.is-in" if row["installed"] else "plugin.is-out"
        if row["missing"] or row["gone"]:
            name = "plugin.is-partly"
        line = words("plugin.line", client=row["client"], state=words(name))
        app.screen.data(line)
        for path in row["files"]:
            app.screen.data(f"  {path}")
        if row["missing"]:
            app.screen.data("  " + words("plugin.lacks", what=", ".join(row["missing"])))
        if row["gone"]:
            app.screen.data("  " + words("plugin.program-gone", path=row["gone"]))
        if row["installed"] and row["status_line"] == "theirs":
            app.screen.data("  " + words("plugin.status-theirs", path=row["tui"]))
    rotating = "plugin.rotates" if app.settings.auto_rotate_allowed else "plugin.only-marks"
    if any(row["installed"] for row in rows):
        app.screen.note(words(rotating))
    return EXIT_OK


def _row(app: App, client: str, recorded: bool) -> dict[str, Any]:
    where = place(app, client, _command())
    found = inspect(where)
    program = program_of(found.commands[0]) if found.commands else []
    return {
        "client": client,
        "installed": found.installed,
        "recorded": recorded,
        "missing": list(found.missing),
        "files": [where.paths[kind] for kind in found.parts],
        "command": program,
        "gone": gone(program) or None,
        "status_line": found.status_line or None,
        "tui": where.paths.get("status-line"),
    }
