"""Whatever the umask, and whoever runs it: what kmi makes is its owner's alone, from the start."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, FakeKimi
from tests.conftest import CLI, World, config_text, secret_of
from tests.other_user import UID, Others, elsewhere, give
from tests.test_audit_completeness import CHANGING, on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are Unix's")

#: What makes a file or a directory, or gives it another mode, as strace tells it.
MAKES = re.compile(
    r'(?:open|creat|mkdir)(?:at)?\((?:[^",]*, )?"(?P<path>[^"]*)", '
    r"(?:(?P<flags>[A-Z_|]*), )?(?P<mode>0[0-7]*)\)"
)
CHANGES = re.compile(r"chmod(?:at)?\((?P<path>.*), (?P<mode>0[0-7]+)(?:, [^)]*)?\)")
#: A binding is there to be committed and shared; all else is its owner's.
SHARED = "..kmi.toml."
STRACE = ("strace", "-f", "-qq", "-y", "--seccomp-bpf", "-e",
          "trace=open,openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat", "-o")  # fmt: skip
#: The proxy is another Python, which another user may not be able to start; its files are looked
#: at in `tests/proxy/test_lifecycle.py`.
PATHS = tuple(path for path in CHANGING if "proxy" not in path)


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    """These tests need strace; where it is missing they are skipped, but never in CI."""
    if shutil.which("strace") is None:
        reason = "needs strace (Debian: apt-get install strace)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeKimi]:
    with FakeKimi({secret_of(label): Behaviour() for label in ("alpha", "beta", "delta")}) as api:
        yield api


def world_for(path: str, top: Path, upstream: FakeKimi) -> World:
    """What a command of the tables needs."""
    root = top / path.replace(" ", "-")
    root.mkdir(mode=0o755)
    world = World(root)
    on_loopback(world, upstream)
    world.add_keys("alpha", "beta", "gone")
    world.write_config(CLI, config_text(secret_of("alpha"), base_url=upstream.base_url))
    CHANGING[path].prepare(world)
    return world


def loose(world: World, uid: int) -> list[tuple[str, str, int]]:
    """What in the home is not its owner's alone, or another one's."""
    found = []
    for path in [world.home, *world.home.rglob("*")]:
        status = path.lstat()
        wanted = 0o700 if path.is_dir() else 0o600
        if not path.is_symlink() and (stat.S_IMODE(status.st_mode), status.st_uid) != (wanted, uid):
            found.append((str(path), oct(status.st_mode), status.st_uid))
    return found


def run_all(
    others: Others, paths: Sequence[str], top: Path, upstream: FakeKimi, uid: int, umask: int
) -> list[World]:
    """Commands that write, each in a world of its own."""
    worlds = []
    for path in paths:
        case = CHANGING[path]
        world = world_for(path, top, upstream)
        give(world, uid)
        for words in (*case.first, case.words):
            done = others.run(world, *words.split(), input=secret_of("delta"), uid=uid, umask=umask)
            assert done.returncode in {0, 1} or words in case.first, (words, done)
        assert loose(world, uid) == [], path
        worlds.append(world)
    return worlds


def made(log: str, home: str) -> Iterator[tuple[str, int]]:
    """What was made below a home, and with which mode it was asked for."""
    for line in log.splitlines():
        found = MAKES.search(line)
        if found is None or "O_CREAT" not in (found["flags"] or "O_CREAT"):
            continue
        if os.path.normpath(found["path"]).startswith(home):
            yield found["path"], int(found["mode"], 8)


def test_what_kmi_makes_is_private_from_the_start(upstream: FakeKimi, tmp_path: Path) -> None:
    """All of another user's with the umask 000, some of root's with 077."""
    log, me = tmp_path / "calls", os.geteuid()
    with elsewhere() as top, Others((*STRACE, str(log))) as others:
        worlds = run_all(others, PATHS, top, upstream, UID if me == 0 else me, 0o000)
        worlds += run_all(others, ("use", "keys add", "undo"), tmp_path, upstream, me, 0o077)
    text = log.read_text()
    for world in worlds:
        found = list(made(text, str(world.home)))
        assert found, "the control: something is always made"
        assert [(path, oct(mode)) for path, mode in found if mode not in {0o600, 0o700}] == []
    changed = filter(None, map(CHANGES.search, text.splitlines()))
    private = [found for found in changed if SHARED not in found["path"]]
    assert private
    assert [found[0] for found in private if int(found["mode"], 8) & 0o077] == []


def test_a_careless_program_is_found_out(tmp_path: Path) -> None:
    """The control: what is made open to all and closed at once is seen."""
    home = tmp_path / "home"
    program = (
        f"mkdir {home}; umask 000; echo > {home}/file; mkdir {home}/folder; chmod 644 {home}/*"
    )
    log = tmp_path / "calls"
    subprocess.run([*STRACE, str(log), "sh", "-c", program], check=True, cwd=tmp_path)
    text = log.read_text()
    found = {Path(path).name: mode for path, mode in made(text, f"{home}/")}
    assert found == {"file": 0o666, "folder": 0o777}
    changed = filter(None, map(CHANGES.search, text.splitlines()))
    assert {match["mode"] for match in changed} == {"0644"}
