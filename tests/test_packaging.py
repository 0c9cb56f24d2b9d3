"""What is published: the scripts for shells, and never a key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import kmi
from tests.conftest import write_private

ROOT = Path(__file__).parents[1]
#: In two parts, for this file is published too.
CANARY = "sk-kimi-" + "CANARYneverpublishthis0123"
SCRIPTS = {
    "kmi.bash", "kmi.zsh", "kmi.fish", "kmi.ps1",
    "completions/kmi.bash", "completions/_kmi", "completions/kmi.fish", "completions/kmi.ps1",
}  # fmt: skip
SHARED = {
    "share/man/man1/kmi.1",
    "share/bash-completion/completions/kmi",
    "share/zsh/site-functions/_kmi",
    "share/fish/vendor_completions.d/kmi.fish",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheel and sdist of a copy of this tree in which keys lie around."""
    top = tmp_path_factory.mktemp("build")
    tree = top / "tree"
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "dist"
    )
    shutil.copytree(ROOT, tree, ignore=left_out, symlinks=True)
    # No ignore file: a guard that fails alone must not publish a key.
    (tree / ".gitignore").unlink(missing_ok=True)
    for name in ("_auths/work.env", "_auths/deep/a.toml", ".env", "kmi.env", "notes.txt"):
        write_private(tree / name, f"KMI_API_KEY={CANARY}\n")
    return {**build(tree, top / "dist"), "tree": tree}


def build(tree: Path, out: Path) -> dict[str, Path]:
    """Wheel and sdist of a tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)],
        cwd=tree, check=True, capture_output=True,
    )  # fmt: skip
    return {"sdist": next(out.glob("*.tar.gz")), "wheel": next(out.glob("*.whl"))}


def sdist_files(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {
            member.name.partition("/")[2]: (archive.extractfile(member) or sys.exit()).read()
            for member in members
        }


def wheel_files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_no_key_is_published(built: dict[str, Path]) -> None:
    for files in (sdist_files(built["sdist"]), wheel_files(built["wheel"])):
        assert not [name for name, data in files.items() if CANARY.encode() in data]
        assert not [
            name
            for name in files
            if "_auths" in name.split("/") and not name.endswith((".example", "README.md"))
        ]
        loose = [name for name in files if not name.startswith("tests/fixtures/")]
        assert not [name for name in loose if name.endswith((".env", ".pth", ".pyc"))]


def test_the_wheel_holds_the_package_as_it_is_and_nothing_else(built: dict[str, Path]) -> None:
    package = ROOT / "kmi"
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files = wheel_files(built["wheel"])
    ours = {
        name: data
        for name, data in files.items()
        if name.startswith("kmi/") and not name.startswith("kmi/shell/")
    }
    assert ours == sources


def test_two_builds_are_the_same_to_the_byte(built: dict[str, Path], tmp_path: Path) -> None:
    """Whoever builds a release again can compare."""
    for path in built["tree"].rglob("*.py"):
        os.utime(path, (1_700_000_000, 1_700_000_000))  # times are no part of it
    again = build(built["tree"], tmp_path / "again")
    for kind in ("wheel", "sdist"):
        assert again[kind].name == built[kind].name
        assert again[kind].read_bytes() == built[kind].read_bytes()


def test_the_wheel_holds_what_shells_need(built: dict[str, Path]) -> None:
    names = set(wheel_files(built["wheel"]))
    assert {f"kmi/shell/{name}" for name in SCRIPTS} <= names
    data = f"kmi-{kmi.__version__}.data/data"
    assert {f"{data}/{name}" for name in SHARED} <= names
    assert "kmi/proxy/page.html" in names
    top = {name.split("/")[0] for name in names}
    assert top == {"kmi", f"kmi-{kmi.__version__}.dist-info", f"kmi-{kmi.__version__}.data"}


def test_the_sdist_holds_the_sources(built: dict[str, Path]) -> None:
    names = set(sdist_files(built["sdist"]))
    assert {f"shell/{name}" for name in SCRIPTS} <= names
    assert {
        "kmi/shells.py",
        "tests/test_packaging.py",
        "docs/man/kmi.1",
        "pyproject.toml",
        "LICENSE",
    } <= names


def script(place: Path) -> str:
    """What `kmi init bash` prints, with kmi from one place only."""
    code = (
        "import sys; sys.argv[0] = '/x/kmi'; from kmi.__main__ import main; main(['init', 'bash'])"
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONPATH": str(place),
        "PYTHONSAFEPATH": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def test_a_wheel_an_sdist_and_a_checkout_print_the_same(
    built: dict[str, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        archive.extractall(tmp_path / "wheel")
    with tarfile.open(built["sdist"]) as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(tmp_path / "sdist", filter="data")
        else:
            archive.extractall(tmp_path / "sdist")
    unpacked = next((tmp_path / "sdist").iterdir())
    places = [tmp_path / "wheel", unpacked, built["tree"]]
    assert len({script(place) for place in places}) == 1


def test_without_the_scripts_both_places_are_named(built: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        archive.extractall(tmp_path)
    shutil.rmtree(tmp_path / "kmi" / "shell")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "kmi"), "init", "zsh"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path / "kmi" / "shell") in done.stderr
    assert str(tmp_path / "shell") in done.stderr


def test_recipes_name_this_version() -> None:
    """They are written from pyproject.toml (`make docs`), but for Debian's changelog."""
    changelog = (ROOT / "packaging" / "debian" / "changelog").read_text(encoding="utf-8")
    assert changelog.startswith(f"kmi ({kmi.__version__}) ")


def test_the_sdist_holds_plugins_and_recipes(built: dict[str, Path]) -> None:
    names = set(sdist_files(built["sdist"]))
    assert {
        "kmi.plugin.zsh",
        "shell/fish/conf.d/kmi.fish",
        "packaging/debian/rules",
        "packaging/debian/build",
        "packaging/homebrew/kmi.rb",
        "benchmarks/results.json",
    } <= names
    with tarfile.open(built["sdist"]) as archive:
        programs = {m.name.partition("/")[2] for m in archive.getmembers() if m.mode & 0o100}
    assert {"packaging/debian/rules", "packaging/debian/build"} <= programs
