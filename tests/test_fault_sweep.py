"""Every command that writes, killed and refused at every call by which it touches the disk.

The commands are those of `test_audit_completeness`, so a new one is swept by itself. In the suite
each call that can change something meets one fault, by a fixed stripe, and those of two commands
most of them; ``make sweep`` does the rest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import QUOTA_CYCLE, Behaviour, FakeKimi, invalid_401
from tests.aftermath import (
    Verdict,
    fingerprint,
    leftovers,
    private_homes,
    restore,
    tree,
    wrong_answer,
)
from tests.conftest import CLI, CODE, PACKAGE_PARENT, World, config_text, secret_of, write_private
from tests.faults import Faults
from tests.injection import (
    APPEND,
    BUSY_THEN,
    EDIT,
    EDIT_RENAME,
    EDIT_SLOWLY,
    ERRORS,
    KILL,
    NEW_THEME,
    OLD_THEME,
    SHORT,
    SHORT_KILL,
    Point,
    shape,
)
from tests.test_audit_completeness import CHANGING, LOOKING, SHELLS, Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.aftermath import Tree
    from tests.conftest import Result

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/fd"), reason="files are known by /proc/self/fd"
)

#: Commands whose points all meet kills, cut writes, full disks and one of the errors in the suite,
#: too: all that write go by the functions of these.
MOST_FAULTS = {"use", "keys add"}
#: Other names of commands; nothing of theirs is their own.
SAME = {"proxy-stop", "proxy-restart"}
#: What comes after every fault: it swaps, remembers and records, and needs nothing else.
NEXT = ["run", "-k", "gone", "--", "true"]
#: No process has this number: it is beyond the largest that Linux gives.
DEAD_PID = 2**22 + 1


# Situations in which a command does something else than in a plain home.


def linked(world: World) -> None:
    """A linked config, modes too loose, ten backups, and what killed processes left."""
    config = world.config()
    target = write_private(world.home / "dotfiles" / "kimi.toml", config.read_bytes(), 0o644)
    config.unlink()
    config.symlink_to(target)
    (world.auths / "beta.env").chmod(0o644)
    (world.state / "backups").mkdir(parents=True, mode=0o700)
    world.state.chmod(0o755)
    for second in range(10):
        name = f"kimi-cli-20200101T00000{second}.000Z-0000.toml"
        write_private(world.state / "backups" / name, config_text(secret_of("alpha")))
    for left in (target, world.state / "state.json"):
        name = f".{left.name}.kmi-{DEAD_PID}-0a0b0c0d"
        write_private(left.parent / name, secret_of("beta")[:20])


def damaged(world: World) -> None:
    write_private(world.state / "state.json", "{")


def client(world: World) -> None:
    world.script("kimi", "exit 0\n")


def code_client(world: World) -> None:
    """A client that leaves something in its home, which goes back with the next run."""
    world.env["KMI_CLIENT"] = CODE
    text = config_text(secret_of("alpha"), base_url=world.env["KMI_UPSTREAM_BASE_URL"])
    world.write_config(CODE, text)
    world.script(
        "kimi", 'cd "$KIMI_CODE_HOME" && echo x > note && rm tui.toml && echo y > tui.toml'
    )


def unconfigured(world: World) -> None:
    world.config().unlink()


def watching(world: World) -> None:
    """Kimi Code takes another key when the hook of a failed turn swaps one in."""
    world.env.update(KMI_AUTO_ROTATE_ALLOWED="1", KIMI_CODE_WATCH="1")
    text = config_text(secret_of("alpha"), base_url=world.env["KMI_UPSTREAM_BASE_URL"])
    world.write_config(CODE, text)
    assert world.kmi("use", "alpha", "--client", CODE).returncode == 0
    # Long ago: a failure right after a swap is judged in another way.
    state = world.saved_state()
    state["active"][CODE]["since"] = "2001-01-01T00:00:00.000Z"
    write_private(world.state / "state.json", json.dumps(state))


HOOK = "hook {} --client kimi-code"
#: What hooks get on stdin.
EVENT = json.dumps({"session_id": "session_1", "error_message": f"403 {QUOTA_CYCLE}"})
#: Commands that only look, but remember something: what they write is swept here, too. The
#: database of `kmi usage` is SQLite's, whose own tests are of this kind.
ELSEWHERE = {"usage"}

SITUATIONS = {
    "use: linked": Case("use beta", "", "", prepare=linked),
    "use: damaged state": Case("use beta", "", "", prepare=damaged),
    "run: quick": Case("run -- true", "", "", ("use beta", "run -- sleep 0.05", "run -- true")),
    "run: pinned kimi-cli": Case("run -k beta -- kimi", "", "", prepare=client),
    "run: pinned kimi-code": Case("run -k beta -- kimi", "", "", ("run -k gone -- kimi",),
                                  prepare=code_client),
    "undo: created": Case("undo", "", "", ("use beta",), prepare=unconfigured),
    "clean: backups": Case("clean --backups --runs --older-than 0d", "", "",
                           ("use beta", "use alpha", "run -- true")),
    "health": Case("health --refresh", "", ""),
    "hook": Case(HOOK.format("session-start"), "", "", prepare=watching),
    "hook: failure": Case(HOOK.format("stop-failure --wait"), "", "",
                          (HOOK.format("session-start"),), prepare=watching),
}  # fmt: skip


def rows() -> dict[str, Case]:
    """Every command that writes, and the situations."""
    return {**CHANGING, **SITUATIONS}


# A world for a row.


@contextmanager
def upstream() -> Iterator[FakeKimi]:
    """Everybody's key works, but that of "gone"."""
    keys = {secret_of(label): Behaviour() for label in ("alpha", "beta", "gamma", "delta")}
    with FakeKimi({**keys, secret_of("gone"): invalid_401()}) as api:
        yield api


