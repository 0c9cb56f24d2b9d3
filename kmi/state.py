"""What kmi remembers, and its JSON form (pure).

``state.json``, schema 1: times are UTC text, keys are named by key id, and no secret is in it.
Unknown fields, at the top and of keys, are kept when the file is written again, so that a newer
kmi of the same schema loses nothing to an older one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kmi.model import Hold, KeyState, Window
from kmi.timezones import utc_seconds, utc_text

SCHEMA = 1
KEY_FIELDS = {
    "label",
    "disabled",
    "hold",
    "windows",
    "usage_at",
    "usage_tried_at",
    "usage_error",
    "usage_wait_until",
    "last_used",
    "traffic",
    "group",
}
#: Swaps that `kmi undo` can take back, per client; as many as there are backups.
UNDO_KEPT = 10


class Active(NamedTuple):
    """The key last swapped into a client's config."""

    key_id: str
    label: str
    since: float


class Undo(NamedTuple):
    """One write of a client's config that `kmi undo` can take back.

    Attributes:
        kind: "swap", "adopt" or "create".
        backup: the name of the backup that holds the bytes from before; "" when there was no file.
        written: SHA-256 of the bytes that were written.
    """

    kind: str
    at: float
    backup: str
    written: str
    from_key: str | None
    to_key: str


