"""Which key a client would really use now, and whether that is what kmi remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.swap import live_key

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.state import State


@dataclass(frozen=True)
class Situation:
    """What is active for one client.

    Attributes:
        label: the key that a client started now would use; None when it is none of kmi's.
        live: "match" (the config holds what kmi swapped in), "differs" (somebody changed it),
            "login" (an OAuth login decides), "none" (no config, or no key in it), "broken".
        source: "run" inside of a run, else "config".
        explanation: for people, when there is something to say.
    """

    client: str
    config_path: str
    label: str | None
    key_id: str | None
    live: str
    source: str
    explanation: str
    state: State
    keys: tuple[ApiKey, ...]


def look(app: App, client: str) -> Situation:
    """Compare what kmi remembers with what is in the client's config."""
    from kmi.paths import client_config

    state = app.store.read()
    keys = app.known(state)
    words = app.words
    path = client_config(client, app.env)

    def found(label: str | None, key_id: str | None, live: str, why: str = "") -> Situation:
        source = "run" if inside is not None and label == inside else "config"
        return Situation(client, path, label, key_id, live, source, why, state, keys)

    inside = app.env.get("KMI_ACTIVE_KEY") if app.env.get("KMI_RUN_ID") else None
    active = state.active.get(client)
    remembered = None if active is None else active.label
    try:
        snapshot = app.read_config(client)
    except KmiError as error:
        return found(None, None, "broken", words.sentence(error.message))
    config = snapshot.config
    if config is None:
        return found(None, None, "none", words("status.missing", path=path))
    if config.has_login:
        return found(None, None, "login", words("status.login", path=path))
    live = live_key(snapshot, keys)
    if live is None:
        if config.secret is None:
            return found(None, None, "none", words("status.keyless", path=path))
        if remembered is not None:
            why = words("status.foreign-after", path=path, before=repr(remembered))
            return found(None, None, "differs", why)
        return found(None, None, "none", words("status.foreign", path=path))
    if active is not None and live.key_id != active.key_id:
        label, before = repr(live.label), repr(remembered)
        why = words("status.other", path=path, label=label, before=before)
        return found(live.label, live.key_id, "differs", why)
    return found(live.label, live.key_id, "match")
