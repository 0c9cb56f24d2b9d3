"""`kmi doctor`: it finds what is really broken, says the cure, and `--fix` does what is safe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from kmi import shells
from kmi.checks.disk import Room, trouble
from kmi.checks.kept_scripts import kept_command
from kmi.doctor import diagnose
from kmi.pins import namespace, start_mark
from kmi.timezones import utc_text
from tests.conftest import CLI, CODE, World, config_text, secret_of, write_private
from tests.other_user import UID, abroad
from tests.test_validate import assert_russian

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GOLDEN = Path(__file__).parent / "golden" / "doctor.json"
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
#: No process has it: above the largest that Linux gives by default on small machines, and checked.
GONE = 4_194_303
DAY = 86400.0

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and locks are Unix's")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after one swap; nothing in it names where it is."""
    world = World(tmp_path_factory.mktemp("used"))
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    assert world.kmi("use", "alpha").returncode == 0
    write_private(world.home / ".bashrc", '# mine\neval "$(kmi init bash)"\n')
    assert world.files_with(str(world.root)) == []
    return world.home


@pytest.fixture
def home(world: World, used: Path) -> World:
    """A world in which everything is fine: kmi and a client on PATH, a key in the config."""
    world.env["KMI_CLIENT"] = CLI
    world.env["SHELL"] = "/bin/bash"
    world.script("kmi", f'exec "{sys.executable}" -m kmi "$@"')
    world.script("kimi", f"#!{sys.executable}\n")
    shutil.copytree(used, world.home, dirs_exist_ok=True)
    return world


