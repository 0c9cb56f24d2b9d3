"""The figures, the page and the picture of the strategies belong together."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from benchmarks.policies import LOADS, PICTURE, RESULTS, SAMPLE, render, simulate
from kmi.settings import STRATEGIES

KEPT = json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_figures_come_out_again() -> None:
    again = json.loads(json.dumps(simulate(SAMPLE)))
    assert again == KEPT["sample"]


def test_page_and_picture_are_made_of_the_figures() -> None:
    for path, text in render(KEPT).items():
        assert path.read_text(encoding="utf-8") == text, (
            f"run python -m benchmarks.policies: {path}"
        )


def test_the_picture_shows_every_strategy_at_every_load() -> None:
    picture = ElementTree.parse(PICTURE).getroot()  # noqa: S314 - a file of our own
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2 * len(STRATEGIES)
    assert {len(line.attrib["points"].split()) for line in lines} == {len(LOADS)}


@pytest.mark.parametrize("name", ["3 keys", "100 keys", "10,000 keys"])
def test_the_aim_is_met_on_the_mean(name: str) -> None:
    """97 % of the bound with 1.1 times the fewest cache misses."""
    row = KEPT["scenarios"][name]["rows"]["spread"]
    assert row["of_bound"] >= 0.97
    assert row["misses"] <= 1.1
