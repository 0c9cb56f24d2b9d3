"""A throw-away machine for one test: a home, a project, keys, a client on PATH, the fake API."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import clients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.demo.fake_api import FakeKimi

CLI, CODE = "kimi-cli", "kimi-code"
ROOT = Path(__file__).parents[2]
#: A whole run of a client takes 2 to 7 s; six at once on two cores need more.
RUN_LIMIT_S = 120.0
SECRETS = {
    name: f"sk-kimi-{name}-Xq7Zt3Lw9Rb5Nc1Vd8Kf" for name in ("alpha", "beta", "gamma", "stale")
}
TOKEN = "oauth-access-token-of-the-login"  # noqa: S105 - made up


class Box:
    """See the module.

    Attributes:
        client: "kimi-cli" or "kimi-code".
        config: the client's config.toml in the throw-away home.
    """

    def __init__(self, root: Path, client: str, fake: FakeKimi) -> None:
        self.client = client
        self.fake = fake
        self.home = root / "home"
        self.project = root / "project"
        self.auths = root / "auths"
        self.state = root / "state"
        for folder in (self.home, self.project, self.auths, self.state):
            folder.mkdir(mode=0o700)
        self.client_home = self.home / (".kimi" if client == CLI else ".kimi-code")
        self.config = self.client_home / "config.toml"
        self.path_dir = clients.kimi_cli() if client == CLI else clients.kimi_code()
        (root / "no.env").touch()
        self.env = {
            "PATH": f"{self.path_dir}:{os.defpath}:/usr/bin:/bin",
            "HOME": str(self.home),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            # Telemetry and self-update off; a managed endpoint, if one is asked, is the fake.
            "KIMI_DISABLE_TELEMETRY": "1",
            "KIMI_CLI_NO_AUTO_UPDATE": "1",
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_CODE_BASE_URL": fake.base_url,
            "KIMI_CODE_OAUTH_HOST": "http://127.0.0.1:9",
            "KMI_AUTHS_DIR": str(self.auths),
            "KMI_STATE_DIR": str(self.state),
            "KMI_USAGE_CACHE_SECONDS": "0",
            "KMI_ENV_PATH": str(root / "no.env"),
        }
        if not _kmi_is_installed():
            self.env["PYTHONPATH"] = str(ROOT)

    # What is on the machine.

    def keys(self, *labels: str, base_url: str | None = None) -> None:
        """Give kmi keys of these names."""
        url = base_url or self.fake.base_url
        for label in labels:
            path = self.auths / f"{label}.env"
            text = f"KMI_API_KEY={SECRETS[label]}\nKMI_UPSTREAM_BASE_URL={url}\n"
            _write(path, text)

    def write_config(self, text: str) -> bytes:
        """Give the client a config, and return its bytes."""
        self.client_home.mkdir(mode=0o700, exist_ok=True)
        _write(self.config, text)
        return self.config.read_bytes()

    def with_key(self, label: str, *, services: bool = False) -> bytes:
        """A config as a person keeps one: with comments, odd spacing, and this key."""
        text = f"""\
# my settings
default_model = "k"   # the good one

[providers."my kimi"]
type     = "kimi"
base_url = "{self.fake.base_url}"
api_key  = "{SECRETS[label]}"      # of {label}

[models]
k = {{ provider = "my kimi", model = "kimi-for-coding", max_context_size = 262144 }}
"""
        if services:
            for name in ("search", "fetch"):
                text += f"""
[services.moonshot_{name}]
base_url = "{self.fake.base_url}/{name}"
api_key = "{SECRETS[label]}"
"""
        return self.write_config(text)

    def with_login(self) -> bytes:
        """A config with an OAuth login and its token, which is good for a day."""
        credentials = self.client_home / "credentials"
        credentials.mkdir(mode=0o700, parents=True)
        token = {
            "access_token": TOKEN,
            "refresh_token": "oauth-refresh-token",
            "expires_at": int(time.time()) + 86400,
            "scope": "kimi-code",
            "token_type": "Bearer",
            "expires_in": 86400,
        }
        _write(credentials / "account.json", json.dumps(token))
        # kimi-cli wants an api_key, if an empty one.
        empty = 'api_key = ""\n' if self.client == CLI else ""
        return self.write_config(f"""\
default_model = "mine"
# logged in on Monday
[providers.account]
type = "kimi"
base_url = "{self.fake.base_url}"
{empty}[providers.account.oauth]
storage = "file"
key = "oauth/account"

[models.mine]
provider = "account"
model = "kimi-for-coding"
max_context_size = 262144
""")

    # Runs.

    def ask(self, text: str, *options: str) -> list[str]:
        """The client's arguments for one prompt without a terminal."""
        if self.client == CLI:
            return ["--quiet", *options, "-p", text]
        return [*options, "-p", text]

    @property
    def resume(self) -> str:
        """The option that goes on with the last session of the folder."""
        return "-C" if self.client == CLI else "-c"

    def kmi(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        """Run kmi to its end."""
        return _wait(self.start(*args, env=env))

    def start(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start kmi."""
        return self._start([sys.executable, "-m", "kmi", *args], env, stdin)

    def plain(self, *args: str) -> Done:
        """Run the client without kmi."""
        return _wait(self._start([str(self.path_dir / "kimi"), *args], None))

    def _start(
        self, argv: list[str], env: Mapping[str, str] | None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv,
            cwd=self.project,
            env={**self.env, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    # What came of it.

    def asked_with(self, prompt: str | None = None) -> list[str]:
        """The labels of the keys that chat requests carried, in order."""
        names = {secret: label for label, secret in SECRETS.items()}
        names[TOKEN] = "the login"
        return [names.get(key, key) for key in self.fake.chat_keys(prompt=prompt)]

    def private_copies(self, label: str) -> list[Path]:
        """The private configs of pinned runs that hold a secret."""
        secret = SECRETS[label].encode()
        files = [path for path in self.state.glob("pins/**/config.toml") if path.is_file()]
        return [path for path in files if secret in path.read_bytes()]


class Done:
    """A finished run: ``code``, ``out``, ``err``."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\nstdout: {self.out[-3000:]}\nstderr: {self.err[-3000:]}"


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for what `Box.start` started."""
    return _wait(process)


def _wait(process: subprocess.Popen[str]) -> Done:
    try:
        out, err = process.communicate(timeout=RUN_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err)


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _kmi_is_installed() -> bool:
    try:
        importlib.metadata.distribution("kmi")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
