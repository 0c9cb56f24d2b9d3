"""`kmi health`, `kmi status` and `kmi rotate auto`, as a person and as a program see them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docs.screens import SCREENS, draw, sample
from kmi.demo.fake_api import (
    Behaviour,
    FakeKimi,
    invalid_401,
    payment_402,
    quota_403,
    usage_windows,
)
from kmi.health_text import lines
from kmi.wording import Words
from tests.conftest import CLI, World, secret_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent / "golden"
ALLOWED = {"KMI_AUTO_ROTATE_ALLOWED": "1"}
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
#: For the golden files: readings on round shares, resets two hours, three and twenty days off.
KEYS = {
    "alpha": Behaviour(usages=usage_windows(0.25, 0.5, 0.1, user="u-one")),
    "beta": Behaviour(usages=usage_windows(0.9, 0.3, 0.4, user="u-two")),
    "dead": invalid_401(),
    "owing": payment_402(),
    "spent": quota_403(usages=usage_windows(1.0, 0.3, 0.2, user="u-one")),
}


@pytest.fixture
def fake(world: World) -> Iterator[FakeKimi]:
    """Five keys, all asked about once; alpha is in the config."""
    world.env["KMI_CLIENT"] = CLI
    with FakeKimi({secret_of(label): how for label, how in KEYS.items()}) as api:
        for label in KEYS:
            world.add_key(label, UPSTREAM_BASE_URL=api.base_url)
        world.env["KMI_UPSTREAM_BASE_URL"] = api.base_url
        assert world.kmi("use", "alpha").returncode == 0
        assert world.kmi("health", "--refresh", "--json").returncode == 0
        yield api


def normal(world: World, document: object) -> Any:
    """A document without what differs from run to run."""
    text = json.dumps(document).replace(str(world.root), "ROOT")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    text = re.sub(r"-\d{8}T\d{9}Z-[0-9a-f]{4}\.toml", "-NAME.toml", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r"(\d+ (d|h|min|s) ?)+(?=[\";]| ago)", "SPAN", text)
    return json.loads(text)


def check_golden(world: World, name: str, document: object) -> None:
    """Compare with a file; `WRITE_GOLDEN=1 pytest` writes it."""
    path = GOLDEN / f"{name}.json"
    found = normal(world, document)
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(path.read_text())


# Documents.


@pytest.mark.parametrize(
    "name, args",
    [
        ("health", ["health"]),
        ("status", ["status"]),
        ("current", ["current"]),
        ("why", ["why"]),
        ("keys-check", ["keys", "check", "alpha"]),
        ("rotate-off", ["rotate", "off"]),
        ("keys", ["keys"]),
        ("backups", ["backups"]),
        ("audit", ["audit"]),
        ("clean", ["clean", "--dry-run", "--runs", "--older-than", "0s"]),
        ("config-path", ["config", "path"]),
    ],
)
def test_documents(world: World, fake: FakeKimi, name: str, args: list[str]) -> None:
    check_golden(world, name, world.document(*args))


def test_documents_are_english(world: World, fake: FakeKimi) -> None:
    for command in ("health", "status", "current"):
        english = world.kmi(command, "--json").stdout
        russian = world.kmi(command, "--json", env={"KMI_LOCALE": "ru"}).stdout
        assert normal(world, json.loads(english)) == normal(world, json.loads(russian))


# Screens.


def test_text_for_pipes(world: World, fake: FakeKimi) -> None:
    done = world.kmi("health")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "* alpha  healthy" in done.stdout
    assert "[############----]  75 %  resets in" in done.stdout
    assert "2 keys, 1 account (A: alpha, spent)" in done.stdout
    assert "dead: check the key at 127.0.0.1" in done.stdout


def test_a_terminal_gets_a_table(world: World, fake: FakeKimi) -> None:
    done = world.kmi("health", env={**TERMINAL, "COLUMNS": "120"})
    assert "\x1b[" in done.stdout
    assert "╭" in done.stdout
    assert "━" in done.stdout


@pytest.mark.parametrize("columns", ["60", "120"])
@pytest.mark.parametrize("switch", [{"NO_COLOR": "1"}, {"KMI_NO_COLOR": "1"}])
def test_without_colour(world: World, fake: FakeKimi, columns: str, switch: dict[str, str]) -> None:
    done = world.kmi("health", env={**TERMINAL, "COLUMNS": columns, **switch})
    assert "\x1b" not in done.stdout
    assert "━" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


@pytest.mark.parametrize("switch", [{"TERM": "dumb"}, {"KMI_PLAIN": "1"}])
def test_plain_wins_over_everything(world: World, fake: FakeKimi, switch: dict[str, str]) -> None:
    done = world.kmi("health", env={**TERMINAL, **switch})
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


def test_plain_is_ascii_and_so_english(world: World, fake: FakeKimi) -> None:
    for command in ("health", "status"):
        done = world.kmi(command, "--plain", env={"KMI_LOCALE": "ru"})
        assert done.stdout.isascii()
        assert "healthy" in done.stdout


def test_russian(world: World, fake: FakeKimi) -> None:
    for command in ("health", "status"):
        done = world.kmi(command, env={"KMI_LOCALE": "ru"})
        assert "в порядке" in done.stdout
        assert "healthy" not in done.stdout
    dry = world.kmi("health", env={"KMI_LOCALE": "ru", "KMI_DRY_RUN": "1"})
    assert "внимание: пробный режим" in dry.stderr
    out = world.kmi("run", "-k", "beta", "--", "true", env={"KMI_LOCALE": "ru"})
    assert "ключ 'beta': его назвали" in out.stderr  # noqa: RUF001 - Russian


def test_the_old_flags_are_aliases(world: World, fake: FakeKimi) -> None:
    for flag in ("--all", "--health"):
        assert world.kmi(flag, "--json").stdout.startswith('{\n  "schema": 1,\n  "at"')
    assert world.kmi("--auto-rotate").returncode == 77
    assert world.kmi("--auto_rotate").returncode == 77


def test_times_are_in_the_zone_of_the_person(world: World, fake: FakeKimi) -> None:
    for label in ("alpha", "beta"):
        world.kmi("keys", "disable", label)
    text = world.kmi("health", env={"KMI_TIMEZONE": "+05:30"}).stdout
    assert "no key can be used now" in text
    assert "UTC+05:30" in text


def test_no_key_at_all(world: World) -> None:
    done = world.kmi("health")
    assert done.returncode == 0
    assert "kmi keys add LABEL" in done.stderr
    assert world.document("health")["keys"] == []


def test_a_dry_run_sends_nothing_and_says_so(world: World, fake: FakeKimi) -> None:
    fake.clear()
    done = world.kmi("health", "--refresh", env={"KMI_DRY_RUN": "1"})
    assert "dry run" in done.stderr
    assert "would ask about alpha, beta" in done.stderr
    assert fake.requests == []


@pytest.mark.parametrize(
    "args", [("--refresh", "--no-refresh"), ("--watch", "0"), ("--watch", "--json")]
)
def test_what_makes_no_sense_is_refused(world: World, args: tuple[str, ...]) -> None:
    world.add_key("alpha")
    assert world.kmi("health", *args).returncode == 2


def test_watching_draws_again_and_asks_no_more_often(world: World, fake: FakeKimi) -> None:
    fake.clear()
    process = subprocess.Popen(
        [sys.executable, "-m", "kmi", "health", "--watch", "0.5"],
        env={**world.env, "KMI_USAGE_CACHE_SECONDS": "600"},
        cwd=world.cwd,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = 0
    deadline = time.monotonic() + 30.0
    while seen < 3 and time.monotonic() < deadline:
        seen += "keys: 5" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30.0)
    assert (seen, process.returncode) == (3, 0)
    assert fake.requests == []


def test_the_pictures_are_those_of_this_code() -> None:
    for name in SCREENS:
        kept = Path(__file__).parents[1] / "docs" / "images" / f"{name}.svg"
        assert kept.exists()
        drawn = draw(name)
        # rich may draw the frame differently from version to version; the words stay.
        for word in ("old/trial", "66", "kmi"):
            assert word in drawn
            assert word in kept.read_text(encoding="utf-8")
        assert "http" not in re.sub(r"https?://(www\.w3\.org|www\.textualize\.io)", "", drawn)


def test_text_fits_sixty_columns() -> None:
    for locale in ("en", "ru"):
        found = lines(sample(), Words(locale), lambda at: "2026-01-01 00:00 UTC", 60)
        assert max(map(len, found)) <= 60


# `kmi rotate auto` and `off`.


def test_auto_needs_leave(world: World, fake: FakeKimi) -> None:
    document = world.document("rotate", "auto", code=77)
    assert document["error"]["code"] == "auto-not-allowed"
    assert "KMI_AUTO_ROTATE_ALLOWED=1" in document["error"]["fix"]
    assert "auto_rotate" not in world.saved_state()
    assert world.records("audit.jsonl")[-1]["outcome"] == "denied"


@pytest.fixture
def two(world: World) -> Iterator[FakeKimi]:
    """Two keys that work."""
    world.env.update({"KMI_CLIENT": CLI, **ALLOWED})
    with FakeKimi(
        {
            secret_of("alpha"): Behaviour(usages=usage_windows(user="u-one")),
            secret_of("beta"): Behaviour(usages=usage_windows(user="u-two")),
        }
    ) as api:
        for label in ("alpha", "beta"):
            world.add_key(label, UPSTREAM_BASE_URL=api.base_url)
        world.env["KMI_UPSTREAM_BASE_URL"] = api.base_url
        world.kmi("use", "alpha")
        yield api


def test_auto_proves_turns_on_and_rotates(world: World, two: FakeKimi) -> None:
    before = world.config().read_bytes()
    check_golden(world, "rotate-auto", world.document("rotate", "auto"))
    assert world.config().read_bytes() == before, "the proof is on a copy"
    assert sorted(r.path for r in two.requests) == ["/coding/v1/usages"] * 2
    assert list((world.state / "pins").iterdir()) == []
    picked = [
        world.kmi("run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY").stdout.strip() for _ in range(4)
    ]
    assert picked == ["beta", "alpha", "beta", "alpha"]
    assert world.document("status")["rotation"]["auto"] is True
    assert "automatic rotation is on" in world.kmi("status").stdout
    assert world.document("why")["strategy"] == "round-robin"
    named = world.kmi("run", "--strategy", "sticky", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY")
    assert named.stdout == "alpha\n"
    record = world.records("audit.jsonl")[-1]
    audits = [r for r in world.records("audit.jsonl") if r["command"] == "rotate"]
    assert len(audits) == 1
    assert audits[0]["proved"] == ["beta", "alpha"]
    assert record["schema"] == 1


def test_off_ends_it_and_is_audited(world: World, two: FakeKimi) -> None:
    world.document("rotate", "auto")
    assert world.document("rotate", "off")["changed"] is True
    assert "auto_rotate" not in world.saved_state()
    last = world.records("audit.jsonl")[-1]
    assert (last["outcome"], last["before"], last["after"]) == (
        "changed",
        {"auto_rotate": True},
        {"auto_rotate": False},
    )
    picked = {
        world.kmi("run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY").stdout.strip() for _ in range(3)
    }
    assert picked == {"alpha"}
    assert world.document("rotate", "off")["changed"] is False


def test_leave_taken_back_ends_the_rotation(world: World, two: FakeKimi) -> None:
    world.document("rotate", "auto")
    world.env["KMI_AUTO_ROTATE_ALLOWED"] = "0"
    assert world.document("status")["strategy"] == "sticky"
    assert "keeps it off" in world.kmi("status").stdout


def test_a_proof_that_fails_turns_nothing_on(world: World, two: FakeKimi) -> None:
    two.set(secret_of("beta"), invalid_401())
    document = world.document("rotate", "auto", code=1)
    assert document["error"]["code"] == "not-proved"
    assert "beta: 401" in document["error"]["message"]
    assert "auto_rotate" not in world.saved_state()
    two.close()
    world.kmi("keys", "reset", "beta")
    assert world.document("rotate", "auto", code=69)["error"]["code"] == "unavailable"


def test_without_the_proof_nothing_is_asked(world: World, two: FakeKimi) -> None:
    world.env["KMI_AUTO_ROTATE_E2E"] = "0"
    assert world.document("rotate", "auto")["auto_rotate"] is True
    assert two.requests == []


def test_one_account_is_named_as_such(world: World, two: FakeKimi) -> None:
    for label in ("alpha", "beta"):
        two.set(secret_of(label), Behaviour(usages=usage_windows(user="u-same")))
    done = world.kmi("rotate", "auto")
    assert done.returncode == 0
    assert "rotation gains nothing" in done.stderr


def test_auto_in_a_dry_run(world: World, two: FakeKimi) -> None:
    document = world.document("rotate", "auto", "--dry-run")
    assert document["labels"] == ["beta", "alpha"]
    assert two.requests == []
    assert "auto_rotate" not in world.saved_state()
