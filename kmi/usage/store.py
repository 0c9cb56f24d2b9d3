"""``usage.db``: what calls cost, and how far each log was read, always committed together.

Every row can be written twice without harm: its number is made of what it tells, so that a log
which is read again, and a session that was copied, add nothing. A rollback journal is used, not a
write-ahead log: it works on network homes too, and leaves no file beside.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.errors import ConfigError, RefusedError, TryLaterError
from kmi.usage.rows import BY_TIME, EXACT, QUARTER_S, UNKNOWN, UsageRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from kmi.store import Store
else:
    try:  # what `sqlite3` offers, without loading how dates would be stored
        import _sqlite3 as sqlite3
    except ImportError:
        import sqlite3

NAME = "usage.db"
SCHEMA = 1
#: "kmi" and a zero: `file` and others can tell whose it is.
APPLICATION = 0x6B6D6900
#: How long to wait for another `kmi usage`, which holds the file for a second at a time.
BUSY_S = 30.0
#: How sure an attribution is, as the file holds it: the smaller, the surer.
SURE = (EXACT, BY_TIME, UNKNOWN)

_TABLES = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE logs(
    path TEXT PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
    changed INTEGER NOT NULL, place INTEGER NOT NULL, tail BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions(
    id INTEGER PRIMARY KEY, client TEXT NOT NULL, name TEXT NOT NULL, folder TEXT NOT NULL,
    project TEXT NOT NULL, born REAL NOT NULL, run TEXT NOT NULL, copied INTEGER NOT NULL,
    UNIQUE(client, name));
CREATE TABLE calls(
    uid INTEGER PRIMARY KEY, time REAL NOT NULL, session INTEGER NOT NULL, model TEXT NOT NULL,
    input_other INTEGER NOT NULL, output INTEGER NOT NULL, cache_read INTEGER NOT NULL,
    cache_creation INTEGER NOT NULL, key TEXT, sure INTEGER NOT NULL DEFAULT 2);
CREATE INDEX calls_by_time ON calls(time);
CREATE INDEX calls_by_session ON calls(session, time);
CREATE TABLE requests(
    uid INTEGER PRIMARY KEY, time REAL NOT NULL, ended REAL NOT NULL, session TEXT NOT NULL,
    key TEXT NOT NULL, input_other INTEGER NOT NULL, output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL, call INTEGER);
CREATE INDEX requests_by_call ON requests(call, ended);
CREATE TABLE quarters(
    quarter INTEGER NOT NULL, session INTEGER NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
    sure INTEGER NOT NULL, calls INTEGER NOT NULL, input_other INTEGER NOT NULL,
    output INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_creation INTEGER NOT NULL,
    PRIMARY KEY(quarter, session, model, key, sure)) WITHOUT ROWID;
CREATE TABLE runs(
    run TEXT PRIMARY KEY, time REAL NOT NULL, client TEXT NOT NULL, cwd TEXT NOT NULL,
    mode TEXT NOT NULL, key TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE starts(
    client TEXT NOT NULL, session TEXT NOT NULL, time REAL NOT NULL, key TEXT NOT NULL,
    how TEXT NOT NULL, follows INTEGER NOT NULL, run TEXT NOT NULL,
    PRIMARY KEY(client, session, time)) WITHOUT ROWID;
CREATE TABLE swaps(
    client TEXT NOT NULL, time REAL NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY(client, time)) WITHOUT ROWID;
CREATE TABLE labels(key TEXT PRIMARY KEY, label TEXT NOT NULL) WITHOUT ROWID;
"""
#: Requests of the proxy that no session log tells of: other programs, and calls that the clients do
#: not log. Those that one does tell of count there.
_SPENT = """(
SELECT time, session, model, input_other, output, cache_read, cache_creation, key, sure FROM calls
WHERE time >= :since AND time < :until
UNION ALL SELECT ended, 0, '', input_other, output, cache_read, 0, key, 0 FROM requests
WHERE call IS NULL AND ended >= :since AND ended < :until)"""
_QUARTERS = f"""
SELECT CAST(time / 900 AS INTEGER) AS quarter, session, model, ifnull(key, '') AS key, sure,
count(*) AS calls, sum(input_other) AS input_other, sum(output) AS output,
sum(cache_read) AS cache_read, sum(cache_creation) AS cache_creation
FROM {_SPENT} GROUP BY 1, 2, 3, 4, 5"""  # noqa: S608 - texts of this module
_SUMS = "sure, sum(calls), sum(input_other), sum(output), sum(cache_read), sum(cache_creation)"
#: What rows can be put together by: the columns, and whether sessions have to be looked up.
_GROUPS = {
    "key": ("key", False),
    "model": ("model", False),
    "quarter": ("quarter", False),
    "project": ("ifnull(s.project, '')", True),
    "session": ("ifnull(s.client, 'proxy') || char(9) || ifnull(s.name, '')", True),
}
_NEVER = 9e15


