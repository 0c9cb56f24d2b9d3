"""The man page `kmi.1`, from the parsers and the tables (`make docs` writes it)."""

from __future__ import annotations

from docs.command_tree import GLOBAL_OPTIONS, Node, tree
from kmi import __version__
from kmi.errors import EXIT_CODES
from kmi.layout import OWNED
from kmi.settings import RUNTIME_NAMES, SHELL_NAMES, TABLE

INTRO = """\
.B kmi
keeps several Kimi API keys, and makes every run of a Kimi client start on a key that works.
It picks a key, puts it into the client's
.I config.toml
under a lock, and becomes the client.
Keys are files in
.IR ~/.kmi/_auths ,
one each; `kmi keys add' writes them.
.PP
The global options stand before or after the command's name.
`kmi run' takes options before the program; what follows belongs to the program.
"""
FILES = (
    ("~/.kmi/_auths/", "the keys; KMI_AUTHS_DIR names another directory"),
    ("~/.kmi/.env", "settings; the environment goes before them"),
    *((f"~/.kmi/{item.name}", item.about) for item in OWNED),
    ("~/.kimi/config.toml", "the config of kimi-cli; KIMI_SHARE_DIR moves it"),
    ("~/.kimi-code/config.toml", "the config of Kimi Code; KIMI_CODE_HOME moves it"),
)


def manpage() -> str:
    """The page, in the macros of man(7)."""
    lines = [
        '.\\" Written by `make docs` from the code; do not edit.',
        f'.TH KMI 1 "" "kmi {__version__}" "User Commands"',
        ".SH NAME",
        "kmi \\- start Kimi on an API key that works",
        ".SH SYNOPSIS",
        ".SY kmi",
        "run",
        ".RB [ \\-k",
        ".IR LABEL ]",
        ".RB [ \\-\\- ]",
        ".I PROGRAM",
        ".RI [ ARGUMENTS ...]",
        ".YS",
        ".SY kmi",
        ".I COMMAND",
        ".RI [ OPTIONS ]",
        ".YS",
        ".SH DESCRIPTION",
        INTRO.rstrip(),
        ".SH COMMANDS",
    ]
    nodes = tree()
    for node in nodes.values():
        if node.path:
            lines += _command(node)
    lines.append(".SH GLOBAL OPTIONS")
    for name, about in GLOBAL_OPTIONS:
        lines += [".TP", f".B {_text(name)}", _text(about)]
    lines.append(".SH EXIT STATUS")
    lines.append("`kmi run' ends with the program's own status, unless it could not start it.")
    for code, about in EXIT_CODES.items():
        lines += [".TP", f".B {code}", _text(about)]
    lines.append(".SH ENVIRONMENT")
    for row in TABLE:
        lines += [".TP", f".B {row.name}", _text(row.doc)]
    for name, about in {**RUNTIME_NAMES, **SHELL_NAMES}.items():
        lines += [".TP", f".B {name}", _text(about)]
    lines.append(".SH FILES")
    for path, about in FILES:
        lines += [".TP", f".I {_text(path)}", _text(about)]
    lines += [".SH SEE ALSO", ".BR env (1),", ".BR direnv (1)"]
    return "\n".join(lines) + "\n"


def _command(node: Node) -> list[str]:
    usage = " ".join(["kmi", node.path])
    lines = [f".SS {_text(usage)}", _text(node.help[:1].upper() + node.help[1:]) + "."]
    for option in node.options:
        if option.names[0] in {name for name, _ in GLOBAL_OPTIONS}:
            continue
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.names)
        value = f" \\fI{_text(option.value)}\\fR" if option.value else ""
        lines += [".TP", names + value, _text(option.help)]
    return lines


def _text(text: str) -> str:
    """Text that roff shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    text = text.replace("~", "\\(ti").replace("^", "\\(ha")
    return "\\&" + text if text.startswith((".", "'")) else text
