"""An OAuth login in the config, and a kimi-cli that must not be started."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from .box import CLI, RUN_LIMIT_S, SECRETS, Box, finish
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


def script(tmp_path: Path, text: str) -> str:
    """A program of the person's own that starts the client."""
    path = tmp_path / "my-script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_beside_a_login_another_program_gives_its_key_to_the_client(
    box: Box, tmp_path: Path
) -> None:
    before = box.with_login()
    box.keys("alpha")
    mine = script(tmp_path, 'exec kimi "$@"')
    first = box.plain(*box.ask("first"))
    second = box.kmi("run", "--", mine, *box.ask("second", box.resume))
    third = box.kmi("run", "--", mine, *box.ask("third", box.resume))
    fourth = box.plain(*box.ask("fourth", box.resume))
    assert [one.code for one in (first, second, third, fourth)] == [0] * 4, (second, third, fourth)
    assert box.asked_with() == ["the login", "alpha", "alpha", "the login"], second
    # The real sessions, whichever home they were reached through.
    assert len({seen.session for seen in box.fake.chats()}) == 1
    assert box.config.read_bytes() == before
    assert not list(box.client_home.rglob("*.tmp"))


def test_a_run_inside_of_such_a_program_knows_the_real_home(cli: Box, tmp_path: Path) -> None:
    before = cli.with_login()
    cli.keys("alpha", "beta")
    inner = f"{sys.executable} -m kmi run -k beta -- kimi"
    mine = script(tmp_path, f'kimi "$@" && {inner} "$@"')
    done = cli.kmi("run", "-k", "alpha", "--", mine, *cli.ask("hello"))
    assert done.code == 0, done
    assert cli.asked_with() == ["alpha", "beta"], done
    assert cli.config.read_bytes() == before


def test_acp_beside_a_login_uses_the_key(cli: Box) -> None:
    before = cli.with_login()
    token = cli.client_home / "credentials" / "account.json"
    # `kimi acp` insists on a login of this name.
    (token.parent / "kimi-code.json").write_bytes(token.read_bytes())
    cli.keys("alpha")
    process = cli.start("run", "--", "kimi", "acp", stdin=subprocess.PIPE)
    limit = threading.Timer(RUN_LIMIT_S, process.kill)
    limit.start()
    try:
        told = Acp(process)
        told.call("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        session = told.call("session/new", {"cwd": str(cli.project), "mcpServers": []})["sessionId"]
        text = [{"type": "text", "text": "hello"}]
        answer = told.call("session/prompt", {"sessionId": session, "prompt": text})
    finally:
        limit.cancel()
        process.terminate()
        done = finish(process)
    assert answer["stopReason"] == "end_turn", done
    assert cli.asked_with() == ["alpha"], done
    assert "for itself" in done.err
    assert cli.config.read_bytes() == before
    assert list((cli.client_home / "sessions").glob(f"*/{session}"))


class Acp:
    """An editor that speaks the Agent Client Protocol: JSON-RPC, a message on each line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.number = 0

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request, and wait for its answer."""
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self.number:
                assert "result" in message, message
                return message["result"]
        pytest.fail(f"the client ended before it answered {method}")


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
