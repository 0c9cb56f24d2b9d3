"""What `kmi run` imports, and that the quick way does just what the whole way would.

Time is measured in ``benchmarks/``; here only what costs it is counted.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from kmi.memo import settled
from kmi.quick import try_quick
from kmi.timezones import utc_text
from tests.conftest import CLI, CODE, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Result

#: Heavy, and never needed to start a client.
HEAVY = {"argcomplete", "asyncio", "filelock", "httpx", "rich"}
#: Needed only when something has to change.
CHANGING = {"argparse", "dataclasses", "dotenv", "json", "re", "tomlkit", "typing"}
#: All that the quick way may import, beside what the interpreter has at its start.
QUICK = {"kmi", "kmi.cli", "kmi.errors", "kmi.execute", "kmi.quick"}
#: The same of `kmi --version`.
LIGHT = {"kmi.light", "kmi.origin", "kmi.quick", "kmi.shells"}
#: The same of the answer to a client's hook.
HOOK = {"kmi.errors", "kmi.hooks", "kmi.hooks.events", "kmi.light", "kmi.paths", "kmi.quick"}
BUILTIN = {"__future__", "_blake2", "_signal", "fcntl", "time"}


class Traced(NamedTuple):
    """A finished run of kmi, and what it imported beyond ``python -m`` of an empty module."""

    code: int
    out: str
    err: str
    modules: set[str]

    @property
    def quick(self) -> bool:
        return "kmi.commands.run" not in self.modules and "kmi.app" not in self.modules


def traced(
    world: World,
    *args: str,
    module: str = "kmi",
    env: Mapping[str, str | None] | None = None,
    input: str | None = None,
) -> Traced:
    """Run a module, and note each import."""
    argv = [sys.executable, "-X", "importtime", "-m", module, *args]
    done = world.command(argv, env=env, input=input)
    found = re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)
    said = re.sub(r"^import time:.*\n", "", done.stderr, flags=re.MULTILINE)
    return Traced(done.returncode, done.stdout, said, set(found))


def imports(
    world: World,
    *args: str,
    env: Mapping[str, str | None] | None = None,
    input: str | None = None,
) -> Traced:
    """Run kmi, and note what it imports that an empty module would not."""
    (world.cwd / "empty.py").touch()
    path = os.pathsep.join([str(world.cwd), world.env["PYTHONPATH"]])
    at_start = traced(world, module="empty", env={"PYTHONPATH": path}).modules
    assert "site" in at_start
    run = traced(world, *args, env=env, input=input)
    return run._replace(modules=run.modules - at_start)


@pytest.fixture
def home(world: World) -> World:
    """A world in which nothing has to change, once a run has been there."""
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    world.script("kimi", 'echo "$KMI_ACTIVE_KEY"; printf "%s\\n" "$@"; cat "$2"')
    return world


def warm(world: World, *command: str) -> None:
    """Run until the quick way is open; files that were just changed are not trusted at once."""
    kind = command[0] if command[0] == "kimi" else "other"
    for _ in range(50):
        assert world.kmi("run", "--", *command).returncode == 0
        if (world.state / "memo" / kind).exists():
            return
        time.sleep(0.05)
    pytest.fail("the quick way never opens")


def heads(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


# The budget.


def test_a_run_that_changes_nothing_imports_next_to_nothing(home: World) -> None:
    assert home.kmi("use", "beta").returncode == 0
    warm(home, "true")
    for _ in range(2):
        run = imports(home, "run", "--", "true")
        assert (run.code, run.err) == (0, "")
        assert heads(run.modules) & (HEAVY | CHANGING) == set()
        assert run.modules <= QUICK | BUILTIN


def test_a_run_of_a_client_that_changes_nothing_imports_next_to_nothing(home: World) -> None:
    warm(home, "kimi")
    run = imports(home, "run", "--", "kimi", "-p", "hi")
    assert (run.code, run.err) == (0, "")
    assert heads(run.modules) & (HEAVY | CHANGING) == set()
    assert run.modules <= QUICK | BUILTIN | {"kmi.pins"}


def test_a_swap_imports_nothing_that_talks_or_waits(home: World) -> None:
    for args in (("run", "-k", "beta", "--", "true"), ("use", "alpha"), ("rotate",)):
        run = imports(home, *args)
        assert run.code == 0
        assert "tomlkit" in run.modules, "nothing was swapped, so nothing was measured"
        assert heads(run.modules) & HEAVY == set()


def test_looking_imports_nothing_heavy(home: World) -> None:
    # The config is read by the smaller parser, also before Python 3.11.
    for command, spared in (("current", {"tomlkit"}), ("status", {"tomlkit", "argparse"})):
        cold = imports(home, command)
        assert cold.code == 0
        assert heads(cold.modules) & (HEAVY | spared) == set()
    warm(home, "true")
    now = imports(home, "current")
    assert (now.code, now.out) == (0, "alpha\n")
    assert heads(now.modules) & (HEAVY | CHANGING) == set()
    version = imports(home, "--version")
    assert version.code == 0
    assert version.out.startswith("kmi ")
    assert heads(version.modules) & (HEAVY | CHANGING) == set()
    assert {name for name in version.modules if name.startswith("kmi.")} <= LIGHT


def test_a_hook_imports_no_more_than_it_needs(home: World) -> None:
    """Clients wait for it: the start of a session, and the answer to a failure (the rest forks)."""
    assert home.kmi("use", "alpha").returncode == 0
    event = '{"session_id": "s1", "error_message": "403 You have reached your usage limit"}'
    begun = imports(home, "hook", "session-start", "--client", CLI, input=event)
    assert (begun.code, begun.out, begun.err) == (0, "", "")
    assert home.records("runs.jsonl")[-1]["label"] == "alpha"
    ours = {"kmi.hooks.sessions", "kmi.hooks.quick_json", "kmi.digest"}
    assert begun.modules <= HOOK | ours | BUILTIN | {"kmi", "_json", "_sha2", "_sha256"}
    with (home.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that the child does nothing while this counts
        failed = imports(home, "hook", "stop-failure", "--client", CLI, input=event)
        assert (failed.code, failed.out, failed.err) == (0, "", "")
        assert failed.modules <= HOOK | BUILTIN | {"kmi"}


def test_the_count_of_imports_finds_a_heavy_one(home: World) -> None:
    (home.cwd / "heavy.py").write_text("import asyncio, json\n")
    path = os.pathsep.join([str(home.cwd), home.env["PYTHONPATH"]])
    assert {"asyncio", "json"} <= traced(home, module="heavy", env={"PYTHONPATH": path}).modules


# The quick way is the whole way, only shorter.


def lines(world: World) -> list[str]:
    return (world.state / "runs.jsonl").read_text().splitlines()


def masked(line: str) -> str:
    """A record without what differs from run to run, its other bytes as they are."""
    for name, value in (("ts", r'"[0-9T:.-]+Z"'), ("run", r'"[0-9a-f]{12}"'), ("pid", r"\d+")):
        line, count = re.subn(f'"{name}":{value}', f'"{name}":_', line)
        assert count == 1, line
    return line


COMMANDS = {
    "any": ["sh", "-c", "cat /proc/$$/environ"],
    "client": ["kimi", "-p", "a b"],
    "by path": ["/bin/sh", "-c", ":"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_both_ways_record_and_start_the_same(home: World, command: str) -> None:
    argv = COMMANDS[command]
    warm(home, argv[0])
    assert traced(home, "run", "--", *argv).quick
    quick = home.kmi("run", "--", *argv)
    for memo in (home.state / "memo").iterdir():
        memo.unlink()
    assert not traced(home, "run", "--", *argv).quick
    for memo in (home.state / "memo").iterdir():
        memo.unlink()
    whole = home.kmi("run", "--", *argv)
    records = lines(home)
    assert masked(records[-3]) == masked(records[-1])

    def comparable(text: str) -> str:
        text = re.sub(r"KMI_RUN_ID=[0-9a-f]{12}", "KMI_RUN_ID=_", text)
        return re.sub(r"/pins/[0-9a-f-]+/", "/pins/_/", text)

    assert sorted(comparable(quick.stdout).split("\0")) == sorted(
        comparable(whole.stdout).split("\0")
    )
    assert (quick.stderr, whole.stderr) == ("", "")


def test_each_quick_run_has_one_record_of_its_own(home: World) -> None:
    warm(home, "true")
    before = len(lines(home))
    said = [
        home.kmi("run", "--", "sh", "-c", "echo $KMI_RUN_ID $$").stdout.split() for _ in range(5)
    ]
    records = [json.loads(line) for line in lines(home)[before:]]
    assert [[record["run"], str(record["pid"])] for record in records] == said


def test_the_private_config_of_a_quick_run_is_private(home: World) -> None:
    home.script("kimi", 'umask; stat -c %a "$2" "$(dirname "$2")" "$(dirname "$(dirname "$2")")"')
    warm(home, "kimi")
    done = home.command(["sh", "-c", f"umask 000; exec {sys.executable} -m kmi run -- kimi"])
    assert done.stdout.split() == ["0000", "600", "700", "700"]
    assert len(list((home.state / "pins").iterdir())) == 1
    warm(home, "true")
    assert traced(home, "run", "--", "true").quick
    assert list((home.state / "pins").iterdir()) == [], "the quick way cleans up too"


# Every input that changes sends it the whole way.


class Change(NamedTuple):
    """Something that happens between two runs, and what the second must do.

    Attributes:
        env: of the second run only.
        record: fields of its record.
        says: what it tells on stderr.
        holds: the key in the config afterwards.
    """

    do: Callable[[World], object] = lambda world: None
    env: dict[str, str | None] = {}  # noqa: RUF012 - never changed
    record: dict[str, Any] = {}  # noqa: RUF012 - never changed
    says: str = ""
    holds: str = "alpha"
    code: int = 0


def replace_quietly(path: Path, old: str, new: str) -> None:
    """Change a file's content in place, and put its size and its times back."""
    status = path.stat()
    text = path.read_text()
    assert old in text
    assert len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def other_secret(world: World) -> None:
    replace_quietly(world.auths / "alpha.env", secret_of("alpha"), secret_of("omega"))


