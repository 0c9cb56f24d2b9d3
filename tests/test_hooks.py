"""`kmi hook`: which key a session uses, what its failure does; and that no client is harmed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.demo.behaviours import INVALID_KEY, OVERLOADED, QUOTA_CYCLE
from kmi.hooks.events import LIMIT_BYTES
from kmi.hooks.quick_json import line_of, parsed
from kmi.hooks.sessions import plain_secret
from kmi.kimi_config import parse_config
from kmi.records import COMMON, EVENTS
from tests.conftest import CLI, CODE, World, config_text, secret_of, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Result

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kernel locks and forks")

SESSION = "session_7d0c2ad1"
QUOTA = f"403 {QUOTA_CYCLE}"
ROTATE = {"KMI_AUTO_ROTATE_ALLOWED": "1"}
FOLLOW = {"KIMI_CODE_WATCH": "1"}
#: A run's own, as its environment has it.
RUN = "0a0b0c0d0e0f"
INSIDE = {"KMI_RUN_ID": RUN, "KMI_ACTIVE_KEY": "beta", "KMI_DEPTH": "1"}


@pytest.fixture
def home(world: World) -> World:
    """Two keys, of which alpha is active; it is in the configs of both clients."""
    world.add_keys("alpha", "beta")
    for client in (CLI, CODE):
        world.config_with("alpha", client)
    assert world.kmi("use", "alpha", "--client", CODE).returncode == 0
    return world


def hook(
    world: World,
    event: str,
    client: str = CODE,
    *,
    text: str = "",
    session: str = SESSION,
    env: Mapping[str, str | None] | None = None,
    more: tuple[str, ...] = (),
) -> Result:
    """Call a hook as a client does; it must say nothing, and succeed."""
    given: dict[str, Any] = {"session_id": session, "cwd": "/x"}
    if text:
        given.update(error_type="APIStatusError", error_message=text)
    wait = ("--wait",) if event == "stop-failure" else ()
    words = ("hook", event, "--client", client, *wait, *more)
    done = world.kmi(*words, input=json.dumps(given), env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    return done


def sessions(world: World, event: str) -> list[dict[str, Any]]:
    """The records of an event, each with the fields that `records.py` names."""
    found = [record for record in world.records("runs.jsonl") if record["event"] == event]
    names = {*COMMON, *EVENTS[event].fields}
    for record in found:
        assert set(record) <= names
        assert set(record) >= names - EVENTS[event].optional
    return found


def key_id(world: World, label: str) -> str:
    keys = world.document("keys")["keys"]
    return next(str(key["key_id"]) for key in keys if key["label"] == label)


def held(world: World) -> set[str]:
    """The labels of the keys that are out of use."""
    keys = world.saved_state()["keys"].values()
    return {key["label"] for key in keys if "hold" in key}


def in_config(world: World, client: str = CODE) -> str:
    """The label of the key that a client's config holds."""
    text = world.config(client).read_text()
    (label,) = (label for label in ("alpha", "beta", "gamma") if secret_of(label) in text)
    return label


def run_record(world: World, mode: str, label: str = "beta") -> None:
    """What `kmi run` leaves, for a run that is around the client."""
    with (world.state / "runs.jsonl").open("a") as runs:
        line = {"schema": 1, "ts": "2026-01-01T00:00:00.000Z", "event": "run", "run": RUN,
                "key": key_id(world, label), "label": label, "mode": mode}  # fmt: skip
        runs.write(json.dumps(line, separators=(",", ":")) + "\n")


# Which key a session uses.


