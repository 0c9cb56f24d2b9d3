"""The thread between the proxy and the disk, with a real state directory."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from kmi.app import App
from kmi.errors import KmiError
from kmi.output import Screen
from kmi.proxy import keeper as keeping
from kmi.proxy.keeper import LESSONS_MAX, Batch, Keeper, Sight
from kmi.proxy.picker import Lesson
from kmi.proxy.sighting import PROGRAM_RETRY_S, Programs, look
from kmi.verdicts import classify
from tests.conftest import World, secret_of, write_private
from tests.proxy.box import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmi.model import ApiKey
    from kmi.proxy.desk import Rules
    from kmi.proxy.view import View

QUOTA = classify(403, '{"error": {"message": "usage limit for this period"}}')


class Kept:
    """A keeper, and what it told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sights: list[Sight] = []
        self.events: list[Mapping[str, Any]] = []
        self.asked: list[frozenset[str]] = []
        self.number = 0
        self.app().store.prepare()
        self.keeper = Keeper(
            self.app(),
            self.app,
            log=self.events.append,
            trace=lambda: None,
            publish=self.sights.append,
            refresh=lambda app, busy_at, ask: self.asked.append(ask),
        )

    def app(self) -> App:
        return App(self.world.env, Screen(self.world.env), "proxy")

    def ids(self) -> dict[str, str]:
        return {key.label: key.key_id for key in self.app().keyring.keys}

    def give(self, *lessons: Lesson, ask: frozenset[str] = frozenset()) -> None:
        self.number += 1
        self.keeper.submit(Batch(self.number, list(lessons), ask))

    def complaints(self) -> list[str]:
        return [str(e["text"]) for e in self.events if e["event"] == "keeper-failed"]


def disabled(sight: Sight, key_id: str) -> bool:
    state = sight.view.states.get(key_id)
    return state is not None and state.disabled


@pytest.fixture
def kept(world: World) -> Iterator[Kept]:
    world.add_keys("alpha", "beta")
    kept = Kept(world)
    yield kept
    if kept.keeper._thread.is_alive():
        kept.keeper.stop()


def test_the_first_sight_is_there_before_the_thread(kept: Kept) -> None:
    view = kept.keeper.first().view
    assert [(key.label, key.secret) for key in view.keys] == [
        (label, secret_of(label)) for label in ("alpha", "beta")
    ]
    assert view.active is None
    assert not view.may_change


