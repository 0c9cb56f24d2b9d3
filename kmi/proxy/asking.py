"""Quotas that are asked about while the proxy is used: by a process of its own, never in the relay.

It is the same refresh as behind `kmi run` (docs/decisions/0014): it knows httpx, and ends itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from kmi.background import COMMAND, claim
from kmi.paths import PACKAGE_PARENT

if TYPE_CHECKING:
    from kmi.app import App

#: How often it is looked whether something is due.
LOOK_EVERY_S = 20.0
#: Without a request for so long nothing is asked (upstream.md: not while idle).
BUSY_S = 600.0


class Asker:
    """Starts refreshes, and lets their processes end."""

    def __init__(self) -> None:
        self._looked_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: frozenset[str] = frozenset()

    def __call__(self, app: App, busy_at: float, ask: frozenset[str]) -> None:
        """Start a refresh when one is due, or when an answer left it open which window is full.

        Args:
            app: the world.
            busy_at: when the last request was answered.
            ask: key ids whose last error one `/usages` answer would explain.
        """
        # What can't be asked about now is asked about as soon as the process has ended.
        self._asked |= ask
        if self._child is not None and self._child.poll() is None:
            return
        self._child = None
        now = app.now()
        if app.settings.usage_cache_s <= 0 or now - busy_at > BUSY_S:
            self._asked = frozenset()
            return
        if not self._asked and now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        labels = self._in_question(app)
        if not labels and not self._claimed(app):
            return
        words = [sys.executable, *COMMAND, *(word for name in labels for word in ("--about", name))]
        places = [PACKAGE_PARENT, *filter(None, [app.env.get("PYTHONPATH")])]
        self._child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**app.env, "PYTHONPATH": os.pathsep.join(places)},
            start_new_session=True,
            cwd="/",
        )

    def _in_question(self, app: App) -> list[str]:
        """The labels of the keys to ask about: once in five minutes for each."""
        from kmi.background import in_question

        asked, self._asked = self._asked, frozenset()
        if not asked:
            return []
        state = app.store.read()
        labels = [key.label for key in app.known(state) if key.key_id in asked]
        return [key.label for key in in_question(app, state, labels)]

    def _claimed(self, app: App) -> bool:
        """Whether a refresh is due and this process is the one that starts it."""
        from kmi.background import due_now
        from kmi.polling import claimed

        state = app.store.read()
        if claimed(state.refresh_at, app.now()) or not due_now(app, state):
            return False
        with app.store.transaction() as transaction:
            mine = claim(app, transaction.state)
            transaction.save()
        return mine
