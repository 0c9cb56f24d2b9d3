"""What `kmi health` shows, before it is drawn: rows, accounts, and what a person should do (pure).

JSON, plain text and the coloured table are all made from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmi.health import left, recent, status_of, window_left
from kmi.model import WINDOW_S, KeyState
from kmi.polling import next_poll
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.health import Status
    from kmi.model import ApiKey
    from kmi.polling import Pace

_ORDER = {name: number for number, name in enumerate(WINDOW_S)}
#: Statuses of keys that a run may get.
USABLE = {"healthy", "warn", "unknown"}


@dataclass(frozen=True)
class Gauge:
    """One quota window: the share left (None: the reading is past its reset), and its reset."""

    name: str
    left: float | None
    resets_at: float | None


@dataclass(frozen=True)
class Row:
    """One key.

    Attributes:
        active: the clients whose config holds it.
        account: "A", "B", … where several keys share an account, else "".
        next_poll: when kmi may ask about it by itself, or None.
    """

    key: ApiKey
    state: KeyState
    status: Status
    left: float | None
    gauges: tuple[Gauge, ...]
    active: tuple[str, ...]
    account: str
    next_poll: float | None


@dataclass(frozen=True)
class Advice:
    """Something a person should know or do: a message of `messages.health`, and its values.

    ``at`` holds moments: "when" becomes how long ago or ahead, "time" a time of day.
    """

    name: str
    label: str
    values: Mapping[str, Any]
    at: float | None = None
    urgent: bool = True


@dataclass(frozen=True)
class Overview:
    """Everything at one moment; ``barred`` are the labels whose base URL is not allowed."""

    now: float
    rows: tuple[Row, ...]
    accounts: Mapping[str, tuple[str, ...]]
    advice: tuple[Advice, ...]
    barred: frozenset[str] = frozenset()

    @property
    def usable(self) -> int:
        """How many keys a run may get."""
        return sum(
            row.status.name in USABLE and row.key.label not in self.barred for row in self.rows
        )


def look_over(
    keys: Sequence[ApiKey],
    states: Mapping[str, KeyState],
    *,
    active: Mapping[str, str],
    barred: Mapping[str, str],
    pace: Pace,
    now: float,
) -> Overview:
    """Put together what is known.

    Args:
        keys: in their order.
        states: by key id.
        active: client to the key id that its config holds.
        barred: ``{label: why}`` for keys whose base URL is not allowed.
        pace: how often kmi asks by itself.
        now: seconds since the epoch.
    """
    accounts = _accounts(keys, states)
    names = {label: name for name, labels in accounts.items() for label in labels}
    rows = []
    for key in keys:
        state = states.get(key.key_id, KeyState())
        clients = tuple(sorted(name for name, key_id in active.items() if key_id == key.key_id))
        rows.append(
            Row(
                key,
                state,
                status_of(key, state, now),
                left(state, now),
                _gauges(state, now),
                clients,
                names.get(key.label, ""),
                next_poll(key, state, pace, now),
            )
        )
    advice = tuple(_advice(rows, accounts, barred, now))
    return Overview(now, tuple(rows), accounts, advice, frozenset(barred))


def _accounts(keys: Sequence[ApiKey], states: Mapping[str, KeyState]) -> dict[str, tuple[str, ...]]:
    """Accounts that several keys share, by a letter (or a number, when letters run out)."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        group = states.get(key.key_id, KeyState()).group
        if group is not None:
            groups.setdefault(group, []).append(key.label)
    shared = [tuple(labels) for labels in groups.values() if len(labels) > 1]
    return {chr(65 + n) if n < 26 else str(n + 1): labels for n, labels in enumerate(shared)}


