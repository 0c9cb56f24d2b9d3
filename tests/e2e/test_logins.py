"""An OAuth login in the config, and a kimi-cli that must not be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from .box import CLI, SECRETS, Box
from .clients import tombstone

pytestmark = pytest.mark.e2e


def test_beside_a_login_a_run_gets_its_key_and_the_config_stays(box: Box) -> None:
    before = box.with_login()
    box.keys("alpha")
    done = box.kmi("run", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    assert box.asked_with() == ["alpha"], done
    assert "--adopt" in done.err
    assert box.config.read_bytes() == before
    # The login is as good as before.
    done = box.plain(*box.ask("again"))
    assert done.code == 0, done
    assert box.asked_with() == ["alpha", "the login"], done


def test_a_session_of_the_login_goes_on_beside_it_and_back(box: Box) -> None:
    box.with_login()
    box.keys("alpha")
    first = box.plain(*box.ask("first"))
    second = box.kmi("run", "--", "kimi", *box.ask("second", box.resume))
    third = box.plain(*box.ask("third", box.resume))
    assert [one.code for one in (first, second, third)] == [0, 0, 0], (first, second, third)
    assert box.asked_with() == ["the login", "alpha", "the login"]
    assert len({seen.session for seen in box.fake.chats()}) == 1


def test_adopt_adds_a_provider_and_undo_takes_it_back(box: Box) -> None:
    before = box.with_login()
    box.keys("alpha")
    done = box.kmi("run", "--adopt", "--", "kimi", *box.ask("hello"))
    assert done.code == 0, done
    text = box.config.read_text()
    assert SECRETS["alpha"] in text
    assert "# logged in on Monday" in text
    assert "oauth/account" in text
    done = box.plain(*box.ask("again"))
    assert done.code == 0, done
    assert box.asked_with() == ["alpha", "alpha"], done
    done = box.kmi("undo")
    assert done.code == 0, done
    assert box.config.read_bytes() == before
    done = box.plain(*box.ask("and back"))
    assert done.code == 0, done
    assert box.asked_with()[-1] == "the login"


def test_the_tombstone_is_named_and_not_started(cli: Box) -> None:
    before = cli.with_key("alpha")
    cli.keys("alpha", "beta")
    home = sorted(cli.client_home.rglob("*"))
    path = {"PATH": f"{tombstone()}:/usr/bin:/bin"}
    for words in (cli.ask("hello"), ["--version"], ["login"], []):
        done = cli.kmi("run", "-k", "beta", "--", "kimi", *words, env=path)
        assert done.code == 125, done
        assert "1.52" in done.err
        assert "install" in done.err
        # It would say so on stdout; and its code is not even complete here.
        assert done.out == ""
        assert "Traceback" not in done.err
    assert cli.config.read_bytes() == before
    assert sorted(cli.client_home.rglob("*")) == home
    assert cli.fake.requests == []


def test_an_older_kimi_cli_found_by_a_link_is_started(cli: Box, tmp_path: Path) -> None:
    cli.with_key("alpha")
    cli.keys("alpha")
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "kimi-cli").symlink_to(Path(cli.path_dir / "kimi").resolve().with_name("kimi-cli"))
    env = {"PATH": f"{bin_dir}:/usr/bin:/bin"}
    done = cli.kmi("run", "--", "kimi-cli", *cli.ask("hello"), env=env)
    assert done.code == 0, done
    assert cli.client == CLI
    assert cli.asked_with() == ["alpha"], done