@contextmanager
def furnished(base_url: str) -> Iterator[World]:
    """A home with three keys and a client config, in memory where there is such a file system."""
    memory = "/dev/shm"  # noqa: S108 - made by mkdtemp
    where = memory if os.access(memory, os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="kmi-sweep-", dir=where))
    try:
        world = World(root)
        world.env.update(
            KMI_CLIENT=CLI,
            KMI_UPSTREAM_BASE_URL=base_url,
            KMI_PROXY_LISTEN="127.0.0.1:0",
            KMI_AUTO_ROTATE_E2E="0",
        )
        world.add_keys("alpha", "beta", "gone")
        world.write_config(CLI, config_text(secret_of("alpha"), base_url=base_url))
        yield world
    finally:
        shutil.rmtree(root)


class Stage:
    """One row of the sweep: its world, and how to come back to its beginning.

    Attributes:
        before, after: the trees before the command, and after an undisturbed run.
        points: the calls of that run.
        verdict: what is compared with.
        runs: how many disturbed runs there were.
        slowest_s: the longest of the runs that came after one.
    """

    def __init__(self, faults: Faults, world: World, case: Case) -> None:
        self.faults, self.world, self.case = faults, world, case
        self.proxies = "prox" in case.words or "proxy" in case.first
        self.runs, self.slowest_s = 0, 0.0
        self._checked: set[str] = set()
        case.prepare(world)
        self._start = tree(world)
        self._first()
        self.before = tree(world)
        done, self.points = faults.survey(world, self.words, input=self.typed)
        assert done.returncode in {0, 1}, done
        self.code = done.returncode
        self.after = tree(world)
        self.verdict = Verdict(self.before, self.after)
        self._next()
        self.usual_homes = private_homes(tree(world))
        # A second time: nothing depends on chance, and what a first run alone does is no matter.
        self.reset()
        again = faults.survey(world, self.words, input=self.typed)[1]
        missing = {p for p in set(self.points) ^ set(again) if "/memo" not in p.name}
        if self.proxies:  # these wait for another process, and look again until it is there
            missing = {p for p in missing if p.nth == 1}
        assert not missing, f"not the same calls: {missing}"

    @property
    def words(self) -> list[str]:
        return self.case.words.split()

    @property
    def hook(self) -> bool:
        """Whether it must succeed without a word, whatever happens."""
        return self.words[0] == "hook"

    @property
    def typed(self) -> str:
        return EVENT if self.hook else secret_of("delta") + "\n"

    def _first(self) -> None:
        for words in self.case.first:
            self.faults.run(self.world, words.split(), input=self.typed)

    def _next(self) -> Result:
        return self.faults.run(self.world, NEXT, cwd=self.world.home)

    def end_proxy(self) -> None:
        """End a proxy that runs in the world."""
        if self.proxies:
            done = self.faults.run(self.world, ["proxy", "stop", "--force"])
            assert done.returncode == 0, done

    def reset(self) -> None:
        """Back to the beginning."""
        self.end_proxy()
        if self.proxies and self.case.first:
            restore(self.world, self._start)
            self._first()
            self.verdict.begin(tree(self.world))
        else:
            restore(self.world, self.before)

    def disturb(self, point: Point, kind: str) -> list[str]:
        """One run with a fault; what was wrong."""
        for patience_s in (0.0, 0.05, 0.5):
            self.reset()
            # Whether a memo is written depends on how long ago its files were changed.
            time.sleep(patience_s)
            done, met = self.faults.disturbed(self.world, self.words, point, kind, input=self.typed)
            self.runs += 1
            if met:
                break
        else:
            return ["it did not fire"]
        now = tree(self.world)
        return [*self._judge(done, now, point, kind), *self._go_on(now, kind)]

    def _judge(self, done: Result, now: Tree, point: Point, kind: str) -> Iterator[str]:
        """What is wrong right after it."""
        killed = kind in {KILL, SHORT_KILL}
        torn = kind in {SHORT, SHORT_KILL}
        # A hook saves what it learnt also where it can't swap another key in.
        steps = self.hook or not point.writes
        yield from self.verdict.wrong(now, other_keys=steps, torn=torn)
        if killed and point.depth == 0:
            if done.returncode != -9:
                yield f"not killed, but {done.returncode}"
            return
        yield from wrong_answer(done, self.code)
        if self.hook:
            if (done.returncode, done.stdout, done.stderr) != (0, "", ""):
                yield f"a hook disturbs its client: {done}"
        elif done.returncode == self.code == 0 and point.writes:
            missing = self.verdict.reached(now, state=True)
            if missing:
                yield f"exit 0, but {missing}: {done.stderr!r}"
        if "not changed" in done.stderr:
            name = f"home/{self.world.config().relative_to(self.world.home)}"
            if now.get(name, None) != self.before.get(name, None):
                yield f"it says that the config was not changed, which it was: {done.stderr!r}"

    def _go_on(self, left: Tree, kind: str) -> Iterator[str]:
        """What is wrong with the next runs, and after these; once for each tree."""
        seen = fingerprint(left)
        if seen in self._checked:
            return
        self._checked.add(seen)
        self.end_proxy()
        done_already = not self.verdict.reached(left, state=False)
        for words, cwd in ((self.words, self.world.cwd), (NEXT, self.world.home)):
            started = time.monotonic()
            done = self.faults.run(self.world, words, input=self.typed, cwd=cwd)
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            fine = {0, self.code} | ({1} if words is not NEXT and done_already else set())
            if done.returncode not in fine:
                yield f"the next `{' '.join(words)}` ended with {done.returncode}: {done.stderr!r}"
            if "waiting" in done.stderr or "Traceback" in done.stderr:
                yield f"the next `{' '.join(words)}` says {done.stderr!r}"
        now = tree(self.world)
        torn = kind in {SHORT, SHORT_KILL}
        for what in self.verdict.wrong(now, other_keys=True, torn=torn):
            yield f"after the next runs {what}"
        for name in leftovers(now):
            yield f"left behind: {name}"
        if private_homes(now) > self.usual_homes:
            yield "left behind: the private home of a run"
        for name in self.verdict.missing(now):
            yield f"after the next runs {name} is missing"