def other_home(world: World) -> None:
    other = world.root / "other"
    (other / ".kimi").mkdir(parents=True, mode=0o700)
    write_private(other / ".kimi" / "config.toml", config_text(secret_of("beta")))


def linked_config(world: World) -> None:
    target = write_private(world.home / "dotfiles.toml", config_text(secret_of("beta")))
    world.config().unlink()
    world.config().symlink_to(target)


def in_a_folder(world: World) -> None:
    folder = world.auths / "more"
    folder.mkdir(mode=0o700)
    write_private(folder / "gamma.env", f"KMI_API_KEY={secret_of('gamma')}\n")


CHANGES = {
    "a setting": Change(
        env={"KMI_STRATEGY": "most-remaining"}, record={"strategy": "most-remaining"}, holds=""
    ),
    "a wrong setting": Change(env={"KMI_STRATEGY": "nonsense"}, says="KMI_STRATEGY", code=125),
    "an unknown setting": Change(env={"KMI_STRATEGI": "x"}, says="KMI_STRATEGI"),
    "a dry run": Change(env={"KMI_DRY_RUN": "1"}, says="dry run"),
    "no writing": Change(env={"KMI_WRITE_CONFIG": "0"}, record={"mode": "pinned"}),
    "the env file": Change(
        lambda world: world.env_file.write_text("KMI_STRATEGY=most-remaining\n"),
        record={"strategy": "most-remaining"},
        holds="",
    ),
    "another env file": Change(
        lambda world: write_private(world.root / "other.env", "KMI_WRITE_CONFIG=0\n"),
        env={"KMI_ENV_PATH": "{root}/other.env"},
        record={"mode": "pinned"},
    ),
    "a secret, quietly": Change(other_secret, record={"label": "alpha"}, holds="omega"),
    "the mode of an auth file": Change(
        lambda world: (world.auths / "beta.env").chmod(0o644), says="0600 now"
    ),
    "a new key": Change(
        lambda world: world.add_key("gamma"),
        record={"rejected": ["beta", "gamma"]},
    ),
    "a new key in a new folder": Change(in_a_folder, record={"rejected": ["beta", "gamma"]}),
    "a broken key": Change(lambda world: world.add_key("gamma", "sk-your-key"), says="gamma.env"),
    "no key any more": Change(
        lambda world: (world.auths / "alpha.env").unlink(), record={"label": "beta"}, holds="beta"
    ),
    "a key that is disabled in its file": Change(
        lambda world: world.add_key("alpha", KEY_DISABLED=1), record={"label": "beta"}, holds="beta"
    ),
    "the mode of the keys' directory": Change(
        lambda world: world.auths.chmod(0o777), says="tightened"
    ),
    "other keys": Change(
        lambda world: write_private(
            world.root / "others" / "gamma.env", f"KMI_API_KEY={secret_of('gamma')}\n"
        ),
        env={"KMI_AUTHS_DIR": "{root}/others"},
        record={"label": "gamma"},
        holds="gamma",
    ),
    "the config": Change(
        lambda world: replace_quietly(
            world.config(),
            config_text(secret_of("alpha")),
            config_text("s" * len(secret_of("alpha"))),
        ),
        record={"changed": True},
    ),
    "the mode of the config": Change(lambda world: world.config().chmod(0o644), says="0600 now"),
    "no config any more": Change(lambda world: world.config().unlink(), record={"changed": True}),
    "half a config": Change(
        lambda world: world.config().write_text(config_text("")[:100]),
        says="toml",
        code=125,
        holds="",
    ),
    "a linked config": Change(linked_config, record={"changed": True}),
    "another swap": Change(
        lambda world: world.kmi("use", "beta"), record={"label": "beta"}, holds="beta"
    ),
    "a disabled key": Change(
        lambda world: world.kmi("keys", "disable", "alpha"), record={"label": "beta"}, holds="beta"
    ),
    "a state of a newer kmi": Change(
        lambda world: (world.state / "state.json").write_text('{"schema": 99}'), says="99", code=125
    ),
    "no state any more": Change(lambda world: (world.state / "state.json").unlink()),
    "another client on PATH": Change(
        lambda world: write_private(world.root / "first" / "kimi", "#!/usr/bin/node\n", 0o755),
        env={"PATH": "{root}/first:{PATH}", "KMI_CLIENT": None},
        record={"client": CODE},
    ),
    "another home": Change(other_home, env={"HOME": "{root}/other"}, record={"changed": True}),
    "another client's home": Change(
        other_home, env={"KIMI_SHARE_DIR": "{root}/other/.kimi"}, record={"changed": True}
    ),
    "another client": Change(env={"KMI_CLIENT": CODE}, record={"client": CODE}),
    "an exported key": Change(env={"KIMI_API_KEY": "sk-other"}, says="KIMI_API_KEY"),
    "a run around it": Change(
        env={"KMI_RUN_ID": "0a0b0c0d0e0f", "KMI_ACTIVE_KEY": "beta", "KMI_DEPTH": "1"},
        record={"label": "beta"},
    ),
    "an older kmi": Change(
        lambda world: memo_line(world, 0, "kmi-memo 1 0.0.1"), record={"label": "alpha"}
    ),
    "a time that is over": Change(
        lambda world: memo_line(world, 1, f"{time.time() - 20!r} {time.time() - 10!r}")
    ),
    "a clock that was set back": Change(
        lambda world: memo_line(world, 1, f"{time.time() + 1000!r} {time.time() + 2000!r}")
    ),
    "the mode of the memo": Change(lambda world: (world.state / "memo/other").chmod(0o644)),
}


