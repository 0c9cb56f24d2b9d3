"""The edit of a client's config: the credential fields change, and nothing else does."""

from __future__ import annotations

import contextlib
import copy
import datetime
import difflib
import math
import re
from typing import Any

import pytest
import tomlkit
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from kmi.errors import ConfigError
from kmi.kimi_config import (
    MAX_CONFIG_BYTES,
    Config,
    apply_edits,
    drop_items,
    parse_config,
    same_data,
    value_at,
)
from kmi.kimi_edits import (
    OWN_NAME,
    Credential,
    adopt_edits,
    minimal_config,
    pin_edits,
    swap_edits,
    undo_edits,
)
from kmi.masking import config_diff, mask_text
from kmi.urls import parse_base_url
from tests.conftest import CLI, CODE, config_text

URL = "https://api.kimi.com/coding/v1"
OLD, NEW = "sk-kimi-OLD0123456789abcd", "sk-kimi-NEW0123456789efghij"
CREDENTIAL = Credential(NEW, parse_base_url(URL))
MODEL = '[models.k]\nprovider = "p"\nmodel = "kimi-for-coding"\nmax_context_size = 262144\n'
BOTH = pytest.mark.parametrize("client", [CLI, CODE])


def parse(text: str | bytes, client: str = CLI) -> Config:
    raw = text.encode() if isinstance(text, str) else text
    return parse_config(raw, name="config.toml", client=client)


def swap(text: str | bytes, client: str = CLI, credential: Credential = CREDENTIAL) -> bytes:
    config = parse(text, client)
    return apply_edits(config, swap_edits(config, credential))


def data_of(raw: bytes) -> dict[str, Any]:
    return tomlkit.parse(raw.decode("utf-8-sig")).unwrap()


def provider(table: str, *, key: str = f'api_key = "{OLD}"') -> str:
    """A config whose provider `p` is written in some layout."""
    return f'default_model = "k"\n{table}\ntype = "kimi"\nbase_url = "{URL}"\n{key}\n\n{MODEL}'


# The key is replaced in place, in each layout.

LAYOUTS = {
    "table": provider("[providers.p]"),
    "quoted table": provider('[providers."p"]'),
    "single quotes": provider("[ 'providers' . 'p' ]"),
    "escaped": provider('[providers."\\u0070"]'),
    "comment behind": provider("[providers.p]", key=f"api_key   =\t'{OLD}'   # mine"),
    "quoted field": provider("[providers.p]", key=f'"api_key" = "{OLD}"'),
    "escaped field": provider("[providers.p]", key=f'"\\u0061pi_key" = "{OLD}"'),
    "dotted": f'default_model = "k"\nproviders.p.type = "kimi"\nproviders.p.base_url = "{URL}"\n'
    f'providers.p.api_key = "{OLD}"\n{MODEL}',
    "dotted below": f'default_model = "k"\n[providers]\np.type = "kimi"\np.base_url = "{URL}"\n'
    f'p.api_key = "{OLD}"\n{MODEL}',
    "inline": f'default_model = "k"\n[providers]\n'
    f'p = {{ type = "kimi", base_url = "{URL}", api_key = "{OLD}" }} # one line\n{MODEL}',
    "inline in inline": 'default_model = "k"\n'
    f'providers = {{ p = {{ type = "kimi", base_url = "{URL}", api_key = "{OLD}" }} }}\n{MODEL}',
    "model first": f'default_model = "k"\n{MODEL}[providers.p]\napi_key = "{OLD}"\n'
    f'base_url = "{URL}"\ntype = "kimi"',
    "out of order": f'default_model = "k"\n[providers.p]\ntype = "kimi"\nbase_url = "{URL}"\n'
    f'api_key = "{OLD}"\n{MODEL}[providers.q]\ntype = "kimi"\nbase_url = "{URL}"\napi_key = "x"\n',
    "with a table below": provider("[providers.p]") + "[providers.p.custom_headers]\nX = '1'\n",
    "env table": provider("[providers.p]") + f'[providers.p.env]\nKIMI_API_KEY = "{OLD}x"\n',
    "indented": provider("  [providers.p]  ", key=f'    api_key="{OLD}"'),
    "no final newline": provider("[providers.p]") + "# end",
    "many blank lines": "\n\n\n" + provider("[providers.p]") + "\n\n\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", ["plain", "bom", "crlf", "mixed"])
def test_only_the_bytes_of_the_key_change(layout: str, change: str) -> None:
    text = LAYOUTS[layout].encode()
    if change == "bom":
        text = b"\xef\xbb\xbf" + text
    elif change == "crlf":
        text = text.replace(b"\n", b"\r\n")
    elif change == "mixed":
        text = text.replace(b"\n", b"\r\n", 3)
    after = swap(text)
    # The quotes may become others; nothing else may.
    wanted = text.replace(OLD.encode() + b'"', NEW.encode() + b'"')
    wanted = wanted.replace(b"'" + OLD.encode() + b"'", b'"' + NEW.encode() + b'"')
    assert after == wanted
    assert swap(after) == after


MANAGED = f"""\
default_model = "kimi-code/k2"
[providers."managed:kimi-code"]
type = "kimi"
base_url = "{URL}"
api_key = "{OLD}"
[models."kimi-code/k2"]
provider = "managed:kimi-code"
model = "k2"
max_context_size = 1
"""


