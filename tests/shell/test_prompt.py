"""The prompt segment in real shells on a terminal: what it shows, and all that it leaves alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import write_private
from tests.shell.conftest import RC, READY, Desk, need

if TYPE_CHECKING:
    from pathlib import Path

STRICT = {"bash": "set -eu -o pipefail", "zsh": "set -u", "fish": ""}
#: Shows the status, and that of each part of the last pipeline, in the prompt itself.
STATUS_RC = {
    "bash": "PS1='(${PIPESTATUS[*]}|$?)" + READY + "'\n{init}\n",
    "zsh": "unsetopt prompt_sp; setopt prompt_subst\n"
    "PROMPT='($pipestatus|%?)" + READY + "'\n{init}\n",
    "fish": 'set -g fish_greeting\nfunction fish_prompt; echo -n "($pipestatus|$status)'
    + READY
    + '"; end\n{init}\n',
}


def test_follows_what_other_terminals_do(desk: Desk, shell: str) -> None:
    opened = desk.open(shell)
    seen = []
    for command in (
        ["use", "home"],
        ["keys", "disable", "home"],
        ["keys", "enable", "home"],
        ["keys", "rename", "home", "house"],
        ["use", "team/ci@x"],
        ["keys", "remove", "team/ci@x", "--yes"],
    ):
        desk.kmi(*command)
        opened.do("true")
        seen.append(opened.value('"$KMI_PROMPT"'))
        if shell != "fish":
            text = f"[{seen[-1]}] " if seen[-1] else ""
            assert opened.prompt == text
    assert seen == ["home", "home x", "home", "house", "team/ci@x", ""]


def test_fish_shows_it_on_the_right(desk: Desk) -> None:
    need("fish")
    opened = desk.open("fish", env={"TERM": "xterm"})
    opened.do("true")
    assert "[work]" in opened.read_more(0.5)


@pytest.mark.parametrize("name", ["prompt", "directory"])
def test_no_key_shows_nothing(desk: Desk, shell: str, name: str) -> None:
    (desk.world.state / "prompt").unlink()
    if name == "directory":
        desk.world.env["KMI_STATE_DIR"] = str(desk.world.root / "nowhere")
    opened = desk.open(shell)
    shown = opened.do("true")
    assert opened.value('"<$KMI_PROMPT>"') == "<>"
    assert "[" not in opened.prompt + opened.greeting
    assert "No such" not in shown


def hostile(path: Path) -> dict[str, bytes]:
    touch = f"touch {path}".encode()
    return {
        "substitution": b"$(" + touch + b")`" + touch + b"`\n",
        "percent": b"50%n%{\\u\\w\n",
        "escape": b"\x1b]0;owned\x07\n",
        "no-newline": b"work !",
        "empty": b"",
        "blank": b"   \n",
        "long": b"a" * 10_000 + b"\n",
        "nul": b"wo\0rk\n",
        "mark": b"work $(" + touch + b")\n",
        "option": b"-n\n",
    }


def test_nothing_in_the_file_is_obeyed(desk: Desk, shell: str) -> None:
    trap = desk.world.root / "trap"
    opened = desk.open(shell)
    for name, content in hostile(trap).items():
        write_private(desk.world.state / "prompt", content)
        write_private(desk.world.state / "bindings", content.replace(b"\n", b" /\n"))
        opened.do("true")
        shown = opened.value('"$KMI_PROMPT"')
        assert re.fullmatch(r"([A-Za-z0-9._@/-]+( [!x])?(>[a-z]+)?)?", shown), name
        assert not trap.exists(), name
        if name == "no-newline":
            assert shown == "work !"


@pytest.mark.parametrize("kind", ["fifo", "directory", "unreadable"])
def test_what_can_not_be_read_is_passed_over(desk: Desk, shell: str, kind: str) -> None:
    opened = desk.open(shell)
    path = desk.world.state / "prompt"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        write_private(path, "work\n", 0)
    shown = opened.do("true")
    assert "denied" not in shown
    assert "irectory" not in shown
    assert opened.value('"<$KMI_PROMPT>"') in {"<>", "<work>"}  # root reads everything


def test_inside_a_run_the_environment_counts(desk: Desk, shell: str) -> None:
    inside = desk.open(shell, env={"KMI_RUN_ID": "0123456789ab", "KMI_ACTIVE_KEY": "home"})
    inside.do("true")
    assert inside.value('"$KMI_PROMPT"') == "home"


def test_a_project_that_is_bound_to_another_key(desk: Desk, shell: str) -> None:
    world = desk.world
    odd = world.cwd / "a [b] *c" / "inner"
    (world.cwd / "other").mkdir()
    odd.mkdir(parents=True)
    for folder, keys in ((odd.parent, ["home", "team/ci@x"]), (world.cwd / "other", ["work"])):
        done = world.kmi("bind", *keys, cwd=folder)
        assert done.returncode == 0, done
    opened = desk.open(shell)
    seen = []
    for folder in (world.cwd, odd, world.cwd / "other", odd.parent):
        opened.do(f"cd '{folder}'")
        seen.append(opened.value('"$KMI_PROMPT"'))
    desk.kmi("use", "team/ci@x")
    opened.do("true")
    seen.append(opened.value('"$KMI_PROMPT"'))
    (odd.parent / ".kmi.toml").unlink()
    desk.kmi("use", "work")
    opened.do("true")
    seen.append(opened.value('"$KMI_PROMPT"'))
    assert seen == ["work", "work>home", "work", "work>home", "team/ci@x", "work"]


def test_status_and_pipestatus_are_kept(desk: Desk, shell: str) -> None:
    parts = "sh -c 'exit 3' | sh -c 'exit 4' | sh -c 'exit 5'"
    opened = desk.open(shell, rc=STATUS_RC[shell])
    opened.type(f"{parts}\n")
    opened.wait_for("(3 4 5|5)")


@pytest.mark.parametrize("after", ["", "; ", " &", " # done", "\n"])
def test_bash_hooks_before_it_see_the_status(desk: Desk, after: str) -> None:
    before = f"""seen() {{ LAST="$? ${{PIPESTATUS[*]}}"; }}
