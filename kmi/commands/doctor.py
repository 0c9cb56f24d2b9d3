"""`kmi doctor`: everything is looked at, each finding has its cure; `--fix` does what is safe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from kmi.checks.finding import ERROR, document, worst
from kmi.checks.site import Site
from kmi.doctor import diagnose
from kmi.doctor_text import plan, report
from kmi.errors import EXIT_FAILURE, EXIT_OK, EXIT_REFUSED, RefusedError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.checks.finding import Finding
    from kmi.repairs import Repair


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--fix", action="store_true", help="put right what is safe, after asking")
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    parser.add_argument("--dry-run", action="store_true", help="with --fix: tell, change nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Look, tell, and with ``--fix`` put right and look again."""
    # To look is no change, so nothing of it is recorded.
    app.changes = args.fix
    if not args.fix and (args.yes or args.dry_run):
        raise UsageError("--yes and --dry-run belong to --fix", "for instance: kmi doctor --fix")
    site = look(app)
    if site.settings.dry_run:
        app.screen.warn(site.words("mode.dry-run"))
    found = diagnose(site)
    if args.fix:
        return _fix(args, app, site, found)
    _show(app, site, found)
    return _code(found)


def look(app: App) -> Site:
    """What there is to look at, in the person's language."""
    english = app.screen.plain or app.screen.json
    site = Site(app.env, app.now(), english=english, program=sys.argv[0])
    app.screen.redactor.hide(site.secrets)
    return site


def _show(app: App, site: Site, found: Sequence[Finding], **more: Any) -> None:
    if app.screen.json:
        app.screen.document({**document(found), **more})
    else:
        report(app.screen, site.words, found)


def _code(found: Sequence[Finding]) -> int:
    return EXIT_FAILURE if worst(found) == ERROR else EXIT_OK


def _fix(args: argparse.Namespace, app: App, site: Site, found: list[Finding]) -> int:
    from kmi.auditing import audit_denied
    from kmi.repairs import perform, planned

    screen, words = app.screen, site.words
    repairs = [] if site.fatal else planned(site, found)
    if not repairs or args.dry_run or site.settings.dry_run:
        _show(app, site, found, repairs=_documents(repairs, done=False))
        for line in plan(screen, words, repairs) if repairs else ():
            screen.note(line)
        name = "doctor.dry-run" if repairs else "doctor.nothing-to-fix"
        screen.note(words("doctor.settings-first" if site.fatal else name))
        return _code(found)
    if not screen.json and not args.yes:
        report(screen, words, found)
        screen.flush()
    lines = plan(screen, words, repairs)
    if args.yes:
        for line in lines:
            screen.note(line)
    elif not _agreed(app, site, lines):
        if screen.json:
            _show(app, site, found, repairs=_documents(repairs, done=False))
        audit_denied(app, RefusedError("nobody agreed to the repairs", code="not-agreed"))
        return EXIT_REFUSED
    with app.store.transaction() as transaction:
        done = perform(app, site, transaction, repairs)
        good = [repair for repair in done if not repair.failed]
        outcome = "changed" if good else "unchanged"
        app.audit(transaction, outcome, repairs=_documents(done, done=True, told=False))
    for repair in done:
        if repair.failed:
            screen.warn(words("doctor.not-done", what=repair.what, why=repair.failed))
    screen.note(words("doctor.done", count=len(good)))
    again = look(app)
    found = diagnose(again)
    _show(app, again, found, repairs=_documents(done, done=True))
    return _code(found)


def _agreed(app: App, site: Site, lines: Sequence[str]) -> bool:
    """Ask on the terminal; without one nothing is done, and that is told."""
    screen, words = app.screen, site.words
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        for line in lines:
            screen.note(line)
        screen.error(words("doctor.not-asked"), None)
        return False
    if screen.ask("\n".join([*lines, words("doctor.go-on")])):
        return True
    screen.error(words("doctor.declined"), None)
    return False


def _documents(repairs: Sequence[Repair], *, done: bool, told: bool = True) -> list[dict[str, Any]]:
    """The JSON of repairs; for the audit without the words."""
    return [
        {
            "repair": repair.kind,
            "path": repair.path,
            **({"what": repair.what} if told else {}),
            "done": done and not repair.failed,
            "error": repair.failed or None,
        }
        for repair in repairs
    ]
