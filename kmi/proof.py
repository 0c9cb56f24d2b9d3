"""The proof before `kmi rotate auto`: the rotation, end to end, on a private copy of the config.

What a run would do is done for every key that round robin would reach: the choice, the edit of the
config (of a copy, in a 0700 directory, by the same code), a second reading of it; then the key that
is read there asks its own upstream for its quota. Never a model request: that would cost quota, and
the plan refuses kmi's own name (upstream.md, row 6). So it proves that the keys are genuine and
arrive, not that a chat is answered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kmi import pins
from kmi.config_file import read_config, replace_config
from kmi.errors import ConfigError, KmiError, UnavailableError
from kmi.health import status_of
from kmi.kimi_edits import minimal_config
from kmi.secrets_source import resolve_secret
from kmi.selection import choose
from kmi.swap import credential_of, live_key, proposed

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.state import State

#: Configs that can't take a key; runs get theirs beside it, and so there is no edit to prove.
BESIDE = {"oauth-login", "no-model", "key-variable"}
#: A rotation needs somewhere to go.
LEAST_KEYS = 2


@dataclass
class Proof:
    """What was proved: labels in their order, and why others failed."""

    proved: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def round_trip(app: App, state: State, client: str) -> list[ApiKey]:
    """The keys that round robin would give to a series of runs, in that order."""
    keys = app.known(state)
    policy = app.policy(strategy="round-robin")
    active = state.active.get(client)
    last = None if active is None else active.key_id
    seen: list[ApiKey] = []
    for _ in keys:
        decision = choose(keys, state.keys, policy, now=app.now(), active=last)
        if decision.key is None or decision.key in seen:
            break
        seen.append(decision.key)
        last = decision.key.key_id
    return seen


def prove(app: App, client: str) -> Proof:
    """Prove the rotation.

    Raises:
        UnavailableError: no upstream was reached.
        KmiError: fewer than two keys were proved.
    """
    from kmi.refresh import refresh

    proof = Proof()
    ready = _swap_each(app, client, round_trip(app, app.store.read(), client), proof)
    if len(ready) >= LEAST_KEYS:
        done = refresh(app, ready, audit="never")
        if not done.reached:
            said = next((answer.error for answer in done.answers.values()), "")
            raise UnavailableError(
                f"the rotation could not be proved: {said}", "try again when upstream is reachable"
            )
        for key in done.keys:
            answer = done.answers[key.key_id]
            status = status_of(key, done.state.key(key.key_id), app.now())
            if answer.error:
                proof.failed[key.label] = answer.error
            elif status.name in {"blocked", "exhausted"}:
                proof.failed[key.label] = f"{status.name}: {status.reason}"
            else:
                proof.proved.append(key.label)
    else:
        proof.failed.update((key.label, "no other key to change to") for key in ready)
    if len(proof.proved) < LEAST_KEYS:
        why = "; ".join(f"{label}: {words}" for label, words in list(proof.failed.items())[:5])
        raise KmiError(
            f"a rotation needs {LEAST_KEYS} keys that work, and {len(proof.proved)} did"
            + (f" ({why})" if why else ""),
            "see `kmi why` and `kmi health`",
            code="not-proved",
        )
    return proof


def _swap_each(app: App, client: str, keys: list[ApiKey], proof: Proof) -> list[ApiKey]:
    """Swap each key into one copy of the config, one after the other, and read it back."""
    app.store.prepare()
    real = app.read_config(client)
    ready: list[ApiKey] = []
    copy = ""
    try:
        for named in keys:
            key = named
            try:
                key = resolve_secret(named, app.env)
                if not copy:
                    data = real.raw or minimal_config(credential_of(key)).encode()
                    copy = pins.create_file(app.store.path("pins"), os.urandom(6).hex(), data)
                snapshot = read_config(client, copy)
                raw = proposed(snapshot, key, adopt=False)[1]
                if raw != snapshot.raw:
                    replace_config(snapshot, raw)
                if live_key(read_config(client, copy), (key,)) is None:
                    raise KmiError("the copy of the config does not hold the key")
            except ConfigError as error:
                if error.code not in BESIDE:
                    proof.failed[named.label] = error.message
                    continue
            except KmiError as error:
                proof.failed[named.label] = error.message
                continue
            ready.append(key)
    finally:
        if copy:
            pins.remove(os.path.dirname(copy))
    return ready