@BOTH
@pytest.mark.parametrize(
    "name", ['"managed:kimi-code"', '"managed\\u003akimi-code"', "'managed:kimi-code'"]
)
def test_a_managed_provider(name: str, client: str) -> None:
    text = MANAGED.replace('[providers."managed:kimi-code"]', f"[providers.{name}]")
    assert swap(text, client).decode() == text.replace(OLD, NEW)


def test_the_same_text_elsewhere_stays() -> None:
    text = f"""\
# api_key = "{OLD}"
default_model = "k"
note = 'api_key = "{OLD}"'
long = \"\"\"
[providers.p]
api_key = "{OLD}"
\"\"\"
[providers.q]
type = "kimi"
base_url = "{URL}"
api_key = "{OLD}"
[providers.p]   # api_key = "{OLD}"
type = "kimi"
base_url = "{URL}"
api_key = "{OLD}"  # was "{OLD}"
custom_headers = {{ "api_key" = "{OLD}" }}
[other.providers.p]
api_key = "{OLD}"
[services.moonshot_other]
base_url = "{URL}"
api_key = "{OLD}"
{MODEL}"""
    after = swap(text).decode()
    changed = [
        (one, other) for one, other in zip(text.split("\n"), after.split("\n")) if one != other
    ]
    assert changed == [(f'api_key = "{OLD}"  # was "{OLD}"', f'api_key = "{NEW}"  # was "{OLD}"')]
    assert data_of(after.encode())["providers"]["p"]["api_key"] == NEW


def test_a_key_that_is_not_there_is_added() -> None:
    text = provider("[providers.p]", key="# no key yet")
    after = swap(text)
    expected = data_of(text.encode())
    expected["providers"]["p"]["api_key"] = NEW
    assert data_of(after) == expected
    assert all(
        line[0] == "+"
        for line in difflib.ndiff(text.split("\n"), after.decode().split("\n"))
        if line[0] in "+-?"
    )


@pytest.mark.parametrize("key", [f'api_key = "{OLD}"', "# no key yet"])
def test_a_layout_that_is_not_given_back_exactly_is_declined(key: str) -> None:
    # tomlkit 0.15 writes the second header like the first.
    text = provider("[providers.p]", key=key) + '[["t"]]\nx = 1\n[[t]]\nx = 2\n'
    with pytest.raises(ConfigError) as error:
        swap(text)
    assert error.value.code == "unsafe-edit"


@pytest.mark.parametrize(
    "old", ["https://api.moonshot.ai/v1", "http://127.0.0.1:1/v1", "not a url", ""]
)
def test_the_base_url_goes_with_the_key(old: str) -> None:
    text = provider("[providers.p]").replace(URL, old)
    after = swap(text).decode()
    assert after == text.replace(OLD, NEW).replace(f'"{old}"', f'"{URL}"', 1)


@pytest.mark.parametrize("old", [URL + "/", "HTTPS://API.KIMI.COM:443/coding/v1"])
def test_another_spelling_of_the_same_base_url_stays(old: str) -> None:
    text = provider("[providers.p]").replace(URL, old)
    assert swap(text).decode() == text.replace(OLD, NEW)


def test_nothing_to_change_gives_the_very_bytes() -> None:
    text = ("\ufeff" + provider("[providers.p]").replace(OLD, NEW)).encode()
    assert swap(text) is parse(text).raw or swap(text) == text


# Services.


def service(name: str, url: str, key: str = OLD, extra: str = "") -> str:
    return f'[services.{name}]\nbase_url = "{url}"\napi_key = "{key}"\n{extra}'


def test_services_of_the_same_platform_go_with_the_key() -> None:
    text = (
        provider("[providers.p]")
        + service("moonshot_search", "https://api.kimi.com/coding/v1/search", "sk-kimi-other-key")
        + service("moonshot_fetch", "https://API.kimi.com:443/x")
    )
    after = data_of(swap(text))
    assert after["services"]["moonshot_search"]["api_key"] == NEW
    assert after["services"]["moonshot_fetch"]["api_key"] == NEW
    assert swap(text).decode() == text.replace(OLD, NEW).replace("sk-kimi-other-key", NEW)


@pytest.mark.parametrize(
    "other",
    [
        service("moonshot_search", "https://api.moonshot.ai/v1/search"),
        service("moonshot_search", "https://api.kimi.com:8443/search"),
        service("moonshot_search", "https://api.kimi.com.evil.com/search"),
        service("moonshot_search", "http://api.kimi.com/search"),
        service("moonshot_search", URL, extra="[services.moonshot_search.oauth]\nkey = 'x'\n"),
        service("moonshot_search", URL, key=""),
        service("somebody_else", URL),
        f'[services.moonshot_search]\napi_key = "{OLD}"\n',
        f'[services]\nmoonshot_search = "{OLD}"\n',
    ],
)
def test_other_services_keep_their_key(other: str) -> None:
    text = provider("[providers.p]") + other
    before, after = data_of(text.encode()), data_of(swap(text))
    assert after["services"] == before["services"]


