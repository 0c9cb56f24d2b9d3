"""What no test runs, from coverage.py's JSON: `make coverage`.

Pure modules are to be covered whole, branches too; of the rest together, 90 percent.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Lines and branches together, of all modules that are not pure.
LEAST_PERCENT = 90.0


class Gaps(NamedTuple):
    """What is missing of one module.

    Attributes:
        module: its dotted name, without ``kmi.``.
        covered, all: lines and branches.
        lines: that did not run.
        branches: that were not taken: from which line to which; a negative one is an end.
    """

    module: str
    covered: int
    all: int
    lines: list[int]
    branches: list[tuple[int, int]]


def gaps(data: Mapping[str, Any]) -> list[Gaps]:
    """Every module of a report."""
    found = []
    for path, file in data["files"].items():
        name = path.replace("\\", "/").rpartition("kmi/")[2] if path.count("kmi/") == 1 else path
        module = name.removeprefix("kmi/").removesuffix(".py").replace("/", ".")
        seen = file["summary"]
        found.append(
            Gaps(
                module,
                seen["covered_lines"] + seen["covered_branches"],
                seen["num_statements"] + seen["num_branches"],
                file["missing_lines"],
                [(start, end) for start, end in file["missing_branches"]],
            )
        )
    return sorted(found)


def told(gap: Gaps) -> str:
    """One line of what is missing; branches that only lead to missing lines are not repeated."""
    lines = ", ".join(spans(gap.lines))
    own = [(a, b) for a, b in gap.branches if a not in gap.lines and b not in gap.lines]
    branches = ", ".join(f"{start}->{'end' if end < 0 else end}" for start, end in own)
    return f"{gap.module}: {'; '.join(part for part in (lines, branches) if part)}"


def spans(numbers: Iterable[int]) -> list[str]:
    """Numbers, with runs of them in short.

    >>> spans([1, 2, 3, 7])
    ['1-3', '7']
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [str(start) if start == end else f"{start}-{end}" for start, end in runs]


def main(path: str) -> int:
    """Print what is missing; 1 when it is more than may be."""
    from tests.test_architecture import PURE

    with open(path, encoding="utf-8") as file:
        found = gaps(json.load(file))
    pure = [gap for gap in found if gap.module in PURE]
    rest = [gap for gap in found if gap.module not in PURE]
    failed = False
    for what, part in (("pure modules", pure), ("other modules", rest)):
        covered, every = sum(gap.covered for gap in part), sum(gap.all for gap in part)
        percent = 100 * covered / max(every, 1)
        least = 100.0 if part is pure else LEAST_PERCENT
        failed |= percent < least
        print(f"{what}: {percent:.1f} % of {every:,} lines and branches, wanted {least:.0f} %")
        for gap in sorted(part, key=lambda gap: gap.covered - gap.all):
            if gap.covered < gap.all:
                print(f"  {gap.all - gap.covered:4} {told(gap)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
