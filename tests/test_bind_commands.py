"""`kmi bind`, `allow` and `deny`, and what a `.kmi.toml` does to runs: real processes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kmi.auth_formats import key_id_of
from kmi.binding import LIMIT_BYTES, parse, render
from kmi.model import Hold, KeyState
from kmi.state import State, encode
from tests.conftest import BASE_URL, CLI, CODE, World, config_text, secret_of, write_private
from tests.other_user import abroad

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Result

TEAM = 'keys = ["team"]\n'
STRICT = TEAM + "strict = true\n"


@pytest.fixture
def home(world: World) -> World:
    """Three keys, alpha active, and a client that tells its key and shows its private config."""
    world.env["KMI_CLIENT"] = CLI
    world.add_keys("alpha", "beta", "team")
    world.config_with("alpha")
    world.script("kimi", 'echo "$KMI_ACTIVE_KEY"; [ "$1" != --config-file ] || cat "$2"')
    return world


def file_in(folder: Path, text: str | bytes) -> Path:
    """A committed `.kmi.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_private(folder / ".kmi.toml", text, 0o644)


def key_of(done: Result) -> str:
    """The label that a run got; its private config must hold that key."""
    assert done.returncode == 0, done
    label = done.stdout.splitlines()[0]
    assert secret_of(label) in done.stdout
    return label


def run(world: World, *args: str, cwd: Path | None = None) -> Result:
    return world.kmi("run", *args, "--", "kimi", cwd=cwd)


def run_key(world: World, cwd: Path | None = None) -> str:
    return key_of(run(world, cwd=cwd))


def allow(world: World, *args: str, cwd: Path | None = None) -> None:
    done = world.kmi("allow", *args, cwd=cwd)
    assert done.returncode == 0, done


def decisions(world: World) -> dict[str, Any]:
    path = world.state / "bindings.json"
    return dict(json.loads(path.read_bytes())["paths"]) if path.exists() else {}


def exhaust(world: World, *labels: str) -> None:
    """Make keys exhausted for an hour."""
    now = time.time()
    hold = Hold("exhausted", "quota-window", now - 60, now + 3600)
    keys = {key_id_of(secret_of(label)): KeyState(label=label, hold=hold) for label in labels}
    write_private(world.state / "state.json", json.dumps(encode(State(keys=keys))))


def assert_refused(done: Result, *words: str) -> None:
    """The run failed before the client was started, and said why."""
    assert (done.returncode, done.stdout) == (125, ""), done
    for word in words:
        assert word in done.stderr


# kmi bind.


def test_bind_writes_allows_and_is_recorded_once(home: World) -> None:
    done = home.kmi("bind", "team", "beta", "--strict")
    assert (done.returncode, done.stdout) == (0, "")
    path = home.cwd / ".kmi.toml"
    assert path.read_bytes() == render(["team", "beta"], strict=True)
    assert not list(home.cwd.glob(".kmi.toml?*"))
    (record,) = home.records("audit.jsonl")
    assert (record["command"], record["outcome"], record["path"]) == ("bind", "changed", str(path))
    assert record["after"]["keys"] == ["team", "beta"]
    assert (home.state / "bindings.json").stat().st_mode & 0o777 == 0o600
    assert run_key(home) == "team"
    assert home.files_with("CANARY", home.cwd) == []


def test_bind_again_is_unchanged_and_another_one_replaces_its_own(home: World) -> None:
    assert home.document("bind", "team")["changed"]
    before = (home.cwd / ".kmi.toml").stat().st_ino
    assert not home.document("bind", "team", "team")["changed"]
    assert (home.cwd / ".kmi.toml").stat().st_ino == before
    assert home.document("bind", "beta")["changed"]
    assert run_key(home) == "beta"
    outcomes = [record["outcome"] for record in home.records("audit.jsonl")]
    assert outcomes == ["changed", "unchanged", "changed"]


@pytest.mark.parametrize(
    "text, trusted",
    [
        ("# ours\n" + TEAM, True),
        (TEAM, False),
        ("broken", False),
        (render(["team"], strict=True).decode(), False),
    ],
)
def test_bind_replaces_a_foreign_file_by_force_only(home: World, text: str, trusted: bool) -> None:
    path = file_in(home.cwd, text)
    if trusted:
        allow(home)
    done = home.kmi("bind", "beta")
    assert done.returncode == 77
    assert "--force" in done.stderr
    assert path.read_text() == text
    assert home.records("audit.jsonl")[-1]["outcome"] == "denied"
    assert home.kmi("bind", "beta", "--force").returncode == 0
    assert run_key(home) == "beta"


def test_bind_leaves_a_foreign_file_that_says_the_same(home: World) -> None:
    path = file_in(home.cwd, "# of the team\n" + STRICT)
    assert home.kmi("bind", "team", "--strict").returncode == 0
    assert path.read_text() == "# of the team\n" + STRICT
    assert run_key(home) == "team"


def test_bind_knows_the_labels(home: World) -> None:
    done = home.kmi("bind", "team", "bta")
    assert done.returncode == 1
    assert "did you mean beta?" in done.stderr
    assert not (home.cwd / ".kmi.toml").exists()
    assert home.kmi("bind").returncode == 2
    (record,) = home.records("audit.jsonl")
    assert (record["command"], record["outcome"]) == ("bind", "denied")


def test_bind_refuses_a_label_that_looks_like_a_secret(home: World) -> None:
    home.add_key("sk-looks-like-one", secret_of("x"))
    done = home.kmi("bind", "sk-looks-like-one")
    assert done.returncode == 2
    assert "looks like a secret" in done.stderr
    assert not (home.cwd / ".kmi.toml").exists()


@pytest.mark.parametrize("umask, mode", [("077", 0o600), ("022", 0o644), ("002", 0o644)])
def test_bind_respects_the_umask(home: World, umask: str, mode: int) -> None:
    argv = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", sys.executable, "-m", "kmi"]
    assert home.command([*argv, "bind", "team"]).returncode == 0
    assert (home.cwd / ".kmi.toml").stat().st_mode & 0o777 == mode
    assert run_key(home) == "team"


@pytest.mark.skipif(os.name != "posix", reason="modes are Unix's")
def test_bind_where_nothing_can_be_written(home: World) -> None:
    with abroad(home) as there:
        there.cwd.chmod(0o500)
        done = there.kmi("bind", "team")
        there.cwd.chmod(0o700)
    assert done.returncode == 77
    assert "can't write" in done.stderr
    assert decisions(home) == {}


def test_a_dry_run_writes_nothing(home: World) -> None:
    file_in(home.cwd / "other", TEAM)
    before = home.snapshot(home.cwd)
    env = {"KMI_DRY_RUN": "1"}
    for args in (("bind", "team"), ("allow", "other"), ("deny", "other")):
        done = home.kmi(*args, env=env)
        assert done.returncode == 0
        assert "dry run" in done.stderr
    assert home.snapshot(home.cwd) == before
    assert decisions(home) == {}
    assert home.records("audit.jsonl") == []


# Trust.


def test_a_file_does_nothing_until_it_is_allowed(home: World) -> None:
    path = file_in(home.cwd, STRICT)
    first = run(home)
    assert key_of(first) == "alpha"
    assert f"{path} is not allowed yet" in first.stderr
    assert f"`kmi allow {path}`" in first.stderr
    second = run(home)
    assert (key_of(second), second.stderr) == ("alpha", "")
    path.write_text(STRICT + "# other\n")
    assert "is not allowed yet" in run(home).stderr
    shown = home.kmi("allow")
    assert shown.stdout == f"{path}: team (strict: never another key)\n"
    assert run_key(home) == "team"
    assert [record["command"] for record in home.records("audit.jsonl")] == ["allow"]


def test_what_is_broken_is_told_with_its_line_and_ignored(home: World) -> None:
    path = file_in(home.cwd, TEAM + "srtict = true\n")
    done = run(home)
    assert key_of(done) == "alpha"
    assert f"{path}:2: 'srtict' is not a field of .kmi.toml (did you mean strict?)" in done.stderr
    assert run(home).stderr == ""
    refused = home.kmi("allow")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert f"{path}:2: 'srtict'" in refused.stderr
    assert decisions(home) == {}
    assert [record["outcome"] for record in home.records("audit.jsonl")] == ["denied"]


def test_a_secret_in_it_is_never_shown(home: World) -> None:
    file_in(home.cwd, TEAM + f"# {secret_of('alpha')}\n")
    for args in (("allow",), ("run", "--", "true"), ("why",), ("config", "validate")):
        done = home.kmi(*args)
        assert secret_of("alpha")[3:-4] not in done.stdout + done.stderr
    assert "looks like a secret" in home.kmi("allow").stderr
    assert home.files_with(secret_of("alpha"), home.state) == []


def test_allow_tells_what_it_allows_as_json(home: World) -> None:
    path = file_in(home.cwd, 'keys = ["tem", "beta"]\n')
    said = home.document("allow")
    binding, _ = parse(str(path), path.read_bytes())
    assert binding is not None
    assert said == {"schema": 1, **binding.table(), "missing": ["tem"], "changed": True}
    assert not home.document("allow")["changed"]
    assert "did you mean team?" in home.kmi("allow").stderr


def test_changed_content_needs_another_allow(home: World) -> None:
    path = file_in(home.cwd, TEAM)
    allow(home)
    assert run_key(home) == "team"
    path.write_text('keys = ["beta"]\n')
    done = run(home)
    assert key_of(done) == "alpha"
    assert "it was changed" in done.stderr
    # Back to what was allowed.
    path.write_text(TEAM)
    assert run_key(home) == "team"


def test_the_same_content_at_another_path_is_not_allowed(home: World) -> None:
    file_in(home.cwd / "one", STRICT)
    allow(home, "one")
    assert run_key(home, home.cwd / "one") == "team"
    shutil.copytree(home.cwd / "one", home.cwd / "copy")
    (home.cwd / "one").rename(home.cwd / "moved")
    for name in ("copy", "moved"):
        done = run(home, cwd=home.cwd / name)
        assert key_of(done) == "alpha"
        assert "is not allowed yet" in done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(TEAM),
        lambda path: path.write_text(STRICT + "# more\n"),
        lambda path: path.write_text("keys = ["),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_bytes(b"#" * (LIMIT_BYTES + 1)),
        lambda path: path.chmod(0o666),
        lambda path: (path.rename(path.with_name("real")), path.symlink_to("real")),
        lambda path: [path.unlink(), os.mkfifo(path)],  # type: ignore[func-returns-value]  # two steps
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["loosened", "comment", "broken", "bytes", "large", "mode", "link", "fifo", "directory"],
)
def test_a_strict_binding_that_is_not_as_allowed_closes(
    home: World, spoil: Callable[[Path], object]
) -> None:
    path = file_in(home.cwd, STRICT)
    allow(home)
    config = home.config().read_bytes()
    spoil(path)
    (home.cwd / "sub").mkdir()
    for _ in range(2):
        done = run(home, cwd=home.cwd / "sub")
        assert_refused(done, str(path), "what was allowed is strict (team)", "`kmi deny")
    assert_refused(run(home, "-k", "team"), "strict")
    assert_refused(home.kmi("run", "--dry-run", "--", "kimi"), "strict")
    said = home.document("why")
    assert (said["picked"], said["code"], said["binding"]) == (None, "binding-closed", None)
    assert said["binding_closed"]["path"] == str(path)
    assert {key["why"] for key in said["keys"]} == {f"not allowed by {path}"}
    assert home.kmi("config", "validate").returncode == 78
    assert home.config().read_bytes() == config
    assert home.kmi("deny").returncode == 0
    assert run_key(home) == "alpha"


