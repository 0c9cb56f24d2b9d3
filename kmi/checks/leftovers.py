"""What runs left behind: temporary files, private configs, backups, damaged files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi import pins as private
from kmi.checks.finding import OK, PINS, TEMPORARY, WARNING, Finding, shell
from kmi.config_file import BACKUPS_KEPT, Backups
from kmi.errors import KmiError
from kmi.files import TEMPORARY_MARK, left_temporaries
from kmi.layout import is_own
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: The next run removes the private config of an ended one; older ones wait for a run in vain.
PIN_OLD_S = 86400.0


def temporaries(site: Site) -> Iterator[Finding]:
    """Temporary files of processes that are gone; they may hold a key."""
    for folder, name in _places(site):
        for path in left_temporaries(folder, name):
            what, cure = site.words("check.temporary"), shell("rm", path)
            yield Finding("temporary", WARNING, "files", what, path, cure=cure, repair=TEMPORARY)


def _places(site: Site) -> Iterator[tuple[str, str | None]]:
    """Where kmi writes, and the only file that it writes there (None: all are its own)."""
    for names in ((), ("backups",), ("backups", "keys"), ("memo",)):
        yield site.store.path(*names), None
    yield site.settings.auths_dir, None
    for client in CLIENTS:
        path = site.config_path(client)
        if path:
            target = os.path.realpath(path)
            yield os.path.dirname(target), os.path.basename(target)


def pins(site: Site) -> Iterator[Finding]:
    """Private configs and homes of runs that are over."""
    directory, words = site.store.path("pins"), site.words
    left = private.left(directory)
    kept = [folder for folder in left if _own_files(folder)]
    for folder in kept:
        names = ", ".join(_own_files(folder)[:3])
        home = os.path.join(folder, private.HOME)
        what, cure = words("check.pin-kept", names=names), shell("ls", "-la", home)
        yield Finding("pin", WARNING, "files", what, folder, cure=cure)
    gone = [folder for folder in left if folder not in kept]
    old = [folder for folder in gone if _age_s(site, folder) > PIN_OLD_S]
    if old:
        what, cure = words("check.pins-old", count=len(old)), "kmi doctor --fix"
        yield Finding("pin", WARNING, "files", what, directory, cure=cure, repair=PINS)
    elif gone:
        what = words("check.pins-fresh", count=len(gone))
        yield Finding("pin", OK, "files", what, directory, detail=True)
    for name in _listed(directory):
        if name.count("-") != 3 or not name.partition("-")[0].isdigit():
            path = os.path.join(directory, name)
            what, cure = words("check.pin-strange"), shell("rm", "-r", path)
            yield Finding("pin", WARNING, "files", what, path, cure=cure)


def _own_files(folder: str) -> list[str]:
    """Directories that a client made in its private home, and that the real one has, too."""
    home = os.path.join(folder, private.HOME)
    paths = [os.path.join(home, name) for name in _listed(home)]
    return [os.path.basename(p) for p in paths if os.path.isdir(p) and not os.path.islink(p)]


def backups(site: Site) -> Iterator[Finding]:
    """Backups of client configs, and files that were set aside."""
    kept = Backups(site.store.path("backups"))
    for client in CLIENTS:
        try:
            names = kept.names(client)
        except KmiError:
            continue  # `modes` tells that
        count = len(names)
        needed = {item.backup for item in site.state.undo.get(client, [])}
        if len(set(names) - needed) > BACKUPS_KEPT:
            what = site.words("check.backups", count=count, client=client, kept=BACKUPS_KEPT)
            cure = site.words("check.backups-cure", kept=BACKUPS_KEPT)
            yield Finding("backup", WARNING, "files", what, kept.directory, cure=cure)
        elif count:
            what = site.words("check.backups-fine", count=count, client=client)
            yield Finding("backup", OK, "files", what, kept.directory, detail=True)
    damaged = [name for name in _listed(site.settings.state_dir) if ".corrupt-" in name]
    if damaged:
        what = site.words("check.set-aside", count=len(damaged), names=", ".join(damaged[:3]))
        yield Finding("set-aside", OK, "files", what, site.settings.state_dir)


def strangers(site: Site) -> Iterator[Finding]:
    """What lies in the state directory and is not kmi's: an older program's, or a person's."""
    top = site.settings.state_dir
    known = {site.settings.auths_dir, site.settings.env_path}
    names = [
        name
        for name in _listed(top)
        if not is_own(name) and TEMPORARY_MARK not in name and os.path.join(top, name) not in known
    ]
    if names:
        what = site.words("check.strangers", count=len(names), names=", ".join(names[:5]))
        yield Finding("stranger", OK, "files", what, top, detail=True)


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _age_s(site: Site, path: str) -> float:
    try:
        return site.now - os.stat(path).st_mtime
    except OSError:
        return 0.0
