"""Asking upstream: by `kmi run` in the background, before a strict run, and by `kmi health`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, FakeKimi
from kmi.timezones import utc_text
from tests.conftest import CLI, World, secret_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ON = {"KMI_USAGE_CACHE_SECONDS": "600"}
STRICT = {
    **ON,
    "KMI_REQUIRE_USAGE_BEFORE_REQUEST": "1",
    "KMI_FAIL_OPEN_ON_EMPTY_CACHE": "0",
}
#: What a background process may take on a loaded machine.
LIMIT_S = 30.0
#: A program that starts another one as a shell does after `trap '' CHLD` (not every `sh` can).
CHILDLESS = (
    "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs /proc and fork")


@pytest.fixture
def fake(world: World) -> Iterator[FakeKimi]:
    """A fake upstream, and two keys of it, which were asked about an hour ago."""
    world.env["KMI_CLIENT"] = CLI
    with FakeKimi({secret_of(label): Behaviour() for label in ("alpha", "beta")}) as api:
        for label in ("alpha", "beta"):
            world.add_key(label, UPSTREAM_BASE_URL=api.base_url)
        world.env["KMI_UPSTREAM_BASE_URL"] = api.base_url
        assert world.kmi("health", "--refresh").returncode == 0
        age(world, 3600.0)
        api.clear()
        yield api


def asked(fake: FakeKimi) -> list[str]:
    return sorted(request.key for request in fake.find("/usages"))


def both() -> list[str]:
    return sorted(secret_of(label) for label in ("alpha", "beta"))


def read_at(world: World) -> list[str]:
    """The times of the readings that are fresh."""
    keys = world.saved_state().get("keys", {}).values()
    since = utc_text(time.time() - 300.0)
    return [key["usage_at"] for key in keys if key.get("usage_at", "") > since]


def wait_for_readings(world: World, count: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while len(read_at(world)) < count:
        assert time.monotonic() < deadline, world.saved_state()
        time.sleep(0.02)


def age(world: World, seconds: float) -> None:
    """Let everything that was remembered of usages have happened so long ago."""
    path = world.state / "state.json"
    state = json.loads(path.read_bytes())
    then = utc_text(time.time() - seconds)
    for key in state["keys"].values():
        for name in ("usage_at", "usage_tried_at"):
            if name in key:
                key[name] = then
    if "refresh_at" in state:
        state["refresh_at"] = then
    path.write_text(json.dumps(state))


def test_a_run_refreshes_behind_its_client(world: World, fake: FakeKimi) -> None:
    assert world.kmi("run", "--", "true", env=ON).returncode == 0
    wait_for_readings(world, 2)
    assert asked(fake) == both()
    agents = {request.headers.get("user-agent", "") for request in fake.requests}
    assert all(agent.startswith("kmi/") for agent in agents)
    assert fake.chats() == []


def test_a_run_whose_children_nobody_waits_for_refreshes_too(world: World, fake: FakeKimi) -> None:
    """A shell may have ignored SIGCHLD, which what it starts inherits."""
    words = ["-m", "kmi", "run", "--", "sh", "-c", "exit 7"]
    done = world.command([sys.executable, "-c", CHILDLESS, *words], env=ON)
    assert done.returncode == 7, done
    wait_for_readings(world, 2)


def test_a_slow_upstream_delays_no_start(world: World, fake: FakeKimi) -> None:
    for label in ("alpha", "beta"):
        fake.set(secret_of(label), Behaviour(latency_s=3.0))
    world.kmi("run", "--", "true")
    start = time.monotonic()
    assert world.kmi("run", "--", "true").returncode == 0
    without = time.monotonic() - start
    start = time.monotonic()
    assert world.kmi("run", "--", "true", env=ON).returncode == 0
    # Were the answer waited for, it would be 3 s more.
    assert time.monotonic() - start < without + 2.0
    assert read_at(world) == []
    wait_for_readings(world, 2)


def test_runs_that_start_together_ask_once(world: World, fake: FakeKimi) -> None:
    for _ in range(4):
        assert world.kmi("run", "--", "true", env=ON).returncode == 0
    wait_for_readings(world, 2)
    for _ in range(3):
        assert world.kmi("run", "--", "true", env=ON).returncode == 0
    time.sleep(0.3)
    assert asked(fake) == both()


def test_what_is_due_again_is_asked_again(world: World, fake: FakeKimi) -> None:
    world.kmi("run", "--", "true", env=ON)
    wait_for_readings(world, 2)
    age(world, 601.0)
    fake.clear()
    assert read_at(world) == []
    world.kmi("run", "--", "true", env=ON)
    wait_for_readings(world, 2)
    assert asked(fake) == both()


def test_the_background_is_no_child_of_the_client_and_holds_nothing(
    world: World, fake: FakeKimi
) -> None:
    for label in ("alpha", "beta"):
        fake.set(secret_of(label), Behaviour(latency_s=1.5))
    world.script(
        "show",
        "sleep 0.6\n"
        'for p in /proc/[0-9]*; do grep -qa -- --background "$p/cmdline" 2>/dev/null && '
        'tr "\\0" "\\n" < "$p/environ" | grep -q "KMI_STATE_DIR=$KMI_STATE_DIR" && '
        'echo "$(cut -d " " -f 4,6,7 "$p/stat") $(readlink "$p/cwd" "$p"/fd/[012])"; done\n'
        'echo "me $$ children $(cat /proc/$$/task/$$/children)"\n',
    )
    done = world.kmi("run", "--", "show", env=ON)
    lines = done.stdout.splitlines()
    me = next(line for line in lines if line.startswith("me ")).split()
    found = " ".join(line for line in lines if not line.startswith("me ")).split()
    assert found, done
    parent, _session, terminal = found[:3]
    assert parent != me[1]
    assert terminal == "0"
    assert found[3] == "/"
    assert set(found[4:7]) == {"/dev/null"}
    wait_for_readings(world, 2)


def test_off_dry_and_idle_ask_nothing(world: World, fake: FakeKimi) -> None:
    assert world.kmi("run", "--", "true").returncode == 0
    assert world.kmi("run", "--dry-run", "--", "true", env=ON).returncode == 0
    assert world.kmi("rotate", env={**ON, "KMI_DRY_RUN": "1"}).returncode == 0
    for args in (("status",), ("current",), ("why",), ("health", "--no-refresh")):
        assert world.kmi(*args, env=ON).returncode == 0
    time.sleep(0.3)
    assert fake.requests == []
    assert "refresh_at" not in world.saved_state()


def test_rotate_refreshes_too(world: World, fake: FakeKimi) -> None:
    assert world.kmi("rotate", env=ON).returncode == 0
    wait_for_readings(world, 2)


def test_keys_of_programs_are_not_asked_about_in_the_background(
    world: World, fake: FakeKimi
) -> None:
    world.script("give", f"echo called >> {world.root}/called; echo {secret_of('gamma')}")
    world.add_key("gamma", "", API_KEY_COMMAND="give")
    (world.auths / "gamma.env").write_text("KMI_API_KEY_COMMAND=give\n")
    (world.auths / "gamma.env").chmod(0o600)
    world.kmi("use", "alpha", env=ON)
    wait_for_readings(world, 2)
    assert not (world.root / "called").exists()


def test_a_strict_run_asks_first(world: World, fake: FakeKimi) -> None:
    done = world.kmi("run", "--", "sh", "-c", "echo $KMI_ACTIVE_KEY", env=STRICT)
    assert (done.returncode, done.stdout) == (0, "alpha\n")
    assert "asking about the quota" in done.stderr
    assert asked(fake) == both()
    assert len(read_at(world)) == 2
    again = world.kmi("run", "--", "true", env=STRICT)
    assert (again.returncode, again.stderr) == (0, "")
    assert asked(fake) == both()


def test_a_strict_run_whose_readings_are_old_asks_first(world: World, fake: FakeKimi) -> None:
    world.kmi("run", "--", "true", env=STRICT)
    age(world, 3600.0)
    fake.clear()
    assert world.kmi("run", "--", "true", env=STRICT).returncode == 0
    assert asked(fake) == both()


def test_a_strict_run_without_an_answer_does_not_start(world: World, fake: FakeKimi) -> None:
    fake.close()
    done = world.kmi("run", "--", "true", env=STRICT)
    assert done.returncode == 125
    assert "no key can be used now" in done.stderr
    # Within the floor it is not asked again.
    quick = world.kmi("run", "--", "true", env=STRICT)
    assert quick.returncode == 125
    assert "asking" not in quick.stderr


def test_a_failure_is_told_with_what_is_shown_instead(world: World, fake: FakeKimi) -> None:
    assert world.document("health", "--refresh")["asked"] == ["alpha", "beta"]
    age(world, 1800.0)
    fake.close()
    document = world.document("health", "--refresh", code=69)
    advice = [item for item in document["advice"] if item["code"] == "failed"]
    assert [item["label"] for item in advice] == ["alpha", "beta"]
    assert "connection refused" in advice[0]["text"]
    assert "30 min ago" in advice[0]["text"]
    alpha = document["keys"][0]
    assert alpha["status"] == "healthy"
    assert alpha["left"] == 0.97
    state = next(iter(world.saved_state()["keys"].values()))
    assert state["usage_wait_until"] > state["usage_tried_at"]


def test_a_person_who_asks_is_answered(world: World, fake: FakeKimi) -> None:
    for count in (1, 2):
        world.document("health", "--refresh", env=ON)
        assert len(asked(fake)) == 2 * count
    world.document("health", env=ON)
    assert len(asked(fake)) == 4


def test_a_check_tells_the_balance_of_a_key_without_a_plan(world: World) -> None:
    world.add_key("paid")
    with FakeKimi({secret_of("paid"): Behaviour(usages=None, balance=12.5)}) as api:
        world.env["KMI_UPSTREAM_BASE_URL"] = api.base_url
        (row,) = world.document("keys", "check")["keys"]
    assert (row["works"], row["left"]) == (True, None)
    assert row["said"] == "no plan; the balance is 12.50"


def test_a_key_without_a_secret_has_a_row_like_all_others(world: World, fake: FakeKimi) -> None:
    world.add_key("gone")
    (world.auths / "gone.env").write_text("KMI_API_KEY_COMMAND=false\n")
    done = world.kmi("keys", "check", "--json")
    assert done.returncode == 1, done
    rows = {row["label"]: row for row in json.loads(done.stdout)["keys"]}
    assert rows["gone"].keys() == rows["alpha"].keys()
    assert (rows["gone"]["key_id"], rows["gone"]["reason"]) == (None, None)


def test_a_key_whose_host_is_not_allowed_is_never_sent(world: World, fake: FakeKimi) -> None:
    world.env["KMI_UPSTREAM_ALLOWLIST"] = "api.kimi.com"
    document = world.document("health", "--refresh")
    assert {item["code"] for item in document["advice"]} >= {"not-allowed"}
    assert document["counts"]["usable"] == 0
    assert world.kmi("keys", "check").returncode == 1
    assert fake.requests == []


def test_only_changes_of_status_are_audited(world: World, fake: FakeKimi) -> None:
    world.document("health", "--refresh")
    world.document("health", "--refresh")
    records = world.records("audit.jsonl")
    assert [record["command"] for record in records] == ["health"]
    assert records[0]["after"] == {"alpha": "healthy", "beta": "healthy"}
