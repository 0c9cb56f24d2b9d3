"""What the proxy costs, next to nginx, to a plain relay, and to no proxy at all: `make bench`.

The relay that is measured has one core for itself; upstream, load and clients share another one.
Peers take turns within each round, and the best of the rounds counts, for other programs can only
make a figure worse. An argument names a file for all figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import proxy_peers as peers
from benchmarks.measure import cost_of, kmi_command, print_table, world
from benchmarks.streams import Outcome, Plan, Source, consume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.proxy_peers import Relay

ROUNDS = 3
#: What wrk does: a name, connections, bytes of a body.
LOADS = (("c1", 1, 1024), ("c16", 16, 1024), ("200 KB", 16, 204_800))
#: An agent asks every 5 s at most: 64 agents make 46,080 requests in an hour.
HOUR, AGENTS = 100_000, 64
HOUR_MAX_S = 25.0
STARTS = 6
#: After so long the records of all requests are on the disk.
SETTLE_S = 0.6
#: 1,600 events per second, as few busy streams and as many slow ones; and many at once.
FEW = Plan(streams=8, events=200, pause_s=8 / 1600)
MANY = Plan(streams=64, events=75, pause_s=64 / 1600)
ALL = Plan(streams=500, events=20, pause_s=0.1, timed=False)

Figures = dict[str, dict[str, float]]


class Cores(NamedTuple):
    """Where what runs."""

    load: int
    relay: int


def main() -> None:
    """Measure and print; without nginx, wrk or a second core there is nothing to compare to."""
    missing = unable()
    if missing:
        print(f"the proxy was not measured: {missing}")
        return
    cores = Cores(*sorted(os.sched_getaffinity(0))[:2])
    os.sched_setaffinity(0, {cores.load})
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    begun, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kmi-bench-") as place, world(2) as env:
        env = proxy_env(env)
        figures: Figures = {}
        own = start_up(env, cores)
        with ExitStack() as stack:
            own.update(requests(stack, Path(place), env, cores, figures))
        with world(2) as other:
            own.update(asyncio.run(streams(Path(place), proxy_env(other), cores, figures)))
    python = ".".join(map(str, sys.version_info[:3]))
    print(
        f"\nPython {python} on {platform.system()} {platform.machine()}; best of {ROUNDS}; ", end=""
    )
    print(f"load {load:.1f} before, {time.monotonic() - begun:.0f} s")
    show(figures, own)
    for path in sys.argv[1:]:
        Path(path).write_text(json.dumps({"peers": figures, "kmi": own}, indent=2) + "\n")


def unable() -> str:
    """Why the proxy can't be measured here; empty when it can."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return "it needs Linux and two cores"
    names = {"nginx": peers.nginx_binary(), "wrk": shutil.which("wrk")}
    missing = [name for name, path in names.items() if path is None]
    return f"{' and '.join(missing)} missing (apt install nginx-light wrk)" if missing else ""


def proxy_env(env: Mapping[str, str]) -> dict[str, str]:
    """Two keys that may be rotated, and a port that is free."""
    return {
        **env,
        "KMI_PROXY_LISTEN": "127.0.0.1:0",
        "KMI_PROXY_TOKEN": peers.TOKEN,
        "KMI_AUTO_ROTATE_ALLOWED": "1",
    }


def proxy(env: Mapping[str, str], upstream: int, cores: Cores) -> Any:
    """The proxy before an upstream, once it listens."""
    words = [*kmi_command(), "proxy", "start", "--foreground"]
    url = f"http://127.0.0.1:{upstream}{peers.UPSTREAM_PATH}"
    return peers.kmi_relay(words, {**env, "KMI_UPSTREAM_BASE_URL": url}, cores.relay)


