"""After a failed turn: what the client's error text says of the key, and the next key swapped in.

The key that failed is the one that the session used, which need not be the active one by now: a
pinned run keeps its own, a session that does not follow the config still has the one it started
with, and another session may have failed on the same key a moment ago and swapped it out. The swap
compares: it happens only while the config holds the very key that failed, so that two failures at
once do not rotate twice.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.app import App
from kmi.errors import KmiError
from kmi.holds import holds
from kmi.hooks.sessions import Session, client_of, lines_with, log, look, read_json
from kmi.output import Screen
from kmi.picking import decide, pick_and_commit
from kmi.redaction import without
from kmi.swap import live_key, swap
from kmi.timezones import utc_text
from kmi.transitions import apply_answer
from kmi.verdicts import classify_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.model import ApiKey, Decision
    from kmi.state import Active, State
    from kmi.store import Transaction
    from kmi.verdicts import Verdict

#: A request that failed was sent at most so long before its hook runs: refusals come at once, and
#: a retry takes the key that is in the config by then. Younger swaps may have come in between.
SETTLED_S = 5.0
#: A session that was swapped to a new key takes at least so long to fail on that, too: a person has
#: to ask again. What comes earlier is the same failure.
REPEATED_S = 1.0


class StayError(Exception):
    """No key is swapped in; ``why`` is the word for it in the record."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Failed(NamedTuple):
    """The key that failed, as far as it is known to kmi."""

    key_id: str | None
    label: str | None


def handle(data: bytes, client: str, env: Mapping[str, str], at: float, lock: int | None) -> None:
    """Classify, mark, swap if that is allowed, and record; under the lock.

    Args:
        data: the client's event.
        client: whose it is; "" when only the event can tell.
        env: the client's environment.
        at: when it came, in seconds since the epoch.
        lock: a descriptor that holds the lock, or None.

    Raises:
        ValueError: the event is none.
        KmiError: settings, keys or state can't be used.
    """
    from kmi.hooks.events import CHILD_LOCK_WAIT_S

    event = read_json(data)
    with open(os.devnull, "w", encoding="utf-8") as null:
        app = App(env, Screen(env, quiet=True, out=null, err=null), "hook")
        app.store.patience_s = CHILD_LOCK_WAIT_S
        app.store.held_lock = lock
        if not app.dry_run:
            client = client_of(event, client, env)
            session = look(client, event["session_id"], env, app.store.directory)
            Failure(app, session, error_verdict(app, event), at).settle()


def error_verdict(app: App, event: Mapping[str, Any]) -> Verdict:
    """What the failure text of an event says."""
    text = event.get("error_message")
    if not isinstance(text, str):
        text = ""
    elif app.keyring.keys:  # which now are known: it may repeat any of them, in any form
        text = app.screen.redactor.data(text)
    return classify_text(text, extra=app.patterns())


def mark(app: App, state: State, key: ApiKey, verdict: Verdict) -> None:
    """Remember what an answer says of a key, and of those that share its account.

    The client did not take the key out of the words, in whatever form they repeat it.
    """
    settings = app.settings
    if key.secret is not None:
        verdict = dataclasses.replace(verdict, text=without(verdict.text, key.secret))
    state.keys.update(
        apply_answer(
            state.keys,
            key.key_id,
            verdict,
            now=app.now(),
            rng=random.Random(),  # noqa: S311 - jitter, nothing secret
            cooldown_s=settings.rotation_cooldown_s,
            payment_block_s=settings.payment_block_s,
        )
    )
    state.keys[key.key_id] = dataclasses.replace(state.keys[key.key_id], label=key.label)


