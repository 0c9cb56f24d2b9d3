"""Journals: whole lines from many processes, exactly N backups, and readers that miss nothing."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kmi import journal
from kmi.journal import Follower, append, prune
from tests.conftest import PACKAGE_PARENT

if TYPE_CHECKING:
    from pathlib import Path

BIG = 1 << 30


def files(path: Path) -> list[Path]:
    """The journal's files, oldest first."""
    backups = [p for p in path.parent.iterdir() if p.name.startswith(f"{path.name}.")]
    numbered = [p for p in backups if p.suffix[1:].isdigit()]
    numbered.sort(key=lambda p: -int(p.suffix[1:]))
    return numbered + ([path] if path.exists() else [])


def content(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in files(path))


def put(path: Path, *lines: str, max_bytes: int = BIG, backups: int = 3) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    append(str(path), data, max_bytes=max_bytes, backups=backups)


# Writing.


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777 & ~0o600])
def test_files_are_private_from_the_start(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "j"
    old = os.umask(umask)
    try:
        for _ in range(4):
            put(path, "x" * 50, max_bytes=60)
    finally:
        os.umask(old)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("backups", [0, 1, 2, 5])
def test_n_backups_are_n(tmp_path: Path, backups: int) -> None:
    path = tmp_path / "j"
    for number in range(12):
        put(path, f"line {number:02}", max_bytes=17, backups=backups)  # two lines a file
    kept = content(path).decode().splitlines()
    assert len(files(path)) == min(backups, 5) + 1
    assert kept == [f"line {n:02}" for n in range(12)][-2 * (backups + 1) :]


def test_a_smaller_setting_removes_the_surplus(tmp_path: Path) -> None:
    path = tmp_path / "j"
    for number in range(6):
        put(path, f"{number}", max_bytes=1, backups=5)
    assert len(files(path)) == 6
    put(path, "last", max_bytes=1, backups=2)
    assert content(path) == b"4\n5\nlast\n"


def test_a_gap_is_filled_before_a_backup_goes(tmp_path: Path) -> None:
    """A rotation that was killed in the middle costs nothing."""
    path = tmp_path / "j"
    for number in range(4):
        put(path, f"{number}", max_bytes=1, backups=4)
    (tmp_path / "j.1").rename(tmp_path / "gone")
    put(path, "new", max_bytes=1, backups=3)
    assert content(path) == b"0\n1\n3\nnew\n"


def test_what_is_larger_than_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "j"
    put(path, "small", max_bytes=10)
    put(path, "x" * 100, max_bytes=10)
    put(path, "y" * 100, max_bytes=10)
    assert [file.stat().st_size for file in files(path)] == [6, 101, 101]


@pytest.mark.parametrize("torn", [b"half", b"x" * (3 * journal.BLOCK_BYTES), b"\xff\x00"])
@pytest.mark.parametrize("before", [b"", b"whole\n", b"a\n" * 70_000])
def test_a_torn_end_is_cut_off(tmp_path: Path, before: bytes, torn: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(before + torn)
    put(path, "next")
    assert path.read_bytes() == before + b"next\n"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine\n")
    (tmp_path / "j").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        put(tmp_path / "j", "x")
    assert (tmp_path / "target").read_text() == "mine\n"
    (tmp_path / "k.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        put(tmp_path / "k", "x")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from kmi.journal import append\n"
        "append(sys.argv[1], b'first\\n', max_bytes=1 << 30, backups=1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "try:\n    append(sys.argv[1], b'x' * 50 + b'\\n', max_bytes=1 << 30, backups=1)\n"
        "except OSError as error:\n    print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "j")],
        env={"PYTHONPATH": PACKAGE_PARENT}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip().isdigit(), done
    assert (tmp_path / "j").read_bytes() == b"first\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10


def test_a_lock_that_is_never_free_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(journal, "LOCK_TIMEOUT_S", 0.05)
    with open(tmp_path / "j.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="lock"):
            put(tmp_path / "j", "x")
    put(tmp_path / "j", "x")
    assert (tmp_path / "j").read_bytes() == b"x\n"


WRITER = """
import sys
from kmi.journal import append
path, name, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for number in range(count):
    lines = "".join(f"{name} {number} {part} {'.' * (number % 90)}\\n" for part in range(3))
    append(path, lines.encode(), max_bytes=size, backups=400)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def start(path: Path, name: str, count: int, size: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count), str(size)],
        env={"PYTHONPATH": PACKAGE_PARENT},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_eight_writers_and_kills_lose_double_and_tear_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    count, size = 250, 4000
    follower = Follower(str(path))  # before the first line: it tells what comes after it
    steady = {f"s{n}": start(path, f"s{n}", count, size) for n in range(5)}
    doomed = {f"d{n}": start(path, f"d{n}", 100_000, size) for n in range(3)}
    told: list[bytes] = []
    rng = random.Random(1)
    said: dict[str, int] = {}
    for name, process in doomed.items():
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(rng.randrange(20, 60))]
        process.send_signal(signal.SIGKILL)
        out = process.stdout.read()
        process.wait(60)
        process.stdout.close()
        # A number may be cut off by the kill, in the pipe: only whole lines count.
        said[name] = max(map(int, ["0", *heard, *out[: out.rfind("\n") + 1].split()]))
        told += follower.lines()
    for process in steady.values():
        process.communicate(timeout=60)
        assert process.returncode == 0
    told += follower.lines()
    follower.close()
    lines = content(path).splitlines()
    assert len(files(path)) > 20, "it was hardly rotated, so little was tested"
    seen: dict[str, list[tuple[int, int]]] = {}
    for line in lines:
        name, number, part, dots = line.decode().split(" ")
        assert dots == "." * (int(number) % 90)
        seen.setdefault(name, []).append((int(number), int(part)))
    for name in steady:
        assert seen[name] == [(n, part) for n in range(count) for part in range(3)]
    for name, last in said.items():
        whole = [(n, part) for n in range(last + 3) for part in range(3)]
        # What was said to be written is there; the write in progress may be, wholly or in part.
        assert whole[: (last + 1) * 3] == seen[name][: (last + 1) * 3]
        assert seen[name] == whole[: len(seen[name])]
    assert told == lines


def test_the_count_would_find_a_careless_rotation(tmp_path: Path) -> None:
    """The control: renaming without the lock loses lines or doubles backups."""
    path = tmp_path / "j"
    put(path, "one")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(3):
        put(path, f"{number}", max_bytes=1, backups=2)
    os.write(fd, b"lost\n")  # opened before two rotations, as a writer without the lock would
    os.close(fd)
    assert b"lost" not in content(path)


# Reading.


def past(path: Path) -> list[str]:
    follower = Follower(str(path))
    try:
        return [line.decode() for line in follower.past()]
    finally:
        follower.close()


def test_the_past_is_read_backwards_through_the_backups(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert past(path) == []
    long = "y" * (journal.BLOCK_BYTES + 10)
    lines = [*map(str, range(50)), "", long, "after", *("z" * n for n in range(400))]
    for line in lines:
        put(path, line, max_bytes=journal.BLOCK_BYTES, backups=9)
    assert len(files(path)) > 1
    with open(path, "ab") as file:
        file.write(b"not yet whole")
    assert past(path) == lines[::-1]


def test_the_past_does_not_repeat_what_is_rotated_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "j"
    for line in "abc":
        put(path, line, max_bytes=4, backups=9)
    follower = Follower(str(path))
    found = follower.past()
    first = next(found)
    put(path, "d", max_bytes=1, backups=9)
    assert [first, *found] == [b"c", b"b", b"a"]
    assert list(follower.lines()) == [b"d"]
    follower.close()


def test_a_follower_sees_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "j"
    follower = Follower(str(path))
    assert list(follower.lines()) == []
    put(path, "a", "b")
    assert list(follower.lines()) == [b"a", b"b"]
    with open(path, "ab") as file:
        file.write(b"ha")
        file.flush()
        assert list(follower.lines()) == []
        file.write(b"lf\n")
    assert list(follower.lines()) == [b"half"]
    for number in range(5):  # five files at once
        put(path, f"{number}", max_bytes=1, backups=9)
    assert list(follower.lines()) == [b"0", b"1", b"2", b"3", b"4"]
    path.write_bytes(b"")
    assert list(follower.lines()) == []
    put(path, "emptied")
    assert list(follower.lines()) == [b"emptied"]
    put(path, "x", max_bytes=1, backups=0)
    assert list(follower.lines()) == [b"x"]
    path.unlink()
    assert list(follower.lines()) == []
    put(path, "anew")
    assert list(follower.lines()) == [b"anew"]
    follower.close()


def test_a_follower_that_fell_behind_goes_on_with_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "j"
    put(path, "a")
    follower = Follower(str(path))
    for number in range(6):
        put(path, f"{number}", max_bytes=1, backups=2)
    assert list(follower.lines()) == [b"5"]
    follower.close()


def test_following_tells_the_last_lines_and_then_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "j"
    for line in "abcd":
        put(path, line)
    follower = Follower(str(path))
    found = follower.past()
    assert [next(found), next(found)] == [b"d", b"c"]
    assert list(follower.lines()) == []
    put(path, "e")
    assert list(follower.lines()) == [b"e"]
    follower.close()
    none = Follower(str(tmp_path / "none"))
    put(tmp_path / "none", "first")
    assert list(none.lines()) == [b"first"]
    none.close()


def test_pruning_makes_a_follower_repeat_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    put(path, "a", "bc", "c")
    follower = Follower(str(path))
    prune(str(path), lambda line: line != b"a")
    assert list(follower.lines()) == []
    put(path, "d", "d", "e")
    prune(str(path), lambda line: line != b"bc")
    put(path, "f")
    assert list(follower.lines()) == [b"d", b"d", b"e", b"f"]
    prune(str(path), lambda line: line == b"d")
    put(path, "g")
    assert list(follower.lines())[-1] == b"g"
    prune(str(path), lambda line: False)
    assert list(follower.lines()) == []
    put(path, "h")
    assert list(follower.lines()) == [b"h"]
    follower.close()


def test_equal_lines_are_told_as_often_as_they_came(tmp_path: Path) -> None:
    path = tmp_path / "j"
    put(path, "old", "x", "x")
    follower = Follower(str(path))
    put(path, "x")
    prune(str(path), lambda line: line != b"old")
    put(path, "x", "xx", "x")
    # One was not told before the file was replaced.
    assert list(follower.lines()) == [b"x", b"x", b"xx", b"x"]
    follower.close()


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "j")
    began = time.monotonic()
    with pytest.raises(OSError, match="regular"):
        Follower(str(tmp_path / "j"))
    assert time.monotonic() - began < 30.0