def start_up(env: Mapping[str, str], cores: Cores) -> dict[str, float]:
    """From the start of the process to the moment at which it says where it listens."""
    bare = cost_of([sys.executable, "-c", "pass"], env, times=20).wall_s
    best = float("inf")
    for _ in range(STARTS):
        begun = time.perf_counter()
        with proxy(env, peers.free_port(), cores):
            best = min(best, time.perf_counter() - begun)
    return {"start_s": best - bare}


def requests(
    stack: ExitStack, folder: Path, env: Mapping[str, str], cores: Cores, figures: Figures
) -> dict[str, float]:
    """Rates, delays and processor time of all peers; memory of the proxy."""
    direct = stack.enter_context(peers.nginx_upstream(folder, cores.load))
    nginx = stack.enter_context(peers.nginx_relay(folder, direct.port, cores.relay))
    plain = stack.enter_context(peers.h11_relay(direct.port, cores.relay))
    kmi = stack.enter_context(proxy(env, direct.port, cores))
    ask_once(kmi)
    own = {"idle_mib": kmi.rss_mib()}
    for name, connections, size in LOADS:
        for _ in range(ROUNDS):
            for relay in (direct, nginx, kmi, plain):
                before = relay.cpu_s()
                load = peers.wrk(relay, folder, connections=connections, size=size, seconds=1)
                cpu_us = (relay.cpu_s() - before) / load.requests * 1e6
                row = figures.setdefault(relay.name, {})
                row[f"{name} rate"] = max(load.rate, row.get(f"{name} rate", 0.0))
                row[f"{name} p50"] = min(load.p50_s * 1e6, row.get(f"{name} p50", 1e9))
                row[f"{name} cpu"] = min(cpu_us, row.get(f"{name} cpu", 1e9))
    own.update(an_hour(kmi, folder))
    return own


def ask_once(relay: Relay) -> None:
    """One request, as the first of a session."""
    connection = HTTPConnection("127.0.0.1", relay.port, timeout=10)
    headers = {"Authorization": f"Bearer {peers.TOKEN}"}
    connection.request("POST", relay.path + peers.CHAT, "{}", headers)
    if connection.getresponse().read() != peers.ANSWER.encode():
        raise SystemExit("the proxy changed an answer")
    connection.close()


