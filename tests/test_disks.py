"""Real disks that refuse: full, without inodes, read-only, mounted over; and modes that forbid.

The home of these worlds is a small file system of its own, in a mount namespace of its own, so
nothing is left on the machine. Where mounting is not allowed (most containers) these tests are
skipped; the limits of `ulimit` in test_crash.py, and the faults of test_fault_sweep.py, need no
rights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.aftermath import Tree, Verdict, leftovers, restore, tree, wrong_answer
from tests.conftest import CLI, World, config_text, secret_of
from tests.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Result

PAGE = 4096
#: What is typed, for `kmi keys add`.
TYPED = secret_of("delta") + "\n"
#: Commands that write, with what is typed, and the exit code where nothing can be written.
WRITING = {
    "use beta": 77,
    "rotate": 77,
    "run -- true": 125,
    "keys add delta": 77,
    "keys disable beta": 77,
    "keys remove beta --yes": 77,
    "service install systemd": 77,
}
#: Commands that only look.
LOOKING = ("current", "status", "why", "keys", "backups", "audit", "config show", "doctor")


def unshare() -> list[str]:
    """What makes a mount namespace; as another user than root with a user namespace around it."""
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def can_mount() -> bool:
    """Whether a file system may be mounted."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("nsenter"):
        return False
    probe = [*unshare(), "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="file systems can't be mounted here")


class Disk:
    """A tmpfs in the place of a world's home, with what the home holds.

    Args:
        world: kmi is run in it by `kmi`.
        options: of the mount: ``size=``, ``nr_inodes=``.
    """

    def __init__(self, world: World, options: str) -> None:
        self._world = world
        copy = world.root / "copy"
        shutil.copytree(world.home, copy, symlinks=True)
        script = (
            'mount -t tmpfs -o "$1,mode=700" none "$2" && cp -a "$3/." "$2" && echo ready && cat'
        )
        words = ["sh", "-c", script, "sh", options, str(world.home), str(copy)]
        self._holder = subprocess.Popen(
            [*unshare(), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._within = ["nsenter", "--mount", *user, f"--target={self._holder.pid}"]
        here = str(Path(__file__).parents[1])
        within = [*self._within, "sh", "-c", 'cd "$0" && exec "$@"', here]
        self._kmi = Faults(within=within)
        outside = Path(f"/proc/{self._holder.pid}/root")
        self.home = Path(f"{outside}{world.home}")
        #: For `tree`.
        self.seen: Any = SimpleNamespace(
            root=Path(f"{outside}{world.root}"), home=self.home, cwd=Path(f"{outside}{world.cwd}")
        )

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        self._kmi.__exit__(None, None, None)
        self._holder.communicate()

    def kmi(self, words: str) -> Result:
        """Run kmi where the disk is mounted."""
        return self._kmi.run(self._world, words.split(), input=TYPED)

    def mount(self, *words: str) -> None:
        """Change what is mounted."""
        subprocess.run([*self._within, "mount", *words], check=True)

    def fill(self, free: int) -> None:
        """Leave so many pages."""
        with open(self.home / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * PAGE)
            except OSError:
                file.truncate(max(0, file.tell() // PAGE - free) * PAGE)

    def take_inodes(self, free: int) -> None:
        """Leave so many inodes."""
        folder, made = self.home / "fillers", 0
        folder.mkdir()
        try:
            while True:
                (folder / f"{made}").touch()
                made += 1
        except OSError:
            for number in range(made - free, made):
                (folder / f"{number}").unlink()

    def empty(self) -> None:
        """Give everything back."""
        (self.home / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.home / "fillers", ignore_errors=True)


@pytest.fixture
def home(world: World) -> World:
    """Three keys, a config, and one swap that was made before."""
    world.env.update(KMI_CLIENT=CLI, KMI_UPSTREAM_BASE_URL="http://127.0.0.1:9/coding/v1")
    world.add_keys("alpha", "beta", "gone")
    world.write_config(CLI, config_text(secret_of("gone"), base_url="http://127.0.0.1:9/coding/v1"))
    assert world.kmi("use", "alpha").returncode == 0
    return world


def undisturbed(world: World, words: str) -> tuple[Tree, Tree]:
    """The trees before and after a command that nothing disturbs; the world is as before then."""
    before = tree(world)
    assert world.kmi(*words.split(), input=TYPED).returncode == 0
    after = tree(world)
    restore(world, before)
    return before, after


def check(disk: Disk, done: Result, verdict: Verdict) -> None:
    """What must hold after a command for which there was not enough room."""
    now = {name: entry for name, entry in tree(disk.seen).items() if "/filler" not in name}
    assert not list(wrong_answer(done, 0)), done
    assert not list(verdict.wrong(now, other_keys=False, torn=True)), done
    assert not leftovers(now), done
    if done.returncode == 0:
        assert not verdict.reached(now, state=True), done


@needs_mount
@pytest.mark.parametrize("kind", ["bytes", "inodes"])
def test_a_disk_that_becomes_full_at_any_moment(home: World, kind: str) -> None:
    """With a little more room each time: some step of the swap is the one that fails."""
    verdict = Verdict(*undisturbed(home, "use beta"))
    codes = []
    options = {"bytes": "size=256k", "inodes": "nr_inodes=60"}[kind]
    with Disk(home, options) as disk:
        before = tree(disk.seen)
        for free in range(5):
            restore(disk.seen, before)
            (disk.fill if kind == "bytes" else disk.take_inodes)(free)
            done = disk.kmi("use beta")
            check(disk, done, verdict)
            codes.append(done.returncode)
            disk.empty()
        assert codes[0] == 77, "there was room"
        assert codes[-1] == 0, "there was never enough room"
        restore(disk.seen, before)
        assert disk.kmi("use beta").returncode == 0


@needs_mount
def test_no_command_does_damage_on_a_full_disk(home: World) -> None:
    before = tree(home)
    with Disk(home, "size=256k") as disk:
        disk.fill(0)
        for words in WRITING:
            done = disk.kmi(words)
            assert not list(wrong_answer(done, 0)), done
            now = tree(disk.seen)
            assert not leftovers(now), words
            # What needs no room may be done: a removal, a line in a page that is there.
            for name, entry in before.items():
                if name.endswith((".env", "config.toml")):
                    assert now[name] == entry, (words, name)
        disk.empty()
        for words in WRITING:
            assert disk.kmi(words).returncode == 0


@needs_mount
def test_a_read_only_home_is_for_looking_only(home: World) -> None:
    before = tree(home)
    with Disk(home, "size=256k") as disk:
        disk.mount("-o", "remount,ro", str(home.home))
        for words, code in WRITING.items():
            done = disk.kmi(words)
            assert done.returncode == code, done
            assert "Read-only file system" in done.stderr
            assert not list(wrong_answer(done, 0)), done
        for words in LOOKING:
            done = disk.kmi(words)
            assert done.returncode in ({0, 1} if words == "doctor" else {0}), done
            assert not list(wrong_answer(done, 1)), done
        after = tree(disk.seen)
        assert {name: (e.mode, e.data) for name, e in after.items()} == {
            name: (e.mode, e.data) for name, e in before.items()
        }
        disk.mount("-o", "remount,rw", str(home.home))
        assert disk.kmi("use beta").returncode == 0


@needs_mount
def test_a_config_that_is_a_mount_point_is_left_as_it_is(home: World) -> None:
    """As containers do it with single files: there nothing can be put in its place."""
    with Disk(home, "size=256k") as disk:
        disk.mount("--bind", str(home.config()), str(home.config()))
        before = tree(disk.seen)
        done = disk.kmi("use beta")
        assert done.returncode == 77, done
        assert "was not changed" in done.stderr
        now = tree(disk.seen)
        assert not leftovers(now)
        assert now["home/.kimi/config.toml"] == before["home/.kimi/config.toml"]
        # A run needs no change of it.
        assert disk.kmi("run -- true").returncode == 0


def powerless() -> list[str]:
    """What starts a program that modes bind, also as root."""
    return [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def modes_bind() -> bool:
    """Whether there is such a thing."""
    if sys.platform == "win32" or (not os.geteuid() and not shutil.which("setpriv")):
        return False
    return subprocess.run([*powerless(), "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def locked_home(home: World) -> Iterator[World]:
    """A home whose directories can't be written; they can again afterwards."""
    folders = [home.home, *(p for p in home.home.rglob("*") if p.is_dir() and not p.is_symlink())]
    modes = [(folder, folder.stat().st_mode & 0o777) for folder in folders]
    yield home
    for folder, mode in modes:
        folder.chmod(mode)


@pytest.mark.skipif(not modes_bind(), reason="needs setpriv (util-linux), or not to be root")
def test_directories_that_cannot_be_written(locked_home: World) -> None:
    home = locked_home
    before = tree(home)
    config, auths, state = home.config().parent, home.auths, home.state
    needs = {
        "use beta": {config, state / "backups"},
        "run -k beta -- true": {config, state / "backups"},
        "keys add delta": {auths},
    }
    with Faults(within=powerless()) as kmi:
        for folder in (config, auths, state, state / "backups"):
            folder.chmod(0o500)
            for words, needed in needs.items():
                done = kmi.run(home, words.split(), input=TYPED)
                assert not list(wrong_answer(done, 0)), done
                assert not leftovers(tree(home)), (folder, words)
                if folder in needed:
                    assert done.returncode == (125 if words.startswith("run") else 77), done
                    assert "Permission denied" in done.stderr
                elif folder != state:
                    assert done.returncode == 0, (folder, done)
                folder.chmod(0o700)
                restore(home, before)
                folder.chmod(0o500)
            folder.chmod(0o700)
    assert home.kmi("use", "beta").returncode == 0


def test_a_config_that_is_immutable_is_left_as_it_is(home: World) -> None:
    config = home.config()
    before = tree(home)
    made = ["chattr", "+i", str(config)]
    if not shutil.which("chattr") or subprocess.run(made, check=False).returncode:
        pytest.skip("needs chattr, and the right to it")
    try:
        done = home.kmi("use", "beta")
        assert done.returncode == 77, done
        assert "was not changed" in done.stderr
        now = tree(home)
        assert now["home/.kimi/config.toml"] == before["home/.kimi/config.toml"]
        assert not leftovers(now)
    finally:
        subprocess.run(["chattr", "-i", str(config)], check=True)
    assert home.kmi("use", "beta").returncode == 0
