"""Every command that the documentation shows is typed in, and what it shows is what comes.

A page is one session in one throw-away home, with a fake API and a stand-in for the client. Blocks
of `sh` have to succeed; in blocks of `console` the output is compared, too.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from kmi.cli import COMMANDS, LEGACY_FLAGS, GlobalOptions, build_parser
from kmi.demo import stand_in
from kmi.demo.fake_api import Behaviour, FakeKimi
from kmi.errors import UsageError
from kmi.layout import is_own
from tests.conftest import CLI, World, config_text, secret_of, write_private
from tests.pages import ROOT, Step, mentions, pages, pattern, steps
from tests.typing_in import UNTIL, Typist, session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Lines that are not typed in, each with the reason. None of them is a call of kmi.
LEFT_OUT = {
    r"uv tool install|pipx |pip install|brew |apt ": "installs, from places that tests don't reach",
    r"git clone": "needs a network",
    r"KMI_[A-Z_]+=": "a file's content, shown as what it is",
    r"function prompt_kmi": "for powerlevel10k, which is not here",
}
#: Programs of other people's that pages call: what stands for them, and why it is enough.
STAND_INS = {
    "pass": 'echo "sk-kimi-stored-as-${2#kimi/}-000000"',  # a store of keys
    "systemctl": "exit 0",  # the manager; kmi is asked for the file only
    "starship": "exit 0",  # its line is about the order of two lines
    "my-script": 'test -n "$KIMI_API_KEY" && test -n "$KIMI_BASE_URL"',
    "my-openai-program": 'test -n "$OPENAI_API_KEY" && test -n "$OPENAI_BASE_URL"',
    "my-anthropic-program": (
        'test -n "$ANTHROPIC_AUTH_TOKEN" && case $ANTHROPIC_BASE_URL in */v1) exit 1;; esac'
    ),
}
#: What a person types when asked.
ANSWERS = {
    "kmi keys add work": "sk-kimi-typed-for-work-000000\n",
    "kmi keys add home": "sk-kimi-typed-for-home-000000\n",
    "kmi keys add team": "sk-kimi-typed-for-team-000000\n",
    "kmi doctor --fix": "y\n",
    "kmi allow": "y\n",
}
#: What shows until it is stopped: Ctrl-C comes after this text.
ENDLESS = {
    "kmi health --watch": "work",
    "kmi proxy-logs": "proxy-started",
    "kmi proxy --foreground": "proxy-started",
    "kmi trace --follow": "/chat/",
}
#: Exit codes other than 0, which the page is about.
CODES = {
    "kmi run -- kimi -p 'Say hello.'": {0, 1},  # the first one fails
    "kmi keys check": {0, 1},  # a key that is out is told so
    "kmi keys check --chat": {0, 1},
    "kmi config validate": {0, 78},  # there is something wrong to show
}
#: Programs of other people's that are really run; a line is left out where they are missing.
NEEDED = ("curl", "jq", "script", "zsh")
#: What was done before a command of a page is typed.
BEFORE = {
    "docs/how-to/trace.md": {"kmi trace": "kmi proxy && kmi run --proxy -- kimi"},
    "docs/how-to/doctor.md": {
        "kmi doctor": (
            "echo 'eval \"$(kmi init bash)\"' >~/.bashrc; kmi run -- kimi; "
            "export KIMI_API_KEY=of-the-shell; chmod 644 ~/.kmi/state.json"
        ),
        "kmi config validate": (
            "echo KMI_KEY_LABLE=team >>~/.kmi/_auths/team.env; echo KMI_DRY_RUN=ture >>~/.kmi/.env"
        ),
        "kmi doctor --json": ": >~/.kmi/.env",
    },
}
#: What asks, and so wants a terminal.
ASKING = {"kmi doctor --fix"}
#: Pages that begin without a key in kmi's hands, as their reader does.
FIRST_STEPS = {
    "README.md",
    "docs/how-to/keys.md",
    "docs/tutorial/quick-start.md",
}


@pytest.fixture(scope="module")
def typist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    with Typist(tmp_path_factory.mktemp("calls")) as one:
        yield one


@pytest.fixture
def api() -> Iterator[FakeKimi]:
    secrets = [secret_of(label) for label in ("work", "home", "team")]
    secrets += [f"sk-kimi-stored-as-{name}-000000" for name in ("team", "spare")]
    secrets += [typed.strip() for typed in ANSWERS.values()]
    with FakeKimi({secret: Behaviour() for secret in secrets}) as fake:
        yield fake


def furnish(world: World, api: FakeKimi, typist: Typist, page: str) -> None:
    """A home as the page's reader has it."""
    for name in ("KMI_STATE_DIR", "KMI_AUTHS_DIR", "KMI_ENV_PATH"):
        world.env.pop(name)
    kept = world.home / ".kmi"
    kept.mkdir(mode=0o700)
    world.auths = kept / "_auths"
    world.auths.mkdir(mode=0o700)
    write_private(kept / ".env", "")
    world.env.update(
        KMI_AUTHS_DIR=str(world.auths),
        KMI_ENV_PATH=str(kept / ".env"),
        KMI_UPSTREAM_BASE_URL=api.base_url,
        # Whatever a page says, nothing leaves this machine.
        KMI_UPSTREAM_ALLOWLIST="127.0.0.1",
        SHELL="/bin/bash",
        TMPDIR=str(world.root),
    )
    world.script("kimi", f'exec "{sys.executable}" "{stand_in.__file__}" "$@"')
    world.env["KMI_CLIENT"] = CLI
    for name, text in STAND_INS.items():
        world.script(name, text)
    world.write_config(CLI, config_text(secret_of("work"), base_url=api.base_url))
    if page not in FIRST_STEPS:
        world.add_keys("work", "home", "team")
    elif page.endswith("README.md"):  # the table of everyday commands names others
        world.add_keys("home", "team")
    typist.install(world)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def typed(step: Step, api: FakeKimi, port: int) -> tuple[str, str]:
    """A command as it is typed, and what it is given to read."""
    words = step.text
    for host in ("https://api.moonshot.ai/v1", "https://api.kimi.com/coding/v1"):
        words = words.replace(host, api.platform_url if "moonshot" in host else api.base_url)
    words = words.replace("127.0.0.1:54123", f"127.0.0.1:{port}")
    if "--retry" in words:  # the stand-in is a kimi-cli, whose one-shot runs say so
        words = words.replace("kimi -p", "kimi --print -p")
    plain = words.partition("  #")[0].strip()
    for call, text in ENDLESS.items():
        if plain == call:
            words = f"{UNTIL}={shlex.quote(text)} {words}"
    if re.search(r"kmi init zsh|setopt", plain):
        words = f"zsh -f -c {shlex.quote(words)}"
    elif plain.startswith("make "):
        words = f"make -n -C {shlex.quote(str(ROOT))} {plain[5:]} >/dev/null"
    if plain in ASKING:
        words = f"script -qec {shlex.quote(words)} /dev/null"
    before = BEFORE.get(step.page, {})
    for call, preparation in before.items():
        if plain == call or (call not in ENDLESS and plain.startswith(f"{call} |")):
            words = f"{{ {preparation}; }} >/dev/null 2>&1; {words}"
    called = [name for name in NEEDED if re.search(rf"(^|[|;] ?){name} ", words)]
    if any(shutil.which(name) is None for name in called):
        words = ":"
    given = next((text for call, text in ANSWERS.items() if plain.startswith(call)), "")
    return words, given


