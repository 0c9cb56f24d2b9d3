"""What a running proxy decides: keys, sessions, retries, limits, and its state beside the CLI's."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kmi.demo import behaviours
from kmi.demo.behaviours import Behaviour, invalid_401, payment_402, quota_403, rate_429, server_5xx
from kmi.proxy.limits import QUEUE_MAX
from tests.conftest import secret_of, write_private
from tests.proxy.box import until
from tests.proxy.scene import BASE, TOKEN, GatedKimi, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import World

RATE_A_DAY = rate_429("TPD rate limit reached", retry_after="7200")


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    """A scene with three keys, `alpha` the active one."""
    api = GatedKimi()
    with api:
        scene = Scene(world, api)
        scene.keys("alpha", "beta", "gamma")
        scene.was_used("alpha")
        yield scene
        scene.end()


def wait_for_queue(scene: Scene, size: int) -> None:
    """Until so many requests wait."""
    until(lambda: scene.status["queued"] == size, f"{size} requests wait")


# One request.


def test_a_spent_quota_is_not_seen_by_the_client(scene: Scene) -> None:
    scene.behave("alpha", quota_403())
    scene.start()
    answer = scene.ask("s")
    assert (answer.status, answer.key) in {(200, "beta"), (200, "gamma")}
    assert answer.text == f"answer for {answer.key}"
    assert answer.body.count(b"[DONE]") == 1
    assert scene.asked() == ["alpha", answer.key]
    # The session stays there, and a new one is not sent to the key that is out.
    assert [scene.ask("s").key, scene.ask("new").key] == [answer.key] * 2
    assert scene.wait_for_hold("alpha")["verdict"] == "quota"


def test_an_error_as_the_first_event_of_a_good_answer(scene: Scene) -> None:
    scene.behave("alpha", replace(quota_403(behaviours.QUOTA_PERIOD), in_stream=True))
    scene.start()
    answer = scene.ask("s")
    assert answer.status == 200
    assert answer.key in {"beta", "gamma"}
    assert b"usage limit" not in answer.body
    assert answer.text == f"answer for {answer.key}"
    hold = scene.wait_for_hold("alpha")
    assert (hold["verdict"], hold["status"]) == ("quota-5h", 200)


@pytest.mark.parametrize("status", [500, 503])
def test_a_passing_fault_is_tried_again_on_the_same_key(scene: Scene, status: int) -> None:
    scene.behave("alpha", replace(server_5xx(status), failures=1, text="answer for alpha"))
    scene.start()
    answer = scene.ask("s")
    assert (answer.status, answer.key) == (200, "alpha")
    assert scene.asked() == ["alpha", "alpha"]


def test_a_fault_that_stays_is_taken_to_another_key(scene: Scene) -> None:
    scene.behave("alpha", server_5xx(500))
    scene.start()
    answer = scene.ask("s")
    assert answer.status == 200
    assert scene.asked() == ["alpha", "alpha", answer.key]
    scene.behave("alpha")
    assert scene.ask("s").key == answer.key
    assert "hold" not in scene.saved("alpha")


def test_a_fault_of_all_keys_is_the_upstreams_own_answer(scene: Scene) -> None:
    for label in ("alpha", "beta", "gamma"):
        scene.behave(label, server_5xx(503))
    scene.start()
    scene.behave("alpha")
    assert scene.ask("s").key == "alpha"
    scene.behave("alpha", server_5xx(503))
    scene.api.clear()
    answer = scene.ask("s")
    assert answer.status == 503
    assert answer.json == behaviours.error_body(behaviours.OVERLOADED, "server_error")
    assert len(scene.asked()) == 4  # keys + 1
    # No key did better, so the session goes back to the one that has its cache.
    for label in ("alpha", "beta", "gamma"):
        scene.behave(label)
    assert scene.ask("s").key == "alpha"


def test_an_upstream_that_refuses_connections(scene: Scene) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        scene.world.add_key("alpha", UPSTREAM_BASE_URL=f"http://127.0.0.1:{port}/v1")
        scene.start()
        answer = scene.ask("s")
        assert answer.status == 200
        assert answer.key in {"beta", "gamma"}
    assert scene.ask("s").key == answer.key
    until(lambda: scene.world.records("trace.jsonl"), "the trace")
    tried = scene.world.records("trace.jsonl")[0]["tried"]
    assert [list(pair.values()) if isinstance(pair, dict) else pair for pair in tried] == [
        ["alpha", "network"],
        ["alpha", "network"],
    ]
    assert "hold" not in scene.saved("alpha")


@pytest.mark.parametrize(
    ("behaviour", "verdict"),
    [
        (Behaviour(status=403, error=behaviours.error_body(
            behaviours.CODING_AGENTS_ONLY, "access_terminated_error")), "client-identity"),
        (Behaviour(status=400, error=behaviours.error_body("high risk", "content_filter")),
         "request-fault"),
        (Behaviour(status=404, error=behaviours.error_body(
            "Not found the model x or Permission denied", "resource_not_found_error")),
         "request-fault"),
        (Behaviour(status=413, error="too large"), "request-fault"),
    ],
)  # fmt: skip
def test_what_every_key_would_be_told_is_passed_on_at_once(
    scene: Scene, behaviour: Behaviour, verdict: str
) -> None:
    scene.behave("alpha", behaviour)
    scene.start()
    answer = scene.ask("s")
    assert answer.status == behaviour.status
    error = behaviour.error
    assert answer.body.decode() == (error if isinstance(error, str) else json.dumps(error))
    assert scene.asked() == ["alpha"]
    until(lambda: scene.world.records("trace.jsonl"), "the trace")
    assert scene.world.records("trace.jsonl")[-1]["verdict"] == verdict
    assert "hold" not in scene.saved("alpha")


@pytest.mark.parametrize(
    ("behaviour", "verdict"), [(payment_402(), "payment"), (invalid_401(), "dead-key")]
)
def test_a_blocked_key_is_left_and_known_to_the_cli(
    scene: Scene, behaviour: Behaviour, verdict: str
) -> None:
    scene.behave("alpha", behaviour)
    scene.start()
    answer = scene.ask("s")
    assert (answer.status, answer.key != "alpha") == (200, True)
    assert scene.wait_for_hold("alpha")["kind"] == "blocked"
    shown = scene.shown("alpha")
    assert (shown["status"], shown["evidence"]["verdict"]) == ("blocked", verdict)


def test_a_key_that_is_dead_everywhere_is_the_upstreams_own_401(scene: Scene) -> None:
    for label in ("alpha", "beta", "gamma"):
        scene.behave(label, invalid_401())
    scene.start()
    answer = scene.ask("s")
    wanted = behaviours.error_body(behaviours.INVALID_KEY, "invalid_authentication_error")
    assert (answer.status, answer.json) == (401, wanted)
    assert sorted(scene.asked()) == ["alpha", "beta", "gamma"]
    # Nothing comes back by itself: the next request is refused for good, without a request.
    again = scene.ask("s", path="/messages")
    assert again.status == 403
    assert "retry-after" not in again.headers
    assert again.json["type"] == "error"
    assert again.json["error"]["type"] == "permission_error"
    assert again.json["kmi"]["code"] == "no-key"
    assert [key["label"] for key in again.json["kmi"]["keys"]] == ["alpha", "beta", "gamma"]
    assert len(scene.asked()) == 3


def test_as_many_attempts_as_the_settings_say(scene: Scene) -> None:
    for label in ("alpha", "beta"):
        scene.behave(label, quota_403())
    scene.use("alpha")
    scene.start(PROXY_RETRY_MAX="1")
    answer = scene.ask("s")
    assert answer.status == 403
    assert answer.json["error"]["message"] == behaviours.QUOTA_CYCLE
    assert scene.asked() == ["alpha"]
    assert scene.wait_for_hold("alpha")["verdict"] == "quota"


def test_no_request_asks_a_key_twice(scene: Scene) -> None:
    """Forty at once, while one key is limited: a shared cursor would hand it out again."""
    scene.behave("alpha", replace(RATE_A_DAY, latency_s=0.2))
    scene.start()
    names = [f"s{number}" for number in range(40)]
    answers = scene.ask_all(names)
    assert {answer.status for answer in answers} == {200}
    by_session = Counter(
        (seen.session, seen.key) for seen in scene.api.chats() if seen.key == secret_of("alpha")
    )
    assert len(by_session) >= 2  # several were under way before the first answer
    assert set(by_session.values()) == {1}
    assert scene.wait_for_hold("alpha")["strikes"] == 1


# All keys out.


def test_a_key_that_is_back_soon_is_waited_for(scene: Scene) -> None:
    for label in ("alpha", "beta", "gamma"):
        busy = rate_429("slow down", retry_after="1", failures=1)
        scene.behave(label, replace(busy, text=f"answer for {label}"))
    scene.start()
    answer = scene.ask("s")
    assert answer.status == 200
    assert answer.text == f"answer for {answer.key}"
    assert sorted(scene.asked()[:3]) == ["alpha", "beta", "gamma"]
    until(lambda: scene.world.records("trace.jsonl"), "the trace")
    assert scene.world.records("trace.jsonl")[-1]["waited_s"] > 0.5


@pytest.mark.parametrize("path", ["/chat/completions", "/messages"])
def test_else_the_client_is_told_when(scene: Scene, path: str) -> None:
    scene.behave("alpha", rate_429("slow down", retry_after="600"))
    scene.behave("beta", rate_429("slow down", retry_after="90"))
    scene.behave("gamma", invalid_401())
    scene.start()
    scene.ask("first")
    answer = scene.ask("s", path=path)
    assert answer.status == 429
    assert 80 <= int(answer.headers["retry-after"]) <= 90
    table = answer.json
    if path == "/messages":
        assert (table["type"], table["error"]["type"]) == ("error", "rate_limit_error")
    else:
        assert table["error"]["type"] == "rate_limit_reached_error"
    assert "beta is back in" in table["error"]["message"]
    back = {key["label"]: key["back_in_s"] for key in table["kmi"]["keys"]}
    assert 580 <= back["alpha"] <= 600
    assert 80 <= back["beta"] <= 90
    assert back["gamma"] is None
    assert all(key["why"] for key in table["kmi"]["keys"])


def test_reset_helps_a_request_that_waits(scene: Scene) -> None:
    for label in ("alpha", "beta", "gamma"):
        scene.behave(label, rate_429("slow down", retry_after="25"))
    scene.start()
    waiting = scene.in_background("s")
    until(lambda: len(scene.asked()) == 3, "all keys are asked")
    for label in ("alpha", "beta", "gamma"):
        scene.wait_for_hold(label)
        scene.behave(label)
    assert scene.world.kmi("keys", "reset", "beta").returncode == 0
    answer = waiting.answer()
    assert (answer.status, answer.key) == (200, "beta")


def only_alpha_half_open(scene: Scene) -> None:
    """One key that ran out of its quota half an hour ago; it has it still, or again."""
    for label in ("beta", "gamma"):
        assert scene.world.kmi("keys", "disable", label).returncode == 0
    scene.behave("alpha", quota_403())
    scene.start()
    assert scene.ask("first").status == 429
    scene.end()
    state = scene.world.saved_state()
    for key in state["keys"].values():
        if "hold" in key:
            key["hold"]["probe_at"] = "2020-01-01T00:00:00.000Z"
    write_private(scene.world.state / "state.json", json.dumps(state))
    scene.api.clear()


def test_one_request_tries_a_key_out_and_its_success_is_everybodys(scene: Scene) -> None:
    only_alpha_half_open(scene)
    scene.behave("alpha")
    gate = scene.api.hold("alpha")
    scene.start()
    with ThreadPoolExecutor(50) as pool:
        pending = [pool.submit(scene.ask, f"s{number}") for number in range(50)]
        wait_for_queue(scene, 49)
        assert len(scene.api.chats()) == 1
        gate.set()
        answers = [one.result() for one in pending]
    assert {(answer.status, answer.key) for answer in answers} == {(200, "alpha")}
    until(lambda: "hold" not in scene.saved("alpha"), "the hold ends on the disk")


def test_those_who_wait_for_a_probe_that_fails_are_told(scene: Scene) -> None:
    only_alpha_half_open(scene)
    gate = scene.api.hold("alpha")
    scene.start()
    with ThreadPoolExecutor(10) as pool:
        pending = [pool.submit(scene.ask, f"s{number}") for number in range(10)]
        wait_for_queue(scene, 9)
        gate.set()
        answers = [one.result() for one in pending]
    assert {answer.status for answer in answers} == {429}
    assert len(scene.api.chats()) == 1


# Without permission.


def test_without_permission_the_active_key_serves_and_its_errors_are_passed_on(
    scene: Scene,
) -> None:
    scene.behave("alpha", quota_403())
    scene.start(AUTO_ROTATE_ALLOWED="0")
    for _ in range(2):
        answer = scene.ask("s")
        assert (answer.status, answer.key) == (403, "alpha")
        assert answer.json["error"]["message"] == behaviours.QUOTA_CYCLE
    assert scene.asked() == ["alpha", "alpha"]
    assert scene.wait_for_hold("alpha")["verdict"] == "quota"
    assert scene.shown("alpha")["status"] == "exhausted"


def test_without_permission_a_disabled_key_is_not_used(scene: Scene) -> None:
    scene.world.kmi("keys", "disable", "alpha")
    scene.start(AUTO_ROTATE_ALLOWED="0")
    assert scene.ask("s").key in {"beta", "gamma"}
    scene.use("gamma")
    scene.wait_until_picked("gamma")
    assert "alpha" not in scene.asked()


# Sessions.


def test_use_reaches_every_session(scene: Scene) -> None:
    scene.start()
    sessions = [f"s{number}" for number in range(5)]
    assert {scene.ask(session).key for session in sessions} == {"alpha"}
    scene.use("beta")
    began = time.monotonic()
    scene.wait_until_picked("beta")
    assert {scene.ask(session).key for session in sessions} == {"beta"}
    assert time.monotonic() - began < 10.0


def test_in_turn_while_rotate_auto_is_on(scene: Scene) -> None:
    scene.settings(AUTO_ROTATE_E2E=0)
    scene.start()
    assert scene.ask("old").key == "alpha"
    done = scene.world.kmi("rotate", "auto")
    assert done.returncode == 0, done
    until(lambda: scene.status["auto_rotate_since"], "the proxy knows")
    labels = [scene.ask(f"s{number}").key for number in range(9)]
    assert Counter(labels) == {"alpha": 3, "beta": 3, "gamma": 3}
    assert scene.ask("s0").key == labels[0]
    assert scene.ask("old").key == "alpha"
    assert scene.world.kmi("rotate", "off").returncode == 0
    until(lambda: not scene.status["auto_rotate_since"], "the proxy knows")
    assert {scene.ask(f"t{number}").key for number in range(4)} == {"alpha"}


def test_sessions_are_counted(scene: Scene) -> None:
    """How many are kept at most is in test_affinity."""
    scene.start()
    scene.ask_all([f"s{number % 20}" for number in range(40)])
    assert scene.status["sessions"] == 20


# Limits.


def test_a_rate_delays_and_refuses_nobody(scene: Scene) -> None:
    scene.start(PROXY_MAX_RPS="5")
    began = time.monotonic()
    answers = scene.ask_all([f"s{number}" for number in range(11)])
    assert {answer.status for answer in answers} == {200}
    assert time.monotonic() - began >= 2.0
    moments = sorted(seen.at for seen in scene.api.chats())
    # The proxy counts when it sends, the fake when it has read: a little apart.
    assert all(last - first > 0.8 for first, last in zip(moments, moments[5:]))


def test_waiting_takes_no_turn(scene: Scene) -> None:
    scene.settings(STRATEGY="round-robin")
    scene.start(PROXY_MAX_RPS="3")
    answers = scene.ask_all([f"s{number}" for number in range(9)])
    assert Counter(answer.key for answer in answers) == {"alpha": 3, "beta": 3, "gamma": 3}


def test_new_sessions_go_where_there_is_room(scene: Scene) -> None:
    scene.start(PROXY_MAX_RPM_PER_KEY="2")
    labels = [scene.ask(f"s{number}").key for number in range(6)]
    assert Counter(labels) == {"alpha": 2, "beta": 2, "gamma": 2}


def raw_request(session: str) -> bytes:
    body = json.dumps(
        {"prompt_cache_key": session, "messages": [{"role": "user", "content": session}]}
    )
    head = (
        f"POST {BASE}/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def raw_client(scene: Scene, session: str) -> socket.socket:
    """A connection that has sent a request."""
    connection = socket.create_connection(("127.0.0.1", scene.port), timeout=60.0)
    connection.sendall(raw_request(session).replace(b"%d", b"%d" % scene.port, 1))
    return connection


def raw_status(connection: socket.socket) -> int:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def test_the_queue_is_fair_bounded_and_left_by_clients_that_go(scene: Scene) -> None:
    for label in ("beta", "gamma"):
        scene.world.kmi("keys", "disable", label)
    scene.world.add_key("alpha", KEY_MAX_CONCURRENCY=1)
    gate = scene.api.hold("alpha")
    scene.start()
    first = raw_client(scene, "first")
    scene.api.wait_for_chats(1)
    waiting = []
    for number in range(QUEUE_MAX):
        waiting.append(raw_client(scene, f"w{number}"))
        if number < 12:
            wait_for_queue(scene, number + 1)  # in this order, for sure
    wait_for_queue(scene, QUEUE_MAX)
    refused = scene.ask("too much")
    assert refused.status == 429
    assert refused.json["kmi"]["code"] == "queue-full"
    assert refused.headers["retry-after"] == "1"
    # Those who leave free their places.
    for connection in (waiting[3], *waiting[12:]):
        connection.close()
    wait_for_queue(scene, 11)
    late = raw_client(scene, "late")
    wait_for_queue(scene, 12)
    gate.set()
    stay = [first, *waiting[:3], *waiting[4:12], late]
    assert {raw_status(connection) for connection in stay} == {200}
    names = ["first", *(f"w{n}" for n in range(12) if n != 3), "late"]
    assert [seen.session for seen in scene.api.chats()] == names
    for connection in stay:
        connection.close()


def test_a_session_waits_for_its_key_and_others_pass_by(scene: Scene) -> None:
    gate = scene.api.hold("alpha")
    scene.start(PROXY_MAX_CONCURRENCY_PER_KEY="1")
    first = scene.in_background("old")
    scene.api.wait_for_chats(1)
    second = scene.in_background("old")
    wait_for_queue(scene, 1)
    assert scene.ask("new").key in {"beta", "gamma"}
    assert not second.done
    gate.set()
    assert [first.answer().key, second.answer().key] == ["alpha", "alpha"]


def test_a_key_whose_base_url_is_not_allowed_is_never_asked(scene: Scene) -> None:
    scene.start(UPSTREAM_ALLOWLIST="api.kimi.com")
    answer = scene.ask("s")
    assert answer.status == 403
    assert answer.json["kmi"]["code"] == "no-key"
    assert scene.api.requests == []


# State, both ways.


def test_what_the_cli_changes_reaches_the_proxy(scene: Scene) -> None:
    scene.start()
    assert scene.ask("s").key == "alpha"
    assert scene.world.kmi("keys", "disable", "alpha").returncode == 0
    until(lambda: scene.ask("s").key != "alpha", "disabled")
    other = scene.ask("s").key
    assert scene.world.kmi("keys", "enable", "alpha").returncode == 0
    scene.wait_until_picked("alpha")
    assert scene.ask("s").key == other  # the session stays where it is warm
    # A new key, another secret for an old one, and a key that is gone.
    scene.use(other)
    scene.wait_until_picked(other)
    scene.keys("delta")
    scene.use("delta")
    scene.wait_until_picked("delta")
    secret = "sk-kimi-CANARYnew" + "x" * 30
    scene.api.set(secret, Behaviour(text="new secret"))
    scene.world.add_key("delta", secret)
    until(lambda: scene.ask("t").text == "new secret", "the new secret")
    (scene.world.auths / "delta.env").unlink()
    until(lambda: scene.ask("t").key != "delta", "the key is gone")


def test_settings_reach_the_proxy(scene: Scene) -> None:
    scene.world.env["KMI_AUTO_ROTATE_ALLOWED"] = ""
    del scene.world.env["KMI_AUTO_ROTATE_ALLOWED"]
    scene.settings(AUTO_ROTATE_ALLOWED=0)
    scene.behave("alpha", quota_403())
    scene.start()
    assert scene.ask("s").status == 403
    scene.settings(AUTO_ROTATE_ALLOWED=1)
    until(lambda: scene.ask("s").status == 200, "keys may be changed")
    scene.settings(AUTO_ROTATE_ALLOWED=1, PROXY_MAX_RPM=7)
    until(lambda: scene.status["limits"]["rpm"] == 7, "the rate")
    # A dry run sends nothing, also when the proxy runs already.
    scene.settings(DRY_RUN=1)
    until(lambda: scene.ask("s").status == 403, "a dry run")
    sent = len(scene.api.requests)
    answer = scene.ask("s")
    assert "KMI_DRY_RUN" in answer.json["error"]["message"]
    assert len(scene.api.requests) == sent


def test_a_bad_edit_keeps_what_was_and_is_logged(scene: Scene) -> None:
    scene.start()
    scene.settings(DRY_RUN="ture")
    until(lambda: scene.log("keeper-failed"), "it is logged")
    line = scene.log("keeper-failed")[-1]
    assert line["level"] == "error"
    assert "KMI_DRY_RUN" in line["text"]
    assert str(scene.world.env_file) in line["text"]
    assert scene.ask("s").key == "alpha"
    scene.settings()
    write_private(scene.world.auths / "alpha.env", "")
    until(lambda: scene.log("problem"), "it is logged")
    assert any("alpha.env" in line["text"] for line in scene.log("problem"))
    assert {scene.ask(f"s{n}").key for n in range(3)} == {"alpha"}
    (scene.world.auths / "alpha.env").unlink()
    until(lambda: scene.ask("s").key != "alpha", "the key is gone")


def test_sighup_reads_everything_anew(scene: Scene) -> None:
    scene.start()
    scene.ask("s")
    scene.signal(signal.SIGHUP)
    until(lambda: scene.log("proxy-reloading"), "it is logged")
    assert scene.ask("s").status == 200


def test_what_the_proxy_learns_is_known_to_the_cli(scene: Scene) -> None:
    scene.behave("alpha", rate_429("slow down", retry_after="3000"))
    scene.start()
    other = scene.ask("s").key
    scene.wait_for_hold("alpha")
    shown = scene.shown("alpha")
    assert (shown["status"], shown["evidence"]["verdict"]) == ("exhausted", "rate-or-5h")
    until(lambda: scene.saved(other).get("last_used"), "its use")
    done = scene.world.kmi("run", "--dry-run", "--", "true")
    assert "alpha" not in done.stdout
    assert scene.world.document("why")["picked"] != "alpha"


def test_writes_of_the_cli_beside_many_requests_are_not_lost(scene: Scene) -> None:
    scene.behave("alpha", rate_429("slow down", retry_after="3000"))
    scene.start()
    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(scene.ask, f"s{number}") for number in range(200)]
        for label in ("gamma", "beta"):
            assert scene.world.kmi("keys", "disable", label).returncode == 0
            assert scene.world.kmi("keys", "enable", label).returncode == 0
        assert scene.world.kmi("keys", "disable", "gamma").returncode == 0
        assert all(one.result().status == 200 for one in pending)
    scene.end()
    assert scene.saved("gamma")["disabled"] is True
    assert "disabled" not in scene.saved("beta")
    assert scene.saved("alpha")["hold"]["verdict"] == "rate-or-5h"
    counted = [sum(minute[1] for minute in scene.saved(x).get("traffic", [])) for x in
               ("alpha", "beta", "gamma")]  # fmt: skip
    # Each request was answered well once, and each failure of alpha was counted, too.
    assert sum(counted) == len(scene.asked())


def program_key(scene: Scene, label: str) -> None:
    """A key that a program gives, from the file ``secret``; its calls are in ``calls``."""
    path = scene.world.root / "secret"
    calls = scene.world.root / "calls"
    scene.world.script("give", f'echo called >> "{calls}"\ncat "{path}"')
    write_private(scene.world.auths / f"{label}.env", "KMI_API_KEY_COMMAND=give\n")


def test_a_programs_key_is_asked_for_once_and_again_after_a_refusal(scene: Scene) -> None:
    program_key(scene, "prog")
    old, new = secret_of("prog-old"), secret_of("prog-new")
    scene.api.set(old, Behaviour(text="old"))
    scene.api.set(new, Behaviour(text="new"))
    write_private(scene.world.root / "secret", old + "\n")
    scene.use("prog")
    calls = scene.world.root / "calls"
    calls.unlink()
    scene.start()
    assert [scene.ask(f"s{number}").text for number in range(3)] == ["old"] * 3
    scene.world.kmi("keys", "disable", "gamma")
    until(lambda: scene.shown("gamma")["status"] == "disabled", "a change of the state")
    time.sleep(0.6)  # the proxy has looked at it; nothing is decided by this
    assert calls.read_text().count("called") == 1
    # The old secret is refused: the request is served by another key, and the program asked.
    scene.api.set(old, invalid_401())
    write_private(scene.world.root / "secret", new + "\n")
    assert scene.ask("s0").text in {"answer for alpha", "answer for beta"}
    until(lambda: scene.ask(f"t{time.monotonic()}").text == "new", "the new secret")
    assert calls.read_text().count("called") == 2
    until(lambda: scene.shown("prog")["status"] != "blocked", "the CLI knows the new one")


def test_a_program_that_fails_is_not_run_again_and_again(scene: Scene) -> None:
    program_key(scene, "prog")
    scene.start()
    for number in range(3):
        scene.world.kmi("keys", "disable" if number % 2 else "enable", "gamma")
        scene.ask(f"s{number}")
    done = [line for line in scene.log("problem") if "prog" in line["text"]]
    assert len(done) == 1
    assert (scene.world.root / "calls").read_text().count("called") == 1
    keys = {key["label"]: key for key in scene.status["keys"]}
    assert not keys["prog"]["usable"] or keys["prog"]["status"] != "healthy"


def test_a_programs_key_that_is_disabled_before_anybody_knew_its_secret(scene: Scene) -> None:
    program_key(scene, "prog")
    secret = secret_of("prog")
    scene.api.set(secret, Behaviour(text="prog"))
    write_private(scene.world.root / "secret", secret + "\n")
    assert scene.world.kmi("keys", "disable", "prog").returncode == 0
    for label in ("alpha", "beta", "gamma"):
        scene.world.kmi("keys", "disable", label)
    scene.start()
    assert scene.ask("s").status == 403
    assert scene.world.kmi("keys", "enable", "prog").returncode == 0
    until(lambda: scene.ask("s").text == "prog", "it is enabled")


# Asking about quotas.


def test_an_ambiguous_error_asks_for_the_quota_once(scene: Scene) -> None:
    scene.behave("alpha", rate_429(usages=behaviours.usage_windows(five_hours=1.0)))
    scene.start(USAGE_CACHE_SECONDS="600")
    assert scene.ask("s").status == 200
    alpha = secret_of("alpha")
    until(lambda: scene.api.find("/usages", key=alpha), "its quota is asked for")
    until(lambda: scene.saved("alpha").get("windows"), "and known")
    hold = scene.saved("alpha")["hold"]
    assert (hold["kind"], hold["source"]) == ("exhausted", "window")
    # Again within five minutes: nothing is asked.
    assert scene.world.kmi("keys", "reset", "alpha").returncode == 0
    scene.use("alpha")
    until(lambda: scene.ask("x").status == 200 and scene.asked().count("alpha") >= 2, "asked again")
    scene.wait_for_hold("alpha")
    scene.end()
    assert [seen.key for seen in scene.api.find("/usages")] == [alpha]


def test_an_idle_proxy_sends_nothing(scene: Scene) -> None:
    scene.start(USAGE_CACHE_SECONDS="600")
    assert scene.ask(path="/healthz", base="").status == 200
    assert scene.status["keys"]
    time.sleep(1.0)
    scene.end()
    assert scene.api.requests == []


def test_the_quotas_of_all_keys_are_one_answer_of_kmi(scene: Scene) -> None:
    for label, used in (("alpha", 0.2), ("beta", 0.4), ("gamma", 0.6)):
        usages = behaviours.usage_windows(five_hours=used, user=label)
        scene.behave(label, Behaviour(usages=usages))
    assert scene.world.kmi("health", "--refresh").returncode == 0
    scene.start()
    answer = scene.ask(path="/usages")
    assert answer.json["usages"]["limit_5h"]["used_ratio"] == 0.4
    assert answer.json["kmi"] == {"sum_of": ["alpha", "beta", "gamma"]}


# Secrets.


def test_no_secret_is_written_or_told(scene: Scene) -> None:
    scene.behave("alpha", quota_403(f"quota of {secret_of('alpha')} is out"))
    scene.behave(
        "beta",
        replace(quota_403(f"usage limit for this period of {secret_of('beta')}"), in_stream=True),
    )
    scene.start()
    scene.ask("s")
    scene.ask("s", path="/nothing", method="GET")
    scene.ask("s", headers={"Authorization": "Bearer wrong"})
    for label in ("alpha", "beta", "gamma"):
        scene.behave(label, rate_429("slow down", retry_after="900"))
    scene.world.kmi("keys", "reset", "--all")
    scene.ask("t")
    scene.ask("u")
    for path in ("/status", "/metrics", "/", "/healthz"):
        scene.ask(path=path, base="")
    until(lambda: scene.world.records("trace.jsonl"), "the trace")
    scene.end()
    canary = b"CANARY"
    for answer in scene.answers:
        assert canary not in answer.body, answer
        assert "CANARY" not in repr(answer.headers)
    assert scene.world.files_with("CANARY", scene.world.state) == []
    assert "CANARY" not in scene.world.kmi("health", "--no-refresh", "--json").stdout
    assert "CANARY" not in scene.world.kmi("trace", "--json").stdout
    assert canary not in scene.errors.read_bytes()
