"""From session logs and kmi's own records into ``usage.db``: only what is new, only whole lines.

What a log told and how far it was read are committed in one transaction, a few dozen megabytes at a
time, so that a kill at any point loses nothing and doubles nothing. A second kmi that reads at the
same time waits for its turn, and goes on where the first one was.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import KmiError
from kmi.usage.logs import (
    Log,
    find_logs,
    marked_lines,
    open_log,
    read_beside,
    sessions_folder,
)
from kmi.usage.store import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kmi.state import State
    from kmi.usage.facts import Facts
    from kmi.usage.lines import Call
    from kmi.usage.store import UsageStore

#: So much is read between two commits: a second's work, for which another kmi waits.
BATCH_BYTES = 48 * 1024 * 1024
#: How much of the end of what was read is kept as a hash, to know the same file again.
TAIL_BYTES = 1024
#: The first lines of a log, which say when it begins, are not longer.
_HEAD_BYTES = 64 * 1024
_NEVER = float("inf")
#: The largest number that a database takes.
_BITS = (1 << 63) - 1


class Found(NamedTuple):
    """What there was to read: how many logs, and how many of them had something new."""

    logs: int
    read: int


def ingest(
    store: UsageStore,
    homes: Mapping[str, str],
    state_dir: str,
    state: State,
    step: Callable[[int, int], None],
    warn: Callable[[str], None],
) -> Found:
    """Bring the file up to date.

    Args:
        store: open.
        homes: of each client, its home.
        state_dir: where kmi's own records are.
        state: whose active keys are known, with the times since when.
        step: is called with the bytes that were read, and those that there are.
        warn: is called with a sentence about a file that can't be read.
    """
    logs = [log for client, home in homes.items() for log in find_logs(client, home)]
    reader = _Reader(store, homes, step, warn)
    changed = [log for log in logs if reader.is_new(log.path, log.status)]
    records = [
        (path, status) for path, status in _records(state_dir) if reader.is_new(path, status)
    ]
    if changed or records or store.fact("dirty"):
        from kmi.usage.attribution import attribute
        from kmi.usage.facts import Facts

        facts = Facts(store.base, state, store.fact("floor"))
        reader.total = sum(item.status.st_size for item in changed)
        for path, status in records:
            reader.read_records(path, status, facts)
        for log in changed:
            reader.read_log(log, facts)
        reader.commit()
        step(reader.total, reader.total)
        attribute(store, homes)
    return Found(len(logs), len(changed))


def _records(state_dir: str) -> list[tuple[str, os.stat_result]]:
    """Those of kmi's own records that tell of keys, the rotated ones too."""
    found = []
    names = ["runs.jsonl", "audit.jsonl", "trace.jsonl"]
    with suppress(FileNotFoundError):
        names += sorted(
            n for n in os.listdir(state_dir) if n[:12] == "trace.jsonl." and n[12:].isdigit()
        )
    for name in names:
        path = os.path.join(state_dir, name)
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                found.append((path, status))
    return found


