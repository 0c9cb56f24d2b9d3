"""TAB in real shells: commands, options, choices, labels, and the programs behind `kmi run`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import write_private
from tests.shell.conftest import KMI, READY, Desk, need
from tests.shell.test_prompt import processes, tracing

if TYPE_CHECKING:
    from tests.shell.conftest import Shell

ROOT = Path(__file__).parents[2]
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
#: What every shell completes to one word: the line, and the line after TAB.
ONE = [
    ("kmi rot", "kmi rotate "),
    ("kmi use te", "kmi use team/ci@x"),
    ("kmi use team/ci@", "kmi use team/ci@x"),
    ("kmi run --key=team/ci@", "kmi run --key=team/ci@x"),
    ("kmi keys res", "kmi keys reset "),
    ("kmi keys reset home w", "kmi keys reset home work"),
    ("kmi --json use h", "kmi --json use home"),
    ("kmi run -k h", "kmi run -k home"),
    ("kmi run --key h", "kmi run --key home"),
    ("kmi run --strategy so", "kmi run --strategy soonest-reset"),
    ("kmi run --strategy=so", "kmi run --strategy=soonest-reset"),
    ("kmi why --strat", "kmi why --strategy"),
    ("kmi config va", "kmi config validate"),
    ("kmi init pw", "kmi init pwsh"),
    ("kmi run -k home -- only-th", "kmi run -k home -- only-there"),
    ("kmi run only-th", "kmi run only-there"),
    ("kmi run -- only-there target-f", "kmi run -- only-there target-file"),
    ("kmi run --pin only-there target-f", "kmi run --pin only-there target-file"),
]
#: What is listed where there are several.
LISTED = [
    ("kmi use ", {"home", "team/ci@x", "work"}),
    ("kmi keys re", {"remove", "rename", "reset"}),
    ("kmi completion ", {"bash", "zsh", "fish", "pwsh"}),
]
BEFORE = {
    "bash": "bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'; "
    "bind 'set page-completions off'; bind 'set bell-style none'",
    "zsh": "autoload -Uz compinit; compinit -u -d $ZDOTDIR/dump; setopt no_beep",
    "fish": "",
}


def prepare(desk: Desk) -> None:
    """A program, and a file to complete its argument with."""
    desk.world.script("only-there", "true\n")
    write_private(desk.world.cwd / "target-file", "")


def completed(opened: Shell, line: str) -> str:
    """What TAB makes of a line, read back from the words that a function gets."""
    name = opened.world.root / "line"
    name.unlink(missing_ok=True)
    opened.type(line + "\t")
    opened.read_more(0.1)  # bash takes a TAB among waiting keys for text that was pasted
    opened.type(f" >/dev/null\x01say_line {name} \x05\n")
    opened.wait_for(READY)
    opened.do("true")
    return name.read_text() if name.exists() else ""


SAY = {
    "bash": 'say_line() { local file=$1; shift; printf \'%s \' "$@" >"$file"; }',
    "zsh": "say_line() { local file=$1; shift; printf '%s ' \"$@\" >$file }",
    "fish": "function say_line; printf '%s ' $argv[2..-1] >$argv[1]; end",
}


def check_lines(desk: Desk, opened: Shell) -> None:
    for line, result in ONE:
        assert completed(opened, line).rstrip("= ") == result.rstrip(), line


@pytest.mark.parametrize("with_others", [True, False])
def test_bash(desk: Desk, with_others: bool) -> None:
    prepare(desk)
    if with_others and not Path(BASH_COMPLETION).exists():
        need("bash-completion")
    other = f"\n. {BASH_COMPLETION}" if with_others else ""
    opened = desk.open("bash", before=BEFORE["bash"] + other, after=SAY["bash"])
    check_lines(desk, opened)
    if with_others:
        assert completed(opened, "kmi run -- ls --alm") == "kmi run -- ls --almost-all "
    for line, words in LISTED:
        opened.type(line + "\t")
        assert words <= set(opened.read_more(0.4).split()), line
        opened.type("\x15")


def test_bash_uses_a_completion_function_of_the_program(desk: Desk) -> None:
    prepare(desk)
    after = SAY["bash"] + (
        '\n_there() { COMPREPLY=("<$1,$2,$3,$COMP_CWORD,${COMP_WORDS[0]},$COMP_LINE>"); }'
        "\ncomplete -F _there only-there"
    )
    opened = desk.open("bash", before=BEFORE["bash"], after=after)
    line = "kmi run -k h -- only-there a b"
    called = f"COMP_WORDS=({line}) COMP_CWORD=7 COMP_LINE='{line}' COMP_POINT=30; _kmi"
    got = opened.value(f'"$({called}; echo $COMPREPLY)"')
    assert got == "<only-there,b,a,2,only-there,only-there a b>"


@pytest.mark.parametrize("order", ["before", "after", "deferred", "fpath"])
def test_zsh(desk: Desk, order: str) -> None:
    need("zsh")
    prepare(desk)
    before = {
        "before": BEFORE["zsh"],
        "fpath": f"fpath=({ROOT}/shell/completions $fpath)\n{BEFORE['zsh']}",
    }.get(order, "")
    after = (BEFORE["zsh"] + "\n" if order == "after" else "") + SAY["zsh"]
    options = ["--no-completion"] if order == "fpath" else []
    opened = desk.open("zsh", *options, before=before, after=after)
    if order == "deferred":
        opened.do("true")
        opened.do(BEFORE["zsh"])
        opened.do("true")
    if order in {"before", "fpath"}:
        check_lines(desk, opened)
        assert completed(opened, "kmi run -- ls --almo") == "kmi run -- ls --almost-all "
        for line, words in LISTED:
            opened.type(line + "\t\t")
            assert words <= set(opened.read_more(0.4).split()), line
            opened.type("\x15")
    else:
        assert completed(opened, "kmi use te") == "kmi use team/ci@x "


def test_zsh_without_compinit_is_silent(desk: Desk) -> None:
    need("zsh")
    opened = desk.open("zsh")
    assert "compdef" not in opened.greeting + opened.do("true") + opened.do("true")


def test_fish(desk: Desk) -> None:
    need("fish")
    prepare(desk)
    opened = desk.open("fish")
    for line, result in ONE:
        got = opened.value(
            f"(complete -C '{line}' | string replace -r '\\t.*' '' | string join '|')"
        )
        word = result.split()[-1]
        assert word in got.split("|"), line
    for line, words in LISTED:
        got = opened.value(
            f"(complete -C '{line}' | string replace -r '\\t.*' '' | string join '|')"
        )
        assert set(got.split("|")) == words, line
    got = opened.value("(complete -C 'kmi run -- ls --almo' | string replace -r '\\t.*' '')")
    assert got == "--almost-all"


def test_labels_cost_no_process(desk: Desk, shell: str) -> None:
    trace = desk.world.root / "trace"
    opened = desk.open(shell, before=BEFORE[shell], after=SAY[shell], wrapper=tracing(trace))

    def press() -> None:
        if shell == "fish":
            opened.do("complete -C 'kmi use te'")
        else:
            assert completed(opened, "kmi use te") == "kmi use team/ci@x "

    press()
    before = processes(trace)
    for _ in range(5):
        press()
    assert processes(trace) == before


def test_odd_lines_in_the_file_are_left_out(desk: Desk, shell: str) -> None:
    need(shell)
    trap = desk.world.root / "trap"
    write_private(
        desk.world.state / "labels",
        f"good-one\n$(touch {trap})\n`touch {trap}`\na b\n\x1b]0;x\x07\n",
    )
    opened = desk.open(shell, before=BEFORE[shell], after=SAY[shell])
    if shell == "fish":
        assert opened.value("(complete -C 'kmi use ')") == "good-one"
    else:
        assert completed(opened, "kmi use ") == "kmi use good-one "
    assert not trap.exists()


def test_no_labels_no_noise(desk: Desk, shell: str) -> None:
    (desk.world.state / "labels").unlink()
    opened = desk.open(shell, before=BEFORE[shell], after=SAY[shell])
    opened.type("kmi use \t")
    shown = opened.read_more(0.4)
    assert "No such" not in shown
    assert "rror" not in shown


def test_argcomplete_in_a_real_bash(desk: Desk) -> None:
    register = Path(sys.executable).with_name("register-python-argcomplete")
    if not register.exists():
        pytest.skip("argcomplete's script is not beside this Python")
    prepare(desk)
    launcher = f"#!{sys.executable}\nimport sys\nfrom kmi.__main__ import main\nsys.exit(main())\n"
    desk.world.script("kmi", launcher)
    setup = desk.world.command([str(register), "kmi"]).stdout
    opened = desk.open(
        "bash", "--no-completion", before=BEFORE["bash"] + "\n" + setup, after=SAY["bash"]
    )
    for line, result in [
        ("kmi rot", "kmi rotate"),
        ("kmi use te", "kmi use team/ci@x"),
        ("kmi keys reset home w", "kmi keys reset home work"),
        ("kmi run --strategy so", "kmi run --strategy soonest-reset"),
        ("kmi completion fi", "kmi completion fish"),
    ]:
        assert completed(opened, line).rstrip() == result


def test_argcomplete_imports_nothing_heavy(desk: Desk) -> None:
    out = desk.world.root / "out"
    env = {
        "_ARGCOMPLETE": "1",
        "COMP_LINE": "kmi use ",
        "COMP_POINT": "8",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
    }
    done = desk.world.command([sys.executable, "-X", "importtime", *KMI[1:]], env=env)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argcomplete" in modules
    assert not {"httpx", "tomlkit", "filelock", "dotenv", "asyncio", "dataclasses"} & modules
    assert not {m for m in modules if m.startswith("kmi.commands")}
    assert re.split(r"[\x0b\n]", out.read_text()) == ["home", "team/ci@x", "work"]