def test_a_session_that_takes_its_key_from_the_config(home: World) -> None:
    hook(home, "session-start")
    hook(home, "session-start", CLI, session="other")
    hook(home, "session-end", CLI, session="other")
    first, second = sessions(home, "session_start")
    alpha = key_id(home, "alpha")
    assert first["ts"] <= second["ts"]
    assert {**first, "ts": 0} == {
        "schema": 1, "ts": 0, "event": "session_start", "client": CODE, "session_id": SESSION,
        "key": alpha, "label": "alpha", "run_id": None, "how": "config", "follows": False,
    }  # fmt: skip
    assert (second["client"], second["key"], second["how"]) == (CLI, alpha, "config")
    (end,) = sessions(home, "session_end")
    assert (end["session_id"], end["run_id"]) == ("other", None)


def test_whether_a_session_follows(home: World) -> None:
    """The variable decides, then the config."""
    config = home.config(CODE).read_text()
    tries = (("1", "", True), ("ON", "", True), ("", "true", True), ("0", "true", False),
             ("", "false", False), ("", '"yes"', False))  # fmt: skip
    for said, enabled, _ in tries:
        watch = f"\n[watch]\nenabled = {enabled}\n" if enabled else ""
        home.config(CODE).write_text(config + watch)
        hook(home, "session-start", env={"KIMI_CODE_WATCH": said or None})
    found = [record["follows"] for record in sessions(home, "session_start")]
    assert found == [follows for _, _, follows in tries]


def test_a_pinned_run_has_the_key_of_its_record(home: World) -> None:
    run_record(home, "pinned")
    hook(home, "session-start", CLI, env=INSIDE)
    (found,) = sessions(home, "session_start")
    assert (found["how"], found["label"], found["run_id"]) == ("pin", "beta", RUN)
    assert found["key"] == key_id(home, "beta")
    assert found["follows"] is False


def test_a_following_run_has_what_the_config_holds_by_now(home: World) -> None:
    run_record(home, "following")
    hook(home, "session-start", env={**INSIDE, **FOLLOW})
    (found,) = sessions(home, "session_start")
    assert (found["how"], found["label"], found["run_id"]) == ("config", "alpha", RUN)
    assert found["follows"] is True


def test_a_run_whose_record_was_cleaned_away(home: World) -> None:
    for env in (INSIDE, {**INSIDE, **FOLLOW, "KMI_CLIENT_HOME": str(home.home / ".kimi-code")}):
        hook(home, "session-start", env=env)
    hook(home, "session-start", env={**INSIDE, **FOLLOW})
    found = [(record["how"], record["label"]) for record in sessions(home, "session_start")]
    assert found == [("pin", "beta"), ("pin", "beta"), ("config", "alpha")]


def test_a_run_through_the_proxy_names_no_key(home: World) -> None:
    proxied = {**INSIDE, "KMI_PROXY_RUN": "http://127.0.0.1:1/x", "KMI_ACTIVE_KEY": "proxy"}
    hook(home, "session-start", env=proxied)
    hook(home, "stop-failure", text=QUOTA, env={**proxied, **ROTATE})
    (found,) = sessions(home, "session_start")
    assert found["how"] == "proxy"
    assert {"key", "label"} & set(found) == set()
    assert [record["why"] for record in sessions(home, "session_failure")] == ["proxy"]
    assert held(home) == set()


def test_a_key_that_is_none_of_kmis_is_told_by_its_id_and_never_marked(home: World) -> None:
    write_private(home.config(CODE), home.config(CODE).read_text().replace("CANARY", "SPARROW"))
    hook(home, "session-start")
    (found,) = sessions(home, "session_start")
    assert len(found["key"]) == 12
    assert "label" not in found
    before = home.config(CODE).read_bytes()
    hook(home, "stop-failure", text=QUOTA, env={**ROTATE, **FOLLOW})
    assert [record["why"] for record in sessions(home, "session_failure")] == ["not-ours"]
    assert home.config(CODE).read_bytes() == before
    assert held(home) == set()