@dataclass
class State:
    """Everything in ``state.json``.

    Attributes:
        keys: by key id.
        active: by client.
        undo: by client, oldest first.
        aliases: for keys that a program gives: the provisional id, and every id it gave before, to
            the id of the key that it gave last.
        adopt_declined: clients for which the person declined a provider of kmi's own.
        auto_rotate: since when `kmi rotate auto` is on, or None.
        chosen_at: when a person last named the active key (`kmi use`, `kmi rotate`), or None.
        refresh_at: when a refresh in the background was started last, or None.
    """

    keys: dict[str, KeyState] = field(default_factory=dict)
    active: dict[str, Active] = field(default_factory=dict)
    undo: dict[str, list[Undo]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    adopt_declined: list[str] = field(default_factory=list)
    auto_rotate: float | None = None
    refresh_at: float | None = None
    chosen_at: float | None = None
    unknown: dict[str, Any] = field(default_factory=dict)
    unknown_of_keys: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ids_by_command(self) -> set[str]:
        """The ids of all keys that a program ever gave."""
        return {*self.aliases, *self.aliases.values()}

    def key(self, key_id: str) -> KeyState:
        """The state of a key; an empty one when it has never been used."""
        return self.keys.get(key_id, KeyState())


class SchemaError(ValueError):
    """The file was written by a newer kmi; ``found`` is its schema."""

    def __init__(self, found: int) -> None:
        super().__init__(f"schema {found}")
        self.found = found


def encode(state: State) -> dict[str, Any]:
    """The JSON form."""
    table = dict(state.unknown)
    table.update(
        {
            "schema": SCHEMA,
            "active": {
                client: {"key": a.key_id, "label": a.label, "since": utc_text(a.since)}
                for client, a in state.active.items()
            },
            "keys": {
                key_id: {**state.unknown_of_keys.get(key_id, {}), **_encode_key(key)}
                for key_id, key in state.keys.items()
            },
            "undo": {
                client: [
                    {
                        "kind": item.kind,
                        "at": utc_text(item.at),
                        "backup": item.backup,
                        "written": item.written,
                        "from": item.from_key,
                        "to": item.to_key,
                    }
                    for item in items
                ]
                for client, items in state.undo.items()
            },
            "aliases": dict(state.aliases),
            "adopt_declined": list(state.adopt_declined),
        }
    )
    times = {
        "auto_rotate": state.auto_rotate,
        "refresh_at": state.refresh_at,
        "chosen_at": state.chosen_at,
    }
    for name, at in times.items():
        if at is not None:
            table[name] = utc_text(at)
    return table


def _encode_key(key: KeyState) -> dict[str, Any]:
    table: dict[str, Any] = {"label": key.label}
    if key.disabled:
        table["disabled"] = True
    if key.hold is not None:
        table["hold"] = _encode_hold(key.hold)
    if key.windows:
        table["windows"] = {
            name: {"used": window.used, "resets_at": _time(window.resets_at)}
            for name, window in key.windows.items()
        }
    times = {
        "usage_at": key.usage_at,
        "usage_tried_at": key.usage_tried_at,
        "usage_wait_until": key.usage_wait_until,
        "last_used": key.last_used,
    }
    for name, at in times.items():
        if at is not None:
            table[name] = utc_text(at)
    if key.usage_error:
        table["usage_error"] = key.usage_error
    if key.traffic:
        table["traffic"] = [list(minute) for minute in key.traffic]
    if key.group is not None:
        table["group"] = key.group
    return table


def _encode_hold(hold: Hold) -> dict[str, Any]:
    return {
        "kind": hold.kind,
        "verdict": hold.verdict,
        "since": utc_text(hold.since),
        "until": _time(hold.until),
        "probe_at": _time(hold.probe_at),
        "source": hold.source,
        "window": hold.window,
        "status": hold.status,
        "text": hold.text,
        "strikes": hold.strikes,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else utc_text(at)


def decode(table: Any) -> State:
    """Read the JSON form.

    Raises:
        SchemaError: it is of a newer schema.
        ValueError: it is not a state at all; the message names the field.
    """
    if not isinstance(table, dict):
        raise ValueError("it is not an object")
    schema = table.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError("it has no schema number")
    if schema > SCHEMA:
        raise SchemaError(schema)
    known = {"schema", "active", "keys", "undo", "aliases", "adopt_declined"}
    known |= {"auto_rotate", "refresh_at", "chosen_at"}
    try:
        return State(
            keys={k: _decode_key(_dict(v)) for k, v in _dict(table.get("keys", {})).items()},
            active={
                client: Active(_text(a["key"]), _text(a["label"]), utc_seconds(_text(a["since"])))
                for client, a in _dict(table.get("active", {})).items()
            },
            undo={
                client: [_decode_undo(_dict(item)) for item in _list(items)]
                for client, items in _dict(table.get("undo", {})).items()
            },
            aliases={k: _text(v) for k, v in _dict(table.get("aliases", {})).items()},
            adopt_declined=[_text(item) for item in _list(table.get("adopt_declined", []))],
            auto_rotate=_optional_time(table.get("auto_rotate")),
            refresh_at=_optional_time(table.get("refresh_at")),
            chosen_at=_optional_time(table.get("chosen_at")),
            unknown={k: v for k, v in table.items() if k not in known},
            unknown_of_keys={
                key_id: rest
                for key_id, key in _dict(table.get("keys", {})).items()
                if (rest := {k: v for k, v in key.items() if k not in KEY_FIELDS})
            },
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a field is missing or of the wrong kind ({error})") from None


def _decode_undo(table: dict[str, Any]) -> Undo:
    source = table.get("from")
    return Undo(
        kind=_text(table["kind"]),
        at=utc_seconds(_text(table["at"])),
        backup=_text(table["backup"]),
        written=_text(table["written"]),
        from_key=None if source is None else _text(source),
        to_key=_text(table["to"]),
    )


def _decode_key(table: dict[str, Any]) -> KeyState:
    hold = table.get("hold")
    group = table.get("group")
    return KeyState(
        label=_text(table.get("label", "")),
        disabled=table.get("disabled") is True,
        hold=None if hold is None else _decode_hold(_dict(hold)),
        windows={
            name: Window(_share(w["used"]), _optional_time(w.get("resets_at")))
            for name, w in _dict(table.get("windows", {})).items()
        },
        usage_at=_optional_time(table.get("usage_at")),
        usage_tried_at=_optional_time(table.get("usage_tried_at")),
        usage_error=_text(table.get("usage_error", "")),
        usage_wait_until=_optional_time(table.get("usage_wait_until")),
        last_used=_optional_time(table.get("last_used")),
        traffic=tuple(_minute(m) for m in _list(table.get("traffic", []))),
        group=None if group is None else _text(group),
    )


def _decode_hold(table: dict[str, Any]) -> Hold:
    kind = _text(table["kind"])
    if kind not in {"cooldown", "exhausted", "blocked"}:
        raise ValueError("a hold is of an unknown kind")
    window = table.get("window")
    status = table.get("status")
    return Hold(
        kind=kind,
        verdict=_text(table["verdict"]),
        since=utc_seconds(_text(table["since"])),
        until=_optional_time(table.get("until")),
        probe_at=_optional_time(table.get("probe_at")),
        source=_text(table.get("source", "setting")),
        window=None if window is None else _text(window),
        status=None if status is None else _whole(status),
        text=_text(table.get("text", "")),
        strikes=_whole(table.get("strikes", 1)),
    )


def _minute(value: Any) -> tuple[int, int, int]:
    minute, answers, errors = _list(value)
    return _whole(minute), _whole(answers), _whole(errors)


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string was expected")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number was expected")
    return int(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("a share was expected")
    return min(1.0, max(0.0, float(value)))


def _optional_time(value: Any) -> float | None:
    return None if value is None else utc_seconds(_text(value))
