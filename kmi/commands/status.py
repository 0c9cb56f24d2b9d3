"""`kmi status`: the whole situation on one screen."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK, KmiError
from kmi.health import left, status_of
from kmi.health_text import bar, filled, percent
from kmi.project_words import binding_document, binding_lines
from kmi.settings import CLIENTS
from kmi.situation import Situation, look
from kmi.timezones import utc_seconds, utc_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kmi.app import App
    from kmi.state import State


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")


class StatusArgs:
    """The command line, when nothing stands on it."""

    client: str | None = None


def parse(
    words: Sequence[str], parser: Callable[[], argparse.ArgumentParser]
) -> StatusArgs | argparse.Namespace:
    """Read the words. The bare command, which prompts and people repeat, needs no argparse."""
    return parser().parse_args(words) if words else StatusArgs()


def run(args: StatusArgs | argparse.Namespace, app: App) -> int:
    """Show mode, clients, keys and what is active; nothing is asked upstream."""
    chosen = app.client(args.client)
    situations = {client: look(app, client) for client in CLIENTS}
    now = app.now()
    here = situations[chosen]
    states = app.store.with_last_runs(here.state)
    keys: list[dict[str, Any]] = []
    for key in here.keys:
        state = here.state.key(key.key_id)
        status, share = status_of(key, state, now), left(state, now)
        used = states[key.key_id].last_used if key.key_id in states else None
        keys.append(
            {
                "label": key.label,
                "key_id": key.key_id,
                "active": key.key_id == here.key_id,
                "status": status.name,
                "reason": status.reason,
                "why": app.words.reason(status, state, now),
                "left": None if share is None else round(share, 4),
                "last_used": None if used is None else utc_text(used),
            }
        )
    if app.screen.json:
        for key_row in keys:
            del key_row["why"]
        app.screen.document(_document(app, chosen, situations, keys))
    else:
        _print(app, chosen, situations, keys, now)
    return EXIT_OK


def _document(
    app: App, chosen: str, situations: dict[str, Situation], keys: list[dict[str, Any]]
) -> dict[str, Any]:
    settings, state = app.settings, situations[chosen].state
    counts: dict[str, int] = {}
    for key in keys:
        counts[key["status"]] = counts.get(key["status"], 0) + 1
    return {
        "mode": "dry-run" if app.dry_run else "live",
        "client": chosen,
        "active_key": situations[chosen].label,
        "strategy": app.strategy(state),
        "auto_rotate_allowed": settings.auto_rotate_allowed,
        "rotation": {
            "auto": app.strategy(state) == "round-robin" and state.auto_rotate is not None,
            "auto_since": _time(state.auto_rotate),
            "on_tie": settings.rotate_on_tie,
            "include_warn": settings.rotate_include_warn,
            "cooldown_seconds": settings.rotation_cooldown_s,
        },
        "policy": {
            "dry_run": app.dry_run,
            "write_config": settings.write_config,
            "require_usage": settings.require_usage,
            "fail_open": settings.fail_open,
            "enforce_file_perms": settings.enforce_file_perms,
        },
        "cache": {
            "usage_seconds": settings.usage_cache_s,
            "recheck_seconds": settings.blocklist_recheck_s,
            "recheck_max": settings.blocklist_recheck_max,
        },
        "payment_block_seconds": settings.payment_block_s,
        "last_health_refresh": _time(_last_refresh(state)),
        "upstream": str(settings.upstream_base_url),
        "proxy": _proxy(app),
        **binding_document(app, app.project),
        "directories": {"auths": settings.auths_dir, "state": settings.state_dir},
        "clients": {
            name: {
                "config": item.config_path,
                "label": item.label,
                "key_id": item.key_id,
                "live": item.live,
                "explanation": item.explanation,
            }
            for name, item in situations.items()
        },
        "counts": {"total": len(keys), **counts},
        "keys": keys,
    }


def _proxy(app: App) -> dict[str, Any]:
    """Whether the proxy runs, and where; what is wrong with it is told by `kmi proxy status`."""
    running = None
    if os.path.lexists(app.store.path("proxy.json")):
        from kmi.proxy.instance import look as look_at_proxy

        with suppress(KmiError):
            running = look_at_proxy(app.store.directory).instance
    if running is None:
        return {"running": False, "address": None, "pid": None}
    return {"running": True, "address": running.base_url, "pid": running.pid}


def _last_refresh(state: State) -> float | None:
    """When a quota was last read."""
    return max((key.usage_at for key in state.keys.values() if key.usage_at), default=None)


def _time(at: float | None) -> str | None:
    return None if at is None else utc_text(at)


def _print(
    app: App,
    chosen: str,
    situations: dict[str, Situation],
    keys: list[dict[str, Any]],
    now: float,
) -> None:
    screen, words, settings = app.screen, app.words, app.settings
    state = situations[chosen].state
    for name, item in situations.items():
        if item.live == "none" and name != chosen:
            continue
        why = item.explanation or words("status.as-swapped")
        label = item.label or words("status.no-key")
        mark = "*" if name == chosen else " "
        screen.data(f"{mark} " + words("status.client", client=name, label=label, why=why))
    strategy, place = app.strategy(state), settings.auths_dir
    screen.data("  " + words("status.strategy", strategy=strategy, place=place))
    if state.auto_rotate is not None:
        allowed = settings.auto_rotate_allowed
        since = app.show_time(state.auto_rotate)
        told = words("status.auto", time=since) if allowed else words("status.auto-barred")
        screen.data(f"  {told}")
    read_at = _last_refresh(state)
    if read_at is not None:
        screen.data("  " + words("status.refreshed", when=words.ago(read_at, now)))
    proxy = _proxy(app)
    if proxy["running"]:
        screen.data("  " + words("status.proxy", address=proxy["address"], pid=proxy["pid"]))
    for line in binding_lines(app, app.project):
        screen.data(f"  {line}")
    if not keys:
        screen.note(words("health.none", place=settings.auths_dir))
        return
    screen.data()
    _table(app, keys, now)


def _table(app: App, keys: list[dict[str, Any]], now: float) -> None:
    words = app.words
    rows = []
    for key in keys:
        used = None if key["last_used"] is None else utc_seconds(key["last_used"])
        drawn, share = "", "?"
        if key["left"] is not None:
            drawn, share = _bar(app, key["left"]), percent(key["left"])
        active = "*" if key["active"] else " "
        status = words.status(key["status"])
        rows.append([active, key["label"], status, drawn, share, words.ago(used, now), key["why"]])
    names = ("health.key", "health.status", "status.left", "health.last-run")
    label, status, left_, used_ = (words(name) for name in names)
    app.screen.table(rows, header=["", label, status, left_, "", used_, ""])


def _bar(app: App, share: float) -> str:
    """The tightest window in eight cells."""
    if not app.screen.boxes:
        return bar(share, 8)
    full = filled(share, 8)
    return "\u2588" * full + "\u2591" * (8 - full)
