"""The proxy as a process: one at a time, found again, ended only when it is proven to be ours."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmi import journal
from kmi.app import App
from kmi.demo.behaviours import Behaviour
from kmi.errors import ConfigError, TryLaterError
from kmi.output import Screen
from kmi.pins import start_mark
from kmi.proxy import lifecycle, server
from kmi.proxy.instance import Instance, look
from kmi.proxy.launch import proxy_env
from kmi.proxy.log import Log
from kmi.proxy.ports import bracketed, check_listen, port_holder, probe
from kmi.proxy.token import load_token
from kmi.settings import Settings
from tests.conftest import secret_of, write_private
from tests.proxy.box import LIMIT_S, Box, until
from tests.test_refresh import CHILDLESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Result, World

GOLDEN = Path(__file__).parents[1] / "golden"
linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def said(done: Result) -> str:
    return done.stdout + done.stderr


# Starting.


def test_it_answers_when_the_start_returns(box: Box) -> None:
    done = box.world.kmi("proxy")
    assert done.returncode == 0, done
    instance = box.instance
    assert instance is not None
    assert done.stdout == f"{instance.base_url}\n"
    assert probe("127.0.0.1", instance.port) == "kmi"
    status, head, body = box.request(instance)
    assert (status, head["x-kmi-key"]) == (200, "alpha")
    assert b"Hello" in body
    assert box.token not in said(done)
    assert str(box.world.state / "proxy.token") in done.stderr
    assert "kmi proxy stop" in done.stderr
    assert box.audits() == [("proxy start", "changed")]


def test_it_starts_where_nobody_waits_for_children(box: Box) -> None:
    """A shell may have ignored SIGCHLD, which what it starts inherits."""
    words = ["-m", "kmi", "proxy", "start"]
    done = box.world.command([sys.executable, "-c", CHILDLESS, *words])
    assert done.returncode == 0, done
    instance = box.instance
    assert instance is not None
    assert box.request(instance)[0] == 200


def test_a_command_that_changes_something_ends_when_the_proxy_goes_by_it(box: Box) -> None:
    instance = box.start()
    for label in ("beta", "alpha", "beta"):
        assert box.world.kmi("use", label).returncode == 0
        # Whatever the proxy's rhythm is: nothing is waited for here.
        assert box.request(instance)[1]["x-kmi-key"] == label
    assert box.world.kmi("keys", "disable", "beta").returncode == 0
    assert box.request(instance)[1]["x-kmi-key"] == "alpha"


def test_a_proxy_that_does_not_look_is_not_waited_for(box: Box) -> None:
    instance = box.start()
    os.kill(instance.pid, signal.SIGSTOP)
    done = box.world.kmi("use", "beta")
    assert (done.returncode, done.stderr.count("beta")) == (0, 1)


def test_its_files_are_private(box: Box) -> None:
    old = os.umask(0)
    try:
        box.start()
    finally:
        os.umask(old)
    state = box.world.state
    for name in ("proxy.json", "proxy.token", "proxy.lock", "logs/proxy.log", "logs/kmi.jsonl"):
        assert mode(state / name) == 0o600, name
    assert mode(state / "logs") == 0o700
    files = set(box.world.files_with(box.token)) - {"kmi-state/proxy.token"}
    assert files == set()


@linux
def test_it_is_a_process_of_its_own(box: Box) -> None:
    box.world.env["KIMI_API_KEY"] = "sk-kimi-CANARYofsomebodyelse"
    pid = box.start().pid
    proc = Path(f"/proc/{pid}")
    assert os.getsid(pid) not in {os.getsid(0), 0}
    assert re.search(r"Max core file size +0 +0 ", (proc / "limits").read_text())
    assert os.readlink(proc / "fd/0") == "/dev/null"
    assert os.readlink(proc / "fd/2") == str(box.world.state / "logs/proxy.log")
    assert os.readlink(proc / "cwd") == "/"
    assert b"CANARY" not in (proc / "environ").read_bytes()
    assert b"CANARY" not in (proc / "cmdline").read_bytes()


def test_its_environment() -> None:
    env = {
        "PATH": "/bin",
        "KIMI_API_KEY": "sk-kimi-x",
        "KIMI_CODE_HOME": "/private",
        "KMI_CLIENT_HOME": "/real",
        "KIMI_SHARE_DIR": "/share",
        "KMI_RUN_ID": "1",
        "KMI_ACTIVE_KEY": "a",
        "KMI_STRATEGY": "sticky",
        "NOTIFY_SOCKET": "/run/x",
        "SSH_AUTH_SOCK": "/tmp/agent",
    }
    assert proxy_env(env) == {
        "PATH": "/bin",
        "KIMI_CODE_HOME": "/real",
        "KIMI_SHARE_DIR": "/share",
        "KMI_STRATEGY": "sticky",
        "SSH_AUTH_SOCK": "/tmp/agent",
    }


def test_a_second_start_finds_the_first(box: Box) -> None:
    first = box.start()
    done = box.world.kmi("proxy", "start")
    assert (done.returncode, done.stdout) == (0, f"{first.base_url}\n")
    assert "runs already" in done.stderr
    assert "restart" not in done.stderr
    elsewhere = box.world.kmi("proxy", env={"KMI_PROXY_BASE_PATH": "/other/v1"})
    assert elsewhere.stdout == f"{first.base_url}\n"
    assert "/other/v1; `kmi proxy restart`" in elsewhere.stderr
    assert box.instance == first
    assert box.audits() == [("proxy start", "changed"), *[("proxy start", "unchanged")] * 2]


def test_two_starts_at_once_make_one_proxy(box: Box) -> None:
    for _ in range(5):
        before = len(box.audits())
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: box.world.kmi("proxy"), range(2)))
        instance = box.instance
        assert instance is not None
        assert [done.returncode for done in both] == [0, 0], both
        assert {done.stdout for done in both} == {f"{instance.base_url}\n"}
        outcomes = sorted(outcome for _, outcome in box.audits()[before:])
        assert outcomes == ["changed", "unchanged"]
        assert box.world.kmi("proxy", "stop").returncode == 0


def test_a_killed_proxy_is_no_obstacle(box: Box) -> None:
    first = box.start()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not look(box.directory).held, "it is gone")
    assert (box.world.state / "proxy.json").exists()
    document = box.world.document("proxy", "status", code=1)
    assert document == {"schema": 1, "running": False, "starting": False, "stale": True}
    second = box.start()
    assert second.pid != first.pid
    assert json.loads((box.world.state / "proxy.json").read_bytes())["pid"] == second.pid


def test_stop_cleans_up_after_a_killed_proxy(box: Box) -> None:
    os.kill(box.start().pid, signal.SIGKILL)
    until(lambda: not look(box.directory).held, "it is gone")
    assert box.world.kmi("proxy", "stop").returncode == 0
    assert not (box.world.state / "proxy.json").exists()


@pytest.mark.parametrize(
    "host, shown", [("::1", "[::1]"), ("[::1]", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("a", "a")]
)
def test_a_host_before_a_port(host: str, shown: str) -> None:
    assert bracketed(host) == shown


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """A web server of somebody else's: its process and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        code = "import http.server as h, socket, sys; s = h.HTTPServer(('', 0), "
        code += "h.SimpleHTTPRequestHandler, False); "
        code += "s.socket = socket.socket(fileno=int(sys.argv[1])); s.serve_forever()"
        fd = listening.fileno()
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(fd)],
            pass_fds=[fd],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        until(lambda: probe("127.0.0.1", port) == "other", "it answers")
        yield other.pid, port
        assert other.poll() is None, "it was ended"
    finally:
        other.kill()
        other.wait()