def test_a_file_that_is_gone_binds_nothing(home: World) -> None:
    path = file_in(home.cwd, STRICT)
    allow(home)
    path.unlink()
    assert run_key(home) == "alpha"
    assert home.kmi("deny", str(path)).returncode == 0
    assert decisions(home) == {}
    again = home.kmi("deny", str(path))
    assert again.returncode == 1
    assert "there is no" in again.stderr


def test_what_is_denied_is_not_told_again(home: World) -> None:
    path = file_in(home.cwd, STRICT)
    assert home.kmi("deny").returncode == 0
    for text in (STRICT, TEAM, "broken ["):
        path.write_text(text)
        done = run(home)
        assert (key_of(done), done.stderr) == ("alpha", "")
    assert home.document("why")["bindings_ignored"][0]["state"] == "denied"
    path.write_text(TEAM)
    allow(home)
    assert run_key(home) == "team"
    assert home.document("deny")["changed"]
    assert not home.document("deny")["changed"]
    assert run_key(home) == "alpha"
    said = [(record["command"], record["outcome"]) for record in home.records("audit.jsonl")]
    assert said == [
        ("deny", "changed"),
        ("allow", "changed"),
        ("deny", "changed"),
        ("deny", "unchanged"),
    ]


def test_where_there_is_none(home: World) -> None:
    for verb in ("allow", "deny"):
        for args in ((), (".",), ("nowhere/.kmi.toml",)):
            done = home.kmi(verb, *args)
            assert (done.returncode, done.stdout) == (1, "")
            assert "there is no" in done.stderr
        other = home.kmi(verb, str(home.env_file))
        assert other.returncode == 2
        assert "neither a .kmi.toml nor a directory" in other.stderr


