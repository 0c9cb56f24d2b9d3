"""Completion scripts, and the table of argcomplete, from the parsers (`make docs` writes them)."""

from __future__ import annotations

import pprint
from pathlib import Path
from typing import TYPE_CHECKING

from docs.command_tree import GLOBAL_OPTIONS, Node, Option, tree
from kmi.shells import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

TEMPLATES = Path(__file__).parent / "templates"
_GLOBAL = {name for name, _ in GLOBAL_OPTIONS}
#: What zsh says is to be completed, and with which function.
_ZSH_KINDS = {
    "LABEL": "key:_kmi_labels",
    "BACKUP": "backup:_kmi_backups",
    "FILE": "file:_files",
}


def _template(name: str, **parts: str) -> str:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(f"@{mark}@", part)
    return text


def bash() -> str:
    """For bash, 3.2 or newer."""
    rows = []
    for node in tree().values():
        options = " ".join(
            f"{name}={option.kind}" if option.kind else name
            for option in _own(node)
            for name in option.names
        )
        lines = [f"  {quote('bash', node.path)})"]
        if options:
            lines.append(f"    __kmi_options={quote('bash', options)}")
        if node.children:
            lines.append(f"    __kmi_children={quote('bash', ' '.join(node.children))}")
        if node.words:
            lines.append(f"    __kmi_arguments={quote('bash', ' '.join(node.words))}")
        if len(lines) > 1:
            rows.append("\n".join([*lines, "    ;;"]))
    common = quote("bash", " ".join(name for name, _ in GLOBAL_OPTIONS))
    return _template("completion.bash", TABLE="\n".join(rows), GLOBAL=common)


def fish() -> str:
    """For fish, 3.1 or newer."""
    rows = []
    for node in tree().values():
        lines = _fish_options(_own(node))
        lines += [f"child\t{name}\t{about}" for name, about in node.children.items()]
        lines += [f"word\t{kind}" for kind in node.words]
        if lines:
            # As fish_indent has it: no quotes where none are needed.
            plain = node.path.replace("-", "").isalpha()
            rows.append(f"        case {node.path if plain else quote('fish', node.path)}")
            rows.append("            " + _fish_print(lines, "                "))
    common = [f"{name}\t{about}" for name, about in GLOBAL_OPTIONS]
    shown = "        " + _fish_print(common, "            ")
    return _template("completion.fish", TABLE="\n".join(rows), GLOBAL=shown)


def _fish_options(options: Iterable[Option]) -> list[str]:
    return [f"option\t{o.kind}\t{name}\t{o.help}" for o in options for name in o.names]


def _fish_print(lines: list[str], indent: str) -> str:
    """One call for all lines: each costs some microseconds."""
    words = [
        "\\t".join(quote("fish", part) if part else "" for part in line.split("\t"))
        for line in lines
    ]
    return f" \\\n{indent}".join(["printf '%s\\n'", *words])


def _own(node: Node) -> list[Option]:
    """The options that not every command has."""
    return [option for option in node.options if option.names[0] not in _GLOBAL]


def pwsh() -> str:
    """For PowerShell 7."""

    def items(rows: Iterable[tuple[str, str, str]]) -> str:
        return ", ".join(
            "@(" + ", ".join(quote("pwsh", cell) for cell in row) + ")" for row in rows
        )

    rows = []
    for node in tree().values():
        options = [(name, o.kind, o.help) for o in _own(node) for name in o.names]
        children = [(name, "", about) for name, about in node.children.items()]
        words = ", ".join(quote("pwsh", kind) for kind in node.words)
        rows.append(
            f"        {quote('pwsh', node.path)} = @{{\n"
            f"            options = @({_unary(items(options), len(options))})\n"
            f"            children = @({_unary(items(children), len(children))})\n"
            f"            words = @({words})\n"
            "        }"
        )
    common = items((name, "", about) for name, about in GLOBAL_OPTIONS)
    return _template("completion.ps1", TABLE="\n".join(rows), GLOBAL=common)


def _unary(text: str, count: int) -> str:
    """PowerShell takes an array of one array for the inner one, without a comma before it."""
    return f",{text}" if count == 1 else text


def zsh() -> str:
    """For zsh, 5.1 or newer; also to be autoloaded from ``fpath``."""
    nodes = tree()
    top = nodes[""]
    rows = [
        "  _arguments -C $global "
        + " ".join(_zsh_options(_own(top)))
        + " \\\n    '1: :->command' '*:: :->words' && ret=0",
        "  case $state in",
        "  command)",
        *_zsh_describe(top, "kmi command", "    "),
        "    ;;",
        "  words)",
        "    case $words[1] in",
    ]
    for name in top.children:
        rows.append(f"    {name})")
        if name == "kimi":
            rows.append("      _normal && ret=0")
        elif name == "run":
            specs = " ".join(_zsh_options([*_own(nodes[name]), Option(("--help",), "show help")]))
            rows += _zsh_run(nodes[name])
            rows.append(f"        _arguments -A '-*' {specs} \\")
            rows.append("          '(-):program:_command_names -e' && ret=0")
            rows.append("      fi")
        elif nodes[name].children:
            rows += _zsh_actions(nodes, nodes[name])
        else:
            rows.append(f"      {_zsh_arguments(nodes[name])} && ret=0")
        rows.append("      ;;")
    rows += ["    esac", "    ;;", "  esac"]
    common = _zsh_options(Option((name,), about) for name, about in GLOBAL_OPTIONS)
    body = "\n".join(rows)
    return _template("completion.zsh", GLOBAL="\n".join(f"    {o}" for o in common), BODY=body)


