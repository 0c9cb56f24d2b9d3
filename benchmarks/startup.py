"""What kmi adds to the start of a program, as ratios to `python -c pass`; the best of 30 runs."""

from __future__ import annotations

import itertools
import shlex
import sys
from pathlib import Path

from benchmarks.measure import Cost, Figure, cost_of, kmi_command, ratios, world


def figures() -> list[Figure]:
    """Measure."""
    kmi = kmi_command()
    run = [*kmi, "run", "--", "true"]
    turns = itertools.cycle(["key0000", "key0001"])
    with world(3) as env:
        bare = cost_of([sys.executable, "-c", "pass"], env)
        cost_of(run, env, times=3)
        unchanged = cost_of(run, env)
        current = cost_of([*kmi, "current"], env)
        swap = cost_of([], env, before_each=lambda: [*kmi, "run", "-k", next(turns), "--", "true"])
        version = cost_of([*kmi, "--version"], env)
        event = Path(env["HOME"], "event.json")
        event.write_text('{"session_id": "s", "error_message": "503 overloaded"}')
        hooks = {
            word: cost_of(["/bin/sh", "-c", f"exec {shlex.join(kmi)} hook {word} < {event}"], env)
            for word in ("session-start", "stop-failure")
        }
        bare = Cost(*map(min, bare, cost_of([sys.executable, "-c", "pass"], env)))
    return [
        Figure("python -c pass", bare.wall_s * 1e3, unit="ms", how="wall"),
        *ratios("kmi run -- true, nothing to change", unchanged, bare, "<= 2.5"),
        *ratios("kmi run -- true, the key is swapped", swap, bare, "<= 8"),
        *ratios("kmi current", current, bare, "<= 2.5"),
        *ratios("kmi --version", version, bare, "<= 2.5"),
        *ratios("kmi hook session-start", hooks["session-start"], bare, "<= 3"),
        *ratios("kmi hook stop-failure, the answer", hooks["stop-failure"], bare, "<= 3"),
    ]
