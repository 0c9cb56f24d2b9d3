"""`kmi usage`: what it shows, in text, JSON and HTML; and `kmi clean --usage`."""

from __future__ import annotations

import json
import os
import re
import time
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmi.usage.page import STYLE, binned
from kmi.usage.report import Line, Report, parts, shortened
from kmi.usage.text import Names, lines
from kmi.wording import Words
from tests.conftest import CLI, CODE, World, secret_of
from tests.proxy.browser import NAMES, Browser, chromium
from tests.quickly import Forks
from tests.test_startup import HEAVY, heads, imports
from tests.usage_scene import NOW, Place, append, cli_call, code_call, request

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent / "golden" / "usage.json"
#: What a terminal could obey, and what a page could.
HOSTILE = "/code/\x1b]0;x\x07<script>alert(1)</script>&\u202e"
RU = {"KMI_LOCALE": "ru", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture
def home(world: World) -> World:
    """Two clients, three sessions, two keys; a year ago, and lately."""
    from kmi.auth_formats import key_id_of

    world.env["KMI_TIMEZONE"] = "UTC"
    world.add_keys("alpha", "beta")
    ids = [key_id_of(secret_of(label)) for label in ("alpha", "beta")]
    place = Place(world.home, world.state)
    for number, client in enumerate((CODE, CLI)):
        label, key = ("alpha", "beta")[number], ids[number]
        place.record("runs.jsonl", "run", NOW, run=f"r{number}", cwd="/code/project", key=key,
                     client=client, mode="pinned", label=label)  # fmt: skip
        place.begin(client, f"s{number}", NOW + 1)
    append(place.log(CODE, "s0"), code_call(NOW + 60, 1000), code_call(NOW + 120, 2000))
    append(place.log(CLI, "s1"), cli_call(NOW + 60, 500))
    place.begin(CODE, "s2", NOW - 400 * 86400, project=HOSTILE)
    append(place.log(CODE, "s2", project=HOSTILE), code_call(NOW - 400 * 86400, 70))
    entry = request(NOW + 300, "deadbeef", ids[0], (90, 50, 5))
    place.record("trace.jsonl", "request", NOW + 300, **{**entry, "label": "alpha"})
    return world


SINCE = ("--since", "all")


def test_the_document(home: World, forks: Forks) -> None:
    done = forks.run(home, "usage", "--json", "--by", "key", *SINCE)
    found = json.loads(re.sub(r'"at": "[^"]*"', '"at": "TIME"', done.stdout))
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(GOLDEN.read_text())
    expected: dict[str, list[object]] = {
        "day": ["2025-08-17", "2026-09-21"],
        "project": [None, "/code/project", HOSTILE],
        "model": [None, "k"],
        "session": [("kimi-cli", "s1"), ("kimi-code", "s0"), ("kimi-code", "s2"), ("proxy", None)],
    }
    for by, rows in expected.items():
        document = json.loads(forks.run(home, "usage", "--json", "--by", by, *SINCE).stdout)
        names = [row[by] for row in document["rows"]]
        if by == "session":
            names = [(row["client"], row["session"]) for row in document["rows"]]
        assert sorted(map(str, names)) == sorted(map(str, rows)), by
        assert sum(row["tokens"] for row in document["rows"]) == document["total"]["tokens"]
        assert document["total"]["calls"] == 5


def test_the_table(home: World, forks: Forks) -> None:
    for by in ("key", "day", "project", "model", "session"):
        for width in (40, 80, 100):
            done = forks.run(home, "usage", "--by", by, *SINCE, env={"COLUMNS": str(width)})
            assert done.returncode == 0, done
            assert done.stdout.isascii()
            assert done.stdout.isprintable() or "\x1b" not in done.stdout
            rows = done.stdout.splitlines()
            assert max(map(len, rows)) <= width, done.stdout
            assert (len(rows[2].split()) == 6) == (width > 40), done.stdout
    done = forks.run(home, "usage", *SINCE)
    found = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert found["alpha"][1:6] == ["3", "3.04k", "56", "9", "3.10k"]
    assert found["beta"][1:6] == ["1", "500", "3", "2", "505"]
    assert found["total"][1] == "5"
    assert "exact for 4, by time for 0, unknown for 1 calls" in done.stdout
    # Names are shown in their own letters, unless only ASCII is wanted.
    place = Place(home.home, home.state)
    place.begin(CODE, "s9", NOW, project="/code/проект")  # noqa: RUF001 - Russian
    append(place.log(CODE, "s9", project="/code/проект"), code_call(NOW + 7, 900))  # noqa: RUF001 - Russian
    assert "/code/проект" in forks.run(home, "usage", "--by", "project", *SINCE, env=RU).stdout  # noqa: RUF001 - Russian
    assert forks.run(home, "usage", "--by", "project", "--plain", *SINCE).stdout.isascii()
    # The same in the person's language, and drawn.
    done = forks.run(home, "usage", *SINCE, env={**RU, "FORCE_COLOR": "1", "TERM": "xterm"})
    assert "кто платил: точно - 4" in done.stdout
    assert "█" in done.stdout
    assert "\x1b[" in done.stdout


def test_the_time_that_is_shown(home: World, forks: Forks) -> None:
    """`NOW` is 2026-09-21 14:13:20 UTC."""

    def calls(*args: str, zone: str = "UTC") -> int:
        done = forks.run(home, "usage", "--json", *args, env={"KMI_TIMEZONE": zone})
        assert done.returncode == 0, done
        return int(json.loads(done.stdout)["total"]["calls"])

    assert calls("--since", "2026-09-21") == 4
    assert calls("--since", "2026-09-22") == 0
    assert calls("--since", "2026-09-22", zone="+14:00") == 4
    assert calls("--since", "2025-08-01") == 5
    days = json.loads(
        forks.run(
            home, "usage", "--json", "--by", "day", *SINCE, env={"KMI_TIMEZONE": "+14:00"}
        ).stdout
    )
    assert [row["day"] for row in days["rows"]] == ["2025-08-18", "2026-09-22"]
    for bad in ("yesterday", "2026-02-30", "7", "7x"):
        done = forks.run(home, "usage", "--since", bad)
        assert (done.returncode, "since" in done.stderr) == (2, True)


def test_one_key(home: World, forks: Forks) -> None:
    document = json.loads(forks.run(home, "usage", "--json", "--key", "beta", *SINCE).stdout)
    assert [row["key"] for row in document["rows"]] == ["beta"]
    # Its file may be gone: what it paid is known still.
    (home.auths / "beta.env").unlink()
    done = forks.run(home, "usage", "--key", "beta", *SINCE)
    assert "(of key beta)" in done.stdout
    done = forks.run(home, "usage", "--key", "bet")
    assert done.returncode == 1
    assert "no key 'bet'" in done.stderr


def test_what_is_said_when_there_is_nothing(world: World, forks: Forks) -> None:
    done = forks.run(world, "usage")
    assert (done.returncode, done.stdout) == (0, "")
    assert "there are no sessions in " in done.stderr
    assert str(world.home / ".kimi/sessions") in done.stderr
    place = Place(world.home, world.state)
    place.begin(CODE, "s0", NOW)
    assert "no session has made a call yet" in forks.run(world, "usage").stderr
    append(place.log(CODE, "s0"), code_call(1000.0))
    done = forks.run(world, "usage", "--since", "1s")
    assert "(1 earlier ones are known" in done.stderr
    empty = json.loads(forks.run(world, "usage", "--since", "1s", "--json").stdout)
    assert (empty["rows"], empty["total"]["calls"], empty["logs"]) == ([], 0, 1)


def test_a_home_that_is_not_known_stops_nothing(home: World, forks: Forks) -> None:
    done = forks.run(home, "usage", *SINCE, env={"KIMI_CODE_HOME": ""})
    assert done.returncode == 0
    assert "KIMI_CODE_HOME is set but empty" in done.stderr
    assert "beta" in done.stdout


def test_a_file_that_is_newer_or_damaged(home: World, forks: Forks) -> None:
    import sqlite3
    from contextlib import closing

    assert forks.run(home, "usage").returncode == 0
    path = home.state / "usage.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA user_version = 7")
    for words in (("usage",), ("clean", "--usage"), ("clean", "--usage", "--dry-run")):
        done = forks.run(home, *words)
        assert done.returncode == 78, done
        assert f"{path} has schema 7, this kmi knows up to 1" in done.stderr
    path.write_bytes(b"no database" * 1000)
    assert forks.run(home, "clean", "--usage").returncode == 1
    done = forks.run(home, "usage", *SINCE)
    assert done.returncode == 0
    assert "it is kept as" in done.stderr
    assert "total" in done.stdout
    assert len(list(home.state.glob("usage.db.corrupt-*"))) == 1


