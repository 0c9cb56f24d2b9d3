"""`kmi usage`: what calls cost in tokens, and which key paid."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

from kmi.errors import EXIT_OK, ConfigError, KmiError, RefusedError
from kmi.timezones import find_timezone, show_time
from kmi.usage.report import BY, days, document, group_of, midnight, report
from kmi.usage.store import DamagedError, open_usage, set_aside

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kmi.app import App
    from kmi.state import State
    from kmi.usage.report import Report
    from kmi.usage.store import UsageStore
    from kmi.usage.text import Names

#: What is shown when no time is named.
DEFAULT_SPAN_S = 30 * 86400.0
#: The beginning of a file in which a page says that it is kmi's.
_HEAD_BYTES = 2048


class UsageArgs:
    """The command line, when nothing stands on it."""

    by: str = "key"
    since: float | datetime.date = DEFAULT_SPAN_S
    key: str | None = None
    html: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from kmi.arguments import read_since

    parser.add_argument("--by", choices=BY, default="key", help="what makes a row (key)")
    parser.add_argument(
        "--since",
        type=read_since,
        default=DEFAULT_SPAN_S,
        metavar="SPAN|DATE",
        help="only what is younger: 12h, 7d, 2026-01-31, all (30d)",
    )
    parser.add_argument("--key", metavar="LABEL", help="only what this key paid")
    parser.add_argument("--html", metavar="FILE", help="write one page with charts")


def parse(
    words: Sequence[str], parser: Callable[[], argparse.ArgumentParser]
) -> UsageArgs | argparse.Namespace:
    """Read the words; the bare command needs no argparse."""
    return parser().parse_args(words) if words else UsageArgs()


def run(args: UsageArgs | argparse.Namespace, app: App) -> int:
    """Read what is new in the session logs, and show what was asked for."""
    try:
        return _run(args, app)
    except DamagedError as error:
        set_aside(app.store, error)
    try:
        return _run(args, app)
    except DamagedError as error:
        raise KmiError(
            f"{app.store.path('usage.db')} can't be used: {error}", "remove it"
        ) from None


def _run(args: UsageArgs | argparse.Namespace, app: App) -> int:
    if args.html:
        _check_target(args.html)
    with open_usage(app.store) as store:
        state = app.store.read()
        homes = _homes(app)
        logs = _ingest(app, store, homes, state)
        view = _View(app, args, store, state)
        if args.html:
            _write(app, args.html, view.html())
        if app.screen.json:
            found = view.report(args.by)
            app.screen.document(document(found, view.label_of, logs))
        elif not args.html:
            view.show(args.by, logs, homes)
    return EXIT_OK


def _homes(app: App) -> dict[str, str]:
    """The homes of both clients; one that can't be told is left out, with a warning."""
    from kmi.paths import client_home
    from kmi.settings import CLIENTS

    found = {}
    for client in CLIENTS:
        try:
            found[client] = client_home(client, app.env)
        except ConfigError as error:
            app.screen.warn(app.words.sentence(error.message))
    return found


def _ingest(app: App, store: UsageStore, homes: dict[str, str], state: State) -> int:
    """Bring the store up to date; gives how many logs there are."""
    from kmi.usage.ingest import ingest

    what = app.words("usage.reading")

    def step(done: int, total: int) -> None:
        # Small changes are read before anybody could read that they are.
        if total > 32 * 1024**2:
            app.screen.progress(done >> 20, total >> 20, what)

    def warn(text: str) -> None:
        app.screen.warn(app.words.sentence(text))

    return ingest(store, homes, app.store.directory, state, step, warn).logs


