"""The demonstration: three keys, one of which works, and a client that ends up on it.

Everything happens in a temporary directory and on loopback: a home, a config with comments, a fake
Kimi API. The client is the real `kimi` where one that works is on PATH, else the stand-in. The same
place can be had to try things in, with a shell.
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
from kmi.demo.fake_api import Behaviour, FakeKimi, quota_403, rate_429, usage_windows
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
#: When the windows of 5 hours, 7 days and the month start anew, some seconds beyond a full minute.
RESETS_IN_S = (5090.0, 3.13 * 86400.0, 17.3 * 86400.0)
#: How long the second key asks to wait: longer than anybody takes for the tutorial.
LIMITED_S = 3650
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
    with _place() as place, FakeKimi(_behaviours()) as fake:
        return _Demo(env, screen, os.path.realpath(place), fake, stand_in=stand_in).run()


def try_out(env: Mapping[str, str], screen: Screen) -> int:
    """Start ``$SHELL`` in the same place, with the stand-in as `kimi`, until it ends.

    Returns:
        0, whatever the shell's last command said.
    """
    with _place() as place, FakeKimi(_behaviours()) as fake:
        return _Demo(env, screen, os.path.realpath(place), fake, stand_in=True).try_out()


def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kmi-demo-")


def _behaviours() -> dict[str, Behaviour]:
    """One key whose five hours are spent, one that is asked too often, and one that works."""
    spent = usage_windows(1.0, 0.52, 0.2, user="work", resets_in=RESETS_IN_S)
    limited = usage_windows(0.38, 0.71, 0.4, user="home", resets_in=RESETS_IN_S)
    good = usage_windows(0.19, 0.12, 0.08, user="team", resets_in=RESETS_IN_S)
    return {
        KEYS["work"]: quota_403(usages=spent),
        KEYS["home"]: rate_429(retry_after=str(LIMITED_S), usages=limited),
        KEYS["team"]: Behaviour(text=ANSWER, usages=good),
    }


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
        self._program(path, script)
        self.env["PATH"] = self.bin + os.pathsep + self.env.get("PATH", os.defpath)
        self.env["KMI_CLIENT"] = CLI
        self.screen.data("client: the stand-in that kmi ships")
        return CLI, ["kimi", "--print", "-p", PROMPT]

    def _program(self, path: str, *words: str) -> None:
        """Write a program that starts this Python with these words."""
        call = f'exec {shlex.join([sys.executable, *words])} "$@"\n'
        write_atomic(path, f"#!/bin/sh\n{call}".encode(), mode=0o700)

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

    def try_out(self) -> int:
        """Start a shell here, and clear up behind it."""
        self._write_files()
        self._program(os.path.join(self.bin, "kmi"), "-m", "kmi")
        # Any free port, for the usual one may be that of a proxy of the user's.
        self.env.update(KMI_PROXY_LISTEN="127.0.0.1:0", PS1="kmi-demo$ ")
        self.screen.data("a throw-away home with three keys, on a fake API on this machine")
        self.screen.data("try: kmi keys, kmi run -- kimi, kmi health; `exit` removes it all")
        self.screen.flush()
        process = subprocess.Popen(
            [self.env.get("SHELL") or "/bin/sh"], env=self.env, cwd=self.home
        )
        while True:
            try:
                process.wait()
                break
            except KeyboardInterrupt:  # for the shell, which may be in the same process group
                continue
        if os.path.exists(os.path.join(self.env["KMI_STATE_DIR"], "proxy.json")):
            self._kmi("proxy", "stop")
        self.screen.data("the throw-away home is removed; nothing of yours was read or written")
        return EXIT_OK

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
