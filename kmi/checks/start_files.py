"""Shell integration: the line in a start file, scripts that were kept in files, small files."""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmi import shells
from kmi.checks.finding import OK, SHELL_FILES, WARNING, Finding, shell
from kmi.checks.itself import on_path
from kmi.checks.kept_scripts import kept_command
from kmi.errors import KmiError
from kmi.paths import home
from kmi.shell_files import BINDINGS, LABELS, PROMPT, binding_lines, prompt_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site

#: The line for each start file (docs/how-to/shell.md).
LINES = {
    "bash": 'eval "$(kmi init bash)"',
    "zsh": 'eval "$(kmi init zsh)"',
    "fish": "kmi init fish | source",
}
_INIT = re.compile(
    r"(?:^|[\s(\"'`;&|])(?P<kmi>(?:[^\s(\"'`;&|]*/)?kmi)[\"']?\s+init\s+[\"']?(?P<shell>\w+)"
)
_SOURCE = re.compile(r"^\s*(?:\S.*?(?:&&|\|\||;|then)\s*)?(?:source|\.)\s+(?P<path>\"[^\"]+\"|\S+)")
#: The script is written to a file, which is no hook yet.
_INTO_FILE = re.compile(r"(?<![0-9&])>\|?\s*[^&\s]")
#: A start file that is larger is not looked through.
LIMIT_BYTES = 512 * 1024


class Hook(NamedTuple):
    """A line that sets kmi up: by ``kmi init``, or by a script that was kept in a file.

    Attributes:
        shell: for which shell; "" when the script is gone.
        command: what the line calls, as far as it is a program of its own.
        script: the file; "" for ``kmi init``.
    """

    path: str
    line: int
    shell: str
    command: str = ""
    script: str = ""


def start_files(site: Site) -> Iterator[Finding]:
    """The hook of the person's shell, and what is old about it."""
    name = os.path.basename(site.env.get("SHELL", ""))
    if name not in LINES:
        what = "check.shell-unknown" if name else "check.shell-unset"
        yield Finding("hook", OK, "shell", site.words(what, name=name))
        return
    paths = start_paths(site, name)
    hooks = [hook for path in paths for hook in hooks_in(site, path)]
    if not hooks:
        what = site.words("check.no-hook", name=name, path=paths[0], line=LINES[name])
        yield Finding("hook", OK, "shell", what, paths[0])
    for hook in hooks:
        trouble = list(_judged(site, name, hook))
        yield from trouble
        if not trouble:
            what = site.words("check.hook", name=name, path=hook.path)
            yield Finding("hook", OK, "shell", what, hook.path, hook.line)


def start_paths(site: Site, name: str) -> list[str]:
    """The start files of a shell, the usual one first."""
    top = home(site.env)
    if name == "bash":
        names = (".bashrc", ".bash_profile", ".bash_login", ".profile")
        return [os.path.join(top, item) for item in names]
    if name == "zsh":
        folder = site.env.get("ZDOTDIR") or top
        return [os.path.join(folder, item) for item in (".zshrc", ".zprofile", ".zshenv")]
    folder = os.path.join(site.env.get("XDG_CONFIG_HOME") or f"{top}/.config", "fish")
    more = sorted(glob.glob(os.path.join(glob.escape(folder), "conf.d", "*.fish")))
    return [os.path.join(folder, "config.fish"), *more]


def hooks_in(site: Site, path: str, *, deeper: bool = True) -> list[Hook]:
    """The hooks in a start file, and in the files that it sources."""
    found = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        match = _INIT.search(line)
        if match is not None and not _INTO_FILE.search(line, match.end()):
            module = line[: match.start("kmi")].rstrip().endswith("-m")
            command = "" if module else _expanded(site, match["kmi"])
            found.append(Hook(path, number, match["shell"], command=command))
            continue
        match = _SOURCE.match(line)
        if match is None or not deeper:
            continue
        other = _expanded(site, match["path"])
        header = re.match(r"# kmi for (\w+), written by", _text(other)[:80])
        if header is not None:
            found.append(Hook(path, number, header[1], script=other))
        elif os.path.isabs(other) and not os.path.exists(other):
            if re.search(r"(?<![a-z])kmi(?![a-z])", other):
                found.append(Hook(path, number, "", script=other))
        else:
            found += hooks_in(site, other, deeper=False)
    return found


