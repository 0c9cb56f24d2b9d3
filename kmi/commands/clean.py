"""`kmi clean`: remove old records, logs, usage and backups of kmi's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.arguments import read_span
from kmi.cleaning import PARTS, Cleaned, clean
from kmi.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App

#: What goes when nothing is named. Backups are what `kmi undo` needs, and usage outlives the logs
#: that it was read from: they must be named.
DEFAULT_PARTS = ("logs", "trace", "runs")
_MONTH_S = 30 * 86400.0
_HELP = {
    "logs": "what the proxy logged",
    "trace": "which key served which request",
    "runs": "which run had which key",
    "usage": "what calls cost, as `kmi usage` shows it",
    "backups": "client configs as they were, and `kmi undo` with them",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=_HELP[part])
    parser.add_argument(
        "--older-than",
        type=read_span,
        default=_MONTH_S,
        metavar="SPAN",
        help="only what is older: 12h, 30d (the default), 0d for all",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(args: argparse.Namespace, app: App) -> int:
    """Remove what was named; logs, trace and runs when nothing was."""
    app.use_dry_run(args.dry_run)
    parts = frozenset(part for part in PARTS if getattr(args, part)) or frozenset(DEFAULT_PARTS)
    before = app.now() - args.older_than
    dry_run = app.dry_run
    if dry_run:
        done = clean(app, None, parts, before)
    else:
        done = _clean(app, parts, before, args.older_than)
    _show(app, done, dry_run=dry_run)
    return EXIT_OK


def _clean(app: App, parts: frozenset[str], before: float, span_s: float) -> list[Cleaned]:
    with app.store.transaction() as transaction:
        done = clean(app, transaction.state, parts, before)
        transaction.save()
        removed = {part: sum(c.removed for c in done if c.part == part) for part in sorted(parts)}
        outcome = "changed" if done else "unchanged"
        app.audit(transaction, outcome, removed=removed, older_than_s=span_s)
    return done


def _show(app: App, done: Sequence[Cleaned], *, dry_run: bool) -> None:
    screen = app.screen
    if screen.json:
        rows = [item._asdict() for item in done]
        screen.document({"dry_run": dry_run, "removed": rows})
        return
    if not done:
        screen.note("there is nothing that old")
        return
    units = {"backups": "files", "usage": "calls"}
    table = [
        [item.part, f"{item.removed} {units.get(item.part, 'lines')}",
         f"{max(1, item.size // 1024)} KiB", item.path]
        for item in done
    ]  # fmt: skip
    screen.table(table, header=["part", "count", "size", "would go" if dry_run else "removed from"])
