"""What a pinned run has for itself: private, gone with its process, nothing of the user's lost."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmi import pins
from kmi.session_index import LIMIT_BYTES, merge_files
from tests.conftest import CLI, CODE, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = b'api_key = "sk-kimi-CANARY0123456789"\n'
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask for the test, and the old one after it."""
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def dead_pid() -> int:
    """The number of a process that is gone."""
    code = "import os; print(os.getpid())"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


def folder_of(directory: Path, pid: int, start: str = "7", space: str | None = None) -> Path:
    """What a run of that process would have made."""
    return directory / f"{pid}-{start}-{pins.namespace() if space is None else space}-abcdef"


def private_home(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A real home, a private one, and the folder of the latter."""
    real = tmp_path / "real"
    write_private(real / "config.toml", "the user's")
    write_private(real / ".config.toml.kmi-1-ab", "a temporary file")
    write_private(real / "config.toml.tmp.1.ab", "the client's temporary file")
    write_private(real / "device_id", "me")
    write_private(real / "sessions" / "s1" / "wire.jsonl", "talk")
    write_private(real / "my notes.txt", "mine")
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(real), CODE))
    return real, home, home.parent


def test_a_private_file(tmp_path: Path, umask: int) -> None:
    path = Path(pins.create_file(str(tmp_path / "pins"), "r1", DATA))
    assert path.read_bytes() == DATA
    assert (mode(path), mode(path.parent), mode(tmp_path / "pins")) == (0o600, 0o700, 0o700)
    assert path.parent.name.startswith(f"{os.getpid()}-")


def test_two_runs_have_two_files(tmp_path: Path) -> None:
    one = pins.create_file(str(tmp_path), "r1", DATA)
    two = pins.create_file(str(tmp_path), "r2", b"other")
    assert (Path(one).read_bytes(), Path(two).read_bytes()) == (DATA, b"other")
    with pytest.raises(FileExistsError):
        pins.create_file(str(tmp_path), "r1", b"again")
    assert Path(one).read_bytes() == DATA


def test_a_private_home(tmp_path: Path, umask: int) -> None:
    real, home, folder = private_home(tmp_path)
    assert (home / "config.toml").read_bytes() == DATA
    assert not (home / "config.toml").is_symlink()
    assert (mode(home), mode(folder), mode(home / "config.toml")) == (0o700, 0o700, 0o600)
    for name in ("device_id", "sessions", "my notes.txt", "credentials", "mcp.json"):
        assert os.readlink(home / name) == str(real / name)
    assert not any(".kmi-" in name or ".tmp." in name for name in os.listdir(home))
    # Made in the real home first, so that the client writes through the link.
    for name in pins.DIRS[CODE]:
        assert (real / name).is_dir()
    write_private(home / "sessions" / "s2.jsonl", "new talk")
    assert (real / "sessions" / "s2.jsonl").read_text() == "new talk"
    (home / "device_id").write_text("other")
    assert (real / "device_id").read_text() == "other"
    assert (real / "config.toml").read_text() == "the user's"


@pytest.mark.parametrize("client", [CLI, CODE])
def test_what_is_made_in_the_real_home_is_private(tmp_path: Path, umask: int, client: str) -> None:
    real = tmp_path / "real"
    real.mkdir(0o700)
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(real), client))
    for name in pins.FILES[client]:
        assert os.readlink(home / name) == str(real / name)
    for name in pins.DIRS[client]:
        assert os.readlink(home / name) == str(real / name)
        assert mode(real / name) == 0o700


def test_a_client_that_was_never_started_has_a_home_then(tmp_path: Path) -> None:
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(tmp_path / "new"), CODE))
    assert (home / "config.toml").read_bytes() == DATA
    assert (tmp_path / "new" / "sessions").is_dir()
    assert not (tmp_path / "new" / "config.toml").exists()


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_removing_an_untouched_home_leaves_the_real_one_as_it_was(tmp_path: Path) -> None:
    real, _home, folder = private_home(tmp_path)
    before = content(real)
    pins.remove(str(folder))
    assert not folder.exists()
    assert content(real) == before


def test_what_the_client_left_goes_back(tmp_path: Path) -> None:
    real, home, folder = private_home(tmp_path)
    write_private(home / "new.json", "new")
    write_private(home / "newdir" / "deep" / "x", "x")
    (home / "device_id").unlink()  # replaced by rename, as Kimi Code writes
    write_private(home / "device_id", "renewed")
    write_private(home / "config.toml", "changed by the client, with a key")
    (home / "workspaces.json").unlink()
    write_private(home / "workspaces.json", "a cache")
    pins.remove(str(folder))
    assert not folder.exists()
    found = content(real)
    assert found["new.json"] == "new"
    assert found["newdir/deep/x"] == "x"
    assert found["device_id"] == "renewed"
    assert found["config.toml"] == "the user's"
    assert found["sessions/s1/wire.jsonl"] == "talk"
    assert "workspaces.json" not in found


def test_what_another_run_changed_later_wins(tmp_path: Path) -> None:
    real, home, folder = private_home(tmp_path)
    (home / "device_id").unlink()
    write_private(home / "device_id", "of the pinned run")
    (real / "device_id").write_text("later")
    later = time.time_ns() + 5_000_000_000
    os.utime(real / "device_id", ns=(later, later))
    pins.remove(str(folder))
    assert (real / "device_id").read_text() == "later"
    assert not folder.exists()


def index(**sessions: str | None) -> dict[str, Any]:
    """kimi-cli's index of sessions: the last one of each working directory."""
    dirs = [
        {"path": f"/{name}", "kaos": "local", "last_session_id": session}
        for name, session in sessions.items()
    ]
    return {"work_dirs": dirs}


def session(real: Path, path: str, name: str, at: float) -> None:
    """A session of kimi-cli, written at a time."""
    folder = hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()
    file = write_private(real / "sessions" / folder / name / "context.jsonl", "talk")
    for item in (file, file.parent):
        os.utime(item, (at, at))


def test_the_sessions_of_two_runs_are_both_found_again(tmp_path: Path) -> None:
    real = tmp_path / "real"
    write_private(real / "kimi.json", json.dumps(index(a="old", b="old")))
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(real), CLI))
    for path, name, at in (("/a", "old", 1.0), ("/a", "mine", 2.0), ("/b", "old", 1.0)):
        session(real, path, name, at)
    session(real, "/b", "theirs", 3.0)
    # kimi-cli writes beside it and renames, here and there.
    (home / "kimi.json").unlink()
    write_private(home / "kimi.json", json.dumps(index(a="mine", b="old", c="new")))
    write_private(real / "kimi.json", json.dumps({**index(a="old", b="theirs", d="x"), "more": 1}))
    pins.remove(str(home.parent))
    assert not home.exists()
    found = json.loads((real / "kimi.json").read_text())
    assert found == {**index(a="mine", b="theirs", d="x", c="new"), "more": 1}
    assert mode(real / "kimi.json") == 0o600


