"""The small files that shells read with builtins: the line of the prompt, labels, bindings.

``prompt`` is one line: ``LABEL``, ``LABEL !`` (status warn) or ``LABEL x`` (it can't be used now).
``status-line`` is what Kimi Code shows in its footer (`kmi.plugin.status_line`), in UTF-8.
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
#: What Kimi Code's footer shows; there is none before `kmi plugin install`.
STATUS_LINE = "status-line"
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
    label = ascii(active.label)[1:-1]  # a state that was edited by hand drives no terminal
    if keys is None:
        mark = OUT if known.disabled or (known.hold and known.hold.active(now)) else ""
        return f"{label} {mark}".rstrip()
    key = next((key for key in keys if key.key_id == active.key_id), None)
    if key is None:
        return ""
    mark = _MARKS.get(status_of(key, known, now).name, "")
    return f"{key.label} {mark}".rstrip()


def write_prompt(app: App, state: State, keys: Sequence[ApiKey] | None) -> None:
    """Bring the prompt file up to date. A failure is told, and stops nothing."""
    _write(app, PROMPT, prompt_line(state, keys, app.now()))
    write_status_line(app, state, keys)


def write_status_line(
    app: App, state: State, keys: Sequence[ApiKey] | None, *, create: bool = False
) -> None:
    """Bring the line of Kimi Code's footer up to date, if `kmi plugin` has made it; or make it."""
    import os

    if not create and not os.path.lexists(app.store.path(STATUS_LINE)):
        return
    from kmi.plugin.status_line import status_line
    from kmi.timezones import find_timezone
    from kmi.wording import Words

    active = state.active.get("kimi-code") or newest(state)
    policy = None if keys is None else app.policy()
    zone = find_timezone(app.settings.timezone)
    words = Words(app.settings.locale)
    line = status_line(words, state, active, keys, policy, now=app.now(), zone=zone)
    _write(app, STATUS_LINE, line)


def drop_status_line(app: App) -> None:
    """Nothing reads it any more."""
    import os
    from contextlib import suppress

    with suppress(OSError):
        os.unlink(app.store.path(STATUS_LINE))


def refresh_mark(app: App, state: State, keys: Sequence[ApiKey]) -> None:
    """Correct the mark behind the label, if the label is still the one that was looked at.

    For commands that only look: they hold no lock, so another key may be in by now.
    """
    line = prompt_line(state, keys, app.now())
    shown = _read(app, PROMPT)
    if line and shown is not None and shown.split()[:1] == line.split()[:1]:
        _write(app, PROMPT, line)
        write_status_line(app, state, keys)


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
        return data.decode("utf-8", "replace")
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
        app.store.write(app.store.path(name), content.encode(), durable=False)
    except KmiError as error:
        why = f"{error.message}; shells show what it held before"
        app.screen.warn(app.words.sentence(why))
