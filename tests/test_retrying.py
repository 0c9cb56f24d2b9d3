"""`kmi run --retry`: once more on another key, and only where nobody has read anything yet."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kmi.demo.behaviours import OVERLOADED, QUOTA_CYCLE
from kmi.demo.fake_api import Behaviour, FakeKimi
from kmi.retrying import HELD_MAX, answers, failure_text, one_shot
from kmi.verdicts import classify_text
from tests.conftest import CLI, CODE, World, config_text, secret_of

if TYPE_CHECKING:
    from tests.conftest import Result

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the clients are shell scripts")

FAILURE = {
    CODE: f"error: failed to run prompt: provider.auth_error: 403 {QUOTA_CYCLE}",
    CLI: f"Error code: 403 - {{'error': {{'message': \"{QUOTA_CYCLE}\"}}}}",
}
#: A client that fails on alpha as the real one does, and answers on beta; each call is noted.
CLIENTS = {
    CODE: """\
echo "$KMI_RUN_ID" >> calls; echo "kimi version 2.1.0" >&2
if grep -q %(alpha)s ~/.kimi-code/config.toml; then
  %(before)s
  cat failure >&2; exit 1
fi
echo "answer of $KMI_ACTIVE_KEY"; exit 7
""",
    CLI: """\
echo "$KMI_RUN_ID" >> calls
if grep -q %(alpha)s "$2"; then
  %(before)s
  fold -w 80 failure; exit 1
fi
echo "answer of $KMI_ACTIVE_KEY"; exit 7
""",
}
WORDS = {CODE: ("kimi", "-p", "hi"), CLI: ("kimi", "--print", "-p", "hi")}


#: What a client does until it is ended; bounded, for no test may leave one behind.
A_WHILE = "i=0; while [ $i -lt 2000 ]; do sleep 0.05; i=$((i + 1)); done"


def prepare(world: World, client: str, *, before: str = ":", failure: str = "") -> None:
    """Two keys, the config with alpha, and the client."""
    world.env["KMI_CLIENT"] = client
    world.add_keys("alpha", "beta")
    world.config_with("alpha", client)
    (world.cwd / "failure").write_text(f"{failure or FAILURE[client]}\n")
    world.script("kimi", CLIENTS[client] % {"alpha": secret_of("alpha"), "before": before})


def retried(world: World, client: str, *options: str) -> Result:
    return world.kmi("run", "--retry", *options, "--", *WORDS[client])


def calls(world: World) -> list[str]:
    return (world.cwd / "calls").read_text().split()


@pytest.mark.parametrize("client", [CODE, CLI])
def test_a_run_whose_key_is_spent_goes_on_with_the_next_one(world: World, client: str) -> None:
    begin = "printf \"hi\\nTurnBegin(user_input='hi')\\nStepBegin(n=1)\\n\""
    before = begin if client == CLI else ":"
    prepare(world, client, before=before)
    done = retried(world, client)
    assert (done.returncode, done.stdout) == (7, "answer of beta\n"), done
    assert "'alpha' failed (quota)" in done.stderr
    runs = world.records("runs.jsonl")
    assert [run["label"] for run in runs] == ["alpha", "beta"]
    assert [run["run"] for run in runs] == calls(world)
    keys = world.saved_state()["keys"].values()
    assert [key["label"] for key in keys if "hold" in key] == ["alpha"]
    (audit,) = world.records("audit.jsonl")
    assert (audit["command"], audit["after"]) == ("run", "beta")
    assert audit["learnt"] == {"alpha": ["unknown", "exhausted"]}


def test_what_the_second_run_asks_about_does_not_hide_why_there_was_one(world: World) -> None:
    with FakeKimi({secret_of(label): Behaviour() for label in ("alpha", "beta")}) as api:
        world.env.update(KMI_UPSTREAM_BASE_URL=api.base_url, KMI_USAGE_CACHE_SECONDS="600")
        prepare(world, CODE)
        assert world.kmi("keys", "check", "alpha").returncode == 0
        world.env.update(KMI_REQUIRE_USAGE_BEFORE_REQUEST="1", KMI_FAIL_OPEN_ON_EMPTY_CACHE="0")
        done = retried(world, CODE)
    assert (done.returncode, done.stdout) == (7, "answer of beta\n"), done
    learnt = world.records("audit.jsonl")[-1]["learnt"]
    assert learnt.pop("alpha") == ["healthy", "exhausted"]
    # Unless what the first run left to the background had asked about it before.
    assert learnt in ({}, {"beta": ["unknown", "healthy"]})


NOT_AGAIN = {
    "a part of an answer": ("echo 'a part'", "", 1),
    "a tool that was called": ("echo \"ToolCall(name='x')\"", "", 1),
    "a server at fault": (":", f"error: failed to run prompt: x.api_error: 503 {OVERLOADED}", 1),
    "words that say nothing": (":", "error: no such session", 1),
    "success": ("exit 0", "", 0),
    "a code of its own": ("exit 75", "", 75),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_AGAIN)
def test_what_is_not_tried_again_is_as_the_client_left_it(world: World, name: str) -> None:
    before, failure, code = NOT_AGAIN[name]
    prepare(world, CODE, before=before, failure=failure)
    done = retried(world, CODE)
    plain = world.kmi("run", "--", *WORDS[CODE])
    assert done.returncode == plain.returncode == code
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    assert len(calls(world)) == 2
    assert "hold" not in json.dumps(world.saved_state())


def test_when_no_key_is_left_the_failure_stands(world: World) -> None:
    prepare(world, CLI)
    (world.auths / "beta.env").unlink()
    done = retried(world, CLI)
    assert done.returncode == 1
    assert "Error code: 403" in done.stdout
    assert "not tried again" in done.stderr
    assert len(calls(world)) == 1
    assert len(world.records("audit.jsonl")) == 1


def test_when_the_system_refuses_the_second_run_the_failure_stands(world: World) -> None:
    """A private config can't be made any more; what the first one printed is not lost by that."""
    pins = world.state / "pins"
    prepare(world, CLI, before=f"rm -r {pins}; touch {pins}")
    done = retried(world, CLI, "--pin")
    assert (done.returncode, len(calls(world))) == (1, 1), done
    assert "Error code: 403" in done.stdout
    assert "not tried again: File exists" in done.stderr
    assert world.records("audit.jsonl")[-1]["learnt"] == {"alpha": ["unknown", "exhausted"]}


