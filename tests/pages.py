"""What the documentation tells readers to type, and what it shows of the answer."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
#: Blocks of lines to type, by their language; `console` shows prompts and answers as well.
LANGUAGES = {"sh", "zsh", "bash", "fish", "console"}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Step(NamedTuple):
    """One command of a page.

    Attributes:
        shell: the language of its block.
        shown: what the page shows as its output; None where it shows none.
    """

    page: str
    line: int
    text: str
    shell: str
    shown: str | None = None


def pages() -> list[Path]:
    """Every page of the repository, in the order of their names."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(page for page in found if page.parent.name != "templates")


def steps(page: Path) -> list[Step]:
    """The commands of a page's blocks, in order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        if block[1] not in LANGUAGES:
            continue
        first = text.count("\n", 0, block.start()) + 2
        read = _console if block[1] == "console" else _plain
        found += [
            Step(name, first + at, words, block[1], shown) for at, words, shown in read(block[2])
        ]
    if name.endswith("README.md"):
        found += _rows(name, text)
    return sorted(found, key=lambda step: step.line)


def _rows(name: str, text: str) -> list[Step]:
    """The commands of tables: those that stand in the first cell of a row."""
    return [
        Step(name, at, code[1], "sh")
        for at, line in enumerate(text.splitlines(), 1)
        if line.startswith("| `kmi ")
        for code in _CODE.finditer(line.split(" | ")[0])
    ]


def _console(block: str) -> list[tuple[int, str, str | None]]:
    found: list[tuple[int, str, str | None]] = []
    for at, line in enumerate(block.splitlines()):
        if line.startswith("$ "):
            found.append((at, line[2:], ""))
        elif found:
            start, words, shown = found[-1]
            found[-1] = (start, words, f"{shown}{line}\n")
    return found


def _plain(block: str) -> list[tuple[int, str, str | None]]:
    """Lines that belong together by their quotes, or by a backslash, are one command."""
    found: list[tuple[int, str, str | None]] = []
    waiting, start = "", 0
    for at, line in enumerate(block.splitlines()):
        if not waiting:
            start = at
        waiting += line
        if line.endswith("\\") or _open_quote(waiting):
            waiting += "\n"
            continue
        if waiting.strip() and not waiting.lstrip().startswith("#"):
            found.append((start, waiting, None))
        waiting = ""
    assert not waiting, f"a quote is never closed: {waiting}"
    return found


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def mentions(page: Path) -> list[tuple[int, str]]:
    """The calls of kmi in a page's running text: line and words."""
    text = page.read_text(encoding="utf-8")
    text = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    return [
        (text.count("\n", 0, code.start()) + 1, code[1].replace(r"\|", "|"))
        for code in _CODE.finditer(text)
        if re.match(r"kmi(\s|$)", code[1])
    ]


def pattern(shown: str) -> re.Pattern[str]:
    """What a shown output stands for: ``…`` is anything in its line, or any lines if it is alone.

    ``PORT`` is a number, and blanks at ends of lines do not count.
    """
    lines = []
    for line in shown.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        escaped = re.escape(line.rstrip()).replace("…", ".*?").replace("PORT", r"\d+")
        lines.append(escaped + r"[ ]*\n")
    return re.compile("".join(lines) + r"\s*")