def wrong_in(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings that are not fine."""
    return [finding for finding in document["findings"] if finding["severity"] != "ok"]


class Broken(NamedTuple):
    """Something that is broken, and what the doctor makes of it.

    Attributes:
        do: breaks it.
        check, severity, says, cure: of the finding; the texts are parts.
        fixable: whether ``--fix`` puts it right.
        env: of kmi.
    """

    do: Callable[[World], object]
    check: str
    severity: str
    says: str
    cure: str
    fixable: bool = False
    env: Mapping[str, str | None] = {}  # noqa: RUF012 - never changed


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file whose new directories are all private."""
    umask = os.umask(0o077)
    try:
        return write_private(path, text, mode)
    finally:
        os.umask(umask)


def nothing(world: World) -> None:
    """It is the environment that is wrong."""


def program(name: str, text: str) -> Callable[[World], object]:
    return lambda world: world.script(name, text)


def write(place: str, text: str, mode: int = 0o600) -> Callable[[World], object]:
    return lambda world: private(world.home / place, text, mode)


def chmod(place: str, mode: int) -> Callable[[World], object]:
    return lambda world: (world.home / place).chmod(mode)


def tombstone(world: World) -> None:
    """A kimi-cli whose package says 1.52.0; started, it leaves a mark."""
    env = world.root / "env"
    write_private(env / "bin" / "python", f"#!/bin/sh\ntouch '{world.root}/started'\n", 0o755)
    (env / "lib" / "python3.13" / "site-packages" / "kimi_cli-1.52.0.dist-info").mkdir(parents=True)
    text = f"#!{env}/bin/python\n"
    write_private(env / "bin" / "kimi", text, 0o755)
    world.env["PATH"] = f"{env}/bin:{world.env['PATH']}"


def kimi_code(world: World, version: str = "2.1.0") -> None:
    """A Kimi Code as npm installs it."""
    package = world.root / "npm" / "lib" / "node_modules" / "@moonshot-ai" / "kimi-code"
    write_private(package / "package.json", json.dumps({"version": version}))
    main = write_private(package / "dist" / "main.mjs", "#!/usr/bin/env node\n", 0o755)
    (world.bin / "kimi").unlink()
    (world.bin / "kimi").symlink_to(main)
    world.script("node", "exit 1")
    world.env["KMI_CLIENT"] = CODE


def old_node(world: World) -> None:
    kimi_code(world)
    node = write_private(world.root / "versions" / "v20.1.0" / "bin" / "node", "#!/bin/sh\n", 0o755)
    (world.bin / "node").unlink()
    (world.bin / "node").symlink_to(node)


def no_node(world: World) -> None:
    kimi_code(world)
    for name in ("kmi", "sh", "env"):
        if not (world.bin / name).exists():
            (world.bin / name).symlink_to(shutil.which(name) or name)
    (world.bin / "node").unlink()
    world.env["PATH"] = str(world.bin)


def linked_config(world: World) -> None:
    real = write_private(world.home / "dots" / "config.toml", config_text(secret_of("alpha")))
    folder = world.config(CODE).parent
    folder.mkdir(mode=0o700)
    world.config(CODE).symlink_to(real)


def state_with(change: Callable[[dict[str, Any]], object]) -> Callable[[World], object]:
    def do(world: World) -> None:
        state = world.saved_state()
        change(state)
        write_private(world.state / "state.json", json.dumps(state))

    return do


def held_until(days: float) -> Callable[[dict[str, Any]], object]:
    def change(state: dict[str, Any]) -> None:
        now = time.time()
        (key,) = state["keys"].values()
        key["hold"] = {"kind": "exhausted", "verdict": "quota-5h", "since": utc_text(now)}
        key["hold"]["until"] = utc_text(now + days * DAY)

    return change


def reset_in(days: float) -> Callable[[dict[str, Any]], object]:
    def change(state: dict[str, Any]) -> None:
        (key,) = state["keys"].values()
        key["windows"] = {"5h": {"used": 0.5, "resets_at": utc_text(time.time() + days * DAY)}}

    return change


def swapped_in(seconds: float) -> Callable[[dict[str, Any]], object]:
    def change(state: dict[str, Any]) -> None:
        state["active"][CLI]["since"] = utc_text(time.time() + seconds)

    return change


def future(place: str) -> Callable[[World], object]:
    at = time.time() + 7200
    return lambda world: os.utime(world.home / place, (at, at))


def old_pin(world: World) -> None:
    """The private config of a run that ended two days ago."""
    with pytest.raises(ProcessLookupError):
        os.kill(GONE, 0)
    folder = world.state / "pins" / f"{GONE}-1-{namespace()}-0a0b0c0d0e0f"
    private(folder / "config.toml", config_text(secret_of("alpha")))
    at = time.time() - 2 * DAY
    os.utime(folder, (at, at))


def full_pin(world: World) -> None:
    """A private home in which a client made a directory that the real one has, too."""
    folder = world.state / "pins" / f"{GONE}-1-{namespace()}-0a0b0c0d0e0f"
    real = world.config(CODE).parent
    (real / "notes").mkdir(parents=True, mode=0o700)
    private(folder / "origin", str(real))
    private(folder / "home" / "notes" / "mine.txt", "not to be lost")


def folder_for_lock(world: World) -> None:
    (world.state / "lock").unlink()
    (world.state / "lock").mkdir(mode=0o700)


def many_backups(world: World) -> None:
    for number in range(12):
        write_private(
            world.state / "backups" / f"{CLI}-20260101T0000{number:02d}000Z-0000.toml", ""
        )


def kept_script(edit: Callable[[str], str]) -> Callable[[World], object]:
    def do(world: World) -> None:
        text = edit(world.kmi("init", "bash").stdout)
        path = write_private(world.home / "kmi init.bash", text)
        write_private(world.home / ".bashrc", f'[ -f x ] || . "$HOME/{path.name}"\n')

    return do


def stale_proxy(world: World) -> None:
    record = {"schema": 1, "pid": GONE, "started_ticks": "1", "host": "127.0.0.1", "port": 54123}
    record.update({"base_path": "/x", "version": "0.1.0", "started": utc_text(time.time())})
    record.update({"how": "background", "until_runs_end": False, "token_id": "0"})
    write_private(world.state / "proxy.json", json.dumps(record))


def many_open(world: World) -> None:
    for path in [world.state, *world.state.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


TEMPORARY = f".config.toml.kmi-{GONE}-0a0b"
BROKEN = {
    # What the validator finds is in test_validate.py; here: that the doctor tells it, and repairs.
    "a bad setting": Broken(
        nothing, "setting", "error", "KMI_DRY_RUN", "allowed:", env={"KMI_DRY_RUN": "ture"}
    ),
    "a damaged state": Broken(
        write("kmi-state/state.json", "{"), "state-file", "error", "damaged", "--fix", True
    ),
    "damaged decisions": Broken(
        write("kmi-state/bindings.json", "{"), "decisions", "error", "damaged", "--fix", True
    ),
    "an open auth file": Broken(
        chmod("kmi-auths/beta.env", 0o640), "auth-file-mode", "warning", "0640", "chmod 600", True
    ),
    "an open directory of keys": Broken(
        chmod("kmi-auths", 0o777), "auth-file-mode", "warning", "write it", "chmod go-w", True
    ),
    "an open env file": Broken(
        chmod("kmi.env", 0o602), "env-file", "warning", "write it", "chmod go-w", True
    ),
    "an open config": Broken(
        chmod(".kimi/config.toml", 0o644), "client-config", "warning", "0644", "chmod 600", True
    ),
    # Files.
    "an open record": Broken(
        chmod("kmi-state/audit.jsonl", 0o644), "mode", "warning", "0644", "chmod go-rwx", True
    ),
    "an open state directory": Broken(
        chmod("kmi-state", 0o755), "mode", "warning", "0755", "chmod go-rwx", True
    ),
    "everything open": Broken(many_open, "mode", "warning", "rights to", "chmod -R go-rwx", True),
    "a home that others can write": Broken(
        lambda world: world.home.chmod(0o777), "parent", "warning", "replace", "chmod go-w"
    ),
    "a client's home that others can write": Broken(
        chmod(".kimi", 0o777), "parent", "warning", "replace", "chmod go-w"
    ),
    "a temporary file of kmi's": Broken(
        write(f"kmi-state/.state.json.kmi-{GONE}-0a0b", ""),
        *("temporary", "warning", "killed", "rm ", True),
    ),
    "a temporary file of a config": Broken(
        write(f".kimi/{TEMPORARY}", "x"), "temporary", "warning", "killed", "rm ", True
    ),
    "an old private config": Broken(old_pin, "pin", "warning", "long ago: 1", "--fix", True),
    "a private home with files": Broken(full_pin, "pin", "warning", "notes", "ls -la"),
    "a strange private config": Broken(
        write("kmi-state/pins/mine/x", ""), "pin", "warning", "nothing that kmi made", "rm -r"
    ),
    "many backups": Broken(many_backups, "backup", "warning", "backups of", "kmi backups"),
    # State.
    "a directory for a lock": Broken(
        folder_for_lock,
        *("lock", "error", "not a regular file", "rm -r"),
    ),
    "a swap in the future": Broken(
        state_with(swapped_in(7200)), "clock", "warning", "2 h in the future", "date"
    ),
    "a state of the future": Broken(
        future("kmi-state/state.json"), "clock", "warning", "in the future", "touch "
    ),
    "a hold for ever": Broken(
        state_with(held_until(400)), "hold", "warning", "alpha is held", "kmi keys reset alpha"
    ),
    "a reset that never comes": Broken(
        state_with(reset_in(400)), "hold", "warning", "alpha: a quota", "kmi health --refresh"
    ),
    "no key that works": Broken(
        lambda world: [world.kmi("keys", "disable", label) for label in ("alpha", "beta")],
        *("usable", "warning", "no key can be used", "kmi health"),
    ),
    # Clients.
    "no client": Broken(
        lambda world: (world.bin / "kimi").unlink(),
        *("client", "warning", "not on PATH", "npm install -g @moonshot-ai/kimi-code"),
    ),
    "the other client": Broken(
        kimi_code, "client", "error", "kimi-cli", "install", env={"KMI_CLIENT": CLI}
    ),
    "a tombstone": Broken(
        tombstone, "tombstone", "error", "kimi-cli 1.52.0", "pip install 'kimi-cli<1.52'"
    ),
    "an interpreter that is gone": Broken(
        program("kimi", "#!/nowhere/bin/python3\n"),
        *("interpreter", "error", "/nowhere/bin/python3 does not exist", "again"),
    ),
    "a long interpreter that is gone": Broken(
        program("kimi", "#!/bin/sh\n'''exec' '/nowhere/py thon' \"$0\" \"$@\"\n' '''\n"),
        *("interpreter", "error", "/nowhere/py thon does not exist", "again"),
    ),
    "no Node": Broken(no_node, "interpreter", "error", "node is not on PATH", "again"),
    "an old Node": Broken(old_node, "node", "error", "Node 20.1", "22.19"),
    "a login": Broken(
        lambda world: world.write_config(
            CLI,
            config_text("").replace("[models]", '[providers."my kimi".oauth]\nkey = "k"\n[models]'),
        ),
        *("login", "warning", "OAuth login", "kmi run --adopt --client kimi-cli -- kimi"),
    ),
    "an exported key": Broken(
        nothing,
        *("variable", "warning", "KIMI_API_KEY, KIMI_BASE_URL", "unset KIMI_API_KEY KIMI_BASE_URL"),
        env={"KIMI_API_KEY": secret_of("x"), "KIMI_BASE_URL": "https://x"},
    ),
    "an exported model": Broken(
        kimi_code,
        *("variable", "warning", "KIMI_MODEL_NAME", "unset KIMI_MODEL_NAME KIMI_MODEL_EFFORT"),
        env={"KIMI_MODEL_NAME": "m", "KIMI_MODEL_EFFORT": "x", "KMI_CLIENT": CODE},
    ),
    "exported headers": Broken(
        kimi_code,
        *("variable", "warning", "KIMI_CODE_CUSTOM_HEADERS", "unset KIMI_CODE_CUSTOM_HEADERS"),
        env={"KIMI_CODE_CUSTOM_HEADERS": "Authorization: Bearer x", "KMI_CLIENT": CODE},
    ),
    "an exported key of OpenAI's": Broken(
        lambda world: world.write_config(
            CLI, config_text(secret_of("alpha")).replace('= "kimi"', '= "openai_legacy"', 1)
        ),
        *("variable", "warning", "OPENAI_API_KEY", "unset OPENAI_API_KEY"),
        env={"OPENAI_API_KEY": "x"},
    ),
    "an empty home of Kimi Code": Broken(
        nothing, "client-config", "error", "empty", "unset", env={"KIMI_CODE_HOME": ""}
    ),
    "a home with a tilde": Broken(
        nothing,
        *("variable", "warning", "does not expand", "export KIMI_SHARE_DIR=/"),
        env={"KIMI_SHARE_DIR": "~/x"},
    ),
    "a relative home": Broken(
        nothing,
        *("variable", "warning", "in each directory", "export KIMI_SHARE_DIR=/"),
        env={"KIMI_SHARE_DIR": "x"},
    ),
    "a linked config of Kimi Code": Broken(
        linked_config, "config-link", "warning", "is a link to", "export KIMI_CODE_HOME="
    ),
    "a config with two names": Broken(
        lambda world: os.link(world.config(), world.home / "other.toml"),
        *("config-link", "warning", "2 hard links", "mv "),
    ),
    # Shells.
    "a hook for another shell": Broken(
        write(".bashrc", 'eval "$(kmi init zsh)"\n'),
        *("hook", "warning", "sets up zsh", 'eval "$(kmi init bash)"'),
    ),
    "a hook without a kmi": Broken(
        write(".bashrc", 'eval "$("$HOME/gone/kmi" init bash)"\n'),
        *("hook", "warning", "gone/kmi, which is not there", "PATH"),
    ),
    "a hook behind starship": Broken(
        write(".bashrc", 'eval "$(starship init bash)"\neval "$(kmi init bash)"\n'),
        *("hook", "warning", "starship", "below"),
    ),
    "a kept script that is gone": Broken(
        write(".bashrc", "source ~/.cache/kmi/init.bash\n"),
        *("hook", "warning", "does not exist", "kmi init bash > "),
    ),
    "an old kept script": Broken(
        kept_script(lambda text: text.replace("__kmi_label", "__kmi_name")),
        *("hook", "warning", "another version", "kmi init bash > "),
    ),
    "a kept script of a kmi that is gone": Broken(
        kept_script(lambda text: text.replace(sys.executable, "/nowhere/python")),
        *("hook", "warning", "/nowhere/python, which does not exist", "kmi init bash > "),
    ),
    "an old completion": Broken(
        write(".local/share/bash-completion/completions/kmi", "complete -F _old kmi\n"),
        *("completion", "warning", "another version", "kmi completion bash > "),
    ),
    "an old prompt": Broken(
        write("kmi-state/prompt", "gone !\n"), "shell-files", "warning", "prompt", "--fix", True
    ),
    "old labels": Broken(
        lambda world: world.add_key("gamma"), "shell-files", "warning", "labels", "--fix", True
    ),
    "old bindings": Broken(
        write("kmi-state/bindings", "a /nowhere\n"),
        "shell-files",
        "warning",
        "bindings",
        "--fix",
        True,
    ),
    # The proxy.
    "a proxy that was killed": Broken(stale_proxy, "proxy", "warning", "gone", "rm ", True),
    "a record of a proxy that can't be read": Broken(
        write("kmi-state/proxy.json", "?"), "proxy", "warning", "gone", "rm ", True
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_put_right(
    home: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = BROKEN[name]
    broken.do(home)
    before, secrets = home.snapshot(home.root), configs_and_keys(home)
    monkeypatch.chdir(home.cwd)
    assert_russian(home, broken.env, diagnose)
    code = 1 if broken.severity == "error" else 0
    document = home.document("doctor", code=code, env=broken.env)
    assert document["ok"] is (code == 0)
    fits = [
        finding
        for finding in wrong_in(document)
        if (finding["check"], finding["severity"]) == (broken.check, broken.severity)
        and broken.says in finding["what"]
    ]
    assert fits, wrong_in(document)
    assert broken.cure in fits[0]["cure"]
    assert fits[0]["fixable"] is broken.fixable
    assert all(finding["cure"] for finding in wrong_in(document)), "each has a cure"
    assert home.snapshot(home.root) == before, "to look is not to change"

    if broken.fixable:
        audit = len(home.records("audit.jsonl"))
        after = home.document("doctor", "--fix", "--yes", env=broken.env)
        assert wrong_in(after) == []
        assert all(repair["done"] and not repair["error"] for repair in after["repairs"])
        new = [(r["command"], r["outcome"]) for r in home.records("audit.jsonl")[audit:]]
        assert new == [("doctor", "changed")]
    assert configs_and_keys(home) == secrets, "no key and no config has other bytes"
    assert not (home.root / "started").exists(), "no client was started"


def test_what_only_a_person_can_put_right_stays(home: World) -> None:
    names = [
        "a directory for a lock",
        "many backups",
        "a home that others can write",
        "a tombstone",
    ]
    for name in names:
        BROKEN[name].do(home)
    before = home.snapshot(home.root)
    first = home.document("doctor", code=1)
    assert {finding["check"] for finding in wrong_in(first)} >= {BROKEN[n].check for n in names}
    done = home.kmi("doctor", "--fix", "--yes")
    assert done.returncode == 1
    assert "nothing here that kmi may put right" in done.stderr
    assert home.snapshot(home.root) == before


def configs_and_keys(world: World) -> dict[str, bytes]:
    """The content of what kmi does not own, and of the backups."""
    files = [*world.auths.rglob("*"), *world.state.glob("backups/**/*"), world.env_file]
    files += [world.config(CLI), world.config(CODE), *world.home.glob(".bash*")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


# A home in which nothing is wrong.


def test_a_clean_home(home: World) -> None:
    before = home.snapshot(home.root)
    document = home.document("doctor")
    assert wrong_in(document) == []
    assert document["counts"] == {"error": 0, "warning": 0, "ok": len(document["findings"])}
    done = home.kmi("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n\neverything is fine\n")
    assert home.snapshot(home.root) == before


def test_a_new_home(world: World) -> None:
    """Before the first key there are two things to do, and nothing is an error."""
    document = world.document("doctor", env={"KMI_CLIENT": None})
    assert [finding["check"] for finding in wrong_in(document)] == ["keys", "client"]
    assert not world.state.exists()


def test_a_client_under_another_name(home: World) -> None:
    (home.bin / "kimi").rename(home.bin / "kimi-cli")
    assert wrong_in(home.document("doctor")) == []


def test_a_home_after_runs(home: World) -> None:
    """What a run leaves by its nature (docs: pins, the memo) is nothing to be told about."""
    for args in (("--", "kimi"), ("-k", "beta", "--", "kimi"), ("--", "true"), ("--", "kimi")):
        home.script("kimi", "#!/bin/sh\n")
        assert home.kmi("run", *args).returncode == 0
    home.script("kimi", f"#!{sys.executable}\n")
    assert len(list((home.state / "pins").iterdir())) > 0
    assert wrong_in(home.document("doctor")) == []


def test_a_clean_home_has_nothing_to_fix(home: World) -> None:
    before = home.snapshot(home.root)
    done = home.kmi("doctor", "--fix")
    assert done.returncode == 0
    assert "nothing here that kmi may put right" in done.stderr
    assert home.snapshot(home.root) == before


def test_the_document(home: World) -> None:
    """The form of it; `WRITE_GOLDEN=1 pytest` writes the file."""
    for name in ("an open record", "a tombstone", "old labels"):
        BROKEN[name].do(home)
    document = home.document("doctor", code=1, env={"KIMI_API_KEY": "x"})
    text = json.dumps(document).replace(str(home.root), "ROOT").replace(sys.executable, "PYTHON")
    text = re.sub(r"kmi [\d.]+, Python [\d.]+", "kmi VERSION, Python VERSION", text)
    text = re.sub(r"by default: \d+", "by default: N", text)
    text = re.sub(r"\d+ MiB", "N MiB", text).replace(shells.__file__.rpartition("/")[0], "PACKAGE")
    found = json.loads(text)
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_document_is_english(home: World) -> None:
    russian = home.document("doctor", env={"KMI_LOCALE": "ru"})
    assert json.dumps(russian).isascii()
    assert [f["check"] for f in russian["findings"] if f["check"] != "setting"] == [
        f["check"] for f in home.document("doctor")["findings"] if f["check"] != "setting"
    ]


def test_nothing_heavy_is_imported(home: World) -> None:
    done = home.command([sys.executable, "-X", "importtime", "-m", "kmi", "doctor"])
    assert done.returncode == 0
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "kmi.checks.clock" in imported
    assert imported & {"httpx", "rich", "asyncio", "filelock", "argcomplete"} == set()


# Asking.


def test_without_a_terminal_nothing_is_changed(home: World) -> None:
    for name in ("an open record", "a damaged state", "an old private config"):
        BROKEN[name].do(home)
    before = home.snapshot(home.root)
    done = home.kmi("doctor", "--fix", input="y\n")
    assert done.returncode == 77
    assert "nothing was changed: there is no terminal to ask on (say --yes to do it)" in done.stderr
    assert f"rename {home.state}/state.json" in joined(done.stderr)
    assert "everything is fine" not in done.stdout
    assert "is damaged" in joined(done.stdout)
    document = home.document("doctor", "--fix", code=77)
    assert {repair["done"] for repair in document["repairs"]} == {False}
    refused = [
        record["error"] for record in home.records("audit.jsonl") if record["outcome"] == "denied"
    ]
    assert refused == ["not-agreed", "not-agreed"]
    assert without_audit(home) == {name: x for name, x in before.items() if "audit" not in name}


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_it_asks_on_a_terminal(home: World, answer: str) -> None:
    BROKEN["an open record"].do(home)
    before = home.snapshot(home.root)
    code, shown = on_terminal(home, answer, "doctor", "--fix")
    assert "audit.jsonl: others have rights to it" in joined(shown)
    assert f"take all rights of others from {home.state}" in joined(shown)
    if answer == "y":
        assert code == 0
        assert "put right: 1" in shown
        assert "everything is fine" in shown
        assert stat.S_IMODE((home.state / "audit.jsonl").stat().st_mode) == 0o600
    else:
        assert code == 77
        assert shown.rstrip().endswith("kmi: nothing was changed")
        assert without_audit(home) == {name: x for name, x in before.items() if "audit" not in name}


def without_audit(home: World) -> dict[str, tuple[object, ...]]:
    """Everything but the record that says what was refused."""
    found = home.snapshot(home.root)
    return {name: value for name, value in found.items() if "audit" not in name}


def joined(text: str) -> str:
    """Text without the line ends that wrapping put there."""
    return re.sub(r"\r?\n(kmi: )? +", " ", text)


def on_terminal(world: World, answer: str, *args: str) -> tuple[int, str]:
    """Run kmi on a pseudo terminal, and answer its question."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kmi", *args],
        cwd=world.cwd, env=world.environment(), stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown, asked, deadline = b"", False, time.monotonic() + 60.0
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break  # the other end is closed
            if not data:
                break
            shown += data
            if not asked and b"[y/N] " in shown:
                asked = True
                os.write(master, answer.encode() + b"\n")
        return process.wait(60.0), shown.decode()
    finally:
        process.kill()
        os.close(master)


def test_a_dry_run_changes_nothing(home: World) -> None:
    BROKEN["an open record"].do(home)
    before = home.snapshot(home.root)
    for args, env in ((["--dry-run"], {}), (["--yes"], {"KMI_DRY_RUN": "1"})):
        done = home.kmi("doctor", "--fix", *args, env=env)
        assert done.returncode == 0
        assert "dry run: nothing was changed" in done.stderr
        assert "take all rights of others" in done.stderr
    assert home.snapshot(home.root) == before


@pytest.mark.parametrize("flag", ["--yes", "--dry-run"])
def test_flags_of_fix_alone_are_a_mistake(home: World, flag: str) -> None:
    assert home.kmi("doctor", flag).returncode == 2


def test_with_bad_settings_nothing_is_repaired(home: World) -> None:
    """They say where kmi's files are: what is looked at may be the wrong place."""
    BROKEN["an open record"].do(home)
    before = home.snapshot(home.root)
    done = home.kmi("doctor", "--fix", "--yes", env={"KMI_STRATEGY": "x"})
    assert done.returncode == 1
    assert "the settings have to be put right first" in done.stderr
    assert home.snapshot(home.root) == before
    document = home.document("doctor", code=1, env={"KMI_STRATEGY": "x"})
    assert not any(finding["fixable"] for finding in document["findings"])


def test_all_is_fixed_at_once_with_one_record(home: World) -> None:
    names = [name for name, broken in BROKEN.items() if broken.fixable and not broken.env]
    clashing = {"a record of a proxy that can't be read", "everything open"}
    for name in names:
        if name not in clashing:
            BROKEN[name].do(home)
    many_open(home)
    audit = len(home.records("audit.jsonl"))
    done = home.kmi("doctor", "--fix", "--yes")
    assert done.returncode == 0, done
    assert done.stdout.endswith("everything is fine\n")
    (record,) = home.records("audit.jsonl")[audit:]
    assert (record["command"], record["outcome"], record["actor"]) == (
        "doctor",
        "changed",
        "tester",
    )
    assert all(repair["done"] for repair in record["repairs"])
    assert "what" not in record["repairs"][0]
    loose = [p for p in home.state.rglob("*") if p.stat().st_mode & 0o077]
    assert loose == []
    assert len(list(home.state.glob("state.json.corrupt-*"))) == 1
    assert home.kmi("doctor", "--fix").returncode == 0


def test_what_could_not_be_done_is_told(home: World) -> None:
    """The others are done all the same, and the record has both."""
    if os.geteuid() != 0 or not settable(home.state / "audit.jsonl", "a"):
        pytest.skip("needs a file that even its owner can't change")
    path = home.state / "runs.jsonl"
    write_private(path, "", 0o644)
    write_private(home.state / f".state.json.kmi-{GONE}-0a0b", "")
    assert settable(path, "i")
    try:
        done = home.kmi("doctor", "--fix", "--yes")
        document = home.document("doctor")
    finally:
        settable(path, "i", on=False)
    assert "warning: not done: take all rights of others" in done.stderr
    assert "put right: 1" in done.stderr
    assert [finding["path"] for finding in wrong_in(document)] == [str(path)]
    assert [r["done"] for r in home.records("audit.jsonl")[-1]["repairs"]] == [False, True]


def settable(path: Path, attribute: str, *, on: bool = True) -> bool:
    """Set an attribute of ext4 and its like; "a" is only tried, and taken back."""
    chattr = shutil.which("chattr")
    if chattr is None:
        return False
    change = f"{'+' if on else '-'}{attribute}"
    done = subprocess.run([chattr, change, str(path)], capture_output=True, check=False)
    if attribute == "a" and on and done.returncode == 0:
        settable(path, attribute, on=False)
    return done.returncode == 0


# The lock, and the proxy.


@pytest.fixture
def holder(home: World) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is ended."""
    code = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(120)\n"
    )
    argv = [sys.executable, "-c", code, str(home.state / "lock")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_who_holds_the_lock_is_named(home: World, holder: subprocess.Popen[str]) -> None:
    (finding,) = wrong_in(home.document("doctor"))
    assert (finding["check"], finding["severity"]) == ("lock", "warning")
    if sys.platform == "linux":
        assert f"process {holder.pid} " in finding["what"]
        assert finding["cure"] == f"kill {holder.pid}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stopped_holder_is_an_error(home: World, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    (finding,) = wrong_in(home.document("doctor", code=1))
    assert "is stopped" in finding["what"]
    assert finding["cure"] == f"kill -CONT {holder.pid}"
    home.command(finding["cure"].split())
    assert wrong_in(home.document("doctor"))[0]["severity"] == "warning"


def test_a_running_proxy(home: World) -> None:
    stale_proxy(home)
    path = home.state / "proxy.json"
    record = json.loads(path.read_text())
    record.update({"pid": os.getpid(), "started_ticks": start_mark(os.getpid())})
    with open(write_private(home.state / "proxy.lock", ""), "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for version, checks in (("0.0.9", ["proxy"]), (record["version"], [])):
            write_private(path, json.dumps({**record, "version": version}))
            document = home.document("doctor")
            assert [finding["check"] for finding in wrong_in(document)] == checks
            (first, *_) = [f for f in document["findings"] if f["subject"] == "proxy"][-1:]
            assert "127.0.0.1:54123" in first["what"]
            assert str(os.getpid()) in first["what"]
        write_private(path, "?")
        (finding,) = wrong_in(home.document("doctor"))
        assert "can't be read" in finding["what"]
        assert not finding["fixable"]


# Disks.


@pytest.mark.parametrize(
    ("room", "severity", "message"),
    [
        (Room(10**9, None, False), "ok", ""),
        (Room(10**9, 1000, False), "ok", ""),
        (Room(30 * 2**20, 1000, False), "warning", "check.nearly-full"),
        (Room(2**20, 1000, False), "error", "check.full"),
        (Room(10**9, 3, False), "error", "check.no-inodes"),
        (Room(10**9, 1000, True), "error", "check.read-only"),
    ],
)
def test_what_a_disk_needs(room: Room, severity: str, message: str) -> None:
    assert trouble(room) == (severity, message)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_and_a_read_only_disk(home: World) -> None:
    small = home.root / "small"
    small.mkdir(mode=0o700)
    script = (
        f"mount -t tmpfs -o size=128k,mode=700 tmpfs {small} && "
        f"{sys.executable} -m kmi doctor --json; mount -o remount,ro {small} && "
        f"{sys.executable} -m kmi doctor --json"
    )
    argv = ["unshare", "--mount", "sh", "-c", script]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = home.command(argv, env={"KMI_STATE_DIR": str(small)})
    if not done.stdout:
        pytest.skip(f"can't mount here: {done.stderr.strip()[:80]}")
    first, end = json.JSONDecoder().raw_decode(done.stdout)
    second = json.loads(done.stdout[end:])
    for document, says in ((first, "the disk is full"), (second, "read-only")):
        (finding,) = [f for f in document["findings"] if f["check"] == "disk" and f["cure"]]
        assert (finding["severity"], finding["path"]) == ("error", str(small))
        assert says in finding["what"]


# Another user: what root can't show.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_owns(home: World) -> None:
    with abroad(home) as there:
        other, moved, uid = there.kmi, there.home, UID
        there.script("kimi", "exit 0\n")  # this Python may be one that only root can start
        there.give()
        done = other("doctor", "--json")
        assert wrong_in(json.loads(done.stdout)) == [], done

        # As after `sudo kmi`: files of root's, which the person can't read or write any more.
        state = there.state
        os.chown(state / "state.json", 0, 0)
        os.chown(there.auths / "alpha.env", 0, 0)
        os.chmod(moved / ".kimi", 0o500)
        os.chmod(there.auths / "beta.env", 0)
        done = other("doctor", "--json")
        found = {finding["check"]: finding for finding in wrong_in(json.loads(done.stdout))}
        assert done.returncode == 1
        assert found["owner"]["severity"] == found["state-file"]["severity"] == "error"
        assert found["owner"]["cure"] == f"sudo chown -R {uid}:{uid} {state}"
        assert "Permission denied" in found["state-file"]["what"]
        assert found["disk"]["path"] == f"{moved}/.kimi"
        assert found["disk"]["cure"] == f"chmod u+wx {moved}/.kimi"
        assert found["auth-file"]["severity"] == "error"

        os.chown(state / "lock", 0, 0)
        os.chmod(state / "lock", 0o600)
        done = other("doctor", "--json")
        found = {finding["check"]: finding for finding in wrong_in(json.loads(done.stdout))}
        assert "can't be locked" in found["lock"]["what"]
        os.chmod(state / "audit.jsonl", 0o644)
        assert other("doctor", "--fix", "--yes").returncode == 77


def test_what_one_has_no_right_to(home: World) -> None:
    with abroad(home) as there:
        (there.auths / "beta.env").chmod(0)
        (there.state / "lock").chmod(0o400)
        (there.state / "state.json").chmod(0)
        there.config().parent.chmod(0o500)
        before = there.command(["ls", "-laR", str(there.home)]).stdout
        found = {item["check"]: item for item in wrong_in(there.document("doctor", code=1))}
        assert found["auth-file"]["path"] == str(there.auths / "beta.env")
        assert "can't be locked" in found["lock"]["what"]
        assert "Permission denied" in found["state-file"]["what"]
        assert found["disk"]["cure"] == f"chmod u+wx {there.config().parent}"
        assert {item["severity"] for item in found.values()} == {"error"}
        assert there.kmi("doctor", "--fix", "--yes").returncode == 1
        assert there.command(["ls", "-laR", str(there.home)]).stdout == before


# Start files.


@pytest.mark.parametrize(
    ("shell", "place", "text", "line"),
    [
        ("bash", ".bashrc", 'x=1\n\neval "$(kmi init bash --no-prompt 2>/dev/null)"\n', 3),
        ("bash", ".bash_profile", "source <(kmi init bash)\n", 1),
        ("bash", ".bashrc", 'command -v kmi >/dev/null && eval "$(kmi init bash)"\n', 1),
        ("zsh", ".zshrc", 'eval "$(kmi init zsh)"\n', 1),
        ("fish", ".config/fish/config.fish", "kmi init fish | source\n", 1),
        ("fish", ".config/fish/conf.d/kmi.fish", "kmi init fish | source\n", 1),
    ],
)
def test_the_line_in_the_start_file(
    home: World, shell: str, place: str, text: str, line: int
) -> None:
    (home.home / ".bashrc").unlink()
    path = write_private(home.home / place, text)
    document = home.document("doctor", env={"SHELL": f"/usr/bin/{shell}"})
    assert wrong_in(document) == []
    (hook,) = [finding for finding in document["findings"] if finding["check"] == "hook"]
    assert (hook["path"], hook["line"]) == (str(path), line)


@pytest.mark.parametrize(
    "text",
    ["", '# eval "$(kmi init bash)"\n', "kmi init bash > ~/.cache/kmi.bash\n", "akmi init bash\n"],
)
def test_no_line_is_no_fault(home: World, text: str) -> None:
    write_private(home.home / ".bashrc", text)
    document = home.document("doctor")
    assert wrong_in(document) == []
    (hook,) = [finding for finding in document["findings"] if finding["check"] == "hook"]
    assert 'eval "$(kmi init bash)"' in hook["what"]


def test_a_line_in_a_file_that_is_sourced(home: World) -> None:
    write_private(home.home / ".bashrc", ". ~/.bash_more\n. ~/.bashrc\n")
    more = write_private(home.home / ".bash_more", 'eval "$(kmi init bash)"\n. ~/.bashrc\n')
    document = home.document("doctor")
    (hook,) = [finding for finding in document["findings"] if finding["check"] == "hook"]
    assert (hook["path"], hook["line"]) == (str(more), 1)


def test_a_kept_script_of_this_kmi(home: World) -> None:
    kept_script(lambda text: text)(home)
    assert wrong_in(home.document("doctor")) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_form_of_a_kept_script_is_known(shell: str) -> None:
    start = ("/opt/my python/python", "/opt/kmi")
    for without in ((), ("wrap",), ("prompt", "completion"), ("completion",)):
        for name, state in (("kimi", ""), ("k", "/home/a b/.kmi")):
            text = shells.init_script(shell, start, name, state, without)
            assert kept_command(shell, text) == (("kmi",) if "wrap" in without else start)
            for damaged in (
                text + "\nmore",
                text.replace("KMI_RUN_ID", "X"),
                text[: len(text) // 2],
            ):
                assert damaged == text or kept_command(shell, damaged) is None


# Screens.


def columns(text: str) -> int:
    return max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in [*text.splitlines(), ""])


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("locale", ["en", "ru"])
def test_screens(home: World, width: int, locale: str) -> None:
    for name in ("an old prompt", "an interpreter that is gone", "an open record"):
        BROKEN[name].do(home)
    env = {**TERMINAL, "COLUMNS": str(width), "KMI_LOCALE": locale, "PYTHONIOENCODING": "utf-8"}
    done = home.kmi("doctor", env=env)
    assert done.returncode == 1
    assert "\x1b[1;31m\u2717\x1b[0m" in done.stdout
    lines = done.stdout.splitlines()
    # A path and a cure stay whole, to be pasted; every other line fits.
    long = [line for line in lines if columns(line) > min(width, 100)]
    assert [line for line in long if str(home.root) not in line and "\u2192" not in line] == []
    summary = {"en": "errors: 1, warnings: 2", "ru": "ошибок: 1, замечаний: 2"}[locale]
    assert summary in lines[-1]
    if locale == "ru":
        assert "не существует" in joined(done.stdout)
        assert not re.search(r"does not exist|everything|others", done.stdout)


def test_plain_screens_are_ascii(home: World) -> None:
    BROKEN["an open record"].do(home)
    for env in ({**TERMINAL, "KMI_PLAIN": "1"}, {"TERM": "dumb"}):
        done = home.kmi(
            "doctor", "-v", env={**env, "KMI_LOCALE": "ru" if "KMI_PLAIN" in env else "en"}
        )
        assert done.stdout.isascii()
        assert "  !! " in done.stdout
        assert "     -> chmod go-rwx " in done.stdout
    quiet = home.kmi("doctor", env={**TERMINAL, "NO_COLOR": "1"})
    assert "\x1b" not in quiet.stdout


def test_more_is_told_with_v(home: World) -> None:
    short, long = home.kmi("doctor").stdout, home.kmi("doctor", "-v").stdout
    assert "KMI_CLIENT from environment" not in short
    assert "KMI_CLIENT from environment" in long
    assert "the lock is free" in long
    assert len(short.splitlines()) < len(long.splitlines())