@linux
def test_a_port_of_another_program_is_its_own(box: Box, listener: tuple[int, int]) -> None:
    pid, port = listener
    box.world.env["KMI_PROXY_LISTEN"] = f"127.0.0.1:{port}"
    done = box.world.kmi("proxy")
    assert done.returncode == 1
    assert f"process {pid} (python" in done.stderr
    assert "KMI_PROXY_LISTEN" in done.stderr
    assert box.instance is None
    assert box.world.document("proxy", code=1)["error"]["code"] == "port-in-use"
    assert box.audits() == [("proxy start", "denied")] * 2
    assert probe("127.0.0.1", port) == "other"


def test_who_listens(listener: tuple[int, int]) -> None:
    pid, port = listener
    if sys.platform == "linux":
        assert port_holder(port).startswith(f"process {pid} (")
    with socket.create_server(("127.0.0.1", 0)) as free:
        unused = free.getsockname()[1]
    assert port_holder(unused) == ""
    assert probe("127.0.0.1", unused) == ""


def test_the_port_of_another_proxy_of_kmi(box: Box) -> None:
    first = box.start()
    other = {"KMI_STATE_DIR": f"{box.directory}-2", "KMI_PROXY_LISTEN": f"127.0.0.1:{first.port}"}
    done = box.world.kmi("proxy", env=other)
    assert done.returncode == 1
    assert "a kmi proxy of another state directory" in done.stderr
    assert box.instance == first


