"""What is kmi's own in its state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kmi.layout import OWNED, is_own
from tests.conftest import CLI, write_private

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.mark.parametrize(
    ("name", "own"),
    [
        *((item.name.rstrip("/"), True) for item in OWNED),
        ("trace.jsonl.3", True),
        ("trace.jsonl.lock", True),
        ("usage.db-wal", True),
        ("state.json.schema-0-20260101T000000Z", True),
        ("pins.old", False),  # directories are not rotated
        ("trace", False),
        ("proxy.pid", False),
        ("", False),
    ],
)
def test_own_files_are_known_by_their_names(name: str, own: bool) -> None:
    assert is_own(name) is own


def test_doctor_tells_what_else_lies_there_and_leaves_it(world: World) -> None:
    world.add_key("work")
    world.config_with("work", CLI)
    assert world.kmi("use", "work").returncode == 0
    assert "not kmi's own" not in world.kmi("doctor", "-v").stdout
    stray = write_private(world.state / "proxy.pid", "1\n")
    told = world.kmi("doctor", "-v").stdout
    assert "not kmi's own, and left alone: proxy.pid" in " ".join(told.split())
    assert "proxy.pid" not in world.kmi("doctor").stdout
    world.kmi("doctor", "--fix", "--yes")
    assert stray.read_text() == "1\n"
