"""kmi's hooks in the real clients, on a terminal: a key that is spent within a session."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kmi.demo.fake_api import quota_403

from .box import CLI, SECRETS, Box

if TYPE_CHECKING:
    from kmi.demo.fake_api import FakeKimi

pytestmark = pytest.mark.e2e

#: A client is ready for its first prompt after 3 to 8 s.
PATIENCE_S = 60.0
#: What a terminal answers: where the cursor is, and what it can do.
ANSWERS = {"\x1b[6n": b"\x1b[1;1R", "\x1b[c": b"\x1b[?62c"}


class Terminal:
    """A client on a terminal of its own.

    Attributes:
        seen: everything that it wrote, escapes and all.
    """

    def __init__(self, box: Box, *argv: str) -> None:
        self.box = box
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(box.project)
            os.execve(argv[0], argv, {**box.env, "TERM": "xterm-256color"})
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it stays."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)

    def read(self, patience_s: float) -> bool:
        """Read what comes, and answer as a terminal does that is asked where its cursor is."""
        if not select.select([self.master], [], [], patience_s)[0]:
            return False
        try:
            came = os.read(self.master, 65536).decode("utf-8", "replace")
        except OSError:
            return False  # it ended
        self.seen += came
        for asked, answer in ANSWERS.items():
            os.write(self.master, answer * came.count(asked))
        return True

    def until(self, done: Callable[[], object], what: str) -> None:
        """Read until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"{what} did not come: {self.seen[-3000:]!r}"
            self.read(0.05)

    def shows(self, text: str) -> None:
        """Read until it shows a text that it did not show before."""
        start = len(self.seen)
        self.until(lambda: text in self.seen[start:], text)

    def line(self, text: str) -> None:
        """Type a line; the end only after its echo, as one that is pasted stays in the box."""
        os.write(self.master, text.encode())
        self.shows(text[-1])
        while self.read(0.3):
            pass
        os.write(self.master, b"\r")

    def end(self) -> int:
        """Leave the client, and return its exit code."""
        self.line("/exit")
        status: list[int] = []

        def gone() -> bool:
            pid, found = os.waitpid(self.pid, os.WNOHANG)
            status.extend([found] if pid else [])
            return bool(status)

        self.until(gone, "the end")
        self.pid = 0
        return os.waitstatus_to_exitcode(status[0])


def records(box: Box, event: str) -> list[dict[str, Any]]:
    path = box.state / "runs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [found for found in map(json.loads, lines) if found["event"] == event]


def installed(box: Box) -> tuple[bytes, list[str]]:
    """Alpha is in the config, and spent; the hooks are installed. Returns what was there before."""
    config = box.with_key("alpha")
    box.keys("alpha", "beta")
    box.fake.set(SECRETS["alpha"], quota_403())
    box.env.update(KMI_AUTO_ROTATE_ALLOWED="1", KMI_CLIENT=box.client)
    before = sorted(map(str, box.client_home.rglob("*")))
    done = box.kmi("plugin", "install")
    assert done.code == 0, done
    assert box.kmi("use", "alpha").code == 0
    return config, before


def taken_out(box: Box, config: bytes) -> None:
    """Nothing of the hooks is left, and the config holds the new key; else it is as it was."""
    assert box.kmi("plugin", "uninstall").code == 0
    wanted = config.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert box.config.read_bytes().startswith(wanted)
    assert b"hooks" not in box.config.read_bytes()
    assert not (box.client_home / "tui.toml").exists()
    assert not (box.client_home / "plugins" / "managed").exists()


def test_a_following_session_goes_on_with_the_next_key(code: Box, fake: FakeKimi) -> None:
    config, _ = installed(code)
    with Terminal(code, sys.executable, "-m", "kmi", "run", "--", "kimi") as terminal:
        terminal.shows("Trust this folder")
        os.write(terminal.master, b"\r")
        terminal.shows("kmi alpha | next beta")  # the status line, at the bottom of the screen
        terminal.line("first")
        terminal.until(lambda: records(code, "session_failure"), "the failure")
        (start,), (failure,) = records(code, "session_start"), records(code, "session_failure")
        assert (start["label"], start["how"], start["follows"]) == ("alpha", "config", True)
        assert (failure["verdict"], failure["label"], failure["swapped"]) == (
            "quota",
            "alpha",
            "beta",
        )
        assert start["session_id"] == failure["session_id"]
        assert start["run_id"] == failure["run_id"] == records(code, "run")[0]["run"]
        terminal.line("second")
        terminal.shows("answer for beta")
        assert code.asked_with() == ["alpha", "beta"]
        terminal.until(lambda: "kmi beta |" in terminal.seen, "the new status line")
        assert terminal.end() == 0
    assert [end["session_id"] for end in records(code, "session_end")] == [start["session_id"]]
    assert not (code.state / "logs").exists(), "no hook had anything to complain about"
    taken_out(code, config)


def test_a_session_of_kimi_cli_goes_on_after_a_reload(cli: Box, fake: FakeKimi) -> None:
    config, _ = installed(cli)
    with Terminal(cli, str(cli.path_dir / "kimi")) as terminal:
        terminal.shows("context:")
        terminal.line("first")
        terminal.until(lambda: records(cli, "session_failure"), "the failure")
        (failure,) = records(cli, "session_failure")
        assert (failure["verdict"], failure["label"], failure["swapped"]) == (
            "quota",
            "alpha",
            "beta",
        )
        terminal.line("/reload")
        terminal.until(lambda: records(cli, "session_end"), "the reload")
        terminal.shows("context:")
        assert len(records(cli, "session_start")) == 2
        terminal.line("second")
        terminal.shows("answer for beta")
        assert cli.asked_with() == ["alpha", "beta"]
        starts = records(cli, "session_start")
        assert [start["label"] for start in starts] == ["alpha", "beta"]
        assert len({start["session_id"] for start in starts}) == 1
        assert terminal.end() == 0
    assert len(records(cli, "session_end")) == 2
    assert not (cli.state / "logs").exists(), "no hook had anything to complain about"
    taken_out(cli, config)


def test_a_one_shot_run_is_tried_again(box: Box, fake: FakeKimi) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta")
    fake.set(SECRETS["alpha"], quota_403())
    more = ("--print",) if box.client == CLI else ()
    done = box.kmi("run", "--retry", "--", "kimi", *more, "-p", "hello")
    assert done.code == 0, done
    assert "answer for beta" in done.out
    assert "Error code" not in done.out
    assert box.asked_with() == ["alpha", "beta"]
    assert [run["label"] for run in records(box, "run")] == ["alpha", "beta"]
