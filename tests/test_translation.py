"""Russian for errors, problems and reasons: none is missing, none is left over, none is lost."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kmi
from kmi.messages.russian import TABLES, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(kmi.__file__).parent
RUSSIAN = sentences()
#: Modules in which every sentence is for people.
WHOLE = (
    *("api", "auth_formats", "auths", "binding", "clients", "config_file", "files", "kimi_config"),
    *("kimi_edits", "lock", "picking", "proof", "secrets_source", "selection", "setting_kinds"),
    *("connection_words", "store", "swap", "upstream", "urls", "quotas", "verdicts"),
)
#: Modules in which those are that are raised or reported.
RAISING = (
    *("app", "cli", "execute", "paths", "project", "refresh", "running", "settings"),
    *("shell_files", "timezones", "commands/current", "commands/health", "commands/rotate"),
    *("commands/run", "commands/status", "commands/swapping", "commands/use", "commands/why"),
    *("old_home", "migrating"),
    *("plugin.plan", "plugin.files", "plugin.install", "plugin.record", "plugin.texts", "retrying"),
    *("proxied", "proxy_edits", "proxy/token", "proxy/instance", "proxy/ports", "proxy/launch"),
    *("proxy/lifecycle", "commands/proxy_logs", "commands/service", "service_units"),
    "commands/simulate",
    *("cleaning", "commands/usage", "usage.logs", "usage.ingest", "usage.store"),
)
REPORTS = {"Found", "Problem", "ValueError", "KmiError", "append", "report"}
#: What no person reads, or what is put together of parts that are in the tables.
ELSEWHERE = {
    "Bearer {}": "a header",
    "Snapshot(client={}, path={})": "a repr",
    "Config(name={}, client={})": "a repr",
    "Swapped(changed={}, before={})": "a repr",
    "it is {}": "with the only usable key, already the best key",
    "the secret is not resolved": "a mistake in the code",
    "it was replaced while kmi read it": "becomes another error",
    "a decision": "becomes another error",
    "a string was expected": "becomes another error",
    "it is the database of another program": "part of another error",
    "it lacks a part": "part of another error",
    "chmod o-w {}": "a command",
    "a bug": "for the audit, which takes its code",
    "{} is not a time like 2026-01-31T12:00:00.000Z": "part of another error",
}
#: The same in both languages.
SAME = {"{labels} ({how})", "base_url {error}"}
#: What argparse of some Python says.
OF_ARGPARSE = {
    "unrecognized arguments: {words}",
    "the following arguments are required: {names}",
    "argument {name}: expected one argument",
    "argument {name}: invalid choice: {value} (choose from {words})",
    "argument {name}: invalid float value: {value}",
}


def normal(text: str) -> str:
    """A sentence with its placeholders unnamed, neighbours as one."""
    return re.sub(r"(\{\})+", "{}", re.sub(r"\{\w+\}", "{}", text))


def shape(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return normal("".join(parts))


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string of some code that is more than a part of another one, and no docstring."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        plain = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in skipped and (plain or isinstance(node, ast.JoinedStr)):
            yield node.lineno, shape(node)  # type: ignore[attr-defined,arg-type]  # one of the two kinds


def raised(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = str(getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
            if name in REPORTS or name.endswith("Error"):
                for argument in node.args:
                    yield from texts(argument)


def parsed(name: str) -> ast.AST:
    return ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))


def is_sentence(text: str) -> bool:
    words = text.replace("{}", " ")
    return bool(re.search(r"[a-z]{2}", words) and re.search(r"\w.* .*\w|\{\} .*\w", text)) and not (
        "\n" in text or re.fullmatch(r"[\w.]+\[[\w, ]+\]", text)
    )


ENGLISH = {normal(text) for text in RUSSIAN}


PATTERNS = [re.compile(re.escape(t).replace(r"\{\}", ".+")) for t in ENGLISH if " " in t]


def is_known(text: str) -> bool:
    """Whether it is in a table: as it is, after the place that it is about, or as a part."""
    short = text.removeprefix("{} ")
    if text in ELSEWHERE or any(p.fullmatch(text) or p.fullmatch(short) for p in PATTERNS):
        return True
    return "{}" not in text and any(text in english for english in ENGLISH)


@pytest.mark.parametrize("name", [*WHOLE, *RAISING])
def test_every_sentence_has_its_russian(name: str) -> None:
    found = texts(parsed(name)) if name in WHOLE else raised(parsed(name))
    missing = [(line, text) for line, text in found if is_sentence(text) and not is_known(text)]
    assert missing == []


def test_every_entry_is_said() -> None:
    """All its words stand somewhere in the code; what is not said any more goes."""
    files = [path for path in ROOT.rglob("*.py") if "russian" not in path.parts]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    said = "\n".join(text for tree in trees for _, text in texts(tree))
    left = {
        english
        for english in set(RUSSIAN) - OF_ARGPARSE
        if not all(part.strip(" ()'") in said for part in normal(english).split("{}"))
    }
    # In the code: "it is", and one of two endings.
    assert left <= {"it is already the best key"}


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_whole(table: str) -> None:
    from importlib import import_module

    entries: dict[str, str] = import_module(f"kmi.messages.russian.{table}").RUSSIAN
    assert entries
    for english, russian in entries.items():
        assert english.isascii() or "\u2026" in english
        assert fields(english) == fields(russian), english
        assert english in SAME or re.search("[а-яё]", russian.lower()), english  # noqa: RUF001 - Russian


def fields(text: str) -> list[str]:
    if '{"' in text:
        return []
    return sorted(field for _, field, _, _ in string.Formatter().parse(text) if field is not None)


def test_every_table_is_listed() -> None:
    files = {path.stem for path in (ROOT / "messages" / "russian").glob("*.py")}
    assert files - {"__init__"} == set(TABLES)
