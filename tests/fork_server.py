"""What the processes that fork runs of kmi share: loading it once, ending a run, a call a line.

Who forks, and with what, is told in `quickly` (any run), `faults` (runs with faults), `other_user`
(runs of somebody else) and `typing_in` (runs that a shell starts).
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Callable

import kmi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import TypeVar

    Self = TypeVar("Self", bound="ForkServer")

PACKAGE_PARENT = str(Path(kmi.__file__).resolve().parents[1])
#: The locale of these processes; the streams of their runs are made for it.
LOCALE = "C.UTF-8"
#: What a process that was made ready has done once: most of what runs of kmi do.
_WARMING = ("--help", "use beta", "undo", "run --dry-run -- true", "status", "health --no-refresh")


def preload() -> None:
    """Import kmi whole, and do in this very process what no run needs to be the first to do.

    Imports, regular expressions and tables are what a fork shares; files and settings are not kept.
    """
    for module in pkgutil.walk_packages(kmi.__path__, "kmi."):
        if not module.name.endswith(".__main__") or module.name == "kmi.__main__":
            import_module(module.name)
    for name in ("certifi", "dotenv", "filelock", "httpx", "tomlkit"):
        import_module(name)
    warm_up()


def warm_up() -> None:
    """Run some commands here, in a home of their own; nothing of them is left."""
    from kmi.__main__ import main
    from tests.conftest import CLI, World

    kept = (sys.argv, sys.stdin, sys.stdout, sys.stderr)
    place, environ = os.getcwd(), dict(os.environ)
    with TemporaryDirectory() as folder, open(os.devnull, "r+") as null:
        world = World(Path(folder))
        world.env["KMI_CLIENT"] = CLI
        world.add_keys("alpha", "beta")
        world.config_with("alpha")
        sys.stdin = sys.stdout = sys.stderr = null
        os.chdir(world.cwd)
        for locale in ("ru", "en"):
            os.environ.clear()
            os.environ.update(world.environment({"KMI_LOCALE": locale}))
            for words in _WARMING:
                sys.argv = ["kmi", *words.split()]
                with suppress(SystemExit):
                    assert main() == 0, words
        os.chdir(place)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv, sys.stdin, sys.stdout, sys.stderr = kept


def ended(program: Callable[[], Any]) -> int:
    """Run a program to its end, as Python would; the exit code."""
    try:
        code = program()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        code = 1
    ending = getattr(threading, "_shutdown", None)
    if ending:  # threads that are no daemons are waited for, as at the end of any Python
        ending()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


def exit_code(status: int) -> int:
    """The exit code, or the signal as a negative number, of what ``waitpid`` tells."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def serve(run: Callable[[dict[str, Any]], int]) -> None:
    """Fork for each call, one JSON line each, and answer with its exit code; one at a time."""
    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(run(call))
        sys.stdout.write(f"{exit_code(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


def environment() -> dict[str, str]:
    """What such a process gets of the environment."""
    return {
        **{n: v for n, v in os.environ.items() if n.startswith(("COV", "PYTHON"))},
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": PACKAGE_PARENT,
        "LANG": LOCALE,
    }


class ForkServer:
    """A process that ends up in `serve`, as a context manager.

    Args:
        module: what is started.
        before: words of a program that starts it and looks on, such as strace.
    """

    def __init__(self, module: str, before: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", module],
            cwd=str(Path(__file__).parents[1]),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, call: Mapping[str, object]) -> int:
        """The exit code of one run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
