"""`kmi proxy [start|stop|restart|status]`: the local proxy as a process."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_FAILURE, EXIT_OK, KmiError

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.proxy.instance import Instance

#: How a proxy can have been started, and the words for it.
HOW = {
    "background": "proxy.how-background",
    "foreground": "proxy.how-foreground",
    "service": "proxy.how-service",
    "run": "proxy.how-run",
}
#: What the status shows to people: field, and the words for it.
ROWS = {
    "address": "proxy.row-address",
    "pid": "proxy.row-process",
    "how": "proxy.row-how",
    "started": "proxy.row-started",
    "version": "proxy.row-version",
    "answers": "proxy.row-answers",
    "in_flight": "proxy.row-in-flight",
    "runs": "proxy.row-runs",
    "ends_with_runs": "proxy.row-ends",
    "token": "proxy.row-token",
    "log": "proxy.row-log",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.add_argument("--foreground", action="store_true", help="stay here, and log to stderr")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    start = actions.add_parser("start", help="start it, and return when it answers (the default)")
    # Without defaults of its own: those of the inner parser would win over what came before.
    start.add_argument(
        "--foreground",
        action="store_true",
        default=argparse.SUPPRESS,
        help="stay here, and log to stderr; Ctrl-C ends it",
    )
    start.add_argument(
        "--service",
        action="store_const",
        const="service",
        dest="how",
        default=argparse.SUPPRESS,
        help="with --foreground: a service manager started it",
    )
    # What a start in the background and `kmi run --proxy` say to the process that they start.
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    start.add_argument("--how", choices=tuple(HOW), **hidden)
    start.add_argument("--until-runs-end", action="store_true", **hidden)
    start.add_argument("--report", type=int, metavar="FD", **hidden)
    for name, about in (
        ("stop", "let it finish what it serves, and end it"),
        ("restart", "stop it, and start it with the settings of now"),
    ):
        action = actions.add_parser(name, help=about)
        configure_force(action)
    actions.add_parser("status", help="whether it runs, where, and for which runs")
    parser.set_defaults(
        action="start", force=False, how="foreground", until_runs_end=False, report=None
    )


def configure_force(parser: argparse.ArgumentParser) -> None:
    """Declare ``--force``, also of `kmi proxy-stop` and `kmi proxy-restart`."""
    parser.add_argument(
        "--force", action="store_true", help="kill it, and cut off what it still serves"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Dispatch to the action."""
    app.command = f"proxy {args.action}"
    app.changes = args.action != "status"
    if args.action == "stop":
        return stop(app, force=args.force)
    if args.action == "restart":
        return restart(app, force=args.force)
    if args.action == "status":
        return _status(app)
    return _foreground(args, app) if args.foreground else _start(app)


def _start(app: App) -> int:
    from kmi.proxy.lifecycle import ensure

    if _dry(app):
        return EXIT_OK
    app.require_keys()
    app.store.check()
    started = ensure(app, how="background")
    _record(app, "start", None if started.fresh else started.instance, started.instance)
    _tell(app, started.instance, fresh=started.fresh)
    return EXIT_OK


def _dry(app: App) -> bool:
    if not app.dry_run:
        return False
    from kmi.proxy.ports import check_listen

    check_listen(app.settings)
    address = configured_address(app)
    app.screen.note(app.words("proxy.would-start", address=address))
    app.screen.planned(action="start", address=address)
    return True


def configured_address(app: App) -> str:
    """Where a proxy would serve by the settings."""
    host, port = app.settings.proxy_listen
    return f"http://{host}:{port}{app.settings.proxy_base_path}"


def _tell(app: App, instance: Instance, *, fresh: bool, restarted: bool = False) -> None:
    from kmi.proxy.token import token_origin

    screen, words = app.screen, app.words
    if screen.json:
        screen.document({"changed": fresh, **_document(app, instance)})
        return
    screen.data(instance.base_url)
    fact = "proxy.restarted" if restarted else "proxy.started" if fresh else "proxy.already"
    screen.note(words(fact, pid=instance.pid))
    if not fresh and _is_elsewhere(app, instance):
        screen.note(words("proxy.elsewhere", address=configured_address(app)))
    screen.note(words("proxy.token", token=token_origin(app)))
    if fresh and not app.settings.auto_rotate_allowed:
        screen.note(words("proxy.active-key-only"))
    screen.note(words("proxy.how-to-stop"))


def _is_elsewhere(app: App, instance: Instance) -> bool:
    """Whether the settings of now would have it somewhere else."""
    port = app.settings.proxy_listen[1]
    return port not in {0, instance.port} or app.settings.proxy_base_path != instance.base_path


def _document(app: App, instance: Instance) -> dict[str, Any]:
    from kmi.proxy.token import token_origin

    return {
        "running": True,
        "address": instance.base_url,
        "pid": instance.pid,
        "host": instance.host,
        "port": instance.port,
        "base_path": instance.base_path,
        "version": instance.version,
        "started": instance.started,
        "how": instance.how,
        "token": token_origin(app),
    }


