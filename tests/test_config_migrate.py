"""`kmi config migrate`: the state in today's form, and the home of kmi-manager-cli taken over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmi.auth_formats import key_id_of
from kmi.envfile import Binding
from kmi.migrations import ASIDE
from kmi.old_settings import GONE, sort_out
from kmi.settings import NAMES, Settings, load_settings
from kmi.state import SCHEMA
from tests.conftest import World, secret_of, write_private
from tests.quickly import Forks
from tests.test_health_command import check_golden

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures"
MANAGER = FIXTURES / "manager"
NAMES_OF_SECRETS = ("alpha", "bare", "beta", "known", "there", "taken", "token")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Where runs come from."""
    with Forks() as running:
        yield running


@pytest.fixture
def old(world: World) -> Path:
    """An old home, and a world that has a key of it, a label and a file name already."""
    home = world.root / "old"
    for path in MANAGER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            text = path.read_text()
            for name in NAMES_OF_SECRETS:
                text = text.replace(f"@{name}@", secret_of(name))
            parts = path.relative_to(MANAGER).parts
            top = {"env": ".env", "auths": "_auths"}.get(parts[0], parts[0])
            write_private(home.joinpath(top, *parts[1:]), text, 0o644)
    world.add_key("mine", secret_of("known"))
    world.add_key("work")
    world.add_key("there", secret_of("another"), KEY_LABEL="elsewhere")
    write_private(world.env_file, "# mine\nKMI_ROTATION_COOLDOWN_SECONDS=60", 0o640)
    return home


def migrate(forks: Forks, world: World, *more: str) -> Any:
    return forks.run(world, "config", "migrate", *more)


@needs_fork
def test_an_old_home_is_taken_over(world: World, forks: Forks, old: Path) -> None:
    before, env_before = world.snapshot(old), world.env_file.read_bytes()
    asked = migrate(forks, world, "--from", str(old), "--json")
    assert asked.returncode == 77
    assert "--yes" in asked.stderr
    check_golden(world, "config-migrate", json.loads(asked.stdout))
    assert world.env_file.read_bytes() == env_before

    done = migrate(forks, world, "--from", str(old), "--yes")
    assert done.returncode == 0, done
    assert world.snapshot(old) == before
    said = done.stdout + done.stderr
    assert not [name for name in NAMES_OF_SECRETS if secret_of(name)[-8:] in said]
    # Keys: the same bytes under the same names, private, and nothing replaced.
    for name in ("alpha.env", "team/beta.toml"):
        assert (world.auths / name).read_bytes() == (old / "_auths" / name).read_bytes()
        assert (world.auths / name).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in world.auths.rglob("*.*")) == [
        "alpha.env", "beta.toml", "mine.env", "there.env", "work.env",
    ]  # fmt: skip
    assert secret_of("another").encode() in (world.auths / "there.env").read_bytes()
    # Settings: appended; what was there stays, and is kept.
    text = world.env_file.read_text()
    assert text.startswith(env_before.decode() + "\n")
    assert world.env_file.stat().st_mode & 0o777 == 0o600
    settings, problems = load_settings(world.env)
    assert problems == []
    assert (settings.rotation_cooldown_s, settings.locale) == (60, "ru")
    assert (settings.audit_actor, settings.proxy_token) == ("Ada L.", secret_of("token"))
    assert (settings.enforce_file_perms, settings.proxy_allow_remote) == (True, False)
    (kept,) = (world.state / "backups" / "migrate").iterdir()
    assert kept.read_bytes() == env_before
    assert kept.stat().st_mode & 0o077 == 0
    # State: what was known of the keys that are here now; the rest stays where it was.
    state = world.saved_state()
    assert set(state["keys"]) == {key_id_of(secret_of(name)) for name in ("alpha", "beta")}
    assert "auto_rotate" not in state

    denied, record = world.records("audit.jsonl")
    assert (denied["outcome"], denied["error"]) == ("denied", "not-agreed")
    assert (record["command"], record["outcome"]) == ("config migrate", "changed")
    assert record["before"]["keys"] == ["elsewhere", "mine", "work"]
    assert {"alpha", "beta"} < set(record["after"]["keys"])
    assert record["after"]["settings"]["KMI_PROXY_TOKEN"] == "(set)"
    assert record["labels"] == ["alpha", "beta"]


