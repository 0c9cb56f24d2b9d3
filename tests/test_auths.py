"""Auth files: four formats, nothing skipped in silence, and who may read them."""

from __future__ import annotations

import json
import os
import shlex
import stat
import string
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kmi.auth_formats import (
    SUFFIXES,
    AuthFile,
    check_secret,
    explain,
    key_id_of,
    parse_auth_file,
    provisional_id,
    stem_of,
)
from kmi.auth_writing import env_text, relabelled
from kmi.auths import Keyring, load_keyring
from kmi.errors import KmiError
from kmi.model import ApiKey, masked
from kmi.secrets_source import resolve_secret
from kmi.settings import load_settings
from kmi.urls import parse_base_url
from tests.conftest import secret_of, write_private
from tests.other_user import abroad

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

DEFAULT = parse_base_url("https://api.kimi.com/coding/v1")
ALPHA, BETA = secret_of("alpha"), secret_of("beta")


def parse(path: str, text: str | bytes) -> AuthFile:
    data = text.encode() if isinstance(text, str) else text
    return parse_auth_file(path, data, DEFAULT)


def only(parsed: AuthFile) -> ApiKey:
    """The one key of a file in which nothing is wrong."""
    assert parsed.problems == ()
    assert len(parsed.keys) == 1
    return parsed.keys[0]


def said(parsed: AuthFile | Keyring) -> list[str]:
    return [str(problem) for problem in parsed.problems]


def ring_of(world: World, **env: str) -> Keyring:
    settings, problems = load_settings({**world.env, **env})
    assert problems == []
    return load_keyring(settings)


# Formats.

