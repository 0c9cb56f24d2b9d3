"""What the fake API remembers of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """One request that reached the fake.

    Attributes:
        key: what followed ``Bearer``; "" without it. A secret only of the test's own making.
        prompt: what the user said in a chat request since the last answer, cut.
        body: the beginning of the body.
        at: seconds since the epoch.
        status: of the answer; 0 until it is known.
    """

    method: str
    path: str
    key: str
    headers: Mapping[str, str]
    body: str
    model: str = ""
    prompt: str = ""
    session: str = ""
    at: float = 0.0
    status: int = 0