@pytest.mark.parametrize("services", ["services = 5", "services = []", "services = 'x'"])
def test_services_that_are_no_table_are_left_alone(services: str) -> None:
    text = f"{services}\n{provider('[providers.p]')}"
    assert swap(text).decode() == text.replace(OLD, NEW)


# Kimi Code's model-level fields.


@BOTH
def test_a_key_of_the_model_beats_the_provider_in_kimi_code(client: str) -> None:
    text = (
        provider("[providers.p]") + f'api_key = "{OLD}"\nbase_url = "https://api.moonshot.ai/v1"\n'
    )
    after = data_of(swap(text, client))
    assert after["providers"]["p"]["api_key"] == NEW
    expected = (NEW, URL) if client == CODE else (OLD, "https://api.moonshot.ai/v1")
    assert (after["models"]["k"]["api_key"], after["models"]["k"]["base_url"]) == expected
    assert parse(text, client).secret == OLD
    assert parse(swap(text, client), client).secret == NEW


def test_an_empty_key_of_the_model_stays_empty() -> None:
    text = provider("[providers.p]") + 'api_key = ""\n'
    assert data_of(swap(text, CODE))["models"]["k"]["api_key"] == ""


# What decides about the provider.


@pytest.mark.parametrize(
    "text, client, model, name",
    [
        (provider("[providers.p]"), CLI, "k", "p"),
        ("", CLI, None, None),
        ("\n# only a comment\n", CODE, None, None),
        ("default_model = ''\n[providers.p]\napi_key = 'x'\n", CLI, None, None),
        ("[providers.p]\napi_key = 'x'\n", CLI, None, None),
        ("default_provider = 'p'\n[providers.p]\napi_key = 'x'\n", CODE, None, "p"),
        ("default_provider = 'p'\n[providers.p]\napi_key = 'x'\n", CLI, None, None),
        ("default_provider = 'z'\n[providers.p]\napi_key = 'x'\n", CODE, None, None),
        (f"default_provider = 'p'\n[providers.p]\ndefault_model = 'k'\n{MODEL}", CODE, "k", "p"),
        ("default_model = 'k'\n[providers.p]\n[models.k]\nmodel = 'x'\n", CODE, "k", "p"),
    ],
)
def test_the_provider_is_the_one_that_the_client_starts_with(
    text: str, client: str, model: str | None, name: str | None
) -> None:
    config = parse(text, client)
    assert (config.model, config.provider) == (model, name)


@pytest.mark.parametrize(
    "text, what",
    [
        ("default_model = 'nope'\n" + MODEL + "[providers.p]\n", "default_model names 'nope'"),
        ("default_model = 'k'\n" + MODEL, "names the provider 'p', which is not there"),
        ("default_model = 5\n" + MODEL, "default_model is not a string"),
        ("default_model = ['k']\n" + MODEL, "default_model is not a string"),
        ("default_model = 'k'\n[providers.p]\n[models.k]\nprovider = ['p']\n", "provider"),
        ("default_model = 'k'\n[providers.p]\n[models.k]\nprovider = 5\n", "provider"),
        ("default_provider = ['p']\n[providers.p]\napi_key = 'x'\n", "default_provider"),
        ("default_provider = 'p'\n[providers.p]\ndefault_model = [1]\n", "default_model"),
        ("providers = 5\n", "'providers' is not a set of tables"),
        ("models = 'x'\n", "'models' is not a set of tables"),
        ("[[providers.p]]\napi_key = 'x'\n", "'providers' is not a set of tables"),
        ("[[providers]]\nname = 'p'\n", "'providers' is not a set of tables"),
        ("[[models]]\n", "'models' is not a set of tables"),
        ("[providers]\np = 'x'\n", "'providers' is not a set of tables"),
    ],
)
@BOTH
def test_a_config_that_contradicts_itself_is_refused(text: str, what: str, client: str) -> None:
    if "default_provider" in text and client == CLI:
        assert parse(text, client).provider is None  # kimi-cli has no such field
        return
    with pytest.raises(ConfigError) as error:
        swap(text, client)
    assert what in error.value.message
    assert error.value.message.startswith("config.toml")


