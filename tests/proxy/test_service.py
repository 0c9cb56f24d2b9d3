"""`kmi service`: the files for service managers, and what is done with them."""

from __future__ import annotations

import os
import plistlib
import select
import shutil
import socket
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from kmi.proxy.instance import look
from kmi.proxy.notify import READY, notify
from kmi.service_units import MANAGERS, Service, _windows_word, marked, origin, unit_text
from tests.conftest import secret_of, write_private
from tests.proxy.box import LIMIT_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World
    from tests.proxy.box import Box

TOKEN = "t" * 40
ODD = 'a "b" %h $HOME \\ \u043a\u043b\u044e\u0447'
SERVICE = Service(
    command=["/opt/my python/python", "/opt/kmi", "proxy", "start", "--foreground", "--service"],
    environment={"KMI_STATE_DIR": "/home/me/of kmi", "KMI_AUDIT_ACTOR": ODD},
    state_dir="/home/me/of kmi",
)


@pytest.fixture
def unit(world: World) -> Path:
    """Where the file of systemd belongs."""
    world.add_key("alpha")
    return world.home / ".config" / "systemd" / "user" / "kmi-proxy.service"


def lines(text: str) -> dict[str, list[str]]:
    """The settings of a unit file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


# Texts.


def test_systemd() -> None:
    found = lines(unit_text("systemd", SERVICE))
    assert found["ExecStart"] == [
        '"/opt/my python/python" /opt/kmi proxy start --foreground --service'
    ]
    assert found["Type"] == ["notify"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert found["ReadWritePaths"] == ['"/home/me/of kmi"']
    assert '"KMI_STATE_DIR=/home/me/of kmi"' in found["Environment"]
    hardened = {
        *("NoNewPrivileges", "LockPersonality", "RestrictAddressFamilies", "SystemCallFilter"),
        *("UMask", "LimitCORE", "ProtectSystem", "PrivateTmp", "MemoryDenyWriteExecute"),
    }
    assert hardened <= set(found)


def test_the_light_sandbox_needs_no_namespaces() -> None:
    found = lines(unit_text("systemd", SERVICE._replace(sandbox="light")))
    assert "NoNewPrivileges" in found
    assert not {"ProtectSystem", "PrivateTmp", "ReadWritePaths"} & set(found)


def test_systemd_takes_words_as_they_are(tmp_path: Path) -> None:
    """Unquoted by the rules of systemd.syntax(7), they are the words again."""
    found = lines(unit_text("systemd", SERVICE._replace(command=["/bin/x", ODD])))
    assert found["ExecStart"] == ['/bin/x "a \\"b\\" %%h $$HOME \\\\ \u043a\u043b\u044e\u0447"']
    assert (
        '"KMI_AUDIT_ACTOR=a \\"b\\" %%h $HOME \\\\ \u043a\u043b\u044e\u0447"'
        in found["Environment"]
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
@pytest.mark.parametrize("sandbox", ["full", "light"])
def test_systemd_understands_it(tmp_path: Path, sandbox: str) -> None:
    service = SERVICE._replace(
        command=[sys.executable, "/opt/kmi", "proxy"], state_dir=str(tmp_path), sandbox=sandbox
    )
    path = write_private(tmp_path / "kmi-proxy.service", unit_text("systemd", service))
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", str(path)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip("systemd-analyze can't work here")
    # A message about this very file is a mistake in it, whatever the exit code.
    assert "kmi-proxy.service" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_launchd() -> None:
    table = plistlib.loads(unit_text("launchd", SERVICE).encode())
    assert table["Label"] == "kmi.proxy"
    assert table["ProgramArguments"] == SERVICE.command
    assert table["EnvironmentVariables"] == SERVICE.environment
    assert table["RunAtLoad"] is True
    assert table["KeepAlive"] == {"SuccessfulExit": False}
    assert table["HardResourceLimits"] == {"Core": 0}


def test_windows() -> None:
    text = unit_text("windows", SERVICE._replace(command=["C:\\my <py>\\python.exe", "a b", "c"]))
    task = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    root = ET.fromstring(text)
    assert root.tag == f"{task}Task"
    assert [item.text for item in root.iter(f"{task}Command")] == ["C:\\my <py>\\python.exe"]
    assert [item.text for item in root.iter(f"{task}Arguments")] == ['"a b" c']


@pytest.mark.parametrize(
    "word", ["plain", "a b", 'a "b"', "a\\b", "a b\\", 'a\\"b', "", 'a\\\\"\\\\ b\\\\']
)
def test_words_of_windows(word: str) -> None:
    assert subprocess.list2cmdline([word]) == _windows_word(word)


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("text", ["a\nExecStartPre=/bin/evil", "a\0b", "\x1b[2J"])
def test_nothing_can_break_out_of_its_line(manager: str, text: str) -> None:
    for service in (
        SERVICE._replace(environment={"KMI_AUDIT_ACTOR": text}),
        SERVICE._replace(state_dir=text),
        SERVICE._replace(command=["/bin/x", text]),
    ):
        with pytest.raises(ValueError, match="can't hold"):
            unit_text(manager, service)


@pytest.mark.parametrize("manager", MANAGERS)
def test_whose_a_file_is(manager: str) -> None:
    text = unit_text(manager, SERVICE)
    assert origin(text) == "kmi"
    assert origin(text + "\n") == "changed"
    assert origin(text.replace("proxy", "proxi")) == "changed"
    assert origin(text.replace("written by kmi", "written by me")) == "foreign"
    assert origin("") == "foreign"
    assert origin(marked("anything\n")) == "kmi"


# The command.


def test_print_writes_nothing(world: World) -> None:
    world.add_key("alpha")
    before = world.snapshot()
    for manager in MANAGERS:
        done = world.kmi("service", "print", manager)
        assert done.returncode == 0, done
        assert origin(done.stdout) == "kmi"
    assert world.snapshot() == before


def test_no_secret_is_in_a_file(world: World) -> None:
    world.add_key("alpha")
    world.env.update(KMI_PROXY_TOKEN=TOKEN, KMI_DRY_RUN="0", KMI_STRATEGY="round-robin")
    world.env["KIMI_API_KEY"] = secret_of("other")
    for manager in MANAGERS:
        done = world.kmi("service", "print", manager)
        assert TOKEN not in done.stdout + done.stderr
        assert secret_of("other") not in done.stdout
        assert "KMI_PROXY_TOKEN" in done.stderr
        assert str(world.env_file) in done.stderr
    text = world.kmi("service", "print", "systemd").stdout
    assert "Environment=KMI_STRATEGY=round-robin" in text
    assert f"Environment=KMI_STATE_DIR={world.state}" in text
    assert "KMI_DRY_RUN" not in text


def test_install_and_uninstall(world: World, unit: Path) -> None:
    done = world.kmi("service", "install", "systemd")
    assert done.returncode == 0
    assert stat.S_IMODE(unit.stat().st_mode) == 0o600
    assert str(unit) in done.stderr
    assert "systemctl --user enable --now kmi-proxy.service" in done.stderr
    before = unit.stat().st_mtime_ns
    assert world.kmi("service", "install", "systemd").returncode == 0
    assert unit.stat().st_mtime_ns == before
    off = world.kmi("service", "uninstall", "systemd")
    assert off.returncode == 0
    assert "systemctl --user disable --now kmi-proxy.service" in off.stderr
    assert not unit.exists()
    assert world.kmi("service", "uninstall", "systemd").returncode == 0
    outcomes = [(r["command"], r["outcome"]) for r in world.records("audit.jsonl")]
    assert outcomes == [
        ("service install", "changed"),
        ("service install", "unchanged"),
        ("service uninstall", "changed"),
        ("service uninstall", "unchanged"),
    ]


def test_programs_are_told_when_nothing_is_installed(world: World, unit: Path) -> None:
    nothing = {"schema": 1, "path": str(unit), "changed": False, "commands": []}
    assert world.document("service", "uninstall", "systemd") == nothing
    write_private(unit, "")
    gone = world.document("service", "uninstall", "systemd", "--force")
    assert gone == {**nothing, "changed": True}
    assert not unit.exists()


def test_a_file_of_an_older_kmi_is_replaced(world: World, unit: Path) -> None:
    write_private(unit, marked("[Service]\nExecStart=/bin/old\n"))
    assert world.kmi("service", "install", "systemd").returncode == 0
    assert "proxy start --foreground" in unit.read_text()


@pytest.mark.parametrize(
    "text", ["[Service]\nExecStart=/bin/mine\n", marked("[Service]\n") + "# my change\n"]
)
def test_what_a_person_wrote_stays(world: World, unit: Path, text: str) -> None:
    write_private(unit, text)
    for action in ("install", "uninstall"):
        done = world.kmi("service", action, "systemd")
        assert done.returncode == 77
        assert str(unit) in done.stderr
        assert unit.read_text() == text
    assert [r["outcome"] for r in world.records("audit.jsonl")] == ["denied", "denied"]
    assert world.kmi("service", "install", "systemd", "--force").returncode == 0
    assert origin(unit.read_text()) == "kmi"


def test_a_link_is_not_followed(world: World, unit: Path) -> None:
    target = write_private(world.home / "elsewhere", "mine")
    unit.parent.mkdir(parents=True)
    unit.symlink_to(target)
    assert world.kmi("service", "install", "systemd").returncode == 77
    assert target.read_text() == "mine"


def test_a_dry_run_writes_nothing(world: World, unit: Path) -> None:
    done = world.kmi("service", "install", "systemd", env={"KMI_DRY_RUN": "1"})
    assert done.returncode == 0
    assert not unit.exists()
    assert not world.state.exists()


SYSTEMCTL = 'echo "$@" >>calls; echo "it said: no bus" >&2; exit ${FAIL:-0}'


def test_now_calls_the_manager(world: World, unit: Path) -> None:
    world.script("systemctl", SYSTEMCTL)
    calls = world.cwd / "calls"
    assert world.kmi("service", "install", "systemd", "--now").returncode == 0
    assert calls.read_text() == "--user daemon-reload\n--user enable --now kmi-proxy.service\n"
    calls.unlink()
    assert world.kmi("service", "uninstall", "systemd", "--now").returncode == 0
    assert calls.read_text() == "--user disable --now kmi-proxy.service\n"
    assert not unit.exists()


def test_a_manager_that_fails_is_told(world: World, unit: Path) -> None:
    world.script("systemctl", SYSTEMCTL)
    done = world.kmi("service", "install", "systemd", "--now", env={"FAIL": "3"})
    assert done.returncode == 1
    assert "it said: no bus" in done.stderr
    assert unit.exists()
    assert [r["outcome"] for r in world.records("audit.jsonl")] == ["changed"]


def test_a_remote_listener_without_its_guards_is_not_installed(world: World, unit: Path) -> None:
    done = world.kmi("service", "install", "systemd", env={"KMI_PROXY_LISTEN": "0.0.0.0:80"})
    assert done.returncode == 78
    assert not unit.exists()


def test_programs_that_give_keys_get_a_light_sandbox(world: World, unit: Path) -> None:
    write_private(world.auths / "vault.env", "KMI_API_KEY_COMMAND=pass show kimi\n")
    done = world.kmi("service", "print", "systemd")
    assert "vault" in done.stderr
    assert "ProtectSystem" not in done.stdout
    assert f"Environment=PATH={world.env['PATH']}" in done.stdout


def test_documents(world: World, unit: Path) -> None:
    document = world.document("service", "install", "systemd")
    assert document == {
        "schema": 1,
        "path": str(unit),
        "changed": True,
        "commands": [
            "systemctl --user daemon-reload",
            "systemctl --user enable --now kmi-proxy.service",
        ],
    }


# The process that a manager starts.


def test_notify(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        assert notify({"NOTIFY_SOCKET": path}, READY, "STATUS=x")
        assert manager.recv(100) == b"READY=1\nSTATUS=x"
    assert not notify({"NOTIFY_SOCKET": path}, READY)
    assert not notify({}, READY)
    assert not notify({"NOTIFY_SOCKET": "relative"}, READY)


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux'")
def test_notify_in_the_abstract_namespace() -> None:
    name = f"kmi-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        assert notify({"NOTIFY_SOCKET": f"@{name}"}, READY)
        assert manager.recv(100) == b"READY=1"


def readable(listening: socket.socket) -> bool:
    return bool(select.select([listening], [], [], 0)[0])


def test_the_service_tells_its_manager(box: Box) -> None:
    path = str(box.world.root / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        with subprocess.Popen(
            [sys.executable, "-m", "kmi", "proxy", "start", "--foreground", "--service"],
            cwd=box.world.cwd,
            env=box.world.environment({"NOTIFY_SOCKET": path}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as service:
            try:
                until(lambda: readable(manager) or service.poll() is not None, "it is ready")
                assert service.poll() is None
                assert manager.recv(100) == b"READY=1"
                instance = box.instance
                assert instance is not None
                assert (instance.pid, instance.how) == (service.pid, "service")
                assert box.request(instance)[0] == 200
                refused = box.world.kmi("proxy", "restart")
                assert refused.returncode == 1
                assert "systemctl --user restart kmi-proxy" in refused.stderr
                service.terminate()
                assert manager.recv(100) == b"STOPPING=1"
                out, _ = service.communicate(timeout=LIMIT_S)
                assert (service.returncode, out) == (0, "")
            finally:
                service.kill()
    until(lambda: not look(box.directory).held, "it is gone")
