"""Several processes at random operations on one state, with kills: is what they did what is there?

``python -m tests.store_model FOLDER`` starts workers and a keeper of the proxy's. A worker writes
down what it is about to do, does it in a transaction, and writes down that it is done. Some are
killed from outside, some at a line of kmi's own code. The state itself keeps the order of all that
was saved (in a field that kmi does not know, and so keeps), which makes the model simple: the same
operations, in that order, by one process. What differs, or is missing, is told; the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from kmi.app import App
from kmi.model import Window
from kmi.output import Screen
from kmi.proxy.keeper import Batch, Keeper
from kmi.proxy.picker import Lesson
from kmi.state import UNDO_KEPT, Active, State, Undo, decode, encode
from kmi.store import Store, Transaction
from kmi.transitions import apply_answer, apply_success
from kmi.verdicts import classify
from tests.conftest import CLI, CODE, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

QUOTA = classify(403, '{"error": {"message": "usage limit for this period"}}')
KEYS = ("A" * 12, "B" * 12, "C" * 12)
KINDS = ("swap", "swap", "exhaust", "answer", "answer", "answer", "disable", "enable", "rename",
         "reset", "auto", "off", "usage")  # fmt: skip
#: Where a kill at a line may come; about as many lines are run by one operation.
LINES_MAX = 400
#: The name of the field in which the state keeps the order.
ORDER = "model"

Operation = dict[str, Any]


def drawn(rng: random.Random, name: str) -> Operation:
    """A random operation, as it is written down."""
    return {
        "id": name,
        "kind": rng.choice(KINDS),
        "key": rng.choice(KEYS),
        "client": rng.choice((CLI, CODE)),
        "at": round(time.time(), 3),
        "seed": rng.randrange(10**6),
    }


def apply(state: State, operation: Operation) -> None:
    """Do it to a state: by kmi's own functions where there are any."""
    kind, key_id, at = operation["kind"], operation["key"], operation["at"]
    known = state.key(key_id)
    if kind == "swap":
        client = operation["client"]
        before = state.active.get(client)
        state.active[client] = Active(key_id, known.label, at)
        undo = Undo("swap", at, operation["id"], "00", before.key_id if before else None, key_id)
        state.undo[client] = [*state.undo.get(client, []), undo][-UNDO_KEPT:]
        known = replace(known, last_used=at)
    elif kind == "exhaust":
        chance = random.Random(operation["seed"])
        state.keys.update(apply_answer(state.keys, key_id, QUOTA, now=at, rng=chance))
        known = state.keys[key_id]
    elif kind == "answer":
        known = apply_success(known, at, sent_at=at)
    elif kind in {"disable", "enable"}:
        known = replace(known, disabled=kind == "disable")
    elif kind == "rename":
        known = replace(known, label=f"label-{operation['seed']}")
    elif kind == "reset":
        known = replace(known, hold=None)
    elif kind == "usage":
        share = (operation["seed"] % 100) / 100
        known = replace(known, windows={"5h": Window(share, at + 60.0)}, usage_at=at)
    else:
        state.auto_rotate = at if kind == "auto" else None
    state.keys[key_id] = known


def as_saved(state: State) -> State:
    """The state as the next one reads it."""
    return decode(json.loads(json.dumps(encode(state))))


class Log:
    """What a process says it did: whole lines, which a kill does not take back."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *words: object) -> None:
        """Append a line."""
        os.write(self._fd, json.dumps(words).encode() + b"\n")


# The processes.


class Careless(Store):
    """The control: believes that nobody else writes."""

    _own: State | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin with what this process knows."""
        with super().transaction() as found:
            self._own = self._own or State()
            found.state = self._own
            yield found


def killer(rng: random.Random) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that ends the process at some line of kmi's."""
    left = rng.randint(1, LINES_MAX)

    def line(frame: FrameType, event: str, value: Any) -> Any:
        nonlocal left
        if f"{os.sep}kmi{os.sep}" not in frame.f_code.co_filename:
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    return line