def strangers(state: Path) -> list[str]:
    """What lies among kmi's own files, and `docs/reference/files.md` does not name."""
    names = {path.name for path in state.iterdir()} - {"_auths", ".env"}
    return sorted(name for name in names if not is_own(name))


def left_out(step: Step) -> bool:
    return any(re.match(expression, step.text) for expression in LEFT_OUT)


def normal(text: str, world: World) -> str:
    """An output without what differs from run to run."""
    text = re.sub(r"/\S*/kmi-demo-\w+/(home\b)?", lambda m: "~" if m[1] else "~/", text)
    return text.replace(str(world.home), "~")


#: The Russian pages have the same commands, which tests/test_docs.py sees to.
TYPED = [
    page
    for page in pages()
    if page.parent.name != "ru" and any(not left_out(step) for step in steps(page))
]


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_says_works(page: Path, world: World, api: FakeKimi, typist: Typist) -> None:
    todo = [step for step in steps(page) if not left_out(step)]
    furnish(world, api, typist, todo[0].page)
    port = free_port()
    world.env["KMI_PROXY_LISTEN"] = f"127.0.0.1:{port}"
    try:
        said, noise = session(world, [typed(step, api, port) for step in todo])
    finally:
        if (world.home / ".kmi" / "proxy.json").exists():
            world.kmi("proxy", "stop", "--force")
    assert noise == ""
    assert list(world.root.glob("kmi-demo-*")) == []
    assert strangers(world.home / ".kmi") == []
    outer: list[int] = []
    for index, (step, answer) in enumerate(zip(todo, said)):
        where = f"{step.page}:{step.line}: {step.text}\n{answer.text}"
        assert "Traceback" not in answer.text, where
        assert "a bug" not in answer.text, where
        shown = step.shown
        if step.text == "kmi demo --shell":
            outer.append(index)
            until = next(i for i in range(index, len(todo)) if todo[i].text == "exit")
            shown = (shown or "") + (todo[until].shown or "")
        elif step.text == "exit" and outer:
            continue
        plain = step.text.partition("  #")[0].strip()
        assert answer.code in CODES.get(plain, {0, 130} if plain in ENDLESS else {0}), where
        if shown is not None:
            text = normal(answer.text, world)
            # A path of another length wraps a line elsewhere: the words have to be the same.
            words = " ".join(text.split()) + "\n"
            same = pattern(shown).fullmatch(text) or (
                pattern(" ".join(shown.split())).fullmatch(words)
            )
            assert same, where


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_mentions_exists(page: Path) -> None:
    """Calls in running text: the command is there, and takes those words."""
    wrong = {}
    for line, text in mentions(page):
        try:
            check_call(text)
        except (UsageError, ValueError) as error:
            wrong[f"{page.name}:{line}: {text}"] = str(error)
    assert wrong == {}