def test_lessons_are_saved_and_the_sight_says_which(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    alpha, now = kept.ids()["alpha"], time.time()
    for number in range(5):
        kept.give(Lesson(alpha, None, now + number, now, times=2))
    kept.give(Lesson(alpha, QUOTA, now + 9, now))
    until(lambda: kept.sights and kept.sights[-1].saved == 6, "all are saved")
    state = kept.sights[-1].view.states[alpha]
    assert state.hold is not None
    assert state.hold.verdict == "quota-5h"
    assert sum(answers for _, answers, _ in state.traffic) == 11
    assert kept.world.saved_state()["keys"][alpha]["label"] == "alpha"


def test_what_is_left_is_written_at_the_end(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    beta, now = kept.ids()["beta"], time.time()
    kept.give(Lesson(beta, QUOTA, now, now))
    kept.keeper.stop()
    assert kept.world.saved_state()["keys"][beta]["hold"]["verdict"] == "quota-5h"


def test_a_disk_that_refuses_is_told_once_and_tried_again(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    state_file = kept.world.state / "state.json"
    state_file.mkdir()
    alpha, now = kept.ids()["alpha"], time.time()
    kept.give(Lesson(alpha, QUOTA, now, now))
    until(kept.complaints, "it says so")
    kept.give(Lesson(alpha, None, now - 5, now - 6))
    time.sleep(0.6)  # more tries; nothing is decided by this
    assert len(set(kept.complaints())) == len(kept.complaints()) <= 2
    assert kept.sights == [] or kept.sights[-1].saved == 0
    state_file.rmdir()
    until(lambda: kept.sights and kept.sights[-1].saved == 2, "it is saved after all")
    assert kept.sights[-1].view.states[alpha].hold is not None


def test_two_steps_that_fail_are_told_once_each(kept: Kept) -> None:
    def refused() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "trace.jsonl")

    kept.keeper._trace = refused
    kept.keeper.first()
    kept.keeper.start()
    (kept.world.state / "state.json").mkdir()
    alpha, now = kept.ids()["alpha"], time.time()
    kept.give(Lesson(alpha, QUOTA, now, now))
    until(lambda: len(set(kept.complaints())) >= 2, "both say so")
    rounds = len(kept.asked)
    until(lambda: len(kept.asked) > rounds + 3, "more tries")
    told = kept.complaints()
    assert len([text for text in told if "trace.jsonl" in text]) == 1
    assert len(told) <= 4  # the state is read by three steps


def test_lessons_that_can_not_be_saved_are_bounded(kept: Kept) -> None:
    (kept.world.state / "state.json").mkdir()
    with pytest.raises((KmiError, OSError)):
        kept.keeper.first()
    (kept.world.state / "state.json").rmdir()
    kept.keeper.first()
    (kept.world.state / "state.json").mkdir()
    alpha, now = kept.ids()["alpha"], time.time()
    for _ in range(25):
        kept.give(*[Lesson(alpha, QUOTA, now, now)] * 1000)
    kept.keeper.start()
    until(lambda: [e for e in kept.events if e["event"] == "lessons-dropped"], "it says so")
    assert len(kept.keeper._unsaved) <= LESSONS_MAX
    dropped = sum(int(e["count"]) for e in kept.events if e["event"] == "lessons-dropped")
    assert dropped == 25_000 - LESSONS_MAX


def test_changes_of_the_disk_are_seen(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    time.sleep(0.6)  # nothing changes, and so nothing is published
    assert kept.sights == []
    kept.world.add_key("gamma")
    until(lambda: kept.sights, "a new key")
    assert [key.label for key in kept.sights[-1].view.keys] == ["alpha", "beta", "gamma"]
    write_private(kept.world.env_file, "KMI_AUTO_ROTATE_ALLOWED=1\nKMI_PROXY_MAX_RPS=4\n")
    until(lambda: kept.sights[-1].view.may_change, "a setting")
    assert kept.sights[-1].rules.caps.rps == 4
    pattern = '[[pattern]]\nverdict = "quota-5h"\ncontains = ["new words"]\n'
    write_private(kept.world.state / "patterns.toml", pattern)
    until(lambda: kept.sights[-1].view.patterns, "a pattern")
    assert kept.world.kmi("keys", "disable", "beta").returncode == 0
    beta = kept.ids()["beta"]
    until(lambda: disabled(kept.sights[-1], beta), "a disabled key")


@pytest.mark.parametrize("name", ["KMI_DRY_RUN=ture\n", "KMI_PROXY_MAX_RPS=-1\n"])
def test_a_bad_setting_leaves_everything_as_it_was(kept: Kept, name: str) -> None:
    kept.keeper.first()
    kept.keeper.start()
    write_private(kept.world.env_file, name)
    until(kept.complaints, "it says so")
    assert name.partition("=")[0] in kept.complaints()[0]
    assert str(kept.world.env_file) in kept.complaints()[0]
    write_private(kept.world.env_file, "KMI_PROXY_MAX_RPS=9\n")
    until(lambda: kept.sights, "it is mended")
    assert kept.sights[0].rules.caps.rps == 9
    # The same mistake once more is told once more.
    write_private(kept.world.env_file, name)
    until(lambda: len(kept.complaints()) == 2, "it says so again")


def test_a_broken_auth_file_keeps_its_key_until_it_is_gone_or_good(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    path = kept.world.auths / "beta.env"
    write_private(path, "KMI_API_KEY=\n")
    until(lambda: kept.sights, "the broken file")
    view = kept.sights[-1].view
    assert [(key.label, key.secret) for key in view.keys] == [
        (label, secret_of(label)) for label in ("alpha", "beta")
    ]
    assert any("beta.env" in problem for problem in view.problems)
    assert [e["level"] for e in kept.events if e["event"] == "problem"]
    assert secret_of("beta") not in repr(kept.events)
    path.unlink()
    until(lambda: len(kept.sights[-1].view.keys) == 1, "the file is gone")
    kept.world.add_key("beta")
    until(lambda: len(kept.sights[-1].view.keys) == 2, "the file is back")


def test_questions_are_handed_on(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    alpha, now = kept.ids()["alpha"], time.time()
    kept.give(Lesson(alpha, QUOTA, now, now), ask=frozenset({alpha}))
    until(lambda: frozenset({alpha}) in kept.asked, "the question")
    until(lambda: len(kept.asked) > kept.asked.index(frozenset({alpha})) + 1, "another round")
    assert [ask for ask in kept.asked if ask] == [frozenset({alpha})]


def test_a_reload_looks_at_everything_anew(kept: Kept) -> None:
    kept.keeper.first()
    kept.keeper.start()
    kept.keeper.reload()
    until(lambda: kept.sights, "a sight without a change")


def test_a_reload_during_a_look_is_not_lost(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def hurried(app: App, programs: Programs, before: tuple[ApiKey, ...]) -> tuple[View, Rules]:
        looks.append(app)
        if len(looks) == 1:
            kept.keeper.reload()
        return look(app, programs, before)

    kept.keeper.first()
    monkeypatch.setattr(keeping, "look", hurried)
    kept.keeper.start()
    kept.world.add_key("gamma")
    until(lambda: kept.sights, "the new key")
    rounds = len(kept.asked)
    until(lambda: len(kept.asked) > rounds + 2, "more rounds")
    assert len(kept.sights) == 2


@pytest.mark.parametrize("edited", [None, "cat /nowhere-else", f"echo {secret_of('vault')}"])
def test_a_program_that_is_gone_is_not_due(world: World, edited: str | None) -> None:
    world.add_keys("alpha")
    path = world.auths / "vault.toml"
    write_private(path, "api_key_command = 'cat /nowhere'\n")

    def app() -> App:
        return App(world.env, Screen(world.env), "proxy")

    programs = Programs()
    look(app(), programs)
    assert not programs.due
    for pair, (at, error) in programs._failed.items():
        programs._failed[pair] = (at - PROGRAM_RETRY_S, error)
    assert [programs.due] == [True]
    if edited is None:
        path.unlink()
    else:
        write_private(path, f"api_key_command = '{edited}'\n")
    look(app(), programs)
    left = programs.due, len(programs._failed)
    assert left == (False, 1 if edited == "cat /nowhere-else" else 0)
