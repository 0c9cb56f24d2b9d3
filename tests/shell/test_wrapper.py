"""The function `kimi`: quoting, exit codes, signals; and the words of `kmi init` itself."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from kmi.shells import quote
from tests.conftest import World, write_private
from tests.shell.conftest import KMI, SHELLS, Desk, need

if TYPE_CHECKING:
    from pathlib import Path

#: A client that tells its arguments, and ends as it is told.
CLIENT = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["SEEN"], "w") as file:
    json.dump([*sys.argv[1:], os.environ["KMI_ACTIVE_KEY"]], file)
if sys.argv[-1] == "killed":
    os.kill(os.getpid(), 9)
sys.exit(int(sys.argv[-1]))
"""
ODD = [
    "",
    "a  b",
    "it's",
    '"',
    "$(touch pwned)",
    "`id`",
    "*",
    "\\",
    "-x",
    "--",
    "новый",
    "a\nb",
    "~",
    "!!",
]


@pytest.fixture
def seen(desk: Desk) -> Path:
    """Where the client tells its arguments."""
    desk.world.env["KMI_CLIENT"] = "kimi-code"
    desk.world.script("kimi", CLIENT)
    path = desk.world.root / "seen"
    desk.world.env["SEEN"] = str(path)
    return path


def test_words_and_exit_codes_go_through(desk: Desk, shell: str, seen: Path) -> None:
    opened = desk.open(shell)
    words = " ".join(quote(shell, word) for word in ODD)
    code = "$status" if shell == "fish" else "$?"
    assert "<42>" in opened.do(
        f'source {write_private(desk.world.root / "call", f"kimi {words} 42")}; echo "<{code}>"'
    )
    assert json.loads(seen.read_text()) == [*ODD, "42", "work"]
    assert "<137>" in opened.do(f'kimi killed; echo "<{code}>"')
    assert "<0>" in opened.do(f'kimi 0; echo "<{code}>"')
    assert not (desk.world.cwd / "pwned").exists()


def test_the_client_itself_stays_reachable(desk: Desk, shell: str) -> None:
    desk.world.script("kimi", 'echo "key:${KMI_ACTIVE_KEY-none}"\n')
    opened = desk.open(shell)
    assert "key:work" in opened.do("kimi")
    assert "key:none" in opened.do("command kimi")


def test_another_name_or_none(desk: Desk, shell: str) -> None:
    desk.world.script("kimi", 'echo "key:${KMI_ACTIVE_KEY-none}"\n')
    named = desk.open(shell, "--cmd", "my-kimi")
    assert "key:work" in named.do("my-kimi")
    assert "key:none" in named.do("kimi")
    bare = desk.open(shell, "--no-wrap")
    assert "key:none" in bare.do("kimi")


def test_an_alias_of_the_same_name_goes_on(desk: Desk, shell: str, seen: Path) -> None:
    line = "alias kimi='kimi --yolo'"
    if shell == "fish":
        pytest.skip("an alias is a function there: the later one counts")
    opened = desk.open(shell, before=line)
    opened.do("kimi 0")
    assert json.loads(seen.read_text()) == ["--yolo", "0", "work"]


def test_a_path_with_odd_characters(desk: Desk, shell: str, seen: Path) -> None:
    folder = desk.world.root / 'it\'s $(touch pwned) `x` \\ "é"'
    kmi = write_private(
        folder / "kmi",
        f"#!{sys.executable}\nimport sys\nfrom kmi.__main__ import main\nsys.exit(main())\n",
        0o755,
    )
    done = desk.world.command([str(kmi), "init", shell])
    assert done.returncode == 0, done
    script = write_private(desk.world.root / "odd-init", done.stdout)
    opened = desk.open(shell, after=f"source {script}")
    opened.do("kimi 'a b' 0")
    assert json.loads(seen.read_text()) == ["a b", "0", "work"]
    assert not list(desk.world.root.rglob("pwned"))


@pytest.mark.parametrize("word", ODD)
def test_quoting_in_each_shell(world: World, shell: str, word: str) -> None:
    text = f"printf '%s' {quote(shell, word)}"
    done = world.command([need(shell), "-c", text])
    assert (done.stdout, done.stderr) == (word, "")


@pytest.mark.parametrize(
    "words", ["tcsh", "", "bash zsh", "bash --cmd 1x", "bash --cmd kmi", "bash --cmd if",
              "bash --cmd", "bash --nope"]
)  # fmt: skip
def test_wrong_words_are_told(world: World, words: str) -> None:
    done = world.command([*KMI, "init", *words.split()])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("kmi: ")
    assert done.stderr.count("\n") == 1


def test_a_state_directory_that_the_env_file_moved(desk: Desk, shell: str) -> None:
    write_private(desk.world.env_file, f"KMI_STATE_DIR={desk.world.state}\n")
    del desk.world.env["KMI_STATE_DIR"]
    opened = desk.open(shell)
    opened.do("true")
    assert opened.value('"$KMI_PROMPT"') == "work"
    done = desk.world.command([*KMI, "prompt"])
    assert done.stdout == "work\n"


def test_kmi_prompt(desk: Desk) -> None:
    world = desk.world
    assert world.kmi("prompt").stdout == "work\n"
    assert world.document("prompt") == {"schema": 1, "text": "work", "label": "work", "mark": ""}
    desk.kmi("keys", "disable", "work")
    assert world.kmi("prompt").stdout == "work x\n"
    inside = {"KMI_RUN_ID": "0123456789ab", "KMI_ACTIVE_KEY": "home"}
    assert world.kmi("prompt", env=inside).stdout == "home\n"
    (world.state / "prompt").unlink()
    empty = world.kmi("prompt")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "")
    (world.state / "prompt").mkdir()
    broken = world.kmi("prompt")
    assert broken.returncode == 77
    assert "not a regular file" in broken.stderr


def test_the_shells_of_the_tests_are_those_of_kmi() -> None:
    from kmi.shells import SHELLS as ALL

    assert {*SHELLS, "pwsh"} == set(ALL)
