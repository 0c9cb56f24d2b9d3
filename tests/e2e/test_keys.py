"""The right key reaches the API, and the config is changed in its credential fields only."""

from __future__ import annotations

import signal
import stat
from typing import TYPE_CHECKING

import pytest

from kmi.demo.fake_api import Behaviour, payment_402, quota_403, rate_429

from .box import CLI, CODE, SECRETS, Box, finish

if TYPE_CHECKING:
    from pathlib import Path

    from kmi.demo.fake_api import FakeKimi

pytestmark = pytest.mark.e2e


def test_a_run_sends_its_key_and_changes_nothing_but_the_key(box: Box) -> None:
    before = box.with_key("alpha")
    box.keys("alpha", "beta")
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done
    assert "answer for beta" in done.out
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert box.config.read_bytes() == wanted
    assert stat.S_IMODE(box.config.stat().st_mode) == 0o600
    assert SECRETS["beta"] not in done.out + done.err


def test_the_active_key_is_kept_while_it_works(box: Box) -> None:
    before = box.with_key("beta")
    box.keys("alpha", "beta", "gamma")
    done = box.kmi("kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done
    assert box.config.read_bytes() == before


def test_search_and_fetch_go_with_the_key(box: Box, fake: FakeKimi) -> None:
    before = box.with_key("alpha", services=True)
    box.keys("alpha", "beta")
    tool = "SearchWeb" if box.client == CLI else "WebSearch"
    fake.set(SECRETS["beta"], Behaviour(tool=(tool, {"query": "kimi"})))
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("search"))
    assert done.code == 0, done
    assert set(box.asked_with()) == {"beta"}, done
    assert [seen.key for seen in fake.find("/search")] == [SECRETS["beta"]], done
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert box.config.read_bytes() == wanted


