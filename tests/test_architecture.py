"""What may import what, and how large a module may be: read from the source, nothing is run."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kmi
from kmi.messages.russian import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(kmi.__file__).parent
FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

#: Data in, data out: no disk, no clock, no chance, no network.
PURE = (
    *("auth_formats", "auth_writing", "backup_secrets", "binding", "client_args", "digest"),
    *("envfile", "error_texts", "errors", "health", "holds", "kimi_config", "kimi_edits"),
    *(
        "arguments",
        "launcher",
        "masking",
        "migrations",
        "model",
        "redaction",
        "retry_after",
        "selection",
        "state",
        "timezones",
    ),
    *("transitions", "urls", "usages", "verdict_table", "verdicts"),
    *("messages.binding", "messages.health", "messages.mode", "messages.reason"),
    *("messages.rotate", "messages.run", "messages.status", "messages.swap"),
    *("messages.unit", "messages.why"),
    *(f"messages.russian.{table}" for table in TABLES),
    *("overview", "polling", "records", "trace", "messages.trace"),
    *("checks.finding", "messages.check", "messages.doctor"),
    *("proxy.status", "proxy.tally"),
    *("proxy.affinity", "proxy.answers", "proxy.events", "proxy.incoming", "proxy.limits"),
    *("proxy.outcomes", "proxy.quota", "proxy.records", "proxy.view"),
    *("proxy_edits", "service_units", "messages.proxy"),
    *(
        "proxy.account",
        "proxy.chunks",
        "proxy.framing",
        "proxy.head_reader",
        "proxy.grammar",
        "proxy.guards",
    ),
    *("proxy.heads",),
)
WORLDLY = {
    *("os", "time", "random", "socket", "subprocess", "httpx", "filelock", "pathlib", "shutil"),
    *("tempfile", "io.open", "asyncio", "threading", "secrets", "uuid", "urllib.request"),
}
#: Names that would read the world without an import.
WORLDLY_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}

#: Which module a dependency is for; nobody else imports it, and nobody at the top of a module.
DEPENDENCIES = {
    "tomlkit": {
        *("kmi.auth_formats", "kmi.auth_writing", "kmi.binding", "kmi.kimi_config"),
        "kmi.verdicts",
        *("kmi.binding", "kmi.demo.stand_in"),
    },
    "tomli": {"kmi.kimi_config"},
    "dotenv": {"kmi.envfile"},
    "filelock": {"kmi.lock"},
    "httpx": {"kmi.api", "kmi.upstream"},
    "certifi": {"kmi.upstream"},
    "rich": {"kmi.health_rich", "kmi.commands.health", "kmi.trace_rich", "kmi.commands.trace"},
    "argcomplete": {"kmi.argcompleting"},
}
#: A module of more lines has more than one reason to change.
MAX_LINES, TARGET_LINES = 500, 400
#: Written by `make docs`: nobody changes them for any reason.
GENERATED = {"kmi.completion_table"}


def type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def running(node: ast.AST, *, inside: bool = True) -> Iterator[ast.AST]:
    """The nodes below one that exist when the program runs; those of functions if ``inside``."""
    for child in ast.iter_child_nodes(node):
        if type_checking(child):
            continue
        yield child
        if inside or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from running(child, inside=inside)


def imports(name: str, *, inside: bool = True) -> set[str]:
    """Everything that a module imports, as dotted names; submodules of kmi by their own name."""
    found = set()
    for node in running(TREES[name], inside=inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & set(FILES)) or {node.module}
    return found


def test_the_imports_of_this_test_are_seen() -> None:
    """The control: were the walk blind, everything below would pass."""
    assert {"os", "kmi.errors", "kmi.files"} <= imports("kmi.config_file")
    assert "filelock" in imports("kmi.lock")
    assert "filelock" not in imports("kmi.lock", inside=False)
    assert "random" not in imports("kmi.holds")  # for annotations only


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_not_touch_the_world(name: str) -> None:
    module = f"kmi.{name}"
    touched = {part for part in imports(module) if part in WORLDLY or part.split(".")[0] in WORLDLY}
    assert touched == set()
    called = {
        node.func.id
        for node in running(TREES[module])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & WORLDLY_CALLS == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_pure_modules_only(name: str) -> None:
    # What `nearest` needs of the settings is pure, too; its own file is read elsewhere.
    allowed = {f"kmi.{pure}" for pure in PURE} | {"kmi.settings"}
    ours = {part for part in imports(f"kmi.{name}") if part.startswith("kmi")}
    assert ours - allowed == set()


def foreign(top: str) -> bool:
    """Whether a module is installed beside Python, and not with it."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        return False
    where = (spec.origin if spec else None) or ""
    return "site-packages" in where or "dist-packages" in where


