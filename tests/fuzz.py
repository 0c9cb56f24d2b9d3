"""Mutated files against everything in kmi that reads one: ``python -m tests.fuzz --seconds 60``.

Each target of `tests.fuzz_targets` takes any bytes: it gives True for a value, False for a clean
error, and raises where kmi would have shown a bug. Inputs are mutations of seeds; from Python 3.12
on, one that reaches a line which none reached before becomes a seed, too. What is found is made
small and written to a file. ``--atheris NAME`` hands a target to atheris, where that is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import random
import sys
import tempfile
import time
import traceback
import types
from typing import TYPE_CHECKING, Callable, NamedTuple

from tests.fuzz_targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Longer inputs are cut: limits of sizes are tested elsewhere.
MAX_BYTES = 64 * 1024
#: A new input is a mutation of one of these many that were kept.
CORPUS_MAX = 2000
#: How often a find is tried in a smaller form.
SMALLER_TRIES = 3000
#: An input that takes longer is kept as well, and told.
SLOW_S = 1.0
#: Where new lines count.
WATCHED = tuple(os.path.join(os.sep, name, "") for name in ("kmi", "tomlkit", "dotenv"))


class Find(NamedTuple):
    """An input for which a target raised, as small as it could be made."""

    data: bytes
    error: BaseException


class Report(NamedTuple):
    """What a search did.

    Attributes:
        runs: inputs that were tried.
        taken: how many of them gave a value.
        kept: inputs that reached something new.
        slowest_s: the longest that one input took, and which one that was.
    """

    runs: int
    taken: int
    kept: int
    slowest_s: float
    slowest: bytes
    find: Find | None


def in_sight(code: object) -> bool:
    """Whether new lines of this code count."""
    return any(part in getattr(code, "co_filename", "") for part in WATCHED)


class Lines:
    """Tells whether a line ran that never ran before; before Python 3.12 it never does."""

    def __init__(self) -> None:
        self.new = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch until the end; each line costs something only once."""
        if sys.version_info >= (3, 12):
            tool = sys.monitoring
            tool.use_tool_id(tool.OPTIMIZER_ID, "kmi-fuzz")
            tool.register_callback(tool.OPTIMIZER_ID, tool.events.LINE, self._ran)
            tool.set_events(tool.OPTIMIZER_ID, tool.events.LINE)
            tool.restart_events()
            try:
                yield
            finally:
                tool.set_events(tool.OPTIMIZER_ID, 0)
                tool.free_tool_id(tool.OPTIMIZER_ID)
        else:
            yield

    def _ran(self, code: object, line: int) -> object:
        self.new = self.new or in_sight(code)
        return self._enough

    @property
    def _enough(self) -> object:
        """What says that a line need not be told again."""
        if sys.version_info >= (3, 12):
            return sys.monitoring.DISABLE
        return None

    def take(self) -> bool:
        """Whether there was one since the last call."""
        new, self.new = self.new, False
        return new


# Mutations: each takes bytes and what else may be put in, and gives other bytes.


def _place(rng: random.Random, data: bytes) -> tuple[int, int]:
    """A span; mostly a short one."""
    start = rng.randint(0, len(data))
    return start, min(len(data), start + int(rng.paretovariate(0.7)))


