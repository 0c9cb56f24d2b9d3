"""What must hold of a world after kmi was killed, or met an error, at any call.

A `Tree` is everything in the home and the project. `Verdict` knows the trees before a command and
after an undisturbed run of it, and says what is wrong with one that a disturbed run left: each
file is old or new to the byte (but for times, process ids and chance), records are whole lines, no
mode is looser, nothing else is there.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.errors import ConfigError
from kmi.kimi_config import parse_config
from kmi.state import decode
from tests.conftest import CLI, secret_of
from tests.injection import shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Result, World

#: The keys of a sweep.
LABELS = ("alpha", "beta", "gamma", "delta", "gone", "fresh")
#: Exit codes of errors (docs/reference/exit-codes.md) that a system can be the reason of.
CODES = {1, 69, 75, 77, 78, 125}
#: Files that are made anew from others whenever they differ, or hold chance: only modes count.
REMADE = re.compile(
    r"home/kmi-state/(prompt|labels|bindings|lock|proxy\.(json|token|lock)"
    r"|(memo|logs|proxy-runs|pins)(/.+)?)|.*\.jsonl\.lock"
)
#: Not there any more after the next run.
LEFTOVER = re.compile(r".*/\.[^/]*\.kmi-TEMPORARY|home/kmi-state/pins/.+")


class Entry(NamedTuple):
    """A file, directory or link: its mode, time, and content (None: a directory)."""

    mode: int
    mtime_ns: int
    data: bytes | None

    @property
    def rights(self) -> int:
        """The permission bits."""
        return stat.S_IMODE(self.mode)


#: By paths relative to the root of the world.
Tree = dict[str, Entry]


def tree(world: World) -> Tree:
    """Everything in the home and the project."""
    found: Tree = {}
    waiting = [str(world.home), str(world.cwd)]
    start = len(str(world.root)) + 1
    while waiting:
        folder = waiting.pop()
        for item in os.scandir(folder):
            status = item.stat(follow_symlinks=False)
            data: bytes | None = None
            if item.is_symlink():
                data = os.readlink(item.path).encode()
            elif item.is_dir():
                waiting.append(item.path)
            else:
                data = Path(item.path).read_bytes()
            found[item.path[start:]] = Entry(status.st_mode, status.st_mtime_ns, data)
    return found


def restore(world: World, wanted: Tree) -> None:
    """Make the home and the project what they were; what did not change is not touched."""
    now = tree(world)
    for name in sorted(now, reverse=True):
        if name not in wanted or stat.S_IFMT(now[name].mode) != stat.S_IFMT(wanted[name].mode):
            path = world.root / name
            path.rmdir() if now.pop(name).data is None else path.unlink()
    for name, entry in sorted(wanted.items()):
        path, there = world.root / name, now.get(name)
        if there is not None and (there.mode, there.data) == (entry.mode, entry.data):
            continue
        if stat.S_ISLNK(entry.mode):
            path.unlink(missing_ok=True)
            path.symlink_to((entry.data or b"").decode())
            continue
        if entry.data is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(entry.data)
        path.chmod(entry.rights)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def plain(name: str, data: bytes) -> bytes:
    """A file's content without what differs from run to run.

    Raises:
        ValueError: it is kmi's, and not readable.
    """
    if name.endswith(".json"):
        table = json.loads(data)
        if REMADE.fullmatch(name):
            return b""
        if name.endswith("/state.json") and table.get("schema") != 9999:
            decode(table)
        return json.dumps(_timeless(table), sort_keys=True).encode()
    if REMADE.fullmatch(name):
        return b""
    return shape(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if isinstance(value, float) and value > 1e9:
        return 0.0
    if isinstance(value, str):
        return re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", shape(value))
    return value


def has_a_key(raw: bytes) -> bool:
    """Whether a client's config is whole, and holds one of the keys."""
    try:
        config = parse_config(raw, name="config.toml", client=CLI)
    except ConfigError:
        return False
    return config.secret in {secret_of(label) for label in LABELS}


