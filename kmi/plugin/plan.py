"""The hooks and the status line in a client's own files: what is there, and what would change.

What kmi wrote is remembered in ``plugin.json``, so that it can be taken back to the byte, or only
our parts of it where a client or a person has changed the rest since.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi import __version__
from kmi.client_args import CLI
from kmi.errors import ConfigError
from kmi.kimi_config import parse_toml
from kmi.paths import client_home
from kmi.plugin.files import CONFIG, ENTRY, MANIFEST, STATUS, Change, File, read
from kmi.plugin.record import kept
from kmi.plugin.texts import (
    HOOKS,
    PLUGIN,
    Patch,
    find_entry,
    find_hooks,
    hooks_for,
    is_ours,
    manifest,
    manifest_hooks,
    patch_of,
    status_command,
    status_of,
    undone,
    with_entry,
    with_hooks,
    with_status,
    without_entry,
    without_hooks,
    without_status,
)
from kmi.shell_files import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Place(NamedTuple):
    """Where the parts belong.

    Attributes:
        home: the client's real home.
        state_dir: kmi's own.
        command: the program and arguments that start kmi.
    """

    client: str
    home: str
    state_dir: str
    command: tuple[str, ...]

    @property
    def root(self) -> str:
        """The plugin's folder."""
        return os.path.join(self.home, "plugins", "managed", PLUGIN)

    @property
    def line_path(self) -> str:
        """The file that the status line shows."""
        return os.path.join(self.state_dir, STATUS_LINE)

    @property
    def paths(self) -> dict[str, str]:
        """The files by their kinds, in the order in which they are written."""
        if self.client == CLI:
            return {CONFIG: os.path.join(self.home, "config.toml")}
        return {
            MANIFEST: os.path.join(self.root, "kimi.plugin.json"),
            ENTRY: os.path.join(self.home, "plugins", "installed.json"),
            STATUS: os.path.join(self.home, "tui.toml"),
        }

    def hook_line(self, word: str) -> str:
        """The command of a hook."""
        words = [*self.command, "hook", word, "--client", self.client]
        if os.name == "nt":
            from subprocess import list2cmdline

            return list2cmdline(words)
        return shlex.join(words)


def place_of(client: str, env: Mapping[str, str], state_dir: str, command: Sequence[str]) -> Place:
    """Where the parts for a client belong.

    Raises:
        ConfigError: the client's home can't be told.
    """
    return Place(client, client_home(client, env), state_dir, tuple(command))


# What is there.


class Found(NamedTuple):
    """What a client's files hold of ours.

    Attributes:
        parts: the kinds of files that hold something of ours.
        missing: what should be there and is not, in a word each; empty when nothing is installed.
        commands: the lines of our hooks.
        status_line: "ours", "theirs" or "none"; "" for kimi-cli, which has none.
    """

    parts: tuple[str, ...]
    missing: tuple[str, ...]
    commands: tuple[str, ...]
    status_line: str

    @property
    def installed(self) -> bool:
        """Whether the client calls kmi's hooks."""
        return CONFIG in self.parts or {MANIFEST, ENTRY} <= set(self.parts)


def inspect(place: Place) -> Found:
    """Look at the files themselves, not at what is remembered.

    Raises:
        KmiError: one of them can't be read.
    """
    files = {kind: read(kind, path).text for kind, path in place.paths.items()}
    if place.client == CLI:
        return _inspect_cli(place, files[CONFIG] or "")
    hooks = manifest_hooks(files[MANIFEST] or "")
    entry = find_entry(files[ENTRY])
    line = status_of(files[STATUS], place.paths[STATUS])
    parts = [MANIFEST] if hooks is not None else []
    parts += [ENTRY] if entry is not None else []
    parts += [STATUS] if line == "ours" else []
    lines = [str(hook.get("command")) for hook in hooks or () if is_ours(hook.get("command"))]
    missing = [] if hooks is not None else ["plugin"]
    if entry is None or entry.get("root") != place.root:
        missing.append("entry")
    elif entry.get("enabled") is not True:
        missing.append("disabled")
    missing += _events_missing(hooks or [])
    return Found(tuple(parts), tuple(missing) if parts else (), tuple(lines), line)


