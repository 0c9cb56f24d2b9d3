"""`kmi keys add|remove|rename|import`: the actions that write auth files."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from kmi.auth_formats import LABEL, check_secret, key_id_of, parse_auth_file
from kmi.auth_writing import env_text, file_name, relabelled
from kmi.errors import EXIT_OK, KmiError, RefusedError, UsageError
from kmi.files import ensure_private_dir, read_regular
from kmi.masking import looks_like_key
from kmi.settings import CLIENTS
from kmi.timezones import utc_text
from kmi.urls import allowed, parse_base_url

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.model import ApiKey

#: Nobody pastes a longer key; more on stdin is a mistake.
_STDIN_LIMIT = 64 * 1024


def add(args: argparse.Namespace, app: App) -> int:
    """Store a new key."""
    label = _new_label(app, args.label)
    base_url = _base_url(app, args.base_url)
    fields = {"KMI_KEY_LABEL": label}
    if args.command:
        fields["KMI_API_KEY_COMMAND"] = args.command
    else:
        fields["KMI_API_KEY"] = _read_secret(app, label)
    if base_url:
        fields["KMI_UPSTREAM_BASE_URL"] = base_url
    if args.priority is not None:
        fields["KMI_KEY_PRIORITY"] = str(args.priority)
    if args.email:
        fields["KMI_ACCOUNT_EMAIL"] = args.email
    _check(app, label, fields)
    if app.dry_run:
        app.screen.note(f"would store {label!r}")
        app.screen.planned(action="add", label=label)
        return EXIT_OK
    with app.store.transaction() as transaction:
        path = _store(app, label, fields)
        app.audit(transaction, "changed", path=path, before=None, after=label)
    return _done(app, f"{label!r} is stored in {path}", "add", label=label, file=path)


def _new_label(app: App, label: str) -> str:
    if not LABEL.fullmatch(label):
        raise UsageError(
            f"the label {label[:80]!r} is not allowed",
            "use 1 to 64 of A-Z a-z 0-9 . _ @ / -, not beginning with -",
        )
    pasted = len(label) > 20 and label.startswith("sk-")
    if pasted or looks_like_key(label) or app.screen.redactor.data(label) != label:
        raise UsageError(
            "the label looks like an API key; nothing was stored",
            "give it a label, and kmi asks for the key; remove this line from the shell's history",
        )
    there = app.keyring.find(label)
    if there is not None:
        raise KmiError(f"there is a key {label!r} already, in {there.source}", "choose another")
    return label


def _base_url(app: App, text: str | None) -> str:
    if not text:
        return ""
    try:
        url = parse_base_url(text)
    except ValueError as error:
        raise UsageError(f"--base-url {error}") from None
    if not allowed(url, app.settings.upstream_allowlist):
        raise RefusedError(f"KMI_UPSTREAM_ALLOWLIST does not allow {url}", "add its host there")
    return str(url)


def _read_secret(app: App, label: str) -> str:
    """The secret, from a prompt without echo or from the first line of stdin."""
    if sys.stdin.isatty():
        from getpass import getpass

        try:
            secret = getpass(f"API key for {label}: ", stream=sys.stderr).strip()
        except EOFError:
            raise KmiError("no key was given") from None
    else:
        secret = _first_line()
    try:
        check_secret(secret)
    except ValueError as error:
        raise KmiError(f"that can't be stored: {error}", "paste the whole key, once") from None
    same = next((k for k in app.keyring.keys if k.key_id == key_id_of(secret)), None)
    if same is not None:
        raise KmiError(f"this key is there already, as {same.label!r}", f"see {same.source}")
    return secret


def _first_line() -> str:
    try:
        lines = sys.stdin.read(_STDIN_LIMIT).splitlines()
    except UnicodeDecodeError:
        raise KmiError(
            "that can't be stored: it is not text", "paste the whole key, once"
        ) from None
    return lines[0].strip() if lines else ""


def _check(app: App, label: str, fields: dict[str, str]) -> None:
    """Refuse what kmi itself would not read again as this key.

    Raises:
        UsageError: an option has a value that no auth file may have.
    """
    try:
        data = env_text(fields).encode()
    except UnicodeEncodeError:  # an argument with bytes that are no text
        raise UsageError("an option is not UTF-8 text", "write it in UTF-8") from None
    path = os.path.join(app.settings.auths_dir, file_name(label))
    for problem in parse_auth_file(path, data, app.settings.upstream_base_url).problems:
        raise UsageError(problem.what, problem.fix or None)


def _store(app: App, label: str, fields: dict[str, str]) -> str:
    directory = app.settings.auths_dir
    path = os.path.join(directory, file_name(label))
    try:
        ensure_private_dir(directory)
    except OSError as error:
        raise RefusedError(f"can't make {directory}: {error.strerror}", "check its owner") from None
    if os.path.lexists(path):
        raise KmiError(f"{path} is there already", "choose another label, or remove that file")
    app.store.write(path, env_text(fields).encode())
    app.forget_keyring()
    return path


def remove(args: argparse.Namespace, app: App) -> int:
    """Remove a key's file; a copy is kept, for a lost secret is worse than a failed command."""
    key = app.require_key(args.label)
    others = [k.label for k in app.keyring.keys if k.source == key.source and k is not key]
    if others:
        raise KmiError(
            f"{key.source} holds other keys too ({', '.join(others)})",
            f"edit it by hand, or leave {key.label!r} out with `kmi keys disable {key.label}`",
        )
    if app.dry_run:
        app.screen.note(f"would remove {key.source}")
        app.screen.planned(action="remove", label=key.label, file=key.source)
        return EXIT_OK
    if not args.yes and not _confirmed(app, f"Remove {key.source}? A copy is kept."):
        raise RefusedError(f"{key.label!r} was not removed", "say --yes to remove it")
    stamp = utc_text(app.now()).replace(":", "").replace("-", "")
    kept = app.store.path("backups", "keys", f"{stamp}-{os.path.basename(key.source)}")
    with app.store.transaction() as transaction:
        data, _ = read_regular(key.source)  # now, for others may have written while kmi waited
        ensure_private_dir(os.path.dirname(kept))
        app.store.write(kept, data)
        os.unlink(key.source)
        app.audit(
            transaction,
            "changed",
            path=key.source,
            backup=kept,
            key=key.key_id,
            before=key.label,
            after=None,
        )
    app.forget_keyring()
    message = f"{key.label!r} is removed; a copy is kept in {kept}"
    return _done(app, message, "remove", label=key.label, file=key.source, copy=kept)