def memo_line(world: World, number: int, line: str) -> None:
    path = world.state / "memo" / "other"
    memo = path.read_text().split("\n")
    memo[number] = line
    write_private(path, "\n".join(memo))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(home: World, name: str) -> None:
    change = CHANGES[name]
    warm(home, "true")
    assert traced(home, "run", "--", "true").quick
    change.do(home)
    env = {
        variable: value and value.format(root=home.root, PATH=home.env["PATH"])
        for variable, value in change.env.items()
    }
    before = len(lines(home))
    run = traced(home, "run", "--", "true", env=env)
    assert not run.quick, "the change was overlooked"
    assert run.code == change.code, run.err
    assert change.says in run.err
    if change.record:
        (line,) = lines(home)[before:]
        record = json.loads(line)
        for field, value in change.record.items():
            assert (sorted(record[field]) if field == "rejected" else record[field]) == value
    if change.holds:
        assert secret_of(change.holds) in home.config().read_text()


# Descriptors that are closed.

#: Tells in a file which of the standard descriptors it was started with.
WHICH = """
import os, sys
def is_open(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
found = "".join(str(fd) for fd in range(3) if is_open(fd))
open(sys.argv[1], "w").write(found)
"""
CLOSED = {"<&-": "12", ">&-": "02", "2>&-": "01", "<&- >&-": "2", "<&- >&- 2>&-": ""}


