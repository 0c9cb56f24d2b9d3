"""What docs/explanation/security.md promises has a test, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "security.md"
#: A test as the page names it: file and function, and a link to the file.
NAMED = re.compile(r"\[`([\w./]+)::(\w+)`\]\(\.\./\.\./(tests/[\w./]+)\)")


def test_each_promise_names_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    promises = [row for row in rows if row.split("|")[1].strip() not in {"promise", "---"}]
    assert len(promises) > 20, "the control: they are seen"
    assert [row for row in promises if not NAMED.search(row.split("|")[2])] == []


def test_the_named_tests_are_there() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert "::" not in NAMED.sub("", PAGE.read_text(encoding="utf-8")), "one is in another form"
    missing = [
        f"{path}::{name}"
        for short, name, path in named
        if not path.endswith(f"/{short}")
        or not re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []
