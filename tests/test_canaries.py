"""Secrets that are planted everywhere show nowhere: on no screen, in no record, in no encoding.

Every command is run, over a home full of canaries; then everything that was said, and every file
that kmi owns, is searched for them. `tests/test_cli.py` looks at ordinary calls, `tests/proxy` at
what the proxy says.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.cli import COMMANDS
from kmi.demo.fake_api import Behaviour, FakeKimi, error_body
from kmi.error_texts import evidence
from kmi.masking import looks_like_key, mask_data, mask_keys
from kmi.redaction import Redactor, secrets_of, without
from kmi.store import record_line
from kmi.verdicts import classify
from tests.conftest import CLI, CODE, World, config_text, write_private
from tests.quickly import Forks
from tests.test_audit_completeness import CHANGING, LOOKING, on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Result

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")


def canary(name: str, start: str = "sk-kimi-") -> str:
    """A secret that no other text has a part of by chance."""
    import hashlib

    return start + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")


def shapes(secret: str) -> list[str]:
    """What must be seen nowhere: its end and its middle, in the forms that it can have."""
    data = secret.encode()
    found = [secret[-8:], secret[12:24], data.hex()[-16:], quote(secret, safe="")[-8:]]
    for skipped in range(3):
        whole = base64.b64encode(data[skipped:]).decode().rstrip("=")[:-2]
        found += [whole[-12:], whole[12:28]]
    return [*found, *(text.swapcase() for text in found[:2])]


def escaped(secret: str) -> str:
    """As a JSON document may have it."""
    return "".join(f"\\u{ord(char):04x}" if not char.isalnum() else char for char in secret)


#: Ways in which an upstream may repeat what it was sent, or a person may paste it.
ECHOES: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: f"bad header: Bearer {secret}",
    "bare": lambda secret: secret,
    "end": lambda secret: f"the key that ends in {secret[-20:]} is not known",
    "blanks": lambda secret: f"Authorization: Bearer {secret[:20]} {secret[20:40]}\n {secret[40:]}",
    "quotes": lambda secret: f"'{secret[:16]}' + '{secret[16:]}'",
    "middle": lambda secret: f"no such key ({secret[10:30]})",
    "url": lambda secret: f"/v1?key={quote('Bearer ' + secret, safe='')}",
    "base64": lambda secret: f"got {base64.b64encode(f'Bearer {secret}'.encode()).decode()}",
    "base64-1": lambda secret: f"got {base64.b64encode(b'x' + secret.encode()).decode()}",
    "base64-2": lambda secret: f"got {base64.b64encode(b'xy' + secret.encode()).decode()}",
    "hex": lambda secret: f"got {secret.encode().hex()}",
    "lower": lambda secret: secret.lower(),
    "control": lambda secret: f"{secret[:22]}\x1b[2J{secret[22:]}\u202e\u0085",
    "json": lambda secret: json.dumps({"got": secret}).replace("-", "\\u002d"),
}


@pytest.mark.parametrize("how", ECHOES)
@pytest.mark.parametrize("start", ["sk-kimi-", "sk-", "zz"])
def test_evidence_holds_no_secret_that_was_sent(how: str, start: str) -> None:
    secret = canary("sent", start)
    shown = evidence(ECHOES[how](secret), secret)
    assert [shape for shape in shapes(secret) if shape in shown] == []
    assert shown.isprintable()


def test_the_shapes_would_be_found() -> None:
    """The control: without redaction every echo shows, but for those that need no secret known."""
    secret = canary("sent")
    for how, echo in ECHOES.items():
        assert [shape for shape in shapes(secret) if shape in echo(secret)], how


@given(st.integers(0, 59), st.integers(8, 60), st.text(max_size=20), st.text(max_size=20))
def test_no_part_of_a_secret_is_left(start: int, length: int, before: str, after: str) -> None:
    secret = canary("any")
    part = secret[start : start + length]
    left = without(before + part + after, secret)
    known = secret[8:]
    assert not [at for at in range(len(known) - 7) if known[at : at + 8] in left]


@pytest.mark.parametrize("status", [None, 200, 307, 400, 401, 403, 429, 500])
def test_no_verdict_holds_the_secret_that_was_sent(status: int | None) -> None:
    secret = canary("sent", "zz")
    for echo in ECHOES.values():
        words = echo(secret)
        for body in (words, json.dumps(error_body(words, words)), f"data: {words}"):
            verdict = classify(status, body, secret=secret)
            assert [shape for shape in shapes(secret) if shape in verdict.text] == []


def test_ids_of_accounts_are_shortened() -> None:
    text = "org-1a2b3c4d5e6f and proj-99887766554433-x_y, ak-f0e1d2c3b4a5968778695a4b"
    assert evidence(text) == "org-1a2b… and proj-9988…, ak-f0e1…"


def test_words_that_are_no_keys_stay() -> None:
    redactor = Redactor()
    redactor.hide([canary("a"), canary("b")])
    for text in ("/home/me/desk-projects-2024/x", "task-force-alpha-0123456789", "sk-work",
                 "sk-learn-and-other-notes-of-mine", "a" * 200, "мой ключ"):  # fmt: skip
        assert redactor.data(text) == mask_data(text) == text
        assert not looks_like_key(text)
    assert mask_keys("'home-desk-projects' is stored") == "'home-desk-projects' is stored"
    for before in ("", "key=", "Bearer%20", "\\n", "x"):
        assert shapes(canary("a"))[0] not in mask_keys(before + canary("a"))
    for before in ("", "key=", "Bearer%20", "\\n"):
        assert shapes(canary("a"))[0] not in mask_data(before + canary("a"))


def test_a_short_secret_hides_as_a_whole_only() -> None:
    redactor = Redactor(lambda: secrets_of({"KIMI_API_KEY": "password"}))
    assert redactor.data("my password is") == "my … is"
    assert redactor.data("pass word") == "pass word"


@pytest.mark.parametrize(
    "secret",
    ["sk-hush1", "sk-hush12", "sk-hush1234", "hunter2-9", "hunter2-10aB", "hunter2-1234567"],
)
def test_a_short_secret_of_any_length_hides(secret: str) -> None:
    redactor = Redactor(lambda: secrets_of({"KIMI_API_KEY": secret}))
    assert redactor.data(f"{secret} is it") == "… is it"
    assert redactor.data(f"a=x {secret.upper()}, {secret}.") == "a=x …, …"
    assert redactor.data(f"not {secret[:-1]}") == f"not {secret[:-1]}"
    redactor.hide([canary("long")])
    assert redactor.data(f"{secret} {canary('long')} {secret}") == "… … …"


def test_a_short_secret_of_several_words_hides_to_its_end() -> None:
    redactor = Redactor(lambda: secrets_of({"KIMI_PASSWORD": "hush hush, you"}))
    redactor.hide(["hush hush"])
    assert redactor.data("it is hush hush, you know") == "it is … know"


def test_many_secrets_cost_no_more_than_their_text() -> None:
    redactor = Redactor()
    redactor.hide(canary(str(number)) for number in range(1000))
    assert redactor.data(f"x {canary('700')} y") == "x … y"
    assert redactor.data("nothing of it") == "nothing of it"


def test_records_are_one_line_each_and_hold_no_key() -> None:
    nasty = f"a\nb\x1b]0;c\x07\u202e\u0085\u2028{canary('x')}"
    line = record_line({"label": nasty, nasty: [nasty, {"deep": nasty}], "n": 1, "none": None})
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert line.rstrip(b"\n").decode().isprintable()
    assert canary("x")[-8:].encode() not in line
    assert json.loads(line)["n"] == 1


def test_what_is_shown_of_a_key_typed_by_mistake() -> None:
    secret = canary("typed")
    assert mask_keys(f"there is no key '{secret}'") == f"there is no key '…{secret[-4:]}'"
    for text in (escaped(secret), quote(secret).replace("-", "%2D")):
        assert shapes(secret)[0] not in mask_keys(text)


# Whole commands.

#: Where canaries are planted; each has a secret of its own.
PLACES = ("alpha", "beta", "gone", "delta", "fresh", "token", "variable", "typed", "stored", "argv",
          "broken", "label", "file", "code", "email", "other", "old")  # fmt: skip
#: Those that are not like a key at all.
ODD = {"token": "zt", "variable": "zv"}
SECRET = {place: canary(place, ODD.get(place, "sk-kimi-")) for place in PLACES}
#: Calls with a secret where it does not belong, in `ECHOES` of it.
MISTAKES = ("use {}", "keys add {}", "keys remove {} --yes", "keys disable {}", "keys reset {}",
            "keys check {}", "keys rename alpha {}", "keys add x --base-url {}", "bind {}",
            "undo --file {}", "run -k {} -- true", "run --strategy {} -- true", "run -- {}", "{}",
            "--{}", "allow {}", "deny {}", "clean --older-than {}", "proxy {}", "service {}",
            "health {}", "audit --key {}", "trace --since {}", "init {}", "completion {}",
            "config {}", "doctor {}", "rotate {}", "keys {}", "demo {}",
            "proxy-logs --lines {}", "backups {}", "plugin {}", "hook {}",
            "hook stop-failure --client {}", "simulate --workload {}")  # fmt: skip


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Where runs come from."""
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeKimi]:
    """An upstream that repeats what it was sent, in one way for each key."""
    ways = {"alpha": "blanks", "beta": "base64", "gone": "plain", "stored": "control"}
    keys = {}
    for place, how in ways.items():
        words = ECHOES[how](SECRET[place]) + " org-1a2b3c4d5e6f7a8b"
        status = 401 if place == "gone" else 429
        keys[SECRET[place]] = Behaviour(status=status, error=error_body(words, words),
                                        everywhere=place != "beta")  # fmt: skip
    with FakeKimi(keys) as api:
        yield api


