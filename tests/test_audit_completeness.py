"""Exactly one audit record for each command that changes state, allowed or denied.

The tables below name every command and every action of one. A new one that is in neither fails the
first test, so that nobody can forget what the audit is to say of it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from kmi.cli import COMMANDS, build_parser
from kmi.demo.fake_api import Behaviour, FakeKimi, invalid_401
from kmi.records import COMMON, EVENTS
from tests.conftest import CLI, World, config_text, secret_of, write_private
from tests.quickly import Forks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Result

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")

#: Fields of every record.
ALWAYS = {*COMMON, "actor", "command", "outcome"}
BOTH = frozenset({"before", "after"})


class Case(NamedTuple):
    """A command or an action of one that changes state.

    Attributes:
        words: a call that is allowed, and changes something.
        denied: one that is refused.
        error: how its record calls that.
        first: calls that come before the allowed one.
        tells: the fields that say what was changed.
        prepare: what is done to the world before any of it.
        spoil: what makes the denied call be denied.
        command: the command as the record names it; the path by default.
    """

    words: str
    denied: str
    error: str
    first: tuple[str, ...] = ()
    tells: frozenset[str] = BOTH
    prepare: Callable[[World], object] = lambda world: None
    spoil: Callable[[World], object] = lambda world: None
    command: str = ""
    env: Mapping[str, str] = {}


def newer(world: World) -> None:
    """A state that this kmi must not touch."""
    world.state.mkdir(mode=0o700, exist_ok=True)
    write_private(world.state / "state.json", '{"schema": 9999}')


def no_keys(world: World) -> None:
    for path in world.auths.iterdir():
        path.unlink()


def bound(world: World) -> None:
    write_private(world.cwd / ".kmi.toml", 'keys = ["alpha"]\n')


def broken_binding(world: World) -> None:
    write_private(world.cwd / ".kmi.toml", "keys = 5\n")


def other_binding(world: World) -> None:
    write_private(world.cwd / ".kmi.toml", 'keys = ["beta"]  # by hand\n')


def new_in_config(world: World) -> None:
    world.write_config(CLI, config_text(secret_of("fresh")))


def broken_config(world: World) -> None:
    world.write_config(CLI, "= broken\n")


def unit(world: World, text: str = "") -> None:
    write_private(world.home / ".config/systemd/user/kmi-proxy.service", text or "[Unit]\n")


def open_state(world: World) -> None:
    world.state.mkdir(mode=0o700, exist_ok=True)
    write_private(world.state / "runs.jsonl", "", 0o644)


def old_records(world: World) -> None:
    world.state.mkdir(mode=0o700, exist_ok=True)
    write_private(world.state / "runs.jsonl", '{"schema":1,"ts":"2001-01-01T00:00:00.000Z"}\n')


def old_home(world: World) -> None:
    """A key that kmi-manager-cli had."""
    url = world.env["KMI_UPSTREAM_BASE_URL"]
    text = f"KMI_API_KEY={secret_of('delta')}\nKMI_UPSTREAM_BASE_URL={url}\n"
    write_private(world.home / ".kimi/_auths/delta.env", text)


ADDRESS = BOTH | {"address", "pid"}
UNIT = BOTH | {"path", "manager"}
CHANGING = {
    "run": Case("run -k beta -- true", "run -k nobody -- true", "no-such-key"),
    "kimi": Case("kimi", "kimi", "not-found", first=("keys disable alpha",), command="kimi",
                 prepare=lambda world: world.script("kimi", "exit 0\n"),
                 spoil=lambda world: (world.bin / "kimi").unlink()),
    "use": Case("use beta", "use nobody", "no-such-key"),
    "rotate": Case("rotate", "rotate", "no-keys", spoil=no_keys),
    "rotate auto": Case("rotate auto", "rotate auto", "auto-not-allowed", command="rotate",
                        prepare=lambda world: world.env.update(KMI_AUTO_ROTATE_ALLOWED="1"),
                        spoil=lambda world: world.env.update(KMI_AUTO_ROTATE_ALLOWED="0")),
    "rotate off": Case("rotate off", "rotate off", "newer-schema", ("rotate auto",),
                       prepare=lambda world: world.env.update(KMI_AUTO_ROTATE_ALLOWED="1"),
                       spoil=newer, command="rotate"),
    "bind": Case("bind alpha", "bind alpha", "exists", spoil=other_binding),
    "allow": Case("allow", "allow", "bad-binding", prepare=bound, spoil=broken_binding),
    "deny": Case("deny", "deny", "newer-schema", prepare=bound,
                 spoil=lambda world: write_private(world.state / "bindings.json",
                                                   '{"schema": 9999}')),
    "keys add": Case("keys add delta", "keys add alpha", "failed"),
    "keys remove": Case("keys remove beta --yes", "keys remove beta", "refused"),
    "keys enable": Case("keys enable beta", "keys enable nobody", "no-such-key",
                        ("keys disable beta",)),
    "keys disable": Case("keys disable beta", "keys disable nobody", "no-such-key"),
    "keys rename": Case("keys rename beta delta", "keys rename beta alpha", "failed"),
    "keys reset": Case("keys reset", "keys reset nobody", "no-such-key", ("keys check gone",)),
    "keys import": Case("keys import", "keys import", "config", prepare=new_in_config,
                        spoil=broken_config),
    "keys check": Case("keys check gone", "keys check nobody", "no-such-key"),
    "proxy start": Case("proxy start", "proxy start", "no-keys", tells=ADDRESS, spoil=no_keys),
    "proxy stop": Case("proxy stop", "proxy stop", "newer-schema", ("proxy",), spoil=newer,
                       tells=ADDRESS),
    "proxy restart": Case("proxy restart", "proxy restart", "no-keys", ("proxy",), spoil=no_keys,
                          tells=ADDRESS),
    "proxy-stop": Case("proxy-stop", "proxy-stop", "newer-schema", ("proxy",), spoil=newer,
                       tells=ADDRESS),
    "proxy-restart": Case("proxy-restart", "proxy-restart", "no-keys", spoil=no_keys,
                          tells=ADDRESS),
    "service install": Case("service install systemd", "service install systemd", "exists",
                            spoil=unit, tells=UNIT),
    "service uninstall": Case("service uninstall systemd", "service uninstall systemd", "not-ours",
                              ("service install systemd",), tells=UNIT, spoil=unit),
    "plugin install": Case("plugin install --client kimi-cli", "plugin install --client kimi-cli",
                           "no-config", spoil=lambda world: world.config().unlink()),
    "plugin uninstall": Case("plugin uninstall", "plugin uninstall", "newer-schema",
                             ("plugin install",),
                             spoil=lambda world: write_private(world.state / "plugin.json",
                                                               '{"schema": 9999}')),
    "doctor": Case("doctor --fix --yes", "doctor --fix", "not-agreed", tells=frozenset({"repairs"}),
                   prepare=open_state, spoil=open_state),
    "undo": Case("undo", "undo --file kimi-cli-2001", "failed", ("use beta",)),
    "clean": Case("clean", "clean", "newer-schema", tells=frozenset({"removed"}),
                  prepare=old_records, spoil=newer),
    "config migrate": Case("config migrate --yes", "config migrate", "not-agreed",
                           prepare=old_home),
}  # fmt: skip

#: Calls that only look, by the paths that they are of: nothing is recorded, and only what is named
#: here may change: what prompts and TAB show, and what `kmi health` was told of quotas.
SHELLS = frozenset({"prompt", "labels"})
LOOKING: dict[str, tuple[str, frozenset[str]]] = {
    "current": ("current", SHELLS),
    "status": ("status", SHELLS),
    "health": ("health --refresh", SHELLS | {"state.json"}),
    "why": ("why", SHELLS),
    "keys": ("keys", SHELLS),
    "keys list": ("keys list", SHELLS),
    "trace": ("trace", SHELLS),
    "simulate": ("simulate --days 1 --strategy spread", frozenset()),
    "usage": ("usage", SHELLS | {"usage.db"}),
    "proxy status": ("proxy status", SHELLS),
    "proxy-logs": ("proxy-logs --no-follow", SHELLS),
    "service print": ("service print systemd", SHELLS),
    "init": ("init bash", frozenset()),
    "completion": ("completion zsh", frozenset()),
    "prompt": ("prompt", frozenset()),
    "config show": ("config show", SHELLS),
    "config validate": ("config validate", SHELLS),
    "config path": ("config path", SHELLS),
    "doctor": ("doctor", frozenset()),
    "plugin status": ("plugin status", SHELLS),
    # The event on stdin is none, which only the log is told.
    "hook": (
        "hook session-start --client kimi-cli",
        frozenset({"logs", "logs/kmi.jsonl", "logs/kmi.jsonl.lock"}),
    ),
    "backups": ("backups", SHELLS),
    "audit": ("audit", SHELLS),
    "demo": ("demo --help", frozenset()),  # its home is its own: tests/e2e
}
#: Names that stand for one of their actions, and need no row of their own.
GROUPS = {"plugin", "proxy", "service", "config"}


def actions(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The words that stand for an action of a command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or (
            not action.option_strings and action.dest == "mode" and action.choices
        ):
            yield from action.choices  # type: ignore[misc]  # a dictionary


def paths() -> dict[str, bool]:
    """Every command and action, and whether the command may change state."""
    found = {}
    for name, command in COMMANDS.items():
        if name not in GROUPS:
            found[name] = command.changes
        found.update({f"{name} {word}": command.changes for word in actions(build_parser(name))})
    return found


def test_every_command_is_in_one_of_the_tables() -> None:
    there = paths()
    known = {*CHANGING, *LOOKING}
    assert set(there) - known == set(), "say what the audit tells of it"
    assert known - set(there) == set(), "it is gone"
    assert {path for path in CHANGING if not there[path]} == set()
    silent = {path for path, changes in there.items() if not changes}
    assert silent - set(LOOKING) == set()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Where runs come from."""
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeKimi]:
    """Everybody's key works, but that of "gone"."""
    labels = ("alpha", "beta", "gamma", "delta")
    keys = {secret_of(label): Behaviour() for label in labels}
    with FakeKimi({**keys, secret_of("gone"): invalid_401()}) as api:
        yield api


