"""What benchmarks measure in: figures, the timing of whole processes, worlds to time them in."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONFIG = """\
# a config as people have it
default_model = "k"

[providers.kimi]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = "sk-kimi-bench-0000-0123456789abcdef"

[models.k]
provider = "kimi"
model = "kimi-for-coding"
max_context_size = 262144
"""


class UnableError(Exception):
    """A benchmark can't run here; the text says what is missing."""


class Figure(NamedTuple):
    """One line of the table of `python -m benchmarks`; a benchmark's ``figures()`` gives them.

    Attributes:
        what: what was measured, in a few words.
        seen: the figure.
        target: what it has to be: ``<= 2.5``, ``>= 0.6`` or ``== 0``; empty where nothing is set.
        unit: of the figure, the target and the peers; ``×`` for ratios.
        how: what was measured with, where that needs saying: CPU, wall, RSS.
        peers: the same of other programs, measured in the same run: a name and a figure each.
    """

    what: str
    seen: float
    target: str = ""
    unit: str = "×"
    how: str = ""
    peers: tuple[tuple[str, float], ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the figure is what it has to be; None where nothing is set.

        >>> Figure("start", 2.4, "<= 2.5").met
        True
        """
        if not self.target:
            return None
        sign, _, number = self.target.partition(" ")
        limit = float(number)
        return {"<=": self.seen <= limit, ">=": self.seen >= limit, "==": self.seen == limit}[sign]


class Cost(NamedTuple):
    """The smallest of many runs, in seconds: processor time, and time on the wall."""

    cpu_s: float
    wall_s: float


def cost_of(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    times: int = 30,
    before_each: Callable[[], Sequence[str]] | None = None,
) -> Cost:
    """Run a command many times; a run that fails stops the measurement.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        times: how often.
        before_each: gives the command of the next run, where it differs from run to run.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    best = Cost(float("inf"), float("inf"))
    for _ in range(times):
        words = list(before_each() if before_each is not None else command)
        start = time.perf_counter()
        pid = os.posix_spawn(words[0], words, env, file_actions=quiet)
        _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - start
        if status != 0:
            raise SystemExit(f"{words} ended with {os.waitstatus_to_exitcode(status)}")
        cpu = used.ru_utime + used.ru_stime
        best = Cost(min(best.cpu_s, cpu), min(best.wall_s, wall))
    return best


def ratios(what: str, cost: Cost, base: Cost, target: str = "") -> list[Figure]:
    """What a command takes of both, as a multiple of what another one takes."""
    return [
        Figure(what, cost.cpu_s / base.cpu_s, target, how="CPU"),
        Figure(what, cost.wall_s / base.wall_s, target, how="wall"),
    ]


def kmi_command() -> list[str]:
    """The installed `kmi` of this interpreter, as a person starts it."""
    script = Path(sys.executable).parent / "kmi"
    return [str(script)] if script.exists() else [sys.executable, "-m", "kmi"]


@contextmanager
def world(keys: int) -> Iterator[dict[str, str]]:
    """An environment whose home holds a config and some keys; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="kmi-bench-") as place:
        home = Path(place)
        auths = home / ".kmi" / "_auths"
        auths.mkdir(parents=True)
        for path in (home / ".kmi", auths):
            path.chmod(0o700)
        for number in range(keys):
            file = auths / f"key{number:04d}.env"
            file.write_text(f"KMI_API_KEY=sk-kimi-bench-{number:04d}-0123456789abcdef\n")
            file.chmod(0o600)
        (home / ".kimi").mkdir()
        config = home / ".kimi" / "config.toml"
        config.write_text(CONFIG)
        config.chmod(0o600)
        yield {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            # Nothing is asked upstream, and there would be nobody.
            "KMI_UPSTREAM_BASE_URL": "http://127.0.0.1:9/coding/v1",
            "KMI_AUTHS_DIR": str(auths),
            "KMI_ENV_PATH": str(env_file(home)),
            # Nothing is asked upstream unless that is what is measured.
            "KMI_USAGE_CACHE_SECONDS": "0",
        }


def env_file(home: Path) -> Path:
    """An empty env file, so that the one of a checkout is not read."""
    path = home / ".kmi" / ".env"
    path.touch(mode=0o600)
    return path
