"""The proxy from listening to its end: sockets, signals, ticks, and draining."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, NamedTuple

from kmi import __version__
from kmi.proxy import answers
from kmi.proxy.asking import Asker
from kmi.proxy.client import Client
from kmi.proxy.desk import Desk
from kmi.proxy.guards import Guard, own_hosts
from kmi.proxy.keeper import LESSONS_MAX, Batch, Keeper, Sight
from kmi.proxy.listening import BACKLOG, allow_files, bind, has_terminal
from kmi.proxy.picker import Lesson
from kmi.proxy.ports import bracketed
from kmi.proxy.quota import aggregated
from kmi.proxy.sighting import stamp
from kmi.proxy.site import CONNECTIONS_MAX, Page, Site
from kmi.proxy.tally import Tally
from kmi.urls import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.proxy.sighting import Stamp
    from kmi.proxy.status import Live

#: How long streams may go on after SIGTERM.
DRAIN_S = 30.0
TICK_S = 0.25
#: Successes are counted in memory and handed to the keeper so often; errors at every tick.
SUCCESS_EVERY_S = 5.0
SWEEP_EVERY_S = 1.0
#: For so long a proxy that ends with its runs waits for the first one.
FIRST_RUN_S = 60.0


class ServeOptions(NamedTuple):
    """How to serve.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        base_path: below it requests go upstream.
        token: what clients must send.
        until_runs_end: end when no run uses the proxy any more.
        log: where events go.
        drain_s: how long streams may go on when it is told to end.
    """

    host: str
    port: int
    base_path: str
    token: str
    until_runs_end: bool
    log: Callable[[Mapping[str, object]], None]
    drain_s: float = DRAIN_S

    def __repr__(self) -> str:
        """Without the token."""
        return f"ServeOptions({self.host!r}, {self.port}, {self.base_path!r})"


def serve(app: App, options: ServeOptions, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGTERM or SIGINT, then let requests end; SIGHUP reads everything anew.

    Args:
        app: the world.
        options: how.
        ready: called once with the address, when the proxy listens.

    Raises:
        KmiError: the settings or keys can't be used, or the address can't be listened on
            ("port-in-use", "no-listen").
    """
    server = Server(app, options)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(server.run(ready))
    finally:
        # A thread may still make the TLS settings.
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class Server:
    """One proxy."""

    def __init__(self, app: App, options: ServeOptions) -> None:
        self._app = app
        self._options = options
        self._log = options.log
        self._tally = Tally()
        self._asker = Asker()
        self._keeper = Keeper(
            app,
            self._renewed,
            log=options.log,
            trace=self._write_trace,
            publish=self._published,
            refresh=self._asker,
        )
        self._loop: asyncio.AbstractEventLoop
        self._desk: Desk
        self._site: Site
        self._tls: asyncio.Future[ssl.SSLContext] | None = None
        self._end: asyncio.Event
        self._listener: asyncio.AbstractServer
        self._address = (options.host, options.port)
        self._started_at = app.now()
        self._seen: Stamp = None
        self._batch = 0
        self._handed: list[Batch] = []
        self._next_success = self._next_sweep = self._handed_at = 0.0
        self._unwritten = b""
        self._had_runs = False
        self._terminal = has_terminal()

    async def run(self, ready: Callable[[str, int], None]) -> None:
        """Listen, serve, drain."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._bug)
        self._end = asyncio.Event()
        first = self._keeper.first()
        self._seen = first.state
        self._desk = Desk(first.view, first.rules, self._tally, self._tls_context)
        self._desk.on_error = self._hurry
        allow_files(2 * CONNECTIONS_MAX + 256)
        listening = bind(self._options.host, self._options.port)
        self._address = listening.getsockname()[:2]
        self._site = self._make_site()
        self._listener = await self._loop.create_server(
            lambda: Client(self._desk, self._site), sock=listening, backlog=BACKLOG
        )
        self._keeper.start()
        self._watch_signals()
        self._tick()
        self._log({"event": "proxy-started", "address": self._shown()})
        ready(*self._address)
        if any(key.base_url.scheme == "https" for key in first.view.keys):
            self._tls_context()
        await self._end.wait()
        self._listener.close()
        await self._drain()

    def _shown(self) -> str:
        return f"{bracketed(self._address[0])}:{self._address[1]}"

    def _make_site(self) -> Site:
        shown, port = bracketed(self._address[0]), self._address[1]
        remote = not is_loopback(shown)
        guard = Guard(own_hosts(shown, port), self._options.token, any_host=remote)
        pages = {
            b"/healthz": (False, self._healthz),
            b"/": (False, self._page),
            b"/favicon.ico": (False, lambda: (204, b"", b"", [])),
            b"/status": (True, self._status),
            b"/metrics": (True, self._metrics),
        }
        return Site(guard, self._options.base_path, pages, self._answer_here)

    # Pages.

    def _healthz(self) -> Page:
        status = "draining" if self._desk.draining else "ok"
        if stamp(self._app.store.state_file) != self._seen:
            self._keeper.nudge()  # a command that wrote it waits (`abreast`)
        words = {"status": status, "server": "kmi", "version": __version__, "state": self._seen}
        return 200, b"application/json", answers.document(words), []

    def _page(self) -> Page:
        from kmi.proxy.page import page

        body, fields = page()
        kind = dict(fields)[b"content-type"]
        return 200, kind, body, [field for field in fields if field[0] not in answers.OWN_FIELDS]

    def _status(self) -> Page:
        from kmi.proxy.status import status_document

        table = status_document(self._desk.picker.view, self._tally, self._live())
        return 200, b"application/json", answers.document(table), []

    def _metrics(self) -> Page:
        from kmi.proxy.status import METRICS_TYPE, metrics_text

        text = metrics_text(self._desk.picker.view, self._tally, self._live())
        return 200, METRICS_TYPE.encode(), text.encode(), []

    def _live(self) -> Live:
        from kmi.proxy.status import Live

        desk = self._desk
        return Live(
            now=self._app.now(),
            started_at=self._started_at,
            version=__version__,
            listening=self._shown(),
            base_path=self._options.base_path,
            states=desk.picker.states,
            in_flight=desk.limits.busy,
            queued=desk.waiting,
            sessions=len(desk.picker.sessions),
            caps=desk.rules.caps,
            draining=desk.draining,
            refused=desk.refusals,
        )

    def _answer_here(self, method: bytes, path: bytes) -> Page | None:
        """Below the base path: the quotas of all keys, where they are one pool."""
        if path != b"/usages" or method != b"GET":
            return None
        found = aggregated(self._desk.picker.view, self._desk.picker.states, self._app.now())
        return None if found is None else (200, b"application/json", answers.document(found), [])

    # The keeper.

    def _renewed(self) -> App:
        from kmi.app import App

        return App(self._app.env, self._app.screen, self._app.command)

    def _write_trace(self) -> None:
        """In the keeper's thread."""
        # What a full disk did not take is tried again; the tally bounds what waits behind it.
        lines = self._unwritten = self._unwritten or self._tally.drain()
        if lines:
            from kmi.journal import append

            settings = self._app.settings
            append(
                self._app.store.path("trace.jsonl"),
                lines,
                max_bytes=settings.trace_max_mb << 20,
                backups=settings.trace_backups,
            )
            self._unwritten = b""

    def _published(self, sight: Sight) -> None:
        """In the keeper's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._take, sight)

    def _take(self, sight: Sight) -> None:
        self._seen = sight.state
        self._handed = [batch for batch in self._handed if batch.number > sight.saved]
        unsaved = [lesson for batch in self._handed for lesson in batch.lessons]
        self._desk.replace_view(sight.view, unsaved + self._desk.lessons, sight.rules)

    def _hurry(self) -> None:
        """The next run may begin now: an error waits for no tick, unless another one just came."""
        now = self._loop.time()
        if now >= self._handed_at + TICK_S:
            self._loop.call_soon(self._hand_over, now)

    def _hand_over(self, now: float, *, everything: bool = False) -> None:
        """Give the keeper what was learnt since the last time."""
        desk = self._desk
        lessons, desk.lessons = desk.lessons, []
        if desk.successes and (lessons or everything or now >= self._next_success):
            self._next_success = now + SUCCESS_EVERY_S
            lessons += [
                Lesson(key_id, None, at, sent_at, None, count)
                for key_id, (count, at, sent_at) in desk.successes.items()
            ]
            desk.successes = {}
            # In their order: a success from before an error does not end what that began.
            lessons.sort(key=lambda lesson: lesson.at)
        if not lessons:
            return
        self._batch += 1
        self._handed_at = now
        ask, desk.asks_usage = frozenset(desk.asks_usage), set()
        batch = Batch(self._batch, lessons, ask)
        self._handed.append(batch)
        while sum(len(handed.lessons) for handed in self._handed) > LESSONS_MAX:
            del self._handed[0]  # the disk can't be written, and the keeper drops them too
        self._keeper.submit(batch)

    # Ticks.

    def _tick(self) -> None:
        now = self._loop.time()
        self._loop.call_later(TICK_S, self._tick)
        self._hand_over(now)
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_EVERY_S
        for client in [c for c in self._site.clients if c.deadline and c.deadline < now]:
            client.deadline = None
            client.overdue()
        self._desk.sweep()
        if self._options.until_runs_end and not self._end.is_set():
            self._look_for_runs()

    def _look_for_runs(self) -> None:
        """End when the runs have that this proxy was started for."""
        from kmi.proxy import leases

        if leases.live(self._app.store.path(leases.FOLDER)):
            self._had_runs = True
        elif self._had_runs or self._app.now() - self._started_at > FIRST_RUN_S:
            # At once, without giving way in between: a run that comes now must not be answered.
            self._listener.close()
            self._log({"event": "proxy-unused"})
            self._end.set()

    def _bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A callback failed: its connection ends, the proxy goes on. Texts may be foreign."""
        error = context.get("exception")
        if isinstance(error, OSError):
            return  # a connection that ended while it was written to
        what = type(error).__name__ if error is not None else context.get("message", "")
        at = ""
        if isinstance(error, BaseException) and error.__traceback__ is not None:
            import traceback

            frame = traceback.extract_tb(error.__traceback__)[-1]
            at = f" in {frame.name}, line {frame.lineno} of {os.path.basename(frame.filename)}"
        self._log({"event": "proxy-bug", "level": "error", "text": f"{what}{at}"})

    # The end.

    def _watch_signals(self) -> None:
        if sys.platform == "win32":
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        """SIGHUP: a wish to read everything anew, or the end of the terminal that it runs in."""
        if self._terminal and not has_terminal():
            self._end.set()
            return
        self._log({"event": "proxy-reloading"})
        self._keeper.reload()

    async def _drain(self) -> None:
        """Let requests end, and write what is left."""
        desk, site = self._desk, self._site
        desk.draining = site.draining = True
        self._log({"event": "proxy-draining", "requests": self._in_flight()})
        for client in [c for c in site.clients if not c.busy]:
            client.transport.close()
        until = self._loop.time() + self._options.drain_s
        while any(client.busy for client in site.clients) and self._loop.time() < until:
            await asyncio.sleep(0.05)
        for client in list(site.clients):
            if client.busy:
                client.abort()
            else:
                client.transport.abort()
        await asyncio.sleep(0.01)  # they leave in their own time
        desk.close()
        self._hand_over(self._loop.time(), everything=True)
        await self._loop.run_in_executor(None, self._keeper.stop)
        self._log({"event": "proxy-stopped"})

    def _in_flight(self) -> int:
        return sum(1 for client in self._site.clients if client.exchange is not None)

    # TLS.

    def _tls_context(self) -> asyncio.Future[ssl.SSLContext]:
        """The TLS settings: made once, in a thread, for it takes longer than the whole start."""
        if self._tls is None or _failed(self._tls):
            from kmi.upstream import tls_context

            self._tls = asyncio.ensure_future(
                self._loop.run_in_executor(None, lambda: tls_context(True))
            )
        return self._tls


def _failed(future: asyncio.Future[ssl.SSLContext]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