def _gauges(state: KeyState, now: float) -> tuple[Gauge, ...]:
    names = sorted(state.windows, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    return tuple(
        Gauge(
            name,
            window_left(name, state.windows[name], state.usage_at, now),
            state.windows[name].resets_at,
        )
        for name in names
    )


def _advice(
    rows: Sequence[Row],
    accounts: Mapping[str, tuple[str, ...]],
    barred: Mapping[str, str],
    now: float,
) -> list[Advice]:
    """The most pressing first."""
    found = []
    mine = [row for row in rows if row.key.label not in barred]
    if mine and not any(row.status.name in USABLE for row in mine):
        found.append(_all_out(mine))
    for row in rows:
        label, status = row.key.label, row.status
        if status.name == "blocked":
            known = {"dead-key", "banned", "payment", "no-money"}
            name = f"health.do-{status.code if status.code in known else 'unknown'}"
            text = row.state.hold.text if row.state.hold is not None else ""
            values = {"label": label, "host": row.key.base_url.netloc, "error": text or status.code}
            found.append(Advice(name, label, values))
        if label in barred:
            found.append(Advice("health.not-allowed", label, {"label": label}))
        elif row.state.usage_error and status.name != "disabled" and not _told(row):
            found.append(_failure(row))
    unasked = [
        row.key.label
        for row in rows
        if row.state.usage_tried_at is None
        and row.status.name == "unknown"
        and row.key.label not in barred
    ]
    if unasked:
        found.append(Advice("health.not-asked", "", {"labels": ", ".join(unasked)}, urgent=False))
    for name, labels in accounts.items():
        shared: dict[str, Any] = {"name": name, "count": len(labels), "labels": ", ".join(labels)}
        found.append(Advice("health.group", "", shared, urgent=False))
    return found


def _all_out(rows: Sequence[Row]) -> Advice:
    back = [(row.status.until, row.key.label) for row in rows if row.status.until is not None]
    if not back:
        return Advice("health.all-out-by-hand", "", {})
    at, label = min(back)
    return Advice("health.all-out", label, {"label": label}, at)


def _told(row: Row) -> bool:
    """Whether the failed reading is what blocks the key: then its status says it already."""
    hold = row.state.hold
    return (
        row.status.name == "blocked" and hold is not None and hold.since == row.state.usage_tried_at
    )


def _failure(row: Row) -> Advice:
    """Which key, what happened, what is shown instead and how old that is."""
    state, label = row.state, row.key.label
    values = {"label": label, "error": state.usage_error}
    if state.usage_wait_until is None and state.usage_at is not None:
        return Advice("health.drift", label, values, urgent=False)
    if state.usage_at is None:
        return Advice("health.failed-first", label, values)
    return Advice("health.failed", label, values, state.usage_at)


def document(view: Overview) -> dict[str, Any]:
    """The JSON of it, without the texts of the advice."""
    counts: dict[str, int] = {}
    for row in view.rows:
        counts[row.status.name] = counts.get(row.status.name, 0) + 1
    return {
        "at": utc_text(view.now),
        "counts": {"total": len(view.rows), "usable": view.usable, **counts},
        "accounts": [
            {"name": name, "labels": list(labels)} for name, labels in view.accounts.items()
        ],
        "keys": [_row_document(row, view.now) for row in view.rows],
    }


def _row_document(row: Row, now: float) -> dict[str, Any]:
    state, hold = row.state, row.state.hold
    held = hold is not None and hold.active(now)
    return {
        "label": row.key.label,
        "key_id": row.key.key_id,
        "host": row.key.base_url.netloc,
        "active": list(row.active),
        "status": row.status.name,
        "code": row.status.code,
        "reason": row.status.reason,
        "back_at": _time(row.status.until),
        "left": _share(row.left),
        "windows": [
            {"name": gauge.name, "left": _share(gauge.left), "resets_at": _time(gauge.resets_at)}
            for gauge in row.gauges
        ],
        "usage": {
            "read_at": _time(state.usage_at),
            "tried_at": _time(state.usage_tried_at),
            "error": state.usage_error or None,
            "next_at": _time(row.next_poll or None),
        },
        "evidence": {
            "verdict": hold.verdict,
            "since": _time(hold.since),
            "probe_at": _time(hold.probe_at),
            "source": hold.source,
            "window": hold.window,
            "status": hold.status,
            "text": hold.text,
        }
        if hold is not None and held
        else None,
        "errors_last_hour": sum(errors for _, _, errors in recent(state, now)),
        "account": row.account or None,
        "last_used": _time(state.last_used),
    }


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _time(at: float | None) -> str | None:
    return None if at is None else utc_text(at)
