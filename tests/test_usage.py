"""Session logs into ``usage.db``: nothing is lost, nothing counts twice, and who paid.

Logs are written as the clients write them, and change as files change: they grow, are cut,
replaced, moved, copied and removed, and kmi is killed while it reads them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kmi.auth_formats import key_id_of
from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.state import State
from kmi.usage import ingest as usage_ingest
from kmi.usage import logs as session_logs
from kmi.usage.attribution import attribute
from kmi.usage.ingest import Found, ingest
from kmi.usage.lines import read_call
from kmi.usage.logs import find_logs, marked_lines, open_log
from kmi.usage.store import SCHEMA, DamagedError, open_usage, set_aside
from tests.conftest import CLI, CODE, clean_env, config_text, secret_of, write_private
from tests.usage_scene import (
    ALPHA,
    BETA,
    GAMMA,
    NOW,
    Place,
    append,
    cli_call,
    code_call,
    inside,
    nothing,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What a log tells.


def test_only_what_a_call_cost_is_taken(place: Place) -> None:
    secret = "the words of the person"  # noqa: S105 - it is none
    code, cli = place.log(CODE, "s1"), place.log(CLI, "s2")
    place.begin(CODE, "s1", NOW)
    place.begin(CLI, "s2", NOW)
    append(code, {"type": "turn.prompt", "input": secret, "time": 1}, code_call(NOW + 1, 5))
    # What looks like a record within a text is escaped there; a step repeats its call's cost.
    append(
        code, {"type": "x", "text": json.dumps(code_call(NOW))}, {"type": "step.end", "usage": {}}
    )
    append(cli, cli_call(NOW + 2, 7), {"timestamp": 1, "message": {"type": "ContentPart"}})
    none = cli_call(NOW + 3)
    none["message"]["payload"]["token_usage"] = None
    append(
        cli, none, "not JSON", '{"StatusUpdate"', '"StatusUpdate"', "[" * 5000 + '"StatusUpdate"'
    )
    append(code, code_call(NOW, -1), code_call(-1.0), {**code_call(NOW), "usage": {"output": 1e99}})
    assert place.read() == Found(2, 2)
    with open_usage(place.store) as usage:
        rows = [tuple(row) for row in usage.rows()]
    assert rows == [
        (NOW + 1, CODE, "s1", "k", None, 5, 2, 3, 0),
        (NOW + 2, CLI, "s2", "", None, 7, 2, 3, 0),
    ]
    assert secret.encode() not in (place.root / "state/usage.db").read_bytes()
    assert place.read() == Found(2, 0)


@pytest.mark.parametrize("client", [CLI, CODE])
@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"type":"usage.record"}', b"\xff",
                                  b'{"message":{"type":"StatusUpdate","payload":[]}}'])  # fmt: skip
def test_any_line_is_read_or_left(client: str, line: bytes) -> None:
    assert read_call(client, line, "") is None


def nested(depth: int) -> bytes:
    """A call of kimi-cli, within so many events of sub-agents; `json` writes only some of them."""
    event, end = '{"type": "SubagentEvent", "payload": {"event": ', "}}"
    message = json.dumps(cli_call(NOW)["message"])
    whole = f'{{"timestamp": {NOW}, "message": {event * depth}{message}{end * depth}}}'
    return whole.encode()


def test_a_call_within_sub_agents_is_read_to_a_depth() -> None:
    assert read_call(CLI, nested(1), "") is not None
    assert read_call(CLI, nested(1000), "") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "usage.records"},
        {"usage": {}},
        {"usage": {"output": 0}},
        {"usage": {"output": True}},
        {"usage": {"output": -1}},
        {"model": 5},
        {"time": "now"},
        {"time": -1},
    ],
)
def test_a_record_with_an_odd_field_is_left(changes: dict[str, object]) -> None:
    record: dict[str, object] = {"type": "usage.record", "usage": {"output": 1}, "time": 1}
    assert read_call(CODE, json.dumps(record).encode(), "") is not None
    assert read_call(CODE, json.dumps({**record, **changes}).encode(), "") is None


def test_a_sub_agents_calls_count_once(place: Place) -> None:
    """Kimi Code writes them into a log of their own; kimi-cli into that and into the session's."""
    append(place.log(CODE, "s1"), code_call(NOW, 1))
    append(place.log(CODE, "s1", agent="agent-1"), code_call(NOW, 2, agent="agent-1"))
    event = cli_call(NOW + 1.5, 4, "m1")
    append(place.log(CLI, "s2"), cli_call(NOW + 1, 8, "m0"), inside(event, "a1", NOW + 1.6))
    append(place.log(CLI, "s2", agent="a1"), event, cli_call(NOW + 2, 16, "m2"))
    place.read()
    assert place.spent() == (5, 1 + 2 + 4 + 8 + 16)
    assert len({s.group for s in place.sums("session")}) == 2


