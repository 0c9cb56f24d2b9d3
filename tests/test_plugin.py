"""`kmi plugin`: what it writes into the clients' files, and that all of it can be taken back."""

from __future__ import annotations

import datetime
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.errors import ConfigError, KmiError
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.plugin.status_line import status_line
from kmi.plugin.texts import (
    HOOKS,
    find_hooks,
    hooks_for,
    is_ours,
    patch_of,
    status_of,
    undone,
    with_hooks,
    with_status,
    without_hooks,
    without_status,
)
from kmi.selection import Policy
from kmi.state import Active, State
from kmi.urls import parse_base_url
from kmi.wording import Words
from tests.conftest import CLI, CODE, World, config_text, secret_of, write_private
from tests.test_health_command import check_golden

if TYPE_CHECKING:
    from pathlib import Path

OURS = hooks_for(lambda word: f"/opt/k m/kmi hook {word} --client kimi-cli")
THEIRS = "[[hooks]]\nevent = 'Stop'\ncommand = 'kmi hook stop-failure'  # mine\n"

# Texts.

CONFIGS = {
    "empty": "",
    "ordinary": config_text(secret_of("alpha")),
    "no end": "default_model = 'k'",
    "CR LF": config_text(secret_of("alpha")).replace("\n", "\r\n"),
    "BOM": "\ufeff" + config_text(secret_of("alpha")),
    "an empty list": "hooks = [ ]  # none\n[models]\n",
    "an empty list below": "theme = 'x'\nhooks=[]\n",
    "hooks of theirs": f"a = 1\n\n{THEIRS}timeout = 3\n\n[x]\nb = 2\n",
    "hooks at the end": f"[x]\nb = 2\n\n{THEIRS}",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_hooks_go_in_and_out_to_the_byte(name: str) -> None:
    text = CONFIGS[name]
    made = with_hooks(text, OURS, "config.toml")
    data = tomlkit.parse(made.lstrip("\ufeff")).unwrap()
    assert find_hooks(data) == OURS
    before = tomlkit.parse(text.lstrip("\ufeff")).unwrap()
    assert [hook for hook in data["hooks"] if hook not in OURS] == before.get("hooks", [])
    assert {**data, "hooks": 0} == {**before, "hooks": 0}
    assert undone(made, patch_of(text, made)) == text
    # By what they say, where the text is another one by now.
    found = tomlkit.parse(without_hooks(made, "config.toml").lstrip("\ufeff")).unwrap()
    assert {**found, "hooks": found.get("hooks", [])} == {
        **before, "hooks": before.get("hooks", []),
    }  # fmt: skip


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from([*CONFIGS["ordinary"].splitlines(), "", "# x", "[y]", "z = 'ß'"])),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_config_that_is_one_gets_its_bytes_back(lines: list[str], end: str) -> None:
    text = end.join(lines)
    try:
        made = with_hooks(text, OURS, "config.toml")
    except KmiError:
        return  # it is no TOML, or says the same twice
    patch = patch_of(text, made)
    assert undone(made, patch) == text
    # Also when something was put around it since.
    around = f"# before{end}{made}{end}# behind"
    assert undone(around, patch) == f"# before{end}{text}{end}# behind"


def test_hooks_in_a_form_that_kmi_does_not_edit() -> None:
    with pytest.raises(KmiError, match=r"\[\[hooks\]\]"):
        with_hooks("hooks = [{event = 'Stop', command = 'x'}]\n", OURS, "config.toml")


