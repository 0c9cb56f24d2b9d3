"""How far `kmi undo` goes back, and which backups stay for it."""

from __future__ import annotations

import json
from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

from kmi.config_file import BACKUPS_KEPT, Backups, ChangedError, read_config
from tests.conftest import CLI, World, config_text, secret_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ready(world: World) -> World:
    """A config with ``alpha`` in it, and another key."""
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    return world


def swapped(world: World, count: int) -> list[bytes]:
    """Swap so often; the config as it was before each one."""
    before = []
    for label in islice(cycle(("beta", "alpha")), count):
        before.append(world.config().read_bytes())
        assert world.kmi("use", label).returncode == 0
        # What others write makes every version another one.
        world.config().write_bytes(world.config().read_bytes() + f"# {len(before)}\n".encode())
    return before


def names(world: World) -> set[str]:
    return {path.name for path in (world.state / "backups").iterdir()}


@pytest.mark.parametrize("swaps", [10, 13])
def test_every_swap_that_is_remembered_can_be_taken_back(ready: World, swaps: int) -> None:
    before = []
    for label in islice(cycle(("beta", "alpha")), swaps):
        before.append(ready.config().read_bytes())
        assert ready.kmi("use", label).returncode == 0
    for wanted in before[:-11:-1]:
        done = ready.kmi("undo")
        assert done.returncode == 0, done
        assert ready.config().read_bytes() == wanted
        assert len(names(ready)) == BACKUPS_KEPT
    assert "there is no swap" in ready.kmi("undo").stderr


def test_a_backup_that_is_put_in_place_costs_no_undo(ready: World) -> None:
    swapped(ready, 10)
    oldest = min(names(ready))
    lost = ready.config().read_bytes()
    assert ready.kmi("undo", "--file", oldest).returncode == 0
    kept = [path.read_bytes() for path in (ready.state / "backups").iterdir()]
    assert lost in kept, "what was replaced by hand is kept"
    for _ in range(10):
        done = ready.kmi("undo")
        assert done.returncode == 0, done
    assert len(names(ready)) == BACKUPS_KEPT


def test_backups_that_are_needed_stay_whatever_their_age(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(config_text(secret_of("alpha")))
    kept = Backups(str(tmp_path / "backups"))
    snapshot = read_config(CLI, str(config))
    made = [kept.save(snapshot, 1e9 + at) for at in range(14)]
    kept.prune(CLI, {made[0], made[2]})
    assert sorted(kept.names(CLI)) == [made[0], made[2], *made[6:]]
    kept.prune(CLI, made)
    kept.discard(made[7])
    kept.discard("")
    kept.discard(made[7])  # gone already
    assert len(kept.names(CLI)) == 9


@pytest.mark.parametrize("words", [["use", "beta"], ["undo"]])
def test_attempts_that_came_too_late_leave_no_backup(
    ready: World, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """In this process, for an editor that is faster than every attempt."""
    from kmi import config_file
    from kmi.cli import main

    swapped(ready, 10)
    before = names(ready)

    def changed(*_: object) -> None:
        raise ChangedError

    monkeypatch.setattr(config_file, "_check_unchanged", changed)
    monkeypatch.setattr("os.environ", dict(ready.env))
    monkeypatch.setattr("kmi.swap.PAUSE_S", 0.0)
    assert main(words) == 75
    assert names(ready) == before


def test_the_document_tells_whether_anything_changed(ready: World) -> None:
    ready.kmi("use", "beta")
    (backup,) = names(ready)
    said = [ready.document("undo", "--file", backup)["changed"] for _ in range(2)]
    assert said == [True, False]
    outcomes = [record["outcome"] for record in ready.records("audit.jsonl")]
    assert outcomes[-2:] == ["changed", "unchanged"]
    assert json.loads(ready.kmi("undo", "--json").stdout)["changed"] is True
