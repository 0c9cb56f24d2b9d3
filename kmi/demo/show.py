"""The demonstration: three keys, one of which works, and a client that ends up on it.

Everything happens in a temporary directory and on loopback: a home, a config with comments, a fake
Kimi API. The client is the real `kimi` where one that works is on PATH, else the stand-in.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from kmi.auth_writing import env_text
from kmi.client_args import CLI, CODE
from kmi.clients import check_not_tombstone, find_program
from kmi.demo import stand_in as stand_in_module
from kmi.demo.fake_api import Behaviour, FakeKimi, quota_403, rate_429
from kmi.errors import EXIT_FAILURE, EXIT_OK, KmiError
from kmi.files import ensure_private_dir, write_atomic
from kmi.masking import config_diff
from kmi.paths import PACKAGE_PARENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.output import Screen

#: Not secrets: the fake's own, which no other service knows.
KEYS = {
    "home": "sk-kimi-demo-home-0000000000000002",
    "team": "sk-kimi-demo-team-0000000000000003",
    "work": "sk-kimi-demo-work-0000000000000001",
}
PROMPT = "Say hello."
ANSWER = "Hello! This answer was paid for by the key 'team'."
#: A client that has not answered by then hangs.
CLIENT_TIMEOUT_S = 120

CONFIG = """\
# My Kimi config. These comments, and the order of things, are mine.
default_model = "k"     # the one I like

[providers.kimi]
type = "kimi"
base_url = "{base_url}"
api_key = "{secret}"    # kmi changes this value, and nothing else

