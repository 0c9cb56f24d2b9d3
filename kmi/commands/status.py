"""`kmi status`: the whole situation on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.errors import EXIT_OK
from kmi.health import left, status_of
from kmi.project_words import binding_document, binding_lines
from kmi.settings import CLIENTS
from kmi.situation import Situation, look
from kmi.timezones import show_span, utc_text

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")


def run(args: argparse.Namespace, app: App) -> int:
    """Show mode, clients, keys and what is active; nothing is asked upstream."""
    app.banner()
    chosen = app.client(args.client)
    situations = {client: look(app, client) for client in CLIENTS}
    now = app.now()
    here = situations[chosen]
    states = app.store.with_last_runs(here.state)
    keys: list[dict[str, Any]] = []
    for key in here.keys:
        state = here.state.key(key.key_id)
        status = status_of(key, state, now)
        used = states[key.key_id].last_used if key.key_id in states else None
        keys.append(
            {
                "label": key.label,
                "key_id": key.key_id,
                "active": key.key_id == here.key_id,
                "status": status.name,
                "reason": status.reason,
                "left": left(state, now),
                "last_used": None if used is None else utc_text(used),
            }
        )
    if app.screen.json:
        app.screen.document(_document(app, chosen, situations, keys))
    else:
        _print(app, chosen, situations, keys, now)
    return EXIT_OK


def _document(
    app: App, chosen: str, situations: dict[str, Situation], keys: list[dict[str, Any]]
) -> dict[str, Any]:
    settings = app.settings
    counts: dict[str, int] = {}
    for key in keys:
        counts[key["status"]] = counts.get(key["status"], 0) + 1
    return {
        "mode": "dry-run" if app.dry_run else "live",
        "client": chosen,
        "active_key": situations[chosen].label,
        "strategy": settings.strategy,
        "auto_rotate_allowed": settings.auto_rotate_allowed,
        "upstream": str(settings.upstream_base_url),
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


def _print(
    app: App,
    chosen: str,
    situations: dict[str, Situation],
    keys: list[dict[str, Any]],
    now: float,
) -> None:
    screen = app.screen
    for name, item in situations.items():
        mark = "*" if name == chosen else " "
        if item.live == "none" and name != chosen:
            continue
        screen.data(
            f"{mark} {name}: {item.label or 'no key'} ({item.explanation or 'as swapped in'})"
        )
    settings = app.settings
    screen.data(f"  strategy {settings.strategy}, keys in {settings.auths_dir}")
    for line in binding_lines(app, app.project):
        screen.data(f"  {line}")
    if not keys:
        screen.note(f"there is no key in {settings.auths_dir} (`kmi keys add LABEL` adds one)")
        return
    screen.data()
    rows = []
    for key in keys:
        used = "never"
        if key["last_used"]:
            from kmi.timezones import utc_seconds

            used = f"{show_span(now - utc_seconds(key['last_used']))} ago"
        share = "?" if key["left"] is None else f"{key['left']:.0%}"
        active = "*" if key["active"] else " "
        rows.append([active, key["label"], key["status"], share, used, key["reason"]])
    screen.table(rows, header=["", "key", "status", "left", "last run", ""])
