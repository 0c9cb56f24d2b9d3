"""`kmi bind LABEL…`: write a `.kmi.toml` here, and allow it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi.binding import Found, own_work, parse, render
from kmi.commands.allow import allow
from kmi.errors import EXIT_OK, KmiError, RefusedError, UsageError
from kmi.paths import BINDING, working_directory
from kmi.project import is_allowed, read

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.binding import Binding


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("labels", metavar="LABEL", nargs="+", help="keys, the preferred one first")
    parser.add_argument("--strict", action="store_true", help="never another key, whatever happens")
    parser.add_argument("--force", action="store_true", help="replace a .kmi.toml that is there")


def run(args: argparse.Namespace, app: App) -> int:
    """Bind the working directory."""
    folder = working_directory()
    if not folder:
        raise KmiError("the working directory does not exist any more", "go to another one")
    for label in args.labels:
        app.require_key(label)
    path = os.path.join(folder, BINDING)
    data = render(list(dict.fromkeys(args.labels)), strict=args.strict)
    wanted, problems = parse(path, data)
    if wanted is None:
        raise UsageError(f"{path} would not be usable: {problems[0].what}", problems[0].fix or None)
    there = read(path) if os.path.lexists(path) else None
    binding = _same(there, wanted)
    if binding is None:
        _check_replaceable(app, path, there, force=args.force)
    if app.dry_run:
        app.screen.note(f"would bind {folder} to {wanted}")
        app.screen.planned(**(binding or wanted).table())
        return EXIT_OK
    if binding is None:
        over = None if there is None else there.data
        changed = allow(app, wanted, data=data, over=over)
    else:
        changed = allow(app, binding)
    app.screen.note(f"runs in and below {folder} use {wanted}")
    if app.screen.json:
        app.screen.document({**(binding or wanted).table(), "changed": changed})
    return EXIT_OK


def _same(there: Found | None, wanted: Binding) -> Binding | None:
    """The file that is there, if it says what is wanted; then it stays, comments and all."""
    if there is None or there.data is None:
        return None
    known, _ = parse(there.path, there.data)
    if known is None or (known.keys, known.strict) != (wanted.keys, wanted.strict):
        return None
    return known


def _check_replaceable(app: App, path: str, there: Found | None, *, force: bool) -> None:
    """Only what `kmi bind` itself wrote here, for this person, is replaced without a word.

    Raises:
        RefusedError: it is somebody else's, or no ordinary file.
    """
    if there is None:
        return
    if there.data is None:
        raise RefusedError(f"{path} {there.trouble}", there.fix, code="unusable-binding")
    ours = own_work(path, there.data) and is_allowed(app.store, there)
    if not ours and not force:
        raise RefusedError(
            f"{path} is there already, and says something else",
            "`kmi allow` takes it as it is, --force replaces it",
            code="exists",
        )
