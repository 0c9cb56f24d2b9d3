"""The proxy as a process: serving here, starting it in the background, ending it.

A proxy in the background is a process of its own session, with no parent, terminal or open file of
whoever started it. It tells through a pipe that it listens, or why it can't.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi import __version__
from kmi.errors import KmiError, TryLaterError
from kmi.pins import alive, start_mark
from kmi.proxy import leases, log
from kmi.proxy.instance import Instance, Sight, clean, hold, look, remove_record, write_record
from kmi.proxy.notify import READY, STOPPING, notify
from kmi.proxy.ports import bracketed, check_listen, port_holder, probe
from kmi.proxy.token import known_token, load_token, token_id
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kmi.app import App

#: How long a start may take: Python, the keys, and programs that give secrets (10 s each).
START_S = 20.0
#: The proxy lets streams end for 30 s (`server.DRAIN_S`); somebody who waits, waits a bit longer.
STOP_S = 35.0
#: After this long a person is told what the wait is for.
NOTICE_AFTER_S = 0.5
_PAUSE_S = 0.05


class Started(NamedTuple):
    """A proxy that answers, and whether it was started just now."""

    instance: Instance
    fresh: bool


class Stopped(NamedTuple):
    """The proxy that was ended; None when none ran."""

    instance: Instance | None
    killed: bool = False


def ensure(app: App, *, how: str, until_runs_end: bool = False) -> Started:
    """See to it that a proxy answers, and return when it does.

    Args:
        app: the world.
        how: "background" or "run", for its record.
        until_runs_end: one that is started now ends with the runs that use it. Without it one
            that runs already is made to stay.

    Raises:
        ConfigError: a setting is in the way.
        KmiError: it could not listen; the message says why.
        TryLaterError: another one neither answers nor ends.
    """
    from kmi.proxy.launch import launch

    check_listen(app.settings)
    load_token(app)
    app.store.prepare()
    directory, begun, told = app.store.directory, time.monotonic(), False
    while True:
        if not until_runs_end:
            # Before it is seen to answer: else it could end in between.
            leases.stay(app.store.path(leases.FOLDER))
        sight = look(directory)
        found = sight.instance
        if found is not None and probe(found.host, found.port) == "kmi":
            return Started(found, fresh=False)
        if not sight.held:
            fresh = launch(app, how=how, until_runs_end=until_runs_end, limit_s=START_S)
            if fresh is not None:
                return Started(fresh, fresh=True)
        waited = time.monotonic() - begun
        if waited > STOP_S:
            raise _unresponsive(app, sight)
        if waited > NOTICE_AFTER_S and not told:
            told = True
            app.screen.note(app.words("proxy.waiting", process=_named(app, sight)))
        time.sleep(_PAUSE_S)


def _unresponsive(app: App, sight: Sight) -> TryLaterError:
    return TryLaterError(
        app.words("proxy.unresponsive", process=_named(app, sight), limit=int(STOP_S)),
        app.words("proxy.unresponsive-fix"),
        code="proxy-unresponsive",
    )


def _named(app: App, sight: Sight) -> str:
    """The process that holds the lock, for people."""
    from kmi.lock import holder_pid, process_name

    pid = sight.instance.pid if sight.instance else holder_pid(app.store.path("proxy.lock"))
    return app.words("proxy.another") if pid is None else app.words.sentence(process_name(pid))


def serve_here(
    app: App, *, how: str, until_runs_end: bool, announce: Callable[[Instance], None]
) -> None:
    """Serve in this process until it is told to end.

    Args:
        app: the world.
        how: for the record; "background" and "run" have the file ``proxy.log`` for stderr.
        until_runs_end: end when no run uses it any more.
        announce: called once, when it listens.

    Raises:
        KmiError: another proxy runs ("already-running"), or it can't listen ("port-in-use").
    """
    from kmi.proxy.server import ServeOptions, serve

    check_listen(app.settings)
    token = load_token(app)
    app.store.prepare()
    _forbid_core_dumps()
    directory, runs = app.store.directory, app.store.path(leases.FOLDER)
    lock = hold(directory)
    if lock is None:
        raise _already_running(app, look(directory).instance)
    host, port = app.settings.proxy_listen
    base_path = app.settings.proxy_base_path
    written = False

    def ready(host: str, port: int) -> None:
        nonlocal written
        pid, shown = os.getpid(), bracketed(host)
        instance = Instance(
            *(pid, start_mark(pid), shown, port, base_path, __version__),
            started=utc_text(app.now()),
            how=how,
            until_runs_end=until_runs_end,
            token_id=token_id(token),
        )
        write_record(directory, instance)
        written = True
        notify(app.env, READY)
        announce(instance)

    def say(fields: Mapping[str, object]) -> None:
        if fields.get("event") == "proxy-draining":
            notify(app.env, STOPPING)
        record(fields)

    record = log.Log(app, background=how in {"background", "run"})
    try:
        remove_record(directory)  # of one that was killed
        leases.forget_stay(runs)  # of that one; who wants this one to stay says so again
        serve(app, ServeOptions(host, port, base_path, token, until_runs_end, say), ready)
    except KmiError as error:
        if error.code == "port-in-use":
            raise _port_in_use(app, host, port) from None
        raise
    finally:
        if written:
            leases.forget_stay(runs)
        remove_record(directory)
        os.close(lock)


def _forbid_core_dumps() -> None:
    """The memory holds keys."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _already_running(app: App, instance: Instance | None) -> KmiError:
    where = app.words("proxy.another") if instance is None else instance.base_url
    return KmiError(
        app.words("proxy.runs-already", address=where),
        app.words("proxy.runs-already-fix"),
        code="already-running",
    )