def test_a_proxy_that_dies_at_its_start_is_told(box: Box) -> None:
    write_private(box.world.state / "proxy.token", "short")
    done = box.world.kmi("proxy")
    assert done.returncode == 78
    assert "rm " in done.stderr
    (box.world.state / "proxy.token").unlink()
    write_private(box.world.state / "patterns.toml", "= nonsense")
    done = box.world.kmi("proxy")
    assert done.returncode not in {0, 70}, done
    assert "patterns.toml" in done.stderr
    assert not look(box.directory).held


def test_without_a_key_there_is_nothing_to_start(box: Box) -> None:
    for path in box.world.auths.iterdir():
        path.unlink()
    done = box.world.kmi("proxy")
    assert done.returncode == 78
    assert "kmi keys add" in done.stderr


def test_a_dry_run_starts_nothing(box: Box) -> None:
    done = box.world.kmi("proxy", env={"KMI_DRY_RUN": "1"})
    assert done.returncode == 0
    assert "would start" in done.stderr
    foreground = box.world.kmi("proxy", "--foreground", env={"KMI_DRY_RUN": "1"})
    assert foreground.returncode == 0
    assert not box.world.state.exists()
    first = box.start()
    assert box.world.kmi("proxy", "stop", env={"KMI_DRY_RUN": "1"}).returncode == 0
    assert box.instance == first


# Ending.


def test_stopping(box: Box) -> None:
    first = box.start()
    done = box.world.kmi("proxy", "stop")
    assert done.returncode == 0
    assert "has ended" in done.stderr
    assert not look(box.directory).held
    assert not (box.world.state / "proxy.json").exists()
    assert probe("127.0.0.1", first.port) == ""
    again = box.world.kmi("proxy-stop")
    assert (again.returncode, again.stdout) == (0, "")
    assert "no proxy runs" in again.stderr
    assert box.audits()[1:] == [("proxy stop", "changed"), ("proxy-stop", "unchanged")]


class Asking(threading.Thread):
    """A chat through the proxy that takes its time."""

    def __init__(self, box: Box, instance: Instance, latency_s: float) -> None:
        super().__init__(daemon=True)
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.error: OSError | None = None
        self._box = box
        self._instance = instance
        for label in ("alpha", "beta"):
            box.api.set(secret_of(label), Behaviour(latency_s=latency_s))
        box.api.clear()
        self.start()
        until(lambda: box.api.find("/chat/completions"), "the request is upstream")

    def run(self) -> None:
        try:
            self.answer = self._box.request(self._instance)
        except OSError as error:
            self.error = error


def test_stopping_lets_requests_end(box: Box) -> None:
    asking = Asking(box, box.start(), 1.5)
    done = box.world.kmi("proxy", "stop")
    assert done.returncode == 0
    assert "still served: 1" in done.stderr
    asking.join(LIMIT_S)
    assert asking.answer is not None
    assert asking.answer[0] == 200
    assert b"Hello" in asking.answer[2]


def test_a_proxy_without_runs_says_once_that_it_ends(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_RUN_S", 0.5)
    box.world.env["KMI_USAGE_CACHE_SECONDS"] = "0"
    app = App(box.world.env, Screen(box.world.env), "proxy")
    app.store.prepare()
    token = load_token(app)
    events: list[Mapping[str, object]] = []
    connections: list[socket.socket] = []
    box.api.set(secret_of("alpha"), Behaviour(latency_s=3.5))
    options = server.ServeOptions("127.0.0.1", 0, "/v1", token, True, events.append, drain_s=2.5)

    def ready(host: str, port: int) -> None:
        connection = socket.create_connection((host, port), LIMIT_S)
        connections.append(connection)
        body = b'{"model": "kimi-for-coding", "messages": []}'
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
            + b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n" % token.encode()
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )

    server.serve(app, options, ready)
    for connection in connections:
        connection.close()
    assert [event["requests"] for event in events if event["event"] == "proxy-draining"] == [1]
    assert [event["event"] for event in events].count("proxy-unused") == 1