PROMPT_COMMAND='seen{after}'"""
    opened = desk.open("bash", before=before)
    opened.do("sh -c 'exit 3' | sh -c 'exit 4'")
    shown = opened.do("sh -c 'exit 3' | sh -c 'exit 4'")
    assert opened.prompt.endswith("[work] ")
    assert "syntax error" not in shown
    if "&" not in after:
        opened.type("sh -c 'exit 3' | sh -c 'exit 4'\n")
        opened.wait_for(READY)
        opened.type('true; echo "<$LAST>"\n')
        opened.wait_for("<4 3 4>")


@pytest.mark.parametrize(
    "before",
    [
        "unset PROMPT_COMMAND",
        "PROMPT_COMMAND=''",
        "PROMPT_COMMAND=()",
        "PROMPT_COMMAND=(true 'true;')",
        "declare -a PROMPT_COMMAND; PROMPT_COMMAND[3]=true",
    ],
)
def test_bash_every_form_of_prompt_command(desk: Desk, before: str) -> None:
    opened = desk.open("bash", before=before, after="set -u")
    opened.do("true")
    desk.kmi("use", "home")
    assert "rror" not in opened.do("true")
    assert opened.prompt == "[home] "


def test_bash_with_traps_in_the_style_of_bash_preexec(desk: Desk) -> None:
    before = r"""bash_preexec_imported=defined