def _port_in_use(app: App, host: str, port: int) -> KmiError:
    """Who holds the port, as far as it can be told; nothing is done to them."""
    holder = app.words.sentence(port_holder(port)) or app.words("proxy.some-program")
    name = "proxy.port-of-kmi" if probe(host, port) == "kmi" else "proxy.port-held"
    return KmiError(
        app.words(name, address=f"{host}:{port}", holder=holder),
        app.words("proxy.port-fix"),
        code="port-in-use",
    )


def stop(app: App, *, force: bool = False) -> Stopped:
    """End the proxy of this state directory, and return when it has ended.

    Args:
        app: the world.
        force: by SIGKILL, without letting streams end.

    Raises:
        KmiError: it did not end in time ("still-running"), or can't be told to.
    """
    directory = app.store.directory
    clean(directory)
    sight = _settled(directory)
    instance = sight.instance
    if instance is None:
        if sight.held:
            raise _unresponsive(app, sight)
        return Stopped(None)
    if not force:
        busy = requests_in_flight(app, instance)
        if busy:
            app.screen.note(app.words("proxy.busy", count=busy))
    if _tell(instance, directory, signal.SIGTERM if not force else _KILL):
        _await_end(app, instance, directory)
    clean(directory)
    return Stopped(instance, killed=force)


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def _settled(directory: str) -> Sight:
    """What is to be seen, once a proxy that is just starting has its record."""
    deadline = time.monotonic() + START_S
    while True:
        sight = look(directory)
        if not sight.held or sight.instance is not None or time.monotonic() > deadline:
            return sight
        time.sleep(_PAUSE_S)


def _tell(instance: Instance, directory: str, number: int) -> bool:
    """Send a signal to the proxy, proven to be ours; whether it was still there.

    Its number could be another process's by the time of the signal. Where the system has handles
    of processes, the proof is made after the handle was taken, so it holds for what is signalled.
    """
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        try:
            handle = os.pidfd_open(instance.pid)
        except ProcessLookupError:
            return False
        except OSError:
            return _kill(instance, directory, number)  # an old kernel
        try:
            if look(directory).instance != instance:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True
    return _kill(instance, directory, number)


def _kill(instance: Instance, directory: str, number: int) -> bool:
    if look(directory).instance != instance:
        return False
    try:
        os.kill(instance.pid, number)
    except ProcessLookupError:
        return False
    return True


def _await_end(app: App, instance: Instance, directory: str) -> None:
    begun, limit = time.monotonic(), int(STOP_S)
    while True:
        waited = time.monotonic() - begun
        if not (look(directory).held and alive(instance.pid, instance.started_ticks)):
            app.screen.progress(limit, limit, "")
            return
        if waited > STOP_S:
            app.screen.progress(limit, limit, "")
            raise KmiError(
                app.words("proxy.still-running", pid=instance.pid, limit=limit),
                app.words("proxy.force-fix"),
                code="still-running",
            )
        if waited > NOTICE_AFTER_S:
            app.screen.progress(int(waited), limit, app.words("proxy.draining"))
        time.sleep(_PAUSE_S)


def requests_in_flight(app: App, instance: Instance) -> int | None:
    """How many requests a proxy is just serving; None when it does not tell."""
    table = status_of(app, instance)
    count = None if table is None else table.get("in_flight")
    return count if isinstance(count, int) else None


def status_of(app: App, instance: Instance) -> dict[str, Any] | None:
    """What a proxy says at ``/status``; None when it does not answer, or its token isn't known."""
    from http.client import HTTPConnection, HTTPException

    from kmi.proxy.ports import PROBE_S, reachable

    token = known_token(app)
    if token is None or token_id(token) != instance.token_id:
        return None
    where = reachable(instance.host).strip("[]")
    connection = HTTPConnection(where, instance.port, timeout=PROBE_S)
    try:
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        table = json.loads(answer.read())
        return table if answer.status == 200 and isinstance(table, dict) else None
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
