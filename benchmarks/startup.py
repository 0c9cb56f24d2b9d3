"""What kmi adds to the start of a program, as ratios to `python -c pass`: `make bench`."""

from __future__ import annotations

import itertools
import platform
import sys

from benchmarks.measure import Cost, cost_of, kmi_command, print_table, world


def main() -> None:
    """Measure and print."""
    kmi = kmi_command()
    run = [*kmi, "run", "--", "true"]
    turns = itertools.cycle(["key0000", "key0001"])
    with world(3) as env:
        bare = cost_of([sys.executable, "-c", "pass"], env)
        cost_of(run, env, times=3)
        unchanged = cost_of(run, env)
        current = cost_of([*kmi, "current"], env)
        swap = cost_of([], env, before_each=lambda: [*kmi, "run", "-k", next(turns), "--", "true"])
    with world(200) as env:
        cost_of(run, env, times=3)
        many = cost_of(run, env)
        bare = Cost(*map(min, bare, cost_of([sys.executable, "-c", "pass"], env)))
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python} on {platform.system()} {platform.machine()}; best of 30")
    print(f"python -c pass: {bare.wall_s * 1000:.1f} ms, {bare.cpu_s * 1000:.1f} ms of CPU\n")
    rows = []
    for what, cost, base, target in (
        ("kmi run -- true, nothing to change", unchanged, bare, "<= 2.5"),
        ("kmi run -- true, the key is swapped", swap, bare, "<= 8"),
        ("kmi current", current, bare, "<= 2.5"),
        ("200 auth files, against 3", many, unchanged, "<= 1.5"),
    ):
        rows.append((what, cost.cpu_s / base.cpu_s, target, "CPU"))
        rows.append((what, cost.wall_s / base.wall_s, target, "wall"))
    print_table(rows)


if __name__ == "__main__":
    main()
