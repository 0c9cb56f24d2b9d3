"""The page and the picture of the architecture, read from the imports (`make docs` writes them).

Nothing is placed by hand but the few modules that a process starts in. What a module imports, and
whether it touches the world (disk, clock, network, chance), says in which layer it is.
"""

from __future__ import annotations

import ast
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
#: Where a process starts: what decides which command runs.
ENTRY = ("__main__", "argcompleting", "cli")
#: What a module that touches the world imports or calls.
WORLD = {
    *("asyncio", "filelock", "httpx", "os", "pathlib", "random", "secrets", "selectors"),
    *("shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time"),
}
WORLD_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
#: `kmi run` on its quick way tells an error in the same words as the command line.
SAME_WORDS = ("quick", "cli")
#: Pure modules may ask it for the nearest known name; of its file nothing is read on that way.
TABLE_OF_SETTINGS = "settings"


class Layer(NamedTuple):
    """One band of the picture.

    Attributes:
        about: what belongs there.
        tone: its colour.
    """

    name: str
    about: str
    tone: str


LAYERS = (
    Layer(
        "entry", "where a process starts: the command line, and its one error boundary", "#5b4b8a"
    ),
    Layer("commands", "one verb per module: run(args, app) -> exit code", "#2f5f8f"),
    Layer("effects", "what touches disk, clock, network, processes, terminals", "#8a5a2b"),
    Layer("pure", "data in, data out: tested by tables, without a file", "#2f7a4d"),
    Layer("leaves", "the same, and imports nothing of kmi", "#4f6b3a"),
)


class Edge(NamedTuple):
    """The imports of one layer from another, as pairs of modules."""

    source: str
    target: str
    pairs: int


@lru_cache(maxsize=1)
def modules() -> dict[str, frozenset[str]]:
    """Each module by its name below ``kmi``, with those of kmi that it imports at run time."""
    found = {}
    for path in sorted((ROOT / "kmi").rglob("*.py")):
        parts = path.relative_to(ROOT / "kmi").with_suffix("").parts
        if parts[-1] != "__init__":
            found[".".join(parts)] = path
    return {name: frozenset(_ours(path, set(found))) for name, path in found.items()}