def test_only_what_kmi_wrote_is_ours() -> None:
    assert all(is_ours(hook["command"]) for hook in OURS)
    for command in ("kmi hook stop-failure", "kmi hook stop-failure --client kimi-cli; x", None):
        assert not is_ours(command)


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        ("", "none"),
        ("theme = 'auto'\n", "none"),
        ("# [status_line]\n# command = 'x'\n", "none"),
        ("[status_line]\nitems = ['model']\n", "theirs"),
        ("[status_line]\ncommand = 'date'\n", "theirs"),
    ],
)
def test_a_status_line_is_added_where_there_is_none(text: str, whose: str) -> None:
    assert status_of(text, "tui.toml") == whose
    made = with_status(text, "/home/it's me/.kmi/status-line", "tui.toml") or ""
    if whose == "theirs":
        assert made == text
        return
    assert status_of(made, "tui.toml") == "ours"
    assert undone(made, patch_of(text, made)) == text
    # Kimi Code writes the file anew, with items of its own beside the command.
    anew = f"# written by the client\n{made}items = ['cwd']\n[upgrade]\nauto_install = true\n"
    left = tomlkit.parse(without_status(anew, "tui.toml")).unwrap()
    assert left["status_line"] == {"items": ["cwd"]}
    assert left["upgrade"] == {"auto_install": True}
    assert "status_line" not in tomlkit.parse(without_status(made, "tui.toml")).unwrap()


@pytest.mark.parametrize(
    "form", ["status_line = {{ {} }}\n", "status_line.{}\n", '[status_line]\n"command"{}\n']
)
def test_a_status_line_in_another_form_is_left_to_its_writer(form: str) -> None:
    made = with_status("", "/home/it's me/.kmi/status-line", "tui.toml") or ""
    item = made.splitlines()[1]
    text = form.format(item if '"command"' not in form else item[len("command") :])
    assert status_of(text, "tui.toml") == "ours"
    with pytest.raises(ConfigError, match="edited safely"):
        without_status(text, "tui.toml")


NOW = 1_800_000_000.0  # 08:00 UTC


def line(*keys: KeyState, looked: bool = True, active: bool = True) -> str:
    """The status line of a, with what is known of a, b and so on."""
    url = parse_base_url("https://x.y/v1")
    made = [ApiKey(label, f"id-{label}", "sk", url) for label, _ in zip("abc", keys)]
    state = State({key.key_id: known for key, known in zip(made, keys)})
    holder = Active("id-a", "a", NOW) if active else None
    known = made if looked else None
    utc = datetime.timezone.utc
    return status_line(Words("en"), state, holder, known, Policy(), now=NOW, zone=utc)


def windows(**used: float) -> KeyState:
    ends = {"5h": 3600.0, "7d": 5 * 86400.0}
    names = {"five": "5h", "seven": "7d"}
    return KeyState(
        usage_at=NOW,
        windows={names[n]: Window(share, NOW + ends[names[n]]) for n, share in used.items()},
    )


def test_what_the_status_line_says() -> None:
    out = KeyState(hold=Hold("exhausted", "quota", NOW, NOW + 7200.0, source="ladder"))
    dead = KeyState(hold=Hold("blocked", "dead-key", NOW, None))
    assert line(KeyState(), active=False) == "kmi: no key yet"
    assert line(KeyState()) == "kmi a | no other key"
    assert line(KeyState(), KeyState(), looked=False) == "kmi a"
    assert line(windows(five=0.63, seven=0.1), KeyState()) == (
        "kmi a | 5 h 37% left until 09:00 | next b"
    )
    assert line(windows(five=0.2, seven=0.995)) == (
        "kmi a | 7 d 0% left until 01-20 08:00 | no other key"
    )
    open_ended = KeyState(usage_at=NOW, windows={"5h": Window(0.5, None)})
    assert line(open_ended) == "kmi a | 5 h 50% left | no other key"
    assert line(out, dead, KeyState()) == "kmi a | out until 10:00 | next c"
    assert line(dead, out) == "kmi a | out | first back 10:00"


# Whole commands.


@pytest.fixture
def home(world: World) -> World:
    """Both clients set up, with alpha in them."""
    world.add_keys("alpha", "beta")
    for client in (CLI, CODE):
        world.config_with("alpha", client)
    return world


