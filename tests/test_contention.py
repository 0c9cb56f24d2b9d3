"""Many processes at once: every run gets its own key, and no file is ever half of something.

Real processes on one throw-away home; a stand-in client that reads its config 300 ms after start.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, FakeKimi
from kmi.kimi_config import parse_config
from kmi.state import decode
from tests.conftest import CLI, CODE, Process, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KMI = (sys.executable, "-m", "kmi")
CARELESS = (sys.executable, str(Path(__file__).with_name("careless.py")))
#: For what takes a second when nothing else runs; a hang is found, a slow machine is not punished.
LIMIT_S = 120.0


@pytest.fixture
def fake() -> Iterator[FakeKimi]:
    """The fake API; each test tells it the keys."""
    with FakeKimi() as server:
        yield server


def labels(count: int) -> list[str]:
    return [f"key{number:02d}" for number in range(count)]


def populate(world: World, fake: FakeKimi, count: int) -> dict[str, bytes]:
    """Give the world keys and a config for the fake; each config that is allowed, by label."""
    world.env["KMI_CLIENT"] = CLI
    for label in labels(count):
        fake.set(secret_of(label), Behaviour(text=f"answer for {label}"))
        world.add_key(label, UPSTREAM_BASE_URL=fake.base_url)
    allowed = {
        label: config_text(secret_of(label), base_url=fake.base_url).encode()
        for label in labels(count)
    }
    world.write_config(CLI, allowed["key00"])
    world.script("kimi", f'exec "{sys.executable}" -m kmi.demo.stand_in "$@"')
    world.env["KIMI_STANDIN_DELAY_S"] = "0.3"
    return allowed


def start(
    world: World, argv: tuple[str, ...] | list[str], env: Mapping[str, str | None] | None = None
) -> Process:
    """Start a program in this world."""
    if tuple(argv[:3]) == KMI:
        return world.start(*argv[3:], env=env)
    return subprocess.Popen(
        argv,
        cwd=world.cwd,
        env=world.environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(processes: list[Process]) -> list[tuple[int, bytes, bytes]]:
    """Wait for processes: exit code, stdout and stderr of each."""
    ends = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=LIMIT_S)
            ends.append((process.wait(), out, err))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return ends


class Reader(threading.Thread):
    """Reads a file without a pause, and notes what should never be there."""

    def __init__(self, path: Path, allowed: set[bytes]) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.allowed = allowed
        self.reads = 0
        self.seen: set[bytes] = set()
        self.bad: list[bytes] = []
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.is_set():
            data = self.path.read_bytes()
            self.reads += 1
            self.seen.add(data)
            if data not in self.allowed:
                self.bad.append(data)
            # Leaves the processor to those who are watched.
            time.sleep(0.0005)

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self._stop_it.set()
            self.join()


def check_records(world: World) -> None:
    """Every file of kmi's is readable, every line of a record is JSON."""
    decode(json.loads((world.state / "state.json").read_bytes()))
    for name in ("runs.jsonl", "audit.jsonl"):
        for record in world.records(name):
            assert record["schema"] == 1
    runs = [record["run"] for record in world.records("runs.jsonl")]
    assert len(runs) == len(set(runs))
    assert not list(world.state.glob("*.corrupt-*"))


def mismatches(fake: FakeKimi) -> list[str]:
    """The prompts (each is a label) that came with the key of another."""
    return [seen.prompt for seen in fake.chats() if seen.key != secret_of(seen.prompt)]


# Exactness.