@pytest.fixture
def nest(world: World, upstream: FakeKimi) -> Iterator[World]:
    """A home with a canary in every place."""
    on_loopback(world, upstream)
    world.env.update(
        KMI_PROXY_TOKEN=SECRET["token"] * 2,
        KIMI_WEB_SEARCH_API_KEY=SECRET["variable"],
        KIMI_API_KEY=SECRET["other"],
    )
    for label in ("alpha", "beta", "gone"):
        world.add_key(label, SECRET[label], ACCOUNT_EMAIL=f"{SECRET['email']}@x.y")
    auths = world.auths
    program = world.script("store", f"echo {SECRET['stored']}; exit $1\n")
    command = f"{program} %d {SECRET['argv']}"
    write_private(auths / "stored.toml", f"api_key_command = '{command % 0}'\n")
    write_private(auths / "failing.toml", f"api_key_command = '{command % 3}'\n")
    write_private(auths / "broken.toml", f"api_key = '{SECRET['broken']}'\nx = \n")
    write_private(auths / "odd.env", f"{SECRET['broken']}\nKMI_{SECRET['broken']}=1\n")
    write_private(auths / "deep.json", '{"api_key":' * 5_000)
    write_private(
        auths / "label.json", json.dumps({"api_key": canary("l1"), "label": SECRET["label"]})
    )
    write_private(auths / f"{SECRET['file']}.env", f"KMI_API_KEY={canary('l2')}\n")
    write_private(auths / "dark\x1b]0;x\x07\u202e\n.env", f"KMI_API_KEY={canary('l3')}\n")
    write_private(
        world.home / ".kimi/_auths/old.env",
        f"KMI_API_KEY={SECRET['old']}\nKMI_UPSTREAM_BASE_URL={upstream.base_url}\n",
    )
    world.write_config(CLI, config_text(SECRET["fresh"], base_url=upstream.base_url))
    world.write_config(CODE, config_text(SECRET["code"]) + f"\n[x]\ntoken = '{SECRET['code']}'\n")
    write_private(world.cwd / ".kmi.toml", f'keys = ["{SECRET["label"]}"]\n')
    yield world
    if (world.state / "proxy.json").exists():
        world.kmi("proxy", "stop", "--force")