def on_loopback(world: World, upstream: FakeKimi) -> None:
    """Settings with which any command can be run: nothing of it leaves this machine."""
    world.env.update(
        KMI_CLIENT=CLI,
        KMI_UPSTREAM_BASE_URL=upstream.base_url,
        KMI_PROXY_LISTEN="127.0.0.1:0",
        KMI_AUTO_ROTATE_E2E="0",
    )


@pytest.fixture
def home(world: World, upstream: FakeKimi) -> Iterator[World]:
    """Keys, a client config with one of them, and an upstream on loopback."""
    on_loopback(world, upstream)
    world.add_keys("alpha", "beta", "gone")
    world.write_config(CLI, config_text(secret_of("alpha"), base_url=upstream.base_url))
    yield world
    if (world.state / "proxy.json").exists():
        if world.saved_state().get("schema") == 9999:
            (world.state / "state.json").unlink()
        assert world.kmi("proxy", "stop", "--force").returncode == 0


def run(forks: Forks, world: World, words: str, env: Mapping[str, str] | None = None) -> Result:
    return forks.run(world, *words.split(), input=secret_of("delta") + "\n", env=env)


def new_record(world: World, before: int) -> dict[str, Any]:
    """The one line that came since there were so many; and it is one that `records.py` knows."""
    path = world.state / "audit.jsonl"
    assert path.exists(), "nothing was recorded"
    lines = path.read_bytes().splitlines()[before:]
    assert len(lines) == 1, lines
    record: dict[str, Any] = json.loads(lines[0])
    assert set(record) - ALWAYS - set(EVENTS["audit"].fields) == set(), "add it to kmi/records.py"
    assert set(record) >= ALWAYS
    assert not [secret for secret in ("alpha", "beta", "delta", "fresh", "gone")
                if secret_of(secret)[-8:].encode() in lines[0]]  # fmt: skip
    return record


