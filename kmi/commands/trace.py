"""`kmi trace`: which key served which request of the proxy, and how evenly keys are used."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from kmi.arguments import read_count, read_span
from kmi.errors import EXIT_OK, UsageError
from kmi.timezones import find_timezone
from kmi.trace import document, read_line
from kmi.trace_text import Clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.journal import Follower
    from kmi.trace import Entry

#: Requests by which the figures are measured, when no span is named.
WINDOW = 200
#: With a span no more are read either: about half a second, and 200 MB.
READ_MAX = 200_000
#: Requests are written when they end. No longer than this after their beginning, one hopes.
STREAM_S = 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--follow", action="store_true", help="show them as they come")
    parser.add_argument(
        "--lines", type=read_count, default=20, metavar="N", help="how many to list (20)"
    )
    parser.add_argument(
        "--since", type=read_span, metavar="SPAN", help="only what is younger: 30s, 10m, 2h, 1d"
    )
    parser.add_argument("--key", metavar="LABEL", help="list only what this key served or tried")


def _wanted(entry: Entry, label: str | None) -> bool:
    """Whether a key, if one is named, served a request or was tried for it."""
    return label is None or label in {entry.label, *(tried for tried, _ in entry.tried)}


class Window:
    """The requests that were read, and those of them that are listed.

    Attributes:
        entries: the newest `WINDOW`, or all of the span; the oldest first.
        shown: the last of those that are wanted.
        dropped: how many are missing among them.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.entries: deque[Entry] = deque(
            maxlen=max(WINDOW, args.lines) if args.since is None else READ_MAX
        )
        self.shown: deque[Entry] = deque(maxlen=args.lines)
        self.dropped = 0
        self._key = args.key
        self._span_s = args.since

    def add(self, item: Entry | int) -> bool:
        """Take one in; whether it is listed."""
        if isinstance(item, int):
            self.dropped += item
            return False
        self.entries.append(item)
        wanted = _wanted(item, self._key)
        if wanted:
            self.shown.append(item)
        return wanted

    def forget(self, now: float) -> None:
        """Let go of what is older than the span by now."""
        if self._span_s is not None:
            for entries in (self.entries, self.shown):
                while entries and entries[0].at < now - self._span_s:
                    entries.popleft()


def run(args: argparse.Namespace, app: App) -> int:
    """Show the last requests."""
    if args.follow and app.screen.json:
        raise UsageError("--follow has no --json", "read trace.jsonl itself, a line is a request")
    from kmi.journal import Follower

    path = app.store.path("trace.jsonl")
    reader = Follower(path)
    try:
        window = _read(reader, args, app.now())
        if app.screen.json:
            app.screen.document(
                document(list(window.entries), list(window.shown), window.dropped, app.now())
            )
        elif args.follow:
            _follow(app, reader, window)
        elif window.shown:
            _show(app, window)
        else:
            found = bool(window.entries) or args.since is not None
            app.screen.note(app.words("trace.none-such" if found else "trace.none", path=path))
    except KeyboardInterrupt:
        if not args.follow:
            raise
    finally:
        reader.close()
    return EXIT_OK


def _read(reader: Follower, args: argparse.Namespace, now: float) -> Window:
    """The last requests of the file and its backups."""
    found: list[Entry | int] = []
    window = Window(args)
    limit = window.entries.maxlen or 0
    listed = number = 0
    for line in reader.past():
        item = read_line(line)
        if item is None:
            continue
        if isinstance(item, int):
            found.append(item)
            continue
        if args.since is not None and item.at < now - args.since:
            if item.at < now - args.since - STREAM_S:
                break
            continue
        found.append(item)
        number += 1
        listed += _wanted(item, args.key)
        if number >= limit and (listed >= args.lines or number >= READ_MAX):
            break
    for item in reversed(found):
        window.add(item)
    return window


def _clock(app: App) -> Clock:
    return Clock(find_timezone(app.settings.timezone), app.now())


def _show(app: App, window: Window) -> None:
    screen, words, clock = app.screen, app.words, _clock(app)
    entries, shown = list(window.entries), list(window.shown)
    if screen.boxes:
        from kmi.health_rich import console
        from kmi.trace_rich import page

        target = console(screen.out, color=screen.color)
        target.print(page(entries, shown, window.dropped, words, clock, width=target.width))
        return
    from kmi.trace_text import strips, summary, table

    width = screen.width()
    lines = table(shown, words, clock, width)
    lines += ["", *strips(entries, words, clock, width)]
    for line in [*lines, *summary(entries, len(shown), window.dropped, words, width)]:
        screen.data(line)


def _follow(app: App, reader: Follower, window: Window) -> None:
    """Show what comes until Ctrl-C: a live table on a terminal, lines elsewhere."""
    if app.screen.boxes and app.screen.out.isatty():
        _live(app, reader, window)
    else:
        _lines(app, reader, window)


def _lines(app: App, reader: Follower, window: Window) -> None:
    from kmi.journal import LOOK_S
    from kmi.trace_text import table

    screen, words = app.screen, app.words
    fresh: Sequence[Entry] = list(window.shown)
    heading = True
    while True:
        if fresh:
            clock, width = _clock(app), screen.width()
            for line in table(fresh, words, clock, width, heading=heading, steady=True):
                screen.data(line)
            screen.flush()
            heading = False
        time.sleep(LOOK_S)
        fresh = [item for item in _new(reader, window) if not isinstance(item, int)]


def _new(reader: Follower, window: Window) -> list[Entry | int]:
    """What came since, as far as it is listed."""
    items = [read_line(line) for line in reader.lines()]
    return [item for item in items if item is not None and window.add(item)]


def _live(app: App, reader: Follower, window: Window) -> None:
    from rich.live import Live

    from kmi.health_rich import console
    from kmi.journal import LOOK_S
    from kmi.trace_rich import height, page

    target = console(app.screen.out, color=app.screen.color)
    words = app.words
    with Live(console=target, auto_refresh=False, screen=True) as live:
        seen: object = None
        while True:
            window.forget(app.now())
            entries, shown = list(window.entries), list(window.shown)
            now = (len(entries), entries[-1:], target.size)
            if now != seen:
                seen = now
                rows = max(1, target.height - height(entries))
                drawn = page(
                    entries,
                    shown[-rows:],
                    window.dropped,
                    words,
                    _clock(app),
                    width=target.width,
                    title=words("trace.following"),
                )
                live.update(drawn, refresh=True)
            time.sleep(LOOK_S)
            _new(reader, window)
