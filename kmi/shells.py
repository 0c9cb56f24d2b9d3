"""The scripts for shells: quoting, rendering (pure), and where they are.

The scripts of `shell/` work as they stand; `render` changes their marked lines only. Nothing is
imported but ``os``: `kmi init` runs at the start of every shell.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = ("bash", "zsh", "fish", "pwsh")
SCRIPTS = {"bash": "kmi.bash", "zsh": "kmi.zsh", "fish": "kmi.fish", "pwsh": "kmi.ps1"}
COMPLETIONS = {"bash": "kmi.bash", "zsh": "_kmi", "fish": "kmi.fish", "pwsh": "kmi.ps1"}
#: What can be left out.
SECTIONS = ("wrap", "prompt", "completion")
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_OTHER = _FIRST | frozenset("0123456789-")
#: Words that are no names of functions in one of the shells, and kmi, which would call itself.
_TAKEN = frozenset(
    {
        "and", "begin", "break", "builtin", "case", "class", "command", "continue", "coproc", "do",
        "done", "elif", "else", "end", "esac", "eval", "exec", "exit", "fi", "filter", "for",
        "foreach", "function", "if", "in", "kmi", "nocorrect", "not", "or", "param", "process",
        "repeat", "return", "select", "set", "source", "switch", "test", "then", "time", "trap",
        "try", "until", "while",
    }
)  # fmt: skip


def quote(shell: str, word: str) -> str:
    r"""A word that the shell reads as exactly this text.

    >>> print(quote("bash", "it's"), quote("fish", "it's"), quote("pwsh", "it's"))
    'it'\''s' 'it\'s' 'it''s'
    """
    if shell == "fish":
        return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if shell == "pwsh":
        # PowerShell takes typographic quotes for plain ones.
        return "'" + "".join(c * 2 if c in "'‘’‚‛" else c for c in word) + "'"  # noqa: RUF001 - quotes of PowerShell
    return "'" + word.replace("'", "'\\''") + "'"


def valid_name(name: str) -> bool:
    """Whether every shell takes a word as the name of a function."""
    return (
        0 < len(name) <= 64 and name[0] in _FIRST and _OTHER.issuperset(name) and name not in _TAKEN
    )


def render(
    template: str,
    shell: str,
    *,
    command: Sequence[str],
    name: str = "kimi",
    state_dir: str = "",
    completion: str = "",
    without: Sequence[str] = (),
) -> str:
    """The script that a shell evaluates.

    Args:
        template: one of `shell/`.
        shell: how words are quoted.
        command: the program and arguments that start kmi.
        name: of the function that starts Kimi; see `valid_name`.
        state_dir: where kmi's own settings moved it; "" when they did not.
        completion: the completion script, to stand within this one.
        without: sections to leave out.

    Raises:
        ValueError: the template has a mark that means nothing.
    """
    start = " ".join(quote(shell, word) for word in command)
    lines = [f"# kmi for {shell}, written by `kmi init {shell}`; do not edit."]
    header, skipping = True, ""
    for line in template.split("\n"):
        if header and (line.startswith("#") or not line):
            continue
        header = False
        text, marked, mark = line.partition("#: ")
        if not marked:
            if not skipping:
                lines.append(line)
            continue
        text = text.rstrip()
        what, _, section = mark.partition(" ")
        if what == "begin":
            skipping = section if section in without else ""
        elif what == "end":
            skipping = ""
        elif skipping:
            continue
        elif what == "completion":
            lines.append(completion)
        elif what == "name":
            lines.append(text.replace(" kimi", f" {name}").replace(":kimi", f":{name}"))
        elif what == "kmi":
            lines.append(text.replace(" kmi run", f" {start} run", 1))
        elif what == "state":
            lines.append(text.replace("''", quote(shell, state_dir)))
        else:
            raise ValueError(f"unknown mark {mark!r}")
    return "\n".join(lines)


def places() -> tuple[str, str]:
    """Where the scripts can be: in the package (installed), or next to it (a checkout)."""
    package = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(package, "shell"), os.path.join(os.path.dirname(package), "shell")


def read_script(*names: str) -> str:
    """The text of a file of `shell/`.

    Raises:
        FileNotFoundError: it is in neither place; the message names both.
    """
    for place in places():
        try:
            with open(os.path.join(place, *names), encoding="utf-8") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise FileNotFoundError(f"{'/'.join(names)} is neither in {' nor in '.join(places())}")


def init_script(
    shell: str, command: Sequence[str], name: str, state_dir: str, without: Sequence[str]
) -> str:
    """What `kmi init` prints.

    Raises:
        FileNotFoundError: kmi is not installed whole.
    """
    completion = "" if "completion" in without else completion_script(shell)
    return render(
        read_script(SCRIPTS[shell]),
        shell,
        command=command,
        name=name,
        state_dir=state_dir,
        completion=completion,
        without=without,
    )


def completion_script(shell: str) -> str:
    """What `kmi completion` prints.

    Raises:
        FileNotFoundError: kmi is not installed whole.
    """
    return read_script("completions", COMPLETIONS[shell])


def own_command(argv0: str, executable: str) -> list[str]:
    """What starts this very kmi from any directory.

    Args:
        argv0: ``sys.argv[0]``.
        executable: the Python that runs.
    """
    path = os.path.abspath(argv0)
    if os.path.basename(path) == "__main__.py":
        path = os.path.dirname(path)
    if os.path.isdir(path):
        return [executable, path]
    if os.sep not in argv0 and not os.path.exists(path):
        return [argv0]
    return [path]


def shown(line: str, env_label: str) -> str:
    """What a prompt shows, from the line of the file and the key of the run around the shell.

    >>> shown("work !", ""), shown("work !", "home"), shown("a$(id)", "")
    ('work !', 'home', '')
    """
    label, _, mark = line.strip("\n").partition(" ")
    if env_label and env_label != label:
        label, mark = env_label, ""
    if not 0 < len(label) <= 64 or not all(
        c.isascii() and (c.isalnum() or c in "._@/-") for c in label
    ):
        return ""
    return f"{label} {mark}" if mark in ("!", "x") else label
