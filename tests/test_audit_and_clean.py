"""`kmi audit` and `kmi clean`: records that are found, and old ones that go."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from kmi.timezones import utc_text
from tests.conftest import CLI, World, write_private

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0
DAY = 86400.0


@pytest.fixture
def used(world: World) -> World:
    """Two swaps, one refusal, and a client config."""
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    for words in (["use", "beta"], ["use", "alpha"]):
        assert world.kmi(*words).returncode == 0
    assert world.kmi("use", "gamma").returncode == 1
    return world


def records(world: World, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.document("audit", *words)["records"]
    return found


def test_every_change_and_refusal_is_listed_in_its_order(used: World) -> None:
    found = records(used)
    assert [(r["command"], r["outcome"]) for r in found] == [
        ("use", "changed"),
        ("use", "changed"),
        ("use", "denied"),
    ]
    shown = used.kmi("audit")
    assert shown.returncode == 0
    assert "beta -> alpha" in shown.stdout
    assert "denied" in shown.stdout


@pytest.mark.parametrize(
    ("words", "outcomes"),
    [
        (["--outcome", "denied"], ["denied"]),
        (["--command", "use", "--lines", "1"], ["denied"]),
        (["--lines", "0"], []),
        (["--command", "keys"], []),
        (["--key", "beta"], ["changed", "changed"]),
        (["--key", "nobody"], []),
        (["--actor", "nobody"], []),
        (["--since", "1d"], ["changed", "changed", "denied"]),
    ],
)
def test_records_are_filtered(used: World, words: list[str], outcomes: list[str]) -> None:
    assert [r["outcome"] for r in records(used, *words)] == outcomes


def test_old_and_broken_lines_are_left_out(used: World) -> None:
    path = used.state / "audit.jsonl"
    old = json.dumps({"schema": 1, "ts": utc_text(1.0), "event": "audit", "command": "use"})
    path.write_bytes(old.encode() + b'\n{"half\n' + path.read_bytes())
    assert len(records(used)) == 4
    assert len(records(used, "--since", "1h")) == 3


def test_an_empty_audit_says_so(world: World) -> None:
    done = world.kmi("audit")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing was changed yet" in done.stderr


def lines(path: Path, *ages_days: float, now: float) -> None:
    rows = [json.dumps({"schema": 1, "ts": utc_text(now - age * DAY)}) for age in ages_days]
    write_private(path, "".join(f"{row}\n" for row in rows))


@pytest.fixture
def old(used: World) -> World:
    """Records of all ages."""
    import time

    now = time.time()
    lines(used.state / "trace.jsonl", 40, 20, 1, now=now)
    lines(used.state / "trace.jsonl.1", 90, 80, now=now)
    lines(used.state / "runs.jsonl", 50, 2, now=now)
    (used.state / "logs").mkdir(mode=0o700)
    raw = f"{utc_text(now - 60 * DAY)} begin\n  more of it\n{utc_text(now)} now\n  and more\n"
    write_private(used.state / "logs" / "proxy.log", raw)
    return used


def ages(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def test_a_dry_run_counts_and_removes_nothing(old: World) -> None:
    before = old.snapshot()
    table = old.document("clean", "--dry-run")
    assert {row["part"]: row["removed"] for row in table["removed"]} == {
        "trace": 3,
        "runs": 1,
        "logs": 2,
    }
    assert old.snapshot() == before


def test_old_records_go_and_young_ones_stay(old: World) -> None:
    kept = (old.state / "trace.jsonl").read_bytes().splitlines()[1:]
    assert old.kmi("clean").returncode == 0
    assert (old.state / "trace.jsonl").read_bytes().splitlines() == kept
    assert not (old.state / "trace.jsonl.1").exists()
    assert ages(old.state / "runs.jsonl") == 1
    assert (old.state / "logs" / "proxy.log").read_text().splitlines()[1] == "  and more"
    assert os.stat(old.state / "trace.jsonl").st_mode & 0o777 == 0o600
    last = records(old)[-1]
    assert (last["command"], last["outcome"]) == ("clean", "changed")
    assert last["removed"] == {"logs": 2, "runs": 1, "trace": 3}


def test_only_what_is_named_goes(old: World) -> None:
    assert old.kmi("clean", "--runs", "--older-than", "0d").returncode == 0
    assert ages(old.state / "runs.jsonl") == 0
    assert ages(old.state / "trace.jsonl") == 3


def test_backups_go_with_the_steps_that_need_them(old: World) -> None:
    assert len(old.document("backups")["backups"]) == 2
    assert old.kmi("clean", "--backups").returncode == 0
    assert len(old.document("backups")["backups"]) == 2  # they are young
    assert old.kmi("clean", "--backups", "--older-than", "0s").returncode == 0
    assert old.document("backups")["backups"] == []
    assert old.saved_state()["undo"] == {CLI: []}
    done = old.kmi("undo")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_keys_configs_and_the_audit_are_never_touched(old: World) -> None:
    config = old.config().read_bytes()
    before = old.snapshot(old.auths)
    parts = ["--logs", "--trace", "--runs", "--backups"]
    assert old.kmi("clean", *parts, "--older-than", "0s").returncode == 0
    assert old.snapshot(old.auths) == before
    assert old.config().read_bytes() == config
    assert len(records(old)) == 4


def test_a_clean_house_says_so(used: World) -> None:
    done = used.kmi("clean")
    assert done.returncode == 0
    assert "nothing that old" in done.stderr
    assert records(used)[-1]["outcome"] == "unchanged"
