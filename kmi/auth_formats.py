"""The text of one auth file to keys: `.env`, flat TOML or JSON, or a whole client config.

Pure: bytes in, entries and problems out. What is wrong is always said, with its line where known.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from kmi.digest import sha256_hex
from kmi.errors import KmiError
from kmi.masking import looks_like_key
from kmi.model import ApiKey, Problem
from kmi.settings import nearest
from kmi.urls import BaseUrl, parse_base_url

#: Endings of auth files; everything else in the directory is left alone.
SUFFIXES = (".env", ".toml", ".json", ".json.bak")
LABEL = re.compile(r"(?!-)[A-Za-z0-9._@/-]{1,64}")

#: Field name in TOML and JSON to the name in `.env` files.
FIELDS = {
    "api_key": "KMI_API_KEY",
    "api_key_command": "KMI_API_KEY_COMMAND",
    "label": "KMI_KEY_LABEL",
    "base_url": "KMI_UPSTREAM_BASE_URL",
    "priority": "KMI_KEY_PRIORITY",
    "disabled": "KMI_KEY_DISABLED",
    "email": "KMI_ACCOUNT_EMAIL",
    "max_concurrency": "KMI_KEY_MAX_CONCURRENCY",
}
_ENV_FIELDS = {env: field for field, env in FIELDS.items()}
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
# Provider types whose credentials are not for a Kimi service (clients.md).
_OTHER_TYPES = {"anthropic", "google_genai", "google-genai", "gemini", "vertexai"}
_PLACEHOLDER = re.compile(
    r"(sk-)?(kimi-)?(your([-_].*)?|x{3,}|\.{3}.*|<.*|example([-_].*)?|placeholder([-_].*)?"
    r"|(api[-_]?)?key([-_]here)?|change[-_]?me.*|replace[-_]?me.*|\$\{.*)$",
    re.IGNORECASE,
)


#: Names that are told one by one; a file with more is not meant for kmi.
_UNKNOWN_TOLD = 20


class AuthFile(NamedTuple):
    """What one file holds: keys in order, and what is wrong."""

    keys: tuple[ApiKey, ...]
    problems: tuple[Problem, ...]


class _BadError(Exception):
    """Part of a file can't be used: what, the fix, and the line if known."""

    def __init__(self, what: str, fix: str = "", line: int | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.line = what, fix, line


def key_id_of(secret: str) -> str:
    """How state, records and traces name a key: the first 12 hex digits of SHA-256."""
    return sha256_hex(secret.encode())[:12]


def provisional_id(command: str) -> str:
    """The id of a key whose `api_key_command` has never been run."""
    return key_id_of(f"api_key_command:{command}")


def check_secret(secret: str) -> None:
    """Refuse what can't be an API key.

    Raises:
        ValueError: saying why, without the value.
    """
    if not secret:
        raise ValueError("the key is empty")
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ValueError("the key has a blank, a non-ASCII or a control character")
    if _PLACEHOLDER.match(secret) or "***" in secret or "..." in secret:
        raise ValueError("the key is a placeholder")
    if len(secret) < 8 or len(secret) > 4096:
        raise ValueError("the key is not between 8 and 4096 characters long")


def stem_of(path: str) -> str:
    """The label that a file's name gives: its stem; for `config` or a bare `.env`, its folder's."""
    folder, _, name = path.replace("\\", "/").rpartition("/")
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            name = name[: -len(suffix)]
            break
    if name in {"", "config"}:
        return folder.rpartition("/")[2] or "config"
    return name


def parse_auth_file(path: str, data: bytes, default_base_url: BaseUrl) -> AuthFile:
    """Read one auth file.

    Args:
        path: names the file in problems, and gives the default label.
        data: its bytes; any bytes give an answer.
        default_base_url: for keys without their own.
    """
    problems: list[Problem] = []
    keys: list[ApiKey] = []

    def report(bad: _BadError, *, fatal: bool = True) -> None:
        where = path if bad.line is None else f"{path}:{bad.line}"
        problems.append(Problem(where, bad.what, bad.fix, fatal))

    try:
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise _BadError("has a NUL byte", "save it as plain UTF-8 text")
        if path.endswith(".env"):
            sections = [_env_section(text, report)]
        else:
            table = _toml(text) if path.endswith(".toml") else _json(text)
            sections = _sections(table, text, report)
    except UnicodeDecodeError:
        report(_BadError("is not UTF-8 text", "save it as UTF-8"))
        return AuthFile((), tuple(problems))
    except _BadError as bad:
        report(bad)
        return AuthFile((), tuple(problems))
    for section in sections:
        try:
            keys.append(_key(section, path, default_base_url, several=len(sections) > 1))
        except _BadError as bad:
            report(bad)
    return AuthFile(tuple(keys), tuple(problems))


class _Section(NamedTuple):
    """The fields of one key, by their TOML names, with lines where known."""

    fields: dict[str, Any]
    lines: dict[str, int]
    provider: str | None = None


def _env_section(text: str, report: Any) -> _Section:
    from kmi.envfile import parse_env

    fields: dict[str, Any] = {}
    lines: dict[str, int] = {}
    unknown: list[tuple[str, int]] = []
    for name, value, line in parse_env(text):
        if not name:
            report(_BadError("this line is not NAME=value", "correct or remove it", line))
        elif name in _ENV_FIELDS:
            field = _ENV_FIELDS[name]
            if field in fields:
                raise _BadError(
                    f"{name} is given twice", f"it stands in line {lines[field]} too", line
                )
            fields[field], lines[field] = value or "", line
        else:
            unknown.append((name, line))
    for name, line in unknown[:_UNKNOWN_TOLD]:
        hint = nearest(name, tuple(_ENV_FIELDS)) or "remove it"
        report(_BadError(f"{name} is not a field of auth files", hint, line), fatal=False)
    _more_unknown(len(unknown), report)
    return _Section(fields, lines)


def _more_unknown(count: int, report: Any) -> None:
    if count > _UNKNOWN_TOLD:
        what = f"has {count - _UNKNOWN_TOLD} more names that are not fields of auth files"
        report(_BadError(what, "is it another kind of file?"), fatal=False)


def _toml(text: str) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return tomlkit.parse(text).unwrap()
    except ParseError as error:
        raise _BadError("is not valid TOML", "correct that line", error.line) from None
    except (TOMLKitError, ValueError, RecursionError):
        raise _BadError("is not valid TOML", "correct it") from None


def _json(text: str) -> dict[str, Any]:
    import json

    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise _BadError("is not valid JSON", "correct that line", error.lineno) from None
    except (ValueError, RecursionError):
        raise _BadError("is not usable JSON", "correct it") from None
    if not isinstance(table, dict):
        raise _BadError("is not a JSON object", 'write {"api_key": "…"}', 1)
    return table


def _sections(table: dict[str, Any], text: str, report: Any) -> list[_Section]:
    """One section per key: the file itself, or each provider of a client config."""
    if "providers" not in table:
        known = {name: value for name, value in table.items() if name in FIELDS}
        unknown = [name for name in table if name not in FIELDS]
        for name in unknown[:_UNKNOWN_TOLD]:
            hint = nearest(name, tuple(FIELDS)) or "remove it"
            bad = _BadError(f"{name!r} is not a field of auth files", hint, line_of(text, name))
            report(bad, fatal=False)
        _more_unknown(len(unknown), report)
        lines = {name: line for name in known if (line := line_of(text, name)) is not None}
        return [_Section(known, lines)]
    providers = table["providers"]
    if not isinstance(providers, dict):
        raise _BadError("'providers' is not a table of providers", "", line_of(text, "providers"))
    return _provider_sections(providers, report)


def _provider_sections(providers: dict[str, Any], report: Any) -> list[_Section]:
    sections: list[_Section] = []
    keyless: list[_BadError] = []
    for name, provider in providers.items():
        if not isinstance(provider, dict):
            report(_BadError(f"provider {name!r} is not a table"))
        elif not provider.get("api_key"):
            what = "an OAuth login" if provider.get("oauth") else "no api_key"
            keyless.append(_BadError(f"provider {name!r} has {what}: no key in it"))
        elif str(provider.get("type")) in _OTHER_TYPES:
            bad = _BadError(f"provider {name!r} is of type {provider['type']!r}: not a Kimi key")
            report(bad, fatal=False)
        else:
            fields = {k: provider[k] for k in ("api_key", "base_url") if provider.get(k)}
            sections.append(_Section(fields, {}, str(name)))
    if not sections:
        # Beside one that has a key, a provider without one is an ordinary part of a config.
        for bad in keyless:
            report(bad, fatal=False)
        report(_BadError("no provider in it has an api_key", "add one, or remove the file"))
    return sections


def line_of(text: str, name: str) -> int | None:
    """The first line that sets a field, by its look: parsers of TOML and JSON keep no lines."""
    found = re.search(rf"^[ \t{{,\[]*[\"']?{re.escape(name)}[\"']?\s*[=:.\]]", text, re.MULTILINE)
    if found is None:
        found = re.search(rf"[\"']{re.escape(name)}[\"']\s*:", text)
    return None if found is None else text.count("\n", 0, found.end()) + 1


def _key(section: _Section, path: str, default_base_url: BaseUrl, *, several: bool) -> ApiKey:
    fields, lines = section.fields, section.lines
    secret, command = _secret_or_command(section)
    label = _label(section, path, several=several)
    try:
        base_url = parse_base_url(_string(section, "base_url") or str(default_base_url))
    except ValueError as error:
        raise _BadError(f"base_url {error}", "", lines.get("base_url")) from None
    return ApiKey(
        label=label,
        key_id=key_id_of(secret) if secret is not None else provisional_id(command or ""),
        secret=secret,
        base_url=base_url,
        source=path,
        line=lines.get("api_key", lines.get("api_key_command")),
        priority=_integer(section, "priority", -1_000_000, 1_000_000) or 0,
        disabled=_boolean(section, "disabled"),
        email=_string(section, "email") or None if "email" in fields else None,
        max_concurrency=_integer(section, "max_concurrency", 1, 100_000),
        command=command,
    )


def _secret_or_command(section: _Section) -> tuple[str | None, str | None]:
    lines = section.lines
    secret = _string(section, "api_key")
    command = _string(section, "api_key_command")
    if secret and command:
        raise _BadError(
            "has both api_key and api_key_command",
            "keep one of them",
            lines.get("api_key_command"),
        )
    if command:
        if not command.isprintable():
            line = lines.get("api_key_command")
            raise _BadError("api_key_command has a control character", "write it on one line", line)
        return None, command
    if not secret:
        env_line = lines.get("api_key")
        raise _BadError(
            "has no api_key", "add it, or api_key_command, or remove the file", env_line
        )
    try:
        check_secret(secret)
    except ValueError as error:
        raise _BadError(str(error), "put the real key there", lines.get("api_key")) from None
    return secret, None


def _label(section: _Section, path: str, *, several: bool) -> str:
    label = _string(section, "label")
    line = section.lines.get("label")
    if not label:
        label, line = stem_of(path), None
        if several and section.provider is not None:
            label = f"{label}/{re.sub(r'[^A-Za-z0-9._@/-]', '-', section.provider)}"
    if not LABEL.fullmatch(label):
        raise _BadError(
            f"label {label[:80]!a} is not allowed",
            "use 1 to 64 of A-Z a-z 0-9 . _ @ / -, not beginning with -; set one in the file",
            line,
        )
    if looks_like_key(label):
        # A label is shown, and stored, wherever its key is named.
        what = "its label looks like an API key" if line else "its name looks like an API key"
        raise _BadError(what, "rename the file, or set another label in it", line)
    return label


def _string(section: _Section, name: str) -> str:
    value = section.fields.get(name, "")
    if not isinstance(value, str):
        raise _BadError(f"{name} is not a string", "put it in quotes", section.lines.get(name))
    return value


def _integer(section: _Section, name: str, low: int, high: int) -> int | None:
    value = section.fields.get(name, "")
    if value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return int(value)
    fix = f"write a whole number from {low} to {high}"
    raise _BadError(f"{name} is not valid", fix, section.lines.get(name))


def _boolean(section: _Section, name: str) -> bool:
    value = section.fields.get(name, "")
    if isinstance(value, bool):
        return value
    if value == "":
        return False
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise _BadError(f"{name} is not valid", "write 1 or 0", section.lines.get(name))


def explain(error: BaseException) -> str:
    """The words of an error that kept a file from being read, for a problem's text."""
    if isinstance(error, KmiError):
        return error.message
    return str(getattr(error, "strerror", None) or error)
