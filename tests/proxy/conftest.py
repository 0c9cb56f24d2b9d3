"""What the tests of the proxy's process share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import FakeKimi
from tests.proxy.box import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import World


@pytest.fixture
def box(world: World) -> Iterator[Box]:
    """A world for a proxy; none of its processes outlives the test."""
    with FakeKimi() as api:
        box = Box(world, api)
        yield box
        box.end()