def _zsh_run(node: Node) -> list[str]:
    """Find where the program of `kmi run` begins; from there on its own completion works."""
    valued = "|".join(name for option in node.options if option.kind for name in option.names)
    return [
        "      \\builtin local -i place=2",
        "      \\builtin local ended=''",
        "      while (( place < CURRENT )) && [[ -z $ended ]]; do",
        "        case $words[place] in",
        "        --) ended=1 ;;",
        f"        {valued}) (( ++place )) ;;",
        "        -*) ;;",
        "        *) break ;;",
        "        esac",
        "        (( ++place ))",
        "      done",
        "      if (( place < CURRENT )); then",
        '        words=("${(@)words[place,-1]}")',
        "        (( CURRENT -= place - 1 ))",
        "        _normal && ret=0",
        "      elif [[ -n $ended ]]; then",
        "        _wanted commands expl program _command_names -e && ret=0",
        "      else",
    ]


def _zsh_actions(nodes: dict[str, Node], node: Node) -> list[str]:
    rows = [
        "      _arguments -C $global "
        + " ".join([*_zsh_options(_own(node)), ""])
        + "'1: :->action' '*:: :->action_words' && ret=0",
        "      case $state in",
        "      action)",
        *_zsh_describe(node, f"action of kmi {node.path}", "        "),
        "        ;;",
        "      action_words)",
        "        case $words[1] in",
    ]
    for name in node.children:
        rows.append(f"        {name}) {_zsh_arguments(nodes[f'{node.path} {name}'])} && ret=0 ;;")
    return [*rows, "        esac", "        ;;", "      esac"]


def _zsh_describe(node: Node, what: str, indent: str) -> list[str]:
    rows = [f"{indent}actions=("]
    for name, about in node.children.items():
        described = name + ":" + about.replace("\\", "\\\\").replace(":", "\\:")
        rows.append(f"{indent}  {quote('zsh', described)}")
    return [
        *rows,
        f"{indent})",
        f"{indent}_describe -t commands {quote('zsh', what)} actions && ret=0",
    ]


def _zsh_arguments(node: Node) -> str:
    words = ["_arguments -S $global"]
    words += _zsh_options(_own(node))
    for kind in node.words:
        spec = ("*:" if kind.endswith("+") else ":") + _zsh_kind(kind.rstrip("+"))
        words.append(quote("zsh", spec))
    return " ".join(words)


def _zsh_options(options: Iterable[Option]) -> list[str]:
    specs = []
    for option in options:
        about = option.help.replace("\\", "\\\\")
        for char in "[]:":
            about = about.replace(char, f"\\{char}")
        others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
        for name in option.names:
            equals = "=" if option.kind and name.startswith("--") else ""
            value = f":{_zsh_kind(option.kind)}" if option.kind else ""
            specs.append(quote("zsh", f"{others}{name}{equals}[{about}]{value}"))
    return specs


def _zsh_kind(kind: str) -> str:
    if kind in _ZSH_KINDS:
        return _ZSH_KINDS[kind]
    if kind == "FREE":
        return "value: "
    return f"choice:({kind.replace('|', ' ')})"


def table() -> str:
    """The module that the parser for argcomplete is made from."""
    rows = {
        node.path: (
            tuple((option.names, option.kind, option.help) for option in node.options),
            node.words,
            node.children,
        )
        for node in tree().values()
    }
    text = pprint.pformat(rows, width=96, sort_dicts=False)
    return (
        '"""What `kmi.argcompleting` completes. Written by `make docs`; do not edit."""\n\n'
        "# fmt: off\n"
        "#: By path: options as (names, kind, help), kinds of the arguments, actions with help.\n"
        "TABLE: dict[\n"
        "    str,\n"
        "    tuple[\n"
        "        tuple[tuple[tuple[str, ...], str, str], ...], tuple[str, ...], dict[str, str]\n"
        "    ],\n"
        f"] = {text}\n"
    )


FILES = {
    "shell/completions/kmi.bash": bash,
    "shell/completions/_kmi": zsh,
    "shell/completions/kmi.fish": fish,
    "shell/completions/kmi.ps1": pwsh,
    "kmi/completion_table.py": table,
}
