"""Write the files that come from the code: `python -m docs.generate`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from docs import architecture, completions, packages, plugins
from docs.manpage import manpage
from kmi.cli import COMMANDS, build_parser
from kmi.commands.config import shown_value
from kmi.errors import EXIT_CODES
from kmi.layout import OWNED, STATE_FIELDS, STATE_KEY_FIELDS
from kmi.records import COMMON, EVENTS
from kmi.settings import RUNTIME_NAMES, SHELL_NAMES, TABLE
from kmi.verdict_table import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
NOTE = "<!-- Written by `make docs` from the code; do not edit. -->\n\n"


def settings() -> str:
    """The table of settings."""
    computed = {
        "KMI_AUTHS_DIR": "`_auths` of the checkout that kmi runs from, else `~/.kmi/_auths`",
        "KMI_STATE_DIR": "`~/.kmi`",
        "KMI_ENV_PATH": "`.env` of that checkout, else `~/.kmi/.env`",
        "KMI_PROXY_TOKEN": "generated",
        "KMI_AUDIT_ACTOR": "login name",
    }
    lines = [
        "# Settings\n\n",
        NOTE,
        "Read from the environment, else from the env file (`KMI_ENV_PATH`). "
        "`kmi config show` tells the value and the origin of each.\n\n",
        "| setting | default | meaning |\n| --- | --- | --- |\n",
    ]
    for row in TABLE:
        shown = shown_value(row.default)
        default = computed.get(row.name) or (f"`{shown}`" if shown else "empty")
        lines.append(f"| `{row.name}` | {default} | {row.doc} |\n")
    lines.append(
        "\n## Set by kmi for the programs it starts\n\n| name | meaning |\n| --- | --- |\n"
    )
    lines += [f"| `{name}` | {about} |\n" for name, about in RUNTIME_NAMES.items()]
    lines.append("\n## Of the shells (`kmi init`)\n\n| name | meaning |\n| --- | --- |\n")
    lines += [f"| `{name}` | {about} |\n" for name, about in SHELL_NAMES.items()]
    lines.append(
        "\n`NO_COLOR`, `FORCE_COLOR` and `TERM=dumb` are respected as usual. Flags are: `1`, `0`, "
        "`true`, `false`, `yes`, `no`, `on`, `off`.\n"
    )
    return "".join(lines)


def upstream() -> str:
    """What is known of the services, with the classification table."""
    lines = [
        "| row | status | the message or the type has | verdict | held | scope |\n",
        "| --- | --- | --- | --- | --- | --- |\n",
    ]
    for rule in RULES:
        words = ", ".join(f"`{w}`" for w in dict.fromkeys((*rule.needles, *rule.types))) or "any"
        if rule.oauth:
            words = "any, when a login token was sent"
        statuses = ", ".join(map(str, rule.statuses)) or "any error"
        if len(rule.statuses) > 6:
            statuses = f"{rule.statuses[0]} to {rule.statuses[-1]}"
        kind = rule.kind
        held = "no" if kind.hold == "none" else kind.hold
        if kind.hold == "seconds":
            held = f"{kind.seconds:.0f} s, growing"
        row = rule.row or "-"
        cells = (row, statuses, words, f"`{kind.name}`", held, kind.scope)
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    template = (HERE / "templates" / "upstream.md").read_text(encoding="utf-8")
    return NOTE + template.replace("{{rules}}\n", "".join(lines))


def exit_codes() -> str:
    """The table of exit codes."""
    rows = [f"| {code} | {about} |\n" for code, about in EXIT_CODES.items()]
    return "".join(
        [
            "# Exit codes\n\n",
            NOTE,
            "`kmi run` ends with 125, 126 or 127 when it could not start the program, and else "
            "with the program's own code, for it becomes the program.\n\n",
            "| code | meaning |\n| --- | --- |\n",
            *rows,
        ]
    )


def records() -> str:
    """The events of the record files."""
    files: dict[str, list[str]] = {}
    for name, event in EVENTS.items():
        files.setdefault(event.file, []).append(name)
    lines = [
        "# Records\n\n",
        NOTE,
        "Lines of JSON below `~/.kmi` (`KMI_STATE_DIR`), one object a line, ASCII only. "
        "No prompt text and no secret is in any of them. Every line has\n\n",
        "| field | |\n| --- | --- |\n",
        *(f"| `{field}` | {about} |\n" for field, about in COMMON.items()),
    ]
    for file, names in files.items():
        lines.append(f"\n## `{file}`\n")
        for name in names:
            event = EVENTS[name]
            lines.append(f"\n`{name}`: {event.about}.\n")
            if event.fields:
                lines.append("\n| field | |\n| --- | --- |\n")
            for field, about in event.fields.items():
                where = ", where it applies" if field in event.optional else ""
                lines.append(f"| `{field}` | {about}{where} |\n")
    return "".join(lines)


def commands() -> str:
    """The help of every command."""
    os.environ["COLUMNS"] = "90"
    lines = ["# Commands\n\n", NOTE]
    for name, command in COMMANDS.items():
        parser = build_parser(name)
        lines.append(f"## `kmi {name}`\n\n{command.help[0].upper()}{command.help[1:]}.\n\n")
        lines.append(f"```text\n{_usage(parser)}\n```\n\n")
        lines += _options(parser)
    return "".join(lines).rstrip() + "\n"


def _usage(parser: argparse.ArgumentParser) -> str:
    """One line, the same on every Python: argparse wraps and styles it differently."""
    if parser.usage:
        return parser.usage
    words = [parser.prog]
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if action.option_strings:
            if action.dest != "help" and action.help != argparse.SUPPRESS:
                value = f" {_value(action)}" if action.nargs != 0 else ""
                words.append(f"[{action.option_strings[0]}{value}]")
        elif action.nargs == "*":
            words.append(f"[{_value(action)}...]")
        elif action.nargs == "+":
            words.append(f"{_value(action)} [{_value(action)}...]")
        elif action.nargs == "?":
            words.append(f"[{_value(action)}]")
        else:
            words.append(_value(action))
    return " ".join(words)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    lines = []
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - no public name
            for choice in action._choices_actions:  # noqa: SLF001 - no public name
                usage = _usage(action.choices[choice.dest])
                lines.append(f"- `{usage}`: {choice.help}\n")
                lines += ["  " + line for line in _options(action.choices[choice.dest])]
        elif action.option_strings and action.dest != "help" and action.help != argparse.SUPPRESS:
            value = f" {_value(action)}" if action.nargs != 0 else ""
            names = ", ".join(f"`{name}{value}`" for name in action.option_strings)
            lines.append(f"- {names}: {action.help}\n")
    return lines + (["\n"] if lines and parser.prog.count(" ") == 1 else [])


def _value(action: argparse.Action) -> str:
    if action.choices and not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - no public name
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def performance() -> str:
    """What the last `make bench` measured."""
    found = report.sections((HERE.parent / "benchmarks" / "results.json").read_text("utf-8"))
    template = (HERE / "templates" / "performance.md").read_text(encoding="utf-8")
    return NOTE + template.replace("{{figures}}\n", report.markdown(found))


def files() -> str:
    """What lies in the state directory, and the fields of `state.json`."""
    owned = ["| file | form | what |\n| --- | --- | --- |\n"]
    owned += [f"| `{item.name}` | {item.form} | {item.about} |\n" for item in OWNED]
    template = (HERE / "templates" / "files.md").read_text(encoding="utf-8")
    parts = {
        "owned": "".join(owned),
        "state": _fields(STATE_FIELDS),
        "key": _fields(STATE_KEY_FIELDS),
    }
    for mark, part in parts.items():
        template = template.replace(f"{{{{{mark}}}}}\n", part)
    return template.replace("\n\n", f"\n\n{NOTE}", 1)


def _fields(fields: Mapping[str, str]) -> str:
    lines = ["| field | |\n| --- | --- |\n"]
    for name, about in fields.items():
        where = "; where it applies" if name.endswith("?") else ""
        lines.append(f"| `{name.rstrip('?')}` | {about}{where} |\n")
    return "".join(lines)


def decisions() -> str:
    """The index of the decisions: their numbers and headings."""
    lines = [
        "# Decisions\n\n",
        NOTE,
        "Each record says what was decided, why, what it costs, and what was not taken. A record "
        "is changed while it holds; one that no longer holds goes. So the numbers have gaps, and "
        "are not given again.\n\n",
        "| | |\n| --- | --- |\n",
    ]
    for path in sorted((HERE / "decisions").glob("0*.md")):
        number, _, title = path.read_text("utf-8").partition("\n")[0].lstrip("# ").partition(". ")
        lines.append(f"| {number} | [{title}]({path.name}) |\n")
    return "".join(lines)


PAGES = {
    "reference/files.md": files,
    "decisions/README.md": decisions,
    "reference/settings.md": settings,
    "reference/exit-codes.md": exit_codes,
    "reference/upstream.md": upstream,
    "reference/commands.md": commands,
    "reference/records.md": records,
    "explanation/performance.md": performance,
}


#: Everything, by its path in the repository.
FILES = {
    **{f"docs/{name}": page for name, page in PAGES.items()},
    "docs/man/kmi.1": manpage,
    **architecture.FILES,
    **completions.FILES,
    **plugins.FILES,
    **packages.FILES,
}


def main() -> None:
    """Write every file."""
    for name, content in FILES.items():
        path = HERE.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content(), encoding="utf-8")


if __name__ == "__main__":
    main()
