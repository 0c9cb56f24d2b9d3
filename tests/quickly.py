"""Many runs of kmi in little time: each is a process of its own, forked with the modules loaded.

A start of Python costs more than most commands. `Forks` starts one Python, which imports kmi once
and then forks for every run; what a run sees (arguments, environment, directory, descriptors) is
what it would see when started by a shell. Nothing of kmi is replaced.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import LIMIT_S, PACKAGE_PARENT, Result, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class Forks:
    """The process that forks, as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.quickly"],
            cwd=str(Path(__file__).parents[1]),
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": PACKAGE_PARENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Forks:
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
        *args: str,
        input: str = "",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run kmi in a world to its end."""
        call = {
            "args": args,
            "input": input,
            "env": world.environment(env),
            "cwd": str(cwd or world.cwd),
            "files": str(world.root),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        said = [
            (world.root / name).read_bytes().decode("utf-8", "surrogateescape")
            for name in ("forked-stdout", "forked-stderr")
        ]
        return Result(list(args), code, *said)


def main() -> None:
    """Answer calls, one JSON line each, with the exit code; until the input ends."""
    from kmi import __main__ as entry
    from kmi.cli import COMMANDS

    for command in COMMANDS.values():
        import_module(f"kmi.commands.{command.module}")
    for name in ("api", "background", "health_rich", "proxy.lifecycle", "quick", "settings"):
        import_module(f"kmi.{name}")
    script = str(Path(entry.__file__))
    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(forked(call, script))
        status = os.waitpid(pid, 0)[1]
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def forked(call: dict[str, Any], script: str) -> int:
    """One run, in the process that was forked for it."""
    import signal
    import traceback

    from kmi.__main__ import main as kmi

    signal.alarm(int(LIMIT_S))
    folder = call["files"]
    Path(folder, "forked-stdin").write_text(call["input"], encoding="utf-8")
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, flags in enumerate((os.O_RDONLY, write, write)):
        name = ("stdin", "stdout", "stderr")[number]
        fd = os.open(os.path.join(folder, f"forked-{name}"), flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    sys.argv = [script, *call["args"]]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    try:
        code: Any = kmi()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


if __name__ == "__main__":
    main()
