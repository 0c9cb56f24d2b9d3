"""With ``KMI_LOCALE=ru`` a person is told nothing in English, whatever is the matter."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kmi.timezones import utc_text
from kmi.translation import to_russian
from tests.conftest import BASE_URL, CLI, CODE, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = time.time()
#: What a line may be without a Russian word in it: the label that `kmi current` gives to scripts,
#: and the end of a line that was wrapped at a time.
BARE = re.compile(r"alpha|beta|[\W\d]*(UTC\))?")
#: Words that no name and no command holds.
ENGLISH = re.compile(r"\b(an|and|are|but|can't|has|is|it|its|not|of|the|there|to|was|which)\b")
LOOKING: tuple[tuple[str, ...], ...] = (
    *(("why",), ("why", "--rotate"), ("status",), ("current",)),
    ("health", "--no-refresh"),
)
CHANGING: tuple[tuple[str, ...], ...] = (
    *(("use", "alpha"), ("use", "beta", "--dry-run"), ("rotate",), ("rotate", "auto")),
    *(("run", "--", "true"), ("run", "-k", "beta", "-v", "--", "true"), ("run", "--", "kimi")),
    *(("run", "--dry-run", "--", "true"), ("run", "--adopt", "--", "true"), ("use", "gamma")),
    *(("run", "--", "no-such-program"), ("rotate", "off")),
)
SLIPS: tuple[tuple[str, ...], ...] = (
    *(("use",), ("use", "a", "b", "--what"), ("rotate", "sideways"), ("nonsense",), ("--what",)),
    *(("run",), ("run", "--strategy"), ("why", "--client", "x"), ("health", "--watch", "x")),
    *(("health", "--refresh", "--no-refresh"), ("health", "--watch", "0"), ("current", "x")),
)
FEW = (("status",), ("run", "--", "kimi"))


def hold(kind: str, verdict: str, until_s: float | None) -> dict[str, Any]:
    """A hold as ``state.json`` has it."""
    until = None if until_s is None else utc_text(NOW + until_s)
    since = utc_text(NOW)
    names = {"kind": kind, "verdict": verdict, "since": since, "until": until, "probe_at": None}
    return {**names, "source": "text", "window": None, "status": 403, "text": "", "strikes": 1}


def state_of(world: World, **keys: dict[str, Any]) -> None:
    """Write what kmi remembers of keys."""
    from kmi.auth_formats import key_id_of

    write_private(
        world.state / "state.json",
        json.dumps(
            {
                "schema": 1,
                "keys": {
                    key_id_of(secret_of(label)): {"label": label, **fields}
                    for label, fields in keys.items()
                },
            }
        ),
    )


def quota(used: float) -> dict[str, Any]:
    at = utc_text(NOW - 60)
    window = {"used": used, "resets_at": utc_text(NOW + 9000)}
    return {"usage_at": at, "usage_tried_at": at, "windows": {"5h": window}}


def healthy(world: World) -> None:
    state_of(world, alpha=quota(0.1), beta=quota(0.5))


def low(world: World) -> None:
    state_of(world, alpha=quota(0.95), beta={**quota(0.5), "disabled": True})


def all_out(world: World) -> None:
    beta = hold("blocked", "payment", None)
    state_of(world, alpha={"hold": hold("exhausted", "quota-5h", 4000)}, beta={"hold": beta})


def failed_readings(world: World) -> None:
    """Every error that a question can end with, as far as it is kmi's own words."""
    tried = {"usage_tried_at": utc_text(NOW - 5), "usage_wait_until": utc_text(NOW + 300)}
    state_of(
        world,
        alpha={**tried, "usage_error": "no answer from 127.0.0.1:9 in time"},
        beta={**quota(0.2), **tried, "usage_error": "401 from x.y: no text; the key may belong to "
              "another host"},
    )  # fmt: skip


def bad_setting(world: World) -> None:
    world.env["KMI_DRY_RUN"] = "ture"


def locale_in_the_env_file(world: World) -> None:
    del world.env["KMI_LOCALE"]
    world.env_file.write_text("KMI_LOCALE=ru\nKMI_TRACE_BACKUPS=many\n")


def slips(world: World) -> None:
    """Mistakes on the command line; the language stands in the env file."""
    del world.env["KMI_LOCALE"]
    world.env_file.write_text("KMI_LOCALE=ru\n")


def odd_settings(world: World) -> None:
    world.env["KMI_STRATEGI"] = "sticky"
    world.env["KMI_API_KEY"] = "sk-in-the-wrong-place"
    world.env_file.write_text("KMI_ENV_PATH=/x\nnonsense line\n")


