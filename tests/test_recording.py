"""The recording in the README is what kmi prints, and a picture that is safe to embed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs import recording

PICTURE = Path(recording.__file__).parent / "images" / "demo.svg"


@pytest.fixture(scope="module")
def recorded() -> recording.Recorded:
    """The session once more."""
    return recording.record(recording.outputs())


def test_the_picture_is_what_kmi_prints(recorded: recording.Recorded) -> None:
    tree = ET.parse(PICTURE)
    shown = tree.findtext("{http://www.w3.org/2000/svg}desc")
    assert shown == recording.transcript(recorded), "make recording"


def test_the_picture_shows_all_of_its_words() -> None:
    """Each row is drawn, not only told to those who can't see it."""
    tree = ET.parse(PICTURE)
    space = "{http://www.w3.org/2000/svg}"
    told = (tree.findtext(f"{space}desc") or "").split()
    drawn = "".join(text.text or "" for text in tree.iter(f"{space}text"))
    missing = [word for word in told if word not in drawn]
    assert missing == []


def test_the_picture_loads_and_runs_nothing() -> None:
    text = PICTURE.read_text(encoding="utf-8")
    assert PICTURE.stat().st_size < 150_000
    assert not re.search(r"<script|@import|url\(|(href|src)=|<foreignObject|\bon\w+=", text)
    assert "prefers-reduced-motion" in text
