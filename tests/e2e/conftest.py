"""Fixtures. Nothing is installed here: `make e2e` runs ``clients.py`` before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, FakeKimi

from .box import CLI, CODE, SECRETS, TOKEN, Box
from .clients import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake() -> Iterator[FakeKimi]:
    """The fake API, on which every key but the stale one works."""
    keys = {secret: Behaviour(text=f"answer for {name}") for name, secret in SECRETS.items()}
    del keys[SECRETS["stale"]]
    keys[TOKEN] = Behaviour(text="answer for the login")
    with FakeKimi(keys) as server:
        yield server


def _box(root: Path, client: str, fake: FakeKimi) -> Box:
    try:
        return Box(root, client, fake)
    except Missing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(params=[CLI, CODE])
def box(request: pytest.FixtureRequest, tmp_path: Path, fake: FakeKimi) -> Box:
    """A machine with either client."""
    return _box(tmp_path, request.param, fake)


@pytest.fixture
def cli(tmp_path: Path, fake: FakeKimi) -> Box:
    """A machine with kimi-cli."""
    return _box(tmp_path, CLI, fake)


@pytest.fixture
def code(tmp_path: Path, fake: FakeKimi) -> Box:
    """A machine with Kimi Code."""
    return _box(tmp_path, CODE, fake)
