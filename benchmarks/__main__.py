"""All benchmarks, one table: `make bench`, or ``python -m benchmarks --only startup,proxy``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.measure import UnableError
from benchmarks.report import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Modules of this package, and what they are about. Each has ``figures() -> list[Figure]``.
BENCHMARKS = {
    "startup": "Start of a run and of commands",
    "many": "Thousands of keys",
    "shell": "Prompt, TAB and start of a shell",
    "health": "Asking about keys",
    "proxy": "The proxy",
    "usage": "Reading session logs",
    "policies": "Strategies, simulated",
}


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print it, and keep it if a file is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME,NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--json", metavar="FILE", help="put the figures into FILE; others in it stay"
    )
    args = parser.parse_args(words)
    names = args.only.split(",") if args.only else list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    # Each in a process of its own: one pins itself to a core, another needs an interpreter that
    # has loaded nothing.
    found = [measured(name) if len(names) == 1 else apart(name) for name in names]
    if args.json:
        keep(Path(args.json), found)
    sys.stdout.write(report.text(found))
    return 0 if any(section.figures for section in found) else 1


def measured(name: str) -> Section:
    """Run one benchmark here."""
    # Before it pins itself to a core.
    here, load, begun = machine(), os.getloadavg()[0], time.monotonic()
    unable, figures = "", []
    try:
        figures = importlib.import_module(f"benchmarks.{name}").figures()
    except UnableError as error:
        unable = str(error)
    took_s = round(time.monotonic() - begun, 1)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return Section(name, BENCHMARKS[name], here, day, round(load, 1), took_s, figures, unable)


def apart(name: str) -> Section:
    """Run one benchmark in a process of its own; one that fails leaves the others alone."""
    print(f"{name} …", file=sys.stderr, flush=True)
    code = (
        "import json, sys; from benchmarks import __main__ as m, report; "
        "json.dump(report.document([m.measured(sys.argv[1])]), sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        why = f"it ended with {done.returncode}"
        return Section(name, BENCHMARKS[name], machine(), "", None, None, (), why)
    return report.sections(done.stdout)[0]


def keep(path: Path, found: Sequence[Section]) -> None:
    """Put sections into a file, in the order of `BENCHMARKS`."""
    old = report.sections(path.read_text(encoding="utf-8")) if path.exists() else []
    order = list(BENCHMARKS)
    known = [section for section in report.merged(old, found) if section.name in order]
    known.sort(key=lambda section: order.index(section.name))
    text = json.dumps(report.document(known), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What figures depend on; nothing that tells whose machine it is."""
    return {
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
    }


def cpu_model() -> str:
    """The processor's name for itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip() not in ("", "unknown"):
            return value.strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
