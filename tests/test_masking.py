"""What `kmi.masking` shows of configs: never a secret, whoever's it is."""

from __future__ import annotations

import json

import pytest

from kmi.masking import config_diff, mask_lines, mask_text

#: Looks like nobody's key: only its name tells what it is.
CANARY = "S3CRET-0123456789-S3CRET"
NAMES = [
    "GOOGLE_API_KEY",
    "X-Api-Key",
    "x_api_key",
    "apiKey",
    "apikey",
    "API-KEY",
    "api_key_2",
    "GOOGLE_API_KEY_PROD",
    "apiKeyOfWork",
    "client_secret",
    "clientSecret",
    "ANTHROPIC_AUTH_TOKEN",
    "accessToken",
    "github-token",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "privateKey",
    "db_password",
    "PASSWD",
    "Proxy-Authorization",
    f"a_very_long_name_{'of_a_service_' * 9}token",
]
FORMS = [
    "{name} = \"{value}\"",
    "{name}='{value}'",
    '"{name}" = "{value}"',
    "'{name}' = '{value}'",
    "env.{name} = \"{value}\"",
    "env = {{ A = 'b', {name} = \"{value}\", C = 'd' }}",
    '{{"env": {{"A": "b", "{name}": "{value}", "C": "d"}}}}',
    '{{\n  "{name}" :\n    "{value}"\n}}',
    '{name} = """{value}"""',
    '{name} = """\nfirst\n{value}\n"""',
    "{name} = '''\nfirst\n{value}\n'''",
    "{name}: \"{value}\"",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_of_any_name_is_masked(name: str, form: str) -> None:
    shown = mask_text(form.format(name=name, value=f"{CANARY}{'x' * 8}"))
    assert "S3CRET" not in shown
    assert name in shown
    assert "…" in shown


@pytest.mark.parametrize(
    "text",
    [
        r'token = "ab\"S3CRET-0123456789"',
        r'token = "ab\\\"S3CRET-0123456789"',
        r'token = """ab\"""S3CRET-0123456789"""',
        'token = """ab"c""S3CRET-0123456789"""',
        "token = '''ab'c''S3CRET-0123456789'''",
        'token = "it\'s S3CRET-0123456789"',
        "token = 'a \"b\" S3CRET-0123456789'",
        'token = "S3CRET-0123456789',  # nothing closes it
        "token = '''S3CRET\nS3CRET-0123456789",
        'token = """S3CRET\nS3CRET-0123456789abcd\\',
        '# token: "oops\napi_key = "S3CRET-0123456789"',
        'token = ""\napi_key = "S3CRET-0123456789"',
        json.dumps({"token": 'a\\"b S3CRET-0123456789\n'}),
    ],
)
def test_a_value_is_masked_to_its_end(text: str) -> None:
    assert "S3CRET" not in mask_text(text)


def test_a_literal_string_ends_at_its_quote() -> None:
    """In single quotes a backslash is one, and what follows is no part of the value."""
    text = "token = 'S3CRET\\'\nmodel = 'k'"
    assert mask_text(text) == "token = '…'\nmodel = 'k'"


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens = 5",
        '"max_tokens": 5, "a": "b"',
        "token = true",
        'model = "token"',
        'oauth = { storage = "file", key = "oauth/kimi-code" }',
        'keyboard = "us"',
        'token = ""',
        "password = ''''''",
        'a = "the token"\nb = "the secret"',
    ],
)
def test_the_rest_is_left_alone(text: str) -> None:
    assert mask_text(text) == text


def test_lines_around_a_change_show_no_secret_of_others() -> None:
    """A diff has a line of context: there the keys of other services stand."""
    lines = [f'{name} = "{CANARY}{number:08}"' for number, name in enumerate(NAMES)]
    lines += ['PEM_SECRET = """', CANARY, CANARY, '"""']
    for at in range(len(lines) - 3):
        text = "\n".join([*lines[:at], "model = 1", *lines[at:]])
        diff = config_diff(text.encode(), text.replace("model = 1", "model = 2").encode(), "x")
        assert "+model = 2" in diff
        assert "S3CRET" not in "\n".join(diff)
    assert "S3CRET" not in "\n".join(mask_lines("\n".join(lines).encode()))
