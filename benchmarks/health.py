"""Asking about 50 keys at once, and `kmi status` without network; the best of 8 and of 30."""

from __future__ import annotations

import sys

from benchmarks.measure import (
    Cost,
    Figure,
    UnableError,
    cost_of,
    kmi_command,
    ratios,
    world,
)
from kmi.demo.fake_api import Behaviour, FakeKimi

KEYS = 50
ANSWER_S = 0.2


def figures() -> list[Figure]:
    """Measure.

    Raises:
        UnableError: not every key was asked about.
    """
    kmi = kmi_command()
    health = [*kmi, "health", "--json"]
    secrets = [f"sk-kimi-bench-{number:04d}-0123456789abcdef" for number in range(KEYS)]
    behaviour = Behaviour(latency_s=ANSWER_S)
    with FakeKimi(dict.fromkeys(secrets, behaviour)) as fake, world(KEYS) as env:
        env["KMI_UPSTREAM_BASE_URL"] = fake.base_url
        bare = cost_of([sys.executable, "-c", "pass"], env)
        refreshed = cost_of([*health, "--refresh"], env, times=8)
        shown = cost_of([*health, "--no-refresh"], env, times=8)
        if len(fake.find("/usages")) != KEYS * 8:
            raise UnableError("not every key was asked about")
        with world(1) as lone:
            lone["KMI_UPSTREAM_BASE_URL"] = fake.base_url
            one = cost_of([*health, "--refresh"], lone, times=8)
            looked = cost_of([*health, "--no-refresh"], lone, times=8)
    # What asking itself has to load, as the question about a single key tells.
    loading_s = one.wall_s - looked.wall_s - ANSWER_S
    with world(3) as env:
        status = cost_of([*kmi, "status"], env)
        bare = Cost(*map(min, bare, cost_of([sys.executable, "-c", "pass"], env)))
    asking = (refreshed.wall_s - shown.wall_s - loading_s) / ANSWER_S
    return [
        Figure(f"asking about {KEYS} keys, to one answer of 200 ms", asking, "<= 2", how="wall"),
        Figure("start-up of that", (shown.wall_s + loading_s) * 1e3, unit="ms", how="wall"),
        *ratios("kmi status, to python -c pass", status, bare, "<= 6"),
    ]
