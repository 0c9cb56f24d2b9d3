"""What kmi costs a shell: per prompt, per TAB, and at its start."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, Figure, UnableError, cost_of, kmi_command, world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Interactive, but without anybody's start files; the scripts do nothing in other shells.
FLAGS = {
    "bash": ["--norc", "--noprofile", "-i", "-c"],
    "zsh": ["-f", "-i", "-c"],
    "fish": ["-N", "-i", "-c"],
}
#: A loop that calls something, in the words of each shell.
LOOPS = {
    "bash": "for ((i = 0; i < {times}; i++)); do {call}; done >/dev/null",
    "zsh": "for ((i = 0; i < {times}; i++)); do {call}; done >/dev/null",
    "fish": "set i 0; while test $i -lt {times}; {call}; set i (math $i + 1); end >/dev/null",
}
EMPTY = {"bash": "nothing() { :; }", "zsh": "nothing() { : }", "fish": "function nothing; end"}
#: How other tools hook into the prompt: what loads it, and what each prompt calls then.
OTHERS = {
    "direnv": {
        "bash": ('eval "$(direnv hook bash)"', "_direnv_hook"),
        "zsh": ('eval "$(direnv hook zsh)"', "_direnv_hook"),
        "fish": ("direnv hook fish | source", "__direnv_export_eval"),
    },
    "zoxide": {
        "bash": ('eval "$(zoxide init bash)"', "__zoxide_hook"),
        "zsh": ('eval "$(zoxide init zsh)"', "__zoxide_hook"),
    },
}
TAB = {
    "bash": "COMP_WORDS=(kmi use ke) COMP_CWORD=2 COMP_LINE='kmi use ke' COMP_POINT=10; _kmi",
    "fish": "complete -C 'kmi use ke'",
}
LABELS = 50
TRACED = ("execve", "fork", "vfork", "clone", "clone3")


class Shell:
    """One of the shells, with what it is started with."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._argv = [str(shutil.which(name)), *FLAGS[name]]
        self._env = env

    def cost(self, text: str) -> Cost:
        """The least that a script took, with all that it started."""
        best = Cost(float("inf"), float("inf"))
        for _ in range(5):
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            self.run(text)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best = Cost(min(best.cpu_s, cpu), min(best.wall_s, wall))
        return best

    def run(self, text: str, wrapper: Sequence[str] = ()) -> None:
        """Run a script to its end, in a session of its own: it is interactive."""
        done = subprocess.run(
            [*wrapper, *self._argv, text],
            env=dict(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: {text!r} failed: {done.stderr.decode()}")

    def loop(self, load: str, call: str, times: int) -> str:
        """A script that loads something and calls it again and again."""
        looping = LOOPS[self.name].format(times=times, call=call)
        return f"{load}\n{EMPTY[self.name]}\n{looping}\ntrue"

    def call_us(self, load: str, call: str, times: int) -> float:
        """The processor time of one call."""
        spent = self.cost(self.loop(load, call, times)).cpu_s
        return max(spent - self.cost(self.loop(load, call, 0)).cpu_s, 0.0) / times * 1e6

    def processes(self, load: str, call: str) -> float | None:
        """How many processes one call starts; None without strace."""
        strace = shutil.which("strace")
        if strace is None:
            return None
        counts = []
        for times in (0, 10):
            with tempfile.NamedTemporaryFile() as file:
                options = [
                    "-f",
                    "--seccomp-bpf",
                    "-qq",
                    "-e",
                    "trace=" + ",".join(TRACED),
                    "-o",
                    file.name,
                ]
                self.run(self.loop(load, call, times), [strace, *options])
                lines = Path(file.name).read_text().splitlines()
            begun = [line for line in lines if re.match(r"\d+ +(fork|vfork|clone3?)\(", line)]
            counts.append(sum("CLONE_THREAD" not in line for line in begun))
        return (counts[1] - counts[0]) / 10


def prompts(shells: Sequence[Shell], scripts: Mapping[str, str]) -> Iterator[Figure]:
    """What a prompt costs."""
    for shell in shells:
        load = f"source {scripts[shell.name]}"
        others = [
            (other, *ways[shell.name])
            for other, ways in OTHERS.items()
            if shutil.which(other) and shell.name in ways
        ]
        count = shell.processes(load, "__kmi_prompt")
        if count is not None:
            counts = tuple(
                (name, shell.processes(hook, call) or 0.0) for name, hook, call in others
            )
            what = f"{shell.name}: a prompt"
            yield Figure(what, count, "== 0", "processes", "strace", counts)
        spent = [("nothing", shell.call_us("", "nothing", 2000))]
        spent += [(name, shell.call_us(hook, call, 30)) for name, hook, call in others]
        used = shell.call_us(load, "__kmi_prompt", 2000)
        yield Figure(f"{shell.name}: a prompt", used, "", "µs", "CPU", tuple(spent))


def tabs(
    shells: Sequence[Shell], scripts: Mapping[str, str], env: Mapping[str, str], bare_s: float
) -> Iterator[Figure]:
    """What TAB costs behind `kmi use`; zsh's works in its editor only."""
    for shell in shells:
        if shell.name in TAB:
            load = f"source {scripts[shell.name]}"
            what = f"{shell.name}: TAB behind `kmi use`, {LABELS} labels"
            count = shell.processes(load, TAB[shell.name])
            if count is not None:
                yield Figure(what, count, "== 0", "processes", "strace")
            yield Figure(what, shell.call_us(load, TAB[shell.name], 300), "<= 1000", "µs", "CPU")
    asked = {
        **env,
        "_ARGCOMPLETE": "1",
        "COMP_LINE": "kmi use ke",
        "COMP_POINT": "10",
        "_ARGCOMPLETE_STDOUT_FILENAME": os.devnull,
    }
    ratio = cost_of(kmi_command(), asked).cpu_s / bare_s
    yield Figure("argcomplete, to python -c pass", ratio, "<= 4", how="CPU")


def starts(
    shells: Sequence[Shell], scripts: Mapping[str, str], env: Mapping[str, str], bare_s: float
) -> Iterator[Figure]:
    """What the line in the start file costs, in multiples of `python -c pass`."""
    kmi = " ".join(kmi_command())
    for shell in shells:
        cost = cost_of([*kmi_command(), "init", shell.name], env)
        yield Figure(f"kmi init {shell.name}", cost.cpu_s / bare_s, "<= 3", how="CPU")
        line = f"{kmi} init {shell.name}"
        whole = f"{line} | source" if shell.name == "fish" else f'eval "$({line})"'
        nothing = shell.cost("true").cpu_s
        spent = (shell.cost(whole).cpu_s - nothing) / bare_s
        yield Figure(f"the line in {shell.name}'s start file", spent, "<= 3", how="CPU")
        spent = (shell.cost(f"source {scripts[shell.name]}").cpu_s - nothing) / bare_s
        yield Figure("  its cached form", spent, how="CPU")


def figures() -> list[Figure]:
    """Measure; a shell that is not installed is left out.

    Raises:
        UnableError: none is installed.
    """
    with world(LABELS) as env:
        env = {**env, "PATH": os.environ["PATH"], "TERM": "dumb"}
        shells = [Shell(name, env) for name in FLAGS if shutil.which(name)]
        if not shells:
            raise UnableError("there is no bash, zsh or fish")
        kmi = kmi_command()
        subprocess.run([*kmi, "use", "key0001"], env=env, check=True, capture_output=True)
        bare = cost_of([sys.executable, "-c", "pass"], env)
        scripts = {}
        for shell in shells:
            made = subprocess.run(
                [*kmi, "init", shell.name], env=env, check=True, capture_output=True
            )
            path = Path(env["HOME"]) / f"init.{shell.name}"
            path.write_bytes(made.stdout)
            scripts[shell.name] = str(path)
        return [
            *prompts(shells, scripts),
            *tabs(shells, scripts, env, bare.cpu_s),
            *starts(shells, scripts, env, bare.cpu_s),
        ]
