"""`kmi simulate`: what each strategy would make of keys and a workload; nothing is sent."""

from __future__ import annotations

import json
import math
import os
import random
from typing import TYPE_CHECKING, Any

from kmi.arguments import read_number, read_share
from kmi.errors import EXIT_OK, KmiError, UsageError
from kmi.settings import STRATEGIES
from kmi.simulation import report as reports
from kmi.simulation.workload import DAY_S, recorded, synthetic
from kmi.usage.rows import UsageRow

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kmi.app import App
    from kmi.simulation.workload import Request

#: Each of these costs a simulated week of 1,000 clients minutes.
KEYS_MAX, CLIENTS_MAX, DAYS_MAX = 100_000, 100_000, 366
#: Clients times days: each is about 120 requests, and each of these 200 bytes.
CLIENT_DAYS_MAX = 100_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--keys", type=read_number, default=3, metavar="N", help="keys (3)")
    parser.add_argument(
        "--clients", type=read_number, metavar="N", help="people at work (4 for each key)"
    )
    parser.add_argument("--days", type=read_number, default=14, metavar="N", help="days (14)")
    parser.add_argument("--seed", type=read_number, default=1, metavar="N", help="of chance (1)")
    parser.add_argument(
        "--load",
        type=read_share,
        metavar="SHARE",
        help="make the quotas so large that this share of them is needed, such as 0.9",
    )
    parser.add_argument(
        "--strategy",
        action="append",
        choices=STRATEGIES,
        help="only this one; may be repeated (all)",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--workload", metavar="FILE", help="requests from a file of usage rows")
    source.add_argument(
        "--recorded", action="store_true", help="requests from what `kmi usage` has recorded"
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Simulate, and compare; no file of kmi's is written, and nothing is sent."""
    _check(args)
    requests, start = _workload(args, app)
    pool, load = reports.prepare(
        args.keys, requests, start, seed=args.seed, load=args.load, chance=random.Random
    )
    what = app.words("simulate.progress")
    report = reports.compare(
        pool,
        requests,
        args.strategy or STRATEGIES,
        start,
        load,
        lambda done, total: app.screen.progress(done, total, what),
    )
    if app.screen.json:
        app.screen.document({"seed": args.seed, **reports.document(report)})
        return EXIT_OK
    _print(app, report)
    return EXIT_OK


def _check(args: argparse.Namespace) -> None:
    for name, least, most in (
        ("keys", 1, KEYS_MAX),
        ("clients", 1, CLIENTS_MAX),
        ("days", 1, DAYS_MAX),
    ):
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} {value} is out of range", f"from {least} to {most:,}")


def _print(app: App, report: reports.Report) -> None:
    words, screen = app.words, app.screen
    screen.data(
        words(
            "simulate.what",
            keys=f"{report.keys:,}",
            accounts=f"{report.accounts:,}",
            sessions=f"{report.sessions:,}",
            requests=f"{report.requests:,}",
            days=f"{report.days:.1f}",
            load=f"{report.load:.2f}",
        )
    )
    screen.data()
    table = [reports.header(words), *reports.rows(report)]
    table[-1][0] = words("simulate.bound")
    header, *rows = _fitted(table, screen.width())
    screen.table(rows, header=header)


#: Columns that go first where there is no room: errors, waste, misses, served, switches.
_SPARED = (7, 8, 4, 1, 6)


def _fitted(table: list[list[str]], width: int) -> list[list[str]]:
    """The columns that have room, their figures to the right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    kept = list(range(len(widths)))
    for column in _SPARED:
        if sum(widths[i] + 2 for i in kept) - 2 > width:
            kept.remove(column)
    return [[row[i].rjust(widths[i]) if i else row[i] for i in kept] for row in table]


def _workload(args: argparse.Namespace, app: App) -> tuple[list[Request], float]:
    """The requests, and when the simulation begins."""
    if not args.workload and not args.recorded:
        clients = args.clients or reports.CLIENTS_A_KEY * args.keys
        if clients * args.days > CLIENT_DAYS_MAX:
            raise UsageError(
                f"{clients} clients make too many requests in {args.days} days",
                "name fewer of either: --clients, --days",
            )
        rng = random.Random(args.seed)  # noqa: S311 - a simulation's chance is no secret
        return synthetic(clients, args.days, reports.MONDAY, rng), reports.MONDAY
    if args.clients is not None:
        raise UsageError("--clients is for the synthetic workload", "leave it out")
    requests = recorded(_file(args.workload) if args.workload else _store(app))
    if not requests:
        raise KmiError("there is no request to simulate", "`kmi usage` records them")
    end = requests[-1].at
    requests = [request for request in requests if request.at > end - args.days * DAY_S]
    return requests, requests[0].at


def _store(app: App) -> Iterator[UsageRow]:
    """What `kmi usage` knows; it is not brought up to date."""
    from kmi.usage.store import NAME, DamagedError, open_usage

    path = app.store.path(NAME)
    if not os.path.isfile(path):
        raise KmiError("no usage is recorded yet", "`kmi usage` records it")
    try:
        with open_usage(app.store) as store:
            yield from store.rows()
    except DamagedError as error:
        raise KmiError(f"{path} can't be read: {error}", "`kmi usage` makes it anew") from None


#: What a row must have; all else is left aside.
_COUNTS = ("input_other", "output", "cache_read", "cache_creation")


def _file(path: str) -> Iterator[UsageRow]:
    """Usage rows, one JSON object a line."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except UnicodeDecodeError:
        raise KmiError(f"{path} is not UTF-8 text", "name a file of usage rows") from None


def _row(line: str, path: str) -> UsageRow:
    try:
        row: Any = json.loads(line)
        time, session = row["time"], row["session"]
        counts = [row.get(name, 0) for name in _COUNTS]
        numbers = all(type(n) is int and 0 <= n < 10**9 for n in counts)
        if not (isinstance(time, (int, float)) and math.isfinite(time) and time > 0 and numbers):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise KmiError(
            f"{path}: this is no usage row",
            "it needs time (seconds), session, input_other, output, cache_read, cache_creation",
        ) from None
    return UsageRow(float(time), str(row.get("client", "")), str(session), "", None, *counts)
