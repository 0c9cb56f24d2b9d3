"""The table of `make bench`: what is in it, and that it is kept. Nothing is measured here."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import measure, report
from benchmarks.measure import Figure
from benchmarks.report import Section

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
MACHINE = {"cpu": "x", "cores": "2", "system": "Linux", "python": "3.13.0"}


def section(name: str, *figures: Figure, unable: str = "") -> Section:
    return Section(name, name.title(), MACHINE, "2026-01-31", 0.5, 1.0, figures, unable)


@pytest.mark.parametrize(
    "seen,target,met",
    [
        (2.5, "<= 2.5", True), (2.51, "<= 2.5", False), (0.6, ">= 0.6", True),
        (0.59, ">= 0.6", False), (0, "== 0", True), (1, "== 0", False), (1, "", None),
    ],
)  # fmt: skip
def test_a_figure_is_held_to_its_target(seen: float, target: str, met: bool | None) -> None:
    assert Figure("what", seen, target).met is met


def test_the_table_names_figures_targets_verdicts_and_peers() -> None:
    found = [
        section("one", Figure("prompt", 0.0, "== 0", "processes", "strace", (("direnv", 3.0),))),
        section("two", Figure("rate", 7650.4, ">= 8000", "/s")),
        section("three", unable="nginx missing"),
    ]
    text = report.text(found)
    lines = [line.split("  ") for line in text.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["prompt", "0 processes", "0", "met", "direnv 3", "strace"] in rows
    assert ["rate", "7,650 /s", "≥ 8000", "missed"] in rows
    assert "not measured: nginx missing" in text
    assert "1 targets met, 1 missed" in text
    page = report.markdown(found)
    assert "| rate | 7,650 /s | ≥ 8000 | missed |  |  |" in page
    assert page.count("x, 2 cores, Linux, Python 3.13.0; 2026-01-31: ") == 1


def test_what_is_kept_comes_back_and_a_part_replaces_a_part(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    figure = Figure("a", 1.5, "<= 2", "s", "CPU", (("b", 2.0),))
    bench.keep(path, [section("startup", figure), section("proxy", unable="no nginx")])
    bench.keep(path, [section("startup", unable="a bad day"), section("proxy", figure)])
    kept = report.sections(path.read_text())
    assert [(s.name, s.unable, s.figures) for s in kept] == [
        ("startup", "", [figure]),
        ("proxy", "", [figure]),
    ]
    path.write_text(json.dumps({"schema": 2, "sections": []}))
    with pytest.raises(ValueError, match="schema 2"):
        bench.keep(path, [])


def test_every_benchmark_gives_figures_and_only_those_are_kept() -> None:
    for name in bench.BENCHMARKS:
        assert callable(importlib.import_module(f"benchmarks.{name}").figures), name
    kept = report.sections(RESULTS.read_text(encoding="utf-8"))
    assert [s.name for s in kept] == [
        name for name in bench.BENCHMARKS if name in {s.name for s in kept}
    ]
    assert "/home/" not in RESULTS.read_text() + str(bench.machine())


def test_examples() -> None:
    for module in (measure, report):
        assert doctest.testmod(module).failed == 0


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--only", "startup,nonsense"])
    assert "no benchmark nonsense; there are: startup" in capsys.readouterr().err
