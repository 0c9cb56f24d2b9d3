"""How a run gets its key: the plan as a table, and the environment that comes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmi.execute import coerced_locale, passed_env, run_env
from kmi.kimi_edits import Credential
from kmi.launcher import MAX_DEPTH, Launch, depth, plan
from kmi.urls import parse_base_url
from tests.conftest import CLI, CODE, secret_of

if TYPE_CHECKING:
    from tests.conftest import World

SECRET = secret_of("alpha")
URL = "https://api.kimi.com/coding/v1"
PINNED_BY_VARIABLES = {"KIMI_API_KEY": SECRET, "KIMI_BASE_URL": URL}
WATCH = {"KIMI_CODE_WATCH": "1"}


def planned(program: str | None, client: str, *arguments: str, **more: Any) -> Launch:
    """The plan for a call, with everything else as usual."""
    options: dict[str, Any] = {"env": {}, "variable": None, "pin": False, "nested": False}
    options.update({"login": False, "links": True, **more})
    return plan(
        program,
        client,
        arguments,
        options["env"],
        options["variable"],
        Credential(SECRET, parse_base_url(URL)),
        label="alpha",
        pin=options["pin"],
        login=options["login"],
        links=options["links"],
        nested=options["nested"],
    )


@pytest.mark.parametrize(
    "program, client, arguments, pin, mode, private, variables",
    [
        # kimi-cli is always pinned: by a private config, else by variables.
        (CLI, CLI, "", False, "pinned", "file", {}),
        (CLI, CLI, "", True, "pinned", "file", {}),
        (CLI, CLI, "--print -p hi", False, "pinned", "file", {}),
        (CLI, CLI, "-p acp", False, "pinned", "file", {}),
        # These take no --config-file.
        (CLI, CLI, "acp", False, "pinned", "home", {}),
        (CLI, CLI, "web", True, "pinned", "home", {}),
        (CLI, CLI, "--verbose term", False, "pinned", "home", {}),
        (CLI, CLI, "--config-file /x", False, "swapped", "", {}),
        (CLI, CLI, "--config-file=/x", False, "swapped", "", {}),
        (CLI, CLI, "--config {}", False, "swapped", "", {}),
        (CLI, CLI, "--config-file /x", True, "pinned", "", PINNED_BY_VARIABLES),
        # Kimi Code follows its config, unless it is told a key.
        (CODE, CODE, "", False, "following", "", WATCH),
        (CODE, CODE, "-p hi", False, "following", "", WATCH),
        (CODE, CODE, "", True, "pinned", "home", {}),
        (CODE, CODE, "acp", True, "pinned", "home", {}),
        # Any other program reads the config of the default client.
        (None, CLI, "", False, "swapped", "", {}),
        (None, CODE, "", False, "swapped", "", {}),
        (None, CODE, "--config-file /x", False, "swapped", "", {}),
        (None, CLI, "", True, "pinned", "", PINNED_BY_VARIABLES),
        (None, CODE, "", True, "pinned", "home", {}),
    ],
)
def test_the_plan(
    program: str | None,
    client: str,
    arguments: str,
    pin: bool,
    mode: str,
    private: str,
    variables: dict[str, str],
) -> None:
    launch = planned(program, client, *arguments.split(), pin=pin)
    assert (launch.mode, launch.private, dict(launch.variables)) == (mode, private, variables)
    own = mode == "swapped" and program == CLI
    assert [(note.message, dict(note.values)) for note in launch.notes] == [
        ("run.own-config", {"label": "'alpha'"})
    ] * own


@pytest.mark.parametrize(
    "program, client, arguments, private",
    [
        (CLI, CLI, "-p hi", "file"),
        (CLI, CLI, "acp", "home"),
        (CODE, CODE, "", "home"),
        (None, CLI, "", "home"),
        (None, CODE, "", "home"),
    ],
)
@pytest.mark.parametrize("links", [True, False])
def test_beside_a_login_no_variable_would_do(
    program: str | None, client: str, arguments: str, private: str, links: bool
) -> None:
    env = {"KIMI_API_KEY": "stale"} if client == CLI else {}
    call = {"pin": True, "login": True, "links": links, "env": env}
    launch = planned(program, client, *arguments.split(), **call)
    assert (launch.mode, launch.private) == ("pinned", private)
    assert launch.variables == dict.fromkeys(env)


def test_where_there_are_no_links_variables_have_to_do() -> None:
    for pin in (False, True):
        launch = planned(CLI, CLI, "acp", pin=pin, links=False)
        assert (launch.mode, launch.private) == ("pinned", "")
        assert launch.variables == PINNED_BY_VARIABLES


@pytest.mark.parametrize("program", [CODE, None])
@pytest.mark.parametrize("pin", [False, True])
def test_a_config_that_takes_its_key_from_a_variable(program: str | None, pin: bool) -> None:
    launch = planned(program, CODE, variable="MY_KEY", pin=pin)
    assert (launch.mode, launch.private) == ("pinned", "")
    assert launch.variables == {"MY_KEY": SECRET}


def test_a_watch_that_the_user_set_stays_as_it_is() -> None:
    for value in ("0", "1", "", "Off"):
        launch = planned(CODE, CODE, env={"KIMI_CODE_WATCH": value})
        assert launch.variables == {}
        # Without it the key that was chosen and the one that is read could differ.
        seen = ("pinned", "home") if value in ("0", "Off") else ("following", "")
        assert (launch.mode, launch.private) == seen


MODEL = {"KIMI_MODEL_NAME": "m", "KIMI_MODEL_API_KEY": "k", "KIMI_MODEL_CAPABILITIES": "c"}


@pytest.mark.parametrize(
    "program, client, env, cleared, first",
    [
        (CLI, CLI, {"KIMI_API_KEY": "x"}, {"KIMI_API_KEY"}, "KIMI_API_KEY"),
        (CLI, CLI, {"KIMI_BASE_URL": "x"}, {"KIMI_BASE_URL"}, "KIMI_BASE_URL"),
        (CLI, CLI, {"KIMI_API_KEY": "", "KIMI_BASE_URL": ""}, set(), None),
        (CLI, CLI, {"KIMI_MODEL_NAME": "x"}, set(), None),
        (CODE, CODE, {"KIMI_API_KEY": "x", "KIMI_BASE_URL": "y"}, set(), None),
        (CODE, CODE, MODEL, set(MODEL), "KIMI_MODEL_NAME"),
        (CODE, CODE, {"KIMI_MODEL_API_KEY": "k"}, {"KIMI_MODEL_API_KEY"}, "KIMI_MODEL_API_KEY"),
        (CODE, CODE, {"KIMI_MODEL_CAPABILITIES": "c"}, set(), None),
        (
            CODE,
            CODE,
            {"KIMI_CODE_CUSTOM_HEADERS": "X-A: 1\nAuthorization: Bearer x"},
            {"KIMI_CODE_CUSTOM_HEADERS"},
            "KIMI_CODE_CUSTOM_HEADERS",
        ),
        (CODE, CODE, {"KIMI_CODE_CUSTOM_HEADERS": "X-A: 1"}, set(), None),
        (None, CLI, {"KIMI_API_KEY": "x"}, {"KIMI_API_KEY"}, "KIMI_API_KEY"),
    ],
)
def test_variables_that_would_replace_the_key_are_unset_and_told(
    program: str | None, client: str, env: dict[str, str], cleared: set[str], first: str | None
) -> None:
    for pin in (False, True):
        launch = planned(program, client, env=env, pin=pin)
        unset = {name for name, value in launch.variables.items() if value is None}
        replaced = cleared & set(PINNED_BY_VARIABLES) if pin and program is None else set()
        assert unset == cleared - replaced
        assert [note.values for note in launch.notes] == (
            [{"name": first, "label": "'alpha'"}] if first else []
        )
    nested = planned(program, client, env=env, nested=True)
    assert nested.notes == ()
    assert {name for name, value in nested.variables.items() if value is None} == cleared


def test_a_config_of_its_own_keeps_the_exported_key() -> None:
    launch = planned(CLI, CLI, "--config-file", "/x", env={"KIMI_API_KEY": "x"})
    assert launch.variables == {}


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(planned(CLI, CLI, "acp", links=False))
    assert SECRET not in repr(Credential(SECRET, parse_base_url(URL)))


# The environment.


def test_the_environment_of_a_run() -> None:
    env = {"PATH": "/bin", "KIMI_API_KEY": "stale", "X": "1", "KMI_DEPTH": "2"}
    new = run_env(env, {"KIMI_API_KEY": None, "Y": "2", "GONE": None}, "alpha", "r1", 3)
    assert new == {
        "PATH": "/bin",
        "X": "1",
        "Y": "2",
        "KMI_ACTIVE_KEY": "alpha",
        "KMI_RUN_ID": "r1",
        "KMI_DEPTH": "3",
    }
    assert env["KIMI_API_KEY"] == "stale"


@pytest.mark.parametrize(
    "text, expected",
    [("", 0), ("0", 0), ("3", 3), ("16", 16), ("-1", 0), ("x", 0), ("9999", 0), ("\u0663", 0)],
)
def test_the_depth(text: str, expected: int) -> None:
    assert depth({"KMI_DEPTH": text}) == expected
    assert depth({}) == 0


def test_a_locale_of_the_users_is_theirs() -> None:
    for env in ({}, {"LC_CTYPE": "ru_RU.UTF-8"}, {"LC_CTYPE": "C.UTF-8", "LC_ALL": "C"}):
        assert not coerced_locale(env)
        assert passed_env(env) == env


DUMP = (sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))")


@pytest.mark.skipif(sys.platform != "linux", reason="kmi can tell only where /proc is")
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("locale", [{}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "C"}, {"LC_ALL": "C"}])
def test_the_program_gets_the_locale_that_kmi_was_started_with(
    world: World, locale: dict[str, str], quick: bool
) -> None:
    world.add_keys("alpha")
    world.config_with("alpha")
    del world.env["LANG"]
    world.env.update(locale)
    # Not a Python, which would set its own locale again.
    done = world.kmi("run", "--", "env")
    if quick:
        done = world.kmi("run", "--", "env")
    got = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    names = ("LANG", "LC_ALL", "LC_CTYPE")
    assert {name: got[name] for name in names if name in got} == locale


def test_what_a_program_sees(world: World) -> None:
    world.add_keys("alpha")
    world.config_with("alpha")
    world.env["KEPT"] = "a\nb=\u00e9"
    done = world.kmi("run", "--", *DUMP)
    assert done.returncode == 0, done
    got = json.loads(done.stdout)
    expected = {
        **world.env,
        "KMI_ACTIVE_KEY": "alpha",
        "KMI_RUN_ID": world.records("runs.jsonl")[0]["run"],
        "KMI_DEPTH": "1",
    }
    got.pop("LC_CTYPE", None)  # its own Python may have set it
    assert got == expected
    assert SECRET not in done.stdout


def test_the_runs_of_a_wrapper_that_calls_itself_end(world: World) -> None:
    world.add_keys("alpha")
    world.config_with("alpha")
    world.script("loop", f'exec "{sys.executable}" -m kmi run -- loop\n')
    done = world.kmi("run", "--", "loop", env={"KMI_DEPTH": str(MAX_DEPTH - 2)})
    assert done.returncode == 125, done
    assert f"nested {MAX_DEPTH} deep" in done.stderr


LOGIN = f"""\
default_model = "k"
[providers.p]
type = "kimi"
base_url = "{URL}"
api_key = ""
[providers.p.oauth]
key = "oauth/p"
[models.k]
provider = "p"
model = "m"
max_context_size = 9
"""


@pytest.mark.parametrize("command", [["my-script"], ["kimi", "acp"]])
def test_beside_a_login_of_kimi_cli_every_program_has_a_home_with_its_key(
    world: World, command: list[str]
) -> None:
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.write_config(CLI, LOGIN)
    real = world.config().parent
    (real / "credentials").mkdir()
    # Inside, kmi itself sees the real home.
    inner = f'[ -z "$DEEPER" ] && DEEPER=1 {sys.executable} -m kmi run -k beta -- my-script'
    text = f'echo "$KMI_ACTIVE_KEY $KIMI_API_KEY|$KIMI_SHARE_DIR"\n{inner}\ntrue'
    for name in ("my-script", "kimi"):
        world.script(name, text)
    done = world.kmi("run", "-k", "alpha", "--", *command, env={"KIMI_API_KEY": "sk-stale"})
    assert done.returncode == 0, done
    seen = [line.split("|") for line in done.stdout.splitlines()]
    assert [label for label, _ in seen] == ["alpha ", "beta "], done
    for label, home in zip(("alpha", "beta"), (Path(home) for _, home in seen)):
        config = (home / "config.toml").read_text()
        assert secret_of(label) in config
        assert "oauth" not in config
        assert (home / "credentials").resolve() == real / "credentials"
    assert world.config().read_text() == LOGIN
    assert secret_of("alpha") not in done.stdout + done.stderr
    # The next run removes what is left of both.
    assert world.kmi("run", "-k", "beta", "--", "true").returncode == 0
    assert world.files_with(secret_of("alpha"), world.state) == []