def _confirmed(app: App, question: str) -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and app.screen.ask(question)


def rename(args: argparse.Namespace, app: App) -> int:
    """Give a key another label; what kmi knows of it stays, for state is kept by key id."""
    key = app.require_key(args.label)
    label = _new_label(app, args.new_label)
    data, _ = read_regular(key.source)
    new = relabelled(key.source, data, label)
    again = parse_auth_file(key.source, new, app.settings.upstream_base_url)
    if [(k.label, k.secret, k.command) for k in again.keys] != [(label, key.secret, key.command)]:
        raise KmiError(f"{key.source} can't be edited safely", "change the label by hand")
    if app.dry_run:
        app.screen.note(f"would rename {key.label!r} to {label!r}")
        app.screen.planned(action="rename", before=key.label, label=label)
        return EXIT_OK
    with app.store.transaction() as transaction:
        if read_regular(key.source)[0] != data:
            raise KmiError(f"{key.source} was changed while kmi was editing it", "try again")
        app.store.write(key.source, new)
        app.forget_keyring()
        _relabel_active(app, transaction, key, label)
        transaction.save()
        app.audit(transaction, "changed", before=key.label, after=label, key=key.key_id)
    app.screen.note(f"{key.label!r} is {label!r} now")
    if app.screen.json:
        app.screen.document({"before": key.label, "label": label})
    return EXIT_OK


def _relabel_active(app: App, transaction: Any, key: ApiKey, label: str) -> None:
    import dataclasses

    state = transaction.state
    key_id = state.aliases.get(key.key_id, key.key_id)
    for client, active in state.active.items():
        if active.key_id == key_id:
            state.active[client] = active._replace(label=label)
    if key_id in state.keys:
        state.keys[key_id] = dataclasses.replace(state.keys[key_id], label=label)


def import_keys(args: argparse.Namespace, app: App) -> int:
    """Take the keys that the clients' configs hold."""
    found, seen = [], {key.key_id for key in app.keyring.keys}
    for client in CLIENTS:
        snapshot = app.read_config(client)
        if snapshot.raw is None or snapshot.config is None:
            continue
        if not snapshot.config.data.get("providers"):
            continue
        parsed = parse_auth_file(snapshot.path, snapshot.raw, app.settings.upstream_base_url)
        for problem in parsed.problems:
            app.screen.note(str(problem))
        for key in parsed.keys:
            if key.secret is None:
                continue  # a client knows no programs
            if key.key_id in seen:
                app.screen.note(f"{snapshot.path}: a key there is known already")
                continue
            seen.add(key.key_id)
            found.append((client, key))
    if args.label and len(found) > 1:
        raise UsageError(f"--label fits one key, and {len(found)} were found", "leave it out")
    if not found:
        app.screen.note("the clients' configs hold no new key")
    if args.label:
        _new_label(app, args.label)
    if app.dry_run:
        labels: list[str] = []
        for client, key in found:
            labels.append(args.label or _free_label(app, client, key, labels))
        for label in labels:
            app.screen.note(f"would store {label!r}")
        app.screen.planned(action="import", labels=labels)
        return EXIT_OK
    with app.store.transaction() as transaction:
        labels = []
        try:
            for client, key in found:
                labels.append(_take(app, client, key, args.label))
        finally:
            # Also when the second of two can't be stored: the first one is there.
            if labels or not found:
                outcome = "changed" if labels else "unchanged"
                app.audit(transaction, outcome, before=None, after=labels)
    return _done(app, "", "import", labels=labels)


def _take(app: App, client: str, key: ApiKey, label: str | None) -> str:
    """Store a key that a client's config holds, and return its label."""
    label = label or _free_label(app, client, key)
    fields = {
        "KMI_KEY_LABEL": label,
        "KMI_API_KEY": key.secret or "",
        "KMI_UPSTREAM_BASE_URL": str(key.base_url),
    }
    app.screen.note(f"{label!r} is stored in {_store(app, label, fields)}")
    return label


def _free_label(app: App, client: str, key: ApiKey, planned: Sequence[str] = ()) -> str:
    """A label after the provider's name that no key has, and none that is planned."""
    name = key.label.rpartition("/")[2]
    stem = client if name in {"config", client, ".kimi", ".kimi-code"} else name
    stem = re.sub(r"[^A-Za-z0-9._@-]", "-", stem).lstrip("-.")[:48] or client
    taken = {*planned, *(known.label for known in app.keyring.keys)}
    number = 1
    while (stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return stem if number == 1 else f"{stem}-{number}"


def _done(app: App, message: str, action: str, **fields: Any) -> int:
    if message:
        app.screen.note(message)
    if app.screen.json:
        app.screen.document({"action": action, **fields})
    return EXIT_OK
