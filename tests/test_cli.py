"""The command line as a person meets it: real processes in a throw-away home."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from kmi.auth_formats import key_id_of
from kmi.cli import COMMANDS
from tests.conftest import BASE_URL, CLI, CODE, Result, config_text, secret_of, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

ALPHA, BETA, GAMMA = secret_of("alpha"), secret_of("beta"), secret_of("gamma")
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")

OAUTH = f"""\
default_model = "k"
# logged in on Monday
[providers.p]
type = "kimi"
base_url = "{BASE_URL}"
api_key = ""
[providers.p.oauth]
storage = "file"
key = "oauth/kimi-code"

[models.k]
provider = "p"
model = "kimi-for-coding"
max_context_size = 262144
"""


@pytest.fixture
def ready(world: World) -> World:
    """A home with three keys and a kimi-cli config that holds alpha."""
    world.add_keys("alpha", "beta", "gamma")
    world.config_with("alpha")
    return world


def hold_all(world: World, until: str | None = "2999-01-01T00:00:00.000Z") -> None:
    """Put every key of the world out of use."""
    held = {
        "kind": "blocked" if until is None else "exhausted",
        "verdict": "banned" if until is None else "quota-5h",
        "since": "2020-01-01T00:00:00.000Z",
        "until": until,
        "probe_at": None,
    }
    keys = {key_id_of(secret_of(path.stem)): {"hold": held} for path in world.auths.iterdir()}
    write_private(world.state / "state.json", json.dumps({"schema": 1, "keys": keys}))


# Exit codes.


@pytest.mark.parametrize("code", [0, 1, 2, 75, 78, 125, 255])
def test_a_run_ends_with_the_programs_own_code(ready: World, code: int) -> None:
    assert ready.kmi("run", "--", "sh", "-c", f"exit {code}").returncode == code


def test_a_run_hands_stdin_stdout_and_stderr_on(ready: World) -> None:
    done = ready.kmi("run", "--", "sh", "-c", "cat; echo err >&2; exit 3", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\n", "err\n")


def test_a_program_that_is_killed_looks_killed(ready: World) -> None:
    assert ready.kmi("run", "--", "sh", "-c", "kill -TERM $$").returncode == -15


@pytest.mark.parametrize(
    "words, code",
    [
        (["run", "--", "no-such-program"], 127),
        (["run", "--", "./missing"], 127),
        (["run", "--", "not-executable"], 126),
        (["run", "--", "/"], 126),
        (["run", "--", "bad-interpreter"], 126),
        (["run", "-k", "nobody", "--", "true"], 125),
        (["run", "--strategy", "x", "--", "true"], 125),
        (["run"], 125),
        (["run", "--"], 125),
        (["run", "--no-such-option", "--", "true"], 125),
        (["use", "nobody"], 1),
        (["use"], 2),
        (["use", "a", "b"], 2),
        (["keys", "frobnicate"], 2),
        (["config"], 2),
        (["nonsense"], 2),
        (["--nonsense"], 2),
        (["-k", "alpha", "run", "--", "true"], 2),
        (["undo"], 1),
        (["keys", "remove", "alpha"], 77),
        (["undo", "--file", "../x.toml"], 1),
        (["undo", "--file", "kimi-cli-2020.toml"], 1),
    ],
)
def test_exit_codes_of_failures(ready: World, words: list[str], code: int) -> None:
    ready.script("not-executable", "", mode=0o644)
    ready.script("bad-interpreter", "#!/no/such/interpreter\n")
    before = ready.config().read_bytes()
    done = ready.kmi(*words)
    assert done.returncode == code, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("kmi: ")
    assert "Traceback" not in done.stderr
    assert ready.config().read_bytes() == before


def test_all_out_is_75_with_the_time_of_the_first(ready: World) -> None:
    hold_all(ready, "2998-12-31T23:00:00.000Z")
    for words, code in ((["rotate"], 75), (["run", "--", "true"], 125)):
        done = ready.kmi(*words, env={"KMI_TIMEZONE": "UTC"})
        assert done.returncode == code, done
        assert "alpha: exhausted: the 5 hour quota is spent" in done.stderr
        assert "the first is back in" in done.stderr
        assert "2998-12-31 23:00 UTC" in done.stderr
    assert ready.kmi("rotate").returncode == 75
    hold_all(ready, None)
    done = ready.kmi("rotate")
    assert done.returncode == 75
    assert "kmi keys reset" in done.stderr


def test_a_named_key_is_used_although_it_is_out(ready: World) -> None:
    hold_all(ready)
    done = ready.kmi("use", "beta")
    assert done.returncode == 0, done
    assert "warning: 'beta': it was named, although it is exhausted" in done.stderr


def test_no_keys_is_78_with_the_cure(world: World) -> None:
    for words, code in (
        (["use", "x"], 78),
        (["rotate"], 78),
        (["why"], 78),
        (["run", "--", "true"], 125),
    ):
        done = world.kmi(*words)
        assert done.returncode == code, done
        assert "kmi keys add LABEL" in done.stderr
    assert world.kmi("keys").returncode == 0


def test_a_name_that_is_almost_right(ready: World) -> None:
    assert "did you mean alpha?" in ready.kmi("use", "alhpa").stderr
    assert "did you mean rotate?" in ready.kmi("rotat").stderr
    assert "known: alpha, beta, gamma" in ready.kmi("use", "zzz").stderr


def told_on(world: World, words: str, stdout: int) -> tuple[int, list[str]]:
    """The exit code of kmi and its lines on stderr, when it writes to this file."""
    done = subprocess.run(
        [sys.executable, "-m", "kmi", *words.split()],
        cwd=world.cwd,
        env=world.environment({"PYTHONUNBUFFERED": None}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


WRITING = ["keys", "keys --json", "--help", "keys --help", "init bash"]
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")


@unix
@pytest.mark.parametrize("words", WRITING)
def test_a_reader_that_is_gone_is_told_by_nobody(ready: World, words: str) -> None:
    """What goes to a pipe waits in a buffer, which the interpreter emptied when kmi had ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert told_on(ready, words, writer) == (1, [])
    finally:
        os.close(writer)


@needs_full
@pytest.mark.parametrize("words", WRITING)
def test_a_full_disk_is_one_line(ready: World, words: str) -> None:
    with open("/dev/full", "wb") as full:
        code, lines = told_on(ready, words, full.fileno())
    assert (code, len(lines)) == (1, 1), lines
    assert "the system refused: No space left on device" in lines[0]