def clients_files(world: World) -> dict[str, object]:
    """What is in the clients' homes: content and modes, links as they are."""
    found = world.snapshot()
    return {
        name: (mode, content)
        for name, (mode, _, content) in found.items()
        if name.startswith((".kimi/", ".kimi-code/"))
    }


def code_file(world: World, *names: str) -> Path:
    return world.config(CODE).parent.joinpath(*names)


def test_what_is_installed_and_taken_out_again(home: World) -> None:
    before = clients_files(home)
    assert home.kmi("plugin", "install", "--dry-run").returncode == 0
    assert clients_files(home) == before
    done = home.kmi("plugin", "install")
    assert done.returncode == 0, done
    for path in (code_file(home, "plugins", "installed.json"), home.config(CLI)):
        assert str(path) in done.stderr, "it says what it writes"
    assert "KMI_AUTO_ROTATE_ALLOWED=1" in done.stderr
    after = clients_files(home)
    manifest = json.loads(code_file(home, "plugins/managed/kmi/kimi.plugin.json").read_bytes())
    (entry,) = json.loads(code_file(home, "plugins/installed.json").read_bytes())["plugins"]
    assert entry["root"] == str(code_file(home, "plugins", "managed", "kmi"))
    cli = tomlkit.parse(home.config(CLI).read_text()).unwrap()["hooks"]
    for hooks, client in ((manifest["hooks"], CODE), (cli, CLI)):
        assert [(hook["event"], hook["timeout"]) for hook in hooks] == [
            (event, timeout) for event, _, timeout in HOOKS
        ]
        assert all(hook["command"].endswith(f" --client {client}") for hook in hooks)
    # What the hooks start is this very kmi.
    started = home.command(
        ["sh", "-c", cli[0]["command"]], input='{"session_id": "s1"}', env={"PATH": "/usr/bin:/bin"}
    )
    assert (started.returncode, started.stdout) == (0, "")
    assert home.records("runs.jsonl")[-1]["session_id"] == "s1"
    again = home.kmi("plugin", "install")
    assert "already" in again.stderr
    assert clients_files(home) == after
    assert [r["outcome"] for r in home.records("audit.jsonl")[-2:]] == ["changed", "unchanged"]
    assert home.kmi("plugin", "uninstall").returncode == 0
    assert clients_files(home) == before
    assert not (home.state / "plugin.json").exists()
    assert "nothing" in home.kmi("plugin", "uninstall").stderr


def test_what_was_changed_meanwhile_stays(home: World) -> None:
    """A swap, another plugin, other preferences, and a config that kimi-cli has written anew."""
    write_private(code_file(home, "tui.toml"), "theme = 'dark'\n", 0o644)
    code_file(home, "plugins").mkdir()
    installed = {"version": 1, "plugins": [{"id": "mine", "root": "/x", "enabled": True}]}
    write_private(code_file(home, "plugins", "installed.json"), json.dumps(installed))
    assert home.kmi("plugin", "install").returncode == 0
    assert home.kmi("use", "beta", "--client", CLI).returncode == 0
    swapped = home.config(CLI).read_text()
    assert home.kmi("plugin", "uninstall", "--client", CLI).returncode == 0
    assert home.config(CLI).read_text() == config_text(secret_of("beta"))
    anew = tomlkit.parse(swapped).unwrap()
    for hook in anew["hooks"]:
        hook["matcher"] = ""  # kimi-cli writes out what it takes for granted
    write_private(home.config(CLI), tomlkit.dumps(anew))
    done = home.kmi("plugin", "install", "--client", CLI)
    assert "already" in done.stderr, "all of it is there"
    path = code_file(home, "plugins", "installed.json")
    table = json.loads(path.read_bytes())
    table["plugins"].append({"id": "later", "root": "/y", "enabled": False})
    write_private(path, json.dumps(table, indent=2))
    tui = code_file(home, "tui.toml")
    write_private(tui, tui.read_text().replace("dark", "light"), 0o644)
    assert home.kmi("plugin", "uninstall").returncode == 0
    data = tomlkit.parse(home.config(CLI).read_text()).unwrap()
    assert not data.get("hooks")
    assert data["providers"] == tomlkit.parse(swapped).unwrap()["providers"]
    left = json.loads(path.read_bytes())
    assert [entry["id"] for entry in left["plugins"]] == ["mine", "later"]
    assert tui.read_text() == "theme = 'light'\n"
    assert stat.S_IMODE(tui.stat().st_mode) == 0o644
    assert not code_file(home, "plugins", "managed").exists()


