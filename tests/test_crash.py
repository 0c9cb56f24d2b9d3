"""SIGKILL at each system call by which a swap touches the disk, and the order of these calls.

This is the proof against the real kernel: strace names the calls of one undisturbed run, then
kills one run at each. The same over `careless.py` must find something: it would be worthless
otherwise. All other commands, and all errors, are in test_fault_sweep.py, where runs are forked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple, TypeVar

import pytest

from kmi.state import decode
from tests.conftest import CLI, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

KMI = (sys.executable, "-m", "kmi")
CARELESS = (sys.executable, str(Path(__file__).with_name("careless.py")))
#: At most so many runs at once; each is one small process under strace.
WORKERS = 4
#: No process has this number: it is beyond the largest that Linux gives.
DEAD_PID = 2**22 + 1

#: Whatever changes a file, under each name that it has on some machine.
CALLS = [
    "open",
    "openat",
    "creat",
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "truncate",
    "ftruncate",
    "fallocate",
    "flock",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "setxattr",
    "fsetxattr",
    "utimensat",
    "sendfile",
    "copy_file_range",
]

#: The command that is disturbed.
USE: tuple[str, ...] = ("use", "beta")


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    """These tests need strace; where it is missing they are skipped, but never in CI."""
    if shutil.which("strace") is None or _traced("true").returncode != 0:
        reason = "needs strace (Debian: apt-get install strace), and the right to trace"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with open(os.path.realpath(sys.executable), "rb") as file:
        assert file.read(2) != b"#!", "calls are counted per process: a shim would spoil that"


def _traced(program: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["strace", "-o", os.devnull, program], capture_output=True, check=False)


class Point(NamedTuple):
    """One call of one run: the ``number``-th of that name, and what strace says about it."""

    call: str
    number: int
    line: str

    @property
    def writes(self) -> bool:
        return "O_WRONLY" in self.line or "O_RDWR" in self.line or self.call != "openat"


# Situations: a world before `kmi use beta`, while alpha is in the config.


def fresh(world: World) -> None:
    """The first swap ever: kmi has no directory yet."""
    world.config_with("alpha")


def used(world: World) -> None:
    """Ten backups, modes too loose, a linked config, and what killed processes left."""
    target = write_private(world.home / "dotfiles" / "kimi.toml", config_text(secret_of("alpha")))
    config_of(world).parent.mkdir(mode=0o700)
    config_of(world).symlink_to(target)
    (world.auths / "gamma.env").chmod(0o644)
    (world.state / "backups").mkdir(parents=True, mode=0o700)
    world.state.chmod(0o755)
    for second in range(10):
        name = f"kimi-cli-20200101T00000{second}.000Z-0000.toml"
        write_private(world.state / "backups" / name, config_text(secret_of("alpha")))
    for left in (target, world.state / "state.json"):
        name = f".{left.name}.kmi-{DEAD_PID}-0a0b0c0d"
        write_private(left.parent / name, secret_of("beta")[:20])


Prepare = Callable[[World], None]
Item = TypeVar("Item")
SITUATIONS = {"fresh": fresh, "used": used}


def config_of(world: World) -> Path:
    """The config that the situation is about."""
    return world.config()


def make(root: Path, prepare: Prepare) -> World:
    """A world for one run."""
    root.mkdir(parents=True)
    world = World(root)
    world.env["KMI_CLIENT"] = CLI
    # Compiling must not add calls of its own.
    world.env["PYTHONDONTWRITEBYTECODE"] = "1"
    world.add_keys("alpha", "beta", "gamma")
    prepare(world)
    return world


def trace(
    world: World, argv: tuple[str, ...], *options: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command under strace."""
    log = world.root / "strace.log"
    traced = "trace=" + ",".join(f"?{call}" for call in CALLS)
    strace = ["strace", "-f", "-y", "-qq", "-s", "16", "-o", str(log), "-e", traced, *options]
    done = world.command([*strace, *argv])
    return done, log.read_text(errors="replace").splitlines()


def calls(lines: list[str]) -> Iterator[Point]:
    """The calls of a log, each counted among those of its name."""
    seen: Counter[str] = Counter()
    for line in lines:
        found = re.match(r"\d+ +(\w+)\(", line)
        if found is not None:
            seen[found[1]] += 1
            yield Point(found[1], seen[found[1]], line)


class Survey(NamedTuple):
    """One undisturbed run of a command that puts beta into the config.

    Attributes:
        points: the calls that touch the home.
        new: the config after it.
    """

    points: list[Point]
    new: bytes


def survey(root: Path, argv: tuple[str, ...], prepare: Prepare) -> Survey:
    """Run a command undisturbed."""
    warm = make(root / "warm", prepare)
    # Compiles what is not compiled yet: that must not look like calls of the swap.
    assert warm.command([*argv], env={"PYTHONDONTWRITEBYTECODE": None}).returncode == 0
    world = make(root / "traced", prepare)
    done, lines = trace(world, argv)
    assert done.returncode == 0, done
    new = config_of(world).read_bytes()
    assert secret_of("beta").encode() in new
    here = [point for point in calls(lines) if str(world.home) in point.line]
    return Survey(here, new)