@needs_full
@pytest.mark.parametrize("words", ["keys", "keys --json"])
def test_more_than_a_buffer_on_a_full_disk_is_one_line(ready: World, words: str) -> None:
    ready.add_keys(*(f"key-{number:03}-{'x' * 50}" for number in range(120)))
    with open("/dev/full", "wb") as full:
        code, lines = told_on(ready, words, full.fileno())
    assert (code, len(lines)) == (1, 1), lines


def test_a_closed_pipe_is_no_traceback(ready: World) -> None:
    kmi = shlex.join([sys.executable, "-m", "kmi"])
    done = ready.command(["sh", "-c", f"{kmi} config show | head -n 1; {kmi} keys >&-"])
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("ts", ["[1]", "5", "null", '{"a": 1}', '"never"'])
def test_a_record_with_no_time_stops_nothing(ready: World, ts: str) -> None:
    write_private(ready.state / "runs.jsonl", f'{{"key": "x", "ts": {ts}}}\n')
    write_private(ready.state / "audit.jsonl", f'{{"command": "use", "ts": {ts}}}\n')
    for words in ("run -k beta -- true", "run --strategy least-recently-used -- true",
                  "use alpha", "rotate", "status", "keys", "audit", "trace", "usage"):  # fmt: skip
        done = ready.kmi(*words.split())
        assert done.returncode == 0, (words, done)


# Help, version, global flags.


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["--plain", "--help"], ["help"]])
def test_help(world: World, words: list[str]) -> None:
    done = world.kmi(*words)
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.help)}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"kimi"}))
def test_help_of_each_command(world: World, name: str) -> None:
    done = world.kmi(name, "--help")
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"usage: kmi {name}")
    assert done.stderr == ""
    assert list(world.home.rglob("*.jsonl")) == []


def test_help_of_an_action(world: World) -> None:
    page = world.kmi("keys", "add", "--help").stdout
    assert "--base-url" in page
    assert world.kmi("help", "keys", "add").stdout == page


def test_help_of_kimi_asks_no_client(world: World) -> None:
    assert world.kmi("help", "kimi").stdout == world.kmi("run", "--help").stdout
    done = world.kmi("help", "rum")
    assert (done.returncode, done.stderr) == (2, "kmi: unknown command 'rum' (did you mean run?)\n")


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["-q", "--version"]])
def test_the_version_and_where_it_is(world: World, words: list[str]) -> None:
    done = world.kmi(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("kmi 0.")
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "keys"],
        ["keys", "--json"],
        ["keys", "list", "--json"],
        ["-q", "keys", "-v", "--json"],
    ],
)
def test_global_flags_before_and_after(ready: World, words: list[str]) -> None:
    done = ready.kmi(*words)
    assert done.returncode == 0, done
    assert [key["label"] for key in json.loads(done.stdout)["keys"]] == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    "words",
    [
        ["-q", "run", "--", "echo", "-q"],
        ["run", "-q", "--", "echo", "-q"],
        ["run", "-q", "echo", "-q"],
    ],
)
def test_flags_after_the_program_are_the_programs(ready: World, words: list[str]) -> None:
    assert ready.kmi(*words).stdout == "-q\n"


def test_quiet_and_verbose(ready: World) -> None:
    assert ready.kmi("use", "beta", "-q").stderr == ""
    assert "now uses 'alpha'" in ready.kmi("use", "alpha").stderr
    verbose = ready.kmi("run", "-v", "--", "true").stderr
    assert "'alpha' (swapped)" in verbose


def test_plain_is_ascii_without_colour(ready: World) -> None:
    for words, env in ((["keys", "--plain"], {}), (["keys"], {"KMI_PLAIN": "1"})):
        done = ready.kmi(*words, env={"FORCE_COLOR": "1", "TERM": "xterm", **env})
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        assert f"...{ALPHA[-4:]}" in done.stdout
        header, first, *_ = done.stdout.splitlines()
        assert header.index("status") == first.index("unknown")