def count(world: World) -> int:
    return len(world.records("audit.jsonl"))


@pytest.mark.parametrize("path", CHANGING)
def test_what_is_allowed_is_recorded_once(path: str, home: World, forks: Forks) -> None:
    case = CHANGING[path]
    case.prepare(home)
    for words in case.first:
        run(forks, home, words)
    before = count(home)
    done = run(forks, home, case.words, {"KMI_AUDIT_ACTOR": "Ada"})
    assert done.returncode in ({0, 1} if path in {"keys check", "doctor"} else {0}), done
    record = new_record(home, before)
    assert (record["outcome"], record["actor"]) == ("changed", "Ada"), record
    assert record["command"] == (case.command or path)
    assert set(record) >= case.tells, record
    if case.tells >= BOTH:
        assert record["before"] != record["after"]


@pytest.mark.parametrize("path", CHANGING)
def test_what_is_denied_is_recorded_once(path: str, home: World, forks: Forks) -> None:
    case = CHANGING[path]
    case.prepare(home)
    assert run(forks, home, "keys disable gone").returncode == 0
    case.spoil(home)
    before = count(home)
    done = run(forks, home, case.denied)
    assert done.returncode not in {0, 2, 70}, done
    record = new_record(home, before)
    assert (record["outcome"], record["error"], record["actor"]) == ("denied", case.error, "tester")
    assert record["command"] == (case.command or path)


