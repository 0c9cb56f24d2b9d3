"""`kmi run` on a terminal: the program is as it is without kmi, and kmi is gone.

Each test has a pseudo terminal of its own, as the controlling terminal of a session of its own.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CLI, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KMI = (sys.executable, "-m", "kmi")
RUN = (*KMI, "run", "--")
#: For what takes a moment when nothing else runs; a hang is found, a slow machine is not punished.
LIMIT_S = 60.0
OURS = {"KMI_ACTIVE_KEY", "KMI_RUN_ID", "KMI_DEPTH"}

#: The first process of the session opens the terminal, which makes it the controlling one.
TAKE_TERMINAL = 'exec "$@" <>"$0" >&0 2>&0'


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(
        self, world: World, argv: tuple[str, ...], env: Mapping[str, str | None] | None = None
    ) -> None:
        self.master, self._slave = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", TAKE_TERMINAL, os.ttyname(self._slave), *argv],
            cwd=world.cwd,
            env=world.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def send(self, data: bytes) -> None:
        """Type something."""
        os.write(self.master, data)

    def expect(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until the screen shows something new, and forget what was before it."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            found = re.search(pattern, self.seen)
            if found is not None:
                self.seen = self.seen[found.end() :]
                return found
            over = self.process.poll() is not None or time.monotonic() > deadline
            if not self._read(0.2):
                assert not over, f"no {pattern!r} in {self.seen!r}"

    def wait(self) -> int:
        """The exit code of the first program, when it has ended."""
        deadline = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.seen!r}"
            self._read(0.02)
        while self._read(0.0):
            pass
        return self.process.returncode

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """End everything in the session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.seen += os.read(self.master, 65536)
        return True