def _foreground(args: argparse.Namespace, app: App) -> int:
    """Serve in this process."""
    from kmi.proxy.launch import Report
    from kmi.proxy.lifecycle import serve_here

    if _dry(app):
        return EXIT_OK
    report, by_hand = Report(args.report), args.report is None
    if by_hand:
        app.store.check()
    else:
        app.audited = True  # who started it records it

    def announce(instance: Instance) -> None:
        if by_hand:
            _record(app, "start", None, instance)
        if by_hand and args.how == "foreground":
            _tell_here(app, instance)
        report.ready()

    try:
        serve_here(app, how=args.how, until_runs_end=args.until_runs_end, announce=announce)
    except KmiError as error:
        report.failed(error)
        raise
    return EXIT_OK


def _tell_here(app: App, instance: Instance) -> None:
    from kmi.proxy.token import token_origin

    screen, words = app.screen, app.words
    if screen.json:
        screen.document({"changed": True, **_document(app, instance)})
    else:
        screen.data(instance.base_url)
        screen.note(words("proxy.started", pid=instance.pid))
        screen.note(words("proxy.token", token=token_origin(app)))
        screen.note(words("proxy.how-to-interrupt"))
    screen.flush()


def stop(app: App, *, force: bool) -> int:
    """`kmi proxy stop`."""
    from kmi.proxy.lifecycle import stop as end

    if _would_stop(app):
        return EXIT_OK
    app.store.check()
    stopped = end(app, force=force)
    _record(app, "stop", stopped.instance, None, forced=stopped.killed)
    screen = app.screen
    if screen.json:
        pid = None if stopped.instance is None else stopped.instance.pid
        screen.document({"changed": stopped.instance is not None, "running": False, "pid": pid})
    elif stopped.instance is None:
        screen.note(app.words("proxy.not-running"))
    else:
        screen.note(app.words("proxy.killed" if stopped.killed else "proxy.stopped"))
    return EXIT_OK


def restart(app: App, *, force: bool) -> int:
    """`kmi proxy restart`; where none runs, it is started."""
    from kmi.proxy import lifecycle
    from kmi.proxy.instance import look
    from kmi.proxy.ports import check_listen

    if _would_stop(app):
        return EXIT_OK
    # What would keep the new one from starting is told while the old one still serves.
    app.require_keys()
    check_listen(app.settings)
    app.store.check()
    running = look(app.store.directory).instance
    if running is not None and running.how == "service":
        raise KmiError(
            app.words("proxy.of-service"), "systemctl --user restart kmi-proxy", code="service"
        )
    stopped = lifecycle.stop(app, force=force)
    try:
        started = lifecycle.ensure(app, how="background")
    except KmiError as error:
        if stopped.instance is not None:
            _record(app, "restart", stopped.instance, None, forced=stopped.killed, error=error.code)
        raise
    _record(app, "restart", stopped.instance, started.instance, forced=stopped.killed)
    _tell(app, started.instance, fresh=True, restarted=stopped.instance is not None)
    return EXIT_OK


def _pid(instance: Instance | None) -> int | None:
    return None if instance is None else instance.pid


def _would_stop(app: App) -> bool:
    if not app.dry_run:
        return False
    app.screen.note(app.words("proxy.would-stop"))
    app.screen.planned(action="stop")
    return True


def _record(
    app: App, action: str, before: Instance | None, after: Instance | None, **fields: object
) -> None:
    """The one audit record: which process served before, and which does now.

    The lock is taken after the deed, for the proxy takes it, too; `Store.check` came before.
    """
    instance = after or before
    where = {} if instance is None else {"address": instance.base_url, "pid": instance.pid}
    pids: dict[str, object] = {"before": _pid(before), "after": _pid(after)}
    outcome = "unchanged" if pids["before"] == pids["after"] else "changed"
    with app.store.transaction() as transaction:
        app.audit(transaction, outcome, **{"action": action, **fields, **where, **pids})


def _status(app: App) -> int:
    """Whether it runs: 0, or 1 when it does not."""
    from kmi.proxy import leases
    from kmi.proxy.instance import look
    from kmi.proxy.lifecycle import status_of
    from kmi.proxy.ports import probe

    screen, words = app.screen, app.words
    sight = look(app.store.directory)
    instance = sight.instance
    if instance is None:
        if screen.json:
            screen.document({"running": False, "starting": sight.held, "stale": sight.stale})
        else:
            screen.note(words("proxy.starting" if sight.held else "proxy.not-running"))
        return EXIT_FAILURE
    answers = probe(instance.host, instance.port) == "kmi"
    folder = app.store.path(leases.FOLDER)
    runs, stays = leases.live(folder), leases.stays(folder) or not instance.until_runs_end
    table: dict[str, Any] = {
        **_document(app, instance),
        "answers": answers,
        "in_flight": (status_of(app, instance) or {}).get("in_flight") if answers else None,
        "runs": runs - leases.stays(folder),
        "ends_with_runs": not stays,
        "log": app.store.path("logs", "proxy.log"),
    }
    if screen.json:
        screen.document(table)
        return EXIT_OK
    table["started"] = app.show_time(_seconds(instance.started))
    table["how"] = words(HOW[instance.how]) if instance.how in HOW else instance.how
    screen.table([[words(name), _cell(app, table[field])] for field, name in ROWS.items()])
    if not answers:
        screen.warn(words("proxy.silent"))
    return EXIT_OK


def _seconds(text: str) -> float:
    from kmi.timezones import utc_seconds

    try:
        return utc_seconds(text)
    except ValueError:
        return 0.0


def _cell(app: App, value: object) -> str:
    if isinstance(value, bool):
        return app.words("proxy.yes" if value else "proxy.no")
    return "-" if value is None else str(value)
