"""What `kmi doctor --fix` does. Only what is safe: no key, no content of a client's config.

Each repair is told first, and looks again before it acts: what was found may be gone by then.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from kmi import pins
from kmi.checks import owned
from kmi.checks.finding import (
    ASIDE,
    PINS,
    PLUGIN,
    PRIVATE,
    PROXY_RECORD,
    SHELL_FILES,
    TEMPORARY,
    UNSHARED,
)
from kmi.errors import KmiError
from kmi.files import left_temporaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmi.app import App
    from kmi.checks.finding import Finding
    from kmi.checks.site import Site
    from kmi.store import Transaction

#: What is said about each.
WORDS = {
    PRIVATE: "doctor.fix-private",
    UNSHARED: "doctor.fix-unshared",
    TEMPORARY: "doctor.fix-temporary",
    PINS: "doctor.fix-pins",
    ASIDE: "doctor.fix-aside",
    SHELL_FILES: "doctor.fix-shell-files",
    PROXY_RECORD: "doctor.fix-proxy-record",
    PLUGIN: "plugin.repair",
}


class Repair(NamedTuple):
    """One thing that is going to be done.

    Attributes:
        kind: a repair of `kmi.checks.finding`.
        path: what is put right.
        what: as it is told.
        failed: why it was not done; "" while it was not tried, or when it was done.
    """

    kind: str
    path: str
    what: str
    failed: str = ""


def planned(site: Site, findings: Sequence[Finding]) -> list[Repair]:
    """What can be put right, without repetitions; damaged files first, the small ones last."""
    order = (ASIDE, PRIVATE, UNSHARED, TEMPORARY, PINS, PROXY_RECORD, PLUGIN, SHELL_FILES)
    wanted = {(f.repair, _target(site, f)): None for f in findings if f.repair}
    if any(kind == ASIDE for kind, _ in wanted):
        # What shells show comes from the file that goes.
        wanted[SHELL_FILES, site.settings.state_dir] = None
    return [
        Repair(kind, path, _told(site, kind, path))
        for kind, path in sorted(wanted, key=lambda item: order.index(item[0]))
    ]


def _target(site: Site, finding: Finding) -> str:
    """What is repaired: the state directory as a whole, for what is set aside is open, too."""
    settings, path = site.settings, finding.path
    by_person = path == settings.env_path or path.startswith(settings.auths_dir)
    if finding.repair == PRIVATE and path.startswith(settings.state_dir) and not by_person:
        return settings.state_dir
    return path


def _told(site: Site, kind: str, path: str) -> str:
    all_of_it = kind == PRIVATE and path == site.settings.state_dir
    name = "doctor.fix-private-all" if all_of_it else WORDS[kind]
    return site.words(name, path=path)


def perform(
    app: App, site: Site, transaction: Transaction, repairs: Sequence[Repair]
) -> list[Repair]:
    """Do it, under the lock; what fails is told, and the others go on."""
    done = []
    for repair in repairs:
        try:
            _HOW[repair.kind](app, site, repair.path)
        except OSError as error:
            done.append(repair._replace(failed=error.strerror or str(error)))
        except KmiError as error:
            done.append(repair._replace(failed=site.words.sentence(error.message)))
        else:
            done.append(repair)
    transaction.save()
    return done


def _private(app: App, site: Site, path: str) -> None:
    """Take every right of others: of one file, or of all in the state directory."""
    if path == site.settings.state_dir:
        for item in owned.items(site):
            if owned.too_open(item):
                _tighten(item.path, 0o077)
    else:
        _tighten(path, 0o077)


def _unshared(app: App, site: Site, path: str) -> None:
    """Take the right of others to write."""
    _tighten(path, 0o022)


def _tighten(path: str, rights: int) -> None:
    """Change the mode of a file of one's own, by its descriptor; content and times stay.

    Raises:
        OSError: it is another user's, or of another kind than a file or a directory.
    """
    # The file behind a link of the person's own (dotfiles); what was found there was looked at.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    fd = os.open(os.path.realpath(path), flags)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise PermissionError(0, "it is neither a file nor a directory")
        os.fchmod(fd, stat.S_IMODE(mode) & ~rights)
    finally:
        os.close(fd)


def _temporary(app: App, site: Site, path: str) -> None:
    """Remove a temporary file, if its process is still gone."""
    if path in left_temporaries(os.path.dirname(path)):
        os.unlink(path)


def _pins(app: App, site: Site, path: str) -> None:
    """Remove private configs of processes that are gone; files of a client go back."""
    pins.sweep(path)


def _aside(app: App, site: Site, path: str) -> None:
    """Rename one of kmi's own files that can't be read; `state.json` went as the lock was taken."""
    if path != app.store.state_file and os.path.lexists(path):
        app.store.set_aside(path, ValueError())


def _shell_files(app: App, site: Site, path: str) -> None:
    """Write anew what prompts and TAB read."""
    from kmi.project import load
    from kmi.shell_files import BINDINGS, binding_lines

    lines, name = binding_lines(load(app.store).records), app.store.path(BINDINGS)
    if lines or os.path.exists(name):
        app.store.write(name, lines.encode("utf-8", "surrogateescape"), durable=False)
    app.forget_keyring()
    app.finish()


def _proxy_record(app: App, site: Site, path: str) -> None:
    """Remove the record of a proxy that is gone, unless one has started meanwhile."""
    from kmi.proxy.instance import clean, look

    # One that can't be read is removed here, for `clean` knows only its own.
    if not clean(app.store.directory) and not look(app.store.directory).held:
        os.unlink(path)


def _plugin(app: App, site: Site, path: str) -> None:
    """Write the hooks anew, so that they start this kmi; only the client that has them."""
    import sys

    from kmi.plugin.install import perform, place, plan
    from kmi.settings import CLIENTS
    from kmi.shells import own_command

    for client in CLIENTS:
        where = place(app, client, own_command(sys.argv[0], sys.executable))
        if path in where.paths.values():
            perform(app, plan(app, where, install=True), install=True)


_HOW: dict[str, Callable[[App, Site, str], None]] = {
    PRIVATE: _private,
    UNSHARED: _unshared,
    TEMPORARY: _temporary,
    PINS: _pins,
    ASIDE: _aside,
    SHELL_FILES: _shell_files,
    PROXY_RECORD: _proxy_record,
    PLUGIN: _plugin,
}
