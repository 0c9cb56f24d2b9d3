"""`kmi run --proxy`: the client talks to the proxy, and the user's own config stays as it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit

from kmi.errors import ConfigError
from kmi.kimi_config import parse_config
from kmi.kimi_edits import Credential
from kmi.pins import start_mark
from kmi.proxied import without_http_proxy
from kmi.proxy import leases
from kmi.proxy.instance import look
from kmi.proxy_edits import proxied_config
from kmi.urls import parse_base_url
from tests.conftest import CLI, CODE, config_text, secret_of, write_private
from tests.proxy.box import Box, until

if TYPE_CHECKING:
    from tests.conftest import Result

#: A client that tells what it was given, and asks for a chat as a real one would.
CLIENT = f"""\
#!{sys.executable}
import json, os, sys, time, urllib.request
arguments = sys.argv[1:]
config = ""
if arguments[:1] == ["--config-file"]:
    config = open(arguments[1]).read()
elif os.environ.get("KIMI_CODE_HOME"):
    config = open(os.path.join(os.environ["KIMI_CODE_HOME"], "config.toml")).read()
json.dump({{"arguments": arguments, "env": dict(os.environ), "config": config}}, open("seen", "w"))
for word in arguments:
    if word.startswith("nest="):
        words = word[5:].split()
        os.execv(sys.executable, [sys.executable, "-m", "kmi", *words])
if "wait" in arguments:
    open("waiting", "w").close()
    time.sleep(60)
"""
CHAT = """\
import json, os, urllib.request
asked = urllib.request.Request(
    os.environ["KIMI_BASE_URL"] + "/chat/completions",
    json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode(),
    {"Authorization": "Bearer " + os.environ["KIMI_API_KEY"], "Content-Type": "application/json"},
)
with urllib.request.urlopen(asked, timeout=60) as answer:
    print(answer.status, answer.headers["x-kmi-key"])