def test_an_index_that_nobody_else_changed_goes_back_as_it_is(tmp_path: Path) -> None:
    real = tmp_path / "real"
    write_private(real / "kimi.json", json.dumps(index(a="old")))
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(real), CLI))
    (home / "kimi.json").unlink()
    write_private(home / "kimi.json", json.dumps(index(a="mine")))
    pins.remove(str(home.parent))
    assert json.loads((real / "kimi.json").read_text()) == index(a="mine")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"work_dirs": 1}', '{"work_dirs": [1]}', "[" * 9999]
)
def test_what_is_no_index_changes_nothing(tmp_path: Path, text: str) -> None:
    good = json.dumps(index(a="old"))
    mine = write_private(tmp_path / "mine", text)
    real = write_private(tmp_path / "real", good)
    merge_files(str(mine), str(real), str(tmp_path))
    assert real.read_text() == good
    merge_files(str(real), str(mine), str(tmp_path))
    assert mine.read_text() == text


@pytest.mark.parametrize("which", ["mine", "real"])
@pytest.mark.parametrize("kind", ["huge", "a link", "a folder"])
def test_an_index_that_can_not_be_read_stops_no_run(tmp_path: Path, which: str, kind: str) -> None:
    real = tmp_path / "real"
    write_private(real / "kimi.json", json.dumps(index(a="old")))
    home = Path(pins.create_home(str(tmp_path / "pins"), "r1", DATA, str(real), CLI))
    (home / "kimi.json").unlink()
    write_private(home / "kimi.json", json.dumps(index(a="mine")))
    write_private(real / "kimi.json", json.dumps(index(a="theirs")))
    path = (home if which == "mine" else real) / "kimi.json"
    path.unlink()
    if kind == "huge":
        with path.open("wb") as file:
            file.truncate(LIMIT_BYTES + 1)
    elif kind == "a link":
        path.symlink_to(write_private(tmp_path / "elsewhere", "{}"))
    else:
        path.mkdir()
    pins.sweep(str(tmp_path / "pins"))  # it lives
    pins.remove(str(home.parent))
    assert not (home / "config.toml").exists()


def test_a_large_index_is_put_together_too(tmp_path: Path) -> None:
    many = {f"{number}-{'x' * 100}": "old" for number in range(8000)}
    mine = write_private(tmp_path / "mine", json.dumps(index(b="new", **many)))
    real = write_private(tmp_path / "real", json.dumps(index(**many)))
    assert real.stat().st_size > 1024 * 1024
    merge_files(str(mine), str(real), str(tmp_path))
    assert json.loads(real.read_text()) == index(**many, b="new")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than ``tmp_path``."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_what_the_client_left_goes_back_to_another_file_system(
    tmp_path: Path, elsewhere: Path
) -> None:
    real = tmp_path / "real"
    write_private(real / "kimi.json", json.dumps(index(a="old")))
    home = Path(pins.create_home(str(elsewhere / "pins"), "r1", DATA, str(real), CLI))
    (home / "kimi.json").unlink()
    write_private(home / "kimi.json", json.dumps(index(a="mine")))
    write_private(home / "tool", "#!/bin/sh", 0o700)
    write_private(home / "newdir" / "deep" / "x", "x")
    pins.remove(str(home.parent))
    assert os.listdir(elsewhere / "pins") == []
    assert json.loads((real / "kimi.json").read_text()) == index(a="mine")
    assert mode(real / "kimi.json") == 0o600
    assert mode(real / "tool") == 0o700
    assert (real / "newdir" / "deep" / "x").read_text() == "x"
    assert not [name for name in os.listdir(real) if ".kmi-" in name]