precmd_functions=(); preexec_functions=()
__bp_precmd_invoke_cmd() {
  local status=$? hook; for hook in "${precmd_functions[@]}"; do (exit "$status"); "$hook"; done
}
trap '[[ ${waiting-} ]] && COMMANDS+="<$BASH_COMMAND>"; waiting=' DEBUG
PROMPT_COMMAND='__bp_precmd_invoke_cmd
waiting=1'"""
    opened = desk.open("bash", before=before)
    desk.kmi("use", "home")
    opened.do("true")
    assert opened.prompt == "[home] "
    assert "__kmi" not in opened.value('"$COMMANDS"')
    assert opened.value('"${precmd_functions[*]} $PROMPT_COMMAND"').count("__kmi_prompt") == 1


def test_loaded_twice_is_once(desk: Desk, shell: str) -> None:
    script = desk.script(shell)
    opened = desk.open(shell, after=f"source {script}\nsource {script}")
    opened.do("true")
    assert opened.prompt.count("[work]") == (shell != "fish")
    hooks = {
        "bash": '"${PROMPT_COMMAND[*]}"',
        "zsh": '"$precmd_functions"',
        "fish": "(functions --handlers-type generic | string match '*__kmi*')",
    }[shell]
    if shell != "fish":
        assert opened.value(hooks).count("__kmi_prompt") == 1


def test_silent_and_strict(desk: Desk, shell: str) -> None:
    for options in ([], ["--no-wrap"], ["--no-prompt"], ["--no-completion"], ["--cmd", "k"]):
        script = desk.script(shell, *options)
        flags = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"], "fish": ["-N", "-i"]}[shell]
        line = f"{STRICT[shell]}\nsource {script}\n"
        done = desk.world.command([need(shell), *flags, "-c", line])
        told = [t for t in done.stderr.splitlines() if "job control" not in t and "ioctl" not in t]
        assert (done.returncode, done.stdout, told) == (0, "", [])


def test_a_shell_that_is_not_interactive_gets_nothing(desk: Desk, shell: str) -> None:
    script = desk.script(shell)
    look = {
        "bash": 'declare -F; complete -p; echo "${KMI_PROMPT-}${PROMPT_COMMAND-}"',
        "zsh": 'print -l ${(k)functions} "$KMI_PROMPT"',
        "fish": "functions --all | string match '*k[i]*mi*'; complete -c kmi; true",
    }[shell]
    done = desk.world.command([need(shell), "-c", f"source {script}; {look}"])
    assert "mi" not in done.stdout, done
    assert not done.stderr


@pytest.mark.parametrize("shell_name", ["bash", "zsh"])
def test_strict_options_on_a_terminal(desk: Desk, shell_name: str) -> None:
    need(shell_name)
    opened = desk.open(shell_name, after="set -u")
    (desk.world.state / "prompt").unlink()
    assert "unbound" not in opened.do("true")
    assert "not set" not in opened.do("true")


@pytest.mark.parametrize(("options", "line"), [
    ("ksh_arrays", ""), ("prompt_subst prompt_bang", ""), ("no_unset err_return", ""),
    ("sh_word_split glob_subst null_glob", ""), ("posix_builtins noclobber", ""),
    ("", "alias -g x=y"),
    ("", "alias local=false read=false emulate=false typeset=false"),
])  # fmt: skip
def test_zsh_with_odd_options(desk: Desk, options: str, line: str) -> None:
    need("zsh")
    before = f"setopt {options}\n{line}" if options else line
    opened = desk.open("zsh", before=before)
    desk.kmi("keys", "disable", "work")
    opened.do("true")
    assert opened.prompt == "[work x] "


def test_bash_with_odd_options(desk: Desk) -> None:
    before = (
        "set -o noclobber; shopt -s nullglob failglob nocasematch extglob; shopt -u promptvars\n"
        "alias local=false read=false return=false kimi='kimi --yolo'; IFS=ork; readonly label=1"
    )
    opened = desk.open("bash", before=before)
    opened.do("true")
    assert opened.prompt == ""  # PS1 is not expanded, and is left alone
    assert opened.value('"$KMI_PROMPT"') == "work"
    opened.do("shopt -s promptvars")
    assert opened.prompt == "[work] "
    assert "<--yolo><a b>" in opened.do("kimi 'a b'")


