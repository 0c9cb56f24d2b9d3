"""The state of several processes with kills is that of one process without: `tests.store_model`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PACKAGE_PARENT

if TYPE_CHECKING:
    from tests.conftest import Result, World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def run(world: World, *words: str) -> Result:
    program = [sys.executable, "-m", "tests.store_model", *words]
    return world.command(program, cwd=Path(PACKAGE_PARENT))


@pytest.mark.parametrize("seed", [1])
def test_what_was_done_is_there_whoever_is_killed(world: World, seed: int) -> None:
    done = run(world, "--seed", str(seed))
    assert done.returncode == 0, done
    assert " 0 cut off" not in done.stdout, "nothing was killed in the middle of it"


def test_the_model_finds_a_store_that_loses_updates(world: World) -> None:
    done = run(world, "--seed", "1", "--careless")
    assert done.returncode == 1, done
    assert "that were done are gone" in done.stdout
    assert "what had been saved is gone" in done.stdout
