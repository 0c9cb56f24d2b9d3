"""Reading 1 GB of session logs of both clients, and looking again when nothing is new."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, Figure, cost_of, kmi_command, ratios, world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOTAL_BYTES = 1024**3
#: As in a year of work every day: a session is a few megabytes, most of them tool results.
SESSION_BYTES = 4 * 1024**2
SPAN_S = 180 * 86400.0
PROJECTS = 12


def figures() -> list[Figure]:
    """Measure."""
    with world(3) as env:
        home = Path(env["HOME"])
        made, calls = write_logs(home, TOTAL_BYTES, now=time.time())
        command = [*kmi_command(), "usage", "--json", "--since", "all"]
        wall_s, cpu_s, rss, out = run(command, env)
        known = json.loads(out)["total"]["calls"]
        if known != calls:
            raise SystemExit(f"{known} calls were found of {calls}")
        again = cost_of([*kmi_command(), "usage"], env, times=20)
        bare = cost_of([sys.executable, "-c", "pass"], env, times=20)
        bare = Cost(*map(min, bare, cost_of([sys.executable, "-c", "pass"], env, times=20)))
    scale = TOTAL_BYTES / made
    return [
        Figure("first reading of 1 GB of session logs", wall_s * scale, "<= 20", "s", "wall"),
        Figure("first reading of 1 GB of session logs", cpu_s * scale, "<= 20", "s", "CPU"),
        Figure("memory of that", rss / 1024**2, "<= 100", "MB", "RSS"),
        Figure("calls in them", float(calls), unit="calls"),
        *ratios("kmi usage with nothing new, to python -c pass", again, bare, "<= 5"),
    ]


def run(command: Sequence[str], env: dict[str, str]) -> tuple[float, float, int, bytes]:
    """Run a program; its time on the wall and on the processor, its peak of memory, its output."""
    reading, writing = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_CLOSE, reading),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], list(command), env, file_actions=actions)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        out = pipe.read()
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, out


def write_logs(home: Path, total: int, *, now: float, seed: int = 7) -> tuple[int, int]:
    """Fill the homes of both clients with sessions; gives the bytes written, and the calls."""
    chance = random.Random(seed)
    written = calls = number = 0
    while written < total:
        number += 1
        start = now - SPAN_S * (1.0 - written / total) - 3600.0
        write = code_session if number % 2 else cli_session
        size, count = write(home, number, start, min(SESSION_BYTES, total - written), chance)
        written += size
        calls += count
    return written, calls


def code_session(
    home: Path, number: int, at: float, size: int, chance: random.Random
) -> tuple[int, int]:
    """One session of Kimi Code: its folder, its log, and now and then a sub-agent's."""
    project = f"/home/somebody/project-{number % PROJECTS}"
    session = f"session_{number:08x}-0000-4000-8000-000000000000"
    folder = home / ".kimi-code/sessions" / f"wd_project_{number % PROJECTS:012x}" / session
    written = calls = 0
    agents = ["main", "agent-1"] if number % 10 == 1 else ["main"]
    for agent in agents:
        place = folder / "agents" / agent
        place.mkdir(parents=True)
        with (place / "wire.jsonl").open("wb") as log:
            for line, call in code_lines(agent, at, size // len(agents), chance):
                written += log.write(line)
                calls += call
    state = {"id": session, "version": 2, "cwd": project, "createdAt": int(at * 1000)}
    (folder / "state.json").write_text(json.dumps({**state, "agents": {"main": {}}}))
    return written, calls


def code_lines(
    agent: str, at: float, size: int, chance: random.Random
) -> Iterator[tuple[bytes, bool]]:
    """The lines of a log, and whether each is a call's cost."""
    left = size
    moment = int(at * 1000)
    lines: list[tuple[dict[str, object], bool]] = [
        ({"type": "metadata", "protocol_version": "1.5", "created_at": moment}, False),
        ({"type": "profile.bind", "agentId": agent, "systemPrompt": words(chance, 30_000)}, False),
    ]
    while left > 0:
        for record, call in lines:
            line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
            left -= len(line)
            yield line, call
        moment += chance.randrange(5_000, 40_000)
        loop = {"type": "context.append_loop_event", "agentId": agent, "time": moment}
        usage = tokens(chance, ("inputOther", "output", "inputCacheRead", "inputCacheCreation"))
        cost = {"type": "usage.record", "agentId": agent, "model": "k", "usage": usage}
        lines = [
            ({**loop, "event": {"type": "tool.result", "output": words(chance)}}, False),
            ({"type": "llm.request", "agentId": agent, "modelAlias": "k", "time": moment}, False),
            ({**cost, "usageScope": "turn", "time": moment}, True),
            ({**loop, "event": {"type": "content.part", "text": words(chance, 800)}}, False),
            ({**loop, "event": {"type": "step.end", "usage": usage}}, False),
        ]


def cli_session(
    home: Path, number: int, at: float, size: int, chance: random.Random
) -> tuple[int, int]:
    """One session of kimi-cli."""
    folder = home / ".kimi/sessions" / f"{number % PROJECTS:032x}" / f"{number:08x}-0000-4000"
    folder.mkdir(parents=True)
    written = calls = 0
    with (folder / "wire.jsonl").open("wb") as log:
        written += log.write(b'{"type": "metadata", "protocol_version": "1.10"}\n')
        while written < size:
            at += chance.randrange(5, 40) + chance.random()
            usage = tokens(
                chance, ("input_other", "output", "input_cache_read", "input_cache_creation")
            )
            for kind, payload in (
                ("StepBegin", {"n": 1}),
                ("ToolResult", {"return_value": {"output": words(chance)}}),
                ("ContentPart", {"type": "text", "text": words(chance, 800)}),
                ("StatusUpdate", {"token_usage": usage, "message_id": f"chatcmpl-{at}"}),
            ):
                record = {"timestamp": at, "message": {"type": kind, "payload": payload}}
                written += log.write(json.dumps(record).encode() + b"\n")
            calls += 1
    return written, calls


def tokens(chance: random.Random, names: Sequence[str]) -> dict[str, int]:
    """What a call costs: most of the prompt comes from the cache."""
    counts = (chance.randrange(200, 4_000), chance.randrange(20, 1_500))
    cached = chance.randrange(8_000, 120_000)
    return dict(zip(names, (*counts, cached, 0)))


_TEXT = " ".join(f'line {n}: some output of a tool, quoted "so" and\n' for n in range(20_000))


def words(chance: random.Random, most: int = 40_000) -> str:
    """Text as tools put it out, mostly short, sometimes very long."""
    size = min(most, int(chance.paretovariate(1.1) * 1_500))
    start = chance.randrange(len(_TEXT) - size)
    return _TEXT[start : start + size]
