"""What may import what, and how large a module may be: read from the source, nothing is run."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kmi
from docs import architecture
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
        "layout",
        "masking",
        "migrations",
        "model",
        "old_settings",
        "redaction",
        "retry_after",
        "selection",
        "state",
        "timezones",
    ),
    *("transitions", "urls", "quotas", "verdict_table", "verdicts"),
    *(
        "messages.binding",
        "messages.health",
        "messages.migrate",
        "messages.mode",
        "messages.reason",
    ),
    *("messages.rotate", "messages.run", "messages.status", "messages.swap"),
    *("messages.unit", "messages.why"),
    *(f"messages.russian.{table}" for table in TABLES),
    *("overview", "polling", "records", "trace", "messages.trace"),
    *("scores", "ranking", "simulation.workload", "simulation.world", "simulation.run"),
    *("simulation.bound", "simulation.report", "messages.simulate"),
    *("checks.finding", "messages.check", "messages.doctor"),
    *("proxy.status", "proxy.tally"),
    *("proxy.affinity", "proxy.answers", "proxy.events", "proxy.incoming", "proxy.limits"),
    *("proxy.outcomes", "proxy.quota", "proxy.records", "proxy.view"),
    *("proxy_edits", "service_units", "messages.proxy"),
    *("plugin.texts", "plugin.status_line", "messages.plugin"),
    *(
        "proxy.account",
        "proxy.chunks",
        "proxy.framing",
        "proxy.head_reader",
        "proxy.grammar",
        "proxy.guards",
    ),
    *("proxy.heads",),
    *("usage.lines", "usage.keys", "usage.report", "usage.rows", "messages.usage"),
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
        "kmi.binding",
    },
    "tomli": {"kmi.kimi_config"},
    "dotenv": {"kmi.envfile"},
    "filelock": {"kmi.lock"},
    "httpx": {"kmi.api", "kmi.upstream"},
    "certifi": {"kmi.upstream"},
    "rich": {
        "kmi.health_rich",
        "kmi.commands.health",
        "kmi.trace_rich",
        "kmi.commands.trace",
        "kmi.usage.screen",
    },
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


@cache
def imports(name: str, *, inside: bool = True) -> frozenset[str]:
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
    return frozenset(found)


def test_the_imports_of_this_test_are_seen() -> None:
    """The control: were the walk blind, everything below would pass."""
    assert {"os", "kmi.errors", "kmi.files"} <= imports("kmi.config_file")
    assert "filelock" in imports("kmi.lock")
    assert "filelock" not in imports("kmi.lock", inside=False)
    assert "random" not in imports("kmi.holds")  # for annotations only


def test_pure_modules_do_not_touch_the_world() -> None:
    for module in (f"kmi.{name}" for name in PURE):
        touched = {
            part for part in imports(module) if part in WORLDLY or part.split(".")[0] in WORLDLY
        }
        assert touched == set(), module
        called = {
            node.func.id
            for node in running(TREES[module])
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert called & WORLDLY_CALLS == set(), module


def test_pure_modules_import_pure_modules_only() -> None:
    # What `nearest` needs of the settings is pure, too; its own file is read elsewhere.
    allowed = {f"kmi.{pure}" for pure in PURE} | {"kmi.settings"}
    for name in PURE:
        ours = {part for part in imports(f"kmi.{name}") if part.startswith("kmi")}
        assert ours - allowed == set(), name


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


def test_dependencies_have_one_home_and_are_imported_late() -> None:
    for name in FILES:
        tops = {part.split(".")[0] for part in imports(name)} - {"kmi", "__future__"}
        for top in filter(foreign, tops):
            assert name in DEPENDENCIES.get(top, set()), f"{name} imports {top}"
        early = {part.split(".")[0] for part in imports(name, inside=False)}
        assert early & set(DEPENDENCIES) == set(), name


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


def test_modules_are_small() -> None:
    # The table of settings is one long table.
    limits = {name: MAX_LINES if name == "kmi.settings" else TARGET_LINES for name in FILES}
    found = {name: lines_of(name) for name in set(FILES) - GENERATED}
    assert {name: count for name, count in found.items() if count > limits[name]} == {}


def test_modules_say_what_they_are_for() -> None:
    assert [name for name in FILES if not ast.get_docstring(TREES[name])] == []


#: A comment that keeps a checker quiet; it says the reason, too.
SUPPRESSION = re.compile(r"# *(?:noqa|type: *ignore)\b.*")
REASONED = re.compile(
    r"# (noqa: [A-Z]+\d+(, [A-Z]+\d+)* - |type: ignore\[[a-z-]+(,[a-z-]+)*\]  ?# )\S.*"
)


def bare_suppressions(path: Path) -> list[str]:
    """The suppressions in a file that say not why."""
    text = path.read_text(encoding="utf-8")
    found = [match[0] for match in SUPPRESSION.finditer(text)]
    return [f"{path.name}: {comment}" for comment in found if not REASONED.fullmatch(comment)]


@pytest.mark.parametrize("folder", ["kmi", "tests", "docs", "benchmarks"])
def test_every_suppression_has_its_reason(folder: str) -> None:
    paths = sorted((ROOT.parent / folder).rglob("*.py"))
    assert [found for path in paths for found in bare_suppressions(path)] == []


def test_a_bare_suppression_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    words = ["noqa", "noqa: S101", "type: ignore[misc]", "noqa: S101 - the caller's decision"]
    path.write_text("".join(f"x = 1  # {word}\n" for word in words))
    assert len(bare_suppressions(path)) == 3


#: What they raise is said once: by `kmi.cli` for commands, else by the module.
RAISE_BY_CONTRACT = ("kmi.commands.", "kmi.cli", "kmi.setting_kinds", "kmi.arguments")


def ours(name: ast.expr) -> bool:
    """Whether an error is the module's own, which does not leave it."""
    return isinstance(name, ast.Name) and name.id.startswith("_")


