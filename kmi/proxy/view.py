"""What the proxy picks keys by: one consistent sight of auth files, settings and state.

A view is made by the thread that watches the disk (`keeper`) and used by the event loop; what a
request teaches is put into the loop's own copy of the states at once, and into ``state.json`` soon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.model import ApiKey, KeyState
    from kmi.selection import Policy
    from kmi.state import Active
    from kmi.verdict_table import Rule


class View(NamedTuple):
    """One sight of everything.

    Attributes:
        keys: in their order, with their secrets.
        states: by key id.
        active: the key last swapped into the config of the proxy's client, or None.
        policy: how to choose; its strategy is round robin while `kmi rotate auto` is on.
        may_change: whether a session may change keys (`KMI_AUTO_ROTATE_ALLOWED`).
        auto_rotate: since when `kmi rotate auto` is on, or None.
        patterns: the person's own rows of the classification table.
        chosen_at: when a person named the active key (`kmi use`, `kmi rotate`), or None.
        problems: what is wrong with files, each in one line, for `/status` and the log.
    """

    keys: tuple[ApiKey, ...]
    states: Mapping[str, KeyState]
    active: Active | None
    policy: Policy
    may_change: bool
    auto_rotate: float | None = None
    patterns: tuple[Rule, ...] = ()
    problems: tuple[str, ...] = ()
    chosen_at: float | None = None
