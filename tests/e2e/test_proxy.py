"""The real clients through the proxy: `kmi run --proxy`."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, quota_403
from kmi.proxy.instance import look

from .box import CLI, RUN_LIMIT_S, SECRETS, Box, Done, finish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.demo.fake_api import FakeKimi

pytestmark = pytest.mark.e2e


def wait_for_end(box: Box) -> None:
    deadline = time.monotonic() + RUN_LIMIT_S
    while look(str(box.state)).held:
        assert time.monotonic() < deadline, "the proxy does not end with its run"
        time.sleep(0.1)


@pytest.fixture
def ready(box: Box) -> Iterator[Box]:
    """Two keys, the first one active, and a free port for the proxy."""
    box.env["KMI_PROXY_LISTEN"] = "127.0.0.1:0"
    box.env["KMI_CLIENT"] = box.client
    box.keys("alpha", "beta")
    yield box
    instance = look(str(box.state)).instance
    if instance is not None:
        os.kill(instance.pid, signal.SIGKILL)


def through(box: Box, text: str, *options: str, env: dict[str, str] | None = None) -> Done:
    """One prompt through the proxy, on a machine whose HTTP proxy leads nowhere."""
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    ask = box.ask(text, *options)
    return finish(box.start("run", "--proxy", "--", "kimi", *ask, env={**nowhere, **(env or {})}))


def test_a_client_talks_to_the_proxy(ready: Box) -> None:
    before = ready.with_key("alpha", services=True)
    assert ready.kmi("use", "alpha").code == 0
    done = through(ready, "hello")
    assert done.code == 0, done
    assert "answer for alpha" in done.out
    assert ready.asked_with() == ["alpha"]
    assert ready.config.read_bytes() == before
    wait_for_end(ready)


@pytest.mark.parametrize("in_stream", [False, True])
def test_the_key_changes_within_the_run(ready: Box, fake: FakeKimi, in_stream: bool) -> None:
    """In the second case the error is the first event of an answer that began well."""
    before = ready.with_key("alpha")
    assert ready.kmi("use", "alpha").code == 0
    fake.set(SECRETS["alpha"], replace(quota_403(), in_stream=in_stream))
    done = through(ready, "hello", env={"KMI_AUTO_ROTATE_ALLOWED": "1"})
    assert done.code == 0, done
    assert done.out.count("answer for beta") == 1
    assert "usage limit" not in done.out + done.err
    assert ready.asked_with() == ["alpha", "beta"]
    assert len({seen.session for seen in fake.chats()}) == 1
    assert ready.config.read_bytes() == before
    # The session lies where the client's sessions lie, and the next run knows what this one learnt.
    assert list(ready.client_home.glob("sessions/*/*"))
    keys = json.loads(ready.kmi("health", "--no-refresh", "--json").out)["keys"]
    assert {key["label"]: key["status"] for key in keys}["alpha"] == "exhausted"
    wait_for_end(ready)


def test_nobody_waits_for_hours_without_a_word(ready: Box, fake: FakeKimi) -> None:
    """Kimi Code would obey a long `Retry-After` in silence."""
    ready.with_key("alpha")
    for label in ("alpha", "beta"):
        fake.set(SECRETS[label], quota_403())
    done = through(ready, "hello", env={"KMI_AUTO_ROTATE_ALLOWED": "1"})
    assert done.code != 0, done
    # kimi-cli wraps its lines anywhere.
    assert "isbackin" in "".join((done.out + done.err).split())
    assert ready.asked_with() == ["alpha", "beta"]


def test_the_clients_own_headers_arrive_as_they_are(ready: Box, fake: FakeKimi) -> None:
    ready.with_key("alpha")
    assert ready.kmi("use", "alpha").code == 0
    assert ready.plain(*ready.ask("hello")).code == 0
    assert through(ready, "hello").code == 0
    plain, proxied = (dict(seen.headers) for seen in fake.chats())
    # The connection's, and those that are of each request by their nature.
    for name in ("host", "connection", "content-length", "transfer-encoding", "keep-alive"):
        plain.pop(name, None)
        proxied.pop(name, None)
    named = [name for name in plain if name.startswith(("x-msh-", "x-stainless-", "user-agent"))]
    assert len(named) >= 5, plain
    assert proxied == plain
    assert proxied["authorization"] == f"Bearer {SECRETS['alpha']}"


@pytest.mark.parametrize("service", ["search", "fetch"])
def test_services_go_through_the_proxy(ready: Box, fake: FakeKimi, service: str) -> None:
    before = ready.with_key("alpha", services=True)
    assert ready.kmi("use", "alpha").code == 0
    search = "SearchWeb" if ready.client == CLI else "WebSearch"
    tool = {
        "search": (search, {"query": "kimi"}),
        "fetch": ("FetchURL", {"url": f"{fake.origin}/page"}),
    }[service]
    fake.set(SECRETS["beta"], Behaviour(text="answer for beta", tool=tool))
    fake.set(SECRETS["alpha"], quota_403())
    done = through(ready, "search", env={"KMI_AUTO_ROTATE_ALLOWED": "1"})
    assert done.code == 0, done
    assert done.out.count("answer for beta") == 1
    assert ready.asked_with() == ["alpha", "beta", "beta"]
    assert [seen.key for seen in fake.find(f"/{service}")] == [SECRETS["beta"]], done
    assert ready.config.read_bytes() == before


def test_a_session_goes_on_with_and_without_the_proxy(ready: Box) -> None:
    ready.with_key("alpha")
    assert ready.kmi("use", "alpha").code == 0
    first = through(ready, "first")
    second = ready.plain(*ready.ask("second", ready.resume))
    third = through(ready, "third", ready.resume)
    assert [one.code for one in (first, second, third)] == [0, 0, 0], (first, second, third)
    assert len({seen.session for seen in ready.fake.chats()}) == 1
    wait_for_end(ready)


def test_beside_a_login(ready: Box) -> None:
    before = ready.with_login()
    done = through(ready, "hello", env={"KMI_AUTO_ROTATE_ALLOWED": "1"})
    assert done.code == 0, done
    assert "the login" not in ready.asked_with()
    assert ready.config.read_bytes() == before
    wait_for_end(ready)
