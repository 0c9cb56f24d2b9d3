"""The state directory: whole files, private modes, and nothing of another version is touched."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kmi.errors import ConfigError, KmiError, RefusedError, TryLaterError
from kmi.lock import locked
from kmi.model import KeyState
from kmi.state import SCHEMA, State
from kmi.store import CORRUPT_KEPT, TAIL_BYTES, Store, record_line
from tests.conftest import CLI, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")


class Heard(list[str]):
    """What a store said."""

    def __call__(self, text: str) -> None:
        self.append(text)


def open_store(folder: Path) -> tuple[Store, Heard]:
    heard = Heard()
    return Store(str(folder), heard), heard


def remember(store: Store, label: str) -> None:
    with store.transaction() as transaction:
        transaction.state.keys[label] = KeyState(label=label)
        transaction.save()


def test_what_one_store_saves_another_reads(tmp_path: Path) -> None:
    remember(open_store(tmp_path / "s")[0], "a")
    store, heard = open_store(tmp_path / "s")
    assert store.read().keys == {"a": KeyState(label="a")}
    assert heard == []


def test_reading_makes_nothing(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    assert store.read() == State()
    assert not (tmp_path / "s").exists()


def test_nothing_is_saved_by_itself(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    remember(store, "a")
    with store.transaction() as transaction:
        transaction.state.keys["b"] = KeyState()
    assert set(store.read().keys) == {"a"}


def test_an_error_inside_saves_nothing_and_ends_the_lock(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    with contextlib.suppress(ZeroDivisionError), store.transaction() as transaction:
        transaction.state.keys["a"] = KeyState()
        raise ZeroDivisionError
    remember(store, "b")
    assert set(store.read().keys) == {"b"}


def test_an_unchanged_state_is_not_written(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    remember(store, "a")
    before = os.stat(store.state_file)
    remember(store, "a")
    after = os.stat(store.state_file)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_unknown_fields_survive_a_write(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    write_private(tmp_path / "s" / "state.json", json.dumps({"schema": 1, "new": {"x": [1, None]}}))
    remember(store, "a")
    saved = json.loads((tmp_path / "s" / "state.json").read_bytes())
    assert saved["new"] == {"x": [1, None]}
    assert set(saved["keys"]) == {"a"}


# Schema and damage.


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    text = '{"schema": 2, "keys": 17}   '
    path = write_private(tmp_path / "s" / "state.json", text)
    before = path.stat()
    for attempt in (store.read, lambda: remember(store, "a")):
        with pytest.raises(ConfigError) as error:
            attempt()
        assert error.value.code == "newer-schema"
        assert "schema 2" in error.value.message
        assert f"up to {SCHEMA}" in error.value.message
    after = path.stat()
    assert path.read_text() == text
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(os.listdir(tmp_path / "s")) in (["state.json"], ["lock", "state.json"])


def test_every_command_refuses_a_newer_schema(world: World) -> None:
    world.add_keys("a", "b")
    before = world.config_with("a")
    path = write_private(world.state / "state.json", '{"schema": 7}')
    for words in (["use", "b"], ["rotate"], ["current"], ["status"], ["why"], ["keys"], ["undo"]):
        done = world.kmi(*words)
        assert done.returncode == 78, (words, done)
        assert "schema 7" in done.stderr
    assert world.kmi("run", "--", "true").returncode == 125
    assert path.read_text() == '{"schema": 7}'
    assert world.config().read_bytes() == before


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"\x00" * 100,
    b"[]",
    b'{"schema": 0}',
    b'{"schema": 1, "keys": []}',
    b'{"schema": 1, "keys": {"a": {"hold": {"kind": "x"}}}}',
    b"[" * 100_000,
    b'{"schema": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"schema": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: ascii(data[:20]))
def test_a_damaged_state_is_set_aside_and_kmi_goes_on(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "s"
    path = write_private(folder / "state.json", data)
    store, heard = open_store(folder)
    assert store.read() == State()
    assert path.read_bytes() == data
    assert len(heard) == 1
    remember(store, "a")
    aside = [name for name in os.listdir(folder) if name.startswith("state.json.corrupt-")]
    assert len(aside) == 1
    assert (folder / aside[0]).read_bytes() == data
    assert aside[0] in heard[1]
    assert set(store.read().keys) == {"a"}


def test_five_damaged_states_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    store, _ = open_store(folder)
    for number in range(CORRUPT_KEPT + 4):
        write_private(folder / "state.json", f"damage {number}")
        remember(store, "a")
        # The names tell milliseconds.
        threading.Event().wait(0.002)
    aside = sorted(folder.glob("state.json.corrupt-*"))
    texts = [path.read_text() for path in aside]
    assert texts == [f"damage {n}" for n in range(4, CORRUPT_KEPT + 4)]


def test_a_command_says_so_and_goes_on(world: World) -> None:
    world.add_keys("a", "b")
    world.config_with("a")
    write_private(world.state / "state.json", "{")
    done = world.kmi("use", "b")
    assert done.returncode == 0, done
    assert "state.json can't be read" in done.stderr
    assert ".corrupt-" in done.stderr
    assert world.saved_state()["active"][CLI]["label"] == "b"
    # Who only looks says it, once.
    write_private(world.state / "state.json", "{")
    assert world.kmi("status").stderr.count("can't be read; the next change sets it aside") == 1


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling link", "huge"])
def test_what_is_no_state_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "s"
    folder.mkdir(0o700)
    path = folder / "state.json"
    other = write_private(tmp_path / "other.json", '{"schema": 1}')
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(other)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.touch()
        os.truncate(path, 1024**4)
    store, _ = open_store(folder)
    for attempt in (store.read, lambda: remember(store, "a")):
        with pytest.raises(KmiError) as error:
            attempt()
        assert "state.json" in error.value.message
    assert other.read_text() == '{"schema": 1}'
    assert not (tmp_path / "nowhere").exists()


def test_what_a_killed_kmi_left_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    dead, alive = int(child.stdout), os.getppid()
    old = write_private(folder / f".state.json.kmi-{dead}-abcd", "half")
    mine = write_private(folder / f".state.json.kmi-{alive}-abcd", "half")
    others = write_private(folder / ".state.json.swp", "an editor's")
    store, _ = open_store(folder)
    remember(store, "a")
    assert (old.exists(), mine.exists(), others.exists()) == (False, True, True)


# Modes. That all is private whatever the umask is in `test_modes.py`.


@unix
def test_a_directory_that_is_open_to_others_is_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    folder.chmod(0o755)
    store, heard = open_store(folder)
    remember(store, "a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [str(folder) in text for text in heard] == [True]


@unix
def test_it_is_left_alone_when_modes_are_not_enforced(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    folder.chmod(0o755)
    heard = Heard()
    remember(Store(str(folder), heard, enforce_modes=False), "a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert heard == []


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    write_private(tmp_path / "s", "a file")
    store, _ = open_store(tmp_path / "s")
    with pytest.raises(RefusedError, match="state directory"):
        remember(store, "a")
    assert (tmp_path / "s").read_text() == "a file"


# Records.


def test_a_record_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "s")
    nasty: dict[str, Any] = {"label": "a\nb\r\x1b]0;x\x07\u202e\u2028\ud800"}
    with store.transaction() as transaction:
        transaction.record_audit(nasty)
        transaction.record_audit({"n": 2})
    data = (tmp_path / "s" / "audit.jsonl").read_bytes()
    assert data.count(b"\n") == 2
    assert data.isascii()
    assert b"\x1b" not in data
    assert json.loads(data.splitlines()[0]) == nasty
    assert record_line({"n": 2}) == data.splitlines(keepends=True)[1]


def test_the_last_runs_are_known_from_the_end_of_the_records(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    lines = [
        '{"key": "old", "ts": "2001-01-01T00:00:00.000Z"}',
        *['{"key": "pad", "ts": "2002-01-01T00:00:00.000Z"}' + " " * 1000] * (TAIL_BYTES // 1000),
        "[" * 50_000,
        "not json",
        '{"key": ["x"], "ts": "2002-01-01T00:00:00.000Z"}',
        '{"key": "a", "ts": "2003-01-01T00:00:00.000Z"}',
        '{"key": "a", "ts": "2002-01-01T00:00:00.000Z"}',
        '{"key": "a"}',
        "5",
        '{"key": "half", "ts": "2003-01-01T00:0',
    ]
    write_private(folder / "runs.jsonl", "\n".join(lines))
    store, _ = open_store(folder)
    used = store.last_runs()
    assert set(used) == {"a", "pad"}
    assert used["a"] == 1041379200.0
    known = store.with_last_runs(State(keys={"a": KeyState(label="x", last_used=9e9)}))
    assert known["a"].last_used == 9e9
    assert known["pad"].last_used == 1009843200.0


def test_no_records_no_last_runs(tmp_path: Path) -> None:
    assert open_store(tmp_path / "s")[0].last_runs() == {}


# The lock.


def hold_lock(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its stdin ends."""
    code = """if True:
        import fcntl, sys
        file = open(sys.argv[1], "a")
        fcntl.flock(file, fcntl.LOCK_EX)
        print("held", flush=True)
        sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@unix
def test_a_held_lock_is_waited_for_and_the_holder_named(tmp_path: Path) -> None:
    path, heard = tmp_path / "lock", Heard()
    with hold_lock(path) as holder:
        with pytest.raises(TryLaterError) as error, locked(str(path), heard, timeout_s=0.7):
            pytest.fail("two hold it")
        holder.kill()
    assert error.value.code == "lock-timeout"
    assert len(heard) == 1
    if sys.platform == "linux":
        assert f"process {holder.pid} " in error.value.message
        assert f"process {holder.pid} " in heard[0]
    with locked(str(path), heard):
        pass  # it ended with its process
    assert len(heard) == 1


@unix
def test_a_lock_that_comes_free_is_taken(tmp_path: Path) -> None:
    path, heard = tmp_path / "lock", Heard()
    with hold_lock(path) as holder:
        timer = threading.Timer(0.1, holder.kill)
        timer.start()
        with locked(str(path), heard, timeout_s=20.0):
            pass
        timer.join()
    assert heard == []


@unix
def test_a_waiting_process_and_a_direct_one_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(str(path), Heard()):
        code = (
            "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, check=False
        )
        assert b"BlockingIOError" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "real")
    with pytest.raises(RefusedError, match="lock"), locked(str(tmp_path / "lock"), Heard()):
        pytest.fail("a link was followed")