def test_fifty_runs_at_once_reach_the_api_each_with_its_own_key(
    world: World, fake: FakeKimi
) -> None:
    allowed = populate(world, fake, 50)
    reader = Reader(world.config(), set(allowed.values()))
    with reader.reading():
        processes = [
            start(world, [*KMI, "run", "-k", label, "--", "kimi", "-p", label]) for label in allowed
        ]
        ends = finish(processes)
    assert [end for end in ends if end[0] != 0] == []
    assert [out.decode().strip() for _, out, _ in ends] == [f"answer for {n}" for n in allowed]
    assert sorted(seen.prompt for seen in fake.chats()) == list(allowed)
    assert mismatches(fake) == []

    assert reader.bad == []
    assert reader.reads > 100
    assert len(reader.seen) > 10, "the runs did not change the config under each other"
    for data in reader.seen:
        parse_config(data, name="config.toml", client=CLI)

    check_records(world)
    records = world.records("runs.jsonl")
    assert sorted(record["label"] for record in records) == list(allowed)
    assert {record["pid"] for record in records} == {process.pid for process in processes}
    changed = [record["label"] for record in records if record["changed"]]
    audited = [r["after"] for r in world.records("audit.jsonl") if r["outcome"] == "changed"]
    assert audited == changed
    assert allowed[changed[-1]] == world.config().read_bytes()


def test_the_copies_of_pinned_runs_go_with_the_next_kmi(world: World, fake: FakeKimi) -> None:
    allowed = populate(world, fake, 6)
    processes = [
        start(world, [*KMI, "run", "-k", label, "--", "kimi", "-p", label]) for label in allowed
    ]
    finish(processes)
    assert world.kmi("run", "--", "true").returncode == 0
    assert list((world.state / "pins").iterdir()) == []
    holders = {Path(name).parent.name for label in allowed for name in files_with(world, label)}
    assert holders <= {"kmi-auths", "backups", ".kimi"}


def files_with(world: World, label: str) -> list[str]:
    return world.files_with(secret_of(label))


