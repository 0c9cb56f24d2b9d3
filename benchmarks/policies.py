"""What each strategy makes of pools from 3 to 10,000 keys, simulated.

``python -m benchmarks.policies`` simulates everything (minutes), keeps the figures in
``benchmarks/policies.json``, and writes ``docs/explanation/strategies.md`` and its picture from
them; with ``--render`` it only writes these two. Everything comes from seeds: the same code gives
the same figures on every machine.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import Figure
from benchmarks.policies_page import page
from benchmarks.policies_plot import plot
from kmi.settings import STRATEGIES
from kmi.simulation.report import MONDAY, compare, misses_ratio, of_bound, prepare
from kmi.simulation.workload import synthetic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "policies.json"
TEMPLATE = ROOT / "docs" / "templates" / "strategies.md"
PAGE = ROOT / "docs" / "explanation" / "strategies.md"
PICTURE = ROOT / "docs" / "images" / "strategies.svg"


class Scenario(NamedTuple):
    """What is simulated.

    Attributes:
        load: the share of the quotas that is needed; None: with quotas as they are known.
        seeds: the figures are means over these, but for the worst share of the bound.
    """

    keys: int
    clients: int
    days: float
    load: float | None = None
    seeds: tuple[int, ...] = (1,)
    strategies: tuple[str, ...] = STRATEGIES

    def scaled(self, load: float) -> Scenario:
        """The same with another load."""
        return self._replace(load=load)


SCENARIOS = {
    "3 keys": Scenario(3, 12, 14, 0.9, tuple(range(1, 9))),
    "100 keys": Scenario(100, 400, 9, 0.9),
    "10,000 keys": Scenario(10_000, 1_000, 2),
    "10,000 keys, small quotas": Scenario(
        *(10_000, 24_000, 0.5, 0.9),
        strategies=("round-robin", "least-recently-used", "spread"),
    ),
}
#: Small enough for a test to simulate it again.
SAMPLE = Scenario(3, 8, 3, 0.9, (1, 2))
#: What the picture shows: the same pools under one load after another.
LOADS = (0.6, 0.75, 0.9, 1.05, 1.2)
SWEEPS = {
    "3 keys": Scenario(3, 12, 14, seeds=(1, 2, 3, 4)),
    "30 keys": Scenario(30, 120, 7),
}


def simulate(scenario: Scenario) -> dict[str, Any]:
    """Run a scenario: its size, and by strategy the means over the seeds."""
    found: dict[str, list[dict[str, float]]] = {}
    sizes: list[dict[str, float]] = []
    for seed in scenario.seeds:
        rng = random.Random(seed)  # noqa: S311 - a simulation's chance is no secret
        requests = synthetic(scenario.clients, scenario.days, MONDAY, rng)
        pool, load = prepare(
            scenario.keys, requests, MONDAY, seed=seed, load=scenario.load, chance=random.Random
        )
        report = compare(pool, requests, scenario.strategies, MONDAY, load)
        sizes.append(
            {
                "requests": report.requests,
                "sessions": report.sessions,
                "load": load,
                "bound": report.bound.served / max(1, report.requests),
            }
        )
        for name, outcome in report.outcomes.items():
            row = {
                "served": outcome.served / max(1, report.requests),
                "of_bound": of_bound(report, outcome),
                "misses": misses_ratio(report, outcome),
                "switches": 1000.0 * outcome.switches / max(1, outcome.served),
                "errors": 1000.0 * outcome.errors / max(1, outcome.served),
                "wasted": outcome.wasted,
            }
            found.setdefault(name, []).append(row)
    return {
        **scenario._asdict(),
        **_means(sizes),
        "rows": {
            name: {**_means(rows), "worst": round(min(row["of_bound"] for row in rows), 4)}
            for name, rows in found.items()
        },
    }


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}


def figures() -> list[Figure]:
    """For `make bench`: what is promised of the best strategy, on the smallest and largest pool."""
    found = []
    for name in ("3 keys", "10,000 keys"):
        row = simulate(SCENARIOS[name]._replace(strategies=("spread",)))["rows"]["spread"]
        how = "simulated, strategy spread"
        found += [
            Figure(f"{name}: requests served, of the bound", row["of_bound"], ">= 0.97", how=how),
            Figure(f"{name}: cache misses, of the fewest", row["misses"], "<= 1.1", how=how),
        ]
    return found


def everything() -> dict[str, Any]:
    """All scenarios, and the sweeps of the picture; several at once."""
    sweeps = {
        f"{name} {load}": sweep.scaled(load) for name, sweep in SWEEPS.items() for load in LOADS
    }
    jobs = {"sample": SAMPLE, **SCENARIOS, **sweeps}
    with ProcessPoolExecutor() as pool:
        running = {name: pool.submit(simulate, job) for name, job in jobs.items()}
        found = {}
        for name, job in running.items():
            found[name] = job.result()
            sys.stderr.write(f"simulated {name}\n")
    return {
        "schema": 1,
        "sample": found["sample"],
        "scenarios": {name: found[name] for name in SCENARIOS},
        "sweeps": {name: [found[f"{name} {load}"] for load in LOADS] for name in SWEEPS},
    }


def render(results: dict[str, Any]) -> dict[Path, str]:
    """The files that are made of the figures."""
    return {
        PICTURE: plot(results["sweeps"]),
        PAGE: page(TEMPLATE.read_text(encoding="utf-8"), results["scenarios"]),
    }


def main() -> None:
    """Simulate, unless asked not to, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__)
    parser.add_argument("--render", action="store_true", help="only write page and picture")
    args = parser.parse_args()
    if not args.render:
        text = json.dumps(everything(), indent=1) + "\n"
        RESULTS.write_text(text, encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for path, text in render(results).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
