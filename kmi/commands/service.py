"""`kmi service print|install|uninstall`: the proxy as a service of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from kmi.digest import sha256_hex
from kmi.errors import EXIT_OK, ConfigError, KmiError, RefusedError
from kmi.files import ensure_private_dir, read_regular, sweep_temporaries, write_atomic
from kmi.paths import home
from kmi.service_units import LABEL, MANAGERS, NAME, Service, origin, unit_text
from kmi.settings import TABLE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.store import Transaction

#: Settings that a service must not take from the shell that installs it.
_LEFT_OUT = {"KMI_DRY_RUN", "KMI_PLAIN", "KMI_NO_COLOR", "KMI_AUDIT_ACTOR"}
#: Where programs, certificates and the clients' homes are.
_ALSO = ("SSL_CERT_FILE", "SSL_CERT_DIR", "KIMI_SHARE_DIR", "KIMI_CODE_HOME", "TZ")
_NOT_OURS = {"foreign": "proxy.service-foreign", "changed": "proxy.service-changed"}
#: `systemctl` waits for the proxy to listen.
_LIMIT_S = 90


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, about in (
        ("print", "show the service file, and write nothing"),
        ("install", "write the service file, and say how to turn it on"),
        ("uninstall", "remove the service file that kmi wrote"),
    ):
        action = actions.add_parser(name, help=about)
        action.add_argument("manager", choices=MANAGERS, help="whose file it is")
        if name != "uninstall":
            action.add_argument(
                "--light",
                action="store_true",
                help="systemd: without what needs user namespaces, which some systems forbid",
            )
        if name != "print":
            action.add_argument(
                "--now", action="store_true", help="also turn it on or off (systemd, launchd)"
            )
            action.add_argument(
                "--force", action="store_true", help="also a file that somebody changed"
            )
    parser.set_defaults(light=False, now=False, force=False)


def run(args: argparse.Namespace, app: App) -> int:
    """Dispatch to the action."""
    app.command = f"service {args.action}"
    app.changes = args.action != "print"
    if args.action == "print":
        app.screen.page(_text(app, args.manager, light=args.light))
        return EXIT_OK
    return (_install if args.action == "install" else _uninstall)(args, app)


def _text(app: App, manager: str, *, light: bool) -> str:
    from kmi.proxy.launch import own_words
    from kmi.proxy.ports import check_listen

    settings = app.settings
    # A remote listener needs a token, which is never written here; all else is told now.
    check_listen(settings)
    programs = [key.label for key in app.keyring.keys if key.command is not None]
    if manager == "systemd" and programs and not light:
        app.screen.note(app.words("proxy.service-light", labels=", ".join(programs)))
    service = Service(
        command=own_words("proxy", "start", "--foreground", "--service"),
        environment=environment(app, with_path=bool(programs)),
        state_dir=settings.state_dir,
        sandbox="light" if light or programs else "full",
    )
    try:
        return unit_text(manager, service)
    except ValueError as error:
        raise ConfigError(str(error), "move what it names, or start the proxy yourself") from None


def environment(app: App, *, with_path: bool) -> dict[str, str]:
    """What the service needs of this environment, without any secret.

    What is in the env file stays there: the service reads it, too.
    """
    env: Mapping[str, str] = app.env
    kept = {}
    for row in TABLE:
        if row.name not in env or row.name in _LEFT_OUT:
            continue
        if row.secret:
            path = app.settings.env_path
            app.screen.warn(app.words("proxy.service-secret", name=row.name, path=path))
        else:
            kept[row.name] = env[row.name]
    kept.update({name: env[name] for name in _ALSO if env.get(name)})
    if with_path:
        kept["PATH"] = env.get("PATH", os.defpath)
    return kept


def unit_path(app: App, manager: str) -> str:
    """Where a user's service file belongs."""
    if manager == "systemd":
        base = app.env.get("XDG_CONFIG_HOME", "")
        base = base if os.path.isabs(base) else os.path.join(home(app.env), ".config")
        return os.path.join(base, "systemd", "user", f"{NAME}.service")
    if manager == "launchd":
        return os.path.join(home(app.env), "Library", "LaunchAgents", f"{LABEL}.plist")
    return app.store.path(f"{NAME}.xml")


def commands(manager: str, path: str, *, on: bool) -> list[list[str]]:
    """What turns the service on or off."""
    if manager == "systemd":
        verb = "enable" if on else "disable"
        reload = ["systemctl", "--user", "daemon-reload"]
        turn = ["systemctl", "--user", verb, "--now", f"{NAME}.service"]
        return [reload, turn] if on else [turn]
    if manager == "launchd":
        domain = f"gui/{os.getuid() if hasattr(os, 'getuid') else 501}"
        return [
            ["launchctl", "bootstrap", domain, path]
            if on
            else ["launchctl", "bootout", f"{domain}/{LABEL}"]
        ]
    if on:
        return [["schtasks", "/Create", "/TN", NAME, "/XML", path]]
    return [["schtasks", "/Delete", "/TN", NAME, "/F"]]


