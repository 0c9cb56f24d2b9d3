"""What a command needs, opened when it is first needed: settings, keys, store, screen, clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmi import shell_files
from kmi.errors import ConfigError, KmiError
from kmi.timezones import find_timezone, show_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.auths import Keyring
    from kmi.binding import Binding, Project
    from kmi.config_file import Backups, Snapshot
    from kmi.model import ApiKey
    from kmi.output import Screen
    from kmi.polling import Pace
    from kmi.selection import Policy
    from kmi.settings import Settings
    from kmi.state import State
    from kmi.store import Store, Transaction
    from kmi.verdict_table import Rule
    from kmi.wording import Words


class App:
    """The world of one command.

    Args:
        env: the environment; nothing else of the process is looked at.
        screen: where it speaks.
        command: its name, for records.
        dry_run: the person asked for one on the command line.
    """

    def __init__(
        self, env: Mapping[str, str], screen: Screen, command: str, *, dry_run: bool = False
    ) -> None:
        self.env = env
        self.screen = screen
        self.command = command
        #: Nothing was read before: what changes later, may have changed since it was read.
        self.started = time.time()
        self.audited = False
        self.changes = False
        # Statuses of keys that were asked about on the way: the one record of the command tells.
        self.learnt: dict[str, Any] = {}
        self._dry_run = dry_run
        self._announced = False
        self._settings: Settings | None = None
        self._locale: str | None = None
        self._keyring: Keyring | None = None
        self._store: Store | None = None
        self._project: Project | None = None
        self._bindings: list[str] | None = None
        self._keys_changed = False

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    @property
    def settings(self) -> Settings:
        """The settings; a bad one is an error, an unknown one a warning.

        Raises:
            ConfigError: naming the variable, its value, where it came from and what is allowed.
        """
        if self._settings is None:
            from kmi.settings import load_settings

            settings, problems = load_settings(self.env)
            self._locale = settings.locale
            if settings.locale != "en":
                self.screen.warning_word = self.words("mode.warning")
            for problem in problems:
                if problem.fatal:
                    raise ConfigError(f"{problem.where}: {problem.what}", problem.fix)
                self.screen.warn(self.words.problem(problem))
            self._settings = settings
            self.screen.redactor.hide([settings.proxy_token])
            self._announce()
        return self._settings

    @property
    def locale(self) -> str:
        """The person's language, also when a setting is wrong."""
        if self._locale is None:
            from kmi.settings import load_settings

            try:
                self._locale = load_settings(self.env)[0].locale
            except KmiError:
                self._locale = "ru" if self.env.get("KMI_LOCALE") == "ru" else "en"
        return self._locale

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be written to a client's config, and nothing sent upstream."""
        return self._dry_run or self.settings.dry_run

    def use_dry_run(self, asked: bool) -> None:
        """Note that the command line asked for a dry run."""
        self._dry_run = self._dry_run or asked
        if self._settings is not None:
            self._announce()

    def _announce(self) -> None:
        """Say once that this is a dry run, if it is."""
        if self.dry_run and not self._announced:
            self._announced = True
            self.screen.warn(self.words("mode.dry-run"))

    @property
    def keyring(self) -> Keyring:
        """The keys. What is wrong with others is told once, and does not stop these."""
        if self._keyring is None:
            from kmi.auths import load_keyring

            keyring = load_keyring(self.settings, change_modes=not self.dry_run)
            self.screen.redactor.hide(key.secret for key in keyring.keys)
            for notice in keyring.notices:
                self.screen.warn(self.words.sentence(notice))
            for problem in keyring.problems:
                self.screen.warn(self.words.problem(problem))
            self._keyring = keyring
            self._keys_changed = False
        return self._keyring

    def forget_keyring(self) -> None:
        """Read the auth files again at the next use."""
        self._keyring = None
        self._keys_changed = True

    @property
    def store(self) -> Store:
        """The state directory."""
        if self._store is None:
            from kmi.store import Store

            settings = self.settings
            self._store = Store(
                settings.state_dir,
                lambda text: self.screen.note(self.words.sentence(text)),
                enforce_modes=settings.enforce_file_perms,
                saved=self._show_in_shells,
                ids=lambda: {key.label: key.key_id for key in self.keyring.keys},
            )
        return self._store

    def _show_in_shells(self, state: State) -> None:
        """After every save, under the lock: what prompts and TAB show."""
        keys = None if self._keyring is None else self.known(state)
        shell_files.write_prompt(self, state, keys)
        if keys is not None:
            shell_files.write_labels(self, keys)

    def finish(self) -> None:
        """At a command's end: leave shells with what it learnt about labels and statuses."""
        if self._keys_changed:
            from kmi.auths import load_keyring

            # Once more, without a word: what is wrong with the files was told before.
            self._keyring = load_keyring(self.settings, change_modes=False)
            shell_files.write_labels(self, self._keyring.keys)
            state = self.store.read()
            shell_files.write_prompt(self, state, self.known(state))
        elif self._keyring is not None:
            shell_files.write_labels(self, self._keyring.keys)
            if self.store.last is not None:
                shell_files.refresh_mark(self, self.store.last, self.known(self.store.last))
        if self.changes and self._store is not None and self._store.beside_proxy:
            from kmi.proxy.abreast import wait

            # `kmi use` is over when a proxy goes by it, too.
            wait(self._store.directory, self._store.state_file)

    @property
    def project(self) -> Project | None:
        """What binds runs in the working directory; None where there is no `.kmi.toml`."""
        if self._bindings is None:
            from kmi.paths import bindings_above, working_directory

            self._bindings = bindings_above(working_directory())
            if self._bindings:
                from kmi.project import look

                self._project = look(self.store, self._bindings)
        return self._project

    @property
    def binding(self) -> Binding | None:
        """The binding that counts in the working directory."""
        return None if self.project is None else self.project.binding

    @property
    def backups(self) -> Backups:
        """What client configs were before kmi wrote them."""
        from kmi.config_file import Backups

        return Backups(self.store.path("backups"))

    def client(self, asked: str | None = None) -> str:
        """The client whose config is meant."""
        from kmi.clients import default_client

        return default_client(self.env, self.wanted_client(asked))

    def wanted_client(self, asked: str | None) -> str | None:
        """The client that the command line or the settings name; None for "auto"."""
        if asked is not None:
            return asked
        return None if self.settings.client == "auto" else self.settings.client

    def read_config(self, client: str) -> Snapshot:
        """The client's config as it is now."""
        from kmi.config_file import read_config
        from kmi.paths import client_config

        return read_config(client, client_config(client, self.env))

    def require_keys(self) -> tuple[ApiKey, ...]:
        """The keys, of which there must be one.

        Raises:
            ConfigError: there is none.
        """
        ring = self.keyring
        if not ring.keys:
            raise ConfigError(
                f"there is no key in {ring.directory}",
                "add one with `kmi keys add LABEL`, or take those of your client with "
                "`kmi keys import`",
                code="no-keys",
            )
        return ring.keys

    def require_key(self, label: str) -> ApiKey:
        """The key of a label.

        Raises:
            KmiError: there is none.
        """
        key = self.keyring.find(label)
        if key is not None:
            return key
        self.require_keys()
        raise self.no_such_key(label)

    def no_such_key(self, label: str) -> KmiError:
        """The error for a label that no key has."""
        from kmi.settings import nearest

        labels = [key.label for key in self.keyring.keys]
        hint = nearest(label, labels) or f"known: {', '.join(labels[:10])}"
        return KmiError(f"there is no key {label[:80]!r}", hint, code="no-such-key")

    def policy(self, binding: Binding | None = None, **changes: Any) -> Policy:
        """The selection policy of the settings and a binding, with some of it replaced."""
        from kmi.selection import Policy
        from kmi.urls import allowed

        settings = self.settings
        unavailable = {
            key.label: f"its base URL {key.base_url} is not allowed by KMI_UPSTREAM_ALLOWLIST"
            for key in self.keyring.keys
            if not allowed(key.base_url, settings.upstream_allowlist)
        }
        unavailable.update(changes.pop("unavailable", {}))
        values: dict[str, Any] = {
            "strategy": settings.strategy,
            "unavailable": unavailable,
            "rotate_on_tie": settings.rotate_on_tie,
            "include_warn": settings.rotate_include_warn,
            "require_usage": settings.require_usage,
            "fail_open": settings.fail_open,
            "usage_max_age_s": settings.usage_cache_s or float("inf"),
        }
        if binding is not None:
            values["preferred"] = binding.keys
            values["bound_by"] = binding.path
            values["allowed"] = frozenset(binding.keys) if binding.strict else None
        values.update(changes)
        return Policy(**values)

    @property
    def pace(self) -> Pace:
        """How often kmi asks upstream by itself."""
        from kmi.polling import Pace

        settings = self.settings
        return Pace(
            settings.usage_cache_s, settings.blocklist_recheck_s, settings.blocklist_recheck_max
        )

    @property
    def own_pace(self) -> Pace:
        """The same for runs: a key is asked about by itself once a person has asked about it.

        So a home in which nobody ever asked for quotas sends nothing but what its client sends.
        """
        return self.pace._replace(first=self.settings.require_usage)

    def strategy(self, state: State) -> str:
        """How runs choose: in turn while `kmi rotate auto` is on, else as the settings say."""
        if state.auto_rotate is not None and self.settings.auto_rotate_allowed:
            return "round-robin"
        return self.settings.strategy

    @property
    def words(self) -> Words:
        """What is said to people in their language; plain text is ASCII, and so English."""
        from kmi.wording import Words

        english = self.screen.plain or self.screen.json
        return Words("en" if english else self.locale)

    def patterns(self) -> tuple[Rule, ...]:
        """The person's own rows of the classification table, from ``patterns.toml``.

        Raises:
            ConfigError: naming the entry that is wrong.
        """
        from kmi.files import read_regular
        from kmi.verdicts import parse_rules

        path = self.store.path("patterns.toml")
        try:
            return parse_rules(read_regular(path)[0].decode("utf-8"))
        except FileNotFoundError:
            return ()
        except ValueError as error:
            raise ConfigError(f"{path}: {error}", "correct or remove it") from None

    def known(self, state: State) -> tuple[ApiKey, ...]:
        """The keys, those of programs under the id of the key that they last gave."""
        import dataclasses

        return tuple(
            dataclasses.replace(key, key_id=state.aliases[key.key_id])
            if key.command is not None and key.key_id in state.aliases
            else key
            for key in self.keyring.keys
        )

    def learn_key_id(self, state: State, before: ApiKey, after: ApiKey) -> None:
        """Move what is known of a program's key to the id of the secret that it gave."""
        provisional = next(
            (k.key_id for k in self.keyring.keys if k.label == before.label), before.key_id
        )
        # Two programs may have given the same secret: the other one's key did not move.
        others = {k.key_id for k in self.keyring.keys if k.command and k.label != before.label}
        earlier = {old for old, new in state.aliases.items() if new == before.key_id} - others
        for old in earlier | {provisional, before.key_id}:
            state.aliases[old] = after.key_id
        state.aliases.pop(after.key_id, None)  # a program may come back to an earlier secret
        known = state.keys.pop(before.key_id, None)
        if known is not None:
            state.keys.setdefault(after.key_id, known)

    def show_time(self, at: float) -> str:
        """A moment, in the person's time zone."""
        return show_time(at, find_timezone(self.settings.timezone))

    def audit(self, transaction: Transaction, outcome: str, **fields: Any) -> None:
        """Append the one audit record of this command.

        Args:
            transaction: the lock must be held.
            outcome: "changed", "unchanged" or "denied".
            fields: before and after, and what it was about; never a secret.
        """
        from kmi.auditing import audit_record

        transaction.record_audit(audit_record(self, outcome, **fields))
        self.audited = True