def test_force_cuts_requests_off(box: Box) -> None:
    asking = Asking(box, box.start(), 50.0)
    done = box.world.kmi("proxy", "stop", "--force")
    assert done.returncode == 0
    assert "cut off" in done.stderr
    asking.join(LIMIT_S)
    assert asking.error is not None
    assert not look(box.directory).held
    assert not (box.world.state / "proxy.json").exists()


def test_only_the_proxy_itself_is_ever_signalled(box: Box) -> None:
    first = box.start()
    with subprocess.Popen(["/bin/sleep", "60"]) as bystander:
        wrong = first._replace(pid=bystander.pid, started_ticks=start_mark(bystander.pid))
        assert not lifecycle._tell(wrong, box.directory, signal.SIGKILL)
        assert not lifecycle._kill(wrong, box.directory, signal.SIGKILL)
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: not look(box.directory).held, "it is gone")
        # Its number is somebody else's by now, and the record is still there.
        record = json.loads((box.world.state / "proxy.json").read_bytes())
        record.update(pid=bystander.pid, started_ticks=start_mark(bystander.pid))
        write_private(box.world.state / "proxy.json", json.dumps(record))
        assert box.world.kmi("proxy", "stop", "--force").returncode == 0
        assert bystander.poll() is None
        bystander.kill()


def test_restarting(box: Box) -> None:
    first = box.start()
    done = box.world.kmi("proxy", "restart", env={"KMI_PROXY_BASE_PATH": "/other/v1"})
    second = box.instance
    assert done.returncode == 0, done
    assert second is not None
    assert second.pid != first.pid
    assert done.stdout.strip() == second.base_url
    assert second.base_url.endswith("/other/v1")
    assert box.audits()[1:] == [("proxy restart", "changed")]
    assert box.world.kmi("proxy-stop").returncode == 0
    assert box.world.kmi("proxy-restart").returncode == 0
    assert box.instance is not None


def test_a_restart_that_could_not_start_leaves_the_old_one(box: Box) -> None:
    first = box.start()
    assert box.world.kmi("proxy", "restart", env={"KMI_PROXY_LISTEN": "0.0.0.0:1"}).returncode == 78
    assert box.instance == first


# In the foreground.