def _inspect_cli(place: Place, text: str) -> Found:
    hooks = find_hooks(parse_toml(text, place.paths[CONFIG]))
    missing = _events_missing(hooks) if hooks else []
    lines = tuple(str(hook["command"]) for hook in hooks)
    return Found((CONFIG,) if hooks else (), tuple(missing), lines, "")


def _events_missing(hooks: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {hook.get("event") for hook in hooks}
    return [event for event, _, _ in HOOKS if hooks and event not in there]


def program_of(command: str) -> list[str]:
    """The words of a hook's command that start kmi."""
    try:
        return shlex.split(command.rpartition(" hook ")[0])
    except ValueError:
        return []


def gone(words: Sequence[str]) -> str:
    """The file that a command needs and that is not there any more; "" when all are."""
    return next((word for word in words if os.path.isabs(word) and not os.path.exists(word)), "")


# What would change.


def to_install(place: Place, record: Mapping[str, Any], stamp: str) -> list[Change]:
    """What an installation writes; our parts of an earlier one are replaced.

    Raises:
        KmiError: a file can't be read, or can't be edited.
    """
    made = []
    for kind, path in place.paths.items():
        file = read(kind, path)
        if kind == CONFIG and file.text is None:
            raise ConfigError(
                f"{place.client} has no config yet ({path})",
                "start it once with `kmi run`, or swap a key in with `kmi use LABEL`",
                code="no-config",
            )
        known = kept(record, file.path)
        base = taken_out(file, known)
        after = _with_ours(place, kind, base, stamp)
        if file.text is not None and _is_current(place, kind, file.text):
            after = file.text  # also when a client has written it in another form
        if after == file.text:
            patch = Patch("", "") if known is None else known[1]
        else:
            patch = patch_of(base or "", after or "")
        made.append(Change(file, after, patch))
    return made


def _is_current(place: Place, kind: str, text: str) -> bool:
    """Whether a file says already what it should."""
    path = place.paths[kind]
    if kind == ENTRY:
        return with_entry(text, place.root, "", path) == text
    if kind == STATUS:
        line = parse_toml(text, path).get("status_line")
        return isinstance(line, dict) and line.get("command") == status_command(place.line_path)
    if kind == MANIFEST:
        return False
    found = find_hooks(parse_toml(text, path))
    plain = [{name: said for name, said in hook.items() if said != ""} for hook in found]
    return plain == hooks_for(place.hook_line)


def _with_ours(place: Place, kind: str, base: str | None, stamp: str) -> str | None:
    path = place.paths[kind]
    hooks = hooks_for(place.hook_line)
    if kind == MANIFEST:
        return manifest(hooks, __version__)
    if kind == ENTRY:
        return with_entry(base, place.root, stamp, path)
    if kind == STATUS:
        return with_status(base, place.line_path, path)
    return with_hooks(base or "", hooks, path)


def to_uninstall(place: Place, record: Mapping[str, Any]) -> list[Change]:
    """What taking it out writes: what is ours goes, and everything else stays.

    Raises:
        KmiError: a file can't be read, or can't be edited.
    """
    files = [read(kind, path) for kind, path in reversed(list(place.paths.items()))]
    return [Change(file, taken_out(file, kept(record, file.path))) for file in files]


def taken_out(file: File, known: tuple[bool, Patch] | None) -> str | None:
    """The text without our parts; None when the file is to go.

    Args:
        file: as it is now.
        known: whether kmi made the file, and what it put in; None when that is not known.
    """
    if file.text is None:
        return None
    created, patch = known or (False, Patch("", ""))
    if created and file.text == patch.after:
        return None
    exact = undone(file.text, patch)
    if exact is not None:
        return exact
    if file.kind == MANIFEST:
        return None if manifest_hooks(file.text) is not None else file.text
    how: dict[str, Callable[[str], str]] = {
        ENTRY: without_entry,
        STATUS: lambda text: without_status(text, file.path),
        CONFIG: lambda text: without_hooks(text, file.path),
    }
    return how[file.kind](file.text)
