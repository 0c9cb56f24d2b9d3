"""Every form of ``state.json`` that ever was can be read, and a newer one stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kmi.auth_formats import key_id_of
from kmi.migrations import ASIDE, restore_aside, schema_of, take_over, upgrade
from kmi.model import KeyState
from kmi.state import SCHEMA, State, decode
from tests.conftest import World, secret_of, write_private

FIXTURES = Path(__file__).parent / "fixtures" / "state"
NOW = 1_790_000_000.0
IDS = {"alpha": "0123456789ab", "beta": "ba9876543210"}


def fixture(schema: int) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((FIXTURES / f"schema-{schema}.json").read_text())
    return table


def test_there_is_a_fixture_of_every_schema() -> None:
    found = {int(path.stem.partition("-")[2]) for path in FIXTURES.glob("schema-*.json")}
    assert found == set(range(SCHEMA + 1))


@pytest.mark.parametrize("schema", range(SCHEMA + 1))
def test_every_schema_becomes_todays(schema: int) -> None:
    table = fixture(schema)
    assert schema_of(table) == schema
    made = upgrade(table, IDS, NOW)
    assert made["schema"] == SCHEMA
    decode(made)


def test_what_kmi_manager_knew_is_taken_over() -> None:
    state = decode(upgrade(fixture(0), IDS, NOW))
    alpha, beta = state.key(IDS["alpha"]), state.key(IDS["beta"])
    assert alpha.hold is None  # a refusal of the past proves nothing
    assert alpha.last_used is not None
    assert beta.hold is not None
    assert (beta.hold.kind, beta.hold.until) == ("exhausted", NOW + 31 * 86400.0)
    assert state.auto_rotate == NOW
    assert list(state.unknown[ASIDE]) == ["gone"]


@pytest.mark.parametrize(
    ("reason", "until", "verdict"),
    [
        ("payment required", "2026-09-22T07:00:00Z", "payment"),
        ("payment required", None, "payment"),
        ("who knows", None, "unknown-403"),
        (None, "2020-01-01T00:00:00Z", None),
    ],
)
def test_blocks_are_taken_over_with_their_end(
    reason: str | None, until: str | None, verdict: str | None
) -> None:
    old = {
        "schema_version": 1,
        "keys": {"alpha": {"blocked_reason": reason, "blocked_until": until}},
    }
    hold = decode(upgrade(old, IDS, NOW)).key(IDS["alpha"]).hold
    assert (None if hold is None else hold.verdict) == verdict
    assert hold is None or (hold.until is not None and hold.until > NOW)


@pytest.mark.parametrize("keys", [[], {"alpha": 3}, "x"])
def test_an_odd_one_is_refused_cleanly(keys: object) -> None:
    with pytest.raises(ValueError, match="object"):
        upgrade({"schema_version": 1, "keys": keys}, IDS, NOW)


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        ([], None),
        (None, None),
        ({}, None),
        ({"schema": 0}, None),
        ({"schema": True}, None),
        ({"schema": 1, "schema_version": 1}, 1),
        ({"schema_version": 1}, 0),
        ({"schema_version": "1"}, None),
    ],
)
def test_which_schema_a_file_has(table: object, schema: int | None) -> None:
    assert schema_of(table) == schema


def test_what_was_kept_aside_comes_back_with_its_auth_file() -> None:
    used = {"last_used": "2026-02-04T07:00:00Z"}
    state = State(unknown={ASIDE: {"alpha": used, "gone": used}})
    assert restore_aside(state, {}, NOW) == []
    assert restore_aside(state, {"alpha": "id-a"}, NOW) == ["alpha"]
    assert state.key("id-a").last_used == 1770188400.0
    assert state.unknown == {ASIDE: {"gone": used}}
    assert restore_aside(state, {"gone": "id-g"}, NOW) == ["gone"]
    assert state.unknown == {}
    assert restore_aside(state, {"gone": "id-g"}, NOW) == []


def test_what_todays_state_knows_is_kept() -> None:
    state = State({"id-a": KeyState(label="alpha")})
    ids = {"alpha": "id-a", "odd": "id-o", "new": "id-n", "blank": "id-b"}
    old = {
        "alpha": {"last_used": "2026-02-04T07:00:00Z"},
        "odd": 3,
        "new": {"last_used": "2026-02-04T07:00:00+00:00"},
        "blank": {"last_used": "some day"},  # then nothing is known of it
        "gone": {"last_used": "2026-02-04T07:00:00Z"},
    }
    assert take_over(state, old, ids, NOW) == ["new"]
    assert {key_id: key.last_used for key_id, key in state.keys.items()} == {
        "id-a": None,
        "id-n": 1770188400.0,
    }


def old_home(world: World, content: bytes) -> Path:
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    world.state.mkdir(mode=0o700, exist_ok=True)
    return write_private(world.state / "state.json", content, mode=0o644)


def test_the_first_run_migrates_and_keeps_a_copy(world: World) -> None:
    content = (FIXTURES / "schema-0.json").read_bytes()
    old_home(world, content)
    done = world.kmi("use", "beta")
    assert done.returncode == 0
    assert "was of schema 0" in done.stderr
    copies = list(world.state.glob("state.json.schema-0-*"))
    assert [copy.read_bytes() for copy in copies] == [content]
    assert os.stat(copies[0]).st_mode & 0o777 == 0o600
    saved = world.saved_state()
    assert saved["schema"] == SCHEMA
    assert key_id_of(secret_of("alpha")) in saved["keys"]
    again = world.kmi("use", "alpha")
    assert again.returncode == 0
    assert "schema" not in again.stderr
    assert len(list(world.state.glob("state.json.schema-0-*"))) == 1


def test_reading_alone_changes_nothing(world: World) -> None:
    path = old_home(world, (FIXTURES / "schema-0.json").read_bytes())
    before = path.read_bytes()
    done = world.kmi("why")
    assert done.returncode == 0
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_untouched(world: World) -> None:
    path = old_home(world, b'{"schema": 99, "future": true}')
    for words in (["use", "beta"], ["status"], ["keys", "reset", "alpha"]):
        done = world.kmi(*words)
        assert done.returncode == 78
        assert "schema 99" in done.stderr
        assert f"up to {SCHEMA}" in done.stderr
    assert path.read_bytes() == b'{"schema": 99, "future": true}'