def _ours(path: Path, known: set[str]) -> Iterator[str]:
    for node in _nodes(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kmi":
            below = (node.module or "").partition(".")[2]
            for alias in node.names:
                whole = f"{below}.{alias.name}".lstrip(".")
                if whole in known or below in known:
                    yield whole if whole in known else below
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.startswith("kmi."))
            yield from (name[4:] for name in names if name[4:] in known)


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    """The imports and calls of a module when it runs."""
    wanted = (ast.Import, ast.ImportFrom, ast.Call)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(node for node in _running(tree) if isinstance(node, wanted))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything below that exists when the program runs: not what only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        test = child.test if isinstance(child, ast.If) else None
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def worldly(name: str) -> bool:
    """Whether a module itself touches the world."""
    path = (ROOT / "kmi").joinpath(*name.split(".")).with_suffix(".py")
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            tops = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops = {(node.module or "").split(".")[0]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in WORLD_CALLS:
                return True
            continue
        else:
            continue
        if tops & WORLD:
            return True
    return False


@lru_cache(maxsize=1)
def layers() -> dict[str, str]:
    """The layer of each module."""
    graph = modules()
    found = dict.fromkeys(ENTRY, "entry")
    found.update({name: "commands" for name in graph if name.startswith("commands.")})
    pure = {name for name in graph if name not in found and not worldly(name)}
    # Who imports what is not pure is not pure.
    while spoilt := {name for name in pure if graph[name] - pure - {TABLE_OF_SETTINGS}}:
        pure -= spoilt
    for name in graph:
        calm = "pure" if graph[name] else "leaves"
        found.setdefault(name, calm if name in pure else "effects")
    return found


def edges() -> list[Edge]:
    """The imports between layers, counted by importing module and imported module."""
    place = layers()
    counts: dict[tuple[str, str], int] = {}
    for name, targets in modules().items():
        for target in targets:
            pair = (place[name], place[target])
            counts[pair] = counts.get(pair, 0) + 1
    order = [layer.name for layer in LAYERS]
    return [
        Edge(source, target, counts[source, target])
        for source in order
        for target in order
        if (source, target) in counts
    ]


def upward() -> list[str]:
    """Imports against the direction, as ``module imports module``; there should be none."""
    place = layers()
    order = [layer.name for layer in LAYERS]
    return [
        f"{name} imports {target}"
        for name, targets in sorted(modules().items())
        for target in sorted(targets)
        if order.index(place[target]) < order.index(place[name])
        and not (target == TABLE_OF_SETTINGS and place[name] == "pure")
        and (name, target) != SAME_WORDS
    ]


def _packages(layer: str) -> dict[str, list[str]]:
    """The modules of a layer by package; those of kmi itself under ""."""
    found: dict[str, list[str]] = {}
    for name, place in sorted(layers().items()):
        if place == layer:
            package, _, own = name.rpartition(".")
            found.setdefault(package, []).append(own)
    return found


#: Sizes of the picture, in pixels; the width of a letter of its font.
WIDTH, PAD, LETTER, ROW, GAP = 900, 16, 6.7, 18, 34


def picture() -> str:
    """The layers as bands from top to bottom, each with its modules and what it imports."""
    y, body = 8, []
    for layer in LAYERS:
        rows = _rows(_packages(layer.name))
        height = 30 + ROW * len(rows) + PAD
        body.append(
            f'<rect x="8" y="{y}" width="{WIDTH - 16}" height="{height}" rx="8" '
            f'fill="{layer.tone}"/>'
            f'<text x="{8 + PAD}" y="{y + 22}" class="h">{layer.name}</text>'
            f'<text x="{8 + PAD + 110}" y="{y + 22}" class="a">{escape(layer.about)}</text>'
        )
        for at, row in enumerate(rows):
            line = y + 46 + ROW * at
            body.append(f'<text x="{8 + PAD}" y="{line}" class="m">{escape(row)}</text>')
        y += height + GAP
        down = [edge for edge in edges() if edge.source == layer.name != edge.target]
        if down and layer is not LAYERS[-1]:
            told = ", ".join(f"{edge.target} {edge.pairs}" for edge in down)
            middle = y - GAP
            body.append(
                f'<path d="M40 {middle + 4}v{GAP - 12}l-5 -7m5 7l5 -7" class="p"/>'
                f'<text x="56" y="{middle + 21}" class="c">imports: {escape(told)}</text>'
            )
    height = y - GAP + 8
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
<title>The layers of kmi, and what each imports</title>
<style>
text{{font-family:ui-sans-serif,system-ui,Helvetica,Arial,sans-serif;fill:#fff}}
.h{{font-size:15px;font-weight:bold}}.a{{font-size:13px;fill:#f0f0f0}}
.m{{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}}
.c{{font-size:12px;fill:#808080}}.p{{stroke:#808080;stroke-width:2;fill:none}}
</style>
{chr(10).join(body)}
</svg>
"""


def _rows(packages: dict[str, list[str]]) -> list[str]:
    """The names of modules in lines that fit; each package begins one."""
    limit = int((WIDTH - 16 - 2 * PAD) / LETTER)
    rows = []
    for package, names in packages.items():
        row = f"{package.replace('.', '/')}/ " if package else ""
        for name in names:
            if len(row) + len(name) > limit:
                rows.append(row.rstrip())
                row = "   "
            row += name + "  "
        rows.append(row.rstrip())
    return rows


def page() -> str:
    """The page, with the table of imports between layers."""
    template = (Path(__file__).parent / "templates" / "architecture.md").read_text(encoding="utf-8")
    names = [layer.name for layer in LAYERS]
    counted = {(edge.source, edge.target): edge.pairs for edge in edges()}
    sizes = {name: sum(1 for place in layers().values() if place == name) for name in names}
    lines = [f"| | modules | {' | '.join(names)} |\n", f"| --- | ---: |{' ---: |' * len(names)}\n"]
    for source in names:
        cells = [str(counted.get((source, target), "")) for target in names]
        lines.append(f"| **{source}** | {sizes[source]} | {' | '.join(cells)} |\n")
    note = "<!-- Written by `make docs` from the code and templates/architecture.md. -->\n\n"
    return note + template.replace("{{imports}}\n", "".join(lines))


FILES = {
    "docs/explanation/architecture.md": page,
    "docs/images/architecture.svg": picture,
}