@pytest.mark.parametrize(
    "raw, what",
    [
        (b"a = \n", "config.toml:1: not valid TOML"),
        (b"a = 1\nb = 'x\n", "config.toml:2: not valid TOML"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"[a]\n[a]\n", "not valid TOML"),
        (b"a = {b = 1, b = 2}\n", "config.toml is not valid TOML"),  # tomlkit gives no line
        (b"a = 1\rb = 2\r", "not valid TOML"),
        (b"a = '\x00'\n", "not valid TOML"),
        (b"# \x00\n", "not valid TOML"),
        (b"a = '\xff'\n", "not UTF-8"),
        ("a = 'x'\n".encode("utf-16"), "not UTF-8"),
        ("a = 'x'\n".encode("utf-16-le"), "not valid TOML"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa = 1\n", "not valid TOML"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "not valid TOML"),
        (b"#" * (MAX_CONFIG_BYTES + 1), "larger than 1024 KiB"),
    ],
)
def test_what_is_no_config_is_refused(raw: bytes, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(raw)
    assert what in error.value.message


#: Documents that tomllib of Python 3.11 refuses; kimi-cli reads with tomlkit, which takes them.
NEWER_TOML = {
    "a table over several lines": "extra = {\n  a = 1,\n}\n",
    "an escape": 'extra = "\\e[1m"\n',
    "a time without seconds": "extra = 07:32\n",
}


@pytest.mark.parametrize("name", NEWER_TOML)
def test_what_the_client_reads_is_read(name: str) -> None:
    text = NEWER_TOML[name] + config_text(OLD)
    config = parse(text)
    assert config.secret == OLD
    assert apply_edits(config, swap_edits(config, CREDENTIAL)).decode() == text.replace(OLD, NEW)


def test_a_config_of_just_1_mib_is_read() -> None:
    text = provider("[providers.p]").encode()
    config = parse(text + b"#" * (MAX_CONFIG_BYTES - len(text)))
    assert config.secret == OLD


OAUTH = """\
default_model = "k"
# logged in
[providers.p]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = ""
[providers.p.oauth]
storage = "file"
key = "oauth/kimi-code"
[models.k]
provider = "p"
model = "kimi-for-coding"
max_context_size = 131072
capabilities = ["thinking"]
"""


@pytest.mark.parametrize(
    "text, client, code",
    [
        ("", CLI, "no-model"),
        ("[providers.p]\napi_key = 'x'\n", CODE, "no-model"),
        (OAUTH, CLI, "oauth-login"),
        (OAUTH, CODE, "oauth-login"),
        (provider("[providers.p]", key='api_key_env = "X"'), CODE, "key-variable"),
        (
            provider("[providers.p]").replace('"kimi"', '"anthropic"').replace(URL, "https://a.b"),
            CLI,
            "not-kimi",
        ),
        (
            provider("[providers.p]").replace('"kimi"', '"openai"').replace(URL, "https://a.b"),
            CODE,
            "not-kimi",
        ),
        (
            provider("[providers.p]").replace('"kimi"', "5").replace(URL, "https://a.b"),
            CLI,
            "not-kimi",
        ),
    ],
)
def test_what_cannot_take_a_key_is_refused_with_the_cure(text: str, client: str, code: str) -> None:
    with pytest.raises(ConfigError) as error:
        swap(text, client)
    assert error.value.code == code
    assert error.value.fix


def test_a_login_of_the_model_counts_in_kimi_code_only() -> None:
    text = provider("[providers.p]") + 'oauth = { storage = "file", key = "x" }\n'
    assert parse(text, CODE).has_login
    assert parse(text, CODE).secret is None
    assert not parse(text, CLI).has_login


def test_a_provider_of_another_type_on_the_same_host_takes_the_key() -> None:
    text = provider("[providers.p]").replace('"kimi"', '"openai_legacy"')
    assert swap(text).decode() == text.replace(OLD, NEW)


def test_api_key_env_means_nothing_to_kimi_cli() -> None:
    text = provider("[providers.p]", key=f'api_key_env = "X"\napi_key = "{OLD}"')
    assert parse(text, CLI).key_variable is None
    assert parse(text, CODE).key_variable == "X"
    assert swap(text, CLI).decode() == text.replace(OLD, NEW)


# Adoption, private copies, and taking back.


@BOTH
def test_adopting_adds_a_provider_and_a_model_and_points_to_them(client: str) -> None:
    config = parse(OAUTH, client)
    raw = apply_edits(config, adopt_edits(config, CREDENTIAL))
    expected = data_of(OAUTH.encode())
    expected["default_model"] = OWN_NAME
    expected["providers"][OWN_NAME] = {"type": "kimi", "base_url": URL, "api_key": NEW}
    expected["models"][OWN_NAME] = {
        "model": "kimi-for-coding",
        "max_context_size": 131072,
        "capabilities": ["thinking"],
        "provider": OWN_NAME,
    }
    assert data_of(raw) == expected
    kept = [line for line in OAUTH.split("\n") if not line.startswith("default_model")]
    assert all(line in raw.decode().split("\n") for line in kept)
    again = parse(raw, client)
    assert (again.has_login, again.secret) == (False, NEW)
    assert swap_edits(again, CREDENTIAL) == {}
    assert adopt_edits(again, CREDENTIAL) == {}


@BOTH
@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "[providers.x]\ntype = 'kimi'\nbase_url='https://a.b'\napi_key = 'y'\n"],
)
def test_adopting_where_there_is_no_model(text: str, client: str) -> None:
    config = parse(text, client)
    after = parse(apply_edits(config, adopt_edits(config, CREDENTIAL)), client)
    assert after.secret == NEW
    assert all(line in after.raw.decode().split("\n") for line in text.split("\n"))


@BOTH
def test_undoing_an_adoption_gives_the_old_data(client: str) -> None:
    before = parse(OAUTH, client)
    adopted = apply_edits(before, adopt_edits(before, CREDENTIAL))
    touched = parse(adopted + b"\n# a new comment\n[new]\nx = 1\n", client)
    raw = apply_edits(touched, undo_edits(touched, before, "adopt"))
    assert data_of(raw) == {**data_of(OAUTH.encode()), "new": {"x": 1}}
    assert b"# a new comment" in raw
    assert NEW.encode() not in raw


def test_undoing_an_adoption_keeps_a_default_that_was_changed_since() -> None:
    before = parse(OAUTH, CLI)
    adopted = apply_edits(before, adopt_edits(before, CREDENTIAL))
    changed = parse(adopted.replace(b'default_model = "kmi"', b'default_model = "k"'), CLI)
    raw = apply_edits(changed, undo_edits(changed, before, "adopt"))
    assert data_of(raw) == data_of(OAUTH.encode())


