"""This kmi: its version, its libraries, and whether `kmi` on PATH is this one."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kmi import __version__
from kmi.checks.finding import ERROR, OK, WARNING, Finding
from kmi.clients import candidates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: What has to be installed beside kmi (pyproject.toml); found, not imported.
LIBRARIES = ("tomlkit", "dotenv", "filelock", "httpx", "certifi", "rich", "argcomplete")
#: What kmi was started as by ``python -m kmi``.
_MODULE = "__main__.py"


def itself(site: Site) -> Iterator[Finding]:
    """Version and place, missing libraries, another kmi on PATH."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    python = ".".join(map(str, sys.version_info[:3]))
    what = f"kmi {__version__}, Python {python}"
    yield Finding("kmi", OK, "kmi", what)
    yield Finding("kmi", OK, "kmi", package, package, detail=True)
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        what = site.words("check.no-library", names=", ".join(missing))
        cure = site.words("check.install-kmi")
        yield Finding("library", ERROR, "kmi", what, package, cure=cure)
    first = on_path(site)
    this = os.path.abspath(site.program) if site.program else ""
    by_name = this and os.path.basename(this) != _MODULE
    if first and by_name and os.path.realpath(first) != os.path.realpath(this):
        what = site.words("check.other-kmi", first=first, this=this)
        cure = site.words("check.other-kmi-cure", folder=os.path.dirname(this))
        yield Finding("path", WARNING, "kmi", what, first, cure=cure)


def on_path(site: Site) -> str:
    """The `kmi` that a shell would start; "" when there is none."""
    for path in candidates("kmi", site.env):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""
