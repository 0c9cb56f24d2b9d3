"""`kmi --version`: which kmi runs, and from where."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kmi.origin import commit, origin

if TYPE_CHECKING:
    from pathlib import Path

NAME = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as git writes it, on a branch."""
    root = tmp_path / "kmi"
    (root / ".git" / "refs" / "heads").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git" / "refs" / "heads" / "main").write_text(NAME + "\n")
    return root


def test_each_way_to_have_kmi_is_told_apart(checkout: Path, tmp_path: Path) -> None:
    at = f"{checkout} at commit 0123456789"
    assert origin(str(checkout), str(checkout / "kmi/__main__.py")) == f"checkout {at}"
    assert origin(str(checkout), str(checkout)) == f"checkout {at}"  # `python /path/to/kmi`
    editable = origin(str(checkout), "/home/me/.venv/bin/kmi")
    assert editable == f"editable installation of the checkout {at}"
    assert origin(str(tmp_path), "/home/me/.venv/bin/kmi") == f"installed in {tmp_path}"
    shutil.rmtree(checkout / ".git")
    assert origin(str(checkout), str(checkout)) == f"checkout {checkout}"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_the_one_that_git_names(tmp_path: Path) -> None:
    root = tmp_path / "real"
    root.mkdir()

    def git(*words: str, where: Path = root) -> str:
        names = {
            f"GIT_{who}_{what}": "x"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), **names}
        done = subprocess.run(["git", *words], cwd=where, env=env, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    assert commit(str(root)) == ""
    git("commit", "-q", "--allow-empty", "-m", "one")
    first = git("rev-parse", "HEAD")[:10]
    assert commit(str(root)) == first
    git("pack-refs", "--all")
    assert commit(str(root)) == first
    git("worktree", "add", "-q", "../other", "-b", "other")
    git("commit", "-q", "--allow-empty", "-m", "two", where=tmp_path / "other")
    second = git("rev-parse", "HEAD", where=tmp_path / "other")[:10]
    assert (commit(str(root)), commit(str(tmp_path / "other"))) == (first, second)
    git("checkout", "-q", "--detach", second)
    assert commit(str(root)) == second


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/none\n", "ref: \n", "\x1b[31mno hex", "é", "0x12"]
)
def test_what_is_no_commit_is_not_shown(checkout: Path, head: str) -> None:
    (checkout / ".git" / "HEAD").write_text(head, encoding="utf-8")
    assert commit(str(checkout)) == ""
