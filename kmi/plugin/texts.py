"""What `kmi plugin` puts into the clients' files, and takes out again: text in, text out (pure).

What was put in is remembered as a `Patch`, so that it can be taken back to the byte while it is
still there as it was written, whatever was changed around it. A client that rewrote the file whole
has changed that; then our parts are found by what they say.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.errors import ConfigError
from kmi.kimi_config import drop_items, parse_toml, same_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: The name of the plugin: its folder, and its entry in the client's list.
PLUGIN = "kmi"
#: The clients' events, the words of `kmi hook` for them, and how long a client waits, in seconds.
#: `kmi hook` takes a twentieth of one.
HOOKS = (
    ("SessionStart", "session-start", 5),
    ("SessionEnd", "session-end", 5),
    ("StopFailure", "stop-failure", 10),
)
_OURS = re.compile(r" hook (session-start|session-end|stop-failure) --client (kimi-cli|kimi-code)$")
#: The value of a command, in TOML.
_COMMAND = re.compile(r'(?<=command = ")([^"\n]*)(?=")')
_EMPTY_HOOKS = re.compile(r"(?m)^hooks[ \t]*=[ \t]*(\[[ \t]*\])")
_FIRST_HOOK = re.compile(r"(?m)^[ \t]*\[\[[ \t]*hooks[ \t]*\]\]")

Hook = dict[str, Any]


class Patch(NamedTuple):
    """A piece of text that was replaced by another one; either may be empty."""

    before: str
    after: str


def patch_of(old: str, new: str) -> Patch:
    """The piece in which two texts differ.

    >>> patch_of("a = 1", "a = 1, 2")
    Patch(before='', after=', 2')
    """
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    return Patch(old[start : len(old) - end], new[start : len(new) - end])


def undone(text: str, patch: Patch) -> str | None:
    """The text with a patch taken back; None when it is not there as it was written.

    The commands of hooks in it may start another kmi by now.
    """
    if not patch.after:
        return None
    if text.count(patch.after) == 1:
        return text.replace(patch.after, patch.before)
    parts = _COMMAND.split(patch.after)
    found = list(re.finditer(_COMMAND.pattern.join(map(re.escape, parts[::2])), text))
    if len(parts) == 1 or len(found) != 1 or not all(is_ours(c) for c in found[0].groups()):
        return None
    return text[: found[0].start()] + patch.before + text[found[0].end() :]


def is_ours(command: object) -> bool:
    """Whether a hook's command is one that kmi wrote, whichever kmi it starts."""
    return isinstance(command, str) and _OURS.search(command) is not None


def hooks_for(command: Callable[[str], str]) -> list[Hook]:
    """The hooks, each with the line that ``command`` makes of its word."""
    return [
        {"event": event, "command": command(word), "timeout": timeout}
        for event, word, timeout in HOOKS
    ]


# Kimi Code: a plugin folder, and an entry in `plugins/installed.json`.


def manifest(hooks: Sequence[Hook], version: str) -> str:
    """``kimi.plugin.json``."""
    about = "Rotation of API keys within a session, and which key paid for it (kmi)"
    table = {"name": PLUGIN, "version": version, "description": about, "hooks": list(hooks)}
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"


def manifest_hooks(text: str) -> list[Hook] | None:
    """The hooks of a manifest that kmi wrote; None when it is none."""
    table = _json(text)
    hooks = table.get("hooks") if isinstance(table, dict) and table.get("name") == PLUGIN else None
    if not isinstance(hooks, list) or not all(isinstance(hook, dict) for hook in hooks):
        return None
    return hooks if any(is_ours(hook.get("command")) for hook in hooks) else None


def find_entry(text: str | None) -> dict[str, Any] | None:
    """The plugin's entry in the list of plugins; None when there is none."""
    table = _json(text or "")
    plugins = table.get("plugins") if isinstance(table, dict) else None
    for entry in plugins if isinstance(plugins, list) else ():
        if isinstance(entry, dict) and entry.get("id") == PLUGIN:
            return entry
    return None


def with_entry(text: str | None, root: str, stamp: str, name: str) -> str:
    """The list of plugins with ours, as Kimi Code 2.1.0 would write it; as it is if that is there.

    Args:
        text: the list; None when there is none.
        root: the plugin's folder.
        stamp: when it is installed, in UTC.
        name: of the file, for errors.

    Raises:
        ConfigError: it is no list that this kmi knows.
    """
    known = find_entry(text)
    if text is not None and known and known.get("root") == root and known.get("enabled") is True:
        return text
    table = {"version": 1, "plugins": []} if text is None else _json(text)
    if (
        not isinstance(table, dict)
        or table.get("version") != 1
        or not isinstance(table.get("plugins"), list)
    ):
        raise ConfigError(
            f"{name} is no list of plugins that kmi knows",
            "start Kimi Code and look at /plugins; nothing was changed",
            code="unknown-plugins",
        )
    entry = {
        "id": PLUGIN,
        "root": root,
        "source": "local-path",
        "enabled": True,
        "installedAt": stamp,
        "updatedAt": stamp,
        "originalSource": root,
    }
    others = [item for item in table["plugins"] if known is None or item != known]
    return json.dumps({**table, "plugins": [*others, entry]}, indent=2, ensure_ascii=False)


def without_entry(text: str) -> str:
    """The list of plugins without ours; as it is when that is not there."""
    known = find_entry(text)
    if known is None:
        return text
    table = _json(text)
    plugins = [item for item in table["plugins"] if item != known]
    return json.dumps({**table, "plugins": plugins}, indent=2, ensure_ascii=False)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# Kimi Code: `[status_line]` in `tui.toml`.