@pytest.mark.parametrize("path", CHANGING)
def test_a_dry_run_changes_and_records_nothing(path: str, home: World, forks: Forks) -> None:
    case = CHANGING[path]
    case.prepare(home)
    for words in case.first:
        if words != "proxy":
            run(forks, home, words)
    before = home.snapshot()
    done = run(forks, home, case.words, {"KMI_DRY_RUN": "1"})
    assert done.returncode in {0, 1}, done
    assert changed(before, home.snapshot()) == set()


@pytest.mark.parametrize("more", ["", " --json", " --plain -v"])
def test_to_look_is_not_recorded(more: str, home: World, forks: Forks) -> None:
    (home.auths / "gone.env").unlink()  # one call would learn that it does not work
    for words in ("keys check", "use beta", "run -- true"):
        assert run(forks, home, words).returncode == 0
    records = count(home)
    for words, may_change in LOOKING.values():
        for name in SHELLS:
            (home.state / name).unlink(missing_ok=True)
        before = home.snapshot()
        done = run(forks, home, words + more)
        assert done.returncode in {0, 1}, done
        allowed = {f"kmi-state/{name}" for name in may_change} | {"kmi-state"}
        assert changed(before, home.snapshot()) - allowed == set(), words
    assert count(home) == records


def changed(
    before: Mapping[str, tuple[object, ...]], after: Mapping[str, tuple[object, ...]]
) -> set[str]:
    """The files that came, went, or are not as they were."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


# What is learnt by asking.


def test_a_status_that_became_another_one_is_recorded(home: World, forks: Forks) -> None:
    """`kmi health` only looks; but that a key is out from now on somebody has to tell."""
    asked = {"KMI_USAGE_CACHE_SECONDS": "600"}
    assert run(forks, home, "health", asked).returncode == 0
    record = new_record(home, 0)
    assert (record["command"], record["outcome"]) == ("health", "changed")
    assert (record["before"]["gone"], record["after"]["gone"]) == ("unknown", "blocked")
    assert run(forks, home, "health --refresh", asked).returncode == 0
    assert count(home) == 1


REQUIRED = {"KMI_REQUIRE_USAGE_BEFORE_REQUEST": "1", "KMI_FAIL_OPEN_ON_EMPTY_CACHE": "0",
            "KMI_USAGE_CACHE_SECONDS": "600"}  # fmt: skip


@pytest.mark.parametrize("words", ["rotate", "run -- true"])
def test_a_command_that_had_to_ask_first_is_recorded_once(
    words: str, home: World, forks: Forks
) -> None:
    done = run(forks, home, words, REQUIRED)
    assert done.returncode == 0, done
    record = new_record(home, 0)
    assert record["outcome"] in {"changed", "unchanged"}
    assert record["learnt"]["gone"] == ["unknown", "blocked"]


def test_a_refusal_tells_what_was_learnt_on_the_way(home: World, forks: Forks) -> None:
    for label in ("alpha", "beta"):
        (home.auths / f"{label}.env").unlink()
    done = run(forks, home, "run -- true", REQUIRED)
    assert done.returncode == 125, done
    record = new_record(home, 0)
    assert (record["outcome"], record["learnt"]) == ("denied", {"gone": ["unknown", "blocked"]})


# What fails in the middle.


def test_what_the_system_refuses_is_recorded(home: World, forks: Forks) -> None:
    home.state.mkdir(mode=0o700)
    write_private(home.state / "backups" / "keys", "")  # where a directory has to be
    done = run(forks, home, "keys remove beta --yes")
    assert done.returncode == 1, done
    assert (home.auths / "beta.env").exists()
    record = new_record(home, 0)
    assert (record["outcome"], record["error"]) == ("denied", "system")


def test_a_bug_is_recorded(home: World, forks: Forks) -> None:
    program = f"""