# Cleaning.


def test_usage_is_cleaned_when_it_is_named(home: World, forks: Forks) -> None:
    assert forks.run(home, "clean", "--usage").stderr.endswith("nothing that old\n")
    assert not (home.state / "usage.db").exists()
    assert forks.run(home, "usage").returncode == 0
    assert forks.run(home, "clean").returncode == 0

    def calls() -> int:
        return int(json.loads(forks.run(home, "usage", "--json", *SINCE).stdout)["total"]["calls"])

    before = (home.state / "usage.db").read_bytes()
    old = f"{int((time.time() - NOW) / 86400) + 200}d"
    done = forks.run(home, "clean", "--usage", "--older-than", old, "--dry-run", "--json")
    assert [(row["part"], row["removed"]) for row in json.loads(done.stdout)["removed"]] == [
        ("usage", 1)
    ]
    assert (home.state / "usage.db").read_bytes() == before
    done = forks.run(home, "clean", "--usage", "--older-than", old)
    assert "usage" in done.stdout
    assert "1 calls" in done.stdout
    assert home.records("audit.jsonl")[-1]["removed"] == {"usage": 1}
    assert calls() == 4
    os.utime(home.home / ".kimi-code")
    for path in (home.home / ".kimi-code").rglob("wire.jsonl"):
        path.write_bytes(path.read_bytes())  # as if each were written anew
    assert calls() == 4


