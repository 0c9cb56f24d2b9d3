"""What thousands of keys cost: the quick way next to that of three, and whole commands."""

from __future__ import annotations

import itertools
import os
import sys

from benchmarks.measure import Figure, cost_of, kmi_command, ratios, world

COUNTS = (200, 10_000)
#: Of a whole command with the most of them, in seconds of CPU.
LIMIT_S = 3
#: What people do, and what is read by TAB.
COMMANDS = ("status", "keys list", "why", "health --no-refresh", "rotate", "config validate")


def figures() -> list[Figure]:
    """Measure."""
    kmi = kmi_command()
    run = [*kmi, "run", "--", "true"]
    with world(3) as env:
        cost_of(run, env, times=3)
        few = cost_of(run, env)
    found = []
    for count in COUNTS:
        with world(count) as env:
            cost_of(run, env, times=3)
            what = f"kmi run, nothing to change: {count:,} keys against 3"
            # 200 keys are many people's work, 10,000 nobody's.
            found += ratios(what, cost_of(run, env), few, "<= 1.5" if count < 1000 else "<= 3")
            if count == COUNTS[-1]:
                found += whole(kmi, count, env)
    return found


def whole(kmi: list[str], count: int, env: dict[str, str]) -> list[Figure]:
    """Commands that read every key."""
    turns = itertools.cycle([f"key{count - 1:04d}", "key0000"])
    swap = cost_of(
        [], env, times=4, before_each=lambda: [*kmi, "run", "-k", next(turns), "--", "true"]
    )
    seen = {"run -k LABEL -- true": swap}
    for command in COMMANDS:
        seen[command] = cost_of([*kmi, *command.split()], env, times=3)
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": "kmi use key00", "COMP_POINT": "13"}
    env = {**env, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": os.devnull}
    seen["TAB by argcomplete"] = cost_of([sys.executable, "-m", "kmi"], env, times=3)
    return [
        Figure(f"{what}, {count:,} keys", cost.cpu_s, f"<= {LIMIT_S}", "s", "CPU")
        for what, cost in seen.items()
    ]