def shown_in(text: str) -> list[str]:
    """Which canaries a text holds."""
    return [place for place, secret in SECRET.items() if any(s in text for s in shapes(secret))]


def check(done: Result, said: list[str]) -> None:
    """Nothing shows, nothing drives the terminal, and nothing is a bug."""
    text = done.stdout + done.stderr
    call = " ".join(done.args)
    assert done.returncode != 70, (call, text)
    assert "Traceback" not in done.stderr, (call, text)  # in stdout a log may have one
    assert shown_in(text) == [], (call, text)
    assert not re.search("[\x07\x80-\x9f\u202a-\u202e\u2066-\u2069]", text), (call, text)
    assert not re.search(r"\x1b[^\[]|\x1b\[[0-9;]*[^0-9;m]", text), (call, text)
    assert "org-1a2b3" not in text, (call, text)
    said.append(text)


def check_state(world: World) -> None:
    """No file of kmi's own holds a canary; copies of what was replaced are private."""
    for path in world.state.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(world.state).parts[0]
        if name in {"backups", "pins"}:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        assert shown_in(text) == [], (path, text)
        assert "org-1a2b3" not in text, path
        if path.suffix == ".jsonl":
            for line in text.splitlines():
                assert isinstance(json.loads(line), dict), path


CALLS = list(dict.fromkeys(
    [case.words for case in CHANGING.values()] + [words for words, _ in LOOKING.values()]
    + ["health --refresh", "keys check --chat", "use stored", "use failing", "run --pin -- true",
       "run --proxy -- true", "use alpha --dry-run", "rotate --dry-run", "undo --dry-run",
       "proxy --dry-run", "keys remove alpha", "keys import --dry-run", "undo"]
))  # fmt: skip
STARTING = {"proxy start", "proxy restart", "proxy-restart", "run --proxy -- true"}
MODES: dict[str, tuple[str, dict[str, str]]] = {
    "ordinary": (" -v", {}),
    "json": (" --json", {}),
    "russian": ("", {"KMI_LOCALE": "ru", "FORCE_COLOR": "1", "TERM": "xterm-256color"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_no_canary_shows_in_any_command(mode: str, nest: World, forks: Forks) -> None:
    more, env = MODES[mode]
    said: list[str] = []
    for words in CALLS:
        if mode != "ordinary" and words in STARTING:
            continue  # a proxy takes its time, and says the same in every mode
        running = words.split()[0] in {"run", "kimi"}
        call = words if running else words + more
        given = {**env, **({"KMI_AUTO_ROTATE_ALLOWED": "1"} if "auto" in words else {})}
        check(forks.run(nest, *call.split(), input=SECRET["delta"], env=given), said)
    assert sum(map(len, said)) > 10_000
    check_state(nest)
    assert nest.files_with(SECRET["stored"], nest.state) == []
    assert nest.files_with("alpha", nest.state), "the control: records do name keys"


@pytest.mark.parametrize("place", ["typed", "token", "variable", "alpha"])
def test_a_secret_typed_by_mistake_is_not_repeated(place: str, nest: World, forks: Forks) -> None:
    said: list[str] = []
    secret = SECRET[place]
    spelled = [secret] if place != "alpha" else [
        secret, quote(secret, safe="").replace("-", "%2D"), escaped(secret),
        base64.b64encode(secret.encode()).decode(),
    ]  # fmt: skip
    for number, words in enumerate(MISTAKES):
        text = spelled[number % len(spelled)]
        more = ["--json"] if number % 2 and not words.startswith("run") else []
        check(forks.run(nest, *(w.replace("{}", text) for w in words.split()), *more), said)
    assert len(said) == len(MISTAKES)
    check_state(nest)


def test_what_a_client_tells_its_hooks_is_kept_without_keys(nest: World, forks: Forks) -> None:
    """An error repeats the key in every way; the other fields have no business with one at all."""
    assert forks.run(nest, "use", "alpha").returncode == 0
    said: list[str] = []
    for how, echo in ECHOES.items():
        place = "typed" if how in {"plain", "quotes", "url"} else "alpha"
        words = f"403 {echo(SECRET[place])} usage limit for this period org-1a2b3c4d5e6f7a8b"
        event = {"session_id": f"s-{how}", "cwd": f"/x/{SECRET['typed']}", "source": "startup",
                 "error_type": echo(SECRET["typed"]), "error_message": words}  # fmt: skip
        for name in ("session-start", "stop-failure", "session-end"):
            wait = ("--wait",) if name == "stop-failure" else ()
            done = forks.run(nest, "hook", name, "--client", CLI, *wait, input=json.dumps(event),
                             env={"KMI_AUTO_ROTATE_ALLOWED": "1"})  # fmt: skip
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    failures = [r for r in nest.records("runs.jsonl") if r["event"] == "session_failure"]
    assert len(failures) == len(ECHOES), "the control: all of it was taken in"
    check_state(nest)
    for words in ("health", "status", "audit", "why", "keys --json"):
        check(forks.run(nest, *words.split()), said)


def test_a_check_knows_the_secrets_of_the_keys(nest: World, forks: Forks) -> None:
    """Also one that is like no key, where nobody would look for it."""
    secret = canary("odd", "zz")
    nest.add_key("odd", secret)
    for words in ("doctor", "config validate", "doctor --json"):
        done = forks.run(nest, *words.split(), env={f"KMI_{secret}": "1"})
        assert "setting" in done.stdout
        assert [shape for shape in shapes(secret) if shape in done.stdout + done.stderr] == []


def test_a_report_of_a_bug_holds_no_secret(nest: World) -> None:
    program = f"""
import sys, types
from kmi import cli
broken = types.ModuleType("kmi.commands.broken")
broken.configure = lambda parser: None
def run(args, app):
    secret = "{SECRET["typed"]}"
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise RuntimeError(f"Authorization: Bearer {{secret}}", [secret]) from error
broken.run = run
sys.modules["kmi.commands.broken"] = broken
cli.COMMANDS["broken"] = cli.Command("broken", "it has a bug", changes=True)
sys.exit(cli.main(["broken", *sys.argv[1:]]))
"""
    for more in ([], ["--json"], ["-v"]):
        done = nest.command([sys.executable, "-c", program, *more])
        assert done.returncode == 70, done
        assert "a bug: RuntimeError" in done.stderr
        assert shown_in(done.stdout + done.stderr) == []
    check_state(nest)


def test_every_command_is_among_the_calls() -> None:
    """The control: a new command comes into the tables of the audit, and so in here."""
    assert set(COMMANDS) <= {words.split()[0] for words in CALLS} | {"demo"}


def test_no_child_sees_a_secret_in_a_command_line(nest: World, forks: Forks) -> None:
    """P8: a program that is started finds none in any command line, its parents' included."""
    log = nest.root / "seen"
    nest.script("kimi", f'for f in /proc/[0-9]*/cmdline; do tr "\\0" " " < "$f"; echo; done '
                        f'>> {log} 2>/dev/null\nexit 0\n')  # fmt: skip
    if not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc")
    for words in ("run -k alpha -- kimi", "run -- kimi", "run --pin -- kimi", "kimi --version"):
        done = forks.run(nest, *words.split())
        assert done.returncode == 0, done
    text = log.read_text()
    assert "kimi" in text
    # An `api_key_command` is a command line by nature: "argv" may show where it runs.
    assert [place for place in shown_in(text) if place != "argv"] == []


def test_what_is_too_short_to_be_a_secret_hides_nothing() -> None:
    assert without("a text with pass in it", "pass") == "a text with pass in it"