def test_what_does_not_reach_another_file_system_is_kept(tmp_path: Path, elsewhere: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(0o700)
    home = Path(pins.create_home(str(elsewhere / "pins"), "r1", DATA, str(real), CLI))
    write_private(home / "new.json", "new")
    real.rename(tmp_path / "away")
    pins.remove(str(home.parent))
    assert (home / "new.json").read_text() == "new"
    (tmp_path / "away").rename(real)
    pins.remove(str(home.parent))
    assert (real / "new.json").read_text() == "new"
    assert not home.parent.exists()


def test_a_folder_in_the_way_is_left_for_the_person(tmp_path: Path) -> None:
    _real, home, folder = private_home(tmp_path)
    (home / "plugins").unlink()
    write_private(home / "plugins" / "mine" / "x", "precious")
    pins.remove(str(folder))
    assert (home / "plugins" / "mine" / "x").read_text() == "precious"
    assert not (home / "config.toml").exists()  # the key is gone in any case
    pins.remove(str(folder))
    assert (home / "plugins" / "mine" / "x").read_text() == "precious"


def test_unknown_files_beside_the_config_are_not_deleted(tmp_path: Path) -> None:
    path = Path(pins.create_file(str(tmp_path / "pins"), "r1", DATA))
    write_private(path.parent / "note.txt", "not kmi's")
    pins.remove(str(path.parent))
    assert not path.exists()
    assert (path.parent / "note.txt").read_text() == "not kmi's"


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    _, home, folder = private_home(tmp_path)
    outside = write_private(tmp_path / "outside" / "x", "stays")
    (home / "link").symlink_to(outside.parent)
    pins.remove(str(folder))
    assert outside.read_text() == "stays"
    assert not folder.exists()


def test_a_home_without_its_origin_is_left(tmp_path: Path) -> None:
    _, home, folder = private_home(tmp_path)
    write_private(home / "new.json", "new")
    (folder / "origin").unlink()
    pins.remove(str(folder))
    assert (home / "new.json").read_text() == "new"
    assert not (home / "config.toml").exists()


# Sweeping.


def test_a_living_process_keeps_its_copy(tmp_path: Path) -> None:
    path = Path(pins.create_file(str(tmp_path), "r1", DATA))
    pins.sweep(str(tmp_path))
    assert path.exists()


def test_the_copy_of_a_dead_process_goes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, dead_pid())
    write_private(folder / "config.toml", DATA)
    pins.sweep(str(tmp_path))
    assert not folder.exists()


@linux
def test_a_process_id_that_came_back_is_another_process(tmp_path: Path) -> None:
    other = folder_of(tmp_path, os.getpid(), "12345")
    write_private(other / "config.toml", DATA)
    same = folder_of(tmp_path, os.getpid(), pins.start_mark(os.getpid()))
    write_private(same / "config.toml", DATA)
    pins.sweep(str(tmp_path))
    assert (other.exists(), same.exists()) == (False, True)


def test_without_a_start_time_the_number_decides(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, os.getpid(), "0")
    write_private(folder / "config.toml", DATA)
    pins.sweep(str(tmp_path))
    assert folder.exists()


def test_a_process_of_another_container_is_given_a_week(tmp_path: Path) -> None:
    young = folder_of(tmp_path, dead_pid(), space="1")
    old = folder_of(tmp_path, dead_pid(), space="2")
    for folder in (young, old):
        write_private(folder / "config.toml", DATA)
    then = time.time() - pins.FOREIGN_KEPT_S - 60.0
    os.utime(old, (then, then))
    pins.sweep(str(tmp_path))
    assert (young.exists(), old.exists()) == (True, False)


@pytest.mark.parametrize("name", ["notes", "1", "x-y-z-w", "1-2", "-1-2-3", "1-2-3-4-5", ".hidden"])
def test_what_is_not_a_copy_is_left_alone(tmp_path: Path, name: str) -> None:
    path = write_private(tmp_path / name / "config.toml", "mine")
    pins.sweep(str(tmp_path))
    assert path.read_text() == "mine"


def test_a_file_that_is_named_like_a_copy(tmp_path: Path) -> None:
    path = write_private(folder_of(tmp_path, dead_pid()), "mine")
    pins.sweep(str(tmp_path))
    assert path.read_text() == "mine"


def test_nothing_to_sweep(tmp_path: Path) -> None:
    pins.sweep(str(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()


@linux
def test_the_start_of_a_process_is_known_and_stays() -> None:
    assert int(pins.start_mark(os.getpid())) > 0
    assert pins.start_mark(os.getpid()) == pins.start_mark(os.getpid())
    assert pins.start_mark(dead_pid()) == "0"