@needs_fork
def test_the_second_time_there_is_nothing_to_do(world: World, forks: Forks, old: Path) -> None:
    for path in world.auths.iterdir():
        path.unlink()  # so that the old base URL sends no key of kmi's elsewhere
    assert migrate(forks, world, "--from", str(old), "--yes").returncode == 0
    assert (world.auths / "bare.env").exists()
    assert str(load_settings(world.env)[0].upstream_base_url) == "https://api.moonshot.ai/v1"
    before = world.snapshot()
    again = migrate(forks, world, "--from", str(old), "--yes")
    assert again.returncode == 0
    assert "переносить нечего" in again.stderr  # the locale came over
    assert world.snapshot() == before


@needs_fork
def test_a_dry_run_shows_the_plan_and_changes_nothing(
    world: World, forks: Forks, old: Path
) -> None:
    before = world.snapshot()
    done = migrate(forks, world, "--from", str(old), "--dry-run")
    assert done.returncode == 0
    assert "alpha.env" in done.stdout
    assert "KMI_DRY_RUN=1" in done.stderr  # what the default was there
    assert world.snapshot() == before


@needs_fork
def test_what_is_in_usual_places_is_found(world: World, forks: Forks) -> None:
    """Without a directory named: ``~/.kimi/_auths``, and kmi's own state of the old form."""
    world.add_key("other")
    write_private(world.state / "state.json", (MANAGER / "state/state.json").read_bytes())
    write_private(world.home / ".kimi/_auths/alpha.env", f"KMI_API_KEY={secret_of('alpha')}\n")
    # A checkout that somebody happens to be in supplies nothing.
    write_private(world.cwd / ".env", "KMI_LOCALE=ru\n")
    write_private(world.cwd / "_auths/evil.env", f"KMI_API_KEY={secret_of('evil')}\n")
    done = migrate(forks, world, "--yes")
    assert done.returncode == 0, done
    assert sorted(path.name for path in world.auths.iterdir()) == ["alpha.env", "other.env"]
    state = world.saved_state()
    assert state["schema"] == SCHEMA
    assert list(state["keys"]) == [key_id_of(secret_of("alpha"))]
    assert sorted(state[ASIDE]) == ["beta", "gone"]
    assert len(list(world.state.glob("state.json.schema-0-*"))) == 1
    (record,) = world.records("audit.jsonl")
    assert (record["before"]["schema"], record["after"]["schema"]) == (0, SCHEMA)
    # A key that comes later brings back what was kept of its label.
    world.add_key("beta")
    assert migrate(forks, world, "--yes").returncode == 0
    state = world.saved_state()
    assert state["keys"][key_id_of(secret_of("beta"))]["hold"]["kind"] == "exhausted"
    assert list(state[ASIDE]) == ["gone"]
    before = world.snapshot()
    done = migrate(forks, world)
    assert (done.returncode, world.snapshot()) == (0, before)
    assert "nothing to take over" in done.stderr


@needs_fork
@pytest.mark.parametrize("make", ["missing", "empty", "newer", "taken"])
def test_what_can_not_be_taken_over_changes_nothing(
    make: str, world: World, forks: Forks, old: Path
) -> None:
    folder, code = old, 1
    if make in {"missing", "empty"}:
        folder = world.root / make
        if make == "empty":
            folder.mkdir()
    elif make == "newer":
        write_private(world.state / "state.json", '{"schema": 9999}')
        code = 78
    else:
        write_private(world.auths / "team", "in the way")
        code = 77
    before = world.snapshot(world.auths) if make != "taken" else {}
    done = migrate(forks, world, "--from", str(folder), "--yes")
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    (record,) = world.records("audit.jsonl")
    if make == "taken":
        # The first file was copied before the second could not be: that is what is recorded.
        assert record["outcome"] == "changed"
        assert "alpha" in record["after"]["keys"]
    else:
        assert record["outcome"] == "denied"
        assert world.snapshot(world.auths) == before


