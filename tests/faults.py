"""Runs of kmi with faults: each is forked from a process that has imported kmi, as in `quickly`."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.conftest import CLI, LIMIT_S, PACKAGE_PARENT, Result, World
from tests.injection import Injector, Point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

#: Where a run reads and writes, below the root of its world.
STREAMS = ("faults-stdin", "faults-stdout", "faults-stderr")
#: What most commands import, beside their modules.
LOADED = (
    *("kmi.__main__", "kmi.api", "kmi.backup_secrets", "kmi.background", "kmi.health_rich"),
    *("kmi.kimi_edits", "kmi.memo", "kmi.pins", "kmi.proxy.lifecycle", "kmi.quick", "kmi.store"),
    *(
        "kmi.swap",
        "kmi.refresh",
        "kmi.upstream",
        "certifi",
        "httpx",
        "dotenv",
        "filelock",
        "tomlkit",
        "tests.careless",
    ),
)


def main() -> None:
    """Answer calls, one JSON line each, with the exit code; until the input ends."""
    from kmi.cli import COMMANDS

    for command in COMMANDS.values():
        import_module(f"kmi.commands.{command.module}")
    for name in LOADED:
        import_module(name)
    warm_up()
    gc.freeze()
    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(played(call))
        status = os.waitpid(pid, 0)[1]
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def warm_up() -> None:
    """Swap once in this very process: what is imported and compiled then, no run has to."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        (world.root / STREAMS[0]).touch()
        world.env["KMI_CLIENT"] = CLI
        world.add_keys("alpha", "beta")
        world.config_with("alpha")
        streams, fds = (sys.stdin, sys.stdout, sys.stderr), [os.dup(fd) for fd in (0, 1, 2)]
        for words in (["use", "beta"], ["undo"], ["run", "--dry-run", "--", "true"]):
            call = {"program": "kmi.__main__", "args": words, "env": world.env, "fault": None}
            played({**call, "cwd": str(world.cwd), "files": folder})
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        sys.stdin, sys.stdout, sys.stderr = streams
        os.chdir("/")
    signal.alarm(0)


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
    injector = None if call["fault"] is None else Injector(**call["fault"])
    if injector is not None:
        injector.install()
    try:
        code: Any = program.main()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        code = 1
    if injector is not None:
        injector.finish()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


# In the test.


class Faults:
    """The process that forks runs of kmi with faults, as a context manager.

    Args:
        program: a module with a ``main()``.
        within: the command line of what starts the process, if that is not Python.
    """

    def __init__(self, program: str = "kmi.__main__", within: Sequence[str] = ()) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.faults"],
            cwd=str(Path(__file__).parents[1]),
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": PACKAGE_PARENT,
                "LANG": "C.UTF-8",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Faults:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
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