def test_without_a_config_a_run_gets_the_smallest_one(box: Box) -> None:
    box.keys("alpha")
    done = box.kmi("run", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["alpha"], done
    assert stat.S_IMODE(box.config.stat().st_mode) == 0o600
    # It is a config of the client's own kind: it works without kmi too.
    done = box.plain(*box.ask("again"))
    assert done.code == 0, done
    assert box.asked_with() == ["alpha", "alpha"], done


def test_a_stale_exported_key_does_not_win(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha")
    stale = {"KIMI_API_KEY": SECRETS["stale"]}
    if box.client == CODE:
        stale = {
            "KIMI_MODEL_NAME": "kimi-for-coding",
            "KIMI_MODEL_API_KEY": SECRETS["stale"],
            "KIMI_MODEL_BASE_URL": box.fake.base_url,
        }
    done = box.kmi("run", "--", "kimi", *box.ask("hello"), env=stale)
    assert done.code == 0, done
    assert box.asked_with() == ["alpha"], done
    assert next(iter(stale)) in done.err


@pytest.mark.parametrize(
    "behaviour, cli_code, code_code",
    [(quota_403(), 1, 1), (payment_402(), 1, 1), (rate_429(), 75, 1)],
    ids=["quota", "payment", "rate"],
)
def test_the_clients_exit_code_is_kmis(
    box: Box, behaviour: Behaviour, cli_code: int, code_code: int
) -> None:
    box.with_key("alpha")
    box.keys("alpha")
    box.fake.set(SECRETS["alpha"], behaviour)
    quick = ["--max-retries-per-step", "1"] if box.client == CLI else []
    env = {"KIMI_LOOP_MAX_ATTEMPTS_PER_STEP": "2"}
    done = box.kmi("run", "--", "kimi", *box.ask("hello", *quick), env=env)
    assert done.code == (cli_code if box.client == CLI else code_code), done
    assert set(box.asked_with()) == {"alpha"}, done


def test_bad_usage_is_the_clients_to_tell(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha")
    done = box.kmi("run", "--", "kimi", "--no-such-option")
    assert done.code == box.plain("--no-such-option").code, done
    assert "no-such-option" in done.out + done.err


def test_a_signal_reaches_the_client_itself(box: Box, fake: FakeKimi) -> None:
    box.with_key("alpha")
    box.keys("alpha")
    fake.set(SECRETS["alpha"], Behaviour(latency_s=60.0))
    run = box.start("run", "--", "kimi", *box.ask("hello"))
    fake.wait_for_chats(1)
    run.send_signal(signal.SIGTERM)
    done = finish(run)
    # 128 + 15 when the client handles it, -15 when it does not: then a shell says 143 as well.
    assert done.code in {143, -signal.SIGTERM}, done


@pytest.mark.parametrize("words", [["--version"], ["--help"]], ids=" ".join)
def test_a_question_about_the_client_touches_no_key(box: Box, words: list[str]) -> None:
    before = box.with_key("alpha")
    box.keys("beta")
    done = box.kmi("run", "--", "kimi", *words)
    plain = box.plain(*words)
    assert (done.code, done.out) == (plain.code, plain.out), done
    assert box.config.read_bytes() == before
    assert box.fake.requests == []


def test_six_at_once_each_send_their_own_key(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta", "gamma")
    labels = ["alpha", "beta", "gamma", "gamma", "beta", "alpha"]
    runs = [
        box.start("run", "-k", label, "--", "kimi", *box.ask(f"run-{i}"))
        for i, label in enumerate(labels)
    ]
    done = [finish(run) for run in runs]
    assert [one.code for one in done] == [0] * len(labels), done
    got = [box.asked_with(f"run-{i}") for i in range(len(labels))]
    assert got == [[label] for label in labels], done
    # The config was swapped more than once meanwhile, and is one of them.
    text = box.config.read_text()
    assert sum(secret in text for secret in SECRETS.values()) == 1


def test_round_robin_at_once_gives_every_run_its_own_key(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta", "gamma")
    runs = [
        box.start("run", "--strategy", "round-robin", "--", "kimi", *box.ask(f"run-{i}"))
        for i in range(3)
    ]
    done = [finish(run) for run in runs]
    assert [one.code for one in done] == [0] * 3, done
    assert sorted(box.asked_with()) == ["alpha", "beta", "gamma"], done


def test_a_secret_in_a_private_copy_goes_with_the_next_run(box: Box) -> None:
    box.with_key("alpha")
    box.keys("alpha", "beta")
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    copies = box.private_copies("beta")
    assert [stat.S_IMODE(path.stat().st_mode) for path in copies] == [0o600], copies
    done = box.kmi("run", "-k", "alpha", "--", "true")
    assert done.code == 0, done
    assert box.private_copies("beta") == []


def test_a_client_home_elsewhere(box: Box, tmp_path: Path) -> None:
    box.with_key("alpha")
    elsewhere = tmp_path / "else where"
    box.client_home.rename(elsewhere)
    box.keys("alpha", "beta")
    name = "KIMI_SHARE_DIR" if box.client == CLI else "KIMI_CODE_HOME"
    env = {name: str(elsewhere)}
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"), env=env)
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done
    assert SECRETS["beta"] in (elsewhere / "config.toml").read_text()
    assert not box.client_home.exists()
    assert list(elsewhere.glob("sessions/*/*"))


def test_a_linked_config_stays_a_link(box: Box, tmp_path: Path) -> None:
    before = box.with_key("alpha")
    kept = tmp_path / "dotfiles.toml"
    box.config.rename(kept)
    box.config.symlink_to(kept)
    box.keys("alpha", "beta")
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done
    assert box.config.is_symlink()
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert kept.read_bytes() == wanted


def test_crlf_and_a_broad_comment_survive(box: Box) -> None:
    text = box.with_key("alpha").decode().replace("\n", "\r\n") + "# ü ¥ \r\n"
    with box.config.open("w", newline="", encoding="utf-8") as file:
        file.write(text)
    before = box.config.read_bytes()
    box.keys("alpha", "beta")
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["beta"], done
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert box.config.read_bytes() == wanted


def test_a_key_of_another_platform_brings_its_base_url(box: Box, fake: FakeKimi) -> None:
    before = box.with_key("alpha")
    box.keys("alpha")
    box.keys("beta", base_url=fake.platform_url)
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert [(seen.path, seen.key) for seen in fake.chats()] == [
        ("/v1/chat/completions", SECRETS["beta"])
    ], done
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    wanted = wanted.replace(fake.base_url.encode(), fake.platform_url.encode())
    assert box.config.read_bytes() == wanted


def test_the_clients_own_provider_name(box: Box, fake: FakeKimi) -> None:
    """With it kimi-cli refreshes its models, and would rewrite the whole config."""
    fake.models = ("kimi-for-coding", "kimi-brand-new")
    text = box.with_key("alpha").decode().replace("my kimi", "managed:kimi-code")
    before = box.write_config(text)
    box.keys("alpha", "beta")
    fake.set(SECRETS["beta"], Behaviour(latency_s=4.0))
    done = box.kmi("run", "-k", "beta", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert set(box.asked_with()) == {"beta"}, done
    wanted = before.replace(SECRETS["alpha"].encode(), SECRETS["beta"].encode())
    assert box.config.read_bytes() == wanted
