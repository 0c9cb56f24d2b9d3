"""The world that every test gets: a throw-away home, and kmi as a real process in it.

``world`` is what other test modules use; `World` is its type. Nothing here replaces a part of kmi.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import hypothesis
import pytest

from tests import quickly

# Also for the tests, which import the world from here.
from tests.fork_server import PACKAGE_PARENT as PACKAGE_PARENT
from tests.quickly import LIMIT_S as LIMIT_S
from tests.quickly import Result as Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What goes on beside a test.
Process = Union[quickly.Forked, subprocess.Popen[bytes]]

CLI, CODE = "kimi-cli", "kimi-code"
#: The base URL of keys and configs in tests. Nothing listens there.
BASE_URL = "https://api.kimi.com/coding/v1"

# `make fuzz` looks for longer.
hypothesis.settings.register_profile("kmi", deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("kmi")


def secret_of(label: str) -> str:
    """The secret that a test key has by default: looks real, and is easy to search for."""
    tail = hashlib.sha256(label.encode()).hexdigest()[:10]
    return f"sk-kimi-CANARY{label.encode().hex()}Zq7w9T{tail}"


def config_text(secret: str, *, base_url: str = BASE_URL) -> str:
    """A client config as a person keeps one, with comments and odd spacing."""
    return f"""\
# my settings, do not touch
default_model = "k"   # the good one
theme = 'dark'

[providers."my kimi"]
type     = "kimi"
base_url = "{base_url}"
api_key  = "{secret}"      # the key

[models]
k = {{ provider = "my kimi", model = "kimi-for-coding", max_context_size = 262144 }}
"""


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    """Write a file, and its directories, with exactly this mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def clean_env(home: Path, path: str) -> dict[str, str]:
    """An environment with nothing of the developer's in it."""
    return {
        "HOME": str(home),
        "PATH": path,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "LOGNAME": "tester",
        "PYTHONPATH": PACKAGE_PARENT,
        # `make coverage` measures what a run starts, too.
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }


