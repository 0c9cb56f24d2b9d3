"""One validator for everything that people write: settings, keys, state, bindings, client configs.

`kmi config validate` and `kmi doctor` call it; what it says comes from the very parsers that `run`
uses. Everything that is wrong is found at once, and nothing is changed, also no file mode.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from kmi.checks.configs import client_configs
from kmi.checks.finding import (
    ERROR,
    OK,
    PRIVATE,
    UNSHARED,
    WARNING,
    Finding,
    from_error,
    from_problem,
    shell,
)
from kmi.checks.state_files import bindings, decisions, state_file
from kmi.errors import KmiError
from kmi.settings import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.auths import Keyring
    from kmi.checks.site import Site

#: Modes of files and directories that others may write, and that they may use in any way.
WRITABLE, OPEN = 0o022, 0o077


def validate(site: Site) -> list[Finding]:
    """Everything that is wrong, and in short what is not."""
    checks = (settings, env_file, auth_files, state_file, decisions, bindings, client_configs)
    return [finding for check in checks for finding in check(site)]


# Settings.


def settings(site: Site) -> Iterator[Finding]:
    """Every value of the environment and of the env file."""
    words, known = site.words, site.settings
    error = site.loaded.error
    if error is not None:
        named = site.env.get("KMI_ENV_PATH") or site.settings.env_path
        there = os.path.lexists(named) and os.path.isabs(named)
        yield from_error(site.words, error, "env-file", "settings", named if there else "")
    for problem in site.loaded.problems:
        yield from_problem(site.words, problem, "setting", "settings")
    given = [row.name for row in TABLE if known.origin(row.name) != "default"]
    what = words("check.settings", count=len(given), rest=len(TABLE) - len(given))
    yield Finding("setting", OK, "settings", what)
    for name in given:
        origin = known.origin(name)
        origin = words("doctor.environment") if origin == "environment" else origin
        what = words("check.setting", name=name, origin=origin)
        yield Finding("setting", OK, "settings", what, detail=True)


def env_file(site: Site) -> Iterator[Finding]:
    """Whether others can change the settings, or read a secret among them."""
    path = site.settings.env_path
    status = _stat(path)
    if status is None or os.name == "nt":
        return
    if status.st_mode & WRITABLE:
        what, cure = site.words("check.writable"), shell("chmod", "go-w", path)
        yield Finding("env-file", WARNING, "settings", what, path, cure=cure, repair=UNSHARED)
    elif status.st_mode & OPEN and site.settings.origin("KMI_PROXY_TOKEN").startswith(path):
        what, cure = site.words("check.token-open"), shell("chmod", "600", path)
        yield Finding("env-file", WARNING, "settings", what, path, cure=cure, repair=PRIVATE)
    else:
        yield Finding("env-file", OK, "settings", path, path, detail=True)


# Keys.


def auth_files(site: Site) -> Iterator[Finding]:
    """What is in the auths directory, and who else can read it."""
    ring = site.ring
    place = site.settings.auths_dir
    if isinstance(ring, KmiError):
        yield from_error(site.words, ring, "auth-file", "keys", place)
        return
    for problem in ring.problems:
        yield from_problem(site.words, problem, "auth-file", "keys")
    if site.settings.enforce_file_perms and os.name != "nt":
        yield from _open_auth_files(site, ring)
    if not ring.keys:
        what, cure = site.words("check.no-key", place=place), "kmi keys add LABEL"
        yield Finding("keys", WARNING, "keys", what, place, cure=cure)
        return
    what = site.words("check.keys", count=len(ring.keys), place=place)
    yield Finding("keys", OK, "keys", what, place)
    for key in ring.keys:
        yield Finding("keys", OK, "keys", key.label, key.source, key.line, detail=True)


def _open_auth_files(site: Site, ring: Keyring) -> Iterator[Finding]:
    """Who else can read them: kmi tightens them at the next use; what it can't it does not use."""
    folders = {ring.directory, *(os.path.dirname(path) for path in ring.files)}
    found = [(path, WRITABLE, "check.writable", "go-w", UNSHARED) for path in sorted(folders)]
    found += [(path, OPEN, "check.open", "600", PRIVATE) for path in ring.files]
    for path, mask, message, mode, repair in found:
        status = _stat(path)
        if status is None or not status.st_mode & mask:
            continue
        what = site.words(message, mode=f"{stat.S_IMODE(status.st_mode):04o}")
        mine = status.st_uid == os.geteuid() or os.geteuid() == 0
        cure = shell("chmod", mode, path)
        yield Finding(
            "auth-file-mode",
            WARNING if mine else ERROR,
            "keys",
            what,
            path,
            cure=cure if mine else f"sudo {cure}",
            repair=repair if mine else "",
        )


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
