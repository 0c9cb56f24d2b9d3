"""One run, from the choice to exec: swap, remember and record under the lock, then become."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

from kmi import launcher
from kmi.errors import EXIT_OK, ConfigError
from kmi.execute import become, begin_record, run_env
from kmi.picking import decide, pick_and_commit
from kmi.quick import plain_call
from kmi.selection import unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.binding import Binding
    from kmi.clients import Program
    from kmi.config_file import Snapshot
    from kmi.launcher import Launch
    from kmi.model import ApiKey, Decision
    from kmi.state import State
    from kmi.store import Transaction
    from kmi.swap import Swapped

#: How many of the keys that were not picked a record names.
REJECTED_KEPT = 50
#: What a config can lack so that the run gets its key beside it.
BESIDE = {"oauth-login", "no-model", "key-variable"}


class RunArgs:
    """The command line of a run."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        self.key: str | None = None
        self.strategy: str | None = None
        self.client: str | None = None
        self.pin = False
        self.adopt = False
        self.proxy = False
        self.proxy_stay = False
        self.dry_run = False
        self.retry = False
        self.command = list(command)


def hand_over(
    app: App, client: str, launch: Launch, run_id: str, data: bytes
) -> tuple[Launch, list[str]]:
    """Make the private config or home of a run, under the lock.

    Args:
        app: the world.
        client: whose config it is.
        launch: its ``private`` says what is to be made.
        run_id: names it.
        data: the config.

    Returns:
        the launch with the variables that lead to it, and the options that do.
    """
    from kmi import pins
    from kmi.paths import client_home

    directory = app.store.path("pins")
    if launch.private == "file":
        return launch, ["--config-file", pins.create_file(directory, run_id, data)]
    real = client_home(client, app.env)
    home = pins.create_home(directory, run_id, data, real, client)
    at, origin = launcher.HOME_VARIABLES[client]
    return launch._replace(variables={**launch.variables, at: home, origin: real}), []


