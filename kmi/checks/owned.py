"""Who else can read or replace what kmi owns: modes, owners, and the directories above."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from kmi.checks.finding import ERROR, OK, PRIVATE, WARNING, Finding, shell
from kmi.files import TEMPORARY_MARK
from kmi.paths import client_home
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: So many files are named one by one; more are told as their directory.
NAMED = 3
#: Written by people, so that only who may change them counts.
BY_HAND = {"patterns.toml"}


class Item(NamedTuple):
    """A file or directory of kmi's, and its status (of itself, not of what a link leads to)."""

    path: str
    status: os.stat_result


def items(site: Site) -> Iterator[Item]:
    """The state directory and all in it that is kmi's own: no keys, no files of the clients."""
    top = site.settings.state_dir
    foreign = {site.settings.auths_dir, site.settings.env_path}
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            status = os.stat(path) if path == top else os.lstat(path)
        except OSError:
            continue
        if stat.S_ISLNK(status.st_mode) or path in foreign:
            continue
        yield Item(path, status)
        # A private home of Kimi Code holds links, and files that go back to the real one.
        private_home = os.path.dirname(os.path.dirname(path)) == os.path.join(top, "pins")
        if stat.S_ISDIR(status.st_mode) and not private_home:
            try:
                waiting += sorted((entry.path for entry in os.scandir(path)), reverse=True)
            except OSError:
                continue


def too_open(item: Item) -> bool:
    """Whether others have rights that only their owner should have."""
    if not stat.S_ISREG(item.status.st_mode) and not stat.S_ISDIR(item.status.st_mode):
        return False
    mask = 0o022 if os.path.basename(item.path) in BY_HAND else 0o077
    return bool(item.status.st_mode & mask)


def modes(site: Site) -> Iterator[Finding]:
    """Modes and owners of what is in the state directory."""
    if os.name == "nt":
        return
    # What a killed kmi left is told as that.
    found = [item for item in items(site) if TEMPORARY_MARK not in os.path.basename(item.path)]
    top, me = site.settings.state_dir, os.geteuid()
    others = [item.path for item in found if item.status.st_uid != me]
    if others and me != 0:
        what = site.words("check.not-mine", count=len(others), names=_names(top, others))
        cure = f"sudo chown -R {me}:{os.getegid()} {shell(top)}"
        yield Finding("owner", ERROR, "files", what, top, cure=cure)
    loose = [item for item in found if too_open(item) and (item.status.st_uid == me or me == 0)]
    if len(loose) > NAMED:
        names = _names(top, [item.path for item in loose])
        what = site.words("check.open-many", count=len(loose), names=names)
        cure = shell("chmod", "-R", "go-rwx", top)
        yield Finding("mode", WARNING, "files", what, top, cure=cure, repair=PRIVATE)
    else:
        for item in loose:
            what = site.words("check.open", mode=f"{stat.S_IMODE(item.status.st_mode):04o}")
            cure = shell("chmod", "go-rwx", item.path)
            yield Finding("mode", WARNING, "files", what, item.path, cure=cure, repair=PRIVATE)
    if found and not others and not loose:
        what = site.words("check.private", count=len(found), place=top)
        yield Finding("mode", OK, "files", what, top)
    elif not found:
        yield Finding("mode", OK, "files", site.words("check.no-files", place=top), top)


def _names(top: str, paths: list[str]) -> str:
    names = [os.path.relpath(path, top) for path in paths[:NAMED]]
    return ", ".join(names) + (", ..." if len(paths) > NAMED else "")


def parents(site: Site) -> Iterator[Finding]:
    """Directories above keys, state, settings and configs, in which others can replace them."""
    if os.name == "nt":
        return
    settings = site.settings
    starts = [os.path.dirname(path) for path in (settings.state_dir, settings.auths_dir)]
    starts.append(os.path.dirname(settings.env_path))
    for client in CLIENTS:
        if site.config_path(client):
            starts.append(client_home(client, site.env))
    seen = {settings.state_dir, settings.auths_dir}
    for start in starts:
        folder = start
        while folder not in seen:
            seen.add(folder)
            yield from _parent(site, folder)
            folder = os.path.dirname(folder)


def _parent(site: Site, folder: str) -> Iterator[Finding]:
    try:
        status = os.stat(folder)
    except OSError:
        return
    if status.st_uid not in {os.geteuid(), 0}:
        if os.geteuid() != 0:
            what, cure = site.words("check.parent-foreign"), shell("ls", "-ld", folder)
            yield Finding("parent", WARNING, "files", what, folder, cure=cure)
        return
    # A group of one's own, with no one else in it, is the default of many systems.
    shared = status.st_mode & 0o020 and status.st_gid != os.getegid()
    if (status.st_mode & 0o002 or shared) and not status.st_mode & stat.S_ISVTX:
        what, cure = site.words("check.parent-open"), shell("chmod", "go-w", folder)
        if status.st_uid != os.geteuid():
            cure = f"sudo {cure}"
        yield Finding("parent", WARNING, "files", what, folder, cure=cure)
