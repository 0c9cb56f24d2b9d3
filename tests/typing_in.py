"""A shell session in which `kmi` starts at once: pages are typed in as they stand.

`kmi` on PATH is a small script that asks one waiting Python to fork; the fork takes arguments,
environment, directory and descriptors from the script's process (``/proc``), and is what Python
would have started as, but for the 50 ms of imports. Where there is no ``/proc``, the script starts
Python. Nothing of kmi is replaced.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from tests.fork_server import ended, environment, preload
from tests.quickly import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.conftest import World

#: A variable that names a text: the call gets Ctrl-C once it has said that.
UNTIL = "TYPED_UNTIL"
#: Its own descriptors must stay as they are until they are taken over, so others do the talking.
_SCRIPT = """\
#!/bin/sh
mkfifo "{calls}/$$"
(echo $$ >"{calls}/requests")
exit "$(cat "{calls}/$$")"
"""


class Typist:
    """The waiting Python, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder
        os.mkfifo(folder / "requests")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.typing_in", str(folder)],
            cwd=str(Path(__file__).parents[1]),
            env=environment(),
            stdin=subprocess.PIPE,
        )

    def __enter__(self) -> Typist:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def install(self, world: World) -> Path:
        """Put `kmi` into a world."""
        if Path("/proc/self/cmdline").exists():
            return world.script("kmi", _SCRIPT.format(calls=self.calls))
        return world.script("kmi", f'exec {shlex.quote(sys.executable)} -m kmi "$@"')


class Said:
    """What a command said, both streams in one, and its exit code."""

    def __init__(self, text: str, code: int) -> None:
        self.text = text
        self.code = code


def session(
    world: World, commands: list[tuple[str, str]], *, preamble: str = ""
) -> tuple[list[Said], str]:
    """Type commands into one bash, each with its own standard input.

    Args:
        world: where.
        commands: each with what it can read. ``kmi demo --shell`` takes those up to ``exit`` into
            the shell that it starts.
        preamble: what the shell, and the one of the demonstration, is told first.

    Returns:
        what each said, in order; what the session itself said, which should be nothing.
    """
    folder = world.root / "typed"
    folder.mkdir()
    script = folder / "script"
    inner: list[str] | None = None
    outer: list[str] = [preamble]
    for index, (words, given) in enumerate(commands):
        (folder / f"{index}.in").write_text(given, encoding="utf-8")
        target = outer if inner is None else inner
        said = shlex.quote(str(folder / str(index)))
        if words == "kmi demo --shell":
            inner = [preamble, f'kmi() {{ {shlex.quote(str(world.bin / "kmi"))} "$@"; }}']
            nested = folder / "inner"
            outer.append(f"{words} <{nested} >>{said}.out 2>&1; echo $? >{said}.code")
        elif words == "exit" and inner is not None:
            (folder / "inner").write_text("\n".join(inner) + "\n", encoding="utf-8")
            inner = None
        else:
            target.append(f"{{ {words}\n}} <{said}.in >>{said}.out 2>&1; echo $? >{said}.code")
    script.write_text("\n".join(outer) + "\n", encoding="utf-8")
    noise = typed(["bash", "--norc", str(script)], world)
    answers = []
    for index in range(len(commands)):
        out, code = folder / f"{index}.out", folder / f"{index}.code"
        text = out.read_bytes().decode("utf-8", "replace") if out.exists() else ""
        answers.append(Said(text, int(code.read_text()) if code.exists() else -1))
    return answers, noise


def typed(argv: list[str], world: World) -> str:
    """Run a shell to its end, and all that it started if that does not come; give what it said."""
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(
            argv,
            cwd=world.cwd,
            env=world.environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said.write("the session took too long\n")
        said.seek(0)
        return said.read()


def main(folder: str) -> None:
    """Answer calls until standard input ends."""
    preload()
    # Open for writing as well, so that it never ends.
    requests = os.open(os.path.join(folder, "requests"), os.O_RDWR)
    while True:
        ready = select.select([requests, 0], [], [])[0]
        if requests in ready:
            for pid in os.read(requests, 4096).split():
                answer(folder, int(pid))
        elif not os.read(0, 1):  # who started this is gone
            return


def answer(folder: str, pid: int) -> None:
    """Fork for one call; who waits for its end is a process of its own, for calls overlap."""
    waiter = os.fork()
    if waiter:
        # It forks at once and leaves, so that nobody has to collect it.
        os.waitpid(waiter, 0)
        return
    if os.fork():
        os._exit(0)
    signal.alarm(int(LIMIT_S))
    code = 99
    try:
        code = called(f"/proc/{pid}", os.path.join(folder, f"{pid}.said"))
    except BaseException:  # noqa: BLE001 - told, and the script is answered
        traceback.print_exc()
    finally:
        with open(os.path.join(folder, str(pid)), "w") as fifo:
            fifo.write(f"{code}\n")
        os._exit(0)


def called(process: str, said: str) -> int:
    """Run kmi as the process would, and return its exit code as a shell sees it."""
    words = _list(f"{process}/cmdline")[2:]
    env = dict(item.partition("=")[::2] for item in _list(f"{process}/environ"))
    until = env.pop(UNTIL, "")
    fds = [os.open(f"{process}/fd/0", os.O_RDONLY)]
    fds += [os.open(f"{process}/fd/{fd}", os.O_WRONLY | os.O_APPEND) for fd in (1, 2)]
    shown = fds[1]
    if until:
        fds[1:] = [os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)] * 2
    pid = os.fork()
    if pid == 0:
        code = 120
        try:
            code = run(words, env, os.readlink(f"{process}/cwd"), fds)
        finally:
            os._exit(code)
    if until:
        status = _interrupt(pid, said, until.encode())
        os.write(shown, Path(said).read_bytes())
    else:
        status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _list(path: str) -> list[str]:
    data = Path(path).read_bytes().split(b"\0")[:-1]
    return [item.decode("utf-8", "surrogateescape") for item in data]


def _interrupt(pid: int, said: str, until: bytes) -> int:
    """Send Ctrl-C once the text was said; a call that ends before is not sent any."""
    deadline = time.monotonic() + LIMIT_S / 3
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if until in Path(said).read_bytes():
            break
        time.sleep(0.02)
    os.kill(pid, signal.SIGINT)
    return os.waitpid(pid, 0)[1]


def run(words: list[str], env: Mapping[str, str], cwd: str, fds: list[int]) -> int:
    """Kmi itself, in the process that was forked for it."""
    from kmi import __main__ as entry

    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(entry.__file__), *words]
    # Lines come in their order, as on a terminal.
    sys.stdin = open(0)  # noqa: SIM115 - to the end
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115 - so
    return ended(entry.main)


if __name__ == "__main__":
    main(sys.argv[1])
