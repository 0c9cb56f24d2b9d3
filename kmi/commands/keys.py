"""`kmi keys`: list, add, remove, rename, enable, disable, reset, import and check keys."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK
from kmi.health import status_of
from kmi.model import masked
from kmi.transitions import reset
from kmi.urls import parse_base_url

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kmi.app import App

#: Actions that only look.
LOOKING = {"list"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(action="list")
    actions.add_parser("list", help="every key, its status and its file (the default)")
    add = actions.add_parser("add", help="store a key: asked for without echo, or from stdin")
    add.add_argument("label", metavar="LABEL")
    add.add_argument("--base-url", metavar="URL", help="where this key is valid")
    add.add_argument("--priority", type=int, metavar="N", help="a higher one is preferred on a tie")
    add.add_argument("--email", metavar="ADDRESS", help="whose account it is")
    add.add_argument("--command", metavar="PROGRAM", help="a program that prints the key")
    remove = actions.add_parser("remove", help="remove a key's file; a copy is kept")
    remove.add_argument("label", metavar="LABEL")
    remove.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for name, about in (("enable", "use a key again"), ("disable", "leave a key out")):
        action = actions.add_parser(name, help=about)
        action.add_argument("label", metavar="LABEL")
    rename = actions.add_parser("rename", help="give a key another label")
    rename.add_argument("label", metavar="LABEL")
    rename.add_argument("new_label", metavar="NEW")
    clear = actions.add_parser("reset", help="end cooldown and block")
    clear.add_argument("labels", metavar="LABEL", nargs="*", help="all keys by default")
    take = actions.add_parser("import", help="take the keys that the clients' configs hold")
    take.add_argument("--label", metavar="LABEL", help="its label, when there is one new key")
    check = actions.add_parser("check", help="ask upstream whether keys work")
    check.add_argument("labels", metavar="LABEL", nargs="*", help="all keys by default")
    check.add_argument(
        "--chat", action="store_true", help="also send one tiny chat request with each key"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Dispatch to the action."""
    from kmi.commands import keys_check, keys_files

    app.command = f"keys {args.action}"
    app.changes = args.action not in LOOKING
    actions: dict[str, Callable[[argparse.Namespace, App], int]] = {
        "list": _list,
        "enable": _enable,
        "disable": _disable,
        "reset": _reset,
        "add": keys_files.add,
        "remove": keys_files.remove,
        "rename": keys_files.rename,
        "import": keys_files.import_keys,
        "check": keys_check.check,
    }
    return actions[args.action](args, app)


def _list(args: argparse.Namespace, app: App) -> int:
    state = app.store.read()
    now = app.now()
    active = {item.key_id for item in state.active.values()}
    rows: list[dict[str, Any]] = []
    for key in app.known(state):
        status = status_of(key, state.key(key.key_id), now)
        rows.append(
            {
                "label": key.label,
                "key_id": key.key_id,
                "masked": "by command" if key.secret is None else masked(key.secret),
                "status": status.name,
                "reason": status.reason,
                "active": key.key_id in active,
                "base_url": str(key.base_url),
                "priority": key.priority,
                "email": key.email,
                "max_concurrency": key.max_concurrency,
                "file": key.source,
            }
        )
    if app.screen.json:
        app.screen.document({"directory": app.keyring.directory, "keys": rows})
        return EXIT_OK
    if not rows:
        app.screen.note(f"there is no key in {app.keyring.directory} (`kmi keys add LABEL`)")
        return EXIT_OK
    default = str(app.settings.upstream_base_url)
    table = []
    for row in rows:
        where = "" if row["base_url"] == default else parse_base_url(row["base_url"]).netloc
        mark = "*" if row["active"] else " "
        table.append([mark, row["label"], row["masked"], row["status"], where, row["file"]])
    app.screen.table(table, header=["", "key", "ends in", "status", "host", "file"])
    return EXIT_OK


def _enable(args: argparse.Namespace, app: App) -> int:
    return _set_disabled(app, args.label, disabled=False)


def _disable(args: argparse.Namespace, app: App) -> int:
    return _set_disabled(app, args.label, disabled=True)


def _set_disabled(app: App, label: str, *, disabled: bool) -> int:
    app.require_key(label)
    if app.dry_run:
        app.screen.note(f"would {'disable' if disabled else 'enable'} {label!r}")
        app.screen.planned(label=label, disabled=disabled)
        return EXIT_OK
    with app.store.transaction() as transaction:
        state = transaction.state
        key = next(key for key in app.known(state) if key.label == label)
        before = state.key(key.key_id)
        state.keys[key.key_id] = dataclasses.replace(before, label=label, disabled=disabled)
        transaction.save()
        outcome = "unchanged" if before.disabled == disabled else "changed"
        app.audit(
            transaction,
            outcome,
            label=label,
            key=key.key_id,
            before={"disabled": before.disabled},
            after={"disabled": disabled},
        )
    word = "disabled" if disabled else "enabled"
    app.screen.note(f"{label!r} is {word}")
    if key.disabled and not disabled:
        where = key.source if key.line is None else f"{key.source}:{key.line}"
        app.screen.warn(f"{label!r} is still disabled in its file {where}")
    _document(app, label=label, disabled=disabled)
    return EXIT_OK


def _reset(args: argparse.Namespace, app: App) -> int:
    for label in args.labels:
        app.require_key(label)
    if app.dry_run:
        app.screen.note(f"would clear {', '.join(args.labels) or 'every key'}")
        app.screen.planned(labels=args.labels)
        return EXIT_OK
    with app.store.transaction() as transaction:
        state = transaction.state
        held = {}
        for key in app.known(state):
            known = state.key(key.key_id)
            if (not args.labels or key.label in args.labels) and known.hold is not None:
                held[key.label] = known.hold.verdict
                state.keys[key.key_id] = reset(known)
        transaction.save()
        outcome = "changed" if held else "unchanged"
        app.audit(transaction, outcome, before=held, after=dict.fromkeys(held))
    names = ", ".join(held) or "no key"
    app.screen.note(f"cleared: {names}")
    _document(app, cleared=sorted(held))
    return EXIT_OK


def _document(app: App, **fields: Any) -> None:
    if app.screen.json:
        app.screen.document(fields)