# What must hold afterwards.


def wrong(world: World, new: bytes) -> Iterator[str]:
    """What is wrong with the files of a world, whatever happened to the command."""
    config = config_of(world).read_bytes()
    if config not in {config_text(secret_of("alpha")).encode(), new}:
        yield f"torn config: {config[:200]!r}"
    for path in world.home.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077:
            data = path.read_bytes()
            if any(secret_of(label).encode() in data for label in ("alpha", "beta")):
                yield f"a secret in a loose file: {path}"
    yield from unreadable(world)


def unreadable(world: World) -> Iterator[str]:
    """What is wrong with kmi's own files."""
    for path in world.state.glob("[!.]*.json*"):
        try:
            if path.name == "state.json":
                decode(json.loads(path.read_bytes()))
            for line in path.read_text().splitlines():
                json.loads(line)
        except ValueError as error:
            yield f"{path.name} is not readable: {error}"


def wrong_after_recovery(world: World, subject: tuple[str, ...], new: bytes) -> Iterator[str]:
    """What is wrong with the next runs, and with the files after these."""
    for args in (USE, ("run", "--", "true")):
        done = world.kmi(*args) if subject == KMI else world.command([*subject, *args])
        if done.returncode != 0:
            yield f"the next {args[0]!r} failed: {done.returncode} {done.stderr}"
    if config_of(world).read_bytes() != new:
        yield "the next `use beta` did not put beta there"
    for path in [*world.home.rglob(".*.kmi-*"), *(world.state / "pins").glob("*")]:
        yield f"left behind: {path.name}"
    yield from unreadable(world)


# The sweep.


def kill_sweep(
    root: Path, subject: tuple[str, ...], prepare: Prepare, only: str = "", step: int = 1
) -> tuple[int, list[str]]:
    """SIGKILL at each point: how many there were, and what was wrong.

    Args:
        root: below it each run has its world.
        subject: the program.
        prepare: makes the situation.
        only: a pattern; take the points whose line holds it.
        step: of these, each that many-th; `test_fault_sweep` takes all, within the process.
    """
    found = survey(root / "survey", (*subject, *USE), prepare)
    chosen = [point for point in found.points if point.writes and re.search(only, point.line)]
    chosen = chosen[::step]
    new = found.new

    def one(point: Point) -> list[str]:
        world = make(root / f"{point.call}-{point.number}", prepare)
        # Not with --seccomp-bpf: strace 6.1 then injects no signal.
        inject = f"inject={point.call}:signal=KILL:when={point.number}"
        _, lines = trace(world, (*subject, *USE), "-e", inject)
        last = [line for line in lines if line.split(" ", 1)[1].lstrip().startswith(point.call)][-1]
        assert "killed by SIGKILL" in lines[-1] or "= ?" in last, f"{point} did not fire"
        assert str(world.home) in last, f"{point} fired elsewhere: {last}"
        bad = [*wrong(world, new), *wrong_after_recovery(world, subject, new)]
        shutil.rmtree(world.root)
        return [f"killed at {short(point)}: {what}" for what in bad]

    return len(chosen), in_parallel(one, chosen)


def short(point: Point) -> str:
    """A point for people: temporary names and paths cut."""
    return f"{point.call} {point.number} ({re.sub(r'/[^ ]*/', '', point.line)[:120]})"