def status_command(path: str) -> str:
    """What the footer shows: the file that every swap replaces; in a pinned run that run's key.

    The client ends it after 300 ms, so no Python may start in it.
    """
    quoted = "'" + path.replace("'", "'\\''") + "'"
    pinned = 'printf "kmi %s (pinned)\\n" "$KMI_ACTIVE_KEY"'
    return f'if [ -n "$KMI_CLIENT_HOME" ]; then {pinned}; else cat {quoted}; fi'


def status_of(text: str | None, name: str) -> str:
    """Whose status line a ``tui.toml`` has: "ours", "theirs" or "none".

    Raises:
        ConfigError: it is not valid TOML.
    """
    line = parse_toml(text or "", name).get("status_line")
    if line is None:
        return "none"
    command = line.get("command") if isinstance(line, dict) else None
    mine = isinstance(command, str) and "$KMI_ACTIVE_KEY" in command and "cat " in command
    return "ours" if mine else "theirs"


def with_status(text: str | None, path: str, name: str) -> str | None:
    """A ``tui.toml`` with our status line, where it has none; else as it is."""
    if status_of(text, name) != "none":
        return text
    block = f"[status_line]\ncommand = {_quoted(status_command(path))}\n"
    return _appended(text or "", block)


def without_status(text: str, name: str) -> str:
    """The same without ours, which goes with its table, if that holds nothing else."""
    if status_of(text, name) != "ours":
        return text
    data = parse_toml(text, name)
    wanted = {key: value for key, value in data.items() if key != "status_line"}
    rest = {key: value for key, value in data["status_line"].items() if key != "command"}
    if rest:
        wanted["status_line"] = rest
    lines = text.splitlines(keepends=True)
    tables = (i for i, line in enumerate(lines) if re.match(r"\s*\[\s*status_line\s*\]", line))
    at = next(tables, len(lines))
    found = (i for i in range(at, len(lines)) if re.match(r"\s*command\s*=", lines[i]))
    drop = {next(found, None)} | (set() if rest else {at})
    # Written in another form, nothing is found, and `_proved` refuses.
    made = "".join(line for i, line in enumerate(lines) if i not in drop)
    return _proved(made, wanted, name)


# kimi-cli: `[[hooks]]` in `config.toml`.


def find_hooks(data: Mapping[str, Any]) -> list[Hook]:
    """Our hooks in a config, by their commands."""
    hooks = data.get("hooks")
    listed = hooks if isinstance(hooks, list) else []
    return [hook for hook in listed if isinstance(hook, dict) and is_ours(hook.get("command"))]


def with_hooks(text: str, hooks: Sequence[Hook], name: str) -> str:
    """A config with our hooks behind, or before, those that it has.

    Raises:
        ConfigError: it is not valid TOML, or has its hooks in a form that kmi does not edit.
    """
    data = parse_toml(text, name)
    before = data.get("hooks")
    tables = "".join(
        f"[[hooks]]\nevent = {_quoted(h['event'])}\ncommand = {_quoted(h['command'])}\n"
        f"timeout = {h['timeout']}\n\n"
        for h in hooks
    )
    first = _FIRST_HOOK.search(text)
    if before is None:
        made, wanted = _appended(text, tables[:-1]), list(hooks)
    elif isinstance(before, list) and first is not None:
        # Tables of one array must stand together.
        made = text[: first.start()] + _ends(tables, text) + text[first.start() :]
        wanted = [*hooks, *before]
    elif before == []:
        made, wanted = _filled(text, hooks), list(hooks)
    else:
        raise ConfigError(
            f"{name}: hooks are not written as [[hooks]] tables",
            "write each of them as a [[hooks]] table of its own; nothing was changed",
            code="inline-hooks",
        )
    return _proved(made, {**data, "hooks": wanted}, name)


def _filled(text: str, hooks: Sequence[Hook]) -> str:
    """A config whose `hooks = []`, which kimi-cli writes, holds ours."""
    items = ", ".join(
        f"{{event = {_quoted(h['event'])}, command = {_quoted(h['command'])}, "
        f"timeout = {h['timeout']}}}"
        for h in hooks
    )
    found = _EMPTY_HOOKS.search(text)
    return text if found is None else f"{text[: found.start(1)]}[{items}]{text[found.end(1) :]}"


def without_hooks(text: str, name: str) -> str:
    """A config without our hooks; as it is when there are none.

    Raises:
        ConfigError: it is not valid TOML.
    """
    data = parse_toml(text, name)
    hooks = data.get("hooks")
    if not find_hooks(data) or not isinstance(hooks, list):
        return text
    gone = [i for i, hook in enumerate(hooks) if hook in find_hooks(data)]
    rest = [hook for i, hook in enumerate(hooks) if i not in gone]
    wanted = {key: value for key, value in data.items() if key != "hooks" or rest}
    if rest:
        wanted["hooks"] = rest
    return _proved(drop_items(text, "hooks", gone, name), wanted, name)


def _proved(text: str, wanted: Mapping[str, Any], name: str) -> str:
    """A text, if it says what it should and nothing else; no hooks at all are an empty list."""
    found = parse_toml(text, name)
    if not found.get("hooks") and "hooks" not in wanted:
        found.pop("hooks", None)
    if not same_data(found, dict(wanted)):
        raise ConfigError(
            f"{name} can't be edited safely; nothing was changed",
            "write its tables in the plain form, and report this file's layout",
            code="unsafe-edit",
        )
    return text


def _appended(text: str, block: str) -> str:
    """A text with a block behind an empty line at its end."""
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + _ends(gap + block, text)


def _ends(block: str, text: str) -> str:
    """A block with the line ends of a text."""
    return block.replace("\n", "\r\n") if "\r\n" in text else block


def _quoted(text: str) -> str:
    """A basic string of TOML, which is one of JSON but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