def lines(**given: str) -> list[Binding]:
    return [Binding(f"KMI_{name}", value, 1) for name, value in given.items()]


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [
        ("DRY_RUN", "1", "1"),
        ("DRY_RUN", "0", None),
        ("DRY_RUN", "ture", None),
        ("DRY_RUN", "", None),
        ("LOCALE", "ru_RU", "ru"),
        ("LOCALE", "fr", None),
        ("PROXY_ALLOW_REMOTE", "1", None),
        ("PROXY_TLS_TERMINATED", "on", None),
        ("PROXY_REQUIRE_TLS", "no", None),
        ("ENFORCE_FILE_PERMS", "0", None),
        ("PROXY_LISTEN", "0.0.0.0:1", None),
        ("PROXY_LISTEN", "127.0.0.1:1", "127.0.0.1:1"),
        ("PROXY_TOKEN", "short", None),
        ("UPSTREAM_BASE_URL", "http://evil.example/v1", None),
        ("USAGE_CACHE_SECONDS", "-5", "0"),
        ("TRACE_MAX_MB", "x", None),
    ],
)
def test_only_safe_and_valid_settings_go_over(name: str, text: str, written: str | None) -> None:
    found = sort_out(
        lines(**{name: text}), load_settings({"HOME": "/nowhere"})[0], {}, has_keys=False
    )
    assert found.taken == ({} if written is None else {f"KMI_{name}": written})


@pytest.mark.parametrize(
    ("given", "env", "why"),
    [
        (Binding("KMI_SHOW_SOURCE", "1", 1), {}, "migrate.why-gone"),
        (Binding("EMAIL", "a@b.example", 1), {}, "migrate.why-email"),
        (Binding("KMI_AUTHS_DIR", "/x", 1), {}, "migrate.why-place"),
        (Binding("KMI_API_KEY", "sk-x", 1), {}, "migrate.why-auth-file"),
        (Binding("KMI_NO_SUCH", "1", 1), {}, "migrate.why-unknown"),
        (Binding("PATH", "/bin", 1), {}, None),
        (Binding("", None, 1), {}, None),
        (Binding("KMI_DRY_RUN", "1", 1), {"KMI_DRY_RUN": "0"}, "migrate.why-set"),
        (Binding("KMI_DRY_RUN", "1", 1), {"KMI_DRY_RUN": "1"}, None),
        (Binding("KMI_PROXY_TOKEN", "short", 1), {}, "migrate.why-token"),
        (Binding("KMI_DRY_RUN", "ture", 1), {}, "migrate.why-invalid"),
        (Binding("KMI_PROXY_ALLOW_REMOTE", "1", 1), {}, "migrate.why-safety"),
        (Binding("KMI_UPSTREAM_BASE_URL", "https://x.example/v1", 1), {}, "migrate.why-elsewhere"),
    ],
)
def test_what_stays_behind_says_why(given: Binding, env: dict[str, str], why: str | None) -> None:
    settings = load_settings({"HOME": "/nowhere", **env})[0]
    found = sort_out([given], settings, {}, has_keys=True)
    assert found.taken == {}
    assert [left.why for left in found.left] == ([] if why is None else [why])


def test_every_old_name_is_either_a_setting_or_said_to_be_gone() -> None:
    """None is taken for one that nobody knows."""
    settings: Settings = load_settings({"HOME": "/nowhere"})[0]
    given = [Binding(name, "no such value\n", 1) for name in (*NAMES, *GONE)]
    found = sort_out(given, settings, {}, has_keys=True)
    assert not [item for item in found.left if item.why == "migrate.why-unknown"]
    assert {item.name for item in found.left} >= set(GONE)
