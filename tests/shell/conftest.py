"""Real shells on pseudo terminals, in a throw-away home with the scripts of `kmi init`.

A shell that is not installed skips its tests with a reason; in CI that is a failure.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests import quickly
from tests.conftest import World, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: For what takes a moment when nothing else runs; a hang is found, a slow machine is not punished.
LIMIT_S = 40.0
SHELLS = ("bash", "zsh", "fish")
#: The end of every prompt, so that a test knows when the shell waits.
READY = "@@"
_ESCAPES = re.compile(
    r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-9;?>=]*[a-zA-Z]|[()=>].?|.)|\r|\x0f"
)

#: What a person's start file holds; {init} is the line under test.
RC = {
    "bash": "PS1='" + READY + "'\n{init}\n",
    "zsh": "unsetopt prompt_sp\nPROMPT='" + READY + "'\n{init}\n",
    "fish": "set -g fish_greeting\nfunction fish_prompt; echo -n '" + READY + "'; end\n{init}\n",
}


def need(program: str) -> str:
    """A program that a test can't do without."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is missing, and CI has to install it")
        pytest.skip(f"needs {program}")
    return path


class Shell:
    """An interactive shell that a person types into.

    Attributes:
        prompt: what the last prompt showed before `READY`.
    """

    def __init__(
        self,
        world: World,
        name: str,
        rc: str,
        *,
        env: Mapping[str, str | None] | None = None,
        wrapper: tuple[str, ...] = (),
        args: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.world = world
        self.prompt = ""
        self._count = 0
        self._seen = ""
        folder = world.home / name
        if name == "bash":
            argv = ["--noprofile", "--rcfile", str(write_private(folder / "rc", rc)), "-i"]
        elif name == "zsh":
            write_private(folder / ".zshrc", rc)
            argv = ["-d", "-i"]
        else:
            write_private(folder / "fish" / "config.fish", rc)
            argv = ["-i"]
        changes = {
            "ZDOTDIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "INPUTRC": "/dev/null",
            **(env or {}),
        }
        self.master, slave = pty.openpty()
        take = 'exec "$@" <>"$0" >&0 2>&0'  # the first to open it gets the controlling terminal
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", take, os.ttyname(slave), *wrapper, need(name), *args, *argv],
            cwd=world.cwd,
            env=world.environment(changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.greeting = self._until(READY)
        os.close(slave)

    def do(self, line: str) -> str:
        """Type a line; all that the screen showed then. `prompt` is the next prompt."""
        self._count += 1
        end = f"<end{self._count}>"
        self.type(f"{line}\n")
        # The echo of what is typed must not look like its output.
        self.type(f"printf '%s\\n' '<e''nd{self._count}>'\n")
        shown = self._until(end + "\n")
        self.prompt = self._until(READY)
        return shown

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self.master, text.encode())

    def value(self, expression: str) -> str:
        """What the shell makes of a word, by way of a file: nothing of the screen is in it."""
        path = self.world.root / f"value-{self._count}"
        self.do(f"printf '%s' {expression} >{path}")
        return path.read_text()

    def read_more(self, seconds: float) -> str:
        """Whatever is shown within a time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)
        shown, self._seen = self._seen, ""
        return clean(shown)

    def wait_for(self, text: str) -> str:
        """Wait until the screen shows a text; what came before it."""
        return self._until(text)

    def close(self) -> None:
        """End it, and everything in its session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self.master)

    def _until(self, text: str) -> str:
        deadline = time.monotonic() + LIMIT_S
        while True:
            shown = clean(self._seen)
            before, found, after = shown.partition(text)
            if found:
                self._seen = after
                return before
            assert time.monotonic() < deadline, f"no {text!r} in {shown!r}"
            self._read(0.2)

    def _read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self._seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                pytest.fail(f"the shell ended: {clean(self._seen)!r}")


def clean(text: str) -> str:
    """Text of a terminal without its escape sequences."""
    return _ESCAPES.sub("", text)


class Desk:
    """A world with keys, where shells are opened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._shells: list[Shell] = []

    def kmi(self, *args: str) -> None:
        """What happens in another terminal."""
        done = self.world.kmi(*args)
        assert done.returncode == 0, done

    def script(self, shell: str, *options: str) -> Path:
        """The file that `kmi init` makes: the cached form."""
        words = ["init", shell, *options]
        done = quickly.shared().call(words, self.world.env, self.world.cwd, argv0=KMI[1])
        assert done.returncode == 0, done
        assert not done.stderr
        number = len(list(self.world.root.glob("init-*")))
        return write_private(self.world.root / f"init-{number}", done.stdout)

    def open(
        self,
        shell: str,
        *options: str,
        rc: str | None = None,
        before: str = "",
        after: str = "",
        env: Mapping[str, str | None] | None = None,
        wrapper: tuple[str, ...] = (),
        args: tuple[str, ...] = (),
    ) -> Shell:
        """Start a shell with the script, by way of the cached file.

        Args:
            shell: its name.
            options: of `kmi init`.
            rc: the start file; {init} stands for the line that loads the script.
            before: lines before that one.
            after: lines behind it.
            env: changes of the environment.
            wrapper: a program that starts it.
            args: more arguments of the shell.
        """
        line = f"{before}\nsource {self.script(shell, *options)}\n{after}"
        text = (RC[shell] if rc is None else rc).replace("{init}", line)
        opened = Shell(self.world, shell, text, env=env, wrapper=wrapper, args=args)
        self._shells.append(opened)
        return opened

    def close(self) -> None:
        """End every shell."""
        for shell in self._shells:
            shell.close()


#: kmi as a checkout starts it: the form that `kmi init` bakes into the scripts too.
KMI = (
    sys.executable,
    os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "kmi"),
)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    """Two keys, of which ``work`` is active, a stand-in for the client, and room for shells."""
    need("bash")
    world.add_keys("work", "home", "team/ci@x")
    world.script("kimi", 'printf "<%s>" "$@"\nprintf "\\n"\nexit "${KIMI_EXIT-7}"\n')
    world.env["XDG_DATA_HOME"] = str(world.home / "data")
    # Else fish begins to read all manual pages.
    (world.home / "data" / "fish" / "generated_completions").mkdir(parents=True)
    desk = Desk(world)
    done = world.kmi("use", "work")
    assert done.returncode == 0, done
    yield desk
    desk.close()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each of the shells."""
    name = str(request.param)
    need(name)
    return name