def test_lines_of_any_length_at_any_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and the longest line are made small, so that every way of falling apart comes."""
    monkeypatch.setattr(session_logs, "BLOCK_BYTES", 7)
    monkeypatch.setattr(session_logs, "LINE_MAX_BYTES", 9)
    path = tmp_path / "log"
    lines = [b"", b"M", b"aMb", b"x" * 5, b"M" * 9, b"M" * 10, b"y" * 30, b"M" * 31, b"zM"]
    for start in range(len(lines)):
        for part in (b"", b"M", b"M" * 40):
            path.write_bytes(b"".join(line + b"\n" for line in lines[start:]) + part)
            fd = os.open(path, os.O_RDONLY)
            found = list(marked_lines(fd, 0, b"M"))
            os.close(fd)
            wanted = [line for line in lines[start:] if b"M" in line and len(line) <= 9]
            assert [line for kept, _ in found for line in kept] == wanted
            assert found[-1][1] == path.stat().st_size - len(part)


def test_what_is_committed_in_pieces_is_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is shorter than a line, and a transaction of its own."""
    monkeypatch.setattr(session_logs, "BLOCK_BYTES", 100)
    monkeypatch.setattr(usage_ingest, "BATCH_BYTES", 1)
    monkeypatch.setattr(usage_ingest, "pause", nothing)
    append(place.log(CODE, "s1"), *(code_call(NOW + n, n + 1) for n in range(12)))
    append(place.log(CLI, "s2"), *(cli_call(NOW + n, n + 1) for n in range(12)))
    place.read()
    assert place.spent() == (24, 2 * sum(range(13)))


HUGE = b'{"type":"usage.record","usage":{"output":1},"time":1' + b"0" * 400 + b"}"


def test_numbers_and_names_of_any_kind(place: Place) -> None:
    """Larger than a float, or than 63 bits; no characters; keys where they do not belong."""
    assert read_call(CODE, HUGE, "") is None
    secret = secret_of("alpha")
    odd = os.fsdecode(b"/code/\xff")
    place.begin(CODE, os.fsdecode(b"s\xfe"), NOW, project=f"/\ud800/{secret}/x")
    log = place.log(CODE, os.fsdecode(b"s\xfe"), project=f"/\ud800/{secret}/x")
    for n, model in enumerate(("\ud800", secret, "k")):
        append(log, {**code_call(NOW + n), "model": model})
    append(place.log(CLI, "s2", project=odd), cli_call(NOW))
    place.record("runs.jsonl", "run", NOW, run="r\ud800", cwd=odd, client=CLI, mode="pinned",
                 key="\udfff", label="\ud800")  # fmt: skip
    place.read()
    assert place.spent() == (4, 4)
    assert place.read().read == 0
    append(log, code_call(NOW + 9))
    place.read()
    assert place.spent() == (5, 5)
    assert secret.encode() not in (place.state / "usage.db").read_bytes()
    status: Any = SimpleNamespace(
        st_dev=2**64 - 1, st_ino=2**64 - 1, st_size=5, st_mtime_ns=1, st_mtime=0.0
    )
    with open_usage(place.store) as usage:
        usage.base.execute("SELECT ?, ?, ?, ?", usage_ingest.look(status))


# Where it is read from.