FLAT = {
    "api_key": ALPHA,
    "label": "work",
    "base_url": "https://api.moonshot.ai/v1/",
    "priority": 7,
    "disabled": True,
    "email": "ada@example.com",
    "max_concurrency": 3,
}
ENV = f"""\
# the key of work
export KMI_API_KEY='{ALPHA}'
KMI_KEY_LABEL=work
KMI_UPSTREAM_BASE_URL=https://api.moonshot.ai/v1/
KMI_KEY_PRIORITY=7
KMI_KEY_DISABLED=yes
KMI_ACCOUNT_EMAIL="ada@example.com"   # hers
KMI_KEY_MAX_CONCURRENCY=3
"""
TOML = "# the key of work\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in FLAT.items())
JSON = json.dumps(FLAT, indent=2)
TEXTS = {".env": ENV, ".toml": TOML, ".json": JSON, ".json.bak": JSON}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_field_in_every_format(suffix: str) -> None:
    key = only(parse(f"/a/file{suffix}", TEXTS[suffix]))
    assert key == ApiKey(
        label="work",
        key_id=key_id_of(ALPHA),
        secret=ALPHA,
        base_url=parse_base_url("https://api.moonshot.ai/v1"),
        source=f"/a/file{suffix}",
        line=2,
        priority=7,
        disabled=True,
        email="ada@example.com",
        max_concurrency=3,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_secret_alone_is_enough(suffix: str) -> None:
    texts = {".env": f"KMI_API_KEY={ALPHA}", ".toml": f"api_key = '{ALPHA}'"}
    key = only(parse(f"/a/home{suffix}", texts.get(suffix, json.dumps({"api_key": ALPHA}))))
    assert (key.label, key.base_url, key.priority) == ("home", DEFAULT, 0)
    assert (key.disabled, key.email, key.max_concurrency, key.command) == (False, None, None, None)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("change", ["bom", "crlf"])
def test_a_bom_or_crlf_changes_nothing(suffix: str, change: str) -> None:
    text = TEXTS[suffix]
    data = (
        b"\xef\xbb\xbf" + text.encode() if change == "bom" else text.replace("\n", "\r\n").encode()
    )
    key = only(parse(f"/a/file{suffix}", data))
    assert (key.secret, key.line) == (ALPHA, 2)


def test_the_secret_is_in_no_repr() -> None:
    key = only(parse("/a/x.toml", f"api_key = '{ALPHA}'"))
    command = only(parse("/a/x.toml", "api_key_command = 'print CANARY'"))
    assert ALPHA not in repr(key) + str(key)
    assert "CANARY" not in repr(command)


def test_values_of_env_files_are_data() -> None:
    key = only(
        parse("/a/x.env", f"KMI_API_KEY={ALPHA}\nKMI_ACCOUNT_EMAIL=$HOME`id`$(id)${{HOME}}\n")
    )
    assert key.email == "$HOME`id`$(id)${HOME}"


@pytest.mark.parametrize(
    "path, label",
    [
        ("/a/work.env", "work"),
        ("/a/work.json.bak", "work"),
        ("/a/work.json", "work"),
        ("/a/team/.env", "team"),
        ("/a/team/config.toml", "team"),
        ("/a/team/config.json.bak", "team"),
        ("C:\\a\\work.toml", "work"),
        ("config.toml", "config"),
        ("/a/b.c.env", "b.c"),
    ],
)
def test_the_label_of_a_file_without_one(path: str, label: str) -> None:
    assert stem_of(path) == label


# Whole client configs.

CLIENT = f"""\
default_model = "k"
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = ""
[providers."managed:kimi-code".oauth]
storage = "file"
key = "oauth/kimi-code"
[providers.mine]
type = "kimi"
base_url = "https://api.moonshot.ai/v1"
api_key = "{ALPHA}"
[providers."my other"]
type = "openai_legacy"
api_key = "{BETA}"
[providers.claude]
type = "anthropic"
api_key = "sk-ant-0123456789"
[providers.empty]
type = "kimi"
api_key_env = "X"
[models.k]
provider = "mine"
model = "kimi-for-coding"
max_context_size = 262144
"""


@pytest.mark.parametrize("suffix", [".toml", ".json", ".json.bak"])
def test_a_client_config_gives_a_key_for_each_provider(suffix: str) -> None:
    import tomlkit

    text = CLIENT if suffix == ".toml" else json.dumps(tomlkit.parse(CLIENT).unwrap())
    parsed = parse(f"/a/team{suffix}", text)
    assert [(k.label, k.secret, str(k.base_url)) for k in parsed.keys] == [
        ("team/mine", ALPHA, "https://api.moonshot.ai/v1"),
        ("team/my-other", BETA, str(DEFAULT)),
    ]
    assert not any(problem.fatal for problem in parsed.problems)
    # A login and an empty provider beside keys are nothing to be told at every run.
    assert ["anthropic" in what for what in said(parsed)] == [True]
    assert "sk-ant" not in "".join(said(parsed))


def test_a_client_config_without_any_key_says_why() -> None:
    parsed = parse("/a/t.toml", "[providers.x.oauth]\nkey = 'k'\n[providers.y]\napi_key = ''\n")
    assert parsed.keys == ()
    login, empty, nothing = said(parsed)
    assert "'x' has an OAuth login" in login
    assert "'y' has no api_key" in empty
    assert "no provider in it has an api_key" in nothing


def test_one_provider_is_labelled_by_the_file() -> None:
    parsed = parse("/a/team.toml", f"[providers.x]\napi_key = '{ALPHA}'\n")
    assert only(parsed).label == "team"


def test_a_bad_provider_does_not_hide_the_others() -> None:
    text = f"""
providers.a.api_key = "{ALPHA}"
providers.b.api_key = 5
providers.c = "x"
[providers.d]
api_key = "{BETA}"
base_url = "http://evil.example"
"""
    parsed = parse("/a/team.toml", text)
    assert [key.label for key in parsed.keys] == ["team/a"]
    assert len(parsed.problems) == 3
    assert any("api_key is not a string" in line for line in said(parsed))
    assert any("'c' is not a table" in line for line in said(parsed))
    assert any("base_url is plain http" in line for line in said(parsed))


@pytest.mark.parametrize(
    "text", ["providers = 5", "providers = []", "[providers]", "[[providers]]"]
)
def test_a_config_without_a_key_is_reported(text: str) -> None:
    parsed = parse("/a/team.toml", text)
    assert parsed.keys == ()
    assert any(problem.fatal for problem in parsed.problems)


# What is wrong, and where.


@pytest.mark.parametrize(
    "name, text, line, what",
    [
        ("x.env", "", None, "no api_key"),
        ("x.env", "\n\nKMI_API_KEY=\n", 3, "no api_key"),
        ("x.env", f"\nKMI_API_KEY={ALPHA}\nKMI_KEY_PRIORITY=high\n", 3, "priority is not valid"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_KEY_DISABLED=ture\n", 2, "disabled is not valid"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_KEY_MAX_CONCURRENCY=0\n", 2, "max_concurrency"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_UPSTREAM_BASE_URL=http://e.com\n", 2, "plain http"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_KEY_LABEL=-work\n", 2, "label '-work' is not allowed"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_KEY_LABEL='a b'\n", 2, "label 'a b' is not allowed"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_API_KEY={BETA}\n", 2, "given twice"),
        ("x.env", f"KMI_API_KEY={ALPHA}\nKMI_API_KEY_COMMAND=pass x\n", 2, "both"),
        ("x.env", f"KMI_API_KEY={ALPHA}\n\n='x'\n", 3, "not NAME=value"),
        ("x.env", "KMI_API_KEY=sk-your-key\n", 1, "placeholder"),
        ("x.env", "KMI_API_KEY=short\n", 1, "between 8 and 4096"),
        ("x.env", "KMI_API_KEY='sk-kimi-0123 456789'\n", 1, "blank"),
        ("x.env", 'KMI_API_KEY="sk-kimi-0123\\n456789"\n', 1, "control character"),
        ("x.env", 'KMI_API_KEY="sk-kimi-0123\\r456789"\n', 1, "control character"),
        ("x.env", "KMI_API_KEY=sk-kimi-\u043a\u043b\u044e\u0447-0123\n", 1, "non-ASCII"),
        ("x.env", "KMI_API_KEY=sk-\u20260123456789abcd\n", 1, "non-ASCII"),
        ("a b.env", f"KMI_API_KEY={ALPHA}\n", None, "label 'a b' is not allowed"),
        ("-x.env", f"KMI_API_KEY={ALPHA}\n", None, "label '-x' is not allowed"),
        ("x.toml", "label = 'x'\napi_key = \n", 2, "not valid TOML"),
        ("x.toml", "api_key = 'a'\napi_key = 'b'\n", 2, "not valid TOML"),
        ("x.toml", "a = {b = 1, b = 2}\n", None, "not valid TOML"),
        ("x.toml", "\napi_key = 5\n", 2, "api_key is not a string"),
        ("x.toml", f"api_key = '{ALPHA}'\npriority = 1.5\n", 2, "priority is not valid"),
        ("x.toml", f"api_key = '{ALPHA}'\npriority = true\n", 2, "priority is not valid"),
        ("x.toml", f"api_key = '{ALPHA}'\ndisabled = 2\n", 2, "disabled is not valid"),
        ("x.toml", f"api_key = '{ALPHA}'\nlabel = ['x']\n", 2, "label is not a string"),
        ("x.toml", f"api_key = '{ALPHA}'\nemail = 1\n", 2, "email is not a string"),
        ("x.toml", 'api_key_command = "a\\u0000b"\n', 1, "control character"),
        ("x.json", '{"api_key":\n}', 2, "not valid JSON"),
        ("x.json", "[]", 1, "not a JSON object"),
        ("x.json", '"sk-kimi-0123456789"', 1, "not a JSON object"),
        ("x.json", '{\n "api_key": 5}', 2, "api_key is not a string"),
        ("x.json.bak", "{", 1, "not valid JSON"),
        ("x.env", b"KMI_API_KEY=sk-kimi-\xff0123456\n", None, "not UTF-8"),
        ("x.env", f"KMI_API_KEY={ALPHA}".encode("utf-16"), None, "not UTF-8"),
        ("x.env", b"KMI_API_KEY=sk-kimi-01234\x0056789\n", None, "NUL byte"),
        ("x.toml", b"api_key = 'sk-kimi-01234\x0056789'\n", None, "NUL byte"),
        ("x.json", f'{{"api_key": "{ALPHA}"}}'.encode("utf-16-le"), None, "NUL byte"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(
    name: str, text: str | bytes, line: int | None, what: str
) -> None:
    parsed = parse(f"/a/{name}", text)
    fatal = [problem for problem in parsed.problems if problem.fatal]
    assert len(fatal) == 1, parsed.problems
    assert fatal[0].where == f"/a/{name}" + (f":{line}" if line else "")
    assert what in fatal[0].what
    for secret in (ALPHA, BETA):
        assert secret not in str(fatal[0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unknown_field_is_a_warning_with_the_nearest(suffix: str) -> None:
    texts = {
        ".env": f"KMI_API_KEY={ALPHA}\nKMI_KEY_LABLE=x\nOTHER=1\n",
        ".toml": f"api_key = '{ALPHA}'\nlable = 'x'\nother = 1\n",
        ".json": f'{{"api_key": "{ALPHA}",\n "lable": "x",\n "other": 1}}',
    }
    parsed = parse(f"/a/f{suffix}", texts[suffix.replace(".bak", "")])
    assert [key.label for key in parsed.keys] == ["f"]
    known = "KMI_KEY_LABEL" if suffix == ".env" else "label"
    assert [(p.where, p.fix, p.fatal) for p in parsed.problems] == [
        (f"/a/f{suffix}:2", f"did you mean {known}?", False),
        (f"/a/f{suffix}:3", "remove it", False),
    ]


@pytest.mark.parametrize(
    "secret",
    [
        "sk-your-key",
        "sk-your-kimi-key-here",
        "sk-kimi-your-key",
        "sk-xxxxxxxxxxxx",
        "SK-YOUR-KEY",
        "sk-...",
        "sk-kimi-...",
        "sk-<your key>",
        "<your-api-key>",
        "your-api-key-here",
        "changeme1234",
        "replace-me-1234",
        "${KIMI_API_KEY}",
        "sk-kimi-***abcd",
        "sk-kimi-...wxyz",
        "xxxxxxxxxxxxxxxx",
        "sk-placeholder-1",
        "sk-example-12345",
    ],
)
def test_placeholders_and_masked_keys_are_no_keys(secret: str) -> None:
    with pytest.raises(ValueError) as error:
        check_secret(secret)
    assert secret not in str(error.value)


def test_what_kmi_shows_of_a_key_is_not_taken_back_as_one() -> None:
    with pytest.raises(ValueError):
        check_secret(masked(ALPHA))


@pytest.mark.parametrize("start", ["api", "XxX", "key9", "Your", "APIx"])
def test_a_real_key_may_begin_with_any_letters(start: str) -> None:
    # Real keys are random: one of some thousands begins so.
    check_secret(f"sk-kimi-{start}q8Zt4LmW2cYdR7vNbKs6HjXf3GpQ9aTe")


@given(st.text(st.sampled_from(string.ascii_letters + string.digits), min_size=40, max_size=60))
def test_random_keys_are_keys(tail: str) -> None:
    assume(len(set(tail)) > 10)
    check_secret(f"sk-kimi-{tail}")


@pytest.mark.parametrize(
    "label, good",
    [
        ("work", True),
        ("a", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("Team/alpha@home.org_1-2", True),
        ("9", True),
        ("-a", False),
        ("a b", False),
        ("a\nb", False),
        ("work\n", False),
        ("\u043a\u043b\u044e\u0447", False),
        ("a\x1b[2J", False),
        ("a\u202eb", False),
        ("a:b", False),
        ("a$b", False),
        ("a'b", False),
    ],
)
def test_labels(label: str, good: bool) -> None:
    parsed = parse("/a/f.json", json.dumps({"api_key": ALPHA, "label": label}))
    assert [key.label for key in parsed.keys] == ([label] if good else [])
    assert bool(parsed.problems) is not good
    assert all(ord(char) < 127 and char.isprintable() for p in said(parsed) for char in p)


DEEP = 100_000


@pytest.mark.parametrize(
    "name, text",
    [
        ("x.json", "[" * DEEP),
        ("x.json", "[" * DEEP + "]" * DEEP),
        ("x.json", '{"a":' * DEEP + "1" + "}" * DEEP),
        ("x.json", '{"api_key": ' + "[" * DEEP + "]" * DEEP + "}"),
        ("x.toml", "a = " + "[" * 5000 + "]" * 5000),
        ("x.toml", "a = " + "{b = " * 3000 + "1" + "}" * 3000),
        ("x.toml", ".".join("a" * 2000) + " = 1"),
        ("x.toml", "[" + ".".join("a" * 2000) + "]\nx = 1"),
        ("x.json", '{"priority": ' + "9" * 10_000 + "}"),
        ("x.json", '{"api_key": NaN}'),
        ("x.json", '{"api_key": "\\ud800\\ud800\\ud800\\ud800"}'),
    ],
)
def test_hostile_nesting_is_a_clean_answer(name: str, text: str) -> None:
    parsed = parse(f"/a/{name}", text)
    assert parsed.keys == ()
    assert parsed.problems


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "api_key",
        "api_key_command",
        "label",
        "base_url",
        "priority",
        "disabled",
        "email",
        "max_concurrency",
        "providers",
        "type",
        "oauth",
        "x",
    ]
)
tables = st.dictionaries(fields, json_values, max_size=5)
env_lines = st.lists(
    st.tuples(
        st.sampled_from(
            ["KMI_API_KEY", "KMI_KEY_LABEL", "KMI_KEY_PRIORITY", "export X", "", "'", "#"]
        ),
        st.sampled_from(["=", "", " = ", "='", '="']),
        st.text(max_size=12),
    ).map("".join),
    max_size=5,
).map("\n".join)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(
    data=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | env_lines.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | tables.map(lambda table: json.dumps(table).encode())
    | st.dictionaries(
        st.just("providers"), tables | st.dictionaries(st.text(max_size=3), tables)
    ).map(lambda table: json.dumps(table).encode())
)
@example(data=b'providers = {"a" = {api_key = "x"}}')
@example(data=b"a=1\na.b=2")
@example(data=b"[a]\n[a.b]\n[a]")
@example(data=b"\xef\xbb\xbf\xef\xbb\xbf")
def test_any_bytes_give_an_answer(suffix: str, data: bytes) -> None:
    parsed = parse(f"/a/f{suffix}", data)
    assert parsed.keys or parsed.problems
    for key in parsed.keys:
        assert key.secret is not None or key.command is not None
        assert parse_base_url(str(key.base_url)) == key.base_url
    for problem in parsed.problems:
        assert problem.where.startswith(f"/a/f{suffix}")
        assert problem.what


toml_bits = st.lists(
    st.sampled_from(
        [
            "a",
            "api_key",
            '"q"',
            "=",
            ".",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            ",",
            "'x'",
            '"""',
            "'''",
            "1",
            "1979-05-27",
            "07:32:00",
            "0x_",
            "+inf",
            "true",
            "#c",
            "\\u00",
            "-",
            "e",
            *list("\n\r\t "),
        ]
    ),
    max_size=14,
).map("".join)


@given(toml_bits)
def test_any_toml_like_text_gives_an_answer(text: str) -> None:
    parsed = parse("/a/f.toml", text)
    assert parsed.keys or parsed.problems


# The directory.


def test_the_directory_and_one_level_of_folders(world: World) -> None:
    world.add_key("b", KEY_PRIORITY=1)
    world.add_key("c")
    write_private(world.auths / "team" / "a.toml", f"api_key = '{secret_of('a')}'\n")
    write_private(world.auths / "team" / ".env", f"KMI_API_KEY={secret_of('team')}\n")
    write_private(world.auths / "team" / "deep" / "no.env", f"KMI_API_KEY={secret_of('deep')}\n")
    write_private(world.auths / "README.md", "text")
    write_private(world.auths / "old.env~", "KMI_API_KEY=x\n")
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["b", "a", "c", "team"]
    assert ring.problems == ()
    assert ring.find("a") is not None
    assert ring.find("nothing") is None


def test_a_missing_directory_has_no_keys(world: World) -> None:
    ring = ring_of(world, KMI_AUTHS_DIR=str(world.root / "none"))
    assert ring.keys == ()
    assert not (world.root / "none").exists()


def test_a_broken_file_does_not_hide_the_others(world: World) -> None:
    write_private(world.auths / "a.json", "[" * DEEP)
    write_private(world.auths / "b.env", b"\xff\xfe\x00")
    world.add_key("c")
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["c"]
    assert [problem.where for problem in ring.problems] == [
        str(world.auths / "a.json"),
        str(world.auths / "b.env"),
    ]


def test_the_same_secret_twice_the_first_wins(world: World) -> None:
    first = world.add_key("a")
    second = write_private(world.auths / "b.toml", f"# again\napi_key = '{secret_of('a')}'\n")
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["a"]
    assert [(p.where, p.fatal) for p in ring.problems] == [(f"{second}:2", False)]
    assert str(first) in ring.problems[0].what
    assert secret_of("a") not in str(ring.problems[0])


def test_the_same_label_twice_the_first_wins(world: World) -> None:
    world.add_key("a")
    second = write_private(world.auths / "z.toml", f"label = 'a'\napi_key = '{secret_of('z')}'\n")
    ring = ring_of(world)
    assert [(key.label, key.secret) for key in ring.keys] == [("a", secret_of("a"))]
    assert [(p.where, p.fatal) for p in ring.problems] == [(f"{second}:2", True)]


def test_a_base_url_outside_of_the_allowlist_is_reported(world: World) -> None:
    world.add_key("a")
    world.add_key("b", UPSTREAM_BASE_URL="https://api.moonshot.ai/v1")
    ring = ring_of(world, KMI_UPSTREAM_ALLOWLIST="*.kimi.com")
    assert ["'b'" in problem.what for problem in ring.problems] == [True]


def test_the_auths_of_the_working_directory_are_never_read(world: World) -> None:
    write_private(world.cwd / "_auths" / "evil.env", f"KMI_API_KEY={secret_of('evil')}\n")
    write_private(world.cwd / "evil.env", f"KMI_API_KEY={secret_of('evil')}\n")
    for changes in ({}, {"KMI_AUTHS_DIR": None, "KMI_ENV_PATH": None}):
        done = world.kmi("keys", "--json", env=changes)
        assert done.returncode == 0, done
        document = json.loads(done.stdout)
        assert "evil" not in [key["label"] for key in document["keys"]]
        assert str(world.cwd) not in document["directory"]


# Modes, links, and what is no file at all.

unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")


@unix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o666, 0o400, 0o440, 0o700, 0o755])
def test_modes_are_tightened_and_said(world: World, mode: int) -> None:
    path = world.add_key("a", mode=mode)
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["a"]
    assert ring.problems == ()
    after = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        assert after == mode & 0o600
        assert [str(path) in notice and f"{mode:04o}" in notice for notice in ring.notices] == [
            True
        ]
    else:
        assert after == mode
        assert ring.notices == ()
    assert ring_of(world).notices == ()


@unix
def test_a_file_without_rights_is_reported(world: World) -> None:
    with abroad(world) as there:
        path = there.add_key("a", mode=0)
        there.give()
        done = there.kmi("keys", "--json")
    assert f"{path}: Permission denied" in done.stderr
    assert json.loads(done.stdout)["keys"] == []


@unix
def test_modes_are_only_told_when_they_are_not_enforced(world: World) -> None:
    path = world.add_key("a", mode=0o644)
    ring = ring_of(world, KMI_ENFORCE_FILE_PERMS="0")
    assert [key.label for key in ring.keys] == ["a"]
    assert [(p.where, p.fatal) for p in ring.problems] == [(str(path), False)]
    assert "0644" in ring.problems[0].what
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@unix
def test_a_dry_run_changes_no_mode(world: World) -> None:
    path = world.add_key("a", mode=0o644)
    world.auths.chmod(0o777)
    assert world.kmi("status", env={"KMI_DRY_RUN": "1"}).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(world.auths.stat().st_mode) == 0o777


@unix
@pytest.mark.parametrize("mode", [0o770, 0o777, 0o722])
def test_a_directory_that_others_can_write_is_tightened(world: World, mode: int) -> None:
    write_private(world.auths / "team" / "a.env", f"KMI_API_KEY={secret_of('a')}\n")
    for folder in (world.auths, world.auths / "team"):
        folder.chmod(mode)
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["a"]
    assert len(ring.notices) == 2
    for folder in (world.auths, world.auths / "team"):
        assert stat.S_IMODE(folder.stat().st_mode) == mode & ~0o022


@unix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_directory_of_another_user_supplies_no_keys(world: World) -> None:
    world.add_key("a")
    with abroad(world) as there:
        os.chown(there.auths, 12345, 12345)
        there.auths.chmod(0o755)
        done = there.kmi("keys")
    assert done.returncode == 77, done
    assert "belongs to another user" in done.stderr


def test_a_link_is_reported_and_not_followed(world: World) -> None:
    real = write_private(world.root / "elsewhere.env", f"KMI_API_KEY={secret_of('x')}\n")
    (world.auths / "link.env").symlink_to(real)
    (world.auths / "dangling.env").symlink_to(world.root / "nowhere")
    (world.auths / "loop.env").symlink_to(world.auths / "loop.env")
    ring = ring_of(world)
    assert ring.keys == ()
    assert {problem.where: "symbolic link" in problem.what for problem in ring.problems} == {
        str(world.auths / name): True for name in ("dangling.env", "link.env", "loop.env")
    }


def test_a_link_to_a_folder_is_not_skipped_in_silence(world: World) -> None:
    write_private(world.root / "elsewhere" / "x.env", f"KMI_API_KEY={secret_of('x')}\n")
    (world.auths / "team").symlink_to(world.root / "elsewhere")
    ring = ring_of(world)
    assert ring.keys == ()
    assert [problem.where for problem in ring.problems] == [str(world.auths / "team")]


@unix
def test_a_fifo_does_not_block(world: World) -> None:
    os.mkfifo(world.auths / "pipe.env", 0o600)
    world.add_key("b")
    ring = ring_of(world)
    assert [key.label for key in ring.keys] == ["b"]
    assert ["regular file" in problem.what for problem in ring.problems] == [True]


def test_a_folder_that_is_named_like_a_file_is_a_folder(world: World) -> None:
    write_private(world.auths / "team.env" / "a.env", f"KMI_API_KEY={secret_of('a')}\n")
    assert [key.label for key in ring_of(world).keys] == ["a"]


def test_a_huge_file_is_refused(world: World) -> None:
    write_private(world.auths / "big.env", f"KMI_API_KEY={ALPHA}\n#" + "x" * (1024 * 1024))
    sparse = world.auths / "sparse.toml"
    write_private(sparse, "")
    os.truncate(sparse, 50 * 1024**3)
    ring = ring_of(world)
    assert ring.keys == ()
    assert ["larger than 1024 KiB" in problem.what for problem in ring.problems] == [True, True]


# Keys that a program gives.


def command_key(command: str) -> ApiKey:
    """A key whose secret comes from a program."""
    return only(parse("/a/x.toml", f"# by a program\napi_key_command = {json.dumps(command)}\n"))


def python(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def env_of(world: World) -> dict[str, str]:
    return {name: value for name, value in world.env.items() if name != "PYTHONPATH"}


def test_a_command_is_not_run_by_reading(world: World) -> None:
    mark = world.root / "mark"
    write_private(world.auths / "a.env", f"KMI_API_KEY_COMMAND=touch {mark}\n")
    key = ring_of(world).keys[0]
    assert (key.secret, key.line, key.key_id) == (None, 1, provisional_id(f"touch {mark}"))
    assert not mark.exists()


def test_the_first_line_of_a_command_is_the_secret(world: World) -> None:
    key = command_key(python(f"print('{ALPHA}'); print('more')"))
    assert key.label == "x"
    found = resolve_secret(key, env_of(world))
    assert (found.secret, found.key_id) == (ALPHA, key_id_of(ALPHA))
    assert resolve_secret(found, {}) is found


def test_a_command_is_run_without_a_shell(world: World) -> None:
    mark = world.root / "mark"
    found = resolve_secret(
        command_key(f"echo {ALPHA};touch${{IFS}}{mark}&&id|cat$(id)`id`"), env_of(world)
    )
    assert found.secret is not None
    assert found.secret.startswith(f"{ALPHA};touch$")
    assert not mark.exists()


def test_a_command_gets_the_environment(world: World) -> None:
    env = {**env_of(world), "SECRET_FROM": ALPHA}
    found = resolve_secret(command_key(python("import os; print(os.environ['SECRET_FROM'])")), env)
    assert found.secret == ALPHA


@pytest.mark.parametrize(
    "command, why",
    [
        ("no-such-program-here --x", "'no-such-program-here', which is not on PATH"),
        ("/no/such/program", "'/no/such/program', which is not on PATH"),
        ("false", "exit code 1"),
        ("true", "the key is empty"),
        ("echo", "the key is empty"),
        ("echo 'two words here'", "blank"),
        ("echo sk-your-key", "placeholder"),
        ("echo short", "between 8"),
        ("printf '\\377\\376\\375\\374\\373\\372\\371\\370'", "non-ASCII"),
        ("printf 'sk-kimi-0123\\033[2J4567'", "control character"),
        ("echo 'unbalanced", "unbalanced quotes"),
        ("/", "can't be run"),
    ],
)
def test_a_command_that_gives_no_key(world: World, command: str, why: str) -> None:
    with pytest.raises(KmiError) as error:
        resolve_secret(command_key(command), env_of(world))
    assert str(error.value).startswith("/a/x.toml:2: the api_key_command of 'x' ")
    assert why in str(error.value)


def test_what_a_failing_command_printed_is_not_repeated(world: World) -> None:
    with pytest.raises(KmiError) as error:
        resolve_secret(command_key(python(f"print('{ALPHA}'); raise SystemExit(3)")), env_of(world))
    assert ALPHA not in str(error.value)
    assert "exit code 3" in str(error.value)


def test_a_run_uses_another_key_when_a_command_fails(world: World) -> None:
    write_private(world.auths / "a.env", "KMI_API_KEY_COMMAND=false\nKMI_KEY_PRIORITY=9\n")
    world.add_key("b")
    done = world.kmi("run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY")
    assert (done.returncode, done.stdout) == (0, "b\n"), done
    assert "exit code 1; another key is used" in done.stderr
    named = world.kmi("run", "-k", "a", "--", "true")
    assert named.returncode == 125
    assert f"{world.auths / 'a.env'}:1" in named.stderr


def test_the_secret_of_a_command_is_in_the_client_config_only(world: World) -> None:
    write_private(world.auths / "a.env", f"KMI_API_KEY_COMMAND=echo {ALPHA}\n")
    # The command itself would show it here; a real one asks a password store.
    world.script("store", f"echo {ALPHA}")
    write_private(world.auths / "a.env", "KMI_API_KEY_COMMAND=store\n")
    done = world.kmi("use", "a", "--client", "kimi-cli")
    assert done.returncode == 0, done
    assert world.files_with(ALPHA) == [".kimi/config.toml"]
    key_id = key_id_of(ALPHA)
    assert world.document("current", "--client", "kimi-cli")["key_id"] == key_id
    assert [key["key_id"] for key in world.document("keys")["keys"]] == [key_id]


# Everything is said by the command line, too.


def test_every_problem_is_told_with_path_and_fix(world: World) -> None:
    world.add_key("a", KEY_LABLE="x")
    bad = write_private(world.auths / "b.toml", "api_key = \n")
    done = world.kmi("keys")
    assert done.returncode == 0
    assert f"warning: {world.auths / 'a.env'}:2: KMI_KEY_LABLE is not a field" in done.stderr
    assert "(did you mean KMI_KEY_LABEL?)" in done.stderr
    assert f"warning: {bad}:1: is not valid TOML (correct that line)" in done.stderr
    document: dict[str, Any] = world.document("config", "validate", code=78)
    assert (str(bad), 1) in [(f["path"], f["line"]) for f in document["findings"]]


def test_a_file_name_cannot_drive_the_terminal(world: World) -> None:
    write_private(world.auths / "a\x1b]0;evil\x07\u202e.env", "KMI_API_KEY=x\n")
    done = world.kmi("keys")
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    assert "\\x1b]0;evil" in done.stderr


def folder_names(path: Path) -> set[str]:
    return {item.name for item in path.iterdir()}


def test_reading_leaves_nothing_behind(world: World) -> None:
    world.add_key("a")
    before = world.snapshot()
    ring_of(world)
    assert world.snapshot() == before
    assert folder_names(world.auths) == {"a.env"}


@pytest.mark.parametrize(
    "old, new",
    [
        ("KMI_API_KEY=s", "KMI_API_KEY=s\nKMI_KEY_LABEL=b\n"),
        ("KMI_KEY_LABEL=a", "KMI_KEY_LABEL=b"),
        (" export KMI_KEY_LABEL = a\r\nKMI_API_KEY=s\r\n", "KMI_KEY_LABEL=b\r\nKMI_API_KEY=s\r\n"),
        ("", "KMI_KEY_LABEL=b\n"),
    ],
)
def test_a_label_is_written_where_the_old_one_was(old: str, new: str) -> None:
    assert relabelled("/a/x.env", old.encode(), "b") == new.encode()


@pytest.mark.parametrize(
    "name, text", [("x.toml", "[providers.p]\n"), ("x.json", '{"providers":{}}')]
)
def test_a_client_config_takes_no_label(name: str, text: str) -> None:
    with pytest.raises(KmiError, match="client config") as error:
        relabelled(f"/a/{name}", text.encode(), "b")
    assert error.value.code == "not-renamable"


@pytest.mark.parametrize(
    "value, disabled", [("1", True), ("0", False), ("true", True), ('""', False)]
)
def test_a_key_is_disabled_by_a_number_or_a_word(value: str, disabled: bool) -> None:
    text = f"api_key = '{ALPHA}'\ndisabled = {value}\n"
    assert only(parse("/a/x.toml", text)).disabled is disabled


def test_a_file_without_a_suffix_is_named_as_it_is() -> None:
    assert stem_of("/a/work") == "work"
    assert stem_of("C:\\keys\\work.toml") == "work"


def test_the_words_of_an_error() -> None:
    assert explain(KmiError("can't be read", "look")) == "can't be read"
    assert explain(PermissionError(13, "Permission denied", "/a/x")) == "Permission denied"
    assert explain(ValueError("odd")) == "odd"


def test_of_many_unknown_names_the_first_twenty_are_told() -> None:
    names = "".join(f"NAME{number}=1\n" for number in range(23))
    problems = said(parse("/a/x.env", f"KMI_API_KEY={ALPHA}\n{names}"))
    assert len(problems) == 21
    assert "has 3 more names that are not fields" in problems[-1]


def test_a_label_is_written_into_each_format() -> None:
    assert relabelled("/a/x.env", b"KMI_API_KEY=s\n", "it's").startswith(b"KMI_API_KEY=s\n")
    assert b'label = "b"' in relabelled("/a/x.toml", b'api_key = "s"\n', "b")
    table = relabelled("/a/x.json", b'{"api_key": "s", "email": "\\ud800"}', "b")
    assert relabelled("/a/x.json", '{"email": "ü"}'.encode(), "b").decode().count("ü") == 1
    assert json.loads(table) == {"api_key": "s", "email": "\ud800", "label": "b"}
    assert env_text({"KMI_API_KEY": "it's a\\b"}) == "KMI_API_KEY='it\\'s a\\\\b'\n"
