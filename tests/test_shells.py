"""Rendering the scripts for shells, and what the small files for them hold."""

from __future__ import annotations

import dataclasses
import os
import sys

import pytest

from kmi import shell_files, shells
from kmi.binding import Record
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.state import Active, State
from kmi.urls import parse_base_url
from tests.conftest import World, write_private

NOW = 1_800_000_000.0
KEY = ApiKey("work", "0123456789ab", "sk-kimi-x", parse_base_url("https://api.kimi.com/coding/v1"))


def state_of(**fields: object) -> State:
    known = dataclasses.replace(KeyState(usage_at=NOW), **fields)  # type: ignore[arg-type]  # fields of any kind
    return State(keys={KEY.key_id: known}, active={"kimi-cli": Active(KEY.key_id, "work", NOW)})


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "work"),
        ({"windows": {"5h": Window(0.5, NOW + 60)}}, "work"),
        ({"windows": {"5h": Window(0.9, NOW + 60)}}, "work !"),
        ({"windows": {"5h": Window(0.9, NOW - 60)}}, "work"),
        ({"disabled": True}, "work x"),
    ],
)
def test_the_line_of_the_prompt(fields: dict[str, object], line: str) -> None:
    assert shell_files.prompt_line(state_of(**fields), [KEY], NOW) == line


def test_a_hold_is_marked_until_it_ends() -> None:
    hold = Hold("exhausted", "quota-5h", NOW - 10, NOW + 60)
    held = state_of(hold=hold)
    assert shell_files.prompt_line(held, [KEY], NOW) == "work x"
    assert shell_files.prompt_line(held, None, NOW) == "work x"
    assert shell_files.prompt_line(held, [KEY], NOW + 61) == "work"


def test_no_key_no_line() -> None:
    assert shell_files.prompt_line(State(), [KEY], NOW) == ""
    assert shell_files.prompt_line(state_of(), [], NOW) == ""
    gone = dataclasses.replace(KEY, disabled=True)
    assert shell_files.prompt_line(state_of(), [gone], NOW) == "work x"


def test_the_newest_swap_counts_and_a_named_one_becomes_it() -> None:
    state = state_of()
    state.active["kimi-code"] = Active("ba9876543210", "home", NOW + 5)
    assert shell_files.prompt_line(state, None, NOW) == "home"
    shell_files.prefer(state, "kimi-cli", NOW + 9)
    assert shell_files.prompt_line(state, None, NOW) == "work"
    before = dict(state.active)
    shell_files.prefer(state, "kimi-cli", NOW + 99)
    assert state.active == before


def test_bindings_innermost_first() -> None:
    records = {
        "/a/.kmi.toml": Record("allow", "x", ("one",)),
        "/a/b/c/.kmi.toml": Record("allow", "x", ("two", "one")),
        "/.kmi.toml": Record("allow", "x", ("root",)),
        "/a/b/.kmi.toml": Record("deny"),
        "/new\nline/.kmi.toml": Record("allow", "x", ("one",)),
    }
    assert shell_files.binding_lines(records) == "two,one /a/b/c\none /a\nroot /\n"


@pytest.mark.parametrize("line", ["work", "work !", "work x", "team/ci@x"])
def test_shown(line: str) -> None:
    assert shells.shown(line + "\n", "") == line


@pytest.mark.parametrize("line", ["", " ", "a$(id)", "50%n", "a" * 65, "é", "a\tb", "-e\\n"])
def test_not_shown(line: str) -> None:
    assert shells.shown(line, "") == ""


def test_an_unknown_mark_is_left_out() -> None:
    assert shells.shown("work ??\n", "") == "work"


@pytest.mark.parametrize("name", ["kimi", "k", "my-kimi", "_k2"])
def test_names_of_functions(name: str) -> None:
    assert shells.valid_name(name)


@pytest.mark.parametrize("name", ["", "kmi", "if", "2k", "a b", "a;b", "k$", "é", "-k", "a" * 65])
def test_no_names_of_functions(name: str) -> None:
    assert not shells.valid_name(name)


def test_a_mark_that_is_not_known_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown mark"):
        shells.render("x #: nonsense", "bash", command=["kmi"])


def test_how_kmi_starts_itself(tmp_path: object) -> None:
    folder = os.path.dirname(os.path.abspath(shells.__file__))
    expected = [sys.executable, folder]
    assert shells.own_command(os.path.join(folder, "__main__.py"), sys.executable) == expected
    assert shells.own_command(folder, sys.executable) == expected
    assert shells.own_command("/opt/bin/kmi", sys.executable) == ["/opt/bin/kmi"]
    assert shells.own_command("kmi-not-here", sys.executable) == ["kmi-not-here"]


def test_the_files_follow_the_keys(world: World) -> None:
    world.add_keys("b", "a")
    assert world.kmi("use", "b").returncode == 0
    files = [world.state / name for name in ("prompt", "labels")]
    assert [file.read_text() for file in files] == ["b\n", "a\nb\n"]
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    write_private(world.auths / "c.env", (world.auths / "a.env").read_text().replace("61", "63"))
    assert world.kmi("keys").returncode == 0
    assert files[1].read_text() == "a\nb\nc\n"
    kept = [file.stat().st_ino for file in files]
    assert world.kmi("status").returncode == 0
    assert [file.stat().st_ino for file in files] == kept


def test_a_dry_run_leaves_them(world: World) -> None:
    world.add_keys("a", "b")
    assert world.kmi("use", "a").returncode == 0
    (world.auths / "b.env").unlink()
    before = world.snapshot(world.state)
    assert world.kmi("status", env={"KMI_DRY_RUN": "1"}).returncode == 0
    after = world.snapshot(world.state)
    assert after["labels"] == before["labels"]


def test_a_prompt_file_that_can_not_be_replaced_stops_nothing(world: World) -> None:
    world.add_keys("a", "b")
    assert world.kmi("use", "a").returncode == 0
    (world.state / "prompt").unlink()
    (world.state / "prompt").mkdir()
    done = world.kmi("use", "b")
    assert done.returncode == 0, done
    assert "prompt" in done.stderr
    assert world.kmi("current").stdout == "b\n"


def test_the_prompt_variable_does_not_end_the_quick_way(world: World) -> None:
    from kmi.quick import env_signature

    env = dict(world.env)
    assert env_signature(env) == env_signature({**env, "KMI_PROMPT": "b", "KMI_PROMPT_AUTO": "0"})
    assert env_signature(env) != env_signature({**env, "KMI_STRATEGY": "sticky"})
