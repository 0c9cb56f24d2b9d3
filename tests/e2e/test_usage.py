"""`kmi usage` after the real clients: each key paid what the fake API billed to it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kmi.demo.fake_api import Behaviour, quota_403
from kmi.proxy.instance import look

from .box import RUN_LIMIT_S, SECRETS, Box, finish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.demo.fake_api import FakeKimi

pytestmark = pytest.mark.e2e

#: What the fake bills for each answer: prompt tokens that no cache had, that one had, the answer's.
FRESH, CACHED, ANSWER = 8, 4, 5
SUB_AGENT = {"description": "look", "prompt": "look around", "subagent_type": "explore"}


def billed(box: Box) -> dict[str, tuple[int, int, int, int]]:
    """By label: answers, and their tokens."""
    names = {secret: label for label, secret in SECRETS.items()}
    counts = Counter(names[seen.key] for seen in box.fake.chats() if seen.status == 200)
    return {label: (n, n * FRESH, n * CACHED, n * ANSWER) for label, n in counts.items()}


def usage(box: Box, *options: str) -> dict[str, Any]:
    done = box.kmi("usage", "--json", *options)
    assert done.code == 0, done
    found: dict[str, Any] = json.loads(done.out)
    return found


def paid(box: Box) -> dict[str, tuple[int, int, int, int]]:
    return {
        row["key"]: (row["calls"], row["input_other"], row["cache_read"], row["output"])
        for row in usage(box)["rows"]
    }


def wait_for_trace(box: Box) -> None:
    """The proxy writes its trace a moment after the answer."""
    deadline = time.monotonic() + RUN_LIMIT_S
    trace = box.state / "trace.jsonl"
    while not trace.exists() or b'"status":200' not in trace.read_bytes():
        assert time.monotonic() < deadline, "the proxy writes no trace"
        time.sleep(0.05)


@pytest.fixture
def ready(box: Box) -> Iterator[Box]:
    box.env["KMI_PROXY_LISTEN"] = "127.0.0.1:0"
    box.env["KMI_CLIENT"] = box.client
    box.env["KMI_AUTO_ROTATE_ALLOWED"] = "1"
    box.with_key("alpha")
    box.keys("alpha", "beta", "gamma")
    yield box
    instance = look(str(box.state)).instance
    if instance is not None:
        os.kill(instance.pid, signal.SIGKILL)


def test_a_pinned_run_and_one_through_the_proxy(ready: Box, fake: FakeKimi) -> None:
    """The second one begins on a key that is out, and is answered on another."""
    done = ready.kmi("run", "-k", "gamma", "--", "kimi", *ready.ask("first"))
    assert done.code == 0, done
    assert paid(ready) == billed(ready)
    assert [row["key"] for row in usage(ready)["rows"]] == ["gamma"]
    assert ready.kmi("use", "alpha").code == 0
    fake.set(SECRETS["alpha"], quota_403())
    done = ready.kmi("run", "--proxy", "--", "kimi", *ready.ask("second", ready.resume))
    assert done.code == 0, done
    wait_for_trace(ready)
    assert set(billed(ready)) >= {"gamma"}
    assert len(billed(ready)) == 2
    assert paid(ready) == billed(ready)
    found = usage(ready, "--by", "project")
    assert [row["project"] for row in found["rows"]] == [str(ready.project)]
    assert found["total"]["sure"] == {"exact": 2, "by time": 0, "unknown": 0}
    assert len(usage(ready, "--by", "session")["rows"]) == 1


def test_a_following_run_is_split_where_its_key_was_swapped(code: Box, fake: FakeKimi) -> None:
    """Its tool call is answered on the first key, what follows on the second."""
    code.with_key("alpha")
    code.keys("alpha", "beta")
    assert code.kmi("use", "alpha").code == 0
    tool = ("Bash", {"command": "sleep 2", "description": "wait"})
    fake.set(SECRETS["alpha"], Behaviour(text="answer for alpha", tool=tool))
    run = code.start("run", "--", "kimi", *code.ask("hello"))
    fake.wait_for_chats(1)
    used = code.kmi("use", "beta")
    done = finish(run)
    assert (used.code, done.code) == (0, 0), (used, done)
    assert code.asked_with() == ["alpha", "beta"], done
    assert paid(code) == billed(code)
    assert len(billed(code)) == 2


def test_a_sub_agents_calls_are_its_sessions(box: Box, fake: FakeKimi) -> None:
    box.with_key("alpha")
    box.keys("alpha")
    fake.set(SECRETS["alpha"], Behaviour(text="answer for alpha", tool=("Agent", SUB_AGENT)))
    done = box.kmi("run", "-k", "alpha", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert len(fake.chats()) >= 3, done
    assert paid(box) == billed(box), done
    assert len(usage(box, "--by", "session")["rows"]) == 1
