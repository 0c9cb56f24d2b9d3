"""Whether what `kmi plugin install` wrote is whole still, and starts this very kmi."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kmi.checks.finding import ERROR, OK, PLUGIN, WARNING, Finding, from_error, shell
from kmi.errors import KmiError
from kmi.plugin.plan import gone, inspect, place_of, program_of
from kmi.plugin.record import load_record
from kmi.settings import CLIENTS
from kmi.shells import own_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from kmi.checks.site import Site
    from kmi.plugin.plan import Found, Place


def plugin(site: Site) -> Iterator[Finding]:
    """The hooks of each client that has some, or should have."""
    state_dir = site.settings.state_dir
    try:
        recorded = load_record(state_dir)
    except KmiError as error:
        yield from_error(site.words, error, "plugin", "clients", state_dir)
        return
    command = own_command(site.program or "kmi", sys.executable)
    for client in CLIENTS:
        if site.config_path(client):
            where = place_of(client, site.env, state_dir, command)
            yield from _client(site, where, recorded)


def _client(site: Site, where: Place, recorded: Mapping[str, Any]) -> Iterator[Finding]:
    client, path = where.client, next(iter(where.paths.values()))
    cure = shell("kmi", "plugin", "install", "--client", client)
    try:
        found = inspect(where)
    except KmiError as error:
        if client in recorded:
            yield from_error(site.words, error, "plugin", "clients", path)
        return
    if not found.parts:
        if client in recorded:
            what = site.words("plugin.removed", client=client)
            out = shell("kmi", "plugin", "uninstall", "--client", client)
            yield Finding("plugin", WARNING, "clients", what, path, cure=f"{cure} / {out}")
        return
    problem = _program(site, where, found)
    if problem is not None:
        yield problem._replace(path=path, cure=cure)
    if found.missing:
        what = site.words("plugin.incomplete", client=client, what=", ".join(found.missing))
        yield Finding("plugin", WARNING, "clients", what, path, cure=cure, repair=PLUGIN)
    elif problem is None:
        what = site.words("plugin.fine", client=client)
        yield Finding("plugin", OK, "clients", what, path)


def _program(site: Site, where: Place, found: Found) -> Finding | None:
    """What is wrong with the program that the hooks start."""
    for line in found.commands:
        words = program_of(line)
        lost = gone(words)
        if lost:
            what = site.words("plugin.moved", client=where.client, path=lost)
            return Finding("plugin", ERROR, "clients", what, repair=PLUGIN)
        if words and not _same(words, where.command):
            program = " ".join(words)
            what = site.words("plugin.other", client=where.client, program=program)
            return Finding("plugin", WARNING, "clients", what, repair=PLUGIN)
    return None


def _same(words: Sequence[str], command: Sequence[str]) -> bool:
    """Whether two commands start the same files."""
    return [os.path.realpath(word) for word in words] == [os.path.realpath(w) for w in command]