def test_undoing_an_adoption_keeps_what_was_named_like_it_before() -> None:
    own = f'\n[providers.{OWN_NAME}]\ntype = "kimi"\nbase_url = "{URL}"\napi_key = "{OLD}"\n'
    before = parse(OAUTH + own, CLI)
    adopted = parse(apply_edits(before, adopt_edits(before, CREDENTIAL)), CLI)
    data = data_of(apply_edits(adopted, undo_edits(adopted, before, "adopt")))
    assert data == data_of(before.raw)


def test_an_edit_that_the_writer_can_not_make_is_refused() -> None:
    deep = parse("a" + ".a" * 600 + " = 1\n", CLI)  # tomllib reads it, tomlkit does not
    with pytest.raises(ConfigError, match="can't be edited safely"):
        apply_edits(deep, adopt_edits(deep, CREDENTIAL))
    with pytest.raises(ConfigError, match="can't be edited safely"):
        apply_edits(parse("a = 1\n", CLI), {("a", "b"): 1})


@BOTH
def test_undoing_a_swap_puts_back_the_credential_fields_only(client: str) -> None:
    text = provider("[providers.p]").replace(URL, "https://api.moonshot.ai/v1") + (
        f'api_key = "{OLD}m"\n' + service("moonshot_search", URL)
    )
    before = parse(text, client)
    swapped = swap(text, client)
    assert swapped != before.raw
    now = parse(swapped.replace(b"262144", b"1000"), client)
    raw = apply_edits(now, undo_edits(now, before, "swap"))
    assert raw == before.raw.replace(b"262144", b"1000")


def test_undoing_a_swap_removes_a_key_that_was_not_there() -> None:
    text = provider("[providers.p]", key="")
    before, now = parse(text), parse(swap(text))
    raw = apply_edits(now, undo_edits(now, before, "swap"))
    assert data_of(raw) == data_of(text.encode())


@BOTH
def test_a_private_copy_of_a_login_has_the_key_and_no_login(client: str) -> None:
    text = (
        OAUTH
        + f"""
[services.moonshot_search]
base_url = "{URL}"
api_key = ""
oauth = {{ storage = "file", key = "oauth/kimi-code" }}
"""
    )
    config = parse(text, client)
    copied = parse(apply_edits(config, pin_edits(config, CREDENTIAL)), client)
    assert (copied.has_login, copied.secret) == (False, NEW)
    assert copied.data["services"]["moonshot_search"] == {"base_url": URL, "api_key": NEW}
    assert copied.data["models"] == config.data["models"]


@BOTH
@pytest.mark.parametrize("text", ["", "[models]\n", provider("[providers.p]")])
def test_a_private_copy_of_any_config_has_the_key(text: str, client: str) -> None:
    config = parse(text, client)
    assert parse(apply_edits(config, pin_edits(config, CREDENTIAL)), client).secret == NEW


@BOTH
def test_a_private_copy_for_a_model_level_login_has_no_login(client: str) -> None:
    text = provider("[providers.p]") + 'oauth = { storage = "file", key = "x" }\n'
    config = parse(text, client)
    copied = parse(apply_edits(config, pin_edits(config, CREDENTIAL)), client)
    assert (copied.has_login, copied.secret) == (False, NEW)


@BOTH
@pytest.mark.parametrize(
    "url, model", [(URL, "kimi-for-coding"), ("https://api.moonshot.ai/v1", "kimi-k2.5")]
)
def test_the_smallest_config(client: str, url: str, model: str) -> None:
    credential = Credential(NEW, parse_base_url(url))
    text = minimal_config(credential)
    config = parse(text, client)
    assert config.secret == NEW
    assert config.provider_table["base_url"] == url
    assert config.model_table["model"] == model
    assert isinstance(config.model_table["max_context_size"], int)
    assert swap_edits(config, credential) == {}
    assert text.endswith("\n")


def test_the_smallest_config_quotes_what_a_key_may_hold() -> None:
    hostile = Credential("sk-kimi-\"\\'#=]012345", parse_base_url("https://api.kimi.com/a'b"))
    config = parse(minimal_config(hostile))
    assert config.secret == hostile.secret
    assert config.provider_table["base_url"] == str(hostile.base_url)


def test_a_swap_quotes_what_a_key_may_hold() -> None:
    hostile = Credential("sk-kimi-\"\\'#=]012345", parse_base_url(URL))
    assert parse(swap(LAYOUTS["inline"], credential=hostile)).secret == hostile.secret


# Showing.


def test_a_diff_shows_no_secret() -> None:
    text = LAYOUTS["inline"] + LAYOUTS["table"].replace(OLD, "n0-prefix-secret-value") + f"# {OLD}"
    before = text.encode()
    after = before.replace(OLD.encode(), NEW.encode())
    diff = config_diff(before, after, "config.toml")
    shown = "\n".join(diff)
    assert diff
    for secret in (OLD, NEW, "n0-prefix-secret-value"):
        assert secret[:-4] not in shown
    assert NEW[-4:] in shown
    assert config_diff(before, before, "x") == []


