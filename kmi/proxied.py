"""`kmi run --proxy`: one run through the local proxy.

The client gets the proxy's address and token by the means of a pinned run: a private config, a
private home, or variables. The user's own config stays as it is; which key serves a request is for
the proxy to pick.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kmi import launcher, pins
from kmi.client_args import CLI
from kmi.errors import EXIT_OK, ConfigError, KmiError, RefusedError, UsageError
from kmi.execute import become, begin_record, run_env
from kmi.kimi_edits import Credential
from kmi.proxy import leases
from kmi.urls import is_loopback, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.clients import Program
    from kmi.launcher import Launch
    from kmi.proxy.lifecycle import Started
    from kmi.running import RunArgs

#: What stands for the label of the key inside of such a run; prompts show it.
LABEL = "proxy"
#: The proxy's base URL, for a run inside of this one.
MARK = "KMI_PROXY_RUN"
LOCAL = "127.0.0.1,localhost"
#: What a run through the proxy sets, and a run inside of it that is told a key must not have.
_SET = (MARK, "KMI_ACTIVE_KEY", "KMI_RUN_ID", "KIMI_API_KEY", "KIMI_BASE_URL", "KIMI_CODE_BASE_URL")


def inside(env: Mapping[str, str]) -> bool:
    """Whether this is inside of a run through the proxy."""
    return bool(env.get(MARK) and env.get("KMI_RUN_ID"))


def outside(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what such a run set."""
    return {name: value for name, value in env.items() if name not in _SET}


def check_args(args: RunArgs) -> None:
    """Refuse what contradicts ``--proxy``.

    Raises:
        UsageError: naming the option.
    """
    for name, given in (("-k", args.key), ("--pin", args.pin), ("--strategy", args.strategy)):
        if given:
            raise UsageError(
                f"{name} has no place beside --proxy: the proxy picks a key for each request",
                "leave one of them out; `kmi use LABEL` tells a running proxy which key",
            )
    if args.adopt:
        raise UsageError(
            "--adopt has no place beside --proxy: your config stays as it is",
            "leave one of them out",
        )


def run_proxied(
    app: App, args: RunArgs, program: Program, client: str, arguments: list[str]
) -> int:
    """Become the program, with the proxy for its upstream.

    Raises:
        KmiError: the proxy can't be started or used, or the run is bound to a key.
    """
    app.require_keys()
    _check_binding(app)
    if app.dry_run:
        return _show(app, program)
    run = Proxied(app, program, client, arguments)
    lease = leases.take(app.store.path(leases.FOLDER))
    try:
        return run.start(stay=args.proxy_stay)
    finally:
        leases.drop(lease)  # it is over, or was not started


def _check_binding(app: App) -> None:
    project = app.project
    if project is None:
        return
    from kmi.project import check_open, tell

    tell(app, project)
    check_open(project)
    binding = app.binding
    if binding is None:
        return
    what = app.words("proxy.bound", path=binding.path)
    if binding.strict:
        raise RefusedError(what, app.words("proxy.bound-fix"), code="bound")
    app.screen.warn(what)


def _show(app: App, program: Program) -> int:
    from kmi.proxy.ports import check_listen

    check_listen(app.settings)
    host, port = app.settings.proxy_listen
    address = f"http://{host}:{port}{app.settings.proxy_base_path}"
    app.screen.note(app.words("proxy.would-run", path=program.path, address=address))
    app.screen.planned(path=program.path, proxy=address)
    return EXIT_OK


