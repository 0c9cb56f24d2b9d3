"""`kmi proxy-logs`: what the proxy said, and what it says from now on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from kmi.arguments import read_count, read_span
from kmi.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kmi.app import App
    from kmi.journal import Follower


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-n",
        "--lines",
        type=read_count,
        default=50,
        metavar="N",
        help="how many of the last lines to show first (50)",
    )
    parser.add_argument("--no-follow", action="store_true", help="show them, and stop")
    parser.add_argument(
        "--app", action="store_true", help="the events of the proxy, instead of its raw output"
    )
    parser.add_argument(
        "--since", type=read_span, metavar="SPAN", help="only what is younger: 30s, 10m, 2h, 1d"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Show the last lines; then follow, until Ctrl-C."""
    import time

    from kmi.journal import LOOK_S, Follower
    from kmi.proxy.log import APP_LOG, FOLDER, RAW_LOG

    path = app.store.path(FOLDER, APP_LOG if args.app else RAW_LOG)
    reader = Follower(path)
    since = None if args.since is None else app.now() - args.since
    shown = _last(reader, args.lines, since)
    if not shown and args.no_follow:
        app.screen.note(app.words("proxy.no-log", path=path))
    try:
        for line in shown:
            _show(app, line, events=args.app)
        while not args.no_follow:
            for line in reader.lines():
                _show(app, line, events=args.app)
            app.screen.flush()
            time.sleep(LOOK_S)
    finally:
        reader.close()
    return EXIT_OK


def _last(reader: Follower, count: int, since: float | None) -> list[bytes]:
    """The last lines; a line without a time belongs to the one before it."""
    found: list[bytes] = []
    held: list[bytes] = []
    past: Iterator[bytes] = reader.past()
    for line in past:
        if len(found) + len(held) >= count:
            break
        held.append(line)
        at = _time(line)
        if at is None:
            continue
        if since is not None and at < since:
            held = []
            break
        found += held
        held = []
    if since is None or not found:
        found += held
    return found[::-1]


def _time(line: bytes) -> float | None:
    """When a line was written: the time that it begins with, or its field "ts"."""
    from kmi.timezones import utc_seconds

    match = re.match(rb'(?:\{.{0,40}?"ts":")?([0-9T:.-]{23}Z)', line)
    try:
        return None if match is None else utc_seconds(match[1].decode())
    except ValueError:
        return None


def _show(app: App, line: bytes, *, events: bool) -> None:
    from kmi.proxy.log import shown_event

    text = line.decode("utf-8", "replace")
    if app.screen.json:
        # Lines of JSON are for programs as they are; raw ones are put into it.
        app.screen.data(text if events else json.dumps({"schema": 1, "line": text}))
        return
    at = _time(line)
    if events:
        try:
            record = json.loads(line)
            text = shown_event(record) if isinstance(record, dict) else text
        except (ValueError, RecursionError):
            at = None
    elif at is not None:
        text = text[25:]
    app.screen.data(text if at is None else f"{_clock(app, at)} {text}")


def _clock(app: App, at: float) -> str:
    import datetime

    from kmi.timezones import find_timezone

    utc = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    return utc.astimezone(find_timezone(app.settings.timezone)).strftime("%Y-%m-%d %H:%M:%S")
