"""Runs of kmi with faults: each is forked from a process that has imported kmi, as in `quickly`."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.conftest import LIMIT_S, Result, World
from tests.fork_server import ForkServer, ended, preload, serve
from tests.injection import Injector, Point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Where a run reads and writes, below the root of its world.
STREAMS = ("faults-stdin", "faults-stdout", "faults-stderr")


def main() -> None:
    """Answer calls, one JSON line each, with the exit code; until the input ends."""
    preload()
    import_module("tests.careless")
    gc.freeze()
    serve(played)


def played(call: dict[str, Any]) -> int:
    """One run, in the process that was forked for it."""
    signal.alarm(int(LIMIT_S))
    for number, name in enumerate(STREAMS):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        fd = os.open(os.path.join(call["files"], name), flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    program = import_module(call["program"])
    sys.argv = [str(program.__file__), *call["args"]]
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, closefd=False)  # noqa: SIM115 - as long as the run
        for fd, mode in enumerate(("r", "w", "w"))
    )
    if call["fault"] is None:
        return ended(program.main)
    injector = Injector(**call["fault"])

    def disturbed() -> object:
        injector.install()
        try:
            return program.main()
        finally:
            injector.finish()

    return ended(disturbed)


# In the test.


class Faults(ForkServer):
    """The process that forks runs of kmi with faults, as a context manager.

    Args:
        program: a module with a ``main()``.
        within: the command line of what starts the process, if that is not Python.
    """

    def __init__(self, program: str = "kmi.__main__", within: Sequence[str] = ()) -> None:
        self.program = program
        super().__init__("tests.faults", within)

    def run(
        self,
        world: World,
        words: Sequence[str],
        *,
        input: str = "",
        cwd: Path | None = None,
        fault: Mapping[str, object] | None = None,
    ) -> Result:
        """Run it in a world to its end; ``fault`` are arguments of `Injector`."""
        (world.root / STREAMS[0]).write_text(input)
        call = {
            "program": self.program,
            "args": words,
            "env": world.environment(),
            "cwd": str(cwd or world.cwd),
            "files": str(world.root),
            "fault": fault,
        }
        code = self.ask(call)
        said = [
            (world.root / name).read_bytes().decode("utf-8", "surrogateescape")
            for name in STREAMS[1:]
        ]
        return Result(list(words), code, *said)

    def survey(
        self, world: World, words: Sequence[str], *, input: str = ""
    ) -> tuple[Result, list[Point]]:
        """Run it undisturbed, and tell the calls that touched the home and the project."""
        log = world.root / "faults-log"
        log.unlink(missing_ok=True)
        done = self.run(world, words, input=input, fault=_fault(world, None, ""))
        lines = log.read_text().splitlines() if log.exists() else []
        return done, [Point(*json.loads(line)) for line in lines]

    def disturbed(
        self, world: World, words: Sequence[str], point: Point, kind: str, *, input: str = ""
    ) -> tuple[Result, bool]:
        """Run it with a fault at a point; also whether the point was met."""
        log = world.root / "faults-log"
        log.unlink(missing_ok=True)
        done = self.run(world, words, input=input, fault=_fault(world, point, kind))
        return done, log.exists()


def _fault(world: World, target: Point | None, kind: str) -> dict[str, object]:
    return {
        "top": str(world.root),
        "folders": [world.home.name, world.cwd.name],
        "log": str(world.root / "faults-log"),
        "target": target,
        "kind": kind,
        "config": str(world.config()),
    }


if __name__ == "__main__":
    main()
