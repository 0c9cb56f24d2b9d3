"""What kmi reads is opened in one place, and is a regular file of a bounded size, or refused.

`kmi.files.open_regular` opens without blocking and without following a link, and looks at the
descriptor rather than at the name. What a boundary does with one odd file is in `test_auths.py`,
`test_store.py` and `test_bind_commands.py`; here is every path at once, and the races.
"""

from __future__ import annotations

import ast
import codecs
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest

import kmi
from kmi.auths import load_keyring
from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.files import SMALL_FILE_BYTES, open_regular, read_regular
from kmi.quick import read_plain
from kmi.settings import load_settings
from tests.conftest import CLI, CODE, World, secret_of, write_private
from tests.quickly import Forks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.auths import Keyring

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, links and devices")

# Where files are opened.

PACKAGE = Path(kmi.__file__).parent
#: Every other place in which something is opened, and why it may.
ELSEWHERE = {
    "files.open_regular": "the one place",
    "quick.read_plain": "the same checks on a path that may not import them",
    # Writing: what is created is created private, and no link is followed.
    "files.write_atomic": "writes a new file",
    "files.fsync_dir": "a directory, to make a rename durable",
    "files.append_line": "appends",
    "quick._append": "appends",
    "quick._run": "the lock",
    "lock._try_kernel_lock": "the lock",
    "journal.append": "appends",
    "journal._turn": "the lock of the writers",
    "journal._open": "a file that is read while it grows, with the same checks",
    "pins._write": "writes a new file",
    "usage.store._prepare": "makes the file that sqlite opens, private and no link",
    "proxy.leases._touch": "writes a new file",
    "proxy.instance._open": "the lock",
    "proxy.log.open_raw": "appends",
    "proxy.launch._launch_on_windows": "appends, on Windows",
    "repairs._tighten": "changes a mode by the descriptor, with the same checks",
    "checks.locks.is_taken": "the lock",
    "hooks.events._fail_behind": "the lock",
    "hooks.sessions._append": "appends",
    "hooks.sessions._locked_append": "the lock",
    "hooks.sessions._tail": "the end of a record file, on a path that is short",
    # Not the user's, or not of a fixed place.
    "commands.simulate._file": "what a person names on the command line, which may be a pipe",
    "hooks.events._silence": "the null device",
    "hooks.failures.handle": "the null device",
    "origin._text": "a part of kmi's checkout",
    "retrying._in_foreground": "the terminal",
    "cli._drop_output": "the null device",
    "background._leave": "the null device",
    "proxy.launch._leave": "the null device",
    "__main__._open_closed": "the null device",
    "lock.holder_pid": "/proc",
    "lock.process_name": "/proc",
    "pins.start_mark": "/proc",
    "execute.coerced_locale": "/proc",
    "checks.locks.process_state": "/proc",
    "proxy.ports._listening_inodes": "/proc",
    "proxy.page.page": "a part of kmi",
    "shells.read_script": "a part of kmi",
    "clients._first_line": "a program, which is going to be run",
    "checks.programs._code_version": "a part of a program",
    "checks.programs._interpreter": "a program",
    "checks.programs._node_version": "a part of a program",
    "checks.start_files._text": "a start file of a shell: what it sources may be a link",
    "demo.show._Demo._read": "in the demonstration's own home",
    "demo.stand_in.read_config": "a program of its own, which stands in for a client",
    "demo.stand_in.oauth_token": "a program of its own, which stands in for a client",
}
OPENERS = {"open", "read_text", "read_bytes", "open_code"}


def opened() -> dict[str, int]:
    """Every function that opens a file by a name, with the line."""
    found: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        visit(ast.parse(path.read_text(encoding="utf-8")), module, found)
    return found


def visit(node: ast.AST, name: str, found: dict[str, int]) -> None:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{name}.{child.name}"
        elif isinstance(child, ast.Call):
            called = child.func
            word = getattr(called, "id", "") or getattr(called, "attr", "")
            owner = getattr(getattr(called, "value", None), "id", "")
            if word in OPENERS and owner != "self":
                found[name] = child.lineno
        visit(child, inner, found)