# The page.


def page_of(home: World, forks: Forks, *args: str) -> Path:
    path = home.cwd / "usage.html"
    done = forks.run(home, "usage", "--html", str(path), *SINCE, *args)
    assert (done.returncode, done.stdout) == (0, ""), done
    assert str(path) in done.stderr
    return path


def test_the_page_needs_nothing_and_can_do_nothing(home: World, forks: Forks) -> None:
    path = page_of(home, forks)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert set(re.findall(r"[a-z]+://[^\s\"'<]*", text)) == set()
    assert not re.search(r"<(script|link|img|iframe|object|base)\b|@import|url\(", text)
    assert not re.search(r"<[^>]*\s(on[a-z]+|style)=", text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_only_a_page_of_kmis_is_replaced(home: World, forks: Forks) -> None:
    path = page_of(home, forks)
    assert path == page_of(home, forks)
    path.unlink()
    for make in (
        lambda: path.write_text("my thesis"),
        lambda: path.symlink_to(home.env_file),
        path.mkdir,
    ):
        make()
        before = home.snapshot(home.cwd)
        done = forks.run(home, "usage", "--html", str(path), *SINCE)
        assert done.returncode == 77, done
        assert home.snapshot(home.cwd) == before
        path.rmdir() if path.is_dir() else path.unlink()
    done = forks.run(home, "usage", "--html", str(home.cwd / "none/x.html"))
    assert done.returncode == 77
    assert "No such file" in done.stderr


@pytest.mark.skipif(chromium() is None, reason=f"needs one of {NAMES}")
def test_the_page_in_a_browser(home: World, forks: Forks, tmp_path: Path) -> None:
    path = page_of(home, forks)
    browser = Browser(tmp_path / "profile")
    try:
        browser.look()
        browser.go(path.as_uri())
        assert browser.js("document.title") == "Token usage"
        background = "getComputedStyle(document.body).backgroundColor"
        light = browser.js(background)
        # By keyboard: the link over the head, the links to the tables, then the bars.
        browser.key("Tab")
        assert browser.js("document.activeElement.className") == "skip"
        for _ in range(6):
            browser.key("Tab")
        assert browser.js("document.activeElement.getAttribute('class')") == "bar"
        shown = "getComputedStyle(document.activeElement.querySelector('.tip')).visibility"
        assert browser.js(shown) == "visible"
        label = browser.js("document.activeElement.getAttribute('aria-label')")
        assert label.startswith("2025-08")
        assert browser.js("document.querySelectorAll('tbody tr').length") == 3 + 2 + 3 + 2 + 4
        # Every part of a bar has its place, and nothing runs over the edge of a narrow window.
        assert browser.js(
            "[...document.querySelectorAll('.bar rect')].every(r => r.getBBox().height >= 0)"
        )
        for width in (1200, 360):
            browser.look(dark=True, width=width)
            assert browser.js("document.documentElement.scrollWidth") <= width
        assert browser.js(background) != light
        assert [url for url in browser.asked() if not url.startswith("file:")] == []
        assert browser.complaints() == []
    finally:
        browser.close()


# The parts.


def test_bars_lose_no_part() -> None:
    for line in (Line("a", 1, 1, 0, 1, 1), Line("a", 1, 10**9, 0, 1, 1), Line("a", 1, 0, 0, 5, 0)):
        for width in (1, 8, 40):
            cells = parts(line, line.total, width)
            assert sum(cells) == width
            assert min(cells) >= 0
    assert parts(Line("a"), 0, 10) == (0, 0, 0)
    assert sum(parts(Line("a", 1, 1), 10**9, 40)) == 1


def test_many_rows_end_in_one_of_the_others() -> None:
    found = [Line(str(n), 1, 1000 - n) for n in range(100)]
    kept = shortened(found, 30, "rest")
    assert (len(kept), kept[-1].calls) == (30, 71)
    assert sum(line.total for line in kept) == sum(line.total for line in found)
    total = Line("", 100, sum(line.fresh for line in found))
    for by in ("session", "day"):
        text = lines(Report(by, 0.0, NOW, tuple(found), total), Names(Words("en"), {}, ""), "t", 80)
        assert len([row for row in text if "(71 others)" in row]) == 1
        assert len(text) < 40


def test_bars_of_years_stand_for_weeks_and_months() -> None:
    for last, length in (("2026-01-05", 5), ("2026-06-01", 23), ("2029-12-31", 48)):
        bins = binned({"2026-01-01": {"a": 1}, last: {"b": 2}})
        assert len(bins) == length
        assert sum(sum(by_key.values()) for _, by_key in bins) == 3
    assert binned({}) == []


def test_looking_again_loads_nothing_heavy(home: World) -> None:
    """How long it takes is measured in ``benchmarks/usage.py``; here is what would cost it."""
    append(Place(home.home, home.state).log(CODE, "s0"), code_call(time.time() - 60))
    assert home.kmi("usage").returncode == 0
    again = imports(home, "usage")
    assert (again.code, again.err) == (0, "")
    assert "total" in again.out
    loaded = heads(again.modules)
    assert loaded & (HEAVY | {"argparse", "hashlib", "shutil", "textwrap", "tomlkit"}) == set()
    assert not again.modules & {"kmi.usage.facts", "kmi.usage.attribution", "kmi.usage.page"}
