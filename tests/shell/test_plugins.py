"""kmi as a plugin: sourced by managers of zsh, copied by fisher, with the `kmi` on PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shell.conftest import KMI, RC, Desk, need
from tests.shell.test_completion import BEFORE, SAY, completed

ROOT = Path(__file__).parents[2]
ANTIGEN = Path("/usr/share/zsh-antigen/antigen.zsh")
COMPINIT = BEFORE["zsh"]

#: The lines of a `.zshrc`, as each manager wants them.
MANAGERS = {
    # A clone in $ZSH_CUSTOM/plugins: on fpath, compinit, then sourced.
    "oh-my-zsh": "fpath=({plugin} $fpath)\n" + COMPINIT + "\nsource {plugin}/kmi.plugin.zsh",
    # Sourced within a function, by name; compinit is called at the end.
    "zinit": "load() {{ builtin source {plugin}/kmi.plugin.zsh }}; load\n" + COMPINIT,
    "antigen": f"source {ANTIGEN}\nantigen bundle {{plugin}} --no-local-clone\nantigen apply",
}


@pytest.fixture
def plugin(desk: Desk) -> Path:
    """What a manager has: a clone, here without the program, which is on PATH."""
    desk.world.script("kmi", f'exec {KMI[0]} {KMI[1]} "$@"\n')
    clone = desk.world.root / "managed" / "kmi"
    clone.mkdir(parents=True)
    shutil.copytree(ROOT / "shell", clone / "shell")
    shutil.copy(ROOT / "kmi.plugin.zsh", clone)
    return clone


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_manager_of_zsh(desk: Desk, plugin: Path, manager: str) -> None:
    need("zsh")
    if manager == "antigen" and not ANTIGEN.exists():
        pytest.skip("needs zsh-antigen")
    lines = MANAGERS[manager].format(plugin=plugin)
    shell = desk.open("zsh", rc=RC["zsh"].replace("{init}", lines) + SAY["zsh"])
    shell.do("true")
    assert "[work] " in shell.prompt
    assert "<-p><hi>" in shell.do("kimi -p hi")
    assert "command kmi run -- kimi" in shell.do("functions kimi")
    assert completed(shell, "kmi use te") == "kmi use team/ci@x "


def test_what_fisher_copies(desk: Desk, plugin: Path) -> None:
    """It copies the files of four directories, and the next shell reads them."""
    need("fish")
    config = desk.world.home / "fish" / "fish"
    for folder in ("functions", "themes", "conf.d", "completions"):
        for file in (plugin / "shell" / "fish").glob(f"{folder}/*"):
            (config / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, config / folder)
    shell = desk.open("fish", rc=RC["fish"].replace("{init}", ""))
    shell.do("true")
    assert shell.value("$KMI_PROMPT") == "work"
    assert "<-p><hi>" in shell.do("kimi -p hi")
    assert "run -- kimi" in shell.do("functions kimi")
    got = shell.value("(complete -C 'kmi use te' | string replace -r '\\t.*' '' | string join '|')")
    assert got == "team/ci@x"
    shell.do("emit kmi_uninstall")
    shell.do("true")
    assert shell.value('"$KMI_PROMPT"') == ""
    assert "run -- kimi" not in shell.do("functions kimi")


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_without_kmi_on_path_nothing_happens(name: str, tmp_path: Path) -> None:
    shell = need(name)
    script = "kmi.plugin.zsh" if name == "zsh" else "shell/fish/conf.d/kmi.fish"
    code = f"source {ROOT / script}; type kimi; true"
    flags = ["-f", "-i", "-c"] if name == "zsh" else ["-N", "-i", "-c"]
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "dumb"}
    assert shutil.which("kmi", path=env["PATH"]) is None
    done = subprocess.run(
        [shell, *flags, code], env=env, cwd=tmp_path, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "function" not in done.stdout
    assert (
        "not found" in done.stdout + done.stderr
        or "could not" in (done.stdout + done.stderr).lower()
    )