def test_nothing_else_opens_files() -> None:
    found = opened()
    new = {f"{name} (line {line})" for name, line in found.items() if name not in ELSEWHERE}
    assert new == set(), "read with kmi.files.read_regular, or say here why not"
    assert set(ELSEWHERE) - set(found) == set(), "it is gone"


def test_the_openings_of_this_test_are_seen() -> None:
    """The control: were the walk blind, the test above would pass."""
    found: dict[str, int] = {}
    code = "import os\ndef f(p):\n  def g():\n    os.open(p, 0)\n  p.read_text()\nopen('x')\n"
    visit(ast.parse(code), "m", found)
    assert found == {"m": 6, "m.f": 5, "m.f.g": 4}


# What is opened.


def as_link(path: Path) -> None:
    write_private(path.with_name("real"), path.read_bytes() if path.exists() else b"x=1\n")
    path.unlink(missing_ok=True)
    path.symlink_to("real")


def as_dangling(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def as_way_out(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("../../../../../../../../etc/passwd")


def as_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def as_fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def as_socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket has room for 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def as_directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def as_huge(path: Path) -> None:
    write_private(path, "")
    os.truncate(path, 50 * 1024**2)


def as_deep(path: Path) -> None:
    write_private(path, b'{"a":' * 200_000)


ODD: dict[str, Callable[[Path], None]] = {
    "link": as_link,
    "dangling": as_dangling,
    "way out": as_way_out,
    "device": as_device,
    "fifo": as_fifo,
    "socket": as_socket,
    "directory": as_directory,
    "huge": as_huge,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_ordinary_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    ODD[kind](path)
    with pytest.raises((RefusedError, ConfigError), match=r"file (is|belongs)"):
        read_regular(str(path))
    if kind != "huge":
        with pytest.raises(RefusedError):
            open_regular(str(path))
    if kind not in {"link", "way out"}:  # which it follows: a client's config may be one
        with pytest.raises(OSError, match=r"no regular file|No such|device"):
            read_plain(str(path), SMALL_FILE_BYTES)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_private(tmp_path / "file", b"x" * 100)
    with pytest.raises(ConfigError, match="larger"):
        read_regular(str(path), limit=99)
    with pytest.raises(OSError, match="too large"):
        read_plain(str(path), 99)
    assert len(read_regular(str(path), limit=100)[0]) == len(read_plain(str(path), 100)[0]) == 100


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="it has no size, but content")
def test_a_file_that_lies_about_its_size_is_bounded() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    with pytest.raises(ConfigError, match="larger"):
        read_regular("/proc/self/status", limit=10)
    with pytest.raises(OSError, match="too large"):
        read_plain("/proc/self/status", 10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    paths = []
    for number, make in enumerate(ODD.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / "file")
        paths.append(folder / "file")
    before = sorted(os.listdir("/dev/fd"))
    for path in paths:
        for read in (read_regular, open_regular, read_plain):
            if read is open_regular and path == paths[-1]:
                continue
            try:
                read(str(path))
            except (KmiError, OSError):
                continue
    assert sorted(os.listdir("/dev/fd")) == before


def test_a_swap_between_look_and_open_gains_nothing(tmp_path: Path) -> None:
    """One thread puts a file, a link out, a FIFO and a directory in turn; each read is judged."""
    inside = write_private(tmp_path / "inside", b"inside")
    outside = write_private(tmp_path / "outside", b"outside")
    path, spare = tmp_path / "file", tmp_path / "spare"
    shutil.copy(inside, path)
    over = threading.Event()

    def swap() -> None:
        makers: list[Callable[[], object]] = [
            lambda: spare.symlink_to(outside),
            lambda: shutil.copy(inside, spare),
            lambda: os.mkfifo(spare),
            lambda: shutil.copy(inside, spare),
        ]
        number = 0
        while not over.is_set():
            makers[number % len(makers)]()
            os.replace(spare, path)
            number += 1

    thread = threading.Thread(target=swap)
    thread.start()
    seen: dict[str, int] = {}
    try:
        for _ in range(3000):
            try:
                answer = read_regular(str(path))[0].decode()
            except RefusedError as error:
                answer = error.message.rpartition(" is ")[2]
            seen[answer] = seen.get(answer, 0) + 1
    finally:
        over.set()
        thread.join()
    assert set(seen) <= {"inside", "a symbolic link", "not a regular file"}, seen
    assert seen["inside"] > 0


# Whole commands.


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Where runs come from."""
    with Forks() as running:
        yield running


#: What kmi reads, from the home; and what cannot be a link.
READ = (
    "kmi-auths/odd.env",
    "kmi-auths/odd.json",
    "kmi-auths/team/odd.toml",
    "kmi.env",
    ".kimi/config.toml",
    ".kimi-code/config.toml",
    "kmi-state/state.json",
    "kmi-state/bindings.json",
    "kmi-state/patterns.toml",
    "kmi-state/proxy.json",
    "kmi-state/proxy.token",
    "kmi-state/prompt",
    "kmi-state/labels",
    "kmi-state/runs.jsonl",
    "kmi-state/audit.jsonl",
    "kmi-state/trace.jsonl",
    "kmi-state/usage.db",
    ".kimi/kimi.json",
    ".kimi/sessions/0123/s/wire.jsonl",
    ".kimi-code/sessions/wd_x/s/agents/main/wire.jsonl",
    ".kimi-code/sessions/wd_x/s/state.json",
    "kmi-state/memo/other",
    "kmi-state/logs/kmi.jsonl",
    "kmi-state/logs/proxy.log",
    "../project/.kmi.toml",
)


@pytest.mark.parametrize("kind", ["fifo", "way out", "huge", "deep"])
def test_no_odd_file_hangs_or_breaks_a_command(kind: str, world: World, forks: Forks) -> None:
    """Wherever it stands: the answer comes, is no bug, needs little memory, and tells no secret."""
    make = {**ODD, "deep": as_deep}[kind]
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha")
    world.config_with("alpha", CLI)
    world.config_with("alpha", CODE)
    for words in ("use alpha", "run -- true", "run -- true"):
        assert forks.run(world, *words.split()).returncode == 0
    for name in READ:
        path = world.home / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = path.read_bytes() if path.is_file() else None
        make(path)
        for words in wanted(name):
            done = forks.run(world, *words.split())
            text = done.stdout + done.stderr
            assert done.returncode in {0, 1, 69, 75, 77, 78, 125}, (name, words, done)
            assert "Traceback" not in text, (name, words, text)
            assert "root:" not in text, (name, words, text)
        for left in (path, path.with_name("real")):
            if left.is_dir() and not left.is_symlink():
                left.rmdir()
            else:
                left.unlink(missing_ok=True)
        if kept is not None:
            write_private(path, kept)


def wanted(name: str) -> list[str]:
    """The calls that are about a file."""
    table = {
        "kmi-auths/odd.env": ["keys"],
        "kmi-auths/odd.json": ["run -- true"],
        "kmi-auths/team": ["why"],
        "kimi.json": ["usage"],
        "sessions/": ["usage"],
        "kmi.env": ["config show", "prompt", "init bash", "run -- true"],
        ".kimi/": ["run -- true", "config validate"],
        ".kimi-code": ["status"],
        "state.json": ["status", "run -- true", "current"],
        "bindings.json": ["why", "allow"],
        "patterns.toml": ["health --refresh"],
        "proxy.json": ["proxy status"],
        "proxy.token": ["doctor"],
        "prompt": ["prompt", "use alpha"],
        "labels": ["keys"],
        "runs.jsonl": ["status", "run -- true"],
        "audit.jsonl": ["audit"],
        "trace.jsonl": ["trace", "usage"],
        "usage.db": ["usage", "clean --usage", "usage"],
        "memo": ["run -- true"],
        "kmi.jsonl": ["proxy-logs --no-follow --app"],
        "proxy.log": ["proxy-logs --no-follow"],
        "project": ["why", "run -- true"],
    }
    return next(calls for part, calls in table.items() if part in name)


def test_names_that_lead_out_are_no_names(world: World, forks: Forks) -> None:
    """`..` and slashes in what names a file below a directory of kmi's own."""
    world.add_keys("alpha")
    outside = write_private(world.home / "outside.toml", "x = 1\n")
    for words in (
        "undo --file ../../outside.toml",
        f"undo --file {outside}",
        "undo --file ..",
        "keys remove ../outside --yes",
        "use ../../outside",
    ):
        done = forks.run(world, *words.split())
        assert done.returncode in {1, 2, 78}, done
    done = forks.run(world, "keys", "add", "../outside", input=secret_of("x"))
    inside = sorted(str(p.relative_to(world.auths)) for p in world.auths.rglob("*"))
    assert sorted(os.listdir(world.home)) == ["kmi-auths", "kmi-state", "kmi.env", "outside.toml"]
    assert len(inside) in {1, 2}, (done, inside)
    assert outside.read_text() == "x = 1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_huge_file_takes_little_memory(world: World) -> None:
    for name in ("a.env", "b.toml", "c.json"):
        write_private(world.auths / name, b"x" * (50 * 1024 * 1024))
    program = (
        "import sys\n"
        "from kmi.cli import main\n"
        "main(['keys', '--json'])\n"
        "peak = [l for l in open('/proc/self/status') if l.startswith('VmHWM')]\n"
        "print(peak[0].split()[1], file=sys.stderr)\n"
    )
    done = world.command([sys.executable, "-c", program])
    kib = int(done.stderr.splitlines()[-1])
    assert done.stderr.count("larger than 1024 KiB") == 3
    assert kib < 50 * 1024, "less than one of them"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("enforce", ["1", "0"])
def test_a_key_of_another_user_is_not_used(mode: int, enforce: str) -> None:
    """In a directory of one's own lies a file of somebody else's (who also knows the key)."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        auths = top / "auths"
        auths.mkdir(0o700)
        write_private(auths / "a.env", f"KMI_API_KEY={secret_of('a')}\n", mode)
        write_private(auths / "b.env", f"KMI_API_KEY={secret_of('b')}\n")
        os.chown(auths / "a.env", 12345, 12345)
        for path in (auths, auths / "b.env"):
            os.chown(path, 54321, 54321)
        env = {"HOME": name, "KMI_AUTHS_DIR": str(auths), "KMI_STATE_DIR": f"{name}/state",
               "KMI_ENFORCE_FILE_PERMS": enforce}  # fmt: skip
        said = as_user(54321, lambda: told(load_keyring(load_settings(env)[0])))
        labels, _, problems = said.partition("; ")
        assert labels == "b", said
        if mode == 0o644:
            assert "belongs to another user" in problems
        assert stat.S_IMODE((auths / "a.env").stat().st_mode) == mode


def told(ring: Keyring) -> str:
    """The labels, and what is wrong."""
    return f"{' '.join(k.label for k in ring.keys)}; {' '.join(p.what for p in ring.problems)}"


def as_user(uid: int, work: Callable[[], str]) -> str:
    """What a function gives in a process of another user, who may not be able to import a thing."""
    codecs.lookup("utf-8-sig")
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(send, work().encode())
        except BaseException as error:  # noqa: BLE001 - it is told, and the process ends
            os.write(send, repr(error).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


def test_deep_nesting_hides_no_other_key(world: World) -> None:
    world.add_keys("alpha", "beta")
    for name, text in {
        "deep.json": b'{"api_key":' * 100_000,
        "list.json": b"[" * 200_000,
        "deep.toml": b"a = " + b"[" * 100_000,
        "inline.toml": b"a = " + b"{b=" * 50_000,
        "table.toml": b"[" + b"a." * 100_000 + b"a]\n",
        "deep.env": b"KMI_API_KEY=" + b"'" * 100_000,
    }.items():
        write_private(world.auths / name, text)
    ring = load_keyring(load_settings(world.env)[0])
    assert [key.label for key in ring.keys] == ["alpha", "beta"]
    named = {os.path.basename(problem.where.partition(":")[0]) for problem in ring.problems}
    assert named == {"deep.json", "list.json", "deep.toml", "inline.toml", "table.toml", "deep.env"}
    assert SMALL_FILE_BYTES >= 200_000
