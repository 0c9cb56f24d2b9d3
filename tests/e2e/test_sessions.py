"""Runs that are pinned or follow, and the client's own sessions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, rate_429

from .box import CLI, SECRETS, Box, finish

if TYPE_CHECKING:
    from kmi.demo.fake_api import FakeKimi

pytestmark = pytest.mark.e2e


def test_a_following_run_takes_the_swapped_key_at_its_next_request(
    code: Box, fake: FakeKimi
) -> None:
    code.with_key("alpha")
    code.keys("alpha", "beta")
    fake.set(SECRETS["alpha"], rate_429(retry_after="4"))
    run = code.start("run", "--", "kimi", *code.ask("hello"))
    fake.wait_for_chats(1)
    used = code.kmi("use", "beta")
    done = finish(run)
    assert used.code == 0, used
    assert done.code == 0, done
    assert code.asked_with() == ["alpha", "beta"], done
    assert "answer for beta" in done.out


def test_a_pinned_run_keeps_its_key_whatever_happens(box: Box, fake: FakeKimi) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta")
    fake.set(SECRETS["alpha"], rate_429(retry_after="4", failures=1))
    run = box.start("run", "--pin", "--", "kimi", *box.ask("hello"))
    fake.wait_for_chats(1)
    used = box.kmi("use", "beta")
    done = finish(run)
    assert used.code == 0, used
    assert SECRETS["beta"] in box.config.read_text()
    assert done.code == 0, done
    assert box.asked_with() == ["alpha", "alpha"], done


def test_a_session_goes_on_with_another_key_and_without_kmi(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta")
    first = box.kmi("run", "-k", "alpha", "--", "kimi", *box.ask("first"))
    second = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("second", box.resume))
    third = box.plain(*box.ask("third", box.resume))
    assert [one.code for one in (first, second, third)] == [0, 0, 0], (first, second, third)
    assert box.asked_with() == ["alpha", "beta", "beta"]
    sessions = {seen.session for seen in box.fake.chats()}
    assert len(sessions) == 1, (first, second, third)


def test_what_a_pinned_run_leaves_is_the_users(code: Box) -> None:
    code.with_key("alpha")
    code.keys("alpha", "beta")
    done = code.kmi("run", "-k", "beta", "--", "kimi", *code.ask("first"))
    assert done.code == 0, done
    assert list(code.client_home.glob("sessions/*/session_*"))
    assert not code.client_home.is_symlink()
    # The config of the user's home is a regular file still, and the next plain run finds all.
    assert code.config.is_file()
    assert not code.config.is_symlink()
    done = code.plain(*code.ask("second", code.resume))
    assert done.code == 0, done


def test_a_model_of_the_users_choice_is_pinned_too(code: Box, fake: FakeKimi) -> None:
    code.write_config(
        code.with_key("alpha").decode()
        + f"""
[models.other]
provider = "my kimi"
model = "kimi-other"
max_context_size = 131072

[providers.elsewhere]
type = "kimi"
base_url = "{fake.base_url}"
api_key = "{SECRETS["gamma"]}"
"""
    )
    fake.models = ("kimi-for-coding", "kimi-other")
    code.keys("alpha", "beta")
    done = code.kmi("run", "-k", "beta", "--", "kimi", *code.ask("hello", "-m", "other"))
    assert done.code == 0, done
    assert [(seen.key, seen.model) for seen in fake.chats()] == [(SECRETS["beta"], "kimi-other")]
    assert SECRETS["gamma"] in code.config.read_text()


def test_a_nested_run_keeps_the_outer_key(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta")
    inner = ["-m", "kmi", "run", "--", "kimi", *box.ask("hello")]
    done = box.kmi("run", "-k", "beta", "--", sys.executable, *inner)
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done


def test_a_failed_key_of_one_run_is_not_sent_by_another(box: Box, fake: FakeKimi) -> None:
    """Two runs, one of which waits: neither sees the other's key."""
    box.with_key("alpha")
    box.keys("alpha", "beta")
    fake.set(SECRETS["alpha"], Behaviour(text="slow", latency_s=3.0))
    slow = box.start("run", "-k", "alpha", "--", "kimi", *box.ask("slow-one"))
    quick = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("quick-one"))
    done = finish(slow)
    assert (done.code, quick.code) == (0, 0), (done, quick)
    assert box.asked_with("slow-one") == ["alpha"]
    assert box.asked_with("quick-one") == ["beta"]
    assert box.client == CLI or "slow" in done.out