@pytest.mark.parametrize(
    "env, coloured",
    [
        ({"FORCE_COLOR": "1"}, True),
        ({}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "KMI_NO_COLOR": "yes"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colour(ready: World, env: dict[str, str], coloured: bool) -> None:
    done = ready.kmi("keys", env={"TERM": "xterm", **env})
    assert ("\x1b[" in done.stdout) is coloured


def test_output_without_unicode(ready: World) -> None:
    done = ready.kmi(
        "keys", env={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    )
    assert done.returncode == 0, done
    assert ALPHA[-4:] in done.stdout


@pytest.mark.parametrize(
    "flag, words", [("--current", ["current"]), ("--status", ["status"]), ("--rotate", ["rotate"])]
)
def test_flags_of_the_first_kmi(ready: World, flag: str, words: list[str]) -> None:
    ready.env["KMI_DRY_RUN"] = "1"
    for before, after in (([], []), (["--json"], []), ([], ["--json"]), ([], ["--client", CLI])):
        old = ready.kmi(*before, flag, *after)
        new = ready.kmi(*before, *words, *after)
        assert (old.returncode, old.stdout, old.stderr) == (new.returncode, new.stdout, new.stderr)
        assert old.returncode == 0


# The client's own words.

#: A client that shows its arguments and the key that it would use.
FAKE = (
    f"#!{sys.executable}"
    + r"""
import json, os, re, sys
words = sys.argv[1:]
path = os.path.expanduser("~/.kimi/config.toml")
if "--config-file" in words:
    path = words[words.index("--config-file") + 1]
try:
    text = open(path).read()
except OSError:
    text = ""
found = re.findall(r'^api_key *= *"(.*?)"', text, re.M)
names = ("KMI_ACTIVE_KEY", "KIMI_API_KEY", "KMI_RUN_ID")
print(json.dumps({"words": words, "keys": found, **{n: os.environ.get(n) for n in names}}))
"""
)


def asked(done: Result) -> dict[str, Any]:
    """What the fake client said."""
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["login", "--json"], ["acp", "-h"]])
def test_help_of_kimi_is_the_clients(ready: World, words: list[str]) -> None:
    ready.script("kimi", FAKE)
    before = ready.snapshot()
    for call in (["kimi", *words], ["run", "--", "kimi", *words]):
        assert asked(ready.kmi(*call))["words"] == words
    assert ready.snapshot() == before


@pytest.mark.parametrize(
    "words",
    [["--json"], ["-q", "-p", "hi"], ["--status"], ["-k", "beta"], ["--", "x"], ["--plain", ""]],
)
def test_every_word_after_kimi_is_the_clients(ready: World, words: list[str]) -> None:
    ready.script("kimi", FAKE)
    said = asked(ready.kmi("kimi", *words))
    assert said["words"][-len(words) :] == words
    assert said["KMI_ACTIVE_KEY"] == "alpha"


def test_a_client_gets_the_key_that_was_named(ready: World) -> None:
    ready.script("kimi", FAKE)
    said = asked(ready.kmi("run", "-k", "beta", "--", "kimi", "-p", "hi"))
    assert said["keys"] == [BETA]
    assert said["KMI_ACTIVE_KEY"] == "beta"
    assert said["words"][0] == "--config-file"
    again = asked(ready.kmi("kimi", "-p", "hi"))
    assert (again["keys"], again["KMI_ACTIVE_KEY"]) == ([BETA], "beta")
    assert again["words"][1] != said["words"][1]
    third = asked(ready.kmi("kimi", "-p", "hi"))  # the quick way
    assert (third["keys"], third["KMI_ACTIVE_KEY"]) == ([BETA], "beta")
    runs = ready.records("runs.jsonl")
    assert [run["label"] for run in runs] == ["beta"] * 3
    assert [run["run"] for run in runs] == [
        said["KMI_RUN_ID"],
        again["KMI_RUN_ID"],
        third["KMI_RUN_ID"],
    ]
    # The private copies of runs that are over are gone.
    assert len(list((ready.state / "pins").iterdir())) == 1


def test_an_exported_key_is_unset_and_told(ready: World) -> None:
    ready.script("kimi", FAKE)
    for _ in range(2):
        done = ready.kmi("kimi", env={"KIMI_API_KEY": "sk-kimi-stale"})
        said = asked(done)
        assert said["KIMI_API_KEY"] is None
        assert said["keys"] == [ALPHA]
        assert "KIMI_API_KEY is exported and would replace the key 'alpha'" in done.stderr
        assert "stale" not in done.stderr


def test_a_run_inside_a_run_keeps_the_key(ready: World) -> None:
    kmi = shlex.join([sys.executable, "-m", "kmi"])
    for inner, expected in (("", "beta"), ("-k gamma", "gamma")):
        done = ready.kmi(
            "run", "-k", "beta", "--", "sh", "-c", f"{kmi} use alpha -q; {kmi} run {inner} -- env"
        )
        assert done.returncode == 0, done
        assert f"KMI_ACTIVE_KEY={expected}\n" in done.stdout
        assert "KMI_DEPTH=2\n" in done.stdout


# Reading commands and their documents.

KEY = {"label", "key_id", "masked", "status", "reason", "active", "base_url", "priority", "email"}
KEY |= {"max_concurrency", "file"}


def test_keys_document(ready: World) -> None:
    ready.add_key("beta", KEY_PRIORITY=5, ACCOUNT_EMAIL="ada@example.com", KEY_DISABLED=1)
    document = ready.document("keys")
    assert set(document) == {"schema", "directory", "keys"}
    assert document["directory"] == str(ready.auths)
    assert [set(key) for key in document["keys"]] == [KEY] * 3
    beta, alpha, gamma = document["keys"]
    assert (beta["label"], beta["status"], beta["priority"]) == ("beta", "disabled", 5)
    assert beta["email"] == "ada@example.com"
    assert alpha["masked"] == f"\u2026{ALPHA[-4:]}"
    assert alpha["key_id"] == key_id_of(ALPHA)
    assert alpha["file"] == str(ready.auths / "alpha.env")
    assert (gamma["status"], gamma["active"], gamma["base_url"]) == ("unknown", False, BASE_URL)


def test_current(ready: World) -> None:
    assert ready.kmi("current").stdout == "alpha\n"
    assert ready.document("current") == {
        "schema": 1,
        "client": CLI,
        "label": "alpha",
        "key_id": key_id_of(ALPHA),
        "live": "match",
        "source": "config",
        "status": "unknown",
        "reason": "its quota is not known",
        "left": None,
    }
    ready.kmi("use", "beta")
    assert ready.kmi("current").stdout == "beta\n"


@pytest.mark.parametrize(
    "text, live, label, why",
    [
        (None, "none", None, "does not exist"),
        ("", "none", None, "holds no API key"),
        (config_text("sk-kimi-somebody-elses"), "differs", None, "none of kmi's"),
        (config_text(GAMMA), "differs", "gamma", "kmi had put 'beta' there"),
        (OAUTH, "login", None, "OAuth login"),
        ("x = ", "broken", None, "not valid TOML"),
    ],
)
def test_current_tells_what_the_config_really_holds(
    ready: World, text: str | None, live: str, label: str | None, why: str
) -> None:
    assert ready.kmi("use", "beta").returncode == 0
    if text is None:
        ready.config().unlink()
    else:
        ready.write_config(CLI, text)
    done = ready.kmi("current", "--client", CLI)
    assert (done.returncode, done.stdout) == ((0, f"{label}\n") if label else (1, ""))
    assert why in done.stderr
    document = ready.document("current", "--client", CLI, code=done.returncode)
    assert (document["live"], document["label"]) == (live, label)


def test_current_inside_a_run(ready: World) -> None:
    kmi = shlex.join([sys.executable, "-m", "kmi"])
    done = ready.kmi("run", "-k", "beta", "--", "sh", "-c", f"{kmi} current --json")
    document = json.loads(done.stdout)
    assert (document["label"], document["source"]) == ("beta", "run")


def test_status_document(ready: World) -> None:
    ready.kmi("run", "-k", "beta", "--", "true")
    ready.kmi("keys", "disable", "gamma")
    document = ready.document("status")
    assert set(document) >= {
        *("schema", "mode", "client", "active_key", "strategy", "auto_rotate_allowed", "upstream"),
        *("directories", "clients", "counts", "keys"),
    }
    assert (document["mode"], document["client"], document["active_key"]) == ("live", CLI, "beta")
    assert document["directories"] == {"auths": str(ready.auths), "state": str(ready.state)}
    assert set(document["clients"]) == {CLI, CODE}
    assert document["clients"][CLI] == {
        "config": str(ready.config()),
        "label": "beta",
        "key_id": key_id_of(BETA),
        "live": "match",
        "explanation": "",
    }
    assert document["clients"][CODE]["live"] == "none"
    assert document["counts"] == {"total": 3, "unknown": 2, "disabled": 1}
    keys = {key["label"]: key for key in document["keys"]}
    assert set(keys["beta"]) == {
        "label",
        "key_id",
        "active",
        "status",
        "reason",
        "left",
        "last_used",
    }
    assert (keys["beta"]["active"], keys["alpha"]["active"]) == (True, False)
    assert keys["beta"]["last_used"] is not None
    assert keys["alpha"]["last_used"] is None
    text = ready.kmi("status").stdout
    assert f"* {CLI}: beta" in text
    assert ready.document("status", env={"KMI_DRY_RUN": "1"})["mode"] == "dry-run"


def test_why_document(ready: World) -> None:
    ready.kmi("keys", "disable", "gamma")
    document = ready.document("why")
    assert set(document) >= {
        "schema",
        "client",
        "strategy",
        "picked",
        "code",
        "reason",
        "back_at",
        "keys",
    }
    assert (document["picked"], document["code"], document["strategy"]) == (
        "alpha",
        "active",
        "sticky",
    )
    rows = {row["label"]: row for row in document["keys"]}
    assert all(
        set(row) == {"label", "key_id", "picked", "status", "left", "why"} for row in rows.values()
    )
    assert rows["beta"]["why"] == "usable, but alpha is active (sticky)"
    assert rows["gamma"]["why"].startswith("disabled")
    assert ready.document("why", "--strategy", "round-robin")["picked"] == "beta"
    assert ready.document("why", "--rotate")["strategy"] == "rotate"
    hold_all(ready)
    out = ready.document("why")
    assert (out["picked"], out["code"]) == (None, "all-out")
    assert out["back_at"] == "2999-01-01T00:00:00.000Z"
    assert ready.kmi("why").stdout.startswith("no key: ")


def test_reading_commands_write_nothing(ready: World) -> None:
    ready.kmi("use", "beta")
    before = ready.snapshot()
    for words in (["current"], ["status"], ["why"], ["keys"], ["backups"], ["config", "show"]):
        for more in ([], ["--json"]):
            assert ready.kmi(*words, *more).returncode == 0
    ready.kmi("config", "validate")
    ready.kmi("doctor")
    ready.kmi("config", "path")
    assert ready.snapshot() == before


def test_config_path(world: World) -> None:
    assert world.document("config", "path")["paths"] == {
        "auths": str(world.auths),
        "env": str(world.env_file),
        "state": str(world.state),
        CLI: str(world.config()),
        CODE: str(world.config(CODE)),
    }


def test_config_validate_when_all_is_well(ready: World) -> None:
    done = ready.kmi("config", "validate")
    assert (done.returncode, done.stdout) == (0, "everything is valid\n")
    document = ready.document("config", "validate")
    assert document["ok"]
    assert {finding["severity"] for finding in document["findings"]} == {"ok"}


def test_config_validate_looks_at_everything(ready: World) -> None:
    ready.write_config(CLI, "a = 1\nb = \n")
    ready.write_config(CODE, config_text(ALPHA), mode=0o644)
    write_private(ready.state / "state.json", '{"schema": 9}')
    write_private(ready.auths / "bad.toml", "api_key = 5\n")
    document = ready.document("config", "validate", code=78)
    wrong = [f for f in document["findings"] if f["severity"] != "ok"]
    found = {(f["path"], f["line"]): f["severity"] for f in wrong}
    assert found[str(ready.config()), 2] == "error"
    assert found[str(ready.config(CODE)), None] == "warning"
    assert found[str(ready.auths / "bad.toml"), 1] == "error"
    assert found[str(ready.state / "state.json"), None] == "error"
    assert stat.S_IMODE(ready.config(CODE).stat().st_mode) == 0o644


# Errors as documents.


@pytest.mark.parametrize(
    "words, code, word",
    [
        (["use", "nobody"], 1, "no-such-key"),
        (["use"], 2, "usage"),
        (["nonsense"], 2, "usage"),
        (["--nonsense"], 2, "usage"),
        (["keys", "add", "-x"], 2, "usage"),
        (["keys", "rename", "alpha", "a b"], 2, "usage"),
        (["undo"], 1, "failed"),
        (["keys", "remove", "alpha"], 77, "refused"),
    ],
)
def test_an_error_is_one_document(ready: World, words: list[str], code: int, word: str) -> None:
    for call in (["--json", *words], [*words, "--json"]):
        done = ready.kmi(*call)
        assert done.returncode == code, done
        document = json.loads(done.stdout)
        assert set(document) == {"schema", "error"}
        assert document["schema"] == 1
        assert set(document["error"]) == {"code", "message", "fix"}
        assert document["error"]["code"] == word
        assert document["error"]["message"] in done.stderr


def test_a_config_error_is_one_document(ready: World) -> None:
    document = ready.document("use", "beta", code=78, env={"KMI_DRY_RUN": "ture"})
    assert document["error"]["code"] == "config"
    hold_all(ready)
    assert ready.document("rotate", code=75)["error"]["code"] == "all-out"


# Swapping.


def test_use_changes_the_key_and_nothing_else(ready: World) -> None:
    before = ready.config().read_bytes()
    document = ready.document("use", "beta")
    assert document == {
        "schema": 1,
        "client": CLI,
        "label": "beta",
        "key_id": key_id_of(BETA),
        "before": "alpha",  # as the config says: kmi swapped nothing in before
        "changed": True,
        "code": "named",
        "reason": "it was named",
    }
    assert ready.config().read_bytes() == before.replace(ALPHA.encode(), BETA.encode())
    assert (ready.state / "prompt").read_text() == "beta\n"
    assert ready.saved_state()["active"][CLI]["label"] == "beta"
    again = ready.document("use", "beta")
    assert (again["changed"], again["before"]) == (False, "beta")


def test_rotate_goes_through_keys_that_tie(ready: World) -> None:
    seen = []
    for _ in range(4):
        assert ready.kmi("rotate").returncode == 0
        seen.append(ready.kmi("current").stdout.strip())
    assert sorted(seen[:3]) == ["alpha", "beta", "gamma"]
    assert seen[3] == seen[0]
    stays = ready.document("rotate", env={"KMI_ROTATE_ON_TIE": "0"})
    assert (stays["code"], stays["changed"]) == ("stays", False)


def test_every_change_is_in_the_audit_once(ready: World) -> None:
    ready.kmi("use", "beta")
    ready.kmi("use", "beta")
    ready.kmi("use", "nobody")
    ready.kmi("undo")
    ready.kmi("undo")
    ready.kmi("keys", "disable", "gamma")
    ready.kmi("keys", "reset")
    ready.kmi("use", "alpha", env={"KMI_WRITE_CONFIG": "0", "KMI_AUDIT_ACTOR": "Ada"})
    audit = ready.records("audit.jsonl")
    assert [(a["command"], a["outcome"]) for a in audit] == [
        ("use", "changed"),
        ("use", "unchanged"),
        ("use", "denied"),
        ("undo", "changed"),
        ("undo", "denied"),
        ("keys disable", "changed"),
        ("keys reset", "unchanged"),
        ("use", "denied"),
    ]
    assert all(a["schema"] == 1 and a["event"] == "audit" and a["ts"].endswith("Z") for a in audit)
    assert [a["actor"] for a in audit] == ["tester"] * 7 + ["Ada"]
    assert (audit[0]["before"], audit[0]["after"]) == ("alpha", "beta")


def test_a_config_of_both_clients(ready: World) -> None:
    ready.config_with("alpha", CODE)
    assert ready.kmi("use", "beta", "--client", CODE).returncode == 0
    assert ALPHA.encode() in ready.config().read_bytes()
    assert BETA.encode() in ready.config(CODE).read_bytes()
    assert ready.kmi("current", "--client", CLI).stdout == "alpha\n"
    assert ready.kmi("current").stdout == "beta\n"  # Kimi Code is the default where both are


@pytest.mark.parametrize("client", [CLI, CODE])
def test_without_a_config_the_smallest_is_made_and_taken_back(world: World, client: str) -> None:
    world.add_keys("alpha")
    assert world.kmi("use", "alpha", "--client", client).returncode == 0
    path = world.config(client)
    assert ALPHA in path.read_text()
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (
        0o600,
        0o700,
    )
    assert world.kmi("undo", "--client", client).returncode == 0
    assert not path.exists()
    # One that was changed since is not removed.
    world.kmi("use", "alpha", "--client", client)
    path.write_text(path.read_text() + "# mine\n")
    done = world.kmi("undo", "--client", client)
    assert done.returncode == 78
    assert path.read_text().endswith("# mine\n")


def test_undo_gives_the_very_bytes_back(ready: World) -> None:
    before = ready.config().read_bytes()
    for label in ("beta", "gamma"):
        ready.kmi("use", label)
    assert ready.kmi("undo").returncode == 0
    assert ready.config().read_bytes() == before.replace(ALPHA.encode(), BETA.encode())
    assert ready.kmi("current").stdout == "beta\n"
    assert ready.kmi("undo").returncode == 0
    assert ready.config().read_bytes() == before
    assert ready.kmi("undo").returncode == 1


def test_undo_keeps_what_others_changed(ready: World) -> None:
    before = ready.config().read_text()
    ready.kmi("use", "beta")
    ready.config().write_text(ready.config().read_text().replace("'dark'", "'light'") + "# new\n")
    assert ready.kmi("undo").returncode == 0
    assert ready.config().read_text() == before.replace("'dark'", "'light'") + "# new\n"


def test_backups_are_kept_and_put_back_whole(ready: World) -> None:
    before = ready.config().read_bytes()
    for label in ("beta", "gamma") * 6:
        ready.kmi("use", label)
    rows = ready.document("backups")["backups"]
    assert len(rows) == 10
    assert set(rows[0]) == {"name", "client", "bytes", "at", "before", "key_then"}
    assert [row["name"] for row in rows] == sorted((row["name"] for row in rows), reverse=True)
    assert rows[0]["key_then"] == "beta"
    for path in (ready.state / "backups").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ready.config().write_text("# everything lost\n")
    assert ready.kmi("undo", "--file", rows[0]["name"]).returncode == 0
    assert ready.config().read_bytes() == before.replace(ALPHA.encode(), BETA.encode())
    assert ready.kmi("current", "--client", CLI).stdout == "beta\n"


# Files that are not as usual.


def test_a_link_stays_a_link(ready: World) -> None:
    real = ready.home / "dotfiles" / "kimi.toml"
    before = ready.config().read_bytes()
    write_private(real, before)
    ready.config().unlink()
    ready.config().symlink_to(real)
    assert ready.kmi("use", "beta").returncode == 0
    assert os.readlink(ready.config()) == str(real)
    assert real.read_bytes() == before.replace(ALPHA.encode(), BETA.encode())
    assert os.listdir(real.parent) == ["kimi.toml"]
    assert ready.kmi("undo").returncode == 0
    assert real.read_bytes() == before
    assert ready.config().is_symlink()


@pytest.mark.parametrize("target", ["/nowhere/config.toml", "config.toml"])
def test_a_link_that_leads_nowhere_is_refused(ready: World, target: str) -> None:
    ready.config().unlink()
    ready.config().symlink_to(target)
    done = ready.kmi("use", "beta", "--client", CLI)
    assert done.returncode == 77, done
    assert "link" in done.stderr
    assert os.readlink(ready.config()) == target


@unix
@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_refused_at_once(ready: World, kind: str) -> None:
    ready.config().unlink()
    if kind == "directory":
        ready.config().mkdir()
    else:
        os.mkfifo(ready.config())
    done = ready.kmi("use", "beta", "--client", CLI)
    assert done.returncode == 77, done
    assert "not a regular file" in done.stderr


@unix
def test_a_read_only_config_is_refused_and_unchanged(ready: World) -> None:
    ready.config().chmod(0o400)
    before = ready.snapshot(ready.config().parent)
    done = ready.kmi("use", "beta")
    assert done.returncode == 77, done
    assert "read-only" in done.stderr
    assert "chmod u+w" in done.stderr
    assert ready.snapshot(ready.config().parent) == before
    assert ready.kmi("use", "alpha").returncode == 0  # nothing to change


@unix
@pytest.mark.parametrize("label", ["alpha", "beta"])
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_config_that_others_can_read_is_tightened_and_told(
    ready: World, label: str, mode: int
) -> None:
    ready.config().chmod(mode)
    done = ready.kmi("use", label)
    assert done.returncode == 0, done
    assert stat.S_IMODE(ready.config().stat().st_mode) == 0o600
    assert f"{ready.config()} could be read by others; it is 0600 now" in done.stderr


@unix
def test_hard_links_are_told(ready: World) -> None:
    other = ready.home / "hard-link"
    os.link(ready.config(), other)
    before = other.read_bytes()
    done = ready.kmi("use", "beta")
    assert "2 hard links" in done.stderr
    assert other.read_bytes() == before


def test_a_config_in_odd_places(ready: World) -> None:
    home = ready.home / "a b\n\u00e9'\"$(x)"
    path = write_private(home / "config.toml", config_text(ALPHA))
    done = ready.kmi("use", "beta", "--client", CLI, env={"KIMI_SHARE_DIR": str(home)})
    assert done.returncode == 0, done
    assert path.read_text() == config_text(BETA)
    relative = write_private(ready.cwd / "share" / "config.toml", config_text(ALPHA))
    assert (
        ready.kmi("use", "beta", "--client", CLI, env={"KIMI_SHARE_DIR": "share"}).returncode == 0
    )
    assert relative.read_text() == config_text(BETA)
    done = ready.kmi("use", "beta", "--client", CODE, env={"KIMI_CODE_HOME": ""})
    assert done.returncode == 78
    assert "unset KIMI_CODE_HOME" in done.stderr


@pytest.mark.parametrize(
    "data, what",
    [
        (b"a = 1\nb = \n", ":2: not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than 1024 KiB"),
        (b"[[providers.p]]\n", "not a set of tables"),
    ],
)
def test_a_config_that_is_not_valid_is_told_and_unchanged(
    ready: World, data: bytes, what: str
) -> None:
    ready.write_config(CLI, data)
    done = ready.kmi("use", "beta", "--client", CLI)
    assert done.returncode == 78, done
    assert what in done.stderr
    assert str(ready.config()) in done.stderr
    assert ready.config().read_bytes() == data
    assert os.listdir(ready.config().parent) == ["config.toml"]


def test_home_unset_or_relative(ready: World) -> None:
    done = ready.kmi("use", "beta", env={"HOME": "relative"})
    assert done.returncode == 78
    assert "HOME" in done.stderr
    assert os.listdir(ready.cwd) == []


# Dry runs and KMI_WRITE_CONFIG=0.

CHANGES = [
    ["use", "beta"],
    ["rotate"],
    ["run", "--", "touch", "started"],
    ["run", "-k", "beta", "--", "touch", "started"],
    ["kimi", "-p", "hi"],
    ["undo"],
    ["keys", "add", "new"],
    ["keys", "remove", "gamma"],
    ["keys", "rename", "gamma", "delta"],
    ["keys", "import"],
    ["keys", "disable", "gamma"],
    ["keys", "enable", "gamma"],
    ["keys", "reset"],
    ["keys", "check"],
]


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
@pytest.mark.parametrize("fresh", [False, True], ids=["used", "fresh"])
def test_a_dry_run_writes_nothing(ready: World, words: list[str], fresh: bool) -> None:
    ready.script("kimi", FAKE)
    ready.write_config(
        CODE, config_text("sk-kimi-not-known-yet-0123", base_url="https://api.moonshot.ai/v1")
    )
    if not fresh:
        ready.kmi("use", "gamma", "--client", CLI)
    ready.env.update({"KMI_DRY_RUN": "1", "KMI_CLIENT": CLI})
    before = ready.snapshot(ready.root)
    for json_too in ([], ["--json"]):
        options = json_too if words[0] not in {"run", "kimi"} else []
        done = ready.kmi(*words, *options, input=f"{secret_of('new')}\n")
        if words == ["undo"] and fresh:
            assert done.returncode == 1
            continue
        assert done.returncode == 0, done
        assert "warning: dry run: no client config is written" in done.stderr
        assert words[0] != "keys" or "kmi: would " in done.stderr
        if options:
            assert json.loads(done.stdout)["schema"] == 1
        assert not any(
            s in done.stdout + done.stderr for s in (ALPHA, BETA, GAMMA, secret_of("new"))
        )
    assert ready.snapshot(ready.root) == before


@pytest.mark.parametrize("words", [["use", "beta"], ["rotate"], ["run", "-k", "beta"], ["undo"]])
def test_the_option_for_a_dry_run(ready: World, words: list[str]) -> None:
    ready.kmi("use", "gamma")
    before = ready.snapshot()
    more = ["--", "true"] if words[0] == "run" else []
    done = ready.kmi(*words, "--dry-run", *more)
    assert done.returncode == 0, done
    assert f'-api_key  = "\u2026{GAMMA[-4:]}"      # the key' in done.stdout
    assert ready.snapshot() == before


def test_a_dry_run_tells_what_would_be_picked(ready: World) -> None:
    document = ready.document("use", "beta", "--dry-run")
    assert (document["dry_run"], document["label"], document["client"]) == (True, "beta", CLI)
    assert any(line.startswith("+api_key") for line in document["diff"])


def test_nothing_is_written_when_that_is_forbidden(ready: World) -> None:
    ready.script("kimi", FAKE)
    ready.env["KMI_WRITE_CONFIG"] = "0"
    before = ready.snapshot(ready.config().parent)
    for words in (["use", "beta"], ["rotate"]):
        done = ready.kmi(*words)
        assert done.returncode == 78
        assert "KMI_WRITE_CONFIG=0" in done.stderr
    said = asked(ready.kmi("run", "-k", "beta", "--", "kimi", "-p", "hi"))
    assert said["keys"] == [BETA]
    other = ready.kmi("run", "-k", "beta", "--", "env").stdout
    assert f"KIMI_API_KEY={BETA}" in other
    assert ready.snapshot(ready.config().parent) == before


# Beside a login.


@pytest.mark.parametrize("client", [CLI, CODE])
def test_a_run_beside_a_login_is_pinned_and_the_config_untouched(world: World, client: str) -> None:
    world.add_keys("alpha")
    path = world.write_config(client, OAUTH)
    world.script(
        "kimi",
        FAKE.replace("~/.kimi/config.toml", "$HOMES/config.toml")
        .replace("os.path.expanduser(", "os.path.expandvars(")
        .replace("$HOMES", "$KIMI_CODE_HOME"),
    )
    for _ in range(2):
        done = world.kmi("kimi", "-p", "hi", env={"KMI_CLIENT": client})
        said = asked(done)
        assert said["keys"] == [ALPHA]
        assert "OAuth login" in done.stderr
        assert "--adopt" in done.stderr
        assert path.read_text() == OAUTH
    assert world.records("runs.jsonl")[-1]["mode"] == "pinned"
    done = world.kmi("use", "alpha", "--client", client)
    assert done.returncode == 78
    assert "--adopt" in done.stderr


@pytest.mark.parametrize("client", [CLI, CODE])
@pytest.mark.parametrize("words", [["use", "alpha"], ["rotate"], ["run", "-k", "alpha"]])
def test_adopting_beside_a_login_and_taking_it_back(
    world: World, client: str, words: list[str]
) -> None:
    world.add_keys("alpha", "beta")
    path = world.write_config(client, OAUTH)
    more = ["--", "true"] if words[0] == "run" else []
    done = world.kmi(*words, "--adopt", "--client", client, *more)
    assert done.returncode == 0, done
    text = path.read_text()
    assert 'default_model = "kmi"' in text
    assert ALPHA in text
    assert "# logged in on Monday" in text
    assert "oauth/kimi-code" in text
    assert world.kmi("use", "beta", "--client", client).returncode == 0
    assert BETA in path.read_text()
    for _ in range(2):
        assert world.kmi("undo", "--client", client).returncode == 0
    assert path.read_text() == OAUTH


# Keys.


@unix
def test_adding_a_key(world: World) -> None:
    secret = secret_of("new")
    words = ["--base-url", "https://api.moonshot.ai/v1", "--priority", "3", "--email", "a@b.c"]
    done = world.kmi("keys", "add", "team/new", *words, input=f"  {secret}  \nmore\n")
    assert done.returncode == 0, done
    key = world.document("keys")["keys"][0]
    assert (key["label"], key["priority"], key["email"]) == ("team/new", 3, "a@b.c")
    assert key["base_url"] == "https://api.moonshot.ai/v1"
    (path,) = world.auths.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert world.files_with(secret) == [f"kmi-auths/{path.name}"]
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words, given, code, why",
    [
        (["new"], "", 1, "empty"),
        (["new"], "sk-your-key\n", 1, "placeholder"),
        (["new"], "short\n", 1, "between 8"),
        (["new"], "two words and more\n", 1, "blank"),
        (["new"], f"{ALPHA}\n", 1, "this key is there already, as 'alpha'"),
        (["alpha"], f"{secret_of('x')}\n", 1, "there is a key 'alpha' already"),
        (["a b"], "", 2, "label"),
        (["-x"], "", 2, ""),
        (["new", "--base-url", "http://evil.com"], f"{secret_of('x')}\n", 2, "plain http"),
        (["new", "--priority", "high"], "", 2, "invalid int"),
        (["new", secret_of("argument")], "", 2, "a key is no argument"),
        (["sk-kimi-ofnothingbutletters"], "", 2, "looks like an API key"),
    ],
)
def test_what_is_not_added(ready: World, words: list[str], given: str, code: int, why: str) -> None:
    before = ready.snapshot(ready.auths)
    done = ready.kmi("keys", "add", *words, input=given)
    assert done.returncode == code, done
    assert why in done.stderr
    assert ready.snapshot(ready.auths) == before
    assert secret_of("argument") not in done.stderr


def test_a_base_url_that_is_not_allowed_is_not_added(world: World) -> None:
    world.env["KMI_UPSTREAM_ALLOWLIST"] = "api.kimi.com"
    done = world.kmi("keys", "add", "x", "--base-url", "https://evil.com", input=secret_of("x"))
    assert done.returncode == 77
    assert list(world.auths.iterdir()) == []


def test_removing_a_key_keeps_a_copy(ready: World) -> None:
    done = ready.kmi("keys", "remove", "beta", "--yes")
    assert done.returncode == 0, done
    assert not (ready.auths / "beta.env").exists()
    (copy,) = (ready.state / "backups" / "keys").iterdir()
    assert BETA in copy.read_text()
    assert str(copy) in done.stderr
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [key["label"] for key in ready.document("keys")["keys"]] == ["alpha", "gamma"]


def test_a_key_in_a_file_of_several_is_not_removed(world: World) -> None:
    text = f'providers.a.api_key = "{ALPHA}"\nproviders.b.api_key = "{BETA}"\n'
    path = write_private(world.auths / "team.toml", text)
    done = world.kmi("keys", "remove", "team/a", "--yes")
    assert done.returncode == 1
    assert "team/b" in done.stderr
    assert path.read_text() == text
    assert world.kmi("keys", "rename", "team/a", "x").returncode == 1
    assert path.read_text() == text


@pytest.mark.parametrize(
    "name, text",
    [
        ("f.env", f"# mine\nKMI_API_KEY={ALPHA}"),
        ("f.env", f"export KMI_KEY_LABEL='f' # name\r\nKMI_API_KEY={ALPHA}\r\n"),
        ("f.toml", f"# mine\napi_key = '{ALPHA}'\n"),
        ("f.json", json.dumps({"api_key": ALPHA, "email": "\u00e9@b.c"})),
        ("f.json.bak", json.dumps({"label": "f", "api_key": ALPHA})),
    ],
)
def test_renaming_keeps_everything_else(world: World, name: str, text: str) -> None:
    path = write_private(world.auths / name, text)
    assert world.kmi("use", "f", "--client", CLI).returncode == 0
    world.kmi("keys", "disable", "f")
    done = world.kmi("keys", "rename", "f", "new/name")
    assert done.returncode == 0, done
    key = world.document("keys")["keys"][0]
    assert (key["label"], key["status"], key["active"]) == ("new/name", "disabled", True)
    assert key["key_id"] == key_id_of(ALPHA)
    assert (world.state / "prompt").read_text().split()[0] == "new/name"
    assert ("# mine" in path.read_text()) is ("# mine" in text)
    assert world.kmi("current", "--client", CLI).stdout == "new/name\n"


def test_disabling_enabling_and_resetting(ready: World) -> None:
    assert ready.document("keys", "disable", "beta") == {
        "schema": 1,
        "label": "beta",
        "disabled": True,
    }
    assert ready.document("why", "--rotate")["picked"] == "gamma"
    assert ready.document("keys", "enable", "beta")["disabled"] is False
    hold_all(ready)
    assert ready.document("keys", "reset", "beta")["cleared"] == ["beta"]
    assert ready.document("why")["picked"] == "beta"
    assert ready.document("keys", "reset")["cleared"] == ["alpha", "gamma"]
    assert ready.kmi("keys", "reset", "nobody").returncode == 1


def test_importing_what_the_clients_hold(world: World) -> None:
    world.write_config(CLI, config_text(ALPHA))
    world.write_config(
        CODE,
        config_text(BETA, base_url="https://api.moonshot.ai/v1")
        + f"""
[providers.again]
type = "kimi"
base_url = "{BASE_URL}"
api_key = "{ALPHA}"
[providers.login]
type = "kimi"
oauth = {{ key = "x" }}
""",
    )
    done = world.kmi("keys", "import")
    assert done.returncode == 0, done
    keys = world.document("keys")["keys"]
    assert sorted((key["key_id"], key["base_url"]) for key in keys) == sorted(
        [(key_id_of(ALPHA), BASE_URL), (key_id_of(BETA), "https://api.moonshot.ai/v1")]
    )
    again = world.kmi("keys", "import")
    assert again.returncode == 0
    assert len(list(world.auths.iterdir())) == 2
    assert done.stderr.count("is stored") == 2


# Nothing leaks.


def encodings(secret: str) -> list[str]:
    """The forms in which a secret could show: whole, or its last 8 characters."""
    plain = secret.encode()
    forms = [secret, secret[-8:], urllib.parse.quote(secret, safe=""), plain.hex(), secret[::-1]]
    for start in range(3):
        whole = base64.b64encode(plain[start:]).decode().rstrip("=")
        forms.append(whole[: len(whole) // 4 * 4 - 4])
    return forms


EVERY_COMMAND = [
    ["keys"],
    ["keys", "-v"],
    ["keys", "add", "delta"],
    ["keys", "add", "delta2", "CANARY-ARGUMENT"],
    ["keys", "import"],
    ["use", "beta", "-v"],
    ["use", "CANARY-ARGUMENT"],
    ["CANARY-ARGUMENT"],
    ["--CANARY-ARGUMENT"],
    ["rotate"],
    ["rotate", "--dry-run"],
    ["use", "gamma", "--dry-run"],
    ["current"],
    ["status", "-v"],
    ["why", "-v"],
    ["run", "-v", "-k", "alpha", "--", "true"],
    ["run", "-v", "--", "true"],
    ["run", "--", "true"],
    ["run", "--pin", "--", "true"],
    ["run", "--dry-run", "--", "true"],
    ["kimi"],
    ["config", "show"],
    ["config", "validate"],
    ["config", "path"],
    ["doctor", "-v"],
    ["doctor", "--fix"],
    ["backups"],
    ["undo", "--dry-run"],
    ["undo", "-v"],
    ["keys", "rename", "gamma", "epsilon"],
    ["keys", "disable", "alpha"],
    ["keys", "reset"],
    ["keys", "remove", "epsilon", "--yes"],
    ["undo", "--file", "CANARY-ARGUMENT"],
]


def test_no_secret_shows_in_any_command(ready: World) -> None:
    argument = secret_of("argument")
    # A program that is started may not see a secret in a command line either.
    ready.script("kimi", 'tr "\\0" "\\n" < /proc/$$/cmdline 2>/dev/null; exit 0\n')
    ready.script("store", f"echo {secret_of('stored')}\n")
    write_private(ready.auths / "stored.env", "KMI_API_KEY_COMMAND=store\n")
    write_private(ready.auths / "broken.toml", f"api_key = '{secret_of('broken')}'\nx = \n")
    write_private(
        ready.auths / "odd.json",
        json.dumps({"api_key": secret_of("odd"), "label": secret_of("odd") + " "}),
    )
    ready.env.update({"KIMI_WEB_SEARCH_API_KEY": secret_of("search"), "KIMI_API_KEY": ""})
    names = ["alpha", "beta", "gamma", "delta", "argument", "stored", "broken", "odd", "search"]
    hidden = [form for name in names for form in encodings(secret_of(name))]
    said = []
    for words in EVERY_COMMAND:
        call = [word.replace("CANARY-ARGUMENT", argument) for word in words]
        for more in ([], ["--json"]):
            if more and call[0] in {"run", "kimi"}:
                continue
            done = ready.kmi(*call, *more, input=secret_of("delta"))
            said.append(f"{words}\n{done.stdout}\n{done.stderr}")
            assert done.returncode != 70, done
    ready.kmi("use", "stored")
    for text in said:
        assert [form for form in hidden if form in text] == [], text
    loose = [p for p in ready.state.rglob("*") if p.is_file() and not p.is_symlink()]
    loose = [p for p in loose if p.relative_to(ready.state).parts[0] not in {"backups", "pins"}]
    assert {p.name for p in loose} >= {"state.json", "audit.jsonl", "runs.jsonl", "prompt"}
    for path in loose:
        data = path.read_text()
        assert [form for form in hidden if form in data] == [], path
    for name in ("backups", "pins"):
        for path in (ready.state / name).rglob("*"):
            if not path.is_symlink():
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert ready.files_with(secret_of("stored"), ready.state) == []


def test_the_forms_of_a_secret_would_be_found() -> None:
    """The control: each form is one that shows when the secret does."""
    secret = secret_of("alpha")
    shown = [
        secret,
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
    ]
    shown.append(base64.b64encode(b"x" + secret.encode()).decode())
    shown.append(base64.b64encode(b"xy" + secret.encode()).decode())
    for text in shown:
        assert any(form in text for form in encodings(secret)), text


def test_texts_of_files_cannot_drive_the_terminal(world: World) -> None:
    nasty = "\x1b]0;evil\x07\x1b[2J\u202e\u0085"
    world.add_key("alpha", ACCOUNT_EMAIL=nasty)
    write_private(world.auths / f"b{nasty}.toml", f"api_key = 5\n'{nasty}' = 1\n")
    world.write_config(CLI, f'default_model = "{nasty!a}"\n'.replace("'", ""))
    for words in (
        ["keys"],
        ["config", "validate"],
        ["doctor", "-v"],
        ["status"],
        ["current"],
        ["use", nasty],
        [nasty],
    ):
        for more in ([], ["--json"]):
            done = world.kmi(*words, *more)
            shown = done.stdout + done.stderr
            assert not any(char in shown for char in "\x1b\x07\u202e\u0085"), (words, shown)


def folder(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def test_a_change_that_can_not_be_recorded_is_told_with_the_file(ready: World) -> None:
    (ready.state / "audit.jsonl").mkdir(parents=True)
    done = ready.kmi("use", "beta")
    assert done.returncode == 1
    assert f"record this in {ready.state / 'audit.jsonl'}: Is a directory" in done.stderr
    assert secret_of("beta").encode() in ready.config().read_bytes(), "it says that it is done"


def test_nothing_is_written_outside_of_its_places(ready: World) -> None:
    for words in (["use", "beta"], ["rotate"], ["run", "--", "true"], ["undo"]):
        assert ready.kmi(*words).returncode == 0
    assert folder(ready.home) == [".kimi", "kmi-auths", "kmi-state", "kmi.env"]
    assert folder(ready.config().parent) == ["config.toml"]
    assert folder(ready.cwd) == []