class Proxied:
    """One run through the proxy, from its start to exec."""

    def __init__(self, app: App, program: Program, client: str, arguments: list[str]) -> None:
        self.app = app
        self.program = program
        self.client = client
        self.arguments = arguments
        self.run_id = os.urandom(6).hex()
        self.nested = bool(app.env.get("KMI_RUN_ID"))

    def start(self, *, stay: bool) -> int:
        """See to the proxy, make what the run has for itself, record it; then exec.

        Raises:
            KmiError: the proxy can't be started, runs with another token, or listens elsewhere.
        """
        from kmi.proxy.lifecycle import ensure
        from kmi.proxy.token import load_token, token_id

        app = self.app
        app.store.check()
        started = ensure(app, how="run", until_runs_end=not stay)
        if started.fresh:
            self._audit(started)
        token = load_token(app)
        if token_id(token) != started.instance.token_id:
            raise KmiError(
                app.words("proxy.token-differs"),
                app.words("proxy.token-differs-fix"),
                code="token-differs",
            )
        credential = Credential(token, self._base_url(started))
        with app.store.transaction() as transaction:
            pins.sweep(app.store.path("pins"))
            launch = self._make_private(credential)
            transaction.record_run(self._record(credential))
        return self._become(launch, credential)

    def _audit(self, started: Started) -> None:
        """Record that this run started the proxy, whatever comes of the run."""
        address, pid = started.instance.base_url, started.instance.pid
        with self.app.store.transaction() as transaction:
            self.app.audit(
                transaction,
                "changed",
                action="proxy start",
                address=address,
                pid=pid,
                run=self.run_id,
                before=None,
                after=pid,
            )

    def _base_url(self, started: Started) -> Any:
        from kmi.proxy.ports import reachable

        words, instance = self.app.words, started.instance
        if not is_loopback(reachable(instance.host)):
            raise KmiError(
                words("proxy.not-local", host=instance.host),
                words("proxy.not-local-fix"),
                code="not-local",
            )
        try:
            return parse_base_url(instance.base_url)
        except ValueError as error:
            raise ConfigError(
                f"KMI_PROXY_BASE_PATH={instance.base_path} gives no base URL for clients: "
                f"{instance.base_url} {error}",
                "choose another path",
            ) from None

    def _make_private(self, credential: Credential) -> Launch:
        """Make the private config or home, and say how the program gets it."""
        from kmi.proxy_edits import proxied_config
        from kmi.running import hand_over

        app, env = self.app, self.app.env
        config = app.read_config(self.client).config
        launch = launcher.plan(
            self.program.client,
            self.client,
            self.arguments,
            env,
            None,
            credential,
            label=LABEL,
            pin=True,
            login=config is not None and config.has_login,
            links=os.name != "nt",
            nested=self.nested,
        )
        launch = launch._replace(variables={**launch.variables, **self._variables(credential)})
        if launch.private:
            bases = list(dict.fromkeys(key.base_url for key in app.keyring.keys))
            data = proxied_config(config, self.client, credential, bases)
            launch, options = hand_over(app, self.client, launch, self.run_id, data)
            self.arguments = [*options, *self.arguments]
        return launch

    def _variables(self, credential: Credential) -> dict[str, str | None]:
        """What is set beside the private config."""
        base_url = str(credential.base_url)
        variables: dict[str, str | None] = {MARK: base_url}
        if self.program.client is None:
            variables.update(launcher.cli_variables(credential))
        if self.program.client in {None, CLI}:
            # What is written in Python often asks an HTTP proxy for loopback addresses, too.
            host = credential.base_url.host
            variables.update(without_http_proxy(self.app.env, host))
        if self.program.client == CLI:
            # It asks for models and usages there, whatever the provider says.
            variables["KIMI_CODE_BASE_URL"] = base_url
        return variables

    def _record(self, credential: Credential) -> dict[str, Any]:
        """The line of ``runs.jsonl``: no key, for the proxy picks one for each request."""
        return {
            **begin_record(self.app.now(), self.run_id, self.program.typed),
            "client": self.client,
            "mode": "proxy",
            "proxy": str(credential.base_url),
            "changed": False,
        }

    def _become(self, launch: Launch, credential: Credential) -> int:
        app, words = self.app, self.app.words
        for note in launch.notes:
            app.screen.warn(words(note.message, **note.values))
        if not app.settings.auto_rotate_allowed and not self.nested:
            app.screen.note(words("proxy.active-key-only"))
        if app.screen.verbose:
            app.screen.detail(words("proxy.detail", address=str(credential.base_url)))
        depth = launcher.depth(app.env) + 1
        env = run_env(app.env, launch.variables, LABEL, self.run_id, depth)
        return become(self.program.path, [self.program.typed, *self.arguments], env)


def without_http_proxy(env: Mapping[str, str], host: str) -> dict[str, str]:
    """``NO_PROXY`` in both spellings, with loopback and the proxy's own host in it.

    >>> without_http_proxy({"NO_PROXY": ".local"}, "[::1]")["no_proxy"]
    '.local,127.0.0.1,localhost,::1'
    """
    both = {}
    local = dict.fromkeys([*LOCAL.split(","), host.strip("[]")])
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        given = env.get(name) or env.get(other) or ""
        hosts = [host.strip() for host in given.split(",") if host.strip()]
        missing = [host for host in local if host not in hosts and "*" not in hosts]
        both[name] = ",".join([*hosts, *missing])
    return both