def _judged(site: Site, name: str, hook: Hook) -> Iterator[Finding]:
    words = site.words

    def warning(what: str, cure: str) -> Finding:
        return Finding("hook", WARNING, "shell", what, hook.path, hook.line, cure)

    if hook.shell and hook.shell != name:
        what = words("check.hook-other", named=hook.shell, name=name)
        yield warning(what, words("check.write-line", line=LINES[name]))
        return
    if not hook.script:
        there = os.path.exists(hook.command) if os.sep in hook.command else on_path(site)
        if hook.command and not there and "$" not in hook.command:
            what = words("check.hook-no-kmi", command=hook.command)
            yield warning(what, words("check.hook-no-kmi-cure"))
        lines = _text(hook.path).split("\n")
        if name == "bash" and any("starship init" in line for line in lines[: hook.line - 1]):
            yield warning(words("check.starship"), words("check.starship-cure"))
        return
    cure = f"kmi init {name} > {shell(hook.script)}"
    if not os.path.exists(hook.script):
        yield warning(words("check.gone", path=hook.script), cure)
        return
    command = kept_command(name, _text(hook.script))
    if command is None:
        yield warning(words("check.script-old", path=hook.script), cure)
    elif os.path.isabs(command[0]) and not os.path.exists(command[0]):
        yield warning(words("check.script-no-kmi", path=hook.script, kmi=command[0]), cure)


def completions(site: Site) -> Iterator[Finding]:
    """Completion scripts that the person put where a shell finds them."""
    top = home(site.env)
    data = site.env.get("XDG_DATA_HOME") or f"{top}/.local/share"
    config = site.env.get("XDG_CONFIG_HOME") or f"{top}/.config"
    places = {
        f"{data}/bash-completion/completions/kmi": "bash",
        f"{config}/fish/completions/kmi.fish": "fish",
        f"{top}/.zfunc/_kmi": "zsh",
        f"{top}/.zsh/completions/_kmi": "zsh",
    }
    for path, name in places.items():
        text = _text(path)
        if text and text.rstrip("\n") != shells.completion_script(name).rstrip("\n"):
            cure = f"kmi completion {name} > {shell(path)}"
            what = site.words("check.completion-old")
            yield Finding("completion", WARNING, "shell", what, path, cure=cure)
        elif text:
            yield Finding("completion", OK, "shell", path, path, detail=True)


def small_files(site: Site) -> Iterator[Finding]:
    """What prompts and TAB read, against what is known."""
    if isinstance(site.ring, KmiError) or not site.state_is_read:
        return  # other checks tell that
    if not os.path.isdir(site.settings.state_dir):
        return
    from kmi.project import load

    wanted = {LABELS: "".join(f"{label}\n" for label in sorted(key.label for key in site.keys))}
    with suppress(KmiError, ValueError):  # `decisions` tells that
        wanted[BINDINGS] = binding_lines(load(site.store).records)
    wanted[PROMPT] = prompt_line(site.state, site.keys, site.now)
    # Before kmi's first change there is nothing to show, and nothing is missing.
    begun = os.path.exists(site.store.state_file)
    stale = [name for name, text in wanted.items() if _differs(site, name, text, begun=begun)]
    if stale:
        what, cure = site.words("check.small-files", names=", ".join(stale)), "kmi doctor --fix"
        place = site.settings.state_dir
        yield Finding("shell-files", WARNING, "shell", what, place, None, cure, SHELL_FILES)
    else:
        what = site.words("check.small-files-fine")
        yield Finding("shell-files", OK, "shell", what, detail=True)


def _differs(site: Site, name: str, text: str, *, begun: bool) -> bool:
    path = site.store.path(name)
    if not begun and not os.path.exists(path):
        return False
    there = _text(path)
    # The mark behind the label is from the last command, and may be old by its nature.
    return there.split()[:1] != text.split()[:1] if name == PROMPT else there != text


def _expanded(site: Site, word: str) -> str:
    """A path as a start file spells it, with the home directory in any of its forms."""
    top = home(site.env)
    word = word.strip("\"'")
    for form in ("${HOME}", "$HOME", "~"):
        if word.startswith(form + "/"):
            return top + word[len(form) :]
    return word


def _text(path: str) -> str:
    """A file's text; "" when there is none, or it is not one to be read."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > LIMIT_BYTES:
            return ""
        with open(path, "rb") as file:
            return file.read(LIMIT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