class World:
    """A throw-away home, with settings, keys and client configs in it.

    Attributes:
        root: everything is below it.
        home: ``HOME``; holds ``.kimi`` and ``.kimi-code``.
        auths, state, env_file: what ``KMI_AUTHS_DIR``, ``KMI_STATE_DIR`` and ``KMI_ENV_PATH`` name.
        bin: the first directory on ``PATH``.
        cwd: where programs are started.
        env: the whole environment of kmi; change it as you like.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.auths = self.home / "kmi-auths"
        self.state = self.home / "kmi-state"
        self.env_file = self.home / "kmi.env"
        self.bin = root / "bin"
        self.cwd = root / "project"
        for folder in (self.home, self.auths, self.bin, self.cwd):
            folder.mkdir(mode=0o700)
        write_private(self.env_file, "")
        self.env = {
            **clean_env(self.home, f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin"),
            "KMI_AUTHS_DIR": str(self.auths),
            "KMI_STATE_DIR": str(self.state),
            "KMI_ENV_PATH": str(self.env_file),
            # Nothing is asked upstream unless a test is about that.
            "KMI_USAGE_CACHE_SECONDS": "0",
        }

    # What is there.

    def add_key(
        self, label: str, secret: str | None = None, *, mode: int = 0o600, **fields: object
    ) -> Path:
        """Write an auth file ``LABEL.env``; fields by their `.env` names, without ``KMI_``.

        ``add_key("work", KEY_PRIORITY=3)``, ``add_key("b", UPSTREAM_BASE_URL="https://…")``.
        """
        lines = [f"KMI_API_KEY={secret_of(label) if secret is None else secret}"]
        if "/" in label:
            lines.append(f"KMI_KEY_LABEL={label}")
        lines += [f"KMI_{name}={value}" for name, value in fields.items()]
        name = label.replace("/", "-")
        return write_private(self.auths / f"{name}.env", "\n".join(lines) + "\n", mode)

    def add_keys(self, *labels: str) -> None:
        """Write one auth file for each label."""
        for label in labels:
            self.add_key(label)

    def config(self, client: str = CLI) -> Path:
        """Where a client's config is."""
        return self.home / {CLI: ".kimi", CODE: ".kimi-code"}[client] / "config.toml"

    def write_config(self, client: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Give a client a config."""
        folder = self.config(client).parent
        folder.mkdir(mode=0o700, exist_ok=True)
        return write_private(self.config(client), content, mode)

    def config_with(self, label: str, client: str = CLI) -> bytes:
        """Give a client an ordinary config that holds this key, and return its bytes."""
        return self.write_config(client, config_text(secret_of(label))).read_bytes()

    def script(self, name: str, text: str, *, mode: int = 0o755) -> Path:
        """Put a program into ``bin``. Without a ``#!`` line it is a shell script."""
        if not text.startswith("#!"):
            text = f"#!/bin/sh\n{text}"
        return write_private(self.bin / name, text, mode)

    # Runs.

    def kmi(
        self,
        *args: str,
        input: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run kmi to its end. A None in ``env`` takes a variable away."""
        given = self.environment(env)
        if quickly.fits(given):
            return quickly.shared().call(args, given, cwd or self.cwd, input or "")
        return self.command([sys.executable, "-m", "kmi", *args], input=input, env=env, cwd=cwd)

    def start(
        self,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> Process:
        """Start kmi with an empty stdin, and go on."""
        given = self.environment(env)
        if quickly.fits(given):
            return quickly.shared().start(args, given, self.cwd, stdout=stdout, stderr=stderr)
        return subprocess.Popen(
            [sys.executable, "-m", "kmi", *args],
            cwd=self.cwd,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    def command(
        self,
        argv: list[str],
        *,
        input: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run any program in this world."""
        return subprocess.run(
            argv,
            cwd=cwd or self.cwd,
            env=self.environment(env),
            input="" if input is None else input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=LIMIT_S,
            check=False,
        )

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The environment with some of it replaced."""
        merged: dict[str, str | None] = {**self.env, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def document(
        self, *args: str, code: int = 0, env: Mapping[str, str | None] | None = None
    ) -> dict[str, Any]:
        """Run kmi with ``--json``, and return the one document that it printed."""
        done = self.kmi(*args, "--json", env=env)
        assert done.returncode == code, done
        document = json.loads(done.stdout)
        assert document["schema"] == 1
        assert isinstance(document, dict)
        return document

    # What came of it.

    def saved_state(self) -> dict[str, Any]:
        """What ``state.json`` holds; empty when there is none."""
        path = self.state / "state.json"
        if not path.exists():
            return {}
        state = json.loads(path.read_bytes())
        assert isinstance(state, dict)
        return state

    def records(self, name: str) -> list[dict[str, Any]]:
        """The lines of ``audit.jsonl`` or ``runs.jsonl``."""
        path = self.state / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def snapshot(self, folder: Path | None = None) -> dict[str, tuple[object, ...]]:
        """Everything below a folder (``home``), with modes, times and content."""
        top = folder or self.home
        found: dict[str, tuple[object, ...]] = {}
        for path in [top, *sorted(top.rglob("*"))]:
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            found[str(path.relative_to(top))] = (status.st_mode, status.st_mtime_ns, content)
        return found

    def files_with(self, text: str, folder: Path | None = None) -> list[str]:
        """The files below a folder (``home``) that hold a text, relative to it."""
        top = folder or self.home
        return sorted(
            str(path.relative_to(top))
            for path in top.rglob("*")
            if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A throw-away home without keys and without client configs."""
    return World(tmp_path)


#: What kmi could write if a test forgot to lead it elsewhere.
_OURS = ("config.toml", "state.json", "audit.jsonl", "runs.jsonl", "lock", "backups", "pins")


def _real_homes() -> dict[str, object]:
    """What the developer's own directories hold, as far as kmi could change it."""
    seen: dict[str, object] = {}
    for name in (".kmi", ".kimi", ".kimi-code"):
        folder = Path.home() / name
        seen[name] = sorted(os.listdir(folder)) if folder.is_dir() else None
        for path in (folder / item for item in _OURS):
            if path.exists():
                status = path.stat()
                seen[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return seen


@pytest.fixture(scope="session", autouse=True)
def _developer_is_left_alone() -> Iterator[None]:
    """No setting of the developer's reaches a test, and no test reaches their files."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("KMI_", "KIMI_")) and name != "KMI_E2E_CACHE"
    }
    before = _real_homes()
    yield
    os.environ.update(hidden)
    assert _real_homes() == before, "a test touched the real ~/.kmi, ~/.kimi or ~/.kimi-code"
