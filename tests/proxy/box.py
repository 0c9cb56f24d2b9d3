"""A world with a proxy in it: the real process, in front of a fake API on loopback."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from kmi.demo.behaviours import Behaviour
from kmi.proxy.instance import Instance, look
from tests.conftest import CLI, World, secret_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmi.demo.fake_api import FakeKimi

#: For what takes a moment when nothing else runs; a hang is found, a slow machine is not punished.
LIMIT_S = 60.0


def until(done: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


class Box:
    """A world with two keys, `alpha` in kimi-cli's config, and a free port for its proxy."""

    def __init__(self, world: World, api: FakeKimi) -> None:
        self.world = world
        self.api = api
        world.env.update(KMI_PROXY_LISTEN="127.0.0.1:0", KMI_CLIENT=CLI)
        world.env["KMI_UPSTREAM_BASE_URL"] = api.base_url
        for label in ("alpha", "beta"):
            api.set(secret_of(label), Behaviour())
            world.add_key(label, UPSTREAM_BASE_URL=api.base_url)

    @property
    def directory(self) -> str:
        return str(self.world.state)

    @property
    def instance(self) -> Instance | None:
        """The proxy that runs."""
        return look(self.directory).instance

    @property
    def token(self) -> str:
        return (self.world.state / "proxy.token").read_text().strip()

    def start(self) -> Instance:
        """`kmi proxy`."""
        done = self.world.kmi("proxy")
        assert done.returncode == 0, done
        instance = self.instance
        assert instance is not None
        return instance

    def request(
        self, instance: Instance, path: str = "/chat/completions", token: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """A chat through the proxy, or another request below its base path: status, head, body."""
        body = None
        if path == "/chat/completions":
            message = {"role": "user", "content": "hi"}
            body = json.dumps({"model": "kimi-for-coding", "messages": [message]}).encode()
        asked = urllib.request.Request(
            instance.base_url + path,
            data=body,
            headers={
                "Authorization": f"Bearer {self.token if token is None else token}",
                "Content-Type": "application/json",
            },
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(asked, timeout=LIMIT_S) as answer:
                return answer.status, dict(answer.headers.items()), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers.items()), error.read()

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        until(lambda: not look(self.directory).held or self.instance, "a start comes to its end")
        instance = self.instance
        if instance is not None:
            os.kill(instance.pid, signal.SIGKILL)
            until(lambda: not look(self.directory).held, "the proxy is gone")

    def audits(self) -> list[tuple[Any, Any]]:
        """Commands and outcomes of the audit."""
        records = self.world.records("audit.jsonl")
        return [(record["command"], record["outcome"]) for record in records]