PLAIN = {
    "ordinary": (config_text("sk-a"), "sk-a"),
    "services with the same": (config_text("sk-a") + '\n[services.x]\napi_key = "sk-a"\n', "sk-a"),
    "a comment": (config_text("sk-a") + '# api_key = "sk-b"\n', "sk-a"),
    "an empty one": (config_text("sk-a") + '[providers.y]\napi_key = ""\n', "sk-a"),
    "two": (config_text("sk-a") + '[providers.y]\napi_key = "sk-b"\n', None),
    "an escape": (config_text("sk-\\u0061"), None),
    "a literal string": (config_text("x").replace('"x"', "'sk-a'"), None),
    "inline": ('[providers]\ny = { type = "kimi", api_key = "sk-a" }\n', None),
    "dotted": ('providers.y.api_key = "sk-a"\n', None),
    "a login": (config_text("sk-a") + "[providers.y.oauth]\n", None),
    "a variable": (config_text("sk-a").replace("api_key ", "api_key_env "), None),
    "no ASCII": (config_text("sk-a") + "# \u00e4\n", None),
    "none": ("theme = 'x'\n", None),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_config_is_read_as_the_parser_would(name: str) -> None:
    text, expected = PLAIN[name]
    assert plain_secret(text.encode()) == expected
    if expected is not None:
        assert parse_config(text.encode(), name="x", client=CODE).secret == expected


@settings(max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_json_is_read_as_json_does(value: object) -> None:
    for indent in (None, 1):
        text = json.dumps(value, indent=indent)
        assert repr(parsed(f" {text}\n".encode())) == repr(json.loads(text))
        with pytest.raises(ValueError, match="behind"):
            parsed(f"{text} 1".encode())
    if isinstance(value, dict):
        flat = {k: v for k, v in value.items() if v is None or isinstance(v, (bool, int, str))}
        assert line_of(flat) == json.dumps(flat, separators=(",", ":")).encode() + b"\n"


# What a failure does.


def test_a_spent_key_is_marked_and_nothing_more_unless_it_is_allowed(home: World) -> None:
    before = home.config(CODE).read_bytes()
    hook(home, "session-start")
    hook(home, "stop-failure", text=QUOTA)
    assert held(home) == {"alpha"}
    assert home.config(CODE).read_bytes() == before
    (found,) = sessions(home, "session_failure")
    expected = ("alpha", "quota", None, "not-allowed")
    assert (found["label"], found["verdict"], found["swapped"], found["why"]) == expected
    audit = home.records("audit.jsonl")[-1]
    assert (audit["command"], audit["action"], audit["label"]) == ("hook", "mark", "alpha")
    assert home.kmi("run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY").stdout == "beta\n"


@pytest.mark.parametrize("client", [CLI, CODE])
def test_a_spent_key_is_swapped_out_where_that_is_allowed(home: World, client: str) -> None:
    count = len(home.records("audit.jsonl"))
    before = home.config(client).read_bytes()
    shaped = f"Error code: 403 - {{'error': {{'message': \"{QUOTA_CYCLE}\"}}}}"
    hook(home, "session-start", client)
    hook(home, "stop-failure", client, text=shaped if client == CLI else QUOTA, env=ROTATE)
    assert in_config(home, client) == "beta"
    assert held(home) == {"alpha"}
    (found,) = sessions(home, "session_failure")
    assert (found["label"], found["swapped"]) == ("alpha", "beta")
    (audit,) = home.records("audit.jsonl")[count:]
    assert (audit["action"], audit["before"], audit["after"]) == ("swap", "alpha", "beta")
    assert home.kmi("current", "--client", client).stdout == "beta\n"
    assert home.kmi("undo", "--client", client).returncode == 0
    assert home.config(client).read_bytes() == before


def test_a_key_that_a_program_gives_may_be_the_next_one(home: World) -> None:
    program = home.script("store", f"echo {secret_of('gamma')}\n")
    write_private(home.auths / "gamma.toml", f"api_key_command = '{program}'\n")
    assert home.kmi("keys", "disable", "beta").returncode == 0
    hook(home, "stop-failure", text=QUOTA, env=ROTATE)
    assert in_config(home) == "gamma"
    assert held(home) == {"alpha"}
    assert len(sessions(home, "session_failure")) == 1


def test_a_pinned_session_marks_its_own_key_and_swaps_nothing(home: World) -> None:
    run_record(home, "pinned")
    hook(home, "stop-failure", CLI, text=QUOTA, env={**INSIDE, **ROTATE})
    assert held(home) == {"beta"}
    assert in_config(home, CLI) == "alpha"
    assert [record["why"] for record in sessions(home, "session_failure")] == ["pinned"]


def test_what_is_not_the_keys_fault_moves_nothing(home: World) -> None:
    for text in (f"503 {OVERLOADED}", "Connection error.", "model not found", ""):
        hook(home, "stop-failure", text=text, env={**ROTATE, **FOLLOW})
    assert held(home) == set()
    assert in_config(home) == "alpha"
    whys = [record["why"] for record in sessions(home, "session_failure")]
    assert whys == ["not-the-key"] * 4
    assert len(home.records("audit.jsonl")) == 1, "nothing was decided"


def test_two_failures_of_one_key_rotate_once(home: World) -> None:
    """Also when both sessions follow the config, in which the second finds the new key."""
    home.add_key("gamma")
    env = {**ROTATE, **FOLLOW}
    for session in ("one", "two", "two"):
        hook(home, "stop-failure", text=QUOTA, session=session, env=env)
    swapped = in_config(home)
    assert swapped != "alpha"
    assert held(home) == {"alpha"}
    whys = [record["why"] for record in sessions(home, "session_failure")]
    assert whys[1:] == ["swapped-already"] * 2
    assert all(record["label"] == "alpha" for record in sessions(home, "session_failure"))


def test_failures_at_the_same_time_rotate_once(home: World) -> None:
    home.add_key("gamma")
    event = json.dumps({"session_id": SESSION, "error_message": QUOTA})
    env = home.environment({**ROTATE, **FOLLOW})
    argv = [sys.executable, "-m", "kmi", "hook", "stop-failure", "--client", CODE, "--wait"]
    running = [
        subprocess.Popen(argv, env=env, cwd=home.cwd, stdin=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(event)
        process.stdin.flush()
    for process in running:  # all of them have begun, and read an event that is not at its end
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert held(home) == {"alpha"}
    swaps = [record for record in sessions(home, "session_failure") if record["swapped"]]
    assert len(swaps) == 1
    assert len(sessions(home, "session_failure")) == 3


def settled(world: World) -> None:
    """As if the last swap had been a minute ago."""
    path = world.state / "state.json"
    state = json.loads(path.read_bytes())
    for active in state["active"].values():
        active["since"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 60))
    write_private(path, json.dumps(state))


def test_the_new_key_can_fail_too(home: World) -> None:
    home.add_key("gamma")
    env = {**ROTATE, **FOLLOW}
    hook(home, "stop-failure", text=QUOTA, env=env)
    second = in_config(home)
    settled(home)
    hook(home, "stop-failure", text=QUOTA, env=env)
    assert held(home) == {"alpha", second}
    assert in_config(home) not in {"alpha", second}
    settled(home)
    hook(home, "stop-failure", text=f"401 {INVALID_KEY}", env=env)
    assert held(home) == {"alpha", "beta", "gamma"}
    assert sessions(home, "session_failure")[-1]["why"] in {"all-out", "no-key"}
    assert not (home.state / "logs").exists(), "to have no key left is no fault of the hook's"


def test_a_session_on_a_model_of_another_provider(home: World) -> None:
    """Only its log says so; the key of the default model is not to blame."""
    path = home.config(CODE)
    more = f"""
m = {{ provider = "other", model = "x", max_context_size = 1000 }}
same = {{ provider = "my kimi", model = "x", max_context_size = 1000 }}

[providers.other]
type = "kimi"
base_url = "https://api.moonshot.ai/v1"
api_key = "{secret_of("beta")}"
"""
    write_private(path, path.read_text() + more.lstrip())
    before = path.read_bytes()
    log = path.parent / "sessions/wd_x_0123/" / SESSION / "agents/main/wire.jsonl"
    log.parent.mkdir(parents=True)
    bound = '{"type":"profile.bind","modelAlias":"%s"}\n{"input":"\\"modelAlias\\":\\"k\\""}\n'
    log.write_text(bound % "k" + bound % "m")
    env = {**ROTATE, **FOLLOW}
    hook(home, "stop-failure", text=QUOTA, env=env)
    (found,) = sessions(home, "session_failure")
    assert (found["label"], found["why"], found["swapped"]) == ("beta", "other-provider", None)
    assert held(home) == {"beta"}
    assert path.read_bytes() == before
    write_private(path, before.replace(secret_of("beta").encode(), b"sk-mine"))
    hook(home, "stop-failure", text=QUOTA, env=env)
    assert held(home) == {"beta"}, "a key that is none of kmi's is not marked"
    home.kmi("keys", "reset")
    log.write_text(bound % "m" + bound % "same")
    hook(home, "stop-failure", text=QUOTA, env=env)
    assert held(home) == {"alpha"}
    assert in_config(home) == "beta"


def test_a_session_that_does_not_follow_fails_on_the_key_it_began_with(home: World) -> None:
    hook(home, "session-start", CLI)
    assert home.kmi("use", "beta", "--client", CLI).returncode == 0
    settled(home)
    hook(home, "stop-failure", CLI, text=QUOTA, env=ROTATE)
    assert held(home) == {"alpha"}
    assert in_config(home, CLI) == "beta"
    assert sessions(home, "session_failure")[0]["why"] == "swapped-already"
    hook(home, "session-start", CLI)  # its `/reload`
    hook(home, "stop-failure", CLI, text=QUOTA, env=ROTATE)
    assert held(home) == {"alpha", "beta"}


@pytest.mark.parametrize(
    ("env", "why"), [({"KMI_WRITE_CONFIG": "0"}, "no-write"), ({"KMI_DRY_RUN": "1"}, None)]
)
def test_settings_that_forbid_to_write(home: World, env: dict[str, str], why: str | None) -> None:
    hook(home, "stop-failure", text=QUOTA, env={**ROTATE, **env})
    assert in_config(home) == "alpha"
    assert [record["why"] for record in sessions(home, "session_failure")] == ([why] if why else [])
    assert held(home) == ({"alpha"} if why else set())


# That no client is ever harmed.


JUNK = (
    *("", "{", "[]", "{}", '{"session_id": 5}', '{"session_id": "\\u001b[2J"}', "[" * 100_000),
    *(json.dumps({"session_id": "x" * 300}), "x" * (LIMIT_BYTES + 1)),
)


@pytest.mark.parametrize("event", ["session-start", "session-end", "stop-failure"])
def test_junk_is_told_to_the_log_only(home: World, event: str) -> None:
    before = home.saved_state()
    wait = ("--wait",) if event == "stop-failure" else ()
    for junk in JUNK:
        done = home.kmi("hook", event, "--client", CODE, *wait, input=junk)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = home.records("logs/kmi.jsonl")
    assert len(lines) == len(JUNK)
    for line in lines:
        assert (line["event"], line["hook"], line["level"]) == ("hook-failed", event, "warning")
        assert set(line) == {*COMMON, *EVENTS["hook-failed"].fields}
    assert home.saved_state() == before


def test_calls_of_another_version_do_not_stop_the_client(home: World) -> None:
    calls = (("boom",), ("session-start", "--client", "kimi-next"), ("session-start", "more"))
    for words in calls:
        done = home.kmi("hook", *words, input="{}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = home.records("logs/kmi.jsonl")
    assert len(lines) == len(calls)
    assert all("does not know" in line["text"] for line in lines)


def test_what_is_broken_at_home_stays_there(home: World) -> None:
    write_private(home.state / "state.json", '{"schema": 9999}')
    hook(home, "session-start", env=ROTATE)
    hook(home, "stop-failure", text=QUOTA, env=ROTATE)
    (line,) = home.records("logs/kmi.jsonl")
    assert "schema 9999" in line["text"]
    write_private(home.config(CODE), "= broken")
    hook(home, "session-start")
    hook(home, "stop-failure", text=QUOTA, env={"KMI_STRATEGY": "nonsense"})
    assert "KMI_STRATEGY" in home.records("logs/kmi.jsonl")[-1]["text"]


def test_without_a_state_directory_nothing_is_made(world: World) -> None:
    hook(world, "session-start")
    hook(world, "stop-failure", text=QUOTA)
    assert not world.state.exists()


def test_the_log_holds_no_secret(home: World) -> None:
    secret = secret_of("alpha")
    hook(home, "session-start", session=secret)
    hook(home, "stop-failure", session=secret, text=f"403 {secret} {QUOTA_CYCLE}", env=ROTATE)
    home.kmi("hook", "stop-failure", "--wait", input=f'{{"session_id": "{secret}"')
    found = home.files_with(secret, home.state)  # a backup of the config has it, and says so
    assert [name for name in found if not name.startswith("backups/")] == []
    assert sessions(home, "session_failure")[0]["swapped"] == "beta"
    odd = "zz-9f3b61c2d4e5-like-no-key"  # only who knows it finds it
    home.add_key("gamma", odd)
    assert home.kmi("use", "gamma", "--client", CODE).returncode == 0
    settled(home)
    hook(home, "stop-failure", session=SESSION, text=f"403 {odd[:20]} {QUOTA_CYCLE}")
    assert "gamma" in held(home)
    assert odd[3:15] not in (home.state / "state.json").read_text()


def test_a_lock_that_is_held_makes_nobody_wait_for_long(home: World) -> None:
    """It gives up by itself: the lock is held until it has."""
    with (home.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hook(home, "session-start")
    (line,) = home.records("logs/kmi.jsonl")
    assert line["hook"] == "session-start"
    assert sessions(home, "session_start") == []


def test_the_answer_does_not_wait_for_the_work(home: World) -> None:
    """The client has it while the lock is held, and whoever takes the lock next finds the mark."""
    env = home.environment(ROTATE)
    argv = [sys.executable, "-m", "kmi", "hook", "stop-failure", "--client", CODE]
    event = json.dumps({"session_id": SESSION, "error_message": QUOTA}).encode()
    with (home.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(argv, env=env, input=event, capture_output=True, timeout=60,
                              check=False)  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert held(home) == set()
    for _ in range(300):
        if sessions(home, "session_failure"):
            break
        time.sleep(0.02)
    assert held(home) == {"alpha"}
    home.kmi("keys", "reset")
    home.kmi("use", "alpha", "--client", CODE)
    settled(home)
    subprocess.run(argv, env=env, input=event, capture_output=True, timeout=60, check=True)
    # The child holds the lock since before the answer, so this run comes after it.
    assert home.kmi("run", "--client", CODE, "--", "sh", "-c", "echo $KMI_ACTIVE_KEY").stdout == (
        "beta\n"
    )


def test_a_terminal_on_stdin_is_no_event(home: World) -> None:
    master, slave = os.openpty()
    try:
        argv = [sys.executable, "-m", "kmi", "hook", "session-start"]
        process = subprocess.Popen(argv, env=home.environment(), stdin=slave)
        assert process.wait(60) == 0
        assert select.select([master], [], [], 0)[0] == []
    finally:
        os.close(master)
        os.close(slave)
    assert "terminal" in home.records("logs/kmi.jsonl")[0]["text"]
