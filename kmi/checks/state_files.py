"""What kmi wrote itself, and the project's `.kmi.toml`: whether they can be read and used."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from kmi.checks.finding import (
    ASIDE,
    ERROR,
    OK,
    WARNING,
    Finding,
    from_error,
    from_problem,
    shell,
)
from kmi.errors import KmiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site


def state_file(site: Site) -> Iterator[Finding]:
    """Whether ``state.json`` can be read."""
    from kmi.files import read_regular
    from kmi.state import SCHEMA, SchemaError, decode
    from kmi.store import STATE_LIMIT_BYTES

    path, words = site.store.state_file, site.words
    try:
        decode(json.loads(read_regular(path, limit=STATE_LIMIT_BYTES)[0]))
    except FileNotFoundError:
        yield Finding("state-file", OK, "state", words("check.no-state"), path)
    except KmiError as error:
        yield from_error(site.words, error, "state-file", "state", path)
    except OSError as error:
        yield _unreadable(site, "state-file", path, error)
    except SchemaError as error:
        yield _newer(site, "state-file", path, error.found, SCHEMA)
    except (ValueError, RecursionError) as error:
        what = words("check.state-damaged", why=words.sentence(_why(error)))
        yield _damaged("state-file", path, what, getattr(error, "lineno", None))
    else:
        what = words("check.state", schema=SCHEMA)
        yield Finding("state-file", OK, "state", what, path)


def decisions(site: Site) -> Iterator[Finding]:
    """Whether the record of allowed and denied `.kmi.toml` can be read."""
    from kmi.binding import SCHEMA, decode
    from kmi.files import read_regular
    from kmi.project import TRUST_FILE
    from kmi.state import SchemaError
    from kmi.store import STATE_LIMIT_BYTES

    path, words = site.store.path(TRUST_FILE), site.words
    try:
        trust = decode(read_regular(path, limit=STATE_LIMIT_BYTES)[0])
    except FileNotFoundError:
        return
    except KmiError as error:
        yield from_error(site.words, error, "decisions", "project", path)
    except OSError as error:
        yield _unreadable(site, "decisions", path, error, subject="project")
    except SchemaError as error:
        yield _newer(site, "decisions", path, error.found, SCHEMA, subject="project")
    except (ValueError, RecursionError) as error:
        what = words("check.decisions-damaged", why=words.sentence(_why(error)))
        line = getattr(error, "lineno", None)
        yield _damaged("decisions", path, what, line, subject="project")
    else:
        what = words("check.decisions", count=len(trust.records))
        yield Finding("decisions", OK, "project", what, path, detail=not trust.records)


def _why(error: Exception) -> str:
    """A parser's own words; a damaged file may hold anything, so not too many of them."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(getattr(error, "msg", error))[:120]


def _unreadable(
    site: Site, check: str, path: str, error: OSError, *, subject: str = "state"
) -> Finding:
    what = site.words("check.unreadable", why=error.strerror or str(error))
    cure = shell("ls", "-ld", os.path.dirname(path), path)
    return Finding(check, ERROR, subject, what, path, cure=cure)


def _newer(
    site: Site, check: str, path: str, found: int, known: int, *, subject: str = "state"
) -> Finding:
    what = site.words("check.newer", found=found, known=known)
    return Finding(check, ERROR, subject, what, path, cure=site.words("check.update"))


def _damaged(
    check: str, path: str, what: str, line: int | None, *, subject: str = "state"
) -> Finding:
    cure = "kmi doctor --fix"
    return Finding(check, ERROR, subject, what, path, line, cure, repair=ASIDE)


def bindings(site: Site) -> Iterator[Finding]:
    """The `.kmi.toml` that count or could count in the working directory."""
    from kmi.paths import bindings_above, working_directory
    from kmi.project import look

    paths = bindings_above(working_directory())
    if not paths:
        yield Finding("binding", OK, "project", site.words("check.no-binding"))
        return
    try:
        project = look(site.store, paths)
    except KmiError:
        return  # the decisions can't be read, which `decisions` tells
    if project.closed:
        from kmi.binding import how_to_go_on

        cure = site.words.sentence(how_to_go_on(project.closed_by))
        what = site.words.sentence(project.closed)
        yield Finding("binding", ERROR, "project", what, project.closed_by, cure=cure)
    for item in project.ignored:
        if item.state == "denied":
            continue
        what, cure = site.words.sentence(item.why), site.words.sentence(item.fix)
        yield Finding("binding", WARNING, "project", what, item.path, cure=cure)
        for problem in item.problems:
            yield from_problem(site.words, problem, "binding", "project")
    if project.binding is None:
        return
    labels = {key.label for key in site.keys}
    path, keys = project.binding.path, project.binding.keys
    missing = [label for label in keys if label not in labels]
    if missing:
        none = project.binding.strict and len(missing) == len(keys)
        what = site.words("check.binding-missing", labels=", ".join(missing))
        cure = site.words("check.binding-cure", label=missing[0])
        yield Finding("binding", ERROR if none else WARNING, "project", what, path, cure=cure)
    else:
        yield Finding("binding", OK, "project", f"{path}: {', '.join(keys)}", path)
