"""What the checks look at, read once and never changed: settings, keys, state, client configs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kmi.errors import ConfigError, KmiError
from kmi.paths import client_config, default_env_file
from kmi.settings import CLIENTS, Settings, load_settings, read_settings
from kmi.store import Store
from kmi.wording import Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.auths import Keyring
    from kmi.config_file import Snapshot
    from kmi.model import ApiKey, Problem
    from kmi.state import State


#: How long a config that is just being written may take to become whole.
PATIENCE_S = 0.3


class Loaded(NamedTuple):
    """The settings as far as they can be read.

    Attributes:
        error: why the env file could not be read, or None.
    """

    settings: Settings
    problems: list[Problem]
    error: ConfigError | None


def load(env: Mapping[str, str]) -> Loaded:
    """Read the settings; where the env file can't be read, those of the environment.

    Raises:
        ConfigError: there is no home directory, so nothing can be found.
    """
    try:
        settings, problems = load_settings(env)
    except ConfigError as error:
        alone = {name: value for name, value in env.items() if name != "KMI_ENV_PATH"}
        settings, problems = read_settings(alone, [], default_env_file(env))
        return Loaded(settings, problems, error)
    return Loaded(settings, problems, None)


class Site:
    """Everything that is looked at. Reading it changes nothing, also no file mode.

    Args:
        env: the environment.
        now: seconds since the epoch.
        english: whatever the settings say (JSON and plain text).
        program: what this kmi was started as (``sys.argv[0]``).

    Attributes:
        words: what is said, in the person's language.
        env_file: whose lines are settings.

    Raises:
        ConfigError: there is no home directory.
    """

    def __init__(
        self, env: Mapping[str, str], now: float, *, english: bool = True, program: str = ""
    ) -> None:
        self.env = env
        self.now = now
        self.program = program
        self.loaded = load(env)
        self.settings = self.loaded.settings
        self.words = Words("en" if english else self.settings.locale)
        self._unread: list[str] = []
        self.store = Store(self.settings.state_dir, self._unread.append)
        self._ring: Keyring | KmiError | None = None
        self._state: State | None = None
        self._snapshots: dict[str, Snapshot | KmiError] = {}

    @property
    def fatal(self) -> bool:
        """Whether kmi does not start with these settings, so that its files may be elsewhere."""
        return self.loaded.error is not None or any(p.fatal for p in self.loaded.problems)

    @property
    def ring(self) -> Keyring | KmiError:
        """The keys, or why the directory can't be read."""
        if self._ring is None:
            from kmi.auths import load_keyring

            try:
                self._ring = load_keyring(self.settings, change_modes=False)
            except KmiError as error:
                self._ring = error
        return self._ring

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """The keys, those of programs under the id of the key that they last gave."""
        if isinstance(self.ring, KmiError):
            return ()
        aliases = self.state.aliases
        return tuple(
            replace(key, key_id=aliases[key.key_id])
            if key.command is not None and key.key_id in aliases
            else key
            for key in self.ring.keys
        )

    @property
    def secrets(self) -> list[str | None]:
        """What must not be told, wherever it turns up."""
        keys = () if isinstance(self.ring, KmiError) else self.ring.keys
        return [self.settings.proxy_token, *(key.secret for key in keys)]

    @property
    def state(self) -> State:
        """What kmi remembers; an empty state where it can't be read."""
        if self._state is None:
            from kmi.state import State

            try:
                self._state = self.store.read()
            except KmiError as error:
                self._unread.append(error.message)
                self._state = State()
        return self._state

    @property
    def state_is_read(self) -> bool:
        """Whether `state` is what kmi remembers, and not only empty."""
        self.state  # noqa: B018 - reads it
        return not self._unread

    def config(self, client: str) -> Snapshot | KmiError:
        """The config of a client, or why it can't be read."""
        if client not in self._snapshots:
            from kmi.config_file import read_config

            try:
                path = client_config(client, self.env)
                self._snapshots[client] = read_config(client, path, patience_s=PATIENCE_S)
            except KmiError as error:
                self._snapshots[client] = error
        return self._snapshots[client]

    def config_path(self, client: str) -> str:
        """Where it is; "" when that can't be told."""
        try:
            return client_config(client, self.env)
        except KmiError:
            return ""

    def used(self, client: str) -> bool:
        """Whether a client plays any part here: it has a config, or is on PATH."""
        path = self.config_path(client)
        if not path or os.path.lexists(path):
            return True
        from kmi.clients import default_client

        return default_client(self.env, self.wanted_client) == client

    @property
    def wanted_client(self) -> str | None:
        """The client that the settings name; None for "auto"."""
        return None if self.settings.client == "auto" else self.settings.client

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that play any part here."""
        return tuple(client for client in CLIENTS if self.used(client))