def chosen(stage: Stage, name: str, *, whole: bool) -> list[tuple[Point, str]]:
    """The points of a row, each with its faults.

    In the suite only some rows meet faults where they read, for that is the same for all; and the
    proxy, which takes half a second to come and go, only at some of the calls for its own files.
    """
    points, start = stage.points, sum(map(ord, name))
    if not whole and name not in MOST_FAULTS:
        points = [point for point in points if point.writes]
    if not whole and stage.proxies:
        points = [point for point in points if "prox" in point.name and point.nth == 1]
        points = points[:1] if name in SAME else points[::3]
    plan = []
    for number, point in enumerate(points, start):
        kinds: Sequence[str] = point.kinds
        one = name not in MOST_FAULTS or not point.writes
        if name in SAME or (one and not whole):
            kinds = [kinds[number % len(kinds)]]
        elif not whole:
            errors = [kind for kind in kinds if kind in ERRORS]
            kinds = [k for k in kinds if k not in ERRORS or k == errors[number % len(errors)]]
        plan += [(point, kind) for kind in kinds]
    return plan


def sweep(faults: Faults, api: FakeKimi, name: str, *, whole: bool) -> tuple[Stage, list[str]]:
    """One row: its stage, and what was wrong."""
    with furnished(api.base_url) as world:
        stage = Stage(faults, world, rows()[name])
        bad = []
        plan = chosen(stage, name, whole=whole)
        try:
            for point, kind in plan:
                bad += [f"{kind} at {point}: {what}" for what in stage.disturb(point, kind)]
        finally:
            stage.end_proxy()
        assert stage.runs >= len(plan) > 0, "the sweep missed calls"
        return stage, bad


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    """Where runs come from."""
    with Faults() as running:
        yield running