class _View:
    """What is shown of the store."""

    def __init__(
        self, app: App, args: UsageArgs | argparse.Namespace, store: UsageStore, state: State
    ) -> None:
        self._app = app
        self._store = store
        self._zone: datetime.tzinfo | None = find_timezone(app.settings.timezone)
        self._until = app.now()
        self._since = self._moment(args.since)
        known = {key_id: key.label for key_id, key in state.keys.items() if key.label}
        self._labels = {**store.labels(), **known}
        self._label = args.key or ""
        self._key = self._key_id(args.key)

    def _moment(self, since: float | datetime.date) -> float:
        if isinstance(since, datetime.date):
            return midnight(since, self._zone)
        return max(0.0, self._until - since) if since else 0.0

    def _key_id(self, label: str | None) -> str | None:
        """The id of the key that is asked for; of a removed one, too.

        Raises:
            KmiError: no key was ever called so.
        """
        if label is None:
            return None
        ring = self._app.keyring
        key = ring.find(label)
        if key is not None and key.command is None:
            return key.key_id
        for key_id, name in self._labels.items():
            if name == label:
                return key_id
        raise self._app.no_such_key(label)

    def label_of(self, key_id: str) -> str | None:
        """The label of a key id."""
        return self._labels.get(key_id)

    def report(self, by: str) -> Report:
        """The figures."""
        sums = self._store.sums(group_of(by), since=self._since, key=self._key)
        return report(by, sums, self._since, self._until, days(self._zone))

    def _day(self, at: float) -> str:
        return show_time(at, self._zone)[:10]

    def _names(self) -> Names:
        from kmi.paths import home
        from kmi.usage.text import Names

        return Names(self._app.words, self._labels, home(self._app.env))

    def show(self, by: str, logs: int, homes: dict[str, str]) -> None:
        """Draw the table, or say why there is none."""
        app, screen = self._app, self._app.screen
        found = self.report(by)
        if not found.lines:
            places = ", ".join(os.path.join(home, "sessions") for home in homes.values())
            count = self._store.count()
            name = "nothing" if count else "nothing-at-all" if logs else "no-sessions"
            text = {
                "nothing": lambda: app.words("usage.nothing", count=count),
                "nothing-at-all": lambda: app.words("usage.nothing-at-all"),
                "no-sessions": lambda: app.words("usage.no-sessions", places=places),
            }[name]()
            screen.note(text)
            return
        from kmi.usage.text import lines, title

        above = title(found, app.words, self._day, self._label)
        if screen.boxes:
            from kmi.health_rich import console
            from kmi.usage.screen import page

            target = console(screen.out, color=screen.color)
            target.print(page(found, self._names(), above, width=min(target.width, 140)))
            return
        for line in lines(found, self._names(), above, screen.width(), plain=screen.plain):
            screen.data(line)

    def html(self) -> str:
        """The page."""
        from kmi.usage.page import Page, render
        from kmi.usage.text import span

        day_of = days(self._zone)
        by_day: dict[str, dict[str, int]] = {}
        for item in self._store.sums("quarter", "key", since=self._since, key=self._key):
            quarter, key = item.group
            by_key = by_day.setdefault(day_of(quarter), {})
            by_key[key] = by_key.get(key, 0) + sum(item[3:])
        reports = [self.report(by) for by in BY]
        made = show_time(self._until, self._zone)
        title = span(reports[0], self._app.words, self._day, self._label)
        return render(Page(reports, by_day, title, made), self._names())


def _check_target(path: str) -> None:
    """Only a page of kmi's own is replaced.

    Raises:
        RefusedError: there is something else.
    """
    from kmi.files import open_regular
    from kmi.usage.page import MARK

    try:
        fd, _ = open_regular(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(f"can't write {path}: {error.strerror}", "name another file") from None
    try:
        if MARK.encode() in os.read(fd, _HEAD_BYTES):
            return
    finally:
        os.close(fd)
    raise RefusedError(
        f"{path} exists, and is no page of `kmi usage`", "name another file, or remove that one",
        code="exists",
    )  # fmt: skip


def _write(app: App, path: str, text: str) -> None:
    from kmi.files import write_atomic

    try:
        write_atomic(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise RefusedError(f"can't write {path}: {error.strerror}", "name another file") from None
    app.screen.note(app.words("usage.written", path=path))