def test_when_nothing_can_be_saved_the_failure_stands(world: World) -> None:
    state = world.state / "state.json"
    prepare(world, CLI, before=f"rm {state}; mkdir {state}")
    done = retried(world, CLI)
    assert (done.returncode, len(calls(world))) == (1, 1), done
    assert "Error code: 403" in done.stdout
    assert "not tried again" in done.stderr


def test_what_can_not_be_tried_again_is_refused(world: World) -> None:
    prepare(world, CODE)
    for words in (
        ("--retry", "-k", "alpha", "--", *WORDS[CODE]),
        ("--retry", "--proxy", "--", *WORDS[CODE]),
        ("--retry", "--", "kimi"),
        ("--retry", "--", "true"),
    ):
        done = world.kmi("run", *words)
        assert done.returncode == 125, done
        assert "--retry" in done.stderr
    assert not (world.cwd / "calls").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_client_and_its_end_is_kmis(world: World, number: int) -> None:
    prepare(world, CODE)
    name = signal.Signals(number).name[3:]
    world.script("kimi", f"trap 'echo got {name} >&2; exit 42' {name}\n"
                         f"echo ready >&2; {A_WHILE}\n")  # fmt: skip
    argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
    with subprocess.Popen(
        argv, env=world.environment(), cwd=world.cwd, stderr=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == b"ready\n"
        running.send_signal(number)
        assert running.wait(60) == 42
        assert f"got {name}".encode() in running.stderr.read()


def test_a_client_that_a_signal_ended_ends_kmi_alike(world: World) -> None:
    prepare(world, CODE, before="kill -KILL $$")
    argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
    done = subprocess.run(argv, env=world.environment(), cwd=world.cwd, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_terminal_stays_the_clients(world: World) -> None:
    """Its stdin is the terminal, and Ctrl-C reaches it once."""
    prepare(world, CODE)
    world.script("kimi", "trap 'echo INT >> got; exit 130' INT\nread line; echo \"$line\" > said\n"
                         f"echo ready >&2; {A_WHILE}\n")  # fmt: skip
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(world.cwd)
        argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
        os.execve(sys.executable, argv, world.environment())
    os.write(master, b"typed\n")
    seen = b""
    while b"ready" not in seen:
        seen += os.read(master, 1024)
    os.write(master, b"\x03")
    status = os.waitpid(pid, 0)[1]
    os.close(master)
    assert os.WEXITSTATUS(status) == 130
    assert (world.cwd / "said").read_text() == "typed\n"
    assert (world.cwd / "got").read_text() == "INT\n"


def test_an_answer_is_passed_on_as_it_comes_and_a_reader_may_leave(world: World) -> None:
    prepare(world, CODE)
    world.script("kimi", "echo first; read go < fifo; echo second; exit 3\n")
    os.mkfifo(world.cwd / "fifo")
    argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
    with subprocess.Popen(
        argv, env=world.environment(), cwd=world.cwd, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"first\n", "it is there while the client goes on"
        running.stdout.close()
        (world.cwd / "fifo").write_text("go\n")
        assert running.wait(60) == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("code", [0, 3])
def test_an_answer_that_can_not_be_written_ends_as_the_client_does(world: World, code: int) -> None:
    prepare(world, CODE)
    world.script("kimi", f"echo first; sleep 0.2; echo second; echo late >&2; exit {code}\n")
    argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            argv,
            env=world.environment(),
            cwd=world.cwd,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert "the system refused" not in done.stderr.decode()
    assert done.returncode in {code, 128 + signal.SIGPIPE}


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_it_all(world: World) -> None:
    prepare(world, CODE)
    size = 1 << 20
    world.script("kimi", f"head -c {size} /dev/zero; exit 3\n")
    argv = [sys.executable, "-m", "kmi", "run", "--retry", "--", *WORDS[CODE]]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(
        argv, env=world.environment(), cwd=world.cwd, stdout=writing
    ) as running, open(reading, "rb") as pipe:  # fmt: skip
        os.close(writing)
        select.select([pipe], [], [])
        time.sleep(0.3)  # the pipe is full by now
        assert len(pipe.read()) == size
        assert running.wait(60) == 3


# Texts.


def test_what_counts_as_an_answer() -> None:
    assert not answers(CODE, b'{"role":"meta","type":"system.version","version":"2.1.0"}\n')
    assert not answers(CODE, b" \n")
    assert answers(CODE, b'{"role":"meta"}\n{"role":"assistant","content":"x"}\n')
    assert answers(CODE, "• fine".encode())
    assert not answers(CLI, b"what is ToolCall?\nTurnBegin(user_input='x')\nStepBegin(n=1)\n")
    assert answers(CLI, b"ThinkPart(think='x')\n")
    assert answers(CLI, b'{"role":"assistant","content":"x"}\n')
    assert answers(CLI, b"x" * (HELD_MAX + 1))


def test_kimi_clis_broken_lines_are_put_together() -> None:
    text = FAILURE[CLI]
    for width in (40, 80, 500):
        lines = "\n".join(text[at : at + width] for at in range(0, len(text), width))
        found = failure_text(CLI, f"hi\nStepBegin(n=1)\n{lines}\n".encode(), b"")
        assert found == text
        assert classify_text(found).name == "quota"
    assert failure_text(CLI, b"LLM not set\n", b"") == ""


def test_what_is_a_one_shot_run() -> None:
    assert one_shot(CODE, ["-p", "x"])
    assert one_shot(CODE, ["--prompt=x", "-c"])
    assert not one_shot(CODE, ["-c"])
    assert one_shot(CLI, ["--quiet", "-p", "x"])
    assert not one_shot(CLI, ["-p", "x"])
    assert not one_shot(CLI, ["--print"]), "it would read its prompt from stdin, which is gone then"


def test_the_config_is_the_shared_one_still(world: World) -> None:
    prepare(world, CODE)
    retried(world, CODE)
    assert world.config(CODE).read_text() == config_text(secret_of("beta"))