@pytest.fixture(scope="module")
def api() -> Iterator[FakeKimi]:
    """The upstream of the keys."""
    with upstream() as running:
        yield running


def test_every_command_that_writes_is_swept() -> None:
    writing = {name for name, (_, may_change) in LOOKING.items() if may_change - SHELLS}
    assert writing - ELSEWHERE <= {name.partition(":")[0] for name in SITUATIONS}
    assert set(CHANGING) <= set(rows())


@pytest.mark.parametrize("name", rows())
def test_no_fault_at_any_call_does_damage(name: str, faults: Faults, api: FakeKimi) -> None:
    stage, bad = sweep(faults, api, name, whole=False)
    assert not bad, f"{len(bad)} violations:\n" + "\n".join(bad[:30])
    assert {"openat", "write"} <= {point.call for point in stage.points}, "the sweep missed calls"


# The sweep itself.


@pytest.fixture(scope="module")
def careless() -> Iterator[Faults]:
    """The negative control."""
    with Faults("tests.careless") as running:
        yield running


def test_the_sweep_finds_what_a_careless_writer_does(careless: Faults, api: FakeKimi) -> None:
    with furnished(api.base_url) as world:
        stage = Stage(careless, world, Case("use beta", "", ""))
        bad = [
            f"{kind} at {point}: {what}"
            for point in stage.points
            for kind in (KILL, "ENOSPC", SHORT, SHORT_KILL)
            if kind in point.kinds
            for what in stage.disturb(point, kind)
        ]
    said = "\n".join(bad)
    assert "config.toml is neither old nor new: ''" in said.replace("b''", "''")
    assert re.search(r"SHORT-KILL at write home/.kimi/config.toml .*neither old nor new", said)
    assert "state.json can't be read" in said
    assert "has mode 644" in said
    assert "not a message for people" in said


#: What strace calls what kmi calls; on some machines under another name.
KERNEL = ("openat", "write", "fsync", "rename", "unlink", "rmdir", "mkdir", "chmod", "fchmod",
          "ftruncate", "truncate", "symlink", "link", "flock", "fchown")  # fmt: skip


def seen_by_the_kernel(world: World, words: list[str], typed: str) -> list[tuple[str, str]]:
    """The same calls as `Faults.survey` gives, from strace and an ordinary start of kmi."""
    log = world.root / "strace.log"
    traced = ",".join(f"?{call},?{call}at,?{call}at2" for call in KERNEL if call != "openat")
    strace = ["strace", "-f", "--seccomp-bpf", "-y", "-qq", "-s", "0", "-o", str(log)]
    strace += ["-e", f"trace=openat,open,creat,?pwrite64,?writev,?fdatasync,{traced}"]
    # Not with -m, which looks for the module in the working directory first.
    kmi = os.path.join(PACKAGE_PARENT, "kmi")
    done = world.command([*strace, sys.executable, kmi, *words], input=typed)
    assert done.returncode == 0, done
    found = []
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if call is None:
            continue
        # Of a rename and a link the second path counts; descriptors are told with theirs.
        given = re.sub("AT_FDCWD<[^>]*>", "", call[2].partition(") = ")[0])
        named = re.findall(rf'{world.root}/((?:home|project)[^">]*)', given)
        if named:
            name = re.sub(r"at2?$", "", call[1]) if call[1] != "openat" else "openat"
            found.append((name, shape(named[-1])))
    return found