def test_links_stay_links_and_copies_are_kept(home: World) -> None:
    dotfiles = home.home / "dotfiles"
    target = write_private(dotfiles / "tui.toml", "theme = 'dark'\n")
    code_file(home, "tui.toml").symlink_to(target)
    assert home.kmi("plugin", "install").returncode == 0
    assert code_file(home, "tui.toml").is_symlink()
    assert "[status_line]" in target.read_text()
    kept = {path.name.partition("-")[0] for path in (home.state / "backups").iterdir()}
    assert kept == {"kimi", "plugin"}
    copy = next((home.state / "backups").glob("plugin-*-tui.toml"))
    assert copy.read_text() == "theme = 'dark'\n"
    assert [b for b in home.document("backups")["backups"] if "plugin" in str(b)] == []
    assert home.kmi("plugin", "uninstall").returncode == 0
    assert target.read_text() == "theme = 'dark'\n"


def test_a_status_line_of_theirs_stays(home: World) -> None:
    write_private(code_file(home, "tui.toml"), "[status_line]\ncommand = 'date'\n")
    done = home.kmi("plugin", "install", "--client", CODE)
    assert "stays" in done.stderr
    assert code_file(home, "tui.toml").read_text() == "[status_line]\ncommand = 'date'\n"
    assert home.document("plugin", "status")["clients"][1]["status_line"] == "theirs"


def test_documents(home: World) -> None:
    for name in ("install", "status", "uninstall"):
        document: Any = home.document("plugin", name)
        text = json.dumps(document)
        for row in document["clients"]:
            if row.get("command"):
                assert os.path.exists(row["command"][-1])
                row["command"] = ["KMI"]
        assert secret_of("alpha") not in text
        check_golden(home, f"plugin-{name}", document)


def test_what_is_refused(home: World) -> None:
    assert home.document("plugin", "install", "--client", CLI, code=78, env={
        "KMI_WRITE_CONFIG": "0"})["error"]["code"]  # fmt: skip
    write_private(code_file(home, "plugins", "installed.json"), '{"version": 2, "plugins": []}')
    before = clients_files(home)
    refused = home.document("plugin", "install", code=78)
    assert refused["error"]["code"] == "unknown-plugins"
    home.config(CLI).unlink()
    refused = home.document("plugin", "install", "--client", CLI, code=78)
    assert refused["error"]["code"] == "no-config"
    before.pop(".kimi/config.toml")
    assert clients_files(home) == before
    assert not (home.state / "plugin.json").exists()


def test_half_an_installation_is_completed_or_taken_out(home: World) -> None:
    """As a kill between two files leaves it."""
    before = clients_files(home)
    assert home.kmi("plugin", "install", "--client", CODE).returncode == 0
    whole = clients_files(home)
    entry = code_file(home, "plugins", "installed.json")
    entry.unlink()
    (row,) = home.document("plugin", "status", "--client", CODE)["clients"]
    assert (row["installed"], row["missing"]) == (False, ["entry"])
    assert home.kmi("plugin", "install", "--client", CODE).returncode == 0
    assert clients_files(home).keys() == whole.keys()
    entry.unlink()
    (home.state / "plugin.json").unlink()
    assert home.kmi("plugin", "uninstall").returncode == 0
    left = set(clients_files(home)) - set(before)
    # Without the record nobody knows who made the folders, and the file for one table.
    assert left <= {".kimi-code/plugins", ".kimi-code/plugins/managed",
                    ".kimi-code/plugins/managed/kmi", ".kimi-code/tui.toml"}  # fmt: skip


