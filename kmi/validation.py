"""One validator for everything that people write: keys, state, and the clients' configs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.model import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.settings import Settings


def validate(settings: Settings, env: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong; nothing is changed, also no file mode."""
    return [*_keys(settings), *_state(settings), *_clients(env)]


def _keys(settings: Settings) -> list[Problem]:
    from kmi.auths import load_keyring

    try:
        ring = load_keyring(settings, change_modes=False)
    except KmiError as error:
        return [_problem(error, settings.auths_dir)]
    found = list(ring.problems)
    if not ring.keys:
        found.append(Problem(ring.directory, "there is no key", "kmi keys add LABEL", fatal=False))
    return found


def _state(settings: Settings) -> list[Problem]:
    from kmi.store import Store

    notes: list[str] = []
    store = Store(settings.state_dir, notes.append)
    try:
        store.read()
    except KmiError as error:
        return [_problem(error, store.state_file)]
    return [Problem(store.state_file, note, fatal=False) for note in notes]


def _clients(env: Mapping[str, str]) -> list[Problem]:
    from kmi.config_file import read_config, too_open
    from kmi.paths import client_config
    from kmi.settings import CLIENTS

    found = []
    for client in CLIENTS:
        try:
            path = client_config(client, env)
            snapshot = read_config(client, path, patience_s=0.0)
        except KmiError as error:
            found.append(_problem(error, f"the config of {client}"))
            continue
        if too_open(snapshot):
            what = "others can read it, and it holds a key"
            found.append(Problem(path, what, f"chmod 600 {path}", fatal=False))
    return found


def _problem(error: KmiError, where: str) -> Problem:
    place, _, rest = error.message.partition(": ")
    if rest and "/" in place and " " not in place:
        return Problem(place, rest, error.fix or "")
    return Problem(where, error.message.replace(f"{where} ", ""), error.fix or "")