def an_hour(kmi: Relay, folder: Path) -> dict[str, float]:
    """What the requests of an hour leave in memory.

    The least of the first third of the readings is compared to the least of the last: what a burst
    takes for a moment comes and goes.
    """
    sent, begun, readings = 0, time.monotonic(), []
    while sent < HOUR and time.monotonic() - begun < HOUR_MAX_S:
        load = peers.wrk(kmi, folder, connections=16, size=1024, seconds=1, sessions=AGENTS)
        sent += load.requests
        time.sleep(SETTLE_S)
        readings.append(kmi.rss_mib())
    third = max(1, len(readings) // 3)
    growth = min(readings[-third:]) - min(readings[:third])
    return {"growth_mib": growth, "after_mib": readings[-1], "sent": sent}


async def streams(
    folder: Path, env: Mapping[str, str], cores: Cores, figures: Figures
) -> dict[str, float]:
    """Delays of events, memory with many streams, and 500 streams at once."""
    source = Source()
    await source.start()
    with ExitStack() as stack:
        nginx = stack.enter_context(peers.nginx_relay(folder, source.port, cores.relay))
        plain = stack.enter_context(peers.h11_relay(source.port, cores.relay))
        kmi = stack.enter_context(proxy(env, source.port, cores))
        direct = peers.Relay("direct", os.getpid(), source.port, peers.UPSTREAM_PATH)
        for _ in range(ROUNDS):
            for relay in (direct, nginx, kmi, plain):
                before = relay.cpu_s()
                outcome = await stream(source, relay, FEW)
                cpu_us = (relay.cpu_s() - before) / len(outcome.delays_s) * 1e6
                row = figures[relay.name]
                row["event p50"] = min(outcome.p50_s * 1e6, row.get("event p50", 1e9))
                row["event cpu"] = min(cpu_us, row.get("event cpu", 1e9))
        many = asyncio.ensure_future(stream(source, kmi, MANY))
        await asyncio.sleep(MANY.events * MANY.pause_s * 0.9)
        loaded = kmi.rss_mib()
        await many
        outcome = await stream(source, kmi, ALL, strict=False)
        for text in outcome.errors[:5]:
            print(text)
        return {"loaded_mib": loaded, "errors": len(outcome.errors), "after_500_mib": kmi.rss_mib()}


async def stream(source: Source, relay: Relay, plan: Plan, *, strict: bool = True) -> Outcome:
    """The streams of a plan through a relay; an error ends the benchmark if ``strict``."""
    source.plan = plan
    limit_s = plan.events * plan.pause_s + 15.0
    outcome = await consume(relay.port, relay.path + peers.CHAT, peers.TOKEN, plan, limit_s)
    if strict and outcome.errors:
        raise SystemExit(f"{relay.name}: {outcome.errors[0]}")
    return outcome


COLUMNS = ("direct", "nginx", "kmi", "h11")


def show(figures: Figures, own: Mapping[str, float]) -> None:
    """Print what was measured, then what it means next to the targets."""
    print(f"\n{'':<28}" + "".join(f"{name:>9}" for name in COLUMNS))
    for what, key in rows_of_peers():
        print(f"{what:<28}" + "".join(f"{figures[name][key]:9.0f}" for name in COLUMNS))
    nginx, kmi = figures["nginx"], figures["kmi"]
    direct = figures["direct"]
    print()
    print_table(
        [
            ("added p50 of a request, ms", (kmi["c1 p50"] - direct["c1 p50"]) / 1e3, "<= 0.15", ""),
            ("  the same of nginx", (nginx["c1 p50"] - direct["c1 p50"]) / 1e3, "", ""),
            ("requests/s at c16, to nginx", kmi["c16 rate"] / nginx["c16 rate"], ">= 0.50", ""),
            ("  the same by CPU per request", nginx["c16 cpu"] / kmi["c16 cpu"], "", ""),
            (
                "  to asyncio's streams and h11",
                kmi["c16 rate"] / figures["h11"]["c16 rate"],
                "",
                "",
            ),
            ("200 KB bodies/s, to nginx", kmi["200 KB rate"] / nginx["200 KB rate"], ">= 0.60", ""),
            ("  the same by CPU per request", nginx["200 KB cpu"] / kmi["200 KB cpu"], "", ""),
            ("added p50 of an event, ms", added_ms(figures, "kmi"), "<= 0.30", ""),
            ("  the same of nginx", added_ms(figures, "nginx"), "", ""),
            ("memory idle, MiB", own["idle_mib"], "<= 25", "RSS"),
            ("memory with 64 streams, MiB", own["loaded_mib"], "<= 35", "RSS"),
            (
                "growth over many requests, MiB",
                own["growth_mib"],
                "<= 2",
                f"RSS, {own['sent']:,.0f} of them",
            ),
            ("start to listening, ms", own["start_s"] * 1e3, "<= 150", "beyond python -c pass"),
            ("errors of 500 streams at once", own["errors"], "0", "every byte compared"),
        ]
    )


def added_ms(figures: Figures, name: str) -> float:
    """What a relay adds to the delay of an event."""
    return (figures[name]["event p50"] - figures["direct"]["event p50"]) / 1e3


def rows_of_peers() -> Iterator[tuple[str, str]]:
    """What the table of peers shows, and under which key it was kept."""
    for name, _, _ in LOADS:
        yield f"requests/s, {name}", f"{name} rate"
        yield f"  p50, µs, {name}", f"{name} p50"
        yield f"  CPU per request, µs, {name}", f"{name} cpu"
    yield "event p50, µs", "event p50"
    yield "  CPU per event, µs", "event cpu"


if __name__ == "__main__":
    main()