def foreign_upstream(world: World) -> None:
    world.env["KMI_UPSTREAM_ALLOWLIST"] = "*.example.org"


def no_env_file(world: World) -> None:
    world.env["KMI_ENV_PATH"] = str(world.root / "no-such.env")


AUTH_FILES = {
    "placeholder.env": "KMI_API_KEY=sk-your-key\n",
    "empty.env": "",
    "unknown.env": "KMI_API_KEY=sk-kimi-unknown0123456789\nKMI_KEY_PRIORITI=3\nnot a line\n",
    "twice.env": "KMI_API_KEY=sk-kimi-twice0123456789\nKMI_API_KEY=x\n",
    "same.env": f"KMI_API_KEY={secret_of('alpha')}\n",
    "taken.env": "KMI_API_KEY=sk-kimi-taken0123456789\nKMI_KEY_LABEL=alpha\n",
    "label.env": "KMI_API_KEY=sk-kimi-label0123456789\nKMI_KEY_LABEL=-x\n",
    "url.env": "KMI_API_KEY=sk-kimi-url0123456789\nKMI_UPSTREAM_BASE_URL=http://api.kimi.com\n",
    "number.env": "KMI_API_KEY=sk-kimi-number0123456789\nKMI_KEY_PRIORITY=high\n",
    "flag.env": "KMI_API_KEY=sk-kimi-flag0123456789\nKMI_KEY_DISABLED=maybe\n",
    "both.env": "KMI_API_KEY=sk-kimi-both0123456789\nKMI_API_KEY_COMMAND=pass x\n",
    "broken.toml": "api_key = \n",
    "broken.json": "{\n",
    "list.json": "[]",
    "type.toml": "api_key = 3\n",
    "login.toml": '[providers.a]\ntype = "kimi"\n[providers.a.oauth]\nkey = "x"\n',
    "other.toml": '[providers.a]\ntype = "anthropic"\napi_key = "sk-kimi-other0123456789"\n',
    "tables.toml": "providers = 1\n",
    "bytes.env": "\udcff",
    "zero.env": "A=\0",
}


def bad_auth_files(world: World) -> None:
    for name, text in AUTH_FILES.items():
        write_private(world.auths / name, text.encode("utf-8", "surrogateescape"))
    (world.auths / "link.env").symlink_to(world.auths / "alpha.env")
    (world.auths / "folder").symlink_to(world.home)
    (world.auths / "beta.env").chmod(0o644)
    world.auths.chmod(0o777)


def no_keys(world: World) -> None:
    for path in world.auths.iterdir():
        path.unlink()


def commands_for_keys(world: World) -> None:
    for path in world.auths.iterdir():
        path.unlink()
    for label, command in (("alpha", "no-such-pass show"), ("beta", "false")):
        write_private(world.auths / f"{label}.env", f"KMI_API_KEY_COMMAND={command}\n")


def bind(world: World, text: str, *, allow: bool) -> None:
    write_private(world.cwd / ".kmi.toml", text, 0o644)
    if allow:
        assert world.kmi("allow").returncode == 0


def strict_and_out(world: World) -> None:
    bind(world, 'schema = 1\nkeys = ["beta"]\nstrict = true\n', allow=True)
    state_of(world, beta={"hold": hold("exhausted", "rate", 500)})


def strict_without_a_key(world: World) -> None:
    bind(world, 'schema = 1\nkeys = ["gone"]\nstrict = true\n', allow=True)


def strict_and_changed(world: World) -> None:
    bind(world, 'schema = 1\nkeys = ["beta"]\nstrict = true\n', allow=True)
    bind(world, 'schema = 1\nkeys = ["alpha"]\nstrict = true\n', allow=False)


def preferred(world: World) -> None:
    bind(world, 'schema = 1\nkeys = ["gone", "beta"]\nstrict = false\n', allow=True)


def new_binding(world: World) -> None:
    bind(world, 'schema = 1\nkey = 3\nkeys = ["beta", "beta"]\nstrict = 1\n', allow=False)


def login(world: World, client: str) -> None:
    empty = 'api_key = ""\n' if client == CLI else ""
    world.write_config(
        client,
        f'default_model = "k"\n[providers.p]\ntype = "kimi"\nbase_url = "{BASE_URL}"\n{empty}'
        '[providers.p.oauth]\nkey = "oauth/p"\n[models.k]\nprovider = "p"\nmodel = "m"\n'
        "max_context_size = 9\n",
    )


