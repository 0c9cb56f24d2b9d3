"""What kmi's own records tell of keys, as rows of ``usage.db``: runs, session starts, swaps.

They are kept there because the records themselves are rotated and cleaned, while a call may be read
from its log long after it was made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable

from kmi.masking import mask_data
from kmi.timezones import utc_seconds
from kmi.usage.lines import BAD, number_of, storable
from kmi.usage.store import insert

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from kmi.state import State
    from kmi.usage.logs import Log

_NEVER = float("inf")


class Facts:
    """What was learnt in one ingestion, written as it comes.

    Args:
        base: the open database, within a transaction whenever something is added.
        state: whose active keys and labels are facts, too.
        floor: requests from before it were cleaned.
    """

    def __init__(self, base: sqlite3.Connection, state: State, floor: float = 0.0) -> None:
        self._base = base
        self._floor = floor
        self._state: State | None = state
        self._earliest = _NEVER
        self._labels: dict[str, str] = {}

    def touch(self, moment: float) -> None:
        """Something that happened then is new: what was attributed since has to be looked at."""
        self._earliest = min(self._earliest, moment)

    def flush(self) -> None:
        """Write, in the transaction of what is new, that it has to be attributed yet."""
        if self._state is not None:
            self._take_state(self._state)
            self._state = None
        if self._labels:
            rows = list(self._labels.items())
            self._base.executemany("INSERT OR REPLACE INTO labels VALUES(?, ?)", rows)
            self._labels.clear()
        if self._earliest < _NEVER:
            self._base.execute(
                "INSERT INTO facts VALUES('dirty', ?) ON CONFLICT(name) DO UPDATE SET"
                " value = min(value, excluded.value)",
                (max(self._earliest, 1e-9),),
            )

    def _take_state(self, state: State) -> None:
        active = [(client, a.since, a.key_id) for client, a in state.active.items()]
        before = self._base.total_changes
        insert(self._base, "swaps", active)
        if self._base.total_changes > before:
            self.touch(min(row[1] for row in active))
        self._labels.update({i: k.label for i, k in state.keys.items() if k.label})

    def session(self, log: Log, project: str, born: float, run: str) -> int:
        """The number of a session, which is added or brought up to date."""
        name = (log.client, storable(mask_data(log.session)))
        row = self._base.execute(
            "SELECT id, run FROM sessions WHERE client = ? AND name = ?", name
        ).fetchone()
        if row is None:
            self._base.execute(
                "INSERT INTO sessions(client, name, folder, project, born, run, copied)"
                " VALUES(?, ?, ?, ?, ?, ?, 0)",
                (*name, storable(mask_data(log.folder)), project, born, run),
            )
            return int(self._base.execute("SELECT last_insert_rowid()").fetchone()[0])
        if run and run not in row[1].split():
            text = f"{row[1]} {run}".strip()
            self._base.execute("UPDATE sessions SET run = ? WHERE id = ?", (text, row[0]))
        return int(row[0])

    # Lines of records.

    def take_runs(self, lines: Iterable[bytes]) -> None:
        """Lines of ``runs.jsonl``."""
        runs, starts = [], []
        for record, at in _read(lines):
            try:
                if record["event"] == "run":
                    key = _text(record.get("key"))
                    runs.append(
                        (
                            _text(record["run"]),
                            at,
                            _text(record["client"]),
                            _text(record["cwd"]),
                            _text(record["mode"]),
                            key,
                        )
                    )
                elif record["event"] == "session_start":
                    key = _text(record.get("key"))
                    starts.append(
                        (
                            _text(record["client"]),
                            _text(record["session_id"]),
                            at,
                            key,
                            _text(record["how"]),
                            bool(record.get("follows")),
                            _text(record.get("run_id")),
                        )
                    )
                else:
                    continue
            except BAD:
                continue
            self.touch(at)
            self._name(key, record.get("label"))
        insert(self._base, "runs", runs)
        insert(self._base, "starts", starts)

    def take_audit(self, lines: Iterable[bytes]) -> None:
        """Lines of ``audit.jsonl``: the swaps among them."""
        swaps = []
        for record, at in _read(lines):
            try:
                client, label = record["client"], record["after"]
                gone = label is None and record["command"] == "undo"
                if record["outcome"] != "changed" or not (gone or isinstance(label, str)):
                    continue
                key = "" if gone else _text(record.get("key")) or self._id_of(label)
                swaps.append((_text(client), at, key))
            except BAD:
                continue
            self.touch(at)
            self._name(key, label)
        insert(self._base, "swaps", swaps)

    def take_trace(self, lines: Iterable[bytes]) -> None:
        """Lines of ``trace.jsonl``: the requests whose cost their answer told."""
        from kmi.trace import read_line

        found = []
        for line in lines:
            entry = read_line(line)
            if entry is None or isinstance(entry, int) or entry.tokens is None or not entry.key:
                continue
            prompt, cached, completion = entry.tokens
            cached = min(cached, prompt)
            uid = number_of(("proxy", entry.request, entry.at))
            ended = entry.at + entry.total_s
            if ended < self._floor:
                continue
            found.append(
                (
                    uid,
                    entry.at,
                    ended,
                    storable(entry.session),
                    storable(entry.key),
                    prompt - cached,
                    completion,
                    cached,
                    None,
                )
            )
            self.touch(entry.at)
            self._name(entry.key, entry.label)
        insert(self._base, "requests", found)

    def _name(self, key: str, label: object) -> None:
        if key and isinstance(label, str) and label:
            self._labels[storable(key)] = storable(label)

    def _id_of(self, label: str) -> str:
        """The key that a label named last; "" when nobody knows."""
        for key, name in reversed(list(self._labels.items())):
            if name == label:
                return key
        row = self._base.execute("SELECT key FROM labels WHERE label = ?", (label,)).fetchone()
        return "" if row is None else str(row[0])


def code_session(data: bytes) -> tuple[str, float | None, str]:
    """A session of Kimi Code: its directory, when it was made, and the pinned run it was in.

    The last one is known from the private home of such a run, whose name ends with its id.
    """
    try:
        table = json.loads(data)
        project = table.get("cwd")
        created = table.get("createdAt")
        at = created / 1000 if type(created) in {int, float} and created > 0 else None
    except BAD:
        return "", None, ""
    try:
        home = str(table["agents"]["main"].get("homedir", ""))
    except BAD:
        home = ""  # this version says it elsewhere; the rest holds
    run = home.rpartition("/home/sessions/")[0].rpartition("-")[2]
    is_run = len(run) == 12 and all(c in "0123456789abcdef" for c in run)
    project = storable(mask_data(project)) if isinstance(project, str) else ""
    return project, at, run if is_run else ""


#: What each record file holds that is of use, and who takes it in.
RECORDS: dict[str, tuple[bytes, Callable[[Facts, Iterable[bytes]], None]]] = {
    "runs": (b'"event"', Facts.take_runs),
    "audit": (b'"after"', Facts.take_audit),
    "trace": (b'"request"', Facts.take_trace),
}


def _read(lines: Iterable[bytes]) -> Iterable[tuple[dict[str, Any], float]]:
    for line in lines:
        try:
            record = json.loads(line)
            yield record, utc_seconds(record["ts"])
        except BAD:
            continue


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return storable(value)
