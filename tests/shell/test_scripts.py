"""The scripts as text: linted as they stand, rendered in every combination, and never stale."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from docs.generate import FILES
from kmi import shells
from tests.shell.conftest import need

ROOT = Path(__file__).parents[2]
SHELL = ROOT / "shell"
#: How each shell is asked whether it understands a file.
SYNTAX = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]}
PWSH = (
    "$e = $null; [void][Management.Automation.Language.Parser]"
    "::ParseFile($args[0], [ref]$null, [ref]$e); $e; exit $e.Count"
)


def check(*argv: str) -> None:
    """Run a linter that must have nothing to say."""
    done = subprocess.run([need(argv[0]), *argv[1:]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", FILES)
def test_generated_files_are_fresh(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == FILES[name](), "run `make docs`"


def test_shellcheck() -> None:
    check("shellcheck", str(SHELL / "kmi.bash"), str(SHELL / "completions" / "kmi.bash"))


@pytest.mark.parametrize("path", ["kmi.fish", "completions/kmi.fish", "fish/conf.d/kmi.fish"])
def test_fish_indent(path: str) -> None:
    check("fish_indent", "--check", str(SHELL / path))


@pytest.mark.parametrize("shell", [*SYNTAX, "pwsh"])
def test_every_rendering_can_be_read(shell: str, tmp_path: Path) -> None:
    if shell == "pwsh":
        import shutil

        if shutil.which("pwsh") is None:
            pytest.skip("needs pwsh, which Debian does not have")
        argv = ["pwsh", "-NoProfile", "-Command", PWSH]
    else:
        argv = [need(shell), *SYNTAX[shell][1:]]
    files = [SHELL / shells.SCRIPTS[shell], SHELL / "completions" / shells.COMPLETIONS[shell]]
    for number, (size, name) in enumerate(itertools.product(range(4), ["kimi", "my-kimi"])):
        for without in itertools.combinations(shells.SECTIONS, size):
            text = shells.init_script(shell, ["/a b/it's", "x"], name, "/s'd", without)
            assert "#: " not in text
            path = tmp_path / f"{number}-{'-'.join(without)}"
            path.write_text(text, encoding="utf-8")
            files.append(path)
    for path in files:
        done = subprocess.run([*argv, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), path


@pytest.mark.parametrize("shell", shells.SHELLS)
def test_the_parts_that_are_not_wanted_are_not_there(shell: str) -> None:
    def script(*without: str) -> str:
        return shells.init_script(shell, ["kmi"], "kimi", "", without)

    assert "The client, on a key" not in script("wrap")
    assert "KMI_PROMPT" not in script("prompt")
    assert "labels" not in script("completion")
    marks = ("The client, on a key", "KMI_PROMPT", "labels")
    assert all(mark in script() for mark in marks)


def test_the_same_sections_in_the_same_order() -> None:
    def order(shell: str) -> list[str]:
        lines = (SHELL / shells.SCRIPTS[shell]).read_text().splitlines()
        begun = [
            line.rpartition("begin ")[2] for line in lines if "#: begin" in line and "`" not in line
        ]
        return list(dict.fromkeys(begun))

    assert {tuple(order(shell)) for shell in shells.SHELLS} == {shells.SECTIONS}


def test_bash_of_macos_can_read_it() -> None:
    """What bash 3.2 does not know: checked by words, for that bash is not here."""
    for path in (SHELL / "kmi.bash", SHELL / "completions" / "kmi.bash"):
        text = path.read_text()
        for word in (
            "mapfile",
            "readarray",
            "EPOCH",
            "declare -A",
            "local -n",
            "${!#}",
            "@Q}",
            ",,}",
            "^^}",
            "&>>",
            "|&",
            "printf '%(",
        ):
            assert word not in text, (path.name, word)


def test_the_man_page() -> None:
    import shutil

    if shutil.which("man") is None:
        pytest.skip("needs man")
    page = str(ROOT / "docs" / "man" / "kmi.1")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
