"""The real clients, installed into a cache outside of the tree: ``python tests/e2e/clients.py``.

Each piece lies in a directory of its own whose name holds the version, and counts only with the
marker file that is written last: an interrupted installation is removed and done again. (Renaming
a finished directory into place would not do: the scripts of a virtual environment hold its path.)
A second call looks at the markers only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KIMI_CLI = "1.51.0"
TOMBSTONE = "1.52.0"  # installed to be recognised; never started: see clients.md
KIMI_CODE = "2.1.0"
NODE = "22.23.3"  # Kimi Code 2.1.0 needs 22.19 or later
#: Newest first; kimi-cli needs 3.12.
PYTHONS = ("3.14", "3.13", "3.12")
STEP_LIMIT_S = 900.0
MARKER = "complete.json"


class Missing(RuntimeError):  # noqa: N818 - it names a state, not only a failure
    """A client is not installed, and why."""


def cache() -> Path:
    """Where everything lies."""
    return Path(os.environ.get("KMI_E2E_CACHE") or "~/.cache/kmi-e2e").expanduser().absolute()


def kimi_cli() -> Path:
    """A directory for PATH in which ``kimi`` is kimi-cli 1.51.0."""
    return _path_dir(f"kimi-cli-{KIMI_CLI}")


def tombstone() -> Path:
    """A directory for PATH in which ``kimi`` is kimi-cli 1.52.0. Never start it."""
    return _path_dir(f"kimi-cli-{TOMBSTONE}")


def kimi_code() -> Path:
    """A directory for PATH in which ``kimi`` is Kimi Code, and ``node`` one that it runs on."""
    return _path_dir(f"kimi-code-{KIMI_CODE}-node-{NODE}")


def _path_dir(name: str) -> Path:
    """The directory with the links.

    Raises:
        Missing: it is not there; naming the command that installs it.
    """
    path = cache() / name / "path"
    if not _complete(cache() / name):
        raise Missing(f"{path} is missing: run `python tests/e2e/clients.py` (or `make e2e`)")
    return path


def _complete(home: Path) -> bool:
    # `exists` follows the link: an interpreter that was removed since makes the piece incomplete.
    return (home / MARKER).is_file() and (home / "path" / "kimi").exists()


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(log: Path, *command: str | Path, cwd: Path | None = None) -> None:
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=STEP_LIMIT_S,
            check=False,
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise Missing(f"`{Path(command[0]).name}` failed; {log} ends:\n{tail}")


def _install(name: str, build: Callable[[Path, Path], None]) -> Path:
    """Build one piece, unless it is complete.

    Raises:
        Missing: it can't be built, and why.
    """
    home = cache() / name
    with _only_one():
        if not _complete(home):
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            (home / "path").mkdir()
            log = cache() / f"{name}.log"
            log.unlink(missing_ok=True)
            try:
                build(home, log)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Missing(str(error)) from error
            (home / MARKER).write_text(json.dumps({"name": name}) + "\n")
    return home / "path"


def _pythons() -> list[Path]:
    """Every interpreter that can make the environment, newest first."""
    found = []
    for version in PYTHONS:
        names = [shutil.which(f"python{version}")]
        names += map(str, Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin/python3"))
        for name in filter(None, names):
            # A shim may stand for an interpreter that is not there, and Debian splits venv off.
            probe = [name, "-c", "import ensurepip, venv, sys; print(sys.executable)"]
            done = subprocess.run(probe, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found.append(Path(done.stdout.strip()))
    return found


def _venv(requirement: str, *options: str) -> Callable[[Path, Path], None]:
    def build(home: Path, log: Path) -> None:
        pythons = _pythons()
        if not pythons:
            raise Missing("kimi-cli needs Python 3.12 or later with venv, and none was found")
        for i, python in enumerate(pythons):
            venv = home / "venv"
            shutil.rmtree(venv, ignore_errors=True)
            try:
                _run(log, python, "-m", "venv", venv)
                pip = (venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
                _run(log, *pip, "install", "-q", *options, requirement)
                break
            except Missing:
                if i + 1 == len(pythons):
                    raise
        # A link elsewhere, as uv and pipx make it.
        (home / "path" / "kimi").symlink_to(home / "venv" / "bin" / "kimi")

    return build


def _npm(home: Path, log: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm was not found; Kimi Code comes from it")
    (home / "package.json").write_text('{"private": true}\n')
    # No scripts: Kimi Code's would look for other `kimi` programs, and one builds native code.
    package = f"@moonshot-ai/kimi-code@{KIMI_CODE}"
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier")
    _run(log, npm, "install", *quiet, "--ignore-scripts", package, cwd=home)
    # This one's script fetches the binary for this platform, as a package too.
    node_home = home / "node"
    node_home.mkdir()
    (node_home / "package.json").write_text('{"private": true}\n')
    _run(log, npm, "install", *quiet, f"node@{NODE}", cwd=node_home)
    binaries = [
        path
        for path in node_home.glob("**/bin/node")
        if path.is_file() and os.access(path, os.X_OK)
    ]
    if not binaries:
        machine = f"{platform.system()} {platform.machine()}"
        raise Missing(f"the npm package node@{NODE} brought no binary for {machine}; see {log}")
    (home / "path" / "node").symlink_to(binaries[0])
    main = home / "node_modules" / "@moonshot-ai" / "kimi-code" / "dist" / "main.mjs"
    main.chmod(main.stat().st_mode | 0o111)
    (home / "path" / "kimi").symlink_to(main)


PIECES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    f"kimi-cli {KIMI_CLI}": (f"kimi-cli-{KIMI_CLI}", _venv(f"kimi-cli=={KIMI_CLI}")),
    # Without its dependencies: it can be recognised, and could not run if someone tried.
    f"kimi-cli {TOMBSTONE} (never started)": (
        f"kimi-cli-{TOMBSTONE}",
        _venv(f"kimi-cli=={TOMBSTONE}", "--no-deps"),
    ),
    f"Kimi Code {KIMI_CODE}": (f"kimi-code-{KIMI_CODE}-node-{NODE}", _npm),
}


def main() -> int:
    """Install what is missing, and say where everything is."""
    missing = 0
    for title, (name, build) in PIECES.items():
        if not _complete(cache() / name):
            print(f"{title}: installing …", flush=True)
        try:
            print(f"{title}: {_install(name, build)}", flush=True)
        except Missing as error:
            missing += 1
            print(f"{title}: MISSING: {error}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