def flip(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """Another byte in the place of one."""
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    byte = data[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.5 else rng.randrange(256)
    return data[:at] + bytes([byte]) + data[at + 1 :]


def remove(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """Without a span."""
    start, end = _place(rng, data)
    return data[:start] + data[end:]


def put(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """A word put in, or in the place of a span."""
    start, end = _place(rng, data)
    return data[:start] + rng.choice(words) + data[start if rng.random() < 0.5 else end :]


def repeat(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """A span many times over."""
    start, end = _place(rng, data)
    times = rng.choice((2, 2, 3, 10, 300, 3000))
    return data[:end] + data[start:end] * times + data[end:]


def move(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """A span, or a line, elsewhere."""
    if rng.random() < 0.5:
        lines = data.split(b"\n")
        lines.insert(rng.randint(0, len(lines)), lines.pop(rng.randrange(len(lines))))
        return b"\n".join(lines)
    start, end = _place(rng, data)
    span, rest = data[start:end], data[:start] + data[end:]
    to = rng.randint(0, len(rest))
    return rest[:to] + span + rest[to:]


MUTATIONS = (flip, flip, remove, put, put, put, repeat, move)
#: What every text format has.
COMMON = (
    *(b'"', b"'", b"\\", b"\n", b"\r\n", b"\r", b"\0", b"=", b":", b",", b"[", b"]", b"{", b"}"),
    *(b"#", b".", b" ", b"\t", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x85"),
    *(b"\x1b[2J", b"\xe2\x80\xae", b"\\u0000", b"\\ud800", b"\\U00110000", b'"""', b"'''"),
    *(b"null", b"true", b"false", b"{}", b"[]", b'""', b"-1", b"0", b"1e999", b"-0.0", b"NaN"),
    *(b"9" * 400, b"9" * 5000, b"1" + b"0" * 400, b"inf", b"1979-05-27", b"07:32:00"),
    *(b"9999-12-31T23:59:59.999Z", b"0001-01-01T00:00:00.000Z", b"+", b"-", b"@", b"/", b"\\n"),
)


def mutated(
    rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes], other: Sequence[bytes]
) -> bytes:
    """A new input from those that are known."""
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if rng.random() < 0.08:
            # The beginning of one, and the end of another one.
            tail = rng.choice(corpus if rng.random() < 0.8 else other)
            data = data[: rng.randint(0, len(data))] + tail[rng.randint(0, len(tail)) :]
        else:
            data = rng.choice(MUTATIONS)(rng, data, words)[:MAX_BYTES]
    return data


def search(
    target: Target, *, seed: int = 0, rounds: int | None = None, seconds: float | None = None
) -> Report:
    """Look for an input on which a target raises, until so many were tried, or so long."""
    rng = random.Random(f"{seed} {target.name}")
    lines = Lines()
    corpus = list(target.seeds)
    words = (*COMMON, *target.words)
    other = [data for each in TARGETS.values() for data in each.seeds]
    runs = taken = 0
    slowest_s, slowest = 0.0, b""
    end = time.monotonic() + (seconds if seconds is not None else float("inf"))
    waiting = list(corpus)
    with lines.watched():
        while (rounds is None or runs < rounds) and time.monotonic() < end:
            data = waiting.pop() if waiting else mutated(rng, corpus, words, other)
            started = time.process_time()
            came = raised(target.check, data)
            if isinstance(came, Exception):
                find = smaller(target.check, data, came)
                return Report(runs + 1, taken, len(corpus), slowest_s, slowest, find)
            taken += came
            if time.process_time() - started > slowest_s:
                slowest_s, slowest = time.process_time() - started, data
            runs += 1
            if lines.take():
                corpus.append(data)
                if len(corpus) > CORPUS_MAX:
                    corpus.pop(rng.randrange(len(corpus)))
    return Report(runs, taken, len(corpus) - len(target.seeds), slowest_s, slowest, None)


def _kind(error: BaseException) -> tuple[object, ...]:
    frames = traceback.extract_tb(error.__traceback__)
    return type(error), *[(frame.filename, frame.lineno) for frame in frames[-1:]]


def raised(check: Callable[[bytes], bool], data: bytes) -> bool | Exception:
    """What a check gives, or the exception that it raised."""
    try:
        return check(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the find
        return error


def smaller(check: Callable[[bytes], bool], data: bytes, error: Exception) -> Find:
    """A smaller input that raises the same, in the same line."""
    wanted = _kind(error)
    size, tries = max(1, len(data) // 2), 0
    while size and tries < SMALLER_TRIES:
        at = 0
        while at < len(data) and tries < SMALLER_TRIES:
            candidate, tries = data[:at] + data[at + size :], tries + 1
            found = raised(check, candidate)
            if isinstance(found, Exception) and _kind(found) == wanted:
                data, error = candidate, found
            else:
                at += size
        size //= 2
    return Find(data, error)


def with_atheris(target: Target, words: Sequence[str]) -> None:
    """Hand a target to atheris, with arguments of libFuzzer's; does not return."""
    atheris = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(target.seeds):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(data)
        for item in gc.get_objects():
            if isinstance(item, types.FunctionType) and in_sight(item.__code__):
                atheris.instrument_func(item)
        atheris.Setup([sys.argv[0], *words, folder], lambda data: target.check(bytes(data)) and 0)
        atheris.Fuzz()


def keep(folder: str, name: str, data: bytes) -> str:
    """Write a find to a file; returns its path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def main() -> int:
    """Search through the targets that are named, or all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0, help="for all together")
    parser.add_argument("--seed", type=int, default=None, help="the same seed, the same inputs")
    parser.add_argument("--keep", default="fuzz-finds", help="a folder for what is found")
    parser.add_argument("--atheris", metavar="TARGET", help="by atheris; other words go to it")
    args, rest = parser.parse_known_args()
    if args.atheris:
        with_atheris(TARGETS[args.atheris], rest)
        return 0
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    names = args.names or list(TARGETS)
    print(f"seed {seed}; {args.seconds / len(names):.0f} s for each of {len(names)} targets")
    failed = 0
    for name in names:
        report = search(TARGETS[name], seed=seed, seconds=args.seconds / len(names))
        share = 100 * report.taken / max(1, report.runs)
        print(f"{name:14} {report.runs:8} inputs  {share:3.0f} % taken  {report.kept:4} reached "
              f"something new  slowest {report.slowest_s * 1000:.0f} ms")  # fmt: skip
        if report.slowest_s > SLOW_S:
            print(f"{name}: slow: {keep(args.keep, f'{name}-{seed}-slow', report.slowest)}")
        if report.find is not None:
            failed += 1
            print(f"{name}: {report.find.data[:300]!r} in "
                  f"{keep(args.keep, f'{name}-{seed}', report.find.data)}")  # fmt: skip
            traceback.print_exception(type(report.find.error), report.find.error,
                                      report.find.error.__traceback__)  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