@pytest.mark.parametrize(
    "text",
    [
        "api_key = 'S3CRET-0123456789'",
        'api_key="S3CRET-0123456789"',
        '"api_key" = "S3CRET-0123456789"',
        "x = { api_key = 'S3CRET-0123456789', y = 1 }",
        "access_token: 'S3CRET-0123456789'",
        'refresh_token = """S3CRET-0123456789"""',
        'api_key = """\nS3CRET-0123456789"""',
        "# sk-kimi-S3CRET0123456789",
        'Authorization = "Bearer S3CRET-0123456789"',
    ],
)
def test_masking(text: str) -> None:
    assert "S3CRET" not in mask_text(text)


def test_masking_leaves_the_rest() -> None:
    text = config_text("sk-kimi-0123456789abcdef")
    assert mask_text(text) == text.replace("sk-kimi-0123456789abcdef", "…cdef")


# Properties: any TOML.

names = st.one_of(
    st.sampled_from(
        ["a", "b-c", "d_1", "api_key", "providers", "models", "p", "x y", "m:n", "\u00e9", ""]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
)
bare = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def basic(text: str) -> str:
    """A TOML basic string."""
    return (
        '"'
        + "".join(
            {'"': '\\"', "\\": "\\\\"}.get(c, c) if c.isprintable() else f"\\U{ord(c):08x}"
            for c in text
        )
        + '"'
    )


@st.composite
def keys(draw: st.DrawFn, name: str) -> str:
    """A key in one of its forms."""
    forms = [basic(name), '"' + "".join(f"\\U{ord(char):08x}" for char in name) + '"']
    if name and set(name) <= bare:
        forms.append(name)
    if "'" not in name and name.isprintable():
        forms.append(f"'{name}'")
    return draw(st.sampled_from(forms))


scalars = st.one_of(
    st.sampled_from(
        [
            "true",
            "false",
            "0",
            "-17",
            "1_000",
            "0xDEAD",
            "0o17",
            "0b1",
            "1.5",
            "6e-3",
            "inf",
            "-nan",
            "1979-05-27",
            "07:32:00",
            "1979-05-27T07:32:00Z",
            "1979-05-27 07:32:00.5-07:00",
            "'lit\\eral'",
            "'''one\ntwo'''",
            '"""a\n\\\n  b"""',
            '"\\t\\u00e9\\""',
            f'"{OLD}"',
            "[]",
            "[ 1, 2, ]",
            "[\n  'x', # c\n  'y',\n]",
            "{}",
            "{ a = 1, b.c = 2 }",
            "[{x=1},{y=[2]}]",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(basic),
)
comments = st.sampled_from(["", "", " # note", f'  # api_key = "{OLD}"', "\t#"])
blank = st.sampled_from(
    ["", "\n", "# alone\n", "\n\n", "  \n", f'# [providers.p] api_key = "{OLD}"\n']
)


@st.composite
def pairs(draw: st.DrawFn, taken: set[str], indent: str = "") -> str:
    """Some `name = value` lines, whose names are not taken."""
    lines = []
    for name in draw(st.lists(names, max_size=3, unique=True)):
        if name in taken:
            continue
        taken.add(name)
        space = draw(st.sampled_from(["=", " = ", "   =\t"]))
        below = draw(st.sampled_from(["", "", ".sub", " . 'a b'.c"]))
        lines.append(
            f"{indent}{draw(keys(name))}{below}{space}{draw(scalars)}{draw(comments)}\n{draw(blank)}"
        )
    return "".join(lines)


#: The old key as a value; in comments and elsewhere it stands in the first form.
FORMS = (f'"{OLD}"', f"'{OLD}'", f'"""{OLD}"""', f"'''{OLD}'''", f'"\\u0073{OLD[1:]}"')
VALUES = re.compile("|".join(map(re.escape, sorted((*FORMS, f'"{NEW}"'), key=len, reverse=True))))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str, str]:
    """A client config in some form, with the names of its provider and of its model."""
    owner = draw(names)
    model = draw(names)
    top = {"default_model", "providers", "models", "services", "default_provider"}
    parts = [
        draw(blank),
        draw(pairs(top)),
        f"default_model = {basic(model)}{draw(comments)}\n",
        draw(pairs(top)),
    ]
    fields = ['type = "kimi"', f'base_url = "{URL}"']
    if draw(st.booleans()):
        fields.append(
            draw(
                st.sampled_from(
                    [
                        *(f"api_key = {form}" for form in FORMS),
                        f'"api_key"="{OLD}"',
                        f'"\\u0061pi_key" = "{OLD}"',
                    ]
                )
            )
        )
    fields = draw(st.permutations(fields))
    taken = {"type", "base_url", "api_key", "oauth", "api_key_env"}
    style = draw(st.sampled_from(["table", "inline", "dotted", "dotted below"]))
    if style == "table":
        space = draw(st.sampled_from(["", " "]))
        block = f"[{space}providers{space}.{space}{draw(keys(owner))}{space}]{draw(comments)}\n"
        block += (
            draw(pairs(taken))
            + "".join(f"{f}{draw(comments)}\n" for f in fields)
            + draw(pairs(taken))
        )
        if draw(st.booleans()):
            block += f"[providers.{draw(keys(owner))}.custom_headers]\n{draw(pairs(set()))}"
    elif style == "inline":
        block = f"[providers]\n{draw(keys(owner))} = {{ {', '.join(fields)} }}{draw(comments)}\n"
    elif style == "dotted below":
        block = "[providers]\n" + "".join(
            f"{draw(keys(owner))}.{f}{draw(comments)}\n" for f in fields
        )
    else:
        parts += [f"providers.{draw(keys(owner))}.{f}{draw(comments)}\n" for f in fields]
        block = ""
    other = draw(names)
    known = {"provider", "model", "api_key", "base_url", "oauth"}
    models = f"[models.{draw(keys(model))}]\nprovider = {basic(owner)}\nmodel = 'm'\n"
    models += draw(pairs(known))
    blocks = [block, models, f"[[tables]]\nx = 1\n[[tables]]\n{draw(pairs(set()))}"]
    if other not in top | {"tables"} and style != "dotted":
        blocks.append(f"[{draw(keys(other))}]\n{draw(pairs(set()))}")
    if draw(st.booleans()):
        blocks.append(service("moonshot_search", URL))
    parts += draw(st.permutations(blocks))
    text = "".join(parts)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return text, owner, model


def expected_after(config: Config, edits: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """The data with the edits in it, by other means than kmi's."""
    data = copy.deepcopy(config.data)
    for path, value in edits.items():
        table = data
        for part in path[:-1]:
            table = table.setdefault(part, {})
        if value is None:
            del table[path[-1]]
        else:
            table[path[-1]] = value
    return data


def edited(config: Config, edits: dict[tuple[str, ...], Any]) -> bytes | None:
    """The edited bytes; None when kmi declines the layout."""
    try:
        return apply_edits(config, edits)
    except ConfigError as error:
        if error.code != "unsafe-edit":
            raise
        return None


@settings(max_examples=70)
@given(document=documents(), client=st.sampled_from([CLI, CODE]), bom=st.booleans())
def test_a_swap_touches_the_intended_values_only(
    document: tuple[str, str, str], client: str, bom: bool
) -> None:
    text, owner, model = document
    assume(model)  # an empty one is none
    raw = b"\xef\xbb\xbf" * bom + text.encode()
    try:
        config = parse(raw, client)
    except ConfigError:
        reject()  # a name was used twice
    edits = swap_edits(config, CREDENTIAL)
    assert ("providers", owner, "api_key") in edits
    after = edited(config, edits)
    if after is None:
        # It may decline a layout, but only one in which it has to add a field.
        assert value_at(config.data, ("providers", owner, "api_key")) is None
        return
    assert after.startswith(b"\xef\xbb\xbf") is bom
    assert same_data(data_of(after), expected_after(config, edits))
    assert parse(after, client).secret == NEW
    if None not in [value_at(config.data, path) for path in edits]:
        # What stands around the values is the same, byte for byte, and so are all values but these.
        one, other = raw.decode(), after.decode()
        assert VALUES.split(one) == VALUES.split(other)
        pairs_of = zip(VALUES.findall(one), VALUES.findall(other))
        changed = [new for old, new in pairs_of if old != new]
        assert changed == [f'"{NEW}"'] * len(edits)
    # All other lines are the same, in the same order.
    old, new = raw.split(b"\n"), after.split(b"\n")
    differing = [
        part
        for part in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if part[0] != "equal"
    ]
    assert sum(part[2] - part[1] for part in differing) <= len(edits)
    assert apply_edits(parse(after, client), swap_edits(parse(after, client), CREDENTIAL)) == after


def lone_comments(text: str) -> list[str]:
    """The comments that stand on a line of their own."""
    return [line for line in text.splitlines() if line.startswith("#")]


@settings(max_examples=50)
@given(document=documents(), client=st.sampled_from([CLI, CODE]))
def test_adopting_and_undoing_gives_the_old_data(
    document: tuple[str, str, str], client: str
) -> None:
    text, owner, model = document
    assume(OWN_NAME not in (owner, model))
    try:
        config = parse(text, client)
        adopted = parse(apply_edits(config, adopt_edits(config, CREDENTIAL)), client)
    except ConfigError:
        reject()
    assert adopted.secret == NEW
    assert lone_comments(adopted.text) == lone_comments(text)
    back = edited(adopted, undo_edits(adopted, config, "adopt"))
    assert back is None or same_data(data_of(back), config.data)


@given(
    st.binary(max_size=80) | st.text(max_size=80).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_a_config_or_a_clean_error(raw: bytes) -> None:
    for client in (CLI, CODE):
        try:
            config = parse(raw, client)
        except ConfigError:
            continue
        with contextlib.suppress(ConfigError):
            assert parse(apply_edits(config, swap_edits(config, CREDENTIAL)), client).secret == NEW


odd = st.sampled_from(
    [
        "''",
        "'p'",
        "'k'",
        "5",
        "1.5",
        "true",
        "[]",
        "['p']",
        "{}",
        "{p = {}}",
        "{k = {provider = 'p'}}",
        "{p = {oauth = 1}}",
        "{p = {api_key = []}}",
        "{k = {provider = []}}",
        "1979-05-27",
        "[[]]",
        "{k = {provider = 'p', api_key = {}, base_url = []}}",
        "{p = {type = [], base_url = 1}}",
        "{p = {default_model = []}}",
        "{moonshot_search = 5}",
        "{moonshot_search = {api_key = 5}}",
    ]
)
oddities = st.dictionaries(
    st.sampled_from(["default_model", "default_provider", "providers", "models", "services"]), odd
)


@given(oddities)
def test_any_type_of_any_field_is_a_config_or_a_clean_error(table: dict[str, str]) -> None:
    text = "".join(f"{name} = {value}\n" for name, value in table.items())
    for client in (CLI, CODE):
        try:
            config = parse(text, client)
            assert isinstance(config.has_login, bool)
            assert config.secret is None or isinstance(config.secret, str)
            assert config.key_variable is None
        except ConfigError:
            continue
        for edits in (swap_edits, adopt_edits, pin_edits):
            try:
                after = apply_edits(config, edits(config, CREDENTIAL))
            except ConfigError:
                continue
            assert parse(after, client).secret == NEW


def test_same_data_knows_types_and_nan() -> None:
    day = datetime.date(1979, 5, 27)
    assert same_data({"a": [1, math.nan, day]}, {"a": [1, math.nan, day]})
    for other in (
        {"a": [1.0, math.nan, day]},
        {"a": [True, math.nan, day]},
        {"a": [1, math.nan]},
        {},
    ):
        assert not same_data({"a": [1, math.nan, day]}, other)


def test_what_python_shows_of_a_config_holds_no_secret() -> None:
    assert repr(parse(LAYOUTS["table"])) == "Config(name='config.toml', client='kimi-cli')"


def test_items_of_an_array_can_be_taken_out() -> None:
    text = "\ufeffa = 1\n[[hooks]]\nx = 1\n\n[[hooks]]\nx = 2 # two\n"
    assert drop_items(text, "hooks", [0], "config.toml").endswith("[[hooks]]\nx = 2 # two\n")
    assert "hooks" not in drop_items(text, "hooks", [0, 1], "config.toml")
    assert drop_items(text, "hooks", [0, 1], "config.toml").startswith("\ufeffa = 1\n")
    for broken, indexes in (("a = [", [0]), (text, [7]), ("hooks = 1\n", [0]), ("", [0])):
        with pytest.raises(ConfigError, match="not valid TOML"):
            drop_items(broken, "hooks", indexes, "config.toml")


def test_the_default_model_of_a_provider_may_be_a_models_own_name() -> None:
    text = '[providers.p]\ntype = "kimi"\ndefault_model = "kimi-k2"\n' + MODEL
    found = parse('default_provider = "p"\n' + text, CODE)
    assert (found.provider, found.model) == ("p", None)


def test_a_diff_says_when_only_hidden_characters_differ() -> None:
    before, after = (f'api_key = "sk-kimi-{middle}0123456789WXYZ"\n' for middle in ("AAAA", "BBBB"))
    (line,) = config_diff(before.encode(), after.encode(), "config.toml")
    assert "last characters" in line


def test_a_private_copy_without_a_login_in_its_services() -> None:
    text = LAYOUTS["table"].replace(f'api_key = "{OLD}"', 'oauth = { key = "x" }')
    text += f'[services.moonshot_search]\nbase_url = "{URL}/search"\napi_key = "{OLD}"\n'
    config = parse(text)
    after = data_of(apply_edits(config, pin_edits(config, CREDENTIAL)))
    assert after["services"]["moonshot_search"]["api_key"] == NEW
    assert "oauth" not in after["providers"]["p"]


def test_an_adoption_beside_a_model_without_a_name_takes_the_plans() -> None:
    config = parse(LAYOUTS["table"].replace('model = "kimi-for-coding"', "model = 7"))
    edits = adopt_edits(config, CREDENTIAL)
    assert edits["models", OWN_NAME, "model"] == "kimi-for-coding"
    adopted = parse(apply_edits(config, edits))
    assert adopted.model == OWN_NAME
    back = undo_edits(adopted, config, "adopt")
    assert data_of(apply_edits(adopted, back)) == config.data


@pytest.mark.parametrize(
    "alias, provider, own, secret",
    [
        ("k", "p", "", None),  # the default one
        ("none", "p", "", None),
        ("x", "p", "", None),
        ("x", "p", 'api_key = "sk-own"', "sk-own"),
        ("x", "p", 'oauth = { storage = "file", key = "oauth/kimi-code" }', ""),
        ("x", "q", "", "sk-q"),
        ("x", "q", 'api_key = "sk-own"', "sk-own"),
        ("x", "q", 'oauth = { storage = "file", key = "oauth/kimi-code" }', ""),
        ("x", "login", "", ""),
        ("x", "login", 'api_key = "sk-own"', "sk-own"),
        ("x", "gone", "", None),
    ],
)
def test_whose_key_another_model_sends(
    alias: str, provider: str, own: str, secret: str | None
) -> None:
    text = f"""
default_model = "k"
[providers.p]
api_key = "sk-p"
[providers.q]
api_key = "sk-q"
[providers.login]
oauth = {{ storage = "file", key = "oauth/kimi-code" }}
[models.k]
provider = "p"
[models.x]
provider = "{provider}"
{own}
"""
    assert parse(text, CODE).secret_of(alias) == secret
