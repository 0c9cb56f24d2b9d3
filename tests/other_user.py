"""Runs of kmi as another user, and with another umask: what root, or a developer, would not notice.

`Others` is a process that imports kmi and everything that kmi may import, and forks for each run:
the other user need not be able to read this Python. `abroad` moves a world to where that user may
go, and gives it to them.
"""

from __future__ import annotations

import ast
import atexit
import codecs
import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import LIMIT_S, PACKAGE_PARENT, Result, World
from tests.fork_server import ForkServer, ended, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Nobody: no name, no group, no home of that number.
UID = 54321
#: As most people have it.
UMASK = 0o022


class Others(ForkServer):
    """The process that forks, as a context manager.

    Args:
        before: words of a program that starts it and looks on, such as strace.
    """

    def __init__(self, before: tuple[str, ...] = ()) -> None:
        super().__init__("tests.other_user", before)

    def run(
        self,
        world: World,
        *args: str,
        input: str = "",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        uid: int = UID,
        umask: int = UMASK,
    ) -> Result:
        """Run kmi in a world to its end."""
        with tempfile.TemporaryDirectory() as files:
            call = {
                "args": args, "env": world.environment(env), "cwd": str(cwd or world.cwd),
                "input": input, "uid": uid, "umask": umask, "files": files,
            }  # fmt: skip
            code = self.ask(call)
            said = [
                Path(files, name).read_bytes().decode("utf-8", "surrogateescape")
                for name in ("1", "2")
            ]
        return Result(list(args), code, *said)


class Abroad(World):
    """A world in which kmi is not root's.

    Args:
        world: as it was.
        root: where it is now.
    """

    def __init__(self, world: World, root: Path) -> None:
        for name, value in vars(world).items():
            if isinstance(value, Path):
                setattr(self, name, root / value.relative_to(world.root))
        self.env = {n: v.replace(str(world.root), str(root)) for n, v in world.env.items()}
        self.give()

    def give(self) -> None:
        """Everything that is there to its user."""
        if os.geteuid() == 0:
            give(self)

    def kmi(
        self,
        *args: str,
        input: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run kmi to its end."""
        if os.geteuid() != 0:
            return super().kmi(*args, input=input, env=env, cwd=cwd)
        return shared().run(self, *args, input=input or "", env=env, cwd=cwd)

    def kmi_where_it_became(self, mode: int, path: Path, *args: str, cwd: Path) -> Result:
        """Run kmi in a directory above which a mode changed when it was there already."""
        before = path.stat().st_mode
        script = f'chmod {mode:o} "{path}" && exec "$@"'
        try:
            if os.geteuid() != 0:
                words = ["sh", "-c", script, "sh", sys.executable, "-m", "kmi", *args]
                return self.command(words, cwd=cwd, env={"PWD": str(cwd)})
            path.chmod(mode)  # root gets there all the same, and then becomes another user
            return self.kmi(*args, cwd=cwd, env={"PWD": str(cwd)})
        finally:
            path.chmod(stat.S_IMODE(before))


@contextmanager
def elsewhere() -> Iterator[Path]:
    """A folder into which other users may go: pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@lru_cache(maxsize=1)
def shared() -> Others:
    """The one of this process, which ends with it."""
    others = Others()
    atexit.register(others.close)
    return others


@contextmanager
def abroad(world: World) -> Iterator[Abroad]:
    """The world where it is not root's; root's is moved and given away, and comes back in the end.

    So what root could do in spite of every mode is refused there, too.
    """
    if os.geteuid() != 0:
        yield Abroad(world, world.root)
        return
    with elsewhere() as folder:
        root = Path(shutil.move(world.root, folder / "world"))
        try:
            yield Abroad(world, root)
        finally:
            shutil.move(root, world.root)


def give(world: World, uid: int = UID) -> None:
    """Everything in a world to a user."""
    for path in [world.root, *world.root.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


# The process.


def everything() -> None:
    """Import kmi whole, and what its functions would import when they are called."""
    top = Path(PACKAGE_PARENT) / "kmi"
    for path in sorted(top.rglob("*.py")):
        found = [".".join(path.relative_to(PACKAGE_PARENT).with_suffix("").parts)]
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in found:
            if not name.endswith("__main__"):
                with suppress(ImportError):
                    import_module(name)
    for codec in ("ascii", "idna", "latin-1", "punycode", "utf-8-sig"):
        codecs.lookup(codec)


def main() -> None:
    """Answer calls, one JSON line each, with the exit code; until the input ends."""
    everything()
    serve(forked)


def forked(call: dict[str, Any]) -> int:
    """One run, in the process that was forked for it."""
    from kmi import __main__ as entry

    signal.alarm(int(LIMIT_S))
    files = Path(call["files"])
    (files / "0").write_text(call["input"], encoding="utf-8")
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, flags in enumerate((os.O_RDONLY, write, write)):
        fd = os.open(files / str(number), flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(call["cwd"])
    os.umask(call["umask"])
    if call["uid"] != os.getuid():
        os.setgroups([])
        os.setgid(call["uid"])
        os.setuid(call["uid"])
    os.environ.clear()
    os.environ.update(call["env"])
    sys.argv = [str(entry.__file__), *call["args"]]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for the run
    return ended(entry.main)


if __name__ == "__main__":
    main()
