"""The whole table of settings: defaults, both sources, every refusal, and `kmi config show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.envfile import Binding, parse_env
from kmi.errors import ConfigError
from kmi.settings import NAMES, TABLE, Settings, load_settings, nearest, read_settings
from kmi.urls import parse_base_url
from tests.conftest import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.model import Problem
    from tests.conftest import World

HOME = {"HOME": "/home/ada"}
TOKEN = "0123456789abcdef0123456789abcdef"

#: Setting: default, a good text with its value, and texts that are refused.
CASES: dict[str, tuple[Any, tuple[str, Any], tuple[str, ...]]] = {
    "KMI_AUTHS_DIR": (..., ("~/keys/", "/home/ada/keys"), ("keys", "./_auths", "~other/keys")),
    "KMI_STATE_DIR": ("/home/ada/.kmi", ("/srv//kmi", "/srv/kmi"), ("kmi", ".", "")),
    "KMI_CLIENT": ("auto", ("kimi-cli", "kimi-cli"), ("kimi", "KIMI-CLI", "")),
    "KMI_STRATEGY": ("sticky", ("soonest-reset", "soonest-reset"), ("stick", "Sticky", "")),
    "KMI_DRY_RUN": (False, ("1", True), ("ture", "", "2", " 1", "y")),
    "KMI_WRITE_CONFIG": (True, ("off", False), ("never", "")),
    "KMI_ROTATE_ON_TIE": (True, ("FALSE", False), ("-1", "")),
    "KMI_ROTATE_INCLUDE_WARN": (False, ("yes", True), ("jes", "")),
    "KMI_AUTO_ROTATE_ALLOWED": (False, ("on", True), ("allowed", "")),
    "KMI_AUTO_ROTATE_E2E": (True, ("0", False), ("00", "")),
    "KMI_ROTATION_COOLDOWN_SECONDS": (300, ("60", 60), ("0", "-1", "5m", "1.5", "86401", "")),
    "KMI_PAYMENT_BLOCK_SECONDS": (3600, ("0", 0), ("-1", "1h", "9999999", "")),
    "KMI_BLOCKLIST_RECHECK_SECONDS": (3600, ("60", 60), ("59", "0", "1e3", "")),
    "KMI_BLOCKLIST_RECHECK_MAX": (3, ("0", 0), ("10001", "all", "")),
    "KMI_USAGE_CACHE_SECONDS": (600, ("0", 0), ("-1", "+5", "\u0665", "")),
    "KMI_REQUIRE_USAGE_BEFORE_REQUEST": (False, ("true", True), ("maybe", "")),
    "KMI_FAIL_OPEN_ON_EMPTY_CACHE": (True, ("no", False), ("nope", "")),
    "KMI_UPSTREAM_BASE_URL": (
        parse_base_url("https://api.kimi.com/coding/v1"),
        ("https://api.moonshot.ai/v1/", parse_base_url("https://api.moonshot.ai/v1")),
        ("http://api.kimi.com", "api.kimi.com", "https://a@b.c", "https://a.b/?x", ""),
    ),
    "KMI_UPSTREAM_ALLOWLIST": (
        (),
        ("*.kimi.com, api.moonshot.ai:443", ("*.kimi.com", "api.moonshot.ai:443")),
        ("*", "https://api.kimi.com", "a/b"),
    ),
    "KMI_PROXY_LISTEN": (
        ("127.0.0.1", 54123),
        ("[::1]:0", ("[::1]", 0)),
        ("127.0.0.1", ":80", "::1:80", "127.0.0.1:65536", "127.0.0.1:http", ""),
    ),
    "KMI_PROXY_BASE_PATH": (
        "/kmi-rotor/v1",
        ("/v1/", "/v1"),
        ("v1", "//v1", "/\u00e9", "/a\n", ""),
    ),
    "KMI_PROXY_TOKEN": ("", (TOKEN, TOKEN), ("short", TOKEN + " x", TOKEN + "\u00e9")),
    "KMI_PROXY_ALLOW_REMOTE": (False, ("1", True), ("10", "")),
    "KMI_PROXY_REQUIRE_TLS": (True, ("0", False), ("tls", "")),
    "KMI_PROXY_TLS_TERMINATED": (False, ("1", True), ("nginx", "")),
    "KMI_PROXY_MAX_RPS": (0, ("5", 5), ("100001", "-5", "")),
    "KMI_PROXY_MAX_RPM": (0, ("5", 5), ("1000001", "five", "")),
    "KMI_PROXY_MAX_RPS_PER_KEY": (0, ("5", 5), ("100001", "")),
    "KMI_PROXY_MAX_RPM_PER_KEY": (0, ("5", 5), ("1000001", "")),
    "KMI_PROXY_MAX_CONCURRENCY_PER_KEY": (0, ("5", 5), ("100001", "")),
    "KMI_PROXY_RETRY_MAX": (None, ("4", 4), ("101", "keys", "")),
    "KMI_PROXY_RETRY_BASE_MS": (250, ("1", 1), ("0", "60001", "")),
    "KMI_TRACE_MAX_MB": (5, ("1", 1), ("0", "5MB", "")),
    "KMI_TRACE_BACKUPS": (3, ("0", 0), ("101", "")),
    "KMI_LOG_MAX_MB": (5, ("10", 10), ("0", "")),
    "KMI_LOG_BACKUPS": (3, ("0", 0), ("101", "")),
    "KMI_TIMEZONE": (
        "local",
        ("+03:00", "+03:00"),
        ("+3", "+25:00", "+03:99", "Mars/Phobos", "../etc/passwd", "Europe", ""),
    ),
    "KMI_LOCALE": ("en", ("ru", "ru"), ("de", "en_US", "")),
    "KMI_PLAIN": (False, ("1", True), ("plain", "")),
    "KMI_NO_COLOR": (False, ("1", True), ("always", "")),
    "KMI_AUDIT_ACTOR": ("", ("Ada L.", "Ada L."), ("a\nb", "a\x1b[2J")),
    "KMI_ENFORCE_FILE_PERMS": (True, ("0", False), ("0600", "")),
}
ATTRIBUTES = {row.name: row.attribute for row in TABLE}


def read(
    env: Mapping[str, str], file_text: str = "", env_file: str = "/e/.env"
) -> tuple[Settings, list[Problem]]:
    """Settings of an environment and an env file."""
    return read_settings({**HOME, **env}, parse_env(file_text), env_file)


def value_of(settings: Settings, name: str) -> Any:
    return getattr(settings, ATTRIBUTES[name])


def test_the_table_of_this_test_is_the_whole_table() -> None:
    assert set(CASES) | {"KMI_ENV_PATH"} == set(NAMES)
    assert all(row.doc for row in TABLE)


@pytest.mark.parametrize("name", CASES)
def test_default(name: str) -> None:
    settings, problems = read({})
    assert problems == []
    assert settings.origin(name) == "default"
    default = CASES[name][0]
    if default is ...:  # the checkout's `_auths`, or the one in the home
        assert settings.auths_dir.endswith("_auths")
        return
    assert value_of(settings, name) == default


@pytest.mark.parametrize("name", CASES)
def test_from_the_environment(name: str) -> None:
    text, value = CASES[name][1]
    settings, problems = read({name: text})
    assert [p for p in problems if p.fatal] == []
    assert value_of(settings, name) == value
    assert settings.origin(name) == "environment"


@pytest.mark.parametrize("name", CASES)
def test_from_the_env_file_with_its_line(name: str) -> None:
    text, value = CASES[name][1]
    settings, problems = read({}, f"# settings\n\nexport {name}='{text}'\n")
    assert [p for p in problems if p.fatal] == []
    assert value_of(settings, name) == value
    assert settings.origin(name) == "/e/.env:3"


@pytest.mark.parametrize("name", CASES)
def test_the_environment_beats_the_env_file(name: str) -> None:
    text, value = CASES[name][1]
    settings, problems = read({name: text}, f"{name}=\x01nonsense\n")
    assert [p for p in problems if p.fatal] == []
    assert value_of(settings, name) == value
    assert settings.origin(name) == "environment"


BAD = [(name, text) for name, (_, _, bad) in CASES.items() for text in bad]


@pytest.mark.parametrize("name, text", BAD)
def test_a_bad_value_names_variable_value_origin_and_what_is_allowed(name: str, text: str) -> None:
    for settings, problems, where in (
        (*read({name: text}), "environment"),
        (*read_settings(HOME, [Binding(name, text, 7)], "/e/.env"), "/e/.env:7"),
    ):
        fatal = [problem for problem in problems if problem.fatal]
        assert len(fatal) == 1, problems
        assert fatal[0].where == where
        assert name in fatal[0].what
        if name == "KMI_PROXY_TOKEN":
            assert text not in str(fatal[0])
        elif "@" not in text:
            assert ascii(text) in fatal[0].what
        assert fatal[0].fix
        assert "invalid literal" not in fatal[0].fix
        assert settings.origin(name) == "default"


@pytest.mark.parametrize("text", ["b\u00fccher.example:80", "\u0664.0.0.1:80"])
def test_a_host_to_listen_on_is_ascii(text: str) -> None:
    _, problems = read({"KMI_PROXY_LISTEN": text, "KMI_PROXY_ALLOW_REMOTE": "1"})
    assert [problem.fatal for problem in problems] == [True]
    assert "HOST:PORT" in problems[0].fix


@pytest.mark.parametrize("text", ["127.0.0.1:\u00b2", "127.0.0.1:\u0664\u0664"])
def test_a_port_is_written_in_ascii_digits(text: str) -> None:
    _, problems = read({"KMI_PROXY_LISTEN": text})
    assert "HOST:PORT" in problems[0].fix


def test_no_secret_in_a_message_about_a_value() -> None:
    secret = "sk-kimi-CANARY0123456789abcdef"
    _, problems = read(
        {
            "KMI_CLIENT": secret,
            "KMI_PROXY_TOKEN": "too-short-CANARY",
            "KMI_UPSTREAM_BASE_URL": "https://user:CANARY-word@api.kimi.com",
        }
    )
    assert len(problems) == 3
    assert "CANARY" not in "".join(map(str, problems))


def test_an_unset_name_in_the_env_file_is_an_empty_value() -> None:
    _, problems = read({}, "KMI_DRY_RUN\n")
    assert [str(p) for p in problems] == [
        "/e/.env:1: KMI_DRY_RUN='' is not valid (it is empty; unset it to get the default)"
    ]


@pytest.mark.parametrize(
    "name, hint",
    [
        ("KMI_DRYRUN", "did you mean KMI_DRY_RUN?"),
        ("KMI_STRATAGY", "did you mean KMI_STRATEGY?"),
        ("KMI_UPSTREAM_URL", "did you mean KMI_UPSTREAM_BASE_URL?"),
        ("KMI_ZZZZZZZZZ", ""),
    ],
)
def test_an_unknown_name_is_a_warning_with_the_nearest_one(name: str, hint: str) -> None:
    for problems, where in (
        (read({name: "1"})[1], "environment"),
        (read({}, f"\n{name}=1\n")[1], "/e/.env:2"),
    ):
        assert [(p.where, p.fix, p.fatal) for p in problems] == [(where, hint, False)]
        assert name in problems[0].what


@pytest.mark.parametrize(
    "name", ["KMI_ACTIVE_KEY", "KMI_RUN_ID", "KMI_DEPTH", "KMI_CLIENT_HOME", "KMI_CLI_HOME"]
)
def test_what_kmi_sets_itself_is_no_mistake(name: str) -> None:
    assert read({name: "1"})[1] == []


def test_names_of_other_programs_are_nobodys_business() -> None:
    assert read({"KIMI_API_KEY": "x", "EDITOR": "vi"}, "PATH=/x\nOTHER=1\n")[1] == []


def test_a_key_in_the_environment_is_told_to_have_no_effect() -> None:
    secret = "sk-kimi-0123456789abcdef"
    _, problems = read({"KMI_API_KEY": secret}, "KMI_KEY_LABEL=x\n")
    assert sorted(p.where for p in problems) == ["/e/.env:1", "environment"]
    assert all(not p.fatal and "auth file" in p.fix for p in problems)
    assert secret not in "".join(map(str, problems))


def test_a_broken_line_of_the_env_file_is_fatal_and_named() -> None:
    _, problems = read({}, "KMI_CLIENT=kimi-cli\n='x'\nKMI_DRY_RUN='1\n")
    assert [p.where for p in problems if p.fatal] == ["/e/.env:2", "/e/.env:3"]


def test_the_env_file_is_data() -> None:
    settings, problems = read({"X": "no"}, "KMI_AUDIT_ACTOR=$X${X}`id`$(id)\n")
    assert problems == []
    assert settings.audit_actor == "$X${X}`id`$(id)"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_are_right_with_any_ending_and_a_bom(ending: str) -> None:
    text = "\ufeff" + ending.join(["# one", "", "KMI_CLIENT='kimi-cli'", "", "KMI_DRY_RUN=1", ""])
    settings, problems = read({}, text)
    assert problems == []
    assert settings.client == "kimi-cli"
    assert settings.origin("KMI_CLIENT") == "/e/.env:3"
    assert settings.origin("KMI_DRY_RUN") == "/e/.env:5"


def test_the_env_path_does_not_lead_on_to_another_file() -> None:
    settings, problems = read({}, "KMI_ENV_PATH=/other\n")
    assert settings.env_path == "/e/.env"
    assert [(p.where, p.fatal) for p in problems] == [("/e/.env:1", False)]


def test_a_default_base_url_that_the_allowlist_forbids_is_told() -> None:
    _, problems = read({"KMI_UPSTREAM_ALLOWLIST": "example.com"})
    assert ["KMI_UPSTREAM_ALLOWLIST" in p.what for p in problems] == [True]
    assert not problems[0].fatal


def test_a_listener_for_all_is_told() -> None:
    assert "loopback" in read({"KMI_PROXY_LISTEN": "0.0.0.0:80"})[1][0].what
    both = {"KMI_PROXY_LISTEN": "0.0.0.0:80", "KMI_PROXY_ALLOW_REMOTE": "1"}
    assert read(both)[1] == []


@pytest.mark.parametrize(
    "word, hint",
    [("KMI_CLENT", "did you mean KMI_CLIENT?"), ("", ""), ("x" * 5000, "")],
)
def test_nearest(word: str, hint: str) -> None:
    assert nearest(word, NAMES) == hint


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12), max_size=4))
def test_any_value_is_taken_or_reported_by_name(env: dict[str, str]) -> None:
    settings, problems = read(env)
    blamed = {name for name in env if any(name in p.what for p in problems)}
    for name in env:
        assert (settings.origin(name) == "environment") or name in blamed or name == "KMI_ENV_PATH"


# Files.


def test_the_env_file_is_the_named_one(world: World) -> None:
    write_private(world.env_file, "\nKMI_STRATEGY=round-robin\n")
    settings, problems = load_settings(world.env)
    assert problems == []
    assert settings.strategy == "round-robin"
    assert settings.origin("KMI_STRATEGY") == f"{world.env_file}:2"


def test_a_named_env_file_must_exist(world: World) -> None:
    world.env["KMI_ENV_PATH"] = str(world.home / "missing.env")
    with pytest.raises(ConfigError, match=r"missing\.env"):
        load_settings(world.env)


@pytest.mark.parametrize("path", ["", "settings.env", "./.env"])
def test_the_name_of_the_env_file_must_be_absolute(world: World, path: str) -> None:
    world.env["KMI_ENV_PATH"] = path
    with pytest.raises(ConfigError, match="KMI_ENV_PATH"):
        load_settings(world.env)


@pytest.mark.parametrize("data", [b"KMI_CLIENT=\xff\xfe\n", "KMI_CLIENT=x\n".encode("utf-16")])
def test_an_env_file_that_is_not_utf_8_is_refused(world: World, data: bytes) -> None:
    write_private(world.env_file, data)
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(world.env)


def test_the_home_has_the_default_env_file(world: World) -> None:
    del world.env["KMI_ENV_PATH"]
    write_private(world.home / ".kmi" / ".env", "KMI_STRATEGY=round-robin\n")
    settings, _ = load_settings(world.env)
    assert settings.strategy == "round-robin"
    assert settings.env_path == str(world.home / ".kmi" / ".env")


def test_the_env_file_of_the_working_directory_is_never_read(world: World) -> None:
    write_private(world.cwd / ".env", "KMI_STRATEGY=round-robin\nKMI_DRY_RUN=nonsense\n")
    for changes in ({}, {"KMI_ENV_PATH": None}):
        done = world.kmi("config", "show", "--json", env=changes)
        assert done.returncode == 0, done
        rows = {row["name"]: row["value"] for row in json.loads(done.stdout)["settings"]}
        assert rows["KMI_STRATEGY"] == "sticky"


# The command.

ROWS = ["name", "value", "origin", "meaning"]


def test_config_show_has_every_setting_with_its_origin(world: World) -> None:
    write_private(world.env_file, "KMI_CLIENT=kimi-cli\n")
    document = world.document("config", "show", env={"KMI_PROXY_TOKEN": TOKEN, "KMI_PLAIN": "yes"})
    assert set(document) == {"schema", "settings"}
    rows = document["settings"]
    assert [row["name"] for row in rows] == list(NAMES)
    assert all(list(row) == ROWS for row in rows)
    shown = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert shown["KMI_CLIENT"] == ("kimi-cli", f"{world.env_file}:1")
    assert shown["KMI_PLAIN"] == ("1", "environment")
    assert shown["KMI_PROXY_TOKEN"] == ("(set)", "environment")
    assert shown["KMI_STATE_DIR"] == (str(world.state), "environment")
    assert shown["KMI_ENV_PATH"][0] == str(world.env_file)
    expected = {
        "KMI_STRATEGY": "sticky",
        "KMI_DRY_RUN": "0",
        "KMI_WRITE_CONFIG": "1",
        "KMI_ROTATION_COOLDOWN_SECONDS": "300",
        "KMI_UPSTREAM_BASE_URL": "https://api.kimi.com/coding/v1",
        "KMI_UPSTREAM_ALLOWLIST": "",
        "KMI_PROXY_LISTEN": "127.0.0.1:54123",
        "KMI_PROXY_RETRY_MAX": "",
        "KMI_TIMEZONE": "local",
        "KMI_AUDIT_ACTOR": "",
    }
    assert {name: shown[name] for name in expected} == {
        name: (value, "default") for name, value in expected.items()
    }


@pytest.mark.parametrize(
    "name, text", [("KMI_DRY_RUN", "ture"), ("KMI_DRY_RUN", ""), ("KMI_STATE_DIR", "")]
)
def test_a_bad_value_stops_every_command(world: World, name: str, text: str) -> None:
    world.add_keys("alpha", "beta")
    before = world.config_with("alpha")
    for words in (["use", "beta"], ["config", "show"], ["keys"]):
        done = world.kmi(*words, env={name: text})
        assert done.returncode == 78, done
        assert f"environment: {name}={text!r}" in done.stderr
    assert world.kmi("run", "--", "true", env={name: text}).returncode == 125
    assert world.config().read_bytes() == before
    assert list(world.cwd.iterdir()) == []


def test_an_unknown_name_is_warned_of_and_nothing_more(world: World) -> None:
    done = world.kmi("config", "path", env={"KMI_DRYRUN": "1"})
    assert done.returncode == 0
    assert (
        "environment: KMI_DRYRUN is not a setting of kmi (did you mean KMI_DRY_RUN?)" in done.stderr
    )


def test_a_setting_that_stands_twice_is_warned_of(world: World) -> None:
    write_private(world.env_file, "KMI_LOCALE=ru\n# no\nKMI_LOCALE=en\n")
    done = world.kmi("config", "path")
    assert done.returncode == 0
    assert f"{world.env_file}:3: KMI_LOCALE is given twice" in done.stderr
    assert "(it stands in line 1 too)" in done.stderr


def test_config_validate_lists_every_mistake(world: World) -> None:
    write_private(world.env_file, "KMI_DRY_RUN=ture\nKMI_STRATAGY=x\n")
    document = world.document("config", "validate", code=78, env={"KMI_CLIENT": "kimi"})
    assert document["ok"] is False
    found = {(f["path"], f["line"], f["severity"]) for f in document["findings"]}
    assert (None, None, "error") in found
    assert (str(world.env_file), 1, "error") in found
    assert (str(world.env_file), 2, "warning") in found