def _install(args: argparse.Namespace, app: App) -> int:
    path, text = unit_path(app, args.manager), _text(app, args.manager, light=args.light)
    there = _read(path)
    state = "missing" if there is None else origin(there)
    changed = there != text
    if changed and state in _NOT_OURS and not args.force:
        raise RefusedError(
            app.words(_NOT_OURS[state], path=path),
            app.words("proxy.service-replace"),
            code="exists",
        )
    if app.dry_run:
        app.screen.note(app.words("proxy.service-would-write", path=path))
        app.screen.planned(path=path, changed=changed)
        return EXIT_OK
    with app.store.transaction() as transaction:
        if changed:
            _write(path, text)
        _audit(app, transaction, there, text, path=path, manager=args.manager)
    app.screen.note(
        app.words("proxy.service-written" if changed else "proxy.service-same", path=path)
    )
    return _turn(args, app, path, changed=changed, on=True)


def _uninstall(args: argparse.Namespace, app: App) -> int:
    path = unit_path(app, args.manager)
    there = _read(path)
    state = "missing" if there is None else origin(there)
    if state in _NOT_OURS and not args.force:
        raise RefusedError(
            app.words(_NOT_OURS[state], path=path),
            app.words("proxy.service-remove"),
            code="not-ours",
        )
    if app.dry_run:
        app.screen.note(app.words("proxy.service-would-remove", path=path))
        app.screen.planned(path=path, changed=there is not None)
        return EXIT_OK
    # The proxy takes the lock as it ends, so this does not wait for it under the lock.
    app.store.check()
    code = _turn(args, app, path, changed=True, on=False) if there else EXIT_OK
    with app.store.transaction() as transaction:
        if there is not None:
            _remove(path)
        _audit(app, transaction, there, None, path=path, manager=args.manager)
    gone = "proxy.service-missing" if there is None else "proxy.service-removed"
    app.screen.note(app.words(gone, path=path))
    if app.screen.json and not there:
        app.screen.document({"path": path, "changed": there is not None, "commands": []})
    return code


def _turn(args: argparse.Namespace, app: App, path: str, *, changed: bool, on: bool) -> int:
    """Turn the service on or off, or say how."""
    turns = commands(args.manager, path, on=on)
    if app.screen.json:
        lines = [subprocess.list2cmdline(words) for words in turns]
        app.screen.document({"path": path, "changed": changed, "commands": lines})
    if not args.now:
        app.screen.note(app.words("proxy.service-on" if on else "proxy.service-off"))
        for words in turns:
            app.screen.note(f"  {_shown(words)}")
        return EXIT_OK
    if args.manager == "windows":
        raise KmiError(app.words("proxy.service-by-hand"), _shown(turns[0]), code="by-hand")
    for words in turns:
        _call(app, words)
    return EXIT_OK


def _shown(words: list[str]) -> str:
    from shlex import join

    return join(words) if sys.platform != "win32" else subprocess.list2cmdline(words)


def _call(app: App, words: list[str]) -> None:
    """Run a command of the manager.

    Raises:
        KmiError: it is not there, or it failed; with what it said.
    """
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT_S,
            env=dict(app.env),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise KmiError(f"{_shown(words)}: {why}", "run it by hand", code="manager") from None
    if done.returncode != 0:
        said = " ".join(done.stdout.split())[:300]
        raise KmiError(
            f"{_shown(words)}: exit code {done.returncode}: {said}",
            "run it by hand",
            code="manager",
        )


def _read(path: str) -> str | None:
    try:
        return read_regular(path)[0].decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"can't read {path}: {error.strerror}", "check its owner") from None


def _write(path: str, text: str) -> None:
    try:
        # The manager's own directories are for everybody to read, elsewhere; here they are new.
        folder, name = os.path.split(path)
        ensure_private_dir(folder)
        sweep_temporaries(folder, name)
        write_atomic(path, text.encode())
    except OSError as error:
        raise RefusedError(
            f"can't write {path}: {error.strerror}", "check the disk, its owner and mode"
        ) from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        raise RefusedError(
            f"can't remove {path}: {error.strerror}", "check its owner and directory"
        ) from None


def _audit(
    app: App, transaction: Transaction, before: str | None, after: str | None, **fields: str
) -> None:
    """The one record; the files by their hashes."""
    outcome = "unchanged" if before == after else "changed"
    app.audit(transaction, outcome, before=_hash(before), after=_hash(after), **fields)


def _hash(text: str | None) -> str | None:
    return None if text is None else sha256_hex(text.encode("utf-8", "surrogateescape"))
