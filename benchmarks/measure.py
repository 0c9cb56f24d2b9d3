"""Timing of whole processes, and worlds to time them in."""

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


def print_table(rows: Sequence[tuple[str, float, str, str]]) -> None:
    """Print figures next to their targets: what, figure, target, how it was measured."""
    width = max(len(row[0]) for row in rows)
    for what, figure, target, how in rows:
        print(f"{what:<{width}}  {figure:6.2f}  {target:<8}  {how}")
