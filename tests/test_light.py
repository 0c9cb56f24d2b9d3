"""What every start of a shell runs: `kmi init`, `prompt` and `completion` never end in a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import LIMIT_S

if TYPE_CHECKING:
    from tests.conftest import Result, World

CALLS = [("prompt",), ("init", "bash"), ("completion", "bash"), ("--version",)]
calls = pytest.mark.parametrize("words", CALLS, ids=lambda words: words[0])


@calls
def test_a_home_that_is_no_absolute_path_is_told_in_a_line(
    world: World, words: tuple[str, ...]
) -> None:
    env = {"HOME": "foo", "KMI_STATE_DIR": None, "KMI_ENV_PATH": None}
    done = world.kmi(*words, env=env)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1
    if done.returncode:
        assert "HOME" in done.stderr


def into(world: World, words: tuple[str, ...], target: int) -> Result:
    """Run kmi with its standard output there."""
    return subprocess.run(
        [sys.executable, "-m", "kmi", *words],
        cwd=world.cwd,
        env=world.env,
        stdin=subprocess.DEVNULL,
        stdout=target,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("words", CALLS[1:3], ids=lambda words: words[0])
def test_a_full_disk_is_told_in_a_line(world: World, words: tuple[str, ...]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no /dev/full")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = into(world, words, full)
    finally:
        os.close(full)
    assert done.returncode == 1
    assert done.stderr.startswith("kmi: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", CALLS[1:], ids=lambda words: words[0])
def test_a_reader_that_is_gone_is_no_error_to_tell(world: World, words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = into(world, words, writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
