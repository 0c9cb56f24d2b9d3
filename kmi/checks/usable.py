"""Whether a run would get a key now, as far as is known without asking upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.checks.finding import OK, WARNING, Finding
from kmi.health import status_of
from kmi.overview import USABLE
from kmi.urls import allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site


def usable(site: Site) -> Iterator[Finding]:
    """How many keys a run may get now."""
    keys, state = site.keys, site.state
    if not keys:
        return
    good = [
        key
        for key in keys
        if status_of(key, state.key(key.key_id), site.now).name in USABLE
        and allowed(key.base_url, site.settings.upstream_allowlist)
    ]
    if good:
        what = site.words("check.usable", count=len(good))
        yield Finding("usable", OK, "keys", what)
    else:
        what = site.words("check.none-usable")
        yield Finding("usable", WARNING, "keys", what, cure="kmi health")
