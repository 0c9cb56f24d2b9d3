"""`kmi allow [PATH]`: let a project's `.kmi.toml` count, as it is now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kmi.binding import Record, parse
from kmi.errors import EXIT_OK, ConfigError, RefusedError
from kmi.paths import bindings_above
from kmi.project import chosen, decide, look, read, write_binding
from kmi.timezones import utc_text

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.binding import Binding, Found


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="the file or its directory; the nearest by default"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Show what a binding says, and let it count at this path until it is changed."""
    path = chosen(args.path)
    binding = usable(app, read(path))
    missing = warn_of_missing(app, binding)
    if app.dry_run:
        app.screen.note(f"would allow {path}: {binding}")
        app.screen.planned(**binding.table(), missing=missing)
        return EXIT_OK
    changed = allow(app, binding)
    if app.screen.json:
        app.screen.document({**binding.table(), "missing": missing, "changed": changed})
    else:
        app.screen.data(f"{path}: {binding}")
    return EXIT_OK


def usable(app: App, found: Found) -> Binding:
    """What a file says.

    Raises:
        RefusedError: it is not a file that may be used.
        ConfigError: something in it is wrong.
    """
    if found.data is None:
        raise RefusedError(f"{found.path} {found.trouble}", found.fix, code="unusable-binding")
    binding, problems = parse(found.path, found.data)
    if binding is None:
        first, *others = problems
        for problem in others:
            app.screen.warn(str(problem))
        raise ConfigError(f"{first.where}: {first.what}", first.fix or None, code="bad-binding")
    return binding


def warn_of_missing(app: App, binding: Binding) -> list[str]:
    """The labels of a binding that no key here has; a team's file may name keys of others."""
    missing = [label for label in binding.keys if app.keyring.find(label) is None]
    for label in missing:
        error = app.no_such_key(label)
        app.screen.warn(f"{binding.path}: {error.message} ({error.fix})")
    return missing


def allow(
    app: App, binding: Binding, *, data: bytes | None = None, over: bytes | None = None
) -> bool:
    """Let a binding count, and record that.

    Args:
        app: the world.
        binding: what is allowed.
        data: its bytes, when the file has to be written first.
        over: what it replaces.

    Returns:
        whether anything changed.
    """
    now = utc_text(app.now())
    record = Record("allow", binding.sha256, binding.keys, binding.strict, now)
    with app.store.transaction() as transaction:
        if data is not None:
            write_binding(binding.path, data, over)
        before = decide(app.store, binding.path, record)
        same = before is not None and (before.decision, before.sha256) == ("allow", binding.sha256)
        changed = data is not None or not same
        app.audit(
            transaction,
            "changed" if changed else "unchanged",
            path=binding.path,
            before=None if before is None else decision(before),
            after={**decision(record), "keys": list(binding.keys), "strict": binding.strict},
        )
    tell_of_outer(app, binding.path)
    return changed


def tell_of_outer(app: App, path: str) -> None:
    """Say which binding counted there before: the nearest one takes its place."""
    paths = bindings_above(os.path.dirname(os.path.dirname(path)))
    outer = look(app.store, paths).binding
    if outer is not None and outer.path != path:
        app.screen.note(f"it takes the place of {outer.path} there: {outer}")


def decision(record: Record) -> dict[str, Any]:
    """A decision for the audit."""
    known = {"sha256": record.sha256} if record.sha256 else {}
    return {"decision": record.decision, **known}