"""


@pytest.fixture
def home(box: Box) -> Box:
    """A home with a client and its config."""
    box.world.script("kimi", CLIENT)
    box.world.write_config(CLI, config_text(secret_of("alpha"), base_url=box.api.base_url))
    return box


def seen(box: Box) -> dict[str, Any]:
    """What the client was given."""
    found = json.loads((box.world.cwd / "seen").read_text())
    assert isinstance(found, dict)
    return found


def ended(box: Box) -> bool:
    return not look(box.directory).held


def run(box: Box, *words: str, env: dict[str, str | None] | None = None) -> Result:
    done = box.world.kmi("run", *words, env=env)
    assert done.returncode == 0, done
    return done


def test_kimi_cli_gets_the_proxy(home: Box) -> None:
    before = home.world.config().read_bytes()
    done = run(home, "--proxy", "--", "kimi", "--print", "-p", "hi")
    given = seen(home)
    assert given["arguments"][0] == "--config-file"
    assert given["arguments"][2:] == ["--print", "-p", "hi"]
    provider = tomlkit.parse(given["config"]).unwrap()["providers"]["my kimi"]
    base_url = given["env"]["KMI_PROXY_RUN"]
    assert provider["base_url"] == base_url
    assert provider["api_key"] == home.token
    assert "# my settings, do not touch" in given["config"]
    assert secret_of("alpha") not in given["config"]
    env = given["env"]
    assert env["KIMI_CODE_BASE_URL"] == base_url
    assert env["NO_PROXY"] == env["no_proxy"] == "127.0.0.1,localhost"
    assert (env["KMI_ACTIVE_KEY"], env["KMI_DEPTH"]) == ("proxy", "1")
    assert "KIMI_API_KEY" not in env
    assert home.token not in done.stderr
    assert "KMI_AUTO_ROTATE_ALLOWED" in done.stderr
    assert home.world.config().read_bytes() == before
    record = home.world.records("runs.jsonl")[-1]
    assert (record["mode"], record["proxy"], record["run"]) == (
        *("proxy", base_url),
        env["KMI_RUN_ID"],
    )
    assert home.token not in (home.world.state / "runs.jsonl").read_text()
    assert home.audits() == [("run", "changed")]
    until(lambda: ended(home), "the proxy ends with its run")


def test_the_note_is_for_those_who_may_not_rotate(home: Box) -> None:
    done = run(home, "--proxy", "--", "kimi", env={"KMI_AUTO_ROTATE_ALLOWED": "1"})
    assert "KMI_AUTO_ROTATE_ALLOWED" not in done.stderr


def test_kimi_code_gets_a_home(home: Box) -> None:
    home.world.env["KMI_CLIENT"] = CODE
    text = config_text(secret_of("alpha"), base_url=home.api.base_url)
    before = home.world.write_config(CODE, text).read_bytes()
    run(home, "--proxy", "--", "kimi", "-p", "hi")
    given = seen(home)
    assert given["arguments"] == ["-p", "hi"]
    assert home.token in given["config"]
    assert given["env"]["KMI_PROXY_RUN"] in given["config"]
    assert given["env"]["KMI_CLIENT_HOME"] == str(home.world.config(CODE).parent)
    assert home.world.config(CODE).read_bytes() == before


@pytest.mark.parametrize("client", [CLI, CODE])
def test_other_programs_get_variables(home: Box, client: str) -> None:
    home.world.env["KMI_CLIENT"] = client
    home.world.script("chat", f"#!{sys.executable}\n{CHAT}")
    done = run(home, "--proxy", "--", "chat", env={"HTTP_PROXY": "http://127.0.0.1:9"})
    assert done.stdout == "200 alpha\n"


def test_a_client_without_a_config_gets_the_smallest(box: Box) -> None:
    box.world.script("kimi", CLIENT)
    run(box, "--proxy", "--", "kimi")
    config = tomlkit.parse(seen(box)["config"]).unwrap()
    assert config["providers"]["kmi"]["api_key"] == box.token
    # The model is that of the upstream, which the proxy only stands for.
    assert config["models"]["kmi"]["model"] == "kimi-for-coding"
    assert not box.world.config().exists()


def waiting(box: Box, *words: str) -> subprocess.Popen[bytes]:
    """A run of the client that stays."""
    marker = box.world.cwd / "waiting"
    marker.unlink(missing_ok=True)
    client = subprocess.Popen(
        [sys.executable, "-m", "kmi", "run", "--proxy", *words, "--", "kimi", "wait"],
        cwd=box.world.cwd,
        env=box.world.environment(),
        stderr=subprocess.DEVNULL,
    )
    until(lambda: marker.exists() or client.poll() is not None, "the client runs")
    assert client.poll() is None
    return client


def test_runs_share_a_proxy_and_the_last_one_ends_it(home: Box) -> None:
    with waiting(home) as first:
        instance = home.instance
        assert instance is not None
        assert (instance.how, instance.until_runs_end) == ("run", True)
        run(home, "--proxy", "--", "kimi")
        assert seen(home)["env"]["KMI_PROXY_RUN"] == instance.base_url
        status = home.world.document("proxy", "status")
        assert (status["runs"], status["ends_with_runs"]) == (1, True)
        assert home.request(instance)[0] == 200
        # It has no chance to say goodbye.
        first.send_signal(signal.SIGKILL)
        first.wait()
    until(lambda: ended(home), "the proxy ends with its last run")
    assert os.listdir(home.world.state / leases.FOLDER) == []


def test_the_proxy_is_no_child_of_the_client(home: Box) -> None:
    with waiting(home) as client:
        instance = home.instance
        assert instance is not None
        status = Path(f"/proc/{instance.pid}/stat").read_text().rpartition(")")[2].split()
        assert int(status[1]) != client.pid
        client.kill()


def test_a_proxy_that_stays(home: Box) -> None:
    run(home, "--proxy-stay", "--", "kimi")
    instance = home.instance
    assert instance is not None
    status = home.world.document("proxy", "status")
    assert (status["runs"], status["ends_with_runs"]) == (0, False)
    run(home, "--proxy", "--", "kimi")
    assert home.instance == instance


def test_a_start_makes_a_proxy_of_runs_stay(home: Box) -> None:
    with waiting(home) as client:
        instance = home.instance
        assert home.world.kmi("proxy").returncode == 0
        assert home.instance == instance
        assert home.world.document("proxy", "status")["ends_with_runs"] is False
        client.kill()
        client.wait()
    folder = home.world.state / leases.FOLDER
    # Its lease is looked at and found dead, and still the proxy is there.
    until(lambda: os.listdir(folder) == [leases.STAY], "the lease is removed")
    assert home.instance == instance
    assert home.world.kmi("proxy", "stop").returncode == 0
    assert os.listdir(folder) == []


def test_a_running_proxy_is_used_and_stays(home: Box) -> None:
    instance = home.start()
    run(home, "--proxy", "--", "kimi")
    assert seen(home)["env"]["KMI_PROXY_RUN"] == instance.base_url
    assert home.instance == instance
    assert home.audits() == [("proxy start", "changed")]


@pytest.mark.parametrize(
    "option", [["-k", "alpha"], ["--pin"], ["--strategy", "sticky"], ["--key=alpha"], ["--adopt"]]
)
def test_what_contradicts_the_proxy(home: Box, option: list[str]) -> None:
    done = home.world.kmi("run", "--proxy", *option, "--", "kimi")
    assert done.returncode == 125
    assert "has no place beside --proxy" in done.stderr
    assert not (home.world.cwd / "seen").exists()
    assert ended(home)


def test_a_run_that_can_not_have_its_proxy_does_not_start(home: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        done = home.world.kmi("run", "--proxy", "--", "kimi", env={"KMI_PROXY_LISTEN": listen})
    assert done.returncode == 125
    assert "listens there" in done.stderr
    assert not (home.world.cwd / "seen").exists()
    assert os.listdir(home.world.state / leases.FOLDER) == []
    assert home.audits() == [("run", "denied")]


def test_a_proxy_with_another_token_is_not_used(home: Box) -> None:
    home.start()
    done = home.world.kmi("run", "--proxy", "--", "kimi", env={"KMI_PROXY_TOKEN": "t" * 40})
    assert done.returncode == 125
    assert "another token" in done.stderr
    assert not (home.world.cwd / "seen").exists()


def test_a_program_that_does_not_exist_starts_no_proxy(home: Box) -> None:
    assert home.world.kmi("run", "--proxy", "--", "no-such-program").returncode == 127
    assert not (home.world.state / "proxy.json").exists()


def test_help_of_the_client_needs_no_proxy(home: Box) -> None:
    run(home, "--proxy", "--", "kimi", "--version")
    assert "KMI_PROXY_RUN" not in seen(home)["env"]
    assert not home.world.state.exists()


def test_a_dry_run(home: Box) -> None:
    done = run(home, "--proxy", "--dry-run", "--", "kimi")
    assert "with the proxy at http://127.0.0.1:" in done.stderr
    assert not (home.world.cwd / "seen").exists()
    assert ended(home)


def test_exported_credentials_are_replaced(home: Box) -> None:
    env: dict[str, str | None] = {
        "KIMI_API_KEY": "sk-kimi-old",
        "KIMI_BASE_URL": "http://127.0.0.1:9",
    }
    done = run(home, "--proxy", "--", "kimi", env=env)
    assert "KIMI_API_KEY" not in seen(home)["env"]
    assert "KIMI_API_KEY is exported" in done.stderr


# Runs inside of runs.


def test_a_run_inside_goes_through_the_proxy_too(home: Box) -> None:
    done = run(home, "--proxy", "--", "kimi", "nest=run -- kimi inner")
    given = seen(home)
    assert given["arguments"][2:] == ["inner"]
    assert given["env"]["KMI_DEPTH"] == "2"
    assert home.token in given["config"]
    assert done.stderr.count("KMI_AUTO_ROTATE_ALLOWED") == 1
    assert [record["mode"] for record in home.world.records("runs.jsonl")] == ["proxy", "proxy"]


def test_a_run_inside_that_is_told_a_key_leaves_the_proxy(home: Box) -> None:
    home.world.env["KIMI_CODE_BASE_URL"] = "http://127.0.0.1:9/of-the-user"
    run(home, "--proxy", "--", "kimi", "nest=run -k beta -- kimi inner")
    given = seen(home)
    assert secret_of("beta") in given["config"]
    assert home.token not in json.dumps(given)
    assert given["env"]["KMI_ACTIVE_KEY"] == "beta"
    assert "KMI_PROXY_RUN" not in given["env"]
    assert "kmi-rotor" not in json.dumps(given["env"])


def test_a_strict_binding_and_the_proxy_exclude_each_other(home: Box) -> None:
    assert home.world.kmi("bind", "--strict", "alpha").returncode == 0
    done = home.world.kmi("run", "--proxy", "--", "kimi")
    assert done.returncode == 125
    assert ".kmi.toml" in done.stderr
    assert ended(home)
    assert home.world.kmi("bind", "--force", "alpha").returncode == 0
    assert ".kmi.toml" in run(home, "--proxy", "--", "kimi").stderr


# Leases.


def test_leases_of_dead_processes_do_not_count(tmp_path: Path) -> None:
    folder = str(tmp_path / leases.FOLDER)
    assert leases.live(folder) == 0
    mine = leases.take(folder)
    assert Path(mine).name == f"{os.getpid()}-{start_mark(os.getpid())}"
    assert leases.live(folder) == 1
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    if sys.platform == "linux":
        # The number of a living process that started at another time.
        write_private(tmp_path / leases.FOLDER / f"{os.getpid()}-1", "")
    write_private(tmp_path / leases.FOLDER / f"{gone.pid}-1", "")
    write_private(tmp_path / leases.FOLDER / "notes of somebody", "")
    assert leases.live(folder) == 1
    assert sorted(os.listdir(folder)) == [Path(mine).name, "notes of somebody"]
    leases.stay(folder)
    assert leases.live(folder) == 2
    leases.drop(mine)
    leases.forget_stay(folder)
    assert leases.live(folder) == 0


# The private config.

TOKEN = "t" * 43
PROXY = Credential(TOKEN, parse_base_url("http://127.0.0.1:54123/kmi-rotor/v1"))
PLAN = parse_base_url("https://api.kimi.com/coding/v1")
PLATFORM = parse_base_url("https://api.moonshot.ai/v1")
MODEL = '\n[models.k]\nprovider = "p"\nmodel = "m"\nmax_context_size = 1\n'


def edited(text: str, client: str = CLI) -> dict[str, Any]:
    """The data of the private copy of a config."""
    config = parse_config(text.encode(), name="config.toml", client=client)
    raw = proxied_config(config, client, PROXY, [PLAN, PLATFORM])
    return parse_config(raw, name="copy", client=client).data


@pytest.mark.parametrize("client", [CLI, CODE])
@pytest.mark.parametrize(
    "provider",
    [
        'type = "kimi"\nbase_url = "https://api.kimi.com/coding/v1"\napi_key = "sk-old"',
        'type = "kimi"\nbase_url = "https://elsewhere.example/v1"\napi_key = "sk-old"',
        'type = "openai"\nbase_url = "https://api.moonshot.ai/v1"\napi_key = "sk-old"',
        'type = "kimi"\nbase_url = "https://api.kimi.com/coding/v1"\napi_key = ""\n'
        'oauth = { storage = "file", key = "oauth/kimi-code" }',
        'type = "kimi"\napi_key_env = "MY_KEY"',
    ],
)
def test_the_provider_is_the_proxy(client: str, provider: str) -> None:
    data = edited(f'default_model = "k"\n[providers.p]\n{provider}\n{MODEL}', client)
    kind = data["providers"]["p"].pop("type")
    assert kind in {"kimi", "openai"}
    assert data["providers"]["p"] == {"api_key": TOKEN, "base_url": str(PROXY.base_url)}


def test_a_model_with_credentials_of_its_own() -> None:
    own = 'api_key = "sk-own"\nbase_url = "https://api.kimi.com/coding/v1"\n'
    text = f'default_model = "k"\n[providers.p]\ntype = "kimi"\napi_key = "sk-old"\n{MODEL}{own}'
    assert edited(text, CODE)["models"]["k"] == {
        "provider": "p",
        "model": "m",
        "max_context_size": 1,
    }


@pytest.mark.parametrize(
    "service, becomes",
    [
        (("https://api.kimi.com/coding/v1/search", "sk-old"), "/search"),
        (("https://api.moonshot.ai/v1/tools/fetch", "sk-old"), "/tools/fetch"),
        (("https://api.kimi.com/coding/v1", "sk-old"), None),
        (("https://api.kimi.com/coding/v10/search", "sk-old"), None),
        (("https://api.kimi.com/other/search", "sk-old"), None),
        (("https://elsewhere.example/coding/v1/search", "sk-old"), None),
        (("https://api.kimi.com/coding/v1/search", ""), None),
        (("nonsense", "sk-old"), None),
    ],
)
def test_services_of_the_same_platform(service: tuple[str, str], becomes: str | None) -> None:
    url, key = service
    text = 'default_model = "k"\n[providers.p]\ntype = "kimi"\napi_key = "sk-old"\n' + MODEL
    text += f'[services.moonshot_search]\nbase_url = "{url}"\napi_key = "{key}"\n'
    found = edited(text)["services"]["moonshot_search"]
    if becomes is None:
        assert found == {"base_url": url, "api_key": key}
    else:
        assert found == {"base_url": f"{PROXY.base_url}{becomes}", "api_key": TOKEN}


def test_a_service_with_a_login() -> None:
    text = 'default_model = "k"\n[providers.p]\ntype = "kimi"\napi_key = "sk-old"\n' + MODEL
    text += '[services.moonshot_fetch]\nbase_url = "https://api.kimi.com/coding/v1/fetch"\n'
    text += 'api_key = ""\noauth = { storage = "file", key = "oauth/kimi-code" }\n'
    assert edited(text)["services"]["moonshot_fetch"] == {
        "base_url": f"{PROXY.base_url}/fetch",
        "api_key": TOKEN,
    }


def test_a_config_without_a_model_gets_a_provider_of_kmi() -> None:
    data = edited("theme = 'dark'\n")
    assert data["theme"] == "dark"
    assert data["default_model"] == "kmi"
    assert data["providers"]["kmi"]["base_url"] == str(PROXY.base_url)
    assert data["models"]["kmi"]["model"] == "kimi-for-coding"


def test_a_model_of_another_company_is_refused() -> None:
    text = f'default_model = "k"\n[providers.p]\ntype = "anthropic"\napi_key = "x"\n{MODEL}'
    with pytest.raises(ConfigError) as refused:
        edited(text)
    assert refused.value.code == "not-kimi"


@pytest.mark.parametrize(
    "env, hosts",
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": ".local"}, ".local,127.0.0.1,localhost"),
        ({"no_proxy": "a, 127.0.0.1"}, "a,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_needs_no_http_proxy(env: dict[str, str], hosts: str) -> None:
    assert without_http_proxy(env, "127.0.0.1") == {"NO_PROXY": hosts, "no_proxy": hosts}


@pytest.mark.parametrize(
    "given, host, hosts",
    [
        ("", "[::1]", "127.0.0.1,localhost,::1"),
        ("::1", "[::1]", "::1,127.0.0.1,localhost"),
        ("a", "127.0.0.2", "a,127.0.0.1,localhost,127.0.0.2"),
        ("", "localhost", "127.0.0.1,localhost"),
        ("*", "[::1]", "*"),
    ],
)
def test_no_http_proxy_is_asked_for_any_loopback_host(given: str, host: str, hosts: str) -> None:
    assert without_http_proxy({"NO_PROXY": given}, host)["no_proxy"] == hosts


def test_a_proxy_at_another_loopback_address_is_asked_directly(home: Box) -> None:
    listen, http = "127.0.0.2:0", "http://127.0.0.1:9"
    env: dict[str, str | None] = {"KMI_PROXY_LISTEN": listen, "HTTP_PROXY": http}
    run(home, "--proxy", "--", "kimi", env=env)
    given = seen(home)["env"]
    assert parse_base_url(given["KMI_PROXY_RUN"]).host == "127.0.0.2"
    assert given["NO_PROXY"] == "127.0.0.1,localhost,127.0.0.2"


def test_two_spellings_keep_their_own_hosts() -> None:
    both = without_http_proxy({"NO_PROXY": "a", "no_proxy": "b"}, "localhost")
    assert both == {"NO_PROXY": "a,127.0.0.1,localhost", "no_proxy": "b,127.0.0.1,localhost"}