def work(store: Store, log: Log, name: str, seed: int, count: int, doom: float) -> None:
    """Some operations, one after the other; the last of them at a line's end, perhaps."""
    rng = random.Random(f"{seed} {name}")
    for number in range(count):
        operation = drawn(rng, f"{name}-{number}")
        log.write("begin", operation)
        if rng.random() < doom:
            sys.settrace(killer(rng))
        with store.transaction() as transaction:
            state = transaction.state
            apply(state, operation)
            state.unknown[ORDER] = [*state.unknown.get(ORDER, []), operation["id"]]
            transaction.save()
            record = {"schema": 1, "op": operation["id"], "pad": "x" * rng.randrange(300)}
            if operation["kind"] == "swap":
                transaction.record_run({**record, "key": operation["key"]})
            transaction.record_audit(record)
        sys.settrace(None)
        log.write("done", operation["id"])


def keep(env: dict[str, str], log: Log, seed: int, stop: Path) -> None:
    """The proxy's thread, with lessons about a key of its own, until the file is there."""
    rng = random.Random(seed)

    def app() -> App:
        return App(env, Screen(env), "proxy")

    keeper = Keeper(
        app(), app,
        log=lambda event: log.write("event", dict(event)),
        trace=lambda: None,
        publish=lambda sight: log.write("saved", sight.saved),
        refresh=lambda app, busy_at, ask: None,
    )  # fmt: skip
    (key,) = keeper.first().view.keys
    keeper.start()
    number = 0
    while not stop.exists():
        number += 1
        times, now = rng.randint(1, 9), time.time()
        log.write("learn", number, times)
        keeper.submit(Batch(number, [Lesson(key.key_id, None, now, now, times=times)], frozenset()))
        time.sleep(rng.uniform(0.001, 0.03))
    keeper.stop()
    log.write("saved", number)


# Whoever starts and kills them.