def closed(world: World, how: str, *words: str) -> Result:
    """Run kmi with some of its standard descriptors closed."""
    call = shlex.join([sys.executable, "-m", "kmi", *words])
    return world.command(["sh", "-c", f"exec {call} {how}"])


@pytest.mark.parametrize("how", CLOSED)
def test_a_program_finds_closed_what_was_closed(home: World, how: str) -> None:
    told = home.cwd / "told"
    program = (sys.executable, "-c", WHICH, str(told))
    whole = closed(home, how, "run", "-k", "beta", "--", *program)
    assert (whole.returncode, whole.stdout) == (0, ""), whole
    assert told.read_text() == CLOSED[how]
    assert home.kmi("use", "alpha").returncode == 0
    warm(home, "true")
    told.unlink()
    quick = closed(home, how, "run", "--", *program)
    assert (quick.returncode, quick.stdout, quick.stderr) == (0, "", "")
    assert told.read_text() == CLOSED[how]


@pytest.mark.parametrize("how", CLOSED)
def test_a_closed_descriptor_is_no_bug(home: World, how: str) -> None:
    home.write_config(CODE, config_text(secret_of("alpha")))
    for code, *words in (
        (0, "use", "beta"),
        (0, "use", "beta", "--client", CODE),
        (0, "status"),
        (0, "current"),
        (0, "--version"),
        (0, "init", "bash"),
        (0, "doctor", "--fix"),
        (1, "keys", "add", "gamma"),
        (77, "keys", "remove", "beta"),
        (0, "hook", "session-start", "--client", CLI),
        (127, "run", "--", "no-such-program"),
    ):
        done = closed(home, how, *map(str, words))
        assert done.returncode == code, (words, done)
        for said in ("Traceback", "a bug", "Exception ignored"):
            assert said not in done.stderr, (words, done)
    assert secret_of("beta") in home.config().read_text()
    if "2>&-" not in how:
        assert "is empty" in closed(home, how, "keys", "add", "gamma").stderr


