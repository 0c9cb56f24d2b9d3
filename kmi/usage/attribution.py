"""Which key paid for the calls in ``usage.db``, found out anew as more becomes known.

What a call cost never changes; who paid for it may become surer, and never less sure: records that
told of it may have been cleaned since.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from kmi.masking import mask_data
from kmi.proxy.affinity import short_name
from kmi.usage.aliases import NO_ALIASES, alias_keys
from kmi.usage.keys import (
    LATE_S,
    Paid,
    Request,
    Run,
    Session,
    Spell,
    Start,
    by_cost,
    matched,
    payer,
    spells,
)
from kmi.usage.lines import storable
from kmi.usage.rows import BY_TIME, EXACT, QUARTER_S
from kmi.usage.store import SURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.usage.store import UsageStore

#: What became known may change the attribution of what came this long before, and no more.
BACK_S = 86400.0
_RANK = {name: number for number, name in enumerate(SURE)}


class _Row(NamedTuple):
    """A session, as the file holds it."""

    number: int
    client: str
    name: str
    folder: str
    project: str
    born: float
    runs: str
    copied: int


def attribute(store: UsageStore, homes: Mapping[str, str]) -> None:
    """Find out who paid for what is new, and for what may be known better by now."""
    since = store.fact("dirty")
    if not since:
        return
    with store.writing():
        since = max(0.0, min(since, _name_projects(store, homes)) - BACK_S)
        _Attribution(store, since, homes).run()
        store.add_up(max(0.0, since - LATE_S - QUARTER_S))
        store.base.execute("DELETE FROM facts WHERE name = 'dirty'")


def _name_projects(store: UsageStore, homes: Mapping[str, str]) -> float:
    """Name the directories of sessions that are not known yet; gives when the first of them began.

    The folders of kimi-cli hold a hash only; what Kimi Code says may not have been readable.
    """
    base = store.base
    nameless = base.execute(
        "SELECT id, client, folder, born FROM sessions WHERE project = ''"
    ).fetchall()
    earliest = float("inf")
    if not nameless:
        return earliest
    from kmi.usage.facts import code_session
    from kmi.usage.logs import read_beside
    from kmi.usage.projects import cli_projects

    cwds = [row[0] for row in base.execute("SELECT DISTINCT cwd FROM runs")]
    projects = cli_projects(homes.get("kimi-cli", ""), cwds)
    for number, client, folder, born in nameless:
        if client == "kimi-cli":
            project = storable(mask_data(projects(folder)))
        else:
            project = code_session(read_beside(folder, "state.json"))[0]
        if project:
            earliest = min(earliest, born)
            base.execute("UPDATE sessions SET project = ? WHERE id = ?", (project, number))
    return earliest


class _Attribution:
    """One pass over what has to be looked at."""

    def __init__(self, store: UsageStore, since: float, homes: Mapping[str, str]) -> None:
        self._base = store.base
        self._aliases = alias_keys(homes["kimi-code"]) if "kimi-code" in homes else NO_ALIASES
        self._since = since
        self._rows = [_Row(*row) for row in self._base.execute("SELECT * FROM sessions")]
        self._swaps = self._read_swaps()
        self._requests = by_cost(
            Request(row[0], row[1], row[2], row[3], row[4], row[5:])
            for row in self._base.execute(
                "SELECT uid, time, ended, session, key, input_other, cache_read, output"
                " FROM requests WHERE call IS NULL"
            )
        )

    def run(self) -> None:
        """Look at every session that may have changed."""
        touched = {
            row[0]
            for row in self._base.execute(
                "SELECT DISTINCT session FROM calls WHERE time >= ?", (self._since,)
            )
        }
        if self._requests:
            self._match([row for row in self._rows if row.number in touched])
        places: dict[tuple[str, str], list[_Row]] = {}
        for row in self._rows:
            # Of a project that nobody knows each session stands alone.
            places.setdefault((row.client, row.project or row.name), []).append(row)
        for (client, project), rows in places.items():
            if any(row.number in touched for row in rows):
                found = self._spells(client, project, rows)
                for row in rows:
                    if row.number in touched:
                        self._session(row, found[row.number])

    def _match(self, rows: Sequence[_Row]) -> None:
        """Find the calls that the proxy saw: first those of its sessions, then by cost and time."""
        for own in (True, False):
            for row in rows:
                session = short_name(row.name)
                calls = [
                    (found[0], found[1], found[2:])
                    for found in self._base.execute(
                        "SELECT uid, time, input_other + cache_creation, cache_read, output"
                        " FROM calls WHERE session = ? AND time >= ?"
                        " AND NOT EXISTS (SELECT 1 FROM requests WHERE call = calls.uid)"
                        " ORDER BY time",
                        (row.number, self._since),
                    )
                ]
                seen = matched(calls, session if own else None, self._requests)
                self._base.executemany(
                    "UPDATE requests SET call = ? WHERE uid = ?",
                    [(uid, request.uid) for uid, request in seen.items()],
                )
                self._base.executemany(
                    "UPDATE calls SET key = ?, sure = 0 WHERE uid = ?",
                    [(request.key, uid) for uid, request in seen.items()],
                )

    def _read_swaps(self) -> dict[str, list[tuple[float, str]]]:
        """When which key came into each client's config: swaps, and runs that found it there."""
        found: dict[str, list[tuple[float, str]]] = {}
        for client, time, key in self._base.execute(
            "SELECT client, time, key FROM swaps UNION SELECT client, time, key FROM runs"
            " WHERE mode IN ('following', 'swapped') AND key != ''"
            " UNION SELECT client, time, key FROM starts"
            " WHERE how = 'config' AND key != '' ORDER BY 2"
        ):
            found.setdefault(client, []).append((time, key))
        return found

    def _spells(self, client: str, project: str, rows: Sequence[_Row]) -> dict[int, list[Spell]]:
        runs = [
            Run(*row)
            for row in self._base.execute(
                "SELECT run, time, mode, key FROM runs WHERE client = ? AND cwd = ? ORDER BY time",
                (client, project),
            )
        ]
        return spells(runs, [self._session_of(row) for row in rows])

    def _session_of(self, row: _Row) -> Session:
        times = array("d")
        for (time,) in self._base.execute(
            "SELECT time FROM calls WHERE session = ? ORDER BY time", (row.number,)
        ):
            times.append(time)
        starts = [
            Start(*found)
            for found in self._base.execute(
                "SELECT time, key, how, follows, run FROM starts WHERE client = ? AND session = ?"
                " ORDER BY time",
                (row.client, row.name),
            )
        ]
        # What a copy repeats was made before it; its own begins with the first call of its own.
        born = times[0] if row.copied and times else row.born
        return Session(row.number, born, frozenset(row.runs.split()), times, starts)

    def _session(self, row: _Row, found: Sequence[Spell]) -> None:
        """Attribute the calls of a session that the proxy did not see."""
        swaps = self._swaps.get(row.client, [])
        changed = []
        for uid, time, model, key, sure in self._base.execute(
            "SELECT uid, time, model, key, sure FROM calls WHERE session = ? AND time >= ?"
            " AND NOT EXISTS (SELECT 1 FROM requests WHERE call = calls.uid)",
            (row.number, self._since),
        ):
            paid = payer(row.client, time, found, swaps, self._own(row.client, model, time))
            rank = _RANK[paid.sure]
            if rank < sure or (rank == sure and paid.key != key):
                changed.append((paid.key, rank, uid))
        self._base.executemany("UPDATE calls SET key = ?, sure = ? WHERE uid = ?", changed)

    def _own(self, client: str, model: str, time: float) -> Paid | None:
        """Who pays for a model that has a key of its own."""
        key = self._aliases.keys.get(model) if client == "kimi-code" else None
        if key is None:
            return None
        return Paid(key, EXACT if time > self._aliases.since else BY_TIME)