class Run:
    """One run of everything in a folder."""

    def __init__(self, folder: Path, seed: int, *, careless: bool) -> None:
        self.folder, self.seed = folder, seed
        self.state_dir, self.logs = folder / "state", folder / "logs"
        self.logs.mkdir(mode=0o700)
        write_private(folder / "auths" / "kept.env", f"KMI_API_KEY={secret_of('kept')}\n")
        self.env = {
            "HOME": str(folder),
            "KMI_STATE_DIR": str(self.state_dir),
            "KMI_AUTHS_DIR": str(folder / "auths"),
            "KMI_USAGE_CACHE_SECONDS": "0",
        }
        self.careless = careless
        self.rng = random.Random(seed)
        self.started = self.kills = 0
        self.seen: list[str] = []
        self.wrong: list[str] = []

    def store(self) -> Store:
        kind = Careless if self.careless else Store
        return kind(str(self.state_dir), lambda text: self.wrong.append(f"it said: {text}"))

    def fork(self, what: Callable[[Log], None], name: str) -> int:
        """A process that does something and ends."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                what(Log(self.logs / name))
                code = 0
            except BaseException as error:  # noqa: BLE001 - told by the log
                Log(self.logs / name).write("failed", repr(error))
            finally:
                os._exit(code)
        return pid

    def worker(self, count: int) -> int:
        """A new worker."""
        self.started += 1
        name = f"w{self.started}"
        return self.fork(
            lambda log: work(self.store(), log, name, self.seed, count, doom=0.04), name
        )

    def keeper(self) -> int:
        """A new keeper."""
        self.started += 1
        return self.fork(
            lambda log: keep(self.env, log, self.seed + self.started, self.folder / "stop"),
            f"k{self.started}",
        )

    def look(self) -> None:
        """At any moment the state is whole, and what was saved stays saved."""
        path = self.state_dir / "state.json"
        if not path.exists():
            return
        order = decode(json.loads(path.read_bytes())).unknown.get(ORDER, [])
        if order[: len(self.seen)] != self.seen:
            self.wrong.append("what had been saved is gone")
        self.seen = order

    def go(self, *, workers: int, operations: int, kills: int) -> None:
        """All of it: so many operations for each of the workers, and so many kills from outside."""
        Store(str(self.state_dir), self.wrong.append).prepare()
        keeper = self.keeper()
        left = workers + kills
        running = {self.worker(operations) for _ in range(workers)}
        while running:
            time.sleep(self.rng.uniform(0.0, 0.02))
            self.look()
            if left > workers and self.rng.random() < 0.3:
                left -= 1
                # A process that is over can still be sent a signal until it is waited for.
                victim = self.rng.choice([keeper, *sorted(running)])
                os.kill(victim, signal.SIGKILL)
                if victim == keeper:
                    self.end(keeper)
                    keeper = self.keeper()
            for pid in sorted(running):
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    running.remove(pid)
                    if left > workers:
                        running.add(self.worker(operations))
        (self.folder / "stop").touch()
        self.end(keeper)

    def end(self, pid: int) -> None:
        """Wait for a process."""
        status = os.waitpid(pid, 0)[1]
        self.kills += os.WIFSIGNALED(status)

    # What came of it.

    def check(self) -> list[str]:
        """Everything that is not as it has to be."""
        begun, done, self.learnt, self.saved = {}, set(), 0, 0
        for path in sorted(self.logs.iterdir()):
            lessons: dict[int, int] = {}
            sure = 0
            for line in path.read_text().splitlines():
                word, *rest = json.loads(line)
                if word == "begin":
                    begun[rest[0]["id"]] = rest[0]
                elif word == "done":
                    done.add(rest[0])
                elif word == "learn":
                    lessons[rest[0]] = rest[1]
                elif word == "saved":
                    sure = rest[0]
                else:
                    self.wrong.append(f"{path.name}: {rest}")
            self.learnt += sum(lessons.values())
            self.saved += sum(times for number, times in lessons.items() if number <= sure)
        self.cut = len(begun) - len(done)
        with Store(str(self.state_dir), self.wrong.append).transaction() as transaction:
            state = transaction.state
        self._compare(state, begun, done)
        self._keepers_work(state)
        for name in ("audit.jsonl", "runs.jsonl"):
            self._records(name, state.unknown[ORDER], begun, done)
        for path in [self.state_dir, *self.state_dir.iterdir()]:
            wanted = 0o700 if path.is_dir() else 0o600
            if stat.S_IMODE(path.stat().st_mode) != wanted:
                self.wrong.append(f"{path.name} has another mode")
            if ".corrupt-" in path.name or ".kmi-" in path.name:
                self.wrong.append(f"{path.name} is left")
        return self.wrong

    def _compare(self, state: State, begun: dict[str, Operation], done: set[str]) -> None:
        order = state.unknown[ORDER]
        if Counter(order) - Counter(begun.keys()):
            self.wrong.append("something was done twice, or never begun")
        if done - set(order):
            self.wrong.append(f"{len(done - set(order))} of {len(done)} that were done are gone")
        model = State()
        for name in order:
            apply(model, begun[name])
            model = as_saved(model)
        for key_id in KEYS:
            if model.key(key_id) != state.key(key_id):
                self.wrong.append(f"{key_id} is not as the model has it")
        for name in ("active", "undo", "auto_rotate"):
            if getattr(model, name) != getattr(state, name):
                self.wrong.append(f"{name} is not as the model has it")

    def _keepers_work(self, state: State) -> None:
        others = [key for key_id, key in state.keys.items() if key_id not in KEYS]
        counted = sum(answers for key in others for _, answers, _ in key.traffic)
        if not self.saved <= counted <= self.learnt:
            self.wrong.append(f"the keeper's count {counted} is not in {self.saved}-{self.learnt}")

    def _records(
        self, name: str, order: list[str], begun: dict[str, Operation], done: set[str]
    ) -> None:
        lines = (self.state_dir / name).read_bytes().split(b"\n")
        if lines.pop() != b"":
            self.wrong.append(f"{name} ends in half a line")
        found = [json.loads(line)["op"] for line in lines]
        fit = [op for op in order if name == "audit.jsonl" or begun[op]["kind"] == "swap"]
        known = set(found)
        if [op for op in fit if op in known] != found:
            self.wrong.append(f"{name} is in another order, or has a record twice")
        if done & set(fit) - known:
            self.wrong.append(f"{name} lacks a record of something that was done")


def main() -> int:
    """Run it, for as long as was asked, and tell what is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--long", action="store_true", help="20 runs of many operations")
    parser.add_argument("--careless", action="store_true", help="with a store that loses updates")
    args = parser.parse_args()
    for seed in range(args.seed, args.seed + (20 if args.long else 1)):
        with tempfile.TemporaryDirectory(prefix="kmi-model-") as folder:
            run = Run(Path(folder), seed, careless=args.careless)
            size = (4, 120, 40) if args.long else (3, 25, 10)
            run.go(workers=size[0], operations=size[1], kills=size[2])
            wrong = run.check()
        print(f"seed {seed}: {len(run.seen)} operations, {run.started} processes, "
              f"{run.cut} cut off, {run.learnt} lessons")  # fmt: skip
        if wrong:
            print("\n".join(dict.fromkeys(wrong)))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
