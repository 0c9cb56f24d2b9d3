"""A running proxy in the foreground, in front of a fake API whose answers can be held back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.auth_formats import key_id_of
from kmi.demo.behaviours import Behaviour
from kmi.demo.fake_api import FakeKimi
from kmi.state import Active, State, encode
from tests.conftest import CLI, Process, World, secret_of, write_private
from tests.proxy.box import LIMIT_S, until

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = "token-" + "CANARY" * 8
BASE = "/kmi-rotor/v1"


class GatedKimi(FakeKimi):
    """The fake API; an answer to a key with a gate waits until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, threading.Event] = {}

    def hold(self, label: str) -> threading.Event:
        """Close the gate of a key."""
        gate = self.gates[secret_of(label)] = threading.Event()
        return gate

    def behaviour(self, key: str) -> Behaviour:
        """Also: wait."""
        gate = self.gates.get(key)
        if gate is not None:
            gate.wait(LIMIT_S)
        return super().behaviour(key)


class Answer(NamedTuple):
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The label in `x-kmi-key`; "" without it."""
        return self.headers.get("x-kmi-key", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The model's text, of a stream."""
        found = []
        for line in self.body.decode().splitlines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:]).get("choices", []):
                    found.append(choice["delta"].get("content") or "")
        return "".join(found)


class Scene:
    """A world with keys, and one proxy.

    Attributes:
        world: the home.
        api: the upstream.
        answers: everything that clients got, as they got it.
    """

    def __init__(self, world: World, api: GatedKimi) -> None:
        self.world = world
        self.api = api
        self.answers: list[Answer] = []
        self.process: Process | None = None
        self.port = 0
        world.env.update(
            KMI_CLIENT=CLI,
            KMI_PROXY_LISTEN="127.0.0.1:0",
            KMI_PROXY_TOKEN=TOKEN,
            KMI_UPSTREAM_BASE_URL=api.base_url,
            KMI_AUTO_ROTATE_ALLOWED="1",
            KMI_PROXY_RETRY_BASE_MS="10",
        )

    # What is there.

    def keys(self, *labels: str) -> None:
        """Auth files, and answers that name their keys."""
        for label in labels:
            self.world.add_key(label)
            self.behave(label)

    def behave(self, label: str, behaviour: Behaviour | None = None) -> None:
        """Let a key behave so from now on; well by default."""
        self.api.set(secret_of(label), behaviour or Behaviour(text=f"answer for {label}"))

    def was_used(self, label: str) -> None:
        """What `kmi use` leaves, at the price of no process."""
        self.world.config_with(label)
        active = Active(key_id_of(secret_of(label)), label, time.time() - 60.0)
        state = json.dumps(encode(State(active={CLI: active})))
        self.world.state.mkdir(mode=0o700)
        write_private(self.world.state / "state.json", state)

    def use(self, label: str) -> None:
        """`kmi use`."""
        if not self.world.config().exists():
            self.world.config_with(label)
        done = self.world.kmi("use", label)
        assert done.returncode == 0, done

    def settings(self, **values: object) -> None:
        """Write the env file."""
        lines = [f"KMI_{name}={value}\n" for name, value in values.items()]
        write_private(self.world.env_file, "".join(lines))

    # The proxy.

    def start(self, **env: str) -> Scene:
        """Start it, and return when it listens."""
        self.world.env.update({f"KMI_{name}": value for name, value in env.items()})
        self.errors = self.world.root / "proxy.err"
        with self.errors.open("ab") as errors:
            self.process = self.world.start("proxy", "start", "--foreground", stderr=errors)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        assert line.endswith(BASE), (line, self.errors.read_text())
        self.port = int(line.rsplit(":", 1)[1].partition("/")[0])
        return self

    def end(self) -> None:
        """End it; everything is written then."""
        if self.process is None:
            return
        process, self.process = self.process, None
        for gate in self.api.gates.values():
            gate.set()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(LIMIT_S) == 0, self.errors.read_text()
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()

    def ask(
        self,
        session: str = "",
        path: str = "/chat/completions",
        *,
        stream: bool = True,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        base: str = BASE,
        **fields: Any,
    ) -> Answer:
        """One request on a connection of its own."""
        body = None
        if method is None and path in {"/chat/completions", "/messages"}:
            said = [{"role": "user", "content": "hi"}]
            table = {"model": "k", "stream": stream, "messages": said, **fields}
            if session:
                table["prompt_cache_key"] = session
            body = json.dumps(table).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(
                method or ("GET" if body is None else "POST"),
                base + path,
                body,
                {
                    "Authorization": f"Bearer {TOKEN}",
                    "Content-Type": "application/json",
                    **(headers or {}),
                },
            )
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            answer = Answer(got.status, found, got.read())
        finally:
            connection.close()
        self.answers.append(answer)
        return answer

    def ask_all(self, sessions: Iterable[str], **more: Any) -> list[Answer]:
        """Many requests at once."""
        names = list(sessions)
        with ThreadPoolExecutor(max(1, len(names))) as pool:
            return list(pool.map(lambda name: self.ask(name, **more), names))

    def in_background(self, session: str = "", **more: Any) -> Pending:
        """One request that is waited for later."""
        return Pending(self, session, more)

    @property
    def status(self) -> Any:
        """What `/status` says."""
        return self.ask(path="/status", base="").json

    # What came of it.

    def asked(self) -> list[str]:
        """The labels of the keys that chat requests carried upstream, in order."""
        names = {secret_of(path.stem): path.stem for path in self.world.auths.glob("*.env")}
        return [names.get(key, key) for key in self.api.chat_keys()]

    def shown(self, label: str) -> Any:
        """A key in `kmi health --json --no-refresh`."""
        keys = self.world.document("health", "--no-refresh")["keys"]
        return next(key for key in keys if key["label"] == label)

    def saved(self, label: str) -> dict[str, Any]:
        """A key in `state.json`; empty when it is not there."""
        keys = self.world.saved_state().get("keys", {})
        return next((key for key in keys.values() if key["label"] == label), {})

    def wait_for_hold(self, label: str) -> dict[str, Any]:
        """Until it is in `state.json` that a key is held, and why."""
        until(lambda: self.saved(label).get("hold"), f"a hold of {label}")
        hold = self.saved(label)["hold"]
        assert isinstance(hold, dict)
        return hold

    def wait_until_picked(self, label: str) -> None:
        """Until new sessions get this key."""
        number = 0

        def picked() -> bool:
            nonlocal number
            number += 1
            return self.ask(f"look-for-{label}-{number}-{time.monotonic()}").key == label

        until(picked, f"new sessions on {label}")

    def log(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        return [line for line in self.world.records("logs/kmi.jsonl") if line["event"] == event]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)


class Pending:
    """A request in a thread."""

    def __init__(self, scene: Scene, session: str, more: dict[str, Any]) -> None:
        self._found: list[Answer] = []
        self._thread = threading.Thread(
            target=lambda: self._found.append(scene.ask(session, **more)), daemon=True
        )
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def answer(self) -> Answer:
        """Wait for it."""
        self._thread.join(LIMIT_S)
        assert self._found, "no answer"
        return self._found[0]