def in_parallel(one: Callable[[Item], list[str]], items: list[Item]) -> list[str]:
    """What was wrong with any of the items."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return [what for bad in pool.map(one, items) for what in bad]


def report(bad: list[str]) -> str:
    """The first findings, for an assertion."""
    return f"{len(bad)} violations:\n" + "\n".join(bad[:20])


def test_sigkill_at_any_call_leaves_the_old_or_the_new_config(tmp_path: Path) -> None:
    count, bad = kill_sweep(tmp_path / "sweep", KMI, used, step=2)
    assert not bad, report(bad)
    assert count >= 10, "the sweep missed calls"


def test_the_sweep_finds_what_a_careless_writer_does(tmp_path: Path) -> None:
    killed, torn = kill_sweep(tmp_path / "kill", CARELESS, fresh, only=r"config|backups/")
    assert killed >= 5
    assert any("torn config" in what for what in torn), report(torn)
    assert any("loose file" in what for what in torn), report(torn)
    assert any("did not put beta there" in what for what in torn), report(torn)


# Limits that need no strace.


def limited(world: World, limit: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run kmi under a limit of the shell's `ulimit`."""
    return world.command(["/bin/sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *KMI, *args])


def test_where_no_byte_can_be_written_nothing_changes(tmp_path: Path) -> None:
    world = make(tmp_path / "world", fresh)
    done = limited(world, "-f 0", "use", "beta")
    assert done.returncode == 77
    assert "was not changed" in done.stderr
    assert config_of(world).read_text() == config_text(secret_of("alpha"))
    assert not list(world.home.rglob(".*.kmi-*"))


def test_a_swap_needs_few_descriptors(tmp_path: Path) -> None:
    world = make(tmp_path / "world", fresh)
    assert limited(world, "-n 16", "use", "beta").returncode == 0
    assert secret_of("beta") in config_of(world).read_text()


def test_a_record_cut_off_by_a_full_disk_spoils_no_other(tmp_path: Path) -> None:
    world = make(tmp_path / "world", fresh)
    size = 8 * 512  # `ulimit -f` counts in blocks of 512 bytes
    filler = '{"schema":1,"filler":"%s"}\n'
    audit = world.state / "audit.jsonl"
    write_private(audit, filler % ("x" * (size - 50 - len(filler % ""))))
    world.state.chmod(0o700)
    before = audit.read_text().splitlines()
    assert limited(world, "-f 8", "use", "beta").returncode != 0
    assert audit.stat().st_size == size, "the limit cut nothing off"
    assert world.kmi("use", "alpha").returncode == 0
    after = audit.read_text().splitlines()
    assert after[: len(before)] == before
    assert json.loads(after[-1])["after"] == "alpha"


# The order of calls in one undisturbed run.


class Written(NamedTuple):
    """One file that was replaced: where in the log each step is."""

    target: str
    created: int
    flags: str
    last_write: int
    synced: int
    renamed: int
    folder_synced: int


#: Made anew from the state whenever they are missing: put in place whole, but not synced.
REMADE = {"kmi-state/prompt", "kmi-state/labels"}


def out_of_order(world: World, lines: list[str]) -> tuple[list[str], list[str]]:
    """The files that were put in place by a rename, and what is wrong with how it was done."""
    home = re.escape(str(world.home))
    bad: list[str] = []
    replaced: list[str] = []
    locked = False
    opened: dict[str, list[str]] = {}
    waiting: dict[str, str] = {}  # a folder whose rename is not durable yet, and the file
    for line in lines:
        call = line.split(" ", 1)[1].lstrip()
        on = re.match(rf"(\w+)\(\d+<({home}[^>]*)>", call)
        new = re.match(rf'openat\([^"]*"({home}[^"]*)", (\S*)(?:, (\d+))?\)', call)
        moved = re.match(rf'rename\w*\((?:[^"]*)"({home}[^"]*)", (?:[^"]*)"({home}[^"]*)"', call)
        if call.startswith("flock(") and "LOCK_EX" in call:
            locked = True
        elif new is not None and ("O_WRONLY" in new[2] or "O_RDWR" in new[2]):
            path, flags, mode = new[1], new[2], new[3]
            opened[path] = []
            if mode != "0600":
                bad.append(f"{path} is created with mode {mode}")
            if path.endswith("/lock") or ("O_APPEND" in flags and path.endswith(".jsonl")):
                continue
            if "O_EXCL" not in flags or "O_CREAT" not in flags:
                bad.append(f"{path} is written in place")
            if not locked:
                bad.append(f"{path} is written without the lock")
        elif on is not None and on[1] in {"write", "fsync", "fdatasync"}:
            opened.setdefault(on[2], []).append(on[1])
            if on[1] == "fsync":
                waiting.pop(on[2], None)
        elif moved is not None:
            source, target = moved[1], moved[2]
            name = os.path.relpath(target, world.home)
            replaced.append(name)
            if name in REMADE:
                continue
            if opened.get(source, [])[-2:] != ["write", "fsync"]:
                bad.append(f"{target}: {opened.get(source)} before the rename")
            if os.path.dirname(source) != os.path.dirname(target):
                bad.append(f"{target} comes from another directory")
            bad += [f"{file} is not durable yet" for file in waiting.values()]
            waiting = {os.path.dirname(target): target}
    bad += [f"{file} never becomes durable" for file in waiting.values()]
    return replaced, bad


@pytest.mark.parametrize("situation", SITUATIONS)
def test_write_then_fsync_then_rename_then_fsync_of_the_directory(
    tmp_path: Path, situation: str
) -> None:
    world = make(tmp_path / "world", SITUATIONS[situation])
    done, lines = trace(world, (*KMI, *USE))
    assert done.returncode == 0, done
    replaced, bad = out_of_order(world, lines)
    assert not bad, report(bad)
    config = {"fresh": ".kimi/config.toml", "used": "dotfiles/kimi.toml"}[situation]
    assert config in replaced
    assert "kmi-state/state.json" in replaced
    backup = next(i for i, name in enumerate(replaced) if name.startswith("kmi-state/backups/"))
    assert backup < replaced.index(config) < replaced.index("kmi-state/state.json")


def test_the_order_is_wrong_in_a_careless_writer(tmp_path: Path) -> None:
    world = make(tmp_path / "world", fresh)
    done, lines = trace(world, (*CARELESS, *USE))
    assert done.returncode == 0, done
    replaced, bad = out_of_order(world, lines)
    assert not replaced
    assert any("written in place" in what for what in bad), report(bad)
    assert any("without the lock" in what for what in bad), report(bad)
    assert any("mode 0666" in what for what in bad), report(bad)