class Run:
    """One run, from the choice to exec."""

    def __init__(
        self,
        app: App,
        args: RunArgs,
        program: Program,
        client: str,
        arguments: list[str],
    ) -> None:
        self.app = app
        self.args = args
        self.program = program
        self.client = client
        self.arguments = self.given = arguments
        self.run_id = os.urandom(6).hex()
        self.outer = app.env.get("KMI_ACTIVE_KEY") if app.env.get("KMI_RUN_ID") else None
        self.strategy: str = args.strategy or app.settings.strategy
        self.switched = False
        self.refresh = False

    def start(self) -> int:
        """Choose, swap, record; then exec."""
        self.app.require_keys()
        if self.args.key is not None:
            self.app.require_key(self.args.key)
        if self.app.project is not None:
            from kmi.project import check_open, tell

            tell(self.app, self.app.project)
            check_open(self.app.project)
        if self.app.dry_run:
            return self._show()
        adopt = self._adopt()
        if self.app.settings.require_usage and self.args.key is None:
            from kmi.refresh import ensure_usage

            ensure_usage(self.app, self.binding)
        launch, decision, key = pick_and_commit(
            self.app,
            self.decide,
            lambda transaction, decision, key: self._commit(transaction, decision, key, adopt),
            named=self.args.key,
        )
        return self._become(launch, key, decision)

    def decide(self, state: State, unavailable: dict[str, str]) -> Decision:
        """Pick a key by the state as it is now.

        Raises:
            TryLaterError: every key is out.
        """
        named = self.args.key
        self.strategy = self.args.strategy or self.app.strategy(state)
        if named is None and self._keeps_outer(state, unavailable):
            named = self.outer
        return decide(
            self.app,
            state,
            self.client,
            named=named,
            strategy=self.strategy,
            unavailable=unavailable,
            binding=self.binding,
        )

    def _keeps_outer(self, state: State, unavailable: dict[str, str]) -> bool:
        """Inside another run its key is kept, unless told otherwise or it is out."""
        if not self.nested:
            return False
        policy = self.app.policy(self.binding, unavailable=unavailable)
        return any(
            key.label == self.outer
            and not unusable(key, state.key(key.key_id), policy, self.app.now())
            for key in self.app.known(state)
        )

    @property
    def binding(self) -> Binding | None:
        """The project binding. A bound run is pinned, and leaves the shared config as it is."""
        return self.app.binding

    @property
    def nested(self) -> bool:
        """Whether this run keeps the key of the one around it."""
        return self.outer is not None and self.args.key is None and self.args.strategy is None

    def _commit(
        self, transaction: Transaction, decision: Decision, key: ApiKey, adopt: bool
    ) -> Launch:
        """Swap, remember and record, all under the lock."""
        from kmi import pins
        from kmi.background import claim
        from kmi.swap import credential_of, swap

        app, state = self.app, transaction.state
        pins.sweep(app.store.path("pins"))
        snapshot = app.read_config(self.client)
        write = app.settings.write_config and not self.nested and self.binding is None
        if write and self._beside(snapshot, key, adopt=adopt):
            write = False
        swapped = None
        if write:
            swapped = swap(app, transaction, self.client, key, adopt=adopt, seen=snapshot)
            snapshot = swapped.snapshot
            self.switched = swapped.changed
        config = snapshot.config
        launch = launcher.plan(
            self.program.client,
            self.client,
            self.arguments,
            app.env,
            None if config is None else config.key_variable,
            credential_of(key),
            label=key.label,
            login=config is not None and config.has_login,
            links=os.name != "nt",
            pin=self.args.pin or self.args.key is not None or self.strategy == "round-robin"
            or not write,
            nested=self.outer is not None,
        )  # fmt: skip
        launch = self._make_private(launch, snapshot, key, swapped)
        if self.switched:
            state.keys[key.key_id] = dataclasses.replace(
                state.key(key.key_id), label=key.label, last_used=app.now()
            )
        self.refresh = claim(app, state)
        transaction.save()
        transaction.record_run(self._record(decision, key, launch, changed=self.switched))
        if swapped is not None:
            self._remember(transaction, key, launch, swapped.raw)
        if swapped is not None and swapped.changed:
            after = {"after": key.label, "key": key.key_id, "run": self.run_id}
            app.audit(transaction, "changed", client=self.client, before=swapped.before, **after)
        elif app.learnt:
            app.audit(transaction, "changed", run=self.run_id)
        return launch

    def _beside(self, snapshot: Snapshot, key: ApiKey, *, adopt: bool) -> bool:
        """Whether the run gets its key beside the config, because the config can't take it.

        Raises:
            ConfigError: neither is possible.
        """
        from kmi.swap import wanted_edits

        if snapshot.config is None:
            return False
        try:
            wanted_edits(snapshot.config, key, adopt=adopt)
        except ConfigError as error:
            if error.code not in BESIDE:
                raise
            if error.code != "key-variable":
                words, label = self.app.words, repr(key.label)
                problem = {
                    "problem": words.sentence(error.message),
                    "fix": words.sentence(error.fix or ""),
                }
                self.app.screen.note(words("run.beside", label=label, **problem))
            return True
        return False

    def _make_private(
        self, launch: Launch, snapshot: Snapshot, key: ApiKey, swapped: Swapped | None
    ) -> Launch:
        """Make the private config or home of a pinned run, and point the program at it."""
        from kmi.kimi_config import apply_edits
        from kmi.kimi_edits import minimal_config, pin_edits
        from kmi.swap import credential_of

        if not launch.private:
            return launch
        credential = credential_of(key)
        if swapped is not None:
            data = swapped.raw
        elif snapshot.config is None:
            data = minimal_config(credential).encode()
        else:
            data = apply_edits(snapshot.config, pin_edits(snapshot.config, credential))
        launch, options = hand_over(self.app, self.client, launch, self.run_id, data)
        self.arguments = [*options, *self.arguments]
        return launch

    def _remember(self, transaction: Transaction, key: ApiKey, launch: Launch, raw: bytes) -> None:
        """Let the next run take the quick way, if it would do the same without a word."""
        from kmi.memo import write_memo

        app, typed = self.app, self.program.typed
        if app.project is not None:
            return
        plain = self.strategy == "sticky" == app.settings.strategy and not any(
            (self.args.key, self.args.pin, self.args.client, self.args.adopt, self.outer)
        )
        quiet = not (app.screen.warned or launch.notes or app.keyring.problems)
        if not plain or not quiet or key.command is not None or launch.private == "home":
            return
        if self.program.client is not None and (
            os.sep in typed or not plain_call(self.arguments[2 * (launch.private == "file") :])
        ):
            return
        again = self.decide(transaction.state, {})
        if again.code != "active" or again.key != key:
            return
        write_memo(
            app,
            typed if self.program.client is not None else "other",
            client=self.client,
            config_raw=raw,
            state=transaction.state,
            record=self._record(again, key, launch, changed=False),
            private=launch.private,
            variables=launch.variables,
        )

    def _record(
        self, decision: Decision, key: ApiKey, launch: Launch, *, changed: bool
    ) -> dict[str, Any]:
        """The line of ``runs.jsonl``; the first fields are the same for the quick way."""
        bound = self.binding
        return {
            **begin_record(self.app.now(), self.run_id, self.program.typed),
            "key": key.key_id,
            "label": key.label,
            "client": self.client,
            "mode": launch.mode,
            "strategy": self.strategy,
            "binding": None if bound is None else {"path": bound.path, "sha256": bound.sha256},
            "code": decision.code,
            "reason": decision.reason,
            "changed": changed,
            "rejected": dict(list(decision.rejected.items())[:REJECTED_KEPT]),
        }

    def _become(self, launch: Launch, key: ApiKey, decision: Decision) -> int:
        app, words = self.app, self.app.words
        for note in launch.notes:
            app.screen.warn(words(note.message, **note.values))
        label, why = repr(key.label), words.sentence(decision.reason)
        if decision.code == "named-anyway":
            app.screen.warn(words("run.named-anyway", label=label, why=why))
        elif self.outer is not None and key.label != self.outer:
            app.screen.note(words("run.inside", outer=repr(self.outer), label=label))
        elif self.switched:
            app.screen.note(words("run.using", label=label, why=why))
        elif self.binding is not None and key.label not in self.binding.keys:
            app.screen.note(words("run.using-once", label=label, why=why))
        if app.screen.verbose:
            app.screen.detail(words("run.detail", label=label, mode=launch.mode, why=why))
        inner = launcher.depth(app.env) + 1
        env = run_env(app.env, launch.variables, key.label, self.run_id, inner)
        if self.refresh:
            from kmi.background import start

            start(app.env)
        argv = [self.program.typed, *self.arguments]
        if self.args.retry:
            from kmi.retrying import try_twice

            return try_twice(self, argv, env, key)
        return become(self.program.path, argv, env)

    def again(self) -> Run:
        """The same run anew, on the key that is the best by then, and this time the last."""
        args = copy.copy(self.args)
        args.retry = False
        return Run(self.app, args, self.program, self.client, self.given)

    def _adopt(self) -> bool:
        """Whether kmi may add a provider of its own beside a login: asked for, or agreed to."""
        app = self.app
        if self.binding is not None:
            if self.args.adopt:
                app.screen.note(app.words("run.adopt-bound", path=self.binding.path))
            return False
        if self.args.adopt:
            return True
        if self.program.client is None or not app.settings.write_config or self.nested:
            return False
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        config = app.read_config(self.client).config
        if config is None or not config.has_login:
            return False
        if self.client in app.store.read().adopt_declined:
            return False
        agreed = app.screen.ask(app.words("run.adopt-question", name=config.name))
        if not agreed:
            with app.store.transaction() as transaction:
                transaction.state.adopt_declined.append(self.client)
                transaction.save()
                app.audit(
                    transaction,
                    "changed",
                    action="adopt",
                    client=self.client,
                    before="not asked",
                    after="declined",
                )
        return agreed

    def _show(self) -> int:
        """A dry run: what would happen."""
        from kmi.dry_run import show_change

        app = self.app
        decision = self.decide(app.store.read(), {})
        if self.binding is not None and decision.key is not None:
            label = decision.key.label
            why = app.words.sentence(decision.reason)
            app.screen.note(app.words("run.would-use-once", label=repr(label), why=why))
            app.screen.planned(client=self.client, label=label, reason=decision.reason)
        else:
            show_change(app, self.client, decision, adopt=self.args.adopt)
        app.screen.note(app.words("run.would-start", path=self.program.path))
        return EXIT_OK