@pytest.fixture
def foreground(box: Box) -> Iterator[subprocess.Popen[str]]:
    """`kmi proxy --foreground`, which listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "kmi", "proxy", "--foreground"],
        cwd=box.world.cwd,
        env=box.world.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_the_foreground(box: Box, foreground: subprocess.Popen[str]) -> None:
    assert foreground.stdout is not None
    address = foreground.stdout.readline().strip()
    instance = box.instance
    assert instance is not None
    assert (instance.base_url, instance.pid, instance.how) == (
        *(address, foreground.pid),
        "foreground",
    )
    assert box.request(instance)[0] == 200
    second = box.world.kmi("proxy", "--foreground")
    assert second.returncode == 1
    assert "runs already" in second.stderr
    foreground.send_signal(signal.SIGINT)
    _, log = foreground.communicate(timeout=LIMIT_S)
    assert foreground.returncode == 0
    assert "info proxy-started" in log
    assert "info proxy-stopped" in log
    assert not look(box.directory).held
    assert box.audits() == [("proxy start", "changed"), ("proxy start", "denied")]


def test_stop_ends_one_in_the_foreground_too(box: Box, foreground: subprocess.Popen[str]) -> None:
    assert foreground.stdout is not None
    assert foreground.stdout.readline()
    assert box.world.kmi("proxy", "stop").returncode == 0
    assert foreground.wait(LIMIT_S) == 0


# What it says of itself.


def normal(box: Box, document: object) -> Any:
    """A document without what differs from run to run."""
    text = json.dumps(document).replace(str(box.world.root), "ROOT")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r'"(pid|port)": \d+', r'"\1": 0', text)
    return json.loads(re.sub(r'"version": "[^"]*"', '"version": "VERSION"', text))


@pytest.mark.parametrize("name", ["start", "status", "stop"])
def test_documents(box: Box, name: str) -> None:
    if name != "start":
        box.start()
    found = normal(box, box.world.document("proxy", name))
    path = GOLDEN / f"proxy-{name}.json"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(path.read_text())


def test_the_status_for_people(box: Box) -> None:
    assert box.world.kmi("proxy", "status").returncode == 1
    instance = box.start()
    # `kmi status` has it, too.
    assert f"the proxy runs at {instance.base_url} " in box.world.kmi("status").stdout
    where = {"running": True, "address": instance.base_url, "pid": instance.pid}
    assert box.world.document("status")["proxy"] == where
    done = box.world.kmi("proxy", "status")
    assert done.returncode == 0
    assert re.search(rf"^address +{re.escape(instance.base_url)}$", done.stdout, re.MULTILINE)
    assert re.search(r"^answers +yes$", done.stdout, re.MULTILINE)
    assert box.token not in said(done)


def test_russian(box: Box) -> None:
    done = box.world.kmi("proxy", env={"KMI_LOCALE": "ru"})
    assert "прокси отвечает" in done.stderr
    assert "прокси завершён" in box.world.kmi("proxy", "stop", env={"KMI_LOCALE": "ru"}).stderr


def test_logs(box: Box) -> None:
    box.start()
    box.world.kmi("proxy", "stop")
    raw = box.world.kmi("proxy-logs", "--no-follow", env={"KMI_TIMEZONE": "UTC"})
    assert raw.returncode == 0
    assert re.fullmatch(r"(20\d\d-\d\d-\d\d \d\d:\d\d:\d\d info [a-z-]+.*\n)+", raw.stdout), (
        raw.stdout
    )
    assert "starting kmi" in raw.stdout
    events = box.world.kmi("proxy-logs", "--no-follow", "--app").stdout
    assert "info proxy-started address=127.0.0.1:" in events
    assert "starting kmi" not in events
    last = box.world.kmi("proxy-logs", "--no-follow", "--app", "--lines", "1").stdout
    assert last == events.splitlines(keepends=True)[-1]
    assert box.world.kmi("proxy-logs", "--no-follow", "--lines", "x").returncode == 2
    assert box.world.kmi("proxy-logs", "--no-follow", "--since", "10").returncode == 2


@pytest.mark.parametrize("error", [OSError(28, "full"), TryLaterError("its lock is held")])
def test_a_log_that_can_not_be_written_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app = App(world.env, Screen(world.env), "proxy")
    app.store.prepare()
    log = Log(app, background=True)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(journal, "append", refuse)
    log({"event": "proxy-started"})


def test_logs_since(box: Box) -> None:
    old = b"2020-01-01T00:00:00.000Z info old\n  and its second line\n"
    write_private(box.world.state / "logs" / "proxy.log", old)
    box.world.state.chmod(0o700)
    everything = box.world.kmi("proxy-logs", "--no-follow", "--since", "9999d").stdout
    assert everything.endswith("info old\n  and its second line\n")
    assert box.world.kmi("proxy-logs", "--no-follow", "--since", "1d").stdout == ""
    box.start()
    young = box.world.kmi("proxy-logs", "--no-follow", "--since", "1d").stdout
    assert "proxy-started" in young
    assert "second" not in young


def test_logs_harm_no_terminal(box: Box) -> None:
    hostile = "2020-01-01T00:00:00.000Z info \x1b]0;x\x07 \u202e\n"
    write_private(box.world.state / "logs" / "proxy.log", hostile)
    done = box.world.kmi("proxy-logs", "--no-follow")
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\\x1b]0;x" in done.stdout


def test_logs_follow(box: Box) -> None:
    box.world.state.mkdir(mode=0o700)
    with subprocess.Popen(
        [sys.executable, "-m", "kmi", "proxy-logs", "--app"],
        cwd=box.world.cwd,
        env=box.world.environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        try:
            box.start()
            assert follower.stdout is not None
            line = follower.stdout.readline()
            assert "proxy-started" in line
            follower.send_signal(signal.SIGINT)
            assert follower.wait(LIMIT_S) == 130
        finally:
            follower.kill()


def test_a_large_log_is_rotated_at_the_start(box: Box) -> None:
    line = b"2020-01-01T00:00:00.000Z info x\n"
    path = write_private(box.world.state / "logs" / "proxy.log", line * (2**20 // len(line)))
    box.world.state.chmod(0o700)
    box.world.env.update(KMI_LOG_MAX_MB="1", KMI_LOG_BACKUPS="1")
    box.start()
    assert path.stat().st_size < 4096
    assert Path(f"{path}.1").stat().st_size > 2**20 - 100
    assert b"proxy-started" in path.read_bytes()


# Who may listen for others.

TOKEN = "t" * 32
ALL = {"proxy_allow_remote": True, "proxy_token": TOKEN, "proxy_tls_terminated": True}
OPEN = {"proxy_allow_remote": True, "proxy_token": TOKEN, "proxy_require_tls": False}


@pytest.mark.parametrize("given", [ALL, OPEN])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "example.org"])
def test_a_remote_listener_needs_all_of_it(host: str, given: dict[str, Any]) -> None:
    settings = Settings(proxy_listen=(host, 54123), **given)
    check_listen(settings)
    missing: dict[str, tuple[str, Any]] = {
        "proxy_allow_remote": ("KMI_PROXY_ALLOW_REMOTE=1", False),
        "proxy_token": ("KMI_PROXY_TOKEN", ""),
        "proxy_tls_terminated": ("KMI_PROXY_TLS_TERMINATED=1", False),
        "proxy_require_tls": ("KMI_PROXY_REQUIRE_TLS=0", True),
    }
    for name in given:
        word, value = missing[name]
        changed: dict[str, Any] = {name: value}
        without = replace(settings, **changed)
        with pytest.raises(ConfigError) as refused:
            check_listen(without)
        assert word in refused.value.message
        assert TOKEN not in refused.value.message
        others = [other for key, (other, _) in missing.items() if key in given and key != name]
        assert not any(other in refused.value.message for other in others)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]"])
def test_loopback_needs_nothing(host: str) -> None:
    check_listen(Settings(proxy_listen=(host, 1)))


def test_a_remote_listener_is_refused_before_anything_is_made(box: Box) -> None:
    for words in (["proxy"], ["proxy", "--foreground"]):
        done = box.world.kmi(*words, env={"KMI_PROXY_LISTEN": "0.0.0.0:54123"})
        assert done.returncode == 78
        assert "KMI_PROXY_ALLOW_REMOTE=1" in done.stderr
        assert not (box.world.state / "proxy.token").exists()


# The token.


def test_the_token_is_made_once(box: Box) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: box.world.kmi("proxy"), range(4)))
    first = box.token
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", first)
    assert mode(box.world.state / "proxy.token") == 0o600
    instance = box.instance
    assert instance is not None
    assert box.request(instance)[0] == 200
    assert box.request(instance, token="wrong" * 9)[0] == 401
    box.world.kmi("proxy", "restart")
    assert box.token == first


def test_a_token_of_the_settings_is_used(box: Box) -> None:
    box.world.env["KMI_PROXY_TOKEN"] = TOKEN
    done = box.world.kmi("proxy")
    assert "KMI_PROXY_TOKEN (environment)" in done.stderr
    assert TOKEN not in said(done)
    instance = box.instance
    assert instance is not None
    assert box.request(instance, token=TOKEN)[0] == 200
    assert not (box.world.state / "proxy.token").exists()


def test_a_token_that_others_could_read(box: Box) -> None:
    path = write_private(box.world.state / "proxy.token", f"{TOKEN}\n", 0o644)
    refused = box.world.kmi("proxy", env={"KMI_ENFORCE_FILE_PERMS": "0"})
    assert refused.returncode == 77
    assert mode(path) == 0o644
    done = box.world.kmi("proxy")
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert mode(path) == 0o600


def test_a_token_behind_a_link_is_refused(box: Box) -> None:
    target = write_private(box.world.home / "elsewhere", f"{TOKEN}\n")
    box.world.state.mkdir(mode=0o700)
    (box.world.state / "proxy.token").symlink_to(target)
    assert box.world.kmi("proxy").returncode == 77
    assert target.read_text() == f"{TOKEN}\n"


@pytest.mark.parametrize("content", [None, "damaged\n"])
def test_looking_and_ending_need_no_token(box: Box, content: str | None) -> None:
    box.start()
    path = box.world.state / "proxy.token"
    path.unlink()
    if content is not None:
        write_private(path, content)
    status = box.world.document("proxy", "status")
    assert (status["answers"], status["in_flight"]) == (True, None)
    done = box.world.kmi("proxy", "stop")
    assert done.returncode == 0, done
    assert not look(box.directory).held
    assert (path.read_text() if path.exists() else None) == content


# The record.


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"schema":1}', b'{"schema":1,"pid":"1"}', b"[" * 50000]
)
def test_a_record_that_can_not_be_read(world: World, content: bytes) -> None:
    write_private(world.state / "proxy.json", content)
    assert look(str(world.state)).instance is None


def test_a_newer_record_is_not_touched(box: Box) -> None:
    path = write_private(box.world.state / "proxy.json", b'{"schema":2,"pid":1}')
    done = box.world.kmi("proxy")
    assert done.returncode == 78
    assert "schema 2" in done.stderr
    assert path.read_bytes() == b'{"schema":2,"pid":1}'
    path.unlink()
