"""`kmi trace`, the figure of the round robin, and the list of events."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kmi
from kmi.journal import append
from kmi.proxy.tally import Tally
from kmi.records import COMMON, EVENTS
from kmi.timezones import find_timezone, utc_text
from kmi.trace import (
    ENOUGH,
    OTHERS,
    Entry,
    confidence,
    entry_of,
    measured,
    read_line,
    timeline,
)
from kmi.trace_text import COLUMNS, Clock, cells, fitting, strips, table
from kmi.wording import Words
from tests.proxy.sample import HOSTILE, NOW, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import World

GOLDEN = Path(__file__).parent / "golden"
EN, RU = Words("en"), Words("ru")
UTC = Clock(find_timezone("UTC"), NOW)


def entries(count: int, keys: str = "abc", **changes: Any) -> list[Entry]:
    """Requests a second apart, in turn over keys of one letter."""
    return [
        entry_of(served(n, NOW + n, **{"label": keys[n % len(keys)], "code": "next", **changes}))
        for n in range(count)
    ]


# The figure.


@pytest.mark.parametrize(
    "placed, percent",
    [
        ([("abc"[n % 3], 3) for n in range(60)], 100),
        ([("abc"[n % 3], 3) for n in range(50)], 100),
        # The first kmi said 100 % of these two: it looked at the keys that were used.
        ([("a", 3)] * 50, 0),
        ([], None),
        ([("a", 3)] * (ENOUGH - 1), None),
        ([("a", 3)] * ENOUGH, 0),
        # A key that is never used though it could be.
        ([("ab"[n % 2], 3) for n in range(60)], 75),
        # One key is out for half of the time: nobody did anything wrong.
        ([("abc"[n % 3], 3) for n in range(30)] + [("ab"[n % 2], 2) for n in range(30)], 100),
        # Where there is one key only, nothing can be said.
        ([("a", 1)] * 100, None),
        ([("a", 1)] * 100 + [("ab"[n % 2], 2) for n in range(40)], 100),
        ([("a", 2)] * 30 + [("b", 2)] * 10, 50),
        # A hundred keys and a few requests: each may get one.
        ([(str(n), 100) for n in range(20)], 100),
    ],
)
def test_the_figure(placed: list[tuple[str, int]], percent: int | None) -> None:
    assert measured(placed).percent == percent


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 6)), max_size=200))
def test_the_figure_is_a_share(placed: list[tuple[str, int]]) -> None:
    found = measured(placed).percent
    assert found is None or 0 <= found <= 100
    assert measured(placed[::-1]).percent == found


@given(st.integers(2, 8), st.integers(ENOUGH, 200))
def test_a_perfect_round_robin_is_certain(keys: int, requests: int) -> None:
    assert measured([(str(n % keys), keys) for n in range(requests)]).percent == 100


def test_only_requests_that_were_placed_in_turn_count() -> None:
    placed = entries(30)
    stuck = entries(500, "a", code="session") + entries(50, "a", code="retry")
    assert confidence(placed + stuck) == (100, 30)
    assert confidence(stuck) == (None, 0)
    assert confidence(entries(40, eligible=1)) == (None, 0)


# Reading.


@given(st.binary(max_size=200))
def test_any_bytes_are_read(line: bytes) -> None:
    assert read_line(line) is None


ONE = Tally()
ONE.note(served(1, NOW))
LINE = json.loads(ONE.drain())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(LINE)), values)
def test_any_field_may_be_wrong(name: str, value: object) -> None:
    """What is read can be shown, whatever was in the file."""
    entry = read_line(json.dumps({**LINE, name: value}).encode())
    if isinstance(entry, Entry):
        for words in (EN, RU):
            for zone in ("UTC", "+14:00", "-12:00"):
                shown = table([entry], words, Clock(find_timezone(zone), NOW), 100)
                assert len(shown) == 2
                assert shown[1].isascii()
                assert "\x1b" not in "".join(shown)
        strips([entry], EN, UTC, 80)


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"event":"request"}', b"{}", b"null", b""])
def test_damaged_lines_are_passed_over(line: bytes) -> None:
    assert read_line(line) is None


# The picture.


def test_the_picture_counts_everything() -> None:
    found = timeline(entries(100), 30)
    assert [strip.label for strip in found.strips] == ["a", "b", "c"]
    assert [sum(strip.counts) for strip in found.strips] == [34, 33, 33]
    assert {len(strip.counts) for strip in found.strips} == {25}
    assert (found.start, found.step_s) == (NOW, 4.0)
    assert timeline([], 30).strips == ()
    assert timeline(entries(5, label=""), 30).strips == ()


def test_many_keys_do_not_hide_the_table() -> None:
    rng = random.Random(3)
    many = [e._replace(label=f"k{min(49, int(rng.expovariate(0.2)))}") for e in entries(500)]
    found = timeline(many, 30)
    assert len(found.strips) == 12
    assert found.strips[-1].label == OTHERS
    assert sum(sum(strip.counts) for strip in found.strips) == 500
    drawn = strips(many, EN, UTC, 80)
    assert drawn[-1].startswith(f"  {OTHERS} [")
    few = strips(entries(30), EN, UTC, 80)
    assert few[-1].startswith("  c ["), "only as wide as its labels"


def test_the_rest_has_its_whole_name_in_the_drawing() -> None:
    pytest.importorskip("rich")
    from rich.console import Console

    from kmi.trace_rich import page

    many = [e._replace(label=f"k{n % 13}") for n, e in enumerate(entries(130))]
    target = Console(width=100)
    with target.capture() as capture:
        target.print(page(many, [], 0, EN, UTC, width=100))
    assert f"  {OTHERS} " in capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("words", [EN, RU], ids=["en", "ru"])
def test_tables_fit(words: Words, width: int) -> None:
    some = entries(
        30, tried=(("home", "quota-5h"), ("work", "rate")), label="a-rather-long-label/of-a-key"
    )
    lines = table(some, words, UTC, width)
    assert max(map(len, lines)) <= width
    assert max(map(len, table(some, words, UTC, width, steady=True))) <= width
    names = [column.name for column, _, _ in fitting([cells(some[0], UTC)], words, width)]
    assert {"time", "key", "status", "total"} <= set(names)
    few = [cells(entry, UTC) for entry in entries(3)]
    assert (len(fitting(few, words, width)) == len(COLUMNS)) == (width >= 140)
    assert max(map(len, strips(some, words, UTC, width))) <= max(width, 60)


def test_the_day_is_told_where_it_is_another_one() -> None:
    assert UTC(NOW) == "14:13:20"
    assert UTC(NOW - 86400.0) == "09-20 14:13:20"
    assert Clock(find_timezone("+03:00"), NOW)(NOW) == "17:13:20"


# The command.


def write(world: World, some: Sequence[Any], *, backups: int = 3, max_bytes: int = 1 << 20) -> None:
    """What the proxy would have written."""
    world.state.mkdir(mode=0o700, exist_ok=True)
    for start in range(0, len(some), 40):
        tally = Tally()
        for one in some[start : start + 40]:
            tally.note(one)
        path = str(world.state / "trace.jsonl")
        append(path, tally.drain(), max_bytes=max_bytes, backups=backups)


@pytest.fixture
def traced(world: World) -> World:
    """Fifty requests in turn over three keys, the last one now."""
    now = time.time()
    world.env["KMI_TIMEZONE"] = "UTC"
    some = [
        served(n, now - 49 * 20 + n * 20, label="abc"[n % 3], code="next", eligible=3)
        for n in range(49)
    ]
    last = {"status": 429, "verdict": "all-out", "label": "", "key_id": "", "tokens": None}
    some.append(served(49, now, **last, first_s=None, tried=(("a", "quota-5h"), ("b", "rate"))))
    write(world, some)
    return world


def normal(document: dict[str, Any]) -> dict[str, Any]:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", json.dumps(document))
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_document(traced: World) -> None:
    found = normal(traced.document("trace", "--lines", "3"))
    path = GOLDEN / "trace.json"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(path.read_text())


def test_the_first_kmi_called_it_with_a_flag(traced: World) -> None:
    assert traced.kmi("--trace").stdout == traced.kmi("trace").stdout


def test_plain_text_for_pipes(traced: World) -> None:
    done = traced.kmi("trace", "--lines", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["time", "key", "path"]
    assert "all-out" in lines[4]
    assert lines[4].split()[1] == "-"
    assert "who served what" in done.stdout
    assert re.search(r"a +\[[ .:*#=+-]+\] 17", done.stdout)
    assert "requests: 50, shown: 4" in lines
    assert "confidence of round robin: 100 % (over 49 placements)" in lines


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("locale", ["en", "ru"])
@pytest.mark.parametrize("color", [["--no-color"], []], ids=["plain lines", "color"])
def test_terminals(traced: World, columns: int, locale: str, color: list[str]) -> None:
    look = {"COLUMNS": str(columns), "KMI_LOCALE": locale, "FORCE_COLOR": "1", "TERM": "xterm"}
    done = traced.kmi("trace", *color, env=look)
    assert done.returncode == 0
    assert ("\x1b[" in done.stdout) == (not color)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert max(map(len, bare.splitlines())) <= columns
    assert ("уверенность чередования: 100 %" in bare) == (locale == "ru")
    assert "█" in bare
    assert traced.kmi("trace", env={**look, "NO_COLOR": "1"}).stdout.count("\x1b[") == 0


def test_nothing_there_is_told(world: World) -> None:
    world.add_key("a")
    done = world.kmi("trace")
    assert (done.returncode, done.stdout) == (0, "")
    assert "trace.jsonl" in done.stderr
    assert "kmi proxy" in done.stderr
    found = world.document("trace")
    assert (found["requests"], found["confidence"]["percent"]) == ([], None)
    write(world, [served(1, time.time() - 5000.0)])
    done = world.kmi("trace", "--since", "10m")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no request fits" in done.stderr


def test_few_requests_are_not_enough(world: World) -> None:
    write(world, [served(n, time.time(), code="next") for n in range(ENOUGH - 1)])
    said = world.kmi("trace").stdout
    assert f"not enough data ({ENOUGH - 1} of {ENOUGH} placements)" in said


def test_what_is_wanted_is_listed(traced: World) -> None:
    mine = traced.document("trace", "--key", "b", "--lines", "100")
    assert {r["label"] for r in mine["requests"]} == {"b", ""}
    assert [r["label"] for r in mine["requests"]].count("") == 1, "b was tried for it"
    assert mine["read"] == 50, "the figures are those of all keys"
    young = traced.document("trace", "--since", "100s")
    assert 4 <= len(young["requests"]) <= 6
    assert young["read"] == len(young["requests"])
    assert traced.kmi("trace", "--since", "soon").returncode == 2
    assert traced.kmi("trace", "--lines", "many").returncode == 2
    assert traced.kmi("trace", "--follow", "--json").returncode == 2
    assert traced.document("trace", "--lines", "0")["requests"] == []


def test_requests_that_only_tried_a_key_are_enough_to_stop_reading(world: World) -> None:
    now = time.time()
    world.state.mkdir(mode=0o700)
    old = {"schema": 1, "ts": utc_text(now - 990), "event": "dropped", "count": 7}
    data = json.dumps(old).encode() + b"\n"
    append(str(world.state / "trace.jsonl"), data, max_bytes=1 << 20, backups=3)
    tried = (("b", "rate"),)
    some = [served(n, now - 900 + n, label="a", tried=tried) for n in range(600)]
    write(world, some, max_bytes=1 << 20)
    seen = world.document("trace", "--key", "b", "--lines", "5")
    assert (len(seen["requests"]), seen["read"]) == (5, 200)
    assert seen["dropped"] == 0, "that was long before the last 200"


def test_backups_are_read_and_dropped_lines_are_told(world: World) -> None:
    now = time.time()
    write(world, [served(n, now - 200 + n) for n in range(120)], max_bytes=17_000)
    assert (world.state / "trace.jsonl.2").exists()
    line = {"schema": 1, "ts": utc_text(now), "event": "dropped", "count": 7}
    data = json.dumps(line).encode() + b"\nnot a record\n"
    append(str(world.state / "trace.jsonl"), data, max_bytes=1 << 20, backups=3)
    found = world.document("trace", "--lines", "110")
    assert [r["request"] for r in found["requests"]] == [f"{n:08x}" for n in range(10, 120)]
    assert found["dropped"] == 7
    assert "7 requests are missing" in world.kmi("trace").stdout


def test_strange_texts_are_escaped(world: World) -> None:
    strange = {"path": HOSTILE, "label": HOSTILE, "verdict": HOSTILE}
    write(world, [served(n, time.time(), **strange) for n in range(3)])
    env = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}
    for done in (world.kmi("trace"), world.kmi("trace", "--no-color", env=env)):
        assert done.returncode == 0
        assert not set(done.stdout) & {"\x1b", "\x07", "\u202e"}
    assert world.document("trace")["requests"][0]["path"] == HOSTILE


def follow(world: World, *args: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kmi", "trace", "--follow", *args],
        env=world.env,
        cwd=world.cwd,
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


def test_following_prints_lines_as_they_come(traced: World) -> None:
    process = follow(traced, "--lines", "2")
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(3)]
    assert first[0].split()[0] == "time"
    for number in range(200, 260):  # rotated away in between, and nothing is lost
        write(traced, [served(number, time.time())], max_bytes=600, backups=99)
    heard = [process.stdout.readline() for _ in range(60)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert {line.split()[1] for line in heard} == {"work"}
    assert len({len(line) for line in first[1:] + heard if "work" in line}) == 1


def test_following_on_a_terminal_is_a_live_table(traced: World) -> None:
    import pty

    here, there = pty.openpty()
    traced.env |= {"TERM": "xterm-256color", "COLUMNS": "90", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "kmi", "trace", "--follow"],
        env=traced.env, cwd=traced.cwd, stdin=there, stdout=there, stderr=there,
        start_new_session=True,
    )  # fmt: skip
    os.close(there)

    def until(word: str) -> str:
        """What was drawn, once the word is in it, without colours."""
        deadline, drawn = time.monotonic() + 30.0, b""
        while word.encode() not in drawn:
            assert time.monotonic() < deadline, drawn
            ready, _, _ = select.select([here], [], [], 1.0)
            if ready:
                drawn += os.read(here, 65536)
        return re.sub(r"\x1b\[[0-9;?]*[a-z]", "", drawn.decode("utf-8", "replace"))

    first = until("confidence of round robin")
    assert "all-out" in first
    assert "live; Ctrl-C ends it" in first
    write(traced, [served(77, time.time(), verdict="brandnew")])
    until("brandnew")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    os.close(here)


def test_looking_needs_no_network_and_little_else(traced: World) -> None:
    done = traced.command([sys.executable, "-X", "importtime", "-m", "kmi", "trace"])
    loaded = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    heavy = {"httpx", "asyncio", "rich", "filelock", "tomlkit", "kmi.auths"}
    assert "kmi.trace" in loaded
    assert loaded & heavy == set()


# The one list of events.


def test_every_event_of_the_code_is_in_the_list() -> None:
    """Those that a literal names: ``{"event": "x", …}``, or JSON that is put together by hand."""
    found = set()
    for path in Path(kmi.__file__).parent.rglob("*.py"):
        if path.name == "records.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values):
                    if isinstance(key, ast.Constant) and key.value == "event":
                        found |= {value.value} if isinstance(value, ast.Constant) else set()
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r'"event":"([a-z-]+)"', node.value))
    assert {"run", "audit", "request", "dropped", "proxy-started"} <= found
    assert found - set(EVENTS) == set(), "add them to kmi/records.py"


def test_every_field_of_audit_records_is_in_the_list() -> None:
    named = set()
    for path in Path(kmi.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if name in {"audit", "audit_record"}:
                    named |= {word.arg for word in node.keywords if word.arg is not None}
    assert {"before", "after", "error", "repairs"} <= named
    assert named - set(EVENTS["audit"].fields) == set(), "add them to kmi/records.py"


def test_records_have_the_fields_of_the_list(world: World) -> None:
    world.env["KMI_CLIENT"] = "kimi-cli"
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    assert world.kmi("run", "--", "true").returncode == 0
    assert world.kmi("use", "beta").returncode == 0
    assert world.kmi("use", "nobody").returncode == 1
    for name, count in (("run", 1), ("audit", 2)):
        event = EVENTS[name]
        found = world.records(event.file)
        assert len(found) >= count
        for record in found:
            assert record["event"] == name
            assert set(record) <= {*COMMON, *event.fields}, name
            assert set(record) >= {*COMMON, *event.fields} - event.optional, name


def test_the_page_of_records_names_every_field() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "records.md").read_text("utf-8")
    for name, event in EVENTS.items():
        assert f"`{name}`" in page
        assert all(f"`{field}`" in page for field in event.fields)


def test_a_time_before_the_epoch_is_of_no_use() -> None:
    tally = Tally()
    tally.note(served(1, NOW))
    record = json.loads(tally.drain())
    assert isinstance(read_line(json.dumps(record).encode()), Entry)
    record["ts"] = "1969-12-31T23:59:59.000Z"
    assert read_line(json.dumps(record).encode()) is None