[models.k]
provider = "kimi"
model = "kimi-for-coding"
max_context_size = 262144
"""


def show(env: Mapping[str, str], screen: Screen, *, stand_in: bool) -> int:
    """Run the demonstration.

    Returns:
        0 when the answer came, on the good key, and the config was as promised.
    """
    behaviours = {
        KEYS["work"]: quota_403(),
        KEYS["home"]: rate_429(retry_after="60"),
        KEYS["team"]: Behaviour(text=ANSWER),
    }
    with tempfile.TemporaryDirectory(prefix="kmi-demo-") as place, FakeKimi(behaviours) as fake:
        return _Demo(env, screen, os.path.realpath(place), fake, stand_in=stand_in).run()


class _Demo:
    def __init__(
        self,
        env: Mapping[str, str],
        screen: Screen,
        directory: str,
        fake: FakeKimi,
        *,
        stand_in: bool,
    ) -> None:
        self.screen = screen
        self.fake = fake
        self.home = os.path.join(directory, "home")
        self.bin = os.path.join(directory, "bin")
        for path in (self.home, self.bin):
            ensure_private_dir(path)
        self.env = self._environment(env)
        self.client, self.command = self._client(env, stand_in=stand_in)
        folder = ".kimi-code" if self.client == CODE else ".kimi"
        self.config = os.path.join(self.home, folder, "config.toml")

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Nothing of kmi's or a client's own settings gets in."""
        kept = {k: v for k, v in env.items() if not k.startswith(("KMI_", "KIMI_", "PYTHON"))}
        kept.update(
            HOME=self.home,
            PYTHONPATH=PACKAGE_PARENT,
            KMI_STATE_DIR=os.path.join(self.home, ".kmi"),
            KMI_AUTHS_DIR=os.path.join(self.home, ".kmi", "_auths"),
            KMI_ENV_PATH=os.path.join(self.home, ".kmi", ".env"),
            KMI_UPSTREAM_BASE_URL=self.fake.base_url,
            KMI_USAGE_CACHE_SECONDS="0",
            NO_PROXY="127.0.0.1,localhost",
            KIMI_DISABLE_TELEMETRY="1",
            KIMI_CLI_NO_AUTO_UPDATE="1",
            KIMI_CODE_NO_AUTO_UPDATE="1",
        )
        return kept

    def _client(self, env: Mapping[str, str], *, stand_in: bool) -> tuple[str, list[str]]:
        """The client's kind, and a one-shot command line for it."""
        if not stand_in:
            try:
                program = find_program("kimi", env, None)
                check_not_tombstone(program)
                if program.client is not None and self._works(program.path):
                    self.screen.data(f"client: {program.path} ({program.client})")
                    extra = ["--print"] if program.client == CLI else []
                    return program.client, ["kimi", *extra, "-p", PROMPT]
                self.screen.data(f"{program.path} does not work here; the stand-in takes its place")
            except KmiError as error:
                self.screen.data(f"no real client: {error.message}")
        path = os.path.join(self.bin, "kimi")
        script = stand_in_module.__file__
        call = f'exec {shlex.quote(sys.executable)} {shlex.quote(script)} "$@"\n'
        write_atomic(path, f"#!/bin/sh\n{call}".encode(), mode=0o700)
        self.env["PATH"] = self.bin + os.pathsep + self.env.get("PATH", os.defpath)
        self.env["KMI_CLIENT"] = CLI
        self.screen.data("client: the stand-in that kmi ships")
        return CLI, ["kimi", "--print", "-p", PROMPT]

    def _works(self, path: str) -> bool:
        try:
            asked = subprocess.run(
                [path, "--version"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CLIENT_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return asked.returncode == 0

    def run(self) -> int:
        self._write_files()
        self._heading("three keys; kmi asks the fake API about each")
        self._kmi("keys", "check", "--chat")
        self._heading("which one would a run get, and why")
        self._kmi("why")
        self._heading("the run: a key is swapped in, and kmi becomes the client")
        before = self._read()
        code = self._kmi("run", "--", *self.command)
        after = self._read()
        self._heading("what that changed in the client's config")
        for line in config_diff(before, after, self.config.replace(self.home, "~")):
            self.screen.data(line)
        used = self.fake.chat_keys()[-1:]
        self._heading("and back again")
        self._kmi("undo")
        restored = self._read() == before
        self.screen.data()
        return self._verdict(code == 0, used == [KEYS["team"]], restored)

    def _write_files(self) -> None:
        auths = self.env["KMI_AUTHS_DIR"]
        ensure_private_dir(auths)
        for label, secret in KEYS.items():
            text = env_text({"KMI_API_KEY": secret, "KMI_UPSTREAM_BASE_URL": self.fake.base_url})
            write_atomic(os.path.join(auths, f"{label}.env"), text.encode())
        write_atomic(self.env["KMI_ENV_PATH"], b"# kmi's settings would stand here\n")
        ensure_private_dir(os.path.dirname(self.config))
        text = CONFIG.format(base_url=self.fake.base_url, secret=KEYS["work"])
        write_atomic(self.config, text.encode())

    def _read(self) -> bytes:
        with open(self.config, "rb") as file:
            return file.read()

    def _heading(self, text: str) -> None:
        self.screen.data()
        self.screen.data(f"# {text}")

    def _kmi(self, *words: str) -> int:
        """Run kmi as a person would; what it says goes to the same terminal."""
        self.screen.data(f"$ kmi {shlex.join(words)}")
        self.screen.flush()
        try:
            return subprocess.run(
                [sys.executable, "-m", "kmi", *words],
                env=self.env,
                stdin=subprocess.DEVNULL,
                timeout=CLIENT_TIMEOUT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            self.screen.error("that took too long", "run it by hand to see why")
            return EXIT_FAILURE

    def _verdict(self, answered: bool, right_key: bool, restored: bool) -> int:
        points = {
            "the client answered": answered,
            "the fake API was asked with the key 'team'": right_key,
            "the config is back, byte for byte": restored,
        }
        for point, holds in points.items():
            self.screen.data(f"{'ok' if holds else 'FAILED'}: {point}")
        if all(points.values()):
            self.screen.data("the throw-away home is removed; nothing of yours was read or written")
            return EXIT_OK
        return EXIT_FAILURE