@pytest.mark.parametrize("name", ["KIMI_SHARE_DIR", "KIMI_CODE_HOME"])
def test_a_relative_home_is_another_one_in_each_directory(home: World, name: str) -> None:
    client = {"KIMI_SHARE_DIR": CLI, "KIMI_CODE_HOME": CODE}[name]
    env = {name: "own", "KMI_CLIENT": client}
    there = home.root / "there"
    for folder in (home.cwd, there):
        write_private(folder / "own" / "config.toml", config_text(secret_of("alpha")))
    for _ in range(3):
        assert home.kmi("run", "--", "true", env=env).returncode == 0
        time.sleep(0.05)
    write_private(there / "own" / "config.toml", config_text("another"))
    assert home.kmi("run", "--", "true", env=env, cwd=there).returncode == 0
    assert secret_of("alpha") in (there / "own" / "config.toml").read_text()


# Thousands of keys.

#: Runs `kmi run`, and tells when it becomes the program what that took.
COUNTING = """
import os, sys
looked, lstat, opened = [], os.lstat, []

def told(event, args):
    if event == "open":
        opened.append(args[0])
    elif event == "os.exec":
        print(len(looked), len(opened), flush=True)

sys.addaudithook(told)
os.lstat = lambda path: looked.append(path) or lstat(path)
sys.argv[1:] = ["run", "--", "true"]
from kmi.__main__ import main
main()
"""


@pytest.fixture
def many(home: World) -> World:
    """Keys enough to tell what is done for each of them."""
    (home.auths / "team").mkdir(mode=0o700)
    for number in range(300):
        folder = home.auths / ("team" if number % 3 else "")
        write_private(folder / f"k{number}.env", f"KMI_API_KEY={secret_of(f'k{number}')}\n")
    return home


def test_of_each_of_many_keys_the_quick_way_asks_for_its_status_only(many: World) -> None:
    warm(many, "true")
    done = many.command([sys.executable, "-X", "utf8", "-c", COUNTING])
    looked, opened = map(int, done.stdout.split())
    assert looked == 302
    # The interpreter's own, the lock, the memo, the config and the state, the record.
    assert opened < 60


