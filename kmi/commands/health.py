"""`kmi health`: every key with its quotas, and what to do about those that are out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK, EXIT_UNAVAILABLE, UsageError
from kmi.overview import document, look_over
from kmi.polling import due
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.overview import Overview
    from kmi.refresh import Refreshed

#: How often `--watch` draws, when it is not told, in seconds.
WATCH_S = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    import argparse

    parser.add_argument(
        "--refresh", action="store_true", help="ask upstream about every key, however fresh it is"
    )
    parser.add_argument("--no-refresh", action="store_true", help="ask upstream about nothing")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=WATCH_S,
        metavar="SECONDS",
        help="draw it again and again, until Ctrl-C",
    )
    # What `kmi run` starts and does not wait for (`kmi.background`).
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    # Keys whose last error left it open which window is full (`kmi.proxy.asking`).
    parser.add_argument("--about", action="append", default=[], help=argparse.SUPPRESS)


def run(args: argparse.Namespace, app: App) -> int:
    """Show all keys; those whose quota is out of date are asked about first."""
    if args.refresh and args.no_refresh:
        raise UsageError("--refresh and --no-refresh exclude one another", "leave one out")
    if args.background:
        return _in_background(app, args.about)
    if args.watch is not None:
        return _watch(args, app)
    done = _refresh(args, app, programs=True)
    view = _look(app)
    if app.screen.json:
        app.screen.document(_document(app, view, done))
    else:
        _show(app, view)
    if args.refresh and done is not None and done.keys and not done.reached:
        return EXIT_UNAVAILABLE
    return EXIT_OK


def _in_background(app: App, about: Sequence[str]) -> int:
    from kmi.background import due_now, in_question, stop_in_time
    from kmi.refresh import refresh

    stop_in_time()
    state = app.store.read()
    wanted = [] if app.dry_run else due_now(app, state)
    if about and not app.dry_run:
        known = {key.label for key in wanted}
        wanted += [key for key in in_question(app, state, about) if key.label not in known]
    if wanted:
        refresh(app, wanted, programs=False)
    return EXIT_OK


def _refresh(args: argparse.Namespace, app: App, *, programs: bool) -> Refreshed | None:
    """Ask about the keys that are due, or about all that are enabled if the person said so."""
    if args.no_refresh:
        return None
    state = app.store.read()
    keys = app.known(state)
    wanted: Sequence[ApiKey]
    if args.refresh:
        wanted = [k for k in keys if not (k.disabled or state.key(k.key_id).disabled)]
    else:
        wanted = due(keys, state.keys, app.pace, app.now())
        # A program may ask the person for a passphrase; that is for those who asked for it.
        wanted = [key for key in wanted if key.secret is not None]
        barred = app.policy().unavailable
        wanted = [key for key in wanted if key.label not in barred]
    if not wanted:
        return None
    if app.dry_run:
        labels = ", ".join(key.label for key in wanted)
        app.screen.note(app.words("health.would-ask", labels=labels))
        return None
    from kmi.refresh import refresh

    return refresh(app, wanted, programs=programs)


def _look(app: App) -> Overview:
    from kmi.situation import look

    situations = {client: look(app, client) for client in CLIENTS}
    here = situations[CLIENTS[0]]
    return look_over(
        here.keys,
        app.store.with_last_runs(here.state),
        active={name: item.key_id for name, item in situations.items() if item.key_id is not None},
        barred=app.policy().unavailable,
        pace=app.pace,
        now=app.now(),
    )


def _document(app: App, view: Overview, done: Refreshed | None) -> dict[str, Any]:
    from kmi.health_text import advice_text

    found = document(view)
    found["mode"] = "dry-run" if app.dry_run else "live"
    found["asked"] = [] if done is None else [key.label for key in done.keys]
    found["advice"] = [
        {
            "code": advice.name.partition(".")[2],
            "label": advice.label or None,
            "urgent": advice.urgent,
            "text": advice_text(advice, app.words, view.now, app.show_time),
        }
        for advice in view.advice
    ]
    return found


def _show(app: App, view: Overview) -> None:
    screen = app.screen
    if not view.rows:
        screen.note(app.words("health.none", place=app.settings.auths_dir))
    elif screen.boxes:
        from kmi.health_rich import console, page

        target = console(screen.out, color=screen.color)
        target.print(page(view, app.words, app.show_time, width=target.width))
    else:
        from kmi.health_text import lines

        for line in lines(view, app.words, app.show_time, screen.width()):
            screen.data(line)


def _watch(args: argparse.Namespace, app: App) -> int:
    """Draw until Ctrl-C. Upstream is asked no more often than without watching."""
    screen = app.screen
    if screen.json:
        raise UsageError("--watch has no --json", "call `kmi health --json` as often as you like")
    if not 0.5 <= args.watch <= 86400.0:
        raise UsageError(f"--watch {args.watch:g} is out of range", "allowed: 0.5 to 86400 seconds")
    try:
        if screen.boxes and screen.out.isatty():
            _live(args, app)
        while True:
            _refresh(args, app, programs=False)
            args.refresh = False
            _show(app, _look(app))
            screen.data()
            screen.flush()
            time.sleep(args.watch)
    except KeyboardInterrupt:
        return EXIT_OK


def _live(args: argparse.Namespace, app: App) -> None:
    from rich.live import Live

    from kmi.health_rich import console, page

    target = console(app.screen.out, color=app.screen.color)
    words = app.words
    note = words("health.watching", seconds=f"{args.watch:g}")
    title = f"{words('mode.dry-run')}; {note}" if app.dry_run else note
    with Live(console=target, auto_refresh=False, screen=True) as live:
        while True:
            drawn = page(_look(app), words, app.show_time, width=target.width, title=title)
            live.update(drawn, refresh=True)
            if _refresh(args, app, programs=False) is None:
                time.sleep(args.watch)
            args.refresh = False