def findings(world: World) -> list[tuple[str, str, bool]]:
    """What the doctor says of it, in the clients' order: severity, words, whether it is fixable."""
    found = json.loads(world.kmi("doctor", "--json").stdout)["findings"]
    mine = sorted((f for f in found if f["check"] == "plugin"), key=lambda f: str(f["path"]))
    return [(f["severity"], f["what"], f["fixable"]) for f in mine]


def test_a_moved_installation_is_noticed_and_cured(home: World) -> None:
    assert findings(home) == [], "nothing is said where nothing is installed"
    assert home.kmi("plugin", "install", env={"KMI_LOCALE": "ru"}).returncode == 0
    whole = clients_files(home)
    assert [severity for severity, _, _ in findings(home)] == ["ok", "ok"]
    manifest = code_file(home, "plugins/managed/kmi/kimi.plugin.json")
    (row,) = home.document("plugin", "status", "--client", CLI)["clients"]
    program = row["command"][-1]
    for path in (manifest, home.config(CLI)):
        path.write_text(path.read_text().replace(program, "/nowhere/kmi"))
    for severity, what, fixable in findings(home):
        assert (severity, fixable) == ("error", True)
        assert "/nowhere/kmi" in what
    assert "/nowhere/kmi" in home.kmi("plugin", "status").stdout
    home.kmi("doctor", "--fix", "--yes")
    assert clients_files(home) == whole
    # Another kmi, one that was turned off in the client, and one that was taken out by hand.
    manifest.write_text(manifest.read_text().replace(program, "/bin/sh"))
    home.config(CLI).write_text(config_text(secret_of("alpha")))
    told = findings(home)
    assert [(severity, fixable) for severity, _, fixable in told] == [
        ("warning", True), ("warning", False),
    ]  # fmt: skip
    assert "/bin/sh" in told[0][1]
    assert "by hand" in told[1][1]
    home.kmi("doctor", "--fix", "--yes")
    table = json.loads(code_file(home, "plugins", "installed.json").read_bytes())
    table["plugins"][0]["enabled"] = False
    write_private(code_file(home, "plugins", "installed.json"), json.dumps(table))
    assert [severity for severity, _, _ in findings(home)] == ["warning", "warning"]
    assert "disabled" in findings(home)[0][1]


def test_the_status_line_is_brought_up_to_date_by_every_swap(home: World) -> None:
    home.env["KMI_TIMEZONE"] = "UTC"
    line = home.state / "status-line"
    assert home.kmi("use", "alpha", "--client", CODE).returncode == 0
    assert not line.exists(), "nobody reads it before the plugin is there"
    assert home.kmi("plugin", "install").returncode == 0
    assert line.read_text() == "kmi alpha | next beta\n"
    assert home.kmi("use", "beta", "--client", CODE).returncode == 0
    assert line.read_text() == "kmi beta | next alpha\n"
    assert home.kmi("keys", "disable", "alpha", env={"KMI_LOCALE": "ru"}).returncode == 0
    assert line.read_text().startswith("kmi beta | ")
    assert "другого" in line.read_text()
    # What the client runs: the file, and in a pinned run the key of that.
    command = tomlkit.parse(code_file(home, "tui.toml").read_text()).unwrap()["status_line"]
    shell = ["sh", "-c", str(command["command"])]
    assert home.command(shell).stdout == line.read_text()
    pinned = {"KMI_CLIENT_HOME": "/x", "KMI_ACTIVE_KEY": "gamma"}
    assert home.command(shell, env=pinned).stdout == "kmi gamma (pinned)\n"
    assert home.kmi("plugin", "uninstall").returncode == 0
    assert not line.exists()
    assert home.kmi("use", "beta", "--client", CODE).returncode == 0
    assert not line.exists()