def test_nothing_outside_of_the_session_folders_is_opened(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    append(outside / "wire.jsonl", code_call(NOW))
    good = place.log(CODE, "good")
    append(good, code_call(NOW, 9))
    sessions = good.parents[3]
    place.log(CODE, "a-link").symlink_to(outside / "wire.jsonl")
    os.mkfifo(place.log(CODE, "a-fifo"))
    place.log(CODE, "a-folder").mkdir()
    for depth, name in enumerate(("agent", "agents", "session")):
        linked = place.log(CODE, f"linked-{name}").parents[depth]
        shutil.rmtree(linked)
        linked.symlink_to(outside)
    for folder in (outside / "main", outside / "agents" / "main"):
        folder.mkdir(parents=True)
        shutil.copy(outside / "wire.jsonl", folder)
    (sessions / "wd_linked").symlink_to(outside)
    logs = list(find_logs(CODE, place.homes[CODE]))
    assert [log.path for log in logs] == [str(good)]
    place.read()
    assert place.spent() == (1, 9)


def test_a_folder_that_is_replaced_after_it_was_found_is_refused(
    place: Place, tmp_path: Path
) -> None:
    log = place.log(CODE, "s1")
    append(log, code_call(NOW))
    (found,) = find_logs(CODE, place.homes[CODE])
    root = os.path.realpath(log.parents[4])
    fd, _ = open_log(found.path, root)
    os.close(fd)
    outside = tmp_path / "outside"
    shutil.move(str(log.parent), outside)
    log.parent.symlink_to(outside)
    with pytest.raises(ConfigError, match="not inside"):
        open_log(found.path, root)
    log.parent.unlink()
    log.parent.mkdir()
    log.symlink_to(outside / "wire.jsonl")
    with pytest.raises(RefusedError):
        open_log(found.path, root)


def test_a_log_that_is_too_large_is_left_with_a_word(place: Place) -> None:
    log = place.log(CODE, "s1")
    append(log, code_call(NOW))
    os.truncate(log, session_logs.LOG_LIMIT_BYTES + 1)
    append(place.log(CODE, "s2"), code_call(NOW, 4))
    place.read()
    assert place.spent() == (1, 4)
    assert [text for text in place.said if "larger than 4 GiB" in text]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_log_that_can_not_be_read_stops_nothing(place: Place) -> None:
    bad = place.log(CODE, "bad")
    append(bad, code_call(NOW))
    bad.chmod(0)
    append(place.log(CODE, "good"), code_call(NOW, 4))
    place.read()
    assert place.spent() == (1, 4)
    assert place.said == [f"can't read {bad}: Permission denied"]


# Files change.


class Logs(RuleBasedStateMachine):
    """Logs that grow, are cut, replaced, moved and removed, in any order, and are read in between.

    What was in whole lines when they were read must be known, each call once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.known: set[tuple[str, int]] = set()
        self.in_files: dict[Path, list[int]] = {}

    @initialize(root=st.just(None))
    def start(self, root: None) -> None:
        import tempfile

        self.folder = tempfile.mkdtemp(prefix="kmi-test-")
        self.place = Place(Path(self.folder))
        self.files = [
            self.place.log(CODE, "s1"),
            self.place.log(CODE, "s2"),
            self.place.log(CLI, "s3"),
        ]

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def line(self, path: Path, number: int) -> str:
        make = cli_call if ".kimi/" in str(path) else code_call
        return json.dumps(make(NOW + number, number + 1)) + "\n"

    @rule(which=st.integers(0, 2), count=st.integers(1, 4), noise=st.booleans())
    def grow(self, which: int, count: int, noise: bool) -> None:
        path = self.files[which]
        self.end_line(path)
        with path.open("a") as file:
            for _ in range(count):
                file.write("x" * 3000 + "\n" if noise else "")
                file.write(self.line(path, self.count))
                self.in_files.setdefault(path, []).append(self.count)
                self.count += 1

    def end_line(self, path: Path) -> None:
        if path.exists() and path.read_bytes()[-1:] not in {b"", b"\n"}:
            append(path, "")

    @rule(which=st.integers(0, 2), cut=st.integers(1, 40))
    def grow_partly(self, which: int, cut: int) -> None:
        path = self.files[which]
        self.end_line(path)
        with path.open("a") as file:
            file.write(self.line(path, self.count)[:cut])
        self.count += 1

    @rule(which=st.integers(0, 2))
    def truncate(self, which: int) -> None:
        if self.files[which].exists():
            os.truncate(self.files[which], 0)
            self.in_files[self.files[which]] = []

    @rule(which=st.integers(0, 2), keep=st.booleans())
    def replace(self, which: int, keep: bool) -> None:
        """By a new file, with the same lines or without."""
        path = self.files[which]
        numbers = self.in_files.get(path, []) if keep else []
        spare = path.with_name("spare")
        spare.write_text("".join(self.line(path, number) for number in numbers))
        os.replace(spare, path)
        self.in_files[path] = numbers

    @rule(which=st.integers(0, 2))
    def remove(self, which: int) -> None:
        self.files[which].unlink(missing_ok=True)
        self.in_files.pop(self.files[which], None)

    @rule()
    def copy(self) -> None:
        """A fork: another session that repeats the first one's calls."""
        first, second = self.files[:2]
        if first.exists():
            self.end_line(first)
            shutil.copyfile(first, second)
            self.in_files[second] = list(self.in_files.get(first, []))

    @rule()
    def read(self) -> None:
        self.place.read()
        for path, numbers in self.in_files.items():
            if path.exists():
                self.known |= {(path.parts[-5], number) for number in numbers}

    @invariant()
    def every_call_counts_once(self) -> None:
        if self.known or hasattr(self, "place"):
            numbers = {number for _, number in self.known}
            assert self.place.spent() == (len(numbers), sum(n + 1 for n in numbers))


Logs.TestCase.settings = settings(
    max_examples=15, stateful_step_count=14, suppress_health_check=list(HealthCheck), deadline=None
)
TestLogs = Logs.TestCase


def test_what_was_read_is_not_read_again(place: Place) -> None:
    """Not when a log grows, and not when it is moved.

    What is changed far before the place that was reached shows whether it was.
    """
    log = place.log(CODE, "s1")
    place.begin(CODE, "s1", NOW)
    append(log, *(code_call(NOW + n) for n in range(50)))
    place.read()

    def change(path: Path, fresh: int) -> None:
        text = path.read_text()
        with path.open("r+") as file:
            file.write(re.sub(r'"inputOther":\d,', f'"inputOther":{fresh},', text, count=1))

    change(log, 9)
    append(log, code_call(NOW + 60))
    place.read()
    assert place.spent() == (51, 51)
    moved = log.parents[2].with_name("s1-moved")
    log.parents[2].rename(moved)
    path = moved / "agents/main/wire.jsonl"
    change(path, 8)
    append(path, code_call(NOW + 61))
    place.read()
    assert place.spent() == (52, 52)
    # Other lines of the same length up to the end: the hash tells, and all is read.
    path.write_text(path.read_text().replace('"inputOther":1,', '"inputOther":7,'))
    place.read()
    assert place.spent() == (52 + 52, 52 + 51 * 7 + 8)


# Kills.


def kill_at(place: Place, number: int) -> bool:
    """Ingest in a process that is killed at its n-th statement; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def killed(statement: str) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            usage_ingest.BATCH_BYTES = 1  # every piece is a transaction
            with open_usage(place.store) as usage:
                usage.base.set_trace_callback(killed)
                folder = place.store.directory
                ingest(usage, place.homes, folder, State(), nothing, nothing)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def mixed(place: Place) -> None:
    """Logs of both clients, with records that tell who paid."""
    place.run("r1", NOW - 5, ALPHA)
    place.swap(NOW - 20, BETA, CLI)
    place.begin(CODE, "s1", NOW)
    place.begin(CLI, "s2", NOW)
    append(place.log(CODE, "s1"), *(code_call(NOW + n, n + 1) for n in range(5)))
    append(place.log(CODE, "s1", agent="agent-1"), code_call(NOW, 50, agent="agent-1"))
    append(place.log(CLI, "s2"), *(cli_call(NOW + n, 7) for n in range(3)))


def everything(place: Place) -> dict[str, list[tuple[object, ...]]]:
    tables = ("calls", "runs", "swaps", "labels", "facts", "quarters")
    with open_usage(place.store) as usage:
        return {t: sorted(usage.base.execute(f"SELECT * FROM {t}").fetchall()) for t in tables}  # noqa: S608 - names of tables


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
@pytest.mark.skipif(not hasattr(os, "waitstatus_to_exitcode"), reason="Python 3.9")
def test_a_kill_at_any_statement_loses_and_doubles_nothing(tmp_path: Path) -> None:
    shared = Path("/dev/shm")  # noqa: S108 - a disk without waits; the calls are the same
    if os.access(shared, os.W_OK):
        tmp_path = shared / f"kmi-test-{os.getpid()}"
    clean = Place(tmp_path / "clean")
    mixed(clean)
    clean.read()
    wanted = everything(clean)
    assert len(wanted["calls"]) == 9
    number = 1
    while True:
        place = Place(tmp_path / str(number))
        mixed(place)
        if not kill_at(place, number):
            break
        again = kill_at(place, number + 7)  # and once more, somewhere else
        place.read()
        assert everything(place) == wanted, (number, again)
        shutil.rmtree(place.root)
        number += 1 if number < 10 else 3
    assert number > 40
    shutil.rmtree(tmp_path)


#: Ingests in transactions as small as can be.
SMALL = """
import sys
from kmi.usage import ingest as usage_ingest
from kmi.cli import main
usage_ingest.BATCH_BYTES = 1
sys.exit(main(["usage"]))
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call, number", [("fdatasync", 4), ("unlink", 2), ("pwrite64", 60)])
def test_a_kill_within_a_commit_loses_and_doubles_nothing(
    tmp_path: Path, call: str, number: int
) -> None:
    """Some of the 200 calls by which an ingestion of this size touches the disk."""
    clean, place = Place(tmp_path / "clean"), Place(tmp_path / "killed")
    mixed(clean)
    mixed(place)
    clean.read()
    env = {**clean_env(place.root, os.defpath), "KMI_STATE_DIR": str(place.state)}
    inject = f"inject={call}:signal=KILL:when={number}"
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    killed = subprocess.run([*words, sys.executable, "-c", SMALL], env=env, check=False)
    assert killed.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    place.read()
    assert everything(place) == everything(clean)


def test_two_that_read_at_once_double_nothing(place: Place) -> None:
    for number in range(20):
        append(
            place.log(CODE, f"s{number}"),
            *(code_call(NOW + n, number * 100 + n) for n in range(50)),
        )
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                usage_ingest.BATCH_BYTES = 1
                place.read()
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert place.spent() == (1000, sum(n * 100 + m for n in range(20) for m in range(50)))


# The file itself.


def test_the_file_is_private_and_of_a_schema(place: Place) -> None:
    old = os.umask(0)
    try:
        append(place.log(CODE, "s1"), code_call(NOW))
        place.read()
    finally:
        os.umask(old)
    path = place.root / "state/usage.db"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["usage.db"]
    with opened(path) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (SCHEMA,)


def test_a_newer_file_is_not_touched(place: Place) -> None:
    place.read()
    path = place.root / "state/usage.db"
    with opened(path) as base:
        base.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"schema 99, this kmi knows up to {SCHEMA}") as raised:
        place.read()
    assert (raised.value.exit_code, path.read_bytes()) == (78, before)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as sqlite gives it; what is done is committed."""
    with closing(sqlite3.connect(path)) as base, base:
        yield base


def garbage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


def no_database(path: Path) -> None:
    path.write_text("hello\n" * 1000)


def a_strangers(path: Path) -> None:
    path.unlink(missing_ok=True)
    with opened(path) as base:
        base.execute("CREATE TABLE bookmarks(url)")


def without_a_table(path: Path) -> None:
    with opened(path) as base:
        base.execute("DROP TABLE quarters")


def torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\x5a" * (len(data) - 4096))


@pytest.mark.parametrize("spoil", [garbage, no_database, a_strangers, without_a_table, torn])
def test_a_file_that_can_not_be_read_is_set_aside(
    place: Place, spoil: Callable[[Path], None]
) -> None:
    append(place.log(CODE, "s1"), code_call(NOW))
    place.read()
    path = place.root / "state/usage.db"
    spoil(path)
    spoiled = path.read_bytes()
    append(place.log(CODE, "s1"), code_call(NOW + 1))
    with pytest.raises(DamagedError) as raised:
        place.read()
    set_aside(place.store, raised.value)
    (aside,) = path.parent.glob("usage.db.corrupt-*")
    assert aside.read_bytes() == spoiled
    place.read()
    assert place.spent()[0] == 2


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_file_is_refused(place: Place, make: Callable[[str], None]) -> None:
    make(str(place.root / "state/usage.db"))
    with pytest.raises(RefusedError, match="not a regular file"):
        place.read()


def test_a_file_that_is_held_for_long_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmi.usage import store as usage_store

    monkeypatch.setattr(usage_store, "BUSY_S", 0.05)
    append(place.log(CODE, "s1"), code_call(NOW))
    place.read()
    append(place.log(CODE, "s1"), code_call(NOW + 1))
    with opened(place.root / "state/usage.db") as base:
        base.execute("BEGIN IMMEDIATE")
        with pytest.raises(KmiError, match="another kmi holds") as raised:
            place.read()
    assert raised.value.exit_code == 75
    place.read()
    assert place.spent()[0] == 2


# Cleaning.


def test_what_was_cleaned_does_not_come_back(place: Place) -> None:
    old, new = place.log(CODE, "old"), place.log(CODE, "new")
    append(old, code_call(NOW - 1000, 1), code_call(NOW - 990, 2))
    append(new, code_call(NOW - 980, 4), code_call(NOW, 8))
    os.utime(old, (NOW - 990, NOW - 990))
    place.read()
    assert place.spent() == (4, 15)
    with open_usage(place.store) as usage:
        assert usage.clean(NOW - 500, dry_run=True) == 3
        assert usage.clean(NOW - 500, dry_run=False) == 3
        paths = {row[0] for row in usage.base.execute("SELECT path FROM logs")}
        assert paths == {str(new)}, "cursors of what holds nothing newer go, too"
    assert place.spent() == (1, 8)
    assert place.read().read == 0, "nothing of what went is looked at"
    for path in (old, new):  # replaced by others of the same lines
        shutil.copyfile(path, path.with_name("spare"))
        os.replace(path.with_name("spare"), path)
    append(old, code_call(NOW - 600, 16), code_call(NOW + 5, 32))
    assert place.read().read == 2
    assert place.spent() == (2, 40)
    with open_usage(place.store) as usage:
        assert usage.clean(NOW - 5000, dry_run=False) == 0
        assert usage.fact("floor") == NOW - 500, "it does not sink"


def test_the_rows_of_logs_that_are_gone_stay(place: Place) -> None:
    append(place.log(CODE, "s1"), code_call(NOW, 3))
    place.read()
    shutil.rmtree(place.homes[CODE])
    assert place.read() == Found(0, 0)
    assert place.spent() == (1, 3)


# Who paid.


def test_a_pinned_run_pays_for_the_session_that_it_began(place: Place) -> None:
    place.run("r1", NOW, ALPHA)
    place.begin(CODE, "s1", NOW + 2)
    append(place.log(CODE, "s1"), code_call(NOW + 5), code_call(NOW + 60))
    # Taken up again after hours, by a plain client for instance: nobody can be sure.
    append(place.log(CODE, "s1"), code_call(NOW + 9000))
    place.read()
    assert place.paid() == [(5, ALPHA, "exact"), (60, ALPHA, "exact"), (9000, ALPHA, "by time")]


def test_a_resumed_session_goes_to_the_run_that_resumed_it(place: Place) -> None:
    for client in (CODE, CLI):
        place.run(f"r1{client}", NOW, ALPHA, client=client)
        place.begin(client, "s1", NOW + 2)
        place.run(f"r2{client}", NOW + 20, BETA, client=client)
    append(place.log(CODE, "s1"), code_call(NOW + 5), code_call(NOW + 25))
    append(place.log(CLI, "s1"), cli_call(NOW + 6), cli_call(NOW + 26))
    place.read()
    assert place.paid() == [(5, ALPHA, "exact"), (6, ALPHA, "exact"),
                            (25, BETA, "by time"), (26, BETA, "by time")]  # fmt: skip


def test_two_sessions_beside_each_other_keep_their_own_keys(place: Place) -> None:
    place.run("r1", NOW, ALPHA)
    place.begin(CODE, "s1", NOW + 2)
    place.run("r2", NOW + 10, BETA)
    place.begin(CODE, "s2", NOW + 12)
    append(place.log(CODE, "s1"), code_call(NOW + 5), code_call(NOW + 20, 2))
    append(place.log(CODE, "s2"), code_call(NOW + 15, 3), code_call(NOW + 21, 4))
    place.read()
    assert [key for _, key, _ in place.paid()] == [ALPHA, BETA, ALPHA, BETA]
    assert {sure for _, _, sure in place.paid()} == {"exact"}


def test_runs_that_begin_together_are_told_apart_or_nobody_is_sure(place: Place) -> None:
    place.run("aaaaaaaaaaaa", NOW, ALPHA)
    place.run("bbbbbbbbbbbb", NOW + 0.1, BETA)
    place.begin(CODE, "s1", NOW + 2, run="aaaaaaaaaaaa")
    place.begin(CODE, "s2", NOW + 3)
    append(place.log(CODE, "s1"), code_call(NOW + 5))
    append(place.log(CODE, "s2"), code_call(NOW + 6))
    place.read()
    assert place.paid() == [(5, ALPHA, "exact"), (6, BETA, "exact")]
    other = Place(place.root / "other")
    other.run("r1", NOW, ALPHA, client=CLI)
    other.run("r2", NOW + 0.1, BETA, client=CLI)
    other.begin(CLI, "s1", NOW + 2)
    append(other.log(CLI, "s1"), cli_call(NOW + 5))
    other.read()
    assert other.paid()[0][2] == "by time"


def test_the_hook_knows_better_than_the_ledger(place: Place) -> None:
    place.run("r1", NOW, ALPHA, client=CLI)
    place.run("r2", NOW + 0.1, BETA, client=CLI)
    for number, key in ((1, BETA), (2, ALPHA)):
        place.begin(CLI, f"s{number}", NOW + number)
        append(
            place.log(CLI, f"s{number}"), cli_call(NOW + 5 + number), cli_call(NOW + 5000 + number)
        )
        place.record("runs.jsonl", "session_start", NOW + number, client=CLI, how="pin", key=key,
                     session_id=f"s{number}", run_id=f"r{3 - number}", follows=False)  # fmt: skip
    place.read()
    assert [(key, sure) for _, key, sure in place.paid()] == [
        (BETA, "exact"), (ALPHA, "exact"), (BETA, "exact"), (ALPHA, "exact")
    ]  # fmt: skip


def test_a_following_session_is_split_where_the_key_was_swapped(place: Place) -> None:
    place.swap(NOW - 100, ALPHA)
    place.run("r1", NOW, ALPHA, "following")
    place.begin(CODE, "s1", NOW + 1)
    place.record("runs.jsonl", "session_start", NOW + 1, client=CODE, how="config", key=ALPHA,
                 session_id="s1", run_id="r1", follows=True)  # fmt: skip
    place.swap(NOW + 50, BETA)
    append(place.log(CODE, "s1"), code_call(NOW + 10), code_call(NOW + 60))
    append(
        place.log(CODE, "plain", project="/elsewhere"), code_call(NOW - 200), code_call(NOW + 70)
    )
    place.read()
    assert place.paid() == [
        (-200, None, "unknown"),
        (10, ALPHA, "by time"),
        (60, BETA, "by time"),
        (70, BETA, "by time"),
    ]


def test_what_the_proxy_saw_is_exact_and_counts_once(place: Place) -> None:
    from kmi.proxy.affinity import session_of, short_name

    body = json.dumps({"messages": [], "prompt_cache_key": "s1"}).encode()
    session = session_of(lambda name: None, body)[:4].hex()
    assert short_name("s1") == session
    place.run("r1", NOW - 50, "", "proxy")
    place.begin(CODE, "s1", NOW - 40)
    append(place.log(CODE, "s1"), code_call(NOW + 2.1, 10), code_call(NOW + 12.2, 20))
    append(place.log(CODE, "s1", agent="agent-1"), code_call(NOW + 22.3, 30, agent="agent-1"))
    for at, name, key, tokens in (
        (NOW, session, ALPHA, (13, 3, 2)),
        (NOW + 10, session, BETA, (23, 3, 2)),
        (NOW + 20, "deadbeef", GAMMA, (33, 3, 2)),  # of the sub-agent, by its time and cost
        (NOW + 30, "deadbeef", GAMMA, (100, 40, 5)),  # of another program
        (NOW + 40, session, BETA, (7, 0, 1)),  # no log tells of it: a title, a compaction
    ):
        place.record("trace.jsonl", "request", at, **request(at, name, key, tokens))
    place.read()
    assert place.paid() == [(2.1, ALPHA, "exact"), (12.2, BETA, "exact"), (22.3, GAMMA, "exact")]
    sums = {s.group[0]: (s.calls, s.input_other, s.cache_read) for s in place.sums("key")}
    assert sums == {ALPHA: (1, 10, 3), BETA: (2, 27, 3), GAMMA: (2, 90, 43)}
    # The log of a call may come after its trace: then that is no longer a request of its own.
    append(place.log(CODE, "s1"), code_call(NOW + 42, 7, cached=0) | {"usage": {
        "inputOther": 7, "output": 1, "inputCacheRead": 0, "inputCacheCreation": 0}})  # fmt: skip
    place.read()
    assert {s.group[0]: s.calls for s in place.sums("key")} == {ALPHA: 1, BETA: 2, GAMMA: 2}


def test_a_trace_that_is_rotated_and_pruned_is_read_once(place: Place) -> None:
    trace = place.root / "state/trace.jsonl"
    for number in range(6):
        at = NOW + number
        place.record("trace.jsonl", "request", at, **request(at, "x", ALPHA, (9, 0, 1)))
        if number in {1, 3}:
            for old in (2, 1):
                if (source := trace.with_name(f"trace.jsonl.{old}")).exists():
                    source.rename(trace.with_name(f"trace.jsonl.{old + 1}"))
            trace.rename(trace.with_name("trace.jsonl.1"))
        if number != 2:
            place.read()
    assert place.spent() == (6, 54)
    lines = trace.read_text().splitlines(keepends=True)
    spare = trace.with_name("spare")
    spare.write_text("".join(lines[1:]))
    os.replace(spare, trace)
    place.read()
    assert place.spent() == (6, 54)


def test_later_knowledge_makes_it_surer_and_never_less_sure(place: Place) -> None:
    place.begin(CODE, "s1", NOW + 2)
    append(place.log(CODE, "s1"), code_call(NOW + 5))
    place.read()
    assert place.paid() == [(5, None, "unknown")]
    place.swap(NOW, BETA)
    place.read()
    assert place.paid() == [(5, BETA, "by time")]
    place.run("r1", NOW + 1, ALPHA)
    place.read()
    assert place.paid() == [(5, ALPHA, "exact")]
    with open_usage(place.store) as usage:
        for table in ("runs", "swaps"):
            usage.base.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of a table
        usage.remember("dirty", NOW)
        attribute(usage, place.homes)
    assert place.paid() == [(5, ALPHA, "exact")]


def test_a_fork_pays_for_its_own_calls_only(place: Place) -> None:
    place.run("r1", NOW, ALPHA)
    place.begin(CODE, "s1", NOW + 1)
    append(place.log(CODE, "s1"), code_call(NOW + 5, 5))
    place.run("r2", NOW + 10, BETA)
    shutil.copyfile(place.log(CODE, "s1"), place.log(CODE, "s2"))
    place.log(CODE, "s2").parents[2].joinpath("state.json").write_text(
        json.dumps(
            {"cwd": place.project, "createdAt": int(NOW * 1000) + 11_000, "agents": {"main": {}}}
        )
    )
    append(place.log(CODE, "s2"), code_call(NOW + 15, 7))
    place.read()
    assert place.spent() == (2, 12)
    assert [key for _, key, _ in place.paid()] == [ALPHA, BETA]


def test_a_model_with_a_key_of_its_own_is_paid_by_that(place: Place) -> None:
    secret = secret_of("gamma")
    config = Path(place.homes[CODE], "config.toml")
    write_private(
        config,
        config_text(secret_of("alpha"))
        + f"""