@pytest.mark.parametrize("name", ["use: linked", "keys add", "bind", "undo", "clean", "doctor"])
def test_the_sweep_sees_what_the_kernel_sees(name: str, faults: Faults, api: FakeKimi) -> None:
    if shutil.which("strace") is None:
        assert os.environ.get("CI") != "true", "needs strace"
        pytest.skip("needs strace")
    with furnished(api.base_url) as world:
        stage = Stage(faults, world, rows()[name])
        ours = [(point.call, point.name) for point in stage.points]
        stage.reset()
        time.sleep(0.05)
        assert seen_by_the_kernel(world, stage.words, stage.typed) == ours


# Others that write the config, at each moment of a run.


@pytest.mark.parametrize(
    "name, kind",
    [
        *((name, kind) for name in ("use", "undo") for kind in (EDIT, EDIT_RENAME)),
        ("use", EDIT_SLOWLY),
    ],
)
def test_an_edit_of_the_config_is_lost_only_in_the_stated_window(
    name: str, kind: str, faults: Faults, api: FakeKimi
) -> None:
    """An editor, kimi-cli (which truncates) and Kimi Code (which renames) write beside kmi."""
    with furnished(api.base_url) as world:
        stage = Stage(faults, world, rows()[name])
        config = world.config()
        new = stage.after["home/.kimi/config.toml"].data or b""
        allowed = {new: "lost", new.replace(OLD_THEME, NEW_THEME): "kept"}
        lost = set()
        for point in stage.points[:: 3 if kind == EDIT_SLOWLY else 1]:
            stage.reset()
            done, met = faults.disturbed(world, stage.words, point, kind, input=stage.typed)
            if not met:
                continue  # a memo
            assert done.returncode == 0, (point, done)
            assert config.read_bytes() in allowed, (point, config.read_bytes())
            if allowed[config.read_bytes()] == "lost":
                lost.add((point.call, point.name))
            assert list(config.parent.iterdir()) == [config], point
    # Between the last look and the rename there is no other call.
    assert lost <= {("rename", "home/.kimi/config.toml")}


def test_a_created_config_that_was_edited_is_not_removed(faults: Faults, api: FakeKimi) -> None:
    with furnished(api.base_url) as world:
        stage = Stage(faults, world, rows()["undo: created"])
        for point in stage.points:
            if point.name.startswith("home/kmi-state/backups") and point.writes:
                stage.reset()
                world.config().write_bytes(stage.before["home/.kimi/config.toml"].data or b"")
                done, met = faults.disturbed(world, stage.words, point, APPEND)
                assert met
                assert done.returncode == 78, (point, done)
                assert "changed since" in done.stderr
                assert world.config().read_bytes().endswith(b"# edited\n")


# Locks that do not work.


@pytest.mark.parametrize("kind", BUSY_THEN)
def test_a_lock_that_stops_working_while_it_is_waited_for(
    kind: str, faults: Faults, api: FakeKimi
) -> None:
    """filelock 3 takes that for another holder, filelock 4 would take another kind of lock."""
    with furnished(api.base_url) as world:
        stage = Stage(faults, world, rows()["use"])
        point = next(point for point in stage.points if point.call == "flock")
        done, met = faults.disturbed(world, stage.words, point, kind)
        assert met
        assert done.returncode == 78, done
        assert "has no file locks" in done.stderr
        assert "gave up" not in done.stderr
        assert (world.state / "lock").read_bytes() == b"", "a lock that a crash leaves behind"
        assert not list(stage.verdict.wrong(tree(world), other_keys=False, torn=False))


def whole(name: str) -> tuple[str, int, list[str]]:
    """A row with every fault: a line about it, how many runs, and what was wrong."""
    started = time.monotonic()
    with Faults() as faults, upstream() as api:
        stage, bad = sweep(faults, api, name, whole=True)
    told = (
        f"{name:<22} {len(stage.points):>4} points {stage.runs:>5} faults, "
        f"the next run took at most {stage.slowest_s:.2f} s, {len(bad)} violations "
        f"({time.monotonic() - started:.0f} s)"
    )
    return told, stage.runs, [f"{name}: {what}" for what in bad]


def main(names: list[str]) -> int:
    """The whole sweep, a row for each processor at a time."""
    total, wrong = 0, []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for told, runs, bad in pool.map(whole, names or rows()):
            total += runs
            wrong += bad
            print(told, flush=True)
    print(f"{total} faults, {len(wrong)} violations")
    for what in wrong:
        print(what)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
