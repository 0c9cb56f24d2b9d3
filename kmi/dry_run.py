"""What a swap would change, shown instead of done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.masking import config_diff
from kmi.swap import proposed

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.model import Decision


def show_change(app: App, client: str, decision: Decision, *, adopt: bool) -> None:
    """A dry run: which key, why, and the difference in the config, secrets masked."""
    key = decision.key
    assert key is not None  # noqa: S101 - the caller's decision has one
    snapshot = app.read_config(client)
    words = app.words
    why = words.sentence(decision.reason)
    app.screen.note(words("swap.would", label=repr(key.label), why=why))
    diff: list[str] = []
    if key.secret is None:
        app.screen.note(words("swap.no-program"))
    else:
        raw = proposed(snapshot, key, adopt=adopt)[1]
        diff = config_diff(snapshot.raw or b"", raw, snapshot.path)
    app.screen.planned(diff, client=client, label=key.label, reason=decision.reason)
