"""The proxy, from outside: whether it runs, and what a killed one left behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi import __version__
from kmi.checks.finding import OK, PROXY_RECORD, WARNING, Finding, from_error, shell
from kmi.errors import KmiError
from kmi.proxy.instance import RECORD, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site


def proxy(site: Site) -> Iterator[Finding]:
    """Running, not running, or a record without a proxy."""
    words, path = site.words, site.store.path(RECORD)
    try:
        sight = look(site.settings.state_dir)
    except KmiError as error:
        yield from_error(site.words, error, "proxy", "proxy", path)
        return
    if sight.held and sight.instance is not None:
        runs = sight.instance
        what = words("check.proxy-runs", pid=runs.pid, address=runs.base_url)
        yield Finding("proxy", OK, "proxy", what, path)
        if runs.version != __version__:
            what = words("check.proxy-old", version=runs.version, this=__version__)
            cure = shell("kmi", "proxy", "restart")
            yield Finding("proxy", WARNING, "proxy", what, path, cure=cure)
    elif sight.held:
        what, cure = words("check.proxy-silent"), shell("kmi", "proxy", "status")
        yield Finding("proxy", WARNING, "proxy", what, path, cure=cure)
    elif os.path.lexists(path):
        what, cure = words("check.proxy-stale"), shell("rm", path)
        yield Finding("proxy", WARNING, "proxy", what, path, cure=cure, repair=PROXY_RECORD)
    else:
        yield Finding("proxy", OK, "proxy", words("check.no-proxy"))