class DamagedError(Exception):
    """The file is none of kmi's, or broken; the text says how."""


class Sum(NamedTuple):
    """What some calls cost together.

    Attributes:
        group: the values that they share, in the order asked for.
        sure: one of `EXACT`, `BY_TIME`, `UNKNOWN`.
        calls: how many.
    """

    group: tuple[Any, ...]
    sure: str
    calls: int
    input_other: int
    output: int
    cache_read: int
    cache_creation: int


@contextmanager
def open_usage(store: Store) -> Iterator[UsageStore]:
    """The file, open; it is made if there is none.

    Raises:
        ConfigError: it is of a newer schema.
        DamagedError: it can't be read; `set_aside` lets the next opening begin anew.
        RefusedError, TryLaterError: the system refused, or another kmi holds it.
    """
    path = store.path(NAME)
    store.prepare()
    with _translated(path):
        _prepare(path)
        base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _check(base, path)
            yield UsageStore(base, path)
        finally:
            base.close()


def set_aside(store: Store, error: DamagedError) -> None:
    """Keep a file that can't be read under another name, and say so."""
    path = store.path(NAME)
    with store.transaction():
        with suppress(FileNotFoundError):
            os.unlink(f"{path}-journal")  # it would be played back into the next file
        with suppress(FileNotFoundError):
            store.set_aside(path, error)


def _prepare(path: str) -> None:
    """Make sure that a private, regular file is there: sqlite would make one for everybody."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_CLOEXEC", 0) | os.O_CREAT
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise RefusedError(f"{path} is not a regular file", "move it away")
    os.close(os.open(path, flags, 0o600))


def _check(base: sqlite3.Connection, path: str) -> None:
    """Bring an empty file into form; refuse one that is not ours.

    Raises:
        ConfigError: it is of a newer schema.
        DamagedError: it is something else.
    """
    base.execute("PRAGMA cache_size = -16000")
    version = base.execute("PRAGMA user_version").fetchone()[0]
    tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
    if version == SCHEMA:
        if base.execute(tables).fetchone()[0] != _TABLES.count("CREATE TABLE"):
            raise DamagedError("it lacks a part")
        return
    if version == 0:
        base.execute("BEGIN IMMEDIATE")
        if not base.execute(tables).fetchone()[0]:
            for statement in _TABLES.split(";\n"):
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {SCHEMA}")
        base.execute("COMMIT")
        version = base.execute("PRAGMA user_version").fetchone()[0]
    if base.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise DamagedError("it is the database of another program")
    if version != SCHEMA:
        raise ConfigError(
            f"{path} has schema {version}, this kmi knows up to {SCHEMA}",
            "update kmi; the file was not touched",
            code="newer-schema",
        )


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """What sqlite raises, as kmi's own errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise TryLaterError(
                f"another kmi holds {path}", "try again in a moment", code="lock-timeout"
            ) from None
        if text.startswith("no such"):
            raise DamagedError(text) from None
        raise RefusedError(
            f"can't use {path}: {text}", "check the disk, its owner and mode"
        ) from None
    except sqlite3.DatabaseError as error:
        raise DamagedError(str(error)) from None
    except BrokenPipeError:
        raise  # whoever reads what is printed has gone; the file has nothing to do with it
    except OSError as error:
        raise RefusedError(
            f"can't use {path}: {error.strerror}", "check the disk, its owner and mode"
        ) from None


