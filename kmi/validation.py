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
    return [*_keys(settings), *_state(settings), *_clients(env), *_bindings(settings)]


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


def _bindings(settings: Settings) -> list[Problem]:
    """The `.kmi.toml` that count or could count in the working directory."""
    from kmi.auths import load_keyring
    from kmi.paths import bindings_above, working_directory
    from kmi.project import check_open, look
    from kmi.store import Store

    paths = bindings_above(working_directory())
    if not paths:
        return []
    try:
        project = look(Store(settings.state_dir, lambda _: None), paths)
        check_open(project)
        labels = {key.label for key in load_keyring(settings, change_modes=False).keys}
    except KmiError as error:
        return [_problem(error, paths[0])]
    found = []
    for item in project.ignored:
        if item.state != "denied":
            found += [Problem(item.path, item.why, item.fix, fatal=False), *item.problems]
    binding = project.binding
    missing = [] if binding is None else [key for key in binding.keys if key not in labels]
    if binding is not None and missing:
        none = binding.strict and len(missing) == len(binding.keys)
        what = f"names {', '.join(missing)}, which no key here is called"
        fix = f"kmi keys add {missing[0]}, or take the label out"
        found.append(Problem(binding.path, what, fix, fatal=none))
    return found


def _problem(error: KmiError, where: str) -> Problem:
    place, _, rest = error.message.partition(": ")
    if rest and "/" in place and " " not in place:
        return Problem(place, rest, error.fix or "")
    return Problem(where, error.message.replace(f"{where} ", ""), error.fix or "")
