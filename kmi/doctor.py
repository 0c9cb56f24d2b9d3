"""Every check of `kmi doctor`, in its order; each only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.checks.clock import clock
from kmi.checks.configs import links
from kmi.checks.disk import disks
from kmi.checks.finding import ERROR, Finding, ordered
from kmi.checks.itself import itself
from kmi.checks.leftovers import backups, pins, strangers, temporaries
from kmi.checks.locks import locks
from kmi.checks.owned import modes, parents
from kmi.checks.plugin import plugin
from kmi.checks.programs import programs, variables
from kmi.checks.proxy import proxy
from kmi.checks.start_files import completions, small_files, start_files
from kmi.checks.usable import usable
from kmi.validation import validate

if TYPE_CHECKING:
    from kmi.checks.site import Site

#: Beside the validator's.
CHECKS = (
    *(itself, usable, locks, clock, programs, variables, links, modes, parents, disks),
    *(temporaries, pins, backups, strangers, start_files, completions, small_files, proxy, plugin),
)


def diagnose(site: Site) -> list[Finding]:
    """All findings, by subject and gravity. A check that the system stops is itself a finding."""
    found = validate(site)
    for check in CHECKS:
        try:
            found += check(site)
        except OSError as error:
            what = site.words("doctor.check-failed", name=check.__name__, why=str(error.strerror))
            cure = site.words("doctor.check-failed-cure")
            found.append(
                Finding("check", ERROR, "kmi", what, str(error.filename or ""), None, cure)
            )
    if site.fatal:  # where kmi's files are is not sure, so nothing is repaired
        found = [finding._replace(repair="") for finding in found]
    return ordered(found)