import sys, types
from kmi import cli
broken = types.ModuleType("kmi.commands.broken")
broken.configure = lambda parser: None
def run(args, app):
    raise ZeroDivisionError("{secret_of("alpha")}")
broken.run = run
sys.modules["kmi.commands.broken"] = broken
cli.COMMANDS["broken"] = cli.Command("broken", "it has a bug", changes=True)
sys.exit(cli.main(["broken"]))
"""
    done = home.command([sys.executable, "-c", program])
    assert done.returncode == 70, done
    record = new_record(home, 0)
    assert (record["command"], record["outcome"], record["error"]) == ("broken", "denied", "bug")


@pytest.mark.parametrize("words", ["keys add delta", "keys remove beta --yes",
                                   "keys rename beta delta", "keys import", "proxy",
                                   "service install systemd"])  # fmt: skip
def test_what_is_recorded_as_denied_did_not_happen(words: str, home: World, forks: Forks) -> None:
    """Another process holds the lock, or state is newer: nothing changes before that shows."""
    new_in_config(home)
    newer(home)
    before = home.snapshot(home.auths)
    done = run(forks, home, words)
    assert done.returncode == 78, done
    assert new_record(home, 0)["outcome"] == "denied"
    assert home.snapshot(home.auths) == before
    assert not (home.home / ".config").exists()
    assert not (home.state / "proxy.json").exists()


def test_a_proxy_that_could_not_be_recorded_as_stopped_goes_on(home: World, forks: Forks) -> None:
    started = json.loads(run(forks, home, "proxy --json").stdout)
    newer(home)
    for words in ("proxy stop", "proxy restart", "run --proxy -- true"):
        assert run(forks, home, words).returncode in {78, 125}
    assert run(forks, home, "proxy status").returncode == 0
    assert json.loads((home.state / "proxy.json").read_text())["pid"] == started["pid"]


def test_a_restart_that_only_stops_tells_so(home: World, forks: Forks) -> None:
    started = json.loads(run(forks, home, "proxy --json").stdout)
    before = count(home)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = run(forks, home, "proxy restart", {"KMI_PROXY_LISTEN": address})
    assert done.returncode == 1, done
    record = new_record(home, before)
    assert (record["outcome"], record["error"]) == ("changed", "port-in-use")
    assert (record["before"], record["after"]) == (started["pid"], None)


def test_an_import_that_stops_halfway_tells_what_it_took(home: World, forks: Forks) -> None:
    two = (
        config_text(secret_of("fresh"))
        + """
[providers.other]
type = "kimi"
base_url = "https://api.moonshot.ai/v1"
api_key = "sk-kimi-another0123456789abcdefghij"
"""
    )
    home.write_config(CLI, two)
    (home.auths / "other.env").mkdir()
    done = run(forks, home, "keys import")
    assert done.returncode == 1, done
    record = new_record(home, 0)
    assert (record["outcome"], record["after"]) == ("changed", ["my-kimi"])


def test_a_swap_that_changes_nothing_says_so(home: World, forks: Forks) -> None:
    assert run(forks, home, "use alpha").returncode == 0
    before = count(home)
    assert run(forks, home, "use alpha").returncode == 0
    assert new_record(home, before)["outcome"] == "unchanged"
