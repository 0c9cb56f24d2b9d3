"""`kmi config validate`: all that is wrong at once, with place and cure, and nothing changed."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from kmi.checks.finding import SUBJECTS
from kmi.checks.site import Site
from kmi.validation import validate
from tests.conftest import CLI, CODE, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

unix = pytest.mark.skipif(os.name == "nt", reason="modes are Unix's")

LOGIN = """\
default_model = "k"
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = "{secret}"
[providers."managed:kimi-code".oauth]
storage = "file"
key = "oauth/kimi-code"
[models.k]
provider = "managed:kimi-code"
model = "kimi-for-coding"
max_context_size = 262144
"""


@pytest.fixture
def home(world: World) -> World:
    """A world in which everything is valid."""
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    write_private(world.state / "state.json", '{"schema": 1}')
    return world


class Wrong(NamedTuple):
    """Something that a person may get wrong, and what is said about it.

    Attributes:
        do: makes it wrong, and returns the file that is named, or None.
        check: of the finding; where there are several, the first that fits counts.
        line: in that file.
        says: a part of what is said; cure: of the cure.
    """

    do: Callable[[World], object]
    check: str
    severity: str
    says: str
    cure: str
    line: int | None = None
    env: Mapping[str, str | None] = {}  # noqa: RUF012 - never changed


def auth(name: str, text: str, mode: int = 0o600) -> Callable[[World], object]:
    return lambda world: write_private(world.auths / name, text, mode)


def env_line(text: str) -> Callable[[World], object]:
    return lambda world: write_private(world.env_file, text)


def state(name: str, text: str) -> Callable[[World], object]:
    return lambda world: write_private(world.state / name, text)


def config(client: str, text: str, mode: int = 0o600) -> Callable[[World], object]:
    return lambda world: world.write_config(client, text, mode)


def binding(text: str) -> Callable[[World], object]:
    return lambda world: write_private(world.cwd / ".kmi.toml", text, 0o644)


def allowed(text: str) -> Callable[[World], object]:
    def do(world: World) -> object:
        path = write_private(world.cwd / ".kmi.toml", text, 0o644)
        assert world.kmi("allow").returncode == 0
        return path

    return do


def changed_strict(world: World) -> object:
    path = allowed('keys = ["alpha"]\nstrict = true\n')(world)
    binding('keys = ["beta"]\nstrict = true\n')(world)
    return path


def linked(world: World) -> object:
    (world.auths / "team").symlink_to(world.cwd)
    return world.auths / "team"


def unlinked(world: World) -> object:
    world.config().unlink()
    world.config().symlink_to(world.home / "nowhere.toml")
    return world.config()


def no_keys(world: World) -> object:
    for path in world.auths.iterdir():
        path.unlink()
    return world.auths


def folder_for_state(world: World) -> object:
    path = world.state / "state.json"
    path.unlink()
    path.mkdir()
    return path


def nothing(world: World) -> None:
    """It is the environment that is wrong."""


def opened(get: Callable[[World], Any], mode: int) -> Callable[[World], object]:
    def do(world: World) -> object:
        get(world).chmod(mode)
        return get(world)

    return do


ALPHA = f"KMI_API_KEY={secret_of('alpha')}\n"
OWN = f"KMI_API_KEY={secret_of('own')}\n"
WRONG = {
    # Settings.
    "a value in the environment": Wrong(
        nothing, "setting", "error", "KMI_DRY_RUN='ture'", "allowed:", env={"KMI_DRY_RUN": "ture"}
    ),
    "a value in the env file": Wrong(
        env_line("# mine\nKMI_STRATEGY=best\n"), "setting", "error", "KMI_STRATEGY", "sticky", 2
    ),
    "a name in the env file": Wrong(
        env_line("KMI_STRATAGY=x\n"), "setting", "warning", "not a setting", "KMI_STRATEGY", 1
    ),
    "a line of the env file": Wrong(
        env_line("KMI_LOCALE=en\nwhat is this\n"), "setting", "error", "NAME=value", "remove", 2
    ),
    "no env file": Wrong(
        nothing, "env-file", "error", "does not exist", "unset", env={"KMI_ENV_PATH": "/nowhere/e"}
    ),
    "a relative env file": Wrong(
        nothing, "env-file", "error", "KMI_ENV_PATH", "absolute", env={"KMI_ENV_PATH": "./e"}
    ),
    "an env file that is no text": Wrong(
        lambda world: world.env_file.write_bytes(b"\xff\xfe") and world.env_file,
        *("env-file", "error", "is not UTF-8 text", "save it as UTF-8"),
    ),
    "an open env file": Wrong(
        opened(lambda world: world.env_file, 0o666), "env-file", "warning", "write", "chmod go-w"
    ),
    "an env file with a token": Wrong(
        lambda world: write_private(world.env_file, f"KMI_PROXY_TOKEN={'t' * 40}\n", 0o644),
        *("env-file", "warning", "KMI_PROXY_TOKEN", "chmod 600"),
    ),
    "a remote proxy": Wrong(
        env_line("KMI_PROXY_LISTEN=0.0.0.0:1\n"),
        *("setting", "warning", "not loopback", "KMI_PROXY_ALLOW_REMOTE=1", 1),
    ),
    # Keys.
    "no key": Wrong(
        no_keys,
        *("keys", "warning", "there is no key", "kmi keys add LABEL"),
    ),
    "a placeholder": Wrong(
        auth("x.env", "\nKMI_API_KEY=sk-your-key\n"), "auth-file", "error", "placeholder", "real", 2
    ),
    "an unknown field": Wrong(
        auth("x.env", OWN + "KMI_KEY_LABLE=x\n"),
        *("auth-file", "warning", "KMI_KEY_LABLE", "KMI_KEY_LABEL", 2),
    ),
    "toml that is none": Wrong(
        auth("x.toml", "label = 'x'\napi_key = \n"), "auth-file", "error", "TOML", "line", 2
    ),
    "json that is none": Wrong(
        auth("x.json", '{"label": "x",\n'), "auth-file", "error", "JSON", "line", 2
    ),
    "a label twice": Wrong(
        auth("x.env", OWN + "KMI_KEY_LABEL=alpha\n"), "auth-file", "error", "taken", "another", 1
    ),
    "a key twice": Wrong(auth("x.env", ALPHA), "auth-file", "warning", "same key", "remove", 1),
    "a linked folder": Wrong(linked, "auth-file", "error", "is a link", "put the directory"),
    "an open auth file": Wrong(
        auth("x.env", OWN, 0o644), "auth-file-mode", "warning", "0644", "chmod 600"
    ),
    "an open folder of keys": Wrong(
        opened(lambda world: world.auths, 0o777), "auth-file-mode", "warning", "write", "chmod go-w"
    ),
    "a host that is not allowed": Wrong(
        lambda world: world.auths / "alpha.env",
        *("auth-file", "warning", "KMI_UPSTREAM_ALLOWLIST", "add its host"),
        env={"KMI_UPSTREAM_ALLOWLIST": "example.com"},
    ),
    # State.
    "a damaged state": Wrong(
        state("state.json", "{\n!"), "state-file", "error", "damaged", "kmi doctor --fix", 2
    ),
    "a state without a schema": Wrong(
        state("state.json", "{}"), "state-file", "error", "no schema", "kmi doctor --fix"
    ),
    "a state with a strange field": Wrong(
        state("state.json", '{"schema": 1, "active": {"kimi-cli": {"key": 5}}}'),
        *("state-file", "error", "of the wrong kind", "kmi doctor --fix"),
    ),
    "a newer state": Wrong(
        state("state.json", '{"schema": 9}'), "state-file", "error", "schema 9", "update kmi"
    ),
    "a folder for a state": Wrong(
        folder_for_state,
        *("state-file", "error", "regular file", "put a regular file"),
    ),
    # The project.
    "damaged decisions": Wrong(
        state("bindings.json", "nope"), "decisions", "error", "damaged", "kmi doctor --fix", 1
    ),
    "newer decisions": Wrong(
        state("bindings.json", '{"schema": 7}'), "decisions", "error", "schema 7", "update kmi"
    ),
    "a new binding": Wrong(
        binding('keys = ["alpha"]\n'), "binding", "warning", "allowed", "kmi allow"
    ),
    "a wrong binding": Wrong(
        binding('keys = ["alpha"]\nsrtict = true\n'),
        *("binding", "error", "'srtict'", "did you mean strict?", 2),
    ),
    "a strict binding that was changed": Wrong(
        changed_strict, "binding", "error", "strict", "kmi allow"
    ),
    "a binding to a key that is not here": Wrong(
        allowed('keys = ["gone", "alpha"]\n'), "binding", "warning", "gone", "kmi keys add gone"
    ),
    "a strict binding to no key": Wrong(
        allowed('keys = ["gone"]\nstrict = true\n'), "binding", "error", "gone", "kmi keys add gone"
    ),
    # The clients.
    "half a config": Wrong(
        config(CLI, "a = 1\nb = \n"), "client-config", "error", "not valid TOML", "correct", 2
    ),
    "a config of Kimi Code": Wrong(
        config(CODE, "x = [\n"), "client-config", "error", "not valid TOML", "correct", 1
    ),
    "a config without a model": Wrong(
        config(CLI, "theme = 'dark'\n"), "client-config", "warning", "no default model", "--adopt"
    ),
    "a model that is not there": Wrong(
        config(CLI, 'default_model = "gone"\n'), "client-config", "error", "'gone'", "add that"
    ),
    "a provider of another company": Wrong(
        config(
            CLI,
            config_text(secret_of("x"))
            .replace('"kimi"', '"anthropic"', 1)
            .replace("api.kimi.com", "api.other.com"),
        ),
        *("client-config", "warning", "not a Kimi provider", "--adopt", 3 - 1),
    ),
    "an open config": Wrong(
        config(CODE, config_text(secret_of("alpha")), 0o644),
        *("client-config", "warning", "0644", "chmod 600"),
    ),
    "a read-only config": Wrong(
        config(CLI, config_text(secret_of("alpha")), 0o400),
        *("client-config", "error", "read-only", "chmod u+w"),
    ),
    "a login of kimi-cli": Wrong(
        config(CLI, LOGIN.format(secret="")), "login", "warning", "OAuth login", "--adopt"
    ),
    "a login of kimi-cli that beats a key": Wrong(
        config(CLI, LOGIN.format(secret=secret_of("alpha"))),
        "login",
        "warning",
        "ignores",
        "--adopt",
    ),
    "a login beside a key of Kimi Code": Wrong(
        config(CODE, LOGIN.format(secret=secret_of("alpha"))),
        *("credentials", "error", "refuses", "keep one of api_key, oauth"),
    ),
    "a dangling config": Wrong(
        unlinked, "client-config", "error", "leads nowhere", "correct the link"
    ),
    "an empty home of Kimi Code": Wrong(
        nothing,
        *("client-config", "error", "KIMI_CODE_HOME", "unset KIMI_CODE_HOME"),
        env={"KIMI_CODE_HOME": ""},
    ),
}


#: How cures begin that are commands, and so the same in every language.
COMMANDS = (
    "chmod",
    "cp",
    "df",
    "export",
    "kill",
    "kmi",
    "ls",
    "npm",
    "rm",
    "sudo",
    "touch",
    "unset",
)


RUSSIAN = re.compile("[а-яё]")  # noqa: RUF001 - Russian


def assert_russian(world: World, env: Mapping[str, str | None], checks: Any) -> None:
    """What is wrong is told in Russian, and so is each cure that is no command."""
    merged = world.environment(env)
    site = Site({**merged, "KMI_LOCALE": "ru"}, time.time(), english=False)
    for finding in checks(site):
        assert finding.severity == "ok" or RUSSIAN.search(finding.what), finding
        command = finding.cure.startswith(COMMANDS)
        assert not finding.cure or command or RUSSIAN.search(finding.cure), finding


def found_in(document: dict[str, Any], wrong: Wrong) -> dict[str, Any]:
    """The finding that is meant."""
    fits = [
        finding
        for finding in document["findings"]
        if (finding["check"], finding["severity"]) == (wrong.check, wrong.severity)
        and wrong.says in finding["what"]
    ]
    assert fits, [f for f in document["findings"] if f["severity"] != "ok"]
    return dict(fits[0])


@unix
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place_and_cure(
    home: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = WRONG[name]
    path = wrong.do(home)
    before = home.snapshot()
    monkeypatch.chdir(home.cwd)
    assert_russian(home, wrong.env, validate)
    code = 78 if wrong.severity == "error" else 0
    document = home.document("config", "validate", code=code, env=wrong.env)
    finding = found_in(document, wrong)
    assert finding["path"] == (None if path is None else str(path))
    assert finding["line"] == wrong.line
    assert wrong.cure in finding["cure"]
    assert document["ok"] is (code == 0)
    assert home.snapshot() == before, "to look is not to change"


def test_a_valid_home(home: World) -> None:
    before = home.snapshot()
    done = home.kmi("config", "validate")
    assert (done.returncode, done.stdout, done.stderr) == (0, "everything is valid\n", "")
    document = home.document("config", "validate")
    assert document["ok"] is True
    assert {finding["severity"] for finding in document["findings"]} == {"ok"}
    assert document["counts"] == {"error": 0, "warning": 0, "ok": len(document["findings"])}
    assert home.snapshot() == before


def test_everything_is_told_at_once(home: World) -> None:
    """No finding hides another one, and no other finding is made up."""
    several = ["a value in the env file", "a placeholder", "toml that is none", "a damaged state"]
    several += ["damaged decisions", "half a config", "a login beside a key of Kimi Code"]
    for name in several:
        WRONG[name].do(home)
    document = home.document("config", "validate", code=78)
    told = [found_in(document, WRONG[name]) for name in several]
    assert document["counts"]["error"] == len(told)
    done = home.kmi("config", "validate")
    assert (done.returncode, done.stderr) == (78, "")
    for finding in told:
        line = "" if finding["line"] is None else f":{finding['line']}"
        where = f"{finding['path']}{line}: " if finding["path"] else ""
        shown = f"error: {where}{finding['what']} ({finding['cure']})"
        assert shown in done.stdout.splitlines()
    order = [SUBJECTS.index(finding["subject"]) for finding in document["findings"]]
    assert order == sorted(order)


def test_the_form_of_a_finding(home: World) -> None:
    home.add_key("x", "sk-your-key")
    document = home.document("config", "validate", code=78)
    fields = ["check", "severity", "subject", "path", "line", "what", "cure", "fixable"]
    assert all(list(finding) == fields for finding in document["findings"])
    assert list(document) == ["schema", "ok", "counts", "findings"]


def test_warnings_alone_do_not_fail(home: World) -> None:
    done = home.kmi("config", "validate", env={"KMI_STRATAGY": "x"})
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert first.startswith("warning: environment: KMI_STRATAGY is not a setting of kmi (did you")
    assert last == "valid, with warnings"


def test_no_secret_is_told(home: World) -> None:
    write_private(home.auths / "x.toml", f"api_key = '{secret_of('x')}'\nlabel = 5\n")
    home.write_config(CODE, LOGIN.format(secret=secret_of("y")))
    home.add_key("pasted", KEY_LABEL=secret_of("label"))
    write_private(
        home.state / "state.json", json.dumps({"schema": 1, secret_of("z"): secret_of("z")})
    )
    for more in (["-v"], ["--json"]):
        done = home.kmi("config", "validate", *more)
        for name in ("alpha", "x", "y", "z", "label"):
            assert secret_of(name)[3:-4] not in done.stdout + done.stderr


def test_in_russian(home: World) -> None:
    WRONG["a damaged state"].do(home)
    (home.auths / "alpha.env").chmod(0o644)
    done = home.kmi("config", "validate", env={"KMI_LOCALE": "ru", "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 78
    warning, error = done.stdout.splitlines()
    assert error.startswith(f"ошибка: {home.state / 'state.json'}:2: повреждён")
    assert warning.startswith(f"внимание: {home.auths / 'alpha.env'}: у других есть права")  # noqa: RUF001 - Russian
    plain = home.kmi("config", "validate", "--plain", env={"KMI_LOCALE": "ru"})
    assert plain.stdout.isascii()


def test_a_dry_run_says_so(home: World) -> None:
    done = home.kmi("config", "validate", env={"KMI_DRY_RUN": "1"})
    assert done.returncode == 0
    assert "dry run" in done.stderr