@pytest.mark.parametrize("other", ["direnv", "zoxide"])
@pytest.mark.parametrize("first", ["kmi", "other"])
def test_beside_other_hooks(desk: Desk, shell: str, other: str, first: str) -> None:
    need(other)
    line = {
        "direnv": {"bash": 'eval "$(direnv hook bash)"', "zsh": 'eval "$(direnv hook zsh)"'},
        "zoxide": {"bash": 'eval "$(zoxide init bash)"', "zsh": 'eval "$(zoxide init zsh)"'},
    }[other].get(shell, f"{other} {'hook' if other == 'direnv' else 'init'} fish | source")
    before, after = ("", line) if first == "kmi" else (line, "")
    opened = desk.open(shell, before=before, after=after)
    folder = desk.world.cwd / "inner"
    write_private(folder / ".envrc", "export FROM_DIRENV=yes\n")
    desk.world.command(["direnv", "allow", str(folder)]) if other == "direnv" else None
    opened.do(f"cd {folder}")
    desk.kmi("use", "home")
    opened.do("true")
    assert opened.value('"$KMI_PROMPT"') == "home"
    if other == "direnv":
        assert opened.value('"$FROM_DIRENV"') == "yes"
    else:
        listed = desk.world.command(["zoxide", "query", "-l"])
        assert str(folder) in listed.stdout


def test_the_prompt_itself_can_be_left_alone(desk: Desk, shell: str) -> None:
    line = "set -g KMI_PROMPT_AUTO 0" if shell == "fish" else "KMI_PROMPT_AUTO=0"
    opened = desk.open(shell, before=line)
    opened.do("true")
    assert opened.value('"$KMI_PROMPT"') == "work"
    assert "[work]" not in opened.prompt + opened.read_more(0.3)


def test_an_exported_variable_reaches_programs(desk: Desk, shell: str) -> None:
    line = "set -gx KMI_PROMPT" if shell == "fish" else "export KMI_PROMPT"
    opened = desk.open(shell, after=line)
    opened.do("true")
    assert (
        opened.value('"$(printenv KMI_PROMPT)"' if shell != "fish" else "(printenv KMI_PROMPT)")
        == "work"
    )
    assert "not a setting" not in opened.do(f"{desk_kmi(desk, shell)} current")


def desk_kmi(desk: Desk, shell: str) -> str:
    """How the shell calls kmi."""
    import sys

    from tests.shell.conftest import KMI

    return f"{sys.executable} {KMI[1]}"


def tracing(path: Path) -> tuple[str, ...]:
    """What starts a program and writes down for `processes` what that starts."""
    calls = "trace=execve,fork,vfork,clone,clone3"
    # Without the filter every call is stopped at, and loading completions in zsh takes 20 s.
    return (need("strace"), "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", str(path))


def processes(path: Path) -> int:
    """The processes that a trace saw begin, by exec or fork; threads are none."""
    calls = re.findall(
        r"^\d+ +(?:\[pid +\d+\] )?(execve|fork|vfork|clone3?)\((.*)$", path.read_text(), re.M
    )
    return sum(1 for call, rest in calls if "CLONE_THREAD" not in rest)


@pytest.mark.parametrize("init", [True, False])
def test_no_process_starts_for_a_prompt(desk: Desk, shell: str, init: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    options = () if init else ("--no-prompt", "--no-completion", "--no-wrap")
    opened = desk.open(shell, *options, wrapper=tracing(trace))
    for _ in range(3):
        opened.do("true")
    before = processes(trace)
    for _ in range(10):
        opened.type("\n")
        opened.wait_for(READY)
    opened.do("true")
    assert processes(trace) - before == 0


def test_rc_files_end_in_the_line_under_test() -> None:
    assert all(text.endswith("{init}\n") for text in RC.values())