def test_a_path_is_one_path_whatever_link_leads_there(home: World) -> None:
    file_in(home.cwd / "real", TEAM)
    (home.cwd / "link").symlink_to("real")
    allow(home, "link")
    assert list(decisions(home)) == [str(home.cwd / "real" / ".kmi.toml")]
    assert run_key(home, home.cwd / "link") == "team"


# What is no ordinary file.

ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (lambda path: path.symlink_to(file_in(path.parent.parent, TEAM)), "a symbolic link"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
    "fifo": (os.mkfifo, "not a regular file"),
    "directory": (lambda path: path.mkdir(), "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
    "mode": (lambda path: write_private(path, TEAM, 0o646), "can be written by everyone"),
    "large": (lambda path: write_private(path, "#" * (LIMIT_BYTES + 1)), "larger than 16 KiB"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_is_told_once_ignored_and_never_allowed(home: World, kind: str) -> None:
    make, words = ODD[kind]
    folder = home.cwd / "sub"
    folder.mkdir()
    path = folder / ".kmi.toml"
    make(path)
    allowed = home.kmi("allow", cwd=folder)
    assert allowed.returncode == 77
    assert words in allowed.stderr
    bound = home.kmi("bind", "team", "--force", cwd=folder)
    assert bound.returncode == 77
    assert decisions(home) == {}
    done = run(home, cwd=folder)
    assert key_of(done) == "alpha"
    assert f"{path} " in done.stderr
    assert words in done.stderr
    if kind != "link":
        assert run(home, cwd=folder).stderr == ""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_ignored(home: World) -> None:
    path = file_in(home.cwd, TEAM)
    allow(home)
    os.chown(path, 12345, -1)
    done = run(home)
    assert key_of(done) == "alpha"
    assert "owned by another user" in done.stderr
    assert home.kmi("allow").returncode == 77
    os.chown(path, 0, -1)
    assert run_key(home) == "team"


@pytest.mark.skipif(os.name != "posix", reason="modes are Unix's")
@pytest.mark.parametrize("hide", ["p/.kmi.toml", "p"])
def test_a_strict_file_that_can_not_be_seen_closes(home: World, hide: str) -> None:
    with abroad(home) as there:
        top, deep = there.cwd / "p", there.cwd / "p" / "sub"
        deep.mkdir(parents=True)
        there.give()
        assert there.kmi("bind", "team", "--strict", cwd=top).returncode == 0
        done = there.kmi_where_it_became(0, there.cwd / hide, "run", "--", "kimi", cwd=deep)
    assert_refused(done, "Permission denied", "strict (team)")


# Runs.


def test_a_run_from_a_directory_below_is_bound(home: World) -> None:
    deep = home.cwd / "a" / "b c" / "d"
    deep.mkdir(parents=True)
    assert home.kmi("bind", "team").returncode == 0
    assert run_key(home, deep) == "team"
    assert run_key(home, home.home) == "alpha"


def test_the_nearest_that_counts_wins(home: World) -> None:
    inner, vendored = home.cwd / "inner", home.cwd / "inner" / "vendored"
    vendored.mkdir(parents=True)
    assert home.kmi("bind", "team", "--strict").returncode == 0
    done = home.kmi("bind", "beta", cwd=inner)
    assert f"takes the place of {home.cwd / '.kmi.toml'}" in done.stderr
    assert run_key(home) == "team"
    assert run_key(home, inner) == "beta"
    # A checkout within can't switch it off.
    file_in(vendored, 'keys = ["alpha"]\n')
    assert run_key(home, vendored) == "beta"
    assert home.kmi("deny", cwd=inner).returncode == 0
    assert run_key(home, inner) == "team"
    assert run_key(home, vendored) == "team"


def test_strict_never_falls_back(home: World) -> None:
    assert home.kmi("bind", "team", "--strict").returncode == 0
    path = str(home.cwd / ".kmi.toml")
    exhaust(home, "team")
    done = run(home)
    assert_refused(done, path, "strict", "team: exhausted", "the first is back in")
    assert "alpha" not in done.stderr.replace(path, "")
    for strategy in ("most-remaining", "round-robin", "least-recently-used", "soonest-reset"):
        assert_refused(run(home, "--strategy", strategy), "strict")
    said = home.document("why")
    assert (said["picked"], said["code"]) == (None, "all-out")
    whys = {key["label"]: key["why"] for key in said["keys"]}
    assert whys["alpha"] == whys["beta"] == f"not allowed by {path}"
    assert home.kmi("keys", "reset", "team").returncode == 0
    assert home.kmi("keys", "disable", "team").returncode == 0
    assert_refused(run(home), "team: disabled")
    (home.auths / "team.env").unlink()
    assert_refused(run(home), "there is no such key", "kmi keys add team")
    assert home.kmi("config", "validate").returncode == 78


def test_strict_refuses_a_named_key(home: World) -> None:
    assert home.kmi("bind", "team", "beta", "--strict").returncode == 0
    path = str(home.cwd / ".kmi.toml")
    done = run(home, "-k", "alpha")
    assert_refused(done, f"'alpha' is not allowed by {path}, which is strict", "team, beta")
    (record,) = [item for item in home.records("audit.jsonl") if item["command"] == "run"]
    assert (record["outcome"], record["error"]) == ("denied", "not-allowed")
    assert key_of(run(home, "-k", "beta")) == "beta"
    # One of the list is used as named, also when it is out: it was named.
    exhaust(home, "team")
    assert key_of(run(home, "-k", "team")) == "team"


def test_without_strict_others_are_the_fallback(home: World) -> None:
    assert home.kmi("bind", "team", "beta").returncode == 0
    assert run_key(home) == "team"
    assert home.kmi("keys", "disable", "team").returncode == 0
    assert run_key(home) == "beta"
    assert home.kmi("keys", "disable", "beta").returncode == 0
    done = run(home)
    assert key_of(done) == "alpha"
    assert f"no key of {home.cwd / '.kmi.toml'} can be used" in done.stderr
    assert key_of(run(home, "-k", "alpha")) == "alpha"


def test_a_key_of_a_program_that_fails(home: World) -> None:
    failing = "KMI_KEY_LABEL=vault\nKMI_API_KEY_COMMAND=false\n"
    write_private(home.auths / "vault.env", failing)
    assert home.kmi("bind", "vault", "--strict").returncode == 0
    assert_refused(run(home), "vault: its api_key_command failed")


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_a_bound_run_leaves_the_shared_config_alone(home: World, strict: list[str]) -> None:
    config = home.config().read_bytes()
    assert run_key(home, home.home) == "alpha"
    assert home.kmi("bind", "team", *strict).returncode == 0
    assert run_key(home) == "team"
    assert home.config().read_bytes() == config
    assert home.document("current")["label"] == "alpha"
    assert run_key(home, home.home) == "alpha"
    # And what is swapped elsewhere is nothing to it.
    assert home.kmi("use", "beta", cwd=home.home).returncode == 0
    assert run_key(home) == "team"


def test_a_bound_run_of_kimi_code_is_pinned(home: World) -> None:
    home.env["KMI_CLIENT"] = CODE
    home.write_config(CODE, config_text(secret_of("alpha")))
    home.script("kimi", 'echo "$KMI_ACTIVE_KEY"; cat "$KIMI_CODE_HOME/config.toml"')
    assert home.kmi("bind", "team", "--strict").returncode == 0
    assert run_key(home) == "team"
    record = home.records("runs.jsonl")[-1]
    assert (record["mode"], record["changed"]) == ("pinned", False)
    assert secret_of("alpha") in home.config(CODE).read_text()


def test_a_bound_run_without_any_config(home: World) -> None:
    home.config().unlink()
    assert home.kmi("bind", "team").returncode == 0
    assert run_key(home) == "team"
    assert not home.config().exists()


def test_a_bound_run_of_another_program(home: World) -> None:
    assert home.kmi("bind", "team", "--strict").returncode == 0
    done = home.kmi("run", "--", "sh", "-c", 'echo "$KIMI_API_KEY $KIMI_BASE_URL"')
    assert done.stdout == f"{secret_of('team')} {BASE_URL}\n"


def test_a_run_within_a_run(home: World) -> None:
    inner = [sys.executable, "-m", "kmi", "run", "--", "kimi"]
    there = home.cwd / "there"
    there.mkdir()
    assert home.kmi("bind", "team", "--strict", cwd=there).returncode == 0

    def nested() -> Result:
        command = ["sh", "-c", 'cd there && exec "$@"', "sh", *inner]
        return home.kmi("run", "-k", "beta", "--", *command)

    done = nested()
    assert key_of(done) == "team"
    assert "inside a run on 'beta'; this one uses 'team'" in done.stderr
    assert home.kmi("bind", "team", cwd=there).returncode == 0
    assert key_of(nested()) == "beta"


def test_what_is_recorded(home: World) -> None:
    assert home.kmi("bind", "team", "--strict").returncode == 0
    path = home.cwd / ".kmi.toml"
    assert run_key(home) == "team"
    record = home.records("runs.jsonl")[-1]
    binding, _ = parse(str(path), path.read_bytes())
    assert binding is not None
    assert record["binding"] == {"path": str(path), "sha256": binding.sha256}
    assert record["code"] == "bound"
    assert record["rejected"] == dict.fromkeys(("alpha", "beta"), f"not allowed by {path}")
    assert run_key(home, home.home) == "alpha"
    assert home.records("runs.jsonl")[-1]["binding"] is None
    assert len(home.records("audit.jsonl")) == 1


def test_it_is_shown(home: World) -> None:
    path = file_in(home.cwd, 'keys = ["gone", "team"]\nstrict = true\n')
    for command in ("why", "status"):
        assert f"ignored: {path} is not allowed yet" in home.kmi(command).stdout
        (ignored,) = home.document(command)["bindings_ignored"]
        assert (ignored["path"], ignored["state"]) == (str(path), "new")
    allow(home)
    for command in ("why", "status"):
        text = home.kmi(command).stdout
        assert f"bound by {path}: gone, team (strict: never another key)" in text
        assert "it names 'gone': no such key" in text
        said = home.document(command)["binding"]
        assert (said["path"], said["strict"], said["missing"]) == (str(path), True, ["gone"])
    why = home.document("why")
    assert (why["picked"], why["code"]) == ("team", "bound")
    whys = {key["label"]: key["why"] for key in why["keys"]}
    assert whys["alpha"] == f"not allowed by {path}"
    assert home.document("why", "--rotate")["picked"] != "team"
    # Looking remembers nothing: a run would still tell.
    path.write_text(TEAM)
    home.kmi("why")
    assert_refused(run(home), "it was changed")


def test_use_and_rotate_are_not_bound(home: World) -> None:
    assert home.kmi("bind", "team", "--strict").returncode == 0
    for args in (("use", "beta"), ("rotate",)):
        done = home.kmi(*args)
        assert done.returncode == 0
        assert f"runs here keep to {home.cwd / '.kmi.toml'}: team" in done.stderr
    assert home.document("current")["label"] != "alpha"
    assert run_key(home) == "team"


def test_validate(home: World) -> None:
    assert home.kmi("config", "validate").returncode == 0
    path = file_in(home.cwd, TEAM + "other = 1\n")
    said = home.document("config", "validate", code=78)
    assert (str(path), 2) in [(f["path"], f["line"]) for f in said["findings"]]
    path.write_text('keys = ["gone", "team"]\n')
    allow(home)
    said = home.document("config", "validate")
    (finding,) = [f for f in said["findings"] if f["severity"] != "ok"]
    assert finding["what"] == "names gone, which no key here is called"


def test_a_dry_run_of_a_bound_run(home: World) -> None:
    assert home.kmi("bind", "team").returncode == 0
    done = home.kmi("run", "--dry-run", "--", "kimi")
    assert (done.returncode, done.stdout) == (0, "")
    assert "would use 'team' for this run only" in done.stderr


def test_the_working_directory_is_gone(home: World) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    base = ["sh", "-c", script, "sh", sys.executable, "-m", "kmi"]
    assert home.command([*base, "run", "--", "kimi"]).stdout.startswith("alpha\n")
    done = home.command([*base, "bind", "team"])
    assert (done.returncode, "does not exist" in done.stderr) == (1, True)


def test_an_odd_path(home: World) -> None:
    folder = home.cwd / "a\x1b]0;b\n'$(x) \udcff"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    file_in(folder, TEAM)
    done = run(home, cwd=folder)
    assert key_of(done) == "alpha"
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    allow(home, cwd=folder)
    assert run_key(home, folder) == "team"
    json.loads((home.state / "runs.jsonl").read_text().splitlines()[-1])


# The decisions on disk.


def test_a_damaged_file_of_decisions_closes_until_a_new_decision(home: World) -> None:
    file_in(home.cwd, STRICT)
    allow(home)
    decided = home.state / "bindings.json"
    decided.write_text("{")
    for _ in range(2):
        assert_refused(run(home), str(decided), "is damaged", "`kmi allow")
    assert run_key(home, home.home) == "alpha"
    assert home.kmi("status").returncode == 0
    done = home.kmi("allow")
    assert done.returncode == 0
    assert "it is kept as" in done.stderr
    assert len(list(home.state.glob("bindings.json.corrupt-*"))) == 1
    assert run_key(home) == "team"


def test_decisions_of_a_newer_kmi_are_not_touched(home: World) -> None:
    file_in(home.cwd, STRICT)
    decided = write_private(home.state / "bindings.json", '{"schema": 7}')
    assert_refused(run(home), "has schema 7, this kmi knows up to 1")
    for verb in ("allow", "deny"):
        done = home.kmi(verb)
        assert (done.returncode, "schema 7" in done.stderr) == (78, True)
    assert decided.read_text() == '{"schema": 7}'


# The quick way.


def quick(world: World, cwd: Path | None = None) -> bool:
    """Whether a run went the quick way."""
    argv = [sys.executable, "-X", "importtime", "-m", "kmi", "run", "--", "true"]
    done = world.command(argv, cwd=cwd)
    assert done.returncode == 0
    return "kmi.app" not in done.stderr


def warm(world: World, cwd: Path) -> None:
    """Run until the quick way is open; files that were just changed are not trusted at once."""
    for _ in range(50):
        if quick(world, cwd):
            return
        time.sleep(0.1)
    pytest.fail("the quick way never opened")


def test_any_file_above_closes_the_quick_way(home: World) -> None:
    deep = home.cwd / "a" / "b"
    deep.mkdir(parents=True)
    warm(home, deep)
    ways: list[Callable[[Path], object]] = [
        lambda path: path.write_text(TEAM),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
    ]
    for make in ways:
        path = home.root / ".kmi.toml"
        make(path)
        assert not quick(home, deep)
        assert quick(home, home.home) is False  # it is above the home, too
        path.rmdir() if path.is_dir() else path.unlink()
        assert quick(home, deep)


def test_a_bound_run_leaves_no_memo(home: World) -> None:
    assert home.kmi("bind", "alpha").returncode == 0
    time.sleep(0.1)
    for _ in range(3):
        assert not quick(home)
    memo = home.state / "memo"
    assert not memo.exists() or list(memo.iterdir()) == []
    warm(home, home.home)
    before = {path: path.read_bytes() for path in memo.iterdir()}
    assert not quick(home)
    assert {path: path.read_bytes() for path in memo.iterdir()} == before
    assert quick(home, home.home)


def test_a_run_beside_a_file_that_does_not_count_leaves_no_memo(home: World) -> None:
    file_in(home.cwd, TEAM)
    assert home.kmi("deny").returncode == 0
    time.sleep(0.1)
    for _ in range(3):
        assert not quick(home)
    memo = home.state / "memo"
    assert not memo.exists() or list(memo.iterdir()) == []
