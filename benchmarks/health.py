"""Asking about 50 keys at once, and `kmi status` without network: `make bench`."""

from __future__ import annotations

import platform
import sys

from benchmarks.measure import Cost, cost_of, kmi_command, print_table, world
from kmi.demo.fake_api import Behaviour, FakeKimi

KEYS = 50
ANSWER_S = 0.2


def main() -> None:
    """Measure and print."""
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
            raise SystemExit("not every key was asked about")
        with world(1) as lone:
            lone["KMI_UPSTREAM_BASE_URL"] = fake.base_url
            one = cost_of([*health, "--refresh"], lone, times=8)
            looked = cost_of([*health, "--no-refresh"], lone, times=8)
    # What asking itself has to load, as the question about a single key tells.
    loading_s = one.wall_s - looked.wall_s - ANSWER_S
    with world(3) as env:
        status = cost_of([*kmi, "status"], env)
        bare = Cost(*map(min, bare, cost_of([sys.executable, "-c", "pass"], env)))
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python} on {platform.system()} {platform.machine()}; best of 8 and 30")
    print(f"python -c pass: {bare.wall_s * 1000:.1f} ms, {bare.cpu_s * 1000:.1f} ms of CPU")
    print(f"start-up: {(shown.wall_s + loading_s) * 1000:.0f} ms for {KEYS} keys\n")
    asking = (refreshed.wall_s - shown.wall_s - loading_s) / ANSWER_S
    print_table(
        [
            (f"asking about {KEYS} keys, in answers of 200 ms", asking, "<= 2", "wall"),
            ("kmi status", status.cpu_s / bare.cpu_s, "<= 6", "CPU"),
            ("kmi status", status.wall_s / bare.wall_s, "<= 6", "wall"),
        ]
    )


if __name__ == "__main__":
    main()