def raising(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public functions and methods of a module that raise something themselves."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tops = [
        *TREES[name].body,
        *(n for c in TREES[name].body if isinstance(c, ast.ClassDef) for n in c.body),
    ]
    for node in tops:
        if isinstance(node, functions) and not node.name.startswith("_"):
            inner = [n for n in ast.walk(node) if isinstance(n, functions) and n is not node]
            hidden = {id(n) for function in inner for n in ast.walk(function)}
            raised = [n for n in ast.walk(node) if isinstance(n, ast.Raise) and id(n) not in hidden]
            if any(isinstance(n.exc, ast.Call) and not ours(n.exc.func) for n in raised):
                yield node


def test_functions_that_raise_are_seen() -> None:
    assert "expand" not in {node.name for node in raising("kmi.paths")}
    assert {"home", "client_home"} <= {node.name for node in raising("kmi.paths")}


def test_docstrings_say_what_is_raised() -> None:
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name in FILES
        if not name.startswith(RAISE_BY_CONTRACT)
        for node in raising(name)
        if "Raises:" not in (ast.get_docstring(node) or "")
    ]
    assert silent == []


# The picture of docs/explanation/architecture.md shows what is held here.


def test_no_import_goes_up() -> None:
    assert architecture.upward() == []


def test_an_import_that_goes_up_would_be_seen() -> None:
    """The control: of the two that are allowed, each is one."""
    place = architecture.layers()
    source, target = architecture.SAME_WORDS
    assert (place[source], place[target]) == ("effects", "entry")
    assert target in architecture.modules()[source]
    assert place[architecture.TABLE_OF_SETTINGS] == "effects"


def test_the_picture_calls_pure_what_is_held_to_be_pure() -> None:
    place = architecture.layers()
    assert [name for name in PURE if place[name] not in {"pure", "leaves"}] == []
    assert place["store"] == place["lock"] == "effects"


def test_the_picture_names_every_module() -> None:
    picture = (ROOT.parent / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    names = set(re.findall(r"\w+", picture))
    missing = [name for name in architecture.modules() if name.rpartition(".")[2] not in names]
    assert missing == [], "make docs"
