"""The small files that shells read with builtins: the line of the prompt, labels, bindings.

``prompt`` is one line: ``LABEL``, ``LABEL !`` (status warn) or ``LABEL x`` (it can't be used now).
``labels`` has one label a line; ``bindings`` an allowed `.kmi.toml` a line, as ``LABEL,LABEL DIR``.
All are replaced atomically, so that a hook or a TAB needs no lock and no process
(docs/decisions/0007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import KmiError
from kmi.files import read_regular
from kmi.health import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.app import App
    from kmi.binding import Record
    from kmi.model import ApiKey
    from kmi.state import Active, State

PROMPT, LABELS, BINDINGS = "prompt", "labels", "bindings"
#: Labels of 100,000 keys.
LIMIT_BYTES = 8 * 1024 * 1024
WARN, OUT = "!", "x"
_MARKS = {"warn": WARN, "exhausted": OUT, "blocked": OUT, "disabled": OUT}


def newest(state: State) -> Active | None:
    """The key that was swapped in last, whichever client it was for."""
    return max(state.active.values(), key=lambda active: active.since, default=None)


def prefer(state: State, client: str, now: float) -> None:
    """Make a client's key the newest one: the person named it, so shells and the proxy follow."""
    state.chosen_at = now
    active = state.active.get(client)
    latest = newest(state)
    if active is not None and latest is not None and latest.label != active.label:
        state.active[client] = active._replace(since=now)


def prompt_line(state: State, keys: Sequence[ApiKey] | None, now: float) -> str:
    """What a prompt shows, without the line's end (pure); "" for no key.

    Args:
        state: what kmi remembers.
        keys: those that exist; None when nobody looked.
        now: for holds and windows that end by themselves.
    """
    active = newest(state)
    if active is None:
        return ""
    known = state.key(active.key_id)
    if keys is None:
        mark = OUT if known.disabled or (known.hold and known.hold.active(now)) else ""
        return f"{active.label} {mark}".rstrip()
    key = next((key for key in keys if key.key_id == active.key_id), None)
    if key is None:
        return ""
    mark = _MARKS.get(status_of(key, known, now).name, "")
    return f"{key.label} {mark}".rstrip()


def write_prompt(app: App, state: State, keys: Sequence[ApiKey] | None) -> None:
    """Bring the prompt file up to date. A failure is told, and stops nothing."""
    _write(app, PROMPT, prompt_line(state, keys, app.now()))


def refresh_mark(app: App, state: State, keys: Sequence[ApiKey]) -> None:
    """Correct the mark behind the label, if the label is still the one that was looked at.

    For commands that only look: they hold no lock, so another key may be in by now.
    """
    line = prompt_line(state, keys, app.now())
    shown = _read(app, PROMPT)
    if line and shown is not None and shown.split()[:1] == line.split()[:1]:
        _write(app, PROMPT, line)


def write_labels(app: App, keys: Sequence[ApiKey]) -> None:
    """Bring the file of labels up to date. A failure is told, and stops nothing."""
    _write(app, LABELS, "\n".join(sorted(key.label for key in keys)))


def binding_lines(records: Mapping[str, Record]) -> str:
    """The allowed bindings, the innermost directories first (pure)."""
    lines = [
        f"{','.join(record.keys)} {path.rpartition('/')[0] or '/'}\n"
        for path, record in sorted(records.items(), key=lambda item: -len(item[0]))
        if record.decision == "allow" and record.keys and "\n" not in path
    ]
    return "".join(lines)


def _read(app: App, name: str) -> str | None:
    try:
        data, _ = read_regular(app.store.path(name), limit=LIMIT_BYTES)
        return data.decode("ascii", "replace")
    except (OSError, KmiError):
        return None


def _write(app: App, name: str, text: str) -> None:
    """Replace a file if it differs; nothing is not written where there is nothing yet."""
    import os

    content = text + "\n" if text else ""
    before = _read(app, name)
    if before == content or (before is None and not content):
        return
    if app.dry_run or not os.path.isdir(app.store.directory):
        return
    try:
        app.store.write(app.store.path(name), content.encode("ascii"), durable=False)
    except KmiError as error:
        why = f"{error.message}; shells show what it held before"
        app.screen.warn(app.words.sentence(why))