class Desk:
    """A world with keys, and the terminals that were opened in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.terminals: list[Terminal] = []

    def open(self, *argv: str, env: Mapping[str, str | None] | None = None) -> Terminal:
        """Start a program on a terminal of its own."""
        terminal = Terminal(self.world, argv, env)
        self.terminals.append(terminal)
        return terminal

    def shell(self) -> Terminal:
        """An interactive bash, which does not repeat what is typed."""
        if shutil.which("bash") is None:
            pytest.skip("needs bash")
        terminal = self.open("bash", "--norc", "--noprofile", "--noediting", "-i")
        terminal.send(b"PS1='<prompt>'; stty -echo\n")
        terminal.expect(rb"\n?<prompt>")
        self.world.script("kmi", f'exec "{sys.executable}" -m kmi "$@"')
        return terminal


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    """A world in which nothing has to change, and terminals."""
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    desk = Desk(world)
    yield desk
    for terminal in desk.terminals:
        terminal.close()


@pytest.fixture(params=["whole", "quick"])
def warm(request: pytest.FixtureRequest, desk: Desk) -> Desk:
    """The same before the first run, and after one: then `kmi run` takes its quick way."""
    if request.param == "quick":
        # The quick way trusts no file that was changed a moment ago.
        time.sleep(0.05)
        assert desk.world.kmi("run", "--", "true").returncode == 0
        assert (desk.world.state / "memo" / "other").exists()
    return desk


# Signals and exit codes.


def test_ctrl_c_is_the_programs(warm: Desk) -> None:
    terminal = warm.open(*RUN, "sh", "-c", "echo ready; exec sleep 60")
    terminal.expect(rb"ready")
    terminal.send(b"\x03")
    assert terminal.wait() == -signal.SIGINT
    assert b"Traceback" not in terminal.seen


def test_ctrl_c_shows_as_130_in_a_shell(warm: Desk) -> None:
    shell = warm.shell()
    shell.send(b"kmi run -- sh -c 'echo rea''dy; exec sleep 60'\n")
    shell.expect(rb"ready")
    shell.send(b"\x03")
    shell.expect(rb"<prompt>")
    shell.send(b"echo code=$?\n")
    shell.expect(rb"code=130\b")


def test_ctrl_z_and_fg(warm: Desk) -> None:
    shell = warm.shell()
    shell.send(b"kmi run -- sh -c 'echo rea''dy; read line; echo got:$line; exit 7'\n")
    shell.expect(rb"ready")
    shell.send(b"\x1a")
    shell.expect(rb"Stopped")
    shell.expect(rb"<prompt>")
    shell.send(b"echo code=$?\n")
    shell.expect(rb"code=148\b")  # 128 + SIGTSTP
    shell.send(b"jobs\n")
    shell.expect(rb"Stopped +kmi run -- sh")
    shell.send(b"fg\n")
    shell.expect(rb"kmi run -- sh")
    shell.send(b"hello\n")
    shell.expect(rb"got:hello")
    shell.expect(rb"<prompt>")
    shell.send(b"echo code=$?\n")
    shell.expect(rb"code=7\b")


def test_a_killed_program_shows_as_137_in_a_shell(warm: Desk) -> None:
    shell = warm.shell()
    shell.send(b"kmi run -- sh -c 'kill -9 $$'\n")
    shell.expect(rb"Killed")
    shell.expect(rb"<prompt>")
    shell.send(b"echo code=$?\n")
    shell.expect(rb"code=137\b")


def test_a_new_size_of_the_terminal_arrives(warm: Desk) -> None:
    program = (
        'trap "stty size; exit 5" WINCH; echo ready; i=0; '
        "while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done"
    )
    terminal = warm.open(*RUN, "sh", "-c", program)
    terminal.expect(rb"ready")
    terminal.resize(33, 77)
    terminal.expect(rb"33 77")
    assert terminal.wait() == 5


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_the_exit_code_is_the_programs(warm: Desk, code: int) -> None:
    assert warm.world.command([*RUN, "sh", "-c", f"exit {code}"]).returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_to_the_process_reaches_the_program(warm: Desk, number: signal.Signals) -> None:
    terminal = warm.open(*RUN, "sh", "-c", "echo ready; exec sleep 60")
    terminal.expect(rb"ready")
    os.kill(terminal.process.pid, number)
    assert terminal.wait() == -number


def test_what_can_not_be_started(warm: Desk) -> None:
    world = warm.world
    world.script("plain", "true", mode=0o644)
    world.script("broken", "#!/no/such/interpreter\n")
    before = world.snapshot()
    for name, code in (("no-such-program", 127), ("plain", 126), (str(world.cwd), 126)):
        done = world.command([*RUN, name])
        assert done.returncode == code, done
        assert len(done.stderr.splitlines()) == 1
    changed = {name for name, what in world.snapshot().items() if before.get(name) != what}
    assert changed <= {"kmi-state", "kmi-state/audit.jsonl", "."}
    assert world.command([*RUN, "broken"]).returncode == 126


def test_a_pipe_inside_is_as_quiet_as_without_kmi(warm: Desk) -> None:
    done = warm.world.command([*RUN, "sh", "-c", "yes | head -n 1"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


# What the program gets.

PROBE = r"""
pid=$$
# Read by the shell itself: while it starts a program it blocks signals for a moment.
while read -r name value; do
    case $name in
        SigPnd:|SigBlk:|SigIgn:|SigCgt:|ShdPnd:|Uid:|Gid:|Groups:|NoNewPrivs:) echo "$name $value"
    esac
done < /proc/$pid/status
# By a pattern: the pipe to an `ls` would be among them, or not.
for path in /proc/$pid/fd/*; do
    fd=${path##*/}
    # The shell has its script open, at a number that it chooses.
    case $(readlink /proc/$pid/fd/$fd) in *probe) ;; *) echo "fd $fd" ;; esac
