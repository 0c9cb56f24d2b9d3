"""What the proxy costs, next to nginx, to a plain relay, and to no proxy at all.

The relay that is measured has one core for itself; upstream, load and clients share another one.
Peers take turns within each round, and the best of the rounds counts, for other programs can only
make a figure worse.
"""

from __future__ import annotations

import asyncio
import os
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
from benchmarks.measure import Figure, UnableError, cost_of, kmi_command, world
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
#: Next to what else the proxy is measured, and its rate to nginx's.
PEERS = ("direct", "nginx", "h11")
RATES = {"c16": ">= 0.5", "200 KB": ">= 0.6"}
STARTS = 6
#: After so long the records of all requests are on the disk.
SETTLE_S = 0.6
#: 1,600 events per second, as few busy streams and as many slow ones; and many at once.
FEW = Plan(streams=8, events=200, pause_s=8 / 1600)
MANY = Plan(streams=64, events=75, pause_s=64 / 1600)
ALL = Plan(streams=500, events=20, pause_s=0.1, timed=False)

Seen = dict[str, dict[str, float]]


class Cores(NamedTuple):
    """Where what runs."""

    load: int
    relay: int


def figures() -> list[Figure]:
    """Measure.

    Raises:
        UnableError: without nginx, wrk or a second core there is nothing to compare to.
    """
    missing = unable()
    if missing:
        raise UnableError(missing)
    cores = Cores(*sorted(os.sched_getaffinity(0))[:2])
    os.sched_setaffinity(0, {cores.load})
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    with tempfile.TemporaryDirectory(prefix="kmi-bench-") as place, world(2) as env:
        env = proxy_env(env)
        seen: Seen = {}
        own = start_up(env, cores)
        with ExitStack() as stack:
            own.update(requests(stack, Path(place), env, cores, seen))
        with world(2) as other:
            own.update(asyncio.run(streams(Path(place), proxy_env(other), cores, seen)))
    return [*of_peers(seen), *of_its_own(own)]


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
    stack: ExitStack, folder: Path, env: Mapping[str, str], cores: Cores, seen: Seen
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
                row = seen.setdefault(relay.name, {})
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
    folder: Path, env: Mapping[str, str], cores: Cores, seen: Seen
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
                row = seen[relay.name]
                row["event p50"] = min(outcome.p50_s * 1e6, row.get("event p50", 1e9))
                row["event cpu"] = min(cpu_us, row.get("event cpu", 1e9))
        many = asyncio.ensure_future(stream(source, kmi, MANY))
        await asyncio.sleep(MANY.events * MANY.pause_s * 0.9)
        loaded = kmi.rss_mib()
        await many
        outcome = await stream(source, kmi, ALL, strict=False)
        for text in outcome.errors[:5]:
            print(text, file=sys.stderr)
        return {"loaded_mib": loaded, "errors": len(outcome.errors), "after_500_mib": kmi.rss_mib()}


async def stream(source: Source, relay: Relay, plan: Plan, *, strict: bool = True) -> Outcome:
    """The streams of a plan through a relay; an error ends the benchmark if ``strict``."""
    source.plan = plan
    limit_s = plan.events * plan.pause_s + 15.0
    outcome = await consume(relay.port, relay.path + peers.CHAT, peers.TOKEN, plan, limit_s)
    if strict and outcome.errors:
        raise SystemExit(f"{relay.name}: {outcome.errors[0]}")
    return outcome


def of_peers(seen: Seen) -> Iterator[Figure]:
    """What was measured of all, and what it means next to the targets."""

    def peers_of(key: str, but: tuple[str, ...] = ()) -> tuple[tuple[str, float], ...]:
        return tuple((name, seen[name][key]) for name in PEERS if name not in but)

    def to_nginx(key: str) -> tuple[tuple[str, float], ...]:
        return (("h11", seen["h11"][key] / seen["nginx"][key]),)

    def added_ms(name: str, key: str) -> float:
        return (seen[name][key] - seen["direct"][key]) / 1e3

    nginx, kmi = seen["nginx"], seen["kmi"]
    for name, connections, size in LOADS:
        load = f"{connections} connection{'s' * (connections > 1)}, {size // 1024} KB"
        yield Figure(
            f"requests, {load}", kmi[f"{name} rate"], "", "/s", "", peers_of(f"{name} rate")
        )
        if name in RATES:
            ratio = kmi[f"{name} rate"] / nginx[f"{name} rate"]
            yield Figure("  to nginx", ratio, RATES[name], "×", "", to_nginx(f"{name} rate"))
        cpu = peers_of(f"{name} cpu", but=("direct",))
        yield Figure("  CPU per request", kmi[f"{name} cpu"], "", "µs", "", cpu)
    for what, key, target in (
        ("a request", "c1 p50", "<= 0.15"),
        ("an event", "event p50", "<= 0.3"),
    ):
        others = tuple((name, added_ms(name, key)) for name in ("nginx", "h11"))
        yield Figure(f"median added to {what}", added_ms("kmi", key), target, "ms", "", others)
    cpu = peers_of("event cpu", but=("direct",))
    yield Figure("  CPU per event", kmi["event cpu"], "", "µs", "", cpu)


def of_its_own(own: Mapping[str, float]) -> list[Figure]:
    """Memory, start and errors of the proxy alone."""
    growth = f"growth over {own['sent']:,.0f} requests"
    return [
        Figure("memory, idle", own["idle_mib"], "<= 25", "MiB", "RSS"),
        Figure("memory, 64 streams", own["loaded_mib"], "<= 35", "MiB", "RSS"),
        Figure(growth, own["growth_mib"], "<= 2", "MiB", "RSS"),
        Figure("start to listening, beyond python -c pass", own["start_s"] * 1e3, "<= 150", "ms"),
        Figure("errors of 500 streams at once", own["errors"], "== 0", "", "every byte compared"),
    ]
