"""`/status` and `/metrics` of the proxy, from what it counts and what it picks keys by (pure).

Neither holds a secret or an organisation's id. The keys look as in `kmi health --json`, with what
the proxy knows of them besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.overview import USABLE, document, look_over
from kmi.polling import Pace
from kmi.proxy.tally import BUCKETS_S, STEP_S, STEPS, Cell, Histogram
from kmi.timezones import utc_text
from kmi.trace import ENOUGH, confidence, entry_document, entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.model import KeyState
    from kmi.overview import Overview
    from kmi.proxy.limits import Caps
    from kmi.proxy.tally import Tally
    from kmi.proxy.view import View

#: Requests that `/status` lists. The page asks every second, on the thread that relays.
LISTED = 50
#: The media type of `metrics_text`.
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


#: The default of a mapping that is never changed.
_NOTHING: Mapping[str, int] = {}


class Live(NamedTuple):
    """What the event loop knows at a moment besides its tally and its view.

    Attributes:
        now, started_at: seconds since the epoch.
        version: that of kmi.
        listening: where, such as "127.0.0.1:54123".
        base_path: below which the API is.
        states: of the keys, by key id, with what was learnt since the view was made.
        in_flight: requests by key id.
        queued: requests that wait for a slot, a rate, or a key.
        sessions: how many are remembered.
        caps: the limits of the settings.
        draining: it ends as soon as its streams have.
        refused: requests that were not served at all, by the word for it.
    """

    now: float
    started_at: float
    version: str
    listening: str
    base_path: str
    states: Mapping[str, KeyState]
    in_flight: Mapping[str, int]
    queued: int
    sessions: int
    caps: Caps
    draining: bool = False
    refused: Mapping[str, int] = _NOTHING


def status_document(view: View, tally: Tally, live: Live) -> dict[str, Any]:
    """The JSON of `/status`, schema 1."""
    sight = _sight(view, live)
    shown = document(sight)
    whole = tally.total()
    recent = [entry_of(served) for served in tally.recent]
    sure = confidence(recent)
    return {
        "schema": 1,
        **shown,
        "version": live.version,
        "started_at": utc_text(live.started_at),
        "listening": live.listening,
        "base_path": live.base_path,
        "draining": live.draining,
        "refused": dict(live.refused),
        "strategy": view.policy.strategy,
        "may_change_keys": view.may_change,
        "auto_rotate_since": None if view.auto_rotate is None else utc_text(view.auto_rotate),
        "sessions": live.sessions,
        "in_flight": sum(live.in_flight.values()),
        "queued": live.queued,
        "limits": live.caps._asdict(),
        "totals": {
            **_cell_document(whole),
            "retried": sum(tally.failed.values()),
            "waits": tally.waits,
            "waited_s": round(tally.waited_s, 3),
            "trace_dropped": tally.dropped,
        },
        "confidence": {"percent": sure.percent, "placements": sure.placements, "needed": ENOUGH},
        "keys": _keys(sight, shown["keys"], tally, live),
        "timeline": _timeline(tally, live.now),
        "recent": [entry_document(entry) for entry in recent[: -LISTED - 1 : -1]],
        "problems": list(view.problems),
    }


def _sight(view: View, live: Live) -> Overview:
    active = {} if view.active is None else {"proxy": view.active.key_id}
    return look_over(
        view.keys,
        live.states,
        active=active,
        barred=view.policy.unavailable,
        pace=Pace(),
        now=live.now,
    )


def _keys(
    sight: Overview, documents: list[dict[str, Any]], tally: Tally, live: Live
) -> list[dict[str, Any]]:
    cells = tally.by_label()
    last = {served.label: served for served in tally.recent}
    found = []
    for row, shown in zip(sight.rows, documents):
        label = row.key.label
        served = last.get(label)
        found.append(
            {
                **shown,
                "priority": row.key.priority,
                "usable": row.status.name in USABLE,
                "in_flight": live.in_flight.get(row.key.key_id, 0),
                "served": _cell_document(cells.get(label, Cell())),
                "last_verdict": None if served is None else served.verdict,
                "last_request": None if served is None else utc_text(served.at),
            }
        )
    return found


def _cell_document(cell: Cell) -> dict[str, int]:
    return {name: getattr(cell, name) for name in Cell.__slots__}


def _timeline(tally: Tally, now: float) -> dict[str, Any]:
    """Who served what in the last steps, the present one last."""
    last = int(now) // STEP_S
    first = last - STEPS + 1
    rows: dict[str, list[int]] = {}
    for step, counts in tally.steps:
        if first <= step <= last:
            for label, count in counts.items():
                rows.setdefault(label, [0] * STEPS)[step - first] += count
    rows.pop("", None)
    return {
        "start": utc_text(first * STEP_S),
        "step_s": STEP_S,
        "keys": {label: rows[label] for label in sorted(rows)},
    }


class Family(NamedTuple):
    """One metric: its name, its kind, what it is, and its values by their labels."""

    name: str
    kind: str
    about: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def metrics_text(view: View, tally: Tally, live: Live) -> str:
    """The metrics in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for family in (*_of_proxy(tally, live), *_of_requests(tally), *_of_keys(view, live)):
        lines += _head(family.name, family.kind, family.about)
        lines += [f"{family.name}{_labels(of)} {_number(n)}" for of, n in family.samples]
    lines += _histogram(
        "kmi_first_byte_seconds", "Time to the first byte of answers.", tally.first_byte
    )
    lines += _histogram("kmi_request_seconds", "Time to the last byte of answers.", tally.whole)
    return "\n".join(lines) + "\n"