def test_every_dependency_is_declared() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    block = project.partition("\ndependencies = [")[2].partition("]")[0]
    declared = set(re.findall(r'"([a-z-]+)', block))
    assert declared == {*DEPENDENCIES, "python-dotenv"} - {"dotenv"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_dependencies_have_one_home_and_are_imported_late(name: str) -> None:
    for part in imports(name):
        top = part.split(".")[0]
        if top in {"kmi", "__future__"} or not foreign(top):
            continue
        assert name in DEPENDENCIES.get(top, set()), f"{name} imports {top}"
    early = {part.split(".")[0] for part in imports(name, inside=False)}
    assert name == "kmi.demo.stand_in" or early & set(DEPENDENCIES) == set()


@pytest.mark.parametrize(
    "name", ["kmi.errors", "kmi.client_args", "kmi.urls", "kmi.envfile", "kmi.digest"]
)
def test_leaves_import_nothing_of_kmi(name: str) -> None:
    assert {part for part in imports(name) if part.startswith("kmi")} == set()


def importers_of(module: str) -> set[str]:
    return {name for name in FILES if module in imports(name)}


def test_the_command_line_is_on_top() -> None:
    # `quick` tells an error of its run in the same words; it is not loaded then.
    assert importers_of("kmi.cli") <= {"kmi.__main__", "kmi.quick"}
    assert importers_of("kmi.__main__") == set()


def test_commands_are_known_to_the_command_line_only() -> None:
    """And to each other, where they share a job."""
    for name in FILES:
        if name.startswith("kmi.commands"):
            continue
        wanted = {part for part in imports(name) if part.startswith("kmi.commands")}
        assert not wanted or name == "kmi.cli", f"{name} imports {wanted}"


def test_the_demonstration_is_known_to_its_command_only() -> None:
    for name in FILES:
        if not name.startswith("kmi.demo") and name != "kmi.commands.demo":
            assert not {part for part in imports(name) if part.startswith("kmi.demo")}, name


def test_there_is_no_circle() -> None:
    graph = {
        name: {part for part in imports(name, inside=False) if part in FILES and part != name}
        for name in FILES
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " > ".join([*above, name])
        if name not in done:
            for part in graph[name]:
                visit(part, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert done == set(FILES)


def test_only_the_screen_prints() -> None:
    printing = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    # The demonstration's client is a program of its own.
    assert printing == {"kmi.output", "kmi.demo.stand_in"}


def test_the_environment_is_read_at_the_top_only() -> None:
    reading = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
    }
    assert reading <= {"kmi.__main__", "kmi.argcompleting", "kmi.cli", "kmi.demo.stand_in"}


def test_no_shell_is_started() -> None:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{name}:{node.value.lineno} starts a shell")
            if isinstance(node, ast.Attribute) and node.attr in {"system", "popen"}:
                pytest.fail(f"{name}:{node.lineno} starts a shell")


def lines_of(name: str) -> int:
    return len(FILES[name].read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", sorted(set(FILES) - GENERATED))
def test_modules_are_small(name: str) -> None:
    # The table of settings is one long table.
    assert lines_of(name) <= (MAX_LINES if name == "kmi.settings" else TARGET_LINES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_modules_say_what_they_are_for(name: str) -> None:
    words = ast.get_docstring(TREES[name])
    assert words
    assert words != "placeholder"