class _Reader:
    """One ingestion.

    Attributes:
        total: the bytes of the logs that have to be looked at.
    """

    def __init__(
        self,
        store: UsageStore,
        homes: Mapping[str, str],
        step: Callable[[int, int], None],
        warn: Callable[[str], None],
    ) -> None:
        self._base = store.base
        self._tell = step
        self._warn = warn
        self._roots = {client: sessions_folder(home) for client, home in homes.items()}
        #: By path: device, inode, size and mtime as they were when it was read.
        self._seen: dict[str, tuple[int, ...]] = {
            row[0]: row[1:]
            for row in self._base.execute("SELECT path, device, inode, size, changed FROM logs")
        }
        self._moved = {seen[:2]: path for path, seen in self._seen.items()}
        self._floor = store.fact("floor")
        self._sessions: dict[tuple[str, str], int] = {}
        self._writing = False
        self._since_commit = 0
        self._done = 0
        self.total = 0

    def is_new(self, path: str, status: os.stat_result) -> bool:
        """Whether a file may hold what was not read yet; nothing is opened."""
        seen = self._seen.get(_name(path))
        if seen is None:
            return status.st_mtime >= self._floor
        return seen != look(status)

    def commit(self) -> None:
        """Keep what was read so far."""
        if self._writing:
            self._writing = False
            self._base.execute("COMMIT")
        self._since_commit = 0

    def _begin(self) -> None:
        if not self._writing:
            self._base.execute("BEGIN IMMEDIATE")
            self._writing = True

    # Session logs.

    def read_log(self, log: Log, facts: Facts) -> None:
        """Take in what a session's log tells beyond what it told before."""
        from kmi.usage.lines import MARKERS, read_call

        done = self._done
        try:
            fd, status = open_log(log.path, self._roots[log.client])
        except FileNotFoundError:
            return
        except KmiError as error:
            self._warn(str(error))
            return
        except OSError as error:
            self._warn(f"can't read {log.path}: {error.strerror}")
            return
        try:
            self._begin()
            start = self._start(log.path, fd, status)
            session = self._session(log, fd, facts)
            place = start
            for lines, place in marked_lines(fd, start, MARKERS[log.client]):
                read = (read_call(log.client, line, log.agent) for line in lines)
                calls = [call for call in read if call is not None and call.time >= self._floor]
                facts.touch(self._add(session, calls))
                self._step(done + place)
                if self._since_commit >= BATCH_BYTES:
                    self._keep(log.path, fd, status, place, whole=False)
                    facts.flush()
                    self.commit()
                    pause()
                    self._begin()
            self._keep(log.path, fd, status, place, whole=True)
            facts.flush()
        finally:
            os.close(fd)
        self._done = done + log.status.st_size

    def _step(self, done: int) -> None:
        self._since_commit += 1024 * 1024  # a piece is never larger
        self._tell(min(done, self.total), self.total)

    def _add(self, session: int, calls: list[Call]) -> float:
        """Write calls that are not known yet; gives the earliest time among them."""
        if not calls:
            return _NEVER
        before = self._base.total_changes
        self._base.executemany(
            "INSERT OR IGNORE INTO calls(uid, time, session, model, input_other, output,"
            f" cache_read, cache_creation) VALUES(?, ?, {session}, ?, ?, ?, ?, ?)",
            calls,
        )
        if self._base.total_changes - before < len(calls):
            self._note_copies(session, [call.uid for call in calls])
        return min(call.time for call in calls)

    def _note_copies(self, session: int, uids: list[int]) -> None:
        """A session that repeats the calls of an older one was copied or forked from it."""
        run = self._base.execute
        shared: dict[int, list[int]] = {}
        for uid in uids:
            (other,) = run("SELECT session FROM calls WHERE uid = ?", (uid,)).fetchone()
            if other != session:
                shared.setdefault(other, []).append(uid)
        for other, calls in shared.items():
            younger = session
            births = dict(run("SELECT id, born FROM sessions WHERE id IN (?, ?)", (session, other)))
            if births[session] < births[other]:
                younger = other
                rows = [(session, uid) for uid in calls]
                self._base.executemany("UPDATE calls SET session = ? WHERE uid = ?", rows)
            run("UPDATE sessions SET copied = 1 WHERE id = ?", (younger,))

    def _session(self, log: Log, fd: int, facts: Facts) -> int:
        """The number of a log's session; a new one is described, as far as its folder tells."""
        from kmi.usage.lines import first_moment

        name = (log.client, log.session)
        if name not in self._sessions:
            os.lseek(fd, 0, os.SEEK_SET)
            born = first_moment(log.client, os.read(fd, _HEAD_BYTES)) or log.status.st_mtime
            project, run = "", ""
            if log.client == "kimi-code":
                from kmi.usage.facts import code_session

                project, created, run = code_session(read_beside(log.folder, "state.json"))
                born = created or born
            self._sessions[name] = facts.session(log, project, born, run)
        return self._sessions[name]

    # Records.

    def read_records(self, path: str, status: os.stat_result, facts: Facts) -> None:
        """Take in what a record file of kmi's own tells of keys."""
        from kmi.files import open_regular
        from kmi.usage.facts import RECORDS

        marker, take = RECORDS[os.path.basename(path).partition(".")[0]]
        try:
            fd, status = open_regular(path)
        except FileNotFoundError:
            return
        except (KmiError, OSError) as error:
            self._warn(f"can't read {path}: {error}")
            return
        try:
            self._begin()
            place = self._start(path, fd, status)
            for lines, end in marked_lines(fd, place, marker):
                take(facts, lines)
                place = end
            self._keep(path, fd, status, place, whole=True)
            facts.flush()
        finally:
            os.close(fd)

    # Cursors.

    def _start(self, path: str, fd: int, status: os.stat_result) -> int:
        """Where to go on: behind what was read, if it is still the same file; else at its begin.

        Another kmi may have been here since; that one's cursor counts.
        """
        inode = look(status)[:2]
        for name in (_name(path), self._moved.get(inode, "")):
            row = self._base.execute(
                "SELECT device, inode, place, tail FROM logs WHERE path = ?", (name,)
            ).fetchone()
            if row is None or row[:2] != inode:
                continue
            place = int(row[2])
            if status.st_size >= place and _tail(fd, place) == row[3]:
                return place
        return 0

    def _keep(self, path: str, fd: int, status: os.stat_result, place: int, *, whole: bool) -> None:
        """Note how far a file was read, for the transaction that holds its rows."""
        device, inode, size, changed = look(status)
        size = size if whole else -1  # which no file has: it is read on
        self._base.execute(
            "INSERT OR REPLACE INTO logs VALUES(?, ?, ?, ?, ?, ?, ?)",
            (_name(path), device, inode, size, changed, place, _tail(fd, place)),
        )


def _name(path: str) -> str:
    """A path as the database takes it."""
    if path.isascii():
        return path
    from kmi.usage.lines import storable

    return storable(path)


def look(status: os.stat_result) -> tuple[int, ...]:
    """What tells that a file may have changed; some systems number files beyond 63 bits."""
    device, inode = status.st_dev & _BITS, status.st_ino & _BITS
    return device, inode, status.st_size, status.st_mtime_ns


def _tail(fd: int, place: int) -> bytes:
    """A hash of what stands before a place, which ends with the last whole line."""
    from kmi.usage.lines import number_of

    start = max(0, place - TAIL_BYTES)
    os.lseek(fd, start, os.SEEK_SET)
    return number_of((os.read(fd, place - start),)).to_bytes(8, "big", signed=True)