def tombstone(world: World) -> None:
    folder = world.root / "old"
    info = folder / "lib" / "python3.13" / "site-packages" / "kimi_cli-1.52.0.dist-info"
    info.mkdir(parents=True)
    write_private(folder / "bin" / "kimi", "#!/usr/bin/python3\n", 0o755)
    world.env["PATH"] = f"{folder / 'bin'}:{world.env['PATH']}"


def exported(world: World) -> None:
    world.env["KIMI_API_KEY"] = "sk-kimi-exported0123456789"


def no_writing(world: World) -> None:
    world.env["KMI_WRITE_CONFIG"] = "0"


def rotating(world: World) -> None:
    world.env["KMI_AUTO_ROTATE_ALLOWED"] = "1"
    world.env["KMI_UPSTREAM_BASE_URL"] = "http://127.0.0.1:9/coding/v1"


def broken_config(world: World) -> None:
    world.write_config(CLI, config_text(secret_of("alpha")) + "[[[\n")


def config_without_a_model(world: World) -> None:
    world.write_config(CLI, f'[providers.p]\napi_key = "{secret_of("alpha")}"\n')


def config_of_others(world: World) -> None:
    world.write_config(CLI, config_text("sk-kimi-nobody-knows-this"), 0o644)


def config_that_contradicts_itself(world: World) -> None:
    world.write_config(CLI, 'default_model = "gone"\n')


def damaged_state(world: World) -> None:
    write_private(world.state / "state.json", "{")


def newer_state(world: World) -> None:
    write_private(world.state / "state.json", '{"schema": 99}')


def inside_a_run(world: World) -> None:
    world.env.update(KMI_RUN_ID="0a0b0c0d0e0f", KMI_ACTIVE_KEY="beta", KMI_DEPTH="16")


def usage_required(world: World) -> None:
    world.env.update(KMI_REQUIRE_USAGE_BEFORE_REQUEST="1", KMI_FAIL_OPEN_ON_EMPTY_CACHE="0")
    world.env["KMI_UPSTREAM_BASE_URL"] = "http://127.0.0.1:9/coding/v1"


SITUATIONS: dict[str, Callable[[World], None]] = {
    item.__name__.replace("_", " "): item
    for item in (
        *(healthy, low, all_out, failed_readings, bad_setting, odd_settings, foreign_upstream),
        *(
            locale_in_the_env_file,
            slips,
            no_env_file,
            bad_auth_files,
            no_keys,
            commands_for_keys,
            strict_and_out,
        ),
        *(strict_without_a_key, strict_and_changed, preferred, new_binding, tombstone, exported),
        *(no_writing, rotating, broken_config, config_without_a_model, config_of_others),
        *(config_that_contradicts_itself, damaged_state, newer_state, inside_a_run),
        usage_required,
    )
}
SITUATIONS["login of kimi-cli"] = lambda world: login(world, CLI)
SITUATIONS["login of Kimi Code"] = lambda world: login(world, CODE)


#: Runs each command in a process of its own, all from one that has everything loaded.
def test_names_are_no_words() -> None:
    said = to_russian("/a/flag.env:2: disabled is not valid")
    assert said == "/a/flag.env:2: disabled: недопустимое значение"
    # Only what stands in a table is Russian; what a person, a system or an upstream says stays.
    for text in ("", "disabled things", "x: it was a dark night", "403 quota: the key, is empty"):
        assert to_russian(text) == text


def in_english(world: World, commands: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines with an English word, or without a Russian one, that commands print."""
    found: list[str] = []
    for words in commands:
        done = world.kmi(*words)
        # A dry run shows the person's file on stdout.
        said = done.stderr if "--dry-run" in words else done.stdout + done.stderr
        for line in said.splitlines():
            plain = line.removeprefix("kmi: ").replace(str(world.root), "")
            if not is_russian(plain):
                found.append(f"{' '.join(words)}: {plain}")
    return found


def is_russian(line: str) -> bool:
    cyrillic = re.search("[а-яё]", line, re.IGNORECASE)  # noqa: RUF001 - Russian
    return bool(BARE.fullmatch(line) or (cyrillic and not ENGLISH.search(line)))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_is_said_in_english(world: World, situation: str) -> None:
    world.env.update(KMI_LOCALE="ru", KMI_CLIENT=CODE if "Code" in situation else CLI)
    world.add_keys("alpha", "beta")
    world.script("kimi", ":")
    if "config" not in situation and "login" not in situation:
        world.config_with("alpha")
    SITUATIONS[situation](world)
    # A config that may be half written is waited for, by each command.
    few = situation in {"broken config", "config that contradicts itself"}
    usual = SLIPS if situation == "slips" else LOOKING + CHANGING
    assert in_english(world, FEW if few else usual) == []