def _of_proxy(tally: Tally, live: Live) -> list[Family]:
    return [
        Family("kmi_build_info", "gauge", "The version of kmi.", [({"version": live.version}, 1)]),
        _single("kmi_start_time_seconds", "gauge", "When it started.", live.started_at),
        _single("kmi_draining", "gauge", "1 while it ends.", live.draining),
        _single("kmi_sessions", "gauge", "Sessions that keep a key.", live.sessions),
        _single("kmi_requests_queued", "gauge", "Requests that wait for a key now.", live.queued),
        Family(
            "kmi_refused_requests_total",
            "counter",
            "Requests that were not served: no token, a web page, not HTTP as it should be.",
            [({"code": code}, count) for code, count in sorted(live.refused.items())],
        ),
        _single("kmi_waits_total", "counter", "Requests that waited for a key.", tally.waits),
        _single(
            "kmi_waited_seconds_total", "counter", "How long they waited together.", tally.waited_s
        ),
        _single(
            "kmi_trace_dropped_total",
            "counter",
            "Lines of the trace that the disk could not take.",
            tally.dropped,
        ),
    ]


def _single(name: str, kind: str, about: str, value: float) -> Family:
    return Family(name, kind, about, [({}, value)])


def _of_requests(tally: Tally) -> list[Family]:
    cells = sorted(tally.by_label().items())
    return [
        Family(
            "kmi_requests_total",
            "counter",
            "Finished requests, by the key that served them last, the status and the verdict.",
            [
                ({"key": label, "status": str(status), "verdict": verdict}, cell.requests)
                for (label, status, verdict), cell in sorted(tally.cells.items())
            ],
        ),
        Family(
            "kmi_attempts_failed_total",
            "counter",
            "Attempts that another one followed.",
            [
                ({"key": label, "verdict": verdict}, count)
                for (label, verdict), count in sorted(tally.failed.items())
            ],
        ),
        Family(
            "kmi_sent_bytes_total",
            "counter",
            "Bytes of requests' bodies.",
            [({"key": label}, cell.sent) for label, cell in cells],
        ),
        Family(
            "kmi_received_bytes_total",
            "counter",
            "Bytes of answers' bodies.",
            [({"key": label}, cell.received) for label, cell in cells],
        ),
        Family(
            "kmi_tokens_total",
            "counter",
            "Tokens as answers told them; cached ones are part of those of the prompt.",
            [
                ({"key": label, "kind": kind}, getattr(cell, kind))
                for label, cell in cells
                for kind in ("prompt", "cached", "completion")
            ],
        ),
    ]


def _of_keys(view: View, live: Live) -> list[Family]:
    rows = _sight(view, live).rows
    return [
        Family(
            "kmi_requests_in_flight",
            "gauge",
            "Requests that a key serves now.",
            [({"key": row.key.label}, live.in_flight.get(row.key.key_id, 0)) for row in rows],
        ),
        Family(
            "kmi_key_usable",
            "gauge",
            "1 while a key can be picked.",
            [({"key": row.key.label}, row.status.name in USABLE) for row in rows],
        ),
        Family(
            "kmi_key_left_ratio",
            "gauge",
            "What is left of a quota window, 0 to 1.",
            [
                ({"key": row.key.label, "window": gauge.name}, gauge.left)
                for row in rows
                for gauge in row.gauges
                if gauge.left is not None
            ],
        ),
        Family(
            "kmi_key_back_time_seconds",
            "gauge",
            "When a key that is out comes back.",
            [
                ({"key": row.key.label}, row.status.until)
                for row in rows
                if row.status.until is not None
            ],
        ),
    ]


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _histogram(name: str, about: str, histogram: Histogram) -> list[str]:
    lines = _head(name, "histogram", about)
    so_far = 0
    for end, count in zip((*map(_number, BUCKETS_S), "+Inf"), histogram.counts):
        so_far += count
        lines.append(f'{name}_bucket{{le="{end}"}} {so_far}')
    return [*lines, f"{name}_sum {_number(histogram.total_s)}", f"{name}_count {so_far}"]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """A number as short as it is exact; whole ones without a fraction."""
    return str(int(value)) if value == int(value) else repr(float(value))