class Failure:
    """One failed turn of a session."""

    def __init__(self, app: App, session: Session, verdict: Verdict, at: float) -> None:
        self.app = app
        self.session = session
        self.verdict = verdict
        self.at = at
        self.failed = Failed(session.key, session.label)
        #: The id of the key of another model that the session is on, "" if that has none; None:
        #: it is on the config's own.
        self.other: str | None = None
        self.marked = False
        self.refresh = False

    def settle(self) -> None:
        """Swap and mark in one step; where nothing is swapped, only mark."""
        if self.session.how == "config":
            from kmi.hooks.models import other_key

            config = self.app.read_config(self.session.client).config
            self.other = other_key(self.session, config, self.app.env)
        why, told = self._barred(), None
        if not why:
            try:
                pick_and_commit(self.app, self._pick, self._commit, named=None)
            except StayError as stay:
                why = stay.why
            except KmiError as error:
                why = error.code
                told = None if why in {"no-key", "all-out"} else error
        if why:
            with self.app.store.transaction() as transaction:
                self._mark(transaction.state)
                transaction.save()
                self._record(transaction, why, None)
                if self.marked and holds(self.verdict):
                    self._audit(transaction, action="mark")
        if told is not None:
            log(self.app.env, "stop-failure", told)
        if self.refresh:
            from kmi.background import start

            start(self.app.env)

    def _barred(self) -> str:
        """Why no key may be swapped in, whatever is active; "" when one may."""
        settings, session = self.app.settings, self.session
        if session.how != "config":
            return {"pin": "pinned", "proxy": "proxy"}[session.how]
        if not holds(self.verdict):
            return "not-the-key"
        if self.other is not None:
            return "other-provider"
        if not settings.auto_rotate_allowed:
            return "not-allowed"
        return "" if settings.write_config else "no-write"

    def _pick(self, state: State, unavailable: dict[str, str]) -> Decision:
        """Compare, mark, and choose: while the lock is held; nothing is saved yet.

        Raises:
            StayError: nothing is to be swapped.
            TryLaterError: every key is out.
        """
        app, client = self.app, self.session.client
        self._mark(state)
        if not self.marked:
            raise StayError("not-ours")
        live = live_key(app.read_config(client), app.known(state))
        if live is None or live.key_id != self.failed.key_id:
            raise StayError("swapped-already")
        strategy = app.strategy(state)
        decision = decide(app, state, client, strategy=strategy, unavailable=unavailable)
        if decision.key is not None and decision.key.key_id == self.failed.key_id:
            raise StayError("none-better")
        return decision

    def _commit(self, transaction: Transaction, decision: Decision, key: ApiKey) -> None:
        from kmi.background import claim

        app, client = self.app, self.session.client
        swapped = swap(app, transaction, client, key)
        self.refresh = claim(app, transaction.state)
        transaction.save()
        self._record(transaction, decision.code, key.label)
        more = {"action": "swap", "before": swapped.before, "after": key.label, "key": key.key_id}
        self._audit(transaction, **more)

    def _mark(self, state: State) -> None:
        """Find the key that failed, and remember what was said of it; once for each reading."""
        self.marked = False
        self.failed = self._find_failed(state)
        known = {key.key_id: key for key in self.app.known(state)}
        key = known.get(self.failed.key_id or "")
        if key is None:
            return
        self.failed = Failed(key.key_id, key.label)
        mark(self.app, state, key, self.verdict)
        self.marked = True

    def _find_failed(self, state: State) -> Failed:
        session = self.session
        if self.other is not None:
            return Failed(self.other or None, None)
        if session.how != "config":
            return Failed(session.key, session.label)
        if not session.follows:
            started = self._last("session_start")
            if started is not None and isinstance(started.get("key"), str):
                return Failed(started["key"], started.get("label"))
            return Failed(session.key, session.label)
        before = self._swapped_out(state)
        return Failed(session.key, session.label) if before is None else Failed(before, None)

    def _swapped_out(self, state: State) -> str | None:
        """The key that was in the config until a moment ago, if it is the one that failed.

        It is when it is out of use by now, unless this session has failed on it already, so that it
        knew of the swap.
        """
        active = state.active.get(self.session.client)
        age_s = SETTLED_S if active is None else self.at - active.since
        if active is None or age_s >= SETTLED_S or (age_s >= REPEATED_S and self._told(active)):
            return None
        swaps = state.undo.get(self.session.client, [])
        before = swaps[-1].from_key if swaps and swaps[-1].to_key == active.key_id else None
        hold = state.key(before).hold if before is not None else None
        return before if hold is not None and hold.active(self.app.now()) else None

    def _told(self, active: Active) -> bool:
        """Whether the swap to the active key followed a failure of this very session."""
        last = self._last("session_failure")
        return last is not None and last.get("swapped") == active.label

    def _last(self, event: str) -> dict[str, Any] | None:
        """The last record of this session."""
        marks = (f'"event":"{event}"'.encode(), json.dumps(self.session.session_id).encode())
        return next(lines_with(self.app.store.directory, *marks), None)

    def _record(self, transaction: Transaction, why: str, swapped: str | None) -> None:
        failed = copy.copy(self.session)
        failed.key, failed.label = self.failed
        transaction.record_run(
            {
                "schema": 1,
                "ts": utc_text(self.app.now()),
                "event": "session_failure",
                **failed.fields(),
                "verdict": self.verdict.name,
                "swapped": swapped,
                "why": why,
            }
        )

    def _audit(self, transaction: Transaction, **fields: Any) -> None:
        named = {} if "key" in fields else {"label": self.failed.label, "key": self.failed.key_id}
        self.app.audit(
            transaction,
            "changed",
            client=self.session.client,
            reason=self.verdict.name,
            run=self.session.run_id,
            **named,
            **fields,
        )
