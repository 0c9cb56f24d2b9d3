"""Pages lead where they say, hold what the code holds, and both languages tell the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kmi.auth_formats import FIELDS
from kmi.binding import FIELDS as BINDING_FIELDS
from kmi.layout import STATE_FIELDS, STATE_KEY_FIELDS
from kmi.model import Hold, KeyState, Window
from kmi.state import KEY_FIELDS, Active, State, encode
from tests.pages import ROOT, pages, steps

if TYPE_CHECKING:
    from pathlib import Path

PAGES = pages()
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()#\s]+)(#[^()\s]*)?\)")


def links(page: Path) -> list[str]:
    """The files that a page links to, as it names them; not those of other sites."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`(?!\]\()", "", text)
    return [match[1] for match in _LINK.finditer(text) if "://" not in match[1]]


def test_links_are_seen() -> None:
    assert "docs/explanation/limits.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    dead = [link for link in links(page) if not (page.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/good-first-changes.md"])
def test_every_file_that_is_named_to_contributors_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`((?:kmi|tests|docs|shell|benchmarks)/[\w./-]*)`", text)
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_hooks_fetch_nothing_and_run_what_is_there() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert "://" not in text
    tests = re.findall(r"tests/\w+\.py", text)
    assert tests
    assert [path for path in tests if not (ROOT / path).exists()] == []


# What comes from the code.


def test_the_fields_of_the_state_are_told() -> None:
    hold = Hold("blocked", "no-money", 0.0, 1.0)
    key = KeyState(
        label="a", disabled=True, hold=hold, windows={"5h": Window(0.5, 1.0)}, usage_at=1.0,
        usage_tried_at=1.0, usage_error="x", usage_wait_until=1.0, last_used=1.0,
        traffic=((0, 1, 1),), group="g",
    )  # fmt: skip
    state = State({"id": key}, {"kimi-cli": Active("id", "a", 0.0)})
    state.auto_rotate = state.refresh_at = state.chosen_at = 1.0
    table = encode(state)
    assert set(table) == {name.rstrip("?") for name in STATE_FIELDS}
    assert set(table["keys"]["id"]) == {name.rstrip("?") for name in STATE_KEY_FIELDS} == KEY_FIELDS
    told = STATE_KEY_FIELDS["hold?"]
    assert [name for name in table["keys"]["id"]["hold"] if f"`{name}`" not in told] == []


def test_the_least_state_has_what_is_always_there() -> None:
    assert set(encode(State())) == {name for name in STATE_FIELDS if not name.endswith("?")}


def test_the_fields_of_auth_files_are_told() -> None:
    page = (ROOT / "docs" / "reference" / "auth-files.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(KMI_\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert {field: name for name, field in told} == FIELDS


def test_the_fields_of_a_binding_are_told() -> None:
    page = (ROOT / "docs" / "reference" / "binding.md").read_text(encoding="utf-8")
    block = page.partition("```toml\n")[2].partition("```")[0]
    assert tuple(re.findall(r"^(\w+) = ", block, re.MULTILINE)) == BINDING_FIELDS


# Two languages.

RUSSIAN = {
    "README.md": "docs/ru/README.md",
    "docs/tutorial/quick-start.md": "docs/ru/quick-start.md",
}


def outline(page: Path) -> list[int]:
    """The levels of its headings."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [len(found[1]) for found in re.finditer(r"^(#+) ", text, re.MULTILINE)]


@pytest.mark.parametrize(("english", "russian"), RUSSIAN.items())
def test_both_languages_have_the_same_parts_and_commands(english: str, russian: str) -> None:
    one, other = ROOT / english, ROOT / russian
    assert outline(one) == outline(other)
    plain = [
        [(step.text.partition("  #")[0].strip(), step.shown) for step in steps(page)]
        for page in (one, other)
    ]
    assert plain[0] == plain[1]


def test_every_page_is_in_the_index() -> None:
    index = {(ROOT / "docs" / link).resolve() for link in links(ROOT / "docs" / "README.md")}
    missing = [
        page.relative_to(ROOT).as_posix()
        for page in (ROOT / "docs").rglob("*.md")
        if page.parent.name not in {"decisions", "templates"}
        and page.resolve() not in index
        and page != ROOT / "docs" / "README.md"
    ]
    assert missing == []
