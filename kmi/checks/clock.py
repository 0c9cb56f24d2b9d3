"""Times that can't be: a clock that is wrong, or was, makes keys wait for ever or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import kmi
from kmi.checks.finding import OK, WARNING, Finding, shell
from kmi.errors import KmiError
from kmi.model import WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: Machines that share a home may differ by that much.
AHEAD_S = 300.0
DAY_S = 86400.0
#: No hold claims more than the longest window.
HOLD_MAX_S = max(WINDOW_S.values()) + DAY_S


def clock(site: Site) -> Iterator[Finding]:
    """The clock itself, then what the state and the files say about other clocks."""
    made = os.path.getmtime(kmi.__file__)
    found = []
    if site.now < made - DAY_S:
        what = site.words("check.clock-behind", span=site.words.span(made - site.now))
        cure = "sudo timedatectl set-ntp true"
        found.append(Finding("clock", WARNING, "state", what, cure=cure))
    found += [*_remembered(site), *_holds(site), *_files(site)]
    if not found:
        what = site.words("check.clock-fine")
        found.append(Finding("clock", OK, "state", what, detail=True))
    yield from found


def _remembered(site: Site) -> Iterator[Finding]:
    """Moments of the past that are ahead."""
    state = site.state
    times = [active.since for active in state.active.values()]
    times += [at for at in (state.refresh_at, state.auto_rotate) if at is not None]
    times += [item.at for items in state.undo.values() for item in items]
    for key in state.keys.values():
        past = (key.usage_at, key.usage_tried_at, key.last_used)
        times += [at for at in past if at is not None]
        times += [key.hold.since] if key.hold is not None else []
    latest = max(times, default=0.0)
    if latest > site.now + AHEAD_S:
        what = site.words("check.state-ahead", span=site.words.span(latest - site.now))
        cure = site.words("check.state-ahead-cure")
        yield Finding("clock", WARNING, "state", what, site.store.state_file, cure=cure)


def _holds(site: Site) -> Iterator[Finding]:
    """Keys that wait for longer than any quota window lasts."""
    words, path = site.words, site.store.state_file
    for key_id, key in site.state.keys.items():
        label = key.label or key_id
        if key.hold is not None and key.hold.active(site.now) and key.hold.until is not None:
            left_s = key.hold.until - site.now
            if left_s > HOLD_MAX_S:
                what = words("check.held-long", label=label, span=words.span(left_s))
                cure = shell("kmi", "keys", "reset", label)
                yield Finding("hold", WARNING, "state", what, path, cure=cure)
        resets = [w.resets_at for w in key.windows.values() if w.resets_at is not None]
        if resets and max(resets) - site.now > HOLD_MAX_S:
            span = words.span(max(resets) - site.now)
            what = words("check.reset-far", label=label, span=span)
            cure = "kmi health --refresh"
            yield Finding("hold", WARNING, "state", what, path, cure=cure)


def _files(site: Site) -> Iterator[Finding]:
    """Files that were changed in the future: editors, `make` and kmi's own memo are misled."""
    ring = site.ring
    paths = [site.store.state_file, site.store.path("bindings.json"), site.settings.env_path]
    paths += [] if isinstance(ring, KmiError) else ring.files
    paths += [site.config_path(client) for client in site.clients if site.config_path(client)]
    for path in paths:
        try:
            ahead_s = os.stat(path).st_mtime - site.now
        except OSError:
            continue
        if ahead_s > AHEAD_S:
            what = site.words("check.file-ahead", span=site.words.span(ahead_s))
            yield Finding("clock", WARNING, "state", what, path, cure=shell("touch", path))