class UsageStore:
    """The open file.

    Attributes:
        base: the connection; outside of `writing` every statement stands alone.
    """

    def __init__(self, base: sqlite3.Connection, path: str) -> None:
        self.base = base
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All that is written within is committed together, or not at all."""
        self.base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self.base.execute("ROLLBACK")
            raise
        self.base.execute("COMMIT")

    def fact(self, name: str) -> float:
        """A number that is remembered; 0.0 by default. ``floor``: what is older was cleaned."""
        row = self.base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def remember(self, name: str, value: float) -> None:
        """Keep a number."""
        self.base.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (name, value))

    def labels(self) -> dict[str, str]:
        """The last known label of each key id, as the records named it."""
        return dict(self.base.execute("SELECT key, label FROM labels"))

    def add_up(self, since: float) -> None:
        """Sum up each quarter of an hour anew from a time on: a report reads those sums only."""
        first = int(since // QUARTER_S)
        self.base.execute("DELETE FROM quarters WHERE quarter >= ?", (first,))
        self.base.execute(
            f"INSERT INTO quarters {_QUARTERS}", {"since": first * QUARTER_S, "until": _NEVER}
        )

    def sums(self, *groups: str, since: float = 0.0, key: str | None = None) -> list[Sum]:
        """What was spent, put together.

        Args:
            groups: some of key, model, quarter (of an hour, since the epoch), project, session.
            since: seconds since the epoch.
            key: only what this key id paid; "" for what nobody knows of.
        """
        columns = [_GROUPS[name] for name in groups]
        join = "LEFT JOIN sessions s ON s.id = session" if any(c[1] for c in columns) else ""
        where = "" if key is None else "WHERE key = :key"
        names = ", ".join(column for column, _ in columns)
        numbers = ", ".join(str(i + 1) for i in range(len(columns) + 1))
        first = -int(-since // QUARTER_S)  # whole quarters; what is before them is summed up now
        whole = "SELECT * FROM quarters WHERE quarter >= :first"
        spent = f"({whole} UNION ALL {_QUARTERS}) {join} {where} GROUP BY {numbers}"
        rows = self.base.execute(
            f"SELECT {names}, {_SUMS} FROM {spent}",  # noqa: S608 - texts of this module
            {"since": since, "until": first * QUARTER_S, "first": first, "key": key},
        )
        n = len(groups)
        return [Sum(row[:n], SURE[row[n]], *row[n + 1 :]) for row in rows]

    def rows(self, since: float = 0.0) -> Iterator[UsageRow]:
        """Every call, the oldest first."""
        names = (
            "time, ifnull(s.client, 'proxy'), ifnull(s.name, ''), model, key, input_other, output,"
            " cache_read, cache_creation"
        )
        spent = f"{_SPENT} LEFT JOIN sessions s ON s.id = session ORDER BY time"
        found = self.base.execute(
            f"SELECT {names} FROM {spent}",  # noqa: S608 - texts of this module
            {"since": since, "until": _NEVER},
        )
        for row in found:
            yield UsageRow(*row)

    def count(self) -> int:
        """How many calls are known."""
        return self._count("count(*)", 0.0)

    def _count(self, what: str, before: float) -> int:
        calls = f"SELECT {what} FROM calls"  # noqa: S608 - a text of this module
        requests = f"SELECT {what.replace('time', 'ended')} FROM requests"  # noqa: S608 - the same
        rows = (self.base.execute(text, {"before": before}) for text in (calls, requests))
        return sum(row.fetchone()[0] or 0 for row in rows)

    def clean(self, before: float, *, dry_run: bool) -> int:
        """Remove what is older than a moment, with the cursors of logs that hold nothing newer.

        The moment is remembered: a log that is read again brings nothing back.

        Returns:
            how many calls went, or would go.
        """
        count = self._count("sum(time < :before)", before)
        if dry_run:
            return count
        with self.writing():
            self.remember("floor", max(before, self.fact("floor")))
            self._forget(before)
            self.base.execute("DELETE FROM quarters WHERE quarter < ?", (before // QUARTER_S,))
            self.add_up(before)
        if count:
            self.base.execute("VACUUM")
        return count

    def _forget(self, before: float) -> None:
        run = self.base.execute
        run("DELETE FROM calls WHERE time < ?", (before,))
        run("DELETE FROM requests WHERE ended < ?", (before,))
        run(
            "DELETE FROM sessions WHERE id NOT IN (SELECT session FROM calls) AND born < ?",
            (before,),
        )
        # What a session that goes on began with is still needed, and the last swap for ever.
        run(
            "DELETE FROM starts WHERE time < ? AND session NOT IN (SELECT name FROM sessions)",
            (before,),
        )
        run(
            "DELETE FROM runs WHERE time < ? AND cwd NOT IN (SELECT project FROM sessions)",
            (before,),
        )
        run("DELETE FROM swaps WHERE time < (SELECT max(time) FROM swaps o WHERE o.client ="
            " swaps.client AND o.time < ?)", (before,))  # fmt: skip
        gone = [
            (path,)
            for path, changed in run("SELECT path, changed FROM logs").fetchall()
            if changed / 1e9 < before or not os.path.lexists(path)
        ]
        self.base.executemany("DELETE FROM logs WHERE path = ?", gone)


def insert(base: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Add whole rows that are not there yet."""
    found = list(rows)
    if found:
        marks = ", ".join("?" * len(found[0]))
        base.executemany(f"INSERT OR IGNORE INTO {table} VALUES({marks})", found)


def pause() -> None:
    """Between two transactions: let another kmi have its turn."""
    time.sleep(0.02)
