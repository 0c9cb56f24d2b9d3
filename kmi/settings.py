"""The table of every ``KMI_*`` name: type, default, meaning; parsing, and where a value came from.

`kmi config show`, the validator and `docs/reference/settings.md` all come from this table.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi import paths
from kmi.errors import ConfigError
from kmi.model import Problem
from kmi.setting_kinds import (
    Parser,
    choice_reader,
    number_reader,
    read_allowlist,
    read_base_path,
    read_base_url,
    read_flag,
    read_listen,
    read_path,
    read_text,
    read_timezone,
    read_token,
)
from kmi.urls import BaseUrl, allowed, is_loopback, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.envfile import Binding

CLIENTS = ("kimi-cli", "kimi-code")
STRATEGIES = (
    *("sticky", "most-remaining", "round-robin", "least-recently-used", "soonest-reset"),
    "spread",
)

#: Names that kmi sets for the programs it starts; never settings.
RUNTIME_NAMES = {
    "KMI_ACTIVE_KEY": "the label of the key that the run was started with",
    "KMI_RUN_ID": "the id of the run in runs.jsonl",
    "KMI_CLIENT_HOME": "Kimi Code's real home, inside a pinned run",
    "KMI_CLI_HOME": "kimi-cli's real home, inside a pinned run that has a home of its own",
    "KMI_PROXY_RUN": "the proxy's base URL, inside a run through it; the label is `proxy` there",
    "KMI_DEPTH": "how many `kmi run` are around this process",
}
#: Names of the scripts that `kmi init` prints; never settings.
SHELL_NAMES = {
    "KMI_PROMPT": "set before each prompt: the label and its mark; export it for other programs",
    "KMI_PROMPT_AUTO": "0: the prompt itself is left as it is, and KMI_PROMPT is set only",
}
#: Names that belong into an auth file; in the environment they have no effect.
AUTH_FILE_NAMES = (
    "KMI_API_KEY",
    "KMI_API_KEY_COMMAND",
    "KMI_KEY_LABEL",
    "KMI_KEY_PRIORITY",
    "KMI_KEY_DISABLED",
    "KMI_ACCOUNT_EMAIL",
    "KMI_KEY_MAX_CONCURRENCY",
)
DEFAULT_BASE_URL = "https://api.kimi.com/coding/v1"


def _setting(name: str, parse: Parser, default: Any, doc: str, *, secret: bool = False) -> Any:
    return dataclasses.field(
        default=default,
        metadata={"name": name, "parse": parse, "doc": doc, "secret": secret},
    )


_DAY_S = 86400
_DEFAULT_BASE = parse_base_url(DEFAULT_BASE_URL)


@dataclass(frozen=True)
class Settings:
    """Every setting of kmi, parsed. Durations are seconds, sizes MiB, as their names say."""

    auths_dir: str = _setting("KMI_AUTHS_DIR", read_path, "", "directory of the auth files")
    state_dir: str = _setting("KMI_STATE_DIR", read_path, "", "directory of kmi's own files")
    env_path: str = _setting("KMI_ENV_PATH", read_path, "", "the env file; environment only")
    client: str = _setting(
        "KMI_CLIENT",
        choice_reader("auto", *CLIENTS),
        "auto",
        "which client `kimi` is, when unclear",
    )
    strategy: str = _setting(
        "KMI_STRATEGY", choice_reader(*STRATEGIES), "sticky", "how a key is chosen"
    )
    dry_run: bool = _setting(
        "KMI_DRY_RUN", read_flag, False, "write no client config, send no upstream request"
    )
    write_config: bool = _setting(
        "KMI_WRITE_CONFIG",
        read_flag,
        True,
        "0: never write the client's config; runs are pinned only",
    )
    rotate_on_tie: bool = _setting(
        "KMI_ROTATE_ON_TIE", read_flag, True, "`kmi rotate` advances when keys tie for best"
    )
    rotate_include_warn: bool = _setting(
        "KMI_ROTATE_INCLUDE_WARN", read_flag, False, "rotation may pick keys with status warn"
    )
    auto_rotate_allowed: bool = _setting(
        "KMI_AUTO_ROTATE_ALLOWED", read_flag, False, "allow a change of key within a session"
    )
    auto_rotate_e2e: bool = _setting(
        "KMI_AUTO_ROTATE_E2E", read_flag, True, "`kmi rotate auto` proves the rotation first"
    )
    rotation_cooldown_s: int = _setting(
        "KMI_ROTATION_COOLDOWN_SECONDS",
        number_reader(1, _DAY_S),
        300,
        "cooldown of a rate-limited key when the answer gives no time",
    )
    payment_block_s: int = _setting(
        "KMI_PAYMENT_BLOCK_SECONDS",
        number_reader(0, 31 * _DAY_S),
        3600,
        "how long a payment-required key is blocked; 0: until `kmi keys reset`",
    )
    blocklist_recheck_s: int = _setting(
        "KMI_BLOCKLIST_RECHECK_SECONDS",
        number_reader(60, 31 * _DAY_S),
        3600,
        "how often blocked keys are checked again",
    )
    blocklist_recheck_max: int = _setting(
        "KMI_BLOCKLIST_RECHECK_MAX",
        number_reader(0, 10_000),
        3,
        "blocked keys checked per pass; 0: all",
    )
    usage_cache_s: int = _setting(
        "KMI_USAGE_CACHE_SECONDS",
        number_reader(0, 31 * _DAY_S),
        600,
        "age up to which a /usages answer is used; 0: kmi never asks by itself",
    )
    require_usage: bool = _setting(
        "KMI_REQUIRE_USAGE_BEFORE_REQUEST",
        read_flag,
        False,
        "1: a key without a good cached /usages is not used",
    )
    fail_open: bool = _setting(
        "KMI_FAIL_OPEN_ON_EMPTY_CACHE",
        read_flag,
        True,
        "allow keys while that cache is still empty",
    )
    upstream_base_url: BaseUrl = _setting(
        "KMI_UPSTREAM_BASE_URL",
        read_base_url,
        _DEFAULT_BASE,
        "base URL of keys without their own",
    )
    upstream_allowlist: tuple[str, ...] = _setting(
        "KMI_UPSTREAM_ALLOWLIST",
        read_allowlist,
        (),
        "hosts that any base URL must match: host, host:port, *.domain; empty: any",
    )
    proxy_listen: tuple[str, int] = _setting(
        "KMI_PROXY_LISTEN", read_listen, ("127.0.0.1", 54123), "address of the proxy"
    )
    proxy_base_path: str = _setting(
        "KMI_PROXY_BASE_PATH", read_base_path, "/kmi-rotor/v1", "path below which the proxy answers"
    )
    proxy_token: str = _setting(
        "KMI_PROXY_TOKEN", read_token, "", "what clients of the proxy must send", secret=True
    )
    proxy_allow_remote: bool = _setting(
        "KMI_PROXY_ALLOW_REMOTE", read_flag, False, "allow a listener that is not loopback"
    )
    proxy_require_tls: bool = _setting(
        "KMI_PROXY_REQUIRE_TLS", read_flag, True, "a remote listener needs TLS in front of it"
    )
    proxy_tls_terminated: bool = _setting(
        "KMI_PROXY_TLS_TERMINATED", read_flag, False, "TLS is terminated in front of the proxy"
    )
    proxy_max_rps: int = _setting(
        "KMI_PROXY_MAX_RPS", number_reader(0, 100_000), 0, "requests per second in all; 0: no limit"
    )
    proxy_max_rpm: int = _setting(
        "KMI_PROXY_MAX_RPM",
        number_reader(0, 1_000_000),
        0,
        "requests per minute in all; 0: no limit",
    )
    proxy_max_rps_per_key: int = _setting(
        "KMI_PROXY_MAX_RPS_PER_KEY", number_reader(0, 100_000), 0, "requests per second and key"
    )
    proxy_max_rpm_per_key: int = _setting(
        "KMI_PROXY_MAX_RPM_PER_KEY", number_reader(0, 1_000_000), 0, "requests per minute and key"
    )
    proxy_max_concurrency_per_key: int = _setting(
        "KMI_PROXY_MAX_CONCURRENCY_PER_KEY",
        number_reader(0, 100_000),
        0,
        "requests at once per key",
    )
    proxy_retry_max: int | None = _setting(
        "KMI_PROXY_RETRY_MAX", number_reader(0, 100), None, "attempts within one request; keys + 1"
    )
    proxy_retry_base_ms: int = _setting(
        "KMI_PROXY_RETRY_BASE_MS", number_reader(1, 60_000), 250, "first pause between attempts, ms"
    )
    trace_max_mb: int = _setting(
        "KMI_TRACE_MAX_MB", number_reader(1, 10_000), 5, "size at which trace.jsonl is rotated, MiB"
    )
    trace_backups: int = _setting(
        "KMI_TRACE_BACKUPS", number_reader(0, 100), 3, "rotated trace files that are kept"
    )
    log_max_mb: int = _setting(
        "KMI_LOG_MAX_MB", number_reader(1, 10_000), 5, "size at which logs are rotated, MiB"
    )
    log_backups: int = _setting(
        "KMI_LOG_BACKUPS", number_reader(0, 100), 3, "rotated log files that are kept"
    )
    timezone: str = _setting(
        "KMI_TIMEZONE",
        read_timezone,
        "local",
        "times for people: local, UTC, +03:00, or an IANA name",
    )
    locale: str = _setting("KMI_LOCALE", choice_reader("en", "ru"), "en", "language for people")
    plain: bool = _setting("KMI_PLAIN", read_flag, False, "no colour, no boxes, ASCII only")
    no_color: bool = _setting("KMI_NO_COLOR", read_flag, False, "no colour")
    audit_actor: str = _setting(
        "KMI_AUDIT_ACTOR", read_text, "", "who audit records name; the login name when empty"
    )
    enforce_file_perms: bool = _setting(
        "KMI_ENFORCE_FILE_PERMS",
        read_flag,
        True,
        "tighten file modes, refuse what can't be tightened",
    )
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def origin(self, name: str) -> str:
        """Where the value of a ``KMI_*`` name came from: "default", "environment", or a line."""
        return self.origins.get(name, "default")


class Row(NamedTuple):
    """One line of the table, for documentation and `kmi config show`."""

    name: str
    attribute: str
    default: Any
    doc: str
    secret: bool
    parse: Parser


TABLE: tuple[Row, ...] = tuple(
    Row(
        item.metadata["name"],
        item.name,
        item.default,
        item.metadata["doc"],
        item.metadata["secret"],
        item.metadata["parse"],
    )
    for item in dataclasses.fields(Settings)
    if "name" in item.metadata
)
NAMES = tuple(row.name for row in TABLE)


def read_settings(
    env: Mapping[str, str], bindings: Sequence[Binding], env_file: str
) -> tuple[Settings, list[Problem]]:
    """Parse settings from the environment, then from the lines of the env file.

    Returns:
        the settings, with defaults where a value was bad, and every problem found.
    """
    problems: list[Problem] = []
    given = _from_env_file(bindings, env_file, problems)
    for name, text in env.items():
        if name.startswith("KMI_"):
            given[name] = (text, "environment")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in TABLE:
        if row.name in given:
            text, origin = given.pop(row.name)
            try:
                values[row.attribute] = _parse_one(row, text, env)
                origins[row.name] = origin
            except ValueError as error:
                shown = "" if row.secret else f"={_shown(text)}"
                problems.append(Problem(origin, f"{row.name}{shown} is not valid", str(error)))
            except ConfigError as error:
                problems.append(Problem(origin, error.message, error.fix or ""))
    for name, (_, origin) in given.items():
        problem = _unknown(name, origin)
        if problem is not None:
            problems.append(problem)
    for attribute, default in (
        ("auths_dir", paths.default_auths_dir),
        ("state_dir", paths.default_state_dir),
    ):
        if attribute not in values:
            values[attribute] = default(env)
    values["env_path"] = env_file
    settings = Settings(**values, origins=origins)
    problems.extend(_contradictions(settings))
    return settings, problems


def _from_env_file(
    bindings: Sequence[Binding], env_file: str, problems: list[Problem]
) -> dict[str, tuple[str, str]]:
    given: dict[str, tuple[str, str]] = {}
    for name, value, line in bindings:
        where = f"{env_file}:{line}"
        if not name:
            problems.append(Problem(where, "this line is not NAME=value", "correct or remove it"))
        elif name == "KMI_ENV_PATH":
            problems.append(
                Problem(where, "KMI_ENV_PATH has no effect here", "export it instead", fatal=False)
            )
        elif name.startswith("KMI_"):
            if name in given:
                what = f"{name} is given twice, and counts as it stands here"
                earlier = given[name][1].rpartition(":")[2]
                fix = f"it stands in line {earlier} too"
                problems.append(Problem(where, what, fix, fatal=False))
            given[name] = (value or "", where)
    return given


def _parse_one(row: Row, text: str, env: Mapping[str, str]) -> Any:
    if text == "" and row.parse not in (read_text, read_allowlist):
        raise ValueError("it is empty; unset it to get the default")
    return row.parse(text, env)


def _shown(text: str) -> str:
    """A bad value in a message: what could be a secret in it is masked."""
    from kmi.masking import mask_text

    text = mask_text(text)
    if "@" in text:
        text = "…" + text[text.rindex("@") :]
    cut = text if len(text) <= 60 else text[:57] + "..."
    return ascii(cut)


def _unknown(name: str, origin: str) -> Problem | None:
    if name in RUNTIME_NAMES or name in SHELL_NAMES:
        return None
    if name in AUTH_FILE_NAMES:
        return Problem(origin, f"{name} has no effect here", "it belongs in an auth file", False)
    return Problem(origin, f"{name} is not a setting of kmi", nearest(name, NAMES), fatal=False)


def nearest(word: str, known: Sequence[str]) -> str:
    """A "did you mean" for a word that is not known; "" when nothing is near."""
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def _contradictions(settings: Settings) -> list[Problem]:
    found = []
    if not allowed(settings.upstream_base_url, settings.upstream_allowlist):
        where = settings.origin("KMI_UPSTREAM_ALLOWLIST")
        found.append(
            Problem(
                where,
                f"KMI_UPSTREAM_ALLOWLIST does not allow KMI_UPSTREAM_BASE_URL "
                f"({settings.upstream_base_url})",
                "add its host, or change the base URL; keys without their own can't be used",
                fatal=False,
            )
        )
    host = settings.proxy_listen[0]
    if not is_loopback(host) and not settings.proxy_allow_remote:
        found.append(
            Problem(
                settings.origin("KMI_PROXY_LISTEN"),
                f"KMI_PROXY_LISTEN names {host}, which is not loopback",
                "set KMI_PROXY_ALLOW_REMOTE=1 if that is meant; the proxy won't start otherwise",
                fatal=False,
            )
        )
    return found


def load_settings(env: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """Read the env file and the environment.

    Returns:
        the settings and every problem; it is for the caller to stop at a fatal one.

    Raises:
        ConfigError: ``KMI_ENV_PATH`` is not usable, or there is no home directory.
    """
    from kmi.files import read_regular

    chosen = env.get("KMI_ENV_PATH")
    if chosen is not None:
        try:
            env_file = read_path(chosen, env)
        except ValueError as error:
            raise ConfigError(
                f"environment: KMI_ENV_PATH={_shown(chosen)} is not valid", str(error)
            ) from None
    else:
        env_file = paths.default_env_file(env)
    try:
        data, _ = read_regular(env_file, follow=True)
    except FileNotFoundError:
        if chosen is not None:
            raise ConfigError(
                f"KMI_ENV_PATH names {env_file}, which does not exist", "create or unset it"
            ) from None
        return read_settings(env, [], env_file)
    except OSError as error:
        raise ConfigError(
            f"can't read the env file {env_file}: {error.strerror}", "check its owner and mode"
        ) from None
    return read_settings(env, _bindings(data, env_file), env_file)


def _bindings(data: bytes, env_file: str) -> list[Binding]:
    from kmi.envfile import parse_env

    try:
        return parse_env(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{env_file} is not UTF-8 text", "save it as UTF-8") from None