done
read -r stat < /proc/$pid/stat
set -- ${stat##*) } "$@"
echo "group is own: $(($3 == pid)), session is own: $(($4 == pid)), foreground: $(($6 == pid))"
echo "nice $(nice), umask $(umask), cwd $(pwd -P), limits $(ulimit -n) $(ulimit -c)"
echo "size $(stty size)"
tr '\0' '\n' < /proc/$pid/cmdline
read -r children < "/proc/$pid/task/$pid/children"; echo "children $children"
"""


def probed(desk: Desk, *prefix: str, env: Mapping[str, str | None] | None = None) -> bytes:
    """What the probe says when it is started so on a terminal."""
    world = desk.world
    world.script("probe", PROBE)
    terminal = desk.open(*prefix, "sh", str(world.bin / "probe"), "an argument", env=env)
    assert terminal.wait() == 0, terminal.seen
    return terminal.seen


def ignored(probe: bytes) -> set[int]:
    """The signals that a probe ignores."""
    found = re.search(rb"SigIgn: (\w+)", probe)
    assert found is not None, probe
    return {number for number in range(1, 32) if int(found[1], 16) >> (number - 1) & 1}


def test_the_program_finds_its_process_as_without_kmi(warm: Desk) -> None:
    direct = probed(warm)
    assert b"group is own: 1, session is own: 1, foreground: 1" in direct
    assert not ignored(direct) & {signal.SIGPIPE, signal.SIGXFSZ}
    assert probed(warm, *RUN) == direct


def test_the_probe_finds_what_a_careless_wrapper_does(desk: Desk) -> None:
    """CPython ignores two signals, and says so to whatever it becomes."""
    wrapper = (sys.executable, "-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])")
    assert probed(desk, *wrapper) != probed(desk)


def test_ignored_signals_of_the_user_stay_ignored(warm: Desk) -> None:
    nohup = ("sh", "-c", 'trap "" HUP QUIT; exec "$@"', "sh")
    direct = probed(warm, *nohup)
    assert probed(warm, *nohup, *RUN) == direct
    assert {signal.SIGHUP, signal.SIGQUIT} <= ignored(direct)


def environment(world: World, *argv: str, env: Mapping[str, str | None]) -> list[str]:
    """What a program has in its environment, sorted; without what kmi says there."""
    done = world.command([*argv, "sh", "-c", "cat /proc/$$/environ"], env=env)
    assert done.returncode == 0, done
    found = done.stdout.rstrip("\0").split("\0")
    return sorted(item for item in found if item.partition("=")[0] not in OURS)


LOCALES: dict[str, dict[str, str | None]] = {
    "none": {"LANG": None},
    "C": {"LANG": "C"},
    "POSIX": {"LANG": None, "LC_ALL": "POSIX"},
    "UTF-8": {"LANG": "C.UTF-8"},
    "own LC_CTYPE": {"LANG": None, "LC_CTYPE": "C.UTF-8"},
    "unknown": {"LANG": "xx_YY.UTF-8"},
    "odd names": {"A.B": "1", "EMPTY": "", "BYTES": "a\udcffb\nc", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_the_environment_is_the_same_but_for_what_kmi_says(warm: Desk, locale: str) -> None:
    world = warm.world
    env = LOCALES[locale]
    assert environment(world, *RUN, env=env) == environment(world, env=env)


def test_inside_a_run_the_environment_names_it(warm: Desk) -> None:
    world = warm.world
    done = world.command([*RUN, "sh", "-c", 'echo "$KMI_ACTIVE_KEY $KMI_RUN_ID $KMI_DEPTH"'])
    label, run, depth = done.stdout.split()
    record = world.records("runs.jsonl")[-1]
    assert (label, depth) == ("alpha", "1")
    assert (record["run"], record["label"]) == (run, "alpha")
    everything = world.command([*RUN, "env"]).stdout
    assert "sk-kimi" not in everything


ARGUMENTS = [
    b"",
    b"two words",
    b"'single' \"double\" `back` $HOME $(id)",
    b"line\nbreak\ttab",
    b"\xff\xfe not UTF-8",
    "Ünïcödé 日本 🙂".encode(),
    b"--",
    b"-k",
    b"--json",
    b"-q",
    b"*",
    b"\\",
    b"trailing ",
]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", None])
def test_arguments_and_input_arrive_byte_for_byte(warm: Desk, locale: str | None) -> None:
    world = warm.world
    program = b'for a do printf "%s\\0" "$a"; done; exec cat'
    data = bytes(range(256)) * 300
    argv = [os.fsencode(word) for word in RUN] + [b"sh", b"-c", program, b"sh", *ARGUMENTS]
    done = subprocess.run(
        argv,
        input=data,
        capture_output=True,
        env=world.environment({"LANG": locale}),
        cwd=world.cwd,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(argument + b"\0" for argument in ARGUMENTS) + data


def test_arguments_of_a_client_arrive_after_what_kmi_adds(warm: Desk) -> None:
    world = warm.world
    world.script("kimi", 'for a do printf "%s\\0" "$a"; done')
    for _ in range(2):
        done = world.command([*RUN, "kimi", "--model", "k", "a b", "", "-k", "--json"])
        words = done.stdout.split("\0")
        assert words[0] == "--config-file"
        assert words[2:] == ["--model", "k", "a b", "", "-k", "--json", ""]


# Nothing of kmi stays.


def test_kmi_becomes_the_program_and_leaves_nothing(warm: Desk) -> None:
    world = warm.world
    program = "echo $$; exec sleep 60"
    process = subprocess.Popen(
        [*RUN, "sh", "-c", program],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=world.environment(),
        cwd=world.cwd,
    )
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert pid == process.pid
        links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert not [link for link in links if str(world.root) in link]
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            assert children.read() == ""
        # The lock is free while the program runs.
        with open(world.state / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in world.home.rglob(".*.kmi-*")] == []


# The question beside an OAuth login.

LOGIN = config_text("").replace(
    'api_key  = ""      # the key\n',
    'api_key = ""\noauth = { storage = "file", key = "oauth/me" }\n',
)


@pytest.fixture
def login(desk: Desk) -> Desk:
    """A config with a login, and a client that shows which config it got."""
    world = desk.world
    write_private(world.config(), LOGIN)
    world.script("kimi", 'echo "started $KMI_ACTIVE_KEY"; echo "$@"; grep api_key "$2"')
    return desk


def test_the_question_is_answered_with_no(login: Desk) -> None:
    terminal = login.open(*RUN, "kimi")
    terminal.expect(rb"OAuth login")
    terminal.expect(rb"\[y/N\] ")
    terminal.send(b"\n")
    terminal.expect(rb"started alpha")
    assert terminal.wait() == 0
    assert secret_of("alpha").encode() in terminal.seen, "this run gets the key for itself"
    assert login.world.config().read_text() == LOGIN
    again = login.open(*RUN, "kimi")
    assert again.wait() == 0
    assert b"[y/N]" not in again.seen
    assert b"started " in again.seen
    told = [(r["action"], r["after"]) for r in login.world.records("audit.jsonl")]
    assert told == [("adopt", "declined")], "what is remembered is recorded, once"


def test_the_question_is_answered_with_yes(login: Desk) -> None:
    world = login.world
    terminal = login.open(*RUN, "kimi")
    terminal.expect(rb"\[y/N\] ")
    terminal.send(b"y\n")
    terminal.expect(rb"started alpha")
    assert terminal.wait() == 0
    text = world.config().read_text()
    assert 'oauth = { storage = "file", key = "oauth/me" }' in text
    assert secret_of("alpha") in text
    assert re.search(r'^default_model = "kmi"', text, re.MULTILINE)
    assert world.kmi("undo").returncode == 0
    assert world.config().read_text() == LOGIN


def test_ctrl_c_at_the_question_changes_nothing(login: Desk) -> None:
    terminal = login.open(*RUN, "kimi")
    terminal.expect(rb"\[y/N\] ")
    terminal.send(b"\x03")
    assert terminal.wait() in {130, -signal.SIGINT}
    assert b"Traceback" not in terminal.seen
    assert b"started" not in terminal.seen
    assert login.world.config().read_text() == LOGIN
    assert login.world.saved_state().get("adopt_declined", []) == []


def test_without_a_terminal_nothing_is_asked(login: Desk) -> None:
    done = login.world.command([*RUN, "kimi"], input="y\n")
    assert done.returncode == 0
    assert "[y/N]" not in done.stderr
    assert "OAuth login" in done.stderr
    assert "started alpha" in done.stdout
    assert login.world.config().read_text() == LOGIN


def test_the_question_is_asked_although_stdout_is_no_terminal(login: Desk, tmp_path: Path) -> None:
    """``x=$(kmi run -- kimi …)`` has a terminal for everything but stdout."""
    out = tmp_path / "out"
    terminal = login.open("sh", "-c", f'exec "$@" > "{out}"', "sh", *RUN, "kimi")
    terminal.expect(rb"\[y/N\] ")
    terminal.send(b"n\n")
    assert terminal.wait() == 0
    assert "started alpha" in out.read_text()
    assert "y/N" not in out.read_text()