def test_runs_on_the_active_key_are_exact_while_others_swap(world: World, fake: FakeKimi) -> None:
    """Also on the quick way a run sends the secret of the key that it was told."""
    allowed = populate(world, fake, 6)
    told = 'exec "{}" -m kmi.demo.stand_in -p "$KMI_ACTIVE_KEY" "$@"'
    world.script("kimi", told.format(sys.executable))
    wait_for(
        lambda: (
            world.kmi("run", "--", "kimi").returncode == 0
            and (world.state / "memo" / "kimi").exists()
        )
    )
    fake.clear()
    runs, swaps = [], []
    reader = Reader(world.config(), set(allowed.values()))
    with reader.reading():
        for number in range(20):
            runs.append(start(world, [*KMI, "run", "--", "kimi"]))
            if number % 3 == 2:
                swaps.append(start(world, [*KMI, "use", labels(6)[number // 3]]))
        ends = finish([*runs, *swaps])
    assert [end for end in ends if end[0] != 0] == []
    assert len(fake.chats()) == len(runs)
    assert mismatches(fake) == []
    assert len({seen.prompt for seen in fake.chats()}) > 1, "no swap came between the runs"
    assert reader.bad == []
    check_records(world)
    assert len(world.records("runs.jsonl")) >= len(runs)


def test_kimi_code_runs_at_once_each_have_their_own_home(world: World) -> None:
    world.env["KMI_CLIENT"] = CODE
    names = labels(20)
    world.add_keys(*names)
    world.config_with("key00", CODE)
    real = world.config(CODE).parent
    write_private(real / "tui.toml", "theme = 1\n")
    allowed = {config_text(secret_of(label)).encode() for label in names}
    # As Kimi Code does: read long after the start, and write into its home.
    world.script(
        "kimi",
        'sleep 0.3; sed -n \'s/^api_key *= *"\\(.*\\)".*/\\1/p\' "$KIMI_CODE_HOME/config.toml"\n'
        'cat "$KIMI_CODE_HOME/tui.toml"\n'
        'mkdir -p "$KIMI_CODE_HOME/sessions/$1"\n',
    )
    reader = Reader(world.config(CODE), allowed)
    with reader.reading():
        ends = finish([start(world, [*KMI, "run", "-k", n, "--", "kimi", n]) for n in names])
    assert [end for end in ends if end[0] != 0] == []
    assert [out.decode() for _, out, _ in ends] == [f"{secret_of(n)}\ntheme = 1\n" for n in names]
    assert reader.bad == []
    assert sorted(path.name for path in (real / "sessions").iterdir()) == names
    assert world.kmi("run", "--", "true").returncode == 0
    assert list((world.state / "pins").iterdir()) == []
    assert (real / "tui.toml").read_text() == "theme = 1\n"
    check_records(world)


def test_these_tests_find_what_a_careless_program_does(world: World, fake: FakeKimi) -> None:
    allowed = populate(world, fake, 20)
    finish(
        [
            start(world, [*CARELESS, "run", "-k", label, "--", "kimi", "-p", label])
            for label in allowed
        ]
    )
    served = [seen.prompt for seen in fake.chats() if seen.key == secret_of(seen.prompt)]
    assert sorted(served) != list(allowed), "every run had its own key: that proves nothing"


def test_the_reader_finds_half_a_file(tmp_path: Path) -> None:
    path = write_private(tmp_path / "config.toml", b"whole")
    reader = Reader(path, {b"whole"})
    with reader.reading():
        wait_for(lambda: reader.reads > 1)
        path.write_bytes(b"who")
        wait_for(lambda: bool(reader.bad))
    assert set(reader.bad) <= {b"", b"who"}


# Holders of the lock that are killed or stopped.


def holder_of(path: Path) -> int | None:
    """The process that holds a kernel lock on a file."""
    inode = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        parts = line.split()
        if "->" not in parts and parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
            return int(parts[4])
    return None


HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(world: World) -> Iterator[Process]:
    """A process that holds kmi's lock until it is killed."""
    world.state.mkdir(mode=0o700, exist_ok=True)
    path = str(world.state / "lock")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def lock_holders(tmp_path: Path) -> None:
    """The test needs to know who holds a lock: Linux tells it in /proc/locks."""
    import fcntl

    with open(tmp_path / "probe", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists("/proc/locks") and holder_of(tmp_path / "probe") == os.getpid():
            return
    if os.environ.get("CI") == "true":
        pytest.fail("needs /proc/locks")
    pytest.skip("needs /proc/locks, to find who holds a lock")


@pytest.mark.usefixtures("lock_holders")
def test_killed_holders_of_the_lock_harm_no_other_run(world: World, fake: FakeKimi) -> None:
    allowed = populate(world, fake, 24)
    world.kmi("run", "--", "true")
    reader = Reader(world.config(), set(allowed.values()))
    killed: set[int] = set()
    with reader.reading():
        processes = [
            start(world, [*KMI, "run", "-k", label, "--", "kimi", "-p", label]) for label in allowed
        ]
        pids = {process.pid for process in processes}
        deadline = time.monotonic() + LIMIT_S
        while len(killed) < len(allowed) // 4 and time.monotonic() < deadline:
            if all(process.poll() is not None for process in processes):
                break
            pid = holder_of(world.state / "lock")
            # None of them is reaped yet, so the number is still that process.
            if pid in pids and pid not in killed and random.random() < 0.5:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        ends = finish(processes)
    assert len(killed) == len(allowed) // 4, "not enough holders were caught"
    for process, (code, out, err) in zip(processes, ends):
        if process.pid in killed:
            assert code == -signal.SIGKILL
        else:
            assert (code, out[:10]) == (0, b"answer for"), err
    assert mismatches(fake) == []
    assert reader.bad == []
    check_records(world)
    assert world.kmi("use", "key01").returncode == 0
    assert world.kmi("run", "--", "true").returncode == 0
    assert world.config().read_bytes() == allowed["key01"]
    assert list(world.home.rglob(".*.kmi-*")) == []
    assert list((world.state / "pins").iterdir()) == []


def read_until(process: Process, text: bytes) -> bytes:
    """What a process says on stderr, up to the line with a text, or its end."""
    assert process.stderr is not None
    said = b""
    deadline = time.monotonic() + LIMIT_S
    while text not in said and time.monotonic() < deadline:
        if select.select([process.stderr], [], [], 1.0)[0]:
            chunk = os.read(process.stderr.fileno(), 4096)
            if not chunk:
                break
            said += chunk
    return said


def test_a_stopped_holder_is_named_and_the_wait_ends(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    before = world.config_with("alpha")
    with held(world) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        commands = (["use", "beta"], ["run", "-k", "beta", "--", "true"], ["run", "--", "true"])
        waiting = [start(world, [*KMI, *command]) for command in commands]
        name = f"process {holder.pid}".encode()
        for process in waiting:
            said = read_until(process, b"\n")
            assert b"waiting for " + name in said
            assert process.poll() is None, "it told of the wait only when it was over"
        ends = finish(waiting)
    assert [code for code, _, _ in ends] == [75, 125, 125]
    for _, out, err in ends:
        assert out == b""
        assert name in err
        assert b"gave up after 10 s" in err
        assert len(err.splitlines()) == 1
    assert world.config().read_bytes() == before
    assert world.kmi("use", "beta").returncode == 0


def test_a_wait_for_the_lock_ends_when_it_is_free(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    with held(world) as holder:
        process = start(world, [*KMI, "use", "beta"])
        assert b"waiting" in read_until(process, b"\n")
        holder.kill()
        ((code, _, err),) = finish([process])
    assert code == 0, err
    assert secret_of("beta") in world.config().read_text()


def test_a_wait_for_the_lock_ends_with_ctrl_c(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    before = world.config_with("alpha")
    with held(world):
        process = start(world, [*KMI, "use", "beta"])
        assert b"waiting" in read_until(process, b"\n")
        process.send_signal(signal.SIGINT)
        ((code, _, err),) = finish([process])
    assert code == 130
    assert b"Traceback" not in err
    assert world.config().read_bytes() == before


# Other programs that write the config.


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_a_half_written_config_is_waited_for(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    whole = world.config_with("alpha")
    lines = whole.splitlines(keepends=True)
    # Nothing; a part that is no TOML; parts that are, but have no key or no model yet.
    parts = [0, len(whole) // 2, *(len(b"".join(lines[:number])) for number in (2, 6, -2))]
    for shown in parts:
        shutil.rmtree(world.state, ignore_errors=True)
        with open(world.config(), "wb") as file:
            file.write(whole[:shown])
            file.flush()
            process = start(world, [*KMI, "use", "beta"])
            wait_for((world.state / "lock").exists)
            time.sleep(0.3)
            file.write(whole[shown:])
        ((code, _, err),) = finish([process])
        assert code == 0, err
        assert world.config().read_text() == config_text(secret_of("beta"))


def test_a_config_that_stays_half_is_left_alone(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    half = config_text(secret_of("alpha"))[:120]
    world.write_config(CLI, half)
    for args, expected in ((("use", "beta"), 78), (("run", "--", "true"), 125)):
        done = world.kmi(*args)
        assert done.returncode == expected, done
        assert str(world.config()) in done.stderr
    assert world.config().read_text() == half


@pytest.mark.parametrize("sync", [1, 3], ids=["at the backup", "at the new file"])
def test_a_config_that_changes_while_kmi_edits_it_is_read_again(
    world: World, tmp_path: Path, sync: int
) -> None:
    """An editor that writes between kmi's reading and kmi's rename loses nothing."""
    if shutil.which("strace") is None:
        assert os.environ.get("CI") != "true", "needs strace"
        pytest.skip("needs strace, to stop kmi between reading and replacing")
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    text = world.config_with("alpha").decode()
    # By then the config was read: fsync of the backup, of its folder, and of the new file.
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "log"), "-e", "trace=fsync"]
    strace += ["-e", f"inject=fsync:signal=STOP:when={sync}"]
    process = start(world, [*strace, *KMI, "use", "beta"])
    log = tmp_path / "log"
    wait_for(lambda: log.exists() and "stopped by SIGSTOP" in log.read_text())
    world.config().write_text(text.replace("theme = 'dark'", "theme = 'light'  # edited"))
    os.kill(int(log.read_text().split()[0]), signal.SIGCONT)
    ((code, _, err),) = finish([process])
    assert code == 0, err
    expected = config_text(secret_of("beta")).replace("theme = 'dark'", "theme = 'light'  # edited")
    assert world.config().read_text() == expected


def edit(path: Path, number: int) -> bool:
    """Change a field in place, as kimi-cli does; returns whether the edit before was lost."""
    text = path.read_text()
    found = re.search(r"theme = '(\d+)'", text)
    assert found is not None, text
    new = f"{text[: found.start()]}theme = '{number}'{text[found.end() :]}".encode()
    with open(path, "wb") as file:
        file.write(new[: len(new) // 2])
        file.flush()
        time.sleep(0.003)
        file.write(new[len(new) // 2 :])
    return int(found[1]) != number - 1


def test_beside_an_editor_no_run_fails_and_edits_are_kept(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    names = labels(4)
    world.add_keys(*names)
    world.write_config(CLI, config_text(secret_of("key00")).replace("'dark'", "'0'"))
    rng = random.Random(7)
    ends, edits, lost = [], 0, 0
    for _ in range(12):
        runs = [start(world, [*KMI, "run", "-k", name, "--", "true"]) for name in names]
        # Each edit is two changes, and kmi reads a changing file five times.
        for _ in range(2):
            time.sleep(rng.uniform(0.0, 0.25))
            edits += 1
            lost += edit(world.config(), edits)
        ends += finish(runs)
    assert [end for end in ends if end[0] != 0] == []
    # What is left is the time between the last comparison and the rename.
    assert lost <= edits // 6, f"{lost} of {edits} edits are lost"
    text = world.config().read_text()
    key = re.search(r'api_key  = "(.*)"', text)
    assert key is not None
    assert key[1] in {secret_of(name) for name in names}
    theme = re.search(r"theme = '(\d+)'", text)
    assert theme is not None
    assert text == config_text(key[1]).replace("'dark'", f"'{theme[1]}'")
    check_records(world)


# The state, under anything.


def test_random_commands_and_kills_leave_a_state_that_holds(world: World) -> None:
    world.env["KMI_CLIENT"] = CLI
    names = labels(4)
    world.add_keys(*names)
    allowed = {config_text(secret_of(name)).encode() for name in names}
    world.config_with("key00")
    world.kmi("run", "--", "true")
    told: list[str] = []
    odd: list[str] = []
    kills: list[int] = []
    seen = threading.Lock()

    def drive(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(25):
            name = rng.choice(names)
            args = rng.choice(
                [
                    ["use", name],
                    ["rotate"],
                    ["run", "-k", name, "--", "sh", "-c", "echo $KMI_RUN_ID"],
                    ["run", "--", "sh", "-c", "echo $KMI_RUN_ID"],
                    ["keys", "disable", name],
                    ["keys", "enable", name],
                    ["keys", "reset", name],
                    ["undo"],
                ]
            )
            process = start(world, [*KMI, *args])
            if rng.random() < 0.35:
                time.sleep(rng.uniform(0.0, 0.03))
                process.kill()
            ((code, out, err),) = finish([process])
            with seen:
                if code == -signal.SIGKILL:
                    kills.append(process.pid)
                elif code not in {0, 1, 75, 125} or b"a bug" in err or b"Traceback" in err:
                    odd.append(f"{args}: {code} {err!r}")
                elif args[0] == "run" and code == 0:
                    told.append(out.decode().strip())

    drivers = [threading.Thread(target=drive, args=(seed,)) for seed in (1, 2)]
    reader = Reader(world.config(), allowed)
    with reader.reading():
        for driver in drivers:
            driver.start()
        for driver in drivers:
            driver.join()
    assert odd == []
    assert kills, "nothing was killed"
    assert reader.bad == []
    check_records(world)
    recorded = [record["run"] for record in world.records("runs.jsonl")]
    assert set(told) <= set(recorded), "a run that started has no record"
    assert len(told) > 5
    for name in names:
        assert world.kmi("keys", "enable", name).returncode == 0
    assert world.kmi("use", "key02").returncode == 0
    assert world.config().read_text() == config_text(secret_of("key02"))
    assert world.document("current")["label"] == "key02"
    assert list(world.home.rglob(".*.kmi-*")) == []
