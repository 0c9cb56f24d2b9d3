"""`kmi audit`: who changed what, when, and what was refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kmi.arguments import read_count, read_span
from kmi.errors import EXIT_OK
from kmi.timezones import utc_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from kmi.app import App

OUTCOMES = ("changed", "unchanged", "denied")
#: Fields of every record; the others say what it was about.
_COMMON = {"schema", "ts", "event", "actor", "command", "outcome"}
#: What of a record fits on a line.
_SHOWN_MAX = 160


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--lines", type=read_count, default=50, metavar="N", help="how many of the last (50)"
    )
    parser.add_argument(
        "--since", type=read_span, metavar="SPAN", help="only what is younger: 10m, 2h, 30d"
    )
    parser.add_argument("--command", metavar="NAME", help="only this command, such as `keys`")
    parser.add_argument("--outcome", choices=OUTCOMES, help="only what ended so")
    parser.add_argument("--actor", metavar="NAME", help="only what this person did")
    parser.add_argument("--key", metavar="LABEL", help="only what names this key")


def run(args: argparse.Namespace, app: App) -> int:
    """Show the last records that were asked for, the oldest first."""
    path = app.store.path("audit.jsonl")
    oldest = None if args.since is None else app.now() - args.since
    found: list[dict[str, Any]] = []
    for record in _records(path, oldest):
        if len(found) >= args.lines:
            break
        if _wanted(record, args):
            found.append(record)
    found.reverse()
    if app.screen.json:
        app.screen.document({"records": found})
        return EXIT_OK
    if not found:
        app.screen.note("there is no such record" if _asked(args) else "nothing was changed yet")
        return EXIT_OK
    rows = [
        [
            app.show_time(utc_seconds(record["ts"])),
            _text(record.get("actor")),
            _text(record.get("command")),
            _text(record.get("outcome")),
            summary(record),
        ]
        for record in found
    ]
    app.screen.table(rows, header=["when", "who", "command", "outcome", "what"])
    return EXIT_OK


def _records(path: str, oldest: float | None) -> Iterator[dict[str, Any]]:
    """The records that can be read, the latest first, back to a moment."""
    from kmi.journal import Follower

    reader = Follower(path)
    try:
        for line in reader.past():
            try:
                record = json.loads(line)
                at = utc_seconds(record["ts"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # a line that a full disk cut off
            if not _is_shallow(record):
                continue  # none of kmi's own
            if oldest is not None and at < oldest:
                return
            yield record
    finally:
        reader.close()


def _asked(args: argparse.Namespace) -> bool:
    return any((args.since, args.command, args.outcome, args.actor, args.key))


def _wanted(record: Mapping[str, Any], args: argparse.Namespace) -> bool:
    for name in ("command", "outcome", "actor"):
        asked = getattr(args, name)
        if asked is not None and record.get(name) != asked:
            return False
    return args.key is None or _names(record, args.key)


def _is_shallow(value: object, room: int = 20) -> bool:
    """Whether a record is nested as little as kmi's own are, and so can be walked through."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return room > 0 and all(_is_shallow(item, room - 1) for item in inner)


def _names(value: object, label: str) -> bool:
    """Whether a label stands anywhere in a record, as a value or as a name."""
    if isinstance(value, dict):
        return any(_names(v, label) for v in value.values()) or label in value
    if isinstance(value, list):
        return any(_names(item, label) for item in value)
    return value == label


def summary(record: Mapping[str, Any]) -> str:
    """What a record is about, in one line.

    >>> summary({"command": "use", "client": "kimi-cli", "before": "work", "after": "home"})
    'client=kimi-cli work -> home'
    """
    rest = {name: value for name, value in record.items() if name not in _COMMON}
    parts = []
    if "before" in rest and "after" in rest:
        change = f"{_text(rest.pop('before'))} -> {_text(rest.pop('after'))}"
    else:
        change = ""
    parts = [f"{name}={_text(value)}" for name, value in rest.items() if value not in (None, "")]
    text = " ".join([*parts, change]).strip()
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
