"""A fake Kimi API on loopback, for `kmi demo` and for the tests.

What is imitated: the shapes of the streamed and the plain chat answer, of ``/models``, of both
generations of ``/usages``, of the balance and of the search and fetch services, as the real
clients (kimi-cli 1.51.0, Kimi Code 2.1.0) accept them; and the texts of the errors. They come from
upstream.md. Nothing was checked against the live service, and what is
made up says so (*invented*). Nothing ever leaves this machine: the server binds 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from kmi.demo.behaviours import (
    CODING_AGENTS_ONLY,
    INVALID_KEY,
    NO_MEMBERSHIP,
    OVERLOADED,
    QUOTA_CYCLE,
    QUOTA_PERIOD,
    QUOTA_WEEK,
    TOO_MANY_REQUESTS,
    Behaviour,
    error_body,
    invalid_401,
    payment_402,
    quota_403,
    rate_429,
    server_5xx,
    usage_windows,
)
from kmi.demo.fake_http import MODEL, Server
from kmi.demo.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType


class FakeKimi:
    """The server, as a context manager.

    >>> with FakeKimi({"sk-kimi-a": Behaviour(text="hi")}) as fake:
    ...     fake.base_url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        keys: Mapping[str, Behaviour] | None = None,
        *,
        port: int = 0,
        models: Sequence[str] = (MODEL,),
    ) -> None:
        self.models = tuple(models)
        self._keys = dict(keys or {})
        self._failed: dict[str, int] = {}
        self._requests: dict[int, Request] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._port = port
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    # The server's life.

    def __enter__(self) -> FakeKimi:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1 and serve in a thread."""
        server = Server(self, self._port)
        self._server, self._port = server, server.server_address[1]
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="fake-kimi",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and break what is still connected."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL of the coding plan; requests go to ``{base_url}/chat/completions``."""
        return f"{self.origin}/coding/v1"

    @property
    def platform_url(self) -> str:
        """The base URL of the pay-as-you-go platform."""
        return f"{self.origin}/v1"

    # What it answers, and what it was asked.

    def set(self, key: str, behaviour: Behaviour) -> None:
        """Let a key behave so from now on."""
        with self._lock:
            self._keys[key] = behaviour
            self._failed.pop(key, None)

    @property
    def requests(self) -> list[Request]:
        """A copy of all requests so far, in order of arrival."""
        with self._lock:
            return list(self._requests.values())

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

    def find(self, ending: str, *, key: str | None = None) -> list[Request]:
        """The requests to a path that ends so, of one key if it is given."""
        return [
            seen
            for seen in self.requests
            if seen.path.partition("?")[0].endswith(ending) and key in {None, seen.key}
        ]

    def chats(self, *, prompt: str | None = None) -> list[Request]:
        """The chat requests, of those whose prompt holds this text if it is given."""
        found = self.find("/chat/completions")
        return [seen for seen in found if prompt is None or prompt in seen.prompt]

    def chat_keys(self, *, prompt: str | None = None) -> list[str]:
        """The keys that chat requests came with, in order of arrival."""
        return [seen.key for seen in self.chats(prompt=prompt)]

    def wait_for_chats(self, count: int, timeout_s: float = 30.0) -> list[Request]:
        """Wait until so many chat requests have arrived.

        Raises:
            TimeoutError: with the number that did arrive.
        """
        deadline = time.monotonic() + timeout_s
        while len(found := self.chats()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {count} chat requests arrived")
            time.sleep(0.01)
        return found

    def record(self, request: Request) -> int:
        """Remember a request; gives its number."""
        with self._lock:
            self._count += 1
            self._requests[self._count] = request
            return self._count

    def answered(self, index: int, status: int) -> None:
        """Remember how a request was answered."""
        with self._lock:
            if index in self._requests:
                self._requests[index] = replace(self._requests[index], status=status)

    def behaviour(self, key: str) -> Behaviour:
        """How a key is answered; an unknown one as the service answers it."""
        with self._lock:
            return self._keys.get(key) or invalid_401()

    def fails(self, key: str, behaviour: Behaviour, *, chat: bool) -> bool:
        """Whether this request of a key fails; a failure may be used up."""
        if behaviour.status == 200 or not (chat or behaviour.everywhere):
            return False
        if behaviour.failures is None or not chat:
            return True
        with self._lock:
            self._failed[key] = self._failed.get(key, 0) + 1
            return self._failed[key] <= behaviour.failures


#: What ``--key SECRET=NAME`` accepts.
SCRIPTS: dict[str, Callable[[], Behaviour]] = {
    "ok": Behaviour,
    "quota": quota_403,
    "rate": rate_429,
    "invalid": invalid_401,
    "payment": payment_402,
    "server": server_5xx,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input ends or Ctrl-C, after one JSON line with the base URL."""
    parser = argparse.ArgumentParser(prog="python -m kmi.demo.fake_api", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--key", action="append", default=[], metavar="SECRET=SCRIPT", help=", ".join(SCRIPTS)
    )
    options = parser.parse_args(argv)
    keys = {}
    for item in options.key:
        secret, _, script = item.rpartition("=")
        if not secret or script not in SCRIPTS:
            parser.error(f"--key needs SECRET=SCRIPT with one of: {', '.join(SCRIPTS)}")
        keys[secret] = SCRIPTS[script]()
    with FakeKimi(keys, port=options.port) as fake, suppress(KeyboardInterrupt):
        sys.stdout.write(json.dumps({"base_url": fake.base_url}) + "\n")
        sys.stdout.flush()
        while sys.stdin.readline():
            pass
    return 0


__all__ = [
    "FakeKimi",
    "MODEL",
    "Request",
    "CODING_AGENTS_ONLY",
    "INVALID_KEY",
    "NO_MEMBERSHIP",
    "OVERLOADED",
    "QUOTA_CYCLE",
    "QUOTA_PERIOD",
    "QUOTA_WEEK",
    "TOO_MANY_REQUESTS",
    "Behaviour",
    "error_body",
    "invalid_401",
    "payment_402",
    "quota_403",
    "rate_429",
    "server_5xx",
    "usage_windows",
]

if __name__ == "__main__":
    sys.exit(main())