class Verdict:
    """What is wrong after a disturbed run.

    Args:
        before: the tree before the command.
        after: the one after an undisturbed run.
    """

    def __init__(self, before: Tree, after: Tree) -> None:
        self.before, self.after = _by_shape(before), _by_shape(after)
        self._known: dict[str, set[bytes]] = {}
        self._rights: dict[str, set[int]] = {}
        for name, entries in [*self.before.items(), *self.after.items()]:
            for entry in entries:
                self._rights.setdefault(name, set()).add(entry.rights)
                if entry.data is not None:
                    self._known.setdefault(name, set()).add(_soft(name, entry.data))
        self._removed = {
            name: set(_lines(entries)) - set(_lines(self.after.get(name, [])))
            for name, entries in self.before.items()
            if name.endswith(".jsonl")
        }

    def begin(self, before: Tree) -> None:
        """The command begins again, on another tree: a proxy has other numbers and times."""
        self.before = _by_shape(before)

    def wrong(self, now: Tree, *, other_keys: bool, torn: bool) -> Iterator[str]:
        """What is wrong with the files.

        Args:
            now: what is there.
            other_keys: another key than the undisturbed run's may have been picked.
            torn: a record may have been cut off.
        """
        there = _by_shape(now)
        for name, entries in there.items():
            for entry in entries:
                yield from self._wrong_rights(name, entry)
                if entry.data is None or LEFTOVER.fullmatch(name) or stat.S_ISLNK(entry.mode):
                    continue
                if name.endswith(".jsonl"):
                    yield from self._wrong_records(name, entry.data, torn=torn)
                    continue
                if ".corrupt-" in name or ".schema-" in name:
                    continue
                yield from self._wrong_content(name, entry.data, other_keys=other_keys)
        contents = {entry.data for entry in now.values()}
        for name, entries in self.before.items():
            if name in there or name not in self.after or REMADE.fullmatch(name):
                continue
            if not {entry.data for entry in entries} <= contents:  # not even set aside
                yield f"{name} is gone"

    def _wrong_content(self, name: str, raw: bytes, *, other_keys: bool) -> Iterator[str]:
        known = self._known.get(name)
        try:
            data = plain(name, raw)
        except (ValueError, KeyError, TypeError) as error:
            if raw not in (known or ()):
                yield f"{name} can't be read: {error} {raw[:60]!r}"
            return
        if REMADE.fullmatch(name) or data in (known or ()):
            return
        if other_keys and ("/backups/" in name or name.endswith(("/state.json", "/bindings.json"))):
            return
        if other_keys and name.endswith(("/config.toml", "/kimi.toml")) and has_a_key(raw):
            return
        what = "new" if known is None else f"neither old nor new: {data[:300]!r}"
        yield f"{name} is {what}"

    def _wrong_rights(self, name: str, entry: Entry) -> Iterator[str]:
        if stat.S_ISLNK(entry.mode):
            return
        usual = 0o700 if entry.data is None else 0o600
        target = re.sub(r"\.([^/]*)\.kmi-TEMPORARY$", r"\1", name)
        if entry.rights & ~usual and entry.rights not in self._rights.get(target, set()):
            yield f"{name} has mode {entry.rights:o}"

    def _wrong_records(self, name: str, data: bytes, *, torn: bool) -> Iterator[str]:
        lines = data.split(b"\n")
        whole = [line for line in lines if _is_json(line)]
        broken = [line for line in lines if line and not _is_json(line)]
        if len(broken) > torn or any(b"}{" in line for line in broken):
            yield f"{name} holds half a line: {broken}"
        kept = set(_lines(self.before.get(name, []))) - self._removed.get(name, set())
        if kept - set(whole):
            yield f"{name} lost records"

    def missing(self, now: Tree) -> list[str]:
        """The files of the undisturbed run that are not there."""
        there = _by_shape(now)
        return [n for n in self.after if n not in there and not REMADE.fullmatch(n)
                and not LEFTOVER.fullmatch(n)]  # fmt: skip

    def reached(self, now: Tree, *, state: bool) -> str:
        """Why a tree is not that of the undisturbed run; with the state, or without."""
        there = _by_shape(now)
        for name, entries in self.after.items():
            derived = REMADE.fullmatch(name) or "/backups/" in name or ".corrupt-" in name
            if derived or (not state and name.endswith((".json", ".jsonl"))):
                continue
            if name not in there:
                if {e.data for e in entries} <= {e.data for e in now.values()}:
                    continue  # it waits in the private home of a run
                return f"{name} is missing"
            if name.endswith(".jsonl"):
                if len(_lines(there[name])) < len(_lines(entries)):
                    return f"{name} lacks a record"
                continue
            wanted = {_soft(name, e.data) for e in entries if e.data is not None}
            if (
                wanted
                and {_soft(name, e.data) for e in there[name] if e.data is not None} != wanted
            ):
                return f"{name} is not new"
        gone = [name for name in self.before if name not in self.after and name in there]
        gone = [n for n in gone if not REMADE.fullmatch(n) and not LEFTOVER.fullmatch(n)]
        return f"{gone} are still there" if gone else ""


def leftovers(now: Tree) -> list[str]:
    """What only a killed run leaves behind, but for private configs and homes."""
    return [name for name in map(shape, now) if LEFTOVER.fullmatch(name) and "/pins/" not in name]


def private_homes(now: Tree) -> int:
    """How many runs have a private config or home."""
    return sum(shape(name) == "home/kmi-state/pins/RUN" for name in now)


def wrong_answer(done: Result, usual: int) -> Iterator[str]:
    """What is wrong with how a command ended; ``usual`` is the exit code without a fault."""
    said = done.stderr
    if done.returncode not in CODES | {0}:
        yield f"exit {done.returncode}: {said!r}"
    elif done.returncode not in {0, usual} and "kmi: " not in said:
        yield f"no message: {said!r}"
    if "Traceback" in said or "a bug" in said:
        yield f"not a message for people: {said!r}"
    if any(not line.startswith("kmi: ") for line in said.splitlines()):
        yield f"not in lines of kmi's: {said!r}"
    shown = done.stdout + said
    if any(secret_of(label)[-8:] in shown for label in LABELS):
        yield f"a secret is shown: {shown!r}"


def fingerprint(now: Tree) -> str:
    """The same for trees from which the next run goes the same way."""
    seen = []
    for name, entry in now.items():
        data = b"" if entry.data is None else _soft(shape(name), entry.data)
        if name.endswith(".jsonl"):
            data = b"torn" if entry.data and not entry.data.endswith(b"\n") else b"whole"
        seen.append((shape(name), entry.mode, data))
    return repr(sorted(seen))


def _soft(name: str, data: bytes) -> bytes:
    try:
        return plain(name, data)
    except (ValueError, KeyError, TypeError):
        return data


def _by_shape(now: Tree) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for name, entry in now.items():
        found.setdefault(shape(name), []).append(entry)
    return found


def _lines(entries: list[Entry]) -> list[bytes]:
    return [
        line for entry in entries for line in (entry.data or b"").split(b"\n") if _is_json(line)
    ]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