def test_a_change_of_any_of_many_keys_is_seen(
    many: World, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["k0.env", "team/k1.env", "k150.env", "team/k299.env"]
    changes: list[Callable[[Path], object]] = [
        lambda path: replace_quietly(path, secret_of("k0"), secret_of("q0")),
        lambda path: path.write_bytes(path.read_bytes()),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.chmod(0o400),
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("renamed.env")),
        lambda path: os.replace(shutil.copy2(path, path.with_name("copy")), path),
        lambda path: write_private(path.with_name("new.env"), f"KMI_API_KEY={secret_of('new')}"),
    ]
    for number, change in enumerate(changes):
        warm(many, "true")
        assert try_quick(["current"], many.env) == 0
        assert capsys.readouterr().out == "alpha\n"
        change(many.auths / names[number % len(names)])
        assert try_quick(["current"], many.env) is None, f"change {number} was overlooked"
        shutil.rmtree(many.state / "memo")


def test_a_file_that_changed_after_kmi_began_to_read_is_not_trusted(tmp_path: Path) -> None:
    path = write_private(tmp_path / "a.env", "KMI_API_KEY=a\n")
    changed = path.stat().st_ctime
    assert not settled(str(path), changed - 1)
    assert not settled(str(path), changed)
    assert settled(str(path), changed + 3)
    assert settled(str(tmp_path / "b.env"), changed)


def test_a_time_at_which_a_key_changes_ends_the_memo(home: World) -> None:
    assert home.kmi("run", "--", "true").returncode == 0
    path = home.state / "state.json"
    state = json.loads(path.read_bytes())
    reset = time.time() + 1000
    (entry,) = (key for key in state["keys"].values() if key["label"] == "alpha")
    entry["windows"] = {"5h": {"used": 0.5, "resets_at": utc_text(reset)}}
    write_private(path, json.dumps(state))
    warm(home, "true")
    end = float((home.state / "memo" / "other").read_text().split("\n")[1].split()[1])
    assert abs(end - reset) < 0.01
    write_private(path, json.dumps({**state, "keys": {}}))
    warm(home, "true")


def test_a_damaged_memo_is_no_memo(home: World) -> None:
    warm(home, "true")
    path = home.state / "memo" / "other"
    whole = path.read_bytes()
    cuts = [0, 1, *(i for i, byte in enumerate(whole) if byte == 10), len(whole) // 2]
    for damaged in [*(whole[:cut] for cut in cuts), b"\xff" + whole, b"\n" * 9, whole * 2]:
        write_private(path, damaged)
        run = traced(home, "run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY")
        assert (run.code, run.out, run.err) == (0, "alpha\n", ""), damaged
        assert not run.quick or damaged in {whole[:-1], whole * 2}, damaged


def test_the_quick_way_needs_no_home(home: World) -> None:
    # Without HOME the system's own record of the home counts: a dry run writes nothing there.
    without = {"HOME": None, "KMI_STATE_DIR": None, "KMI_DRY_RUN": "1"}
    done = home.kmi("run", "--", "true", env={**without, "KIMI_SHARE_DIR": str(home.home)})
    assert done.returncode in {0, 125}
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("kmi: ")


PATHS = [None, "", ":/usr/bin:/bin", "/nowhere:/usr/bin:/bin:", "/usr/bin:/bin:."]


@pytest.mark.parametrize("path", PATHS)
def test_the_quick_way_finds_programs_as_the_whole_way_does(home: World, path: str | None) -> None:
    (home.cwd / "true").write_text("#!/bin/sh\necho of the working directory\n")
    (home.cwd / "true").chmod(0o755)
    said = []
    for _ in range(4):
        done = home.kmi("run", "--", "true", env={"PATH": path})
        said.append((done.returncode, done.stdout, done.stderr))
        time.sleep(0.03)  # until files that were just changed are trusted
    assert said == [said[0]] * 4


def test_a_lock_that_is_held_is_waited_for(home: World) -> None:
    import fcntl

    warm(home, "true")
    with open(home.state / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = home.kmi("run", "--", "true")
    assert done.returncode == 125
    assert "holds the lock" in done.stderr
    assert traced(home, "run", "--", "true").quick