def check_call(text: str) -> None:
    """Parse a call as it is written for readers, with its placeholders.

    Raises:
        UsageError: kmi would not take it, for another reason than that something is left out.
    """
    text = re.split(r" [|>] ", text)[0]
    text = re.sub(r"\{(\w[\w-]*)[^}]*\}", r"\1", text)
    text = re.sub(r"\\?\|[^ ]*|[][]|…|\.\.\.", "", text)  # the first of several, and no marks
    words = shlex.split(text)[1:]
    cut = words.index("--") if "--" in words else len(words)
    words = GlobalOptions().take(words[:cut])
    if words[:1] == ["help"]:
        words = words[1:]
    if not words or words[0] in {*LEGACY_FLAGS, "--version", "--help", "COMMAND", "-h"}:
        return
    if words[0] not in COMMANDS:
        raise UsageError(f"no such command: {words[0]}")
    if words[0] in {"run", "kimi"}:
        words = [word for word in words if word.startswith("-") or word == words[0]]
        words = [f"{word}=x" if word in {"-k", "--key"} else word for word in words]
    try:
        with redirect_stdout(StringIO()):
            build_parser(words[0]).parse_args(words[1:])
    except UsageError as error:
        if not re.search(
            "required|expected one argument|invalid (int|choice: '[A-Z]+')", str(error)
        ):
            raise
    except SystemExit:  # --help
        pass


def test_a_wrong_mention_is_found() -> None:
    for text in ("kmi nothing", "kmi health --bogus", "kmi keys rmeove work", "kmi proxy sotp"):
        with pytest.raises(UsageError):
            check_call(text)


def test_nothing_of_kmis_is_left_out() -> None:
    left = [step for page in pages() for step in steps(page) if left_out(step)]
    assert left, "the control: there are such lines"
    assert [step for step in left if re.match(r"(\w+=\S+ )*kmi\b", step.text)] == []


def test_a_wrong_output_is_found() -> None:
    """The control: the pattern of a shown output does not fit everything."""
    assert pattern("a …\nPORT\n…\nb\n").fullmatch("a 1 2  \n80\nx\ny\nb\n")
    assert not pattern("a …\n").fullmatch("b 1\n")
    assert not pattern("a\nb\n").fullmatch("a\nx\nb\n")