mine = {{ provider = "other", model = "m", max_context_size = 1000 }}
[providers.other]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = "{secret}"
""",
    )
    os.utime(config, (NOW + 8, NOW + 8))
    place.swap(NOW - 5, ALPHA)
    place.run("r1", NOW + 20, BETA)
    for session, at in (("s1", NOW), ("s2", NOW + 21)):
        place.begin(CODE, session, at, project=place.project)
        calls = [{**code_call(at + n, n), "model": "k" if n == 5 else "mine"} for n in (5, 6, 10)]
        append(place.log(CODE, session), *calls)
    place.read()
    gamma = key_id_of(secret)
    assert place.paid() == [
        (5, ALPHA, "by time"), (6, gamma, "by time"), (10, gamma, "exact"),
        # A pinned run has one key for all models.
        (26, BETA, "exact"), (27, BETA, "exact"), (31, BETA, "exact"),
    ]  # fmt: skip


def test_a_session_that_could_not_be_described_is_later(place: Place) -> None:
    place.run("r1", NOW, ALPHA)
    place.begin(CODE, "s1", NOW + 1)
    described = place.log(CODE, "s1").parents[2] / "state.json"
    text = described.read_text()
    append(place.log(CODE, "s1"), code_call(NOW + 5))
    for broken in ("", "{", "[]", '{"cwd": 5, "agents": 1}'):
        described.write_text(broken)
        place.read()
        assert [s.group[0] for s in place.sums("project")] == [""]
        append(place.log(CODE, "other", project="/other"), code_call(NOW + 100 + len(broken)))
    described.write_text(json.dumps({**json.loads(text), "agents": {}}))
    place.read()
    assert place.project in {s.group[0] for s in place.sums("project")}
    assert place.paid()[0] == (5, ALPHA, "exact")


def test_projects_of_kimi_cli_are_named_once_they_are_known(place: Place) -> None:
    append(place.log(CLI, "s1"), cli_call(NOW))
    append(place.log(CLI, "s2", project="/other"), cli_call(NOW + 1))
    place.read()
    assert [s.group[0] for s in place.sums("project")] == [""]
    (place.root / ".kimi/kimi.json").write_text(
        json.dumps({"work_dirs": [{"path": "/other", "kaos": "local", "last_session_id": "s2"}]})
    )
    place.run("r1", NOW + 2, ALPHA, client=CLI)
    place.read()
    assert sorted(s.group[0] for s in place.sums("project")) == ["/code/project", "/other"]


def test_a_reader_that_is_gone_is_no_fault_of_the_file(place: Place) -> None:
    with pytest.raises(BrokenPipeError), open_usage(place.store):
        raise BrokenPipeError
